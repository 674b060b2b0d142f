"""What every notifier keeps: one frozen config with ``send(message) -> Receipt``, and one vocabulary of failure. Pure.

What may be promised hangs on telling three failures apart. *definite*: it certainly did not leave, so it may be sent
again at any time. *rejected*: this number or address will never take it, so somebody else's turn comes at once.
*unknown*: it may or may not have arrived, so sending it again may make two of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, Protocol

TIMEOUT_S = 10.0
"""Of every connection, answer and read. The libraries' own default is to wait for ever."""

Outcome = Literal["definite", "rejected", "unknown"]


@dataclass(frozen=True, slots=True)
class Message:
    """One thing to say to one contact. ``subject``, ``html`` and ``picture`` are for channels that have them.

    ``reference`` names the message through all its attempts; a channel that can tell a repetition by it should be
    given it. ``urgent``: worthless after a few minutes.
    """

    to: str
    text: str
    reference: str
    subject: str = ""
    html: str = ""
    picture: bytes | None = None
    urgent: bool = False


@dataclass(frozen=True, slots=True)
class Receipt:
    """The provider has taken it; ``provider_id`` is what it calls it."""

    provider_id: str = ""


class DeliveryError(Exception):
    """It was not sent, or nobody knows. ``text`` is for the people who run the installation: no credential in it.

    ``unsubscribed``: rejected because whoever has the number or address wants no more.
    """

    def __init__(
        self, outcome: Outcome, text: str, retry_after_s: float | None = None, *, unsubscribed: bool = False
    ) -> None:
        super().__init__(text)
        self.outcome: Outcome = outcome
        self.text = text
        self.retry_after_s = retry_after_s
        self.unsubscribed = unsubscribed


class Notifier(Protocol):
    """A config that can send. ``send`` blocks for at most a few times ``TIMEOUT_S`` and raises ``DeliveryError``."""

    key: ClassVar[str]

    def send(self, message: Message) -> Receipt:
        """Give ``message`` to the provider, once. Never tries again by itself."""
