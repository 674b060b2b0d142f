"""A capture child, ``python -m streams.capture_child``: reads cameras, decodes, writes frames. No Django.

Standard input: one JSON line with the complete list of cameras each time it changes (log-ins travel nowhere else).
Standard output: one JSON line each second with the state of every camera. It ends when its input ends, on SIGTERM,
or when its parent dies. A camera that crashes the decoder takes this process with it, and only this one.
"""

from __future__ import annotations

import logging
import os
import queue
import signal
import sys
import threading
import time
from collections import deque
from types import FrameType
from uuid import UUID

import cv2
import msgspec
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from streams.addresses import Pairs, allowed_pairs, own_pairs
from streams.live import picture_channel, watch_key
from streams.log import Log, LogAddresses, OnDone, open_log
from streams.orders import CameraConfig, Orders, Report
from streams.parent import die_with
from streams.reader import Lookout
from streams.telemetry import Redact

logger = logging.getLogger(__name__)

TICK_S = 0.25
REPORT_S = 1.0
LIVE_TIMEOUT_S = 0.5
LIVE_QUEUE = 64
"""Live pictures waiting, all cameras together; older ones are lost first."""
HUNG_S = 60.0
"""A given-up thread that has not returned for so long will not: the process starts afresh."""


class Live:
    """Live pictures to the frames server, from a thread of its own: its troubles disturb no camera."""

    def __init__(self, url: str) -> None:
        self._server = redis.Redis.from_url(
            url,
            socket_timeout=LIVE_TIMEOUT_S,
            socket_connect_timeout=LIVE_TIMEOUT_S,
            client_name="capture-live",
            # The client's own retries would make half a second several.
            retry=Retry(NoBackoff(), 0),
        )
        self._queue: deque[tuple[UUID, bytes]] = deque(maxlen=LIVE_QUEUE)
        self._some = threading.Event()
        self._cameras: tuple[UUID, ...] = ()
        self._watched: frozenset[UUID] = frozenset()
        threading.Thread(target=self._run, name="live", daemon=True).start()

    def cameras(self, cameras: tuple[UUID, ...]) -> None:
        """The cameras to look for watchers of."""
        self._cameras = cameras

    def watched(self, camera: UUID) -> bool:
        """Whether somebody looks at ``camera``, as of at most a second ago."""
        return camera in self._watched

    def show(self, camera: UUID, payload: bytes) -> None:
        """Queue one picture; returns at once."""
        self._queue.append((camera, payload))
        self._some.set()

    def _run(self) -> None:
        looked_s = -REPORT_S
        while True:
            self._some.wait(REPORT_S)
            self._some.clear()
            try:
                if time.monotonic() - looked_s >= REPORT_S:
                    looked_s = time.monotonic()
                    self._look()
                while self._queue:
                    camera, payload = self._queue.popleft()
                    self._server.publish(picture_channel(camera), payload)
            except (redis.RedisError, OSError):
                # Nobody sees a live picture now; frames and facts go their own way.
                self._watched = frozenset()
                self._queue.clear()
                time.sleep(REPORT_S)

    def _look(self) -> None:
        cameras = self._cameras
        if not cameras:
            self._watched = frozenset()
            return
        pipeline = self._server.pipeline(transaction=False)
        for camera in cameras:
            pipeline.exists(watch_key(camera))
        found = pipeline.execute()
        self._watched = frozenset(camera for camera, exists in zip(cameras, found, strict=True) if exists)


class LogOutlet:
    """The way out of every lookout."""

    def __init__(self, log: Log, live: Live) -> None:
        self._producer, self._live = log.producer(), live

    def append(self, topic: str, partition: int, payload: bytes, on_done: OnDone) -> bool:
        """As ``Producer.append``: returns at once, False when refused."""
        return self._producer.append(topic, partition, payload, on_done)

    def watched(self, camera: UUID) -> bool:
        """Whether somebody looks at ``camera``'s live picture."""
        return self._live.watched(camera)

    def show(self, camera: UUID, payload: bytes) -> None:
        """A live picture; may be lost."""
        self._live.show(camera, payload)

    def close(self) -> None:
        """Write what is queued, for at most a second."""
        self._producer.close(1.0)


class Lookouts:
    """The cameras of this child. Orders change only what differs."""

    def __init__(self, outlet: LogOutlet, live: Live, allow: Pairs, own: Pairs) -> None:
        self._outlet, self._live, self._allow, self._own = outlet, live, allow, own
        self._known: dict[UUID, tuple[CameraConfig, Lookout]] = {}

    def obey(self, orders: Orders) -> None:
        """Bring the cameras to what ``orders`` say."""
        wanted = {config.uid: config for config in orders.cameras}
        for uid in self._known.keys() - wanted.keys():
            self._known.pop(uid)[1].stop()
        for uid, config in wanted.items():
            known = self._known.get(uid)
            if known is None:
                self._known[uid] = config, Lookout(config, self._outlet, self._allow, self._own)
            elif known[0] != config:
                known[1].configure(config)
                self._known[uid] = config, known[1]
        self._live.cameras(tuple(self._known))

    def tick(self, now_s: float) -> None:
        """Watch over every camera; one that raises harms no other."""
        for uid, (_config, lookout) in self._known.items():
            try:
                lookout.tick(now_s)
            except Exception:
                logger.exception("camera %s: its watchdog failed; it is asked again in %s s", uid, TICK_S)

    def hopeless(self, now_s: float) -> bool:
        """Whether a thread hangs that only the end of this process frees.

        One and the same for ``HUNG_S``: where every look-up of a name takes 20 s, some thread is always given up.
        """
        return any(lookout.hung_for_s(now_s) > HUNG_S for _config, lookout in self._known.values())

    def report(self, now_s: float) -> Report:
        """The state of every camera."""
        return Report([lookout.status(now_s) for _config, lookout in self._known.values()])

    def stop(self) -> None:
        """Write nothing more for any camera."""
        for _config, lookout in self._known.values():
            lookout.stop()


def _listen(orders: queue.SimpleQueue[Orders | None]) -> None:
    """Standard input, line by line; None at its end. A malformed line is refused whole, the last good one stays."""
    decoder = msgspec.json.Decoder(Orders)
    for line in sys.stdin.buffer:
        try:
            orders.put(decoder.decode(line))
        except msgspec.DecodeError as error:
            logger.error("capture child: expected a list of cameras, got something else (%s)", type(error).__name__)
    orders.put(None)


def _say(report: Report) -> bool:
    """False when nobody reads any more."""
    try:
        sys.stdout.buffer.write(msgspec.json.encode(report) + b"\n")
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        return False
    return True


def watch(lookouts: Lookouts, orders: queue.SimpleQueue[Orders | None], quit: threading.Event) -> int:
    """The main loop; returns the exit status."""
    reported_s = 0.0
    while not quit.wait(TICK_S):
        now_s = time.monotonic()
        while not orders.empty():
            order = orders.get()
            if order is None:
                return 0
            lookouts.obey(order)
        lookouts.tick(now_s)
        if lookouts.hopeless(now_s):
            logger.error("capture child: a thread has hung for %s s; starting afresh", HUNG_S)
            return 3
        if now_s - reported_s >= REPORT_S:
            reported_s = now_s
            if not _say(lookouts.report(now_s)):
                return 0
    return 0


def main(arguments: list[str]) -> int:
    """Run until the input ends. ``arguments``: the parent's process id."""
    die_with(int(arguments[0]))
    handler = logging.StreamHandler()
    handler.addFilter(Redact())
    logging.basicConfig(
        level=os.environ.get("POLISCOPE_LOG_LEVEL", "INFO"),
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
        handlers=[handler],
    )
    # The cameras' own threads are what runs in parallel; OpenCV's would only compete with them.
    cv2.setNumThreads(1)
    quit = threading.Event()

    def on_term(_signal: int, _frame: FrameType | None) -> None:
        quit.set()

    signal.signal(signal.SIGTERM, on_term)
    addresses = LogAddresses.from_environment()
    live = Live(addresses.frames_url)
    log = open_log(addresses, name="capture")
    outlet = LogOutlet(log, live)
    lookouts = Lookouts(outlet, live, allowed_pairs(), own_pairs())
    orders: queue.SimpleQueue[Orders | None] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(orders,), name="orders", daemon=True).start()
    status = watch(lookouts, orders, quit)
    lookouts.stop()
    outlet.close()
    log.close()
    return status


if __name__ == "__main__":
    # Threads may still hang in a camera's silence: they are not waited for.
    result = main(sys.argv[1:])
    sys.stdout.flush()
    os._exit(result)
