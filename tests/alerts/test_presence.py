"""Zone presence: the mirror cases, one table row or sentence each."""

from __future__ import annotations

from typing import Any

import pytest

from alerts.engine import Engine
from alerts.rules.registry import BadConfig, read_config
from tests.alerts.actors import film, fired, goes, picture, told, track
from tests.alerts.histories import nobody, rule, run, seen, source, tick, walk, walker


def stand(start_s: float, until_s: float, x: float, jitter: float = 0.0, **kind: Any) -> list[Any]:
    """Somebody stands at ``x``; the box jitters by ``jitter`` from picture to picture."""
    count = round((until_s - start_s) / 0.2)
    return [seen(round(start_s + i * 0.2, 3), walker(x + jitter * (-1) ** i, **kind)) for i in range(count)]


@pytest.mark.parametrize(
    "settings, fires",
    [
        ({}, 1),
        ({"labels": ["vehicle"]}, 0),
        ({"confidence": 0.9}, 0),
        ({"hold_s": 5.0}, 0),
        ({"min_travel": 2.0}, 0),
        ({"confirm_k": 50, "confirm_n": 50}, 0),
        ({"anchor": "overlap"}, 1),
        ({"hold_s": 0.0, "confirm_k": 1}, 1),
    ],
)
def test_each_bound_counts(settings: dict[str, Any], fires: int) -> None:
    assert len(run(walk(0, 8, 0.1, 0.95), rule(**settings))) == fires


def test_a_parked_object_never_fires() -> None:
    assert run(stand(0, 60, 0.5, jitter=0.002)) == []


def test_somebody_who_walked_in_and_stays_fires_once() -> None:
    assert len(run([*walk(0, 3, 0.2, 0.5), *stand(3, 120, 0.5, jitter=0.002)])) == 1


def test_a_flicker_of_a_few_pictures_is_not_a_person() -> None:
    history = [*nobody(0, 2), seen(2, walker(0.5)), seen(2.2, walker(0.52)), *nobody(2.4, 6)]
    assert run(history) == []


def test_it_survives_a_short_occlusion() -> None:
    whole = walk(0, 6, 0.3, 0.75)
    hidden = [seen(2.0), seen(2.2), seen(2.4)]
    history = [*whole[:10], *hidden, *whole[13:]]
    assert len(run(history, rule(hold_s=2.0))) == 1


def test_jitter_over_the_edge_does_not_start_again_each_time() -> None:
    history = [*walk(0, 2, 0.2, 0.41), *stand(2, 40, 0.4, jitter=0.01)]
    assert len(run(history)) == 1


def test_somebody_who_comes_back_after_the_quiet_time_is_told_again() -> None:
    history = [*walk(0, 6, 0.1, 0.95), *nobody(6, 30), *walk(30, 36, 0.1, 0.95)]
    assert len(run(history, rule(rearm_s=15.0))) == 2


def test_within_the_quiet_time_it_is_not() -> None:
    history = [*walk(0, 6, 0.1, 0.95), *nobody(6, 12), *walk(12, 18, 0.1, 0.95)]
    assert len(run(history, rule(rearm_s=15.0))) == 1


def test_blind_time_is_no_quiet_time() -> None:
    away = [source(6, "blind", since=6), tick(20), source(40, "active", since=40)]
    history = [*walk(0, 6, 0.1, 0.95), *away, *nobody(40, 42), *walk(42, 48, 0.1, 0.95)]
    assert len(run(history, rule(rearm_s=15.0))) == 1


def test_with_an_interval_a_second_person_is_told_while_the_first_still_stands() -> None:
    def both(seconds: float, second: float) -> Any:
        return seen(seconds, walker(0.5, 0.5), walker(second, 0.95))

    first = [seen(round(i * 0.2, 3), walker(0.3 + 0.02 * i, 0.5)) for i in range(11)]
    waiting = [seen(round(2.2 + i * 0.2, 3), walker(0.5, 0.5)) for i in range(60)]
    joined = [both(round(14.2 + i * 0.2, 3), 0.1 + 0.02 * i) for i in range(30)]
    assert len(run([*first, *waiting, *joined], rule(rearm="interval", rearm_s=10.0))) == 2


CARS = [
    goes((0, 0.2, 0.6), (8, 0.95, 0.6), label="car", size=(0.1, 0.1)),
    goes((60, 0.2, 0.6), (68, 0.95, 0.6), label="car", size=(0.1, 0.1)),
]


def test_what_has_always_been_parked_hides_nobody() -> None:
    parked = goes((0, 0.6, 0.9), (90, 0.6, 0.9), label="car", size=(0.1, 0.1), jitter=0.004)
    assert len(told("presence", film(90, *CARS), labels=["vehicle"])) == 2
    assert len(told("presence", film(90, *CARS, parked), labels=["vehicle"])) == 2


@pytest.mark.parametrize("jitter", [0.0, 0.008])
def test_what_came_and_parked_is_told_once_and_hides_nobody_who_comes_later(jitter: float) -> None:
    van = goes((0, 0.2, 0.8), (4, 0.6, 0.8), (400, 0.6, 0.8), label="car", size=(0.1, 0.1), jitter=jitter)
    man = goes((200, 0.2, 0.5), (208, 0.95, 0.5))
    settings: dict[str, Any] = {"labels": ["person", "vehicle"]}
    assert [event.label for event in told("presence", film(400, van), **settings)] == ["car"]
    assert [event.label for event in told("presence", film(400, van, man), **settings)] == ["car", "person"]


def test_while_it_still_moves_about_another_one_is_no_news() -> None:
    strolls = goes((0, 0.2, 0.8), *((4.0 + i * 4, 0.5 + 0.2 * (i % 2), 0.8) for i in range(30)))
    man = goes((60, 0.2, 0.5), (68, 0.95, 0.5))
    assert len(told("presence", film(100, strolls, man))) == 1


def test_what_is_parked_on_the_edge_is_told_once_however_long_its_box_trembles() -> None:
    sways = ((8.0 + i * 40, 0.404 - 0.008 * (i % 2), 0.6) for i in range(7))
    van = goes((0, 0.2, 0.6), (4, 0.41, 0.6), *sways, label="car", size=(0.1, 0.1))
    assert len(told("presence", film(240, van), labels=["vehicle"])) == 1


def test_who_leaves_and_comes_back_much_later_is_told_again() -> None:
    walks = goes((0, 0.2, 0.6), (4, 0.6, 0.6), (8, 0.2, 0.6), (60, 0.2, 0.6), (64, 0.6, 0.6), (80, 0.6, 0.6))
    assert len({event.uid for event in told("presence", film(80, walks))}) == 2


# Under another number: tracks of our choosing, five pictures a second.


def comes(number: int = 1, until: int = 20) -> list[Any]:
    """Somebody walks in from the left and, from the 20th picture on, stands."""
    return [picture(i, track(number, min(0.6, 0.2 + 0.02 * i))) for i in range(until)]


def rests(first: int, last: int, number: int, x: float = 0.6, **kind: Any) -> list[Any]:
    return [picture(i, track(number, x, **kind)) for i in range(first, last)]


@pytest.mark.parametrize("hold_s", [1.0, 3.0, 10.0])
@pytest.mark.parametrize("lost", [0, 2, 4])
def test_who_walked_in_and_stands_under_another_number_is_told_once(hold_s: float, lost: int) -> None:
    history = [*comes(), *rests(20 + lost, 120, 2, 0.61)]
    [event] = fired("presence", *history, hold_s=hold_s)
    # Its name is that of its first confirmed picture.
    assert event.first == (1, 2)  # type: ignore[union-attr]


def test_whom_the_tracker_takes_for_another_is_told_once_all_the_same() -> None:
    first, then = goes((0, 0.2, 0.6), (3, 0.5, 0.6), size=(0.02, 0.2)), goes((3.2, 0.58, 0.6), (12, 0.58, 0.6))
    history = film(12, first, then)
    engine = Engine([rule(hold_s=5.0)])
    outcomes = [engine.step(one) for one in history]
    assert {track.number for one in outcomes for track in one.tracks or []} == {1, 2}
    assert len([event for one in outcomes for event in one.events]) == 1


def test_a_visit_that_was_told_is_not_told_again_under_another_number() -> None:
    history = [*comes(until=40), *rests(42, 80, 2, 0.62), *rests(82, 200, 3, 0.6)]
    assert len(fired("presence", *history, rearm="interval", rearm_s=1.0)) == 1


def test_who_is_out_of_sight_for_longer_than_is_forgiven_is_another() -> None:
    assert fired("presence", *comes(), *rests(28, 120, 2), hold_s=3.0) == []
    assert len(fired("presence", *comes(), *rests(28, 120, 2), hold_s=3.0, leave_s=2.0)) == 1


@pytest.mark.parametrize("jump", [0.0, 0.03, 0.06])
def test_what_stands_under_one_number_after_another_has_not_moved(jump: float) -> None:
    numbers = [(10 * i, 10 * i + 10 - i % 3, i, 0.6 + jump * (i % 2)) for i in range(1, 20)]
    history = [one for first, last, number, x in numbers for one in rests(first, last, number, x, label="car")]
    assert fired("presence", *history, labels=["vehicle"]) == []


def test_what_came_and_parked_hides_nobody_though_its_number_changes() -> None:
    def car(i: int) -> list[Any]:
        return [] if i % 10 == 9 else [track(i // 10, 0.6 + 0.03 * (i // 10 % 2))]

    def man(i: int) -> list[Any]:
        return [track(90, 0.2 + 0.02 * (i - 300), 0.95)] if 300 <= i < 330 else []

    history = [*comes(until=40), *(picture(i, *car(i), *man(i)) for i in range(40, 500))]
    assert [event.track for event in fired("presence", *history)] == [1, 90]  # type: ignore[union-attr]


def crossing_each_other(hidden: range) -> list[Any]:
    """One goes right, one left; where they meet the second is hidden, and is number 3 from then on."""
    pictures = []
    for i in range(60):
        other = [] if i in hidden else [track(2 if i < hidden.start else 3, 0.95 - 0.0125 * i)]
        pictures.append(picture(i, track(1, 0.2 + 0.0125 * i), *other))
    return pictures


@pytest.mark.parametrize("hidden", [range(28, 29), range(28, 32), range(30, 33)])
def test_two_that_cross_each_other_are_two_though_one_is_lost_for_a_moment(hidden: range) -> None:
    history = crossing_each_other(hidden)
    # Each is in the zone for 6.2 s: together they are not there for longer.
    assert len(fired("presence", *history, hold_s=5.0, rearm="interval", rearm_s=0.0)) == 2
    assert fired("presence", *history, hold_s=7.0) == []


def test_who_comes_in_as_another_goes_out_is_another() -> None:
    leaves = [picture(i, track(1, 0.6, 0.6 + 0.04 * (i - 20))) for i in range(20, 30)]
    another = rests(33, 60, 2, 0.5, y=0.5)
    assert fired("presence", *comes(), *leaves, *another, hold_s=5.0) == []


@pytest.mark.parametrize(
    "settings, said",
    [
        ({"confidence": 1.5}, "<= 1.0"),
        ({"hold_s": -1}, ">= 0"),
        ({"labels": []}, "length >= 1"),
        ({"anchor": "head"}, "head"),
        ({"colour": "red"}, "colour"),
        ({"confirm_k": "many"}, "confirm_k"),
    ],
)
def test_bad_settings_are_refused_by_name(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(BadConfig, match=said):
        read_config("presence", settings)


def test_an_unknown_kind_names_those_there_are() -> None:
    with pytest.raises(BadConfig, match=r"expected one of .*\bpresence\b"):
        read_config("telepathy", {})
