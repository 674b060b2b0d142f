"""A number or address on its own page: its owner, or an administrator beside them, confirms it there."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_POST

from alerts.confirmation import confirm, opt_out, send_code
from alerts.contacts import TAKEN_OUT, drop_contact, in_use
from alerts.editing import Refused
from alerts.models import Contact, Recipient
from alerts.trial_message import Trial
from frontend.permissions import may_configure
from frontend.views.page import page, person_of
from frontend.views.setup.door import write_down

View = Callable[[HttpRequest, Contact], HttpResponse]


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
    """By what the person who asks is told."""
    mine = Recipient.objects.filter(user=person_of(request)).prefetch_related("contacts")
    return page(request, "frontend/contacts.html", "contacts", {"people": [(one, in_use(one)) for one in mine]})


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
        sent = send_code(contact, timezone.now())
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
