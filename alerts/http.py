"""The one way by which we call an address that somebody entered: pinned, bounded, no redirects, no private networks.

The name is resolved once and the connection goes to that number, so that a name that later points elsewhere changes
nothing. A whole call ends in time even where the other side sends a byte every few seconds.
"""

from __future__ import annotations

import contextlib
import http.client
import ipaddress
import socket
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

from alerts.notifiers import deadline
from alerts.notifiers.base import TIMEOUT_S
from streams.addresses import METADATA, Pairs, embedded, resolve

ANSWER_BYTES = 2000
PORTS = {"http": 80, "https": 443}


class NotCalled(Exception):
    """The request certainly did not leave. ``for_good``: the address itself is the matter."""

    def __init__(self, text: str, *, for_good: bool = False) -> None:
        super().__init__(text)
        self.for_good = for_good


class NoAnswer(Exception):
    """The request left, or may have; what became of it nobody knows."""


@dataclass(frozen=True, slots=True)
class Called:
    """The answer: its status, and the beginning of what it says, in one line."""

    status: int
    text: str
    retry_after_s: float | None = None


@dataclass(frozen=True, slots=True)
class Target:
    """A checked address. ``ip`` is where the connection goes."""

    parts: SplitResult
    host: str
    port: int
    ip: str

    @property
    def path(self) -> str:
        """Path and query, as a request line has them."""
        return (self.parts.path or "/") + (f"?{self.parts.query}" if self.parts.query else "")


def allowed_pairs(entries: list[str]) -> Pairs:
    """``host:port`` entries; malformed ones allow nothing.

    >>> sorted(allowed_pairs(["10.0.0.5:8080", "nonsense", "[::1]:80"]))
    [('10.0.0.5', 8080), ('::1', 80)]
    """
    split = (entry.rpartition(":") for entry in entries)
    return frozenset((host.strip("[]").lower(), int(port)) for host, _, port in split if host and port.isdigit())


def parse(url: str) -> tuple[SplitResult, str, int]:
    """Scheme, host and port of ``url``. Raises ``ValueError`` with what was expected."""
    expected = "expected https://HOST/PATH"
    if any(character.isspace() or ord(character) < 32 for character in url):
        raise ValueError(f"{expected}, got a space or a control character in it; remove it")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ValueError(f"{expected}, got something else; mend it") from None
    if parts.scheme not in PORTS or not parts.hostname:
        raise ValueError(f"{expected}, got something else; mend it")
    if parts.username is not None or parts.password is not None:
        raise ValueError(f"{expected}, got a user name or password in it; use a path that nobody can guess")
    return parts, parts.hostname.lower(), PORTS[parts.scheme] if port is None else port


def check(url: str, allow: Pairs | None, resolve: Callable[[str, int], list[str]] = resolve) -> Target:
    """``url``, resolved and pinned. ``allow``: pairs that may be anywhere; None: every address may.

    Raises ``NotCalled``.
    """
    try:
        parts, host, port = parse(url)
    except ValueError as error:
        raise NotCalled(str(error), for_good=True) from None
    try:
        numbers = resolve(host, port)
    except (OSError, UnicodeError) as error:
        raise NotCalled(f"{host}: no machine of this name is known ({type(error).__name__})") from None
    if allow is not None and (host, port) not in allow:
        if parts.scheme != "https":
            raise NotCalled(f"{host}:{port}: expected https, got http; {_remedy(host, port)}", for_good=True)
        refuse_private(host, port, numbers)
    return Target(parts, host, port, numbers[0].partition("%")[0])


def _remedy(host: str, port: int) -> str:
    return f"add {host}:{port} to POLISCOPE_WEBHOOK_ALLOW if it is yours"


def refuse_private(host: str, port: int, numbers: list[str]) -> None:
    """Everything that is not plainly on the internet. Raises ``NotCalled``."""
    for number in numbers:
        ip = embedded(ipaddress.ip_address(number.partition("%")[0]))
        if not ip.is_global or ip.is_multicast or ip in METADATA:
            said = f"{host}:{port}: expected an address on the internet, got a private one; {_remedy(host, port)}"
            raise NotCalled(said, for_good=True)


def call(target: Target, method: str, body: bytes = b"", headers: Mapping[str, str] | None = None) -> Called:
    """One request, one answer, whatever it is. Raises ``NotCalled`` and ``NoAnswer``."""
    connection = _connect(target)
    with deadline.hung_up_after(deadline.WHOLE_S, lambda: _hang_up(connection)) as over, contextlib.closing(connection):
        try:
            connection.request(method, target.path, body or None, dict(headers or {}))
            answer = connection.getresponse()
            text = answer.read(ANSWER_BYTES).decode(errors="replace")
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise NoAnswer(f"{target.host}:{target.port}: no answer ({type(error).__name__})") from None
    if over.is_set():
        # What was cut off in the middle can look like an answer.
        raise NoAnswer(f"{target.host}:{target.port}: no answer within {deadline.WHOLE_S:g} s")
    return Called(answer.status, " ".join(text.split())[:300], _seconds(answer.getheader("Retry-After")))


def _connect(target: Target) -> http.client.HTTPConnection:
    """A connection to the pinned number, under the name that was asked for."""
    connection = http.client.HTTPConnection(target.host, target.port, timeout=TIMEOUT_S)
    try:
        plain = socket.create_connection((target.ip, target.port), TIMEOUT_S)
        if target.parts.scheme == "https":
            plain = ssl.create_default_context().wrap_socket(plain, server_hostname=target.host)
    except OSError as error:
        raise NotCalled(f"{target.host}:{target.port}: no connection ({type(error).__name__})") from None
    connection.sock = plain
    return connection


def _hang_up(connection: http.client.HTTPConnection) -> None:
    with contextlib.suppress(OSError, AttributeError):
        connection.sock.shutdown(socket.SHUT_RDWR)


def _seconds(retry_after: str | None) -> float | None:
    return float(retry_after) if retry_after and retry_after.isdecimal() else None
