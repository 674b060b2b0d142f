"""The administrator's pages for rules and people: where forms derive from configs, and tokens are shown once."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any, ClassVar, cast

from django import forms
from django.contrib import admin, messages
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.models import Group
from django.core.exceptions import ValidationError
from django.db.models import Model as Row
from django.db.models import QuerySet
from django.forms import ModelForm
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.functional import lazy
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, gettext_noop
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm
from unfold.widgets import (
    UnfoldAdminCheckboxSelectMultipleWidget,
    UnfoldAdminSelect2MultipleWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
)

from alerts import editing, texts
from alerts.models import EscalationPolicy, Rule
from alerts.policies import policy_reaches
from alerts.rules.config import RETIRED, TIME, CommonConfig
from alerts.rules.registry import RULES, rule_kind
from alerts.schedule import parts, stored
from detectors.labels import LABELS, family
from detectors.models import Deployment
from frontend import audit_words, tokens
from frontend.forms import Struct, fields_for, initial_for, values_from
from frontend.models import ApiToken, User, ViewAudit
from streams.admin import Page, ReadOnlyPage

SETTING = "setting_"
"""Keeps a kind's settings apart from the rule's own columns."""
FIRST = ("labels", "confidence")
"""Common settings that stand beside the kind's own; the others are fine tuning."""
DAYS = (
    (0, gettext_lazy("Monday")),
    (1, gettext_lazy("Tuesday")),
    (2, gettext_lazy("Wednesday")),
    (3, gettext_lazy("Thursday")),
    (4, gettext_lazy("Friday")),
    (5, gettext_lazy("Saturday")),
    (6, gettext_lazy("Sunday")),
)
_KINDS = (
    gettext_noop("Absence"),
    gettext_noop("Appearance"),
    gettext_noop("Counting"),
    gettext_noop("Crossing"),
    gettext_noop("Crowd"),
    gettext_noop("Dwell"),
    gettext_noop("Health"),
    gettext_noop("Left"),
    gettext_noop("Person down"),
    gettext_noop("Presence"),
    gettext_noop("Sequence"),
    gettext_noop("Stopped"),
    gettext_noop("Threshold"),
    gettext_noop("Wrong way"),
)
"""Marked for translation here; a kind without a translation shows its key as a word."""
SPANS = 2
"""Daily spans that the plain form offers; further ones of a rule are kept as they are."""
WHEN = (
    *(f"{name}_{number}" for number in range(1, SPANS + 1) for name in ("days", "from", "until")),
    "holidays",
    "on_holidays",
)
"""The fields that say when a rule acts."""


_label_name = lazy(texts.label_name, str)
"""A label in the language of whoever opens the page; the form itself is made once for all of them."""


def _span_fields(number: int) -> dict[str, forms.Field]:
    clock = {
        "required": False,
        "initial": "00:00",
        "widget": UnfoldAdminTextInputWidget(attrs={"placeholder": "22:00", "autocomplete": "off"}),
        "error_messages": {
            "invalid": gettext_lazy("Write a time as 22:00, or sunrise or sunset, also with an offset: sunset-00:30.")
        },
    }
    return {
        f"days_{number}": forms.TypedMultipleChoiceField(
            label=gettext_lazy("Days"),
            choices=DAYS,
            coerce=int,
            required=False,
            widget=UnfoldAdminCheckboxSelectMultipleWidget,
            help_text=gettext_lazy(
                "No day: this span does not count. Without any span the rule always acts. “Until” before “From” passes "
                "midnight; both equal means the whole day."
            ),
        ),
        f"from_{number}": forms.RegexField(TIME, label=gettext_lazy("From"), **clock),
        f"until_{number}": forms.RegexField(TIME, label=gettext_lazy("Until"), **clock),
    }


class DatesField(forms.CharField):
    """Days of the calendar, one beside the other."""

    widget = UnfoldAdminTextareaWidget(attrs={"rows": 2, "placeholder": "2027-01-01 2027-02-17"})

    def clean(self, value: Any) -> list[str]:
        """``YYYY-MM-DD`` each, in order, none twice."""
        days = set()
        for word in str(super().clean(value)).replace(",", " ").replace(";", " ").split():
            try:
                days.add(date.fromisoformat(word).isoformat())
            except ValueError:
                raise ValidationError(
                    _("Write each day as 2027-01-01; “%(word)s” is none.") % {"word": word[:40]}
                ) from None
        return sorted(days)


def _holiday_fields() -> dict[str, forms.Field]:
    return {
        "holidays": DatesField(label=gettext_lazy("Holidays"), required=False),
        "on_holidays": forms.ChoiceField(
            label=gettext_lazy("On holidays"),
            choices=(
                ("never", gettext_lazy("it does not act")),
                ("always", gettext_lazy("it acts all day")),
                ("as_sunday", gettext_lazy("it acts as on Sundays")),
            ),
            required=False,
            widget=UnfoldAdminSelectWidget,
        ),
    }


def _label_field(field: forms.Field) -> forms.Field:
    """Labels are chosen from the tree, families first within their letters."""
    known = sorted(LABELS, key=lambda label: (family(label), label != family(label), label))
    return forms.MultipleChoiceField(
        label=field.label,
        help_text=field.help_text,
        choices=[(label, _label_name(label)) for label in known],
        widget=UnfoldAdminSelect2MultipleWidget,
    )


class RuleForm(ModelForm[Rule]):
    """A rule of one kind: its own columns, the kind's settings (derived from its config), and when it acts."""

    kind: str
    struct: Struct

    class Meta:
        model = Rule
        fields = (
            "name",
            "enabled",
            "severity",
            "zones",
            "deployment",
            "recipients",
            "policy",
            "why_it_matters",
            "procedure",
        )
        widgets = {"procedure": UnfoldAdminTextareaWidget(attrs={"rows": 4})}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.instance.kind = self.kind
        for name, value in initial_for(self.struct, self.instance.config).items():
            self.initial.setdefault(SETTING + name, value)
        spans, holidays, self.initial["on_holidays"] = parts(self.instance.schedule)
        self.initial["holidays"] = " ".join(holidays)
        for number, span in enumerate(spans[:SPANS], start=1):
            self.initial[f"days_{number}"] = span.get("days", list(range(7)))
            self.initial[f"from_{number}"] = span.get("from", "00:00")
            self.initial[f"until_{number}"] = span.get("until", "00:00")

    def clean_policy(self) -> EscalationPolicy | None:
        """One that is chosen now reaches somebody; one that stood here before is told of on its own page."""
        policy: EscalationPolicy | None = self.cleaned_data["policy"]
        if policy is not None and "policy" in self.changed_data and not policy_reaches(policy):
            raise ValidationError(
                _("“%(policy)s” would reach nobody: confirm a number or address of its people first.")
                % {"policy": policy.name}
            )
        return policy

    def _post_clean(self) -> None:
        """The whole rule is judged as the engine would: what could never fire is refused beside its field."""
        super()._post_clean()  # type: ignore[misc]
        if self.errors:
            return
        self.instance.config = self._settings()
        self.instance.schedule = self._schedule()
        try:
            editing.check_rule(self.instance, zones=list(self.cleaned_data["zones"]))
        except editing.Refused as refused:
            self.add_error(self._field_of(refused), str(refused))

    def _settings(self) -> dict[str, Any]:
        typed = {
            name.removeprefix(SETTING): value for name, value in self.cleaned_data.items() if name.startswith(SETTING)
        }
        kept = {name: value for name, value in self.instance.config.items() if name in RETIRED}
        return values_from(self.struct, typed) | kept

    def _schedule(self) -> Any:
        """As a rule keeps it."""
        shown = [
            {
                "days": self.cleaned_data[f"days_{number}"],
                "from": self.cleaned_data[f"from_{number}"] or "00:00",
                "until": self.cleaned_data[f"until_{number}"] or "00:00",
            }
            for number in range(1, SPANS + 1)
            if self.cleaned_data[f"days_{number}"]
        ]
        spans = shown + parts(self.instance.schedule)[0][SPANS:]
        return stored(spans, self.cleaned_data["holidays"], self.cleaned_data["on_holidays"] or "never")

    def _field_of(self, refused: editing.Refused) -> str | None:
        for name in (refused.field, SETTING + refused.field):
            if name in self.fields:
                return name
        return WHEN[0] if refused.field == "schedule" else None


def rule_form(kind: str) -> type[RuleForm]:
    """The form of rules of ``kind``. Raises ``BadConfig`` for a kind that is not there."""
    struct = rule_kind(kind)
    fields = fields_for(struct)
    settings = {SETTING + name: fields[name] for name in struct.asked()}
    if SETTING + "labels" in settings:
        settings[SETTING + "labels"] = _label_field(settings[SETTING + "labels"])
    spans = {name: field for number in range(1, SPANS + 1) for name, field in _span_fields(number).items()}
    return type("RuleForm", (RuleForm,), {"kind": kind, "struct": struct, **settings, **spans, **_holiday_fields()})


@admin.register(Rule)
class RuleAdmin(Page):
    """Rules. Every edit makes a new version, and the engine goes on with it within five seconds."""

    list_display = ("name", "severity", "where", "deployment", "enabled")
    list_filter = ("severity", "enabled", "zones__view__camera__site")
    list_select_related = ("deployment",)
    search_fields = ("name", "zones__name", "zones__view__camera__name")
    readonly_fields = ("kind_of_rule",)

    @admin.display(description=gettext_lazy("where"))
    def where(self, rule: Rule) -> str:
        """Its zones."""
        return ", ".join(str(zone) for zone in rule.zones.all())

    @admin.display(description=gettext_lazy("kind"))
    def kind_of_rule(self, rule: Rule) -> str | SafeString:
        """The kind, and for a new rule the ways to the other kinds' forms."""
        others = [kind for kind in sorted(RULES) if kind != rule.kind]
        if rule.pk or not others:
            return texts.kind_name(rule.kind)
        links = format_html_join(", ", '<a href="?kind={}">{}</a>', ((kind, texts.kind_name(kind)) for kind in others))
        return format_html("{} ({} {})", texts.kind_name(rule.kind), _("or:"), links)

    def get_queryset(self, request: HttpRequest) -> Any:
        """With the zones that the list shows."""
        return super().get_queryset(request).prefetch_related("zones__view__camera")

    def get_form(self, request: HttpRequest, obj: Rule | None = None, change: bool = False, **kwargs: Any) -> Any:
        """The form of the rule's kind, or of the kind that the address asks for."""
        return super().get_form(request, obj, change, **{**kwargs, "form": rule_form(_kind_asked(request, obj))})

    def get_fieldsets(self, request: HttpRequest, obj: Rule | None = None) -> Any:
        """What is looked for, where, when, and who is told."""
        names = rule_kind(_kind_asked(request, obj)).asked()
        first = [name for name in names if name in FIRST or name not in CommonConfig.__struct_fields__]
        rest = [name for name in names if name not in first]
        spans = [
            row for number in range(1, SPANS + 1) for row in (f"days_{number}", (f"from_{number}", f"until_{number}"))
        ] + [("holidays", "on_holidays")]
        return (
            (None, {"fields": (("name", "severity"), ("kind_of_rule", "enabled"), "deployment", "zones")}),
            (gettext_lazy("What is looked for"), {"fields": _pairs(first)}),
            (gettext_lazy("Fine tuning"), {"fields": _pairs(rest), "classes": ("collapse",)}),
            (gettext_lazy("When it acts"), {"fields": spans}),
            (gettext_lazy("Who is told"), {"fields": ("recipients", "policy", "why_it_matters", "procedure")}),
        )

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        """The only deployment there is need not be chosen."""
        initial: dict[str, Any] = super().get_changeform_initial_data(request)
        found = list(Deployment.objects.filter(enabled=True)[:2])
        return ({"deployment": found[0].pk} if len(found) == 1 else {}) | initial

    def save_model(self, request: HttpRequest, obj: Rule, form: Any, change: bool) -> None:
        """Row, version and demand in one transaction."""
        chosen = form.cleaned_data
        editing.save_rule(
            obj,
            zones=list(chosen["zones"]),
            author=cast(User, request.user),
            now=timezone.now(),
            recipients=list(chosen["recipients"]),
        )

    def has_delete_permission(self, request: HttpRequest, obj: Row | None = None) -> bool:
        """Incidents point at what a rule was; it is switched off instead."""
        return False


def _pairs(names: list[str]) -> list[tuple[str, ...]]:
    """Two settings a row."""
    return [tuple(SETTING + name for name in names[at : at + 2]) for at in range(0, len(names), 2)]


def _kind_asked(request: HttpRequest, rule: Rule | None) -> str:
    if rule is not None:
        return rule.kind
    asked = request.GET.get("kind", "")
    return asked if asked in RULES else next(iter(RULES))


class _StaffForm(ModelForm[User]):
    """Nobody locks the last administrator out."""

    def clean(self) -> dict[str, Any] | None:
        cleaned = super().clean()
        stays = self.cleaned_data.get("role") == User.Role.ADMINISTRATOR and self.cleaned_data.get("is_active")
        others = User.objects.filter(role=User.Role.ADMINISTRATOR, is_active=True).exclude(pk=self.instance.pk)
        was = self.instance.pk and User.objects.filter(pk=self.instance.pk, role=User.Role.ADMINISTRATOR).exists()
        if was and not stays and not others.exists():
            raise forms.ValidationError(_("This is the last active administrator. Make another one first."))
        return cleaned


class PersonForm(_StaffForm, UserChangeForm):  # type: ignore[misc]
    """A person's account."""


admin.site.unregister(Group)  # access is by role and camera group; Django's permissions would be a second truth


@admin.register(User)
class PersonAdmin(Page, DjangoUserAdmin):  # type: ignore[misc, type-arg]
    """People: their role, the cameras they see, their language and clock."""

    form = PersonForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm
    list_display = ("username", "name", "role", "spoken", "is_active", "last_login")
    list_filter = ("role", "is_active", "camera_groups")
    search_fields = ("username", "first_name", "last_name", "email")
    filter_horizontal = ()
    readonly_fields = ("last_login", "date_joined")
    _access = (
        gettext_lazy("Access"),
        {
            "fields": ("role", "camera_groups", "is_active"),
            "description": gettext_lazy("An administrator sees every camera; all others see those of their groups."),
        },
    )
    _room = (gettext_lazy("On the screen"), {"fields": (("language", "time_zone"),)})
    fieldsets = cast(
        Any,
        (
            (None, {"fields": (("username", "password"), ("first_name", "last_name"), "email")}),
            _access,
            _room,
            (gettext_lazy("Dates"), {"fields": (("last_login", "date_joined"),)}),
        ),
    )
    add_fieldsets = cast(Any, ((None, {"fields": ("username", ("password1", "password2"))}), _access, _room))

    @admin.display(description=gettext_lazy("name"))
    def name(self, user: User) -> str:
        """First and last name."""
        return user.get_full_name() or "–"

    def has_delete_permission(self, request: HttpRequest, obj: Row | None = None) -> bool:
        """The record of who looked and acted outlives an account: it is made inactive instead."""
        return False


@admin.register(ApiToken)
class ApiTokenAdmin(Page):
    """Bearer tokens for programs. The token is on the page that answers its making, and never again."""

    list_display = ("name", "user", "created_at", "last_used_at", "expires_at")
    list_select_related = ("user",)
    fields = (("name", "user"), "expires_at", ("created_at", "last_used_at"))
    readonly_fields = ("created_at", "last_used_at")

    def get_readonly_fields(self, request: HttpRequest, obj: ApiToken | None = None) -> tuple[str, ...]:
        """A token stays its owner's."""
        return (*self.readonly_fields, "user") if obj else self.readonly_fields

    def get_fields(self, request: HttpRequest, obj: ApiToken | None = None) -> Any:
        """No dates before there are any."""
        return self.fields if obj else (("name", "user"), "expires_at")

    def save_model(self, request: HttpRequest, obj: ApiToken, form: Any, change: bool) -> None:
        """A new one is drawn; its plain text lives as long as this request."""
        if change:
            obj.save(update_fields=["name", "expires_at"])
            return
        made, plain = tokens.create(obj.user, obj.name, expires_at=obj.expires_at)
        obj.pk, obj.uid, obj.digest, obj.created_at = made.pk, made.uid, made.digest, made.created_at
        request.plain_token = plain  # type: ignore[attr-defined]

    def response_add(self, request: HttpRequest, obj: ApiToken, post_url_continue: str | None = None) -> HttpResponse:
        """Answer in this very response: a redirect would have to keep the plain token somewhere."""
        plain = request.plain_token  # type: ignore[attr-defined]
        messages.success(
            request,
            format_html(
                '{}<br><code class="new-token">{}</code>',
                _("This is the token. Copy it now; it is never shown again."),
                plain,
            ),
        )
        request.method = "GET"
        response = self.change_view(
            request, str(obj.pk), form_url=reverse("admin:frontend_apitoken_change", args=[obj.pk])
        )
        response["Cache-Control"] = "no-store"
        rendered: HttpResponse = response.render() if hasattr(response, "render") else response
        return rendered


class ActionFilter(admin.SimpleListFilter):
    """By what was done, in words; only what there is."""

    title = gettext_lazy("action")
    parameter_name = "action"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Each code that was written, with its words."""
        there = ViewAudit.objects.order_by("action").values_list("action", flat=True).distinct()
        return [(action, audit_words.said(action)) for action in there]

    def queryset(self, request: HttpRequest, queryset: QuerySet[ViewAudit]) -> QuerySet[ViewAudit]:
        """All, while none is chosen."""
        return queryset.filter(action=self.value()) if self.value() else queryset


@admin.register(ViewAudit)
class ViewAuditAdmin(ReadOnlyPage):
    """Who looked at what, and who did what."""

    words: ClassVar[Mapping[str, Any]] = {
        "at": gettext_lazy("when"), "user": gettext_lazy("user"),
        "camera": gettext_lazy("camera"), "address": gettext_lazy("network address"),
    }  # fmt: skip
    list_display = ("at", "user", "done", "camera", "address")
    list_filter = (ActionFilter, "camera")
    fields = ("at", "user", "done", "camera", "subject", "address")
    list_select_related = ("user", "camera")
    date_hierarchy = "at"

    @admin.display(description=gettext_lazy("action"), ordering="action")
    def done(self, row: ViewAudit) -> str:
        """In words."""
        return audit_words.said(row.action)
