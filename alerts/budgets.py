"""How much may be sent, and when one person has had enough: figures over rows that are there anyway. Pure.

Nothing is counted anywhere else: whoever looks at the same rows comes to the same answer, after a crash too.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

Spent = tuple[datetime, int]
"""When something was sent, and how much of it."""


@dataclass(frozen=True, slots=True)
class Budget:
    """At most ``amount`` within any ``window_s``."""

    amount: int
    window_s: float


RECIPIENT = Budget(6, 60.0)
"""SMS to one person. Source: healthchecks' token bucket."""

SENDER_WINDOW_S = 10.0
"""A long code sends one segment a second; over so long that is levelled, so that what comes alone never waits."""

KEPT_FOR_CRITICAL = 0.3
"""Share of what the number sends that ordinary messages leave, so that a critical one finds it free."""

FLOOD_FROM, FLOOD_BELOW, FLOOD_WINDOW_S = 10, 5, 600.0
"""One operator's flood: from so many alarms in ten minutes until fewer than so many. Source: ISA-18.2-2016, 16.3."""

FLOOD_LOOK_BACK_S = 2 * 3600.0
"""A flood began within so long; in one that has lasted longer there is no doubt either."""

WARN_SHARE = 0.8


def sender_budget(per_minute: int, *, critical: bool) -> Budget:
    """What one number sends, in segments: all of it for critical messages, less for others.

    >>> sender_budget(60, critical=True), sender_budget(60, critical=False)
    (Budget(amount=10, window_s=10.0), Budget(amount=7, window_s=10.0))
    """
    share = 1.0 if critical else 1.0 - KEPT_FOR_CRITICAL
    return Budget(max(1, round(share * per_minute * SENDER_WINDOW_S / 60.0)), SENDER_WINDOW_S)


def free_at(spent: Iterable[Spent], cost: int, budget: Budget, now: datetime) -> datetime:
    """The first moment at which ``cost`` more fits into ``budget``; ``now`` when it does already.

    What alone is more than the whole budget goes when nothing else is in the window.
    """
    window = timedelta(seconds=budget.window_s)
    recent = sorted((at, amount) for at, amount in spent if at > now - window)
    left = budget.amount - sum(amount for _at, amount in recent)
    for at, amount in recent:
        if left >= cost:
            break
        left += amount
        now = at + window
    return now


def load(alerts: Iterable[datetime], now: datetime) -> int:
    """How many alerts one operator got within the ten minutes up to ``now``."""
    since = now - timedelta(seconds=FLOOD_WINDOW_S)
    return sum(since < at <= now for at in alerts)


def flooded(alerts: Sequence[datetime], now: datetime) -> bool:
    """Whether one operator is in a flood: it began with the tenth alert in ten minutes, and ends below five.

    ``alerts``: moments of the last ``FLOOD_LOOK_BACK_S``, in any order.
    """
    window = timedelta(seconds=FLOOD_WINDOW_S)
    changes = sorted(
        [(at, 1) for at in alerts if at <= now] + [(at + window, -1) for at in alerts if at + window <= now]
    )
    count, flood = 0, False
    for _at, change in changes:
        count += change
        flood = count >= FLOOD_FROM or (flood and count >= FLOOD_BELOW)
    return flood


def share(used: int, ceiling: int) -> float:
    """How much of a month's ceiling is used; 0 where there is none."""
    return used / ceiling if ceiling else 0.0
