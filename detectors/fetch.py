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
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

from detectors.backends.base import ModelProblem

BLOCK = 1 << 16
Progress = Callable[[int, int], None]
"""Bytes that are here, and all of them; 0: the server did not say."""


@dataclass(frozen=True, slots=True)
class Source:
    """An address, and how to add its file by hand where it cannot be fetched."""

    url: str
    options: str = ""
    """Of ``model add``: what the file does not say of itself."""

    @property
    def host(self) -> str:
        """As messages name it."""
        return urlsplit(self.url).hostname or ""

    @property
    def file(self) -> str:
        """The last part of the address."""
        return urlsplit(self.url).path.rpartition("/")[2] or self.host or "the file"

    @property
    def remedy(self) -> str:
        """What to do on a machine without internet."""
        command = f"./poliscope manage model add {self.file} {self.options}".rstrip()
        return f"on a machine with internet fetch {self.url}, copy the file here and run {command}"


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
    options: str = "",
) -> str:
    """Fetch ``url`` to ``target`` and return its SHA-256. Raises ``NotFetched``; then ``target`` is not there.

    ``options`` belong to the command that adds the file by hand. Blocks ``total_s`` at most, and ``silence_s`` without
    a byte.
    """
    check_url(url)
    source = Source(url, options)
    part = target.with_name(f"{target.name}.part")
    if not sha256:
        part.unlink(missing_ok=True)
    deadline_s = time.monotonic() + total_s
    try:
        with part.open("ab") as file:
            context = context or ssl.create_default_context()
            _download(source, file, most_bytes, silence_s, deadline_s, progress, context)
    except NotFetched:
        raise
    except urllib.error.HTTPError as error:
        if error.code == 416:
            part.unlink(missing_ok=True)
        raise NotFetched(
            f"{source.host}: expected {source.file}, got HTTP {error.code} ({error.reason}); {source.remedy}"
        ) from None
    except TimeoutError:
        raise NotFetched(f"no answer from {source.host} within {silence_s:g} s: {source.remedy}") from None
    except (urllib.error.URLError, http.client.HTTPException, OSError) as error:
        if isinstance(getattr(error, "reason", None), TimeoutError):
            raise NotFetched(f"no answer from {source.host} within {silence_s:g} s: {source.remedy}") from None
        raise NotFetched(f"{source.host} cannot be reached ({_brief(error)}): {source.remedy}") from None
    found = file_sha256(part)
    if sha256 and found != sha256:
        part.unlink()
        raise NotFetched(
            f"{source.file}: expected SHA-256 {sha256[:16]}…, got {found[:16]}…: the file is damaged or another one; "
            "fetch it again, and if that changes nothing, do not use it"
        )
    part.replace(target)
    return found


def _download(
    source: Source,
    file: IO[bytes],
    most_bytes: int,
    silence_s: float,
    deadline_s: float,
    progress: Progress,
    context: ssl.SSLContext,
) -> None:
    done = file.tell()
    request = urllib.request.Request(source.url, headers={"User-Agent": "poliscope", "Accept-Encoding": "identity"})
    if done:
        request.add_header("Range", f"bytes={done}-")
    with _opener(context).open(request, timeout=silence_s) as answer:
        if done and answer.status != 206:
            done = 0
            file.truncate(0)
        length = int(answer.headers.get("Content-Length") or 0)
        total = done + length if length else 0
        _check_size(source, total, most_bytes)
        while block := answer.read1(BLOCK):
            file.write(block)
            done += len(block)
            _check_size(source, done, most_bytes)
            progress(done, total)
            if time.monotonic() > deadline_s:
                raise NotFetched(f"{source.host} is too slow: {done:,} bytes when time was up; {source.remedy}")
    if total and done < total:
        raise NotFetched(f"{source.file}: expected {total:,} bytes, got {done:,}: the connection was cut; try again")
    if not done:
        raise NotFetched(f"{source.file}: expected a model, got an empty answer; {source.remedy}")


def _check_size(source: Source, size: int, most_bytes: int) -> None:
    if size > most_bytes:
        raise NotFetched(
            f"{source.file}: expected at most {most_bytes:,} bytes, got {size:,}; choose a smaller model, or raise "
            "POLISCOPE_MODEL_MAX_MB"
        )


def file_sha256(path: Path) -> str:
    """Of the whole file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _brief(error: Exception) -> str:
    reason = getattr(error, "reason", error)
    return getattr(reason, "strerror", None) or str(reason) or type(error).__name__
