"""What happened, whether a camera saw it or somebody reported it, and which incident it belongs to."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from alerts.events import STALE_S, Event, Severity, to_json
from alerts.models import RuleVersion
from streams.models import Camera, Site

NEWS_AFTER_S = 1800.0
"""After so long a quiet time a further event is news again, unless its rule says otherwise."""
SITE_OUTAGE = "site-outage"
"""The kind of event that says: no camera of this site answers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Happened:
    """One thing that happened. ``key`` names the group that has at most one unresolved incident."""

    uid: UUID
    source: str
    kind: str
    severity: Severity
    label: str
    happened_at: datetime
    site: Site
    camera: Camera | None
    """Where it was seen; none: it is about the site."""
    key: str
    content: Any
    """What is stored of it, as plain values."""
    about_site: bool = False
    """Its incident is the site's, whichever camera it came from."""
    version: RuleVersion | None = None
    title: str = ""
    zone_name: str = ""
    objects: float | None = None
    """How many at once, where that was counted."""
    stale_s: float = STALE_S
    news_after_s: float = NEWS_AFTER_S
    has_picture: bool = False

    @property
    def acting(self) -> UUID | None:
        """The rule version that made it; none: no rule did."""
        return None if self.version is None else self.version.uid

    @property
    def seen_by(self) -> int | None:
        """The key of the camera that saw it; none: it is about the site."""
        return None if self.about_site or self.camera is None else self.camera.pk

    def is_late(self, now: datetime) -> bool:
        """Known so long after it happened that it must not look like news."""
        return (now - self.happened_at).total_seconds() > self.stale_s


def of_event(event: Event, camera: Camera, version: RuleVersion | None) -> Happened:
    """An event as the engine made it, with the rows that it names."""
    config: dict[str, Any] = version.embedded.get("config", {}) if version else {}
    about_site = event.kind == SITE_OUTAGE or config.get("group_by") == "site"
    place = f"site:{camera.site.uid}" if about_site else str(camera.uid)
    return Happened(
        uid=event.uid,
        source=event.source,
        kind=event.kind,
        severity=event.severity,
        label=event.label,
        happened_at=event.happened_at,
        site=camera.site,
        camera=camera,
        key=f"{_cause(event, version)}@{place}",
        content=to_json(event),
        about_site=event.kind == SITE_OUTAGE,
        version=version,
        zone_name=_zone_name(event, version),
        objects=next((fact.value for fact in event.facts if fact.name == "objects"), None),
        stale_s=event.stale_s,
        news_after_s=float(config.get("news_after_s", NEWS_AFTER_S)),
        has_picture=event.frame is not None,
    )


def _cause(event: Event, version: RuleVersion | None) -> str:
    """The rule (all its versions), or what an event without one is."""
    return f"rule:{version.rule.uid}" if version else f"{event.source}:{event.kind}"


def _zone_name(event: Event, version: RuleVersion | None) -> str:
    zones: list[dict[str, Any]] = version.embedded.get("zones", []) if version else []
    return next((str(zone["name"]) for zone in zones if str(zone["uid"]) == str(event.zone)), "")
