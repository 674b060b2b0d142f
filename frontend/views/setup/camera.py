"""One camera's page: its picture with the zones, the rules on them, who is told, and where the pictures come from."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import msgspec
from django.db import IntegrityError, transaction
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_POST

from alerts import editing
from alerts.ground import Ground
from alerts.models import Zone
from frontend import queries, setup_queries
from frontend.templatetags.setup_words import ground_size
from frontend.views.page import never_stored, page, person_of
from frontend.views.setup.door import camera_or_404, configures, refuse, write_down
from streams.cameras import main_view
from streams.models import Camera

NAME_MOST = 100


@require_GET
@configures
def show_camera(request: HttpRequest, uid: UUID) -> HttpResponse:
    """The page. ``zone`` in the address: which one is shown as chosen."""
    camera = camera_or_404(uid)
    states = {state.camera.pk: state for state in queries.camera_states(person_of(request))}
    rules = setup_queries.rules_of(camera)
    zones = setup_queries.zones_of(camera)
    context: dict[str, Any] = {
        "camera": camera,
        "state": states.get(camera.pk),
        "view_row": main_view(camera),
        "zones": zones,
        "zones_for_script": [setup_queries.zone_for_script(zone) for zone in zones],
        "rules": rules,
        "told": _told(rules),
        "policies": setup_queries.policies_of(rules),
        "sources": setup_queries.sources_of(camera),
        "ground": main_view(camera).ground,
        "chosen": request.GET.get("zone", ""),
        "current_setup": "cameras",
    }
    return page(request, "frontend/setup/camera.html", "setup", context)


def _told(rules: list[Any]) -> list[Any]:
    """Everybody whom an enabled rule here tells, once."""
    found = {one.pk: one for rule in rules if rule.enabled for one in rule.recipients.all()}
    return sorted(found.values(), key=lambda recipient: recipient.name)


@require_POST
@configures
def save_zone(request: HttpRequest, uid: UUID) -> HttpResponse:
    """Make a zone of this camera, or change the one that ``zone`` names. 422 with the reason when it is refused."""
    camera = camera_or_404(uid)
    zone = _zone_asked(camera, request.POST.get("zone", ""))
    zone.name = request.POST.get("name", "").strip()[:NAME_MOST]
    zone.shape = request.POST.get("shape", zone.shape)
    if not zone.name:
        return refuse(_("Give the zone a name, for example “Dock lane”."), "name")
    try:
        # Strict JSON: no NaN, no numbers out of range, nothing nested deeper than a list of pairs.
        zone.points = msgspec.json.decode(request.POST.get("points", ""), type=list[tuple[float, float]])
    except (msgspec.DecodeError, RecursionError):
        return refuse(_("The corners could not be read. Draw the zone again."), "points")
    try:
        with transaction.atomic():
            editing.save_zone(zone, author=person_of(request))
    except editing.Refused as refused:
        return refuse(str(refused), refused.field)
    except IntegrityError:
        return refuse(_("This camera has a zone of this name already. Choose another name."), "name")
    write_down(request, "zone-saved", camera, zone.uid)
    return never_stored(JsonResponse(setup_queries.zone_for_script(zone)))


def _zone_asked(camera: Camera, uid: str) -> Zone:
    if not uid:
        return Zone(view=main_view(camera))
    try:
        zone = Zone.objects.filter(view__camera=camera, uid=UUID(uid)).first()
    except ValueError:
        zone = None
    if zone is None:
        raise Http404
    return zone


@require_POST
@configures
def save_ground(request: HttpRequest, uid: UUID) -> HttpResponse:
    """Calibrate the ground of this camera's view, or with an empty ``ground`` take that away. 422 with the reason."""
    camera = camera_or_404(uid)
    view, asked = main_view(camera), request.POST.get("ground", "")
    try:
        ground = msgspec.json.decode(asked, type=Ground) if asked else None
    except (msgspec.DecodeError, RecursionError):
        return refuse(_("The corners and lengths could not be read. Calibrate again."), "points")
    try:
        with transaction.atomic():
            editing.save_ground(view, ground, author=person_of(request))
    except editing.Refused as refused:
        return refuse(str(refused), refused.field)
    write_down(request, "ground-saved" if ground else "ground-cleared", camera)
    return never_stored(JsonResponse({"ground": view.ground, "size": ground_size(view.ground)}))


@require_POST
@configures
def delete_zone(request: HttpRequest, uid: UUID) -> HttpResponse:
    """Take a zone out. A rule that has no other is switched off with it, which the page says before."""
    camera = camera_or_404(uid)
    zone = _zone_asked(camera, request.POST.get("zone", "") or "none")
    write_down(request, "zone-deleted", camera, zone.uid)
    with transaction.atomic():
        zone.delete()
    return never_stored(HttpResponse(status=204))
