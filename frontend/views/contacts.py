"""What belongs to the person who asks: numbers and addresses, confirmed by whoever has them, and duties."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.db import transaction
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_POST

from alerts.confirmation import confirm, opt_out, send_code
from alerts.contacts import TAKEN_OUT, drop_contact, in_use
from alerts.duty import can_be_reached, outlook, with_turns
from alerts.editing import Refused
from alerts.models import Contact, Recipient, Rota, RotaOverride
from alerts.trial_message import Trial
from frontend.duty_strip import Drawn, drawn
from frontend.people_forms import TakeOverForm
from frontend.permissions import may_configure
from frontend.views.page import page, person_of
from frontend.views.setup.door import write_down

View = Callable[[HttpRequest, Contact], HttpResponse]


@dataclass(frozen=True, slots=True)
class Duty:
    """A rota in which the person has a turn, with the form to take more of it and what they took."""

    row: Drawn
    taking: TakeOverForm
    taken: list[RotaOverride]


def _owned(view: View) -> Callable[..., HttpResponse]:
    """For whoever's it is, and for people who may configure; to others it is not there."""

    @login_required
    @wraps(view)
    def guarded(request: HttpRequest, uid: UUID) -> HttpResponse:
        user = person_of(request)
        contact = Contact.objects.select_related("recipient").filter(uid=uid).exclude(disabled_reason=TAKEN_OUT).first()
        if contact is None or not (may_configure(user) or contact.recipient.user_id == user.pk):
            raise Http404
        return view(request, contact)

    return guarded


@require_GET
@login_required
def show_mine(request: HttpRequest) -> HttpResponse:
    """By what the person who asks is told, and when they are on duty."""
    return _show_mine(request)


def _show_mine(request: HttpRequest, wrong: TakeOverForm | None = None, of: Rota | None = None) -> HttpResponse:
    """``wrong``: what was typed for the rota ``of`` and cannot be."""
    now, reachable, mine = timezone.now(), can_be_reached(), _mine(request)
    rotas = with_turns(places__recipient__in=mine).distinct()
    duties = [
        Duty(
            drawn(outlook(rota, now, reachable)),
            wrong if wrong is not None and rota == of else TakeOverForm(rota=rota, who=mine),
            list(rota.overrides.filter(recipient__in=mine, until_at__gt=now)),
        )
        for rota in rotas
    ]
    people = [(one, in_use(one)) for one in mine.prefetch_related("contacts")]
    return page(request, "frontend/contacts.html", "contacts", {"people": people, "duties": duties})


def _mine(request: HttpRequest) -> QuerySet[Recipient]:
    return Recipient.objects.filter(user=person_of(request), active=True)


@require_POST
@login_required
def take_duty(request: HttpRequest, uid: UUID) -> HttpResponse:
    """“I take Tuesday night.” Only of a rota in which the person has a turn, and only for themselves."""
    mine = _mine(request)
    rota = with_turns(uid=uid, places__recipient__in=mine).first()
    if rota is None:
        raise Http404
    taking = TakeOverForm(request.POST, rota=rota, who=mine)
    if not taking.is_valid():
        return _show_mine(request, taking, rota)
    with transaction.atomic():
        RotaOverride.objects.create(
            rota=rota, author=person_of(request), created_at=timezone.now(), **taking.cleaned_data
        )
        write_down(request, "rota-override", None, rota.uid)
    return redirect("contacts")


@require_POST
@login_required
def give_duty_back(request: HttpRequest, override: int) -> HttpResponse:
    """Whoever's turn it is has it again."""
    row = RotaOverride.objects.filter(pk=override, recipient__in=_mine(request)).select_related("rota").first()
    if row is None:
        raise Http404
    with transaction.atomic():
        write_down(request, "rota-override", None, row.rota.uid)
        row.delete()
    return redirect("contacts")


@require_GET
@_owned
def show_contact(request: HttpRequest, contact: Contact) -> HttpResponse:
    """Whether it is confirmed, and how to do it."""
    return _show(request, contact)


@require_POST
@_owned
def send(request: HttpRequest, contact: Contact) -> HttpResponse:
    """A code goes there; of these only a few."""
    write_down(request, "code-sent", None, contact.uid)
    try:
        sent = send_code(contact, timezone.now(), asked_by=person_of(request))
    except Refused as refused:
        return _show(request, contact, problem=str(refused), status=422)
    return _show(request, contact, sent=sent)


@require_POST
@_owned
def enter_code(request: HttpRequest, contact: Contact) -> HttpResponse:
    """The code as it arrived."""
    try:
        confirm(contact, request.POST.get("code", "")[:20], timezone.now())
    except Refused as refused:
        return _show(request, contact, problem=str(refused), status=422)
    write_down(request, "contact-confirmed", None, contact.uid)
    messages.success(request, _("Confirmed. %(name)s is told here from now on.") % {"name": contact.recipient.name})
    return _back(request, contact)


@require_POST
@_owned
def unsubscribe(request: HttpRequest, contact: Contact) -> HttpResponse:
    """Its owner wants nothing more there. An administrator takes it out instead."""
    if contact.recipient.user_id != person_of(request).pk:
        raise Http404
    opt_out(contact, timezone.now())
    write_down(request, "contact-unsubscribed", None, contact.uid)
    messages.success(request, _("Nothing more is sent there."))
    return redirect("contact", contact.uid)


@require_POST
@_owned
def remove(request: HttpRequest, contact: Contact) -> HttpResponse:
    """Take it out."""
    write_down(request, "contact-removed", None, contact.uid)
    drop_contact(contact, timezone.now())
    return _back(request, contact)


def _back(request: HttpRequest, contact: Contact) -> HttpResponse:
    if may_configure(person_of(request)):
        return redirect("setup-person", contact.recipient.uid)
    return redirect("contacts")


def _show(
    request: HttpRequest, contact: Contact, *, problem: str = "", sent: Trial | None = None, status: int = 200
) -> HttpResponse:
    now = timezone.now()
    context = {
        "contact": contact,
        "problem": problem,
        "sent": sent,
        "is_mine": contact.recipient.user_id == person_of(request).pk,
        "code_waits": contact.codes.filter(address=contact.address, used_at__isnull=True, expires_at__gt=now).exists(),
    }
    response = page(request, "frontend/contact.html", "contacts", context)
    response.status_code = status
    return response
