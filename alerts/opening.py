"""New incidents with the first line of their history; and how any line of a history is made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from alerts import transitions
from alerts.models import Incident, IncidentTransition, Recipient
from streams.models import Camera

if TYPE_CHECKING:
    from django.contrib.auth.models import AbstractBaseUser

NOTE_LENGTH = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """Who opens an incident, what they add, and whom it is to be told to beside those of a rule."""

    by: AbstractBaseUser | None = None
    through: str = transitions.ENGINE
    note: str = ""
    recipients: Sequence[Recipient] = ()
    cameras: Sequence[Camera] = ()
    """Those that it is about, where it is about the site."""


BY_ITSELF = Opened()


def insert(incidents: Sequence[Incident], opened: Opened, now: datetime) -> None:
    """Store new ``incidents``, in the caller's transaction: two statements, however many they are.

    Raises ``IntegrityError`` when the group of one has an unresolved incident already.
    """
    Incident.objects.bulk_create(incidents)
    IncidentTransition.objects.bulk_create([_first_line(incident, opened, now) for incident in incidents])
    for incident in incidents if opened.recipients or opened.cameras else ():
        incident.recipients.set(opened.recipients)
        incident.cameras.set(opened.cameras)


def _first_line(incident: Incident, opened: Opened, now: datetime) -> IncidentTransition:
    step = IncidentTransition.Action.STEP
    through, note = opened.through, opened.note
    return line(incident, step, now, after=incident.state, by=opened.by, through=through, note=note)


def line(
    incident: Incident,
    action: str,
    now: datetime,
    *,
    before: str = "",
    after: str = "",
    by: AbstractBaseUser | None = None,
    through: str = transitions.ENGINE,
    note: str = "",
    to: AbstractBaseUser | None = None,
) -> IncidentTransition:
    """One line of an incident's history, not stored yet."""
    return IncidentTransition(
        incident=incident,
        action=action,
        at=now,
        before=before,
        after=after,
        by=by,  # type: ignore[misc]
        through=through,
        # PostgreSQL's text cannot hold NUL.
        note=note.replace("\0", "").strip()[:NOTE_LENGTH],
        to=to,
    )
