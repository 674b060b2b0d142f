"""A process's heartbeat: one record each two seconds on the ``health`` topic, from a thread of its own."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from streams.health import Heartbeat, encode_heartbeat
from streams.log import Producer
from streams.topics import HEALTH

logger = logging.getLogger(__name__)

BEAT_S = 2.0


@dataclass(frozen=True, slots=True)
class Pulse:
    """What a process says of itself: waiting work, a problem's code (empty: none), figures for the screen."""

    lag: int = 0
    problem: str = ""
    figures: dict[str, float] = field(default_factory=dict)


class Beater:
    """Asks ``pulse`` each ``BEAT_S`` and appends the answer.

    The main loop calls ``alive()``; when it has not for ``stuck_s`` the beats stop, so a process whose thread still
    runs but whose work hangs looks silent, which is what it is.
    """

    def __init__(
        self,
        producer: Producer,
        part: str,
        instance: str,
        pulse: Callable[[], Pulse] = Pulse,
        *,
        stuck_s: float = 5.0,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._producer, self._part, self._instance, self._pulse = producer, part, instance, pulse
        self._stuck_s, self._now, self._monotonic = stuck_s, now, monotonic
        self._alive_at = self._monotonic()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"beat-{part}", daemon=True)

    def start(self) -> None:
        """Begin to beat."""
        self._thread.start()

    def alive(self) -> None:
        """The main loop went round."""
        self._alive_at = self._monotonic()

    def beat(self) -> bool:
        """Append one beat now. False when the main loop is stuck or the log refused it."""
        if self._monotonic() - self._alive_at > self._stuck_s:
            return False
        pulse = self._pulse()
        beat = Heartbeat(
            part=self._part,
            instance=self._instance,
            at=self._now(),
            lag=pulse.lag,
            problem=pulse.problem,
            figures=pulse.figures,
        )
        return self._producer.append(HEALTH.name, 0, encode_heartbeat(beat))

    def _run(self) -> None:
        while not self._stop.wait(BEAT_S):
            try:
                self.beat()
            except Exception:
                logger.exception("%s: the heartbeat failed; the next follows in %s s", self._part, BEAT_S)

    def stop(self) -> None:
        """Beat no more."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(2)
