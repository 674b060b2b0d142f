"""Escalation policies: ordered steps, refused with the reason where they would tell nobody."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.db import transaction
from django.db.models import Count, ProtectedError, Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from alerts.editing import Refused
from alerts.models import EscalationPolicy
from alerts.policies import draft_of, policy_reaches, reaches, save_policy
from frontend.people_forms import PolicyForm
from frontend.views.page import page
from frontend.views.setup.door import configures, write_down


@require_GET
@configures
def show_policies(request: HttpRequest) -> HttpResponse:
    """Every policy with its steps, and the steps that reach nobody now."""
    steps = ("steps__recipients", "steps__teams", "steps__rotas")
    policies = EscalationPolicy.objects.prefetch_related(*steps)
    policies = policies.annotate(used=Count("rules", filter=Q(rules__enabled=True), distinct=True))
    rows = [(one, [(step, reaches(draft_of(step))) for step in one.steps.all()]) for one in policies]
    return _page(request, "policies", {"rows": rows})


@require_http_methods(["GET", "POST"])
@configures
def add_policy(request: HttpRequest) -> HttpResponse:
    """A new one."""
    return _edit(request, EscalationPolicy())


@require_http_methods(["GET", "POST"])
@configures
def edit_policy(request: HttpRequest, uid: UUID) -> HttpResponse:
    """One that is there. Incidents that wait go on by what is saved."""
    return _edit(request, get_object_or_404(EscalationPolicy, uid=uid))


def _edit(request: HttpRequest, policy: EscalationPolicy) -> HttpResponse:
    given = request.POST if request.method == "POST" else None
    form = PolicyForm(given, policy=policy)
    if given is not None and form.is_valid():
        try:
            _save(request, policy, form)
        except Refused as refused:
            form.add_error(refused.field or None, str(refused))
        else:
            messages.success(request, _("“%(name)s” is saved.") % {"name": policy.name})
            return redirect("setup-policies" if "more" not in given else "setup-policy", *_more(given, policy))
    lost = bool(policy.pk) and given is None and not policy_reaches(policy)
    return _page(request, "policy", {"policy": policy, "form": form, "lost": lost})


def _more(given: Any, policy: EscalationPolicy) -> list[UUID]:
    return [policy.uid] if "more" in given else []


def _save(request: HttpRequest, policy: EscalationPolicy, form: PolicyForm) -> None:
    policy.name, policy.repeats = form.cleaned_data["name"].strip(), form.cleaned_data["repeats"]
    with transaction.atomic():
        save_policy(policy, form.drafts())
        write_down(request, "policy-saved", None, policy.uid)


@require_POST
@configures
def delete_policy(request: HttpRequest, uid: UUID) -> HttpResponse:
    """It goes, unless a rule or a template goes by it."""
    policy = get_object_or_404(EscalationPolicy, uid=uid)
    try:
        with transaction.atomic():
            write_down(request, "policy-deleted", None, policy.uid)
            policy.delete()
    except ProtectedError:
        messages.error(request, _("Rules or templates go by it. Choose another policy there first."))
        return redirect("setup-policy", policy.uid)
    messages.success(request, _("“%(name)s” is deleted.") % {"name": policy.name})
    return redirect("setup-policies")


def _page(request: HttpRequest, name: str, context: dict[str, Any]) -> HttpResponse:
    return page(request, f"frontend/setup/{name}.html", "setup", {**context, "current_setup": "policies"})
