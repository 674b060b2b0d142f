"""Every edit reaches the engine, wherever it is made: rows that change advance ``CONFIGURATION`` in their transaction.

Connected when Django starts, in every process. An exception here undoes an edit only inside a transaction, which the
administrator's pages always hold open; elsewhere use ``alerts.editing``.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from django.contrib.auth.base_user import AbstractBaseUser
from django.db.models import Model as Row
from django.db.models.signals import m2m_changed, post_delete, post_save, pre_delete, pre_save
from django.dispatch import receiver
from django.utils import timezone

from alerts import editing
from alerts.models import (
    Contact,
    EscalationPolicy,
    Recipient,
    Rota,
    RotaMember,
    RotaOverride,
    Rule,
    RuleVersion,
    Team,
    Zone,
)
from detectors.models import Deployment, Model
from streams.models import Camera, Demand, Site, Source, View

PEOPLE: tuple[type[Row], ...] = (Recipient, Contact, Team, Rota, RotaMember, RotaOverride, EscalationPolicy)
WATCHED: tuple[type[Row], ...] = (Site, Camera, Source, View, Zone, Model, Deployment, *PEOPLE)
NOT_CONFIGURATION = frozenset(
    {"problem", "reference", "found", "found_at", "disabled_at", "disabled_reason", "latency_ms", "cpu_ms"}
    | {"measured_on"}
)
"""Columns that processes write about what they found: reloading for them would make them write again."""


def _is_only_a_finding(update_fields: Collection[str] | None) -> bool:
    return bool(update_fields) and NOT_CONFIGURATION.issuperset(update_fields or ())


def _changed(sender: type[Row], raw: bool = False, update_fields: Collection[str] | None = None, **_: Any) -> None:
    if not raw and not _is_only_a_finding(update_fields):
        editing.touch()


def _linked(action: str, **_: Any) -> None:
    if action.startswith("post_"):
        editing.touch()


for _row in WATCHED:
    post_save.connect(_changed, sender=_row, dispatch_uid=f"alerts.touch.save.{_row.__name__}")
    post_delete.connect(_changed, sender=_row, dispatch_uid=f"alerts.touch.delete.{_row.__name__}")
for _links in (Rule.zones.through, Rule.recipients.through, Deployment.cameras.through, Team.members.through):
    m2m_changed.connect(_linked, sender=_links, dispatch_uid=f"alerts.touch.links.{_links.__name__}")


def _author(edited: object) -> AbstractBaseUser | None:
    """Whose edit this is, where the page that made it said so; of what goes along with another, ask that other."""
    author: AbstractBaseUser | None = getattr(edited, "_author", None)
    return author


@receiver(post_save, sender=Zone, dispatch_uid="alerts.zone.saved")
def _zone_saved(instance: Zone, created: bool, raw: bool = False, **_: Any) -> None:
    """Versions embed geometry, so a moved zone means new versions of the rules on it."""
    if not created and not raw:
        for rule in instance.rules.filter(enabled=True):
            editing.republish(rule, now=timezone.now(), author=_author(instance))


@receiver(pre_delete, sender=Zone, dispatch_uid="alerts.zone.going")
def _zone_going(instance: Zone, **_: Any) -> None:
    """The links are gone by the time the zone is."""
    instance._rules_on_it = list(instance.rules.values_list("pk", flat=True))  # type: ignore[attr-defined]


@receiver(post_delete, sender=Zone, dispatch_uid="alerts.zone.gone")
def _zone_gone(instance: Zone, origin: object = None, **_: Any) -> None:
    for rule in Rule.objects.filter(pk__in=getattr(instance, "_rules_on_it", ())):
        editing.republish(rule, now=timezone.now(), author=_author(instance) or _author(origin))


EMBEDDED = {Site: ("time_zone", "latitude", "longitude"), Camera: ("site_id",), View: ("camera_id", "ground")}
"""The columns of each place that versions of the rules on its zones depend on."""


def _place_going_to_move(sender: type[Row], instance: Any, raw: bool = False, **_: Any) -> None:
    columns = EMBEDDED[sender]
    before = None if raw else sender._default_manager.filter(pk=instance.pk).values_list(*columns).first()
    instance._moved = before is not None and before != tuple(getattr(instance, column) for column in columns)


def _place_moved(instance: Any, **_: Any) -> None:
    """Versions embed the site's clock, the camera and the ground: new ones where a place has another now."""
    if instance._moved:
        for rule in editing.rules_in(instance):
            editing.republish(rule, now=timezone.now(), author=_author(instance))


for _place in EMBEDDED:
    pre_save.connect(_place_going_to_move, sender=_place, dispatch_uid=f"alerts.moving.{_place.__name__}")
    post_save.connect(_place_moved, sender=_place, dispatch_uid=f"alerts.moved.{_place.__name__}")


@receiver(post_save, sender=Deployment, dispatch_uid="alerts.deployment.saved")
def _deployment_saved(instance: Deployment, created: bool, raw: bool = False, **_: Any) -> None:
    """Demand names the pool and stops with the deployment."""
    if not created and not raw:
        _rewrite_demand(instance)


@receiver(m2m_changed, sender=Deployment.cameras.through, dispatch_uid="alerts.deployment.cameras")
def _deployment_cameras(instance: Deployment | Camera, action: str, **_: Any) -> None:
    if action.startswith("post_") and isinstance(instance, Deployment):
        _rewrite_demand(instance)


def _rewrite_demand(deployment: Deployment) -> None:
    for rule in deployment.rules.filter(enabled=True):
        editing.write_demand(rule)


@receiver(post_delete, sender=RuleVersion, dispatch_uid="alerts.version.gone")
def _version_gone(instance: RuleVersion, **_: Any) -> None:
    """Demand names its version by uid only, so the database cannot clear it away."""
    Demand.objects.filter(wanted_by=instance.uid).delete()
    editing.touch()
