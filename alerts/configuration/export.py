"""The rows as entries of a configuration's text. Reads only."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from alerts.configuration.entries import (
    CameraEntry,
    CameraRef,
    ContactEntry,
    DeploymentEntry,
    Entries,
    Entry,
    GroupEntry,
    OverrideEntry,
    RecipientEntry,
    RuleEntry,
    SiteEntry,
    TemplateEntry,
    ViewEntry,
    ZoneEntry,
    nothing,
)
from alerts.models import Contact, Recipient, Rule, RuleTemplate, Zone
from alerts.rules.registry import BadConfig, read_config
from alerts.schedule import parts
from detectors.models import Deployment
from streams.credentials import without_login
from streams.models import Camera, CameraGroup, Site, View

TAKEN_OUT = "taken out of the configuration"
"""Why a contact is not used that must stay, since messages went to it."""


def read_rows() -> Entries:
    """Everything that is configured, without log-ins."""
    found = nothing()
    for kind, entries in (
        ("site", (_site(row) for row in Site.objects.all())),
        ("camera_group", (GroupEntry(name=row.name) for row in CameraGroup.objects.all())),
        ("camera", (_camera(row) for row in _cameras())),
        ("view", (_view(row) for row in View.objects.select_related("camera__site"))),
        ("zone", (_zone(row) for row in Zone.objects.select_related("view__camera__site"))),
        ("deployment", (_deployment(row) for row in _deployments())),
        ("recipient", (_recipient(row) for row in _recipients())),
        ("template", (_template(row) for row in _templates())),
        ("rule", (_rule(row) for row in _rules())),
    ):
        _collect(found, kind, entries)
    return found


def _collect(found: Entries, kind: str, entries: Iterable[Entry]) -> None:
    for entry in entries:
        found[kind][entry.key] = entry


def _cameras() -> Iterable[Camera]:
    return Camera.objects.select_related("site", "group").prefetch_related("sources")


def _deployments() -> Iterable[Deployment]:
    return Deployment.objects.select_related("model").prefetch_related("cameras__site")


def _recipients() -> Iterable[Recipient]:
    return Recipient.objects.select_related("user").prefetch_related("contacts")


def _templates() -> Iterable[RuleTemplate]:
    overrides = ("overrides__site", "overrides__group", "overrides__camera__site")
    return RuleTemplate.objects.select_related("deployment").prefetch_related("cameras__site", "recipients", *overrides)


def _rules() -> Iterable[Rule]:
    rules = Rule.objects.select_related("deployment", "template", "template_camera__site")
    return rules.prefetch_related("zones__view__camera__site", "recipients")


def camera_ref(camera: Camera) -> CameraRef:
    """How a camera is named."""
    return camera.site.name, camera.name


def _site(row: Site) -> SiteEntry:
    return SiteEntry(
        name=row.name, time_zone=row.time_zone, latitude=row.latitude, longitude=row.longitude, contact=row.contact
    )


def _camera(row: Camera) -> CameraEntry:
    sources = {source.role: without_login(source.address, source.address) for source in row.sources.all()}
    return CameraEntry(
        site=row.site.name,
        name=row.name,
        group=row.group.name,
        carrier=row.carrier,  # type: ignore[arg-type]
        enabled=row.enabled,
        evidence_px=row.evidence_px,
        gated=row.gated,
        sources=dict(sorted(sources.items())),  # type: ignore[arg-type]
    )


def _view(row: View) -> ViewEntry:
    masks = [_points(mask) for mask in row.masks]
    return ViewEntry(site=row.camera.site.name, camera=row.camera.name, name=row.name, masks=masks)


def _points(points: Iterable[Any]) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in points]


def _zone(row: Zone) -> ZoneEntry:
    camera = row.view.camera
    return ZoneEntry(
        site=camera.site.name,
        camera=camera.name,
        view=row.view.name,
        name=row.name,
        shape=row.shape,  # type: ignore[arg-type]
        points=_points(row.points),
    )


def _deployment(row: Deployment) -> DeploymentEntry:
    return DeploymentEntry(
        name=row.name,
        model=row.model.name,
        model_version=row.model.version,
        pool=row.pool,
        enabled=row.enabled,
        all_cameras=row.all_cameras,
        cameras=sorted(camera_ref(camera) for camera in row.cameras.all()),
        condition=row.condition,
        hz=row.hz,
    )


def _recipient(row: Recipient) -> RecipientEntry:
    contacts = sorted(_in_use(row), key=lambda contact: (contact.order, contact.pk))
    return RecipientEntry(
        name=row.name,
        user=row.user.get_username() if row.user else "",
        language=row.language,
        time_zone=row.time_zone,
        active=row.active,
        contacts=[ContactEntry(channel=one.channel, address=one.address) for one in contacts],
    )


def _in_use(row: Recipient) -> list[Contact]:
    """Those that a text did not take out; one that a provider refused is configured still."""
    return [one for one in row.contacts.all() if one.disabled_reason != TAKEN_OUT]


def full_config(kind: str, config: dict[str, Any]) -> dict[str, Any]:
    """The settings in the kind's order with what they leave out; of a kind that cannot be read, as they are."""
    try:
        plain: dict[str, Any] = msgspec.to_builtins(read_config(kind, config))
    except BadConfig:
        return dict(sorted(config.items()))
    return plain


def _when(stored: Any) -> dict[str, Any]:
    spans, holidays, on_holidays = parts(stored)
    return {"schedule": spans, "holidays": holidays, "on_holidays": on_holidays}


def _template(row: RuleTemplate) -> TemplateEntry:
    names = {str(one.uid): one.name for one in Recipient.objects.all()}
    overrides = [_override(one, names) for one in row.overrides.all()]
    return TemplateEntry(
        name=row.name,
        kind=row.kind,
        enabled=row.enabled,
        severity=row.severity,  # type: ignore[arg-type]
        zone_name=row.zone_name,
        deployment=row.deployment.name,
        cameras=sorted(camera_ref(camera) for camera in row.cameras.all()),
        **_when(row.schedule),
        recipients=sorted(one.name for one in row.recipients.all()),
        why_it_matters=row.why_it_matters,
        procedure=row.procedure,
        config=full_config(row.kind, row.config),
        overrides=sorted(overrides, key=lambda one: (one.site or "", one.group or "", one.camera or ("", ""))),
    )


def _override(row: Any, names: dict[str, str]) -> OverrideEntry:
    changes = dict(sorted(row.changes.items()))
    if "recipients" in changes:
        changes["recipients"] = sorted(names[uid] for uid in changes["recipients"] if uid in names)
    if "deployment" in changes:
        found = Deployment.objects.filter(uid=changes["deployment"]).first()
        changes["deployment"] = found.name if found else ""
    return OverrideEntry(
        site=row.site.name if row.site else None,
        group=row.group.name if row.group else None,
        camera=camera_ref(row.camera) if row.camera else None,
        changes=changes,
    )


def _rule(row: Rule) -> RuleEntry:
    zones = sorted((*camera_ref(zone.view.camera), zone.view.name, zone.name) for zone in row.zones.all())
    return RuleEntry(
        name=row.name,
        kind=row.kind,
        enabled=row.enabled,
        severity=row.severity,  # type: ignore[arg-type]
        deployment=row.deployment.name,
        zones=zones,
        **_when(row.schedule),
        recipients=sorted(one.name for one in row.recipients.all()),
        why_it_matters=row.why_it_matters,
        procedure=row.procedure,
        template=row.template.name if row.template else None,
        template_camera=camera_ref(row.template_camera) if row.template_camera else None,
        config=full_config(row.kind, row.config),
    )
