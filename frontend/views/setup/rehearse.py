"""Rehearsing a draft from the rule's form: begun, looked at each second, cancelled. Nothing of it is saved or sent."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

import msgspec
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_POST

from alerts import editing, rehearsals
from alerts.models import Rehearsal, Rule, RuleTemplate, Zone
from alerts.rule_templates import draft_on
from alerts.rules.registry import RULES
from alerts.sequences import KIND as SEQUENCE
from frontend.permissions import visible_cameras
from frontend.rehearsal_page import panel
from frontend.rule_forms import ShownForm, setup_form
from frontend.template_forms import template_form
from frontend.views.page import fragment, never_stored, person_of
from frontend.views.pictures import KEEP_S, thumbnail
from frontend.views.setup.door import camera_or_404, configures, refuse, write_down
from frontend.views.setup.rules import rule_or_404
from streams.cameras import main_view, read_reference
from streams.models import Camera

USUAL_DAYS = 7
CARD_WIDTH_PX = 320
WALKED = timedelta(hours=1)


@require_POST
@configures
def start(request: HttpRequest, uid: UUID, rule: UUID | None = None) -> HttpResponse:
    """Rehearse what the form holds. 422 with the reasons for which saving it would be refused."""
    camera = camera_or_404(uid)
    kind = request.GET.get("kind", "")
    edited = rule_or_404(camera, rule) if rule else Rule(kind=kind if kind in RULES else "presence")
    form = setup_form(edited.kind)(request.POST, instance=edited, camera=camera)
    if not form.is_valid():
        return _refused(form)
    zones = list(form.cleaned_data["zones"])
    try:
        cameras = _cameras_asked(request)
        if edited.kind != SEQUENCE:
            cameras = _with_a_zone(cameras or [camera], zones)
        draft = editing.draft_version(form.instance, zones=zones, now=timezone.now())
        wanted = rehearsals.Wanted(
            draft,
            [one.uid for one in cameras],
            _days_asked(request),
            timezone.now(),
            camera.site.time_zone,
            _anew_asked(request),
        )
        rehearsal = rehearsals.start(wanted, author=person_of(request))
    except (editing.Refused, rehearsals.CannotRehearse) as refused:
        return refuse(str(refused), getattr(refused, "field", ""))
    write_down(request, "rehearsed", camera, edited.uid if rule else camera.uid)
    return _shown(request, rehearsal)


@require_POST
@configures
def start_template(request: HttpRequest, uid: UUID | None = None) -> HttpResponse:
    """Rehearse what the template's form holds, as the rule that it would be on the one camera that was chosen."""
    kind = request.GET.get("kind", "")
    template = get_object_or_404(RuleTemplate, uid=uid) if uid else RuleTemplate(kind=kind if kind in RULES else "")
    if template.kind not in RULES:
        raise Http404
    camera = camera_or_404(_uid_asked(request))
    form = template_form(template.kind)(request.POST, instance=template)
    if not form.is_valid():
        return _refused(form)
    now = timezone.now()
    try:
        draft = draft_on(template, camera, now=now)  # as the form has filled it
        cameras = [] if template.kind == SEQUENCE else [camera.uid]
        wanted = rehearsals.Wanted(
            draft, cameras, _days_asked(request), now, camera.site.time_zone, _anew_asked(request)
        )
        rehearsal = rehearsals.start(wanted, author=person_of(request))
    except (editing.Refused, rehearsals.CannotRehearse) as refused:
        return refuse(str(refused), getattr(refused, "field", ""))
    write_down(request, "rehearsed", camera, draft.rule if uid else camera.uid)
    return _shown(request, rehearsal)


def _uid_asked(request: HttpRequest) -> UUID:
    try:
        return UUID(request.POST.get("rehearse_camera", ""))
    except ValueError:
        raise Http404 from None


def _anew_asked(request: HttpRequest) -> bool:
    return "rehearse_anew" in request.POST


def _refused(form: ShownForm) -> HttpResponse:
    """Everything that is wrong, each with its field's label."""
    lines = [
        f"{form.fields[name].label}: {error}" if name in form.fields else str(error)
        for name, errors in form.errors.items()
        for error in errors
    ]
    return never_stored(JsonResponse({"sentence": lines[0], "lines": lines}, status=422))


def _cameras_asked(request: HttpRequest) -> list[Camera]:
    """The cameras that were chosen, by name; there may be none."""
    try:
        uids = {UUID(text) for text in request.POST.getlist("rehearse_cameras")}
    except ValueError:
        raise Http404 from None
    cameras = list(visible_cameras(person_of(request)).filter(uid__in=uids).order_by("name"))
    if len(cameras) != len(uids):
        raise Http404
    return cameras


def _with_a_zone(cameras: list[Camera], zones: list[Zone]) -> list[Camera]:
    """``cameras``. Raises ``Refused`` for one without a zone of the draft."""
    watched = {zone.view.camera_id for zone in zones}
    for one in cameras:
        if one.pk not in watched:
            raise editing.Refused(
                _("The draft has no zone on “%(camera)s”. Choose a zone there, or another camera.")
                % {"camera": one.name},
                field="zones",
            )
    return cameras


def _days_asked(request: HttpRequest) -> int:
    asked = request.POST.get("rehearse_days", "")
    return next((days for days in rehearsals.DAYS if str(days) == asked), USUAL_DAYS)


def _shown(request: HttpRequest, rehearsal: Rehearsal) -> HttpResponse:
    cameras = visible_cameras(person_of(request)).filter(uid__in=rehearsal.cameras).prefetch_related("views")
    context: dict[str, Any] = {"panel": panel(rehearsal, cameras), "rehearsal": rehearsal}
    return fragment(request, "frontend/setup/_rehearsal.html", context)


def _own_or_404(request: HttpRequest, uid: UUID) -> Rehearsal:
    """A rehearsal is its author's: another finds none."""
    rehearsal = Rehearsal.objects.filter(uid=uid, author=person_of(request)).first()
    if rehearsal is None:
        raise Http404
    return rehearsal


@require_GET
@configures
def show(request: HttpRequest, uid: UUID) -> HttpResponse:
    """How it stands now."""
    rehearsals.notice_lost(timezone.now())
    return _shown(request, _own_or_404(request, uid))


@require_POST
@configures
def cancel(request: HttpRequest, uid: UUID) -> HttpResponse:
    """Stop it; what was found until now stays to be looked at."""
    rehearsals.cancel(_own_or_404(request, uid))
    return _shown(request, _own_or_404(request, uid))


@require_GET
@configures
def ground(request: HttpRequest, uid: UUID, camera: UUID) -> HttpResponse:
    """The camera's picture under the drawings of a rehearsal's tracks, small."""
    rehearsal = _own_or_404(request, uid)
    found = visible_cameras(person_of(request)).filter(uid=camera, uid__in=rehearsal.cameras).first()
    jpeg = read_reference(main_view(found)) if found else None
    if found is None or jpeg is None:
        raise Http404
    write_down(request, "rehearsal-picture", found, rehearsal.uid)
    return _kept_by_the_browser(thumbnail(jpeg, CARD_WIDTH_PX))


@require_GET
@configures
def track_picture(request: HttpRequest, uid: UUID, event: UUID) -> HttpResponse:
    """The archive's small picture of the object that a firing is about."""
    rehearsal = _own_or_404(request, uid)
    row = rehearsal.rows.filter(kind="firing", content__uid=str(event)).first()
    found = visible_cameras(person_of(request)).filter(uid=row.content["camera"]).first() if row else None
    jpeg = _archived_picture(row.content) if row and found else None
    if found is None or jpeg is None:
        raise Http404
    write_down(request, "rehearsal-picture", found, event)
    return _kept_by_the_browser(jpeg)


def _archived_picture(row: dict[str, Any]) -> bytes | None:
    # The archive's reader weighs as much as the rest of the web server's own code, and is seldom needed.
    from alerts.rehearsal_rows import Firing
    from alerts.rehearsal_run import picture_of_firing

    return picture_of_firing(msgspec.convert(row, Firing))


def _kept_by_the_browser(jpeg: bytes) -> HttpResponse:
    response = HttpResponse(jpeg, content_type="image/jpeg")
    response.headers["Cache-Control"] = f"private, max-age={KEEP_S}"
    return response


@require_GET
@configures
def walked(request: HttpRequest, uid: UUID) -> HttpResponse:
    """The tracks of the last hour, for the drawing under the zones."""
    # As above.
    from alerts.walked import walked as tracks_of

    camera = camera_or_404(uid)
    try:
        tracks = tracks_of(camera.uid, timezone.now(), WALKED)
    except OSError:
        return refuse(_("The archive could not be read."))
    write_down(request, "walked", camera)
    return never_stored(JsonResponse(msgspec.to_builtins(tracks)))
