"""From a name, an address or a file to a registered model: what ``model add`` and the administrator's page both do."""

from __future__ import annotations

import shlex
import ssl
import tempfile
from pathlib import Path
from urllib.parse import urlsplit

from django.conf import settings

from detectors.backends.base import ModelMissing
from detectors.fetch import fetch
from detectors.intake import Told, incoming, take_in, take_in_shipped
from detectors.known import KNOWN, Known, known
from detectors.models import Model
from detectors.registry import AUTO
from detectors.runtimes import missing
from detectors.unpack import NETWORKS, PICKLES, Refused, megabytes

ENDINGS = frozenset({*NETWORKS, *PICKLES, ".zip"})
"""What ends so is meant as a file, whether it is there or not."""


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
    found = _to_fetch(what)
    if found.card:
        return take_in_shipped(found.card)
    name, licence, labels = name or found.name, licence or found.licence, labels or found.labels
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
        options=_options(name, licence, labels, backend),
    )
    if not found.sha256:
        tell(f"fetched; its SHA-256, which nobody vouches for yet, is {digest}")
    try:
        return take_in(
            target,
            what=file_name,
            name=name,
            licence=licence,
            origin=found.url,
            labels=labels,
            backend=backend,
            tell=tell,
        )
    finally:
        target.unlink(missing_ok=True)
        if not found.sha256:
            target.parent.rmdir()


def _to_fetch(what: str) -> Known:
    """An address as it is, else the known model of that name. Raises ``ModelMissing``."""
    if "://" in what:
        return Known("", "", url=what)
    if "/" in what or Path(what).suffix in ENDINGS:
        hint = (
            f"mend the path, or say {near} to have it fetched"
            if (near := Path(what).stem) in KNOWN
            else "mend the path"
        )
        raise ModelMissing(f"{what}: expected a file or a folder, got nothing there; {hint}")
    return known(what)


def _options(name: str, licence: str, labels: tuple[str, ...], backend: str) -> str:
    """What ``model add`` must be told with the file alone, to make of it the same model."""
    given = {
        "name": name,
        "licence": licence,
        "labels": ",".join(labels),
        "backend": "" if backend == AUTO else backend,
    }
    return " ".join(f"--{option} {shlex.quote(value)}" for option, value in given.items() if value)


def _place(found: Known, file_name: str) -> Path:
    """Where it is fetched to: a name of its own, unless a checksum lets another attempt go on with what is there."""
    suffix = Path(file_name).suffix
    if found.sha256:
        return incoming() / f"{found.sha256[:16]}{suffix}"
    return Path(tempfile.mkdtemp(dir=incoming(), prefix="fetching-")) / f"model{suffix}"


def _words(done: int, total: int) -> str:
    return f"fetching: {megabytes(done)}" + (f" of {megabytes(total)}" if total else "")
