"""Crossing and counting: the mirror cases of a directed line."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import msgspec
import pytest

from alerts.engine import Engine
from alerts.rules.config import CONFIDENCE_HELP, Schedule, ScheduleSpan
from detectors.tracking import TrackerConfig
from tests.alerts.actors import Actor, Step, film, fired, goes, line, of, outcome, told, walks, zone
from tests.alerts.histories import at, dropped, fold, rule, seen, source, stays, tick

LEFT = goes((0, 0.8, 0.6), (6, 0.2, 0.6))
"""Walks over the line with its arrow."""
RIGHT = goes((0, 0.2, 0.6), (6, 0.8, 0.6))


@pytest.mark.parametrize(
    "actors, settings, directions",
    [
        ([LEFT], {}, [1.0]),
        ([RIGHT], {}, [-1.0]),
        ([LEFT], {"direction": "forward"}, [1.0]),
        ([RIGHT], {"direction": "forward"}, []),
        ([RIGHT], {"direction": "backward"}, [-1.0]),
        ([goes((0, 0.8, 0.6), (3, 0.52, 0.6), (6, 0.8, 0.6))], {}, []),  # turns back before it
        ([goes((0, 0.8, 0.6), (3, 0.3, 0.6), (6, 0.8, 0.6))], {}, [-1.0, 1.0]),  # there and back
        ([goes((0, 0.8, 0.1), (6, 0.2, 0.1))], {}, []),  # over the line's extension
        ([goes((0, 0.8, 0.6), (3, 0.5, 0.6), (15, 0.5, 0.6), jitter=0.012)], {}, []),  # trembles on the line
        ([goes((0, 0.5, 0.6), (6, 0.5, 0.6)), LEFT], {}, [1.0]),
        ([goes((0, 0.53, 0.6), (3, 0.2, 0.6))], {"least_way": 0.1}, []),  # appears just beside it
        ([goes((0, 0.8, 0.6), (4, 0.47, 0.6))], {"least_way": 0.1}, []),  # vanishes just behind it
        ([LEFT, RIGHT], {}, [-1.0, 1.0]),  # two meet on the line
        ([LEFT, goes((0, 0.8, 0.8), (6, 0.2, 0.8))], {}, [1.0, 1.0]),  # side by side: two events
        ([goes((0, 0.8, 0.6), (6, 0.2, 0.6), hidden=[(2.4, 3.6)])], {}, [1.0]),  # out of sight on the line
        ([LEFT], {"labels": ["vehicle"]}, []),
        ([LEFT], {"min_height": 0.3}, []),
        ([LEFT], {"max_height": 0.1}, []),
        ([LEFT], {"min_height": 0.1, "max_height": 0.3}, [1.0]),
        ([LEFT, goes((3, 0.8, 0.8), (9, 0.2, 0.8))], {"rearm": "interval", "rearm_s": 20.0}, [1.0]),
    ],
)
def test_who_crosses_is_told_with_the_direction(
    actors: list[Actor], settings: dict[str, Any], directions: list[float]
) -> None:
    events = told("crossing", film(15, *actors), **settings)
    assert sorted(fact.value for event in events for fact in event.facts if fact.name == "direction") == directions
    assert len({event.uid for event in events}) == len(events)


def test_walking_around_the_lines_end_is_no_crossing() -> None:
    around = goes((0, 0.6, 0.6), (3, 0.6, 0.15), (6, 0.4, 0.15), (9, 0.4, 0.6))
    assert told("crossing", film(10, around)) == []


def test_a_track_that_ends_on_the_line_and_goes_on_under_another_number_still_crosses() -> None:
    assert len(fired("crossing", *walks((1, 0, 12, 0.8, 0.53), (2, 14, 24, 0.47, 0.2)))) == 1


@pytest.mark.parametrize(
    "other",
    [
        (2, 14, 24, 0.25, 0.05),  # too far away
        (2, 40, 50, 0.47, 0.2),  # too late
        (2, 11, 24, 0.47, 0.2),  # there already while the first was
    ],
)
def test_another_object_does_not_go_on_with_a_track(other: Step) -> None:
    assert fired("crossing", *walks((1, 0, 12, 0.8, 0.53), other)) == []


@pytest.mark.parametrize("keep", [2, 3, 4])
def test_lost_pictures_lose_no_crossing(keep: int) -> None:
    whole = film(6, goes((0, 0.8, 0.6), (6, 0.2, 0.6), size=(0.15, 0.3)))
    assert len(told("crossing", whole[::keep], confirm_within_s=10.0)) == 1


def test_dropped_pictures_are_no_blind_time() -> None:
    whole = film(6, LEFT)
    history = [*whole[:14], dropped(3.1), *whole[16:]]
    assert len(told("crossing", history)) == 1


def test_another_resolution_of_the_same_picture_moves_nothing() -> None:
    small = film(6, LEFT)
    large = [*small[:12], *(msgspec.structs.replace(picture, source_wh=(1280, 960)) for picture in small[12:])]
    assert [event.facts for event in told("crossing", large)] == [event.facts for event in told("crossing", small)]


def test_who_crossed_in_blind_time_was_not_seen_crossing() -> None:
    here = film(2, goes((0, 0.8, 0.6), (2, 0.55, 0.6)))
    there = film(6, goes((3, 0.45, 0.6), (6, 0.2, 0.6)), start_s=3.0)
    assert told("crossing", [*here, source(2, "blind", since=2), source(2.9, "active", since=2.9), *there]) == []


def test_who_crossed_inside_an_exclusion_does_not_count() -> None:
    excluded = zone([(0.4, 0.5), (0.6, 0.5), (0.6, 0.7), (0.4, 0.7)], "exclusion", UUID(int=33))
    assert told("crossing", film(7, LEFT), zones=[line(), excluded]) == []
    below = goes((0, 0.8, 0.85), (6, 0.2, 0.85))
    assert len(told("crossing", film(7, LEFT, below), zones=[line(), excluded])) == 1


def test_a_polygon_is_refused_with_the_remedy() -> None:
    engine = Engine([of("crossing", zones=[zone()])])
    assert "expected a line with 2 points, got 4" in engine.broken[rule().version]


def counts(history: list[Any], **settings: Any) -> list[tuple[float, float, str, str, int]]:
    found = [each.counted for each in outcome("counting", history, **{"interval_s": 10, **settings}).counts]
    start = found[0].from_s if found else 0.0
    return [(one.from_s - start, one.seen_s, one.direction, one.label, one.count) for one in found]


def test_each_interval_gives_its_numbers_zero_included() -> None:
    walkers = [LEFT, goes((0, 0.8, 0.8), (6, 0.2, 0.8)), goes((10, 0.2, 0.6), (16, 0.8, 0.6))]
    assert counts(film(21, *walkers)) == [
        (0, 10.0, "forward", "person", 2),
        (0, 10.0, "backward", "person", 0),
        (10, 10.0, "forward", "person", 0),
        (10, 10.0, "backward", "person", 1),
    ]


def test_labels_below_the_rules_own_are_counted_apart() -> None:
    truck = goes((0, 0.8, 0.6), (6, 0.2, 0.6), label="truck")
    car = goes((0, 0.8, 0.8), (6, 0.2, 0.8), label="car")
    assert counts(film(11, truck, car), labels=["vehicle"]) == [
        (0, 10.0, "forward", "car", 1),
        (0, 10.0, "forward", "truck", 1),
        (0, 10.0, "backward", "vehicle", 0),
    ]


def test_counting_raises_no_event() -> None:
    assert told("counting", film(30, LEFT), interval_s=10) == []


def test_a_blind_interval_gives_no_number_and_a_half_blind_one_says_how_much_it_saw() -> None:
    away = [source(14, "blind", since=14), tick(20), source(36, "active", since=36)]
    history = [*film(14.2, LEFT), *away, *film(41, start_s=36.0)]
    assert [
        (from_s, seen_s, count) for from_s, seen_s, direction, _, count in counts(history) if direction == "forward"
    ] == [
        (0, 10.0, 1),
        (10, 4.0, 0),
        (30, 4.0, 0),
    ]


def test_quiet_intervals_are_closed_by_the_clock() -> None:
    history = [*film(8, LEFT), *stays("quiet", 7.8, 35)]
    assert [row[0] for row in counts(history) if row[2] == "forward"] == [0, 10, 20]


@pytest.mark.parametrize("interval_s", [900, 86_400])
@pytest.mark.parametrize("quiet", [False, True])
def test_what_was_counted_before_an_edit_is_kept(interval_s: int, quiet: bool) -> None:
    before = of("counting", interval_s=interval_s, active_until_at=at(30))
    after = of("counting", interval_s=interval_s, version=UUID(int=77), active_from_at=at(30))
    engine = Engine([of("counting", interval_s=interval_s)])
    assert fold(engine, film(20, LEFT)).counts == []
    engine.configure([before, after])
    still = stays("quiet", 19.8, 40) if quiet else film(40, start_s=20)
    found = fold(engine, still).counts
    assert {one.rule_version for one in found} == {before.version}
    # Quiet time that the edit falls into is left out: what is said to have been seen was seen.
    seen_s = pytest.approx(19.8 if quiet else 30, abs=0.5)
    told = [(one.counted.direction, one.counted.count, one.counted.seen_s) for one in found]
    assert told == [("forward", 1, seen_s), ("backward", 0, seen_s)]
    assert fold(engine, [seen(41 + i / 5) for i in range(10)]).counts == []


def test_nothing_is_counted_outside_the_schedule() -> None:
    early = Schedule(time_zone="UTC", spans=[ScheduleSpan(from_="06:00", until="06:01")])
    walkers = [goes((start, 0.8, 0.6), (start + 6, 0.2, 0.6)) for start in (0, 57, 70)]
    history = film(130, *walkers)
    assert [row[:2] + row[4:] for row in counts(history, schedule=early, interval_s=60) if row[2] == "forward"] == [
        (0, 59.8, 1)
    ]


def test_two_that_were_confirmed_in_one_picture_are_two_events() -> None:
    late = goes((0, 0.8, 0.8), (6, 0.6, 0.8), (12, 0.2, 0.8))
    events = told("crossing", film(13, LEFT, late))
    assert len({event.uid for event in events}) == 2


def test_a_restart_between_crossing_and_confirmation_loses_nothing() -> None:
    fast = film(3, goes((0, 0.75, 0.6), (1, 0.1, 0.6), size=(0.3, 0.4)))
    rules = [of("crossing", confirm_k=4, confirm_n=5)]
    whole = [event.uid for event in fold(Engine(rules), fast).events]
    assert len(whole) == 1
    for cut in range(len(fast)):
        engine = Engine(rules)
        first = fold(engine, fast[:cut]).events
        rest = fold(Engine(rules, engine.snapshot()), fast[cut:]).events
        assert [event.uid for event in [*first, *rest]] == whole


def test_the_help_of_the_confidence_names_the_score_from_which_tracks_begin() -> None:
    assert f"{TrackerConfig().high:g}" in CONFIDENCE_HELP
