"""What is typed about people, teams, rotas and escalation policies, as Django forms in the room's own look."""

from __future__ import annotations

import zoneinfo
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django import forms
from django.conf import settings
from django.db.models import QuerySet
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from alerts.contacts import clean_address, shown_of
from alerts.models import Contact, EscalationPolicy, EscalationStep, Recipient, Rota, Team
from alerts.notifiers.registry import channels
from alerts.policies import REPEATS_MOST, STEPS_MOST, StepDraft
from frontend.admin import DAYS, DatesField
from frontend.policy_words import again_word, wait_word
from streams.time_zones import time_zones

PLACES_MOST = 16
"""In one rota's turn."""
WAITS_S = (30, 60, 120, 180, 300, 600, 900, 1800, 3600)

Choices = list[tuple[str, str]]


def _clock() -> forms.TimeField:
    return forms.TimeField(required=False, widget=forms.TimeInput(attrs={"type": "time"}))


def _zones(first: str = "") -> Choices:
    names = [(name, name) for name in sorted(time_zones())]
    return [("", first), *names] if first else names


class RecipientPageForm(forms.ModelForm[Recipient]):
    """Somebody who is told: language, clock, quiet hours."""

    language = forms.ChoiceField(label=gettext_lazy("Language"), choices=settings.LANGUAGES)
    time_zone = forms.ChoiceField(label=gettext_lazy("Time zone"), required=False)
    quiet_from = _clock()
    quiet_until = _clock()

    class Meta:
        model = Recipient
        fields = ("name", "user", "language", "time_zone", "quiet_from", "quiet_until", "active")
        labels = {
            "name": gettext_lazy("Name"),
            "user": gettext_lazy("Logs in as"),
            "active": gettext_lazy("Is told of incidents"),
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["time_zone"].choices = _zones(_("that of the incident's site"))  # type: ignore[attr-defined]
        for name, label in (("quiet_from", _("Quiet from")), ("quiet_until", _("Quiet until"))):
            self.fields[name].label = label
            # As browsers take it, whatever the language writes.
            self.initial[name] = f"{at:%H:%M}" if (at := self.initial.get(name)) else ""

    def clean(self) -> dict[str, Any]:
        """Both ends of the quiet hours, or neither."""
        cleaned = super().clean() or self.cleaned_data
        if (cleaned.get("quiet_from") is None) != (cleaned.get("quiet_until") is None):
            self.add_error("quiet_until", _("Enter both ends of the quiet hours, or neither."))
        return cleaned


class ContactAddForm(forms.Form):
    """One more number or address."""

    channel = forms.ChoiceField(label=gettext_lazy("By"), choices=channels)
    address = forms.CharField(label=gettext_lazy("Number or address"), max_length=500)

    def __init__(self, *args: Any, recipient: Recipient, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._recipient = recipient

    def clean(self) -> dict[str, Any]:
        """What is typed fits the channel, and is not there yet."""
        cleaned = super().clean() or self.cleaned_data
        try:
            cleaned["address"] = clean_address(cleaned.get("channel") or "", cleaned.get("address") or "")
        except forms.ValidationError as error:
            self.add_error("address", error)
        if not self.errors:
            self._check_new(cleaned["channel"], cleaned["address"])
        return cleaned

    def _check_new(self, channel: str, address: str) -> None:
        kept = self._recipient.contacts.filter(channel=channel, address=shown_of(channel, address))
        if kept.exists():
            self.add_error("address", _("It is there already."))

    def add(self) -> Contact:
        """The new contact, after the others. It is told nothing before it is confirmed."""
        order = self._recipient.contacts.count()
        return Contact.objects.create(recipient=self._recipient, order=order, **self.cleaned_data)


class TeamForm(forms.ModelForm[Team]):
    """People who are told together."""

    class Meta:
        model = Team
        fields = ("name", "members")
        labels = {"name": gettext_lazy("Name"), "members": gettext_lazy("Members")}
        widgets = {"members": forms.CheckboxSelectMultiple}


class RotaForm(forms.ModelForm[Rota]):
    """A rota with its turn: ``place_N`` from 0, empty ones left out."""

    time_zone = forms.ChoiceField(label=gettext_lazy("Time zone"))
    weekday = forms.TypedChoiceField(label=gettext_lazy("Handed over on"), choices=DAYS, coerce=int)
    hand_over_at = forms.TimeField(
        label=gettext_lazy("Handed over at"),
        widget=forms.TimeInput(attrs={"type": "time"}),
    )
    starts_on = forms.DateField(label=gettext_lazy("Begins on"), widget=forms.DateInput(attrs={"type": "date"}))
    holidays = DatesField(label=gettext_lazy("Holidays"), required=False)

    class Meta:
        model = Rota
        fields = ("name", "time_zone", "weekday", "hand_over_at", "starts_on", "holidays", "on_holidays")
        labels = {"name": gettext_lazy("Name"), "on_holidays": gettext_lazy("On holidays instead")}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["time_zone"].choices = _zones()  # type: ignore[attr-defined]
        self.initial["hand_over_at"] = f"{self.instance.hand_over_at:%H:%M}"
        self.initial["starts_on"] = f"{day:%Y-%m-%d}" if (day := self.initial.get("starts_on")) else ""
        self.initial["holidays"] = " ".join(self.instance.holidays)
        people: Choices = [("", "–"), *((str(one.pk), one.name) for one in Recipient.objects.filter(active=True))]
        self._add_places(people)

    def _add_places(self, people: Choices) -> None:
        places = list(self.instance.places.select_related("recipient")) if self.instance.pk else []
        known = {key for key, _name in people}
        # Somebody who is told no more keeps the place until another is chosen.
        people += [(str(one.recipient_id), one.recipient.name) for one in places if str(one.recipient_id) not in known]
        count = min(PLACES_MOST, max(3, len(places) + 2))
        for number in range(count):
            field = forms.ChoiceField(label=f"{number + 1}", choices=people, required=False)
            self.fields[f"place_{number}"] = field
            if number < len(places):
                self.initial[f"place_{number}"] = str(places[number].recipient_id)

    @property
    def places(self) -> list[forms.BoundField]:
        """The turn, for the page."""
        return [self[name] for name in self.fields if name.startswith("place_")]

    def clean(self) -> dict[str, Any]:
        """Somebody has the duty."""
        cleaned = super().clean() or self.cleaned_data
        self.members = [int(cleaned[name]) for name in self.fields if name.startswith("place_") and cleaned.get(name)]
        if not self.members:
            self.add_error("place_0", _("Choose at least one person, or nobody would have the duty."))
        return cleaned


class TakeOverForm(forms.Form):
    """Somebody takes the duty for a while; times are by the rota's clock. ``who``: those who may be chosen."""

    recipient = forms.ModelChoiceField(Recipient.objects.filter(active=True), label=gettext_lazy("Who"))
    from_at = forms.CharField(label=gettext_lazy("From"), widget=forms.TextInput(attrs={"type": "datetime-local"}))
    until_at = forms.CharField(label=gettext_lazy("Until"), widget=forms.TextInput(attrs={"type": "datetime-local"}))

    def __init__(self, *args: Any, rota: Rota, who: QuerySet[Recipient] | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._zone = zoneinfo.ZoneInfo(rota.time_zone)
        if who is not None:
            self.fields["recipient"].queryset = who  # type: ignore[attr-defined]
            self.initial["recipient"] = who.first()

    def clean_from_at(self) -> datetime:
        """As an instant."""
        return self._instant("from_at")

    def clean_until_at(self) -> datetime:
        """As an instant."""
        return self._instant("until_at")

    def _instant(self, name: str) -> datetime:
        try:
            return datetime.fromisoformat(self.cleaned_data[name]).replace(tzinfo=self._zone)
        except ValueError:
            raise forms.ValidationError(_("Write a day and a time, for example 2027-01-01 22:00.")) from None

    def clean(self) -> dict[str, Any]:
        """It ends after it begins."""
        cleaned = super().clean() or self.cleaned_data
        if not self.errors and cleaned["until_at"] <= cleaned["from_at"]:
            self.add_error("until_at", _("It must end after it begins."))
        return cleaned


@dataclass(frozen=True, slots=True)
class StepFields:
    """One step on the page."""

    number: int
    who: forms.BoundField
    channels: forms.BoundField
    wait: forms.BoundField


class PolicyForm(forms.Form):
    """A policy with its steps: ``who_N``, ``channels_N`` and ``wait_N`` from 0; a step without anybody is left out.

    Of whom to tell, people are ``person:KEY``, teams ``team:KEY``, rotas ``rota:KEY``.
    """

    name = forms.CharField(label=gettext_lazy("Name"), max_length=100)
    repeats = forms.TypedChoiceField(label=gettext_lazy("After the last step"), coerce=int)

    def __init__(self, given: Any, *, policy: EscalationPolicy) -> None:
        steps = list(policy.steps.all()) if policy.pk else []
        super().__init__(given, initial={"name": policy.name, "repeats": policy.repeats})
        self.fields["repeats"].choices = [(n, again_word(n)) for n in range(REPEATS_MOST + 1)]  # type: ignore[attr-defined]
        self._count = min(STEPS_MOST, max(2, len(steps) + 1))
        who = _everybody()
        for number in range(self._count):
            self._add_step(number, who, steps[number] if number < len(steps) else None)

    def _add_step(self, number: int, who: Choices, step: EscalationStep | None) -> None:
        boxes = forms.CheckboxSelectMultiple
        kept_s = step.wait_s if step else 120
        waits = [(s, wait_word(s)) for s in sorted({*WAITS_S, kept_s})]
        self.fields[f"who_{number}"] = forms.MultipleChoiceField(choices=who, required=False, widget=boxes)
        self.fields[f"channels_{number}"] = forms.MultipleChoiceField(choices=channels, required=False, widget=boxes)
        self.fields[f"wait_{number}"] = forms.TypedChoiceField(
            label=_("Then wait"), choices=waits, coerce=int, initial=kept_s
        )
        if step is not None:
            self.initial[f"who_{number}"] = _told_by(step)
            self.initial[f"channels_{number}"] = step.channels

    @property
    def steps(self) -> list[StepFields]:
        """For the page."""
        return [
            StepFields(n + 1, self[f"who_{n}"], self[f"channels_{n}"], self[f"wait_{n}"]) for n in range(self._count)
        ]

    def drafts(self) -> list[StepDraft]:
        """The steps as they were typed, those without anybody left out."""
        return [self._draft(number) for number in range(self._count) if self.cleaned_data[f"who_{number}"]]

    def _draft(self, number: int) -> StepDraft:
        chosen = self.cleaned_data[f"who_{number}"]
        return StepDraft(
            recipients=list(Recipient.objects.filter(pk__in=_keys("person", chosen))),
            teams=list(Team.objects.filter(pk__in=_keys("team", chosen))),
            rotas=list(Rota.objects.filter(pk__in=_keys("rota", chosen))),
            channels=self.cleaned_data[f"channels_{number}"],
            wait_s=self.cleaned_data[f"wait_{number}"],
        )


def _everybody() -> Choices:
    """Whom a step can tell: duties first, then teams, then people."""
    rotas = [(f"rota:{one.pk}", _("On duty: %(rota)s") % {"rota": one.name}) for one in Rota.objects.all()]
    teams = [(f"team:{one.pk}", _("Team: %(team)s") % {"team": one.name}) for one in Team.objects.all()]
    return [*rotas, *teams, *((f"person:{one.pk}", one.name) for one in Recipient.objects.filter(active=True))]


def _told_by(step: EscalationStep) -> list[str]:
    groups: Mapping[str, Iterable[Any]] = {
        "person": step.recipients.all(),
        "team": step.teams.all(),
        "rota": step.rotas.all(),
    }
    return [f"{kind}:{one.pk}" for kind, rows in groups.items() for one in rows]


def _keys(kind: str, chosen: Iterable[str]) -> list[int]:
    return [int(one.partition(":")[2]) for one in chosen if one.startswith(f"{kind}:")]
