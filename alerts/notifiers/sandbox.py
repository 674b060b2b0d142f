"""The sandbox: takes everything, sends nothing. The *Outbox* screen shows what would have been sent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from alerts.notifiers.base import Message, Receipt


@dataclass(frozen=True, slots=True)
class Sandbox:
    """For any channel that has no provider."""

    key: ClassVar[str] = "sandbox"

    @classmethod
    def configured(cls) -> Sandbox:
        """Always there."""
        return cls()

    def send(self, message: Message) -> Receipt:
        """Nothing leaves; the delivery itself keeps the words."""
        return Receipt("sandbox")
