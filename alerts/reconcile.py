"""What became of a message after its provider took it, or may have: asked for, and called back where that is set up.

Asking alone is enough, so a closed network without any way in works; being called back only makes it sooner. Whatever
is learnt moves a delivery forward and never back, however often, late or out of order it comes.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction

from alerts.announce import hold
from alerts.delivery import carried, queue_next, record_outcome, switch_off, wanted
from alerts.models import Delivery
from alerts.notifiers.base import DeliveryError, Follows, Message, Report
from alerts.notifiers.registry import NOTIFIERS, notifier_of
from alerts.outcomes import after, due_to_ask

logger = logging.getLogger(__name__)

State = Delivery.State
CLOCKS_APART = timedelta(minutes=2)
"""Between the provider's and ours, at most; a message of another alert has other words anyway."""
_NOTHING_TO_ASK = frozenset(State) - {State.SENT, State.UNKNOWN}
ASKED_FOR = timedelta(hours=12)
AT_MOST = 100


def follow_up(now: datetime) -> int:
    """Ask about everything that it is time to ask about. Blocks as the providers do. Returns how many moved on."""
    rows = Delivery.objects.filter(
        attempted_at__gt=now - ASKED_FOR, carried_by__isnull=True, notifier__in=_followed()
    ).select_related("contact", "alert__recipient", "alert__incident")
    # Left out instead of chosen: what was sent stays so for ever, and by its state all of it would be looked through.
    rows = rows.exclude(state__in=_NOTHING_TO_ASK).exclude(state=State.UNKNOWN, resent_as__isnull=False)
    due = [row for row in rows.order_by("asked_at", "pk") if due_to_ask(_since(row), row.asked_at, now)]
    return sum(_ask(row, now) for row in due[:AT_MOST])


def _followed() -> list[str]:
    """Keys of the notifiers that are configured and whose providers can be asked."""
    return [key for key in NOTIFIERS if _notifier(key) is not None]


def _notifier(key: str) -> Follows | None:
    try:
        notifier = notifier_of(key)
    except DeliveryError:
        return None
    return notifier if isinstance(notifier, Follows) else None


def _since(row: Delivery) -> datetime:
    return row.attempted_at or row.created_at


def _ask(row: Delivery, now: datetime) -> bool:
    notifier = _notifier(row.notifier)
    if notifier is None:
        return False
    # First: a provider that hangs is not asked again at once.
    Delivery.objects.filter(pk=row.pk).update(asked_at=now)
    try:
        report = _report(row, notifier)
    except DeliveryError as error:
        logger.info("delivery %s: its provider could not be asked: %s", row.uid, error.text)
        return False
    return report is not None and take(row, report, now)


def _report(row: Delivery, notifier: Follows) -> Report | None:
    if row.provider_id:
        return notifier.ask(row.provider_id)
    message = Message(to=row.contact.reach, text=row.text, reference=str(row.uid))
    known = Delivery.objects.filter(provider_id__gt="", contact=row.contact_id).values_list("provider_id", flat=True)
    return notifier.find(message, _since(row) - CLOCKS_APART, frozenset(known))


def take_report(notifier: str, report: Report, now: datetime) -> bool:
    """What a provider called back about; False: of nothing that we sent, or of something known already."""
    rows = Delivery.objects.filter(notifier=notifier, provider_id=report.provider_id, carried_by__isnull=True)
    row = rows.select_related("contact", "alert__recipient", "alert__incident").first()
    return row is not None and take(row, report, now)


def take(row: Delivery, report: Report, now: datetime) -> bool:
    """Move ``row``, and what it carries, on by ``report``. False: it says nothing new."""
    state = after(row.state, report.standing)
    if state is None:
        return False
    fields: dict[str, Any] = {"state": state, "provider_id": report.provider_id[:100], "problem": report.problem[:500]}
    fields["finished_at"] = now
    if state != State.FAILED:
        fields["sent_at"] = row.sent_at or now
    if state == State.DELIVERED:
        fields["delivered_at"] = now
    with transaction.atomic():
        said = [row, *carried(row)]
        _hold(said)
        if not record_outcome(row, [row.state], {}, fields, now):
            return False
        if state == State.FAILED:
            logger.warning("delivery %s: taken, and not delivered: %s", row.uid, report.problem)
            if report.refused:
                switch_off(row.contact, report.problem, now, unsubscribed=report.unsubscribed)
            # Whoever has it by now needs no other message; the rest is said elsewhere at once.
            queue_next(_unanswered(said), report.problem, now)
    return True


def _hold(rows: Iterable[Delivery]) -> None:
    for incident in sorted({row.alert.incident_id for row in rows}):
        hold(incident)


def _unanswered(rows: Iterable[Delivery]) -> list[Delivery]:
    return [row for row in rows if wanted(row)]
