"""Webhooks: one signed POST of JSON. What is received is told from what anybody could send by its signature."""

from __future__ import annotations

import hmac
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar

from django.conf import settings

from alerts import http
from alerts.notifiers.base import DeliveryError, Message, Receipt
from streams.addresses import Pairs

GONE = 410
"""The only answer that means: never again."""


@dataclass(frozen=True, slots=True)
class Webhook:
    """``allow``: host and port pairs that may be in a private network."""

    secret: str = field(repr=False)
    allow: Pairs = frozenset()
    key: ClassVar[str] = "webhook"

    @classmethod
    def configured(cls) -> Webhook:
        """Always there: what is sent, and where, is the contact's own."""
        return cls(settings.SECRET_KEY, http.allowed_pairs(settings.WEBHOOK_ALLOW))

    @staticmethod
    def clean_address(typed: str) -> str:
        """Raises ``ValueError``."""
        http.parse(typed.strip())
        return typed.strip()

    def send(self, message: Message, now_s: Callable[[], float] = time.time) -> Receipt:
        """One request. Raises ``DeliveryError``."""
        content = _content(message)
        timestamp = str(int(now_s()))
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "Poliscope",
            "Poliscope-Delivery": message.reference,
            "Poliscope-Timestamp": timestamp,
            "Poliscope-Signature": f"v1={signature(secret_for(message.to, self.secret), timestamp, content)}",
        }
        try:
            answer = http.call(http.check(message.to, self.allow), "POST", content, headers)
        except http.NotCalled as error:
            raise DeliveryError("rejected" if error.for_good else "definite", f"webhook: {error}") from None
        except http.NoAnswer as error:
            raise DeliveryError("unknown", f"webhook: {error}") from None
        return _receipt(answer)


def _content(message: Message) -> bytes:
    said = {"id": message.reference, "subject": message.subject, "text": message.text, **message.content}
    return json.dumps(said, ensure_ascii=False).encode()


def _receipt(answer: http.Called) -> Receipt:
    """Any answer but 2xx is one: it was not taken, so it is sent again, with the id by which that can be told."""
    if 200 <= answer.status < 300:
        return Receipt(f"{answer.status}: {answer.text}".removesuffix(": ")[:100])
    said = f"webhook: {answer.status}: {answer.text}"[:400]
    if 300 <= answer.status < 400:
        said = f"webhook: {answer.status}: redirects are not followed; enter where it leads to"
    raise DeliveryError("rejected" if answer.status == GONE else "definite", said, answer.retry_after_s)


def secret_for(address: str, secret: str) -> str:
    """What the receiver at ``address`` checks signatures with; it is of no use to another receiver."""
    return hmac.digest(secret.encode(), b"alerts.webhook 1" + address.encode(), "sha256").hex()


def signature(secret: str, timestamp: str, content: bytes) -> str:
    """HMAC-SHA256 over timestamp, full stop and content, in hexadecimal.

    >>> signature("0" * 64, "1767225600", b"{}")[:12]
    '97916cf6c621'
    """
    return hmac.digest(secret.encode(), timestamp.encode() + b"." + content, "sha256").hex()
