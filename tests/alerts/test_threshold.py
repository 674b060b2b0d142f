"""Threshold: a number beyond its bound for a time; a gap is unknown, not zero."""

from __future__ import annotations

import math
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alerts.engine import Engine
from alerts.events import Event
from alerts.rules.registry import BadConfig, read_config
from streams.observations import Measurement, Observation
from tests.alerts.histories import GATE, GENERAL, LANE, at, fold, rule, run, seen, source, tick


def measured(seconds: float, value: float, **changes: Any) -> Measurement:
    """So many micrograms at ``seconds``."""
    given: dict[str, Any] = {"camera": GATE, "quantity": "pm2.5", "unit": "µg/m³"}
    return Measurement(at=at(seconds), value=value, **{**given, **changes})


def series(*values: float, start_s: float = 0.0, step_s: float = 10.0) -> list[Observation]:
    return [measured(start_s + step_s * index, value) for index, value in enumerate(values)]


def dusty(**changes: Any) -> Any:
    """More than 50 for 20 s, normal again below 40."""
    given: dict[str, Any] = {"quantity": "pm2.5", "bound": 50, "clear": 40, "hold_s": 20, "gap_s": 30, "rearm_s": 0}
    return rule(kind="threshold", **{**given, **changes})


def fired(history: list[Observation], **changes: Any) -> list[float]:
    """When it fired, in seconds of the history."""
    return [(event.happened_at - at(0)).total_seconds() for event in run(history, dusty(**changes))]


@pytest.mark.parametrize(
    "values, changes, expected",
    [
        ((60, 60, 60), {}, [20]),
        ((60, 60), {}, []),
        ((60, 49, 60, 60, 60), {}, [40]),  # between the bounds: kept, not grown
        ((60, 60, 39, 60, 60), {}, []),  # normal: begun anew
        ((60, 60, 39, 60, 60, 60), {}, [50]),
        ((50, 50, 50), {}, [20]),  # the bound counts as beyond
        ((60, 60, 60, 60, 45, 60, 60, 60), {}, [20]),  # not yet normal: the same
        ((60, 60, 60, 39, 60, 60, 60), {}, [20, 60]),
        ((60, 60, 60, 39, 60, 60, 60), {"rearm_s": 35, "rearm": "interval"}, [20, 60]),
        ((60, 60, 60, 39, 60, 60, 60), {"rearm_s": 60, "rearm": "interval"}, [20]),
        ((60, 60, 60, 39, 60, 60, 60), {"rearm_s": 15, "rearm": "quiet"}, [20]),
        ((60, 60, 60, 39, 39, 39, 60, 60, 60), {"rearm_s": 15, "rearm": "quiet"}, [20, 80]),
        ((60,), {"hold_s": 0}, [0]),
        ((30, 30, 30), {"side": "below", "bound": 35, "clear": 45}, [20]),
        ((36, 36, 36), {"side": "below", "bound": 35, "clear": 45}, []),
        ((30, 40, 30, 30), {"side": "below", "bound": 35, "clear": 45}, []),
        ((30, 40, 30, 30, 30), {"side": "below", "bound": 35, "clear": None}, [40]),
        ((60, 60, 60), {"unit": "µg/m³"}, [20]),
        ((60, 60, 60), {"unit": "mg/m³"}, []),
        ((60, 60, 60), {"quantity": "pm10"}, []),
        ((60, math.nan, 60, 60), {}, [20]),  # not a number says nothing
    ],
)
def test_each_bound_counts(values: tuple[float, ...], changes: dict[str, Any], expected: list[float]) -> None:
    assert fired(series(*values), **changes) == expected


def test_a_gap_is_unknown_and_counts_for_nothing() -> None:
    history = [*series(60, 60), *series(60, start_s=200)]
    assert fired(history) == []
    assert fired([*history, measured(210, 60)]) == [210]


def test_a_gap_is_not_back_to_normal_either() -> None:
    assert fired([*series(60, 60, 60), *series(60, 60, 60, start_s=1000)]) == [20]


def test_a_repeated_or_older_measurement_changes_nothing() -> None:
    once = series(60, 60, 60)
    assert fired([*once[:2], once[0], once[1], measured(5, 10), once[2], once[2]]) == [20]


@pytest.mark.parametrize(
    "where, fires",
    [
        ({}, 1),
        ({"zone": LANE}, 1),
        ({"zone": UUID(int=99)}, 0),
        ({"deployment": GENERAL}, 1),
        ({"deployment": UUID(int=99)}, 0),
        ({"camera": UUID(int=99)}, 0),
    ],
)
def test_it_reads_the_numbers_of_its_own_place(where: dict[str, Any], fires: int) -> None:
    assert len(run([measured(10.0 * i, 60, **where) for i in range(4)], dusty())) == fires


def test_it_says_which_number_and_shows_the_last_picture() -> None:
    [event] = run([seen(1), seen(2), *series(60, 61, 62)], dusty())
    facts = {fact.name: fact for fact in event.facts}
    assert (facts["measured"].value, facts["measured"].relation, facts["measured"].bound) == (62, ">=", 50)
    assert (facts["measured"].unit, facts["held"].value) == ("µg/m³", 20)
    assert (event.kind, event.label, event.sequence) == ("threshold", "pm2.5", 20)


def test_what_the_camera_cannot_see_does_not_matter_to_a_sensor() -> None:
    assert fired([source(0, "blind", since=0), tick(1), *series(60, 60, 60)]) == [20]


@pytest.mark.parametrize(
    "settings, said",
    [
        ({"clear": 60}, "expected at most the bound 50, got 60"),
        ({"side": "below", "clear": 40}, "expected at least the bound 50, got 40"),
        ({"quantity": ""}, "quantity"),
        ({"labels": ["person"]}, "labels"),
        ({"gap_s": 0}, "gap_s"),
    ],
)
def test_bad_settings_are_refused_by_name(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(BadConfig, match=said):
        read_config("threshold", {"bound": 50, **settings})


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 100), st.floats(0.5, 60)), max_size=40), st.data())
def test_a_restart_at_any_point_gives_the_same_events(steps: list[tuple[float, float]], data: st.DataObject) -> None:
    log: list[Observation] = []
    now = 0.0
    for value, wait in steps:
        now += round(wait, 1)
        log.append(measured(now, value))
    rules = [dusty(hold_s=5)]
    whole = fold(Engine(rules), log).events
    cut = data.draw(st.integers(0, len(log)))
    engine = Engine(rules)
    before: list[Event] = fold(engine, log[:cut]).events
    assert before + fold(Engine(rules, engine.snapshot()), log[cut:]).events == whole
    assert len({event.uid for event in whole}) == len(whole)
