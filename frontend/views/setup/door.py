"""The door of the set-up screens: whoever may not configure gets 404, as for everything that is not theirs to see."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any
from uuid import UUID

from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse

from frontend.models import ViewAudit
from frontend.permissions import may_configure
from frontend.views.page import never_stored, person_of
from streams.cameras import camera_or_none
from streams.models import Camera

View = Callable[..., HttpResponse]


def configures(view: View) -> View:
    """Only for people who may configure."""

    @login_required
    @wraps(view)
    def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if not may_configure(person_of(request)):
            raise Http404
        return view(request, *args, **kwargs)

    return guarded


def camera_or_404(uid: UUID) -> Camera:
    """The camera with that name in the address."""
    camera = camera_or_none(uid)
    if camera is None:
        raise Http404
    return camera


def refuse(sentence: str, field: str = "") -> HttpResponse:
    """Why something was not done, for the script that asked."""
    return never_stored(JsonResponse({"sentence": sentence, "field": field}, status=422))


def write_down(request: HttpRequest, action: str, camera: Camera | None, subject: UUID | None = None) -> None:
    """One audit row: a picture looked at, or something done; about ``camera`` unless ``subject`` names another."""
    if subject is None and camera is not None:
        subject = camera.uid
    ViewAudit.objects.create(
        user=person_of(request),
        action=action,
        camera=camera,
        subject=subject,
        address=request.META.get("REMOTE_ADDR"),
    )
