"""The log's contract, held against both engines over real servers. Nothing here knows which engine runs."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from streams import log_queue
from streams.log import Consumer, Log, LogError, LogUnavailable, Record, TopicMismatch, open_log
from streams.topics import MAX_RECORD_BYTES, Topic

MIB = 2**20
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(
    params=[pytest.param("valkey", marks=pytest.mark.valkey), pytest.param("kafka", marks=pytest.mark.kafka)]
)
def server(request: pytest.FixtureRequest) -> Any:
    """The engine's server: addresses, kill9, start, restart, pause, resume."""
    return request.getfixturevalue(request.param)


@pytest.fixture
def log(server: Any) -> Iterator[Log]:
    opened = open_log(server.addresses, name="contract")
    yield opened
    opened.close()


@pytest.fixture
def topic(log: Log) -> Topic:
    """A durable topic of four partitions that no other test uses."""
    made = Topic(f"t-{uuid4().hex[:8]}", 4, keep_s=3600, keep_bytes=16 * MIB, durable=True)
    log.create([made])
    return made


@pytest.fixture
def producer(log: Log) -> Iterator[Any]:
    made = log.producer()
    yield made
    made.close(1)


class Members:
    """Consumers of one group, closed at the end."""

    def __init__(self, log: Log, topic: Topic) -> None:
        self._log, self._topic, self._made = log, topic, list[Consumer]()

    def join(self, member: str, **more: Any) -> Consumer:
        more = {"session_timeout_s": 3.0, **more}
        self._made.append(self._log.consumer(self._topic.name, "group", member, **more))
        return self._made[-1]

    def close(self) -> None:
        for consumer in self._made:
            consumer.close()


@pytest.fixture
def members(log: Log, topic: Topic) -> Iterator[Members]:
    made = Members(log, topic)
    yield made
    made.close()


@pytest.fixture
def clients(server: Any) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts ``tests.contracts.log_client`` in a process of its own."""
    started: list[subprocess.Popen[str]] = []
    addresses = server.addresses

    def start(*arguments: object) -> subprocess.Popen[str]:
        environment = {
            **os.environ,
            "REDIS_URL": addresses.rest_url,
            "POLISCOPE_FRAMES_URL": addresses.frames_url,
            "POLISCOPE_KAFKA": addresses.kafka,
        }
        command = [sys.executable, "-m", "tests.contracts.log_client", *map(str, arguments)]
        started.append(subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()
        if process.stdout:
            process.stdout.close()


def append_all(producer: Any, topic: Topic, partition: int, payloads: list[bytes]) -> list[int]:
    """The offsets, once all are acknowledged."""
    offsets: list[int] = []
    for payload in payloads:
        assert producer.append(topic.name, partition, payload, lambda offset, _: offsets.append(offset))
    assert producer.flush(20)
    return offsets


def numbers(count: int, start: int = 0) -> list[bytes]:
    return [b"%d" % number for number in range(start, start + count)]


def poll_until(consumers: list[Consumer], done: Callable[[], bool], within_s: float) -> list[Record]:
    """What they read meanwhile; fails when it takes longer."""
    records: list[Record] = []
    deadline = time.monotonic() + within_s
    while not done():
        assert time.monotonic() < deadline, f"not within {within_s} s; assigned: {[c.assignment for c in consumers]}"
        for consumer in consumers:
            records += consumer.poll(0.1)
    return records


def read_until(consumer: Consumer, count: int, within_s: float = 15) -> list[Record]:
    records: list[Record] = []
    deadline = time.monotonic() + within_s
    while len(records) < count:
        assert time.monotonic() < deadline, f"{len(records)} of {count} within {within_s} s"
        records += consumer.poll(0.2)
    return records


def line_of(
    process: subprocess.Popen[str], wanted: str, within_s: float = 15, meanwhile: Sequence[Consumer] = ()
) -> None:
    """Wait for a line; others of the group go on polling, without which nobody gets anything."""
    seen: list[str] = []

    def collect() -> None:
        for line in process.stdout or ():
            seen.append(line.strip())
            if seen[-1] == wanted:
                return

    reader = threading.Thread(target=collect, daemon=True)
    reader.start()
    deadline = time.monotonic() + within_s
    while reader.is_alive() and time.monotonic() < deadline:
        reader.join(0.05)
        for consumer in meanwhile:
            consumer.poll(0.1)
    assert wanted in seen, f"no line {wanted!r} within {within_s} s; the last were {seen[-5:]}"


def test_it_keeps_the_order_of_each_partition(producer: Any, topic: Topic, members: Members) -> None:
    for number in range(600):
        producer.append(topic.name, number % 3, b"%d" % number)
    records = read_until(members.join("alice"), 600)
    for partition in range(3):
        mine = [record for record in records if record.partition == partition]
        assert [int(record.payload) for record in mine] == list(range(partition, 600, 3))
        assert all(later.offset > earlier.offset for earlier, later in pairwise(mine))


def test_it_tells_the_offset_of_each_acknowledged_record(log: Log, producer: Any, topic: Topic) -> None:
    offsets = append_all(producer, topic, 1, numbers(20))
    assert [record.offset for record in log.read(topic.name, 1, log.start(topic.name, 1))] == offsets
    assert log.end(topic.name, 1) == offsets[-1] + 1
    assert producer.counters.given == producer.counters.acknowledged == 20


def test_it_reads_one_position_from_a_position_and_nothing_at_the_end(log: Log, producer: Any, topic: Topic) -> None:
    offsets = append_all(producer, topic, 0, numbers(20))
    found = log.read_one(topic.name, 0, offsets[7])
    assert found is not None
    assert (found.topic, found.partition, found.offset, found.payload) == (topic.name, 0, offsets[7], b"7")
    assert abs((datetime.now(UTC) - found.appended_at).total_seconds()) < 30
    assert log.read_one(topic.name, 0, offsets[-1] + 1) is None
    assert [record.payload for record in log.read(topic.name, 0, offsets[15], 3)] == [b"15", b"16", b"17"]
    assert log.read(topic.name, 0, offsets[-1] + 1) == []
    assert log.read(topic.name, 3, 0) == []


def test_it_finds_the_position_of_a_time(log: Log, producer: Any, topic: Topic) -> None:
    before = append_all(producer, topic, 0, numbers(5))
    time.sleep(0.05)
    after = append_all(producer, topic, 0, numbers(5, 5))
    first_after = log.read_one(topic.name, 0, after[0])
    assert first_after is not None
    assert log.position_at(topic.name, 0, first_after.appended_at) == after[0]
    assert log.position_at(topic.name, 0, first_after.appended_at - timedelta(days=1)) == before[0]
    assert log.position_at(topic.name, 0, first_after.appended_at + timedelta(days=1)) == after[-1] + 1


def test_it_counts_lag_from_the_commit(log: Log, producer: Any, topic: Topic, members: Members) -> None:
    append_all(producer, topic, 0, numbers(10))
    append_all(producer, topic, 1, numbers(5))
    assert log.lag(topic.name, "group") == {0: 10, 1: 5, 2: 0, 3: 0}
    consumer = members.join("alice")
    records = read_until(consumer, 15)
    assert consumer.lag() == 0
    third = [record for record in records if record.partition == 0][2]
    assert consumer.commit({0: third.offset + 1})
    assert log.committed(topic.name, "group") == {0: third.offset + 1}
    assert log.lag(topic.name, "group") == {0: 7, 1: 5, 2: 0, 3: 0}
    append_all(producer, topic, 0, numbers(2))
    assert consumer.lag() == 2


def test_it_resumes_at_the_commit_and_reads_the_uncommitted_again(
    producer: Any, topic: Topic, members: Members
) -> None:
    append_all(producer, topic, 0, numbers(10))
    first = members.join("alice")
    read = read_until(first, 10)
    assert first.commit({0: read[3].offset + 1})
    first.close()
    again = read_until(members.join("bob"), 6)
    assert [record.payload for record in again] == numbers(6, 4)


def test_it_starts_where_on_assigned_sought(producer: Any, topic: Topic, members: Members) -> None:
    offsets = append_all(producer, topic, 2, numbers(10))
    told: list[frozenset[int]] = []

    def seek(partitions: frozenset[int]) -> None:
        told.append(partitions)
        assert threading.current_thread() is threading.main_thread()
        consumer.seek(2, offsets[6])

    consumer = members.join("alice", on_assigned=seek)
    assert [record.payload for record in read_until(consumer, 4)] == numbers(4, 6)
    assert told == [frozenset(range(4))]
    consumer.seek(2, 0)
    assert read_until(consumer, 10)[0].payload == b"0"


def test_it_refuses_another_number_of_partitions(log: Log, topic: Topic) -> None:
    wrong = Topic(topic.name, 5, topic.keep_s, topic.keep_bytes, topic.durable)
    with pytest.raises(TopicMismatch, match="expected 5 partitions, got 4"):
        log.create([wrong])
    with pytest.raises(TopicMismatch, match="expected 5 partitions, got 4"):
        log.verify([wrong])
    with pytest.raises(TopicMismatch, match=r"does not exist.*manage.py log init"):
        log.verify([Topic("missing", 1, 60, MIB, True)])
    log.create([topic])
    log.verify([topic])


def test_it_counts_what_cannot_be_appended_as_failed(producer: Any, topic: Topic) -> None:
    errors: list[Exception] = []
    for place, payload in [
        ((topic.name, 4), b""),
        (("missing", 0), b""),
        ((topic.name, 0), bytes(MAX_RECORD_BYTES + 1)),
    ]:
        assert producer.append(*place, payload, lambda _, error: errors.append(error))
    assert producer.flush(10)
    assert producer.counters.failed == 3
    assert all(isinstance(error, LogError) for error in errors)
    assert append_all(producer, topic, 0, [bytes(MAX_RECORD_BYTES)])


def test_it_shares_partitions_and_hands_them_over_at_once_on_leaving(members: Members) -> None:
    moved: list[frozenset[int]] = []
    alice = members.join("alice", on_revoked=moved.append, session_timeout_s=10.0)
    poll_until([alice], lambda: len(alice.assignment) == 4, 10)
    bob = members.join("bob", session_timeout_s=10.0)
    poll_until([alice, bob], lambda: len(alice.assignment) == len(bob.assignment) == 2, 10)
    assert not alice.assignment & bob.assignment
    assert sum(map(len, moved)) == 2, "a join moves only what must move"
    bob.close()
    poll_until([alice], lambda: len(alice.assignment) == 4, 5)


def test_it_stores_no_commit_of_a_partition_that_is_not_ours(log: Log, topic: Topic, members: Members) -> None:
    alice, bob = members.join("alice"), members.join("bob")
    poll_until([alice, bob], lambda: len(alice.assignment) == len(bob.assignment) == 2, 15)
    (of_bob, *_) = bob.assignment
    assert not alice.commit({of_bob: 3})
    assert bob.commit({of_bob: 1})
    assert log.committed(topic.name, "group")[of_bob] == 1
    bob.close()
    assert not bob.commit({of_bob: 2})


def test_it_takes_over_from_a_killed_member_at_its_commit(
    producer: Any, topic: Topic, members: Members, clients: Callable[..., subprocess.Popen[str]]
) -> None:
    append_all(producer, topic, 0, numbers(10))
    client = clients("consume", topic.name, "group", "alice", 3)
    line_of(client, "assigned 0 1 2 3")
    producer_done = append_all(producer, topic, 1, numbers(5))
    time.sleep(1)
    client.kill()
    client.wait()
    append_all(producer, topic, 1, numbers(3, 5))
    bob = members.join("bob")
    records = read_until(bob, 3)
    assert len(bob.assignment) == 4
    assert [record.payload for record in records] == numbers(3, 5)
    assert records[0].offset > producer_done[-1]


def test_it_gives_a_member_that_returns_its_partitions_back(
    members: Members, topic: Topic, clients: Callable[..., subprocess.Popen[str]]
) -> None:
    moved: list[frozenset[int]] = []
    bob = members.join("bob", session_timeout_s=10.0, on_revoked=moved.append)
    poll_until([bob], lambda: len(bob.assignment) == 4, 10)
    client = clients("consume", topic.name, "group", "alice", 10)
    poll_until([bob], lambda: len(bob.assignment) == 2, 15)
    rest = sorted(set(range(4)) - bob.assignment)
    line_of(client, f"assigned {rest[0]} {rest[1]}", meanwhile=[bob])
    client.kill()
    client.wait()
    moved.clear()
    line_of(clients("consume", topic.name, "group", "alice", 10), f"assigned {rest[0]} {rest[1]}", 9, [bob])
    poll_until([bob], lambda: True, 1)
    assert (len(bob.assignment), moved) == (2, [])


def test_it_keeps_what_a_killed_producer_was_told_is_kept(
    log: Log, topic: Topic, clients: Callable[..., subprocess.Popen[str]]
) -> None:
    client = clients("append", topic.name, 100_000)
    line_of(client, "acknowledged 100")
    client.kill()
    told, _ = client.communicate()
    acknowledged = {int(line.split()[1]) for line in told.splitlines() if line.startswith("acknowledged ")}
    kept = [int(record.payload) for record in log.read(topic.name, 0, 0, 100_000)]
    position = log.read(topic.name, 0, 0, 100_000)[-1].offset + 1
    while more := log.read(topic.name, 0, position, 100_000):
        kept += [int(record.payload) for record in more]
        position = more[-1].offset + 1
    assert set(range(101)) | acknowledged <= set(kept)
    assert kept == sorted(kept)


def test_it_loses_nothing_acknowledged_and_reuses_no_position_when_the_server_is_killed(
    server: Any, log: Log, producer: Any, topic: Topic, members: Members
) -> None:
    identity = log.identity
    before = append_all(producer, topic, 0, numbers(50))
    consumer = members.join("alice", session_timeout_s=10.0)
    assert len(read_until(consumer, 50)) == 50
    server.kill9()
    assert consumer.poll(0.1) == []
    poll_until([consumer], lambda: not consumer.healthy, 6)
    with pytest.raises(LogUnavailable, match="no answer while"):
        log.read(topic.name, 0, 0)
    assert not consumer.commit({0: before[-1] + 1})
    offsets: list[int] = []
    for payload in numbers(20, 50):
        assert producer.append(topic.name, 0, payload, lambda offset, _: offsets.append(offset))
    server.start()
    returned_at = time.monotonic()
    after = read_until(consumer, 20)
    assert time.monotonic() - returned_at < 12
    assert producer.flush(10)
    assert min(offsets) > max(before)
    assert [record.payload for record in after if record.offset in offsets] == numbers(20, 50)
    poll_until([consumer], lambda: consumer.healthy, 5)
    assert consumer.commit({0: after[-1].offset + 1})
    assert sum(log.lag(topic.name, "group").values()) == 0
    assert log.identity == identity
    assert [record.payload for record in log.read(topic.name, 0, 0)][:50] == numbers(50)


def test_a_producer_never_blocks_while_the_server_is_frozen_and_counts_everything(
    server: Any, log: Log, topic: Topic
) -> None:
    producer = log.producer(max_queued_bytes=4 * MIB)
    append_all(producer, topic, 0, [b"first"])
    server.pause()
    slowest_s = 0.0
    taken = 0
    for _ in range(400):
        began = time.monotonic()
        taken += producer.append(topic.name, 0, bytes(40_000))
        slowest_s = max(slowest_s, time.monotonic() - began)
    assert slowest_s < 0.05
    assert 90 <= taken <= 104, "the queue holds 4 MiB and no more"
    counters = producer.counters
    assert (counters.given, counters.refused, counters.failed) == (401, 400 - taken, 0)
    assert counters.given == counters.acknowledged + counters.refused + producer.in_flight
    server.resume()
    assert producer.flush(15)
    assert (counters.acknowledged, producer.in_flight) == (taken + 1, 0)
    producer.close()
    assert not producer.append(topic.name, 0, b"late")
    assert counters.given == counters.acknowledged + counters.failed + counters.refused == 402


def test_a_frame_that_is_too_late_fails_and_the_next_ones_pass(
    server: Any, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    topic = Topic(f"frames.{uuid4().hex[:8]}", 1, keep_s=300, keep_bytes=6 * MIB, durable=False)
    log.create([topic])
    monkeypatch.setattr(log_queue, "FRAMES_S", 2.0)
    producer = log.producer()
    append_all(producer, topic, 0, [b"first"])
    server.pause()
    errors: list[Exception | None] = []
    for _ in range(10):
        producer.append(topic.name, 0, b"late", lambda _, error: errors.append(error))
    assert producer.flush(12)
    assert producer.counters.failed == 10
    assert all(isinstance(error, LogUnavailable) for error in errors)
    server.resume()
    assert append_all(producer, topic, 0, [b"next"])
    assert (producer.counters.given, producer.counters.acknowledged) == (12, 2)
    producer.close()


def test_a_durable_record_is_never_too_late_and_none_overtakes_another(
    server: Any, log: Log, topic: Topic, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_queue, "FRAMES_S", 2.0)
    producer = log.producer()
    append_all(producer, topic, 0, numbers(1))
    server.pause()
    for number in range(1, 9):
        assert producer.append(topic.name, 0, b"%d" % number)
        time.sleep(0.5)  # when the server is back, some are older than a frame may be and some are not
    server.resume()
    assert producer.flush(20)
    assert producer.counters.failed == 0
    payloads = [record.payload for record in log.read(topic.name, 0, 0)]
    # What was not answered may have been written twice; the first time of each is in order, and none is missing.
    assert list(dict.fromkeys(payloads)) == numbers(9)
    producer.close()


def test_it_sheds_the_oldest_under_ten_times_the_bound(server: Any, log: Log, producer: Any) -> None:
    topic = Topic(f"frames.{uuid4().hex[:8]}", 2, keep_s=300, keep_bytes=6 * MIB, durable=False)
    log.create([topic])
    payload, count = bytes(40_000), 10 * 2 * topic.keep_bytes // 40_000
    for number in range(count):
        while not producer.append(topic.name, number % 2, payload):
            time.sleep(0.002)
    assert producer.flush(20)
    deadline = time.monotonic() + 15

    def kept_bytes() -> int:
        return sum(40_000 * (log.end(topic.name, one) - log.start(topic.name, one)) for one in range(topic.partitions))

    # Kafka deletes whole segments, every few seconds: a segment more than the bound may be there.
    allowed = topic.partitions * (topic.keep_bytes + 5 * MIB)
    while kept_bytes() > allowed and time.monotonic() < deadline:
        time.sleep(0.5)
    assert topic.keep_bytes < kept_bytes() <= allowed
    newest = log.read(topic.name, 0, log.end(topic.name, 0) - 1)
    assert [record.payload for record in newest] == [payload]
    early = log.read(topic.name, 0, 0, 1)
    assert early[0].offset == log.start(topic.name, 0), "earlier than what is kept is the earliest kept"
