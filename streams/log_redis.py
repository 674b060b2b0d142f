"""The log in Redis Streams, for one machine: two Valkey (or Redis) servers, positions that are plain numbers.

``frames.*`` topics live on the frames server, everything else, groups and commits on the rest server. Each partition
is one stream whose ids we name ourselves, ``<offset>-0``, so that lag is a subtraction, as in Kafka. Groups are our
own: the server's consumer groups hand single records to members, not partitions in order.
"""

from __future__ import annotations

import logging
import math
import secrets
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha1
from typing import Any

import msgspec
import redis
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as ServerAway
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as ServerSilent
from redis.retry import Retry

from streams import log_queue
from streams import log_redis_scripts as scripts
from streams.log import Consumer, LogAddresses, LogError, LogUnavailable, OnPartitions, Producer, Record, TopicMismatch
from streams.log_queue import Pending, QueuedProducer, Settle
from streams.telemetry import redact
from streams.topics import Topic

logger = logging.getLogger(__name__)

SOCKET_S = 2.0
"""No exchange waits longer for an answer; a frozen server must not stop heartbeats (5 s) for long."""
BLOCK_S = 1.0
"""The longest wait for records in one request; below ``SOCKET_S``, so that silence means a fault."""
READ_BYTES = 256 * 1024
"""Asked of the socket at once: pictures are 40 kB and more."""
RETRY_S = 0.2
"""Between attempts of a consumer while the server is away."""
STUCK_S = 300.0
"""A member that has not polled for this long is given up, however alive its process is (as in Kafka)."""
TOPICS_KEY, IDENTITY_KEY, SERVER_KEY = "log:topics", "log:identity", "log:server"
FRAMES, REST = 0, 1

_APPEND_SHA = sha1(scripts.APPEND.encode(), usedforsecurity=False).hexdigest()


def stream_key(topic: str, partition: int) -> str:
    """The stream of one partition."""
    return f"log:{topic}:{partition}"


def meta_key(topic: str, partition: int) -> str:
    """Our account of that stream."""
    return f"log:{topic}:{partition}:meta"


def _server_of(topic: str) -> int:
    return FRAMES if topic.startswith("frames.") else REST


def connect(url: str, name: str) -> redis.Redis:
    """A client that never waits for ever and never tries twice behind our back (at-least-once is ours to keep)."""
    return redis.Redis.from_url(
        url,
        client_name=name.replace(" ", "-"),
        socket_timeout=SOCKET_S,
        socket_connect_timeout=SOCKET_S,
        socket_keepalive=True,
        socket_read_size=READ_BYTES,
        retry=Retry(NoBackoff(), 0),
        protocol=2,
    )


@contextmanager
def _asking(url: str, what: str) -> Iterator[None]:
    """Turns the client's errors into ours, with the address (without credentials) and the remedy."""
    try:
        yield
    except (ServerAway, ServerSilent, OSError) as error:
        raise LogUnavailable(
            f"the log at {redact(url)}: no answer while {what} ({type(error).__name__}); "
            "start that server, or mend REDIS_URL and POLISCOPE_FRAMES_URL"
        ) from None
    except RedisError as error:
        raise LogError(f"the log at {redact(url)}: refused while {what}: {error}") from None


@dataclass(frozen=True, slots=True)
class Bounds:
    """What one partition holds: records in [first, end) but for ``gaps``, the numbers that no record ever had."""

    first: int
    end: int
    size_bytes: int
    gaps: tuple[tuple[int, int], ...]

    def records_from(self, position: int) -> int:
        """Records kept at or after ``position``.

        >>> Bounds(10, 120, 0, ((20, 100),)).records_from(15)
        25
        """
        low = max(position, self.first)
        missing = sum(max(0, min(to, self.end) - max(start, low)) for start, to in self.gaps)
        return max(0, self.end - low - missing)


def _parse_bounds(reply: Sequence[bytes]) -> Bounds:
    gaps = [pair.split(":") for pair in reply[3].decode().split()]
    return Bounds(int(reply[0]), int(reply[1]), int(reply[2]), tuple((int(start), int(to)) for start, to in gaps))


def _record(topic: str, partition: int, entry: tuple[bytes, dict[bytes, bytes]]) -> Record:
    """``entry`` as the client parses it: (id, {field: value})."""
    offset = int(entry[0].partition(b"-")[0])
    appended_at = datetime.fromtimestamp(int(entry[1][b"t"]) / 1000, UTC)
    return Record(topic, partition, offset, appended_at, entry[1][b"p"])


class RedisLog:
    """One process's connections to the two servers. Nothing is opened before it is needed."""

    def __init__(self, addresses: LogAddresses, *, name: str = "poliscope") -> None:
        self.name = name
        self.urls = (addresses.frames_url, addresses.rest_url)
        self.clients = (connect(addresses.frames_url, name), connect(addresses.rest_url, name))
        self._topics: dict[str, Topic] = {}

    @property
    def identity(self) -> str:
        """See ``streams.log.Log``. Stored in the rest server: it changes when that one lost its data."""
        with self.asking(REST, "reading its identity"):
            rest: Any = self.clients[REST]
            rest.set(IDENTITY_KEY, secrets.token_hex(16), nx=True)
            identity: bytes = rest.get(IDENTITY_KEY)
        return identity.decode()

    def create(self, topics: Iterable[Topic]) -> None:
        """See ``streams.log.Log``."""
        wanted = list(topics)
        known = self.known_topics()
        for topic in wanted:
            if topic.name in known:
                _check(topic, known[topic.name])
        with self.asking(REST, "creating topics"):
            for topic in wanted:
                self.clients[REST].hset(TOPICS_KEY, topic.name, msgspec.json.encode(topic))
        self._topics.update({topic.name: topic for topic in wanted})

    def verify(self, topics: Iterable[Topic]) -> None:
        """See ``streams.log.Log``. Also asks the frames server, so that its absence is told at the start."""
        known = self.known_topics()
        for topic in topics:
            _check(topic, known.get(topic.name))
        with self.asking(FRAMES, "greeting it"):
            self.clients[FRAMES].ping()

    def known_topics(self) -> dict[str, Topic]:
        """Every topic that was created, by name."""
        with self.asking(REST, "listing topics"):
            rest: Any = self.clients[REST]
            rows: dict[bytes, bytes] = rest.hgetall(TOPICS_KEY)
        return {name.decode(): msgspec.json.decode(row, type=Topic) for name, row in rows.items()}

    def topic(self, name: str) -> Topic:
        """The topic as created, asked once. Raises ``TopicMismatch`` when it was not, ``LogUnavailable``."""
        if name not in self._topics:
            self._topics.update(self.known_topics())
        if name not in self._topics:
            raise TopicMismatch(f"topic {name}: it does not exist in the log; run: manage.py log init")
        return self._topics[name]

    def producer(self, *, max_queued_bytes: int = 32 * 2**20) -> Producer:
        """See ``streams.log.Log``. ``max_queued_bytes`` holds for each server."""
        senders = [_RedisSender(self, FRAMES), _RedisSender(self, REST)]
        limits_s = (log_queue.FRAMES_S, math.inf)
        return QueuedProducer(senders, _server_of, max_queued_bytes=max_queued_bytes, limits_s=limits_s)

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
        """See ``streams.log.Log``."""
        return RedisConsumer(self, topic, group, member, on_assigned, on_revoked, session_timeout_s)

    def read(self, topic: str, partition: int, position: int, max_records: int = 500) -> list[Record]:
        """See ``streams.log.Log``."""
        return self._range(topic, partition, f"{max(position, 0)}-0", "+", max_records)

    def read_one(self, topic: str, partition: int, offset: int) -> Record | None:
        """See ``streams.log.Log``."""
        found = self._range(topic, partition, f"{offset}-0", f"{offset}-0", 1) if offset >= 0 else []
        return found[0] if found else None

    def _range(self, topic: str, partition: int, low: str, high: str, count: int) -> list[Record]:
        server = _server_of(topic)
        with self.asking(server, f"reading {topic}/{partition}"):
            client: Any = self.clients[server]
            entries = client.xrange(stream_key(topic, partition), low, high, count=count)
        return [_record(topic, partition, entry) for entry in entries]

    def start(self, topic: str, partition: int) -> int:
        """See ``streams.log.Log``."""
        return self.bounds(topic, [partition])[partition].first

    def end(self, topic: str, partition: int) -> int:
        """See ``streams.log.Log``."""
        return self.bounds(topic, [partition])[partition].end

    def bounds(self, topic: str, partitions: Iterable[int]) -> dict[int, Bounds]:
        """What each partition holds, in one exchange. Raises ``LogUnavailable``."""
        asked, server = list(partitions), _server_of(topic)
        if not asked:
            return {}
        with self.asking(server, f"measuring {topic}"):
            client: Any = self.clients[server]
            keys = [key for one in asked for key in (stream_key(topic, one), meta_key(topic, one))]
            replies = client.eval(scripts.BOUNDS, len(keys), *keys)
        return {partition: _parse_bounds(reply) for partition, reply in zip(asked, replies, strict=True)}

    def position_at(self, topic: str, partition: int, at: datetime) -> int:
        """See ``streams.log.Log``. Precise to the millisecond, as the entries are."""
        server, at_ms = _server_of(topic), -int(-at.timestamp() * 1000 // 1)
        with self.asking(server, f"searching {topic}/{partition}"):
            client: Any = self.clients[server]
            keys = (stream_key(topic, partition), meta_key(topic, partition))
            return int(client.eval(scripts.POSITION_AT, 2, *keys, at_ms))

    def committed(self, topic: str, group: str) -> dict[int, int]:
        """See ``streams.log.Log``."""
        with self.asking(REST, f"reading the positions of {group}"):
            rest: Any = self.clients[REST]
            rows: dict[bytes, bytes] = rest.hgetall(group_key(topic, group, "commits"))
        return {int(partition): int(position) for partition, position in rows.items()}

    def lag(self, topic: str, group: str) -> dict[int, int]:
        """See ``streams.log.Log``."""
        committed = self.committed(topic, group)
        bounds = self.bounds(topic, range(self.topic(topic).partitions))
        return {partition: held.records_from(committed.get(partition, 0)) for partition, held in bounds.items()}

    def asking(self, server: int, what: str) -> Any:
        """A context that turns the client's errors into ``LogUnavailable`` or ``LogError``."""
        return _asking(self.urls[server], what)

    def close(self) -> None:
        """See ``streams.log.Log``."""
        for client in self.clients:
            client.close()


def _check(wanted: Topic, found: Topic | None) -> None:
    if found is None:
        raise TopicMismatch(f"topic {wanted.name}: it does not exist in the log; run: manage.py log init")
    if found.partitions != wanted.partitions:
        raise TopicMismatch(
            f"topic {wanted.name}: expected {wanted.partitions} partitions, got {found.partitions}; "
            "run the version that made it, or empty the log and run: manage.py log init"
        )


class _RedisSender:
    """Appends batches to one server, each in one pipeline over one connection."""

    def __init__(self, log: RedisLog, server: int) -> None:
        self._log, self._server = log, server
        self._client = connect(log.urls[server], f"{log.name}-producer")

    def send(self, batch: Sequence[Pending], settle: Settle) -> Sequence[Pending]:
        """See ``streams.log_queue.Sender``. A pipeline that broke off is sent again whole: at least once."""
        try:
            errors = [self._misplaced(pending) for pending in batch]
            good = [pending for pending, error in zip(batch, errors, strict=True) if error is None]
            replies = iter(self._append(good) if good else [])
        except (ServerAway, ServerSilent, LogUnavailable, OSError):
            return batch
        for pending, error in zip(batch, errors, strict=True):
            reply = next(replies) if error is None else error
            if isinstance(reply, Exception):
                settle(pending, None, self._explain(pending, reply))
            else:
                settle(pending, int(reply), None)
        return []

    def _misplaced(self, pending: Pending) -> LogError | None:
        """Why there is no such partition. Raises ``LogUnavailable`` while that cannot be known."""
        try:
            topic = self._log.topic(pending.topic)
        except TopicMismatch as error:
            return error
        if not 0 <= pending.partition < topic.partitions:
            return LogError(
                f"{topic.name}: expected a partition of 0 to {topic.partitions - 1}, got {pending.partition}"
            )
        return None

    def _append(self, batch: Sequence[Pending]) -> list[Any]:
        """An offset or an exception for each. The script goes along: a restarted server has forgotten it."""
        pipeline: Any = self._client.pipeline(transaction=False)
        pipeline.execute_command("SCRIPT LOAD", scripts.APPEND)
        pipeline.eval(scripts.OBSERVE, 1, SERVER_KEY)
        for pending in batch:
            topic = self._log.topic(pending.topic)
            place = (pending.topic, pending.partition)
            keys = (stream_key(*place), meta_key(*place), SERVER_KEY)
            bounds = (topic.keep_bytes, topic.keep_s * 1000, int(topic.durable))
            pipeline.evalsha(_APPEND_SHA, 3, *keys, pending.payload, *bounds)
        replies: list[Any] = pipeline.execute(raise_on_error=False)
        return replies[2:]

    def _explain(self, pending: Pending, error: Exception) -> LogError:
        if isinstance(error, LogError):
            return error
        place = f"{pending.topic}/{pending.partition} at {redact(self._log.urls[self._server])}"
        remedy = "raise its maxmemory or keep less (streams/topics.py)" if "FULL" in str(error) else "see its log"
        return LogError(f"{place}: the server refused a record: {error}; {remedy}")

    def close(self, timeout_s: float) -> None:
        """See ``streams.log_queue.Sender``."""
        self._client.close()


def group_key(topic: str, group: str, part: str) -> str:
    """``part``: members, tokens, owners or commits."""
    return f"log:group:{topic}:{group}:{part}"


def _numbers(spaced: bytes) -> frozenset[int]:
    return frozenset(int(word) for word in spaced.split())


class _Membership:
    """One member of one group, as the rest server sees it. Thread-safe: it holds no state but its name and token."""

    def __init__(self, log: RedisLog, topic: str, group: str, member: str, session_s: float) -> None:
        self._log, self._member, self._session_ms = log, member, int(session_s * 1000)
        self._what = f"{member} spoke to its group {group}"
        self._token = secrets.token_hex(8)
        self._keys = [group_key(topic, group, part) for part in ("members", "tokens", "owners", "commits")]

    def beat(self, partitions: int, joining: bool) -> tuple[frozenset[int], frozenset[int], int] | None:
        """(owned, to be given back, our fair number), or None: another bears our name. Raises ``LogUnavailable``."""
        reply = self._ask(scripts.BEAT, self._session_ms, partitions, int(joining))
        if reply[0] == b"fenced":
            return None
        return _numbers(reply[1]), _numbers(reply[2]), int(reply[3])

    def touch(self) -> None:
        """Prolong the session. Raises ``LogUnavailable``."""
        self._ask(scripts.TOUCH, self._session_ms)

    def give_back(self, partitions: Iterable[int]) -> None:
        """Let others have them. Raises ``LogUnavailable``."""
        self._ask(scripts.GIVE_BACK, *partitions)

    def commit(self, positions: Mapping[int, int]) -> int:
        """How many were stored: those that are ours. Raises ``LogUnavailable``."""
        return int(self._ask(scripts.COMMIT, *(number for pair in positions.items() for number in pair)))

    def leave(self) -> None:
        """Be gone at once. Raises ``LogUnavailable``."""
        self._ask(scripts.LEAVE)

    def _ask(self, script: str, *arguments: object) -> Any:
        with self._log.asking(REST, self._what):
            client: Any = self._log.clients[REST]
            return client.eval(script, len(self._keys), *self._keys, self._member, self._token, *arguments)


class RedisConsumer:
    """See ``streams.log.Consumer``."""

    def __init__(
        self,
        log: RedisLog,
        topic: str,
        group: str,
        member: str,
        on_assigned: OnPartitions | None,
        on_revoked: OnPartitions | None,
        session_s: float,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._log, self._topic, self._group, self._member = log, topic, group, member
        self._on_assigned, self._on_revoked = on_assigned, on_revoked
        self._session_s, self._monotonic = session_s, monotonic
        self._membership = _Membership(log, topic, group, member, session_s)
        self._positions: dict[int, int] = {}
        self._turn = 0
        self._joined = False
        self._fenced = False
        self._troubles: dict[str, str] = {}
        self._beat_at = self._polled_at = monotonic()
        self._closed = threading.Event()
        self._keeper = threading.Thread(target=self._keep, name=f"log-session-{group}", daemon=True)

    @property
    def assignment(self) -> frozenset[int]:
        """See ``streams.log.Consumer``."""
        return frozenset(self._positions)

    @property
    def healthy(self) -> bool:
        """See ``streams.log.Consumer``."""
        return not self._troubles and not self._fenced

    def poll(self, timeout_s: float, max_records: int = 500) -> list[Record]:
        """See ``streams.log.Consumer``. With a frozen server it takes up to 2 s longer than ``timeout_s``."""
        deadline = self._monotonic() + timeout_s
        self._polled_at = self._monotonic()
        while True:
            self._beat_when_due()
            left_s = deadline - self._monotonic()
            records = self._fetch(max(0.0, min(left_s, BLOCK_S, self._beat_at - self._monotonic())), max_records)
            if records or self._monotonic() >= deadline:
                return records
            if not self.healthy or not self._positions:
                self._closed.wait(max(0.0, min(RETRY_S, deadline - self._monotonic())))

    def _beat_when_due(self) -> None:
        if self._fenced or self._monotonic() < self._beat_at:
            return
        try:
            self._beat()
            self._well("group")
        except LogError as error:
            self._away("group", error)
            self._beat_at = self._monotonic() + RETRY_S

    def _beat(self) -> None:
        """One exchange with the group: prolong the session, give up what must move, take what is ours."""
        partitions = self._log.topic(self._topic).partitions
        reply = self._membership.beat(partitions, joining=not self._joined)
        if reply is None:
            logger.error(
                "%s: another process bears this name in group %s; this one stops reading", self._member, self._group
            )
            self._fenced = True
            self._drop(self.assignment)
            return
        if not self._joined:
            self._joined = True
            self._keeper.start()
        owned, back, wanted = reply
        self._drop((self.assignment - owned) | back)
        if back:
            self._membership.give_back(back)
        self._take(owned - back - self.assignment)
        every_s = min(1.0, self._session_s / 10)
        self._beat_at = self._monotonic() + (every_s if len(self._positions) == wanted else min(RETRY_S, every_s))

    def _drop(self, partitions: frozenset[int]) -> None:
        lost = partitions & self.assignment
        if not lost:
            return
        if self._on_revoked:
            self._on_revoked(lost)
        for partition in lost:
            self._positions.pop(partition, None)

    def _take(self, partitions: frozenset[int]) -> None:
        if not partitions:
            return
        committed = self._log.committed(self._topic, self._group)
        bounds = self._log.bounds(self._topic, partitions)
        for partition in partitions:
            self._positions[partition] = committed.get(partition, bounds[partition].first)
        if self._on_assigned:
            self._on_assigned(partitions)

    def _fetch(self, block_s: float, max_records: int) -> list[Record]:
        """Records of our partitions, each partition getting its turn to be first."""
        if not self._positions:
            return []
        order = sorted(self._positions)
        self._turn = (self._turn + 1) % len(order)
        order = order[self._turn :] + order[: self._turn]
        server = _server_of(self._topic)
        streams = {stream_key(self._topic, one): f"{max(self._positions[one] - 1, 0)}-0" for one in order}
        count = max(1, max_records // len(order))
        try:
            with self._log.asking(server, f"reading {self._topic}"):
                client: Any = self._log.clients[server]
                reply = client.xread(streams, count=count, block=max(1, int(block_s * 1000)))
        except LogError as error:
            self._away("records", error)
            return []
        self._well("records")
        records = [
            _record(self._topic, int(key.rpartition(b":")[2]), entry) for key, entries in reply for entry in entries
        ][:max_records]
        for record in records:
            self._positions[record.partition] = record.offset + 1
        return records

    def _away(self, what: str, error: LogError) -> None:
        if what not in self._troubles:
            logger.warning("%s of group %s: %s", self._member, self._group, error)
        self._troubles[what] = str(error)

    def _well(self, what: str) -> None:
        if self._troubles.pop(what, None):
            logger.info("%s of group %s: the log answers again", self._member, self._group)

    def seek(self, partition: int, position: int) -> None:
        """See ``streams.log.Consumer``."""
        if partition not in self._positions:
            raise ValueError(f"{self._topic}/{partition}: not ours now, so it cannot be read from {position}")
        self._positions[partition] = max(0, position)

    def commit(self, positions: Mapping[int, int]) -> bool:
        """See ``streams.log.Consumer``. Of several, those that are ours are stored even when the answer is False."""
        if not positions:
            return True
        try:
            return self._membership.commit(positions) == len(positions)
        except LogError as error:
            self._away("group", error)
            return False

    def lag(self) -> int:
        """See ``streams.log.Consumer``. 0 while the server is away: ``healthy`` says so."""
        try:
            bounds = self._log.bounds(self._topic, self._positions)
        except LogError as error:
            self._away("group", error)
            return 0
        return sum(held.records_from(self._positions[partition]) for partition, held in bounds.items())

    def _keep(self) -> None:
        """Prolongs the session while the owner works on what it polled: loading a model may take longer than that."""
        while not self._closed.wait(self._session_s / 3):
            if self._monotonic() - self._polled_at > STUCK_S:
                continue
            try:
                self._membership.touch()
            except LogError:
                continue  # poll notices by itself, and says so

    def close(self) -> None:
        """See ``streams.log.Consumer``."""
        self._closed.set()
        if self._joined and not self._fenced:
            try:
                self._membership.leave()
            except LogError as error:
                self._away("group", error)
        self._positions.clear()
