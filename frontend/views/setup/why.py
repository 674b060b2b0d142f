"""Why did it not fire? Asked of the archive and answered on the page; nothing is changed, sent or kept."""

from __future__ import annotations

import logging
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET

from frontend import why_page
from frontend.permissions import visible_cameras
from frontend.views.page import page, person_of
from frontend.views.setup.door import configures, write_down
from streams.cameras import main_view

logger = logging.getLogger(__name__)


@require_GET
@configures
def show_why(request: HttpRequest) -> HttpResponse:
    """The form, and with ``ask`` in the address the answer. Takes a few seconds at most."""
    cameras = list(visible_cameras(person_of(request)).select_related("site").order_by("site__name", "name"))
    asked = why_page.read(request.GET, cameras, timezone.now())
    context: dict[str, Any] = {"asked": asked, "current_setup": "why"}
    context["pictured"] = asked.camera is not None and bool(main_view(asked.camera).reference)
    if "ask" in request.GET and asked.camera is not None:
        context |= _answered(request, asked)
    return page(request, "frontend/setup/why.html", "setup", context)


def _answered(request: HttpRequest, asked: why_page.Asked) -> dict[str, Any]:
    # The archive's reader takes 35 MB: only a web server that is asked for it loads it.
    from alerts.asking import ask

    if asked.problem or asked.at is None or asked.camera is None:
        return {"problem": asked.problem}
    write_down(request, "why-asked", asked.camera, asked.rule.uid if asked.rule else None)
    try:
        walks = ask(asked.camera, asked.at, asked.wanted)
    except OSError:
        logger.exception("why: the archive of camera %s could not be read", asked.camera.uid)
        return {"problem": _("The archive could not be read.")}
    return {"answered": True, "shown": why_page.shown(walks, asked)}
