"""Notifiers: key → channel and dotted path, imported on first use. A new one is one file and one line here."""

from __future__ import annotations

import importlib
from typing import Any, NamedTuple

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from alerts.notifiers.base import DeliveryError, Notifier


class Kind(NamedTuple):
    """Which channel a notifier serves ("": any), where its config class is, and what people call the channel.

    ``secret``: its addresses are credentials, kept sealed and shown only in part. ``programs``: programs read it, so
    nothing is gathered to spare a person.
    """

    channel: str
    path: str
    name: str | Promise = ""
    secret: bool = False
    programs: bool = False


NOTIFIERS = {
    "twilio": Kind("sms", "alerts.notifiers.sms:Twilio", _("SMS")),
    "smtp": Kind("email", "alerts.notifiers.email:Smtp", _("e-mail")),
    "webhook": Kind("webhook", "alerts.notifiers.webhook:Webhook", _("webhook"), secret=True, programs=True),
    "apprise": Kind("apprise", "alerts.notifiers.chat:Chat", _("chat or push"), secret=True),
    "sandbox": Kind("", "alerts.notifiers.sandbox:Sandbox"),
}
"""In the order of preference: of those that serve a channel, the first that is configured takes its messages."""


def channels() -> list[tuple[str, str | Promise]]:
    """Every channel and what people call it, as a model's choices."""
    return list({kind.channel: kind.name for kind in NOTIFIERS.values() if kind.channel}.items())


def is_secret(channel: str) -> bool:
    """Whether the addresses of ``channel`` are credentials."""
    return any(kind.secret for kind in NOTIFIERS.values() if kind.channel == channel)


def is_for_programs(channel: str) -> bool:
    """Whether programs read ``channel``, not people."""
    return any(kind.programs for kind in NOTIFIERS.values() if kind.channel == channel)


def clean_address(channel: str, typed: str) -> str:
    """``typed`` as the notifier of ``channel`` takes it. Raises ``ValueError`` with a sentence."""
    kind = next((kind for kind in NOTIFIERS.values() if kind.channel == channel), None)
    if kind is None:
        known = ", ".join(name for name, _name in channels())
        raise ValueError(f"channel: expected one of {known}, got {channel!r}; choose one")
    clean: str = getattr(_config("", kind.path), "clean_address", str.strip)(typed)
    return clean


def notifier_of(key: str) -> Notifier | None:
    """The configured notifier called ``key``; None when it is not configured any more, or not known."""
    kind = NOTIFIERS.get(key)
    return _configured(key, kind.path) if kind else None


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
    notifier: Notifier | None = _config(key, path).configured()
    return notifier


def _config(key: str, path: str) -> Any:
    module, _colon, attribute = path.partition(":")
    try:
        return getattr(importlib.import_module(module), attribute)
    except ImportError as error:
        raise DeliveryError("definite", f"{key}: cannot be loaded ({error}); install requirements.txt") from None
