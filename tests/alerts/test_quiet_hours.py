"""When somebody is not to be woken: by their own clock, past midnight and through a change of the clock."""

from __future__ import annotations

from datetime import UTC, datetime, time

import pytest

from alerts.quiet_hours import is_quiet

NIGHT, NOON_REST = (time(22), time(7)), (time(12), time(13, 30))


@pytest.mark.parametrize(
    ("hours", "zone", "at", "quiet"),
    [
        (NIGHT, "UTC", "2026-03-01T21:59:59", False),
        (NIGHT, "UTC", "2026-03-01T22:00", True),
        (NIGHT, "UTC", "2026-03-02T00:00", True),
        (NIGHT, "UTC", "2026-03-02T06:59:59", True),
        (NIGHT, "UTC", "2026-03-02T07:00", False),
        (NOON_REST, "UTC", "2026-03-01T12:00", True),
        (NOON_REST, "UTC", "2026-03-01T13:30", False),
        (NIGHT, "Asia/Taipei", "2026-03-01T14:00", True),
        (NIGHT, "Asia/Taipei", "2026-03-01T22:59", True),
        (NIGHT, "Asia/Taipei", "2026-03-01T23:00", False),
        # The day on which the clocks go forward in Berlin: seven there is five in the world.
        (NIGHT, "Europe/Berlin", "2026-03-29T04:59", True),
        (NIGHT, "Europe/Berlin", "2026-03-29T05:00", False),
        ((time(8), time(8)), "UTC", "2026-03-01T08:00", False),
        ((None, None), "UTC", "2026-03-01T03:00", False),
    ],
)
def test_it_is_quiet_between_the_two(hours: tuple[time | None, time | None], zone: str, at: str, quiet: bool) -> None:
    assert is_quiet(*hours, zone, datetime.fromisoformat(at).replace(tzinfo=UTC)) is quiet
