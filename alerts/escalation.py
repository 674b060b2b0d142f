"""Which step of an escalation comes next, and when. Pure.

A plan is followed step by step: nothing is due but the next step, so none is skipped and none is run twice, however
late somebody looks. A look that comes late takes one step late; the wait for the one after counts from then.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

REMIND_AFTER_S = 120.0


@dataclass(frozen=True, slots=True)
class Plan:
    """How long to wait after each step, and how often the whole is gone through again.

    ``tells_again``: every step tells the same people, so a step waits anew when they have just been told something
    else. Where it would be somebody else, they are not kept waiting for that.
    """

    waits_s: tuple[float, ...]
    repeats: int = 0
    tells_again: bool = False

    @property
    def count(self) -> int:
        """How many steps there are in all."""
        return len(self.waits_s) * (self.repeats + 1)

    def index(self, number: int) -> int:
        """Which of the policy's steps the ``number``-th one is, both from 0."""
        return number % len(self.waits_s)


IMPLICIT = Plan((REMIND_AFTER_S, REMIND_AFTER_S), tells_again=True)
"""Of a rule without a policy: its recipients at once, and once more."""


def next_at(plan: Plan, taken: int, now: datetime, *, reached: bool = True) -> datetime | None:
    """When the step after ``taken`` steps is due, the last of them taken ``now``; None: there is no further one.

    A step that ``reached`` nobody is not waited for.

    >>> from datetime import UTC
    >>> next_at(Plan((60.0, 30.0)), 1, datetime(2026, 1, 1, tzinfo=UTC)).minute, next_at(Plan((60.0,)), 1, datetime.max)
    (1, None)
    """
    if not 0 < taken < plan.count:
        return None
    wait_s = plan.waits_s[plan.index(taken - 1)] if reached else 0.0
    return now + timedelta(seconds=wait_s)


def told_otherwise(plan: Plan, taken: int, due_at: datetime | None, now: datetime) -> datetime | None:
    """When the next step is due, now that people were told something new of the same matter."""
    if due_at is None or not plan.tells_again:
        return due_at
    return next_at(plan, taken, now)
