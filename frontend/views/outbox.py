"""The outbox: what was or would be sent, exactly."""

from __future__ import annotations

from base64 import b64encode
from uuid import UUID

from django.conf import settings
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.utils import timezone
from django.views.decorators.http import require_GET

from alerts import spending
from alerts.models import Delivery
from frontend import queries
from frontend.permissions import visible_incidents
from frontend.views.page import fragment, never_stored, page, person_of
from frontend.views.pictures import picture_of
from streams.models import SequenceCounter

# An exhibit, not a page of ours: a message carries its own inline styles, as mail must. ``sandbox`` gives it an
# origin of its own in which nothing runs, loads or leads anywhere.
MESSAGE_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; sandbox; frame-ancestors 'self'"

CONTENT_ID = "cid:picture"


@require_GET
@login_required
def show_outbox(request: HttpRequest) -> HttpResponse:
    """The newest messages. With ``part=list`` only the list; 204 when nothing changed since ``after``."""
    user = person_of(request)
    change = SequenceCounter.current(SequenceCounter.CHANGES)
    wanted = request.GET.get("part") == "list"
    if wanted and request.GET.get("after") == str(change):
        return never_stored(HttpResponse(status=204))
    now = timezone.now()
    context = {
        "deliveries": list(queries.outbox(user)),
        "change": change,
        "loads": queries.operator_loads(user, now),
        "sms_used": spending.month_used(now),
        "sms_ceiling": settings.SMS_PER_MONTH,
    }
    if wanted:
        return fragment(request, "frontend/_outbox.html", context)
    return page(request, "frontend/outbox.html", "outbox", context)


@require_GET
@login_required
def message_html(request: HttpRequest, uid: UUID) -> HttpResponse:
    """The HTML of one e-mail as it was sent, for a frame; the enclosed picture in its place."""
    seen = Delivery.objects.filter(alert__incident__in=visible_incidents(person_of(request)))
    delivery = seen.select_related("alert__incident").filter(uid=uid).first()
    if delivery is None or not delivery.html:
        raise Http404
    response = never_stored(HttpResponse(_with_picture(request, delivery)))
    response.headers["Content-Security-Policy"] = MESSAGE_POLICY
    response.headers["X-Frame-Options"] = "SAMEORIGIN"
    return response


def _with_picture(request: HttpRequest, delivery: Delivery) -> str:
    """The message with its ``cid:`` picture, which only a mail program can follow, written out."""
    if CONTENT_ID not in delivery.html:
        return delivery.html
    try:
        jpeg = picture_of(request, delivery.alert.incident.uid, "message")
    except Http404:
        return delivery.html.replace(CONTENT_ID, "data:,")
    return delivery.html.replace(CONTENT_ID, f"data:image/jpeg;base64,{b64encode(jpeg).decode()}")
