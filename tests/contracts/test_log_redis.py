"""What only the Redis engine promises: positions over a loss of memory, its own account of bytes, its own groups."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from typing import Any

import pytest

from streams.log import LogUnavailable, open_log
from streams.log_redis import Bounds, RedisLog, meta_key, stream_key
from streams.topics import Topic
from tests.services.valkey import Valkey

pytestmark = pytest.mark.valkey

MIB = 2**20
FRAMES = Topic("frames.test", 2, keep_s=300, keep_bytes=2 * MIB, durable=False)
OBSERVATIONS = Topic("observations", 4, keep_s=3600, keep_bytes=MIB, durable=True)


@pytest.fixture
def log(valkey: Valkey) -> Iterator[RedisLog]:
    opened = open_log(valkey.addresses)
    assert isinstance(opened, RedisLog)
    opened.create([FRAMES, OBSERVATIONS])
    yield opened
    opened.close()


@pytest.fixture
def producer(log: RedisLog) -> Iterator[Any]:
    made = log.producer()
    yield made
    made.close(1)


def append(producer: Any, topic: Topic, payload: bytes, partition: int = 0) -> int | Exception:
    done: list[int | Exception] = []
    assert producer.append(topic.name, partition, payload, lambda offset, error: done.append(error or offset))
    assert producer.flush(10)
    return done[0]


@pytest.mark.parametrize(
    ("bounds", "position", "records"),
    [
        (Bounds(0, 0, 0, ()), 0, 0),
        (Bounds(5, 10, 0, ()), 0, 5),
        (Bounds(5, 10, 0, ()), 8, 2),
        (Bounds(5, 10, 0, ()), 99, 0),
        (Bounds(10, 120, 0, ((20, 100),)), 0, 30),
        (Bounds(10, 120, 0, ((20, 100),)), 20, 20),
        (Bounds(10, 120, 0, ((20, 100),)), 60, 20),
        (Bounds(10, 120, 0, ((20, 100),)), 110, 10),
        (Bounds(10, 320, 0, ((20, 100), (110, 300))), 15, 35),
    ],
)
def test_lag_counts_records_and_not_the_numbers_that_none_ever_had(bounds: Bounds, position: int, records: int) -> None:
    assert bounds.records_from(position) == records


def test_a_frames_server_that_restarts_empty_never_hands_out_an_old_position(
    valkey: Valkey, log: RedisLog, producer: Any
) -> None:
    before = [append(producer, FRAMES, b"%d" % number) for number in range(50)]
    consumer = log.consumer(FRAMES.name, "detect", "alice")
    while len(consumer.poll(0.1)) == 0:
        pass
    valkey.restart("frames")
    assert (log.start(FRAMES.name, 0), log.end(FRAMES.name, 0)) == (0, 0)
    assert log.read_one(FRAMES.name, 0, int(before[-1])) is None  # type: ignore[arg-type]
    after = append(producer, FRAMES, b"after")
    assert isinstance(after, int)
    assert after > max(int(one) for one in before)  # type: ignore[arg-type]
    deadline = time.monotonic() + 5
    while not (records := consumer.poll(0.2)):
        assert time.monotonic() < deadline
    assert [record.payload for record in records] == [b"after"]
    assert consumer.lag() == 0
    consumer.close()


def test_a_position_is_not_reused_when_the_file_lost_its_last_second(
    valkey: Valkey, log: RedisLog, producer: Any
) -> None:
    told = [append(producer, OBSERVATIONS, b"%d" % number) for number in range(20)]
    rest: Any = valkey.client()
    # As after a power failure: the records and our account of them are back where they were a moment ago.
    rest.xtrim(stream_key("observations", 0), maxlen=0)
    rest.hset(meta_key("observations", 0), "next", str(int(told[9]) + 1))  # type: ignore[arg-type]
    valkey.restart("rest")
    new = append(producer, OBSERVATIONS, b"new")
    assert isinstance(new, int)
    assert new > int(told[-1])  # type: ignore[arg-type]


def test_lag_stays_right_over_a_restart(valkey: Valkey, log: RedisLog, producer: Any) -> None:
    first = append(producer, OBSERVATIONS, b"1")
    valkey.restart("rest")
    second = append(producer, OBSERVATIONS, b"2")
    assert isinstance(first, int) and isinstance(second, int)
    assert second > first + 1, "the new run starts at the time"
    assert log.lag("observations", "nobody")[0] == 2
    assert [record.payload for record in log.read("observations", 0, 0)] == [b"1", b"2"]
    assert log.position_at("observations", 0, log.read("observations", 0, second)[0].appended_at) == second


def test_the_account_of_bytes_is_what_the_stream_holds_under_ten_times_the_bound(
    valkey: Valkey, log: RedisLog, producer: Any
) -> None:
    frames: Any = valkey.client("frames")
    empty_bytes = frames.info("memory")["used_memory"]
    for number in range(2 * 10 * FRAMES.keep_bytes // 40_000):
        while not producer.append(FRAMES.name, number % 2, bytes(30_000 + number % 20_000)):
            time.sleep(0.001)
    assert producer.flush(20)
    for partition, held in log.bounds(FRAMES.name, range(2)).items():
        entries = frames.xrange(stream_key(FRAMES.name, partition))
        assert held.size_bytes == sum(len(fields[b"p"]) + 64 for _, fields in entries)
        assert FRAMES.keep_bytes - 60_000 < held.size_bytes <= FRAMES.keep_bytes
        assert (held.first, held.end - held.first) == (int(entries[0][0].split(b"-")[0]), len(entries))
    assert frames.info("memory")["used_memory"] - empty_bytes < 2 * 1.5 * FRAMES.keep_bytes


def test_the_oldest_go_when_they_are_too_old(valkey: Valkey, log: RedisLog, producer: Any) -> None:
    short = Topic("frames.short", 1, keep_s=1, keep_bytes=MIB, durable=False)
    log.create([short])
    append(producer, short, b"old")
    time.sleep(0.6)
    append(producer, short, b"middle")
    time.sleep(0.6)
    append(producer, short, b"new")
    assert [record.payload for record in log.read(short.name, 0, 0)] == [b"middle", b"new"]
    time.sleep(1.2)
    assert log.read(short.name, 0, 0) == [], "an idle partition empties by itself"
    assert log.start(short.name, 0) == log.end(short.name, 0)


def test_a_full_server_sheds_old_frames_and_refuses_observations_so_that_others_can_write(
    valkey: Valkey, log: RedisLog, producer: Any
) -> None:
    wide = Topic("frames.wide", 1, keep_s=300, keep_bytes=1024 * MIB, durable=False)
    durable = Topic("events", 1, keep_s=300, keep_bytes=1024 * MIB, durable=True)
    log.create([wide, durable])
    clients: dict[str, Any] = {"frames": valkey.client("frames"), "rest": valkey.client("rest")}
    ceilings = {}
    for role, client in clients.items():
        ceilings[role] = client.config_get("maxmemory")["maxmemory"]
        client.config_set("maxmemory", 64 * MIB)
    try:
        for _ in range(2500):
            for topic in (wide, durable):
                while not producer.append(topic.name, 0, bytes(40_000)):
                    time.sleep(0.002)
        assert producer.flush(30)
        assert isinstance(append(producer, wide, b"newest"), int)
        assert log.read(wide.name, 0, log.end(wide.name, 0) - 1)[0].payload == b"newest"
        refused = append(producer, durable, b"newest")
        assert "FULL" in str(refused) and "maxmemory" in str(refused)
        clients["rest"].lpush("celery", b"an alert")
        assert clients["frames"].info("memory")["used_memory"] < 72 * MIB
        counters = producer.counters
        assert counters.given == counters.acknowledged + counters.failed + counters.refused
    finally:
        for role, client in clients.items():
            client.config_set("maxmemory", ceilings[role])


def test_a_frozen_frames_server_holds_back_no_observation(valkey: Valkey, log: RedisLog, producer: Any) -> None:
    append(producer, FRAMES, b"first")
    valkey.pause("frames")
    for _ in range(10):
        producer.append(FRAMES.name, 0, b"late")
    done: list[int | None] = []
    began = time.monotonic()
    producer.append(OBSERVATIONS.name, 0, b"at once", lambda offset, _: done.append(offset))
    while not done:
        assert time.monotonic() - began < 1
        time.sleep(0.01)
    valkey.resume("frames")
    assert producer.flush(10)


def test_a_second_bearer_of_a_name_fences_the_first(
    log: RedisLog, producer: Any, caplog: pytest.LogCaptureFixture
) -> None:
    position = append(producer, OBSERVATIONS, b"1")
    first = log.consumer("observations", "group", "alice")
    assert [record.payload for record in first.poll(2)] == [b"1"]
    second = log.consumer("observations", "group", "alice")
    assert [record.payload for record in second.poll(2)] == [b"1"]
    assert second.assignment == frozenset(range(4))
    assert isinstance(position, int)
    assert not first.commit({0: position + 1})
    with caplog.at_level(logging.ERROR):
        deadline = time.monotonic() + 3
        while first.assignment and time.monotonic() < deadline:
            first.poll(0.1)
    assert not first.assignment and not first.healthy
    assert "another process bears this name" in caplog.text
    first.close()
    assert second.commit({0: position + 1}), "closing the fenced one takes nothing from its successor"
    second.close()


def test_work_that_takes_longer_than_the_session_keeps_its_partitions(log: RedisLog) -> None:
    busy = log.consumer("observations", "group", "alice", session_timeout_s=0.6)
    busy.poll(0.1)
    time.sleep(1.5)
    other = log.consumer("observations", "group", "bob", session_timeout_s=0.6)
    other.poll(0.1)
    assert busy.commit({0: 1})
    assert not other.assignment
    busy.close()
    other.poll(1)
    assert other.assignment == frozenset(range(4))
    other.close()


def test_no_error_and_no_log_line_holds_the_password(
    valkey: Valkey, log: RedisLog, caplog: pytest.LogCaptureFixture
) -> None:
    secret = valkey.rest_url.split(":")[2].split("@")[0]
    consumer = log.consumer("observations", "group", "alice")
    consumer.poll(0.1)
    valkey.kill9("rest")
    consumer.poll(0.5)
    with pytest.raises(LogUnavailable) as raised:
        log.end("observations", 0)
    assert "redis://…@127.0.0.1" in str(raised.value)
    assert secret not in str(raised.value) + caplog.text + repr(raised.value)
    consumer.close()
