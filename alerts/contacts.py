"""Numbers and addresses as people type them, brought to the one form that providers take."""

from __future__ import annotations

import re
from datetime import datetime

from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import transaction
from django.utils.translation import gettext as _

from alerts.models import Contact, Recipient
from alerts.notifiers import registry
from alerts.notifiers.addresses import is_shown, shown

TAKEN_OUT = "taken out of the configuration"
"""Why a contact is not used that must stay, since messages went to it."""


def clean_address(channel: str, typed: str) -> str:
    """``typed`` as ``channel`` takes it; spaces and dashes in a number are forgiven.

    Raises ``ValidationError`` with an example of what is expected.
    """
    address = typed.strip()
    if channel == Contact.Channel.SMS:
        address = re.sub(r"[\s().-]", "", address)
        if not re.fullmatch(r"\+[1-9]\d{6,14}", address):
            raise ValidationError(_("Write the number with + and the country code, for example +886912345678."))
    elif channel == Contact.Channel.EMAIL:
        try:
            validate_email(address)
        except ValidationError:
            raise ValidationError(_("Write an e-mail address, for example guard@example.org.")) from None
    elif channel and not is_shown(address):
        try:
            address = registry.clean_address(channel, address)
        except ValueError as error:
            raise ValidationError(_("This address cannot be used: %(problem)s.") % {"problem": error}) from None
    return address


def drop_contact(contact: Contact, now: datetime) -> None:
    """Take it out; one that messages went to stays for their sake, and is not used any more."""
    if contact.deliveries.exists():
        Contact.objects.filter(pk=contact.pk).update(disabled_at=now, disabled_reason=TAKEN_OUT)
    else:
        contact.delete()


def in_use(recipient: Recipient) -> list[Contact]:
    """Those that nobody took out, in order; one that a provider refused is there still."""
    kept = (one for one in recipient.contacts.all() if one.disabled_reason != TAKEN_OUT)
    return sorted(kept, key=lambda one: (one.order, one.pk))


def shown_of(channel: str, address: str) -> str:
    """What is shown of ``address``, the whole of it or what was shown of it already."""
    return shown(address) if registry.is_secret(channel) and not is_shown(address) else address


def add_recipient(name: str, language: str, time_zone: str, addresses: dict[str, str]) -> Recipient:
    """Somebody to tell, reached by ``addresses`` (channel → checked address) in this order; one transaction."""
    with transaction.atomic():
        recipient = Recipient.objects.create(name=name, language=language, time_zone=time_zone)
        for order, (channel, address) in enumerate(addresses.items()):
            Contact.objects.create(recipient=recipient, channel=channel, address=address, order=order)
    return recipient
