"""The log's one contract. Two engines keep it, ``log_kafka`` and ``log_redis``; nothing else knows which runs.

Promised by both: order within a partition; at-least-once from append to read; a position (offset) is never reused
and grows by at least one; bounded memory and disk by the topic's own numbers; a record that was acknowledged on a
durable topic survives ``kill -9`` of any client, and of the server up to the last second (Kafka: entirely).
Offsets are integers and mean "the record here"; a committed or returned *position* means "the next one to read".
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from streams.topics import Topic


class LogError(Exception):
    """The log could not do what was asked; the text names the server, what was tried and the remedy."""


class LogUnavailable(LogError):
    """The server did not answer in time. Trying again later may succeed."""


class TopicMismatch(LogError):
    """A topic is missing or has another number of partitions than ``streams/topics.py`` says."""


@dataclass(frozen=True, slots=True)
class Record:
    """One record as read."""

    topic: str
    partition: int
    offset: int
    appended_at: datetime
    payload: bytes


@dataclass(slots=True)
class Appended:
    """What became of the records given to a Producer. ``given = acknowledged + failed + refused + in flight``."""

    given: int = 0
    acknowledged: int = 0
    failed: int = 0
    refused: int = 0


OnDone = Callable[[int | None, Exception | None], None]


class Producer(Protocol):
    """Appends without ever blocking its caller. Safe to share between threads."""

    counters: Appended

    def append(self, topic: str, partition: int, payload: bytes, on_done: OnDone | None = None) -> bool:
        """Queue ``payload``; returns at once. False: refused, the queue is full (counted; ``on_done`` is not called).

        ``on_done(offset, None)`` or ``on_done(None, error)`` is called once, on another thread, and must not block.
        Records of one partition are appended in the order given.
        """

    def flush(self, timeout_s: float) -> bool:
        """Wait until nothing is in flight. False when ``timeout_s`` passed first."""

    def close(self, timeout_s: float = 5.0) -> None:
        """Flush, then let go. Further appends are refused."""


class Consumer(Protocol):
    """A member of a consumer group over one topic. Used by one thread."""

    @property
    def assignment(self) -> frozenset[int]:
        """The partitions that are ours now. Changes only inside ``poll``."""

    def poll(self, timeout_s: float, max_records: int = 500) -> list[Record]:
        """Records of our partitions, in order within each; empty when none came within ``timeout_s``.

        Joins, rebalances and calls ``on_assigned``/``on_revoked`` in here and nowhere else. Never raises for a server
        that is away: it returns nothing and tries again (``healthy`` turns False).
        """

    def seek(self, partition: int, position: int) -> None:
        """Read from ``position`` next. Earlier than what is kept: the earliest kept."""

    def commit(self, positions: Mapping[int, int]) -> bool:
        """Store the next positions to read. False when not stored (server away, or the partition is no longer ours)."""

    def lag(self) -> int:
        """Records appended to our partitions and not yet polled."""

    @property
    def healthy(self) -> bool:
        """Whether the last exchange with the server succeeded."""

    def close(self) -> None:
        """Leave the group at once, so that others take over without waiting."""


OnPartitions = Callable[[frozenset[int]], None]


class Log(Protocol):
    """One connection to the log."""

    @property
    def identity(self) -> str:
        """Names this very log: positions of another identity mean nothing here. Raises ``LogUnavailable``."""

    def create(self, topics: Iterable[Topic]) -> None:
        """Create what is missing, set the bounds. Raises ``TopicMismatch`` where a number of partitions differs."""

    def verify(self, topics: Iterable[Topic]) -> None:
        """Raises ``TopicMismatch`` when a topic is missing or differs; a process calls it before it starts."""

    def producer(self, *, max_queued_bytes: int = 32 * 2**20) -> Producer:
        """A producer with a bounded queue."""

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
        """Join ``group``. A ``member`` that comes back under its own name within the session gets its partitions back.

        A partition with no committed position starts at the earliest kept record.
        """

    def read(self, topic: str, partition: int, position: int, max_records: int = 500) -> list[Record]:
        """Records from ``position`` on, without a group; empty at the end. Raises ``LogUnavailable``."""

    def read_one(self, topic: str, partition: int, offset: int) -> Record | None:
        """Exactly this record, or None when it is no longer kept. Raises ``LogUnavailable``."""

    def start(self, topic: str, partition: int) -> int:
        """The earliest position kept."""

    def end(self, topic: str, partition: int) -> int:
        """The position after the last record."""

    def position_at(self, topic: str, partition: int, at: datetime) -> int:
        """The position of the first record appended at or after ``at``; the end when there is none."""

    def committed(self, topic: str, group: str) -> dict[int, int]:
        """The committed positions of ``group``; partitions without one are absent."""

    def lag(self, topic: str, group: str) -> dict[int, int]:
        """Records between the committed position (or the start) and the end, for each partition."""

    def close(self) -> None:
        """Let go of every connection. Producers and consumers are closed by whoever made them."""


@dataclass(frozen=True, slots=True)
class LogAddresses:
    """Where the log is. ``kafka`` is ``host:port[,host:port]``, or empty for the Redis engine."""

    kafka: str
    frames_url: str
    rest_url: str

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> LogAddresses:
        """``POLISCOPE_KAFKA``, ``POLISCOPE_FRAMES_URL`` (default: ``REDIS_URL``) and ``REDIS_URL``."""
        rest = environment.get("REDIS_URL", "redis://127.0.0.1:6379/0")
        return cls(
            kafka=environment.get("POLISCOPE_KAFKA", ""),
            frames_url=environment.get("POLISCOPE_FRAMES_URL", "") or rest,
            rest_url=rest,
        )


ENGINES = {"kafka": "streams.log_kafka:KafkaLog", "redis": "streams.log_redis:RedisLog"}


def open_log(addresses: LogAddresses, *, name: str = "poliscope") -> Log:
    """The engine that ``addresses`` asks for, imported only now. ``name`` shows up in the server's client list."""
    module, _, attribute = ENGINES["kafka" if addresses.kafka else "redis"].partition(":")
    engine: Log = getattr(importlib.import_module(module), attribute)(addresses, name=name)
    return engine
