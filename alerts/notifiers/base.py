"""What every notifier keeps: one frozen config with ``send(message) -> Receipt``, and one vocabulary of failure. Pure.

What may be promised hangs on telling three failures apart. *definite*: it certainly did not leave, so it may be sent
again at any time. *rejected*: this number or address will never take it, so somebody else's turn comes at once.
*unknown*: it may or may not have arrived, so sending it again may make two of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import ClassVar, Literal, Protocol, runtime_checkable

TIMEOUT_S = 10.0
"""Of every connection, answer and read. The libraries' own default is to wait for ever."""

SLOTS = 12
"""Messages that one worker sends at a time. All services together, over all workers, take no more."""

Outcome = Literal["definite", "rejected", "unknown"]


@dataclass(frozen=True, slots=True)
class Message:
    """One thing to say to one contact. ``subject``, ``html`` and ``picture`` are for channels that have them.

    ``reference`` names the message through all its attempts; a channel that can tell a repetition by it should be
    given it. ``urgent``: worthless after a few minutes. ``content``: the same as plain values, for programs.
    """

    to: str
    text: str
    reference: str
    subject: str = ""
    html: str = ""
    picture: bytes | None = None
    urgent: bool = False
    content: Mapping[str, object] = field(default_factory=dict)


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


Standing = Literal["accepted", "delivered", "failed"]


@dataclass(frozen=True, slots=True)
class Report:
    """What a provider says later of a message that it was given.

    ``refused``: the number itself is the matter. ``unsubscribed``: and that is because its owner wants no more.
    """

    provider_id: str
    standing: Standing
    problem: str = ""
    refused: bool = False
    unsubscribed: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """A message that somebody sent to us. ``sender`` can be forged by anybody."""

    provider_id: str
    sender: str
    text: str
    at: datetime


@runtime_checkable
class Follows(Protocol):
    """A notifier whose provider can be asked later. Each raises ``DeliveryError`` where there is no answer."""

    def ask(self, provider_id: str) -> Report | None:
        """How the message stands; None: the provider does not know it."""

    def find(self, message: Message, since: datetime, known: frozenset[str]) -> Report | None:
        """A message like this one that was given since, leaving out those of ``known``; None: there is none."""

    def answers(self, since: datetime) -> list[Answer]:
        """What people sent since, the newest at least."""
