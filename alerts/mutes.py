"""What may mute incidents at a moment, read from the database for ``alerts.muting`` to judge."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from django.db.models import Q, QuerySet

from alerts.grouping import SITE_OUTAGE
from alerts.models import Incident, MaintenanceWindow, Rule
from alerts.models import Silence as SilenceRow
from alerts.muting import Matchers, Mutes, Silence, Subject, Window
from alerts.rules.config import Schedule
from alerts.schedule import follows_sun, parts
from streams.models import BlindSpan, Camera, Site
from streams.problems import Trouble

logger = logging.getLogger(__name__)

HEALTH = "health"
NOT_THE_CAMERA = ("connecting", "silent")
"""Blind, and our own doing: capture has only begun, or is gone."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What mutes by the clock, now or later."""

    silences: Sequence[Silence] = ()
    windows: Sequence[Window] = ()


def plan(now: datetime) -> Plan:
    """Every silence that is not over at ``now``, and every window that is on."""
    silences = SilenceRow.objects.filter(until_at__gt=now)
    windows = MaintenanceWindow.objects.filter(enabled=True).select_related("site")
    return Plan(
        silences=[Silence(row.pk, _matchers(row.matchers), row.from_at, row.until_at) for row in silences],
        windows=[window for row in windows if (window := _window(row)) is not None],
    )


def load(now: datetime) -> Mutes:
    """Everything that may mute at ``now``."""
    planned, out = plan(now), offline_since()
    return Mutes(
        at=now,
        silences=[one for one in planned.silences if one.applies(now)],
        windows=planned.windows,
        cameras_out={camera.uid: since_at for camera, since_at in out.items()},
        sites_out={site: since_at for site, since_at in sites_out(out).items() if _was_told(site, since_at)},
    )


def _matchers(given: Any) -> Matchers:
    return msgspec.convert(given, type=Matchers)


def _window(row: MaintenanceWindow) -> Window | None:
    """None for one that follows the sun of a site that has lost its place on the map: unknown mutes nothing."""
    schedule = window_schedule(row)
    if follows_sun(schedule) and (schedule.latitude is None or schedule.longitude is None):
        logger.error("window %s: follows the sun, and %s has no map position; it mutes nothing", row.uid, row.site)
        return None
    return Window(row.pk, row.site.uid, _matchers(row.matchers), schedule)


def window_schedule(window: MaintenanceWindow) -> Schedule:
    """When ``window`` is open, in its site's clock and under its site's sun."""
    spans, holidays, on_holidays = parts(window.schedule)
    plain = {"spans": spans, "holidays": holidays, "on_holidays": on_holidays}
    site = window.site
    place = {"time_zone": site.time_zone, "latitude": site.latitude, "longitude": site.longitude}
    return msgspec.convert({**plain, **place}, type=Schedule)


def offline_since() -> dict[Camera, datetime]:
    """The enabled cameras from which nothing comes, through no fault of ours, and since when."""
    spans = BlindSpan.objects.filter(deployment__isnull=True, to_at__isnull=True, camera__enabled=True)
    spans = spans.exclude(reason__in=[*NOT_THE_CAMERA, *(trouble.value for trouble in Trouble)])
    return {span.camera: span.from_at for span in spans.select_related("camera__site").order_by("-from_at")}


def sites_out(out: dict[Camera, datetime]) -> dict[UUID, datetime]:
    """The sites of which no camera answers, two at least, and since when not even the last one does."""
    sites = {camera.site_id for camera in out}
    found = {}
    for site in Site.objects.filter(pk__in=sites):
        cameras = set(Camera.objects.filter(site=site, enabled=True, sources__isnull=False).distinct())
        if len(cameras) > 1 and cameras <= out.keys():
            found[site.uid] = max(out[camera] for camera in cameras)
    return found


def _was_told(site: UUID, since_at: datetime) -> bool:
    """A site that is out explains its cameras only once it is an incident of its own."""
    return Incident.objects.filter(kind=SITE_OUTAGE, site__uid=site, last_event_at__gte=since_at).exists()


def health_rules(site: Site) -> QuerySet[Rule]:
    """The rules by which somebody wants to know of cameras of ``site`` that are offline."""
    rules = Rule.objects.filter(enabled=True, kind=HEALTH, zones__view__camera__site=site)
    return rules.filter(Q(config__offline=True) | ~Q(config__has_key="offline")).distinct()


def subject_of(incident: Incident) -> Subject:
    """What of ``incident`` decides whether it is muted."""
    kind = incident.rule_version.kind if incident.rule_version else ""
    return Subject(
        site=incident.site.uid,
        camera=incident.camera.uid if incident.camera else None,
        rule=incident.rule.uid if incident.rule else None,
        label=incident.label,
        severity=incident.severity,  # type: ignore[arg-type]
        happened_at=incident.last_event_at,
        analytic=bool(kind) and kind != HEALTH,
        of_camera_health=kind == HEALTH,
    )


def key_of(incident: Incident) -> int | None:
    """The key of the silence or window that mutes it."""
    return incident.muted_silence_id or incident.muted_window_id
