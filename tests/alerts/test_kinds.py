"""What every kind in the registry promises, over made-up histories: restarts, blind time, snapshots and bounds."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any, cast
from uuid import UUID

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import inspect

from alerts.engine import Engine, Outcome
from alerts.rules.config import EmbeddedRule
from alerts.rules.logic import Buildable, Found, Logic, Seen, Sleeper
from alerts.rules.registry import RULES, BadConfig, read_config, rule_kind
from detectors.labels import LABELS
from detectors.tracking import Track
from streams.observations import Observation
from tests.alerts.actors import fitting, line, of, zone
from tests.alerts.histories import START, VERSION, fold, source, tick
from tests.alerts.test_engine import history_of, steps

KINDS = sorted(RULES)

EASY: dict[str, dict[str, Any]] = {
    "presence": {"rearm_s": 2.0},
    "crossing": {"least_way": 0.01, "band": 0.0},
    "counting": {"interval_s": 10},
    "dwell": {"hold_s": 2.0, "rearm_s": 1.0},
    "crowd": {"count": 2, "hold_s": 0.5, "rearm_s": 0.0},
    "stopped": {"labels": ["person"], "hold_s": 1.0, "drift": 0.3, "min_travel": 0.01, "rearm_s": 1.0},
    "wrong_way": {"labels": ["person"], "angle": 270.0, "against": 0.05, "rearm_s": 1.0},
    "appearance": {"labels": ["person"], "rearm_s": 1.0},
    "absence": {"hold_s": 2.0, "rearm_s": 0.0},
    "person_down": {"hold_s": 1.0, "drift": 0.5, "rearm_s": 0.0},
    "sequence": {"first": str(UUID(int=70)), "then": str(UUID(int=71))},
}
"""Settings with which the histories below make each kind fire often."""


OTHER_LINE = zone([(0.35, 0.2), (0.35, 0.9)], "line", UUID(int=34))


def each_kind() -> list[EmbeddedRule]:
    """A rule of every kind, all in one engine; one more counts turns, which takes two lines."""
    turning = of("counting", version=UUID(int=99), zones=[line(), OTHER_LINE], turns=True, **EASY["counting"])
    return [turning, *(of(kind, version=UUID(int=100 + i), **EASY.get(kind, {})) for i, kind in enumerate(KINDS))]


def found_in(outcome: Outcome) -> list[Any]:
    return [*outcome.events, *outcome.counts]


@settings(max_examples=15, deadline=None)
@given(steps, st.data())
def test_a_restart_at_any_moment_changes_nothing(kinds: list[tuple[str, float, float]], data: st.DataObject) -> None:
    log, rules = history_of(kinds), each_kind()
    whole = fold(Engine(rules), log)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(log)), max_size=3)))
    engine, parts = Engine(rules), Outcome()
    for start, end in zip([0, *cuts], [*cuts, len(log)], strict=True):
        parts += fold(engine, log[start:end])
        engine = Engine(rules, engine.snapshot())
    assert parts.events == whole.events
    assert parts.counts == whole.counts


@settings(max_examples=10, deadline=None)
@given(steps)
def test_blind_time_fires_nothing(kinds: list[tuple[str, float, float]]) -> None:
    log = history_of(kinds)
    end = round((log[-1].at - START).total_seconds() + 0.2, 1)  # type: ignore[union-attr]
    engine = Engine(each_kind())
    fold(engine, log)
    blind: list[Observation] = [source(end, "blind", since=end), *(tick(end + 60 * i) for i in range(30))]
    assert found_in(fold(engine, blind)) == []


def test_the_histories_make_most_kinds_fire() -> None:
    # Otherwise the properties above would hold of silence.
    log = history_of([("walk", 0.2, 5.0), ("walk", 0.4, 5.0), ("nobody", 0.0, 5.0), ("quiet", 0.0, 5.0)])
    outcome = fold(Engine(each_kind()), log)
    assert {event.kind for event in outcome.events} >= {
        *("presence", "crossing", "dwell", "stopped", "wrong_way", "appearance", "absence")
    }
    assert outcome.counts
    assert any(one.counted.count for one in outcome.counts if one.counted.to_zone)


# Logic alone, over tracks of any number, place and shape.

place = st.floats(0.05, 0.95, allow_nan=False).map(lambda value: round(value, 3))
moves = st.lists(
    st.tuples(
        st.sampled_from(["seen", "seen", "seen", "unchanged", "blind", "asleep"]),
        st.lists(st.tuples(st.integers(1, 4), place, place, st.booleans()), max_size=4, unique_by=lambda box: box[0]),
        st.integers(1, 8),
    ),
    min_size=1,
    max_size=7,
)
"""What happens, who is seen where and whether lying, and for how many pictures."""

Call = tuple[str, Seen | float, float]


def calls_of(kinds: list[tuple[str, list[tuple[int, float, float, bool]], int]]) -> list[Call]:
    """The calls that an engine would make. Everybody drifts a little, so that something moves."""
    now, sequence, calls = START.timestamp(), 0, []
    for what, boxes, count in kinds:
        if what != "seen":
            calls.append((what, now + count, now))
            now += count
            continue
        for i in range(count):
            now, sequence = now + 0.2, sequence + 1
            calls.append(
                ("seen", Seen(at_s=now, session=1, sequence=sequence, tracks=_tracks(boxes, i), aspect=1.5), now)
            )
    return calls


def _tracks(boxes: list[tuple[int, float, float, bool]], i: int) -> list[Track]:
    return [
        Track(
            number, (x + i * 0.01, y, x + i * 0.01 + (0.2 if lies else 0.05), y + 0.15), 0.9, "person", (1, 0), START, 1
        )
        for number, x, y, lies in boxes
    ]


def call(logic: Logic, what: str, with_: Seen | float, from_s: float) -> Sequence[Found]:
    if isinstance(with_, Seen):
        return logic.on_detections(with_)
    if what == "unchanged":
        return logic.on_unchanged(with_)
    if what == "asleep" and isinstance(logic, Sleeper):
        return logic.on_asleep(with_)
    logic.on_blind(from_s, with_)
    return []


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=20, deadline=None)
@given(moves)
def test_logic_goes_on_from_its_snapshot_as_json_at_every_moment(
    kind: str, kinds: list[tuple[str, list[tuple[int, float, float, bool]], int]]
) -> None:
    config, zone = cast(Buildable, read_config(kind, EASY.get(kind, {}))), fitting(kind)
    straight, again = config.build(zone, None), config.build(zone, None)
    names = set()
    for what, with_, from_s in calls_of(kinds):
        found = call(straight, what, with_, from_s)
        snapshot = json.loads(json.dumps(again.snapshot()))
        again = config.build(zone, snapshot)
        assert call(again, what, with_, from_s) == found
        assert again.wake_at_s == straight.wake_at_s
        told = [(one.first, one.n) for one in found if hasattr(one, "first")]
        if kind != "counting" and not isinstance(with_, Seen) and what != "unchanged":
            assert told == []
        # Two in one picture may share a name (they are one event); never two at different times. Presence keeps
        # names that are on record.
        assert kind == "presence" or not names & set(told)
        names |= set(told)


WAITS = {"confirm_within_s", "leave_s", "rearm_s", "hold_s", "for_s", "within_s", "hidden_s", "away_s", "gap_s"}
NO_WAITS = {"stale_s", "news_after_s", "interval_s"}


@pytest.mark.parametrize("kind", KINDS)
def test_it_looks_back_over_all_that_it_waits_for(kind: str) -> None:
    given = EASY.get(kind, {})
    fields = [name for name in rule_kind(kind).__struct_fields__ if name.endswith("_s")]
    # Whoever adds a time says here whether anything waits for it.
    assert set(fields) <= WAITS | NO_WAITS
    for name in fields:
        short, long = (read_config(kind, {**given, name: value}) for value in (30, 60))
        assert long.looks_back_s - short.looks_back_s == (30 if name in WAITS else 0), name


@pytest.mark.parametrize("kind", KINDS)
def test_a_setting_in_seconds_is_named_so_and_no_other_is(kind: str) -> None:
    info = inspect.type_info(rule_kind(kind))
    assert isinstance(info, inspect.StructType)
    for field in info.fields:
        title = (getattr(field.type, "extra_json_schema", None) or {}).get("title", "")
        assert ("(s)" in title) == field.name.endswith("_s"), (field.name, title)


NUMBERS = (math.nan, math.inf, -math.inf, -1, -1e-9, 1e12)
SIGNED = {"bound", "clear"}
"""Of a threshold: what is measured may be below zero."""


def _numbers(kind: str) -> list[tuple[str, bool]]:
    """The settings of ``kind`` that are numbers, and whether they stand under a label."""
    info = inspect.type_info(rule_kind(kind))
    assert isinstance(info, inspect.StructType)
    return [(field.name, bool(inside)) for field in info.fields for inside in _numeric(field.type)]


def _numeric(kind: inspect.Type) -> list[int]:
    """1 for a number under a label, 0 for a number itself."""
    match kind:
        case inspect.Metadata():
            return _numeric(kind.type)
        case inspect.UnionType():
            return [inside for each in kind.types for inside in _numeric(each)]
        case inspect.DictType():
            return [1] if _numeric(kind.value_type) else []
        case inspect.IntType() | inspect.FloatType():
            return [0]
    return []


@pytest.mark.parametrize("value", NUMBERS)
@pytest.mark.parametrize("kind", KINDS)
def test_no_bound_takes_a_number_that_is_none_negative_or_huge(kind: str, value: float) -> None:
    for name, labelled in _numbers(kind):
        if name in SIGNED and -1 <= value < 0:
            continue
        with pytest.raises(BadConfig, match=name):
            read_config(kind, {**EASY.get(kind, {}), name: {min(LABELS): value} if labelled else value})


@pytest.mark.parametrize("kind", KINDS)
def test_every_default_can_run_and_says_what_it_needs(kind: str) -> None:
    followed = EASY[kind] if kind == "sequence" else {}
    config = cast(Any, read_config(kind, followed))
    needs = config.needs()
    assert needs.hz > 0 and needs.width_px > 0
    assert not Engine([of(kind, **followed)]).broken
    assert read_config(kind, msgspec.to_builtins(config)) == config
    assert VERSION not in Engine([of(kind, why="Somebody may be hurt.", min_height=0.1, **followed)]).broken
