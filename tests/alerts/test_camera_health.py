"""Camera health: what capture says, debounced by the log's own time."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alerts.engine import Engine
from alerts.rules.registry import BadConfig, read_config
from alerts.texts import headline
from streams.observations import Observation, SourceState
from tests.alerts.histories import at, fold, rule, run, seen, source, tick


def said(seconds: float, state: str, reason: str = "", *, since: float | None = None) -> SourceState:
    return msgspec.structs.replace(source(seconds, state, since=since), reason=reason)


def lasting(start_s: float, until_s: float, state: str, reason: str = "") -> list[Observation]:
    """Capture says so from ``start_s`` on, again each 10 s, while the log ticks."""
    log: list[Observation] = []
    for second in range(round(until_s - start_s)):
        if second % 10 == 0:
            log.append(said(start_s + second, state, reason, since=start_s))
        log.append(tick(start_s + second + 0.5))
    return log


def watched(**changes: Any) -> Any:
    return rule(kind="health", **{"for_s": 15, "rearm_s": 30, **changes})


def fired(history: list[Observation], **changes: Any) -> list[tuple[str, float]]:
    """What fired and when, in seconds of the history."""
    events = run(history, watched(**changes))
    return [(event.label.removeprefix("camera-"), (event.happened_at - at(0)).total_seconds()) for event in events]


@pytest.mark.parametrize(
    "state, reason, expected",
    [
        ("blind", "stalled", "offline"),
        ("blind", "wrong-password", "offline"),
        ("blind", "unreachable", "offline"),
        ("blind", "connecting", None),  # capture has only just begun
        ("blind", "dark", "dark"),
        ("blind", "frozen", "frozen"),
        ("blind", "covered", "covered"),
        ("active", "blurred", "blurred"),
        ("quiet", "moved", "moved"),
        ("quiet", "no-demand", None),
        ("active", "", None),
    ],
)
def test_it_fires_for_what_is_wrong_and_wanted(state: str, reason: str, expected: str | None) -> None:
    history = lasting(0, 60, state, reason)
    assert fired(history) == ([(expected, 15.5)] if expected else [])
    if expected:
        assert fired(history, **{expected: False}) == []


def test_a_blip_is_no_alarm() -> None:
    history = [part for start in (0, 30, 60) for part in lasting(start, start + 15, "blind", "stalled")]
    between = [part for start in (15, 45) for part in lasting(start, start + 15, "active")]
    history = sorted([*history, *between], key=lambda one: one.at)  # type: ignore[union-attr]
    assert fired(history) == []


def test_one_that_flaps_is_told_once() -> None:
    log: list[Observation] = []
    for start in range(0, 400, 40):
        log += lasting(start, start + 25, "blind", "stalled") + lasting(start + 25, start + 40, "active")
    assert fired(log) == [("offline", 15.5)]


def test_after_it_was_well_for_long_enough_it_is_told_again() -> None:
    history = lasting(0, 60, "blind", "stalled") + lasting(60, 95, "active") + lasting(95, 150, "blind", "dark")
    assert fired(history) == [("offline", 15.5), ("dark", 110.5)]


def test_blind_for_another_reason_is_still_blind() -> None:
    history = lasting(0, 10, "blind", "stalled") + lasting(10, 60, "blind", "unreachable")
    assert [name for name, _ in fired(history)] == ["offline"]


def test_what_is_no_longer_said_is_no_longer_known() -> None:
    # Capture itself died: the strip says so, and no camera is to blame.
    history = [said(0, "blind", "stalled"), *(tick(second) for second in range(31, 300))]
    assert fired(history, for_s=60) == []


def test_it_shows_the_last_picture_and_how_long_it_has_lasted() -> None:
    [event] = run([seen(1), *lasting(3, 30, "blind", "covered")], watched())
    assert (event.sequence, event.path) == (10, [])
    assert [(fact.name, fact.value, fact.bound) for fact in event.facts] == [("held", 15.5, 15)]


def test_a_headline_needs_no_article_about_a_label() -> None:
    from alerts.models import Incident

    assert headline(Incident(label="camera-covered", zone_name="Lane")) == "The camera of “Lane” is covered"


@pytest.mark.parametrize(
    "settings, said",
    [
        (dict.fromkeys(["offline", "frozen", "dark", "covered", "blurred", "moved"], False), "at least one trouble"),
        ({"labels": ["person"]}, "labels"),
        ({"for_s": -1}, "for_s"),
    ],
)
def test_bad_settings_are_refused_by_name(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(BadConfig, match=said):
        read_config("health", settings)


REASONS = [("active", ""), ("quiet", "moved"), ("blind", "stalled"), ("blind", "dark"), ("quiet", "")]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(REASONS), st.integers(5, 60)), max_size=8), st.data())
def test_a_restart_at_any_point_gives_the_same_events(
    steps: list[tuple[tuple[str, str], int]], data: st.DataObject
) -> None:
    log: list[Observation] = []
    now = 0.0
    for (state, reason), length in steps:
        log += lasting(now, now + length, state, reason)
        now += length
    rules = [watched()]
    whole = fold(Engine(rules), log).events
    cut = data.draw(st.integers(0, len(log)))
    engine = Engine(rules)
    before = fold(engine, log[:cut]).events
    assert before + fold(Engine(rules, engine.snapshot()), log[cut:]).events == whole
    assert len({event.uid for event in whole}) == len(whole)
