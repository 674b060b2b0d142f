"""What leaves a process for people who run it: log lines without credentials."""

from __future__ import annotations

import logging
import re
from urllib.parse import urlsplit

_ADDRESS = re.compile(r"\b[a-z][a-z0-9+.-]*://[^\s'\"<>]+", re.IGNORECASE)


def _without_credentials(address: str) -> str:
    try:
        parts = urlsplit(address)
    except ValueError:
        return "[address]"
    if "@" not in parts.netloc and not parts.query:
        return address
    host = parts.netloc.rpartition("@")[2]
    query = "?…" if parts.query else ""
    hidden = "…@" if "@" in parts.netloc else ""
    return f"{parts.scheme}://{hidden}{host}{parts.path}{query}"


def redact(text: str) -> str:
    """``text`` with the user information and query of every address in it replaced by "…".

    >>> redact("cannot open rtsp://admin:p%40ss@10.0.0.5/live?token=1")
    'cannot open rtsp://…@10.0.0.5/live?…'
    """
    return _ADDRESS.sub(lambda match: _without_credentials(match[0]), text)


class Redact(logging.Filter):
    """Rewrites every record that passes, exceptions included."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = redact(record.getMessage()), ()
        if record.exc_info and not record.exc_text:
            record.exc_text = redact(logging.Formatter().formatException(record.exc_info))
        return True
