"""Pictures leave only here: by ``visible_incidents``, each one looked at leaving an audit row."""

from __future__ import annotations

from uuid import UUID

import cv2
import numpy as np
from django.contrib.auth.decorators import login_required
from django.core.files.storage import default_storage
from django.http import Http404, HttpRequest, HttpResponse
from django.views.decorators.http import require_GET

from alerts.models import Event, Incident
from frontend.models import ViewAudit
from frontend.permissions import visible_events, visible_incidents
from frontend.views.page import person_of

THUMBNAIL_WIDTH_PX = 224
KEEP_S = 3600
"""How long the person's own browser may keep a picture: a queue of thumbnails is drawn again with every change."""


def _event_or_404(request: HttpRequest, incident: Incident | None) -> Event:
    seen = visible_events(person_of(request))
    events = seen.filter(incident=incident, picture=Event.Picture.KEPT).order_by("happened_at", "id")
    asked = request.GET.get("event", "")
    if asked:
        try:
            events = events.filter(uid=UUID(asked))
        except ValueError:
            raise Http404 from None
    event = events.first() if incident is not None else None
    if event is None:
        raise Http404
    return event


def _read(path: str) -> bytes:
    try:
        with default_storage.open(path) as file:
            return bytes(file.read())
    except (OSError, ValueError):
        raise Http404 from None


def thumbnail(jpeg: bytes, width_px: int = THUMBNAIL_WIDTH_PX) -> bytes:
    """``jpeg`` made ``width_px`` wide; as it is when it cannot be decoded or is no wider."""
    picture = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR) if jpeg else None
    if picture is None or picture.shape[1] <= width_px:
        return jpeg
    height_px = max(1, round(picture.shape[0] * width_px / picture.shape[1]))
    small = cv2.resize(picture, (width_px, height_px), interpolation=cv2.INTER_AREA)
    done, encoded = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, 80])
    return encoded.tobytes() if done else jpeg


def picture_of(request: HttpRequest, uid: UUID, action: str) -> bytes:
    """The JPEG, its audit row written. Raises ``Http404`` where there is none for this person."""
    user = person_of(request)
    incident = visible_incidents(user).filter(uid=uid).first()
    event = _event_or_404(request, incident)
    jpeg = _read(event.picture_path)
    ViewAudit.objects.create(
        user=user, action=action, camera=event.camera, subject=event.uid, address=request.META.get("REMOTE_ADDR")
    )
    return jpeg


def _answer(jpeg: bytes) -> HttpResponse:
    response = HttpResponse(jpeg, content_type="image/jpeg")
    response.headers["Cache-Control"] = f"private, max-age={KEEP_S}"
    return response


@require_GET
@login_required
def event_picture(request: HttpRequest, uid: UUID) -> HttpResponse:
    """The picture of the incident's first event, or of the one that ``event`` names."""
    return _answer(picture_of(request, uid, "picture"))


@require_GET
@login_required
def event_thumbnail(request: HttpRequest, uid: UUID) -> HttpResponse:
    """The same, small."""
    return _answer(thumbnail(picture_of(request, uid, "thumbnail")))
