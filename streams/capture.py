"""The capture process: claims cameras, spreads them over children, and replaces a child that is stuck or dead.

It opens no camera and decodes nothing, so no camera can harm it. Log-ins reach the children over their standard input
and nowhere else: not in an argument, not in the environment.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import msgspec
from django.db import Error as DatabaseError
from django.db import close_old_connections

from streams import leases
from streams.beat import Pulse
from streams.log import Log, LogError
from streams.models import SequenceCounter
from streams.orders import CameraConfig, CameraStatus, Orders, Report
from streams.topics import frames

logger = logging.getLogger(__name__)

SILENT_S = 8.0
"""A child without a report for so long is stuck: killed and replaced."""
FIRST_REPORT_S = 15.0
"""A fresh child loads libraries first; on a busy machine that takes seconds."""
LOOK_S = 1.0
"""Between looks at the configuration's number: an edit is live in less than 5 s."""
IDLE_S = 60.0
"""A child without a camera for so long ends: it would only cost memory. The next camera starts one, within 2 s."""
RESTARTS_MAX, RESTARTS_S, SLOW_RESTART_S = 5, 60.0, 15.0
BASE_DIR = Path(__file__).resolve().parent.parent


class Restarts:
    """How often a child may be replaced: at once, until ``RESTARTS_MAX`` times in ``RESTARTS_S``; then slowly."""

    def __init__(self) -> None:
        self._times: deque[float] = deque(maxlen=RESTARTS_MAX)

    def often(self, now_s: float) -> bool:
        """Whether it has been replaced too often lately: a problem that somebody should see."""
        return len(self._times) == RESTARTS_MAX and now_s - self._times[0] < RESTARTS_S

    def due(self, now_s: float) -> bool:
        """Whether it may be replaced now."""
        return not self.often(now_s) or now_s - self._times[-1] >= SLOW_RESTART_S

    def count(self, now_s: float) -> None:
        """It was replaced."""
        self._times.append(now_s)


class Child:
    """One ``streams.capture_child`` process and the two threads that talk with it, so that its pipes block nobody."""

    def __init__(self, index: int) -> None:
        self.index = index
        self.restarts = Restarts()
        self.cameras: dict[UUID, CameraStatus] = {}
        self._process: subprocess.Popen[bytes] | None = None
        self._orders: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._sent: Orders | None = None
        self._reported_s = 0.0
        self.wanted_s = float("-inf")
        """When it last had a camera."""

    @property
    def pid(self) -> int | None:
        """Process id, None while there is none."""
        return self._process.pid if self._process else None

    def start(self, parent: int, now_s: float) -> None:
        """Spawn it, in a session of its own: a Ctrl-C is for the parent alone, which then stops it in order."""
        self._process = subprocess.Popen(
            [sys.executable, "-m", "streams.capture_child", str(parent)],
            cwd=BASE_DIR,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        self._reported_s = now_s + FIRST_REPORT_S - SILENT_S
        self._sent, self.cameras, self._orders = None, {}, queue.SimpleQueue()
        for work in (self._listen, self._talk):
            threading.Thread(target=work, args=(self._process, self._orders), daemon=True).start()
        logger.info("capture child %s runs as %s", self.index, self._process.pid)

    def send(self, configs: list[CameraConfig]) -> None:
        """Tell it its complete list of cameras, when that differs from what it was told last."""
        orders = Orders(configs)
        if orders != self._sent:
            self._sent = orders
            self._orders.put(msgspec.json.encode(orders) + b"\n")

    def fault(self, now_s: float) -> str:
        """Why it must be replaced; empty when it is well."""
        if self._process is None:
            return "it does not run"
        status = self._process.poll()
        if status is not None:
            return f"it ended with {status}"
        if now_s - self._reported_s > SILENT_S:
            return f"it has been silent for {now_s - self._reported_s:.0f} s"
        return ""

    def kill(self) -> None:
        """End it at once."""
        self.end(0.0)

    def end(self, within_s: float) -> None:
        """Close its input, which ends it; kill it after ``within_s``."""
        process, self._process = self._process, None
        if process is None:
            return
        self._orders.put(None)
        with contextlib.suppress(subprocess.TimeoutExpired):
            if within_s:
                process.terminate()
                process.wait(within_s)
        if process.poll() is None:
            process.kill()
        process.wait()

    def _talk(self, process: subprocess.Popen[bytes], orders: queue.SimpleQueue[bytes | None]) -> None:
        assert process.stdin is not None
        with contextlib.suppress(OSError, ValueError), process.stdin:
            while (line := orders.get()) is not None:
                process.stdin.write(line)
                process.stdin.flush()

    def _listen(self, process: subprocess.Popen[bytes], orders: queue.SimpleQueue[bytes | None]) -> None:
        assert process.stdout is not None
        decoder = msgspec.json.Decoder(Report)
        with contextlib.suppress(OSError, ValueError), process.stdout:
            for line in process.stdout:
                try:
                    report = decoder.decode(line)
                except msgspec.DecodeError:
                    logger.error("capture child %s: expected a report, got %d other bytes", self.index, len(line))
                    continue
                if self._process is process:
                    self._reported_s = time.monotonic()
                    self.cameras = {status.uid: status for status in report.cameras}
        orders.put(None)


class Capture:
    """The parent's work, a turn at a time. ``turn`` never blocks for longer than the database may take."""

    def __init__(
        self,
        log: Log,
        owner: str,
        *,
        parent: int,
        children: int = 2,
        capacity: int = 64,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """``parent``: this process's id, that the children watch."""
        self._log, self._owner, self._parent, self._capacity = log, owner, parent, capacity
        self._now, self._monotonic = now, monotonic
        self.children = [Child(index) for index in range(children)]
        self._fences: dict[int, int] = {}
        self._place: dict[int, int] = {}
        self._configs: dict[int, CameraConfig] = {}
        self._unfenced: set[int] = set()
        self._pools: set[str] = set()
        self._configured = -1
        self._looked_s = self._renewed_s = float("-inf")
        self._waiting = 0
        self._trouble = ""

    def turn(self) -> None:
        """Look after leases, configuration and children, each when it is due."""
        now_s = self._monotonic()
        try:
            self._hold(now_s)
            self._configure(now_s)
            self._trouble = ""
        except DatabaseError as error:
            # The children go on with what they know; their sessions stay the newest as long as nobody claims.
            if self._trouble != "database":
                logger.error("capture: the database does not answer (%s); cameras go on", type(error).__name__)
            self._trouble = "database"
            close_old_connections()
        self._care(now_s)
        self._send()

    def pulse(self) -> Pulse:
        """For the heartbeat: how many cameras are held, how many of them see, and what is wrong."""
        statuses = [status for child in self.children for status in child.cameras.values()]
        seeing = sum(status.state in {"quiet", "active"} for status in statuses)
        figures = {
            "cameras": float(len(self._fences)),
            "seeing": float(seeing),
            "children": float(sum(child.pid is not None for child in self.children)),
            "fps": sum(status.fps for status in statuses),
            "dropped": float(sum(status.dropped for status in statuses)),
        }
        return Pulse(lag=self._waiting, problem=self._problem(), figures=figures)

    def statuses(self) -> Mapping[UUID, CameraStatus]:
        """What the children last said of each camera."""
        return {uid: status for child in self.children for uid, status in child.cameras.items()}

    def close(self) -> None:
        """Stop the children and give the cameras back, within about 2 s."""
        stoppers = [threading.Thread(target=child.end, args=(1.5,)) for child in self.children]
        for thread in stoppers:
            thread.start()
        for thread in stoppers:
            thread.join()
        try:
            leases.release(self._owner)
        except DatabaseError as error:
            logger.error("capture: leases not given back (%s); they expire by themselves", type(error).__name__)

    def _problem(self) -> str:
        now_s = self._monotonic()
        if self._trouble:
            return self._trouble
        if any(child.restarts.often(now_s) for child in self.children):
            return "capture-restarts"
        return "capacity" if self._waiting and len(self._fences) >= self._capacity else ""

    def _hold(self, now_s: float) -> None:
        if self._unfenced:
            leases.refence(self._owner, self._unfenced)
            self._unfenced = set()
            self._renewed_s = float("-inf")
        if now_s - self._renewed_s < leases.RENEW_S:
            return
        held = self._renewed() if self._fences or leases.any_wanted() else {}
        self._renewed_s = now_s
        if held != self._fences:
            self._fences = held
            self._configured = -1

    def _renewed(self) -> dict[int, int]:
        held = leases.renew(self._owner, self._now())
        held.update(leases.claim(self._owner, self._capacity - len(held), self._now()))
        self._waiting = leases.unclaimed(self._now())
        return held

    def _configure(self, now_s: float) -> None:
        if now_s - self._looked_s < LOOK_S and self._configured >= 0:
            return
        self._looked_s = now_s
        # Read before the rows: an edit that comes between is seen again, never missed.
        current = SequenceCounter.current(SequenceCounter.CONFIGURATION)
        if current == self._configured:
            return
        if self._configured >= 0:
            # A camera switched on or off by this edit should not wait for the next renewal.
            self._renewed_s = float("-inf")
        self._configs = leases.configurations(self._fences)
        self._place = spread(self._configs, self._place, len(self.children))
        self._open_pools({pool for config in self._configs.values() for pool in config.pools})
        self._configured = current

    def _open_pools(self, pools: set[str]) -> None:
        """A pool that a rule has just begun to need gets its topic now; its workers verify it."""
        try:
            self._log.create([frames(pool) for pool in sorted(pools - self._pools)])
            self._pools |= pools
        except (LogError, ValueError) as error:
            logger.error("capture: topics of %s not made: %s", sorted(pools - self._pools), error)

    def _care(self, now_s: float) -> None:
        placed = set(self._place.values())
        for child in self.children:
            if child.index in placed:
                child.wanted_s = now_s
            elif now_s - child.wanted_s > IDLE_S:
                child.kill()
                continue
            fault = child.fault(now_s)
            if not fault or not child.restarts.due(now_s):
                continue
            if child.pid is not None:
                logger.error("capture child %s (%s): %s; replacing it", child.index, child.pid, fault)
                child.kill()
                child.restarts.count(now_s)
                self._unfenced |= {camera for camera, place in self._place.items() if place == child.index}
            child.start(self._parent, now_s)

    def _send(self) -> None:
        for child in self.children:
            mine = [
                self._configs[camera]
                for camera, place in sorted(self._place.items())
                # Until its sessions have a new range, a camera of a replaced child waits: a number is never used twice.
                if place == child.index and camera not in self._unfenced and camera in self._configs
            ]
            child.send(mine)


def spread(cameras: Collection[int], before: Mapping[int, int], children: int) -> dict[int, int]:
    """A child for each camera: those placed stay, new ones go where the fewest are.

    >>> spread([1, 2, 3], {1: 0}, 2)
    {1: 0, 2: 1, 3: 0}
    """
    place = {camera: before[camera] for camera in cameras if camera in before}
    load = [sum(at == index for at in place.values()) for index in range(children)]
    for camera in sorted(set(cameras) - place.keys()):
        index = load.index(min(load))
        place[camera] = index
        load[index] += 1
    return place
