"""The web process's view of the others: a tail on the ``health`` topic, and its own heartbeat there.

One daemon thread, started by the first question, reads the topic twice a second. While the log does not answer,
nothing new is recorded, so every part turns silent in a few seconds: which is what is known.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import msgspec

from alerts.heartbeat import expected_parts
from streams.beat import Beater
from streams.health import Health, PartHealth, decode_heartbeat
from streams.log import Log, LogAddresses, LogError, open_log
from streams.topics import HEALTH

logger = logging.getLogger(__name__)

READ_S = 1.0
LOOK_BACK_S = 15.0
EXPECTED_S = 5.0
"""How often the enabled deployments, and with them the expected detectors, are asked for."""
RECONNECT_S = 2.0
GRACE_S = 20.0
"""After our own start, a part that was never seen is starting, not missing: a process needs seconds to come up."""


class HealthTail:
    """Reads heartbeats into a ``Health``. ``connect`` opens the log; thread-safe."""

    def __init__(self, connect: Callable[[], Log]) -> None:
        self._connect = connect
        self._health = Health()
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._position: int | None = None
        self._identity = ""

    def start(self) -> None:
        """Begin to read, once."""
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="health-tail", daemon=True)
                self._thread.start()

    def stop(self) -> None:
        """Read no more."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(3)

    def parts(self, now: datetime, expected: tuple[str, ...]) -> list[PartHealth]:
        """Every known instance, and each of ``expected`` that was never seen as ``missing``."""
        with self._lock:
            self._health.expected = expected
            return self._health.parts(now)

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._follow()
            except LogError as error:
                logger.warning("health: the log does not answer (%s); trying again in %s s", error, RECONNECT_S)
            except Exception:
                logger.exception("health: reading heartbeats failed; trying again in %s s", RECONNECT_S)
            self._stop.wait(RECONNECT_S)

    def _follow(self) -> None:
        log = self._connect()
        producer = log.producer(max_queued_bytes=64 * 1024)
        beater = Beater(producer, "web", f"{socket.gethostname()}-{os.getpid()}")
        beater.start()
        try:
            if self._position is None or log.identity != self._identity:
                self._identity = log.identity
                self._position = log.position_at(HEALTH.name, 0, datetime.now(UTC) - timedelta(seconds=LOOK_BACK_S))
            while not self._stop.wait(READ_S):
                self.read(log)
                beater.alive()
        finally:
            beater.stop()
            producer.close(0.5)
            log.close()

    def read(self, log: Log) -> None:
        """Take in what was appended since the last read. Raises ``LogUnavailable``."""
        records = log.read(HEALTH.name, 0, self._position or 0)
        for record in records:
            try:
                beat = decode_heartbeat(record.payload)
            except msgspec.DecodeError:
                logger.warning("health: the record at offset %s is not a heartbeat; skipped", record.offset)
                continue
            with self._lock:
                self._health.record(beat)
        if records:
            self._position = records[-1].offset + 1


class _Expected:
    """``expected_parts``, remembered for a few seconds."""

    def __init__(self) -> None:
        self._parts: tuple[str, ...] = ()
        self._asked_at: datetime | None = None

    def at(self, now: datetime) -> tuple[str, ...]:
        if self._asked_at is None or abs((now - self._asked_at).total_seconds()) > EXPECTED_S:
            self._parts, self._asked_at = expected_parts(), now
        return self._parts


_expected = _Expected()
_started_at = datetime.now(UTC)
_tail = HealthTail(lambda: open_log(LogAddresses.from_environment(), name="web"))


def start() -> None:
    """Beat from now on, and read what the others beat: a screen server that nobody looks at is well too."""
    _tail.start()


def parts(now: datetime) -> list[PartHealth]:
    """What is known of every part at ``now``; the first call starts the tail. Asks the database at most each 5 s."""
    start()
    return _tail.parts(now, _expected.at(now))


def starting(now: datetime) -> bool:
    """Whether this process is so young that a part it has never heard may still be coming up."""
    return (now - _started_at).total_seconds() < GRACE_S
