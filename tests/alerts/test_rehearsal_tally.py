"""Rehearsing what counts: long intervals in parts, what lies within the span, families of labels, two versions."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from uuid import UUID

import pytest

from alerts.engine import Engine, ZoneCount
from alerts.rehearsal_items import Tally
from alerts.rehearsal_tally import in_parts
from streams.observations import Observation
from tests.alerts.actors import film, goes, line, of
from tests.alerts.histories import fold, nobody, tick, walk
from tests.alerts.test_rehearsal import counts_of, fold_and_keep, rehearsed, summary_of
from tests.alerts.test_turns import JUNCTION, travels

COUNTS = {"least_way": 0.01, "band": 0.0}


def hours_long() -> list[Observation]:
    """Somebody walks over the line at three times within two hours; between them a picture each five seconds."""
    log: list[Observation] = []
    for begins_s in (600.0, 3000.0, 5400.0):
        began_s = 0.0 if not log else begins_s - 2391.0
        log += [*nobody(began_s, begins_s, 5.0), *walk(begins_s, begins_s + 6, 0.2, 0.8)]
    return [tick(0), *log, *nobody(5410, 7300, 5.0), tick(7305)]


def tally_of(root: Path, draft: object, **more: object) -> Tally:
    tally = summary_of(rehearsed(root, draft, **more)).tally  # type: ignore[arg-type]
    assert tally is not None
    return tally


def added_up(counts: list[ZoneCount]) -> Counter[tuple[float, str, str]]:
    """By the hour since the history's start in which they lie."""
    found: Counter[tuple[float, str, str]] = Counter()
    for one in counts:
        found[one.counted.from_s // 3600, one.counted.direction, one.counted.label] += one.counted.count
    return +found


def test_the_parts_of_a_long_interval_add_up_to_its_number(tmp_path: Path) -> None:
    hourly = of("counting", interval_s=3600, **COUNTS)
    log = hours_long()
    fold_and_keep(tmp_path, log, [hourly])
    live = fold(Engine([hourly]), log).counts
    parts = counts_of(rehearsed(tmp_path, hourly, until_s=7200))
    assert {one.counted.until_s - one.counted.from_s for one in parts} == {900}
    assert added_up(parts) == added_up(live) and sum(added_up(live).values()) == 3
    tally = tally_of(tmp_path, hourly, until_s=7200)
    assert (tally.draft, tally.most_in_an_hour) == (3, 2)
    assert [(hour, both) for hour, both in enumerate(tally.by_hour) if any(both)] == [(6, (2, 0)), (7, (1, 0))]


def test_only_intervals_within_the_span_count(tmp_path: Path) -> None:
    quarter = of("counting", interval_s=900, **COUNTS)
    fold_and_keep(tmp_path, hours_long(), [quarter])
    assert tally_of(tmp_path, quarter, until_s=7200).draft == 3
    assert tally_of(tmp_path, quarter, from_s=900, until_s=7200).draft == 2
    assert tally_of(tmp_path, quarter, until_s=3000 + 60).draft == 1


@pytest.mark.parametrize(
    ("interval_s", "part_s"), [(10, 10), (60, 60), (900, 900), (1000, 500), (3600, 900), (86_400, 900), (3607, 3607)]
)
def test_only_a_long_interval_is_counted_in_parts(interval_s: int, part_s: int) -> None:
    assert in_parts(of("counting", interval_s=interval_s)).config["interval_s"] == part_s


def test_what_fires_is_left_as_it_is() -> None:
    presence, broken = of("presence"), of("counting", interval_s=-1)
    assert in_parts(presence) is presence and in_parts(broken) is broken


def test_a_family_of_which_members_came_has_no_row_of_its_own(tmp_path: Path) -> None:
    draft = of("counting", interval_s=10, labels=["vehicle", "person"], **COUNTS)
    car = goes((0, 0.8, 0.6), (6, 0.2, 0.6), label="car")
    fold_and_keep(tmp_path, [*film(21, car), *nobody(21, 40, 1.0)], [draft])
    rows = [(one.direction, one.label, one.draft) for one in tally_of(tmp_path, draft).series]
    assert rows == [
        ("forward", "car", 1),
        ("forward", "person", 0),
        ("backward", "person", 0),
        ("backward", "vehicle", 0),
    ]


def test_turns_stand_apart_and_are_not_added(tmp_path: Path) -> None:
    draft = of("counting", zones=JUNCTION, turns=True, interval_s=10, least_way=0.01)
    fold_and_keep(tmp_path, film(10.4, travels("NME")), [draft])
    tally = tally_of(tmp_path, draft)
    turned = [(one.zone, one.to_zone, one.draft) for one in tally.series if one.direction == "turn" and one.draft]
    assert turned == [(JUNCTION[0].uid, JUNCTION[1].uid, 1)]
    assert tally.draft == 2 == sum(one.draft for one in tally.series if one.to_zone is None)


def test_two_versions_are_counted_beside_each_other(tmp_path: Path) -> None:
    usual = of("counting", interval_s=10, **COUNTS)
    strict = of("counting", interval_s=60, version=UUID(int=70), zones=[line()], labels=["car"], **COUNTS)
    fold_and_keep(tmp_path, [*walk(0, 6, 0.2, 0.8), *nobody(6, 120, 1.0)], [usual])
    tally = tally_of(tmp_path, strict, in_force=usual)
    assert (tally.draft, tally.in_force) == (0, 1)
    itself = tally_of(tmp_path, usual, in_force=usual)
    assert [(one.draft, one.in_force) for one in itself.series if one.draft or one.in_force] == [(1, 1)]


def test_a_draft_that_fires_has_no_tally(tmp_path: Path) -> None:
    fold_and_keep(tmp_path, walk(0, 6, 0.2, 0.8), [of("presence")])
    items = rehearsed(tmp_path, of("presence"))
    assert summary_of(items).tally is None and counts_of(items) == []
