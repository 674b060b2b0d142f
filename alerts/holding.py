"""Whether a delivery that is due has to wait, why, until when: mutes, budgets, floods, read from the rows themselves.

Critical ones wait only while they are muted, and for the pace at which their number sends at all, a part of which
ordinary ones leave free. What waits here can still be cancelled; what waits at the provider cannot. It stays a row,
with the reason; it is shown, and it goes out.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.db.models import Min

from alerts import budgets, spending
from alerts.lateness import known_late
from alerts.models import Alert, Contact, Delivery
from alerts.notifiers.registry import is_for_programs

DIGEST_EVERY_S = 180.0
LATE_GATHER_S = 30.0
"""After an outage everything becomes known within a few seconds."""

MUTED_S = 60.0
"""Whatever mutes lets go by itself when it is over; looked at again so often all the same."""

Held, State = Delivery.Held, Delivery.State
TOGETHER = frozenset({Held.FLOOD, Held.LATE})
"""What is held for one of these goes out in one message."""


@dataclass(frozen=True, slots=True)
class Hold:
    """Why something waits, and until when."""

    why: Delivery.Held
    until_at: datetime


def hold(row: Delivery, now: datetime) -> Hold | None:
    """Why ``row``, which is due, has to wait; None: it goes."""
    if row.alert.incident.muted_by:
        return Hold(Held.MUTED, now + timedelta(seconds=MUTED_S))
    if row.alert.incident.severity == "critical":
        return _over_budget(row, now)
    return _gathered(row, now) or _over_budget(row, now)


def _gathered(row: Delivery, now: datetime) -> Hold | None:
    if row.held in TOGETHER or is_for_programs(row.contact.channel):
        return None
    if known_late(row.alert) is not None and row.alert.reason != Alert.Reason.REMINDER:
        return Hold(Held.LATE, _next_digest_at(row, Held.LATE, now, LATE_GATHER_S))
    if is_flooded(row.alert.recipient_id, now):
        return Hold(Held.FLOOD, _next_digest_at(row, Held.FLOOD, now, DIGEST_EVERY_S))
    return None


def _next_digest_at(row: Delivery, why: Delivery.Held, now: datetime, every_s: float) -> datetime:
    """When the others go that wait for the same contact; else ``every_s`` from now."""
    others = Delivery.objects.filter(contact=row.contact_id, state=State.QUEUED, held=why)
    at: datetime | None = others.aggregate(at=Min("not_before_at"))["at"]
    return at or now + timedelta(seconds=every_s)


# How much one person gets


def alert_times(recipient: int, now: datetime) -> list[datetime]:
    """When a recipient (by key) was told something as it happened, within the time that decides about a flood."""
    since = now - timedelta(seconds=budgets.FLOOD_LOOK_BACK_S)
    rows = Alert.objects.filter(recipient=recipient, created_at__gt=since).exclude(reason=Alert.Reason.LATE)
    return list(rows.values_list("created_at", flat=True))


def is_flooded(recipient: int, now: datetime) -> bool:
    """Whether a recipient (by key) is in a flood."""
    return budgets.flooded(alert_times(recipient, now), now)


@dataclass(frozen=True, slots=True)
class Load:
    """How much one recipient was told within ten minutes."""

    recipient: int
    name: str
    alerts: int
    flooded: bool


def loads(now: datetime) -> list[Load]:
    """Everybody who was told something within ten minutes or is in a flood, the most loaded first."""
    since = now - timedelta(seconds=budgets.FLOOD_LOOK_BACK_S)
    rows = Alert.objects.filter(created_at__gt=since).exclude(reason=Alert.Reason.LATE)
    times: dict[tuple[int, str], list[datetime]] = {}
    for key, name, at in rows.values_list("recipient", "recipient__name", "created_at"):
        times.setdefault((key, name), []).append(at)
    found = [Load(*who, budgets.load(at, now), budgets.flooded(at, now)) for who, at in times.items()]
    return sorted((load for load in found if load.alerts), key=lambda load: (-load.alerts, load.name))


# How much may be sent


def _over_budget(row: Delivery, now: datetime) -> Hold | None:
    if row.contact.channel != Contact.Channel.SMS:
        return None
    for why, spent, cost, budget in _budgets(row, now):
        until_at = budgets.free_at(spent, cost, budget, now)
        if until_at > now:
            # What is to go out together stays together.
            return Hold(Held(row.held) if row.held in TOGETHER else why, until_at)
    return None


def _budgets(row: Delivery, now: datetime) -> Iterable[tuple[Delivery.Held, list[budgets.Spent], int, budgets.Budget]]:
    critical = row.alert.incident.severity == "critical"
    if not critical:
        mine = budgets.RECIPIENT
        recent = spending.outbox(now - timedelta(seconds=mine.window_s)).exclude(pk=row.pk)
        to_this = recent.filter(alert__recipient=row.alert.recipient_id)
        yield Held.RECIPIENT, [(at, 1) for at in to_this.values_list("attempted_at", flat=True) if at], 1, mine
    sender = budgets.sender_budget(settings.SMS_PER_MINUTE, critical=critical)
    spent = spending.segments_since(now - timedelta(seconds=sender.window_s), without=row)
    yield Held.SENDER, spent, likely_segments(row), sender


def likely_segments(row: Delivery) -> int:
    """How many segments it will be, before it is written: Chinese says it in two."""
    return 2 if row.alert.recipient.language.startswith("zh") else 1


def month_is_spent(row: Delivery, now: datetime) -> bool:
    """Whether ``row`` is an SMS that the month's ceiling leaves no room for. A critical one always has it."""
    if row.contact.channel != Contact.Channel.SMS or row.alert.incident.severity == "critical":
        return False
    ceiling = settings.SMS_PER_MONTH
    return bool(ceiling) and spending.month_used(now) + likely_segments(row) > ceiling
