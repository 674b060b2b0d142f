"""A number or address says itself that it may be told: by the code that was sent to it, and by unsubscribing.

Until it has, it is sent nothing but its code, and of these only a few (``alerts.by_hand``).
"""

from __future__ import annotations

import secrets
from datetime import datetime, timedelta

from django.contrib.auth.base_user import AbstractBaseUser
from django.db import transaction
from django.db.models import F, Max
from django.utils import translation
from django.utils.crypto import constant_time_compare, salted_hmac
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from alerts.budgets import Budget
from alerts.by_hand import HOUR_S, Limits, check
from alerts.editing import Refused
from alerts.models import Contact, ContactCode
from alerts.trial_message import Trial, send_now

DIGITS = 6
GOOD_FOR = timedelta(minutes=10)
TRIES = 5
LIMITS = Limits(there=(Budget(3, HOUR_S),), person=(Budget(20, HOUR_S),), in_all=(Budget(30, HOUR_S),))
"""One account alone does not use up what all have."""
UNSUBSCRIBED = "21610"
"""Twilio's code, in the reason of a contact that was switched off because its owner had unsubscribed there."""


def send_code(contact: Contact, now: datetime, *, asked_by: AbstractBaseUser | None = None) -> Trial:
    """Send a new code to ``contact``, in its recipient's language; the one before is good no more.

    Blocks as the notifier does. What is returned has the words only where nothing left this machine. Raises
    ``Refused`` when too many were sent, or when there is nothing to confirm.
    """
    _check_wanted(contact)
    code = f"{secrets.randbelow(10**DIGITS):0{DIGITS}d}"
    _note(contact, code, asked_by, now)
    with translation.override(contact.recipient.language):
        subject, text = _("Your code for Poliscope"), _words(contact, code)
    sent = send_now(contact, subject, text, now)
    return sent if sent.sandbox else sent.without_words()


def _words(contact: Contact, code: str) -> str:
    said = _(
        "%(code)s is the code by which %(name)s agrees to be told here by Poliscope. It is good for %(n)d minutes."
    )
    return said % {"code": code, "name": contact.recipient.name, "n": GOOD_FOR.total_seconds() // 60}


def _check_wanted(contact: Contact) -> None:
    if contact.confirmed_at is not None:
        raise Refused(_("It is confirmed already."))
    if Contact.objects.filter(channel=contact.channel, address=contact.address, opted_out_at__isnull=False).exists():
        raise Refused(
            _("Whoever has this number or address has unsubscribed. Only they can take it back: by answering START.")
        )


def _note(contact: Contact, code: str, asked_by: AbstractBaseUser | None, now: datetime) -> None:
    """The row of a code, before it is sent. Raises ``Refused`` when there are too many."""
    with transaction.atomic():
        check(ContactCode.objects.all(), LIMITS, contact, asked_by, now)
        last = ContactCode.objects.filter(address=contact.address).aggregate(last=Max("number"))["last"] or 0
        ContactCode.objects.create(
            contact=contact,
            address=contact.address,
            number=last + 1,
            digest=_digest(contact.address, last + 1, code),
            asked_by=asked_by,  # type: ignore[misc]
            sent_at=now,
            expires_at=now + GOOD_FOR,
        )


def _digest(address: str, number: int, code: str) -> str:
    return salted_hmac("alerts.confirmation", f"{address}\n{number}\n{code}", algorithm="sha256").hexdigest()


def confirm(contact: Contact, typed: str, now: datetime) -> None:
    """``contact`` is told from now on, if ``typed`` is the code that was sent last. Raises ``Refused``."""
    code = contact.codes.filter(address=contact.address).order_by("-number").first()
    if code is None or code.used_at is not None or code.expires_at <= now:
        raise Refused(_("There is no code that is still good. Have a new one sent."), field="code")
    # Counted before it is looked at, so that many at once try no more often.
    if not ContactCode.objects.filter(pk=code.pk, tries__lt=TRIES, used_at__isnull=True).update(tries=F("tries") + 1):
        raise Refused(_("That were %(n)d wrong codes. Have a new one sent.") % {"n": TRIES}, field="code")
    if not constant_time_compare(code.digest, _digest(code.address, code.number, typed.strip())):
        left = max(0, TRIES - code.tries - 1)
        said = ngettext("That is not the code; %(n)d try is left.", "That is not the code; %(n)d tries are left.", left)
        raise Refused(said % {"n": left}, field="code")
    with transaction.atomic():
        ContactCode.objects.filter(pk=code.pk).update(used_at=now)
        Contact.objects.filter(pk=contact.pk, address=code.address, confirmed_at__isnull=True).update(confirmed_at=now)


def opt_out(contact: Contact, now: datetime) -> int:
    """Its owner wants nothing more: no message goes to this number or address, whoever it is entered for.

    Returns how many contacts that stops.
    """
    same = Contact.objects.filter(channel=contact.channel, address=contact.address, opted_out_at__isnull=True)
    return same.update(opted_out_at=now)


def opt_in(contact: Contact) -> int:
    """Its owner wants to be told again: only what unsubscribing did is taken back. Returns how many contacts.

    Whoever says so may have forged the number, so it confirms nothing, and brings back nothing that was taken out.
    """
    same = Contact.objects.filter(channel=contact.channel, address=contact.address, opted_out_at__isnull=False)
    same.filter(disabled_reason__contains=UNSUBSCRIBED).update(disabled_at=None, disabled_reason="")
    return same.update(opted_out_at=None)
