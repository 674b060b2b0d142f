"""The session clock, fed arrivals and presentation times by hand."""

from __future__ import annotations

import itertools
import random
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.clock import AHEAD_S, BEHIND_S, Break, SessionClock, Stamp

ANCHOR_AT = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)
ANCHOR_S = 1000.0


def clock() -> SessionClock:
    return SessionClock(ANCHOR_AT, ANCHOR_S)


def run(pairs: list[tuple[float | None, float]], session: SessionClock | None = None) -> list[Stamp]:
    """Stamps of ``(presentation time, arrival after the anchor)`` pairs; none of them may break."""
    session = session or clock()
    stamps = [session.stamp(pts_s, ANCHOR_S + arrived_s) for pts_s, arrived_s in pairs]
    assert all(isinstance(stamp, Stamp) for stamp in stamps), stamps
    return [stamp for stamp in stamps if isinstance(stamp, Stamp)]


def seconds(stamps: list[Stamp]) -> list[float]:
    return [round((stamp.captured_at - ANCHOR_AT).total_seconds(), 6) for stamp in stamps]


def test_it_follows_the_stream_s_own_differences_and_not_the_arrivals() -> None:
    assert seconds(run([(5.0, 0.0), (5.2, 0.26), (5.4, 0.41), (5.6, 0.9)])) == [0.0, 0.2, 0.4, 0.6]


def test_it_learns_the_delay_from_the_fastest_packet() -> None:
    # The first came 0.3 s late; as soon as a faster one has come, stamps no longer carry that.
    stamps = run([(0.0, 0.3), (0.2, 0.2), (0.4, 0.5), (0.6, 0.6)])
    assert seconds(stamps) == [0.3, 0.3, 0.4, 0.6]


def test_it_is_surer_the_more_it_has_seen() -> None:
    stamps = run([(index * 0.04, index * 0.04) for index in range(100)])
    assert stamps[0].uncertainty_s > 0.2
    assert stamps[-1].uncertainty_s < 0.03


def test_a_slow_network_makes_it_less_sure() -> None:
    chance = random.Random(4)
    rough = run([(index * 0.04, index * 0.04 + chance.random() * 2) for index in range(20)])
    even = run([(index * 0.04, index * 0.04) for index in range(20)])
    assert rough[-1].uncertainty_s > even[-1].uncertainty_s


def test_a_burst_at_the_start_is_not_taken_for_the_future() -> None:
    # Two seconds of pictures kept by the camera arrive at once, then live ones.
    burst = [(index * 0.04, index * 0.001) for index in range(50)]
    live = [(2.0 + index * 0.04, 0.05 + index * 0.04) for index in range(50)]
    stamps = run(burst + live)
    for stamp, (_pts_s, arrived_s) in zip(stamps, burst + live, strict=True):
        assert seconds([stamp])[0] <= arrived_s + 1e-6
    assert seconds(stamps)[-1] == pytest.approx(live[-1][1], abs=0.05)


def test_a_backlog_after_a_hiccup_keeps_its_own_times() -> None:
    # Arrivals stop for 5 s and then come all at once: no break, and each is stamped with when it was taken.
    steady = [(index * 0.2, index * 0.2) for index in range(10)]
    backlog = [(2.0 + index * 0.2, 7.0) for index in range(25)]
    assert seconds(run(steady + backlog))[10:] == pytest.approx([2.0 + index * 0.2 for index in range(25)])


def test_a_camera_whose_clock_runs_wrong_is_held_to_arrival() -> None:
    pairs = [(index * 0.2 * 1.01, index * 0.2) for index in range(5000)] + [(1010.0 + 0.202, 1000.2)]
    assert abs(seconds(run(pairs))[-1] - 1000.2) < 0.01
    pairs = [(index * 0.2 * 0.99, index * 0.2) for index in range(5000)]
    assert abs(seconds(run(pairs))[-1] - pairs[-1][1]) < 0.35


def test_without_presentation_times_the_arrival_is_all_there_is() -> None:
    stamps = run([(None, 0.0), (None, 0.2), (0.4, 0.4)])
    assert seconds(stamps) == [0.0, 0.2, 0.4]
    assert stamps[0].uncertainty_s >= 0.25


@pytest.mark.parametrize(
    ("pts_s", "arrived_s", "says"),
    [
        (3.96, 4.04, "went back"),
        (-100.0, 4.04, "went back"),
        (42.9, 4.04, "ahead"),
        (4.04 + AHEAD_S + 0.1, 4.04, "ahead"),
        (4.04, 4.04 + BEHIND_S + 0.1, "behind"),
        (86_400.0, 4.04, "ahead"),
    ],
)
def test_it_breaks_where_the_stream_s_time_does(pts_s: float, arrived_s: float, says: str) -> None:
    session = clock()
    run([(index * 0.04, index * 0.04) for index in range(101)], session)
    broken = session.stamp(pts_s, ANCHOR_S + arrived_s)
    assert isinstance(broken, Break)
    assert says in broken.reason


@pytest.mark.parametrize(("pts_s", "arrived_s"), [(4.0, 4.04), (4.04 + AHEAD_S - 0.1, 4.04), (4.04, 4.0 + BEHIND_S)])
def test_it_bears_what_is_no_break(pts_s: float, arrived_s: float) -> None:
    session = clock()
    run([(index * 0.04, index * 0.04) for index in range(101)], session)
    assert isinstance(session.stamp(pts_s, ANCHOR_S + arrived_s), Stamp)


@pytest.mark.parametrize("pts_s", [float("nan"), float("inf"), float("-inf")])
def test_a_number_that_is_none_counts_as_absent(pts_s: float) -> None:
    assert seconds(run([(0.0, 0.0), (pts_s, 0.2), (0.4, 0.4)])) == [0.0, 0.2, 0.4]


@pytest.mark.parametrize("step", [timedelta(days=1), timedelta(days=-1)])
def test_a_step_of_the_wall_clock_does_nothing_within_a_session(step: timedelta) -> None:
    # The anchor is read once. Whatever the wall clock says afterwards is not asked for.
    wall = ANCHOR_AT
    session = SessionClock(wall, ANCHOR_S)
    before = run([(0.0, 0.0), (0.2, 0.2)], session)
    wall += step
    after = run([(0.4, 0.4), (0.6, 0.6)], session)
    assert seconds(before + after) == [0.0, 0.2, 0.4, 0.6]


@given(st.lists(st.tuples(st.one_of(st.none(), st.floats(-0.1, 12.0)), st.floats(0.0, 12.0)), min_size=1, max_size=60))
def test_stamps_never_go_back_and_never_lie_in_the_future(steps: list[tuple[float | None, float]]) -> None:
    session, arrived_s, pts_s, last = clock(), ANCHOR_S, 0.0, None
    for step_pts_s, step_s in steps:
        arrived_s += step_s
        pts_s += step_pts_s or 0.0
        stamp = session.stamp(None if step_pts_s is None else pts_s, arrived_s)
        if isinstance(stamp, Break):
            return
        assert stamp.captured_at <= ANCHOR_AT + timedelta(seconds=arrived_s - ANCHOR_S, microseconds=1)
        assert last is None or stamp.captured_at >= last
        assert stamp.uncertainty_s > 0
        last = stamp.captured_at


def test_it_is_right_to_the_jitter_over_an_hour() -> None:
    chance = random.Random(7)
    pairs = [(index * 0.2, index * 0.2 + chance.expovariate(20)) for index in range(18_000)]
    errors = [
        abs((stamp.captured_at - ANCHOR_AT).total_seconds() - pts_s)
        for stamp, (pts_s, _arrived_s) in itertools.islice(zip(run(list(pairs)), pairs, strict=True), 50, None)
    ]
    assert max(errors) < 0.01
