"""Who is told of an incident, by what, and again when nobody acknowledges.

Decided in the caller's transaction as rows, Alerts and their Deliveries; sending is another matter (``delivery``).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from uuid import UUID

from django.db import IntegrityError, models, transaction
from django.db.models import Max, Prefetch

from alerts.announce import hold, stamp
from alerts.delivery import channels_pending, hand_over, queue, suits
from alerts.events import SEVERITIES
from alerts.models import Alert, Contact, Incident, Recipient

REMIND_AFTER_S = 120.0


@dataclass(slots=True)
class Decided:
    """What one transaction changed: incidents by key, and the deliveries that it made, by severity."""

    touched: set[int] = field(default_factory=set)
    deliveries: dict[str, list[UUID]] = field(default_factory=dict)

    def tell(self, incident: Incident, severity: str, uids: Iterable[UUID]) -> None:
        self.touched.add(incident.pk)
        self.deliveries.setdefault(severity, []).extend(uids)

    def conclude(self) -> None:
        """Advance ``changes``, last in the transaction; hand over and announce once it is committed."""
        if not self.touched:
            return
        stamp(self.touched)
        for severity, uids in self.deliveries.items():
            if uids:
                transaction.on_commit(partial(hand_over, uids, severity=severity))


def reachable(recipients: models.QuerySet[Recipient]) -> list[Recipient]:
    """The active ones, with their usable contacts in order in ``usable``."""
    usable = Contact.objects.filter(disabled_at__isnull=True).order_by("order", "id")
    return list(recipients.filter(active=True).prefetch_related(Prefetch("contacts", usable, to_attr="usable")))


def step_of(incident: Incident, reason: Alert.Reason) -> int:
    """Reminders are step 1; an incident that gets worse a second time is one step further."""
    if reason is Alert.Reason.WORSE:
        return SEVERITIES.index(incident.severity)
    return 1 if reason is Alert.Reason.REMINDER else 0


def tell(
    incident: Incident,
    reason: Alert.Reason,
    recipients: Iterable[Recipient],
    now: datetime,
    *,
    step: int,
    without: frozenset[tuple[int, str]] = frozenset(),
) -> Iterable[list[UUID]]:
    """Create the alerts and their deliveries; yields the deliveries' uids for each recipient.

    ``without``: pairs of recipient key and channel that are left out, as something is on its way there still.
    """
    for recipient in recipients:
        contacts = [
            contact
            for contact in first_of_each_channel(recipient.usable)  # type: ignore[attr-defined]
            if (recipient.pk, contact.channel) not in without and suits(contact, incident)
        ]
        if not contacts and without:
            continue
        try:
            with transaction.atomic():
                alert = Alert.objects.create(
                    incident=incident, recipient=recipient, reason=reason, step=step, created_at=now
                )
        except IntegrityError:
            continue
        yield [queue(alert, contact, now).uid for contact in contacts]


def first_of_each_channel(contacts: Iterable[Contact]) -> list[Contact]:
    """The first contact of each channel; the others stand in when it is rejected."""
    chosen: dict[str, Contact] = {}
    for contact in contacts:
        chosen.setdefault(contact.channel, contact)
    return list(chosen.values())


def reminder_due_at(incident: Incident) -> datetime | None:
    """When it is sent once more unless somebody acknowledges; None when it will not be."""
    if incident.state != Incident.State.OPEN or incident.alerts.filter(reason=Alert.Reason.REMINDER).exists():
        return None
    last: datetime | None = incident.alerts.aggregate(last=Max("created_at"))["last"]
    return last + timedelta(seconds=REMIND_AFTER_S) if last else None


def remind_unacknowledged(now: datetime) -> int:
    """Send once more whatever is still open ``REMIND_AFTER_S`` after its last alert; returns how many incidents.

    Where an earlier message still waits for its channel, another would only make two of it: that channel is left out.
    """
    due = (
        Incident.objects.filter(state=Incident.State.OPEN)
        .exclude(alerts__reason=Alert.Reason.REMINDER)
        .annotate(last_alert_at=Max("alerts__created_at"))
        .filter(last_alert_at__lte=now - timedelta(seconds=REMIND_AFTER_S))
        .order_by("pk")
    )
    return sum(_remind(incident, now) for incident in due[:200])


def _remind(incident: Incident, now: datetime) -> bool:
    with transaction.atomic():
        hold(incident.pk)
        decided = Decided()
        recipients = reachable(Recipient.objects.filter(alerts__incident=incident).distinct())
        told = tell(incident, Alert.Reason.REMINDER, recipients, now, step=1, without=channels_pending(incident.pk))
        for uids in told:
            decided.tell(incident, incident.severity, uids)
        decided.conclude()
    return bool(decided.touched)
