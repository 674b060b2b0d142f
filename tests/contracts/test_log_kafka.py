"""What only the Kafka engine needs: bounds as Kafka says them, and a way out of a defect of its client."""

from __future__ import annotations

import time
from collections.abc import Iterator
from types import SimpleNamespace
from uuid import uuid4

import pytest
from kafka.structs import MemberState

from streams.log import LogAddresses, open_log
from streams.log_kafka import GroupConsumer, KafkaLog, group_id, topic_settings
from streams.topics import MAX_RECORD_BYTES, Topic, standing_topics

pytestmark = pytest.mark.kafka

MIB = 2**20


@pytest.fixture
def log(kafka_addresses: LogAddresses) -> Iterator[KafkaLog]:
    opened = open_log(kafka_addresses)
    assert isinstance(opened, KafkaLog)
    yield opened
    opened.close()


@pytest.mark.parametrize("topic", standing_topics(["general"]), ids=lambda topic: topic.name)
def test_a_segment_holds_the_largest_record(topic: Topic) -> None:
    settings = topic_settings(topic)
    assert int(settings["segment.bytes"]) > MAX_RECORD_BYTES
    assert int(settings["max.message.bytes"]) > MAX_RECORD_BYTES
    assert int(settings["retention.bytes"]) == topic.keep_bytes
    assert int(settings["segment.ms"]) <= int(settings["retention.ms"])


def test_creating_again_sets_the_bounds_anew(log: KafkaLog) -> None:
    name = f"t-{uuid4().hex[:8]}"
    log.create([Topic(name, 1, keep_s=3600, keep_bytes=64 * MIB, durable=True)])
    log.create([Topic(name, 1, keep_s=60, keep_bytes=32 * MIB, durable=True)])
    with log._admin_for("looking") as admin:
        from kafka.admin import ConfigResource, ConfigResourceType

        told = str(admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, name)]))
    assert "60000" in told and str(32 * MIB) in told and str(64 * MIB) not in told


def test_groups_of_two_topics_are_two() -> None:
    assert group_id("frames.a", "detect") != group_id("frames.b", "detect")


def test_partitions_are_read_although_their_owner_failed_to_take_them(log: KafkaLog) -> None:
    topic = Topic(f"t-{uuid4().hex[:8]}", 2, keep_s=3600, keep_bytes=MIB, durable=True)
    log.create([topic])
    producer = log.producer()
    for partition in range(2):
        producer.append(topic.name, partition, b"%d" % partition)
    assert producer.flush(20)

    def refuses(partitions: frozenset[int]) -> None:
        raise RuntimeError("the owner's database is away")

    consumer = log.consumer(topic.name, "group", "alice", on_assigned=refuses, session_timeout_s=2.0)
    read: list[bytes] = []
    raised = 0
    deadline = time.monotonic() + 15
    while len(read) < 2 and time.monotonic() < deadline:
        try:
            read += [record.payload for record in consumer.poll(0.2)]
        except RuntimeError:
            raised += 1
    assert raised
    assert consumer.assignment == {0, 1}
    assert sorted(read) == [b"0", b"1"]
    consumer.close()
    producer.close()


def test_changes_that_follow_one_that_failed_are_not_lost(log: KafkaLog) -> None:
    topic = Topic(f"t-{uuid4().hex[:8]}", 3, keep_s=3600, keep_bytes=MIB, durable=True)
    log.create([topic])
    told: list[frozenset[int]] = []

    def refuses_the_first(partitions: frozenset[int]) -> None:
        told.append(partitions)
        if len(told) == 1:
            raise RuntimeError("the owner's database is away")

    consumer = log.consumer(topic.name, "group", "alice", on_assigned=refuses_the_first, session_timeout_s=2.0)
    assert isinstance(consumer, GroupConsumer)
    consumer._consumer = consumer._make()
    assert consumer._changes is not None
    for ours, partition in ((True, 0), (True, 1), (False, 0), (True, 2)):
        consumer._changes._note(ours, [consumer._place(partition)])
    with pytest.raises(RuntimeError):
        consumer._apply_changes()
    consumer._apply_changes()
    assert consumer.assignment == {1, 2}
    assert told == [{0}, {1}, {2}]
    consumer.close()


def test_a_member_that_its_client_forgot_joins_anew(log: KafkaLog) -> None:
    topic = Topic(f"t-{uuid4().hex[:8]}", 4, keep_s=3600, keep_bytes=MIB, durable=True)
    log.create([topic])
    revoked: list[frozenset[int]] = []
    consumer = log.consumer(topic.name, "group", "alice", on_revoked=revoked.append, session_timeout_s=2.0)
    assert isinstance(consumer, GroupConsumer)
    deadline = time.monotonic() + 10
    while not consumer.assignment and time.monotonic() < deadline:
        consumer.poll(0.2)
    stuck = consumer._consumer
    stuck.group_metadata = lambda: SimpleNamespace(state=MemberState.REBALANCING)
    deadline = time.monotonic() + 10
    while (consumer._consumer in (stuck, None) or not consumer.assignment) and time.monotonic() < deadline:
        consumer.poll(0.2)
    assert revoked == [frozenset(range(4))]
    assert consumer.assignment == frozenset(range(4))
    assert consumer.commit({0: 0})
    consumer.close()
