"""A rota as a calendar that other programs fetch. Source: RFC 5545.

The address is the secret: whoever has it reads who is on duty, and nothing else. Only its digest is kept.
"""

from __future__ import annotations

import hashlib
import secrets
from datetime import datetime, timedelta

from django.utils.translation import gettext as _
from icalendar import Calendar, Event

from alerts.duty import Outlook, Shift, can_be_reached, outlook, with_turns
from alerts.models import Rota

BEHIND, AHEAD = timedelta(weeks=2), timedelta(weeks=12)
MEDIA_TYPE = "text/calendar; charset=utf-8"


def open_feed(rota: Rota) -> str:
    """A new secret for the calendar of ``rota``; the one before opens nothing any more. It cannot be shown again."""
    secret = secrets.token_urlsafe(32)
    rota.feed_digest = _digest(secret)
    rota.save(update_fields=["feed_digest"])
    return secret


def close_feed(rota: Rota) -> None:
    """Nobody fetches the calendar of ``rota`` any more."""
    rota.feed_digest = ""
    rota.save(update_fields=["feed_digest"])


def find_feed(secret: str) -> Rota | None:
    """The rota whose calendar ``secret`` opens."""
    return next((row for row in with_turns(feed_digest=_digest(secret))), None)


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def write_calendar(row: Rota, now: datetime) -> bytes:
    """Who is on duty, from two weeks ago to twelve weeks ahead; a gap is an entry, too."""
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    seen = outlook(row, midnight - BEHIND, can_be_reached(), BEHIND + AHEAD)
    calendar = Calendar()
    calendar.add("prodid", "-//Poliscope//rota//EN")
    calendar.add("version", "2.0")
    calendar.add("x-wr-calname", row.name)
    for shift in seen.shifts:
        calendar.add_component(_event(seen, shift, now))
    written: bytes = calendar.to_ical()
    return written


def _event(seen: Outlook, shift: Shift, now: datetime) -> Event:
    event = Event()
    # The same for as long as the shift begins then, so that a program changes its entry instead of adding one.
    event.add("uid", f"{seen.rota.uid}-{shift.from_at:%Y%m%dT%H%M%SZ}@poliscope")
    event.add("dtstamp", now)
    event.add("dtstart", shift.from_at)
    event.add("dtend", shift.until_at)
    name = shift.recipient.name if shift.recipient else _("nobody on duty")
    event.add("summary", _("%(rota)s: %(name)s") % {"rota": seen.rota.name, "name": name})
    event.add("transp", "TRANSPARENT")
    return event
