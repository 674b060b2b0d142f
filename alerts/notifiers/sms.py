"""SMS through Twilio, by its own client."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, ClassVar, TypeVar
from urllib.parse import urlsplit, urlunsplit

import requests
from django.conf import settings
from twilio.base.exceptions import TwilioException, TwilioRestException
from twilio.http.http_client import TwilioHttpClient
from twilio.rest import Client
from urllib3.exceptions import NewConnectionError

from alerts.notifiers.base import TIMEOUT_S, Answer, DeliveryError, Message, Outcome, Receipt, Report, Standing

_T = TypeVar("_T")

URGENT_VALIDITY_S = 300
"""Twilio queues for up to 10 h; a critical message that could not leave in 5 minutes must not come in the morning."""

# The number itself is the matter: another contact may do. Source: https://www.twilio.com/docs/api/errors
UNSUBSCRIBED = 21610
NUMBER_REFUSED = frozenset({21211, 21214, 21217, 21265, 21408, UNSUBSCRIBED, 21612, 21614, 21635, 30004, 30005, 30006})

STATUS_PATH = "/hooks/twilio/status/"
ANSWER_PATH = "/hooks/twilio/answer/"
"""Where Twilio calls us back, under the public address."""

LOOK_BACK = 50
"""Messages of one number that are looked through for one; it gets 6 a minute."""

ANSWERS_MOST = 200
"""Taken at a time: whoever floods our number with texts must not push a real answer out."""


@dataclass(frozen=True, slots=True)
class Twilio:
    """One Twilio account and the number that messages come from. ``base_url`` is empty, or what stands for Twilio."""

    account: str
    token: str = field(repr=False)
    sender: str
    base_url: str = ""
    callback: str = ""
    """Where it is to report to; empty: it is asked only."""
    key: ClassVar[str] = "twilio"

    @classmethod
    def configured(cls) -> Twilio | None:
        """From the settings; None when none is set. Raises ``DeliveryError`` when only some are."""
        given = settings.TWILIO
        wanted = {name: given[key] for name, key in _SETTINGS.items()}
        if not any(wanted.values()):
            return None
        missing = [name for name, value in wanted.items() if not value]
        if missing:
            raise DeliveryError("definite", f"Twilio: {', '.join(missing)} not set; set all of {', '.join(wanted)}")
        callback = f"{settings.PUBLIC_URL}{STATUS_PATH}" if given.get("callbacks") else ""
        return cls(given["account"], given["token"], given["sender"], given["base_url"], callback)

    @property
    def takes_answers(self) -> bool:
        """Whether people can write back: to a number they can, to a name that stands for one they cannot."""
        return self.sender.startswith("+")

    def send(self, message: Message) -> Receipt:
        """One request, one message. Raises ``DeliveryError``."""
        more: dict[str, Any] = {"validity_period": URGENT_VALIDITY_S} if message.urgent else {}
        if self.callback:
            more["status_callback"] = self.callback
        sent = self._asking(
            lambda client: client.messages.create(to=message.to, from_=self.sender, body=message.text, **more)
        )
        return Receipt(sent.sid or "")

    def ask(self, provider_id: str) -> Report | None:
        """How the message called ``provider_id`` stands; None when Twilio does not know it."""
        try:
            return _report(self._asking(lambda client: client.messages(provider_id).fetch()))
        except DeliveryError as error:
            if error.text.startswith("Twilio: 404/"):
                return None
            raise

    def find(self, message: Message, since: datetime, known: frozenset[str]) -> Report | None:
        """The message with this text to this number that was given since ``since``.

        By number only and looked through here: what still waits has no date of sending, so that Twilio's own filter by
        date would leave out just the message that is looked for.
        """
        found = self._asking(lambda client: client.messages.list(to=message.to, limit=LOOK_BACK, page_size=LOOK_BACK))
        for one in found:
            if one.body == message.text and one.sid not in known and (one.date_created or since) >= since:
                return _report(one)
        return None

    def answers(self, since: datetime) -> list[Answer]:
        """What people sent to our number since the day of ``since``, the newest ``ANSWERS_MOST``."""
        if not self.takes_answers:
            return []
        found = self._asking(
            lambda client: client.messages.list(
                to=self.sender, date_sent_after=since.date(), limit=ANSWERS_MOST, page_size=ANSWERS_MOST
            )
        )
        inbound = [one for one in found if one.direction == "inbound" and one.sid and one.from_]
        return [Answer(one.sid, one.from_, one.body or "", one.date_sent or datetime.now(UTC)) for one in inbound]

    def _asking(self, ask: Callable[[Client], _T]) -> _T:
        """The answer of one question to Twilio's client. Raises ``DeliveryError``."""
        try:
            return ask(Client(self.account, self.token, http_client=_Http(self.base_url)))
        except TwilioRestException as error:
            raise refusal(error.status, error.code, error.msg) from None
        except requests.RequestException as error:
            raise interruption(error) from None
        except (TwilioException, ValueError) as error:
            raise DeliveryError("unknown", f"Twilio: an answer nobody can read ({type(error).__name__})") from None


_SETTINGS = {"TWILIO_ACCOUNT_SID": "account", "TWILIO_AUTH_TOKEN": "token", "TWILIO_FROM": "sender"}


class _Http(TwilioHttpClient):  # type: ignore[misc]
    """Twilio's own client with a timeout, one connection a message, and perhaps another address.

    A kept connection that the other side has just closed fails *after* the request left, which is an unknown outcome
    and a possible second SMS; a new connection costs a handshake.
    """

    def __init__(self, base_url: str) -> None:
        super().__init__(pool_connections=False, timeout=TIMEOUT_S)
        self._base_url = base_url

    def request(self, method: str, url: str, *args: Any, **kwargs: Any) -> Any:
        if self._base_url:
            base, asked = urlsplit(self._base_url), urlsplit(url)
            url = urlunsplit((base.scheme, base.netloc, base.path.rstrip("/") + asked.path, asked.query, ""))
        return super().request(method, url, *args, **kwargs)


_STANDINGS: dict[str, Standing] = {
    "delivered": "delivered",
    "read": "delivered",
    "undelivered": "failed",
    "failed": "failed",
    "canceled": "failed",
}
"""Every other status means that it is on its way."""


def report(provider_id: str, status: str, code: int | None) -> Report:
    """A status of Twilio's in our words.

    >>> report("SM1", "undelivered", 30005).problem
    'Twilio: undelivered/30005'
    """
    standing = _STANDINGS.get(status, "accepted")
    problem = f"Twilio: {status}/{code or 'no code'}" if standing == "failed" else ""
    refused = standing == "failed" and code in NUMBER_REFUSED
    return Report(provider_id, standing, problem, refused, unsubscribed=refused and code == UNSUBSCRIBED)


def _report(message: Any) -> Report:
    return report(message.sid or "", str(message.status or ""), message.error_code)


def refusal(status: int, code: int | None, text: str) -> DeliveryError:
    """What an answer other than success means.

    >>> refusal(400, 21610, "Attempt to send to unsubscribed recipient").outcome
    'rejected'
    """
    said = f"Twilio: {status}/{code or 'no code'}: {text}"
    outcome = _outcome(status, code)
    return DeliveryError(outcome, said[:400], unsubscribed=outcome == "rejected" and code == UNSUBSCRIBED)


def _outcome(status: int, code: int | None) -> Outcome:
    if status >= 500 or status == 408:
        return "unknown"
    if status != 429 and code in NUMBER_REFUSED:
        return "rejected"
    # 429 was "never processed, always safe to retry"; the rest is about our account and gets mended by a person.
    return "definite"


def interruption(error: requests.RequestException) -> DeliveryError:
    """What the lack of an answer means: definite only when the request certainly never left."""
    name = type(error).__name__
    if isinstance(error, requests.ConnectTimeout) or _in_chain(error, NewConnectionError):
        return DeliveryError("definite", f"Twilio: no connection ({name})")
    if _in_chain(error, ssl.SSLCertVerificationError):
        return DeliveryError("definite", f"Twilio: its certificate is not trusted ({name}); mend the machine's roots")
    if isinstance(error, requests.exceptions.InvalidURL | requests.exceptions.InvalidSchema):
        return DeliveryError("definite", f"Twilio: TWILIO_BASE_URL is no address ({name}); mend it")
    return DeliveryError("unknown", f"Twilio: no answer after the request left ({name})")


def _in_chain(error: BaseException, wanted: type[BaseException]) -> bool:
    """Whether ``wanted`` is among the causes; urllib3 keeps the real one in ``reason`` or an argument."""
    seen: list[BaseException] = [error]
    for cause in seen:
        if isinstance(cause, wanted):
            return True
        inner = [getattr(cause, "reason", None), cause.__cause__, cause.__context__, *cause.args]
        seen += [one for one in inner if isinstance(one, BaseException) and one not in seen]
    return False
