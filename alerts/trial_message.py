"""A trial message to one contact: sent at once, past the outbox, to see what the provider says.

It belongs to no incident, is never repeated, and is refused when too many were asked for (``alerts.by_hand``).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from django.contrib.auth.models import AbstractUser
from django.db import transaction
from django.utils import translation
from django.utils.translation import gettext as _

from alerts.budgets import Budget
from alerts.by_hand import HOUR_S, LOOK_BACK, MINUTE_S, Limits, check
from alerts.models import Contact, TrialMessage
from alerts.notifiers.base import DeliveryError, Message
from alerts.notifiers.registry import notifier_for
from alerts.spending import send_beside
from streams.ids import new_uid

LIMITS = Limits(
    there=(Budget(3, MINUTE_S), Budget(10, HOUR_S)),
    person=(Budget(20, HOUR_S),),
    in_all=(Budget(10, MINUTE_S), Budget(30, HOUR_S)),
)
"""Enough to set a team up; at most 720 SMS a day for whoever steals accounts."""


@dataclass(frozen=True, slots=True)
class Trial:
    """What was sent and what became of it. ``outcome``: ``sent``, or one of ``DeliveryError``'s.

    ``answer`` is the provider's own: what it calls the message, or why it did not take it.
    """

    notifier: str
    to: str
    subject: str
    text: str
    outcome: str
    answer: str

    @property
    def sandbox(self) -> bool:
        """Whether nothing left this machine."""
        return self.notifier == "sandbox"

    def without_words(self) -> Trial:
        """What became of it, without what was said."""
        return replace(self, subject="", text="")


def send_trial(contact: Contact, asked_by: AbstractUser, now: datetime) -> Trial:
    """Send it, in the recipient's language. Blocks as the notifier does; never raises for a provider.

    Raises ``Refused`` when too many were sent.
    """
    _note(contact, asked_by, now)
    sender = asked_by.get_full_name() or asked_by.get_username()
    with translation.override(contact.recipient.language):
        subject, text = _("Trial message from Poliscope"), _words(contact, sender)
    return send_now(contact, subject, text, now)


def _note(contact: Contact, asked_by: AbstractUser, now: datetime) -> None:
    """Its row, before it is sent; those that count no more go."""
    rows = TrialMessage.objects.all()
    with transaction.atomic():
        check(rows, LIMITS, contact, asked_by, now)
        rows.filter(sent_at__lte=now - LOOK_BACK).delete()
        rows.create(contact=contact, address=contact.address, asked_by=asked_by, sent_at=now)  # type: ignore[misc]


def send_now(contact: Contact, subject: str, text: str, now: datetime) -> Trial:
    """Send these words to ``contact``, past the outbox. Blocks as the notifier does; never raises for a provider."""
    message = Message(to=contact.reach, text=text, reference=str(new_uid()), subject=subject)
    key = ""
    try:
        notifier = notifier_for(contact.channel)
        key = notifier.key
        receipt = send_beside(notifier, contact.channel, message, now)
    except DeliveryError as error:
        return Trial(key, contact.address, subject, text, error.outcome, error.text)
    return Trial(key, contact.address, subject, text, "sent", receipt.provider_id)


def _words(contact: Contact, sender: str) -> str:
    said = _("Trial from Poliscope by %(sender)s: %(name)s will be told here. Nothing has happened.")
    return said % {"sender": sender, "name": contact.recipient.name}
