"""When a rule acts, in its site's own clock and under its site's own sun. Pure."""

from __future__ import annotations

import math
import zoneinfo
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import Any, Literal

import astral
import astral.sun

from alerts.rules.config import Schedule, ScheduleSpan
from streams.time_zones import time_zones

DAY_S = 86_400
SUNDAY = 6
HORIZON_DEGREES = -0.833
"""The sun's centre when its upper edge touches the horizon, refraction included. Source: Meeus, Astronomical
Algorithms, chapter 15."""
SAMPLED_YEAR = 2026
"""Sunrise of a day differs by a minute from year to year: any one shows whether a span is ever open."""

SunEvent = Literal["sunrise", "sunset"]


@lru_cache(maxsize=256)
def _zone(name: str) -> zoneinfo.ZoneInfo:
    return zoneinfo.ZoneInfo(name)


def is_active(schedule: Schedule, at: datetime) -> bool:
    """Whether ``schedule`` covers the aware moment ``at``; one without spans and holidays always does.

    Daylight saving needs no care: the site's clock is asked, so an hour that comes twice counts twice.
    """
    if not schedule.spans and not schedule.holidays:
        return True
    local = at.astimezone(_zone(schedule.time_zone))
    today = local.date()
    if today in schedule.holidays:
        if schedule.on_holidays == "always":
            return True
        if schedule.on_holidays == "never" and not schedule.spans:
            return False
    if not schedule.spans:
        return True
    second = local.hour * 3600 + local.minute * 60 + local.second
    return any(_covers(schedule, span, today, second) for span in schedule.spans)


def follows_sun(schedule: Schedule) -> bool:
    """Whether some span begins or ends with the sun, so that the site's place on the map matters."""
    return any(_is_sun(span.from_) or _is_sun(span.until) for span in schedule.spans)


def _covers(schedule: Schedule, span: ScheduleSpan, today: date, second: int) -> bool:
    # What lies past midnight belongs to the day on which the span began; the sun may move a span by half a day more.
    by_sun = _is_sun(span.from_) or _is_sun(span.until)
    for shift in (0, -1, 1, -2) if by_sun else (0, -1):
        day = today + timedelta(days=shift)
        if _begins_on(schedule, span, day):
            start, end = _bounds(schedule, span, day)
            if start <= second - shift * DAY_S < end:
                return True
    return False


def _begins_on(schedule: Schedule, span: ScheduleSpan, day: date) -> bool:
    if day not in schedule.holidays:
        return day.weekday() in span.days
    return schedule.on_holidays == "as_sunday" and SUNDAY in span.days


def _bounds(schedule: Schedule, span: ScheduleSpan, day: date) -> tuple[int, int]:
    """Begin and end of the span that begins on ``day``, seconds of the site's clock since its midnight."""
    if span.from_ == span.until:
        return 0, DAY_S
    start = _second(schedule, span.from_, day)
    if not _passes_midnight(span):
        return start, _second(schedule, span.until, day)
    return start, DAY_S + _second(schedule, span.until, day + timedelta(days=1))


def _passes_midnight(span: ScheduleSpan) -> bool:
    start, end = span.from_, span.until
    if not _is_sun(start) and not _is_sun(end):
        return _clock_s(end) <= _clock_s(start)
    if _is_sun(start) and _is_sun(end) and _event(start) == _event(end):
        return _offset_s(end) <= _offset_s(start)
    return _is_late(start) and not _is_late(end)


def _is_late(text: str) -> bool:
    """Whether it is in the second half of the day."""
    return _event(text) == "sunset" if _is_sun(text) else _clock_s(text) >= DAY_S // 2


def _is_sun(text: str) -> bool:
    return text.startswith("sun")


def _event(text: str) -> SunEvent:
    return "sunrise" if text.startswith("sunrise") else "sunset"


def _offset_s(text: str) -> int:
    offset = text.removeprefix("sunrise").removeprefix("sunset")
    return (-1 if offset[0] == "-" else 1) * _clock_s(offset[1:]) if offset else 0


def _clock_s(text: str) -> int:
    hours, _, minutes = text.partition(":")
    return int(hours) * 3600 + int(minutes) * 60


def _second(schedule: Schedule, text: str, day: date) -> int:
    if not _is_sun(text):
        return _clock_s(text)
    if schedule.latitude is None or schedule.longitude is None:
        raise ValueError(
            f"schedule: expected the site's latitude and longitude for {text!r}, got none; enter its map position"
        )
    return _sun_s(_event(text), schedule.latitude, schedule.longitude, schedule.time_zone, day) + _offset_s(text)


@lru_cache(maxsize=4096)
def _sun_s(event: SunEvent, latitude: float, longitude: float, time_zone: str, day: date) -> int:
    """When the sun crosses the horizon around the noon of ``day``, seconds of the site's clock since its midnight.

    Where it does not set, it rises at midnight and sets at the next; where it does not rise, both happen at noon.
    """
    observer, zone = astral.Observer(latitude, longitude), _zone(time_zone)
    midnight, noon = datetime.combine(day, time()), _noon(observer, zone, day)
    near = [noon.date() + timedelta(days=shift) for shift in (-1, 0, 1)]
    crossings = [found for one in near if (found := _crossing(event, observer, one))]
    sign = -1 if event == "sunrise" else 1
    # Counted from its noon: a northern summer's sunset may come after midnight, and is still that evening's.
    waits_s = [sign * (found - noon).total_seconds() for found in crossings]
    near_s = min((wait_s for wait_s in waits_s if 0 <= wait_s <= DAY_S / 2 + 3600), default=None)
    if near_s is not None:
        crossed = noon + timedelta(seconds=sign * near_s)
    elif astral.sun.elevation(observer, noon, with_refraction=False) > HORIZON_DEGREES:
        return 0 if event == "sunrise" else DAY_S
    else:
        crossed = noon
    return round((crossed.astimezone(zone).replace(tzinfo=None) - midnight).total_seconds())


def _noon(observer: astral.Observer, zone: zoneinfo.ZoneInfo, day: date) -> datetime:
    """The solar noon next to the clock's noon of ``day``: near the date line it is that of another day in UTC."""
    wanted = datetime.combine(day, time(12), zone)
    mean = datetime.combine(day, time(12), UTC) - timedelta(hours=observer.longitude / 15)
    shift = timedelta(days=round((wanted - mean) / timedelta(days=1)))
    return astral.sun.noon(observer, day + shift, tzinfo=UTC)


def _crossing(event: SunEvent, observer: astral.Observer, day: date) -> datetime | None:
    find = astral.sun.sunrise if event == "sunrise" else astral.sun.sunset
    try:
        return find(observer, day, tzinfo=UTC)
    except ValueError:
        return None  # polar day or night


def check_schedule(schedule: Schedule) -> None:
    """Raises ``ValueError`` for an unknown time zone or map position, or for a span that never covers any time."""
    if schedule.time_zone not in time_zones():
        raise ValueError(
            f"schedule: expected an IANA time zone such as Asia/Taipei, got {schedule.time_zone!r}; choose one"
        )
    if schedule.spans and not any(span.days for span in schedule.spans):
        raise ValueError("schedule: expected at least one weekday, got none; the rule could never fire, add a day")
    _check_position(schedule.latitude, 90, "latitude")
    _check_position(schedule.longitude, 180, "longitude")
    for span in schedule.spans:
        _check_open(schedule, span)


def _check_position(degrees: float | None, most: int, name: str) -> None:
    if degrees is not None and not (math.isfinite(degrees) and abs(degrees) <= most):
        raise ValueError(f"schedule: expected a {name} from -{most} to {most}, got {degrees:g}; correct the site's")


def _check_open(schedule: Schedule, span: ScheduleSpan) -> None:
    """Raises ``ValueError`` when ``span`` is empty on every day of a year."""
    if not (_is_sun(span.from_) or _is_sun(span.until)):
        return
    days = (date(SAMPLED_YEAR, 1, 1) + timedelta(days=number) for number in range(0, 365, 5))
    if not any(start < end for start, end in (_bounds(schedule, span, day) for day in days)):
        raise ValueError(
            f"schedule: expected a span that is open on some day, got {span.from_} until {span.until}, which ends "
            f"before it begins the whole year; turn it round, or make two spans that meet at midnight"
        )


def parts(stored: Any) -> tuple[list[Any], list[str], str]:
    """Spans, holidays and what they mean, of a schedule as a rule keeps it: a list of spans, or an object.

    >>> parts([{"days": [0]}])
    ([{'days': [0]}], [], 'never')
    """
    if not isinstance(stored, Mapping):
        return list(stored or ()), [], "never"
    return list(stored.get("spans", ())), list(stored.get("holidays", ())), stored.get("on_holidays", "never")


def stored(spans: Sequence[Any], holidays: Sequence[str] = (), on_holidays: str = "never") -> Any:
    """The other way round; without holidays a plain list."""
    if not holidays:
        return list(spans)
    return {"spans": list(spans), "holidays": list(holidays), "on_holidays": on_holidays}
