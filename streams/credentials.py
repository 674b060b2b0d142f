"""Camera log-ins at rest: sealed with a key that follows from the installation's secret. Write-only on screen."""

from __future__ import annotations

import base64
import hashlib
import json
import logging
import re
from urllib.parse import unquote

from cryptography.fernet import Fernet, InvalidToken

from streams.addresses import SECRET

logger = logging.getLogger(__name__)

_CONTEXT = b"camera log-in 1"
"""Keeps this key apart from everything else that is derived from the secret (BLAKE2 personalisation, ≤ 16 bytes)."""


def carries_password(address: str) -> bool:
    """Whether the query of ``address`` holds what some maker calls a password."""
    return bool(SECRET.search(unquote(address.partition("?")[2])))


def without_login(address: str, kept: str = "") -> str:
    """``address`` as it may be shown again: without what stands before the last "@" and without a query's password.

    A password may contain anything, a "/" too; in ``kept``, an address that was checked, an "@" belongs to the path.
    """
    shown = address if address == kept else re.sub(r"//.*@", "//", address, flags=re.DOTALL)
    return SECRET.sub(r"\1=", shown)


def _box() -> Fernet:
    # Read here and not above: nothing that merely imports this file needs Django's settings.
    from django.conf import settings

    key = hashlib.blake2b(settings.SECRET_KEY.encode(), digest_size=32, person=_CONTEXT).digest()
    return Fernet(base64.urlsafe_b64encode(key))


def seal(user: str, password: str) -> bytes:
    """What the database may hold of ``user`` and ``password``; empty when both are."""
    if not user and not password:
        return b""
    return _box().encrypt(json.dumps([user, password]).encode())


def unseal(token: bytes | memoryview) -> tuple[str, str] | None:
    """User and password, or None when there are none, or none that this installation's secret opens (logged)."""
    sealed = bytes(token)
    if not sealed:
        return None
    try:
        user, password = json.loads(_box().decrypt(sealed))
    except (InvalidToken, ValueError):
        logger.error(
            "credentials: expected a camera log-in sealed with this POLISCOPE_SECRET_KEY, got another; "
            "the key was changed: enter the log-in again"
        )
        return None
    return str(user), str(password)
