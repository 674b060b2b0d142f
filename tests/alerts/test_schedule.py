"""Schedules follow the site's own clock, its calendar and its sun."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alerts.rules.config import Schedule, ScheduleSpan
from alerts.schedule import check_schedule, is_active

NIGHT = Schedule(time_zone="Asia/Taipei", spans=[ScheduleSpan(days=[0], from_="22:00", until="06:00")])
OFFICE = Schedule(time_zone="Asia/Taipei", spans=[ScheduleSpan(days=[0, 1, 2, 3, 4], from_="08:00", until="18:00")])
WHOLE_SUNDAY = Schedule(time_zone="Europe/Berlin", spans=[ScheduleSpan(days=[6])])
EARLY = Schedule(time_zone="Europe/Berlin", spans=[ScheduleSpan(from_="02:30", until="03:30")])


@pytest.mark.parametrize(
    "schedule, at, active",
    [
        (Schedule(), datetime(2026, 1, 1, tzinfo=UTC), True),
        (OFFICE, datetime(2026, 11, 23, 0, 0, tzinfo=UTC), True),  # Monday 08:00 in Taipei
        (OFFICE, datetime(2026, 11, 22, 23, 59, tzinfo=UTC), False),
        (OFFICE, datetime(2026, 11, 23, 10, 0, tzinfo=UTC), False),  # 18:00, no longer
        (NIGHT, datetime(2026, 11, 23, 14, 0, tzinfo=UTC), True),  # Monday 22:00
        (NIGHT, datetime(2026, 11, 23, 16, 0, tzinfo=UTC), True),  # midnight itself
        (NIGHT, datetime(2026, 11, 23, 21, 59, 59, tzinfo=UTC), True),  # Tuesday 05:59 belongs to Monday's night
        (NIGHT, datetime(2026, 11, 23, 22, 0, tzinfo=UTC), False),
        (NIGHT, datetime(2026, 11, 22, 21, 0, tzinfo=UTC), False),  # Monday 05:00 belongs to Sunday's
        (WHOLE_SUNDAY, datetime(2026, 3, 29, 1, 30, tzinfo=UTC), True),  # the hour that was skipped
        (WHOLE_SUNDAY, datetime(2026, 10, 25, 0, 30, tzinfo=UTC), True),  # the hour that came twice
        (EARLY, datetime(2026, 3, 29, 0, 45, tzinfo=UTC), False),  # 01:45, the clock is about to skip 02:30
        (EARLY, datetime(2026, 3, 29, 1, 0, tzinfo=UTC), True),  # 03:00, a second later
        (EARLY, datetime(2026, 10, 25, 0, 45, tzinfo=UTC), True),  # 02:45 the first time
        (EARLY, datetime(2026, 10, 25, 1, 15, tzinfo=UTC), False),  # 02:15 again
        (EARLY, datetime(2026, 10, 25, 1, 45, tzinfo=UTC), True),  # 02:45 the second time
    ],
)
def test_it_asks_the_sites_clock(schedule: Schedule, at: datetime, active: bool) -> None:
    assert is_active(schedule, at) is active


def sun(from_: str, until: str, *, place: str = "Berlin", **more: Any) -> Schedule:
    latitude, longitude, time_zone = PLACES[place]
    span = ScheduleSpan(from_=from_, until=until, days=more.pop("days", list(range(7))))
    return Schedule(time_zone=time_zone, spans=[span], latitude=latitude, longitude=longitude, **more)


PLACES = {
    "Berlin": (52.52, 13.40, "Europe/Berlin"),
    "Taipei": (25.03, 121.56, "Asia/Taipei"),
    "Tromsø": (69.65, 18.96, "Europe/Oslo"),
    "Reykjavík": (64.15, -21.94, "Atlantic/Reykjavik"),
    "Auckland": (-36.85, 174.76, "Pacific/Auckland"),
    "Honolulu": (21.31, -157.86, "Pacific/Honolulu"),
    "South Pole": (-90.0, 0.0, "Antarctica/McMurdo"),
    "Kiritimati": (1.87, -157.43, "Pacific/Kiritimati"),
}


def hours(schedule: Schedule, day: date, *, step: int = 5) -> float:
    """How many hours of ``day`` the schedule covers."""
    zone = ZoneInfo(schedule.time_zone)
    moments = [datetime(day.year, day.month, day.day, tzinfo=zone) + timedelta(minutes=m) for m in range(0, 1440, step)]
    return sum(is_active(schedule, moment) for moment in moments) * step / 60


JUNE, DECEMBER = date(2026, 6, 21), date(2026, 12, 21)


# Day lengths of the solstices, from almanacs; 5 minutes are the step.
@pytest.mark.parametrize(
    "place, june, december",
    [
        ("Berlin", 16.85, 7.65),
        ("Taipei", 13.6, 10.6),
        ("Auckland", 9.65, 14.7),
        ("Honolulu", 13.43, 10.85),
        ("Kiritimati", 12.2, 12.05),
    ],
)
def test_the_day_is_as_long_as_the_almanac_says(place: str, june: float, december: float) -> None:
    day, night = sun("sunrise", "sunset", place=place), sun("sunset", "sunrise", place=place)
    assert hours(day, JUNE) == pytest.approx(june, abs=0.2)
    assert hours(day, DECEMBER) == pytest.approx(december, abs=0.2)
    assert hours(night, JUNE) == pytest.approx(24 - june, abs=0.2)


@pytest.mark.parametrize("place, day, lit", [("Tromsø", JUNE, 24), ("Tromsø", DECEMBER, 0), ("South Pole", JUNE, 0)])
def test_where_the_sun_does_not_set_there_is_no_night_and_where_it_does_not_rise_no_day(
    place: str, day: date, lit: int
) -> None:
    assert hours(sun("sunrise", "sunset", place=place), day) == lit
    assert hours(sun("sunset", "sunrise", place=place), day) == 24 - lit


def test_a_sunset_after_midnight_is_still_that_evenings() -> None:
    # Reykjavík in June: the sun sets at 00:03 and rises at 02:55.
    assert hours(sun("sunset", "sunrise", place="Reykjavík"), JUNE) == pytest.approx(2.9, abs=0.2)


@pytest.mark.parametrize(
    "span, moment, active",
    [
        (("sunset-00:30", "sunrise+01:15"), "2026-11-23T15:40", True),  # the sun sets at 16:02
        (("sunset-00:30", "sunrise+01:15"), "2026-11-23T15:25", False),
        (("sunset-00:30", "sunrise+01:15"), "2026-11-23T08:50", True),  # it rises at 07:42
        (("sunset-00:30", "sunrise+01:15"), "2026-11-23T09:05", False),
        (("sunset", "23:00"), "2026-11-23T22:59", True),
        (("sunset", "23:00"), "2026-11-23T23:01", False),
        (("sunset", "06:00"), "2026-11-23T05:59", True),
        (("19:00", "sunset"), "2026-06-21T21:00", True),
        (("19:00", "sunset"), "2026-12-21T21:00", False),  # it has set long before: an empty span, not a long one
        (("06:00", "sunrise"), "2026-12-21T07:00", True),
        (("06:00", "sunrise"), "2026-06-21T07:00", False),
        (("sunrise-01:00", "sunrise+01:00"), "2026-11-23T07:00", True),
        (("sunrise-01:00", "sunrise+01:00"), "2026-11-23T12:00", False),
        (("sunrise-05:59", "sunrise"), "2026-06-21T23:30", True),  # begins before the midnight of its day
    ],
)
def test_spans_may_begin_and_end_with_the_sun(span: tuple[str, str], moment: str, active: bool) -> None:
    at = datetime.fromisoformat(moment).replace(tzinfo=ZoneInfo("Europe/Berlin"))
    assert is_active(sun(*span), at) is active


@settings(max_examples=100, deadline=None)
@given(
    st.floats(-90, 90),
    st.floats(-180, 180),
    st.sampled_from(["UTC", "Asia/Taipei", "Pacific/Kiritimati", "America/Adak"]),
    st.dates(date(2020, 1, 1), date(2040, 12, 31)),
)
def test_day_and_night_never_overlap_and_leave_no_gap(
    latitude: float, longitude: float, time_zone: str, day: date
) -> None:
    at = datetime(day.year, day.month, day.day, 3, 7, tzinfo=UTC)
    place: dict[str, Any] = {"time_zone": time_zone, "latitude": latitude, "longitude": longitude}
    day_time = Schedule(spans=[ScheduleSpan(from_="sunrise", until="sunset")], **place)
    night = Schedule(spans=[ScheduleSpan(from_="sunset", until="sunrise")], **place)
    assert is_active(day_time, at) != is_active(night, at)


MAY_DAY = date(2026, 5, 1)  # a Friday
NIGHTS = [ScheduleSpan(days=[0, 1, 2, 3, 4], from_="22:00", until="06:00"), ScheduleSpan(days=[6])]


@pytest.mark.parametrize(
    "on_holidays, spans, moment, active",
    [
        ("never", NIGHTS, "2026-05-01T23:00", False),
        ("never", NIGHTS, "2026-05-01T05:00", True),  # of the night that began before
        ("never", NIGHTS, "2026-05-02T05:00", False),
        ("never", [], "2026-05-01T12:00", False),
        ("never", [], "2026-05-02T12:00", True),
        ("always", NIGHTS, "2026-05-01T12:00", True),
        ("always", NIGHTS, "2026-05-02T12:00", False),
        ("always", [], "2026-05-01T12:00", True),
        ("as_sunday", NIGHTS, "2026-05-01T12:00", True),
        ("as_sunday", NIGHTS[:1], "2026-05-01T23:00", False),
        ("as_sunday", [], "2026-05-01T12:00", True),
    ],
)
def test_holidays_are_days_of_their_own(on_holidays: Any, spans: list[ScheduleSpan], moment: str, active: bool) -> None:
    schedule = Schedule(time_zone="Europe/Berlin", spans=spans, holidays=[MAY_DAY], on_holidays=on_holidays)
    at = datetime.fromisoformat(moment).replace(tzinfo=ZoneInfo("Europe/Berlin"))
    assert is_active(schedule, at) is active


@pytest.mark.parametrize(
    "schedule, said",
    [
        (Schedule(time_zone="Mars/Olympus"), "expected an IANA time zone"),
        (Schedule(spans=[ScheduleSpan(days=[])]), "expected at least one weekday"),
        (Schedule(spans=[ScheduleSpan(from_="sunset")]), "expected the site's latitude and longitude for 'sunset'"),
        (sun("22:00", "sunset"), "22:00 until sunset, which ends before it begins"),
        (sun("sunrise", "02:00"), "sunrise until 02:00, which ends before it begins"),
        (Schedule(latitude=float("nan")), "expected a latitude from -90 to 90, got nan"),
        (Schedule(longitude=181.0), "expected a longitude from -180 to 180, got 181"),
    ],
)
def test_a_schedule_that_can_never_act_is_refused(schedule: Schedule, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        check_schedule(schedule)


@pytest.mark.parametrize("place", PLACES)
def test_day_and_night_are_schedules_anywhere(place: str) -> None:
    check_schedule(sun("sunset", "sunrise", place=place))
    check_schedule(sun("sunrise", "sunset", place=place))


@pytest.mark.parametrize(
    "span", [{"from": "25:00"}, {"days": [7]}, {"until": "6 pm"}, {"from": "sunset+6"}, {"from": "moonrise"}]
)
def test_a_malformed_span_is_refused(span: dict[str, object]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"spans": [span]}, Schedule)


def test_a_schedule_of_before_still_loads() -> None:
    old = {"time_zone": "Asia/Taipei", "spans": [{"days": [0], "from": "22:00", "until": "06:00"}]}
    assert msgspec.convert(old, Schedule) == NIGHT


def test_a_schedule_survives_the_database() -> None:
    whole = sun("sunset", "sunrise", holidays=[MAY_DAY], on_holidays="always")
    assert msgspec.convert(msgspec.json.decode(msgspec.json.encode(whole)), Schedule) == whole
