"""The sockets as a browser meets them: two people, exact frames, and everything that may fail underneath."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest
import redis
from asgiref.sync import sync_to_async
from asgiref.testing import ApplicationCommunicator
from channels.auth import AuthMiddlewareStack
from channels.layers import get_channel_layer
from channels.routing import URLRouter
from django.conf import settings
from django.test import Client
from uvicorn.protocols.utils import ClientDisconnected

from alerts import heartbeat
from frontend import consumers, groups, health_tail, messages, queries
from frontend.models import User, ViewAudit
from frontend.routing import websocket_urlpatterns
from streams import live
from streams.health import Heartbeat, PartHealth, encode_heartbeat
from streams.log import LogAddresses, open_log
from streams.models import SequenceCounter
from streams.topics import HEALTH
from tests.frontend import seeding
from tests.frontend.seeding import Harbour
from tests.services.valkey import Valkey

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> list[PartHealth]:
    """A poll each 50 ms; parts are what a test says they are."""
    parts: list[PartHealth] = []
    queries.forget()
    monkeypatch.setattr(consumers, "POLL_S", 0.05)
    monkeypatch.setattr(consumers, "PERMISSION_S", 0.1)
    monkeypatch.setattr(health_tail, "parts", lambda now: parts)
    return parts


@pytest.fixture
def harbour(transactional_db: None) -> Harbour:
    return seeding.make_harbour(datetime.now(UTC))


class Browser(ApplicationCommunicator):
    """The browser's end of one socket, on ASGI's own messages (Channels' communicator would need Daphne)."""

    def __init__(self, path: str, client: Client | None) -> None:
        self.gone = False
        self.missed = ""
        cookie = client.cookies[settings.SESSION_COOKIE_NAME].OutputString([]) if client else ""
        scope: dict[str, Any] = {
            "type": "websocket",
            "path": path,
            "query_string": b"",
            "headers": [(b"cookie", cookie.encode())],
            "subprotocols": [],
            "client": ("192.0.2.7", 51234),
        }
        super().__init__(self._application, scope)

    async def _application(self, scope: Any, receive: Any, send: Any) -> None:
        async def sent(message: Any) -> None:
            if self.gone:
                self.missed += message.get("text") or ""
                raise ClientDisconnected  # as uvicorn does until the application has heard of it
            await send(message)

        await AuthMiddlewareStack(URLRouter(websocket_urlpatterns))(scope, receive, sent)

    async def connect(self) -> tuple[bool, int | None]:
        await self.send_input({"type": "websocket.connect"})
        answer = await self.receive_output(5)
        return answer["type"] == "websocket.accept", answer.get("code")

    async def say(self, text: str | None = None, data: bytes | None = None) -> None:
        await self.send_input({"type": "websocket.receive", "text": text, "bytes": data})

    async def leave(self) -> None:
        await self.send_input({"type": "websocket.disconnect", "code": 1000})
        await self.wait(5)


def logged_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


@asynccontextmanager
async def socket(path: str, person: User | Client) -> AsyncIterator[Browser]:
    client = person if isinstance(person, Client) else await sync_to_async(logged_in)(person)
    browser = Browser(path, client)
    assert await browser.connect() == (True, None)
    try:
        yield browser
    finally:
        await browser.leave()


async def next_text(browser: Browser, kind: str, seconds: float = 5.0) -> dict[str, Any]:
    """The next message of this kind; others are passed over."""
    async with asyncio.timeout(seconds):
        while True:
            frame = await browser.receive_output(seconds)
            if "text" in frame and frame["text"] is not None:
                message: dict[str, Any] = json.loads(frame["text"])
                if message["type"] == kind:
                    return message


async def next_picture(browser: Browser, seconds: float = 5.0) -> dict[str, Any]:
    async with asyncio.timeout(seconds):
        while True:
            frame = await browser.receive_output(seconds)
            if frame.get("bytes"):
                return messages.decode_picture_frame(frame["bytes"])[0]


# who gets in


@pytest.mark.parametrize("path", ["/ws/room/", "/ws/wall/"])
async def test_a_stranger_is_turned_away_before_the_handshake_is_over(path: str) -> None:
    assert await Browser(path, None).connect() == (False, consumers.NOT_LOGGED_IN)


async def test_there_is_no_other_socket(harbour: Harbour) -> None:
    assert await Browser("/ws/secrets/", await sync_to_async(logged_in)(harbour.alice)).connect() == (
        False,
        consumers.NOT_HERE,
    )


def log_out(client: Client, user: User) -> None:
    client.post("/logout/")


def log_out_in_another_tab(client: Client, user: User) -> None:
    client.session.flush()


def set_another_password(client: Client, user: User) -> None:
    user.set_password("a-new-and-long-password-2")
    user.save()


def deactivate(client: Client, user: User) -> None:
    User.objects.filter(pk=user.pk).update(is_active=False)


@pytest.mark.parametrize("end", [log_out, log_out_in_another_tab, set_another_password, deactivate])
@pytest.mark.parametrize("path", ["/ws/room/", "/ws/wall/"])
async def test_a_socket_does_not_outlive_its_session(
    harbour: Harbour, path: str, end: Callable[[Client, User], None]
) -> None:
    client = await sync_to_async(logged_in)(harbour.alice)
    async with socket(path, client) as browser:
        await next_text(browser, "alive")
        await sync_to_async(end)(client, harbour.alice)
        async with asyncio.timeout(5):
            while (frame := await browser.receive_output(5))["type"] != "websocket.close":
                pass
        assert frame["code"] == consumers.NOT_LOGGED_IN


async def test_a_colleague_s_new_password_disturbs_nobody_else(harbour: Harbour) -> None:
    async with socket("/ws/wall/", harbour.alice) as wall:
        await sync_to_async(set_another_password)(Client(), harbour.bob)
        for _ in range(3):
            await next_text(wall, "alive")


# hints


async def test_it_says_hello_with_the_sequence_as_it_stands(harbour: Harbour) -> None:
    await sync_to_async(SequenceCounter.advance)(SequenceCounter.CHANGES)
    async with socket("/ws/room/", harbour.alice) as room:
        assert (await next_text(room, "hello"))["change"] == 1


async def test_a_hint_reaches_everybody_at_once(harbour: Harbour, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consumers, "POLL_S", 60)
    async with socket("/ws/room/", harbour.alice) as alice, socket("/ws/room/", harbour.bob) as bob:
        for room in (alice, bob):
            await next_text(room, "alive")
        await get_channel_layer().group_send(groups.CHANGES, {"type": "changes.announced", "change": 9})
        for room in (alice, bob):
            assert (await next_text(room, "changed"))["change"] == 9


async def test_a_lost_hint_is_made_up_for_by_the_poll(harbour: Harbour) -> None:
    async with socket("/ws/room/", harbour.alice) as room:
        await next_text(room, "hello")
        await sync_to_async(SequenceCounter.advance)(SequenceCounter.CHANGES)
        assert (await next_text(room, "changed"))["change"] == 1


async def test_a_browser_that_leaves_in_the_middle_is_no_error(
    harbour: Harbour, caplog: pytest.LogCaptureFixture
) -> None:
    async with socket("/ws/room/", harbour.alice) as browser:
        await next_text(browser, "hello")
        browser.gone = True
        await sync_to_async(SequenceCounter.advance)(SequenceCounter.CHANGES)
        async with asyncio.timeout(5):
            while '"changed"' not in browser.missed:
                await asyncio.sleep(0.01)
        browser.gone = False
        await sync_to_async(SequenceCounter.advance)(SequenceCounter.CHANGES)
        assert (await next_text(browser, "changed"))["change"] == 2
    assert not caplog.records


async def test_an_old_hint_says_nothing_new(harbour: Harbour) -> None:
    await sync_to_async(SequenceCounter.advance)(SequenceCounter.CHANGES)
    async with socket("/ws/room/", harbour.alice) as room:
        await next_text(room, "alive")
        await get_channel_layer().group_send(groups.CHANGES, {"type": "changes.announced", "change": 1})
        await get_channel_layer().group_send(groups.CHANGES, {"type": "changes.announced", "change": 2})
        assert (await next_text(room, "changed"))["change"] == 2


async def test_a_camera_that_goes_blind_changes_the_digest(harbour: Harbour) -> None:
    async with socket("/ws/room/", harbour.alice) as room:
        first = (await next_text(room, "health"))["digest"]
        await sync_to_async(seeding.make_blind)(harbour.cameras[0], datetime.now(UTC))
        assert (await next_text(room, "health"))["digest"] != first


async def test_a_part_that_falls_silent_changes_the_digest(harbour: Harbour, quick: list[PartHealth]) -> None:
    async with socket("/ws/room/", harbour.alice) as room:
        first = (await next_text(room, "health"))["digest"]
        quick.append(PartHealth("capture", "host-1", datetime.now(UTC), 8.0, 0, "", "silent", {}))
        assert (await next_text(room, "health"))["digest"] != first


# live pictures


@pytest.fixture
def frames(valkey: Valkey, monkeypatch: pytest.MonkeyPatch) -> Iterator[redis.Redis]:
    monkeypatch.setenv("POLISCOPE_FRAMES_URL", valkey.frames_url)
    client = valkey.client("frames")
    yield client
    client.close()


def picture(camera: UUID, sequence: int = 1) -> bytes:
    return live.encode_live(
        live.LivePicture(
            camera=camera, session=2**60, sequence=sequence, captured_at=datetime.now(UTC), width_px=8, height_px=8,
            jpeg=b"\xff\xd8" + b"x" * 50_000,
        )
    )  # fmt: skip


async def until(told: Callable[[], Any], seconds: float = 8.0) -> None:
    async with asyncio.timeout(seconds):
        while not await asyncio.to_thread(told):
            await asyncio.sleep(0.02)


async def watch(wall: Browser, *cameras: object) -> dict[str, Any]:
    await wall.say(json.dumps({"type": "watch", "cameras": [str(camera) for camera in cameras]}))
    return await next_text(wall, "watching")


def listened_to(frames: redis.Redis, camera: UUID) -> bool:
    return bool(frames.pubsub_numsub(live.picture_channel(camera))[0][1])


@pytest.mark.valkey
async def test_pictures_and_boxes_of_a_watched_camera_come(harbour: Harbour, frames: redis.Redis) -> None:
    gate = harbour.cameras[0].uid
    async with socket("/ws/wall/", harbour.alice) as wall:
        assert (await watch(wall, gate))["cameras"] == [str(gate)]
        await until(lambda: listened_to(frames, gate))
        frames.publish(live.picture_channel(gate), picture(gate, 5))
        header = await next_picture(wall)
        assert (header["camera"], header["session"], header["sequence"]) == (str(gate), str(2**60), 5)
        boxes = live.LiveBoxes(camera=gate, session=2**60, sequence=5, captured_at=datetime.now(UTC), boxes=[])
        frames.publish(live.boxes_channel(gate), live.encode_live(boxes))
        assert (await next_text(wall, "boxes"))["sequence"] == 5


@pytest.mark.valkey
async def test_watching_keeps_the_watch_key_alive_and_leaving_lets_it_go(harbour: Harbour, frames: redis.Redis) -> None:
    gate = harbour.cameras[0].uid
    async with socket("/ws/wall/", harbour.alice) as wall:
        await watch(wall, gate)
        await until(lambda: frames.exists(live.watch_key(gate)))
        assert 0 < frames.ttl(live.watch_key(gate)) <= live.WATCH_TTL_S
        await watch(wall)
        await until(lambda: not listened_to(frames, gate))
    await until(lambda: not frames.exists(live.watch_key(gate)))


@pytest.mark.valkey
async def test_an_outsider_watches_nothing_and_no_watch_key_is_set(harbour: Harbour, frames: redis.Redis) -> None:
    gate, nowhere = harbour.cameras[0].uid, uuid4()
    async with socket("/ws/wall/", harbour.charlie) as wall:
        answer = await watch(wall, gate, nowhere, "nonsense")
        assert answer == {"type": "watching", "cameras": [], "refused": [str(gate), str(nowhere), "nonsense"]}
        frames.publish(live.picture_channel(gate), picture(gate))
        await next_text(wall, "alive")
        assert not frames.exists(live.watch_key(gate))


def audited() -> list[tuple[int | None, str, int | None, str | None]]:
    return list(ViewAudit.objects.order_by("pk").values_list("user", "action", "camera", "address"))


async def test_each_camera_that_begins_to_be_shown_leaves_an_audit_row(harbour: Harbour) -> None:
    gate, entrance = harbour.cameras[:2]
    async with socket("/ws/wall/", harbour.alice) as wall:
        await watch(wall, gate.uid)
        await watch(wall, gate.uid, entrance.uid)
        await watch(wall, entrance.uid)
        await watch(wall, gate.uid, entrance.uid, uuid4())
    row = (harbour.alice.pk, "live")
    seen = [(*row, camera.pk, "192.0.2.7") for camera in (gate, entrance, gate)]
    assert await sync_to_async(audited)() == seen


async def test_a_refused_camera_leaves_no_audit_row(harbour: Harbour) -> None:
    async with socket("/ws/wall/", harbour.charlie) as wall:
        await watch(wall, harbour.cameras[0].uid)
    assert await sync_to_async(audited)() == []


@pytest.mark.valkey
async def test_a_camera_that_is_taken_away_stops_within_seconds(harbour: Harbour, frames: redis.Redis) -> None:
    gate = harbour.cameras[0].uid
    async with socket("/ws/wall/", harbour.alice) as wall:
        await watch(wall, gate)
        await until(lambda: listened_to(frames, gate))
        await sync_to_async(harbour.alice.camera_groups.clear)()
        await until(lambda: not listened_to(frames, gate))


@pytest.mark.valkey
async def test_the_frames_server_may_restart(
    harbour: Harbour, frames: redis.Redis, valkey: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consumers, "RECONNECT_S", 0.05)
    gate = harbour.cameras[0].uid
    async with socket("/ws/wall/", harbour.alice) as wall:
        await watch(wall, gate)
        await until(lambda: listened_to(frames, gate))
        await asyncio.to_thread(valkey.restart, "frames")
        again = valkey.client("frames")
        await until(lambda: listened_to(again, gate))
        again.publish(live.picture_channel(gate), picture(gate, 7))
        assert (await next_picture(wall))["sequence"] == 7
        again.close()


@pytest.mark.valkey
async def test_a_message_that_cannot_be_read_disturbs_nothing(harbour: Harbour, frames: redis.Redis) -> None:
    gate = harbour.cameras[0].uid
    async with socket("/ws/wall/", harbour.alice) as wall:
        await watch(wall, gate)
        await until(lambda: listened_to(frames, gate))
        frames.publish(live.picture_channel(gate), b"\xc1nonsense")
        frames.publish(live.picture_channel(gate), picture(gate, 8))
        assert (await next_picture(wall))["sequence"] == 8


async def test_nonsense_gets_a_code_and_the_socket_stays_open(harbour: Harbour) -> None:
    async with socket("/ws/wall/", harbour.alice) as wall:
        await wall.say("{")
        assert (await next_text(wall, "problem"))["code"] == "bad-message"
        await wall.say(data=b"\x00")
        assert (await next_text(wall, "problem"))["code"] == "bad-message"


# the tail on health


@pytest.mark.valkey
def test_the_tail_hears_heartbeats_and_their_silence(log_addresses: LogAddresses) -> None:
    log = open_log(log_addresses)
    log.create([HEALTH])
    producer = log.producer()
    for payload in (b"\xc1nonsense", encode_heartbeat(Heartbeat(part="capture", instance="h-1", at=datetime.now(UTC)))):
        producer.append(HEALTH.name, 0, payload)
    assert producer.flush(5)
    tail = health_tail.HealthTail(lambda: open_log(log_addresses))
    tail.read(log)
    now = datetime.now(UTC)
    states = {part.part: part.state for part in tail.parts(now, ("capture", "sweep"))}
    assert states == {"capture": "ok", "sweep": "missing"}
    later = now.timestamp() + 9
    states = {part.part: part.state for part in tail.parts(datetime.fromtimestamp(later, UTC), ("capture",))}
    assert states == {"capture": "silent"}
    producer.close()
    log.close()


@pytest.mark.valkey
def test_the_tail_beats_as_web_itself(log_addresses: LogAddresses) -> None:
    log = open_log(log_addresses)
    log.create([HEALTH])
    tail = health_tail.HealthTail(lambda: open_log(log_addresses))
    tail.start()
    try:
        deadline = datetime.now(UTC).timestamp() + 10
        while datetime.now(UTC).timestamp() < deadline:
            found = {part.part: part.instance for part in tail.parts(datetime.now(UTC), ())}
            if "web" in found:
                break
            time.sleep(0.05)
        assert found["web"].endswith(f"-{os.getpid()}")
    finally:
        tail.stop()
        log.close()


def test_a_detector_is_expected_for_each_pool_of_an_enabled_deployment(harbour: Harbour) -> None:
    assert heartbeat.expected_parts() == ("capture", "evaluate", "sweep", "web", "worker", "detect.general")
    harbour.rules[0].deployment.enabled = False
    harbour.rules[0].deployment.save()
    assert heartbeat.expected_parts() == heartbeat.ALWAYS_EXPECTED
