"""Rotas: who is on duty now and next, and the weeks ahead with their gaps."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from alerts.calendar_feed import MEDIA_TYPE, close_feed, find_feed, open_feed, write_calendar
from alerts.duty import can_be_reached, outlook, outlooks, with_turns
from alerts.models import Rota, RotaMember, RotaOverride
from frontend.duty_strip import drawn
from frontend.middleware import room_zone
from frontend.people_forms import RotaForm, TakeOverForm
from frontend.views.page import never_stored, page, person_of
from frontend.views.setup.door import configures, write_down
from frontend.views.setup.people import drop_told

OVERRIDES_KEPT = timedelta(days=1)
"""How long one that is over is shown."""


@require_GET
@configures
def show_rotas(request: HttpRequest) -> HttpResponse:
    """Every rota, as it stands and as it goes on."""
    return _page(request, "rotas", {"rows": [drawn(one) for one in outlooks(timezone.now())]})


@require_http_methods(["GET", "POST"])
@configures
def add_rota(request: HttpRequest) -> HttpResponse:
    """A new one, in the clock of whoever makes it."""
    zone = room_zone.of(person_of(request).time_zone).key
    return _edit(request, Rota(time_zone=zone, starts_on=timezone.localdate() - timedelta(days=7)))


@require_http_methods(["GET", "POST"])
@configures
def edit_rota(request: HttpRequest, uid: UUID) -> HttpResponse:
    """One that is there."""
    return _edit(request, get_object_or_404(with_turns(), uid=uid))


def _edit(request: HttpRequest, rota: Rota) -> HttpResponse:
    form = RotaForm(request.POST if request.method == "POST" else None, instance=rota)
    if request.method == "POST" and form.is_valid():
        saved = _save(request, form)
        messages.success(request, _("“%(name)s” is saved.") % {"name": saved.name})
        return redirect("setup-rota", saved.uid)
    return _show(request, rota, form)


def _save(request: HttpRequest, form: RotaForm) -> Rota:
    with transaction.atomic():
        saved = form.save()
        saved.places.all().delete()
        RotaMember.objects.bulk_create(
            RotaMember(rota=saved, recipient_id=key, order=order) for order, key in enumerate(form.members)
        )
        write_down(request, "rota-saved", None, saved.uid)
    return saved


def _show(
    request: HttpRequest,
    rota: Rota,
    form: RotaForm | None = None,
    taking: TakeOverForm | None = None,
    feed: str = "",
) -> HttpResponse:
    now = timezone.now()
    context: dict[str, Any] = {"rota": rota, "form": form or RotaForm(instance=rota), "feed": feed}
    if rota.pk:
        context |= {
            "row": drawn(outlook(rota, now, can_be_reached())),
            "taking": taking or TakeOverForm(rota=rota),
            "overrides": rota.overrides.filter(until_at__gt=now - OVERRIDES_KEPT).select_related("recipient"),
        }
    return _page(request, "rota", context)


@require_POST
@configures
def take_over(request: HttpRequest, uid: UUID) -> HttpResponse:
    """Somebody takes the duty for a while."""
    rota = get_object_or_404(with_turns(), uid=uid)
    taking = TakeOverForm(request.POST, rota=rota)
    if not taking.is_valid():
        return _show(request, rota, taking=taking)
    with transaction.atomic():
        RotaOverride.objects.create(
            rota=rota, author=person_of(request), created_at=timezone.now(), **taking.cleaned_data
        )
        write_down(request, "rota-override", None, rota.uid)
    return redirect("setup-rota", rota.uid)


@require_POST
@configures
def drop_override(request: HttpRequest, uid: UUID, override: int) -> HttpResponse:
    """Whoever's turn it is has it again."""
    rota = get_object_or_404(with_turns(), uid=uid)
    with transaction.atomic():
        rota.overrides.filter(pk=override).delete()
        write_down(request, "rota-override", None, rota.uid)
    return redirect("setup-rota", rota.uid)


@require_POST
@configures
def change_feed(request: HttpRequest, uid: UUID) -> HttpResponse:
    """A new address of the calendar, shown this once; or none any more. The one before opens nothing from now on."""
    rota = get_object_or_404(with_turns(), uid=uid)
    if request.POST.get("on") != "1":
        close_feed(rota)
        write_down(request, "rota-feed-off", None, rota.uid)
        return redirect("setup-rota", rota.uid)
    secret = open_feed(rota)
    write_down(request, "rota-feed-on", None, rota.uid)
    return _show(request, rota, feed=request.build_absolute_uri(reverse("rota-feed", args=[secret])))


@require_POST
@configures
def delete_rota(request: HttpRequest, uid: UUID) -> HttpResponse:
    """It goes, unless a policy tells whoever has it."""
    return drop_told(request, get_object_or_404(Rota, uid=uid), "rota", "setup-rotas")


@require_GET
def feed(request: HttpRequest, secret: str) -> HttpResponse:
    """The calendar, for whoever has its address: a program that cannot log in."""
    rota = find_feed(secret)
    if rota is None:
        raise Http404
    response = HttpResponse(write_calendar(rota, timezone.now()), content_type=MEDIA_TYPE)
    response.headers["Content-Disposition"] = 'inline; filename="rota.ics"'
    return never_stored(response)


def _page(request: HttpRequest, name: str, context: dict[str, Any]) -> HttpResponse:
    return page(request, f"frontend/setup/{name}.html", "setup", {**context, "current_setup": "rotas"})
