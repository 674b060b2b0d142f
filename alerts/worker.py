"""The Celery worker's heartbeat: beats only while its main loop goes round and a slot is free or moving."""

from __future__ import annotations

import logging
import os
import socket
import time
from typing import Any

from celery.signals import worker_ready, worker_shutdown
from celery.worker import state

from streams.beat import BEAT_S, Beater, Pulse
from streams.log import Log, LogAddresses, LogError, Producer, open_log

logger = logging.getLogger(__name__)

STUCK_S = 30.0
"""A task that runs longer than any notifier may take does not come back."""


class Heart:
    """Beats for one worker. ``tick`` is called by the worker's own loop, so a loop that stands still falls silent."""

    def __init__(self, log: Log, slots: int) -> None:
        self._log, self._slots = log, slots
        self._producer: Producer = log.producer()
        instance = f"{socket.gethostname()}-{os.getpid()}"
        self._beater = Beater(self._producer, "worker", instance, self.pulse)
        self._beater.start()

    def pulse(self) -> Pulse:
        """Tasks that wait for a slot, and how many run."""
        return Pulse(
            lag=max(0, len(state.reserved_requests) - len(state.active_requests)),
            figures={"running": float(len(state.active_requests)), "slots": float(self._slots)},
        )

    def tick(self) -> None:
        """The worker's loop went round; that counts unless every slot holds a task that does not end."""
        if hung(_started_at(), time.time()) < self._slots:
            self._beater.alive()

    def stop(self) -> None:
        """Beat no more and let go of the log."""
        self._beater.stop()
        self._producer.close()
        self._log.close()


def hung(started_at: list[float], now: float) -> int:
    """How many of the tasks that began at ``started_at`` (seconds) ought to have ended.

    >>> hung([0.0, 95.0], now=100.0)
    1
    """
    return sum(now - started > STUCK_S for started in started_at)


def _started_at() -> list[float]:
    started = [getattr(request, "time_start", None) for request in list(state.active_requests)]
    return [moment for moment in started if moment is not None]


_heart: Heart | None = None


@worker_ready.connect(weak=False)
def _begin(sender: Any, **_: Any) -> None:
    global _heart
    try:
        log = open_log(LogAddresses.from_environment(), name="worker")
        _heart = Heart(log, slots=sender.controller.concurrency or 1)
    except LogError as error:
        # Messages must go out even when nobody can be told that the worker lives.
        logger.error("the worker has no heartbeat: %s", error)
        return
    sender.timer.call_repeatedly(BEAT_S, _heart.tick)


@worker_shutdown.connect(weak=False)
def _end(**_: Any) -> None:
    if _heart is not None:
        _heart.stop()
