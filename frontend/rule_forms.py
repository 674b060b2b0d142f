"""A rule from a camera's page: the administrator's own form in the room's look, with what is known filled in."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from django import forms
from django.conf import settings
from django.forms.boundfield import BoundWidget
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from alerts import texts
from alerts.contacts import add_recipient, clean_address
from alerts.editing import covers
from alerts.models import Contact, Recipient, Rule, Zone
from alerts.rules.config import CommonConfig
from alerts.rules.registry import RULES, rule_kind
from detectors.labels import LABELS, expand, family
from detectors.models import Deployment
from frontend.admin import FIRST, SETTING, SPANS, RuleForm, rule_form
from frontend.forms import RuleField
from streams.models import Camera

LabelGroups = list[tuple[str, list[BoundWidget]]]


@dataclass(frozen=True, slots=True)
class ZoneBox:
    """One zone on the form."""

    value: int
    name: str
    chosen: bool


class ShownForm(RuleForm):
    """A form of one kind as the set-up screens show it: in groups, with plain widgets."""

    def dress(self) -> None:
        """Django's own widgets, the room's look."""
        for field in self.fields.values():
            field.widget = _plain(field)

    def narrow_labels(self, deployments: Iterable[Deployment]) -> None:
        """Labels that some model here gives, families of them included: another could never fire."""
        field = self.fields.get(SETTING + "labels")
        if field is None:
            return
        given = {label for one in deployments for label in one.labels}
        kept = set(self.initial.get(SETTING + "labels") or ())
        usable = {label for label in LABELS if expand(label) & given} | kept
        choices = field.choices  # type: ignore[attr-defined]
        field.choices = [pair for pair in choices if pair[0] in usable] or choices  # type: ignore[attr-defined]

    @property
    def label_groups(self) -> LabelGroups:
        """The labels' checkboxes, those that rules ask for most first and the rest by family."""
        if SETTING + "labels" not in self.fields:
            return []
        boxes = {box.data["value"]: box for box in self[SETTING + "labels"]}
        usual = [boxes.pop(name) for name in USUAL if name in boxes]
        return [("", usual), *_by_family(boxes)]

    def fields_of(self, group: str) -> list[forms.BoundField]:
        """``own``: what makes this kind what it is; ``fine``: fine tuning."""
        names = [name for name in rule_kind(self.kind).asked() if name != "labels"]
        own = [name for name in names if name in FIRST or name not in CommonConfig.__struct_fields__]
        wanted = own if group == "own" else [name for name in names if name not in own]
        return [self[SETTING + name] for name in wanted]

    @property
    def own(self) -> list[forms.BoundField]:
        """For the page."""
        return self.fields_of("own")

    @property
    def fine(self) -> list[forms.BoundField]:
        """For the page."""
        return self.fields_of("fine")

    @property
    def fine_open(self) -> bool:
        """Whether fine tuning holds an error, which must not stay folded away."""
        return any(field.errors for field in self.fine)

    @property
    def acts_always(self) -> bool:
        """Whether no span is chosen or wrong, so that they may stay folded away."""
        holidays = self["holidays"]
        spans = (days.value() or days.errors or from_.errors or until.errors for days, from_, until in self.spans)
        return not (holidays.value() or holidays.errors or any(spans))

    @property
    def spans(self) -> list[tuple[forms.BoundField, forms.BoundField, forms.BoundField]]:
        """Days, from and until of each daily span."""
        return [(self[f"days_{n}"], self[f"from_{n}"], self[f"until_{n}"]) for n in range(1, SPANS + 1)]


class SetupRuleForm(ShownForm):
    """``RuleForm`` for one camera. ``camera`` narrows zones and deployments to what can work there."""

    def __init__(self, *args: Any, camera: Camera, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.camera = camera
        self._narrow()
        self.dress()

    def _narrow(self) -> None:
        """Zones of this camera and those that the rule has elsewhere; deployments that run here; labels they give."""
        zones = Zone.objects.filter(view__camera=self.camera)
        if self.instance.pk:
            zones = (zones | Zone.objects.filter(rules=self.instance)).distinct()
        self.fields["zones"].queryset = zones.select_related("view__camera")  # type: ignore[attr-defined]
        deployments = Deployment.objects.filter(enabled=True).select_related("model")
        here = [one.pk for one in deployments if covers(one, self.camera)]
        if self.instance.pk:
            here.append(self.instance.deployment_id)
        self.fields["deployment"].queryset = Deployment.objects.filter(pk__in=here)  # type: ignore[attr-defined]
        if len(here) == 1 and not self.initial.get("deployment"):
            self.initial["deployment"] = here[0]
        self.narrow_labels([one for one in deployments if one.pk in here])
        self._narrow_rules()

    def _narrow_rules(self) -> None:
        """Where a setting names a rule: those of this site, itself left out."""
        for field in self.fields.values():
            if isinstance(field, RuleField) and field.queryset is not None:
                here = field.queryset.filter(zones__view__camera__site=self.camera.site_id)
                field.queryset = here.exclude(pk=self.instance.pk).distinct()

    @property
    def zone_boxes(self) -> list[ZoneBox]:
        """The zones to choose from; only one of another camera says which."""
        chosen = {str(value) for value in (self["zones"].value() or ())}
        zones = self.fields["zones"].queryset  # type: ignore[attr-defined]
        return [
            ZoneBox(zone.pk, zone.name if zone.view.camera_id == self.camera.pk else str(zone), str(zone.pk) in chosen)
            for zone in zones
        ]


USUAL = ("person", "vehicle", "car", "truck", "bus", "motorcycle", "bicycle", "boat", "animal", "dog", "fire", "smoke")

USUAL_KIND = "presence"


def _by_family(boxes: dict[str, BoundWidget]) -> LabelGroups:
    groups: dict[str, list[BoundWidget]] = {}
    for name, box in boxes.items():
        groups.setdefault(family(name), []).append(box)
    return sorted(groups.items())


def _plain(field: forms.Field) -> forms.Widget:
    """Django's own widget for ``field``: those of the administrator's pages bring their classes and scripts along."""
    widget = field.widget
    if isinstance(field, forms.ModelMultipleChoiceField | forms.MultipleChoiceField):
        fresh: forms.Widget = forms.CheckboxSelectMultiple(choices=field.choices)  # type: ignore[arg-type]
    elif isinstance(field, forms.ModelChoiceField | forms.ChoiceField):
        fresh = forms.Select(choices=field.choices)  # type: ignore[arg-type]
    elif isinstance(field, forms.BooleanField):
        fresh = forms.CheckboxInput()
    elif isinstance(field, forms.IntegerField | forms.FloatField):
        fresh = forms.NumberInput()
    elif isinstance(widget, forms.Textarea):
        fresh = forms.Textarea(attrs={"rows": 3})
    else:
        fresh = forms.TextInput(attrs={"type": widget.attrs.get("type", "text")})
    fresh.is_required = field.required
    fresh.attrs.update(field.widget_attrs(fresh))
    if isinstance(fresh, forms.NumberInput):
        fresh.attrs["step"] = "any" if isinstance(field, forms.FloatField) else "1"
    return fresh


def setup_form(kind: str) -> type[SetupRuleForm]:
    """The form of rules of ``kind``. Raises ``BadConfig``."""
    base = rule_form(kind)
    return type("SetupRuleForm", (SetupRuleForm, base), {"kind": kind})


class RecipientForm(forms.Form):
    """Somebody new to tell: a name and a number, an address, or both. All empty: nobody."""

    added: Recipient | None = None

    recipient_name = forms.CharField(label=gettext_lazy("Name"), max_length=100, required=False)
    recipient_sms = forms.CharField(label=gettext_lazy("Mobile number"), max_length=40, required=False)
    recipient_email = forms.CharField(label=gettext_lazy("E-mail address"), max_length=254, required=False)
    recipient_language = forms.ChoiceField(
        label=gettext_lazy("Language"), choices=settings.LANGUAGES, required=False, initial="en"
    )

    def clean(self) -> dict[str, Any]:
        """A name without a way to reach it, or the other way round, is refused."""
        cleaned = super().clean() or self.cleaned_data
        name, self.addresses = (cleaned.get("recipient_name") or "").strip(), self._addresses(cleaned)
        if name and not self.addresses and not self.errors:
            self.add_error("recipient_sms", _("Enter a mobile number or an e-mail address."))
        if self.addresses and not name:
            self.add_error("recipient_name", _("Give this person or team a name."))
        if name and Recipient.objects.filter(name__iexact=name).exists():
            self.add_error("recipient_name", _("Somebody of this name is there already. Choose them above."))
        return cleaned

    def _addresses(self, cleaned: dict[str, Any]) -> dict[str, str]:
        found = {}
        for channel in (Contact.Channel.SMS, Contact.Channel.EMAIL):
            name = f"recipient_{channel}"
            if typed := (cleaned.get(name) or "").strip():
                try:
                    found[str(channel)] = clean_address(channel, typed)
                except forms.ValidationError as error:
                    self.add_error(name, error)
        return found

    def add(self, time_zone: str) -> Recipient | None:
        """The new recipient; None when nobody was typed."""
        name = self.cleaned_data["recipient_name"].strip()
        if name:
            language = self.cleaned_data["recipient_language"] or "en"
            self.added = add_recipient(name, language, time_zone, self.addresses)
        return self.added


def usual_rule(camera: Camera, zone: Zone | None, kind: str) -> Rule:
    """A new rule of ``kind``, of any other word the usual one: a person in the zone. Its name is to be looked over."""
    where = zone.name if zone is not None else camera.name
    if kind in RULES and kind != USUAL_KIND:
        return Rule(name=f"{texts.kind_name(kind)} · {where}", kind=kind)
    return Rule(name=_("Person in %(zone)s") % {"zone": where}, kind=USUAL_KIND)
