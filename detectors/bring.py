"""From a name, an address or a file to a registered model: what ``model add`` and the administrator's page both do."""

from __future__ import annotations

import ssl
import tempfile
from pathlib import Path
from urllib.parse import urlsplit

from django.conf import settings

from detectors.fetch import fetch
from detectors.intake import Told, incoming, take_in, take_in_shipped
from detectors.known import Known, known
from detectors.models import Model
from detectors.registry import AUTO
from detectors.runtimes import missing
from detectors.unpack import Refused, megabytes


def bring(
    what: str,
    *,
    name: str = "",
    licence: str = "",
    labels: tuple[str, ...] = (),
    backend: str = AUTO,
    silence_s: float = 10.0,
    tell: Told = lambda words: None,
    context: ssl.SSLContext | None = None,
) -> Model:
    """``what``: a known name, an ``https://`` address, or a path. Raises ``ModelProblem``; then nothing is left but the
    part of a file that a cut connection may be continued from.
    """
    if "://" not in what and (path := Path(what)).exists():
        return take_in(path, name=name, licence=licence, labels=labels, backend=backend, tell=tell)
    found = Known(what, licence, url=what) if "://" in what else known(what)
    if found.card:
        return take_in_shipped(found.card)
    file_name = urlsplit(found.url).path.rpartition("/")[2] if "://" in what else found.file_name
    if file_name.endswith(".pt") and (why := missing("ultralytics")):
        raise Refused(f"{file_name}: runs in Ultralytics, or is converted by it: {why}, and add the model again")
    target = _place(found, file_name)
    digest = fetch(
        found.url,
        target,
        most_bytes=settings.MODEL_MAX_BYTES,
        sha256=found.sha256,
        silence_s=silence_s,
        progress=lambda done, total: tell(_words(done, total)),
        context=context,
    )
    if not found.sha256:
        tell(f"fetched; its SHA-256, which nobody vouches for yet, is {digest}")
    try:
        return take_in(
            target,
            what=file_name,
            name=name or (found.name if "://" not in what else ""),
            licence=licence or found.licence,
            origin=found.url,
            labels=labels or found.labels,
            backend=backend,
            tell=tell,
        )
    finally:
        target.unlink(missing_ok=True)
        if not found.sha256:
            target.parent.rmdir()


def _place(found: Known, file_name: str) -> Path:
    """Where it is fetched to: a name of its own, unless a checksum lets another attempt go on with what is there."""
    suffix = Path(file_name).suffix
    if found.sha256:
        return incoming() / f"{found.sha256[:16]}{suffix}"
    return Path(tempfile.mkdtemp(dir=incoming(), prefix="fetching-")) / f"model{suffix}"


def _words(done: int, total: int) -> str:
    return f"fetching: {megabytes(done)}" + (f" of {megabytes(total)}" if total else "")
