"""Silences and maintenance windows: what mutes now, what will, and what did."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import msgspec
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.urls import reverse
from django.utils import timezone
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from alerts import silences
from alerts.models import Incident, MaintenanceWindow, Silence
from alerts.muting import Matchers
from frontend.models import User
from frontend.muting_forms import SilenceForm, WindowForm
from frontend.permissions import concerns, may_act, may_silence, visible_incidents, visible_sites
from frontend.views.page import page, person_of
from frontend.views.setup.door import configures, write_down


@require_GET
@login_required
def show_silences(request: HttpRequest) -> HttpResponse:
    """Everything that concerns what this person sees."""
    user, now = person_of(request), timezone.now()
    found = silences.by_phase(now)
    rows = {name: [_row(user, one) for one in found[name] if _concerns(user, one)] for name in found}
    windows = MaintenanceWindow.objects.filter(site__in=visible_sites(user)).select_related("site", "author")
    muted = visible_incidents(user).exclude(muted_by="").exclude(state=Incident.State.RESOLVED)
    context = {"found": rows, "windows": windows, "muted": muted.count()}
    return page(request, "frontend/silences.html", "silences", context)


def _meant(silence: Silence) -> Matchers:
    return msgspec.convert(silence.matchers, type=Matchers)


def _concerns(user: User, silence: Silence) -> bool:
    return concerns(user, _meant(silence))


def _row(user: User, silence: Silence) -> dict[str, Any]:
    seen = visible_incidents(user).filter(ends_silences=silence).exists()
    return {"silence": silence, "mine_to_change": may_silence(user, _meant(silence)), "incident_seen": seen}


@require_http_methods(["GET", "POST"])
@login_required
def new_silence(request: HttpRequest) -> HttpResponse:
    """Ask what, until when and why."""
    user, now = person_of(request), timezone.now()
    if not may_act(user):
        raise Http404
    form = SilenceForm(request.POST if request.method == "POST" else None, user=user)
    if not (form.is_bound and form.is_valid()):
        return page(request, "frontend/silence_form.html", "silences", {"form": form, "silence": None})
    given = {name: form.cleaned_data[name] for name in ("reason", "from_at", "until_at")}
    made = silences.make_silence(msgspec.to_builtins(form.matchers), author=user, now=now, **given)
    write_down(request, "silence", None, made.uid)
    return redirect("silences")


@require_http_methods(["GET", "POST"])
@login_required
def edit_silence(request: HttpRequest, uid: UUID) -> HttpResponse:
    """Another end or reason."""
    user, silence = person_of(request), _silence_or_404(request, uid)
    form = SilenceForm(request.POST if request.method == "POST" else None, user=user, silence=silence)
    if not (form.is_bound and form.is_valid()):
        return page(request, "frontend/silence_form.html", "silences", {"form": form, "silence": silence})
    try:
        silences.change_silence(silence, now=timezone.now(), **form.cleaned_data)
        write_down(request, "silence-changed", None, silence.uid)
    except ValueError:
        messages.error(request, _("It is over already. Make another one."))
    return redirect("silences")


@require_POST
@login_required
def end(request: HttpRequest, uid: UUID) -> HttpResponse:
    """It ends now; what it withheld is told."""
    silence = _silence_or_404(request, uid)
    try:
        silences.end_silence(silence, by=person_of(request), now=timezone.now())
        write_down(request, "silence-ended", None, silence.uid)
    except ValueError:
        messages.error(request, _("It is over already."))
    return redirect(_back(request))


def _back(request: HttpRequest) -> str:
    """Where the button stood."""
    asked = request.POST.get("next", "")
    here = url_has_allowed_host_and_scheme(asked, {request.get_host()}, require_https=request.is_secure())
    return asked if asked and here else reverse("silences")


def _silence_or_404(request: HttpRequest, uid: UUID) -> Silence:
    """One that this person may change; of another nothing is told."""
    silence = Silence.objects.filter(uid=uid).first()
    if silence is None or not may_silence(person_of(request), _meant(silence)):
        raise Http404
    return silence


@require_http_methods(["GET", "POST"])
@configures
def new_window(request: HttpRequest) -> HttpResponse:
    """A new one."""
    return _window(request, MaintenanceWindow(author=person_of(request), schedule=[]))


@require_http_methods(["GET", "POST"])
@configures
def edit_window(request: HttpRequest, uid: UUID) -> HttpResponse:
    """One that is there."""
    return _window(request, _stored_window(uid))


def _window(request: HttpRequest, window: MaintenanceWindow) -> HttpResponse:
    form = WindowForm(request.POST if request.method == "POST" else None, window=window)
    if form.is_bound and form.is_valid():
        try:
            saved = silences.save_window(form.filled(), now=timezone.now())
        except ValueError as error:
            form.add_error("days_1", str(error))
        else:
            write_down(request, "window-saved", None, saved.uid)
            return redirect("silences")
    return page(request, "frontend/window_form.html", "silences", {"form": form, "window": window})


@require_POST
@configures
def delete_window(request: HttpRequest, uid: UUID) -> HttpResponse:
    """It is not there any more; what it withheld is told."""
    window = _stored_window(uid)
    write_down(request, "window-deleted", None, window.uid)
    silences.remove_window(window, now=timezone.now())
    return redirect("silences")


def _stored_window(uid: UUID) -> MaintenanceWindow:
    return get_object_or_404(MaintenanceWindow.objects.select_related("site"), uid=uid)
