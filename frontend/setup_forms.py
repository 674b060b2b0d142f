"""What a person types to set up a camera, as Django forms in the room's own look."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django import forms
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from frontend.models import User
from streams.addresses import allowed_pairs, check_address, own_pairs
from streams.cameras import CameraDraft
from streams.credentials import carries_password, without_login
from streams.models import Camera, CameraGroup, Site, Source
from streams.problems import AddressRefused
from streams.time_zones import time_zones

ROWS = len(Source.Role.values)
"""Addresses that the form offers: one for each role."""
ROLE_WORDS = {
    Source.Role.DETECT: gettext_lazy("is analysed"),
    Source.Role.RECORD: gettext_lazy("is kept (full picture)"),
    Source.Role.VIEW: gettext_lazy("is shown on screens"),
}


@dataclass(frozen=True, slots=True)
class AddressRow:
    """One address on the page."""

    number: int
    shown: str
    role: str
    errors: list[str]


class CameraForm(forms.Form):
    """A camera: name, place, who may see it, and up to three addresses, each with its role.

    Field names ``address_N`` and ``role_N`` count from 0. The log-in is for all addresses and never shown again.
    """

    name = forms.CharField(label=gettext_lazy("Name"), max_length=100)
    site = forms.ModelChoiceField(Site.objects.all(), label=gettext_lazy("Site"), required=False)
    new_site = forms.CharField(label=gettext_lazy("Name of the new site"), max_length=100, required=False)
    time_zone = forms.ChoiceField(label=gettext_lazy("Its time zone"), required=False)
    group = forms.ModelChoiceField(CameraGroup.objects.all(), label=gettext_lazy("Camera group"), required=False)
    new_group = forms.CharField(label=gettext_lazy("Name of the new group"), max_length=100, required=False)
    people = forms.ModelMultipleChoiceField(
        User.objects.none(), label=gettext_lazy("Who may see its cameras"), required=False
    )
    carrier = forms.ChoiceField(label=gettext_lazy("Carried by"), choices=Camera.Carrier.choices, required=False)
    user_name = forms.CharField(label=gettext_lazy("User name"), max_length=200, required=False)
    password = forms.CharField(label=gettext_lazy("Password"), max_length=200, required=False, strip=False)
    forget_login = forms.BooleanField(label=gettext_lazy("Forget the log-in"), required=False)

    def __init__(self, *args: Any, camera: Camera | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.camera = camera
        zones = [(name, name) for name in sorted(time_zones())]
        self.fields["time_zone"].choices = zones  # type: ignore[attr-defined]
        # Administrators see every camera anyway.
        people = User.objects.filter(is_active=True).exclude(role=User.Role.ADMINISTRATOR).order_by("username")
        self.fields["people"].queryset = people  # type: ignore[attr-defined]
        for number in range(ROWS):
            self.fields[f"address_{number}"] = forms.CharField(max_length=500, required=False)
            self.fields[f"role_{number}"] = forms.ChoiceField(choices=list(ROLE_WORDS.items()), required=False)

    @classmethod
    def initial_of(cls, camera: Camera) -> dict[str, Any]:
        """What the form shows of a camera that is there; nothing of its log-in."""
        sources = sorted(camera.sources.all(), key=lambda source: Source.Role.values.index(source.role))
        rows = {f"address_{n}": source.address for n, source in enumerate(sources)}
        roles = {f"role_{n}": source.role for n, source in enumerate(sources)}
        plain = {"name": camera.name, "site": camera.site_id, "group": camera.group_id, "carrier": camera.carrier}
        return {**plain, **rows, **roles}

    @property
    def rows(self) -> list[AddressRow]:
        """What the page shows of each address: never a log-in that somebody wrote into it."""
        kept = {source.address for source in self.camera.sources.all()} if self.camera else set()
        found = []
        for number, usual in enumerate(Source.Role.values):
            address, role = self[f"address_{number}"], self[f"role_{number}"]
            typed = str(address.value() or "")
            shown = typed if typed in kept else without_login(typed)
            found.append(
                AddressRow(number, shown, str(role.value() or usual), [str(error) for error in address.errors])
            )
        return found

    def clean(self) -> dict[str, Any]:
        """Everything that can be told without asking the camera."""
        cleaned = super().clean() or self.cleaned_data
        self._check_place(cleaned)
        self._check_addresses(cleaned)
        self._check_name(cleaned)
        return cleaned

    def _check_place(self, cleaned: Mapping[str, Any]) -> None:
        if not cleaned.get("site"):
            name = (cleaned.get("new_site") or "").strip()
            if not name:
                self.add_error("new_site", _("Choose a site, or give the new one a name."))
            elif Site.objects.filter(name__iexact=name).exists():
                self.add_error("new_site", _("There is a site of this name already. Choose it above."))
            elif not cleaned.get("time_zone"):
                self.add_error("time_zone", _("Choose the clock that this site lives by."))
        if not cleaned.get("group"):
            name = (cleaned.get("new_group") or "").strip()
            if not name:
                self.add_error("new_group", _("Choose a camera group, or give the new one a name."))
            elif CameraGroup.objects.filter(name__iexact=name).exists():
                self.add_error("new_group", _("There is a camera group of this name already. Choose it above."))

    def _check_addresses(self, cleaned: Mapping[str, Any]) -> None:
        found = addresses_in(cleaned)
        if not found:
            self.add_error("address_0", _("Enter the camera's address, for example rtsp://10.0.0.5:554/stream1."))
        roles = [role for _number, role, _address in found]
        for number, role, address in found:
            if roles.count(role) > 1:
                self.add_error(f"address_{number}", _("Two addresses have the same use. Choose another for one."))
            elif problem := address_problem(address, self.camera):
                self.add_error(f"address_{number}", problem)

    def _check_name(self, cleaned: Mapping[str, Any]) -> None:
        site, name = cleaned.get("site"), cleaned.get("name")
        if not site or not name:
            return
        others = Camera.objects.filter(site=site, name__iexact=name)
        if (others.exclude(pk=self.camera.pk) if self.camera else others).exists():
            self.add_error("name", _("This site has a camera of this name already. Choose another name."))

    def draft(self) -> CameraDraft:
        """What was typed. Makes the new site and group: call it inside the transaction that saves the camera."""
        cleaned = self.cleaned_data
        site = cleaned["site"] or Site.objects.create(name=cleaned["new_site"].strip(), time_zone=cleaned["time_zone"])
        group = cleaned["group"]
        if not group:
            group = CameraGroup.objects.create(name=cleaned["new_group"].strip())
            group.people.set(cleaned["people"])
        return CameraDraft(
            name=cleaned["name"],
            site=site,
            group=group,
            addresses={role: address for _number, role, address in addresses_in(cleaned)},
            user=cleaned["user_name"],
            password=cleaned["password"],
            forget_login=cleaned["forget_login"],
            carrier=cleaned["carrier"] or Camera.Carrier.FIXED,
            enabled=self.camera.enabled if self.camera else True,
        )


def addresses_in(cleaned: Mapping[str, Any]) -> list[tuple[int, str, str]]:
    """(row, role, address) of every row that was filled in. A row's usual role is the one of its place."""
    found = []
    for number, usual in enumerate(Source.Role.values):
        address = (cleaned.get(f"address_{number}") or "").strip()
        if address:
            found.append((number, cleaned.get(f"role_{number}") or usual, address))
    return found


def address_problem(address: str, camera: Camera | None = None) -> str:
    """Why ``address`` cannot be a camera's, in the reader's language; empty when it can. Asks the name server.

    What ``camera`` has already is not asked about again: a name server that is away must not prevent other edits.
    """
    if camera is not None and any(source.address == address for source in camera.sources.all()):
        return ""
    if carries_password(address):
        return _("This address contains a password. Write user name and password in their own fields.")
    try:
        check_address(address, allow=allowed_pairs(), own=own_pairs())
    except AddressRefused as refused:
        return _(refused.msgid) % refused.params
    return ""
