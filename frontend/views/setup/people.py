"""People who are told, and teams of them."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from alerts.contacts import in_use
from alerts.models import Recipient, Rota, Team
from frontend import setup_queries
from frontend.people_forms import ContactAddForm, RecipientPageForm, TeamForm
from frontend.views.page import page
from frontend.views.setup.door import configures, write_down


@require_GET
@configures
def show_people(request: HttpRequest) -> HttpResponse:
    """Everybody who may be told, and how far they can be; teams below."""
    people = Recipient.objects.select_related("user").prefetch_related("contacts")
    context = {
        "people": [(one, in_use(one)) for one in people],
        "teams": Team.objects.prefetch_related("members"),
    }
    return _page(request, "people", context)


@require_http_methods(["GET", "POST"])
@configures
def add_person(request: HttpRequest) -> HttpResponse:
    """Somebody new."""
    return _edit(request, Recipient(language=str(getattr(request, "LANGUAGE_CODE", "en"))))


@require_http_methods(["GET", "POST"])
@configures
def edit_person(request: HttpRequest, uid: UUID) -> HttpResponse:
    """Somebody who is there."""
    return _edit(request, get_object_or_404(Recipient, uid=uid))


def _edit(request: HttpRequest, person: Recipient) -> HttpResponse:
    form = RecipientPageForm(request.POST if request.method == "POST" else None, instance=person)
    if request.method == "POST" and form.is_valid():
        with transaction.atomic():
            saved = form.save()
            write_down(request, "person-saved", None, saved.uid)
        messages.success(request, _("“%(name)s” is saved.") % {"name": saved.name})
        return redirect("setup-person", saved.uid)
    return _show_person(request, person, form, None)


def _show_person(
    request: HttpRequest, person: Recipient, form: RecipientPageForm, adding: ContactAddForm | None
) -> HttpResponse:
    context = {
        "person": person,
        "form": form,
        "adding": adding or (ContactAddForm(recipient=person) if person.pk else None),
        "contacts": in_use(person) if person.pk else [],
    }
    return _page(request, "person", context)


@require_POST
@configures
def add_contact(request: HttpRequest, uid: UUID) -> HttpResponse:
    """One more number or address, which is told nothing yet: the next page asks it."""
    person = get_object_or_404(Recipient, uid=uid)
    adding = ContactAddForm(request.POST, recipient=person)
    if not adding.is_valid():
        return _show_person(request, person, RecipientPageForm(instance=person), adding)
    with transaction.atomic():
        contact = adding.add()
        write_down(request, "contact-added", None, contact.uid)
    return redirect("contact", contact.uid)


@require_http_methods(["GET", "POST"])
@configures
def add_team(request: HttpRequest) -> HttpResponse:
    """A new one."""
    return _edit_team(request, Team())


@require_http_methods(["GET", "POST"])
@configures
def edit_team(request: HttpRequest, uid: UUID) -> HttpResponse:
    """One that is there."""
    return _edit_team(request, get_object_or_404(Team, uid=uid))


def _edit_team(request: HttpRequest, team: Team) -> HttpResponse:
    form = TeamForm(request.POST if request.method == "POST" else None, instance=team)
    if request.method == "POST" and form.is_valid():
        with transaction.atomic():
            saved = form.save()
            write_down(request, "team-saved", None, saved.uid)
        messages.success(request, _("“%(name)s” is saved.") % {"name": saved.name})
        return redirect("setup-people")
    reached = {str(reach.recipient.pk) for reach in setup_queries.reachable() if reach.is_reached}
    return _page(request, "team", {"team": team, "form": form, "reached": reached})


@require_POST
@configures
def delete_team(request: HttpRequest, uid: UUID) -> HttpResponse:
    """It goes, unless a policy tells it."""
    return drop_told(request, get_object_or_404(Team, uid=uid), "team", "setup-people")


def drop_told(request: HttpRequest, row: Team | Rota, what: str, others: str) -> HttpResponse:
    """``row`` goes, and on to the ``others``; while a policy tells it, it stays and its page says so."""
    if (step := row.steps.select_related("policy").first()) is not None:
        told = _("The policy “%(policy)s” tells it. Take it out there first.")
        messages.error(request, told % {"policy": step.policy.name})
        return redirect(f"setup-{what}", row.uid)
    with transaction.atomic():
        write_down(request, f"{what}-deleted", None, row.uid)
        row.delete()
    messages.success(request, _("“%(name)s” is deleted.") % {"name": row.name})
    return redirect(others)


def _page(request: HttpRequest, name: str, context: dict[str, Any]) -> HttpResponse:
    return page(request, f"frontend/setup/{name}.html", "setup", {**context, "current_setup": "people"})
