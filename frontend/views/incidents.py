"""One incident: its page, its pane, and what a person may do about it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any
from uuid import UUID

import msgspec
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_POST

from alerts.events import SEVERITIES
from alerts.incidents import (
    AnotherUnresolved,
    acknowledge,
    add_note,
    assign,
    change_severity,
    reopen,
    resolve,
)
from alerts.models import Incident
from alerts.opening import NOTE_LENGTH
from alerts.silences import make_silence
from alerts.transitions import IllegalTransition
from frontend import silencing
from frontend.models import User, ViewAudit
from frontend.permissions import may_act, owners_for
from frontend.views.page import fragment, never_stored, person_of
from frontend.views.pane import incident_or_404, pane_context
from frontend.views.room import room_page

Disposition = Incident.Disposition


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
    given: dict[str, Any] = {
        "disposition": disposition,
        "false_reason": _detail(request, "false_reason", disposition, Disposition.FALSE, Incident.FalseReason.values),
        "handed_to": _detail(request, "handed_to", disposition, Disposition.HANDED_OVER, Incident.HandedTo.values),
        "note": _note(request),
    }
    return _act(request, uid, "resolve", lambda: resolve(uid, by=user, through="screen", now=timezone.now(), **given))


def _detail(request: HttpRequest, name: str, disposition: str, only: str, known: Sequence[str]) -> str:
    """What was chosen beside ``only``; one that was chosen before another answer was given is dropped."""
    value = request.POST.get(name, "")
    return value if disposition == only and value in known else ""


def _note(request: HttpRequest) -> str:
    return request.POST.get("note", "").strip()[:NOTE_LENGTH]


@require_POST
@login_required
def reopen_incident(request: HttpRequest, uid: UUID) -> HttpResponse:
    """It was not over."""
    user, note = person_of(request), _note(request)
    if not note:
        return _refused(request, uid, _("Say why it is open again."), 422)
    return _act(request, uid, "reopen", lambda: reopen(uid, by=user, note=note, through="screen", now=timezone.now()))


@require_POST
@login_required
def assign_incident(request: HttpRequest, uid: UUID) -> HttpResponse:
    """Give it to somebody who sees it and may act. Whoever gives an open one to themselves acknowledges it."""
    user = person_of(request)
    incident = incident_or_404(user, uid)
    to = next((one for one in owners_for(incident) if str(one.uid) == request.POST.get("to")), None)
    if to is None:
        return _refused(request, uid, _("Choose somebody who sees this camera and may act."), 422)
    if to == user and incident.state == Incident.State.OPEN:
        return acknowledge_incident(request, uid)
    given: dict[str, Any] = {"to": to, "by": user, "note": _note(request), "through": "screen"}
    return _act(request, uid, "assign", lambda: assign(uid, now=timezone.now(), **given))


@require_POST
@login_required
def note_on_incident(request: HttpRequest, uid: UUID) -> HttpResponse:
    """A line that stays in its history."""
    user, text = person_of(request), _note(request)
    if not text:
        return _refused(request, uid, _("Write what you saw or did, then save it."), 422)
    return _act(request, uid, "note", lambda: add_note(uid, text=text, by=user, through="screen", now=timezone.now()))


@require_POST
@login_required
def judge_incident(request: HttpRequest, uid: UUID) -> HttpResponse:
    """How bad it is, as this person judges it."""
    user, note = person_of(request), _note(request)
    severity = request.POST.get("severity", "")
    if severity not in SEVERITIES or not note:
        return _refused(request, uid, _("Choose how bad it is, and say why."), 422)
    given: dict[str, Any] = {"severity": severity, "note": note, "by": user, "through": "screen"}
    return _act(request, uid, "severity", lambda: change_severity(uid, now=timezone.now(), **given))


@require_POST
@login_required
def silence_incident(request: HttpRequest, uid: UUID) -> HttpResponse:
    """Nobody is told of its camera, its rule there, or its site, for a while."""
    user, now = person_of(request), timezone.now()
    incident = incident_or_404(user, uid)
    scope = next((one for one in silencing.scopes(user, incident) if one.key == request.POST.get("scope")), None)
    span, reason = request.POST.get("span", ""), request.POST.get("reason", "").strip()
    if scope is None or not reason or span not in dict(silencing.SPANS):
        return _refused(request, uid, _("Choose what is to be silent and for how long, and say why."), 422)
    given: dict[str, Any] = {"author": user, "reason": reason, "from_at": now, "until_at": silencing.until(span, now)}
    ends_with = incident if span == silencing.UNTIL_RESOLVED else None
    matchers = msgspec.to_builtins(scope.matchers)
    return _act(request, uid, "silence", lambda: make_silence(matchers, now=now, ends_with=ends_with, **given))


def _act(request: HttpRequest, uid: UUID, action: str, do: Callable[[], object]) -> HttpResponse:
    user = person_of(request)
    incident = incident_or_404(user, uid)
    if not may_act(user):
        return _refused(request, uid, _("You may look, not act. Ask a supervisor for the operator's role."), 403)
    try:
        do()
    except IllegalTransition:
        return _refused(request, uid, _already(user, uid), 409)
    except AnotherUnresolved:
        return _refused(request, uid, _("It happened again since: go on with the incident that is there."), 409)
    ViewAudit.objects.create(
        user=user, action=action, camera=incident.camera, subject=incident.uid, address=request.META.get("REMOTE_ADDR")
    )
    return never_stored(HttpResponse(status=204)) if _by_script(request) else _back(uid)


def _already(user: User, uid: UUID) -> str:
    """Why it could not be done: most often somebody was faster."""
    incident = incident_or_404(user, uid)
    name = incident.resolved_by or incident.owner or incident.acknowledged_by
    words = {"name": (name.get_full_name() or name.get_username()) if name else _("Somebody")}
    if incident.state == Incident.State.RESOLVED:
        return _("%(name)s has resolved it already.") % words
    if incident.state == Incident.State.ACKNOWLEDGED:
        return _("%(name)s has it already.") % words
    return _("It is open already.")


def _refused(request: HttpRequest, uid: UUID, sentence: str, status: int) -> HttpResponse:
    if _by_script(request):
        return never_stored(JsonResponse({"sentence": sentence}, status=status))
    messages.error(request, sentence)
    return _back(uid)


def _by_script(request: HttpRequest) -> bool:
    return request.headers.get("Accept") == "application/json"


def _back(uid: UUID) -> HttpResponse:
    return HttpResponseRedirect(reverse("incident", args=[uid]))
