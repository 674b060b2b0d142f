"""Incidents that no camera saw: opened by people, and by other systems through the API."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING
from uuid import UUID

from alerts.events import SEVERITIES, EventSource, Severity, bare_event, hashed_uid, to_json
from alerts.grouping import Happened
from alerts.incidents import Opened, take_in
from alerts.models import Incident, Recipient
from streams.ids import new_uid
from streams.models import Camera, Site

if TYPE_CHECKING:
    from django.contrib.auth.models import AbstractBaseUser

TITLE_LENGTH, KEY_LENGTH = 200, 200
AHEAD = timedelta(minutes=5)
"""Clocks differ; what is said to happen later than this is a mistake."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What somebody says has happened at ``site``, seen by ``camera`` or by none."""

    title: str
    severity: Severity
    site: Site
    happened_at: datetime
    camera: Camera | None = None
    note: str = ""
    recipients: Sequence[Recipient] = ()
    kind: str = "manual"
    key: str = ""
    """Another system's own name of what happened: sent again it changes nothing."""
    group: str = ""
    """What shares it, with the kind and the place, is one incident while that is unresolved. Empty: the title."""


def open_by_hand(report: Report, *, by: AbstractBaseUser, through: str, now: datetime) -> Incident:
    """A new incident for what a person reports. Raises ``ValueError``."""
    uid = new_uid()
    # A person has decided that this is a case of its own.
    return _take_in(report, uid, f"manual:{uid}", "manual", by, through, now)


def report_from_outside(report: Report, *, by: AbstractBaseUser, now: datetime) -> Incident:
    """The incident that takes what another system reports: a new one, or the unresolved one of its group.

    Raises ``ValueError``.
    """
    place = report.camera.uid if report.camera else f"site:{report.site.uid}"
    group = hashed_uid(f"{report.kind}\x1f{report.group or report.title}".encode())
    uid = hashed_uid(f"{by.pk}\x1f{report.kind}\x1f{place}\x1f{report.key}".encode()) if report.key else new_uid()
    return _take_in(report, uid, f"external:{group}@{place}", "external", by, "api", now)


def _take_in(
    report: Report, uid: UUID, key: str, source: EventSource, by: AbstractBaseUser, through: str, now: datetime
) -> Incident:
    title = _checked_title(report, now)
    event = bare_event(
        uid=uid,
        source=source,
        kind=report.kind,
        severity=report.severity,
        camera=report.camera.uid if report.camera else report.site.uid,
        label="",
        happened_at=report.happened_at,
    )
    content = to_json(event)
    if report.camera is None:
        content["camera"] = None
    happened = Happened(
        uid=uid,
        source=source,
        kind=report.kind,
        severity=report.severity,
        label="",
        happened_at=report.happened_at,
        site=report.site,
        camera=report.camera,
        key=key,
        content=content,
        about_site=report.camera is None,
        title=title,
    )
    cameras = () if report.camera else list(Camera.objects.filter(site=report.site))
    opened = Opened(by=by, through=through, note=report.note, recipients=report.recipients, cameras=cameras)
    return take_in(happened, now=now, opened=opened)


def _checked_title(report: Report, now: datetime) -> str:
    title = " ".join(report.title.replace("\0", "").split())
    if not title or len(title) > TITLE_LENGTH:
        raise ValueError(f"title: expected 1 to {TITLE_LENGTH} characters, got {len(title)}; say what happened")
    if report.severity not in SEVERITIES:
        raise ValueError(f"severity: expected one of {', '.join(SEVERITIES)}, got {report.severity!r}; choose one")
    if report.camera is not None and report.camera.site_id != report.site.pk:
        raise ValueError(f"camera: expected one of {report.site.name}, got {report.camera.name}; choose its site")
    if report.happened_at > now + AHEAD:
        raise ValueError(f"happened_at: expected no later than now, got {report.happened_at.isoformat()}; correct it")
    return title
