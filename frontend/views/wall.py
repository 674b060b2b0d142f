"""The wall: every visible camera, live."""

from __future__ import annotations

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.http import require_GET

from frontend import queries
from frontend.templatetags.words import blind_word, offline_word
from frontend.views.page import never_stored, page, person_of


@require_GET
@login_required
def show_wall(request: HttpRequest) -> HttpResponse:
    """One tile for each camera; the pictures come by ``/ws/wall/``."""
    states = queries.camera_states(person_of(request))
    return page(request, "frontend/wall.html", "wall", {"states": states, "count": len(states)})


@require_GET
@login_required
def states(request: HttpRequest) -> HttpResponse:
    """What each tile says about its camera, as JSON by uid; asked for when the strip reads differently."""
    said = {
        str(state.camera.uid): {
            "sees": state.sees,
            "words": "" if state.sees else offline_word(state),
            "why": "" if state.sees else blind_word(state),
        }
        for state in queries.camera_states(person_of(request))
    }
    return never_stored(JsonResponse(said))
