"""Cameras as somebody sets them up: made and changed in one transaction each, their snapshots kept.

Whoever calls has checked the addresses (``streams.addresses``): that asks name servers, for which no transaction waits.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.db import transaction

from streams.credentials import seal, unseal
from streams.ids import new_uid
from streams.models import Camera, CameraGroup, Site, Source, View

REFERENCES = "references"
"""Folder of the snapshots that zones are drawn on, in the media storage."""


@dataclass(frozen=True, slots=True)
class CameraDraft:
    """A camera as it is to be. ``addresses`` by role; log-ins stay out of every text.

    ``user`` and ``password`` are for all of its addresses; where both are empty, a log-in that is kept stays, unless
    ``forget_login``.
    """

    name: str
    site: Site
    group: CameraGroup
    addresses: Mapping[str, str]
    user: str = field(default="", repr=False)
    password: str = field(default="", repr=False)
    forget_login: bool = False
    carrier: str = Camera.Carrier.FIXED
    enabled: bool = True


def save_camera(draft: CameraDraft, camera: Camera | None = None) -> Camera:
    """Make a camera, or bring ``camera`` to ``draft``, with its sources and its view; one transaction.

    Raises ``django.db.IntegrityError`` when the site has another camera of that name.
    """
    with transaction.atomic():
        camera = camera or Camera()
        camera.name, camera.site, camera.group = draft.name, draft.site, draft.group
        camera.carrier, camera.enabled = draft.carrier, draft.enabled
        camera.save()
        kept: dict[str, Source] = {source.role: source for source in camera.sources.all()}
        login = _login(draft, kept.values())
        for role, address in draft.addresses.items():
            source = kept.pop(role) if role in kept else Source(camera=camera, role=role)
            _save_source(source, address, login)
        for source in kept.values():
            source.delete()
        main_view(camera)
    return camera


def _login(draft: CameraDraft, kept: Iterable[Source]) -> tuple[str, str] | None:
    """User and password for every address; None: each keeps its own."""
    if draft.forget_login:
        return "", ""
    if not draft.user and not draft.password:
        return None
    known = next(filter(None, (unseal(source.credentials) for source in kept)), ("", ""))
    return draft.user or known[0], draft.password or known[1]


def _save_source(source: Source, address: str, login: tuple[str, str] | None) -> None:
    before = source.address, bytes(source.credentials)
    if login is not None:
        source.credentials = seal(*login)
    elif source.pk is None:
        # A further address of a camera whose log-in is known already: cameras have one for all their streams.
        source.credentials = next(
            (bytes(other.credentials) for other in source.camera.sources.all() if other.credentials), b""
        )
    source.address = address
    if source.pk is None or (source.address, bytes(source.credentials)) != before:
        source.found = None
        source.save()


def main_view(camera: Camera) -> View:
    """The view of a camera that has one position, made when it has none."""
    view = camera.views.order_by("pk").first()
    return view if view is not None else View.objects.create(camera=camera)


# What was found by looking. None of it is configuration: no process reloads for it.


def keep_found(source: Source, found: Mapping[str, Any], at: datetime) -> None:
    """Remember what ``source`` gave when it was last tried (plain values, see ``streams.probe``)."""
    Source.objects.filter(pk=source.pk).update(found=dict(found), found_at=at)


def keep_reference(view: View, jpeg: bytes) -> None:
    """Keep ``jpeg`` as the picture that zones of ``view`` are drawn on; the former one is deleted."""
    former = view.reference
    path = default_storage.save(f"{REFERENCES}/{view.uid}-{new_uid().hex[-8:]}.jpg", ContentFile(jpeg))
    View.objects.filter(pk=view.pk).update(reference=path)
    view.reference = path
    if former:
        default_storage.delete(former)


def read_reference(view: View) -> bytes | None:
    """The kept picture; None where there is none."""
    if not view.reference:
        return None
    try:
        with default_storage.open(view.reference) as file:
            return bytes(file.read())
    except (OSError, ValueError):
        return None


def camera_or_none(uid: UUID) -> Camera | None:
    """One camera with what its page shows."""
    return Camera.objects.select_related("site", "group").prefetch_related("sources").filter(uid=uid).first()
