"""Batches, what is given up, and how far the group may commit."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from detectors.batching import BatchConfig, Batcher, Item, Ledger, runs
from streams.frame import Frame, Jpeg

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
GATE, YARD = UUID(int=1), UUID(int=2)


def item(camera: UUID, sequence: int, age_s: float = 0.0, session: int = 1, partition: int = 0) -> Item:
    frame = Frame(
        camera=camera,
        session=session,
        sequence=sequence,
        captured_at=NOW - timedelta(seconds=age_s),
        view=camera,
        why="motion",
        width_px=4,
        height_px=4,
        source_wh=(4, 4),
        payload=Jpeg(b""),
    )
    return Item(Ledger().took(partition, sequence), frame)


def batcher(*items: Item, size: int = 4, max_age_s: float = 15.0, most_per_camera: int = 200) -> Batcher:
    made = Batcher(BatchConfig(size=size, deadline_s=0.02, max_age_s=max_age_s, most_per_camera=most_per_camera))
    for index, one in enumerate(items):
        made.add(one, index / 1000)
    return made


def names(items: list[Item]) -> list[tuple[int, int]]:
    return [(one.frame.camera.int, one.frame.sequence) for one in items]


@pytest.mark.parametrize(
    "count, now_s, wait_s",
    [
        (0, 5.0, None),
        (1, 0.0, 0.02),
        (1, 0.015, 0.005),
        (1, 0.02, 0.0),
        (1, 9.0, 0.0),
        (3, 0.01, 0.01),
        (4, 0.003, 0.0),
    ],
)
def test_a_batch_is_due_when_it_is_full_or_its_first_has_waited(count: int, now_s: float, wait_s: float | None) -> None:
    made = batcher(*(item(GATE, index) for index in range(count)))
    assert made.wait_s(now_s) == (None if wait_s is None else pytest.approx(wait_s))


def test_a_batch_goes_across_cameras_first_come_first_served() -> None:
    made = batcher(item(GATE, 1), item(YARD, 1), item(GATE, 2), item(YARD, 2), item(GATE, 3))
    assert names(made.take()) == [(1, 1), (2, 1), (1, 2), (2, 2)]
    assert names(made.take()) == [(1, 3)]
    assert made.take() == []


def test_what_is_put_back_comes_first_and_at_once() -> None:
    made = batcher(*(item(GATE, index) for index in range(6)))
    taken = made.take()
    made.put_back(taken[1:], 7.0)
    assert made.wait_s(7.0) == 0.0
    assert names(made.take(2)) == [(1, 1), (1, 2)]


@pytest.mark.parametrize(
    "ages, dropped",
    [
        ([14, 10, 5], []),
        ([20, 10, 5], [0]),
        ([40, 30, 20, 1], [0, 1, 2]),
        ([60, 50, 40], [0, 1]),  # the newest stays, however old: an old picture is better than none
        ([86400], []),
    ],
)
def test_too_old_frames_are_given_up_oldest_first(ages: list[float], dropped: list[int]) -> None:
    made = batcher(*(item(GATE, index, age) for index, age in enumerate(ages)))
    assert [one.frame.sequence for one in made.shed(NOW)] == dropped
    assert len(made) == len(ages) - len(dropped)


def test_one_cameras_backlog_costs_no_other_camera_a_frame() -> None:
    made = batcher(*(item(GATE, index, 100 - index) for index in range(5)), item(YARD, 1, 99))
    assert names(made.shed(NOW)) == [(1, 0), (1, 1), (1, 2), (1, 3)]
    assert names(made.take()) == [(1, 4), (2, 1)]


def test_more_than_the_most_of_a_camera_are_given_up() -> None:
    made = batcher(*(item(GATE, index) for index in range(5)), item(YARD, 1), most_per_camera=2)
    assert names(made.shed(NOW)) == [(1, 0), (1, 1), (1, 2)]


def shed_after(made: Batcher, after_s: float, ages: dict[int, float]) -> list[int]:
    """Add frames of these ages by number, ``after_s`` from now; the numbers of those that are given up then."""
    for number, age_s in ages.items():
        made.add(item(GATE, number, age_s - after_s), after_s)
    return [one.frame.sequence for one in made.shed(NOW + timedelta(seconds=after_s))]


def test_where_more_comes_than_can_be_analysed_what_is_left_is_fresh() -> None:
    made = batcher(size=1)
    assert shed_after(made, 0, {0: 4.0, 1: 3.8}) == []
    made.take()
    assert shed_after(made, 4, {2: 7.0, 3: 6.0, 4: 0.1}) == []
    made.take()
    assert shed_after(made, 6, {5: 0.9, 6: 0.1}) == [2, 3, 4]  # nothing was made up for within five seconds
    assert shed_after(made, 8, {7: 1.1, 8: 0.1}) == [5, 6, 7]


def test_a_stall_is_made_up_for_without_losing_a_frame() -> None:
    made = batcher(size=1)
    for second in range(12):
        assert shed_after(made, second, {second: 12.0 - second}) == []
        made.take()


def test_whoever_has_caught_up_has_patience_again() -> None:
    made = batcher(size=2)
    for second, ages in enumerate([{0: 9.0}, {1: 9.0}, {}, {}, {}, {2: 9.0, 3: 0.1}]):
        shed_after(made, second, ages)
    made.take()
    assert shed_after(made, 10, {4: 0.2, 5: 0.1}) == []
    made.take()
    assert shed_after(made, 17, {6: 9.0, 7: 8.0, 8: 0.1}) == []


def test_given_up_frames_are_one_fact_for_each_camera_and_session() -> None:
    dropped = [item(GATE, 1), item(YARD, 7), item(GATE, 2), item(GATE, 1, session=2)]
    found = [
        (run.last.frame.camera.int, run.last.frame.session, run.last.frame.sequence, run.count) for run in runs(dropped)
    ]
    assert found == [(2, 1, 7, 1), (1, 1, 2, 2), (1, 2, 1, 1)]


def test_forgotten_partitions_are_gone() -> None:
    made = batcher(item(GATE, 1, partition=3), item(YARD, 1, partition=4))
    made.forget({3})
    assert names(made.take()) == [(2, 1)]


def test_a_commit_never_passes_what_is_not_done() -> None:
    ledger = Ledger()
    first, second, third = (ledger.took(5, offset) for offset in (10, 12, 13))
    ledger.settle(second)
    ledger.settle(third)
    assert ledger.positions() == {} and ledger.first(5) == 10
    ledger.settle(first)
    assert ledger.positions() == {5: 14} and ledger.first(5) is None


def test_an_entry_waits_for_all_that_it_caused() -> None:
    ledger = Ledger()
    entry = ledger.took(0, 1)
    entry.left += 2
    for _ in range(2):
        ledger.settle(entry)
        assert ledger.positions() == {}
    ledger.settle(entry)
    assert ledger.positions() == {0: 2}


def test_a_stored_commit_is_not_repeated_but_a_later_one_is_made() -> None:
    ledger = Ledger()
    ledger.settle(ledger.took(0, 1))
    stored = ledger.positions()
    ledger.settle(ledger.took(0, 2))
    ledger.committed(stored)
    assert ledger.positions() == {0: 3}
    ledger.committed({0: 3})
    assert ledger.positions() == {}


def test_late_answers_about_a_forgotten_partition_change_nothing() -> None:
    ledger = Ledger()
    old = ledger.took(0, 1)
    ledger.forget({0})
    again = ledger.took(0, 1)
    ledger.settle(old)
    assert ledger.positions() == {} and not ledger.holds(old) and ledger.holds(again)
