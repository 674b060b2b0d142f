"""The producer's queue without a server: a sender of ours decides what becomes of each record."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import pytest

from streams.log import LogError, LogUnavailable
from streams.log_queue import RECORD_OVERHEAD_BYTES, Pending, QueuedProducer, Settle
from streams.topics import MAX_RECORD_BYTES


class OurSender:
    """Acknowledges with growing offsets while ``up``; away otherwise. ``gate`` holds it inside ``send``."""

    def __init__(self) -> None:
        self.up, self.broken = True, False
        self.sent: list[bytes] = []
        self.gate = threading.Event()
        self.gate.set()
        self.tried = threading.Event()

    def send(self, batch: Sequence[Pending], settle: Settle) -> Sequence[Pending]:
        self.tried.set()
        self.gate.wait(5)
        if self.broken:
            raise RuntimeError("a defect")
        if not self.up:
            return batch
        for pending in batch:
            self.sent.append(pending.payload)
            settle(pending, len(self.sent) - 1, None)
        return []

    def close(self, timeout_s: float) -> None:
        self.up = False


def make(sender: OurSender, **more: Any) -> QueuedProducer:
    return QueuedProducer([sender], lambda topic: 0, **{"max_queued_bytes": 100_000, **more})


def test_it_sends_in_order_and_tells_each_offset() -> None:
    sender, offsets = OurSender(), list[int | None]()
    producer = make(sender)
    for number in range(200):
        assert producer.append("t", 0, b"%d" % number, lambda offset, _: offsets.append(offset))
    assert producer.flush(5)
    assert [int(payload) for payload in sender.sent] == list(range(200)) == offsets
    producer.close()


def test_it_refuses_beyond_its_bound_and_takes_again_when_there_is_room() -> None:
    sender = OurSender()
    producer = make(sender, max_queued_bytes=3 * (1000 + RECORD_OVERHEAD_BYTES))
    sender.gate.clear()
    assert [producer.append("t", 0, bytes(1000)) for _ in range(5)] == [True, True, True, False, False]
    assert (producer.counters.given, producer.counters.refused, producer.in_flight) == (5, 2, 3)
    sender.gate.set()
    assert producer.flush(5)
    assert producer.append("t", 0, bytes(1000))
    producer.close()
    assert producer.counters.acknowledged == 4


def test_it_keeps_the_order_over_an_absence_of_the_server() -> None:
    sender = OurSender()
    producer = make(sender)
    sender.up = False
    for number in range(10):
        producer.append("t", 0, b"%d" % number)
    assert sender.tried.wait(5)
    assert not producer.flush(0.05)
    sender.up = True
    assert producer.flush(5)
    assert [int(payload) for payload in sender.sent] == list(range(10))
    producer.close()


def test_it_fails_what_is_older_than_the_delivery_time() -> None:
    now_s = 0.0
    sender, errors = OurSender(), list[Exception | None]()
    producer = make(sender, limits_s=[30], monotonic=lambda: now_s)
    sender.up = False
    producer.append("t", 0, b"old", lambda _, error: errors.append(error))
    assert sender.tried.wait(5)
    now_s = 31.0
    assert producer.flush(5)
    assert isinstance(errors[0], LogUnavailable)
    assert producer.counters.failed == 1
    sender.up = True
    producer.append("t", 0, b"new")
    assert producer.flush(5)
    assert sender.sent == [b"new"]
    producer.close()


def test_without_a_limit_it_keeps_what_an_absence_held_up_and_its_order() -> None:
    now_s = 0.0
    sender = OurSender()
    producer = make(sender, monotonic=lambda: now_s)
    sender.up = False
    producer.append("t", 0, b"0")
    assert sender.tried.wait(5)
    now_s = 3600.0
    producer.append("t", 0, b"1")
    assert not producer.flush(0.1)
    sender.up = True
    assert producer.flush(5)
    assert sender.sent == [b"0", b"1"]
    assert producer.counters.failed == 0
    producer.close()


def test_it_fails_a_record_that_is_too_large_and_says_the_size() -> None:
    sender, errors = OurSender(), list[Exception | None]()
    producer = make(sender, max_queued_bytes=2 * MAX_RECORD_BYTES)
    producer.append("t", 0, bytes(MAX_RECORD_BYTES + 1), lambda _, error: errors.append(error))
    assert producer.flush(5)
    with pytest.raises(
        LogError, match=f"expected at most {MAX_RECORD_BYTES} bytes a record, got {MAX_RECORD_BYTES + 1}"
    ):
        raise errors[0] or AssertionError
    assert sender.sent == []
    producer.close()


def test_it_fails_what_is_left_when_it_is_closed_and_refuses_the_rest() -> None:
    sender = OurSender()
    producer = make(sender)
    sender.up = False
    producer.append("t", 0, b"left")
    producer.close(0.1)
    assert not producer.append("t", 0, b"late")
    counters = producer.counters
    assert (counters.given, counters.acknowledged, counters.failed, counters.refused) == (2, 0, 1, 1)


def test_it_survives_a_callback_that_raises_and_a_sender_that_breaks() -> None:
    sender = OurSender()
    producer = make(sender)

    def raises(offset: int | None, error: Exception | None) -> None:
        raise ValueError("not ours")

    producer.append("t", 0, b"1", raises)
    assert producer.flush(5)
    sender.broken = True
    producer.append("t", 0, b"2")
    assert producer.flush(5)
    sender.broken = False
    producer.append("t", 0, b"3")
    assert producer.flush(5)
    assert (producer.counters.acknowledged, producer.counters.failed) == (2, 1)
    producer.close()
