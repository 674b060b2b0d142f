"""One incident: its page, its pane, and what a person may do about it."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_POST

from alerts.incidents import acknowledge, resolve
from alerts.models import Incident
from alerts.transitions import IllegalTransition
from frontend.models import User, ViewAudit
from frontend.permissions import may_act
from frontend.views.page import fragment, never_stored, person_of
from frontend.views.pane import incident_or_404, pane_context
from frontend.views.room import room_page

NOTE_LENGTH = 500


@require_GET
@login_required
def show_incident(request: HttpRequest, uid: UUID) -> HttpResponse:
    """The room with this incident in its pane."""
    return room_page(request, incident_or_404(person_of(request), uid), "incident")


@require_GET
@login_required
def show_pane(request: HttpRequest, uid: UUID) -> HttpResponse:
    """The pane alone."""
    user = person_of(request)
    return fragment(request, "frontend/_incident.html", pane_context(user, incident_or_404(user, uid)))


@require_POST
@login_required
def acknowledge_incident(request: HttpRequest, uid: UUID) -> HttpResponse:
    """“I have it.” Nothing more is sent."""
    user = person_of(request)
    return _act(request, uid, "acknowledge", lambda: acknowledge(uid, by=user, through="screen", now=timezone.now()))


@require_POST
@login_required
def resolve_incident(request: HttpRequest, uid: UUID) -> HttpResponse:
    """Close the case with what it was."""
    user = person_of(request)
    disposition = request.POST.get("disposition", "")
    if disposition not in Incident.Disposition.values:
        return _refused(request, uid, _("Say what it was, then resolve it."), 422)
    note = request.POST.get("note", "").strip()[:NOTE_LENGTH]
    reason = _false_reason(request, disposition)
    return _act(
        request,
        uid,
        "resolve",
        lambda: resolve(
            uid,
            by=user,
            disposition=disposition,
            note=note,
            false_reason=reason,
            through="screen",
            now=timezone.now(),
        ),
    )


def _false_reason(request: HttpRequest, disposition: str) -> str:
    """What was chosen as the cause of a false alarm; one that was chosen before another answer was given is dropped."""
    reason = request.POST.get("false_reason", "")
    taken = disposition == Incident.Disposition.FALSE and reason in Incident.FalseReason.values
    return reason if taken else ""


def _act(request: HttpRequest, uid: UUID, action: str, do: Callable[[], object]) -> HttpResponse:
    user = person_of(request)
    incident = incident_or_404(user, uid)
    if not may_act(user):
        return _refused(request, uid, _("You may look, not act. Ask a supervisor for the operator's role."), 403)
    try:
        do()
    except IllegalTransition:
        return _refused(request, uid, _already(user, uid), 409)
    ViewAudit.objects.create(
        user=user, action=action, camera=incident.camera, subject=incident.uid, address=request.META.get("REMOTE_ADDR")
    )
    return never_stored(HttpResponse(status=204)) if _by_script(request) else _back(uid)


def _already(user: User, uid: UUID) -> str:
    """Why it could not be done: most often somebody was faster."""
    incident = incident_or_404(user, uid)
    name = incident.resolved_by or incident.acknowledged_by
    words = {"name": (name.get_full_name() or name.get_username()) if name else _("Somebody")}
    if incident.state == Incident.State.RESOLVED:
        return _("%(name)s has resolved it already.") % words
    if incident.state == Incident.State.ACKNOWLEDGED:
        return _("%(name)s has it already.") % words
    return _("Acknowledge it first, then resolve it.")


def _refused(request: HttpRequest, uid: UUID, sentence: str, status: int) -> HttpResponse:
    if _by_script(request):
        return never_stored(JsonResponse({"sentence": sentence}, status=status))
    messages.error(request, sentence)
    return _back(uid)


def _by_script(request: HttpRequest) -> bool:
    return request.headers.get("Accept") == "application/json"


def _back(uid: UUID) -> HttpResponse:
    return HttpResponseRedirect(reverse("incident", args=[uid]))
