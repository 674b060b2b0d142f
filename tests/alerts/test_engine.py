"""The fold: same log, same events, whatever the batching and wherever it was restarted."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alerts.engine import Engine
from alerts.rules.config import Schedule, ScheduleSpan
from streams.observations import Observation
from tests.alerts.histories import GATE, at, dropped, fold, nobody, rule, run, seen, source, stays, tick, walk, walker

CROSSING = walk(0, 8, 0.1, 0.95)


def test_a_walk_through_the_lane_is_one_event_with_its_numbers() -> None:
    [event] = run(CROSSING)
    assert (event.camera, event.kind, event.label, event.severity) == (GATE, "presence", "person", "high")
    facts = {fact.name: fact for fact in event.facts}
    assert facts["in_zone"].value >= facts["in_zone"].bound == 1.0
    assert facts["confirmed"].value >= 3
    assert facts["confidence"].value == pytest.approx(0.8)
    assert facts["travel"].value >= facts["travel"].bound
    assert [box.fired for box in event.boxes] == [True]
    assert event.path and event.zone_polygon


def test_a_passer_by_outside_the_lane_is_silent() -> None:
    assert run(walk(0, 8, 0.05, 0.35)) == []


def test_the_same_history_gives_the_same_names() -> None:
    assert [event.uid for event in run(CROSSING)] == [event.uid for event in run(CROSSING)]


def test_another_version_of_the_rule_gives_other_names() -> None:
    [one], [other] = run(CROSSING, rule()), run(CROSSING, rule(version=UUID(int=77)))
    assert one.uid != other.uid


def test_repeated_and_older_pictures_change_nothing() -> None:
    engine = Engine([rule()])
    twice = [observation for picture in CROSSING for observation in (picture, picture, CROSSING[0])]
    assert [event.uid for event in fold(engine, twice).events] == [event.uid for event in run(CROSSING)]
    assert engine.counters.repeated == 2 * len(CROSSING)


def test_a_picture_of_an_older_session_is_skipped() -> None:
    engine = Engine([rule()])
    fold(engine, [seen(0, session=2), seen(1, walker(0.5), session=1)])
    assert engine.counters.repeated == 1


def test_a_version_acts_only_within_its_time() -> None:
    ended = rule(active_until_at=at(1))
    later = rule(active_from_at=at(60))
    assert run(CROSSING, ended, later) == []


def test_it_is_silent_outside_its_schedule() -> None:
    asleep = Schedule(time_zone="UTC", spans=[ScheduleSpan(from_="22:00", until="23:00")])
    assert run(CROSSING, rule(schedule=asleep)) == []


def test_a_rule_that_cannot_run_leaves_the_others_running() -> None:
    broken = rule(version=UUID(int=99), confidence=7)
    engine = Engine([broken, rule()])
    assert "confidence" in engine.broken[UUID(int=99)]
    assert len(fold(engine, CROSSING).events) == 1


def test_quiet_waits_for_the_pictures_before_it() -> None:
    # The state overtakes the pictures on the log: it comes first and must not be believed before they do.
    pictures = walk(0, 2, 0.3, 0.5)
    early = source(2, "quiet", since=1.8, sequence=pictures[-1].sequence)
    engine = Engine([rule(hold_s=3.0)])
    events = fold(engine, [early, *pictures, tick(3), tick(5), tick(7)]).events
    assert [event.happened_at for event in events] == [at(5)]


def test_somebody_who_stands_still_while_the_gate_is_closed_still_counts() -> None:
    history = [*walk(0, 2, 0.3, 0.5), *stays("quiet", 1.8, 20)]
    [event] = run(history, rule(hold_s=10.0))
    assert {fact.name: fact.value for fact in event.facts}["in_zone"] >= 10.0


def test_somebody_seen_again_after_quiet_is_the_same_person() -> None:
    still = [seen(round(12 + i * 0.2, 3), walker(0.5)) for i in range(20)]
    history = [*walk(0, 2, 0.3, 0.5), source(1.8, "quiet", since=1.8), tick(8), source(11.9, "active"), *still]
    assert len(run(history)) == 1


def test_blind_time_neither_fires_nor_counts() -> None:
    history = [*walk(0, 2, 0.3, 0.5), source(1.8, "blind", since=1.8), *(tick(s) for s in range(2, 40))]
    assert run(history, rule(hold_s=10.0)) == []


def test_blind_time_is_in_the_ledger_from_when_it_began() -> None:
    outcome = fold(Engine([rule()]), [source(9, "blind", since=3), source(20, "blind", since=3), source(30, "active")])
    assert [(change.from_at, change.until_at, change.reason) for change in outcome.blind] == [
        (at(3), None, "stalled"),
        (at(3), at(30), "stalled"),
    ]


def test_dropped_pictures_are_in_the_ledger_for_their_deployment() -> None:
    outcome = fold(Engine([rule()]), [seen(1), dropped(4, 15), seen(4.2)])
    [change] = outcome.blind
    assert (change.from_at, change.until_at, change.reason) == (at(1), at(4), "dropped:behind")


def test_a_camera_clock_that_jumps_back_fires_nothing() -> None:
    boxes = [walker(0.45 + 0.01 * i) for i in range(20)]
    after = [seen(5 + i * 0.1, box, session=2, sequence=i) for i, box in enumerate(boxes)]
    back = [seen(1 + i * 0.1, box, session=2, sequence=i) for i, box in enumerate(boxes)]
    assert len(run([*nobody(0, 4), *after])) == 1
    assert run([*nobody(0, 4), *back]) == []


def test_our_own_clock_put_right_by_hours_silences_nobody() -> None:
    # The host's clock was eight hours ahead and was put right; the camera reconnects, as it does on such a step.
    ahead = [*walk(8 * 3600, 8 * 3600 + 4, 0.05, 0.2), tick(8 * 3600 + 4)]
    right = [msgspec.structs.replace(picture, session=2) for picture in walk(10, 18, 0.1, 0.95)]
    assert [event.session for event in run([*ahead, tick(9), *right])] == [2]
    engine = Engine([rule()])
    fold(engine, [*ahead, tick(9)])
    assert engine.now == at(9)


def test_pictures_that_capture_could_not_write_hide_none_that_were_written() -> None:
    # Capture's word goes straight to the observations and overtakes what is still being analysed.
    lost = msgspec.structs.replace(dropped(20), deployment=None, reason="log")
    assert len(run([lost, *CROSSING])) == 1


def test_a_tick_that_goes_back_changes_nothing() -> None:
    engine = Engine([rule()])
    fold(engine, [tick(10), tick(8)])
    assert engine.now == at(10)


def test_boxes_for_the_screen_carry_the_pictures_name() -> None:
    outcome = fold(Engine([rule()]), CROSSING)
    last = outcome.boxes[-1]
    assert (last.session, last.sequence) == (CROSSING[-1].session, CROSSING[-1].sequence)
    assert any(box.hot for boxes in outcome.boxes for box in boxes.boxes)


def test_a_snapshot_of_another_engine_version_is_refused() -> None:
    engine = Engine([rule()])
    data = engine.snapshot().replace(b"\xa7version\x01", b"\xa7version\x7f")
    with pytest.raises(ValueError, match="expected engine version 1, got 127"):
        Engine([rule()], data)


def history_of(steps: list[tuple[str, float, float]]) -> list[Observation]:
    """Walks, gaps, quiet and blind times in a row, with ticks between, as one log."""
    log: list[Observation] = []
    now, session = 0.0, 1
    for kind, x, length in steps:
        length, begun = round(length, 1), len(log)
        if kind == "walk":
            log += walk(now, now + length, x, min(1.0, x + 0.3))
        elif kind == "nobody":
            log += nobody(now, now + length)
        elif kind == "dropped":
            log.append(dropped(now + length))
        elif kind in ("back", "ahead"):
            # A new session, whose clock is somewhere else by a little or by much.
            session, now = session + 1, round(max(0.0, now + length * (20 if kind == "ahead" else -1.5)), 1)
            log += walk(now, now + length, x, min(1.0, x + 0.3))
        else:
            log += [source(now, kind, since=now), source(now + length, "active", since=now + length)]
        log[begun:] = [msgspec.structs.replace(one, session=session) for one in log[begun:]]
        now = round(now + length + 0.2, 1)
        log.append(tick(now))
    return log


steps = st.lists(
    st.tuples(
        st.sampled_from(["walk", "walk", "nobody", "quiet", "blind", "dropped", "back", "ahead"]),
        st.floats(0.0, 0.8),
        st.floats(0.6, 6.0),
    ),
    min_size=1,
    max_size=8,
)


@settings(max_examples=40, deadline=None)
@given(steps, st.data())
def test_a_restart_at_any_point_gives_the_same_events(
    kinds: list[tuple[str, float, float]], data: st.DataObject
) -> None:
    log = history_of(kinds)
    rules = [rule(rearm_s=2.0)]
    whole = fold(Engine(rules), log)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(log)), max_size=3)))
    engine, events, blind = Engine(rules), [], []
    for start, end in zip([0, *cuts], [*cuts, len(log)], strict=True):
        part = fold(engine, log[start:end])
        events += part.events
        blind += part.blind
        engine = Engine(rules, engine.snapshot())
    assert [event.uid for event in events] == [event.uid for event in whole.events]
    assert events == whole.events
    assert blind == whole.blind


@settings(max_examples=20, deadline=None)
@given(steps, st.data())
def test_replaying_a_stretch_twice_gives_no_new_event(
    kinds: list[tuple[str, float, float]], data: st.DataObject
) -> None:
    log = history_of(kinds)
    rules = [rule(rearm_s=2.0)]
    cut = data.draw(st.integers(0, len(log)))
    engine = Engine(rules)
    fold(engine, log[:cut])
    kept = engine.snapshot()
    before = fold(engine, log[cut:]).events
    again = fold(Engine(rules, kept), log[cut:]).events
    assert [event.uid for event in again] == [event.uid for event in before]


def test_events_lie_within_the_time_of_their_pictures() -> None:
    [event] = run(CROSSING)
    assert at(0) <= event.happened_at <= CROSSING[-1].captured_at + timedelta(seconds=0)


@pytest.mark.parametrize("hours", [1, 7.3, 1000])
def test_the_same_history_at_another_hour_fires_the_same(hours: float) -> None:
    def moved(observation: Observation) -> Observation:
        shifted = {
            name: getattr(observation, name) + timedelta(hours=hours, microseconds=123_457)
            for name in ("at", "captured_at", "since_at")
            if hasattr(observation, name)
        }
        return msgspec.structs.replace(observation, **shifted)

    standing = [seen(round(8 + i * 0.2, 3), walker(0.5 + 0.002 * i)) for i in range(200)]
    history = [*walk(0, 8, 0.1, 0.5), *standing, *nobody(48, 53), *walk(53, 61, 0.1, 0.95)]
    rules = [rule(rearm="quiet", rearm_s=5.0, hold_s=2.0, confirm_within_s=0.8)]
    expected = [event.uid for event in run(history, *rules)]
    assert len(expected) >= 2
    assert [event.uid for event in run([moved(one) for one in history], *rules)] == expected


@pytest.mark.parametrize(
    "schedule",
    [
        Schedule(time_zone="Mars/Base", spans=[ScheduleSpan(from_="08:00", until="18:00")]),
        Schedule(spans=[ScheduleSpan(from_="sunset", until="sunrise")]),
    ],
)
def test_a_schedule_that_nobody_can_read_stops_only_its_own_rule(schedule: Schedule) -> None:
    broken = msgspec.structs.replace(rule(version=UUID(int=99)), schedule=schedule)
    engine = Engine([broken, rule()])
    assert engine.broken[UUID(int=99)]
    assert len(fold(engine, CROSSING).events) == 1
