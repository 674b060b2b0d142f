"""A template, and what differs at one place: the rules' own form, for many cameras."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from django import forms
from django.forms import ModelForm
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from alerts import editing
from alerts.configuration.export import full_config
from alerts.models import EscalationPolicy, Recipient, Rule, RuleTemplate, Zone
from detectors.models import Deployment
from frontend.admin import SETTING, WHEN, RuleForm, rule_form
from frontend.rule_forms import ShownForm
from streams.models import Camera, CameraGroup, Site

Place = Site | CameraGroup | Camera


class TemplateForm(ShownForm):
    """A template of one kind."""

    class Meta(RuleForm.Meta):
        model = RuleTemplate  # type: ignore[assignment]
        fields = (  # type: ignore[assignment]
            *("name", "enabled", "severity", "zone_name", "deployment", "cameras", "recipients", "policy"),
            *("why_it_matters", "procedure"),
        )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        deployments = Deployment.objects.filter(enabled=True).select_related("model")
        if len(deployments) == 1 and not self.initial.get("deployment"):
            self.initial["deployment"] = deployments[0].pk
        self.narrow_labels(deployments)
        self.dress()
        if "cameras" in self.fields:
            cameras = Camera.objects.select_related("site").order_by("site__name", "name")
            self.fields["cameras"].queryset = cameras  # type: ignore[attr-defined]

    def _post_clean(self) -> None:
        """Kind, settings and spans are judged here; whether it can run on a camera is seen when it is applied."""
        ModelForm._post_clean(self)  # type: ignore[attr-defined]
        if self.errors:
            return
        template: Any = self.instance
        template.config, template.schedule = self._settings(), self._schedule()
        try:
            config = editing.check_settings(Rule(kind=self.kind, config=template.config, schedule=template.schedule))
        except editing.Refused as refused:
            self.add_error(self._field_of(refused), str(refused))
        else:
            template.config = full_config(self.kind, template.config)
            self._check_labels(template.deployment, config.sought)

    def _check_labels(self, deployment: Deployment, sought: Mapping[str, list[str]]) -> None:
        try:
            editing.check_deployment(deployment, (), sought=sought)
        except editing.Refused as refused:
            self.add_error(self._field_of(refused), str(refused))

    @property
    def camera_groups(self) -> list[tuple[str, list[tuple[Camera, bool]]]]:
        """Cameras by site, each with whether it is chosen and, below its name, whether it has the zone."""
        chosen = {str(value) for value in (self["cameras"].value() or ())}
        sites: dict[str, list[tuple[Camera, bool]]] = {}
        for camera in self.fields["cameras"].queryset:  # type: ignore[attr-defined]
            sites.setdefault(camera.site.name, []).append((camera, str(camera.pk) in chosen))
        return list(sites.items())

    @property
    def zone_names(self) -> list[str]:
        """Names of zones that are there, to choose from."""
        return sorted(set(Zone.objects.values_list("name", flat=True)))


class OverrideForm(TemplateForm):
    """What a template says at one place. ``instance`` is a copy of the template that is never saved."""

    class Meta(TemplateForm.Meta):
        fields = (  # type: ignore[assignment]
            *("enabled", "severity", "zone_name", "deployment", "recipients", "policy", "why_it_matters", "procedure"),
        )

    def values(self) -> dict[str, Any]:
        """What was typed, as ``alerts.overrides`` takes it."""
        template: Any = self.instance
        plain = ("enabled", "severity", "zone_name", "schedule", "why_it_matters", "procedure", "config")
        return {
            **{name: getattr(template, name) for name in plain},
            "deployment": str(template.deployment.uid),
            "recipients": sorted(str(one.uid) for one in self.cleaned_data["recipients"]),
            "policy": str(template.policy.uid) if template.policy else "",
        }


def override_form(template: RuleTemplate, values: Mapping[str, Any], posted: Any) -> OverrideForm:
    """The form of one place where the template says ``values``."""
    deployment = Deployment.objects.filter(uid=values["deployment"]).first() or template.deployment
    plain = ("enabled", "severity", "zone_name", "schedule", "why_it_matters", "procedure", "config")
    policy = EscalationPolicy.objects.filter(uid=values["policy"]).first() if values["policy"] else None
    own = {"name": template.name, "kind": template.kind, "deployment": deployment, "policy": policy}
    copy = RuleTemplate(**own, **{name: values[name] for name in plain})
    told = Recipient.objects.filter(uid__in=[UUID(uid) for uid in values["recipients"]])
    initial = {"recipients": [one.pk for one in told]}
    made = _form_of(template.kind, OverrideForm)(posted, instance=copy, initial=initial)
    assert isinstance(made, OverrideForm)
    return made


def template_form(kind: str) -> type[TemplateForm]:
    """The form of templates of ``kind``. Raises ``BadConfig``."""
    return _form_of(kind, TemplateForm)


def _form_of(kind: str, base: type[TemplateForm]) -> type[TemplateForm]:
    derived = rule_form(kind)
    fields = {name: field for name, field in derived.base_fields.items() if name.startswith(SETTING) or name in WHEN}
    return type(base.__name__, (base,), {"kind": kind, "struct": derived.struct, **fields})


class _CameraChoice(forms.ModelChoiceField[Camera]):
    """A camera with its site: names repeat."""

    def label_from_instance(self, obj: Camera) -> str:
        """For the list."""
        return f"{obj.name} · {obj.site.name}"


class PlaceForm(forms.Form):
    """Where something is to differ."""

    site = forms.ModelChoiceField(Site.objects.all(), label=gettext_lazy("Site"), required=False)
    group = forms.ModelChoiceField(CameraGroup.objects.all(), label=gettext_lazy("Camera group"), required=False)
    camera = _CameraChoice(
        Camera.objects.select_related("site").order_by("name"), label=gettext_lazy("Camera"), required=False
    )

    def clean(self) -> dict[str, Any]:
        """Exactly one of them."""
        cleaned = super().clean() or self.cleaned_data
        if sum(bool(cleaned.get(name)) for name in ("site", "group", "camera")) != 1:
            raise forms.ValidationError(_("Choose one place: a site, a camera group or a camera."))
        return cleaned

    @property
    def place(self) -> tuple[str, Place]:
        """Which of the three, and which one."""
        return next((name, row) for name, row in self.cleaned_data.items() if row)
