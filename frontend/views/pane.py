"""What the incident pane shows, on its own page and beside the queue."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.http import Http404
from django.utils.translation import gettext as _

from alerts.models import Incident, Severity
from alerts.telling import upcoming
from frontend import queries, silencing
from frontend.models import User
from frontend.permissions import may_act, may_configure, owners_for


def incident_or_404(user: User, uid: UUID) -> Incident:
    """The incident; a person who may not see it learns no more than one who made the address up."""
    incident = queries.incident(user, uid)
    if incident is None:
        raise Http404(_("There is no such incident."))
    return incident


def pane_context(user: User, incident: Incident) -> dict[str, Any]:
    """Everything the incident pane shows."""
    unresolved = incident.state != Incident.State.RESOLVED
    acts = may_act(user)
    return {
        "incident": incident,
        # One of perhaps thousands, each with its boxes and path; of the others only their number is shown.
        "event": queries.first_event(user, incident),
        "again": range(1, incident.event_count),
        "receipts": queries.receipts(incident),
        "upcoming": upcoming(incident),
        "dispositions": Incident.Disposition.choices,
        "false_reasons": Incident.FalseReason.choices,
        "handed_to": Incident.HandedTo.choices,
        "severities": Severity.choices,
        "owners": owners_for(incident) if acts and unresolved else (),
        "scopes": silencing.scopes(user, incident) if acts and unresolved else (),
        "spans": silencing.SPANS,
        "may_act": acts,
        "may_configure": may_configure(user),
        "person_now": user,
    }
