"""When somebody is not to be woken. Pure."""

from __future__ import annotations

import zoneinfo
from datetime import datetime, time


def is_quiet(quiet_from: time | None, quiet_until: time | None, time_zone: str, at: datetime) -> bool:
    """Whether the aware moment ``at`` is within quiet hours by the clock of ``time_zone``; they may pass midnight.

    >>> from datetime import UTC
    >>> is_quiet(time(22), time(7), "Asia/Taipei", datetime(2026, 3, 1, 16, tzinfo=UTC))
    True
    """
    if quiet_from is None or quiet_until is None:
        return False
    now = at.astimezone(zoneinfo.ZoneInfo(time_zone)).time()
    if quiet_from <= quiet_until:
        return quiet_from <= now < quiet_until
    return now >= quiet_from or now < quiet_until
