"""What is wrong with this installation's settings, said by ``manage.py check`` before anything starts.

Each finding has an id and a hint with the remedy, and names no secret. Imported by ``MonitorConfig.ready``.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register

from alerts import http

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
TWILIO_SETTINGS = {"TWILIO_ACCOUNT_SID": "account", "TWILIO_AUTH_TOKEN": "token", "TWILIO_FROM": "sender"}


@register(Tags.security)
def check_address(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """People open one address, over https unless it is this machine's own."""
    return list(_plain_http())


def _plain_http() -> Iterator[CheckMessage]:
    parts = urlsplit(settings.PUBLIC_URL)
    if parts.scheme == "http" and parts.hostname not in LOOPBACK:
        yield Warning(
            f"POLISCOPE_URL: expected https for a host that others reach, got http://{parts.hostname}: "
            "passwords and pictures travel readable",
            hint="Put a TLS proxy in front and write POLISCOPE_URL=https://… (docs/configuration.md).",
            id="poliscope.W001",
        )
    if parts.scheme == "https" and settings.DEBUG:
        yield Error(
            "POLISCOPE_DEBUG: expected 0 where POLISCOPE_URL is https, got 1: error pages show settings and code",
            hint="Leave POLISCOPE_DEBUG out.",
            id="poliscope.E002",
        )


@register()
def check_twilio(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """All of Twilio's settings or none: half of them would hold every SMS back."""
    missing = [name for name, key in TWILIO_SETTINGS.items() if not settings.TWILIO[key]]
    if missing and len(missing) < len(TWILIO_SETTINGS):
        return [
            Error(
                f"Twilio: expected all of {', '.join(TWILIO_SETTINGS)} or none, but {', '.join(missing)} "
                f"{'is' if len(missing) == 1 else 'are'} empty: no SMS would leave",
                hint=f"Set {', '.join(missing)}, or remove the others to write messages to the Outbox only.",
                id="poliscope.E004",
            )
        ]
    return []


@register()
def check_callbacks(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """Twilio can call back only at the public address over https; without a token nothing starts."""
    if not settings.TWILIO.get("callbacks"):
        return []
    if not settings.PUBLIC_URL.startswith("https://"):
        return [
            Error(
                f"TWILIO_CALLBACKS: expected POLISCOPE_URL with https, got {settings.PUBLIC_URL}: Twilio signs the "
                "address that it calls, and it calls none that others can read",
                hint="Write POLISCOPE_URL=https://…, or leave TWILIO_CALLBACKS out: then Twilio is asked.",
                id="poliscope.E010",
            )
        ]
    return []


@register()
def check_heartbeat(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """The sign of life has an address. It may hold a key, so it is never repeated."""
    if not settings.HEARTBEAT_URL:
        return []
    try:
        http.parse(settings.HEARTBEAT_URL)
    except ValueError as error:
        return [
            Error(
                f"POLISCOPE_HEARTBEAT_URL: {error}: nobody outside would notice that we are down",
                hint="Write the address that the watching service gave you, for example https://hc-ping.com/…",
                id="poliscope.E011",
            )
        ]
    return []


@register()
def check_smtp(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """``POLISCOPE_SMTP_URL`` is an address. It may hold a password, so it is never repeated."""
    url = settings.POLISCOPE_SMTP_URL
    if not url:
        return []
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("smtp", "smtps") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    if good:
        return []
    return [
        Error(
            "POLISCOPE_SMTP_URL: expected smtp://USER:PASSWORD@HOST:PORT?tls=1 or smtps://…, got something else: "
            "no e-mail would leave",
            hint="Special characters of the password are written as %40 (@), %2F (/), %3A (:).",
            id="poliscope.E005",
        )
    ]


@register()
def check_servers(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """The log's and the broker's addresses can be read. They may hold a password, so they are never repeated."""
    found: list[CheckMessage] = [
        *_pairs("POLISCOPE_KAFKA", "kafka1:9092"),
        *_pairs("POLISCOPE_CAMERA_ALLOW", "10.0.0.5:8554"),
        *_pairs("POLISCOPE_WEBHOOK_ALLOW", "10.0.0.5:8080"),
    ]
    for name, url in (("REDIS_URL", settings.REDIS_URL), ("POLISCOPE_FRAMES_URL", _given("POLISCOPE_FRAMES_URL"))):
        if url and not url.startswith(("redis://", "rediss://", "unix://")):
            found.append(
                Error(
                    f"{name}: expected redis://, rediss:// or unix:// and a server, got something else",
                    hint=f"Write for example {name}=redis://:PASSWORD@127.0.0.1:6379/0",
                    id="poliscope.E006",
                )
            )
    return found


def _pairs(name: str, example: str) -> Iterator[CheckMessage]:
    for entry in filter(None, (entry.strip() for entry in _given(name).split(","))):
        host, _colon, port = entry.rpartition(":")
        if not host or not port.isdigit() or not 0 < int(port) < 65536:
            yield Error(
                f"{name}: expected host:port pairs with commas between them, got {entry!r}",
                hint=f"Write for example {name}={example}",
                id="poliscope.E007",
            )


@register()
def check_folders(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """Pictures, and the database when it is a file, have a place that can be written."""
    wanted = {"pictures": Path(settings.MEDIA_ROOT)}
    database = settings.DATABASES["default"]
    if database["ENGINE"].endswith("sqlite3"):
        wanted["the database"] = Path(database["NAME"]).parent
    return [
        Error(
            f"POLISCOPE_DATA: expected a folder for {what} that this user can write, got {folder}",
            hint=f"mkdir -p {folder} && chown it to the user that runs Poliscope, or set POLISCOPE_DATA to another.",
            id="poliscope.E008",
        )
        for what, folder in wanted.items()
        if not _writable(folder)
    ]


def _writable(folder: Path) -> bool:
    """Whether ``folder`` can be written, or made by the first who needs it."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)


def _given(name: str) -> str:
    return os.environ.get(name, "")
