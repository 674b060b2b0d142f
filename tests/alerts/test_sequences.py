"""Sequences: the same, whatever order the cameras' events come in and wherever the fold was restarted."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alerts.engine import Engine
from alerts.events import Event, Fact
from alerts.rules.config import EmbeddedRule, Schedule, ScheduleSpan
from alerts.rules.registry import BadConfig, read_config
from alerts.sequences import Sequences
from tests.alerts.histories import at, fold, rule, walk

FENCE, DOOR, ALARM = UUID(int=101), UUID(int=102), UUID(int=103)
EAST, WEST = UUID(int=11), UUID(int=12)
LATENESS_S = 10.0


def versions(**changes: Any) -> list[EmbeddedRule]:
    """The rules at the fence and the door, and the sequence of both within a minute."""
    watched = [rule(rule=uid, version=UUID(int=uid.int + 100)) for uid in (FENCE, DOOR)]
    given: dict[str, Any] = {"first": str(FENCE), "then": str(DOOR), "within_s": 60, "rearm_s": 0}
    given |= {"kind": "sequence", "rule": ALARM, "version": UUID(int=203), "severity": "critical"}
    return [*watched, rule(**{**given, **changes})]


def event(seconds: float, made_by: UUID, camera: UUID = EAST) -> Event:
    """The rule at the fence or the door fired."""
    return Event(
        uid=UUID(int=(round(seconds * 1000) << 64) + (made_by.int << 32) + camera.int),
        kind="presence",
        severity="low",
        camera=camera,
        rule_version=UUID(int=made_by.int + 100),
        deployment=UUID(int=2),
        zone=UUID(int=3),
        label="person",
        session=1,
        sequence=round(seconds * 10),
        happened_at=at(seconds),
        facts=[Fact("confidence", 0.9, ">=", 0.45)],
        boxes=[],
        path=[(0.5, 0.5)],
        zone_polygon=[],
        frame=None,
    )


def sequences(events: list[Event], **changes: Any) -> list[Event]:
    fold = Sequences(versions(**changes))
    for one in events:
        fold.step(one)
    return fold.advance(at(10_000))


def times(events: list[Event], **changes: Any) -> list[float]:
    return [(made.happened_at - at(0)).total_seconds() for made in sequences(events, **changes)]


@pytest.mark.parametrize(
    "history, changes, expected",
    [
        ([event(0, FENCE), event(30, DOOR)], {}, [30]),
        ([event(0, FENCE), event(60, DOOR)], {}, [60]),
        ([event(0, FENCE), event(60.1, DOOR)], {}, []),
        ([event(0, DOOR), event(30, FENCE)], {}, []),  # the other way round
        ([event(5, FENCE), event(5, DOOR, WEST)], {}, []),  # at once is not after
        ([event(0, FENCE), event(30, FENCE)], {}, []),
        ([event(0, FENCE), event(30, DOOR), event(40, DOOR)], {}, [30]),  # one entry opens once
        ([event(0, FENCE), event(1, FENCE), event(30, DOOR), event(40, DOOR)], {}, [30, 40]),
        ([event(0, FENCE), event(30, DOOR, WEST)], {}, [30]),
        ([event(0, FENCE), event(30, DOOR, WEST)], {"scope": "camera"}, []),
        ([event(0, FENCE), event(10, FENCE, WEST), event(30, DOOR)], {"scope": "camera"}, [30]),
        ([event(0, FENCE), event(30, FENCE)], {"then": str(FENCE)}, [30]),  # the same rule twice
        ([event(0, FENCE), event(1, FENCE), event(30, DOOR), event(40, DOOR)], {"rearm_s": 20}, [30]),
        (
            [event(0, FENCE), event(1, DOOR), event(15, FENCE), event(16, DOOR), event(30, FENCE), event(31, DOOR)],
            {"rearm_s": 20, "rearm": "interval"},
            [1, 31],
        ),
        (
            [event(0, FENCE), event(1, DOOR), event(15, FENCE), event(16, DOOR), event(30, FENCE), event(31, DOOR)],
            {"rearm_s": 20, "rearm": "quiet"},
            [1],
        ),
        ([event(0, FENCE), event(30, DOOR)], {"active_from_at": at(10)}, []),
        ([event(0, FENCE), event(30, DOOR)], {"active_until_at": at(30)}, []),
        (
            [event(0, FENCE), event(30, DOOR)],
            {"schedule": Schedule(spans=[ScheduleSpan(from_="22:00", until="23:00")])},
            [],
        ),
    ],
)
def test_it_fires_when_the_second_follows_the_first(
    history: list[Event], changes: dict[str, Any], expected: list[float]
) -> None:
    assert times(history, **changes) == expected


def test_it_shows_the_second_and_names_both() -> None:
    first, second = event(0, FENCE), event(30, DOOR, WEST)
    [made] = sequences([first, second])
    assert (made.kind, made.severity, made.camera, made.sequence) == ("sequence", "critical", WEST, 300)
    assert made.causes == [first.uid, second.uid]
    assert [(fact.name, fact.value, fact.bound) for fact in made.facts] == [("after_first", 30, 60)]
    assert made.uid != second.uid


def test_nothing_comes_out_before_the_watermark_has_passed_it() -> None:
    fold = Sequences(versions())
    fold.step(event(30, DOOR))
    assert fold.advance(at(20)) == []
    fold.step(event(25, FENCE, WEST))
    assert [made.happened_at for made in fold.advance(at(30))] == [at(30)]


def test_what_comes_behind_the_watermark_is_counted_and_left_out() -> None:
    fold = Sequences(versions())
    fold.step(event(30, DOOR))
    fold.advance(at(40))
    fold.step(event(25, FENCE))
    fold.step(event(30, DOOR))
    assert (fold.advance(at(100)), fold.late) == ([], 2)


def test_a_sequence_may_complete_another() -> None:
    outer = rule(
        kind="sequence",
        rule=UUID(int=104),
        version=UUID(int=204),
        first=str(FENCE),
        then=str(ALARM),
        within_s=100,
    )
    fold = Sequences([*versions(), outer])
    for one in (event(0, FENCE), event(30, DOOR)):
        fold.step(one)
    assert [made.rule_version for made in fold.advance(at(40))] == [UUID(int=203), UUID(int=204)]


def test_events_of_a_version_that_has_ended_still_count() -> None:
    before = rule(rule=FENCE, version=UUID(int=999), active_until_at=at(10))
    fold = Sequences([*versions(), before])
    fold.step(event(30, DOOR))
    fold.step(msgspec.structs.replace(event(0, FENCE), rule_version=UUID(int=999)))
    assert len(fold.advance(at(60))) == 1


def test_a_broken_sequence_leaves_the_others_running() -> None:
    broken = rule(kind="sequence", version=UUID(int=300), first="nobody", then=str(DOOR))
    fold = Sequences([broken, *versions()])
    assert "first" in fold.broken[UUID(int=300)]
    fold.step(event(0, FENCE))
    fold.step(event(1, DOOR))
    assert len(fold.advance(at(60))) == 1


def test_in_a_cameras_own_fold_a_sequence_does_nothing() -> None:
    outcome = fold(Engine([rule(), *versions()[2:]]), walk(0, 8, 0.1, 0.95))
    assert [made.kind for made in outcome.events] == ["presence"]


@pytest.mark.parametrize("settings, said", [({}, "first"), ({"first": "x"}, "first"), ({"within_s": 0}, "within_s")])
def test_bad_settings_are_refused_by_name(settings: dict[str, Any], said: str) -> None:
    whole = {"first": str(FENCE), "then": str(DOOR), **settings} if settings else {}
    with pytest.raises(BadConfig, match=said):
        read_config("sequence", whole)


happenings = st.lists(
    st.builds(
        event,
        st.integers(0, 3000).map(lambda tenths: tenths / 10),
        st.sampled_from([FENCE, DOOR]),
        st.sampled_from([EAST, WEST]),
    ),
    max_size=30,
    unique_by=lambda one: one.uid,
)
kinds = st.fixed_dictionaries(
    {
        "scope": st.sampled_from(["camera", "site"]),
        "rearm": st.sampled_from(["quiet", "interval"]),
        "rearm_s": st.sampled_from([0, 20]),
        "then": st.sampled_from([str(FENCE), str(DOOR)]),
    }
)


@settings(max_examples=100, deadline=None)
@given(happenings, kinds, st.data())
def test_neither_order_of_arrival_nor_batching_nor_a_restart_changes_what_comes_out(
    events: list[Event], changes: dict[str, Any], data: st.DataObject
) -> None:
    whole = sequences(events, **changes)
    # Each event arrives up to LATENESS_S after it happened, so that cameras overtake one another.
    delays = data.draw(st.lists(st.floats(0, LATENESS_S), min_size=len(events), max_size=len(events)))
    restarts = data.draw(st.sets(st.integers(0, len(events))))
    arrivals = sorted(zip(delays, events, strict=True), key=lambda one: one[1].sequence / 10 + one[0])
    fold, made = Sequences(versions(**changes)), []
    for number, (delay, one) in enumerate(arrivals):
        made += fold.advance(at(one.sequence / 10 + delay - LATENESS_S - 0.001))
        fold.step(one)
        fold.step(one)
        if number in restarts:
            fold = Sequences(versions(**changes), fold.snapshot())
    assert made + fold.advance(at(10_000)) == whole
    assert fold.late == 0
    assert len({one.uid for one in whole}) == len(whole)
