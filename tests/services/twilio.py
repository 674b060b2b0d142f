"""A loopback Twilio: speaks the Messages API, remembers every request with the moment of its first byte, and can fail.

Modes: ``accept``; ``slow`` (accepted after two seconds); ``429``; ``21211``, ``21610``, ``21614`` (the number is
refused); ``401``; ``503`` (taken, then an error); ``hang`` (taken, never answered); ``cut`` (taken, connection closed
without an answer).

What was taken has a status that a test moves on; it can be asked for by its SID and in lists, beside what people sent
to us. ``asking`` answers those questions: ``accept``, ``503``, ``hang`` or ``cut``. ``call_back`` posts a status to the
address that the message named.
"""

from __future__ import annotations

import json
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from twilio.request_validator import RequestValidator

ACCOUNT, TOKEN, SENDER = "ACffffffffffffffffffffffffffffffff", "token-of-the-loopback-twilio", "+15005550006"

REFUSALS = {
    "429": (429, 20429, "Too Many Requests"),
    "401": (401, 20003, "Authenticate"),
    "21211": (400, 21211, "The 'To' number is not a valid phone number."),
    "21610": (400, 21610, "Attempt to send to unsubscribed recipient"),
    "21614": (400, 21614, "'To' number is not a valid mobile number"),
    "503": (503, 20503, "Service unavailable"),
}
TAKEN = frozenset({"accept", "slow", "503", "hang", "cut"})
SLOW_S = 2.0


@dataclass(frozen=True, slots=True)
class Arrived:
    """One request: its form, the moment of its first byte, the mode that answered it."""

    form: dict[str, str]
    monotonic_s: float
    at: datetime
    mode: str

    @property
    def to(self) -> str:
        return self.form.get("To", "")

    @property
    def body(self) -> str:
        return self.form.get("Body", "")

    @property
    def taken(self) -> bool:
        """Whether the phone rings: the provider took it, whatever it answered."""
        return self.mode in TAKEN


@dataclass
class Kept:
    """One message as Twilio keeps it."""

    sid: str
    to: str
    sender: str
    body: str
    direction: str
    callback: str = ""
    status: str = "queued"
    error_code: int | None = None
    at: datetime = field(default_factory=lambda: datetime.now(UTC))

    def shown(self) -> dict[str, Any]:
        date = format_datetime(self.at)
        sent = None if self.status == "queued" else date
        return {
            "sid": self.sid, "status": self.status, "to": self.to, "from": self.sender, "body": self.body,
            "direction": self.direction, "error_code": self.error_code, "num_segments": "1",
            "date_created": date, "date_sent": sent, "date_updated": date,
        }  # fmt: skip


class FakeTwilio:
    """The server. ``mode`` answers all; ``modes`` (number → mode) goes before it; ``script`` (a list) before both.

    A number may have a list of modes: the first request gets the first, and all that follow the last.
    """

    def __init__(self, port: int = 0) -> None:
        self.mode = "accept"
        self.modes: dict[str, str | list[str]] = {}
        self.script: list[str] = []
        self.requests: list[Arrived] = []
        self.asking = "accept"
        self.asked: list[str] = []
        self.kept: list[Kept] = []
        self.released = threading.Event()
        self._lock = threading.Lock()
        self._arrival = threading.Condition(self._lock)
        self._server = _Server(("127.0.0.1", port), _Handler)
        self._server.twilio = self
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    @property
    def url(self) -> str:
        """What ``TWILIO_BASE_URL`` takes."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def settings(self) -> dict[str, str]:
        """What ``settings.TWILIO`` takes."""
        return {"account": ACCOUNT, "token": TOKEN, "sender": SENDER, "base_url": self.url}

    @property
    def environment(self) -> dict[str, str]:
        """The same for a process."""
        return {
            "TWILIO_ACCOUNT_SID": ACCOUNT,
            "TWILIO_AUTH_TOKEN": TOKEN,
            "TWILIO_FROM": SENDER,
            "TWILIO_BASE_URL": self.url,
        }

    @property
    def messages(self) -> list[Arrived]:
        """Those that were taken, in order: what phones would show."""
        with self._lock:
            return [request for request in self.requests if request.taken]

    def wait_for(self, n: int, timeout_s: float = 10.0) -> list[Arrived]:
        """Every request so far, once there are ``n``. Fails when there are not in time."""
        with self._arrival:
            if not self._arrival.wait_for(lambda: len(self.requests) >= n, timeout_s):
                raise AssertionError(f"Twilio: expected {n} requests within {timeout_s} s, got {len(self.requests)}")
            return list(self.requests)

    def arrived(self, form: dict[str, str], monotonic_s: float, at: datetime) -> str:
        """Note one request and choose how it is answered."""
        with self._arrival:
            mode = self.script.pop(0) if self.script else self._mode_for(form.get("To", ""))
            self.requests.append(Arrived(form, monotonic_s, at, mode))
            self._arrival.notify_all()
            return mode

    def _mode_for(self, to: str) -> str:
        mode = self.modes.get(to, self.mode)
        if isinstance(mode, str):
            return mode
        return mode.pop(0) if len(mode) > 1 else mode[0]

    def keep(self, form: dict[str, str]) -> Kept:
        """Take a message of ours."""
        with self._lock:
            sid = f"SM{len(self.requests):032x}"
            said = form.get("To", ""), form.get("From", ""), form.get("Body", "")
            kept = Kept(sid, *said, "outbound-api", form.get("StatusCallback", ""))
            self.kept.append(kept)
            return kept

    def moves_on(self, to: str, status: str, error_code: int | None = None) -> Kept:
        """The newest message to a number gets another status."""
        kept = [kept for kept in self.kept if kept.to == to][-1]
        kept.status, kept.error_code = status, error_code
        return kept

    def text_in(self, sender: str, body: str, at: datetime | None = None) -> Kept:
        """Somebody writes to our number."""
        sid = f"SM{len(self.kept):x}".ljust(34, "e")
        kept = Kept(sid, SENDER, sender, body, "inbound", status="received", at=at or datetime.now(UTC))
        self.kept.append(kept)
        return kept

    def found(self, to: str) -> list[Kept]:
        """What was sent to a number, the newest first."""
        return [kept for kept in reversed(self.kept) if kept.to == to]

    @staticmethod
    def status_form(kept: Kept, status: str = "", error_code: int | None = None) -> dict[str, str]:
        """What Twilio posts when a message gets on."""
        form = {"MessageSid": kept.sid, "MessageStatus": status or kept.status, "To": kept.to, "From": kept.sender}
        code = error_code or kept.error_code
        return {**form, "AccountSid": ACCOUNT, **({"ErrorCode": str(code)} if code else {})}

    def call_back(self, kept: Kept, status: str, *, signature: str | None = None, error_code: int | None = None) -> int:
        """Post a status to the address that the message named; the answer's code. ``signature``: in place of ours."""
        form = self.status_form(kept, status, error_code)
        signed = self.signature(kept.callback, form) if signature is None else signature
        request = urllib.request.Request(
            kept.callback, data=urlencode(form).encode(), headers={"X-Twilio-Signature": signed}
        )
        try:
            with urllib.request.urlopen(request, timeout=15) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as refused:
            return refused.code

    @staticmethod
    def signature(address: str, form: dict[str, str], token: str = TOKEN) -> str:
        """``X-Twilio-Signature`` of a form that is posted to an address."""
        return str(RequestValidator(token).compute_signature(address, form))

    def stop(self) -> None:
        """Refuse connections from now on."""
        self.released.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    twilio: FakeTwilio

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is part of the game."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def handle_one_request(self) -> None:
        if self.connection.recv(1, socket.MSG_PEEK):
            self._monotonic_s, self._at = time.monotonic(), datetime.now(UTC)
        super().handle_one_request()

    def do_POST(self) -> None:
        content = self.rfile.read(int(self.headers.get("Content-Length", "0"))).decode()
        form = {name: values[-1] for name, values in parse_qs(content, keep_blank_values=True).items()}
        if self.path != f"/2010-04-01/Accounts/{ACCOUNT}/Messages.json":
            self._answer(404, {"code": 20404, "message": f"The requested resource {self.path} was not found"})
            return
        twilio = self.server.twilio
        mode = twilio.arrived(form, self._monotonic_s, self._at)
        kept = twilio.keep(form) if mode in TAKEN else None
        if mode == "slow":
            twilio.released.wait(SLOW_S)
        if mode == "hang":
            twilio.released.wait(60)
        if mode in ("hang", "cut"):
            self.close_connection = True
            return
        if mode in REFUSALS:
            self._refuse(mode)
        else:
            assert kept is not None
            self._answer(201, kept.shown())

    def do_GET(self) -> None:
        twilio, parts = self.server.twilio, urlsplit(self.path)
        twilio.asked.append(self.path)
        if twilio.asking == "hang":
            twilio.released.wait(60)
        if twilio.asking in ("hang", "cut"):
            self.close_connection = True
            return
        if twilio.asking in REFUSALS:
            self._refuse(twilio.asking)
            return
        base = f"/2010-04-01/Accounts/{ACCOUNT}/Messages"
        if parts.path == f"{base}.json":
            found = twilio.found(parse_qs(parts.query).get("To", [""])[0])
            page = {"page": 0, "page_size": 50, "next_page_uri": None, "uri": self.path}
            self._answer(200, {"messages": [kept.shown() for kept in found], **page})
            return
        sid = parts.path.removeprefix(f"{base}/").removesuffix(".json")
        one = next((kept for kept in twilio.kept if kept.sid == sid), None)
        if one is None:
            self._answer(404, {"code": 20404, "message": f"The requested resource {self.path} was not found"})
        else:
            self._answer(200, one.shown())

    def _refuse(self, mode: str) -> None:
        status, code, text = REFUSALS[mode]
        self._answer(status, {"code": code, "message": text, "status": status, "more_info": ""})

    def _answer(self, status: int, content: dict[str, Any]) -> None:
        encoded = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(encoded)))
        self.end_headers()
        self.wfile.write(encoded)

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""


@pytest.fixture
def twilio() -> Iterator[FakeTwilio]:
    server = FakeTwilio()
    yield server
    server.stop()
