"""The kinds that look into a polygon: the mirror cases of each."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import msgspec
import pytest

from alerts.rules.config import Schedule, ScheduleSpan
from alerts.rules.logic import Seen
from alerts.rules.registry import BadConfig, read_config
from detectors.tracking import Track
from tests.alerts.actors import Actor, Key, film, fired, goes, line, picture, told, track, zone
from tests.alerts.histories import Box, dropped, seen, source, stays, tick

Rows = list[Any]

IN_AND_STAY = goes((0, 0.2, 0.6), (3, 0.6, 0.6), (40, 0.6, 0.6))
STILL: Box = ((0.55, 0.3, 0.65, 0.6), 0.8, "person")
EARLY = Schedule(time_zone="UTC", spans=[ScheduleSpan(from_="06:00", until="06:01")])
"""The histories begin at 06:00 UTC."""


def stands(until_s: float = 40.0, **kind: Any) -> Actor:
    return goes((0, 0.6, 0.6), (until_s, 0.6, 0.6), **kind)


# Dwell


@pytest.mark.parametrize(
    "actors, settings, events",
    [
        ([IN_AND_STAY], {}, 1),
        ([goes((0, 0.2, 0.6), (3, 0.6, 0.6), (10, 0.6, 0.6), (13, 0.95, 0.6), (40, 0.95, 0.6))], {}, 0),
        ([goes((0, 0.2, 0.6), (12, 0.95, 0.6))], {}, 0),  # walks through
        ([stands(jitter=0.004)], {}, 0),  # parked all along
        ([goes((0, 0.2, 0.6), (3, 0.6, 0.6), (40, 0.6, 0.6), hidden=[(8, 11.4)])], {}, 1),  # behind a pillar
        ([goes((0, 0.2, 0.6), (3, 0.6, 0.6), (18, 0.6, 0.6), hidden=[(8, 16)])], {"leave_s": 1.0}, 0),
        ([goes((0, 0.2, 0.6), (3, 0.395, 0.6), (40, 0.41, 0.6), jitter=0.012)], {}, 1),  # on the zone's edge
        ([IN_AND_STAY, goes((0, 0.9, 0.7), (4, 0.5, 0.7), (40, 0.5, 0.7))], {}, 1),  # a second one joins
        ([IN_AND_STAY], {"labels": ["vehicle"]}, 0),
        ([IN_AND_STAY], {"min_height": 0.5}, 0),
    ],
)
def test_dwell_is_told_once_and_survives_short_absence(actors: list[Actor], settings: Rows, events: int) -> None:
    assert len(told("dwell", film(30, *actors), **{"hold_s": 12.0, **dict(settings)})) == events


def test_a_stay_goes_on_under_another_number() -> None:
    first = [picture(i, track(1, min(0.6, 0.2 + 0.02 * i))) for i in range(40)]
    second = [picture(i, track(2, 0.62)) for i in range(46, 90)]
    assert len(fired("dwell", *first, *second, hold_s=10.0)) == 1
    elsewhere = [picture(i, track(2, 0.45, 0.95)) for i in range(46, 90)]
    assert fired("dwell", *first, *elsewhere, hold_s=10.0) == []


def test_who_comes_in_as_another_goes_out_has_a_stay_of_their_own() -> None:
    comes = [picture(i, track(1, min(0.6, 0.2 + 0.02 * i))) for i in range(40)]
    goes_out = [picture(i, track(1, 0.6, 0.6 + 0.04 * (i - 39))) for i in range(40, 50)]
    another = [picture(i, track(2, 0.5, 0.5)) for i in range(62, 90)]
    assert fired("dwell", *comes, *goes_out, *another, hold_s=10.0) == []
    vanishes = [picture(i, track(1, 0.6)) for i in range(40, 50)]
    assert len(fired("dwell", *comes, *vanishes, *another, hold_s=10.0)) == 1


def test_who_stands_at_the_pictures_edge_stays_under_another_number() -> None:
    first = [picture(i, track(1, min(0.6, 0.2 + 0.02 * i), 0.99)) for i in range(40)]
    second = [picture(i, track(2, 0.62, 0.99)) for i in range(58, 90)]
    assert len(fired("dwell", *first, *second, hold_s=10.0)) == 1


def test_a_stay_that_was_told_is_not_told_again_under_another_number() -> None:
    first = [picture(i, track(1, min(0.6, 0.2 + 0.02 * i))) for i in range(100)]
    second = [picture(i, track(2, 0.62)) for i in range(106, 300)]
    assert len(fired("dwell", *first, *second, hold_s=5.0, rearm="interval", rearm_s=1.0)) == 1


def test_two_that_are_parked_side_by_side_have_not_moved() -> None:
    history = [picture(i, track(1 + i // 10, 0.6 + 0.05 * (i // 10 % 2))) for i in range(100)]
    assert fired("dwell", *history, hold_s=5.0) == []
    assert len(fired("dwell", *history, hold_s=5.0, min_travel=0.0)) == 1


def test_dwell_counts_quiet_time_and_no_blind_time() -> None:
    begin = film(5, IN_AND_STAY)
    assert len(told("dwell", [*begin, *stays("quiet", 4.8, 60)], hold_s=30.0)) == 1
    assert told("dwell", [*begin, *stays("blind", 4.8, 60)], hold_s=30.0) == []


# Crowd


def people(count: int, until_s: float = 30.0, start_s: float = 0.0) -> list[Actor]:
    return [
        goes((start_s, 0.42 + 0.09 * i, 0.4), (until_s, 0.42 + 0.09 * i, 0.4), size=(0.04, 0.15)) for i in range(count)
    ]


@pytest.mark.parametrize(
    "actors, settings, events",
    [
        (people(4), {}, 1),
        (people(3), {}, 0),
        (people(4, 6), {}, 0),  # not for long
        ([*people(3), *people(4, 4)[3:], *people(4, 12, 8)[3:]], {}, 1),  # one steps out: it is not over
        ([*people(2), *people(4, 4)[2:], *people(4, 12, 8)[2:]], {}, 0),  # half of them go: it is
        (people(4), {"per_m2": 0.5, "area_m2": 8.0}, 1),
        (people(4), {"per_m2": 0.5, "area_m2": 12.0}, 0),
        ([*people(3), goes((0, 0.9, 0.4), (30, 0.9, 0.4))], {}, 0),  # the fourth stands outside
        (
            [
                *people(3),
                goes((0, 0.7, 0.4), (30, 0.7, 0.4), size=(0.04, 0.15), hidden=[(i, i + 0.8) for i in range(3, 30, 3)]),
            ],
            {},
            1,
        ),
        (people(4), {"labels": ["vehicle"]}, 0),
    ],
)
def test_a_crowd_is_raised_and_cleared_with_hysteresis(actors: list[Actor], settings: Rows, events: int) -> None:
    settings = {"count": 4, "hold_s": 8.0, "rearm_s": 0.0, "clear_share": 0.75, **dict(settings)}  # type: ignore[assignment]
    assert len(told("crowd", film(30, *actors), **dict(settings))) == events


def test_a_crowd_that_came_again_is_another_one() -> None:
    both = [*people(4, 10), *people(4, 40, 25)]
    events = told("crowd", film(40, *both), count=4, hold_s=5.0, rearm_s=5.0)
    assert len({event.uid for event in events}) == 2


def test_a_crowd_lasts_in_quiet_time_and_not_in_blind() -> None:
    begin = film(4, *people(4))
    assert len(told("crowd", [*begin, *stays("quiet", 3.8, 40)], count=4, hold_s=20.0)) == 1
    assert told("crowd", [*begin, *stays("blind", 3.8, 40)], count=4, hold_s=20.0) == []


def standing(i: int, *numbers: int) -> Seen:
    return picture(i, *(track(number, 0.42 + 0.09 * place, 0.4) for place, number in enumerate(numbers)))


@pytest.mark.parametrize("lost", [0, 2, 4])
def test_a_crowd_is_as_large_and_lasts_though_a_number_changes(lost: int) -> None:
    before = [standing(i, 1, 2, 3, 4) for i in range(30)]
    missing = [standing(i, 1, 2, 3) for i in range(30, 30 + lost)]
    after = [standing(i, 1, 2, 3, 5) for i in range(30 + lost, 55)]
    [found] = fired("crowd", *before, *missing, *after, count=4, hold_s=8.0, clear_share=1.0)
    assert found.first == (1, 2)  # type: ignore[union-attr]
    # Who goes on under another number is not one more.
    assert fired("crowd", *before, *missing, *after, count=5, hold_s=0.0) == []


def test_two_of_a_crowd_that_cross_each_other_are_two() -> None:
    def meet(i: int, *numbers: int) -> Seen:
        left, right = 0.45 + 0.005 * i, 0.75 - 0.005 * i
        return picture(i, *(track(number, x, 0.4) for number, x in zip(numbers, (left, right, 0.5), strict=False)))

    history = [*(meet(i, 1, 2, 3) for i in range(28)), *(meet(i, 1) for i in range(28, 31))]
    history += [meet(i, 1, 4, 5) for i in range(31, 60)]
    assert len(fired("crowd", *history, count=3, hold_s=8.0, clear_share=1.0)) == 1
    assert fired("crowd", *history, count=4, hold_s=0.0) == []


# Stopped


def car(*keys: Key, **kind: Any) -> Actor:
    return goes(*keys, label="car", size=(0.12, 0.1), **kind)


STOPS = ((0.0, 0.1, 0.6), (5.0, 0.6, 0.6), (40.0, 0.6, 0.6))


@pytest.mark.parametrize(
    "actors, settings, events",
    [
        ([car(*STOPS)], {}, 1),
        ([car(*STOPS, jitter=0.008)], {}, 1),
        ([car((0, 0.6, 0.6), (40, 0.6, 0.6), jitter=0.008)], {}, 0),  # parked all along
        ([car((0, 0.1, 0.6), (30, 0.95, 0.6))], {}, 0),  # drives through, slowly
        ([car((0, 0.1, 0.6), (5, 0.6, 0.6), (14, 0.6, 0.6), (18, 0.95, 0.6))], {}, 0),  # waits and goes on
        ([car((0, 0.1, 0.6), (5, 0.3, 0.6), (40, 0.3, 0.6))], {}, 0),  # beside the zone
        ([car((0, 0.1, 0.6), (5, 0.6, 0.6), (30, 0.75, 0.6))], {}, 0),  # creeps on
        ([car(*STOPS, hidden=[(10, 11.6), (14, 15)])], {}, 1),  # others drive past before it
        ([car(*STOPS), car((0, 0.1, 0.8), (30, 0.95, 0.8))], {}, 1),
        ([car(*STOPS)], {"labels": ["person"]}, 0),
    ],
)
def test_a_car_that_came_and_stands_is_told_once(actors: list[Actor], settings: Rows, events: int) -> None:
    assert len(told("stopped", film(30, *actors), **{"hold_s": 12.0, **dict(settings)})) == events


def test_a_stopped_car_under_another_number_is_the_same_car() -> None:
    def at(i: int, number: int, x: float) -> Any:
        return picture(i, track(number, x, label="car"))

    first = [at(i, 1, min(0.6, 0.1 + 0.02 * i)) for i in range(60)]
    assert len(fired("stopped", *first, *(at(i, 2, 0.605) for i in range(64, 200)), hold_s=10.0)) == 1
    # One that appears from nowhere was never seen moving.
    assert fired("stopped", *(at(i, 2, 0.605) for i in range(64, 200)), hold_s=10.0) == []


def test_still_time_lasts_in_quiet_time_and_not_in_blind() -> None:
    begin = film(8, car(*STOPS))
    assert len(told("stopped", [*begin, *stays("quiet", 7.8, 60)], hold_s=30.0)) == 1
    assert told("stopped", [*begin, *stays("blind", 7.8, 60)], hold_s=30.0) == []


# Wrong way


@pytest.mark.parametrize(
    "keys, settings, events",
    [
        ([(0, 0.6, 0.3), (5, 0.6, 0.9)], {}, 1),  # down, where up is right
        ([(0, 0.6, 0.9), (5, 0.6, 0.3)], {}, 0),
        ([(0, 0.6, 0.5), (5, 0.6, 0.6)], {}, 0),  # not far enough
        ([(0, 0.45, 0.5), (5, 0.75, 0.55)], {}, 0),  # across
        ([(0, 0.6, 0.9), (4, 0.6, 0.4), (8, 0.6, 0.8)], {}, 1),  # turns round
        ([(0, 0.1, 0.3), (5, 0.1, 0.9)], {}, 0),  # beside the zone
        ([(0, 0.6, 0.3), (5, 0.6, 0.9)], {"angle": 180.0}, 0),
        ([(0, 0.6, 0.9), (5, 0.6, 0.3)], {"angle": 180.0}, 1),
        ([(0, 0.45, 0.6), (5, 0.75, 0.6)], {"angle": 270.0}, 1),  # to the right, where left is right
        ([(0, 0.6, 0.6), (20, 0.6, 0.6)], {}, 0),
    ],
)
@pytest.mark.parametrize("jitter", [0.0, 0.01])
def test_against_the_arrow_for_a_distance_is_wrong(keys: list[Key], settings: Rows, events: int, jitter: float) -> None:
    assert len(told("wrong_way", film(12, car(*keys, jitter=jitter)), **dict(settings))) == events


@pytest.mark.parametrize(
    "keys, events",
    [
        ([(0, 0.5, 0.9), (5, 0.5, 0.3)], 1),
        ([(0, 0.5, 0.3), (5, 0.5, 0.9)], 0),
        ([(0, 0.9, 0.9), (5, 0.9, 0.3)], 0),  # far beside the line
    ],
)
def test_a_line_says_which_way_is_right_beside_it(keys: list[Key], events: int) -> None:
    assert len(told("wrong_way", film(7, car(*keys)), zones=[line()])) == events


def test_two_that_pass_each_other_are_told_apart() -> None:
    right, wrong = car((0, 0.55, 0.9), (5, 0.55, 0.3)), car((0, 0.7, 0.3), (5, 0.7, 0.9))
    [event] = told("wrong_way", film(6, right, wrong))
    assert event.path[-1][0] == pytest.approx(0.7, abs=0.01)


def drives(number: int, first: int, last: int, y1: float, y2: float, x: float = 0.6) -> dict[int, Track]:
    """Where a car with that number is, by picture; up the picture is the right way."""
    step = (y2 - y1) / (last - 1 - first)
    return {i: track(number, x, y1 + step * (i - first), label="car") for i in range(first, last)}


def pictures(*cars: dict[int, Track]) -> list[Seen]:
    return [picture(i, *(car[i] for car in cars if i in car)) for i in range(max(max(car) for car in cars) + 1)]


@pytest.mark.parametrize("lost", [0, 1, 4])
def test_a_wrong_way_goes_on_under_another_number(lost: int) -> None:
    before, behind = drives(1, 0, 12, 0.4, 0.51), drives(2, 12 + lost, 24 + lost, 0.52, 0.63)
    assert len(fired("wrong_way", *pictures(before, behind))) == 1
    # Neither part alone is far enough, nor are both with the unseen way between them.
    assert fired("wrong_way", *pictures(before)) == fired("wrong_way", *pictures(behind)) == []
    assert fired("wrong_way", *pictures(before, drives(2, 16, 20, 0.62, 0.65))) == []


def test_who_follows_close_behind_on_the_right_way_is_not_wrong() -> None:
    ahead, behind = drives(1, 0, 12, 0.7, 0.4), drives(2, 15, 35, 0.65, 0.45)
    assert fired("wrong_way", *pictures(ahead, behind)) == []


def test_two_that_pass_each_other_and_are_lost_where_they_meet_are_told_apart() -> None:
    right, wrong = drives(1, 0, 12, 0.8, 0.62, x=0.55), drives(2, 0, 12, 0.4, 0.58, x=0.65)
    right_on, wrong_on = drives(3, 14, 26, 0.6, 0.42, x=0.55), drives(4, 14, 26, 0.6, 0.78, x=0.65)
    [found] = fired("wrong_way", *pictures(right, wrong, right_on, wrong_on), against=0.25)
    assert found.track == 4  # type: ignore[union-attr]


def test_a_way_that_was_not_seen_is_not_wrong() -> None:
    here, there = (
        film(1.2, car((0, 0.6, 0.4), (1.2, 0.6, 0.44))),
        film(8, car((5, 0.6, 0.52), (8, 0.6, 0.56)), start_s=5),
    )
    away = [source(1.0, "blind", since=1.0), source(4.8, "active", since=4.8)]
    assert told("wrong_way", [*here, *away, *there]) == []


# Appearance


def flame(score: float = 0.5, label: str = "fire", **kind: Any) -> Actor:
    return stands(20.0, label=label, score=score, size=(0.1, 0.1), **kind)


@pytest.mark.parametrize(
    "actors, settings, events",
    [
        ([flame()], {}, 1),
        ([flame(0.4)], {}, 0),
        ([flame(0.4)], {"confidences": {"fire": 0.36}}, 1),
        ([flame(0.5, "smoke")], {"confidences": {"hazard": 0.4, "smoke": 0.6}}, 0),
        ([flame(0.5)], {"confidences": {"hazard": 0.6, "fire": 0.4}}, 1),
        ([goes((0, 0.6, 0.6), (0.4, 0.6, 0.6), label="fire")], {}, 0),  # a flicker of three pictures, k is 4
        ([goes((0, 0.1, 0.6), (20, 0.1, 0.6), label="fire")], {}, 0),
        ([flame(hidden=[(i, i + 0.6) for i in range(0, 20, 2)])], {}, 1),
        ([flame(), flame(0.5, "smoke", jitter=0.01)], {}, 1),
        ([flame(label="person")], {}, 0),
    ],
)
def test_what_appears_is_told_once(actors: list[Actor], settings: Rows, events: int) -> None:
    assert len(told("appearance", film(12, *actors), **{"confirm_k": 4, **dict(settings)})) == events


@pytest.mark.parametrize(
    "clock, settings, events",
    [
        ("UTC", {"night_confidence": 0.7}, 1),  # six in the morning: day
        ("America/New_York", {"night_confidence": 0.7}, 0),  # one at night
        ("America/New_York", {"night_confidence": 0.7, "night_confidences": {"fire": 0.45}}, 1),
        ("America/New_York", {"night_confidences": {"fire": 0.7}}, 0),
        ("America/New_York", {"night_confidence": 0.7, "night_from": "02:00"}, 1),
    ],
)
def test_the_night_has_its_own_bounds_on_the_sites_clock(clock: str, settings: Rows, events: int) -> None:
    history = film(5, flame(0.5))
    found = told("appearance", history, schedule=Schedule(time_zone=clock), **dict(settings))
    assert len(found) == events


def test_a_confidence_for_a_label_that_is_none_is_refused() -> None:
    with pytest.raises(BadConfig, match="'fier' is not one of"):
        read_config("appearance", {"confidences": {"fier": 0.5}})


@pytest.mark.parametrize("lost", [0, 2, 4])
def test_what_appears_is_confirmed_and_told_once_though_its_number_changes(lost: int) -> None:
    def fire(first: int, last: int, number: int) -> list[Seen]:
        return [picture(i, track(number, 0.6, label="fire")) for i in range(first, last)]

    parts = [*fire(0, 3, 1), *fire(3 + lost, 6 + lost, 2)]
    assert fired("appearance", *parts[:3], confirm_k=4, confirm_n=9) == []
    assert len(fired("appearance", *parts, confirm_k=4, confirm_n=9)) == 1
    long = [*parts, *fire(12 + lost, 60, 3)]
    assert len(fired("appearance", *long, confirm_k=4, confirm_n=9, rearm="interval", rearm_s=0.0)) == 1


@pytest.mark.parametrize("table", ["confidences", "night_confidences"])
def test_a_confidence_for_a_label_that_is_not_looked_for_is_refused(table: str) -> None:
    stored = read_config("appearance", {table: {"smoke": 0.6, "person": 0.5}})  # one that is in force goes on
    with pytest.raises(ValueError, match=rf"{table}: expected labels that are looked for \(fire, smoke\), got person"):
        stored.check_effect()
    # Above what is looked for, or below it, a score has its effect.
    read_config("appearance", {table: {"hazard": 0.5, "smoke": 0.6}}).check_effect()
    read_config("appearance", {"labels": ["vehicle"], table: {"car": 0.5}}).check_effect()


# Absence

GUARD = stands(200.0)


@pytest.mark.parametrize(
    "actors, events",
    [
        ([], 1),
        ([GUARD], 0),
        ([stands(10.0)], 1),
        ([stands(25.0)], 0),
        ([goes((0, 0.1, 0.6), (40, 0.1, 0.6))], 1),  # somebody beside the zone
        ([stands(label="car")], 1),  # something else in it
        ([goes((15, 0.6, 0.6), (15.1, 0.6, 0.6))], 1),  # one picture's flicker is nobody
        ([goes((15, 0.6, 0.6), (18, 0.6, 0.6))], 0),  # somebody looked in
        ([goes((0, 0.6, 0.6), (40, 0.6, 0.6), hidden=[(i, i + 15) for i in range(2, 40, 17)])], 0),
    ],
)
def test_an_empty_zone_is_told_once(actors: list[Actor], events: int) -> None:
    assert len(told("absence", film(38, *actors), hold_s=20.0)) == events


def test_the_next_absence_is_another_one() -> None:
    history = film(70, goes((30, 0.6, 0.6), (36, 0.6, 0.6)))
    events = told("absence", history, hold_s=20.0, rearm_s=5.0)
    assert len({event.uid for event in events}) == 2


@pytest.mark.parametrize("state, events", [("quiet", 1), ("blind", 0)])
def test_quiet_is_absence_and_blind_is_not(state: str, events: int) -> None:
    assert len(told("absence", [*film(5), *stays(state, 4.8, 60)], hold_s=40.0)) == events


def test_minutes_around_a_blind_time_add_up_without_it() -> None:
    away = [source(10, "blind", since=10), tick(15), source(60, "active", since=60)]
    events = told("absence", [*film(10.2), *away, *film(75, start_s=60)], hold_s=20.0)
    [event] = events
    assert (event.happened_at.minute, event.happened_at.second) == (1, 10)


def test_a_guard_who_stands_so_still_that_few_pictures_come_is_not_absent() -> None:
    """Nothing changes, so there is one picture in ten seconds: too few to confirm him, and he is on each."""
    history: Rows = [seen(0.0, STILL), source(0.2, "quiet", since=0.0, sequence=0)]
    history += [tick(second) for second in range(1, 10)] + [seen(10.0, STILL)]
    history += stays("quiet", 10.2, 40, sequence=100)
    assert told("absence", history, hold_s=8.0) == []
    gone = [
        seen(40.0),
        seen(40.2),
        source(40.4, "quiet", since=40.2, sequence=402),
        *(tick(second) for second in range(41, 60)),
    ]
    assert len(told("absence", [*history, *gone], hold_s=8.0)) == 1


def test_a_hole_between_pictures_is_not_absence() -> None:
    history = [*film(5), dropped(30), *film(40, start_s=30)]
    assert told("absence", history, hold_s=20.0) == []


@pytest.mark.parametrize("quiet", [False, True])
def test_time_outside_the_schedule_is_not_absence(quiet: bool) -> None:
    # It acts from 06:01, a minute after the history begins; absence begins with it.
    later = Schedule(time_zone="UTC", spans=[ScheduleSpan(from_="06:01", until="07:00")])
    still = [*film(2), *stays("quiet", 1.8, 70)]
    history = [*still, source(69.9, "active", since=69.9), *film(100, start_s=70)] if quiet else film(100)
    [event] = told("absence", history, hold_s=20.0, schedule=later)
    begun = 70 if quiet else 60
    assert (event.happened_at - seen(begun).captured_at).total_seconds() == pytest.approx(20, abs=0.4)


# Person down


def person(
    *shapes: tuple[float, float, tuple[float, float]], x: float = 0.6, y: float = 0.7, moves: float = 0.0
) -> Actor:
    """From second to second with a box of that width and height, in fractions of a picture of 4 to 3."""

    def box(t: float) -> Box | None:
        for start, end, (width, height) in shapes:
            if start <= t < end:
                at = x + moves * (t - start)
                return (at - width / 2, y - height, at + width / 2, y), 0.8, "person"
        return None

    return box


UPRIGHT, SITTING, CROUCHING, LYING = (0.07, 0.3), (0.1, 0.18), (0.12, 0.16), (0.2, 0.1)


@pytest.mark.parametrize(
    "actor, settings, events",
    [
        (person((0, 5, UPRIGHT), (5, 30, LYING)), {}, 1),
        (person((0, 5, UPRIGHT), (5, 30, SITTING)), {}, 0),
        (person((0, 5, UPRIGHT), (5, 30, CROUCHING)), {}, 0),
        (person((0, 30, LYING)), {}, 0),  # never seen upright: a bench, a drawing
        (person((0, 5, UPRIGHT), (5, 10, LYING), (10, 30, UPRIGHT)), {}, 0),  # gets up again
        (person((0, 5, UPRIGHT), (5, 30, LYING), moves=0.02), {}, 0),  # crawls on
        (person((0, 5, UPRIGHT), (5, 30, (0.06, 0.06))), {}, 0),  # a head above a counter
        (person((0, 5, UPRIGHT), (5, 30, LYING), x=0.1), {}, 0),  # outside the zone
        (person((0, 5, UPRIGHT), (5, 30, LYING), y=0.999), {}, 0),  # cut by the picture's edge
        (person((0, 0.4, UPRIGHT), (0.4, 30, LYING)), {}, 0),
        (person((0, 5, UPRIGHT), (5, 9, LYING), (10.4, 30, LYING)), {}, 1),  # somebody stands in the way
        (person((0, 5, UPRIGHT), (5, 30, LYING)), {"wide": 4.0}, 0),
    ],
)
def test_only_who_fell_and_lies_still_is_down(actor: Actor, settings: Rows, events: int) -> None:
    assert len(told("person_down", film(30, actor), **dict(settings))) == events


def test_who_falls_and_is_lost_for_a_moment_is_the_same_person() -> None:
    def lying(i: int, number: int) -> Any:
        flat = msgspec.structs.replace(track(number, 0.6), xyxy=(0.5, 0.5, 0.7, 0.6))
        return picture(i, flat)

    upright = [picture(i, track(1, 0.6)) for i in range(20)]
    assert len(fired("person_down", *upright, *(lying(i, 2) for i in range(24, 120)))) == 1
    assert fired("person_down", *(lying(i, 2) for i in range(24, 120))) == []


# Common to all


@pytest.mark.parametrize(
    "kind, settings",
    [
        ("presence", {"hold_s": 5.0}),
        ("dwell", {"hold_s": 5.0}),
        ("appearance", {"labels": ["person"], "hold_s": 5.0}),
        ("stopped", {"labels": ["person"], "hold_s": 5.0}),
    ],
)
def test_what_stands_in_an_exclusion_counts_for_no_zone(kind: str, settings: Rows) -> None:
    excluded = zone([(0.55, 0.5), (0.65, 0.5), (0.65, 0.7), (0.55, 0.7)], "exclusion", UUID(int=33))
    beside = zone([(0.75, 0.5), (0.85, 0.5), (0.85, 0.7), (0.75, 0.7)], "exclusion", UUID(int=33))
    history = film(20, IN_AND_STAY)
    assert told(kind, history, zones=[zone(), excluded], **dict(settings)) == []
    assert len(told(kind, history, zones=[zone(), beside], **dict(settings))) == 1


def test_an_exclusion_of_another_camera_changes_nothing_here() -> None:
    other = zone([(0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0)], "exclusion", UUID(int=33))
    elsewhere = msgspec.structs.replace(other, camera=UUID(int=77))
    assert len(told("presence", film(10, IN_AND_STAY), zones=[zone(), elsewhere])) == 1


def test_a_least_height_above_the_most_is_refused() -> None:
    with pytest.raises(BadConfig, match=r"min_height: expected less than max_height 0\.2, got 0\.5"):
        read_config("presence", {"min_height": 0.5, "max_height": 0.2})


def test_a_schedule_that_begins_again_forgets_what_was() -> None:
    nights = Schedule(time_zone="UTC", spans=[ScheduleSpan(from_="06:00", until="06:01"), ScheduleSpan(from_="06:02")])
    begun = film(50, goes((0, 0.2, 0.6), (3, 0.6, 0.6), (150, 0.6, 0.6)))
    again = film(150, goes((0, 0.2, 0.6), (3, 0.6, 0.6), (150, 0.6, 0.6)), start_s=50)
    assert told("dwell", [*begun, *again], hold_s=100.0, schedule=nights) == []
    assert len(told("dwell", [*begun, *again], hold_s=100.0)) == 1
