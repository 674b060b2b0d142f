"""E-mail by SMTP, one recipient a message, through Django's own backend."""

from __future__ import annotations

import contextlib
import re
import smtplib
import socket
import threading
from dataclasses import dataclass, field
from email.mime.image import MIMEImage
from typing import Any, ClassVar
from urllib.parse import parse_qs, unquote, urlsplit

from django.conf import settings
from django.core.mail import EmailMultiAlternatives
from django.core.mail.backends.smtp import EmailBackend

from alerts.notifiers import deadline
from alerts.notifiers.base import TIMEOUT_S, DeliveryError, Message, Outcome, Receipt

PICTURE_ID = "picture"
"""The HTML shows it as ``cid:picture``."""


@dataclass(frozen=True, slots=True)
class Smtp:
    """One SMTP server. ``tls``: STARTTLS; ``ssl``: TLS from the first byte."""

    host: str
    port: int
    user: str = ""
    password: str = field(default="", repr=False)
    tls: bool = False
    ssl: bool = False
    key: ClassVar[str] = "smtp"

    @classmethod
    def configured(cls) -> Smtp | None:
        """From ``POLISCOPE_SMTP_URL``; None when it is empty. Raises ``DeliveryError`` when it is no address."""
        return cls.from_url(settings.POLISCOPE_SMTP_URL) if settings.POLISCOPE_SMTP_URL else None

    @classmethod
    def from_url(cls, url: str) -> Smtp:
        """``smtp://user:password@host:port?tls=1`` or ``smtps://…``.

        >>> Smtp.from_url("smtp://mail.example.org?tls=1").port
        587
        """
        wrong = DeliveryError(
            "definite",
            "POLISCOPE_SMTP_URL: expected smtp://user:password@host:port?tls=1 or smtps://…, "
            "got something else; mend it",
        )
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            raise wrong from None
        if parts.scheme not in ("smtp", "smtps") or not parts.hostname:
            raise wrong
        ssl = parts.scheme == "smtps"
        tls = not ssl and parse_qs(parts.query).get("tls", ["0"])[-1] not in ("0", "no", "false", "off")
        usual = 465 if ssl else 587 if tls else 25
        user, password = unquote(parts.username or ""), unquote(parts.password or "")
        return cls(parts.hostname, port or usual, user, password, tls, ssl)

    def send(self, message: Message) -> Receipt:
        """One connection, one message, one recipient. Raises ``DeliveryError``."""
        backend = _Backend(
            self.host, self.port, self.user, self.password, use_tls=self.tls, use_ssl=self.ssl, timeout=int(TIMEOUT_S)
        )
        with deadline.hung_up_after(deadline.WHOLE_S, backend.hang_up) as over:
            taken = _session(backend, message, over)
        if not taken:
            raise DeliveryError("rejected", "SMTP: no recipient that the server could be given")
        return Receipt(_message_id(message))


def _session(backend: _Backend, message: Message, hung_up: threading.Event) -> int:
    """Greeting to goodbye; how many messages were taken. Raises ``DeliveryError``."""
    try:
        backend.open()
    except Exception as error:  # not a byte of the message has left: whatever it is, it is definite
        raise DeliveryError("definite", f"SMTP: no session with the server ({_said(error)})") from None
    try:
        taken: int = backend.send_messages([compose(message)])
    except Exception as error:
        # What was cut off in the middle can look like an answer.
        why = TimeoutError("it took too long") if hung_up.is_set() else error
        raise failure(why, data_begun=backend.data_begun) from None
    finally:
        # The server has taken it or not by now; how it says goodbye changes nothing.
        with contextlib.suppress(Exception):
            backend.close()
    return taken


class _Backend(EmailBackend):
    """Django's, which also remembers whether the message's own bytes had begun to leave, and can be hung up."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.data_begun = False
        self.session: smtplib.SMTP | None = None

    def hang_up(self) -> None:
        """End the session from another thread: whatever it waits for fails at once."""
        with contextlib.suppress(OSError, AttributeError):
            self.session.sock.shutdown(socket.SHUT_RDWR)  # type: ignore[union-attr]

    @property
    def connection_class(self) -> Any:
        backend, base = self, smtplib.SMTP_SSL if self.use_ssl else smtplib.SMTP

        class Noted(base):  # type: ignore[misc,valid-type]
            def connect(self, *args: Any, **kwargs: Any) -> tuple[int, bytes]:
                backend.session = self
                greeting: tuple[int, bytes] = super().connect(*args, **kwargs)
                return greeting

            def data(self, msg: Any) -> tuple[int, bytes]:
                backend.data_begun = True
                answer: tuple[int, bytes] = super().data(msg)
                return answer

        return Noted


def compose(message: Message) -> EmailMultiAlternatives:
    """Text, HTML, and the picture inside the HTML."""
    headers = {"Message-ID": _message_id(message), "Auto-Submitted": "auto-generated"}
    if message.urgent:
        headers |= {"X-Priority": "1", "Importance": "high"}
    mail = EmailMultiAlternatives(
        message.subject, message.text, settings.DEFAULT_FROM_EMAIL, [message.to], headers=headers
    )
    if message.html:
        mail.attach_alternative(message.html, "text/html")
    if message.picture:
        picture = MIMEImage(message.picture, "jpeg")
        picture.add_header("Content-ID", f"<{PICTURE_ID}>")
        picture.add_header("Content-Disposition", "inline", filename="picture.jpg")
        mail.mixed_subtype = "related"  # type: ignore[attr-defined]
        mail.attach(picture)
    return mail


def _message_id(message: Message) -> str:
    """The same for every attempt, so that a mail program shows a repetition once."""
    return f"<{message.reference}@{settings.DEFAULT_FROM_EMAIL.rpartition('@')[2].rstrip('>') or 'localhost'}>"


def failure(error: Exception, *, data_begun: bool) -> DeliveryError:
    """What an exception of the SMTP session means.

    An answer with a code is an answer: the server says that it did not take the message. Anything else is unknown once
    the message's own bytes had begun to leave, and definite before.
    """
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        code, text = next(iter(error.recipients.values()))
        outcome: Outcome = "rejected" if _about_the_address(code, text) else "definite"
        return DeliveryError(outcome, f"SMTP: {code}: {_plain(text)}")
    if isinstance(error, smtplib.SMTPResponseException):
        return DeliveryError("definite", f"SMTP: {_said(error)}")
    if data_begun:
        return DeliveryError("unknown", f"SMTP: no answer after the message left ({_said(error)})")
    return DeliveryError("definite", f"SMTP: {_said(error)}")


def _about_the_address(code: int, text: bytes | str) -> bool:
    """No such mailbox (5.1.x, but for the sender's, 5.1.7 and 8), or one that is switched off (5.2.1).

    A server that says no more than its code means that by some. Anything else passes, or is about us: a full mailbox,
    the network, a policy. Source: RFC 3463, section 3; RFC 5321, section 4.2.3.
    """
    words = _plain(text)
    if re.match(r"[245]\.\d{1,3}\.\d{1,3}\b", words):
        return re.match(r"5\.(1\.(?![78]\b)\d+|2\.1)\b", words) is not None
    return code in (550, 551, 553) and not re.search("relay|policy", words, re.IGNORECASE)


def _plain(text: bytes | str) -> str:
    words = text.decode(errors="replace") if isinstance(text, bytes) else text
    return " ".join(words.split())[:300]


def _said(error: Exception) -> str:
    if isinstance(error, smtplib.SMTPResponseException):
        return f"{error.smtp_code}: {_plain(error.smtp_error)}"
    return f"{type(error).__name__}: {_plain(str(error))}"
