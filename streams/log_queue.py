"""The producer that both engines share: a bounded queue between callers who must not wait and a thread that may.

One lane for each server (or each kind of acknowledgement), with its own thread and its own bound, so that a frames
server that hangs never holds back an observation.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from streams.log import Appended, LogError, LogUnavailable, OnDone
from streams.topics import MAX_RECORD_BYTES

logger = logging.getLogger(__name__)

FRAMES_S = 30.0
"""A frame that the server has not acknowledged for this long fails: half a minute ago alerts nobody.

Records of durable topics have no such limit, only the queue's bytes: were the older ones of an absence to fail and the
younger to pass, whoever sent them again would send them behind the younger, and a reader has gone past their place.
"""
RECORD_OVERHEAD_BYTES = 256
"""What one queued record costs beyond its payload, so that a million empty ones are bounded too."""
BATCH_RECORDS = 128
BATCH_BYTES = 4 * 2**20
RETRY_FIRST_S, RETRY_LAST_S = 0.05, 0.5
"""Between attempts while the server is away; the ceiling keeps the first append within 1 s of its return."""


@dataclass(slots=True, eq=False)
class Pending:
    """One record on its way."""

    topic: str
    partition: int
    payload: bytes
    on_done: OnDone | None
    given_at: float
    lane: int

    @property
    def size(self) -> int:
        """Bytes it takes in the queue."""
        return len(self.payload) + RECORD_OVERHEAD_BYTES


Settle = Callable[[Pending, int | None, Exception | None], None]


class Sender(Protocol):
    """One engine's way to one server. Used by one thread."""

    def send(self, batch: Sequence[Pending], settle: Settle) -> Sequence[Pending]:
        """Hand the records over in order, now or later calling ``settle`` once for each that is done with.

        Returns those to be tried again (the server is away), a tail of ``batch``. Blocks seconds at most.
        """

    def close(self, timeout_s: float) -> None:
        """Let go of the connection, waiting for what was handed over."""


class QueuedProducer:
    """A ``Producer`` over lanes. ``choose(topic)`` says which sender carries a topic."""

    def __init__(
        self,
        senders: Sequence[Sender],
        choose: Callable[[str], int],
        *,
        max_queued_bytes: int,
        limits_s: Sequence[float] | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """``limits_s``: for each sender, how old an unacknowledged record may become; none unless given."""
        self.counters = Appended()
        self._senders, self._choose = senders, choose
        self._max_queued_bytes, self._monotonic = max_queued_bytes, monotonic
        self._limits_s = [math.inf] * len(senders) if limits_s is None else list(limits_s)
        self._changed = threading.Condition()
        self._queues: list[deque[Pending]] = [deque() for _ in senders]
        self._held_bytes = [0] * len(senders)
        self._in_flight = 0
        self._closing = threading.Event()
        self._stop = threading.Event()
        self._threads: dict[int, threading.Thread] = {}

    @property
    def in_flight(self) -> int:
        """Records accepted and not yet acknowledged or failed."""
        return self._in_flight

    def append(self, topic: str, partition: int, payload: bytes, on_done: OnDone | None = None) -> bool:
        """See ``streams.log.Producer``. The bound holds for each lane and counts what is in flight."""
        lane = self._choose(topic)
        pending = Pending(topic, partition, payload, on_done, self._monotonic(), lane)
        with self._changed:
            self.counters.given += 1
            if self._closing.is_set() or self._held_bytes[lane] + pending.size > self._max_queued_bytes:
                self.counters.refused += 1
                return False
            self._held_bytes[lane] += pending.size
            self._in_flight += 1
            self._queues[lane].append(pending)
            self._ensure_thread(lane)
            self._changed.notify_all()
        return True

    def flush(self, timeout_s: float) -> bool:
        """See ``streams.log.Producer``."""
        with self._changed:
            return self._changed.wait_for(lambda: self._in_flight == 0, timeout_s)

    def close(self, timeout_s: float = 5.0) -> None:
        """See ``streams.log.Producer``. What is not acknowledged by then fails, and is counted so."""
        self._closing.set()
        deadline = self._monotonic() + timeout_s
        self.flush(timeout_s)
        self._stop.set()
        with self._changed:
            self._changed.notify_all()
        for thread in self._threads.values():
            thread.join(max(0.1, deadline - self._monotonic()))

    def _ensure_thread(self, lane: int) -> None:
        if lane not in self._threads:
            self._threads[lane] = threading.Thread(target=self._run, args=(lane,), name=f"log-{lane}", daemon=True)
            self._threads[lane].start()

    def _run(self, lane: int) -> None:
        while (batch := self._take(lane)) or not self._stop.is_set():
            self._deliver(lane, batch)
        self._senders[lane].close(1.0)

    def _take(self, lane: int) -> list[Pending]:
        """The next records in order, at most a batch's worth; empty when stopping or after a short wait."""
        queue, held = self._queues[lane], 0
        taken: list[Pending] = []
        with self._changed:
            self._changed.wait_for(lambda: bool(queue) or self._stop.is_set(), 1.0)
            while queue and len(taken) < BATCH_RECORDS and (not taken or held + queue[0].size <= BATCH_BYTES):
                taken.append(queue.popleft())
                held += taken[-1].size
        return taken

    def _deliver(self, lane: int, batch: Sequence[Pending]) -> None:
        wait_s = RETRY_FIRST_S
        waiting: Sequence[Pending] = self._fit_to_send(batch)
        while waiting:
            try:
                waiting = self._senders[lane].send(waiting, self._settle)
            except Exception as error:
                # A defect of ours must not end the thread: it would refuse every later record in silence.
                logger.exception("the log's producer failed; %s records are counted as failed", len(waiting))
                self._fail(waiting, error)
                return
            if waiting:
                self._stop.wait(wait_s)
                wait_s = min(2 * wait_s, RETRY_LAST_S)
                waiting = self._fit_to_send(waiting)

    def _fit_to_send(self, batch: Sequence[Pending]) -> list[Pending]:
        """Those neither too large, nor too old, nor left behind by a close; the others fail here."""
        now, good = self._monotonic(), []
        for pending in batch:
            if error := self._unfit(pending, now):
                self._settle(pending, None, error)
            else:
                good.append(pending)
        return good

    def _unfit(self, pending: Pending, now: float) -> Exception | None:
        place = f"{pending.topic}/{pending.partition}"
        if len(pending.payload) > MAX_RECORD_BYTES:
            return LogError(
                f"{place}: expected at most {MAX_RECORD_BYTES} bytes a record, got {len(pending.payload)}; "
                "make the picture smaller"
            )
        if now - pending.given_at > (limit_s := self._limits_s[pending.lane]):
            return LogUnavailable(f"{place}: not acknowledged within {limit_s:.0f} s; is the server up?")
        if self._stop.is_set():
            return LogUnavailable(f"{place}: not acknowledged before the producer was closed")
        return None

    def _fail(self, batch: Sequence[Pending], error: Exception) -> None:
        for pending in batch:
            self._settle(pending, None, error)

    def _settle(self, pending: Pending, offset: int | None, error: Exception | None) -> None:
        """Tell, then count: when ``flush`` returns, every ``on_done`` has been called."""
        if pending.on_done is not None:
            try:
                pending.on_done(offset, error)
            except Exception:
                logger.exception("%s/%s: on_done failed", pending.topic, pending.partition)
        with self._changed:
            if error is None:
                self.counters.acknowledged += 1
            else:
                self.counters.failed += 1
            self._held_bytes[pending.lane] -= pending.size
            self._in_flight -= 1
            if self._in_flight == 0:
                self._changed.notify_all()
