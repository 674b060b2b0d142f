"""The only place from which models are fetched: https, a bound on silence, on time and on size, and a checksum.

What has come stays as ``.part`` when a connection is cut, and the next attempt goes on from there, but only where a
checksum can tell whether both halves are of one file.
"""

from __future__ import annotations

import hashlib
import http.client
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

from detectors.backends.base import ModelProblem

BLOCK = 1 << 16
Progress = Callable[[int, int], None]
"""Bytes that are here, and all of them; 0: the server did not say."""


class NotFetched(ModelProblem):
    """A file could not be fetched; the text says why and what to do on a machine without internet."""

    code = "model_not_fetched"


def check_url(url: str) -> None:
    """Raises ``NotFetched`` unless it is an https address with a host and no log-in in it."""
    parts = urlsplit(url)
    if parts.scheme != "https" or not parts.hostname or parts.username or parts.password:
        shown = f"{parts.scheme or 'no scheme'}://{parts.hostname or ''}"
        raise NotFetched(f"{shown}: expected an https:// address without a log-in, got another one; mend the address")


class _OnlyHttps(urllib.request.HTTPRedirectHandler):
    """Follows redirects to https, and to nothing else."""

    max_redirections = 5

    def redirect_request(self, request: Any, file: Any, code: int, message: str, headers: Any, url: str) -> Any:
        check_url(url)
        return super().redirect_request(request, file, code, message, headers, url)


def _opener(context: ssl.SSLContext) -> urllib.request.OpenerDirector:
    # No file, ftp or data handlers: build_opener would add them.
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.HTTPSHandler(context=context),
        urllib.request.HTTPHandler(),  # to a proxy only: check_url lets no http address through
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
        _OnlyHttps(),
    ):
        opener.add_handler(handler)
    return opener


def fetch(
    url: str,
    target: Path,
    *,
    most_bytes: int,
    sha256: str = "",
    silence_s: float = 10.0,
    total_s: float = 1800.0,
    progress: Progress = lambda done, total: None,
    context: ssl.SSLContext | None = None,
) -> str:
    """Fetch ``url`` to ``target`` and return its SHA-256. Raises ``NotFetched``; then ``target`` is not there.

    Blocks ``total_s`` at most, and ``silence_s`` without a byte.
    """
    check_url(url)
    part = target.with_name(f"{target.name}.part")
    if not sha256:
        part.unlink(missing_ok=True)
    deadline_s = time.monotonic() + total_s
    host = urlsplit(url).hostname
    try:
        with part.open("ab") as file:
            _download(url, file, most_bytes, silence_s, deadline_s, progress, context or ssl.create_default_context())
    except NotFetched:
        raise
    except urllib.error.HTTPError as error:
        if error.code == 416:
            part.unlink(missing_ok=True)
        raise NotFetched(
            f"{host}: expected {_last(url)}, got HTTP {error.code} ({error.reason}); {_remedy(url)}"
        ) from None
    except TimeoutError:
        raise NotFetched(f"no answer from {host} within {silence_s:g} s: {_remedy(url)}") from None
    except (urllib.error.URLError, http.client.HTTPException, OSError) as error:
        if isinstance(getattr(error, "reason", None), TimeoutError):
            raise NotFetched(f"no answer from {host} within {silence_s:g} s: {_remedy(url)}") from None
        raise NotFetched(f"{host} cannot be reached ({_brief(error)}): {_remedy(url)}") from None
    found = file_sha256(part)
    if sha256 and found != sha256:
        part.unlink()
        raise NotFetched(
            f"{_last(url)}: expected SHA-256 {sha256[:16]}…, got {found[:16]}…: the file is damaged or another one; "
            "fetch it again, and if that changes nothing, do not use it"
        )
    part.replace(target)
    return found


def _download(
    url: str,
    file: IO[bytes],
    most_bytes: int,
    silence_s: float,
    deadline_s: float,
    progress: Progress,
    context: ssl.SSLContext,
) -> None:
    done = file.tell()
    request = urllib.request.Request(url, headers={"User-Agent": "poliscope", "Accept-Encoding": "identity"})
    if done:
        request.add_header("Range", f"bytes={done}-")
    with _opener(context).open(request, timeout=silence_s) as answer:
        if done and answer.status != 206:
            done = 0
            file.truncate(0)
        length = int(answer.headers.get("Content-Length") or 0)
        total = done + length if length else 0
        _check_size(url, total, most_bytes)
        while block := answer.read1(BLOCK):
            file.write(block)
            done += len(block)
            _check_size(url, done, most_bytes)
            progress(done, total)
            if time.monotonic() > deadline_s:
                raise NotFetched(
                    f"{urlsplit(url).hostname} is too slow: {done:,} bytes when time was up; {_remedy(url)}"
                )
    if total and done < total:
        raise NotFetched(f"{_last(url)}: expected {total:,} bytes, got {done:,}: the connection was cut; try again")
    if not done:
        raise NotFetched(f"{_last(url)}: expected a model, got an empty answer; {_remedy(url)}")


def _check_size(url: str, size: int, most_bytes: int) -> None:
    if size > most_bytes:
        raise NotFetched(
            f"{_last(url)}: expected at most {most_bytes:,} bytes, got {size:,}; choose a smaller model, or raise "
            "POLISCOPE_MODEL_MAX_MB"
        )


def file_sha256(path: Path) -> str:
    """Of the whole file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _last(url: str) -> str:
    return urlsplit(url).path.rpartition("/")[2] or urlsplit(url).hostname or "the file"


def _remedy(url: str) -> str:
    return (
        f"on a machine with internet fetch {url}, copy the file here and run ./poliscope manage model add {_last(url)}"
    )


def _brief(error: Exception) -> str:
    reason = getattr(error, "reason", error)
    return getattr(reason, "strerror", None) or str(reason) or type(error).__name__
