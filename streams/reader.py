"""One camera in a capture child: its connection, its thread, its sessions, what it writes and what it says of itself.

A ``Lookout`` outlives connections. Each connection is read by a thread of its own, which may hang in a camera's
silence; nobody waits for it: the lookout's ``tick``, called from the child's main loop, gives up on a silent thread,
takes its token away (so that whatever it still does is not written) and starts another.
"""

from __future__ import annotations

import contextlib
import logging
import math
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Literal, Protocol
from uuid import UUID

from av.video.frame import VideoFrame

from streams import rtsp
from streams.addresses import Pairs, check_address
from streams.clock import Break, SessionClock, Stamp
from streams.frame import Frame, Jpeg, Why, encode_frame
from streams.health_picture import BLIND, PictureHealth
from streams.ladder import Fact, Facts, Ladder, Plane, Rate, State
from streams.live import LivePicture, encode_live
from streams.log import OnDone
from streams.observations import Dropped, Observation, SourceState, encode_observation
from streams.orders import CameraConfig, CameraStatus
from streams.picture import fitted_wh, gate_plane, jpeg
from streams.problems import CONNECTING, NO_DEMAND, Corrupt, NoKeyFrame, Stalled, StreamProblem
from streams.topics import frames, partition_of

logger = logging.getLogger(__name__)

SESSIONS_PER_FENCE = 2**20
"""A session's number is the lease's fencing number times this, plus a count: a new holder's are always larger."""
SILENT_S = 8.0
"""A thread without a packet for so long is given up; with the main loop's quarter second, noticed in less than 10 s."""
KEY_FRAME_S = 6.0
"""So long after opening, a stream without a damaged packet and without a picture has no key frame to begin with."""
HEALTHY_S = 10.0
"""A connection that lasted so long was a good one: the next wait is short again."""
WAIT_S, WAIT_MAX_S, WAIT_EDITED_MAX_S = 0.5, 10.0, 30.0
"""First and longest waits between attempts. 10 s lets pictures flow within 15 s of a camera's return; where only
somebody's edit can help (a wrong password), 30 s keeps cameras from locking the account."""
BREAKS_MAX, BREAKS_S = 5, 60.0
"""More breaks of the stream's time than this within so many seconds: the stream is damaged, not interrupted."""
LIVE_HZ = 5.0
"""Pictures a second for people's screens while someone watches, where the sampled ones alone are fewer."""
METER_S = 5.0
AWAKE_S = 2.0
"""A camera that was woken does not rest sooner: what woke it may only just be coming into view."""


class Outlet(Protocol):
    """Where a lookout's records go. Nothing here blocks."""

    def append(self, topic: str, partition: int, payload: bytes, on_done: OnDone) -> bool:
        """As ``Producer.append``."""

    def watched(self, camera: UUID) -> bool:
        """Whether somebody looks at this camera's live picture now."""

    def show(self, camera: UUID, payload: bytes) -> None:
        """A live picture; may be lost."""


class Backoff:
    """How long to wait before the next attempt: doubling, jittered, forgotten after health."""

    def __init__(self, jitter: Callable[[float, float], float] = random.uniform) -> None:
        self._jitter, self._next_s = jitter, WAIT_S

    def after(self, healthy_s: float, *, until_edited: bool) -> float:
        """The wait in seconds after a connection that was healthy for ``healthy_s``."""
        if healthy_s >= HEALTHY_S:
            self._next_s = WAIT_S
        wait_s = min(self._next_s, WAIT_EDITED_MAX_S if until_edited else WAIT_MAX_S)
        self._next_s = min(self._next_s * 2, WAIT_EDITED_MAX_S)
        return self._jitter(wait_s / 2, wait_s)


class Meter:
    """How many a second, over the last ``METER_S``. Times in monotonic seconds."""

    def __init__(self) -> None:
        self._times: deque[float] = deque()

    def count(self, now_s: float) -> None:
        """One more, unless what came at ``now_s`` or later was counted: it is only looked at again."""
        if self._times and now_s <= self._times[-1]:
            return
        self._times.append(now_s)
        self._forget(now_s)

    def per_s(self, now_s: float) -> float:
        """The mean rate."""
        self._forget(now_s)
        return len(self._times) / METER_S

    def _forget(self, now_s: float) -> None:
        while self._times and self._times[0] < now_s - METER_S:
            self._times.popleft()


@dataclass(slots=True)
class _Session:
    """The pictures between two seams: of one connection, one size, one course of time."""

    number: int
    source_wh: tuple[int, int]
    began_at: datetime
    clock: SessionClock
    ladder: Ladder
    live: Rate = field(default_factory=lambda: Rate(LIVE_HZ))
    pts_s: float | None = None
    """Presentation time of the last picture; None where the camera sends none."""
    awake_until_s: float = 0.0
    woken_after_s: float | None = None
    """When something had last moved when packets that grew ended a rest."""
    state: Literal["quiet", "active"] = "quiet"
    sequence: int = 0
    written: int = 0


@dataclass(slots=True)
class _Loss:
    """Frames of one session that did not reach the log, not yet said."""

    sequence: int
    captured_at: datetime
    count: int


class _Replaced(Exception):
    """This thread was given up, or its camera taken away: stop quietly."""


class _Token:
    """Held by the one thread that may write for a camera."""

    def __init__(self) -> None:
        self.quit = threading.Event()
        self.doing: Literal["opening", "reading", "waiting"] = "opening"
        self.progress_s = self.opened_s = time.monotonic()
        self.stream: rtsp.Stream | None = None
        self.thread: threading.Thread | None = None


class Lookout:
    """Keeps one camera read for as long as it exists. ``configure``, ``tick``, ``status`` and ``stop`` never block."""

    def __init__(self, config: CameraConfig, outlet: Outlet, allow: Pairs, own: Pairs) -> None:
        self._outlet, self._allow, self._own = outlet, allow, own
        self._config = config
        self._lock = threading.RLock()
        self._backoff = Backoff()
        self._facts = Facts(_now(), time.monotonic())
        self._pictures = PictureHealth()
        self._number = config.fence * SESSIONS_PER_FENCE
        self._session: _Session | None = None
        self._problem = CONNECTING
        self._breaks: deque[float] = deque()
        self._decoded, self._analysed = Meter(), Meter()
        self._last_captured_at: datetime | None = None
        self._lost_lock = threading.Lock()
        self._lost: dict[int, _Loss] = {}
        self._dropped = 0
        self._corrupt = 0
        self._given_up: list[tuple[threading.Thread, float]] = []
        self._token = _Token()
        self._start(self._token)

    # The child's main loop

    def configure(self, config: CameraConfig) -> None:
        """Take up an edit: a new connection only where the old one cannot serve it."""
        with self._lock:
            before, self._config = self._config, config
            if (config.address, config.view, config.masks) != (before.address, before.view, before.masks):
                self._pictures = PictureHealth()
            if config.connection == before.connection:
                return
            if config.fence != before.fence:
                self._number = config.fence * SESSIONS_PER_FENCE
            self._problem, self._backoff = CONNECTING, Backoff()
        self._replace()

    def tick(self, now_s: float) -> None:
        """Watch over the thread, and say what is to be said while no picture comes. Call a few times a second."""
        token = self._token
        dead = token.thread is not None and not token.thread.is_alive()
        silent = token.doing != "waiting" and now_s - token.progress_s >= SILENT_S
        if silent:
            logger.warning("camera %s: nothing came for %.0f s; connecting anew", self._config.uid, SILENT_S)
            self._problem = Stalled.code
        if dead or silent:
            self._replace()
        with self._lock:
            self._given_up = [(thread, at_s) for thread, at_s in self._given_up if thread.is_alive()]
            if self._facts.is_blind(now_s):
                self._mind_the_clock(now_s)
            if fact := self._facts.unseen(self._reason(now_s), _now(), now_s):
                self._say(fact)
        self._confess()

    def hung_for_s(self, now_s: float) -> float:
        """For how long the first thread that was given up has not returned; 0 when all have."""
        with self._lock:
            return max((now_s - at_s for thread, at_s in self._given_up if thread.is_alive()), default=0.0)

    def status(self, now_s: float) -> CameraStatus:
        """What the report of this second says of the camera."""
        with self._lock:
            said, session = self._facts.current, self._session
            state, reason = said or ("connecting", self._problem)
            return CameraStatus(
                uid=self._config.uid,
                state=state if said else "connecting",
                reason=reason,
                session=session.number if session else self._number,
                fps=round(self._decoded.per_s(now_s), 2),
                analysed=round(self._analysed.per_s(now_s), 2),
                last_captured_at=self._last_captured_at,
                width=session.source_wh[0] if session else 0,
                height=session.source_wh[1] if session else 0,
                dropped=self._dropped,
                corrupt=self._corrupt,
            )

    def stop(self) -> None:
        """Write nothing more; the thread ends by itself."""
        with self._lock:
            self._token.quit.set()

    def _replace(self) -> None:
        with self._lock:
            old = self._token
            old.quit.set()
            if old.thread is not None:
                self._given_up.append((old.thread, time.monotonic()))
            self._token = _Token()
            self._start(self._token)

    def _start(self, token: _Token) -> None:
        name = f"camera-{self._config.uid}"
        token.thread = threading.Thread(target=self._run, args=(token,), name=name, daemon=True)
        token.thread.start()

    # The reading thread

    def _run(self, token: _Token) -> None:
        while not token.quit.is_set():
            began_s = time.monotonic()
            until_edited = False
            try:
                self._read(token)
            except _Replaced:
                return
            except StreamProblem as problem:
                self._trouble(token, problem.code, str(problem))
                until_edited = problem.until_edited
            except Exception as error:
                # Its text may hold what the camera sent or how it was asked; the kind is enough to find it.
                self._trouble(token, StreamProblem.code, type(error).__name__)
            token.doing = "waiting"
            wait_s = self._backoff.after(token.progress_s - began_s, until_edited=until_edited)
            token.quit.wait(wait_s)

    def _trouble(self, token: _Token, code: str, text: str) -> None:
        with self._lock:
            if self._token is token and not token.quit.is_set():
                if code != self._problem:
                    logger.warning("camera %s: %s", self._config.uid, text)
                self._problem = code

    def _read(self, token: _Token) -> None:
        """One connection, from opening to its end. Raises ``StreamProblem`` or ``_Replaced``, always."""
        config = self._config
        token.doing, token.progress_s = "opening", time.monotonic()
        address = check_address(config.address, allow=self._allow, own=self._own)
        progress = partial(self._progress, token)
        progress()
        with rtsp.open_stream(address, config.user, config.password, on_progress=progress) as stream:
            with self._mine(token):
                self._session, token.stream = None, stream
                token.doing, token.progress_s = "reading", time.monotonic()
                token.opened_s = token.progress_s
            logger.info("camera %s: connected to %s", config.uid, address.where)
            stream.decoding = self._wanted()
            corrupt = 0
            for arrival in stream.read():
                token.progress_s = arrival.arrived_s
                self._check(token)
                if not stream.decoding:
                    self._idle(token, arrival.arrived_s)
                for each in self._awaited(token, stream, arrival):
                    for frame in each.frames:
                        self._picture(token, frame, each.arrived_s)
                self._corrupt += stream.corrupt - corrupt
                corrupt = stream.corrupt
                stream.decoding = self._wanted()
                stream.keeping = stream.decoding and self._config.rests
                if not stream.resting and self._may_rest(stream, arrival.arrived_s):
                    self._rest(stream)

    def _may_rest(self, stream: rtsp.Stream, now_s: float) -> bool:
        """Whether key frames are enough for now: of a quiet scene that nobody watches."""
        session = self._session
        return (
            stream.keeping
            and session is not None
            and session.pts_s is not None
            and session.source_wh[0] * session.source_wh[1] >= rtsp.LARGE_PX
            and session.ladder.quiet
            and now_s >= session.awake_until_s
            and not self._outlet.watched(self._config.uid)
            and stream.restful
        )

    def _rest(self, stream: rtsp.Stream) -> None:
        session = self._session
        assert session is not None, "without one it may not"
        stream.rest(in_vain=session.woken_after_s == session.ladder.moved_s)
        session.woken_after_s = None

    def _awaited(self, token: _Token, stream: rtsp.Stream, arrival: rtsp.Arrival) -> Iterable[rtsp.Arrival]:
        """What is to be looked at now that ``arrival`` came: while the camera rests, its uneventful key frames only.

        What ends the rest is looked at after all that led to it, so that nothing is lost.
        """
        if not stream.resting:
            return (arrival,)
        with self._mine(token):
            self._decoded.count(arrival.arrived_s)
        if self._may_rest(stream, arrival.arrived_s) and not self._is_news(arrival):
            return (arrival,)
        session = self._session
        if session is None or session.pts_s is None:
            return stream.wake(-math.inf)
        session.awake_until_s = arrival.arrived_s + AWAKE_S
        if arrival.jumped:
            session.woken_after_s = session.ladder.moved_s
        return stream.wake(session.pts_s)

    def _is_news(self, arrival: rtsp.Arrival) -> bool:
        session = self._session
        if not arrival.key or session is None:
            return arrival.jumped
        if not arrival.frames:
            return True  # It could not be decoded: what follows it neither.
        frame = arrival.frames[0]
        if (frame.width, frame.height) != session.source_wh:
            return True
        return session.ladder.is_news(gate_plane(rtsp.planes_of(frame), self._config.masks))

    def _progress(self, token: _Token) -> None:
        self._check(token)
        token.progress_s = time.monotonic()

    def _check(self, token: _Token) -> None:
        if token.quit.is_set() or self._token is not token:
            raise _Replaced

    @contextlib.contextmanager
    def _mine(self, token: _Token) -> Iterator[None]:
        """Holds the lock, having made sure that this thread still speaks for the camera."""
        with self._lock:
            self._check(token)
            yield

    def _wanted(self) -> bool:
        """No demand, no decode."""
        return bool(self._config.pools) or self._outlet.watched(self._config.uid)

    def _idle(self, token: _Token, now_s: float) -> None:
        """Connected, and nobody wants pictures: packets prove that the camera lives."""
        with self._mine(token):
            self._session = None
            self._mind_the_clock(now_s)
            if fact := self._facts.seen("quiet", _now(), now_s, NO_DEMAND):
                self._say(fact)

    def _picture(self, token: _Token, frame: VideoFrame, arrived_s: float) -> None:
        config = self._config
        with self._mine(token):
            session, stamp = self._stamped((frame.width, frame.height), frame.time, arrived_s)
            session.pts_s = frame.time
            session.sequence += 1
            self._decoded.count(arrived_s)
            self._last_captured_at = stamp.captured_at
            at_s = (stamp.captured_at - session.began_at).total_seconds()
            compared = self._is_compared(config, session, at_s)
            if not compared and not self._outlet.watched(config.uid):
                # Most pictures end here: another lock and three views of planes would cost as much as all of this.
                self._seen(config, session, stamp, arrived_s)
                return
        planes = rtsp.planes_of(frame)
        plane = gate_plane(planes, config.masks) if compared else None
        why = self._look(session, plane, at_s) if plane is not None else None
        due = self._outlet.watched(config.uid) and (why is not None or self._fills(config, session, at_s))
        data = b""
        if why is not None or due:
            wh = fitted_wh(planes.wh, config.long_px)
            data = jpeg(planes, wh, config.masks)
        with self._mine(token):
            if plane is not None and self._pictures.due(arrived_s):
                self._pictures.look(plane, arrived_s, masked=bool(config.masks))
            if why is not None:
                self._write(config, session, stamp, why, wh, data)
                self._analysed.count(arrived_s)
            if due:
                self._show(config, session, stamp, wh, data)
            self._seen(config, session, stamp, arrived_s)

    def _seen(self, config: CameraConfig, session: _Session, stamp: Stamp, arrived_s: float) -> None:
        state: State = session.state
        reason, since_at = "" if config.pools else NO_DEMAND, stamp.captured_at
        if config.pools and (trouble := self._pictures.trouble):
            reason = trouble.value
            if trouble in BLIND:
                state, since_at = "blind", since_at - timedelta(seconds=arrived_s - self._pictures.since_s)
        if fact := self._facts.seen(state, stamp.captured_at, arrived_s, reason, since_at):
            self._say(fact)

    def _fills(self, config: CameraConfig, session: _Session, at_s: float) -> bool:
        """Whether a picture that is not sampled is shown: only where those that are, whose boxes come, are too few."""
        if session.state == "active" and config.hz >= LIVE_HZ:
            return False
        return session.live.due(at_s)

    def _is_compared(self, config: CameraConfig, session: _Session, at_s: float) -> bool:
        if not config.pools:
            session.state = "quiet"
            return False
        session.ladder.want(config.hz, gated=config.gated)
        return session.ladder.due(at_s)

    def _look(self, session: _Session, plane: Plane, at_s: float) -> Why | None:
        verdict = session.ladder.look(plane, at_s)
        session.state = verdict.state
        return verdict.sample

    def _stamped(self, wh: tuple[int, int], pts_s: float | None, arrived_s: float) -> tuple[_Session, Stamp]:
        """The session this picture belongs to, a new one at every seam, and when it was taken."""
        session = self._session
        if session is None or session.source_wh != wh:
            session = self._new_session(wh, arrived_s)
        stamp = session.clock.stamp(pts_s, arrived_s)
        if isinstance(stamp, Break):
            logger.info("camera %s: new session: %s", self._config.uid, stamp.reason)
            self._count_break(arrived_s)
            session = self._new_session(wh, arrived_s)
            stamp = session.clock.stamp(pts_s, arrived_s)
            assert isinstance(stamp, Stamp), "a fresh clock has nothing to break with"
        return session, stamp

    def _new_session(self, wh: tuple[int, int], arrived_s: float) -> _Session:
        self._number += 1
        config = self._config
        anchor_at = _now() - timedelta(seconds=time.monotonic() - arrived_s)
        self._facts.clock_set_back(anchor_at, arrived_s)
        clock, ladder = SessionClock(anchor_at, arrived_s), Ladder(config.hz, gated=config.gated)
        self._session = _Session(self._number, wh, anchor_at, clock, ladder)
        return self._session

    def _count_break(self, now_s: float) -> None:
        self._breaks.append(now_s)
        while self._breaks[0] < now_s - BREAKS_S:
            self._breaks.popleft()
        if len(self._breaks) > BREAKS_MAX:
            self._breaks.clear()
            raise Corrupt("", f"its time broke off more than {BREAKS_MAX} times in {BREAKS_S:.0f} s")

    # What is written down (the lock is held)

    def _write(
        self, config: CameraConfig, session: _Session, stamp: Stamp, why: Why, wh: tuple[int, int], data: bytes
    ) -> None:
        payload = encode_frame(
            Frame(
                camera=config.uid,
                session=session.number,
                sequence=session.sequence,
                captured_at=stamp.captured_at,
                uncertainty_s=round(stamp.uncertainty_s, 4),
                view=config.view,
                why=why,
                width_px=wh[0],
                height_px=wh[1],
                source_wh=session.source_wh,
                payload=Jpeg(data),
            )
        )
        lost = partial(self._lose, session.number, session.sequence, stamp.captured_at)
        partition = partition_of(config.slot)
        taken = [
            self._outlet.append(frames(pool).name, partition, payload, partial(_if_failed, lost))
            for pool in config.pools
        ]
        if all(taken):
            session.written = session.sequence
        else:
            lost()

    def _show(self, config: CameraConfig, session: _Session, stamp: Stamp, wh: tuple[int, int], data: bytes) -> None:
        picture = LivePicture(
            camera=config.uid,
            session=session.number,
            sequence=session.sequence,
            captured_at=stamp.captured_at,
            width_px=wh[0],
            height_px=wh[1],
            jpeg=data,
        )
        self._outlet.show(config.uid, encode_live(picture))

    def _say(self, fact: Fact) -> None:
        session = self._session
        if fact.state != "blind":
            self._problem = ""
        state = SourceState(
            camera=self._config.uid,
            session=session.number if session else self._number,
            sequence=session.written if session else 0,
            at=fact.at,
            state=fact.state,
            since_at=fact.since_at,
            reason=fact.reason,
        )
        if not self._observe(state, partial(_if_failed, self._facts.unsaid)):
            self._facts.unsaid()

    def _observe(self, observation: Observation, on_done: OnDone) -> bool:
        partition = partition_of(self._config.slot)
        return self._outlet.append("observations", partition, encode_observation(observation), on_done)

    def _mind_the_clock(self, now_s: float) -> None:
        """When the host's clock was set back while no session runs: nothing that is said may begin in the future.

        Facts go on under a new number, because readers trust that the times of one session do not go back.
        """
        if self._facts.clock_set_back(_now(), now_s):
            self._number += 1
            self._session = None

    def _reason(self, now_s: float) -> str:
        """Why there is no picture now."""
        token = self._token
        if token.doing != "reading":
            return self._problem or CONNECTING
        if now_s - token.progress_s > rtsp.READ_S:
            return Stalled.code
        # Packets come and no picture: damage, or a key frame is still awaited.
        if token.stream is not None and token.stream.corrupt:
            return Corrupt.code
        return NoKeyFrame.code if now_s - token.opened_s > KEY_FRAME_S else CONNECTING

    # Frames that did not reach the log

    def _lose(self, session: int, sequence: int, captured_at: datetime, count: int = 1) -> None:
        with self._lost_lock:
            loss = self._lost.setdefault(session, _Loss(0, captured_at, 0))
            if count == 1 and sequence == loss.sequence:
                return  # The same frame for another pool.
            loss.sequence, loss.captured_at = max(loss.sequence, sequence), max(loss.captured_at, captured_at)
            loss.count += count
            self._dropped += count

    def _confess(self) -> None:
        """Say what was lost since, one record a session, as soon as the log takes it."""
        with self._lost_lock:
            pending, self._lost = self._lost, {}
        for number, loss in sorted(pending.items()):
            record = Dropped(
                camera=self._config.uid,
                session=number,
                sequence=loss.sequence,
                captured_at=loss.captured_at,
                count=loss.count,
                reason="log",
            )
            again = partial(self._unconfess, number, loss)
            if not self._observe(record, partial(_if_failed, again)):
                again()

    def _unconfess(self, number: int, loss: _Loss) -> None:
        self._lose(number, loss.sequence, loss.captured_at, loss.count)
        with self._lost_lock:
            self._dropped -= loss.count


def _if_failed(then: Callable[[], None], offset: int | None, error: Exception | None) -> None:
    """An ``OnDone`` that calls ``then`` only for a record that did not reach the log."""
    if error is not None:
        then()


def _now() -> datetime:
    return datetime.now(UTC)
