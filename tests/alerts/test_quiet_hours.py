"""When somebody is not to be woken: by their own clock, past midnight and through a change of the clock."""

from __future__ import annotations

from datetime import UTC, datetime, time

import pytest

from alerts.quiet_hours import quiet_ends_at

NIGHT, NOON_REST = (time(22), time(7)), (time(12), time(13, 30))


@pytest.mark.parametrize(
    ("hours", "zone", "at", "ends_at"),
    [
        (NIGHT, "UTC", "2026-03-01T21:59:59", None),
        (NIGHT, "UTC", "2026-03-01T22:00", "2026-03-02T07:00"),
        (NIGHT, "UTC", "2026-03-02T00:00", "2026-03-02T07:00"),
        (NIGHT, "UTC", "2026-03-02T06:59:59", "2026-03-02T07:00"),
        (NIGHT, "UTC", "2026-03-02T07:00", None),
        (NOON_REST, "UTC", "2026-03-01T12:00", "2026-03-01T13:30"),
        (NOON_REST, "UTC", "2026-03-01T13:30", None),
        (NIGHT, "Asia/Taipei", "2026-03-01T14:00", "2026-03-01T23:00"),
        (NIGHT, "Asia/Taipei", "2026-03-01T22:59", "2026-03-01T23:00"),
        (NIGHT, "Asia/Taipei", "2026-03-01T23:00", None),
        # The day on which the clocks go forward in Berlin: seven there is five in the world.
        (NIGHT, "Europe/Berlin", "2026-03-28T22:00", "2026-03-29T05:00"),
        (NIGHT, "Europe/Berlin", "2026-03-29T04:59", "2026-03-29T05:00"),
        (NIGHT, "Europe/Berlin", "2026-03-29T05:00", None),
        ((time(8), time(8)), "UTC", "2026-03-01T08:00", None),
        ((None, None), "UTC", "2026-03-01T03:00", None),
    ],
)
def test_it_is_quiet_between_the_two_until_the_second(
    hours: tuple[time | None, time | None], zone: str, at: str, ends_at: str | None
) -> None:
    expected = datetime.fromisoformat(ends_at).replace(tzinfo=UTC) if ends_at else None
    assert quiet_ends_at(*hours, zone, datetime.fromisoformat(at).replace(tzinfo=UTC)) == expected
