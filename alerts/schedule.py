"""When a rule acts, in its site's own clock. Pure."""

from __future__ import annotations

import zoneinfo
from datetime import datetime
from functools import lru_cache

from alerts.rules.config import Schedule, ScheduleSpan


@lru_cache(maxsize=256)
def _zone(name: str) -> zoneinfo.ZoneInfo:
    return zoneinfo.ZoneInfo(name)


def _minutes(text: str) -> int:
    hours, _, minutes = text.partition(":")
    return int(hours) * 60 + int(minutes)


def _covers(span: ScheduleSpan, weekday: int, minute: int) -> bool:
    start, end = _minutes(span.from_), _minutes(span.until)
    if start == end:
        return weekday in span.days
    if start < end:
        return weekday in span.days and start <= minute < end
    # Past midnight: the part after it belongs to the day on which the span began.
    return (weekday in span.days and minute >= start) or ((weekday - 1) % 7 in span.days and minute < end)


def is_active(schedule: Schedule, at: datetime) -> bool:
    """Whether ``schedule`` covers the aware moment ``at``; one without spans always does.

    Daylight saving needs no care: the site's clock is asked, so an hour that comes twice counts twice.
    """
    if not schedule.spans:
        return True
    local = at.astimezone(_zone(schedule.time_zone))
    return any(_covers(span, local.weekday(), local.hour * 60 + local.minute) for span in schedule.spans)


def check_schedule(schedule: Schedule) -> None:
    """Raises ``ValueError`` for an unknown time zone, or for spans that cover no time at all."""
    if schedule.time_zone not in zoneinfo.available_timezones():
        raise ValueError(
            f"schedule: expected an IANA time zone such as Asia/Taipei, got {schedule.time_zone!r}; choose one"
        )
    if schedule.spans and not any(span.days for span in schedule.spans):
        raise ValueError("schedule: expected at least one weekday, got none; the rule could never fire, add a day")
