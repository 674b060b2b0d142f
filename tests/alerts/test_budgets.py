"""Budgets and floods as arithmetic over moments."""

from __future__ import annotations

from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerts.budgets import FLOOD_WINDOW_S, RECIPIENT, Budget, flooded, free_at, load, sender_budget, share
from tests.alerts.town import at

MOMENTS = st.lists(st.integers(0, 3600), max_size=60)


@pytest.mark.parametrize(
    ("spent", "cost", "budget", "expected"),
    [
        ([], 1, RECIPIENT, 100),
        ([(t, 1) for t in range(60, 65)], 1, RECIPIENT, 100),
        ([(t, 1) for t in range(60, 66)], 1, RECIPIENT, 120),
        ([(t, 1) for t in range(39, 45)], 1, RECIPIENT, 100),
        ([(95, 9)], 1, Budget(10, 10), 100),
        ([(95, 9)], 2, Budget(10, 10), 105),
        ([(92, 4), (95, 5)], 6, Budget(10, 10), 105),
        ([(95, 1)], 30, Budget(10, 10), 105),
        ([], 30, Budget(10, 10), 100),
    ],
)
def test_the_first_moment_at_which_it_fits(
    spent: list[tuple[float, int]], cost: int, budget: Budget, expected: float
) -> None:
    assert free_at([(at(t), amount) for t, amount in spent], cost, budget, at(100)) == at(expected)


@given(MOMENTS)
def test_nobody_gets_more_than_the_budget_in_any_window(wanted: list[int]) -> None:
    spent: list[tuple[datetime, int]] = []
    for second in sorted(wanted):
        moment = max([at(second), *(when for when, _ in spent)])
        spent.append((free_at(spent, 1, RECIPIENT, moment), 1))

    times = sorted(when for when, _ in spent)
    for first, seventh in zip(times, times[RECIPIENT.amount :], strict=False):
        assert (seventh - first).total_seconds() >= RECIPIENT.window_s


def test_a_slow_sender_still_sends() -> None:
    assert sender_budget(1, critical=True).amount == sender_budget(1, critical=False).amount == 1
    assert sender_budget(600, critical=True).amount == 100


def test_a_flood_begins_with_the_tenth_in_ten_minutes() -> None:
    times = [at(t * 60) for t in range(9)]

    assert not flooded(times, at(540))
    assert flooded([*times, at(541)], at(541))


def test_a_flood_ends_below_five() -> None:
    times = [at(t) for t in range(10)] + [at(300 + t) for t in range(5)]

    assert flooded(times, at(605)), "nine left"
    assert flooded(times, at(899)), "five left"
    assert not flooded(times, at(901)), "four left"


def test_five_that_were_never_ten_are_no_flood() -> None:
    assert not flooded([at(t * 70) for t in range(50)], at(3500))


@given(MOMENTS, st.integers(0, 5000))
def test_the_load_decides_alone_outside_five_to_nine(times: list[int], now: int) -> None:
    alerts = [at(t) for t in times]
    n = load(alerts, at(now))

    assert flooded(alerts, at(now)) == (n >= 10) or 5 <= n < 10


@given(MOMENTS)
def test_ten_minutes_of_peace_end_every_flood(times: list[int]) -> None:
    alerts = [at(t) for t in times]
    assert not flooded(alerts, at(3600 + FLOOD_WINDOW_S + 1))


def test_no_ceiling_is_never_used_up() -> None:
    assert (share(80, 100), share(80, 0)) == (0.8, 0.0)
