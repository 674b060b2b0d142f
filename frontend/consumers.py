"""The sockets. They carry hints and live pictures, never the truth: the browser fetches that over HTTP."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterable
from datetime import UTC, datetime
from importlib import import_module
from typing import Any
from uuid import UUID

import msgspec
import redis.asyncio
from channels.auth import get_user
from channels.db import database_sync_to_async
from channels.generic.websocket import AsyncWebsocketConsumer
from channels.layers import get_channel_layer
from django.conf import settings
from redis.exceptions import RedisError

from frontend import groups, health_tail, messages, queries
from frontend.models import User, ViewAudit
from frontend.outgoing import Outgoing
from frontend.permissions import visible_cameras
from streams import live
from streams.log import LogAddresses
from streams.models import SequenceCounter

logger = logging.getLogger(__name__)

POLL_S = 2.0
"""The screen equals the database within this, even when every hint is lost."""
WATCH_S = 1.0
PERMISSION_S = 5.0
"""How soon a person who may no longer see a camera stops seeing it."""
RECONNECT_S = 1.0
NOT_LOGGED_IN = 4401
NOT_HERE = 4404
NO_LAYER = ""
"""Channels would give each socket a channel before it connects, and refuse the socket while Redis is away."""


def _now() -> datetime:
    return datetime.now(UTC)


class _Consumer(AsyncWebsocketConsumer):
    """A socket for a logged-in person, with tasks that end with it."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def user(self) -> User | None:
        """The person, or None."""
        user = self.scope.get("user")
        return user if isinstance(user, User) and user.is_authenticated and user.is_active else None

    async def connect(self) -> None:
        """Let logged-in people in; turn everybody else away before the handshake is over."""
        if self.user is None:
            await self.close(code=NOT_LOGGED_IN)
            return
        await self.accept()
        await self.begin()

    async def begin(self) -> None:
        """What follows the handshake."""

    async def person(self) -> User | None:
        """The person as the database has it now; None once logged out, deactivated, or given another password.

        The handshake's own session is a copy from then: the rows are asked for again, and the session's hash with them.
        """
        fresh = _sessions().SessionStore(self.scope["session"].session_key)
        scope: Any = {"session": fresh}
        user = await get_user(scope)
        return user if isinstance(user, User) and user.is_active else None

    async def send_away(self) -> None:
        """Close on a person who may no longer be here. Nothing more is sent: the other tasks end first."""
        for task in self._tasks - {asyncio.current_task()}:
            task.cancel()
        await self.close(code=NOT_LOGGED_IN)

    async def send(self, text_data: str | None = None, bytes_data: bytes | None = None, close: bool = False) -> None:  # type: ignore[override]
        """What a browser that has just left misses is no error: ``disconnect`` is on its way.

        Source: ASGI, WebSocket, "Send - send event": a server raises a kind of ``OSError`` once it is closed.
        """
        with contextlib.suppress(OSError):
            await super().send(text_data, bytes_data, close)

    def keep(self, work: Callable[[], Awaitable[None]]) -> None:
        """Run ``work`` as long as the socket lives; a failure of it closes the socket, and the browser comes back."""
        task = asyncio.ensure_future(self._guarded(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _guarded(self, work: Callable[[], Awaitable[None]]) -> None:
        try:
            await work()
        except asyncio.CancelledError:
            raise
        except Exception:
            logger.exception("%s: a task failed; the socket is closed and the browser comes back", type(self).__name__)
            with contextlib.suppress(Exception):
                await self.close()

    async def disconnect(self, code: int) -> None:
        """End what ran for this socket."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


class NowhereConsumer(AsyncWebsocketConsumer):
    """There is no such socket."""

    async def connect(self) -> None:
        """Refuse."""
        await self.close(code=NOT_HERE)


class RoomConsumer(_Consumer):
    """``/ws/room/``: says that something changed. Hints come by the channel layer; a poll makes up for lost ones.

    The layer is heard by a task of its own: with Redis away or frozen the socket lives on by its poll.
    """

    channel_layer_alias = NO_LAYER

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._change = -1
        self._digest = ""

    async def begin(self) -> None:
        """Say hello, listen for hints, and look every two seconds."""
        self._change = await database_sync_to_async(SequenceCounter.current)(SequenceCounter.CHANGES)
        await self.send(text_data=messages.encode(messages.Hello(self._change, _now())))
        self.keep(self._hear_hints)
        self.keep(self._poll)

    async def _hear_hints(self) -> None:
        while True:
            try:
                await self._hear_from(get_channel_layer())
            except (RedisError, OSError) as error:
                logger.warning("hints cannot be heard (%s); the poll each %s s goes on", error, POLL_S)
            await asyncio.sleep(RECONNECT_S)

    async def _hear_from(self, layer: Any) -> None:
        channel = await layer.new_channel()
        await layer.group_add(groups.CHANGES, channel)
        try:
            while True:
                hint = await layer.receive(channel)
                if hint.get("type") == "changes.announced":
                    await self._changed(int(hint["change"]))
        finally:
            with contextlib.suppress(RedisError, OSError):
                await layer.group_discard(groups.CHANGES, channel)

    async def _changed(self, change: int) -> None:
        if change > self._change:
            self._change = change
            await self.send(text_data=messages.encode(messages.Changed(change)))

    async def _poll(self) -> None:
        while True:
            user = await self.person()
            if user is None:
                await self.send_away()
                return
            change, digest = await database_sync_to_async(_look)(user)
            await self._changed(change)
            if digest != self._digest:
                self._digest = digest
                await self.send(text_data=messages.encode(messages.HealthChanged(digest)))
            await self.send(text_data=messages.encode(messages.Alive(_now())))
            await asyncio.sleep(POLL_S)


def _look(user: User) -> tuple[int, str]:
    """The sequence and the strip's digest."""
    now = _now()
    strip = queries.strip(user, health_tail.parts(now), health_tail.starting(now))
    return strip.change, strip.digest


def frames_client() -> redis.asyncio.Redis:
    """A client of the frames server, where live pictures pass."""
    return redis.asyncio.Redis.from_url(
        LogAddresses.from_environment().frames_url, socket_connect_timeout=2, health_check_interval=5
    )


class WallConsumer(_Consumer):
    """``/ws/wall/``: live pictures and boxes of the cameras the browser asks for, and of no others.

    Permission is asked per camera with every ``watch``, and again every few seconds while pictures flow. Each camera
    that begins to be shown leaves an audit row first.
    """

    channel_layer_alias = NO_LAYER

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._outgoing = Outgoing()
        self._something = asyncio.Event()
        self._cameras: frozenset[UUID] = frozenset()
        self._rewatch = asyncio.Event()

    async def begin(self) -> None:
        """Send what waits; look after permissions; hear the frames server."""
        self.keep(self._send)
        self.keep(self._mind)
        self.keep(self._hear)

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        """``watch`` is all a browser can say."""
        try:
            wish = messages.decode_watch(text_data or "")
        except messages.BadMessage:
            self._say(messages.Problem("bad-message"))
            return
        user = await self.person()
        if user is None:
            await self.send_away()
            return
        allowed = await database_sync_to_async(_visible)(user, filter(None, map(_uuid, wish.cameras)))
        begun = [key for uid, key in allowed.items() if uid not in self._cameras]
        if begun:
            await database_sync_to_async(_write_down)(user, begun, self._address())
        refused = [name for name in wish.cameras if _uuid(name) not in allowed]
        self._watch(frozenset(allowed))
        self._say(messages.Watching(sorted(allowed), refused))

    def _address(self) -> str | None:
        """Where the browser is, as the HTTP views know it; None on a Unix socket."""
        client = self.scope.get("client")
        return str(client[0]) or None if client else None

    def _watch(self, cameras: frozenset[UUID]) -> None:
        for gone in self._cameras - cameras:
            self._outgoing.forget(gone)
        if cameras != self._cameras:
            self._cameras = cameras
            self._rewatch.set()

    def _say(self, message: messages.FromServer) -> None:
        self._outgoing.put_text(messages.encode(message))
        self._something.set()

    async def _send(self) -> None:
        """``send`` waits while the browser does not read: meanwhile newer pictures replace older ones."""
        while True:
            await self._something.wait()
            self._something.clear()
            while (item := self._outgoing.take()) is not None:
                if isinstance(item, bytes):
                    await self.send(bytes_data=item)
                else:
                    await self.send(text_data=item)

    async def _mind(self) -> None:
        """Each two seconds the session and a sign of life; each five the permissions."""
        since_s = 0.0
        while True:
            user = await self.person()
            if user is None:
                await self.send_away()
                return
            self._say(messages.Alive(_now()))
            if since_s >= PERMISSION_S:
                since_s = 0.0
                await self._ask_again(user)
            await asyncio.sleep(POLL_S)
            since_s += POLL_S

    async def _ask_again(self, user: User) -> None:
        asked = self._cameras
        allowed = await database_sync_to_async(_visible)(user, asked)
        # Only taken away, never set: meanwhile the browser may have asked for others.
        self._watch(self._cameras - (asked - allowed.keys()))

    async def _hear(self) -> None:
        while True:
            try:
                async with contextlib.aclosing(frames_client()) as client:
                    await self._hear_from(client)
            except (RedisError, OSError) as error:
                logger.warning("live pictures: the frames server does not answer (%s); trying again", error)
            await asyncio.sleep(RECONNECT_S)

    async def _hear_from(self, client: redis.asyncio.Redis) -> None:
        """Keep the watch keys alive and pass on what is published for them, until the server goes away."""
        watching = asyncio.ensure_future(self._keep_watched(client))
        try:
            async with client.pubsub() as listener:
                heard: frozenset[UUID] = frozenset()
                while not watching.done():
                    heard = await self._subscribe(listener, heard)
                    if not heard:
                        await self._rewatch.wait()
                        self._rewatch.clear()
                        continue
                    item = await listener.get_message(ignore_subscribe_messages=True, timeout=0.2)
                    if item is not None:
                        self._pass_on(item["channel"], item["data"])
                watching.result()
        finally:
            watching.cancel()

    async def _subscribe(self, listener: redis.asyncio.client.PubSub, heard: frozenset[UUID]) -> frozenset[UUID]:
        wanted = self._cameras
        if gone := heard - wanted:
            await listener.unsubscribe(*_channels(gone))
        if fresh := wanted - heard:
            await listener.subscribe(*_channels(fresh))
        return wanted

    async def _keep_watched(self, client: redis.asyncio.Redis) -> None:
        while True:
            if self._cameras:
                async with client.pipeline(transaction=False) as pipeline:
                    for camera in self._cameras:
                        pipeline.set(live.watch_key(camera), 1, ex=live.WATCH_TTL_S)
                    await pipeline.execute()
            await asyncio.sleep(WATCH_S)

    def _pass_on(self, channel: bytes, data: bytes) -> None:
        try:
            if channel.startswith(b"boxes:"):
                boxes = live.decode_boxes(data)
                if boxes.camera in self._cameras:
                    self._outgoing.put_boxes(boxes.camera, messages.encode(messages.boxes_message(boxes)))
            else:
                picture = live.decode_picture(data)
                if picture.camera in self._cameras:
                    self._outgoing.put_picture(picture.camera, messages.encode_picture(picture))
        except msgspec.DecodeError as error:
            logger.warning("live pictures: a message on %s cannot be read (%s); skipped", channel.decode(), error)
            return
        self._something.set()


def _sessions() -> Any:
    return import_module(settings.SESSION_ENGINE)


def _visible(user: User, asked: Iterable[UUID]) -> dict[UUID, int]:
    """Those of the asked cameras that this person may see, with their keys."""
    return dict(visible_cameras(user).filter(uid__in=list(asked)).values_list("uid", "pk"))


def _write_down(user: User, cameras: Iterable[int], address: str | None) -> None:
    """One audit row a camera: from now on this person sees it live."""
    rows = [ViewAudit(user=user, action="live", camera_id=camera, address=address) for camera in cameras]
    ViewAudit.objects.bulk_create(rows)


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


def _channels(cameras: frozenset[UUID]) -> list[str]:
    return [name for camera in cameras for name in (live.picture_channel(camera), live.boxes_channel(camera))]
