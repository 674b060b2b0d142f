"""Handing deliveries to Celery: ids only, from a thread of its own, so that a frozen broker holds no commit.

Whatever is not handed over is found by the sweep. Nothing here is ever waited for, and nothing here raises.
"""

from __future__ import annotations

import logging
import os
import queue
import threading
import time
from collections.abc import Callable, Iterable
from uuid import UUID

from celery import current_app

logger = logging.getLogger(__name__)

TASK = "alerts.deliver"
WAITING = 2000
REST_S = 1.0
"""After a failure nothing is tried for so long; a frozen broker holds each try for its socket's timeout."""

KNOWN_S = 15.0
"""What a failure of so long ago says of the broker: nothing. With work due there is a try each 5 s."""


def queue_of(severity: str) -> str:
    """The Celery queue for an incident's deliveries."""
    return "critical" if severity == "critical" else "ordinary"


def _publish(uid: str, queue_name: str) -> None:
    # retry=False: kombu would otherwise try again by itself, and block while it does.
    current_app.send_task(TASK, args=[uid], queue=queue_name, retry=False, ignore_result=True)


class Handover:
    """One thread that publishes, and what is known of the broker. Started on first use, again after a fork."""

    def __init__(
        self, publish: Callable[[str, str], None] = _publish, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._publish, self._monotonic = publish, monotonic
        self._lock = threading.Lock()
        self._process = 0
        self._waiting: queue.Queue[tuple[str, str]] = queue.Queue(WAITING)
        self._away_since_s: float | None = None
        self._failed_at_s = float("-inf")

    def give(self, uid: UUID, severity: str) -> None:
        """Publish soon. Full: dropped, the sweep finds it."""
        self._ensure_thread()
        try:
            self._waiting.put_nowait((str(uid), queue_of(severity)))
        except queue.Full:
            logger.warning("delivery %s: too many wait for the broker; the sweep hands it over", uid)

    def away_s(self) -> float:
        """For how long every try has failed; 0 when the last one succeeded, or was so long ago that nobody knows."""
        since_s, now_s = self._away_since_s, self._monotonic()
        return 0.0 if since_s is None or now_s - self._failed_at_s > KNOWN_S else now_s - since_s

    def _ensure_thread(self) -> None:
        with self._lock:
            if self._process == os.getpid():
                return
            self._process = os.getpid()
            self._waiting = queue.Queue(WAITING)
            threading.Thread(target=self._run, args=(self._waiting,), name="handover", daemon=True).start()

    def _run(self, waiting: queue.Queue[tuple[str, str]]) -> None:
        while True:
            uid, queue_name = waiting.get()
            if self._monotonic() - self._failed_at_s >= REST_S:
                self.try_once(uid, queue_name)

    def try_once(self, uid: str, queue_name: str) -> bool:
        """Publish now, on this thread. Never raises."""
        try:
            self._publish(uid, queue_name)
        except Exception as error:
            before_s, self._failed_at_s = self._failed_at_s, self._monotonic()
            if self._away_since_s is None or self._failed_at_s - before_s > KNOWN_S:
                self._away_since_s = self._failed_at_s
                logger.error("Celery's broker cannot be reached (%s); the sweep sends", type(error).__name__)
            return False
        if self._away_since_s is not None:
            logger.warning("Celery's broker is back after %.1f s", self._monotonic() - self._away_since_s)
        self._away_since_s = None
        return True


_handover = Handover()


def hand_over(uids: Iterable[UUID], *, severity: str) -> None:
    """Give deliveries to Celery. Returns at once, never raises, promises nothing."""
    for uid in uids:
        _handover.give(uid, severity)


def broker_away_s() -> float:
    """For how long this process has been unable to reach the broker; 0 when it can, or has not tried."""
    return _handover.away_s()
