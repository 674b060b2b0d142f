"""A rule on a camera, and who is told: written, switched, and tried out with a message."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST

from alerts import editing, history
from alerts.models import Contact, Recipient, Rule, Zone
from alerts.rehearsals import DAYS
from alerts.rules.registry import RULES
from alerts.sequences import KIND as SEQUENCE
from alerts.trial_message import send_trial
from frontend import drafts, setup_queries
from frontend.drafts import Draft
from frontend.rule_forms import RecipientForm, SetupRuleForm, setup_form, usual_rule
from frontend.views.page import fragment, page, person_of
from frontend.views.setup.door import camera_or_404, configures, refuse, write_down
from streams.models import Camera


@require_http_methods(["GET", "POST"])
@configures
def add_rule(request: HttpRequest, uid: UUID) -> HttpResponse:
    """A new rule on this camera; ``zone`` in the address is chosen already."""
    camera = camera_or_404(uid)
    zone = _zone_in_address(request, camera)
    rule = usual_rule(camera, zone, request.GET.get("kind", ""))
    initial: dict[str, Any] = {"zones": [zone.pk] if zone else [], "name": rule.name}
    return _edit(request, camera, Rule(kind=rule.kind), initial)


@require_http_methods(["GET", "POST"])
@configures
def edit_rule(request: HttpRequest, uid: UUID, rule: UUID) -> HttpResponse:
    """A rule that is there, or with ``draft`` in the address as it was proposed to be.

    Saving makes a new version, live within five seconds.
    """
    camera = camera_or_404(uid)
    found = rule_or_404(camera, rule)
    return _edit(request, camera, found, {}, _draft_in_address(request, found))


def _draft_in_address(request: HttpRequest, rule: Rule) -> Draft | None:
    """The proposed change, put into ``rule`` in memory. Of one that cannot be taken the reason is shown instead."""
    if not (text := request.GET.get("draft", "")):
        return None
    try:
        # What somebody has in the form already is not taken from them for its age.
        draft = drafts.read(text, rule, fresh=request.method == "GET")
    except drafts.BadDraft as error:
        messages.error(request, str(error))
        return None
    draft.fill(rule)
    return draft


def _edit(
    request: HttpRequest, camera: Camera, rule: Rule, initial: dict[str, Any], draft: Draft | None = None
) -> HttpResponse:
    kind = setup_form(rule.kind)
    given = request.POST if request.method == "POST" else None
    form = kind(given, instance=rule, initial=initial, camera=camera)
    newcomer = RecipientForm(given)
    # Both are asked, so that everything wrong is said at once.
    if given is not None and all([form.is_valid(), newcomer.is_valid()]):
        try:
            saved = _save(request, form, newcomer, camera, draft)
        except editing.Refused as refused:
            form.add_error(None, str(refused))
        else:
            said = _("“%(rule)s” is live.") if saved.enabled else _("“%(rule)s” is saved and switched off.")
            messages.success(request, said % {"rule": saved.name})
            return _after(newcomer.added, camera)
    return page(request, "frontend/setup/rule_form.html", "setup", _context(camera, rule, form, newcomer, draft))


def _after(added: Recipient | None, camera: Camera) -> HttpResponse:
    """Somebody new has to confirm a number or address first; that is the next thing to do."""
    if added is not None:
        return redirect("setup-person", added.uid)
    return redirect("setup-camera", camera.uid)


def _context(
    camera: Camera, rule: Rule, form: SetupRuleForm, newcomer: RecipientForm, draft: Draft | None
) -> dict[str, Any]:
    return {
        "draft": draft,
        "camera": camera,
        "rule": rule,
        "form": form,
        "newcomer": newcomer,
        "reachable": setup_queries.reachable(),
        "told": {str(value) for value in (form["recipients"].value() or ())},
        "kinds": sorted(RULES),
        "steps": history.history(rule) if rule.pk else [],
        "rehearse_cameras": _rehearsed_on(camera, rule, form),
        "rehearse_days": DAYS,
        "current_setup": "cameras",
    }


def _rehearsed_on(camera: Camera, rule: Rule, form: SetupRuleForm) -> list[Camera]:
    """The cameras to choose from: those of its zones, or where it waits for other rules, those that any watches."""
    if rule.kind == SEQUENCE:
        return setup_queries.watched_at(camera.site)
    return setup_queries.cameras_of(form.fields["zones"].queryset)  # type: ignore[attr-defined]


def _save(
    request: HttpRequest, form: SetupRuleForm, newcomer: RecipientForm, camera: Camera, draft: Draft | None
) -> Rule:
    """Rule, version, demand, recipients and a draft's mask in one transaction. Raises ``Refused``."""
    with transaction.atomic():
        rule: Rule = form.save(commit=False)
        zones = list(form.cleaned_data["zones"])
        if draft is not None and "draft_mask" in request.POST and (mask := draft.make_mask(camera)) is not None:
            zones.append(mask)
        recipients = list(form.cleaned_data["recipients"])
        if (added := newcomer.add(camera.site.time_zone)) is not None:
            recipients.append(added)
        editing.save_rule(rule, zones=zones, author=person_of(request), now=timezone.now(), recipients=recipients)
        write_down(request, "rule-saved", camera, rule.uid)
    return rule


def _zone_in_address(request: HttpRequest, camera: Camera) -> Zone | None:
    zones = setup_queries.zones_of(camera)
    named = next((zone for zone in zones if str(zone.uid) == request.GET.get("zone", "")), None)
    return named or (zones[0] if len(zones) == 1 else None)


def rule_or_404(camera: Camera, uid: UUID) -> Rule:
    """The rule of that name that has a zone on ``camera``, or had its last one there."""
    rule = setup_queries.rules_on(camera).filter(uid=uid).first()
    if rule is None:
        raise Http404
    return rule


@require_POST
@configures
def switch_rule(request: HttpRequest, uid: UUID, rule: UUID) -> HttpResponse:
    """On or off, live within five seconds. One that could never fire is refused with the reason."""
    camera = camera_or_404(uid)
    found = rule_or_404(camera, rule)
    found.enabled = request.POST.get("on") == "1"
    try:
        editing.save_rule(found, zones=list(found.zones.all()), author=person_of(request), now=timezone.now())
    except editing.Refused as refused:
        messages.error(request, str(refused))
        return redirect("setup-camera", camera.uid)
    write_down(request, "rule-on" if found.enabled else "rule-off", camera, found.uid)
    said = _("“%(rule)s” is live.") if found.enabled else _("“%(rule)s” is switched off.")
    messages.success(request, said % {"rule": found.name})
    return redirect("setup-camera", camera.uid)


@require_POST
@configures
def go_back(request: HttpRequest, uid: UUID, rule: UUID, version: UUID) -> HttpResponse:
    """Make the rule what it was in ``version``. Refused with the reason where that cannot run any more."""
    camera = camera_or_404(uid)
    found = rule_or_404(camera, rule)
    old = found.versions.filter(uid=version).select_related("rule").first()
    if old is None:
        raise Http404
    try:
        with transaction.atomic():
            made = history.go_back(old, author=person_of(request), now=timezone.now())
            write_down(request, "rule-back", camera, found.uid)
    except editing.Refused as refused:
        messages.error(request, str(refused))
        return redirect("setup-rule", camera.uid, found.uid)
    numbers = {"rule": made.rule.name, "old": old.number, "new": made.number}
    messages.success(request, _("“%(rule)s” is as it was in version %(old)d. This is version %(new)d.") % numbers)
    zone = made.rule.zones.select_related("view__camera").filter(view__camera=camera).first() or made.rule.zones.first()
    return redirect("setup-rule", zone.view.camera.uid if zone else camera.uid, made.rule.uid)


@require_POST
@configures
def send_test(request: HttpRequest, uid: UUID) -> HttpResponse:
    """One trial message to the contact ``uid``; shows what was sent and what the provider said."""
    contact = Contact.objects.select_related("recipient").filter(uid=uid).first()
    if contact is None:
        raise Http404
    if not contact.usable:
        return refuse(_("It is sent nothing but its code until it is confirmed."))
    write_down(request, "trial-message", None, contact.uid)
    try:
        trial = send_trial(contact, person_of(request), timezone.now())
    except editing.Refused as refused:
        return refuse(str(refused))
    return fragment(request, "frontend/setup/_trial.html", {"trial": trial, "contact": contact})
