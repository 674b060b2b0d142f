"""Contacts' addresses that are credentials, at rest: sealed with a key that follows from the installation's secret."""

from __future__ import annotations

import base64
import hashlib
import logging

from cryptography.fernet import Fernet, InvalidToken
from django.conf import settings

logger = logging.getLogger(__name__)

_CONTEXT = b"contact 1"
"""Keeps this key apart from everything else that is derived from the secret (BLAKE2 personalisation, ≤ 16 bytes)."""


def _box() -> Fernet:
    key = hashlib.blake2b(settings.SECRET_KEY.encode(), digest_size=32, person=_CONTEXT).digest()
    return Fernet(base64.urlsafe_b64encode(key))


def seal(address: str) -> bytes:
    """What the database may hold of ``address``."""
    return _box().encrypt(address.encode())


def unseal(token: bytes | memoryview) -> str:
    """The address; empty when this installation's secret does not open it (logged)."""
    try:
        return _box().decrypt(bytes(token)).decode()
    except (InvalidToken, ValueError):
        logger.error(
            "contact: expected an address sealed with this POLISCOPE_SECRET_KEY, got another; "
            "the key was changed: enter the address again"
        )
        return ""
