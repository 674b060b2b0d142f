"""Taking a camera out for good: what goes with it is told first, then goes in one transaction, pictures last."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import partial

from django.contrib.auth.base_user import AbstractBaseUser
from django.core.files.storage import default_storage
from django.db import transaction

from alerts.awaited import starved_without
from alerts.models import Delivery, Event, Incident, Rule, Zone
from streams.models import Camera, View

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Consequences:
    """What deleting a camera takes with it. ``ending`` rules lose their last zone and are switched off.

    ``starved`` sequences stay, and will not fire any more: what they wait for goes.
    """

    zones: int
    ending: tuple[str, ...]
    shrinking: tuple[str, ...]
    starved: tuple[str, ...]
    incidents: int
    unresolved: int
    pictures: int
    messages: int


def consequences(camera: Camera) -> Consequences:
    """What would go. Changes nothing."""
    rules = Rule.objects.filter(zones__view__camera=camera).distinct().prefetch_related("zones__view")
    ending: list[str] = []
    shrinking: list[str] = []
    for rule in rules:
        others = (zone for zone in rule.zones.all() if zone.view.camera_id != camera.pk)
        elsewhere = any(zone.shape != Zone.Shape.EXCLUSION for zone in others)
        (shrinking if elsewhere else ending).append(rule.name)
    incidents = Incident.objects.filter(camera=camera)
    zones = list(Zone.objects.filter(view__camera=camera))
    return Consequences(
        zones=len(zones),
        ending=tuple(ending),
        shrinking=tuple(shrinking),
        starved=tuple(rule.name for rule in starved_without(zones)),
        incidents=incidents.count(),
        unresolved=incidents.exclude(state=Incident.State.RESOLVED).count(),
        pictures=len(_pictures(camera)),
        messages=Delivery.objects.filter(alert__incident__camera=camera).count(),
    )


def remove_camera(camera: Camera, *, author: AbstractBaseUser | None) -> None:
    """Delete ``camera`` with everything that ``consequences`` names. The audit keeps its rows, without the camera.

    Its rules go on with their other zones, as new versions by ``author``; those that have none are switched off
    (``alerts.signals``). Pictures are deleted after the commit; one that cannot be is logged and belongs to nobody.
    """
    paths = _pictures(camera) + [path for path in _references(camera) if path]
    with transaction.atomic():
        for zone in Zone.objects.filter(view__camera=camera):
            zone._author = author  # type: ignore[attr-defined]
            zone.delete()
        # Both point at their camera as protected, so that nothing else ever takes them along by accident.
        Event.objects.filter(camera=camera).delete()
        Incident.objects.filter(camera=camera).delete()
        camera.delete()
        transaction.on_commit(partial(_delete_files, paths))


def _pictures(camera: Camera) -> list[str]:
    return list(Event.objects.filter(camera=camera).exclude(picture_path="").values_list("picture_path", flat=True))


def _references(camera: Camera) -> list[str]:
    return list(View.objects.filter(camera=camera).values_list("reference", flat=True))


def _delete_files(paths: list[str]) -> None:
    for path in paths:
        try:
            default_storage.delete(path)
        except OSError as error:
            logger.warning("picture %s: not deleted (%s); delete it by hand", path, error.strerror)
