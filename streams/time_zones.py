"""The names of the world's time zones."""

from __future__ import annotations

import zoneinfo
from functools import cache


@cache
def time_zones() -> frozenset[str]:
    """Every IANA name that this machine knows. Read once a process: each reading opens some six hundred files."""
    return frozenset(zoneinfo.available_timezones())
