"""Left and removed objects: still, alone, and not a parked car."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alerts.engine import Engine
from alerts.rules.registry import BadConfig, read_config
from streams import observations as wire
from streams.observations import Observation
from tests.alerts.histories import Box, at, dropped, fold, rule, run, seen, source, stays, tick, walker


def thing(x: float = 0.6, y: float = 0.6, *, label: str = "appeared-object", score: float = 0.8) -> Box:
    """A bag whose lower edge's middle is at (x, y)."""
    return (x - 0.02, y - 0.05, x + 0.02, y), score, label


CAR: Box = ((0.5, 0.45, 0.75, 0.65), 0.9, "car")
STEP_S = 0.5


def scene(start_s: float, until_s: float, *boxes: Box) -> list[wire.Detections]:
    """The same boxes from picture to picture."""
    count = round((until_s - start_s) / STEP_S)
    return [seen(round(start_s + i * STEP_S, 3), *boxes) for i in range(count)]


def walks(start_s: float, until_s: float, x_from: float, x_to: float, *boxes: Box) -> list[wire.Detections]:
    """Somebody walks while the other boxes stand."""
    count = round((until_s - start_s) / STEP_S)
    spots = [x_from + (x_to - x_from) * i / max(1, count - 1) for i in range(count)]
    return [seen(round(start_s + i * STEP_S, 3), walker(x), *boxes) for i, x in enumerate(spots)]


def left(**changes: Any) -> Any:
    return rule(kind="left", **{"hold_s": 20, "away_s": 10, **changes})


def fired(history: list[Observation], **changes: Any) -> list[float]:
    return [(event.happened_at - at(0)).total_seconds() for event in run(history, left(**changes))]


# Somebody walks in until 6 s, is gone at 12 s; the bag is known to be still from 20 s on.
OWNER = [*walks(0, 6, 0.2, 0.58), *walks(6, 12, 0.58, 0.98), *scene(12, 20)]
LEFT: list[Observation] = [*OWNER, *scene(20, 80, thing())]


def test_a_bag_whose_owner_has_gone_is_left() -> None:
    [event] = run(LEFT, left())
    facts = {fact.name: fact for fact in event.facts}
    assert (event.happened_at - at(0)).total_seconds() == 40
    assert (event.label, facts["in_zone"].value, facts["owner_away"].bound) == ("appeared-object", 20, 10)
    assert [box.label for box in event.boxes if box.fired] == ["appeared-object"]


@pytest.mark.parametrize(
    "settings, fires",
    [
        ({"hold_s": 100}, 0),
        ({"away_s": 300}, 0),
        ({"labels": ["vanished-object"]}, 0),
        ({"labels": ["static-region"]}, 1),
        ({"labels": ["bag"]}, 0),
        ({"confidence": 0.9}, 0),
        ({"owners": ["dog"]}, 0),
        ({"owners": ["dog"], "owner": "any"}, 1),
        ({"confirm_k": 50, "confirm_n": 50, "confirm_within_s": 3}, 0),
        ({"min_height": 0.04, "max_height": 0.06}, 1),  # the bag's 0.05; its owner has 0.2
        ({"min_height": 0.06}, 0),
        ({"max_height": 0.04}, 0),
    ],
)
def test_each_bound_counts(settings: dict[str, Any], fires: int) -> None:
    assert len(fired(LEFT, **settings)) == fires


MIRRORS: dict[str, list[Observation]] = {
    "nobody was there": [*scene(0, 20), *scene(20, 80, thing())],
    "somebody passed far off": [
        *[seen(i * STEP_S, walker(0.2 + i * 0.03, 0.95)) for i in range(26)],
        *scene(13, 20),
        *scene(20, 80, thing()),
    ],
    "its owner stays": [*walks(0, 6, 0.2, 0.58), *scene(6, 80, walker(0.58), thing())],
    "it is outside the zone": [*OWNER, *scene(20, 80, thing(0.2))],
    "a parked car": [*OWNER, *scene(20, 80, thing(), CAR)],
    "it is fetched in time": [*OWNER, *scene(20, 35, thing()), *scene(35, 80)],
    "somebody who waits": [*walks(0, 6, 0.2, 0.6), *scene(6, 80, walker(0.6), thing(0.6, 0.6))],
    "it is carried on": [
        *OWNER,
        *[seen(20 + i * STEP_S, thing(0.45 + i * 0.003)) for i in range(100)],
    ],
    "a flicker": [*OWNER, seen(20, thing()), *scene(20.5, 80)],
}


@pytest.mark.parametrize("history", MIRRORS.values(), ids=MIRRORS.keys())
def test_it_is_silent_when(history: list[Observation]) -> None:
    assert fired(history) == []


def test_what_has_vanished_was_taken() -> None:
    history = [*OWNER, *scene(20, 80, thing(label="vanished-object"))]
    assert len(fired(history, labels=["vanished-object"])) == 1


def test_a_bag_that_a_detector_knows_needs_no_region() -> None:
    history = [*walks(0, 6, 0.2, 0.58), *walks(6, 12, 0.58, 0.98, thing(label="suitcase"))]
    assert len(fired([*history, *scene(12, 60, thing(label="suitcase"))], labels=["bag"])) == 1


def test_another_box_of_the_same_thing_is_not_another_thing() -> None:
    # The region is lost for longer than its track lives, twice.
    history = [*LEFT, *scene(80, 85), *scene(85, 120, thing()), *scene(120, 125), *scene(125, 200, thing())]
    assert fired(history) == [40]


def test_short_of_its_time_a_lost_track_goes_on() -> None:
    history = [*OWNER, *scene(20, 35, thing()), *scene(35, 40), *scene(40, 60, thing())]
    assert fired(history) == [45.5]  # what lay between is unknown


@pytest.mark.parametrize("settings, fires", [({}, 1), ({"min_height": 0.1}, 0), ({"max_height": 0.02}, 0)])
def test_a_size_counts_of_a_bag_that_a_detector_knows_too(settings: dict[str, Any], fires: int) -> None:
    bag = thing(label="suitcase")
    history = [*walks(0, 6, 0.2, 0.58), *walks(6, 12, 0.58, 0.98, bag), *scene(12, 60, bag)]
    assert len(fired(history, labels=["bag"], **settings)) == fires


def test_the_sizes_are_those_of_the_thing_and_not_of_its_owner_nor_of_a_parked_car() -> None:
    stays = [*walks(0, 6, 0.2, 0.58), *scene(6, 80, walker(0.58), thing())]
    assert fired(stays, max_height=0.1) == []
    assert fired([*OWNER, *scene(20, 80, thing(), CAR)], max_height=0.1) == []


def test_an_owner_who_comes_back_starts_the_time_again() -> None:
    history = [*OWNER, *scene(20, 30, thing()), *scene(30, 41, thing(), walker(0.6)), *scene(41, 80, thing())]
    assert fired(history) == [50.5]


# Somebody walks in until 6 s and is seen no more beside the bag.
HIDES = [*walks(0, 6, 0.2, 0.58), *scene(6, 20)]


def test_an_owner_who_vanished_beside_it_is_waited_for() -> None:
    history = [*HIDES, *scene(20, 80, thing())]
    assert fired(history) == [65.5]  # last seen at 5.5 s
    assert fired(history, hidden_s=0) == [40]
    assert fired(history, hidden_s=300) == []


def test_an_owner_who_comes_out_of_hiding_and_takes_it_left_nothing() -> None:
    assert fired([*HIDES, *scene(20, 50, thing()), *walks(50, 56, 0.58, 0.98), *scene(56, 120)]) == []


def test_an_owner_who_comes_out_of_hiding_and_goes_is_waited_for_no_longer() -> None:
    history = [*HIDES, *scene(20, 50, thing()), *walks(50, 56, 0.58, 0.98, thing()), *scene(56, 80, thing())]
    assert fired(history, hidden_s=300) == [62]


def test_an_owner_who_goes_on_under_another_number_has_gone() -> None:
    found_again = [*walks(0, 6, 0.2, 0.58), *scene(6, 9), *walks(9, 12, 0.75, 0.98), *scene(12, 20)]
    assert fired([*found_again, *scene(20, 80, thing())]) == [40]


def test_who_comes_in_over_the_edge_is_not_the_owner_who_vanished() -> None:
    another = [*walks(0, 6, 0.2, 0.58), *scene(6, 9), *walks(9, 12, 0.98, 0.8), *scene(12, 20)]
    assert fired([*another, *scene(20, 80, thing())]) == [65.5]


def test_an_owner_who_vanishes_at_the_edge_has_gone() -> None:
    out = [seen(6 + i * STEP_S, walker(0.6, 0.6 + 0.08 * i)) for i in range(6)]
    history = [*walks(0, 6, 0.2, 0.58), *out, *scene(9, 20), *scene(20, 80, thing(y=0.95))]
    assert fired(history) == [40]


def test_a_passer_who_is_lost_beside_it_is_not_waited_for() -> None:
    passes = [*scene(20, 25, thing()), *walks(25, 28, 0.3, 0.58, thing()), *scene(28, 80, thing())]
    assert fired([*OWNER, *passes]) == [40]


def test_an_owner_who_stands_still_and_is_seen_badly_is_there() -> None:
    comes = [*walks(0, 6, 0.2, 0.58), *scene(6, 9, walker(0.58))]
    assert fired([*comes, *scene(9, 80, walker(0.58, score=0.3), thing())], hidden_s=0) == []
    doubtful = [seen(i * STEP_S, walker(0.58, score=0.4)) for i in range(12)]
    assert fired([*doubtful, *scene(6, 80, walker(0.58, score=0.4), thing())], owner="any") == [26]


def test_time_in_which_nothing_changed_is_time_in_which_the_owner_hid() -> None:
    [moment] = fired([*HIDES, *scene(20, 22, thing()), *stays("quiet", 21.5, 90)])
    assert 65.5 <= moment <= 68.5


def test_it_stands_while_the_gate_is_closed() -> None:
    history = [*OWNER, *scene(20, 22, thing()), *stays("quiet", 21.5, 60)]
    [moment] = fired(history)
    assert 40 <= moment <= 43


def test_blind_time_does_not_count() -> None:
    history = [*OWNER, *scene(20, 22, thing()), *stays("blind", 21.5, 60)]
    assert fired(history) == []
    again = [source(60, "active", since=60), *scene(60, 70, thing())]
    assert fired([*history, *again]) == []


@pytest.mark.parametrize(
    "settings, said",
    [({"owners": []}, "owners"), ({"owners": ["porter"]}, "porter"), ({"ignore": ["tank"]}, "tank"), ({"x": 1}, "x")],
)
def test_bad_settings_are_refused_by_name(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(BadConfig, match=said):
        read_config("left", settings)


parts = st.lists(
    st.tuples(
        st.sampled_from(["walk", "comes", "bag", "both", "empty", "quiet", "blind", "dropped"]), st.integers(2, 20)
    ),
    min_size=1,
    max_size=8,
)


@settings(max_examples=40, deadline=None)
@given(parts, st.data())
def test_a_restart_at_any_point_gives_the_same_events(steps: list[tuple[str, int]], data: st.DataObject) -> None:
    log: list[Observation] = []
    now = 0.0
    for kind, length in steps:
        until = now + length
        match kind:
            case "walk":
                log += walks(now, until, 0.4, 0.8)
            case "comes":
                log += walks(now, until, 0.2, 0.58)
            case "bag":
                log += scene(now, until, thing())
            case "both":
                log += walks(now, until, 0.6, 0.9, thing())
            case "empty":
                log += scene(now, until)
            case "dropped":
                log.append(dropped(until))
            case _:
                log += [source(now, kind, since=now), tick(until), source(until, "active", since=until)]
        now = until + STEP_S
        log.append(tick(now))
    rules = [left(hold_s=5, away_s=2, rearm_s=2, hidden_s=9)]
    whole = fold(Engine(rules), log).events
    cut = data.draw(st.integers(0, len(log)))
    engine = Engine(rules)
    before = fold(engine, log[:cut]).events
    assert before + fold(Engine(rules, engine.snapshot()), log[cut:]).events == whole
    assert len({event.uid for event in whole}) == len(whole)
