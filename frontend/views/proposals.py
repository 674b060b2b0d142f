"""From a false alarm to a change of its rule: looked for when asked, shown with its counts, saved by nobody here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode
from uuid import UUID

from django.http import Http404, HttpRequest, HttpResponse
from django.urls import reverse
from django.views.decorators.http import require_GET

from alerts.models import Incident, Rule
from alerts.sequences import KIND as SEQUENCE
from frontend import drafts, proposal_words
from frontend.views.page import fragment, page, person_of
from frontend.views.pane import incident_or_404
from frontend.views.setup.door import configures
from streams.models import Camera

if TYPE_CHECKING:
    from alerts.proposing import Proposed


@require_GET
@configures
def show_proposal(request: HttpRequest, uid: UUID) -> HttpResponse:
    """The proposal on a page of its own, for browsers without scripts."""
    return page(request, "frontend/proposal.html", "room", _context(request, uid))


@require_GET
@configures
def show_proposal_part(request: HttpRequest, uid: UUID) -> HttpResponse:
    """The proposal alone. Takes a few seconds at most."""
    return fragment(request, "frontend/_proposal.html", _context(request, uid))


def _context(request: HttpRequest, uid: UUID) -> dict[str, Any]:
    # The archive's reader takes 35 MB: only a web server that is asked for a proposal loads it.
    from alerts.proposing import propose_for

    incident = incident_or_404(person_of(request), uid)
    if incident.disposition != Incident.Disposition.FALSE:
        raise Http404
    found = propose_for(incident)
    common = {"incident": incident, "found": found, "remarks": proposal_words.remarks(found)}
    if found.proposal is None:
        return {**common, "why_none": proposal_words.why_none(found)}
    return {
        **common,
        "outcome": proposal_words.outcome(found),
        "changes": proposal_words.changes(found),
        "mask": found.proposal.mask,
        "event": incident.events.first(),
        "form_address": _form_address(incident, found),
    }


def _form_address(incident: Incident, found: Proposed) -> str:
    """The rule's form with the change filled in; empty where the rule has left this camera."""
    rule = incident.rule
    camera = None if rule is None else _form_camera(rule, incident.camera)
    if rule is None or camera is None or found.before is None or found.proposal is None:
        return ""
    draft = drafts.signed(drafts.draft_of(found.before, found.proposal.rule, found.proposal.mask))
    return f"{reverse('setup-rule', args=[camera.uid, rule.uid])}?{urlencode({'draft': draft})}"


def _form_camera(rule: Rule, camera: Camera | None) -> Camera | None:
    """The camera on whose pages ``rule`` is edited: this one; of a sequence, which fires on others too, any of its."""
    zones = rule.zones.select_related("view__camera")
    zone = zones.filter(view__camera=camera).first() or (zones.first() if rule.kind == SEQUENCE else None)
    return None if zone is None else zone.view.camera
