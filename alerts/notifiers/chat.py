"""Everything else, through Apprise: Slack, Teams, Telegram, ntfy, Matrix, Gotify, and a hundred more."""

from __future__ import annotations

import importlib
import logging
import re
import threading
from dataclasses import dataclass
from typing import Any, ClassVar

from django.conf import settings

from alerts import http
from alerts.notifiers import deadline
from alerts.notifiers.base import DeliveryError, Message, Receipt
from streams.addresses import Pairs, resolve

INSTALL = "./poliscope install apprise"

ON_THIS_MACHINE = ("dbus", "kde", "gnome", "macosx", "windows", "syslog", "glib", "qt", "file")
TO_ANY_ADDRESS = ("json", "jsons", "xml", "xmls", "form", "forms", "mailto", "mailtos", "smtp", "smtps")
"""A webhook does that, and looks where to; e-mail has a server of its own here."""
REFUSED = frozenset({*ON_THIS_MACHINE, *TO_ANY_ADDRESS})


@dataclass(frozen=True, slots=True)
class Chat:
    """One message to one Apprise address. Apprise loads when the first is sent.

    ``allow``: host and port pairs of services of one's own that may be in a private network.
    """

    allow: Pairs = frozenset()
    key: ClassVar[str] = "apprise"

    @classmethod
    def configured(cls) -> Chat:
        """Always there: the address holds all that is needed."""
        return cls(http.allowed_pairs(settings.WEBHOOK_ALLOW))

    @staticmethod
    def clean_address(typed: str) -> str:
        """Raises ``ValueError``."""
        address = typed.strip()
        if not re.fullmatch(r"[a-z][a-z0-9+.-]*://\S+", address, re.IGNORECASE):
            raise ValueError("expected an address like slack://… or ntfy://HOST/TOPIC, got something else; mend it")
        scheme = address.partition("://")[0].lower()
        if scheme in REFUSED:
            raise ValueError(f"expected a chat or push service, got {scheme}://; use an e-mail contact or a webhook")
        return address

    def send(self, message: Message) -> Receipt:
        """One request, as the service takes it. Raises ``DeliveryError``."""
        apprise = _runtime()
        try:
            target = apprise.Apprise.instantiate(self.clean_address(message.to), suppress_exceptions=True)
        except ValueError as error:
            raise DeliveryError("rejected", f"Apprise: {error}") from None
        if target is None:
            raise DeliveryError("rejected", "Apprise: expected an address as its documentation has it, got another")
        self._refuse_private(target)
        try:
            said = deadline.within(deadline.WHOLE_S, lambda: _notify(target, message, apprise.NotifyFormat.TEXT))
        except TimeoutError as error:
            raise DeliveryError("unknown", f"Apprise: {error}") from None
        if said is not None:
            raise failure([_without(line, message.to) for line in said])
        return Receipt("taken")

    def _refuse_private(self, target: Any) -> None:
        """A service whose host is part of the address is somewhere on the internet, or allowed. As far as names tell:
        Apprise itself connects, so what the name means is asked twice.
        """
        if not any("{host}" in form for form in target.templates) or getattr(target, "mode", "") == "cloud":
            return
        host, port = str(target.host).lower(), target.port or http.PORTS["https" if target.secure else "http"]
        if (host, port) in self.allow:
            return
        try:
            http.refuse_private(host, port, resolve(host, port))
        except http.NotCalled as error:
            raise DeliveryError("rejected", f"Apprise: {error}") from None
        except (OSError, UnicodeError) as error:
            raise DeliveryError("definite", f"Apprise: {host}: no machine of this name is known ({error})") from None


def _notify(target: Any, message: Message, form: Any) -> list[str] | None:
    """None: it was taken; else what Apprise says."""
    with _Said() as said:
        taken = target.notify(body=message.text, title=message.subject, body_format=form)
    return None if taken else said.lines


def _runtime() -> Any:
    try:
        return importlib.import_module("apprise")
    except ImportError as error:
        raise DeliveryError("definite", f"Apprise: cannot be loaded ({error}); run {INSTALL}") from None


class _Said(logging.Handler):
    """What Apprise says while this thread sends; it answers only yes or no, and writes why into its log."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []
        self._thread = threading.get_ident()
        self._logger = logging.getLogger("apprise")

    def emit(self, record: logging.LogRecord) -> None:
        """Of this thread only."""
        if threading.get_ident() == self._thread:
            self.lines.append(" ".join(record.getMessage().split()))

    def __enter__(self) -> _Said:
        self._logger.addHandler(self)
        return self

    def __exit__(self, *_: object) -> None:
        self._logger.removeHandler(self)


def _without(line: str, address: str) -> str:
    """``line`` without any part of ``address`` that could be a credential."""
    for part in re.split(r"[:/?&=@#]+", address):
        line = line.replace(part, "•••") if len(part) >= 8 else line
    return line


def failure(said: list[str]) -> DeliveryError:
    """What Apprise says of a message that was not taken: a status below 500 is an answer, anything else is not.

    A chat has no id by which it knows a repetition, so what it may have taken is sent once more and no oftener.

    >>> failure(["Failed to send ntfy notification: error=403."]).outcome
    'definite'
    >>> failure(["A Connection error occurred sending ntfy"]).outcome
    'unknown'
    """
    text = "; ".join(said) or "it does not say why"
    kinds = set(re.findall(r"error=(\d)\d{2}", text))
    return DeliveryError("definite" if kinds and "5" not in kinds else "unknown", f"Apprise: {text}"[:400])
