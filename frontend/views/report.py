"""An incident that a person opens by hand."""

from __future__ import annotations

from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils import timezone
from django.views.decorators.http import require_http_methods

from alerts.reports import Report, open_by_hand
from frontend.models import ViewAudit
from frontend.muting_forms import ReportForm
from frontend.permissions import may_act
from frontend.views.page import page, person_of


@require_http_methods(["GET", "POST"])
@login_required
def new_incident(request: HttpRequest) -> HttpResponse:
    """Ask what has happened, and open it."""
    user, now = person_of(request), timezone.now()
    if not may_act(user):
        raise Http404
    form = ReportForm(request.POST if request.method == "POST" else None, user=user)
    if not (form.is_bound and form.is_valid()):
        return page(request, "frontend/new_incident.html", "room", {"form": form})
    opened = open_by_hand(Report(happened_at=now, **form.cleaned_data), by=user, through="screen", now=now)
    ViewAudit.objects.create(
        user=user, action="open", camera=opened.camera, subject=opened.uid, address=request.META.get("REMOTE_ADDR")
    )
    return redirect("incident", opened.uid)
