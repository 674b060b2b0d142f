"""The administrator's pages for places: sites, camera groups, cameras with their addresses and log-ins."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, ClassVar

from django import forms
from django.conf import settings
from django.contrib import admin
from django.contrib.admin.utils import flatten
from django.db.models import Field, Model
from django.forms import ModelForm
from django.http import HttpRequest, HttpResponse
from django.utils.safestring import SafeString
from django.utils.text import capfirst
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from unfold.admin import ModelAdmin, StackedInline
from unfold.widgets import (
    UnfoldAdminPasswordWidget,
    UnfoldAdminSelect2MultipleWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextInputWidget,
    UnfoldBooleanSwitchWidget,
)

from streams.addresses import allowed_pairs, check_address, own_pairs
from streams.credentials import carries_password, seal, unseal, without_login
from streams.models import Camera, CameraGroup, Site, Source, View
from streams.problems import AddressRefused
from streams.telemetry import redact
from streams.time_zones import time_zones


class Page(ModelAdmin):  # type: ignore[misc]
    """An administrator's page as all of ours are: time zones and languages are chosen, never typed."""

    compressed_fields = True
    warn_unsaved_form = True
    list_filter_sheet = False
    actions = None  # the only one is to delete many rows at once, which nobody here should do by accident

    def formfield_for_dbfield(self, db_field: Field[Any, Any], request: HttpRequest, **kwargs: Any) -> Any:
        """Plain choices for what has a known set of values."""
        if db_field.name == "time_zone":
            return _chosen(db_field, [(name, name) for name in sorted(time_zones())])
        if db_field.name == "language":
            return _chosen(db_field, [(code, str(name)) for code, name in settings.LANGUAGES])
        return super().formfield_for_dbfield(db_field, request, **kwargs)

    def formfield_for_manytomany(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        """Chosen by typing: two boxes with arrows between them fit no telephone."""
        widget = UnfoldAdminSelect2MultipleWidget()
        field = super().formfield_for_manytomany(db_field, request, **{**kwargs, "widget": widget})
        if field is not None:  # both were overwritten for a plain select
            field.widget.attrs["class"] = "unfold-admin-autocomplete admin-autocomplete"
            field.help_text = db_field.help_text
        return field

    def render_change_form(self, request: HttpRequest, context: dict[str, Any], **kwargs: Any) -> HttpResponse:
        """Nothing that has an error stays folded away."""
        form = context["adminform"]
        form.fieldsets = [
            (name, {**options, "classes": ()} if set(flatten(options["fields"])) & set(form.form.errors) else options)
            for name, options in form.fieldsets
        ]
        response: HttpResponse = super().render_change_form(request, context, **kwargs)
        return response

    @admin.display(description=gettext_lazy("language"), ordering="language")
    def spoken(self, row: Any) -> str:
        """The language of a person, by its name."""
        return str(dict(settings.LANGUAGES).get(row.language, row.language))


class ReadOnlyPage(Page):
    """Rows that processes write and nobody edits."""

    words: ClassVar[Mapping[str, Any]] = {}
    """What columns are called here, where the model has no words for people. Under "": what the rows are called."""

    def __init__(self, model: type[Model], admin_site: admin.AdminSite) -> None:
        super().__init__(model, admin_site)
        for name, said in self.words.items():
            if name:
                model._meta.get_field(name).verbose_name = said  # type: ignore[union-attr]
            else:
                model._meta.verbose_name = model._meta.verbose_name_plural = said

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False


def _chosen(field: Field[Any, Any], choices: list[tuple[str, str]]) -> forms.ChoiceField:
    """A select for the text column ``field``."""
    empty = [("", "–")] if field.blank else []
    return forms.ChoiceField(
        label=capfirst(field.verbose_name),
        choices=empty + choices,
        initial=field.get_default(),
        required=not field.blank,
        help_text=field.help_text,
        widget=UnfoldAdminSelectWidget(),
    )


@admin.register(Site)
class SiteAdmin(Page):
    """Places with their own clock."""

    list_display = ("name", "time_zone", "contact")
    search_fields = ("name",)


@admin.register(CameraGroup)
class CameraGroupAdmin(Page):
    """Who may see what follows from these."""

    list_display = ("name",)
    search_fields = ("name",)


class AddressInput(UnfoldAdminTextInputWidget):  # type: ignore[misc]
    """Never gives back a user name or password that somebody wrote into the address."""

    kept = ""
    """The stored address, which was checked: an "@" in its path is part of the path."""

    def format_value(self, value: Any) -> str | None:
        """Without a log-in."""
        shown: str | None = super().format_value(value)
        return None if shown is None else without_login(shown, self.kept)


class WriteOnlyInput(UnfoldAdminTextInputWidget):  # type: ignore[misc]
    """Takes text and never shows it again, not even when the form comes back with an error."""

    def format_value(self, value: Any) -> str | None:
        """Always empty."""
        return None


class SourceForm(ModelForm[Source]):
    """An address and, beside it, a log-in that can be written and never read."""

    problems: ClassVar[Mapping[str, AddressRefused]] = {}
    """Refusals by address, found before the transaction began: looking up a name takes its time."""

    user_name = forms.CharField(
        label=gettext_lazy("User name"),
        required=False,
        max_length=200,
        widget=WriteOnlyInput(attrs={"autocomplete": "off"}),
    )
    password = forms.CharField(
        label=gettext_lazy("Password"),
        required=False,
        max_length=200,
        strip=False,
        widget=UnfoldAdminPasswordWidget(attrs={"autocomplete": "new-password"}),
    )
    forget_login = forms.BooleanField(
        label=gettext_lazy("Forget the log-in"), required=False, widget=UnfoldBooleanSwitchWidget()
    )

    class Meta:
        model = Source
        fields = ("role", "address")
        widgets: ClassVar[dict[str, Any]] = {"address": AddressInput(attrs={"placeholder": "rtsp://10.0.0.5:554/…"})}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["address"].widget.kept = self.instance.address
        kept = bool(self.instance.credentials)
        self.fields["user_name"].help_text = (
            _("A log-in is kept. Leave both fields empty to keep it.") if kept else _("Leave empty if it needs none.")
        )
        if not kept:
            self.fields["forget_login"].widget, self.fields["forget_login"].label = forms.HiddenInput(), ""

    def clean_address(self) -> str:
        """The address, if a camera may have it."""
        address: str = self.cleaned_data["address"]
        if refused := self.problems.get(address):
            raise forms.ValidationError(_(refused.msgid) % refused.params)
        if carries_password(address):
            raise forms.ValidationError(
                _("This address contains a password. Write user name and password in their two fields below.")
            )
        return address

    def save(self, commit: bool = True) -> Source:
        """Seal what was typed; a field left empty keeps its part."""
        user, password = self.cleaned_data.get("user_name", ""), self.cleaned_data.get("password", "")
        if user or password:
            kept_user, kept_password = unseal(self.instance.credentials) or ("", "")
            self.instance.credentials = seal(user or kept_user, password or kept_password)
        elif self.cleaned_data.get("forget_login"):
            self.instance.credentials = b""
        return super().save(commit)


class SourceInline(StackedInline):  # type: ignore[misc]
    """The addresses of a camera."""

    model = Source
    form = SourceForm
    extra = 0
    min_num = 1
    max_num = len(Source.Role.values)
    verbose_name = gettext_lazy("address")
    verbose_name_plural = gettext_lazy("addresses")
    fieldsets = ((None, {"fields": ("address", ("user_name", "password"), ("role", "forget_login"))}),)

    def get_formset(self, request: HttpRequest, obj: Camera | None = None, **kwargs: Any) -> Any:
        """Forms that know what the look-up before the transaction found."""
        problems = getattr(request, "address_problems", {})
        kwargs["form"] = type("CheckedSourceForm", (SourceForm,), {"problems": problems})
        return super().get_formset(request, obj, **kwargs)


def address_problems(typed: Mapping[str, str]) -> dict[str, AddressRefused]:
    """What is wrong with the camera addresses of a posted form, by address. Asks the name server; may take seconds."""
    addresses = {value.strip() for name, value in typed.items() if re.fullmatch(r"sources-\d+-address", name)}
    kept = set(Source.objects.filter(address__in=addresses).values_list("address", flat=True))
    found: dict[str, AddressRefused] = {}
    for address in addresses - kept - {""}:
        try:
            check_address(address, allow=allowed_pairs(), own=own_pairs())
        except AddressRefused as refused:
            found[address] = refused
    return found


@admin.register(Camera)
class CameraAdmin(Page):
    """Cameras. An edit is live within five seconds and touches no other camera."""

    inlines = (SourceInline,)
    list_display = ("name", "site", "group", "carrier", "address", "enabled")
    list_filter = ("site", "group", "enabled")
    list_select_related = ("site", "group")
    search_fields = ("name", "site__name")
    fieldsets = (
        (None, {"fields": ("name", ("site", "group"), ("carrier", "enabled"))}),
        (
            gettext_lazy("Pictures"),
            {"fields": (("evidence_px", "gated", "rests"),), "classes": ("collapse",)},
        ),
    )

    @admin.display(description=gettext_lazy("address"))
    def address(self, camera: Camera) -> str | SafeString:
        """Where its pictures come from."""
        source = camera.detect_source
        return "–" if source is None else redact(source.address)

    def get_queryset(self, request: HttpRequest) -> Any:
        """With the addresses that the list shows."""
        return super().get_queryset(request).prefetch_related("sources")

    def changeform_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        """Look new addresses up first: Django's view holds a transaction, and no writer may wait for a name server."""
        if request.method == "POST":
            request.address_problems = address_problems(request.POST)  # type: ignore[attr-defined]
        response: HttpResponse = super().changeform_view(request, *args, **kwargs)
        return response

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        """A new camera has a view at once, so that zones can be drawn on it."""
        super().save_related(request, form, formsets, change)
        if not form.instance.views.exists():
            View.objects.create(camera=form.instance)
