"""Cameras: all of them, adding one, changing one, taking one out."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.db import IntegrityError, transaction
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from alerts.removal import consequences, remove_camera
from frontend import queries, setup_queries, tried
from frontend.setup_forms import CameraForm, addresses_in
from frontend.views.page import fragment, never_stored, page, person_of
from frontend.views.pictures import thumbnail
from frontend.views.setup.door import camera_or_404, configures, write_down
from streams.cameras import main_view, read_reference, save_camera
from streams.credentials import unseal
from streams.models import Camera

CARD_WIDTH_PX = 480


@require_GET
@configures
def show_cameras(request: HttpRequest) -> HttpResponse:
    """Every camera with what it still needs."""
    states = {state.camera.pk: state for state in queries.camera_states(person_of(request))}
    context = {"rows": setup_queries.overview(states), "current_setup": "cameras"}
    return page(request, "frontend/setup/cameras.html", "setup", context)


@require_http_methods(["GET", "POST"])
@configures
def add_camera(request: HttpRequest) -> HttpResponse:
    """A new camera."""
    return _edit(request, None)


@require_http_methods(["GET", "POST"])
@configures
def edit_camera(request: HttpRequest, uid: UUID) -> HttpResponse:
    """Name, place and addresses of a camera."""
    return _edit(request, camera_or_404(uid))


def _edit(request: HttpRequest, camera: Camera | None) -> HttpResponse:
    if request.method == "POST":
        form = CameraForm(request.POST, camera=camera)
        if form.is_valid():
            saved = _save(form, camera)
            if saved is not None:
                return _saved(request, form, saved, new=camera is None)
    else:
        form = CameraForm(initial=CameraForm.initial_of(camera) if camera else _usual(), camera=camera)
    context = {"form": form, "camera": camera, "has_login": _has_login(camera), "current_setup": "cameras"}
    return page(request, "frontend/setup/camera_form.html", "setup", context)


def _usual() -> dict[str, Any]:
    """What a new camera most likely has in common with the last one that was added."""
    last = Camera.objects.order_by("-pk").first()
    people = [user.pk for user in CameraForm().fields["people"].queryset]  # type: ignore[attr-defined]
    return {"people": people, **({"site": last.site_id, "group": last.group_id} if last else {})}


def _has_login(camera: Camera | None) -> bool:
    return camera is not None and any(bytes(source.credentials) for source in camera.sources.all())


def _save(form: CameraForm, camera: Camera | None) -> Camera | None:
    """The camera as saved; None, with the reason on the form, when somebody was faster."""
    try:
        with transaction.atomic():
            return save_camera(form.draft(), camera)
    except IntegrityError:
        form.add_error("name", _("This site has a camera of this name already. Choose another name."))
        return None


def _saved(request: HttpRequest, form: CameraForm, camera: Camera, *, new: bool) -> HttpResponse:
    camera = camera_or_404(camera.uid)
    tried.take_up(request.POST.get("tried", ""), camera)
    write_down(request, "camera-added" if new else "camera-changed", camera)
    said = _("“%(camera)s” is saved. Draw what it is to watch.") if new else _("“%(camera)s” is saved.")
    messages.success(request, said % {"camera": camera.name})
    return redirect("setup-camera", camera.uid)


@require_POST
@configures
def try_addresses(request: HttpRequest) -> HttpResponse:
    """Try what the form holds, saved or not. ``camera``: whose kept log-in serves where none was typed."""
    camera = _named_camera(request.POST.get("camera", ""))
    user, password = request.POST.get("user_name", ""), request.POST.get("password", "")
    if camera is not None and not user and not password and not request.POST.get("forget_login"):
        kept = (unseal(source.credentials) for source in camera.sources.all())
        user, password = next(filter(None, kept), ("", ""))
    wanted = [
        tried.Wanted(role, address, user, password, main_view(camera).masks if camera else ())
        for _number, role, address in addresses_in(request.POST.dict())
    ]
    results = tried.try_all(wanted)
    write_down(request, "camera-tried", camera)
    context = {"tried": results, "name": tried.put_aside(results) if results else ""}
    return fragment(request, "frontend/setup/_tried.html", context)


def _named_camera(uid: str) -> Camera | None:
    try:
        return camera_or_404(UUID(uid)) if uid else None
    except ValueError:
        raise Http404 from None


@require_POST
@configures
def try_camera(request: HttpRequest, uid: UUID) -> HttpResponse:
    """Try a camera's own addresses again; what they give is kept."""
    camera = camera_or_404(uid)
    results = tried.try_all(tried.wanted_of(camera))
    tried.remember(camera, results)
    write_down(request, "camera-tried", camera)
    return fragment(request, "frontend/setup/_tried.html", {"tried": results, "name": ""})


@require_GET
@configures
def snapshot(request: HttpRequest, uid: UUID) -> HttpResponse:
    """The picture that zones are drawn on; with ``small`` one for the list, where an incident's will do as well."""
    camera = camera_or_404(uid)
    jpeg = read_reference(main_view(camera))
    if "small" in request.GET:
        jpeg = jpeg or setup_queries.last_picture(camera)
        jpeg = thumbnail(jpeg, CARD_WIDTH_PX) if jpeg else None
    if jpeg is None:
        raise Http404
    write_down(request, "snapshot", camera)
    return never_stored(HttpResponse(jpeg, content_type="image/jpeg"))


@require_POST
@configures
def switch_camera(request: HttpRequest, uid: UUID) -> HttpResponse:
    """On or off. Off, nothing is read or kept, and that is no alarm."""
    camera = camera_or_404(uid)
    camera.enabled = request.POST.get("on") == "1"
    camera.save(update_fields=["enabled"])
    write_down(request, "camera-on" if camera.enabled else "camera-off", camera)
    said = _("“%(camera)s” is watched again.") if camera.enabled else _("“%(camera)s” is switched off.")
    messages.success(request, said % {"camera": camera.name})
    return redirect("setup-camera", camera.uid)


@require_http_methods(["GET", "POST"])
@configures
def delete_camera(request: HttpRequest, uid: UUID) -> HttpResponse:
    """What goes with it, said first; then it goes."""
    camera = camera_or_404(uid)
    if request.method == "POST" and request.POST.get("sure") == "1":
        write_down(request, "camera-deleted", None, camera.uid)
        remove_camera(camera, author=person_of(request))
        messages.success(request, _("“%(camera)s” is deleted.") % {"camera": camera.name})
        return redirect("setup")
    context = {"camera": camera, "takes": consequences(camera), "current_setup": "cameras"}
    return page(request, "frontend/setup/camera_delete.html", "setup", context)
