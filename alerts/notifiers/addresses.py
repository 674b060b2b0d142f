"""Addresses that are credentials, of webhooks and chat services: what of them may be shown, whose they are. Pure."""

from __future__ import annotations

import hashlib
from urllib.parse import urlsplit


def shown(address: str) -> str:
    """As much of ``address`` as a colleague needs to tell it from another, and a passer-by cannot use.

    >>> shown("https://hooks.example.org/T0/B0/secret")
    'https://hooks.example.org/… (bd61c7)'
    >>> shown("tgram://123456:ABC/42")
    'tgram://… (61277e)'
    """
    scheme, host = _scheme_and_host(address)
    mark = hashlib.sha256(address.encode()).hexdigest()[:6]
    # Of other schemes the host is often the credential itself.
    return f"{scheme}://{host}/… ({mark})" if scheme in ("http", "https") else f"{scheme}://… ({mark})"


def is_shown(address: str) -> bool:
    """Whether ``address`` is what ``shown`` made, and no address any more."""
    return "… (" in address


def service(channel: str, address: str) -> str:
    """Names whoever is spoken to, by address or by what is shown of it: one that hangs holds only itself.

    >>> service("sms", "+886912345678"), service("webhook", "https://a.example/x"), service("apprise", "slack://A/B")
    ('sms', 'webhook:a.example', 'apprise:slack')
    """
    scheme, host = _scheme_and_host(address)
    if not scheme:
        return channel
    return f"{channel}:{host if scheme in ('http', 'https') else scheme}"


def _scheme_and_host(address: str) -> tuple[str, str]:
    if "://" not in address:
        return "", ""
    try:
        parts = urlsplit(address)
        host = parts.hostname or ""
        return parts.scheme.lower(), f"{host}:{parts.port}" if parts.port else host
    except ValueError:
        return address.partition("://")[0].lower(), ""
