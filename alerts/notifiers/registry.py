"""Notifiers: key → channel and dotted path, imported on first use. A new one is one file and one line here."""

from __future__ import annotations

import importlib
from typing import NamedTuple

from alerts.notifiers.base import DeliveryError, Notifier


class Kind(NamedTuple):
    """Which channel a notifier serves ("": any), and where its config class is."""

    channel: str
    path: str


NOTIFIERS = {
    "twilio": Kind("sms", "alerts.notifiers.sms:Twilio"),
    "smtp": Kind("email", "alerts.notifiers.email:Smtp"),
    "sandbox": Kind("", "alerts.notifiers.sandbox:Sandbox"),
}
"""In the order of preference: of those that serve a channel, the first that is configured takes its messages."""


def notifier_for(channel: str) -> Notifier:
    """The notifier that serves ``channel`` now: a configured provider, else the sandbox.

    Raises ``DeliveryError`` (definite) for a provider that is half configured or cannot be imported: a message that
    somebody wanted sent must wait for the remedy, not end in the sandbox.
    """
    for key, kind in NOTIFIERS.items():
        if kind.channel not in ("", channel):
            continue
        notifier = _configured(key, kind.path)
        if notifier is not None:
            return notifier
    raise DeliveryError("definite", f"channel {channel!r}: no notifier serves it; see alerts/notifiers/registry.py")


def _configured(key: str, path: str) -> Notifier | None:
    module, _, attribute = path.partition(":")
    try:
        config = getattr(importlib.import_module(module), attribute)
    except ImportError as error:
        raise DeliveryError("definite", f"{key}: cannot be loaded ({error}); install requirements.txt") from None
    notifier: Notifier | None = config.configured()
    return notifier
