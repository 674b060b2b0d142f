"""Trying addresses before anything is saved: each in a process of its own, all at once, within ten seconds.

What was found is put aside under a name that the form carries, so that saving needs no second look; it is forgotten
within the hour.
"""

from __future__ import annotations

import json
import logging
import re
from base64 import b64encode
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import msgspec
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.utils import timezone
from django.utils.translation import gettext as _

from streams.advice import advice, cost_ms, sentence
from streams.cameras import REFERENCES, keep_found, keep_reference, main_view
from streams.credentials import unseal, without_login
from streams.ids import new_uid
from streams.models import Camera, Source
from streams.probe import probe
from streams.probed import Probed
from streams.probed import sentence as why_not

logger = logging.getLogger(__name__)

KEPT_FOR = timedelta(hours=1)
FOLDER = f"{REFERENCES}/tried"
_NAME = re.compile(r"[0-9a-f]{32}")

Masks = Sequence[Sequence[Sequence[float]]]


@dataclass(frozen=True, slots=True)
class Wanted:
    """One address to try, with its log-in."""

    role: str
    address: str
    user: str = field(default="", repr=False)
    password: str = field(default="", repr=False)
    masks: Masks = ()


@dataclass(frozen=True, slots=True)
class Tried:
    """What one address gave. ``problem`` is a sentence with the remedy, empty when there is a picture."""

    role: str
    address: str
    problem: str
    found: Probed
    advice: list[str] = field(default_factory=list)

    @property
    def picture(self) -> str:
        """The snapshot as an address of its own, for the page that asked; kept by nobody else."""
        return f"data:image/jpeg;base64,{b64encode(self.found.jpeg).decode()}" if self.found.jpeg else ""

    @property
    def cost_ms(self) -> float:
        """CPU-milliseconds of one core a second, for reading and comparing."""
        return cost_ms(self.found.width_px, self.found.height_px, self.found.fps, self.found.codec)


def plain(found: Probed) -> dict[str, Any]:
    """``found`` without its picture, as the database keeps it."""
    values: dict[str, Any] = msgspec.to_builtins(msgspec.structs.replace(found, jpeg=b""))
    return {name: value for name, value in values.items() if name != "jpeg"}


def try_all(wanted: Sequence[Wanted]) -> list[Tried]:
    """Try every address at once. Blocks for about ten seconds at most; never raises for a camera."""
    with ThreadPoolExecutor(max_workers=max(1, len(wanted))) as pool:
        found = list(pool.map(_try_one, wanted))
    several = len(wanted) > 1
    return [_told(one, probed, several) for one, probed in zip(wanted, found, strict=True)]


def _try_one(one: Wanted) -> Probed:
    return probe(one.address, one.user, one.password, masks=one.masks)


def _told(one: Wanted, found: Probed, several: bool) -> Tried:
    shown = without_login(one.address)
    if found.reason:
        return Tried(one.role, shown, why_not(found, _), found)
    said = [sentence(each, _) for each in advice(found, has_sub_stream=several)]
    return Tried(one.role, shown, "", found, said)


def wanted_of(camera: Camera) -> list[Wanted]:
    """The stored addresses of ``camera``, with their log-ins and its privacy masks."""
    masks = main_view(camera).masks
    sources = sorted(camera.sources.all(), key=lambda source: Source.Role.values.index(source.role))
    return [Wanted(source.role, source.address, *(unseal(source.credentials) or ("", "")), masks) for source in sources]


def remember(camera: Camera, tried: Sequence[Tried]) -> None:
    """Keep what was found of ``camera``'s own addresses: facts on its sources, the picture on its view."""
    sources = {source.role: source for source in camera.sources.all()}
    for one in tried:
        if one.role in sources:
            keep_found(sources[one.role], plain(one.found), timezone.now())
    best = picture_of(tried)
    if best:
        keep_reference(main_view(camera), best)


def picture_of(tried: Sequence[Tried]) -> bytes:
    """The picture to draw zones on: the one that is analysed, else whichever there is."""
    with_picture = sorted((one for one in tried if one.found.jpeg), key=lambda one: one.role != Source.Role.DETECT)
    return with_picture[0].found.jpeg if with_picture else b""


# Put aside between trying and saving.


def put_aside(tried: Sequence[Tried]) -> str:
    """Keep what was found for a camera that is not there yet; returns the name to ``take_up`` it by."""
    _clear_out(timezone.now())
    name = new_uid().hex
    facts = {one.role: plain(one.found) for one in tried}
    default_storage.save(f"{FOLDER}/{name}.json", ContentFile(json.dumps(facts).encode()))
    if jpeg := picture_of(tried):
        default_storage.save(f"{FOLDER}/{name}.jpg", ContentFile(jpeg))
    return name


def take_up(name: str, camera: Camera) -> None:
    """Give ``camera`` what was put aside under ``name``; nothing when it is unknown or forgotten."""
    if not _NAME.fullmatch(name):
        return
    facts = _read(f"{FOLDER}/{name}.json")
    jpeg = _read(f"{FOLDER}/{name}.jpg")
    for source in camera.sources.all():
        found: Mapping[str, Any] | None = json.loads(facts or b"{}").get(source.role)
        if found:
            keep_found(source, found, timezone.now())
    if jpeg:
        keep_reference(main_view(camera), jpeg)
    for ending in ("json", "jpg"):
        default_storage.delete(f"{FOLDER}/{name}.{ending}")


def _read(path: str) -> bytes:
    try:
        with default_storage.open(path) as file:
            return bytes(file.read())
    except (OSError, ValueError):
        return b""


def _clear_out(now: datetime) -> None:
    try:
        _folders, files = default_storage.listdir(FOLDER)
    except OSError:
        return
    for file in files:
        path = f"{FOLDER}/{file}"
        try:
            if default_storage.get_modified_time(path) < now - KEPT_FOR:
                default_storage.delete(path)
        except OSError as error:
            logger.warning("%s: not cleared out (%s)", path, error.strerror)
