"""A trial message to one contact: sent at once, past the outbox, to see what the provider says.

It belongs to no incident, is never repeated, and is refused when too many were asked for: whoever may press the button
must not be able to run up a bill or to annoy a stranger.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from django.utils import translation
from django.utils.translation import gettext as _

from alerts.models import Contact
from alerts.notifiers.base import DeliveryError, Message
from alerts.notifiers.registry import notifier_for
from streams.ids import new_uid

MOST, WITHIN = 3, timedelta(minutes=1)
"""So many trials of one contact in so long."""


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


def too_many(earlier: list[datetime], now: datetime) -> bool:
    """Whether one more trial is refused, by the moments of earlier ones."""
    return sum(at > now - WITHIN for at in earlier) >= MOST


def send_trial(contact: Contact, sender: str) -> Trial:
    """Send it, in the recipient's language. Blocks as the notifier does; never raises for a provider."""
    with translation.override(contact.recipient.language):
        subject, text = _("Trial message from Poliscope"), _words(contact, sender)
    return send_now(contact, subject, text)


def send_now(contact: Contact, subject: str, text: str) -> Trial:
    """Send these words to ``contact``, past the outbox. Blocks as the notifier does; never raises for a provider."""
    message = Message(to=contact.reach, text=text, reference=str(new_uid()), subject=subject)
    key = ""
    try:
        notifier = notifier_for(contact.channel)
        key = notifier.key
        receipt = notifier.send(message)
    except DeliveryError as error:
        return Trial(key, contact.address, subject, text, error.outcome, error.text)
    return Trial(key, contact.address, subject, text, "sent", receipt.provider_id)


def _words(contact: Contact, sender: str) -> str:
    said = _("Trial from Poliscope by %(sender)s: %(name)s will be told here. Nothing has happened.")
    return said % {"sender": sender, "name": contact.recipient.name}
