"""A whole site that is out is one incident, and it explains what is said of the site's cameras."""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID

from alerts.events import SEVERITIES, bare_event, hashed_uid
from alerts.grouping import SITE_OUTAGE, of_event
from alerts.incidents import Opened, take_in
from alerts.models import Event as EventRow
from alerts.mutes import health_rules, offline_since, sites_out
from streams.models import Camera, Site

SETTLE_S = 10.0
"""So long no camera of a site must have answered: sooner than the cameras' own rules fire, later than a blip."""


def open_outages(now: datetime) -> int:
    """Open an incident for each site that has gone out since the last look. Returns how many.

    Only where somebody wants to know of cameras that are offline: a rule of camera health is enabled there. The same
    outage opens one incident, however often it is looked at and whatever people do with it.
    """
    since = sites_out(offline_since())
    settled = {site: since_at for site, since_at in since.items() if now - since_at >= timedelta(seconds=SETTLE_S)}
    rows = Site.objects.filter(uid__in=settled)
    return sum(_open(site, settled[site.uid], now) for site in rows)


def _open(site: Site, since_at: datetime, now: datetime) -> bool:
    uid = _uid(site, since_at)
    if EventRow.objects.filter(uid=uid).exists():
        return False
    wanted = set(health_rules(site).values_list("severity", flat=True))
    severity = next((one for one in reversed(SEVERITIES) if one in wanted), None)
    if severity is None:
        return False
    cameras = list(Camera.objects.filter(site=site, enabled=True).select_related("site"))
    event = bare_event(
        uid=uid,
        source="device",
        kind=SITE_OUTAGE,
        severity=severity,
        camera=cameras[0].uid,
        label=SITE_OUTAGE,
        happened_at=since_at,
    )
    take_in(of_event(event, cameras[0], None), now=now, opened=Opened(cameras=cameras))
    return True


def _uid(site: Site, since_at: datetime) -> UUID:
    """Names an outage by its site and the moment when the last camera went."""
    return hashed_uid(f"{SITE_OUTAGE}|{site.uid}|{since_at.isoformat()}".encode())
