"""Schedules follow the site's own clock."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec
import pytest

from alerts.rules.config import Schedule, ScheduleSpan
from alerts.schedule import check_schedule, is_active

NIGHT = Schedule(time_zone="Asia/Taipei", spans=[ScheduleSpan(days=[0], from_="22:00", until="06:00")])
OFFICE = Schedule(time_zone="Asia/Taipei", spans=[ScheduleSpan(days=[0, 1, 2, 3, 4], from_="08:00", until="18:00")])
WHOLE_SUNDAY = Schedule(time_zone="Europe/Berlin", spans=[ScheduleSpan(days=[6])])


@pytest.mark.parametrize(
    "schedule, at, active",
    [
        (Schedule(), datetime(2026, 1, 1, tzinfo=UTC), True),
        (OFFICE, datetime(2026, 11, 23, 0, 0, tzinfo=UTC), True),  # Monday 08:00 in Taipei
        (OFFICE, datetime(2026, 11, 22, 23, 59, tzinfo=UTC), False),
        (OFFICE, datetime(2026, 11, 23, 10, 0, tzinfo=UTC), False),  # 18:00, no longer
        (NIGHT, datetime(2026, 11, 23, 14, 0, tzinfo=UTC), True),  # Monday 22:00
        (NIGHT, datetime(2026, 11, 23, 21, 59, tzinfo=UTC), True),  # Tuesday 05:59 belongs to Monday's night
        (NIGHT, datetime(2026, 11, 23, 22, 0, tzinfo=UTC), False),
        (NIGHT, datetime(2026, 11, 22, 21, 0, tzinfo=UTC), False),  # Monday 05:00 belongs to Sunday's
        (WHOLE_SUNDAY, datetime(2026, 3, 29, 1, 30, tzinfo=UTC), True),  # the hour that was skipped
        (WHOLE_SUNDAY, datetime(2026, 10, 25, 0, 30, tzinfo=UTC), True),  # the hour that came twice
    ],
)
def test_it_asks_the_sites_clock(schedule: Schedule, at: datetime, active: bool) -> None:
    assert is_active(schedule, at) is active


@pytest.mark.parametrize(
    "schedule, said",
    [
        (Schedule(time_zone="Mars/Olympus"), "expected an IANA time zone"),
        (Schedule(spans=[ScheduleSpan(days=[])]), "expected at least one weekday"),
    ],
)
def test_a_schedule_that_can_never_act_is_refused(schedule: Schedule, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        check_schedule(schedule)


@pytest.mark.parametrize("span", [{"from": "25:00"}, {"days": [7]}, {"until": "6 pm"}])
def test_a_malformed_span_is_refused(span: dict[str, object]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"spans": [span]}, Schedule)
