"""Signed links that acknowledge one incident as one recipient, until they expire. Pure.

The token is short, because an SMS has 160 characters: 9 bytes that say which alert and until when, 12 bytes that only
the installation's secret can make. Whoever guesses is right once in 2⁹⁶.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from dataclasses import dataclass
from datetime import UTC, datetime

PATH = "/a/"
VALID_S = 24 * 3600.0
_KEY_BYTES, _TIME_BYTES, _MAC_BYTES = 5, 4, 12


@dataclass(frozen=True, slots=True)
class Link:
    """What a token says: the alert's key, and until when it may be used."""

    alert: int
    until_at: datetime


def make(link: Link, secret: str) -> str:
    """The token of ``link``: 28 characters that every mail program leaves in one piece."""
    said = link.alert.to_bytes(_KEY_BYTES, "big") + int(link.until_at.timestamp()).to_bytes(_TIME_BYTES, "big")
    return base64.urlsafe_b64encode(said + _mac(said, secret)).decode()


def read(token: str, secret: str) -> Link | None:
    """What ``token`` says; None when nobody with ``secret`` made it. Whether it has expired the caller says."""
    try:
        content = base64.b64decode(token.encode("ascii"), altchars=b"-_", validate=True)
    except (UnicodeEncodeError, binascii.Error, ValueError):
        return None
    said, mac = content[: _KEY_BYTES + _TIME_BYTES], content[_KEY_BYTES + _TIME_BYTES :]
    if len(content) != _KEY_BYTES + _TIME_BYTES + _MAC_BYTES or not hmac.compare_digest(mac, _mac(said, secret)):
        return None
    until_at = datetime.fromtimestamp(int.from_bytes(said[_KEY_BYTES:], "big"), UTC)
    return Link(int.from_bytes(said[:_KEY_BYTES], "big"), until_at)


def _mac(said: bytes, secret: str) -> bytes:
    key = hashlib.sha256(b"alerts.links 1" + secret.encode()).digest()
    return hmac.digest(key, said, "sha256")[:_MAC_BYTES]
