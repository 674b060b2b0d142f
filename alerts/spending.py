"""What SMS have cost: those of the outbox, and those that no delivery stands for. Read from the rows themselves."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from django.db.models import QuerySet, Sum

from alerts import texts
from alerts.budgets import Spent
from alerts.models import Contact, Delivery, OtherSms
from alerts.notifiers.base import DeliveryError, Message, Notifier, Receipt

KEPT = timedelta(days=32)
"""Longer than any month of the ceiling."""

_State = Delivery.State
_FREE = (_State.QUEUED, _State.CANCELLED)
"""Nothing of these has left; whatever else was begun may have been paid for."""


def outbox(since: datetime) -> QuerySet[Delivery]:
    """SMS deliveries that were begun since; those that another's message carries cost nothing."""
    rows = Delivery.objects.filter(attempted_at__gt=since, carried_by__isnull=True).exclude(state__in=_FREE)
    # In no order: for the sake of one SQLite would rather look through all of them.
    return rows.filter(contact__channel=Contact.Channel.SMS).order_by()


def segments_since(since: datetime, *, without: Delivery) -> list[Spent]:
    """When segments left since, and how many; ``without`` the delivery that is about to."""
    rows = outbox(since).exclude(pk=without.pk).values_list("attempted_at", "segments")
    others = OtherSms.objects.filter(at__gt=since).values_list("at", "segments")
    return [(at, max(1, segments)) for at, segments in [*rows, *others] if at]


def month_begins_at(now: datetime) -> datetime:
    """The month of the ceiling, in UTC, as providers bill."""
    return now.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)


def month_used(now: datetime) -> int:
    """SMS segments of this month."""
    begins_at = month_begins_at(now)
    others = OtherSms.objects.filter(at__gte=begins_at)
    return sum(int(rows.aggregate(used=Sum("segments"))["used"] or 0) for rows in (outbox(begins_at), others))


def send_beside(notifier: Notifier, channel: str, message: Message, now: datetime) -> Receipt:
    """Send what no delivery stands for; an SMS counts, unless it certainly did not leave. Raises ``DeliveryError``.

    Nothing holds it: somebody waits for it at a screen or a telephone, and how many there may be is bounded elsewhere.
    """
    if channel != Contact.Channel.SMS:
        return notifier.send(message)
    OtherSms.objects.filter(at__lt=now - KEPT).delete()
    # Before it leaves: whoever is killed in between has counted it.
    row = OtherSms.objects.create(at=now, segments=texts.segments(message.text))
    try:
        return notifier.send(message)
    except DeliveryError as error:
        if error.outcome != "unknown":
            row.delete()
        raise
