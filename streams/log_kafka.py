"""The log in Apache Kafka, through kafka-python with crc32c.

The settings that differ from the client's defaults, and why, stand beside each; ``docs/topics/log.md`` has the figures.
"""

from __future__ import annotations

import logging
import math
import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import Any

from kafka import ConsumerRebalanceListener, KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType, MemberToRemove
from kafka.coordinator.assignors.cooperative_sticky import CooperativeStickyAssignor
from kafka.errors import (
    BrokerResponseError,
    FencedInstanceIdError,
    KafkaError,
    RetriableError,
    TopicAlreadyExistsError,
)
from kafka.structs import MemberState, OffsetAndMetadata

from streams import log_queue
from streams.log import Consumer, LogAddresses, LogError, LogUnavailable, OnPartitions, Producer, Record, TopicMismatch
from streams.log_queue import Pending, QueuedProducer, Settle
from streams.topics import MAX_RECORD_BYTES, Topic

logger = logging.getLogger(__name__)

ANSWER_MS = 3000
"""How long one question may take; the log's callers have heartbeats to send (silent after 5 s)."""
PROBE_S = 1.0
"""A consumer that hears nothing asks the server this often whether it is there."""
PROBE_ANSWER_MS = 2000
BATCH_BYTES = 128 * 1024
ENVELOPE_BYTES = 64 * 1024
"""Allowed beyond ``MAX_RECORD_BYTES`` for the batch around a record."""
DURABLE_S = 600.0
"""The client cannot wait without end for an acknowledgement. What fails after so long is read again by whoever sent it,
and may then stand behind younger records."""
FRAMES, REST = 0, 1

# Its INFO tells of every connection and every rebalance; what matters is said here.
logging.getLogger("kafka").setLevel(logging.ERROR)


def _lane_of(topic: str) -> int:
    return FRAMES if topic.startswith("frames.") else REST


def group_id(topic: str, group: str) -> str:
    """The group as Kafka knows it: one for each topic.

    A group over several topics would rebalance for each other's members, and a member that returned under its name
    with another topic would be handed its former partitions.
    """
    return f"{group}.{topic}"


def topic_settings(topic: Topic) -> dict[str, str]:
    """The bounds as Kafka says them. Whole segments are deleted, so a quarter of the bound is one segment.

    A segment must hold the largest record. Records bear the time of their append, not the producer's.
    """
    segment_bytes = max(topic.keep_bytes // 4, MAX_RECORD_BYTES + ENVELOPE_BYTES)
    return {
        "retention.ms": str(topic.keep_s * 1000),
        "retention.bytes": str(topic.keep_bytes),
        "segment.bytes": str(segment_bytes),
        "segment.ms": str(max(topic.keep_s * 250, 10_000)),
        "max.message.bytes": str(MAX_RECORD_BYTES + ENVELOPE_BYTES),
        "message.timestamp.type": "LogAppendTime",
    }


def _explain(servers: str, what: str, error: Exception) -> LogError:
    if isinstance(error, LogError):
        return error
    if isinstance(error, RetriableError | OSError):
        return LogUnavailable(
            f"the log at {servers}: no answer while {what} ({type(error).__name__}); start it, or mend POLISCOPE_KAFKA"
        )
    return LogError(f"the log at {servers}: refused while {what}: {type(error).__name__}: {error}")


def _record(found: Any) -> Record:
    appended_at = datetime.fromtimestamp(found.timestamp / 1000, UTC)
    return Record(found.topic, found.partition, found.offset, appended_at, found.value or b"")


class KafkaLog:
    """One process's connections to the cluster. Nothing is opened before it is needed."""

    def __init__(self, addresses: LogAddresses, *, name: str = "poliscope") -> None:
        self.servers, self.name = addresses.kafka, name
        self._reader: Any = None
        self._admin: Any = None
        self._reading = threading.Lock()
        self._asking = threading.Lock()
        self._partitions: dict[str, int] = {}

    def common(self) -> dict[str, Any]:
        """What every client is told."""
        return {
            "bootstrap_servers": [server.strip() for server in self.servers.split(",")],
            "client_id": re.sub(r"[^A-Za-z0-9._-]", "-", self.name),
            # The default waits up to 30 s between attempts: the first record passed 27 s after the broker was back.
            "reconnect_backoff_max_ms": 1000,
            "bootstrap_timeout_ms": ANSWER_MS,
        }

    @property
    def identity(self) -> str:
        """See ``streams.log.Log``: the cluster's id."""
        with self._admin_for("reading its identity") as admin:
            return str(admin.describe_cluster()["cluster_id"])

    def create(self, topics: Iterable[Topic]) -> None:
        """See ``streams.log.Log``. As many copies as the cluster's default says."""
        wanted = list(topics)
        known = self._known_topics()
        for topic in wanted:
            if topic.name in known:
                _check(topic, known[topic.name])
        missing = {
            topic.name: {"num_partitions": topic.partitions, "configs": topic_settings(topic)}
            for topic in wanted
            if topic.name not in known
        }
        with self._admin_for("creating topics") as admin:
            if missing:
                with suppress(TopicAlreadyExistsError):  # another process was faster; verify tells any difference
                    admin.create_topics(missing, timeout_ms=ANSWER_MS, wait_for_metadata=True)
            resources = [
                ConfigResource(ConfigResourceType.TOPIC, topic.name, topic_settings(topic))
                for topic in wanted
                if topic.name not in missing
            ]
            if resources:
                admin.alter_configs(resources)

    def verify(self, topics: Iterable[Topic]) -> None:
        """See ``streams.log.Log``."""
        known = self._known_topics()
        for topic in topics:
            _check(topic, known.get(topic.name))

    def _known_topics(self) -> dict[str, int]:
        with self._admin_for("listing topics") as admin:
            found = {row["name"]: len(row["partitions"]) for row in admin.describe_topics()}
        self._partitions = found
        return found

    def partitions(self, topic: str) -> int:
        """How many ``topic`` has, asked once. Raises ``TopicMismatch`` when there is none, ``LogUnavailable``."""
        count = self._partitions.get(topic) or self._known_topics().get(topic)
        if not count:
            raise TopicMismatch(f"topic {topic}: it does not exist in the log; run: manage.py log init")
        return count

    def producer(self, *, max_queued_bytes: int = 32 * 2**20) -> Producer:
        """See ``streams.log.Log``. ``max_queued_bytes`` holds for frames and for the rest, each."""
        frames_s = log_queue.FRAMES_S
        senders = [_KafkaSender(self, 1, delivery_s=frames_s), _KafkaSender(self, "all", delivery_s=DURABLE_S)]
        return QueuedProducer(senders, _lane_of, max_queued_bytes=max_queued_bytes, limits_s=(frames_s, math.inf))

    def consumer(
        self,
        topic: str,
        group: str,
        member: str,
        *,
        on_assigned: OnPartitions | None = None,
        on_revoked: OnPartitions | None = None,
        session_timeout_s: float = 10.0,
    ) -> Consumer:
        """See ``streams.log.Log``. A broker allows sessions from ``group.min.session.timeout.ms`` (usually 6 s) on."""
        return GroupConsumer(self, topic, group, member, on_assigned, on_revoked, session_timeout_s)

    def read(self, topic: str, partition: int, position: int, max_records: int = 500) -> list[Record]:
        """See ``streams.log.Log``."""
        place = TopicPartition(topic, partition)
        with self._reader_for(f"reading {topic}/{partition}") as reader:
            start = reader.beginning_offsets([place], timeout_ms=ANSWER_MS)[place]
            if max(position, start) >= reader.end_offsets([place], timeout_ms=ANSWER_MS)[place]:
                return []
            reader.assign([place])
            try:
                reader.seek(place, max(position, start))
                rows = reader.poll(ANSWER_MS, max_records=max_records).get(place, [])
            finally:
                reader.assign([])  # or it would go on fetching ahead
        if not rows:
            raise LogUnavailable(f"the log at {self.servers}: no record of {topic}/{partition} within {ANSWER_MS} ms")
        return [_record(row) for row in rows]

    def read_one(self, topic: str, partition: int, offset: int) -> Record | None:
        """See ``streams.log.Log``."""
        found = self.read(topic, partition, offset, 1) if offset >= 0 else []
        return found[0] if found and found[0].offset == offset else None

    def start(self, topic: str, partition: int) -> int:
        """See ``streams.log.Log``."""
        return self._offsets("beginning_offsets", topic, [partition])[partition]

    def end(self, topic: str, partition: int) -> int:
        """See ``streams.log.Log``."""
        return self._offsets("end_offsets", topic, [partition])[partition]

    def _offsets(self, question: str, topic: str, partitions: Iterable[int]) -> dict[int, int]:
        places = [TopicPartition(topic, partition) for partition in partitions]
        with self._reader_for(f"measuring {topic}") as reader:
            answer = getattr(reader, question)(places, timeout_ms=ANSWER_MS)
        return {place.partition: int(offset) for place, offset in answer.items()}

    def position_at(self, topic: str, partition: int, at: datetime) -> int:
        """See ``streams.log.Log``. Records that came in one batch share one time."""
        place, at_ms = TopicPartition(topic, partition), -int(-at.timestamp() * 1000 // 1)
        with self._reader_for(f"searching {topic}/{partition}") as reader:
            found = reader.offsets_for_times({place: at_ms}, timeout_ms=ANSWER_MS).get(place)
        return int(found.offset) if found else self.end(topic, partition)

    def committed(self, topic: str, group: str) -> dict[int, int]:
        """See ``streams.log.Log``."""
        name = group_id(topic, group)
        with self._admin_for(f"reading the positions of {name}") as admin:
            rows = admin.list_group_offsets({name: None}).get(name, {})
        return {place.partition: row.offset for place, row in rows.items() if place.topic == topic and row.offset >= 0}

    def lag(self, topic: str, group: str) -> dict[int, int]:
        """See ``streams.log.Log``."""
        committed, partitions = self.committed(topic, group), range(self.partitions(topic))
        starts = self._offsets("beginning_offsets", topic, partitions)
        ends = self._offsets("end_offsets", topic, partitions)
        return {one: max(0, ends[one] - max(committed.get(one, 0), starts[one])) for one in partitions}

    def remove_member(self, topic: str, group: str, member: str) -> None:
        """Take a static member out of its group: Kafka itself would wait for its session to end."""
        with self._admin_for(f"leaving {group}") as admin:
            admin.remove_group_members(group_id(topic, group), [MemberToRemove(group_instance_id=member)])

    @contextmanager
    def _reader_for(self, what: str) -> Iterator[Any]:
        with self._reading, self.explaining(what):
            if self._reader is None:
                self._reader = KafkaConsumer(
                    **self.common(),
                    auto_offset_reset="earliest",
                    enable_auto_commit=False,
                    request_timeout_ms=ANSWER_MS,
                    fetch_max_bytes=MAX_RECORD_BYTES + ENVELOPE_BYTES,
                    allow_auto_create_topics=False,
                    metrics_enabled=False,
                )
            yield self._reader

    @contextmanager
    def _admin_for(self, what: str) -> Iterator[Any]:
        with self._asking, self.explaining(what):
            if self._admin is None:
                self._admin = KafkaAdminClient(**self.common(), request_timeout_ms=ANSWER_MS)
            yield self._admin

    @contextmanager
    def explaining(self, what: str) -> Iterator[None]:
        """Turns the client's errors into ``LogUnavailable`` or ``LogError``."""
        try:
            yield
        except (KafkaError, OSError) as error:
            raise _explain(self.servers, what, error) from None

    def close(self) -> None:
        """See ``streams.log.Log``."""
        with self._reading:
            if self._reader is not None:
                self._reader.close(autocommit=False, timeout_ms=500)
                self._reader = None
        with self._asking:
            if self._admin is not None:
                self._admin.close()
                self._admin = None


def _check(wanted: Topic, found: int | None) -> None:
    if found is None:
        raise TopicMismatch(f"topic {wanted.name}: it does not exist in the log; run: manage.py log init")
    if found != wanted.partitions:
        raise TopicMismatch(
            f"topic {wanted.name}: expected {wanted.partitions} partitions, got {found}; "
            "run the version that made it, or delete the topic and run: manage.py log init"
        )


class _KafkaSender:
    """Hands records to one KafkaProducer, which is made on first use (making it waits for the server)."""

    def __init__(self, log: KafkaLog, acks: int | str, delivery_s: float) -> None:
        self._log, self._acks, self._delivery_s = log, acks, delivery_s
        self._producer: Any = None

    def send(self, batch: Sequence[Pending], settle: Settle) -> Sequence[Pending]:
        """See ``streams.log_queue.Sender``. Unacknowledged records stay in the client's memory, inside our bound."""
        for done, pending in enumerate(batch):
            try:
                future = self._hand_over(pending)
            except (RetriableError, LogUnavailable, OSError):
                return batch[done:]
            except (KafkaError, LogError, ValueError) as error:
                settle(pending, None, self._explain(pending, error))
                continue
            future.add_callback(lambda metadata, pending=pending: settle(pending, metadata.offset, None))
            future.add_errback(lambda error, pending=pending: settle(pending, None, self._explain(pending, error)))
        return []

    def _hand_over(self, pending: Pending) -> Any:
        count = self._log.partitions(pending.topic)
        if not 0 <= pending.partition < count:
            raise LogError(f"{pending.topic}: expected a partition of 0 to {count - 1}, got {pending.partition}")
        if self._producer is None:
            self._producer = self._make()
        return self._producer.send(pending.topic, pending.payload, partition=pending.partition)

    def _make(self) -> Any:
        return KafkaProducer(
            **self._log.common(),
            acks=self._acks,
            # With idempotence kafka-python 3.0.12 wedges for ever once a retried batch expired. We promise at least
            # once and readers know repeats by themselves; one request in flight keeps the order.
            enable_idempotence=False,
            max_in_flight_requests_per_connection=1,
            delivery_timeout_ms=int(self._delivery_s * 1000),
            request_timeout_ms=min(10_000, int(self._delivery_s * 500)),
            max_block_ms=1000,
            max_request_size=MAX_RECORD_BYTES + ENVELOPE_BYTES,
            batch_size=BATCH_BYTES,
            allow_auto_create_topics=False,
            metrics_enabled=False,
        )

    def _explain(self, pending: Pending, error: Exception) -> LogError:
        return _explain(self._log.servers, f"appending to {pending.topic}/{pending.partition}", error)

    def close(self, timeout_s: float) -> None:
        """See ``streams.log_queue.Sender``."""
        if self._producer is not None:
            self._producer.close(timeout_s)


class _Changes(ConsumerRebalanceListener):  # type: ignore[misc]
    """Notes what the client's own thread tells, for ``poll`` to act on in its caller's.

    Newly assigned partitions are paused at once, so that nothing is read of them before ``on_assigned`` had its say.
    """

    def __init__(self, pause: Callable[..., None]) -> None:
        self._pause = pause
        self._lock = threading.Lock()
        self._noted: list[tuple[bool, frozenset[int]]] = []

    def on_partitions_assigned(self, assigned: Iterable[Any]) -> None:
        """Called by the client."""
        places = list(assigned)
        self._pause(*places)
        self._note(True, places)

    def on_partitions_revoked(self, revoked: Iterable[Any]) -> None:
        """Called by the client; also for partitions lost."""
        self._note(False, revoked)

    def _note(self, ours: bool, places: Iterable[Any]) -> None:
        partitions = frozenset(place.partition for place in places)
        if partitions:
            with self._lock:
                self._noted.append((ours, partitions))

    def take(self) -> tuple[bool, frozenset[int]] | None:
        """The oldest that was noted and not taken; None when there is none.

        One at a time: whoever acts on it may raise, and what follows must still be there at the next poll.
        """
        with self._lock:
            return self._noted.pop(0) if self._noted else None


class GroupConsumer:
    """See ``streams.log.Consumer``."""

    def __init__(
        self,
        log: KafkaLog,
        topic: str,
        group: str,
        member: str,
        on_assigned: OnPartitions | None,
        on_revoked: OnPartitions | None,
        session_s: float,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._log, self._topic, self._group = log, topic, group
        self._member = re.sub(r"[^A-Za-z0-9._-]", "-", member)
        self._on_assigned, self._on_revoked = on_assigned, on_revoked
        self._session_s, self._monotonic = session_s, monotonic
        self._assignment: frozenset[int] = frozenset()
        self._changes: _Changes | None = None
        self._consumer: Any = None
        self._healthy = True
        self._fenced = False
        self._heard_at = self._stable_at = monotonic()

    @property
    def assignment(self) -> frozenset[int]:
        """See ``streams.log.Consumer``."""
        return self._assignment

    @property
    def healthy(self) -> bool:
        """See ``streams.log.Consumer``."""
        return self._healthy and not self._fenced

    def poll(self, timeout_s: float, max_records: int = 500) -> list[Record]:
        """See ``streams.log.Consumer``. With the server away it takes up to 3 s longer than ``timeout_s``."""
        deadline = self._monotonic() + timeout_s
        while True:
            left_s = max(0.0, deadline - self._monotonic())
            rows = self._poll_once(min(left_s, 0.5), max_records)
            self._apply_changes()
            records = [_record(row) for place in rows for row in rows[place] if place.partition in self._assignment]
            if records:
                self._well()
                return records
            self._probe_when_due()
            if self._consumer is not None and not self._fenced:
                self._start_over_when_stuck()
            if self._monotonic() >= deadline:
                return []

    def _poll_once(self, timeout_s: float, max_records: int) -> dict[Any, list[Any]]:
        if self._fenced:
            time.sleep(timeout_s)
            return {}
        try:
            if self._consumer is None:
                self._consumer = self._make()
            rows: dict[Any, list[Any]] = self._consumer.poll(int(timeout_s * 1000), max_records=max_records)
            return rows
        except FencedInstanceIdError:
            self._fenced = True
            logger.error(
                "%s: another process bears this name in group %s; this one stops reading", self._member, self._group
            )
            self._drop(self._assignment)
        except (KafkaError, OSError) as error:
            self._away(error)
            time.sleep(min(timeout_s, 0.2))
        return {}

    def _make(self) -> Any:
        session_ms = int(self._session_s * 1000)
        consumer = KafkaConsumer(
            **self._log.common(),
            group_id=group_id(self._topic, self._group),
            group_instance_id=self._member,
            partition_assignment_strategy=[CooperativeStickyAssignor()],
            session_timeout_ms=session_ms,
            heartbeat_interval_ms=min(1000, session_ms // 5),
            max_poll_interval_ms=300_000,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            max_poll_records=500,
            fetch_max_bytes=16 * 2**20,
            # A frozen broker is noticed by our own probe; this bounds what waits inside the client.
            request_timeout_ms=max(2 * ANSWER_MS, session_ms),
            allow_auto_create_topics=False,
            metrics_enabled=False,
        )
        self._changes = _Changes(consumer.pause)
        consumer.subscribe([self._topic], listener=self._changes)
        # Joining before the topic's metadata is here assigns nothing, and the second join that follows is lost when a
        # poll's time ends within it (see _start_over_when_stuck).
        consumer.partitions_for_topic(self._topic)
        self._stable_at = self._monotonic()
        return consumer

    def _start_over_when_stuck(self) -> None:
        """kafka-python 3.0.12 forgets a join that ends between two polls if new metadata had caused it.

        It then is in no group and sends no heartbeat, for ever. A fresh client under the same name has its partitions
        back at once.
        """
        now = self._monotonic()
        if self._consumer.group_metadata().state == MemberState.STABLE or not self._healthy:
            self._stable_at = now
        elif now - self._stable_at > self._session_s:
            logger.warning("%s: not in group %s for %.0f s; it joins anew", self._member, self._group, self._session_s)
            self._drop(self._assignment)
            with suppress(KafkaError, OSError):
                self._consumer.close(autocommit=False, timeout_ms=1000)
            self._consumer = self._changes = None

    def _apply_changes(self) -> None:
        while change := self._changes.take() if self._changes else None:
            ours, partitions = change
            if not ours:
                self._drop(partitions)
            elif gained := partitions - self._assignment:
                self._gain(gained)

    def _gain(self, gained: frozenset[int]) -> None:
        self._assignment |= gained
        try:
            if self._on_assigned:
                self._on_assigned(gained)
        finally:
            # Whatever the owner raised: it counts them as ours, so they must not stay paused for ever.
            held = self._consumer.assignment()
            self._consumer.resume(*(place for place in map(self._place, gained) if place in held))

    def _drop(self, partitions: frozenset[int]) -> None:
        if lost := partitions & self._assignment:
            try:
                if self._on_revoked:
                    self._on_revoked(lost)
            finally:
                self._assignment -= lost

    def _place(self, partition: int) -> Any:
        return TopicPartition(self._topic, partition)

    def _probe_when_due(self) -> None:
        """An empty poll tells nothing about the server, so ask it."""
        if self._consumer is None or self._fenced or self._monotonic() - self._heard_at < PROBE_S:
            return
        try:
            self._consumer.end_offsets([self._place(0)], timeout_ms=PROBE_ANSWER_MS)
            self._well()
        except (KafkaError, OSError) as error:
            self._away(error)

    def _well(self) -> None:
        self._healthy, self._heard_at = True, self._monotonic()

    def _away(self, error: Exception) -> None:
        if self._healthy:
            logger.warning("%s", _explain(self._log.servers, f"{self._member} polled for {self._group}", error))
        self._healthy = False

    def seek(self, partition: int, position: int) -> None:
        """See ``streams.log.Consumer``."""
        if partition not in self._assignment:
            raise ValueError(f"{self._topic}/{partition}: not ours now, so it cannot be read from {position}")
        self._consumer.seek(self._place(partition), max(0, position))

    def commit(self, positions: Mapping[int, int]) -> bool:
        """See ``streams.log.Consumer``. All or nothing."""
        if not positions:
            return True
        if self._consumer is None or self._fenced or not self._assignment.issuperset(positions):
            return False
        offsets = {self._place(partition): OffsetAndMetadata(to, "", -1) for partition, to in positions.items()}
        try:
            self._consumer.commit(offsets, timeout_ms=ANSWER_MS)
        except BrokerResponseError:
            return False
        except (KafkaError, OSError) as error:
            self._away(error)
            return False
        return True

    def lag(self) -> int:
        """See ``streams.log.Consumer``. 0 while the server is away: ``healthy`` says so."""
        places = [self._place(partition) for partition in self._assignment]
        if not places or self._consumer is None:
            return 0
        try:
            ends = self._consumer.end_offsets(places, timeout_ms=ANSWER_MS)
            positions = {place: self._consumer.position(place, timeout_ms=ANSWER_MS) for place in places}
        except (KafkaError, OSError) as error:
            self._away(error)
            return 0
        return sum(max(0, end - (positions[place] or 0)) for place, end in ends.items())

    def close(self) -> None:
        """See ``streams.log.Consumer``. A static member is removed by name, or its partitions would lie idle."""
        if self._consumer is None:
            return
        joined = not self._fenced
        with suppress(KafkaError, OSError):
            self._consumer.close(autocommit=False, timeout_ms=1000)
        if joined:
            try:
                self._log.remove_member(self._topic, self._group, self._member)
            except LogError as error:
                logger.warning("%s", error)
        self._consumer, self._assignment = None, frozenset()
