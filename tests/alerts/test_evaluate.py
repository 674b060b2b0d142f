"""The shell around the fold, over a real Valkey and a real database."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import pytest
import redis
from django.db import OperationalError

from alerts import evaluate
from alerts.archive import Archive, Query
from alerts.archive_writer import ArchiveWriter
from alerts.engine import BlindChange, Engine
from alerts.evaluate import GROUP, Evaluator, Partition, claim, commit, load_configuration, store_blind
from alerts.models import Count, Event, FoldPosition, Incident, Rule, RuleVersion, Zone
from alerts.rehearsal import rehearse
from alerts.rehearsal_items import Found, Rehearsal
from alerts.rules.config import EmbeddedRule
from detectors.dead_letters import decode_dead_letter
from detectors.models import Deployment, Model
from streams.log import Log, LogAddresses, open_log
from streams.models import BlindSpan, Camera, CameraGroup, SequenceCounter, Site, View
from streams.observations import Observation, encode_observation
from streams.topics import OBSERVATIONS, standing_topics
from tests.alerts import histories
from tests.alerts.histories import GATE, GENERAL, LANE, RULE, VERSION, VIEW, nobody, source, walk
from tests.services.installation import wait_for

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.valkey]

CROSSING = walk(0, 8, 0.1, 0.95)


@pytest.fixture
def log(log_addresses: LogAddresses) -> Iterator[Log]:
    log = open_log(log_addresses)
    log.create(standing_topics(["general"]))
    yield log
    log.close()


@pytest.fixture
def lane() -> RuleVersion:
    """The camera, zone and rule of ``histories``, as rows."""
    site = Site.objects.create(name="Harbour", time_zone="Asia/Taipei")
    camera = Camera.objects.create(uid=GATE, name="Gate", site=site, group=CameraGroup.objects.create(name="All"))
    view = View.objects.create(uid=VIEW, camera=camera)
    zone = Zone.objects.create(uid=LANE, view=view, name="Lane", points=histories.LANE_CORNERS)
    model = Model.objects.create(name="test", version="1", backend="openvino", labels=["person"])
    deployment = Deployment.objects.create(uid=GENERAL, name="general", model=model)
    rule = Rule.objects.create(uid=RULE, name="Lane", deployment=deployment, severity="high")
    rule.zones.add(zone)
    embedded = json.loads(msgspec.json.encode(histories.rule()))
    return RuleVersion.objects.create(
        uid=VERSION,
        rule=rule,
        number=1,
        kind="presence",
        severity="high",
        deployment=GENERAL,
        embedded=embedded,
        active_from_at=histories.rule().active_from_at,
    )


@pytest.fixture
def evaluators(log: Log) -> Iterator[Callable[..., Evaluator]]:
    made: list[Evaluator] = []

    def make(member: str = "one", **changes: Any) -> Evaluator:
        made.append(Evaluator(log, member, session_timeout_s=2.0, **changes))
        return made[-1]

    yield make
    for evaluator in made:
        evaluator.close()


def append(log: Log, observations: list[Observation]) -> None:
    partition = Camera.objects.get(uid=GATE).partition
    producer = log.producer()
    for observation in observations:
        assert producer.append(OBSERVATIONS.name, partition, encode_observation(observation))
    assert producer.flush(5)
    producer.close()


def turn(evaluator: Evaluator, folded: int, turns: int = 100) -> None:
    """Let it run until it has folded ``folded`` records or more."""
    seen = 0
    for _ in range(turns):
        seen += evaluator.turn(0.05)
        if seen >= folded:
            return
    raise AssertionError(f"folded {seen} of {folded} records in {turns} turns")


def test_it_records_an_event_once(log: Log, lane: RuleVersion, evaluators: Callable[..., Evaluator]) -> None:
    append(log, list(CROSSING))
    turn(evaluators(), len(CROSSING))
    [expected] = histories.run(CROSSING)
    assert list(Event.objects.values_list("uid", flat=True)) == [expected.uid]
    incident = Incident.objects.get()
    assert (incident.state, incident.severity, incident.camera.uid) == ("open", "high", GATE)


def test_a_crash_at_any_point_repeats_nothing(
    log: Log, lane: RuleVersion, evaluators: Callable[..., Evaluator]
) -> None:
    append(log, list(CROSSING[:30]))
    crashed = evaluators("one")
    turn(crashed, 30)
    append(log, list(CROSSING[30:]))
    # The next owner never hears of the first one's end; it starts at the last commit, before the event.
    turn(evaluators("one"), 1)
    again = evaluators("one")
    for _ in range(20):
        again.turn(0.05)
    assert Event.objects.count() == 1
    assert Incident.objects.get().event_count == 1


def test_many_events_at_once_are_several_transactions(
    log: Log, lane: RuleVersion, evaluators: Callable[..., Evaluator], monkeypatch: pytest.MonkeyPatch
) -> None:
    crossings = [*CROSSING, *walk(60, 68, 0.1, 0.95), *walk(120, 128, 0.1, 0.95)]
    expected = [event.uid for event in histories.run(crossings)]
    sizes: list[int] = []

    def measured(due: Sequence[Partition], now: datetime, *, moved: Collection[int]) -> frozenset[int]:
        sizes.append(sum(len(held.pending.events) for held in due))
        return commit(due, now, moved=moved)

    monkeypatch.setattr(evaluate, "COMMIT_EVENTS", 1)
    monkeypatch.setattr(evaluate, "commit", measured)
    append(log, crossings)
    turn(evaluators(), len(crossings))

    assert [size for size in sizes if size] == [1, 1, 1]
    assert list(Event.objects.order_by("pk").values_list("uid", flat=True)) == expected


def test_nothing_is_folded_on_once_the_partition_was_lost_on_the_way(
    log: Log,
    lane: RuleVersion,
    evaluators: Callable[..., Evaluator],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(evaluate, "COMMIT_EVENTS", 1)
    monkeypatch.setattr(evaluate, "RECLAIM_S", 60.0)
    partition = Camera.objects.get(uid=GATE).partition
    evaluator = evaluators()
    while not FoldPosition.objects.filter(partition=partition).exists():
        evaluator.turn(0.05)
    claim(partition, "another", log.identity, 0)
    append(log, [*CROSSING, *walk(60, 68, 0.1, 0.95)])

    turn(evaluator, 2 * len(CROSSING))

    assert not Event.objects.exists()
    # The second event was never come to.
    assert caplog.text.count("no longer the newest") == 1


def test_what_a_former_owner_decides_is_discarded(log: Log, lane: RuleVersion) -> None:
    first = claim(0, "one", "log", 0)
    claim(0, "two", "log", 0)
    held = Partition(0, first.generation, Engine([histories.rule()]), 0, 0.0)
    held.pending = histories.fold(held.engine, CROSSING)
    assert commit([held], datetime.now(UTC), moved={0}) == {0}
    assert commit([held], datetime.now(UTC), moved=()) == {0}
    assert not Event.objects.exists()


def test_a_partition_that_was_lost_keeps_no_other_of_the_same_transaction_back(lane: RuleVersion) -> None:
    lost, kept = (
        Partition(number, claim(number, "one", "log", 0).generation, Engine([histories.rule()]), 7, 0.0)
        for number in (0, 1)
    )
    lost.pending = histories.fold(lost.engine, CROSSING)
    kept.pending = histories.fold(kept.engine, walk(60, 68, 0.1, 0.95))
    claim(0, "two", "log", 0)
    assert commit([lost, kept], datetime.now(UTC), moved={0, 1}) == {0}
    assert list(Event.objects.values_list("uid", flat=True)) == [event.uid for event in kept.pending.events]
    assert dict(FoldPosition.objects.values_list("partition", "position")) == {0: 0, 1: 7}


def test_events_go_without_their_snapshot_and_folding_them_again_changes_nothing(
    log: Log, lane: RuleVersion, evaluators: Callable[..., Evaluator]
) -> None:
    partition = Camera.objects.get(uid=GATE).partition
    crossings = [*CROSSING, *walk(60, 68, 0.1, 0.95)]
    expected = [event.uid for event in histories.run(crossings)]
    append(log, crossings)
    # Its clock stands still: no snapshot is due, and it never leaves.
    turn(evaluators(monotonic=lambda: 0.0), len(crossings))
    stored = list(Event.objects.order_by("pk").values_list("uid", flat=True))
    assert stored == expected
    assert not bytes(FoldPosition.objects.get(partition=partition).snapshot)

    row = claim(partition, "its next owner", log.identity, 0)
    again = Partition(partition, row.generation, Engine(load_configuration(datetime.now(UTC)).rules[partition]), 0, 0.0)
    again.pending = histories.fold(again.engine, crossings)
    assert [event.uid for event in again.pending.events] == expected
    assert commit([again], datetime.now(UTC), moved={partition}) == frozenset()
    assert list(Event.objects.order_by("pk").values_list("uid", flat=True)) == expected
    assert list(Incident.objects.values_list("event_count", flat=True)) == [len(expected)]


def test_heavy_snapshots_go_one_after_another(
    log: Log, lane: RuleVersion, evaluators: Callable[..., Evaluator], monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[list[int]] = []

    def noted(due: Sequence[Partition], now: datetime, *, moved: Collection[int]) -> frozenset[int]:
        written.append(sorted(moved))
        return commit(due, now, moved=moved)

    clock = {"s": 0.0}
    evaluator = evaluators(monotonic=lambda: clock["s"])
    while not FoldPosition.objects.exists():
        evaluator.turn(0.05)
    for held in evaluator._held.values():
        held.weight = 10
    monkeypatch.setattr(evaluate, "SNAPSHOT_BYTES", 10 * len(evaluator._held) // 2)
    monkeypatch.setattr(evaluate, "commit", noted)
    for clock["s"] in (25.0, 25.5, 26.0):
        evaluator._commit_due()
    numbers = sorted(evaluator._held)
    assert written == [numbers[: len(numbers) // 2], numbers[len(numbers) // 2 :]]


def test_what_follows_events_gathers_for_a_moment(
    log: Log, lane: RuleVersion, evaluators: Callable[..., Evaluator], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluate, "GATHER_S", 0.5)
    # Its clock stands still, so that however slow this machine is, the events were stored just now.
    evaluator = evaluators(monotonic=lambda: 0.0)
    append(log, list(CROSSING))
    turn(evaluator, len(CROSSING))
    assert Event.objects.count() == 1
    began_s = time.monotonic()
    evaluator.turn(0.0)
    assert time.monotonic() - began_s >= 0.5


def test_positions_of_another_log_mean_nothing(log: Log, lane: RuleVersion) -> None:
    claim(3, "one", "first log", 0)
    FoldPosition.objects.filter(partition=3).update(position=99, snapshot=b"old")
    assert claim(3, "one", "first log", 0).position == 99
    other = claim(3, "one", "second log", 7)
    assert (other.position, bytes(other.snapshot)) == (7, b"")


def test_a_log_that_was_emptied_is_read_from_its_beginning(
    log: Log,
    log_addresses: LogAddresses,
    lane: RuleVersion,
    evaluators: Callable[..., Evaluator],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("alerts.evaluate.IDENTITY_S", 0.1)
    evaluator = evaluators()
    append(log, [*nobody(-40, 0), *CROSSING])
    turn(evaluator, 200 + len(CROSSING))
    assert Event.objects.count() == 1
    with redis.Redis.from_url(log_addresses.rest_url) as server:
        server.flushall()

    append(log, walk(60, 68, 0.1, 0.95))
    turn(evaluator, len(CROSSING))
    assert Event.objects.count() == 2
    with contextlib.closing(open_log(log_addresses)) as another:
        another.verify(standing_topics(["general"]))


def test_an_unknown_version_stops_the_partition_and_is_told(
    log: Log, lane: RuleVersion, evaluators: Callable[..., Evaluator]
) -> None:
    evaluator = evaluators()
    partition = Camera.objects.get(uid=GATE).partition
    producer = log.producer()
    producer.append(OBSERVATIONS.name, partition, msgspec.msgpack.encode({"v": 99, "kind": "detections"}))
    assert producer.flush(5)
    append(log, list(CROSSING))
    for _ in range(30):
        evaluator.turn(0.05)
    assert evaluator.pulse().problem == "unknown_version"
    assert not Event.objects.exists()


def test_bytes_that_are_no_observation_are_set_aside(
    log: Log, lane: RuleVersion, evaluators: Callable[..., Evaluator]
) -> None:
    partition = Camera.objects.get(uid=GATE).partition
    producer = log.producer()
    producer.append(OBSERVATIONS.name, partition, b"\xc1 garbage")
    assert producer.flush(5)
    append(log, list(CROSSING))
    turn(evaluators(), len(CROSSING) + 1)
    assert Event.objects.count() == 1
    [letter] = wait_for("the letter", lambda: log.read("dead-letters", 0, log.start("dead-letters", 0)), 3)
    assert decode_dead_letter(letter.payload).payload == b"\xc1 garbage"


def test_blindness_is_written_when_it_begins_and_when_it_ends(
    log: Log, lane: RuleVersion, evaluators: Callable[..., Evaluator]
) -> None:
    evaluator = evaluators()
    append(log, [source(10, "blind", since=4)])
    turn(evaluator, 1)
    assert list(BlindSpan.objects.values_list("to_at", "reason")) == [(None, "stalled")]
    append(log, [source(60, "active", since=60)])
    turn(evaluator, 1)
    assert BlindSpan.objects.get().to_at == histories.at(60)


def test_the_same_blindness_told_twice_is_one_row(lane: RuleVersion) -> None:
    change = BlindChange(GATE, None, histories.at(0), None, "stalled")
    store_blind([change])
    store_blind([change])
    assert BlindSpan.objects.count() == 1


def test_an_edit_is_taken_without_a_restart(log: Log, lane: RuleVersion, evaluators: Callable[..., Evaluator]) -> None:
    RuleVersion.objects.update(active_until_at=histories.at(-3600))
    clock = [0.0]
    evaluator = evaluators(monotonic=lambda: clock[0])
    evaluator.turn(0.05)
    fresh = RuleVersion.objects.get()
    fresh.active_until_at = None
    fresh.save()
    SequenceCounter.advance(SequenceCounter.CONFIGURATION)
    clock[0] += 2.0
    append(log, list(CROSSING))
    turn(evaluator, len(CROSSING))
    assert Event.objects.count() == 1


def test_rules_go_only_to_the_partitions_of_their_cameras(lane: RuleVersion) -> None:
    configuration = load_configuration(datetime.now(UTC))
    [rules] = configuration.rules.values()
    assert [rule.version for rule in rules] == [VERSION]
    assert isinstance(rules[0], EmbeddedRule)
    assert configuration.populated == {Camera.objects.get().partition}


def test_versions_that_ended_long_ago_are_left_out(lane: RuleVersion) -> None:
    now = datetime.now(UTC)
    RuleVersion.objects.update(active_until_at=now - timedelta(hours=2))
    assert load_configuration(now).rules == {}


def test_it_says_how_far_it_has_come(log: Log, lane: RuleVersion, evaluators: Callable[..., Evaluator]) -> None:
    append(log, list(CROSSING))
    evaluator = evaluators()
    turn(evaluator, len(CROSSING))
    partition = Camera.objects.get().partition
    after = log.start(OBSERVATIONS.name, partition) + len(CROSSING)
    assert evaluator.pulse().problem == ""
    evaluator.close()
    assert FoldPosition.objects.get(partition=partition).position >= after
    assert log.committed(OBSERVATIONS.name, GROUP)[partition] >= after


def test_nothing_is_folded_before_the_rules_are_known(
    log: Log, lane: RuleVersion, evaluators: Callable[..., Evaluator], monkeypatch: pytest.MonkeyPatch
) -> None:
    append(log, list(CROSSING))
    answers = [OperationalError("the database is starting up")] * 3
    current = SequenceCounter.current

    def slow(name: str) -> int:
        if answers:
            raise answers.pop()
        return current(name)

    monkeypatch.setattr("alerts.evaluate.SequenceCounter.current", slow)
    monkeypatch.setattr("alerts.evaluate.RETRY_S", 0.0)
    evaluator = evaluators()
    assert evaluator.turn(0.05) == 0 and evaluator.pulse().problem == "database"
    turn(evaluator, len(CROSSING))
    assert Event.objects.count() == 1


def test_a_version_that_cannot_be_read_leaves_the_others_running(
    log: Log, lane: RuleVersion, evaluators: Callable[..., Evaluator]
) -> None:
    other = Rule.objects.create(name="Other", deployment=Deployment.objects.get())
    RuleVersion.objects.create(
        rule=other,
        number=1,
        kind="presence",
        severity="low",
        deployment=GENERAL,
        embedded={"zones": "everywhere"},
        active_from_at=histories.START,
    )
    append(log, list(CROSSING))
    evaluator = evaluators()
    turn(evaluator, len(CROSSING))
    assert Event.objects.count() == 1
    assert evaluator.pulse().problem == "broken_rule"


def test_the_archive_has_what_was_folded_once_whoever_crashed(
    log: Log, lane: RuleVersion, evaluators: Callable[..., Evaluator], tmp_path: Path
) -> None:
    append(log, list(CROSSING[:30]))
    writers = [ArchiveWriter(tmp_path), ArchiveWriter(tmp_path)]
    crashed = evaluators("one", archive=writers[0])
    turn(crashed, 30)
    append(log, list(CROSSING[30:]))
    # Nobody told the first one that it ended, and what it stored may be ahead of the position that its heir takes.
    heir = evaluators("one", archive=writers[1])
    for _ in range(20):
        heir.turn(0.05)
    heir.close()
    found = [
        row for batch in Archive(tmp_path).read(Query(GATE, histories.at(-60), histories.at(60))) for row in batch.rows
    ]
    assert [row.observation for row in found] == CROSSING
    assert Event.objects.count() == 1
    what = Rehearsal(draft=histories.rule(), cameras=[GATE], from_at=histories.at(-60), until_at=histories.at(60))
    again = [
        one.event for one in rehearse(what, lambda *a: Archive(tmp_path).read(Query(*a))) if isinstance(one, Found)
    ]
    assert [event.uid for event in again] == list(Event.objects.values_list("uid", flat=True))


def test_an_archive_without_a_disk_is_told_and_holds_nothing_up(
    log: Log,
    lane: RuleVersion,
    evaluators: Callable[..., Evaluator],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(evaluate, "SNAPSHOT_S", 0.0)
    append(log, list(CROSSING))
    evaluator = evaluators(archive=ArchiveWriter(tmp_path, leave_bytes=10**18))
    turn(evaluator, len(CROSSING))
    assert Event.objects.count() == 1
    assert evaluator.pulse().problem == "archive"


def test_the_numbers_of_a_counting_rule_are_kept_once(
    log: Log, lane: RuleVersion, evaluators: Callable[..., Evaluator]
) -> None:
    lane.kind = lane.embedded["kind"] = "counting"
    lane.embedded["config"] = {"labels": ["person"], "interval_s": 10}
    lane.embedded["zones"][0].update(shape="line", points=[[0.5, 0.0], [0.5, 1.0]])
    lane.save()
    seen = [*histories.walk(0, 8, 0.1, 0.95), *histories.nobody(8, 24)]
    append(log, seen)
    first = evaluators("one")
    turn(first, len(seen))
    counted = list(Count.objects.values_list("direction", "count", "seen_s").order_by("from_at", "direction"))
    assert counted[:2] == [("backward", 1, 10.0), ("forward", 0, 10.0)]
    # Folded once more from the beginning: the same rows.
    FoldPosition.objects.update(position=log.start(OBSERVATIONS.name, 0), snapshot=b"")
    turn(evaluators("one"), len(seen), turns=200)
    assert list(Count.objects.values_list("direction", "count", "seen_s").order_by("from_at", "direction")) == counted


def test_a_threshold_on_what_is_counted_fires_when_it_is_reached(
    log: Log, lane: RuleVersion, evaluators: Callable[..., Evaluator]
) -> None:
    lane.embedded["zones"][0].update(shape="line", points=[[0.5, 0.0], [0.5, 1.0]])
    busy, version = Rule.objects.create(name="Busy", deployment=lane.rule.deployment, severity="high"), UUID(int=99)
    RuleVersion.objects.create(
        uid=version, rule=busy, number=1, kind="threshold", severity="high", deployment=GENERAL,
        active_from_at=lane.active_from_at,
        embedded={**lane.embedded, "rule": str(busy.uid), "version": str(version), "kind": "threshold",
                  "config": {"quantity": "count", "bound": 2, "hold_s": 0, "gap_s": 60, "rearm_s": 0}},
    )  # fmt: skip
    lane.kind = lane.embedded["kind"] = "counting"
    lane.embedded["config"] = {"labels": ["person"], "interval_s": 10}
    lane.save()
    twice = [*histories.walk(10, 14, 0.1, 0.95), *histories.walk(14.2, 18, 0.95, 0.1)]
    append(log, seen := [*histories.walk(0, 8, 0.1, 0.95), *histories.nobody(8, 10), *twice, *histories.nobody(18, 34)])
    turn(evaluators("one"), len(seen) + 3)

    (event,) = Event.objects.values_list("content", flat=True)
    assert event["kind"] == "threshold" and event["zone"] == str(LANE)
    assert [fact["value"] for fact in event["facts"] if fact["name"] == "measured"] == [2.0]


def test_the_turns_of_a_counting_rule_are_kept_once(
    log: Log, lane: RuleVersion, evaluators: Callable[..., Evaluator]
) -> None:
    other = {**lane.embedded["zones"][0], "uid": str(UUID(int=33)), "name": "Gate"}
    other.update(shape="line", points=[[0.3, 0.0], [0.3, 1.0]])
    lane.embedded["zones"][0].update(shape="line", points=[[0.5, 0.0], [0.5, 1.0]])
    lane.embedded["zones"].append(other)
    lane.kind = lane.embedded["kind"] = "counting"
    lane.embedded["config"] = {"labels": ["person"], "interval_s": 10, "turns": True}
    lane.save()
    seen = [*histories.walk(0, 8, 0.1, 0.95), *histories.nobody(8, 24)]
    append(log, seen)
    turn(evaluators("one"), len(seen))

    def turns() -> list[tuple[Any, ...]]:
        return list(Count.objects.filter(direction="turn").values_list("zone", "to_zone", "from_at", "count"))

    stored, start = sorted(turns()), histories.START
    assert [row[3] for row in stored if row[:3] == (UUID(int=33), LANE, start)] == [1]
    assert sum(row[3] for row in stored) == 1 and len(stored) == 2 * 4
    FoldPosition.objects.update(position=log.start(OBSERVATIONS.name, 0), snapshot=b"")
    turn(evaluators("one"), len(seen), turns=200)
    assert sorted(turns()) == stored
    assert Count.objects.exclude(direction="turn").count() == 2 * 4
