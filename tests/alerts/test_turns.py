"""Turns at a junction: four lines about the middle of the picture, and who came in by which and went out by which."""

from __future__ import annotations

from collections import Counter
from typing import Any
from uuid import UUID

import pytest

from alerts.engine import Engine
from alerts.rules.config import EmbeddedZone
from tests.alerts.actors import Actor, film, goes, line, of, zone
from tests.alerts.histories import VERSION, dropped, fold, source, stays, tick

NORTH, EAST, SOUTH, WEST = (UUID(int=80 + i) for i in range(4))
NAMES = {NORTH: "N", EAST: "E", SOUTH: "S", WEST: "W"}
JUNCTION = [
    zone([(0.3, 0.35), (0.7, 0.35)], "line", NORTH),
    zone([(0.7, 0.35), (0.7, 0.95)], "line", EAST),
    zone([(0.7, 0.95), (0.3, 0.95)], "line", SOUTH),
    zone([(0.3, 0.95), (0.3, 0.35)], "line", WEST),
]
PLACES = {"N": (0.5, 0.15), "E": (0.95, 0.65), "S": (0.5, 0.995), "W": (0.05, 0.65), "M": (0.5, 0.65)}


def travels(way: str, start_s: float = 0.0, **kind: Any) -> Actor:
    """Through the places named by ``way``, two and a half seconds for each leg."""
    keys = [(start_s + 2.5 * i, *PLACES[place]) for i, place in enumerate(way)]
    return goes(*keys, size=(0.08, 0.14), **kind)


def turns(history: list[Any], lines: list[EmbeddedZone] = JUNCTION, **settings: Any) -> Counter[str]:
    """``NE`` → how many came in by the north line and went out by the east one."""
    rule = of("counting", zones=lines, **{"turns": True, "interval_s": 10, "least_way": 0.01, **settings})
    found: Counter[str] = Counter()
    for one in fold(Engine([rule]), history).counts:
        if one.counted.to_zone is not None:
            assert one.counted.direction == "turn"
            found[NAMES[one.zone] + NAMES[one.counted.to_zone]] += one.counted.count
    return +found


@pytest.mark.parametrize("way", ["NMS", "NME", "NMW", "EMN", "EMW", "SMN", "SMW", "WME", "WMS"])
def test_a_track_counts_once_from_where_it_came_to_where_it_went(way: str) -> None:
    assert turns(film(22, travels(way))) == Counter([way[0] + way[2]])


def test_each_label_and_pair_is_a_series_with_its_zeros() -> None:
    rule = of("counting", zones=JUNCTION, turns=True, interval_s=10, least_way=0.01, labels=["vehicle"])
    cars = film(10.4, travels("NME", label="car"), travels("WME", label="truck"))
    found = [one for one in fold(Engine([rule]), cars).counts if one.counted.to_zone and one.zone == NORTH]
    said = [(NAMES[one.counted.to_zone], one.counted.label, one.counted.count) for one in found if one.counted.to_zone]
    assert said == [("E", "car", 1), ("S", "vehicle", 0), ("W", "vehicle", 0), ("N", "vehicle", 0)]
    assert {(one.counted.seen_s, one.counted.until_s - one.counted.from_s) for one in found} == {(10.0, 10)}


def test_turns_stand_beside_the_counts_of_each_line() -> None:
    rule = of("counting", zones=JUNCTION, turns=True, interval_s=10, least_way=0.01)
    counts = fold(Engine([rule]), film(10.4, travels("NME"))).counts
    over = {(NAMES[one.zone], one.counted.direction) for one in counts if not one.counted.to_zone and one.counted.count}
    assert over == {("N", "forward"), ("E", "backward")}


def test_whichever_way_the_arrows_point_the_turns_are_the_same() -> None:
    turned = [zone(list(reversed(one.points)), "line", one.uid) for one in JUNCTION]
    assert turns(film(22, travels("NME"), travels("SMW", 6.0)), turned) == Counter(["NE", "SW"])


@pytest.mark.parametrize(
    "actors, expected",
    [
        ([travels("NMN")], ["NN"]),  # a U-turn
        ([travels("NM")], []),  # parks in the middle
        ([travels("ME")], []),  # came from nowhere
        ([travels("NMEMS")], ["NE", "ES"]),  # out and in again: two movements
        ([travels("NME"), travels("NMS", 5.0), travels("NME", 10.0)], ["NE", "NE", "NS"]),
        ([travels("NME"), travels("WME", 0.0)], ["NE", "WE"]),
        ([travels("NME", label="dog")], []),
        ([travels("NME", hidden=[(2.0, 3.0)])], ["NE"]),  # behind a lorry in the middle
    ],
)
def test_what_is_a_turn(actors: list[Actor], expected: list[str]) -> None:
    assert turns(film(32, *actors)) == Counter(expected)


def test_two_lines_in_one_step_are_taken_in_the_order_of_the_way() -> None:
    # One picture before the north line, the next behind the south one.
    fast = goes((0, 0.5, 0.1), (0.8, 0.5, 0.3), (1.0, 0.5, 0.98), (1.6, 0.5, 0.999), size=(0.5, 0.9))
    assert turns(film(12, fast), [JUNCTION[2], JUNCTION[0]], least_way=0.0, confirm_k=1, band=0.0) == Counter(["NS"])


def test_a_movement_ends_with_the_sight_of_it() -> None:
    before, after = film(3, travels("NME")), film(30, travels("NME"), start_s=3.4)
    blind = [source(3.0, "blind", since=3.0), source(3.2, "active", since=3.2)]
    assert turns([*before, *after]) == Counter(["NE"])
    assert turns([*before, *blind, *after]) == Counter()


def test_a_movement_through_an_exclusion_does_not_count() -> None:
    middle = zone([(0.42, 0.5), (0.58, 0.5), (0.58, 0.9), (0.42, 0.9)], "exclusion", UUID(int=90))
    assert turns(film(22, travels("NMS")), [*JUNCTION, middle]) == Counter()


def test_dropped_pictures_lose_no_turn() -> None:
    whole = film(22, travels("NME"))
    assert turns([*whole[:12], dropped(2.7, 2), *whole[14:]]) == Counter(["NE"])


def test_each_camera_has_its_own_turns() -> None:
    rule = of("counting", zones=[line(), JUNCTION[0]], turns=True)
    assert not Engine([rule]).broken
    alone = Engine([of("counting", zones=[line()], turns=True)])
    assert "expected another line to turn to" in alone.broken[VERSION]


def test_without_the_setting_no_turn_is_counted() -> None:
    assert turns(film(22, travels("NME")), turns=False) == Counter()


def test_a_quiet_interval_gives_zero_turns_and_a_blind_one_none() -> None:
    rule = of("counting", zones=JUNCTION[:2], turns=True, interval_s=10)
    quiet = [*film(8, travels("NM")), *stays("quiet", 7.8, 24)]
    blind = [*film(8, travels("NM")), source(8, "blind", since=8), *(tick(second) for second in range(9, 45))]
    assert len([one for one in fold(Engine([rule]), quiet).counts if one.counted.to_zone]) == 2 * 4
    assert [one for one in fold(Engine([rule]), blind).counts if one.counted.to_zone] == []


def test_a_restart_in_the_middle_of_a_turn_changes_nothing() -> None:
    history = film(22, travels("NME"), travels("SMW", 4.0), travels("NMN", 9.0))
    rules = [of("counting", zones=JUNCTION, turns=True, interval_s=10, least_way=0.01)]
    whole = fold(Engine(rules), history).counts
    assert sum(one.counted.count for one in whole if one.counted.to_zone) == 3
    for cut in range(0, len(history), 4):
        engine = Engine(rules)
        first = fold(engine, history[:cut]).counts
        assert [*first, *fold(Engine(rules, engine.snapshot()), history[cut:]).counts] == whole
