"""What a person types to silence something, for a maintenance window, and to open an incident."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django import forms
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from alerts import texts
from alerts.models import MaintenanceWindow, Recipient, Rule, Severity, Silence
from alerts.muting import Matchers
from alerts.reports import TITLE_LENGTH
from alerts.rules.config import TIME
from alerts.schedule import parts, stored
from alerts.silences import LONGEST
from frontend.admin import DAYS
from frontend.models import User
from frontend.permissions import may_silence, visible_cameras, visible_sites
from streams.models import Camera, Site

SPANS = 2
"""Weekly spans that the form offers; further ones of a window are kept as they are."""


class CameraChoices(forms.ModelMultipleChoiceField[Camera]):
    """Cameras with their site: names repeat."""

    def label_from_instance(self, obj: Camera) -> str:
        """For the list."""
        return f"{obj.name} · {obj.site.name}"


class CameraChoice(forms.ModelChoiceField[Camera]):
    """One of them."""

    def label_from_instance(self, obj: Camera) -> str:
        """For the list."""
        return f"{obj.name} · {obj.site.name}"


def _moment(label: Any) -> forms.DateTimeField:
    """A moment in the room's clock."""
    return forms.DateTimeField(label=label, widget=forms.DateTimeInput(attrs={"type": "datetime-local"}))


def _shown_moment(at: datetime) -> str:
    """As the browser's own field takes it, in the room's clock."""
    return f"{timezone.localtime(at):%Y-%m-%dT%H:%M}"


def _several(choices: Any, label: Any) -> Any:
    return {"queryset": choices, "label": label, "required": False, "widget": forms.CheckboxSelectMultiple}


class SilenceForm(forms.Form):
    """What, from when until when, and why. What is chosen nowhere is meant everywhere."""

    reason = forms.CharField(label=gettext_lazy("Why nobody is to be told"), max_length=200)
    from_at = _moment(gettext_lazy("From"))
    until_at = _moment(gettext_lazy("Until"))
    sites = forms.ModelMultipleChoiceField(**_several(Site.objects.none(), gettext_lazy("Sites")))
    cameras = CameraChoices(**_several(Camera.objects.none(), gettext_lazy("Cameras")))
    rules = forms.ModelMultipleChoiceField(**_several(Rule.objects.none(), gettext_lazy("Rules")))
    severities = forms.MultipleChoiceField(
        label=gettext_lazy("How bad"), choices=Severity.choices, required=False, widget=forms.CheckboxSelectMultiple
    )

    def __init__(self, given: Any, *, user: User, silence: Silence | None = None) -> None:
        now = timezone.now()
        usual = {"from_at": _shown_moment(now), "until_at": _shown_moment(now + timedelta(hours=1))}
        kept = {"reason": silence.reason, "until_at": _shown_moment(silence.until_at)} if silence else usual
        super().__init__(given, initial=kept)
        self.user, self.silence = user, silence
        if silence is not None:
            # What it means stays: another meaning is another silence.
            for name in ("from_at", *CHOSEN):
                del self.fields[name]
            return
        cameras = visible_cameras(user).select_related("site").order_by("site__name", "name")
        self.fields["sites"].queryset = visible_sites(user)  # type: ignore[attr-defined]
        self.fields["cameras"].queryset = cameras  # type: ignore[attr-defined]
        rules = Rule.objects.filter(zones__view__camera__in=cameras).distinct()
        self.fields["rules"].queryset = rules  # type: ignore[attr-defined]

    @property
    def choices(self) -> list[forms.BoundField]:
        """What it may mean, for the page: no list of one camera only."""
        return [self[name] for name in CHOSEN if name in self.fields]

    @property
    def matchers(self) -> Matchers:
        """What was chosen."""
        given = self.cleaned_data
        uids = {name: [row.uid for row in given.get(name, ())] for name in ("sites", "cameras", "rules")}
        return Matchers(**uids, severities=list(given.get("severities", ())))

    def clean(self) -> dict[str, Any]:
        """Something is meant, which this person may silence, for a time that ends."""
        cleaned = super().clean() or self.cleaned_data
        now = timezone.now()
        if self.silence is None and not self.matchers:
            raise forms.ValidationError(_("Choose a site, a camera, a rule or how bad: what is to be silent?"))
        if self.silence is None and not may_silence(self.user, self.matchers):
            raise forms.ValidationError(_("Choose cameras, or sites of which you see every camera."))
        until_at, from_at = cleaned.get("until_at"), cleaned.get("from_at") or now
        if until_at and until_at <= max(now, from_at):
            self.add_error("until_at", _("It must end after it begins, and after now."))
        elif until_at and until_at - now > LONGEST:
            self.add_error("until_at", _("At most %(n)d days. Change the rule instead.") % {"n": LONGEST.days})
        return cleaned


CHOSEN = ("sites", "cameras", "rules", "severities")


class WindowForm(forms.Form):
    """A weekly time at one site, in its clock."""

    name = forms.CharField(label=gettext_lazy("What is done"), max_length=100)
    site = forms.ModelChoiceField(Site.objects.all(), label=gettext_lazy("Site"), empty_label=None)
    cameras = CameraChoices(
        **_several(
            Camera.objects.select_related("site").order_by("site__name", "name"), gettext_lazy("Only these cameras")
        )
    )
    enabled = forms.BooleanField(label=gettext_lazy("Switched on"), required=False, initial=True)

    def __init__(self, given: Any, *, window: MaintenanceWindow) -> None:
        self.window = window
        super().__init__(given, initial=_shown(window))
        for n in range(1, SPANS + 1):
            self.fields[f"days_{n}"] = forms.TypedMultipleChoiceField(
                label=gettext_lazy("Days"),
                choices=DAYS,
                coerce=int,
                required=False,
                widget=forms.CheckboxSelectMultiple,
            )
            self.fields[f"from_{n}"] = _clock(gettext_lazy("From"), "22:00")
            self.fields[f"until_{n}"] = _clock(gettext_lazy("Until"), "06:00")

    @property
    def spans(self) -> list[tuple[forms.BoundField, forms.BoundField, forms.BoundField]]:
        """Days, from and until of each."""
        return [(self[f"days_{n}"], self[f"from_{n}"], self[f"until_{n}"]) for n in range(1, SPANS + 1)]

    def clean(self) -> dict[str, Any]:
        """At least one day, and cameras of the site."""
        cleaned = super().clean() or self.cleaned_data
        if not any(cleaned.get(f"days_{n}") for n in range(1, SPANS + 1)) and not self._further():
            self.add_error("days_1", _("Choose at least one day."))
        elsewhere = [one.name for one in cleaned.get("cameras") or () if one.site != cleaned.get("site")]
        if elsewhere:
            self.add_error("cameras", _("%(cameras)s: not at this site.") % {"cameras": texts.listed(elsewhere)})
        same = MaintenanceWindow.objects.filter(site=cleaned.get("site"), name=cleaned.get("name"))
        if same.exclude(pk=self.window.pk).exists():
            self.add_error("name", _("This site has a window of this name already."))
        return cleaned

    def _further(self) -> list[Any]:
        return parts(self.window.schedule)[0][SPANS:]

    def filled(self) -> MaintenanceWindow:
        """The window as typed, not yet saved."""
        given, window = self.cleaned_data, self.window
        spans = [
            {"days": given[f"days_{n}"], "from": given[f"from_{n}"] or "00:00", "until": given[f"until_{n}"] or "00:00"}
            for n in range(1, SPANS + 1)
            if given[f"days_{n}"]
        ]
        window.name, window.site, window.enabled = given["name"], given["site"], given["enabled"]
        window.schedule = stored([*spans, *self._further()])
        cameras = [str(camera.uid) for camera in given["cameras"]]
        window.matchers = {"cameras": cameras} if cameras else {}
        return window


def _days() -> Any:
    boxes = forms.CheckboxSelectMultiple
    return forms.TypedMultipleChoiceField(
        label=gettext_lazy("Days"), choices=DAYS, coerce=int, required=False, widget=boxes
    )


def _clock(label: Any, example: str) -> forms.RegexField:
    wrong = gettext_lazy("Write a time as 22:00, or sunrise or sunset, also with an offset: sunset-00:30.")
    widget = forms.TextInput(attrs={"placeholder": example, "autocomplete": "off"})
    return forms.RegexField(TIME, label=label, required=False, widget=widget, error_messages={"invalid": wrong})


def _shown(window: MaintenanceWindow) -> dict[str, Any]:
    if window.pk is None:
        return {"days_1": [6], "from_1": "02:00", "until_1": "04:00", "enabled": True}
    shown: dict[str, Any] = {"name": window.name, "site": window.site_id, "enabled": window.enabled}
    shown["cameras"] = list(Camera.objects.filter(uid__in=window.matchers.get("cameras", ())))
    for n, span in enumerate(parts(window.schedule)[0][:SPANS], start=1):
        shown |= {f"days_{n}": span.get("days", list(range(7)))}
        shown |= {f"from_{n}": span.get("from", "00:00"), f"until_{n}": span.get("until", "00:00")}
    return shown


class ReportForm(forms.Form):
    """What somebody saw or was told of, where, how bad, and who is to know."""

    title = forms.CharField(
        label=gettext_lazy("What has happened"),
        max_length=TITLE_LENGTH,
        widget=forms.TextInput(attrs={"autofocus": "", "autocomplete": "off"}),
    )
    severity = forms.ChoiceField(label=gettext_lazy("How bad"), choices=Severity.choices, initial=Severity.MEDIUM)
    site = forms.ModelChoiceField(Site.objects.none(), label=gettext_lazy("Site"), empty_label=None)
    camera = CameraChoice(Camera.objects.none(), label=gettext_lazy("Camera (may stay empty)"), required=False)
    note = forms.CharField(
        label=gettext_lazy("Note (may stay empty)"), max_length=500, required=False, widget=forms.Textarea
    )
    recipients = forms.ModelMultipleChoiceField(
        **_several(Recipient.objects.filter(active=True), gettext_lazy("Who is told"))
    )

    def __init__(self, given: Any, *, user: User) -> None:
        super().__init__(given)
        cameras = visible_cameras(user).select_related("site").order_by("site__name", "name")
        self.fields["site"].queryset = visible_sites(user)  # type: ignore[attr-defined]
        self.fields["camera"].queryset = cameras  # type: ignore[attr-defined]

    def clean(self) -> dict[str, Any]:
        """A camera of the site."""
        cleaned = super().clean() or self.cleaned_data
        camera, site = cleaned.get("camera"), cleaned.get("site")
        if camera and site and camera.site_id != site.pk:
            self.add_error("camera", _("This camera is not at this site."))
        return cleaned
