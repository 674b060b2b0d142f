"""The rows as entries of a configuration's text. Reads only."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, time
from typing import Any

import msgspec
from django.db.models import QuerySet

from alerts.configuration.entries import (
    CameraEntry,
    CameraRef,
    ContactEntry,
    DeploymentEntry,
    Entries,
    Entry,
    GroupEntry,
    OverrideEntry,
    PolicyEntry,
    RecipientEntry,
    RotaEntry,
    RuleEntry,
    SilenceEntry,
    SiteEntry,
    StepEntry,
    TakeOverEntry,
    TeamEntry,
    TemplateEntry,
    ViewEntry,
    WindowEntry,
    ZoneEntry,
    nothing,
)
from alerts.contacts import in_use
from alerts.duty import with_turns
from alerts.ground import Ground
from alerts.models import (
    EscalationPolicy,
    EscalationStep,
    MaintenanceWindow,
    Recipient,
    Rota,
    Rule,
    RuleTemplate,
    Silence,
    Team,
    Zone,
)
from alerts.muting import Matchers
from alerts.rules.registry import BadConfig, read_config, settings_naming_rules
from alerts.schedule import parts
from detectors.models import Deployment
from streams.credentials import without_login
from streams.models import Camera, CameraGroup, Site, View

WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")


def read_rows(now: datetime) -> Entries:
    """Everything that is configured, without log-ins, and without what is over by ``now``."""
    found, names = nothing(), _Names.read()
    for kind, entries in (
        ("site", (_site(row) for row in Site.objects.all())),
        ("camera_group", (GroupEntry(name=row.name) for row in CameraGroup.objects.all())),
        ("camera", (_camera(row) for row in _cameras())),
        ("view", (_view(row) for row in View.objects.select_related("camera__site"))),
        ("zone", (_zone(row) for row in Zone.objects.select_related("view__camera__site"))),
        ("deployment", (_deployment(row) for row in _deployments())),
        ("recipient", (_recipient(row) for row in _recipients())),
        ("team", (_team(row) for row in Team.objects.prefetch_related("members"))),
        ("rota", (_rota(row, now) for row in with_turns())),
        ("policy", (_policy(row) for row in _policies())),
        ("template", (_template(row, names) for row in _templates())),
        ("rule", (_rule(row, names) for row in _rules())),
        ("window", _windows(names)),
        ("silence", (entry for _row, entry in silences(now, names))),
    ):
        _collect(found, kind, entries)
    return found


@dataclass(frozen=True, slots=True)
class _Names:
    """What is called what, by uid, for rows that keep no more of it."""

    sites: dict[str, str]
    cameras: dict[str, CameraRef]
    rules: dict[str, str]
    recipients: dict[str, str]
    deployments: dict[str, str]
    policies: dict[str, str]

    @classmethod
    def read(cls) -> _Names:
        """Of all rows."""
        return cls(
            sites=_by_uid(Site.objects.all()),
            cameras={str(one.uid): camera_ref(one) for one in Camera.objects.select_related("site")},
            rules=_by_uid(Rule.objects.all()),
            recipients=_by_uid(Recipient.objects.all()),
            deployments=_by_uid(Deployment.objects.all()),
            policies=_by_uid(EscalationPolicy.objects.all()),
        )

    def in_settings(self, kind: str, config: dict[str, Any]) -> dict[str, Any]:
        """``config`` with the rules that it waits for by name; one that is gone stays what it was."""
        named = {one: config[one] for one in settings_naming_rules(kind) if one in config}
        return config | {one: self.rules.get(uid, uid) for one, uid in named.items()}


def _by_uid(rows: QuerySet[Any]) -> dict[str, str]:
    return {str(uid): name for uid, name in rows.values_list("uid", "name")}


def _collect(found: Entries, kind: str, entries: Iterable[Entry]) -> None:
    for entry in entries:
        found[kind][entry.key] = entry


def _cameras() -> Iterable[Camera]:
    return Camera.objects.select_related("site", "group").prefetch_related("sources")


def _deployments() -> Iterable[Deployment]:
    return Deployment.objects.select_related("model").prefetch_related("cameras__site")


def _recipients() -> Iterable[Recipient]:
    return Recipient.objects.select_related("user").prefetch_related("contacts")


def _policies() -> Iterable[EscalationPolicy]:
    return EscalationPolicy.objects.prefetch_related("steps__recipients", "steps__teams", "steps__rotas")


def _templates() -> Iterable[RuleTemplate]:
    overrides = ("overrides__site", "overrides__group", "overrides__camera__site")
    return RuleTemplate.objects.select_related("deployment", "policy").prefetch_related(
        "cameras__site", "recipients", *overrides
    )


def _rules() -> Iterable[Rule]:
    rules = Rule.objects.select_related("deployment", "policy", "template", "template_camera__site")
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
        rests=row.rests,
        sources=dict(sorted(sources.items())),  # type: ignore[arg-type]
    )


def _view(row: View) -> ViewEntry:
    masks = [_points(mask) for mask in row.masks]
    ground = None if row.ground is None else msgspec.convert(row.ground, Ground)
    return ViewEntry(site=row.camera.site.name, camera=row.camera.name, name=row.name, masks=masks, ground=ground)


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
        static_regions=row.static_regions,
    )


def _recipient(row: Recipient) -> RecipientEntry:
    return RecipientEntry(
        name=row.name,
        user=row.user.get_username() if row.user else "",
        language=row.language,
        time_zone=row.time_zone,
        active=row.active,
        quiet_from=_clock(row.quiet_from),
        quiet_until=_clock(row.quiet_until),
        contacts=[ContactEntry(channel=one.channel, address=one.address) for one in in_use(row)],  # type: ignore[arg-type]
    )


def _clock(at: time | None) -> str | None:
    return f"{at:%H:%M}" if at else None


def _team(row: Team) -> TeamEntry:
    return TeamEntry(name=row.name, members=sorted(one.name for one in row.members.all()))


def _rota(row: Rota, now: datetime) -> RotaEntry:
    return RotaEntry(
        name=row.name,
        time_zone=row.time_zone,
        weekday=WEEKDAYS[row.weekday],  # type: ignore[arg-type]
        hand_over_at=f"{row.hand_over_at:%H:%M}",
        starts_on=row.starts_on.isoformat(),
        members=[place.recipient.name for place in row.places.all()],
        holidays=row.holidays,
        on_holidays=row.on_holidays.name if row.on_holidays else None,
        taken_over=[
            TakeOverEntry(recipient=one.recipient.name, from_at=one.from_at, until_at=one.until_at)
            for one in row.overrides.all()
            if one.until_at > now
        ],
    )


def _policy(row: EscalationPolicy) -> PolicyEntry:
    return PolicyEntry(name=row.name, repeats=row.repeats, steps=[_step(step) for step in row.steps.all()])


def _step(row: EscalationStep) -> StepEntry:
    return StepEntry(
        recipients=sorted(one.name for one in row.recipients.all()),
        teams=sorted(one.name for one in row.teams.all()),
        rotas=sorted(one.name for one in row.rotas.all()),
        channels=row.channels,
        wait_s=row.wait_s,
    )


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


def _template(row: RuleTemplate, names: _Names) -> TemplateEntry:
    overrides = [_override(one, row.kind, names) for one in row.overrides.all()]
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
        policy=row.policy.name if row.policy else None,
        why_it_matters=row.why_it_matters,
        procedure=row.procedure,
        config=names.in_settings(row.kind, full_config(row.kind, row.config)),
        overrides=sorted(overrides, key=lambda one: (one.site or "", one.group or "", one.camera or ("", ""))),
    )


def _override(row: Any, kind: str, names: _Names) -> OverrideEntry:
    changes = dict(sorted(row.changes.items()))
    if "recipients" in changes:
        known = names.recipients
        changes["recipients"] = sorted(known[uid] for uid in changes["recipients"] if uid in known)
    if "deployment" in changes:
        changes["deployment"] = names.deployments.get(changes["deployment"], "")
    if "policy" in changes:
        # The text has no word for "none"; one that is gone is told when the template is applied.
        changes["policy"] = names.policies.get(changes["policy"], "")
    if "config" in changes:
        changes["config"] = names.in_settings(kind, changes["config"])
    return OverrideEntry(
        site=row.site.name if row.site else None,
        group=row.group.name if row.group else None,
        camera=camera_ref(row.camera) if row.camera else None,
        changes=changes,
    )


def _rule(row: Rule, names: _Names) -> RuleEntry:
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
        policy=row.policy.name if row.policy else None,
        why_it_matters=row.why_it_matters,
        procedure=row.procedure,
        template=row.template.name if row.template else None,
        template_camera=camera_ref(row.template_camera) if row.template_camera else None,
        config=names.in_settings(row.kind, full_config(row.kind, row.config)),
    )


def _windows(names: _Names) -> Iterator[WindowEntry]:
    for row in MaintenanceWindow.objects.select_related("site"):
        meant = _meant(row.matchers, names)
        if meant is not None:
            when = _when(row.schedule)
            yield WindowEntry(site=row.site.name, name=row.name, enabled=row.enabled, **when, **meant)


def silences(now: datetime, names: _Names | None = None) -> Iterator[tuple[Silence, SilenceEntry]]:
    """Those that are not over by ``now``, the longest last. One that an incident ends belongs to that, and stays."""
    names = names or _Names.read()
    for row in Silence.objects.filter(until_at__gt=now, ends_with__isnull=True).order_by("until_at", "id"):
        meant = _meant(row.matchers, names)
        if meant is not None:
            yield row, SilenceEntry(reason=row.reason, from_at=row.from_at, until_at=row.until_at, **meant)


def _meant(matchers: Any, names: _Names) -> dict[str, Any] | None:
    """Matchers by name. None where one list has lost all that it meant: nothing fits any more, and nothing is muted."""
    meant = msgspec.convert(matchers, type=Matchers)
    known: dict[str, dict[str, Any]] = {"sites": names.sites, "cameras": names.cameras, "rules": names.rules}
    found = {
        field: sorted(named[str(uid)] for uid in getattr(meant, field) if str(uid) in named)
        for field, named in known.items()
    }
    if any(getattr(meant, field) and not left for field, left in found.items()):
        return None
    return {**found, "labels": sorted(meant.labels), "severities": sorted(meant.severities)}
