"""The room: queue and incident pane, and the fragments that keep them current."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_GET

from alerts.models import Incident
from frontend import queries
from frontend.models import User
from frontend.permissions import may_configure, visible_cameras, without_foreign
from frontend.views.page import fragment, never_stored, page, person_of, read_strip
from frontend.views.pane import pane_context
from streams.models import SequenceCounter


def asked_show(request: HttpRequest) -> str:
    """The queue's filter in the address; waiting unless it names another."""
    show = request.GET.get("show", "")
    return show if show in queries.SHOWS else queries.SHOWS[0]


def queue_context(user: User, show: str, selected: Incident | None = None) -> dict[str, Any]:
    """Everything the queue shows. The sequence is read first: what changes meanwhile is fetched again."""
    change = SequenceCounter.current(SequenceCounter.CHANGES)
    incidents = without_foreign(user, queries.queue(user, show))
    return {
        "show": show,
        "shows": queries.SHOWS,
        "rows": [(incident, {"picture": getattr(incident, "picture", None)}) for incident in incidents],
        "counts": queries.counts(user),
        "change": change,
        "selected": selected,
    }


def room_page(request: HttpRequest, selected: Incident | None, view: str) -> HttpResponse:
    """The room with ``selected`` in its pane. ``view`` says what a phone shows: the queue or the incident."""
    user = person_of(request)
    context = queue_context(user, asked_show(request), selected)
    if selected is None and context["rows"]:
        selected = queries.incident(user, context["rows"][0][0].uid)
        context["selected"] = selected
    context["view"] = view
    context["has_cameras"] = visible_cameras(user).exists()
    context["may_configure"] = may_configure(user)
    if selected is not None:
        context.update(pane_context(user, selected))
    else:
        context["last"] = queries.last_incident(user)
    return page(request, "frontend/room.html", "room", context)


@require_GET
@login_required
def show_room(request: HttpRequest) -> HttpResponse:
    """The queue, and the most pressing incident beside it."""
    return room_page(request, None, "queue")


@require_GET
@login_required
def show_queue(request: HttpRequest) -> HttpResponse:
    """The queue's rows; 204 when nothing changed since ``after``."""
    user = person_of(request)
    after = request.GET.get("after", "")
    if after.isdecimal() and int(after) == SequenceCounter.current(SequenceCounter.CHANGES):
        return never_stored(HttpResponse(status=204))
    return fragment(request, "frontend/_queue.html", queue_context(user, asked_show(request)))


@require_GET
@login_required
def show_strip(request: HttpRequest) -> HttpResponse:
    """The health strip."""
    return fragment(request, "frontend/_strip.html", {"strip": read_strip(person_of(request))})
