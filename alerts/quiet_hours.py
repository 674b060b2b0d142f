"""When somebody is not to be woken. Pure."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta

from streams.time_zones import clock


def quiet_ends_at(quiet_from: time | None, quiet_until: time | None, time_zone: str, at: datetime) -> datetime | None:
    """When the quiet hours are over that the aware moment ``at`` is in, by the clock of ``time_zone``; None: in none.

    They may pass midnight.

    >>> from datetime import UTC
    >>> quiet_ends_at(time(22), time(7), "Asia/Taipei", datetime(2026, 3, 1, 16, tzinfo=UTC)).isoformat()
    '2026-03-01T23:00:00+00:00'
    """
    if quiet_from is None or quiet_until is None:
        return None
    zone = clock(time_zone)
    now = at.astimezone(zone)
    begun, before_end = now.time() >= quiet_from, now.time() < quiet_until
    if not (begun and before_end if quiet_from <= quiet_until else begun or before_end):
        return None
    day = now.date() if before_end else now.date() + timedelta(days=1)
    return datetime.combine(day, quiet_until, zone).astimezone(UTC)
