"""Rehearsing a sequence: how far back it looks, what it cannot tell, and which rules run for whose sake."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from alerts.archive_rows import Batch
from alerts.rehearsal_items import Broken, Found, Progress, Rehearsal, Unknown
from alerts.rehearsal_sequence import rehearse_sequence, warm_up_s
from alerts.rules.config import EmbeddedRule
from detectors.tracking import TrackerConfig
from tests.alerts.histories import GATE, GENERAL, at, nobody, source, walk
from tests.alerts.kept import blind, moved
from tests.alerts.sequenced import (
    CROSSES,
    LEFT_LANE,
    RIGHT_LANE,
    YARD,
    alarm,
    beside,
    lane,
    rehearsed_sequence,
    sequences_of,
)
from tests.alerts.test_rehearsal import events_of, fold_and_keep, reader, summary_of

FROM_GATE_TO_YARD = beside(
    [*nobody(0, 10, 1.0), *walk(10, 14, 0.1, 0.3), *nobody(14, 60, 1.0)],
    [*nobody(0, 40, 1.0), *walk(40, 44, 0.7, 0.9), *nobody(44, 60, 1.0)],
)
LANES = [LEFT_LANE, RIGHT_LANE]


def kept(root: Path, rules: list[EmbeddedRule]) -> list[UUID]:
    """Keep somebody's way from gate to yard; the names of the last rule's sequences, as they happened."""
    fired = fold_and_keep(root, FROM_GATE_TO_YARD, rules)
    return [event.uid for event in sequences_of(fired, rules)]


def test_what_opened_it_before_the_span_is_known(tmp_path: Path) -> None:
    live = kept(tmp_path, [*LANES, alarm()])
    assert len(live) == 1
    assert [one.uid for one in events_of(rehearsed_sequence(tmp_path, alarm(), from_s=30))] == live
    assert events_of(rehearsed_sequence(tmp_path, alarm(), from_s=30, warm_up_s=5.0)) == []
    assert events_of(rehearsed_sequence(tmp_path, alarm(), from_s=50)) == []


def test_the_rules_run_for_as_long_before_the_span_as_a_sequence_waits() -> None:
    what = Rehearsal(draft=alarm(within_s=60.0), cameras=[GATE], from_at=at(0), until_at=at(60), sources=LANES)
    longer = replace(what, draft=alarm(within_s=7260.0))
    slow = replace(what, sources=[LEFT_LANE, lane(70, (0.6, 1.0), GATE, hold_s=3000.0)])
    assert warm_up_s(longer) - warm_up_s(what) == 7200
    assert warm_up_s(slow) > 3000 + 60
    # The version in force may wait longer than the draft.
    assert warm_up_s(replace(what, in_force=longer.draft)) == warm_up_s(longer)


def test_a_sequence_of_a_sequence_is_rehearsed_too(tmp_path: Path) -> None:
    inner = alarm()
    outer = alarm(rule=UUID(int=81), version=UUID(int=181), first=str(LEFT_LANE.rule), then=str(inner.rule))
    live = kept(tmp_path, [*LANES, inner, outer])
    assert len(live) == 1
    items = rehearsed_sequence(tmp_path, outer, sources=[*LANES, inner])
    [found] = [item for item in items if isinstance(item, Found)]
    assert [found.event.uid] == live and found.event.camera == YARD
    assert found.track is not None and found.track.number == found.number


def test_two_sequences_that_wait_for_each_other_end(tmp_path: Path) -> None:
    other = alarm(rule=UUID(int=81), version=UUID(int=181), first=str(alarm().rule))
    kept(tmp_path, [*LANES, other])
    assert events_of(rehearsed_sequence(tmp_path, alarm(first=str(other.rule)), sources=[*LANES, other])) == []


def test_tracked_anew_it_is_the_same(tmp_path: Path) -> None:
    live = kept(tmp_path, [*LANES, alarm()])
    assert [one.uid for one in events_of(rehearsed_sequence(tmp_path, alarm(), tracking=TrackerConfig()))] == live


def test_it_is_compared_with_its_version_in_force(tmp_path: Path) -> None:
    kept(tmp_path, [*LANES, alarm()])
    hasty = alarm(version=UUID(int=190), within_s=5.0)
    summary = summary_of(rehearsed_sequence(tmp_path, hasty, in_force=alarm()))
    assert (summary.fired, len(summary.gone)) == (0, 1)
    summary = summary_of(rehearsed_sequence(tmp_path, alarm(), in_force=hasty))
    assert (summary.fired, len(summary.new), summary.same) == (1, 1, [])
    summary = summary_of(rehearsed_sequence(tmp_path, alarm(), in_force=alarm()))
    assert (summary.fired, len(summary.same)) == (1, 1)


def test_cameras_of_two_sites_make_no_sequence(tmp_path: Path) -> None:
    kept(tmp_path, [*LANES, alarm()])
    assert len(events_of(rehearsed_sequence(tmp_path, alarm(), sites={GATE: 1, YARD: 1}))) == 1
    assert events_of(rehearsed_sequence(tmp_path, alarm(), sites={GATE: 1, YARD: 2})) == []


def test_what_either_of_its_rules_cannot_tell_it_cannot_tell(tmp_path: Path) -> None:
    gate = [*nobody(0, 100, 1.0), *blind(100, 200), source(200, "active"), *nobody(201, 300, 1.0)]
    fold_and_keep(tmp_path, beside(gate, nobody(0, 300, 1.0)), LANES)
    cars = lane(70, (0.6, 1.0), GATE, YARD, labels=["car"])
    knows = {"test 1": frozenset({"person"})}
    summary = summary_of(rehearsed_sequence(tmp_path, alarm(), from_s=0, until_s=299))
    assert summary.unknown_s["blind:stalled"] == pytest.approx(100, abs=1)
    assert summary.known_s == pytest.approx(2 * 299 - 100, abs=3)
    items = rehearsed_sequence(tmp_path, alarm(), from_s=0, until_s=299, sources=[LEFT_LANE, cars], knows=knows)
    assert {item.camera for item in items if isinstance(item, Unknown) and item.reason == "label"} == {GATE, YARD}
    assert summary_of(items).known_s == 0


def test_a_rule_that_cannot_run_is_named_and_for_whose_sake_it_ran(tmp_path: Path) -> None:
    kept(tmp_path, [*LANES, alarm()])
    broken = lane(70, (0.6, 1.0), GATE, YARD, confidence=7.0)
    items = rehearsed_sequence(tmp_path, alarm(), sources=[LEFT_LANE, broken])
    told = [item for item in items if isinstance(item, Broken)]
    assert [(one.version, one.reason.partition(":")[0]) for one in told] == [("draft", "“Lane 70”")]
    twice = alarm(version=UUID(int=190), then=str(LEFT_LANE.rule))
    items = rehearsed_sequence(tmp_path, twice, in_force=alarm(), sources=[LEFT_LANE, broken])
    assert [one.version for one in items if isinstance(one, Broken)] == ["in_force"]


def test_a_sequence_that_cannot_be_read_says_why(tmp_path: Path) -> None:
    [first, *_] = rehearsed_sequence(tmp_path, alarm(within_s=-1.0))
    assert isinstance(first, Broken) and first.version == "draft" and "within_s" in first.reason


def test_of_one_camera_alone_they_come_before_the_next_is_read(tmp_path: Path) -> None:
    later = moved(CROSSES, camera=GATE, deployment=GENERAL, to=at(60), session=2)
    fold_and_keep(tmp_path, beside([*CROSSES, *nobody(8, 59, 1.0), *later], CROSSES), LANES)
    what = Rehearsal(draft=alarm(scope="camera"), cameras=[GATE, YARD], from_at=at(0), until_at=at(600), sources=LANES)
    read: list[UUID] = []

    def noted(camera: UUID, *span: Any) -> Iterable[Batch]:
        read.append(camera)
        return reader(tmp_path)(camera, *span)

    found = []
    for item in rehearse_sequence(what, noted):
        if isinstance(item, Found):
            found.append(item.event.camera)
            assert item.event.camera == read[-1]
        if isinstance(item, Progress):
            assert (item.share > 0.5) == (item.camera == YARD)
    assert (read, found) == ([GATE, YARD], [GATE, GATE, YARD])
