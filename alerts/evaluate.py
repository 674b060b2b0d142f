"""The shell around the fold: reads the log, keeps engines for its partitions, commits what they decide.

Exactly once in effect: ``FoldPosition`` is compare-and-set in the same transaction as incidents, alerts and
deliveries; no row changed means that somebody else owns the partition now, and everything since is discarded.
"""

from __future__ import annotations

import contextlib
import gc
import logging
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import accumulate
from typing import Protocol
from uuid import UUID

import msgspec
from django.db import Error as DatabaseError
from django.db import close_old_connections, connection, transaction
from django.db.models import F, Q

from alerts import pictures, recording
from alerts.counted import measurements
from alerts.engine import ENGINE_VERSION, BlindChange, Engine, Outcome, ZoneCount
from alerts.models import Count, FoldPosition, RuleVersion
from alerts.models import Event as EventRow
from alerts.rules.config import EmbeddedRule
from alerts.screens import LiveScreens
from detectors.dead_letters import DeadLetter, encode_dead_letter
from detectors.defaults import pools_in_use
from detectors.tracking import Track
from streams.beat import Pulse
from streams.frame import UnknownVersion
from streams.log import Consumer, Log, LogError, Producer, Record
from streams.models import BlindSpan, Camera, SequenceCounter
from streams.observations import LogPosition, Observation, Tick, decode_observation, encode_observation
from streams.topics import DEAD_LETTERS, OBSERVATIONS, partition_of, standing_topics

logger = logging.getLogger(__name__)

GROUP = "evaluate"
TICK_S = 1.0
SNAPSHOT_S = 20.0
"""A crash replays at most this much of the log; the design asks for 30 s."""
SNAPSHOT_BYTES = 500_000
"""Where the snapshots that are due weigh more, the oldest go first and the others with the next transaction."""
COMMIT_EVENTS = 50
"""At most so many events (and those of one record) a transaction: it would hold up everybody else who writes."""
GATHER_S = 0.1
"""After events were stored the next ones gather for so long: a storm is few full transactions, not many small ones."""
RETRY_S = 0.5
HINT_S = 2.0
IDENTITY_S = 5.0
"""How often it is asked whether the log is still the same."""
RECLAIM_S = 5.0
"""A partition that somebody else claimed is claimed back only when the group still says that it is ours."""
ENDED_VERSIONS = timedelta(hours=1)
"""Versions that ended lately are still given to the engine, which may have to replay their time."""


@dataclass(slots=True)
class Partition:
    """One partition that is ours: its engine, and what it decided and has not committed yet."""

    number: int
    generation: int
    engine: Engine
    position: int
    saved_at_s: float
    pending: Outcome = field(default_factory=Outcome)
    weight: int = 0
    """Bytes of its last snapshot."""
    stopped: str = ""
    """Why it stands still (an observation of an unknown version); empty while it runs."""


@dataclass(frozen=True, slots=True)
class Configuration:
    """Rules in force or lately so, by partition, and which cameras a partition has."""

    rules: dict[int, list[EmbeddedRule]]
    cameras: dict[UUID, int]
    unreadable: tuple[str, ...] = ()
    """Versions that this program cannot read, with the reason; the others run."""

    @property
    def populated(self) -> frozenset[int]:
        """Partitions with at least one camera; only they need ticks."""
        return frozenset(self.cameras.values())


def load_configuration(now: datetime) -> Configuration:
    """What the database says now."""
    cameras = {uid: partition_of(slot) for uid, slot in Camera.objects.values_list("uid", "slot")}
    versions = RuleVersion.objects.filter(
        Q(active_until_at__isnull=True) | Q(active_until_at__gt=now - ENDED_VERSIONS)
    ).order_by("id")
    # By what the engine goes by: versions that differ in nothing that it reads are one, and the newest says until when.
    rules: dict[int, dict[UUID, EmbeddedRule]] = defaultdict(dict)
    unreadable: list[str] = []
    for version in versions:
        try:
            rule = msgspec.convert(version.embedded, EmbeddedRule)
        except msgspec.ValidationError as error:
            unreadable.append(f"{version.uid}: {error}")
            continue
        for partition in {cameras[zone.camera] for zone in rule.zones if zone.camera in cameras}:
            here = [zone for zone in rule.zones if cameras.get(zone.camera) == partition]
            until_at = version.active_until_at
            rules[partition][rule.version] = msgspec.structs.replace(rule, zones=here, active_until_at=until_at)
    return Configuration({key: list(found.values()) for key, found in rules.items()}, cameras, tuple(unreadable))


def claim(partition: int, owner: str, identity: str, start: int) -> FoldPosition:
    """Make ``owner`` the only one whose commits count, and return where to go on.

    A position of another log (``identity``) means nothing here: the fold begins anew at ``start``.
    """
    with transaction.atomic():
        FoldPosition.objects.get_or_create(partition=partition)
        FoldPosition.objects.filter(partition=partition).update(generation=F("generation") + 1, owner=owner)
        row = FoldPosition.objects.get(partition=partition)
        if row.log_identity != identity:
            row.position, row.snapshot, row.log_identity = start, b"", identity
            row.save(update_fields=["position", "snapshot", "log_identity"])
    return row


def commit(due: Sequence[Partition], now: datetime, *, moved: Collection[int]) -> frozenset[int]:
    """Store what was decided in ``due``, and for the numbers in ``moved`` how far the fold has come: one transaction.

    Events alone need no position: what is folded again has the same names and changes nothing. A snapshot weighs more
    than they do, and who writes waits for whoever writes. Returns the numbers of those that somebody else has claimed
    since; of them nothing is stored.
    """
    # Whatever can be made ready is, before anybody who writes has to wait for us.
    snapshots = {held.number: held.engine.snapshot() for held in due if held.number in moved}
    for held in due:
        held.weight = len(snapshots.get(held.number, b"")) or held.weight
    batch = recording.look_up([event for held in due for event in held.pending.events])
    with _no_pause(), transaction.atomic():
        ours = [held for held in due if _move(held, snapshots.get(held.number), now)]
        decided = {event.uid for held in ours for event in held.pending.events}
        recording.take([happened for happened in batch if happened.uid in decided], now=now)
        # After the incidents: whoever holds an incident goes on to the counter, and never the other way round.
        store_blind([change for held in ours for change in held.pending.blind])
        store_counts([one for held in ours for one in held.pending.counts])
    return frozenset(held.number for held in due) - {held.number for held in ours}


@contextlib.contextmanager
def _no_pause() -> Iterator[None]:
    """Keep the garbage collector waiting: of all that trackers remember it may take a fifth of a second."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _move(held: Partition, snapshot: bytes | None, now: datetime) -> bool:
    """Write how far it has come, where there is a ``snapshot``. False: its generation is no longer the newest."""
    rows = FoldPosition.objects.filter(partition=held.number, generation=held.generation)
    if snapshot is None:
        # Changes nothing, and nobody claims it before this transaction ends.
        return bool(rows.update(generation=F("generation")))
    return bool(rows.update(position=held.position, snapshot=snapshot, engine_version=ENGINE_VERSION, saved_at=now))


def store_counts(counts: Sequence[ZoneCount]) -> None:
    """Write the numbers of counting rules; what is there already stays as it is."""
    if not counts:
        return
    known = dict(Camera.objects.filter(uid__in={one.camera for one in counts}).values_list("uid", "id"))
    rows = [_count(known[one.camera], one) for one in counts if one.camera in known]
    Count.objects.bulk_create(rows, ignore_conflicts=True)


def _count(camera: int, one: ZoneCount) -> Count:
    counted = one.counted
    return Count(
        camera_id=camera,
        rule_version=one.rule_version,
        zone=one.zone,
        direction=counted.direction,
        to_zone=counted.to_zone,
        label=counted.label,
        from_at=datetime.fromtimestamp(counted.from_s, UTC),
        until_at=datetime.fromtimestamp(counted.until_s, UTC),
        seen_s=counted.seen_s,
        count=counted.count,
    )


def store_blind(changes: Sequence[BlindChange]) -> None:
    """Write the coverage ledger: one row a span, open (``to_at`` null) while it lasts."""
    if not changes:
        return
    known = dict(Camera.objects.filter(uid__in={change.camera for change in changes}).values_list("uid", "id"))
    written = False
    for change in changes:
        if change.camera not in known:
            continue
        written = True
        BlindSpan.objects.update_or_create(
            camera_id=known[change.camera],
            deployment=change.deployment,
            from_at=change.from_at,
            defaults={"to_at": change.until_at, "reason": change.reason[:100]},
        )
    if written:
        SequenceCounter.advance(SequenceCounter.CHANGES)


def _dead_letter(record: Record, error: Exception, now: datetime) -> DeadLetter:
    source = LogPosition(record.topic, record.partition, record.offset)
    return DeadLetter(source=source, at=now, reason=f"{type(error).__name__}: {error}"[:500], payload=record.payload)


class Keeper(Protocol):
    """Keeps what is folded (``alerts.archive_writer``). It never raises for its disk; ``stopped`` says what ails it."""

    stopped: str

    def begin(self, partition: int, position: int, identity: str) -> None: ...

    def keep(self, partition: int, offset: int, observation: Observation, tracks: list[Track] | None) -> None: ...

    def store(self, partition: int, position: int) -> None: ...

    def drop(self, partition: int) -> None: ...

    def close(self) -> None: ...


class Evaluator:
    """One member of the group that folds ``observations``. Call ``turn`` in a loop; it never blocks for long."""

    def __init__(
        self,
        log: Log,
        member: str,
        *,
        screens: LiveScreens | None = None,
        archive: Keeper | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        monotonic: Callable[[], float] = time.monotonic,
        session_timeout_s: float = 10.0,
    ) -> None:
        self._log, self._member, self._now, self._monotonic = log, member, now, monotonic
        self._screens, self._archive = screens, archive
        self._held: dict[int, Partition] = {}
        self._lost: dict[int, float] = {}
        self._saved: dict[int, int] = {}
        self._hinted: dict[int, int] = {}
        self._configuration = Configuration({}, {})
        self._configured = -1
        self._looked_at_s = self._ticked_at_s = self._hinted_at_s = self._stored_at_s = float("-inf")
        self._identity, self._identified_at_s = log.identity, monotonic()
        self._database_away = self._log_away = False
        self._lag = 0
        self._set_aside = 0
        self._pictures = ThreadPoolExecutor(max_workers=1, thread_name_prefix="pictures")
        self._producer: Producer = log.producer()
        self._consumer: Consumer = log.consumer(
            OBSERVATIONS.name,
            GROUP,
            member,
            on_assigned=self._on_assigned,
            on_revoked=self._revoked,
            session_timeout_s=session_timeout_s,
        )

    def pulse(self) -> Pulse:
        """What the heartbeat says. Called on another thread: it touches neither consumer nor database."""
        problem = "unknown_version" if any(held.stopped for held in list(self._held.values())) else ""
        problem = problem or ("database" if self._database_away else "")
        broken = bool(self._configuration.unreadable) or any(held.engine.broken for held in list(self._held.values()))
        problem = problem or ("broken_rule" if broken else "")
        problem = problem or ("log" if self._log_away or not self._consumer.healthy else "")
        problem = problem or ("archive" if self._archive is not None and self._archive.stopped else "")
        figures = {"partitions": float(len(self._held)), "set_aside": float(self._set_aside)}
        return Pulse(lag=self._lag, problem=problem, figures=figures)

    def turn(self, timeout_s: float = 0.2) -> int:
        """Read once, fold, commit what is due. Returns the number of records folded."""
        try:
            self._identify()
            self._reconfigure()
            self._tick()
            self._hold_all()
            self._gather()
            records = self._consumer.poll(timeout_s)
            for number in sorted({record.partition for record in records}):
                self._fold(number, [record for record in records if record.partition == number])
            self._commit_due()
            self._hint()
        except DatabaseError as error:
            self._on_database_error(error)
            return 0
        except LogError as error:
            self._on_log_error(error)
            return 0
        self._database_away = self._log_away = False
        return len(records)

    def close(self) -> None:
        """Commit everything and leave, so that the next owner starts where we are."""
        self._revoked(frozenset(self._held))
        positions = dict(self._saved)
        self._consumer.commit(positions)
        self._consumer.close()
        self._producer.close()
        self._pictures.shutdown(wait=True, cancel_futures=True)
        if self._archive is not None:
            self._archive.close()

    def _on_database_error(self, error: DatabaseError) -> None:
        # Nothing is read on meanwhile, and what was decided stays pending: nothing is lost, nothing happens twice.
        if not self._database_away:
            logger.error("the database does not answer (%s); trying again each %s s", error, RETRY_S)
        self._database_away = True
        close_old_connections()
        if not connection.in_atomic_block:
            connection.close()
        for held in self._held.values():
            self._consumer.seek(held.number, held.position)
        time.sleep(RETRY_S)

    def _on_log_error(self, error: LogError) -> None:
        if not self._log_away:
            logger.error("the log does not answer (%s); trying again each %s s", error, RETRY_S)
        self._log_away = True
        time.sleep(RETRY_S)

    def _identify(self) -> None:
        """Begin anew where the log is another than before: its server was emptied, and counts from nothing again."""
        if self._monotonic() - self._identified_at_s < IDENTITY_S:
            return
        identity = self._log.identity
        if identity != self._identity:
            logger.error("the log was emptied or replaced: its topics are made again, it is read from the start")
            self._log.create(standing_topics(pools_in_use()))
            self._commit(list(self._held.values()), set(self._held))
            for number in list(self._held):
                self._let_go(number)
            self._saved, self._hinted, self._identity = {}, {}, identity
        self._identified_at_s = self._monotonic()

    def _reconfigure(self) -> None:
        if self._monotonic() - self._looked_at_s < 1.0:
            return
        value = SequenceCounter.current(SequenceCounter.CONFIGURATION)
        if value != self._configured:
            self._take(load_configuration(self._now()))
            self._configured = value
        # Only now: while the database is away every turn tries again, and nothing is folded without its rules.
        self._looked_at_s = self._monotonic()

    def _take(self, configuration: Configuration) -> None:
        self._configuration = configuration
        for why in configuration.unreadable:
            logger.error("rule version %s cannot be read; the others run", why)
        for held in self._held.values():
            held.engine.configure(configuration.rules.get(held.number, []))
            for version, reason in held.engine.broken.items():
                logger.error("rule version %s cannot run: %s", version, reason)

    def _gather(self) -> None:
        """Let what follows events come together in the log."""
        time.sleep(min(max(0.0, self._stored_at_s + GATHER_S - self._monotonic()), GATHER_S))

    def _hold_all(self) -> None:
        """Claim what is assigned and not held: the database was away when it was assigned, or somebody claimed it."""
        waits = {number for number, lost_s in self._lost.items() if self._monotonic() - lost_s < RECLAIM_S}
        self._assigned(self._consumer.assignment - set(self._held) - waits)

    def _on_assigned(self, partitions: frozenset[int]) -> None:
        # What fails here is made up for by ``_hold_all`` in each turn; the log client could do nothing with it.
        with contextlib.suppress(DatabaseError, LogError):
            self._assigned(partitions)

    def _assigned(self, partitions: frozenset[int]) -> None:
        if self._configured < 0:
            return
        fresh = sorted(partitions - set(self._held))
        for number in fresh:
            row = claim(number, self._member, self._identity, self._log.start(OBSERVATIONS.name, number))
            engine = self._engine(row)
            self._held[number] = Partition(number, row.generation, engine, row.position, self._monotonic())
            self._consumer.seek(number, row.position)
            if self._archive is not None:
                self._archive.begin(number, row.position, self._identity)
        if fresh:
            logger.info("folding partitions %s", sorted(self._held))

    def _engine(self, row: FoldPosition) -> Engine:
        rules = self._configuration.rules.get(row.partition, [])
        try:
            return Engine(rules, bytes(row.snapshot))
        except (ValueError, msgspec.DecodeError) as error:
            logger.error("partition %s: the snapshot is unusable (%s); trackers begin anew", row.partition, error)
            return Engine(rules)

    def _revoked(self, partitions: frozenset[int]) -> None:
        for number in sorted(partitions & set(self._held)):
            try:
                self._commit([self._held[number]], {number})
            except DatabaseError as error:
                logger.error("partition %s: not committed on leaving (%s); its next owner replays", number, error)
            self._let_go(number)

    def _let_go(self, number: int) -> None:
        self._held.pop(number, None)
        if self._archive is not None:
            self._archive.drop(number)

    def _fold(self, number: int, records: list[Record]) -> None:
        held = self._held.get(number)
        if held is None or held.stopped:
            return
        for record in records:
            if record.offset < held.position:
                continue
            try:
                held.pending += self._step(held, record)
            except UnknownVersion as error:
                held.stopped = str(error)
                logger.critical("partition %s stands still at offset %s: %s", number, record.offset, error)
                return
            held.position = record.offset + 1
            if sum(len(one.pending.events) for one in self._held.values()) >= COMMIT_EVENTS:
                self._commit([one for one in self._held.values() if one.pending.events], self._moved())
                if self._held.get(number) is not held:
                    return

    def _step(self, held: Partition, record: Record) -> Outcome:
        try:
            observation = decode_observation(record.payload)
            outcome = held.engine.step(observation)
        except UnknownVersion:
            raise
        except Exception as error:
            # Whatever it is, it would be the same at every restart; one record must not stop sixteen cameras.
            logger.exception("partition %s, offset %s: cannot be folded; set aside", held.number, record.offset)
            self._set_aside += 1
            self._producer.append(DEAD_LETTERS.name, 0, encode_dead_letter(_dead_letter(record, error, self._now())))
            return Outcome()
        if self._archive is not None:
            self._archive.keep(held.number, record.offset, observation, outcome.tracks)
        if self._screens is not None:
            self._screens.show(outcome.boxes, record.appended_at)
        outcome.boxes = []
        return outcome

    def _commit_due(self) -> None:
        moved = self._moved()
        if due := [held for held in self._held.values() if held.pending.events or held.number in moved]:
            self._commit(due, moved)

    def _moved(self) -> frozenset[int]:
        """Those whose position is to be written: after a while, and with whatever else than an event was decided."""
        more = {held.number for held in self._held.values() if held.pending.blind or held.pending.counts}
        old = sorted((held for held in self._held.values() if self._is_old(held)), key=lambda held: held.saved_at_s)
        before = accumulate((held.weight for held in old), initial=0)
        light = {held.number for held, weight in zip(old, before, strict=False) if weight < SNAPSHOT_BYTES}
        return frozenset(more | light)

    def _is_old(self, held: Partition) -> bool:
        moved = held.position != self._saved.get(held.number)
        return moved and self._monotonic() - held.saved_at_s >= SNAPSHOT_S

    def _commit(self, due: Sequence[Partition], moved: Collection[int]) -> None:
        """``moved``: of which the position is written with what was decided."""
        # First: a number that came twice is known by its time, one that never came would be a gap.
        self._measure(due)
        if self._archive is not None:
            # First as well: an archive that is ahead of the fold drops what it has, one behind would have a hole.
            for held in due:
                if held.number in moved:
                    self._archive.store(held.number, held.position)
        lost = commit(due, self._now(), moved=moved)
        for held in due:
            if held.number in lost:
                self._lose(held)
                continue
            if held.number in moved:
                held.saved_at_s = self._monotonic()
                self._saved[held.number] = held.position
            self._committed(held)

    def _measure(self, due: Sequence[Partition]) -> None:
        """Say in the log what was counted: thresholds go by it, live and in rehearsal."""
        for held in due:
            for measured in measurements(held.pending.counts):
                self._producer.append(OBSERVATIONS.name, held.number, encode_observation(measured))

    def _lose(self, held: Partition) -> None:
        logger.warning(
            "partition %s: generation %s is no longer the newest; discarding what was folded since",
            held.number,
            held.generation,
        )
        self._let_go(held.number)
        self._lost[held.number] = self._monotonic()

    def _committed(self, held: Partition) -> None:
        events, held.pending = held.pending.events, Outcome()
        if events:
            self._stored_at_s = self._monotonic()
        if pictured := [event.uid for event in events if event.frame is not None]:
            self._pictures.submit(self._keep_pictures, pictured)

    def _keep_pictures(self, events: list[UUID]) -> None:
        try:
            pending = EventRow.objects.filter(picture=EventRow.Picture.PENDING)
            for row in pending.filter(uid__in=events):
                pictures.fetch(row, self._log)
        except Exception:
            logger.exception("keeping a picture failed; the sweep tries again")
        finally:
            close_old_connections()

    def _tick(self) -> None:
        if self._monotonic() - self._ticked_at_s < TICK_S:
            return
        self._ticked_at_s = self._monotonic()
        tick = encode_observation(Tick(at=self._now()))
        for number in self._consumer.assignment & self._configuration.populated:
            self._producer.append(OBSERVATIONS.name, number, tick)

    def _hint(self) -> None:
        if self._monotonic() - self._hinted_at_s >= HINT_S:
            self._hinted_at_s = self._monotonic()
            # Only what the database has: a hint that ran ahead of it would skip records after a crash.
            fresh = {number: at for number, at in self._saved.items() if number in self._held}
            if fresh != self._hinted and self._consumer.commit(fresh):
                self._hinted = fresh
            self._lag = self._consumer.lag()
