"""News that became known long after it happened: both its times, so that it never looks like something new."""

from __future__ import annotations

from datetime import datetime, timedelta

from alerts.events import STALE_S
from alerts.models import Alert, Event

Times = tuple[datetime, datetime]
"""When it happened, and when it became known."""


def known_late(alert: Alert) -> Times | None:
    """When what ``alert`` says happened, and when it became known; None: it was said as it happened."""
    incident = alert.incident
    if incident.late:
        return incident.happened_at, incident.opened_at
    if alert.reason not in Alert.NEWS | {Alert.Reason.LATE}:
        return None
    # An alert carries the time at which its event became known. Of several the newest decides.
    known = Event.objects.filter(incident=alert.incident_id, known_at=alert.created_at)
    event = known.order_by("-happened_at").first()
    if event is None:
        return None
    stale = timedelta(seconds=float(event.content.get("stale_s", STALE_S)))
    return (event.happened_at, event.known_at) if event.known_at - event.happened_at > stale else None
