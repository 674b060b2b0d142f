"""Who is on duty at an instant: members in turn, handed over once a week, with overrides and holidays. Pure.

People are named by whole numbers, their rows' keys. Every bound is an instant, found once from the rota's own clock,
so an hour that comes twice or not at all hands over once all the same.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Literal

from streams.time_zones import clock

WEEK_DAYS = 7

Why = Literal["turn", "override", "holiday"]


@dataclass(frozen=True, slots=True)
class Override:
    """``person`` has the duty within [from_at, until_at), whoever's turn it is."""

    person: int
    from_at: datetime
    until_at: datetime


@dataclass(frozen=True, slots=True)
class Rota:
    """Hand-over is at ``at`` on ``weekday`` (0: Monday) by the clock of ``time_zone``.

    ``starts_on``: the first member's turn begins with the first hand-over on or after it; before it nobody has the
    duty. Of two overrides the later one in the list holds. ``on_holidays``: who stands in on ``holidays``, from
    midnight to midnight; None: whoever's turn it is.
    """

    time_zone: str
    weekday: int
    at: time
    starts_on: date
    members: tuple[int, ...]
    overrides: tuple[Override, ...] = ()
    holidays: frozenset[date] = frozenset()
    on_holidays: int | None = None


@dataclass(frozen=True, slots=True)
class Turn:
    """``person`` (None: nobody) has the duty within [from_at, until_at)."""

    person: int | None
    from_at: datetime
    until_at: datetime
    why: Why = "turn"


def on_duty(rota: Rota, at: datetime) -> int | None:
    """Exactly who has the duty at the aware moment ``at``; None: nobody, which is a gap."""
    return _holder(rota, at)[0]


def _holder(rota: Rota, at: datetime) -> tuple[int | None, Why]:
    for override in reversed(rota.overrides):
        if override.from_at <= at < override.until_at:
            return override.person, "override"
    if rota.on_holidays is not None and _is_holiday(rota, at):
        return rota.on_holidays, "holiday"
    number = _turns_since_start(rota, at)
    if number < 0 or not rota.members:
        return None, "turn"
    return rota.members[number % len(rota.members)], "turn"


def _is_holiday(rota: Rota, at: datetime) -> bool:
    # The clock may go back over midnight, so the day before is asked too.
    today = at.astimezone(clock(rota.time_zone)).date()
    near = (today + timedelta(days=shift) for shift in (-1, 0, 1))
    return any(day in rota.holidays and _midnight(rota, day) <= at < _midnight(rota, _next(day)) for day in near)


def _turns_since_start(rota: Rota, at: datetime) -> int:
    """How many hand-overs there were since the first, that one counted 0; negative before it."""
    first = _hand_over_day(rota, rota.starts_on)
    today = at.astimezone(clock(rota.time_zone)).date()
    number = (today - first).days // WEEK_DAYS
    # On the day itself it depends on the hour, and a zone may skip a whole day.
    while _hand_over(rota, first, number) > at:
        number -= 1
    while _hand_over(rota, first, number + 1) <= at:
        number += 1
    return number


def _hand_over_day(rota: Rota, day: date) -> date:
    """The first day from ``day`` on at which the duty is handed over."""
    return day + timedelta(days=(rota.weekday - day.weekday()) % WEEK_DAYS)


def _hand_over(rota: Rota, first: date, number: int) -> datetime:
    return _instant(rota, first + timedelta(days=WEEK_DAYS * number), rota.at)


def _midnight(rota: Rota, day: date) -> datetime:
    return _instant(rota, day, time())


def _instant(rota: Rota, day: date, at: time) -> datetime:
    """Of an hour that comes twice the first; one that does not come is taken as if the clock had not been put on."""
    return datetime.combine(day, at, clock(rota.time_zone)).astimezone(UTC)


def _next(day: date) -> date:
    return day + timedelta(days=1)


def turns(rota: Rota, from_at: datetime, until_at: datetime) -> list[Turn]:
    """[from_at, until_at) in whole, as it is shared out: each turn begins where the one before ends.

    >>> from datetime import UTC
    >>> rota = Rota("UTC", 0, time(8), date(2026, 3, 2), (1, 2))
    >>> begin = datetime(2026, 3, 8, tzinfo=UTC)
    >>> [(turn.person, turn.from_at.day) for turn in turns(rota, begin, begin + timedelta(days=9))]
    [(1, 8), (2, 9), (1, 16)]
    """
    cuts = sorted({from_at, *(cut for cut in _cuts(rota, from_at, until_at) if from_at < cut < until_at)})
    found: list[Turn] = []
    for begin, end in zip(cuts, [*cuts[1:], until_at], strict=True):
        person, why = _holder(rota, begin)
        if found and (found[-1].person, found[-1].why) == (person, why):
            found[-1] = Turn(person, found[-1].from_at, end, why)
        else:
            found.append(Turn(person, begin, end, why))
    return found


def _cuts(rota: Rota, from_at: datetime, until_at: datetime) -> Iterable[datetime]:
    for override in rota.overrides:
        yield from (override.from_at, override.until_at)
    if rota.on_holidays is not None:
        for day in rota.holidays:
            yield from (_midnight(rota, day), _midnight(rota, _next(day)))
    first = _hand_over_day(rota, rota.starts_on)
    number = max(0, _turns_since_start(rota, from_at))
    while (cut := _hand_over(rota, first, number)) < until_at:
        yield cut
        number += 1


def gaps(shared: Iterable[Turn], reachable: Collection[int]) -> list[Turn]:
    """The turns in which a message would reach nobody: nobody has the duty, or somebody who cannot be reached."""
    return [turn for turn in shared if turn.person is None or turn.person not in reachable]
