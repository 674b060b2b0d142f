"""The names of the world's time zones, and their clocks."""

from __future__ import annotations

import logging
import zoneinfo
from datetime import UTC, tzinfo
from functools import cache

logger = logging.getLogger(__name__)


@cache
def time_zones() -> frozenset[str]:
    """Every IANA name that this machine knows. Read once a process: each reading opens some six hundred files."""
    return frozenset(zoneinfo.available_timezones())


@cache
def clock(name: str) -> tzinfo:
    """The clock of zone ``name``; that of UTC, said once, where this machine no longer knows it.

    For what must go on at 3 a.m.: a message with another clock's time is better than none.

    >>> str(clock("Asia/Taipei")), str(clock("Mars/Base"))
    ('Asia/Taipei', 'UTC')
    """
    try:
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        logger.error("time zone %r is not known on this machine: UTC is used; install tzdata, or choose another", name)
        return UTC
