"""What Twilio sends to us, believed only with its signature over the canonical public address. Fails closed."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import datetime

from django.conf import settings
from twilio.request_validator import RequestValidator

from alerts import answering, reconcile
from alerts.notifiers.base import Answer
from alerts.notifiers.sms import ANSWER_PATH, STATUS_PATH, report

logger = logging.getLogger(__name__)


def is_signed(path: str, form: Mapping[str, str], signature: str) -> bool:
    """Whether Twilio sent ``form`` to ``path`` of the address that people open.

    The address is ours and not the request's: behind a proxy that one is what somebody claims. Without a token nothing
    is believed.
    """
    token = settings.TWILIO["token"]
    if not token or not signature:
        return False
    return bool(RequestValidator(token).validate(f"{settings.PUBLIC_URL}{path}", dict(form), signature))


def take_status(form: Mapping[str, str], now: datetime) -> bool:
    """A message of ours got on, or did not. The same again, or an older word, changes nothing."""
    code = form.get("ErrorCode", "")
    said = report(form.get("MessageSid", ""), form.get("MessageStatus", ""), int(code) if code.isdecimal() else None)
    return bool(said.provider_id) and reconcile.take_report("twilio", said, now)


def take_answer(form: Mapping[str, str], now: datetime) -> bool:
    """Somebody answered. The same again changes nothing."""
    provider_id = form.get("MessageSid", "")
    if not provider_id:
        return False
    return answering.take(Answer(provider_id, form.get("From", ""), form.get("Body", ""), now), now)


TAKERS = {STATUS_PATH: take_status, ANSWER_PATH: take_answer}
