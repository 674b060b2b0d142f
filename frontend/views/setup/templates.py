"""Templates: one rule for many cameras, what differs where, and what applying it would change before it does."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.db import transaction
from django.db.models import Count, Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from alerts import editing
from alerts.models import RuleTemplate, TemplateOverride
from alerts.overrides import differing, resolve
from alerts.rehearsals import DAYS
from alerts.rule_templates import apply_template, override_content, overrides_for, save_override, values_of
from alerts.rules.registry import RULES
from frontend import setup_queries
from frontend.template_forms import PlaceForm, TemplateForm, override_form, template_form
from frontend.views.page import page, person_of
from frontend.views.setup.door import configures, write_down
from streams.models import Camera


@require_GET
@configures
def show_templates(request: HttpRequest) -> HttpResponse:
    """Every template."""
    on = Count("rules", filter=Q(rules__enabled=True), distinct=True)
    rows = RuleTemplate.objects.annotate(on=on, wanted=Count("cameras", distinct=True))
    return _page(request, "templates", {"rows": rows, "kinds": sorted(RULES)})


@require_http_methods(["GET", "POST"])
@configures
def add_template(request: HttpRequest) -> HttpResponse:
    """A new one, of the kind that the address names."""
    kind = request.GET.get("kind", "")
    return _edit(request, RuleTemplate(kind=kind if kind in RULES else next(iter(RULES))))


@require_http_methods(["GET", "POST"])
@configures
def edit_template(request: HttpRequest, uid: UUID) -> HttpResponse:
    """One that is there. Rules change when it is applied."""
    return _edit(request, _template(uid))


def _edit(request: HttpRequest, template: RuleTemplate) -> HttpResponse:
    given = request.POST if request.method == "POST" else None
    form = template_form(template.kind)(given, instance=template)
    if given is not None and form.is_valid():
        with transaction.atomic():
            saved: Any = form.save()
            editing.touch()
            write_down(request, "template-saved", None, saved.uid)
        return redirect("setup-template-preview", saved.uid)
    return _page(request, "template_form", _context(template, form))


def _context(template: RuleTemplate, form: TemplateForm) -> dict[str, Any]:
    return {
        "template": template,
        "form": form,
        "reachable": setup_queries.reachable(),
        "told": {str(value) for value in (form["recipients"].value() or ())},
        "overrides": [(one, override_content(one)) for one in _overrides(template)],
        "place_form": PlaceForm(),
        "kinds": sorted(RULES),
        "rehearse_on": _rehearsed_on(template),
        "rehearse_days": DAYS,
    }


def _rehearsed_on(template: RuleTemplate) -> list[Camera]:
    """Every camera, the template's own first."""
    own = set(template.cameras.values_list("pk", flat=True)) if template.pk else set()
    cameras = Camera.objects.select_related("site").order_by("site__name", "name")
    return sorted(cameras, key=lambda camera: camera.pk not in own)


def _overrides(template: RuleTemplate) -> list[TemplateOverride]:
    """The widest places first; a new template has none."""
    if template.pk is None:
        return []
    found = template.overrides.select_related("site", "group", "camera__site", "template__deployment")
    return sorted(found, key=lambda one: (one.site is None, one.group is None, str(one.place)))


@require_http_methods(["GET", "POST"])
@configures
def edit_override(request: HttpRequest, uid: UUID) -> HttpResponse:
    """What differs at the one place that the address names: ``site``, ``group`` or ``camera``."""
    template = _template(uid)
    asked = PlaceForm(request.GET)
    if not asked.is_valid():
        messages.error(request, " ".join(map(str, asked.non_field_errors())) or _("There is no such place."))
        return redirect("setup-template", template.uid)
    column, place = asked.place
    own = template.overrides.filter(**{column: place}).first()
    base = resolve(values_of(template), (one.changes for one in _wider(template, place)))
    given = request.POST if request.method == "POST" else None
    form = override_form(template, resolve(base, [own.changes] if own else []), given)
    if given is not None and form.is_valid():
        with transaction.atomic():
            save_override(template, {column: place}, differing(base, form.values()))
            editing.touch()
            write_down(request, "template-override", place if isinstance(place, Camera) else None, template.uid)
        return redirect("setup-template-preview", template.uid)
    return _page(request, "override_form", {**_context(template, form), "place": place, "own": own})


def _wider(template: RuleTemplate, place: Any) -> list[TemplateOverride]:
    """What holds at ``place`` before its own: a camera has those of its site and group."""
    if not isinstance(place, Camera):
        return []
    return [one for one in overrides_for(place, list(template.overrides.all())) if one.camera_id is None]


@require_POST
@configures
def drop_override(request: HttpRequest, uid: UUID, override: int) -> HttpResponse:
    """Nothing differs there any more."""
    template = _template(uid)
    with transaction.atomic():
        template.overrides.filter(pk=override).delete()
        editing.touch()
        write_down(request, "template-override", None, template.uid)
    return redirect("setup-template-preview", template.uid)


@require_GET
@configures
def preview(request: HttpRequest, uid: UUID) -> HttpResponse:
    """What applying would change, camera by camera. Nothing is changed."""
    template = _template(uid)
    applied = apply_template(template, author=person_of(request), now=timezone.now(), try_only=True)
    return _page(request, "template_preview", {"template": template, "applied": applied})


@require_POST
@configures
def apply(request: HttpRequest, uid: UUID) -> HttpResponse:
    """Do it, if it is still what was shown."""
    template = _template(uid)
    state = request.POST.get("state", "")
    expected = int(state) if state.isascii() and state.isdecimal() and len(state) < 19 else -1
    try:
        applied = apply_template(template, author=person_of(request), now=timezone.now(), expected=expected)
    except editing.Refused as refused:
        messages.error(request, str(refused))
        return redirect("setup-template-preview", template.uid)
    if applied.having("refused"):
        return redirect("setup-template-preview", template.uid)
    write_down(request, "template-applied", None, template.uid)
    done = sum(step.what in ("new", "changed", "ends") for step in applied.steps)
    said = ngettext("Done: %(n)d rule written.", "Done: %(n)d rules written.", done)
    messages.success(request, said % {"n": done})
    return redirect("setup-templates")


@require_POST
@configures
def delete_template(request: HttpRequest, uid: UUID) -> HttpResponse:
    """The template goes; its rules stay as they are, each on its own."""
    template = _template(uid)
    with transaction.atomic():
        write_down(request, "template-deleted", None, template.uid)
        template.delete()
        editing.touch()
    messages.success(request, _("“%(template)s” is deleted. Its rules go on.") % {"template": template.name})
    return redirect("setup-templates")


def _template(uid: UUID) -> RuleTemplate:
    return get_object_or_404(RuleTemplate.objects.select_related("deployment"), uid=uid)


def _page(request: HttpRequest, name: str, context: dict[str, Any]) -> HttpResponse:
    return page(request, f"frontend/setup/{name}.html", "setup", {**context, "current_setup": "templates"})
