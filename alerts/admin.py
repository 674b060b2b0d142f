"""The administrator's pages for views, zones and people to tell, and the record of what was done."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from django import forms
from django.contrib import admin
from django.db.models import Count as CountOf
from django.db.models import OuterRef, Q, QuerySet, Subquery
from django.forms import ModelForm
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, pgettext_lazy
from unfold.admin import TabularInline
from unfold.widgets import UnfoldAdminTextareaWidget, UnfoldAdminTextInputWidget, UnfoldBooleanSwitchWidget

from alerts import (
    editing,
    signals,  # noqa: F401  Django imports this file in every process, so edits are noticed wherever they are made
    texts,
)
from alerts.awaited import starved_without
from alerts.contacts import clean_address
from alerts.ground import BadGround, check_ground, stored
from alerts.models import Contact, Count, Delivery, Event, InboundMessage, Recipient, RuleVersion, Zone
from alerts.strict_json import StrictJsonField
from alerts.zones import BadPoints, check_points
from detectors.admin import DeploymentAdmin, DeploymentForm, ModelsAdmin, RegisteredForm
from detectors.models import Deployment, Model
from streams.admin import CameraAdmin, Page, ReadOnlyPage, SiteAdmin
from streams.models import Camera, Site, View


class Authored(Page):
    """A page on which an edit makes versions of rules: they are by whoever edits (``alerts.signals``)."""

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """As usual, with its author known."""
        obj._author = request.user
        super().save_model(request, obj, form, change)

    def delete_model(self, request: HttpRequest, obj: Any) -> None:
        """The same."""
        obj._author = request.user
        super().delete_model(request, obj)

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        """With the sequences that stay and will not fire any more."""
        listed, *others = super().get_deleted_objects(objs, request)
        text = _("What the sequence “%(sequence)s” waits for: it stays and will not fire any more")
        lost = [text % {"sequence": sequence.name} for sequence in starved_without(_zones_in(objs))]
        return [*listed, *lost], *others


def _zones_in(places: Iterable[Any]) -> list[Zone]:
    """The zones that go with ``places``, each a zone itself, a view, a camera or a site."""
    zones = Q(pk__in=[])
    for place in places:
        match place:
            case Zone():
                zones |= Q(pk=place.pk)
            case View():
                zones |= Q(view=place)
            case Camera():
                zones |= Q(view__camera=place)
            case Site():
                zones |= Q(view__camera__site=place)
    return list(Zone.objects.filter(zones))


class PlaceForm(ModelForm[Any]):
    """A place that lies elsewhere from now on: refused where a rule in it could not fire any more."""

    decides: ClassVar[tuple[str, ...]]
    """The fields that the rules depend on; an edit of others must not fail over a rule that is broken already."""

    def _post_clean(self) -> None:
        super()._post_clean()  # type: ignore[misc]
        changed = [name for name in self.decides if name in self.changed_data]
        if not self.errors and self.instance.pk and changed:
            try:
                editing.check_place(self.instance)
            except editing.Refused as refused:
                self.add_error(changed[0], str(refused))


class GuardedSiteForm(PlaceForm):
    """A site; rules act by its clock."""

    decides = ("time_zone",)


class GuardedCameraForm(PlaceForm):
    """A camera; rules act by the clock of its site."""

    decides = ("site",)


class ViewForm(PlaceForm):
    """A view; its privacy masks are polygons within the picture, its ground is calibrated or not."""

    decides = ("camera", "ground")

    class Meta:
        model = View
        fields = ("camera", "name", "masks", "ground")
        field_classes: ClassVar[dict[str, Any]] = {"masks": StrictJsonField, "ground": StrictJsonField}
        help_texts: ClassVar[dict[str, Any]] = {
            "ground": gettext_lazy(
                "Drawn on the camera's page in Set-up: four corners of a rectangle on the ground, and two of its sides "
                "in metres. Empty: not calibrated."
            )
        }

    def clean_masks(self) -> list[Any]:
        """Each mask a simple polygon."""
        masks = self.cleaned_data["masks"] or []
        if not isinstance(masks, list):
            raise forms.ValidationError(_("Masks are a list of polygons: [[[x, y], …], …]."))
        for number, mask in enumerate(masks, start=1):
            try:
                check_points(mask)
            except BadPoints as error:
                problem = _(error.msgid) % error.params
                raise forms.ValidationError(
                    _("Mask %(number)s: %(problem)s") % {"number": number, "problem": problem}
                ) from None
        return masks

    def clean_ground(self) -> dict[str, Any] | None:
        """Four corners and two lengths that measure something, or nothing."""
        ground = self.cleaned_data["ground"]
        try:
            return stored(check_ground(ground)) if ground else None
        except BadGround as bad:
            raise forms.ValidationError(_(bad.msgid) % bad.params) from None


@admin.register(View)
class ViewAdmin(Authored):
    """What a camera looks at; zones and masks belong to it."""

    form = ViewForm
    list_display = ("camera", "name")
    list_select_related = ("camera",)
    search_fields = ("camera__name", "name")


class ZoneForm(ModelForm[Zone]):
    """A zone: corners in fractions of the picture."""

    class Meta:
        model = Zone
        fields = ("view", "name", "shape", "points")
        field_classes: ClassVar[dict[str, Any]] = {"points": StrictJsonField}
        widgets: ClassVar[dict[str, Any]] = {
            "points": UnfoldAdminTextareaWidget(
                attrs={"rows": 4, "placeholder": "[[0.10, 0.40], [0.55, 0.40], [0.55, 0.95], [0.10, 0.95]]"}
            )
        }
        help_texts: ClassVar[dict[str, Any]] = {
            "points": gettext_lazy(
                "Corners as [[x, y], …]: x from the left edge (0) to the right (1), y from the top (0) to the bottom "
                "(1). A polygon has 3 to 64, a directed line has 2."
            )
        }

    def _post_clean(self) -> None:
        """Geometry that is wrong, or that leaves a rule unable to fire, is refused where it was typed."""
        super()._post_clean()  # type: ignore[misc]
        if not self.errors:
            try:
                editing.check_zone(self.instance)
            except editing.Refused as refused:
                self.add_error(refused.field if refused.field in self.fields else None, str(refused))


@admin.register(Zone)
class ZoneAdmin(Authored):
    """Zones. A rule on a changed zone goes on with the new one at once."""

    form = ZoneForm
    list_display = ("name", "view", "shape", "rules_on_it")
    list_filter = ("shape", "view__camera")
    list_select_related = ("view__camera",)
    search_fields = ("name", "view__camera__name")
    fieldsets = ((None, {"fields": ("view", ("name", "shape"), "points")}),)

    @admin.display(description=gettext_lazy("rules"))
    def rules_on_it(self, zone: Zone) -> str:
        """Their names."""
        return ", ".join(rule.name for rule in zone.rules.all()) or "–"

    def get_queryset(self, request: Any) -> Any:
        """With the rules that the list shows."""
        return super().get_queryset(request).prefetch_related("rules")


class ContactForm(ModelForm[Contact]):
    """A number that a text message can reach, or an e-mail address."""

    try_again = forms.BooleanField(
        label=gettext_lazy("try it again"), required=False, widget=UnfoldBooleanSwitchWidget()
    )

    class Meta:
        model = Contact
        fields = ("channel", "address", "order")
        widgets: ClassVar[dict[str, Any]] = {
            "address": UnfoldAdminTextInputWidget(attrs={"placeholder": "+886912345678"})
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["try_again"].disabled = self.instance.disabled_at is None

    def clean(self) -> dict[str, Any]:
        """What is typed fits the channel."""
        cleaned = super().clean() or self.cleaned_data
        try:
            cleaned["address"] = clean_address(cleaned.get("channel") or "", cleaned.get("address") or "")
        except forms.ValidationError as error:
            self.add_error("address", error)
        return cleaned

    def save(self, commit: bool = True) -> Contact:
        """What was mended, or works again as somebody knows, is tried again."""
        if {"address", "channel"} & set(self.changed_data):
            # Somebody else's, until they confirm it.
            self.instance.confirmed_at = self.instance.opted_out_at = None
        if "address" in self.changed_data or self.cleaned_data.get("try_again"):
            self.instance.disabled_at, self.instance.disabled_reason = None, ""
        return super().save(commit)


class ContactInline(TabularInline):  # type: ignore[misc]
    """How somebody is reached, the first first."""

    model = Contact
    form = ContactForm
    extra = 0
    min_num = 1
    fields = ("channel", "address", "order", "confirmed", "switched_off", "try_again")
    readonly_fields = ("confirmed", "switched_off")

    @admin.display(description=pgettext_lazy("contact", "confirmed"), boolean=True)
    def confirmed(self, contact: Contact) -> bool:
        """Whether it is told anything; codes are sent from its own page."""
        return contact.confirmed_at is not None

    @admin.display(description=gettext_lazy("switched off, because"))
    def switched_off(self, contact: Contact) -> str:
        """What the provider said."""
        if contact.opted_out_at:
            return _("unsubscribed")
        return contact.disabled_reason if contact.disabled_at else "–"


@admin.register(Recipient)
class RecipientAdmin(Page):
    """Who is told."""

    inlines = (ContactInline,)
    list_display = ("name", "spoken", "reached_by", "active")
    search_fields = ("name",)
    fieldsets = (
        (None, {"fields": (("name", "user"), ("language", "time_zone"), ("quiet_from", "quiet_until"), "active")}),
    )

    @admin.display(description=gettext_lazy("reached by"))
    def reached_by(self, recipient: Recipient) -> str:
        """Channels in their order; those that a provider refused or nobody confirmed are left out."""
        working = [contact for contact in recipient.contacts.all() if contact.usable]
        return ", ".join(str(contact.get_channel_display()) for contact in working) or _("nothing: add a contact")

    def get_queryset(self, request: Any) -> Any:
        """With the contacts that the list shows."""
        return super().get_queryset(request).prefetch_related("contacts")


class GuardedDeploymentForm(DeploymentForm):
    """Refuses a change that would leave a rule unable to fire."""

    def _post_clean(self) -> None:
        super()._post_clean()  # type: ignore[misc]
        if not self.errors and self.instance.pk:
            covered = {camera.pk for camera in self.cleaned_data["cameras"]}
            _refuse_starving(self, [self.instance], covered)


class GuardedModelForm(RegisteredForm):
    """Refuses labels that would leave a rule unable to fire."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["classes"].widget.label_name = texts.label_name

    def _post_clean(self) -> None:
        super()._post_clean()
        if not self.errors and self.instance.pk:
            deployments = list(self.instance.deployments.all())
            for deployment in deployments:
                deployment.model = self.instance
            _refuse_starving(self, deployments, None)


def _refuse_starving(form: ModelForm[Any], deployments: list[Deployment], covered: set[int] | None) -> None:
    for deployment in deployments:
        try:
            editing.check_starved(deployment, covered=covered)
        except editing.Refused as refused:
            form.add_error(None, str(refused))


# What the pages for places, models and deployments must not allow is known only here, where the rules are.
admin.site.unregister([Site, Camera, Deployment, Model])


@admin.register(Site)
class GuardedSiteAdmin(Authored, SiteAdmin):
    """Sites, with the rules on them in mind."""

    form = GuardedSiteForm


@admin.register(Camera)
class GuardedCameraAdmin(Authored, CameraAdmin):
    """Cameras, with the rules on them in mind."""

    form = GuardedCameraForm


@admin.register(Deployment)
class GuardedDeploymentAdmin(DeploymentAdmin):
    """Deployments, with the rules on them in mind."""

    form = GuardedDeploymentForm


@admin.register(Model)
class GuardedModelsAdmin(ModelsAdmin):
    """Models, with the rules on them in mind."""

    form = GuardedModelForm


@admin.register(RuleVersion)
class RuleVersionAdmin(ReadOnlyPage):
    """Every edit of every rule, as it ran."""

    words: ClassVar[Mapping[str, Any]] = {
        "": gettext_lazy("rule versions"),
        "rule": gettext_lazy("rule"),
        "number": gettext_lazy("number"),
        "kind": gettext_lazy("kind"),
        "severity": gettext_lazy("severity"),
        "author": gettext_lazy("author"),
        "active_from_at": gettext_lazy("from"),
        "active_until_at": gettext_lazy("until"),
        "embedded": gettext_lazy("what ran"),
        "beside": gettext_lazy("what stood beside it"),
    }
    list_display = ("rule", "number", "severity", "author", "active_from_at", "active_until_at")
    list_filter = ("rule",)
    list_select_related = ("rule", "author")
    fields = ("rule", "number", "kind", "severity", "author", "active_from_at", "active_until_at", "embedded", "beside")


@admin.register(Event)
class EventAdmin(ReadOnlyPage):
    """What was seen, as it was stored."""

    words: ClassVar[Mapping[str, Any]] = {
        "": gettext_lazy("events"),
        "happened_at": gettext_lazy("happened"),
        "known_at": gettext_lazy("became known"),
        "camera": gettext_lazy("camera"),
        "kind": gettext_lazy("kind"),
        "severity": gettext_lazy("severity"),
        "picture": gettext_lazy("picture"),
        "source": gettext_lazy("source"),
        "content": gettext_lazy("content"),
    }
    list_display = ("happened_at", "camera", "kind", "severity", "picture")
    list_filter = ("severity", "camera")
    list_select_related = ("camera",)
    fields = ("uid", "source", "kind", "severity", "camera", "happened_at", "known_at", "picture", "content")
    date_hierarchy = "happened_at"


@admin.register(Count)
class CountAdmin(ReadOnlyPage):
    """What counting rules have counted, interval by interval."""

    list_display = ("from_at", "until_at", "camera", "line", "direction", "label", "count", "seen_s")
    list_filter = ("camera", "direction", "label")
    list_select_related = ("camera",)
    fields = ("camera", "line", "direction", "label", "from_at", "until_at", "count", "seen_s")
    readonly_fields = ("line",)
    date_hierarchy = "from_at"

    def get_queryset(self, request: HttpRequest) -> QuerySet[Count]:
        """With the names that the lines have now."""
        rows: QuerySet[Count] = super().get_queryset(request)
        return rows.annotate(line_name=_name_of_zone("zone"), to_name=_name_of_zone("to_zone"))

    @admin.display(description=gettext_lazy("line"), ordering="line_name")
    def line(self, count: Count) -> str:
        """The line, or of a turn both, as North → East. One that was deleted has no name any more."""
        names = [count.line_name, count.to_name] if count.to_zone else [count.line_name]  # type: ignore[attr-defined]
        return " → ".join(name or _("a deleted line") for name in names)


def _name_of_zone(column: str) -> Subquery:
    return Subquery(Zone.objects.filter(uid=OuterRef(column)).values("name")[:1])


@admin.register(InboundMessage)
class InboundMessageAdmin(ReadOnlyPage):
    """What people, known and unknown, wrote to us, and what was done with it."""

    list_display = ("at", "who", "text", "outcome")
    list_filter = ("outcome",)
    search_fields = ("sender", "text")
    fields = ("at", "who", "text", "outcome", "about", "reply", "replied_at", "taken_at", "provider_id")
    readonly_fields = ("who", "about")
    date_hierarchy = "at"
    change_list_template = "alerts/received_messages.html"

    def get_queryset(self, request: HttpRequest) -> QuerySet[InboundMessage]:
        """With whose number it is, by the contacts of now."""
        owners = Contact.objects.filter(channel=Contact.Channel.SMS, address=OuterRef("sender"))
        rows: QuerySet[InboundMessage] = super().get_queryset(request).select_related("incident")
        return rows.annotate(
            owner=Subquery(owners.order_by("pk").values("recipient__name")[:1]),
            owners=Subquery(owners.values("address").annotate(n=CountOf("pk")).values("n")),
        )

    @admin.display(description=gettext_lazy("from whom"), ordering="sender")
    def who(self, message: InboundMessage) -> str:
        """Name and number; several may share one."""
        owner, owners = message.owner, message.owners  # type: ignore[attr-defined]
        if not owner:
            return _("%(number)s (nobody's number)") % {"number": message.sender}
        name = owner if owners == 1 else _("%(name)s and %(n)d more") % {"name": owner, "n": owners - 1}
        return f"{name}, {message.sender}"

    @admin.display(description=gettext_lazy("incident"))
    def about(self, message: InboundMessage) -> str:
        """The incident that was acknowledged, to go there."""
        if message.incident is None:
            return "–"
        address = reverse("incident", args=[message.incident.uid])
        return format_html('<a href="{}">{}</a>', address, texts.headline(message.incident))


@admin.register(Delivery)
class DeliveryAdmin(ReadOnlyPage):
    """Who was told what, how, and whether it arrived."""

    words: ClassVar[Mapping[str, Any]] = {
        "notifier": gettext_lazy("sent by"),
        "state": gettext_lazy("state"),
        "held": gettext_lazy("held back"),
        "attempts": gettext_lazy("attempts"),
        "subject": gettext_lazy("subject"),
        "text": gettext_lazy("text"),
        "segments": gettext_lazy("SMS segments"),
        "provider_id": gettext_lazy("the provider's number"),
        "problem": gettext_lazy("problem"),
        "created_at": gettext_lazy("created"),
        "sent_at": gettext_lazy("sent"),
        "delivered_at": gettext_lazy("delivered"),
        "finished_at": gettext_lazy("finished"),
    }
    list_display = ("created_at", "recipient", "channel", "state", "attempts", "problem")
    list_filter = ("state", "contact__channel")
    list_select_related = ("alert__recipient", "contact")
    fields = (
        "uid",
        "recipient",
        "channel",
        "notifier",
        "state",
        "held",
        "attempts",
        "subject",
        "text",
        "segments",
        "provider_id",
        "problem",
        "created_at",
        "sent_at",
        "delivered_at",
        "finished_at",
    )

    @admin.display(description=gettext_lazy("recipient"))
    def recipient(self, delivery: Delivery) -> str:
        """Whom."""
        return delivery.alert.recipient.name

    @admin.display(description=gettext_lazy("channel"))
    def channel(self, delivery: Delivery) -> str:
        """How."""
        return f"{delivery.contact.get_channel_display()} {delivery.to}"
