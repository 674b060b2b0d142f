"""Keeps what is muted in step, and looks only when something can have changed: rows, or the time of day.

What mutes is planned: silences begin and end, windows open and close. So the rows are read when they changed, and until
then the plan is looked at in memory, which costs nothing.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from alerts import incidents, mutes, outages
from alerts.muting import By, in_force
from streams.models import SequenceCounter

SETTLE = timedelta(seconds=outages.SETTLE_S + 5.0)
"""After any change it is looked again for so long: a site that goes out is one only once that has lasted."""
LOOK_AGAIN = timedelta(seconds=60)
"""Whatever nobody counted, such as rows that were edited by hand, is noticed within so long."""

_COUNTERS = (SequenceCounter.CHANGES, SequenceCounter.CONFIGURATION, SequenceCounter.MUTING)


class MutingWatch:
    """Call ``turn`` as often as you like. ``passed`` asks no database."""

    def __init__(self) -> None:
        self._counters: dict[str, int] | None = None
        self._plan = mutes.Plan()
        self._in_force: frozenset[tuple[By, int]] = frozenset()
        self._settled_at: datetime | None = None
        self._again_at: datetime | None = None

    def passed(self, now: datetime) -> bool:
        """Whether since the last look a silence began or ended, or a window opened or closed."""
        return in_force(self._plan.silences, self._plan.windows, now) != self._in_force

    def turn(self, now: datetime) -> bool:
        """Bring sites that went out and what is muted in step, if anything can have changed. Returns whether it did."""
        counters = dict(SequenceCounter.objects.filter(name__in=_COUNTERS).values_list("name", "value"))
        if not self._is_due(counters, now):
            return False
        outages.open_outages(now)
        incidents.keep_mutes(now)
        self._remember(counters, now)
        return True

    def _is_due(self, counters: dict[str, int], now: datetime) -> bool:
        if counters != self._counters or self._settled_at is None or self._again_at is None:
            return True
        return now < self._settled_at or now >= self._again_at or self.passed(now)

    def _remember(self, counters: dict[str, int], now: datetime) -> None:
        if counters != self._counters:
            # What changed while it was looked was counted after ``counters`` were read: that is seen the next time.
            self._counters, self._plan, self._settled_at = counters, mutes.plan(now), now + SETTLE
        self._in_force = in_force(self._plan.silences, self._plan.windows, now)
        self._again_at = now + LOOK_AGAIN
