"""The page behind a signed link: one button that acknowledges one incident. Looking at it changes nothing."""

from __future__ import annotations

import logging

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone, translation
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_http_methods

from alerts import answering
from alerts.models import Incident
from frontend.views.page import never_stored, theme_of

logger = logging.getLogger(__name__)


# The address is the secret, which no other site knows; a mail program's browser may keep no cookie to compare.
@csrf_exempt
@require_http_methods(["GET", "HEAD", "POST"])
def answer(request: HttpRequest, token: str) -> HttpResponse:
    """What happened, and “I have it”. A mail scanner that follows the link acknowledges nothing."""
    now = timezone.now()
    linked = answering.linked(token)
    if linked is None:
        logger.warning("a link to acknowledge was called that nobody signed, from %s", request.META.get("REMOTE_ADDR"))
        raise Http404
    expired = linked.expired(now)
    mine = request.method == "POST" and not expired and answering.acknowledge_as(linked.alert, "link", now)
    incident = Incident.objects.select_related("site", "camera", "rule").get(pk=linked.alert.incident_id)
    context = {
        "incident": incident,
        "expired": expired,
        "mine": mine,
        "waits": incident.state == Incident.State.OPEN and not expired,
        "theme": theme_of(request),
    }
    with translation.override(linked.alert.recipient.language):
        page = render(request, "frontend/answer.html", context, status=410 if expired else 200)
    page.headers["Referrer-Policy"] = "no-referrer"
    page.headers["X-Robots-Tag"] = "noindex"
    return never_stored(page)
