"""Rotas as rows: who has the duty, who is next, and where nobody would be told."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from django.db.models import Prefetch, QuerySet

from alerts import rota as pure
from alerts.models import Contact, Recipient, Rota, RotaOverride

AHEAD = timedelta(weeks=4)
"""How far ahead rotas are shown, and gaps told."""


def with_turns(**which: Any) -> QuerySet[Rota]:
    """The rotas with such columns, each with what ``read`` needs, in a fixed number of queries."""
    made_last = Prefetch("overrides", RotaOverride.objects.order_by("created_at", "id").select_related("recipient"))
    return Rota.objects.filter(**which).select_related("on_holidays").prefetch_related("places__recipient", made_last)


def read(row: Rota) -> pure.Rota:
    """The row as the pure function takes it; people are named by their keys."""
    overrides = sorted(row.overrides.all(), key=lambda one: (one.created_at, one.pk))
    return pure.Rota(
        time_zone=row.time_zone,
        weekday=row.weekday,
        at=row.hand_over_at,
        starts_on=row.starts_on,
        members=tuple(place.recipient_id for place in row.places.all()),
        overrides=tuple(pure.Override(one.recipient_id, one.from_at, one.until_at) for one in overrides),
        holidays=frozenset(date.fromisoformat(day) for day in row.holidays),
        on_holidays=row.on_holidays_id,
    )


def on_duty(row: Rota, at: datetime) -> int | None:
    """The key of the recipient who has the duty at ``at``; None: nobody."""
    return pure.on_duty(read(row), at)


def can_be_reached() -> set[int]:
    """The keys of all recipients who are active and have a usable contact."""
    usable = Contact.objects.usable().values("recipient")
    return set(Recipient.objects.filter(active=True, pk__in=usable).values_list("pk", flat=True))


@dataclass(frozen=True, slots=True)
class Shift:
    """A turn with its people as rows. ``recipient``: None for nobody; ``gap``: a message would reach nobody."""

    recipient: Recipient | None
    from_at: datetime
    until_at: datetime
    why: str
    gap: bool


@dataclass(frozen=True, slots=True)
class Outlook:
    """One rota as it stands and as it goes on. ``shifts`` begin now."""

    rota: Rota
    shifts: tuple[Shift, ...]

    @property
    def now(self) -> Shift:
        """Who has the duty."""
        return self.shifts[0]

    @property
    def next(self) -> Shift | None:
        """The first shift of somebody else."""
        return next((one for one in self.shifts[1:] if one.recipient != self.now.recipient), None)

    @property
    def gaps(self) -> list[Shift]:
        """Where nobody would be told, the first first."""
        return [one for one in self.shifts if one.gap]


def outlook(row: Rota, now: datetime, reachable: set[int], ahead: timedelta = AHEAD) -> Outlook:
    """``row`` from ``now`` on."""
    people = {place.recipient_id: place.recipient for place in row.places.all()}
    people |= {one.recipient_id: one.recipient for one in row.overrides.all()}
    if row.on_holidays is not None:
        people[row.on_holidays.pk] = row.on_holidays
    shared = pure.turns(read(row), now, now + ahead)
    lost = pure.gaps(shared, reachable)
    return Outlook(
        row,
        tuple(
            Shift(people[turn.person] if turn.person else None, turn.from_at, turn.until_at, turn.why, turn in lost)
            for turn in shared
        ),
    )


def outlooks(now: datetime, ahead: timedelta = AHEAD) -> list[Outlook]:
    """Every rota from ``now`` on."""
    reachable = can_be_reached()
    return [outlook(row, now, reachable, ahead) for row in with_turns()]


def gaps_that_matter(now: datetime, ahead: timedelta) -> list[tuple[Rota, Shift]]:
    """The first gap of each rota that a policy of an enabled rule tells, within ``ahead``."""
    used = _used()
    return [(one.rota, one.gaps[0]) for one in outlooks(now, ahead) if one.rota.pk in used and one.gaps]


def broken(now: datetime, back: timedelta) -> list[tuple[Rota, Shift]]:
    """Of the same rotas those that tell nobody now, with the gap; its beginning is looked for as far as ``back``."""
    used = _used()
    found = [(one.rota, one.shifts[-1]) for one in outlooks(now - back, back + timedelta.resolution)]
    return [(rota, last) for rota, last in found if rota.pk in used and last.gap]


def _used() -> set[int]:
    return set(Rota.objects.filter(steps__policy__rules__enabled=True).values_list("pk", flat=True))
