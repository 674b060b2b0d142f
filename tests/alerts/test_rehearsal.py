"""Rehearsal over the archive gives the events that happened, says what it cannot know, and compares two versions."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from uuid import UUID

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alerts.archive import Archive, Query
from alerts.archive_rows import Batch
from alerts.archive_writer import ArchiveWriter
from alerts.engine import Engine, ZoneCount
from alerts.events import Event
from alerts.rehearsal import rehearse
from alerts.rehearsal_items import Found, Item, Progress, Reader, Rehearsal, Summary, Tallied, Unknown
from alerts.rules.config import EmbeddedRule
from detectors.tracking import TrackerConfig
from streams.observations import Observation, Tick
from tests.alerts.actors import of
from tests.alerts.histories import (
    GATE,
    GENERAL,
    START,
    at,
    dropped,
    nobody,
    rule,
    seen,
    source,
    stays,
    tick,
    walk,
    walker,
)
from tests.alerts.test_engine import CROSSING, history_of, steps

PARTITION = 3
LOG = "the log of the test"
STRANGER = UUID(int=90)


def fold_and_keep(
    root: Path, log: Sequence[Observation], rules: Sequence[EmbeddedRule], cuts: Iterable[int] = ()
) -> list[Event]:
    """Fold ``log`` live beside an archive that stores at each of ``cuts`` and at the end; returns the events."""
    writer = ArchiveWriter(root)
    writer.begin(PARTITION, 0, LOG)
    engine, events = Engine(rules), list[Event]()
    ends = set(cuts)
    for offset, observation in enumerate(log):
        outcome = engine.step(observation)
        events += outcome.events
        writer.keep(PARTITION, offset, observation, outcome.tracks)
        if offset in ends:
            writer.store(PARTITION, offset + 1)
    writer.store(PARTITION, len(log))
    writer.close()
    return events


def reader(root: Path) -> Reader:
    archive = Archive(root)

    def read(camera: UUID, from_at: datetime, until_at: datetime, labels: frozenset[str] | None) -> Iterator[Batch]:
        return archive.read(Query(camera, from_at, until_at, labels))

    return read


def rehearsed(
    root: Path, draft: EmbeddedRule, *, from_s: float = -60, until_s: float = 3600, **more: object
) -> list[Item]:
    what = Rehearsal(draft=draft, cameras=[GATE], from_at=at(from_s), until_at=at(until_s), **more)  # type: ignore[arg-type]
    return list(rehearse(what, reader(root)))


def events_of(items: Iterable[Item], version: str = "draft") -> list[Event]:
    return [item.event for item in items if isinstance(item, Found) and item.version == version]


def counts_of(items: Iterable[Item], version: str = "draft") -> list[ZoneCount]:
    return [one for item in items if isinstance(item, Tallied) and item.version == version for one in item.counts]


def summary_of(items: Sequence[Item]) -> Summary:
    last = items[-1]
    assert isinstance(last, Summary)
    return last


@settings(max_examples=60, deadline=None)
@given(steps, st.data())
def test_a_rehearsal_gives_the_events_that_happened(kinds: list[tuple[str, float, float]], data: st.DataObject) -> None:
    log = history_of(kinds)
    log += [tick(log[-1].at.timestamp() - START.timestamp() + 5 + i) for i in range(3)]  # type: ignore[union-attr]
    config = {"rearm_s": 2.0, "hold_s": data.draw(st.sampled_from([0.0, 1.0, 3.0])), "min_travel": 0.01}
    cuts = data.draw(st.lists(st.integers(0, len(log)), max_size=4))
    with tempfile.TemporaryDirectory() as folder:
        live = fold_and_keep(Path(folder), log, [rule(**config)], cuts)
        assert events_of(rehearsed(Path(folder), rule(**config))) == live


@settings(max_examples=15, deadline=None)
@given(steps)
def test_tracked_anew_it_gives_the_same_events_too(kinds: list[tuple[str, float, float]]) -> None:
    log = history_of(kinds)
    with tempfile.TemporaryDirectory() as folder:
        live = fold_and_keep(Path(folder), log, [rule(rearm_s=2.0)])
        again = rehearsed(Path(folder), rule(rearm_s=2.0), tracking=TrackerConfig())
        assert events_of(again) == live


def test_a_timer_fires_at_the_very_tick_at_which_it_fired(tmp_path: Path) -> None:
    log = [*walk(0, 2, 0.3, 0.5), source(1.8, "quiet", since=1.8), *(tick(s + 0.37) for s in range(2, 20))]
    live = fold_and_keep(tmp_path, log, [rule(hold_s=10.0)])
    assert len(live) == 1
    assert events_of(rehearsed(tmp_path, rule(hold_s=10.0))) == live


@pytest.mark.parametrize("from_s", [1500.0, 1990.0])
def test_what_lasts_longer_than_the_usual_warm_up_fires_as_it_did(tmp_path: Path, from_s: float) -> None:
    empty = of("absence", hold_s=2000.0)
    live = fold_and_keep(tmp_path, [*nobody(0, 5), *stays("quiet", 4.8, 2100)], [empty])
    assert len(live) == 1
    assert events_of(rehearsed(tmp_path, empty, from_s=from_s)) == live
    assert events_of(rehearsed(tmp_path, empty, from_s=from_s, warm_up_s=900.0)) == []


def test_an_edit_of_the_rule_fires_otherwise_and_is_compared(tmp_path: Path) -> None:
    passing = [
        msgspec.structs.replace(one, session=2) for one in [*walk(100, 108, 0.1, 0.95), *nobody(108.2, 199, 1.0)]
    ]
    standing = [seen(200 + i / 5, walker(0.5 + 0.001 * i), session=3) for i in range(100)]
    fold_and_keep(tmp_path, [*CROSSING, *nobody(9, 90, 1.0), *passing, *standing], [rule()])
    strict = rule(hold_s=6.0, version=UUID(int=70))
    items = rehearsed(tmp_path, strict, in_force=rule())
    summary = summary_of(items)
    assert len(events_of(items, "in_force")) == 3
    assert summary.fired == 1 and len(summary.same) == 1
    assert (len(summary.new), len(summary.gone)) == (0, 2)
    [pair] = summary.same
    assert pair[0] in {event.uid for event in events_of(items)}


def test_the_version_in_force_rehearsed_against_itself_changes_nothing(tmp_path: Path) -> None:
    live = fold_and_keep(tmp_path, CROSSING, [rule()])
    summary = summary_of(rehearsed(tmp_path, rule(), in_force=rule()))
    assert summary.same == [(live[0].uid, live[0].uid)]
    assert not summary.new and not summary.gone


def test_a_version_that_was_never_in_force_acts_on_the_whole_span(tmp_path: Path) -> None:
    fold_and_keep(tmp_path, CROSSING, [rule()])
    assert len(events_of(rehearsed(tmp_path, rule(active_from_at=at(10_000_000))))) == 1


def test_what_happened_before_the_span_is_known_but_not_counted(tmp_path: Path) -> None:
    log = [*CROSSING, *(seen(8 + i / 5, walker(0.75)) for i in range(300))]
    fold_and_keep(tmp_path, log, [rule(rearm_s=1.0)])
    assert len(events_of(rehearsed(tmp_path, rule(rearm_s=1.0)))) == 1
    assert events_of(rehearsed(tmp_path, rule(rearm_s=1.0), from_s=20)) == []


def test_blind_time_is_named_and_never_counted_as_known(tmp_path: Path) -> None:
    log = [
        *nobody(0, 100, 5.0),
        source(100, "blind", since=100),
        *(source(100 + 10 * i, "blind", since=100) for i in range(1, 20)),
    ]
    log += [source(300, "active", since=300), *nobody(301, 400, 5.0)]
    fold_and_keep(tmp_path, log, [rule()])
    summary = summary_of(rehearsed(tmp_path, rule(), from_s=0, until_s=400))
    assert summary.unknown_s["blind:stalled"] == pytest.approx(200)
    assert summary.known_s == pytest.approx(200, abs=10)


def test_silence_and_dropped_pictures_are_unknown(tmp_path: Path) -> None:
    log = [*nobody(0, 20, 1.0), *nobody(500, 520, 1.0), dropped(530, 10), *nobody(531, 540, 1.0)]
    fold_and_keep(tmp_path, log, [rule()])
    items = rehearsed(tmp_path, rule(), from_s=0, until_s=540)
    reasons = {item.reason: item.seconds for item in items if isinstance(item, Unknown)}
    assert reasons["silent"] == pytest.approx(481)
    assert reasons["dropped:behind"] == pytest.approx(11)
    assert summary_of(items).known_s == pytest.approx(540 - 481 - 11)


def test_a_span_of_which_nothing_is_kept_is_unknown_altogether(tmp_path: Path) -> None:
    summary = summary_of(rehearsed(tmp_path, rule(), from_s=0, until_s=100))
    assert (summary.fired, summary.known_s, summary.unknown_s) == (0, 0.0, {"silent": 100.0})


def test_a_deployment_that_did_not_look_cannot_tell(tmp_path: Path) -> None:
    log = [source(10 * i, "active", since=0) for i in range(30)]
    fold_and_keep(tmp_path, log, [rule()])
    summary = summary_of(rehearsed(tmp_path, rule(), from_s=0, until_s=300))
    assert summary.unknown_s == {"unlooked": 300.0}


def test_a_model_that_does_not_know_the_label_cannot_tell(tmp_path: Path) -> None:
    other = [msgspec.structs.replace(one, model="birds 1") for one in nobody(100, 200, 1.0)]
    fold_and_keep(tmp_path, [*nobody(0, 100, 1.0), *other, *nobody(200, 300, 1.0)], [rule()])
    knows = {"test 1": frozenset({"person"}), "birds 1": frozenset({"bird"})}
    summary = summary_of(rehearsed(tmp_path, rule(), from_s=0, until_s=300, knows=knows))
    assert summary.unknown_s == {"label": 100.0}


@pytest.mark.parametrize(
    ("labels", "unknown_s"),
    [
        (["person"], {}),
        (["vehicle"], {}),  # of a family one member is enough
        (["person", "bicycle"], {"label": 100.0}),  # it may have fired for a bicycle
        (["bicycle"], {"label": 100.0}),
    ],
)
def test_a_model_that_knows_only_some_of_the_labels_cannot_tell(
    tmp_path: Path, labels: list[str], unknown_s: dict[str, float]
) -> None:
    log = walk(0, 8, 0.1, 0.95)
    fold_and_keep(tmp_path, [*log, *nobody(8, 100, 1.0)], [rule()])
    items = rehearsed(
        tmp_path, rule(labels=labels), from_s=0, until_s=100, knows={"test 1": frozenset({"person", "car"})}
    )
    assert summary_of(items).unknown_s == unknown_s
    assert len(events_of(items)) == ("person" in labels)


def test_owners_whom_the_model_does_not_know_cannot_be_told_either(tmp_path: Path) -> None:
    fold_and_keep(tmp_path, nobody(0, 100, 1.0), [rule()])
    knows = {"test 1": frozenset({"appeared-object"})}
    given = {"from_s": 0, "until_s": 100, "knows": knows}
    assert summary_of(rehearsed(tmp_path, of("left"), **given)).unknown_s == {"label": 100.0}
    assert summary_of(rehearsed(tmp_path, of("left", owner="any"), **given)).unknown_s == {}


def test_night_and_the_busiest_hour_are_the_sites_own(tmp_path: Path) -> None:
    # 06:00 UTC is 14:00 in Taipei, and 22:00 the day before in Los Angeles.
    fold_and_keep(tmp_path, CROSSING, [rule()])
    assert summary_of(rehearsed(tmp_path, rule(), time_zone="Asia/Taipei")).at_night == 0
    summary = summary_of(rehearsed(tmp_path, rule(), time_zone="America/Los_Angeles"))
    assert (summary.at_night, summary.most_in_an_hour) == (1, 1)
    assert [(hour.hour, count) for hour, count in summary.by_hour] == [(22, 1)]


def test_it_stops_where_it_is_told_to(tmp_path: Path) -> None:
    fold_and_keep(tmp_path, CROSSING, [rule()])
    what = Rehearsal(draft=rule(), cameras=[GATE, STRANGER], from_at=at(0), until_at=at(60))
    opened: list[UUID] = []

    def read(camera: UUID, *span: object) -> Iterator[Batch]:
        opened.append(camera)
        return iter(reader(tmp_path)(camera, *span))  # type: ignore[arg-type]

    for item in (items := rehearse(what, read)):
        if isinstance(item, Progress):
            assert 0 < item.share <= 0.5
            items.close()  # type: ignore[attr-defined]
            break
    assert opened == [GATE]


def test_a_draft_that_cannot_run_says_why(tmp_path: Path) -> None:
    fold_and_keep(tmp_path, CROSSING, [rule()])
    items = rehearsed(tmp_path, rule(confidence=7.0))
    assert "confidence" in items[0].reason  # type: ignore[union-attr]


def test_a_firing_names_its_track_and_its_picture(tmp_path: Path) -> None:
    fold_and_keep(tmp_path, CROSSING, [rule()])
    [found] = [item for item in rehearsed(tmp_path, rule()) if isinstance(item, Found)]
    assert found.track is not None and found.track.number == found.number
    assert found.event.path and found.event.zone_polygon and found.event.facts
    assert found.event.deployment == GENERAL


def test_a_firing_of_a_tick_has_the_track_of_its_own_deployment(tmp_path: Path) -> None:
    others = [
        msgspec.structs.replace(one, deployment=STRANGER, sequence=one.sequence) for one in walk(2.2, 5, 0.1, 0.2)
    ]
    log = [*walk(0, 2, 0.3, 0.5), source(1.8, "quiet", since=1.8), *others, *(tick(s + 0.37) for s in range(5, 20))]
    fold_and_keep(tmp_path, log, [rule()])
    items = rehearsed(tmp_path, rule(hold_s=10.0), in_force=rule(deployment=STRANGER, version=UUID(int=70)))
    [found] = [item for item in items if isinstance(item, Found) and item.version == "draft"]
    assert found.track is not None and found.track.xyxy[0] > 0.4


def test_ticks_that_can_fire_nothing_are_not_stepped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fold_and_keep(tmp_path, [*nobody(0, 2), *(tick(s) for s in range(2, 3000))], [rule()])
    stepped: list[Observation] = []
    step = Engine.step
    monkeypatch.setattr(
        Engine, "step", lambda self, one, tracks=None: (stepped.append(one), step(self, one, tracks))[1]
    )
    rehearsed(tmp_path, rule())
    assert stepped and not [one for one in stepped if isinstance(one, Tick)]


def test_two_cameras_are_added_up(tmp_path: Path) -> None:
    other = [msgspec.structs.replace(one, camera=STRANGER) for one in CROSSING]
    both = [one for pair in zip(CROSSING, other, strict=True) for one in pair]
    zone = rule().zones[0]
    twice = rule(zones=[zone, msgspec.structs.replace(zone, uid=UUID(int=91), camera=STRANGER)])
    live = fold_and_keep(tmp_path, both, [twice])
    what = Rehearsal(draft=twice, cameras=[GATE, STRANGER], from_at=START, until_at=START + timedelta(minutes=1))
    items = list(rehearse(what, reader(tmp_path)))
    assert sorted(str(event.uid) for event in events_of(items)) == sorted(str(event.uid) for event in live)
    assert summary_of(items).fired == 2
