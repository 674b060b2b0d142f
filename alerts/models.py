"""Zones, rules, recipients; events, incidents, alerts, deliveries; and how far the fold has come."""

from __future__ import annotations

from datetime import time
from typing import Any

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from alerts.answers import Outcome
from alerts.notifiers.addresses import is_shown, shown
from alerts.notifiers.registry import channels, is_secret
from alerts.sealing import seal, unseal
from detectors.models import Deployment
from streams.ids import new_uid
from streams.models import Camera, CameraGroup, Site, View, validate_time_zone


class Severity(models.TextChoices):
    """How bad; each has a colour and a shape on every screen."""

    LOW = "low", _("low")
    MEDIUM = "medium", _("medium")
    HIGH = "high", _("high")
    CRITICAL = "critical", _("critical")


class Zone(models.Model):
    """A polygon, directed line or mask (nothing in it counts) of a View, in fractions of the picture (0–1)."""

    class Shape(models.TextChoices):
        POLYGON = "polygon", _("polygon")
        LINE = "line", _("directed line")
        EXCLUSION = "exclusion", _("mask")

    uid = models.UUIDField(default=new_uid, unique=True, editable=False)
    view = models.ForeignKey(View, on_delete=models.CASCADE, related_name="zones", verbose_name=_("view"))
    name = models.CharField(_("name"), max_length=100)
    shape = models.CharField(_("shape"), max_length=9, choices=Shape, default=Shape.POLYGON)
    points = models.JSONField(_("points"), help_text=_("Corners as [[x, y], …] in fractions of the picture, 0 to 1."))

    class Meta:
        ordering = ("view", "name")
        verbose_name = _("zone")
        verbose_name_plural = _("zones")
        constraints = [models.UniqueConstraint(fields=("view", "name"), name="zone_name_unique_in_view")]

    def __str__(self) -> str:
        return f"{self.view.camera}: {self.name}"


class Recipient(models.Model):
    """Somebody who is told."""

    uid = models.UUIDField(default=new_uid, unique=True, editable=False)
    name = models.CharField(_("name"), max_length=100, unique=True)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        related_name="recipients",
        verbose_name=_("user"),
    )
    language = models.CharField(_("language"), max_length=10, default="en")
    time_zone = models.CharField(_("time zone"), max_length=64, blank=True, validators=[validate_time_zone])
    active = models.BooleanField(_("active"), default=True)
    quiet_from = models.TimeField(_("quiet from"), null=True, blank=True)
    quiet_until = models.TimeField(_("quiet until"), null=True, blank=True)
    """By their own clock; both or neither. Then nothing but what is critical comes by SMS."""

    class Meta:
        ordering = ("name",)
        verbose_name = _("recipient")
        verbose_name_plural = _("recipients")

    def __str__(self) -> str:
        return self.name


class ContactQuerySet(models.QuerySet["Contact"]):
    """Contacts, with the one question that everybody asks."""

    def usable(self) -> ContactQuerySet:
        """Those that may be sent something: confirmed, not refused by a provider, not unsubscribed."""
        return self.filter(confirmed_at__isnull=False, disabled_at__isnull=True, opted_out_at__isnull=True)


class Contact(models.Model):
    """A Recipient's number or address. A definite rejection disables it, with the reason.

    Until its owner has confirmed it, it is sent nothing but its code (``alerts.confirmation``). An address that is a
    credential is sealed when it is saved; ``address`` then holds what may be shown of it.
    """

    class Channel(models.TextChoices):
        """The channels that have forms of their own; all of them are in ``alerts.notifiers.registry``."""

        SMS = "sms", _("SMS")
        EMAIL = "email", _("e-mail")

    uid = models.UUIDField(default=new_uid, unique=True, editable=False)
    recipient = models.ForeignKey(Recipient, on_delete=models.CASCADE, related_name="contacts")
    channel = models.CharField(_("channel"), max_length=16, choices=channels)
    address = models.CharField(_("address"), max_length=500)
    sealed = models.BinaryField(default=b"", db_default=b"", editable=False)
    order = models.PositiveSmallIntegerField(_("order"), default=0)
    confirmed_at = models.DateTimeField(null=True, editable=False)
    opted_out_at = models.DateTimeField(null=True, editable=False)
    """Its owner wants nothing more; only they can take it back."""
    disabled_at = models.DateTimeField(null=True, editable=False)
    disabled_reason = models.CharField(max_length=300, blank=True, editable=False)

    objects = ContactQuerySet.as_manager()

    class Meta:
        ordering = ("recipient", "order", "id")
        verbose_name = _("contact")
        verbose_name_plural = _("contacts")
        constraints = [
            models.UniqueConstraint(fields=("recipient", "channel", "address"), name="contact_once_per_recipient")
        ]

    def __str__(self) -> str:
        return f"{self.recipient}, {self.get_channel_display()}"

    def clean(self) -> None:
        """Before it is compared with others: they are known by what is shown of them."""
        self._seal()

    def save(self, *args: Any, **kwargs: Any) -> None:
        """With an address that is a credential sealed."""
        if self._seal() and (fields := kwargs.get("update_fields")) is not None:
            kwargs["update_fields"] = {*fields, "sealed", "address"}
        super().save(*args, **kwargs)

    def _seal(self) -> bool:
        """Whether that changed anything."""
        if not is_secret(self.channel):
            changed, self.sealed = bool(self.sealed), b""
            return changed
        if is_shown(self.address):
            return False
        self.sealed, self.address = seal(self.address), shown(self.address)
        return True

    @property
    def reach(self) -> str:
        """The whole address, for a notifier and for nobody else."""
        return unseal(self.sealed) if self.sealed else self.address

    @property
    def usable(self) -> bool:
        """As ``ContactQuerySet.usable`` says."""
        return self.confirmed_at is not None and self.disabled_at is None and self.opted_out_at is None


class ContactCode(models.Model):
    """A code that was sent to confirm a contact. The rows stay, so that nobody sends more by making it anew."""

    contact = models.ForeignKey(Contact, on_delete=models.SET_NULL, null=True, related_name="codes")
    address = models.CharField(max_length=500)
    number = models.PositiveIntegerField()
    """The how manieth to this address: of two at the same moment one is refused."""
    digest = models.CharField(max_length=64)
    """HMAC of the code under the secret key; six digits are soon guessed from a plain hash."""
    asked_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+")
    sent_at = models.DateTimeField(db_index=True)
    expires_at = models.DateTimeField()
    tries = models.PositiveSmallIntegerField(default=0)
    used_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ("-sent_at", "-id")
        constraints = [models.UniqueConstraint(fields=("address", "number"), name="code_numbered_per_address")]


class TrialMessage(models.Model):
    """A trial message that somebody asked for within the last hour: what further ones are counted by."""

    contact = models.ForeignKey(Contact, on_delete=models.SET_NULL, null=True, related_name="trials")
    address = models.CharField(max_length=500)
    asked_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+")
    sent_at = models.DateTimeField(db_index=True)


class OtherSms(models.Model):
    """An SMS that no delivery stands for, a code, a trial or a reply: what the budgets count besides."""

    at = models.DateTimeField(db_index=True)
    segments = models.PositiveSmallIntegerField()


class Team(models.Model):
    """People who are told together."""

    uid = models.UUIDField(default=new_uid, unique=True, editable=False)
    name = models.CharField(_("name"), max_length=100, unique=True)
    members = models.ManyToManyField(Recipient, blank=True, related_name="teams", verbose_name=_("members"))

    class Meta:
        ordering = ("name",)
        verbose_name = _("team")
        verbose_name_plural = _("teams")

    def __str__(self) -> str:
        return self.name


class Rota(models.Model):
    """Who has the duty, in turn. ``alerts.rota`` says who that is at an instant."""

    uid = models.UUIDField(default=new_uid, unique=True, editable=False)
    name = models.CharField(_("name"), max_length=100, unique=True)
    time_zone = models.CharField(_("time zone"), max_length=64, default="UTC", validators=[validate_time_zone])
    weekday = models.PositiveSmallIntegerField(_("handed over on"), default=0)
    """0: Monday."""
    hand_over_at = models.TimeField(_("handed over at"), default=time(8))
    starts_on = models.DateField(_("begins on"))
    holidays = models.JSONField(_("holidays"), default=list, blank=True)
    """Days of its calendar as ``YYYY-MM-DD``."""
    on_holidays = models.ForeignKey(
        Recipient,
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        related_name="+",
        verbose_name=_("on holidays instead"),
    )
    feed_digest = models.CharField(max_length=64, blank=True, editable=False)
    """SHA-256 of the calendar feed's secret; empty: there is no feed."""

    class Meta:
        ordering = ("name",)
        verbose_name = _("rota")
        verbose_name_plural = _("rotas")

    def __str__(self) -> str:
        return self.name


class RotaMember(models.Model):
    """One place in a rota's turn; the same person may have several."""

    rota = models.ForeignKey(Rota, on_delete=models.CASCADE, related_name="places")
    recipient = models.ForeignKey(Recipient, on_delete=models.CASCADE, related_name="places")
    order = models.PositiveSmallIntegerField()

    class Meta:
        ordering = ("rota", "order")
        constraints = [models.UniqueConstraint(fields=("rota", "order"), name="rota_place_once")]


class RotaOverride(models.Model):
    """Somebody takes the duty within [from_at, until_at); of two the one made last holds."""

    rota = models.ForeignKey(Rota, on_delete=models.CASCADE, related_name="overrides")
    recipient = models.ForeignKey(Recipient, on_delete=models.CASCADE, related_name="+", verbose_name=_("who"))
    from_at = models.DateTimeField(_("from"))
    until_at = models.DateTimeField(_("until"))
    author = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+")
    created_at = models.DateTimeField()

    class Meta:
        ordering = ("from_at", "id")
        constraints = [
            models.CheckConstraint(condition=Q(until_at__gt=models.F("from_at")), name="override_lasts"),
        ]


class EscalationPolicy(models.Model):
    """Ordered steps, taken one after the other until somebody acknowledges."""

    uid = models.UUIDField(default=new_uid, unique=True, editable=False)
    name = models.CharField(_("name"), max_length=100, unique=True)
    repeats = models.PositiveSmallIntegerField(_("gone through again"), default=0)
    """How many more times, after the last step."""

    class Meta:
        ordering = ("name",)
        verbose_name = _("escalation policy")
        verbose_name_plural = _("escalation policies")

    def __str__(self) -> str:
        return self.name


class EscalationStep(models.Model):
    """Whom a step tells, how, and how long it then waits for somebody to acknowledge."""

    policy = models.ForeignKey(EscalationPolicy, on_delete=models.CASCADE, related_name="steps")
    order = models.PositiveSmallIntegerField()
    recipients = models.ManyToManyField(Recipient, blank=True, related_name="steps", verbose_name=_("people"))
    teams = models.ManyToManyField(Team, blank=True, related_name="steps", verbose_name=_("teams"))
    rotas = models.ManyToManyField(Rota, blank=True, related_name="steps", verbose_name=_("whoever is on duty in"))
    channels = models.JSONField(_("by"), default=list, blank=True)
    """Channels of ``Contact``; empty: by all that the person has."""
    wait_s = models.PositiveIntegerField(_("then wait (s)"), default=120)

    class Meta:
        ordering = ("policy", "order")
        constraints = [models.UniqueConstraint(fields=("policy", "order"), name="escalation_step_once")]


class Rule(models.Model):
    """A configured condition on one or more Zones. What runs is its newest RuleVersion."""

    uid = models.UUIDField(default=new_uid, unique=True, editable=False)
    name = models.CharField(_("name"), max_length=100, unique=True)
    kind = models.CharField(_("kind"), max_length=40, default="presence")
    """Key of ``alerts.rules.registry.RULES``."""
    enabled = models.BooleanField(_("enabled"), default=True)
    severity = models.CharField(_("severity"), max_length=8, choices=Severity, default=Severity.MEDIUM)
    zones = models.ManyToManyField(Zone, related_name="rules", verbose_name=_("zones"))
    deployment = models.ForeignKey(
        Deployment, on_delete=models.PROTECT, related_name="rules", verbose_name=_("deployment")
    )
    config = models.JSONField(_("settings"), default=dict, blank=True)
    """The kind's own settings, as its frozen config reads them."""
    schedule = models.JSONField(_("schedule"), default=list, blank=True)
    """``alerts.rules.config.ScheduleSpan`` as plain values, in the clock of the zones' site; empty: always."""
    recipients = models.ManyToManyField(Recipient, blank=True, related_name="rules", verbose_name=_("who is told"))
    policy = models.ForeignKey(
        EscalationPolicy,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="rules",
        verbose_name=_("escalation policy"),
    )
    """None: the recipients at once, and once more when nobody acknowledges (``alerts.escalation.IMPLICIT``)."""
    why_it_matters = models.CharField(_("why it matters"), max_length=300, blank=True)
    procedure = models.TextField(_("procedure"), blank=True, help_text=_("One step a line, shown with the incident."))
    template = models.ForeignKey(
        "RuleTemplate", on_delete=models.SET_NULL, null=True, blank=True, editable=False, related_name="rules"
    )
    """What it was made from; it is written anew whenever that is applied."""
    template_camera = models.ForeignKey(
        Camera, on_delete=models.SET_NULL, null=True, blank=True, editable=False, related_name="+"
    )
    """The camera that it was made for."""

    class Meta:
        ordering = ("name",)
        verbose_name = _("rule")
        verbose_name_plural = _("rules")
        constraints = [
            models.UniqueConstraint(fields=("template", "template_camera"), name="one_rule_per_template_and_camera")
        ]

    def __str__(self) -> str:
        return self.name


class RuleTemplate(models.Model):
    """One rule for many cameras; what differs somewhere stands in its overrides (``alerts.overrides``)."""

    uid = models.UUIDField(default=new_uid, unique=True, editable=False)
    name = models.CharField(_("name"), max_length=60, unique=True)
    kind = models.CharField(_("kind"), max_length=40, default="presence")
    enabled = models.BooleanField(_("enabled"), default=True)
    severity = models.CharField(_("severity"), max_length=8, choices=Severity, default=Severity.MEDIUM)
    zone_name = models.CharField(_("name of the zone"), max_length=100)
    """The zone of each camera that its rule watches."""
    deployment = models.ForeignKey(
        Deployment, on_delete=models.PROTECT, related_name="templates", verbose_name=_("deployment")
    )
    config = models.JSONField(_("settings"), default=dict, blank=True)
    schedule = models.JSONField(_("schedule"), default=list, blank=True)
    recipients = models.ManyToManyField(Recipient, blank=True, related_name="templates", verbose_name=_("who is told"))
    policy = models.ForeignKey(
        EscalationPolicy,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="templates",
        verbose_name=_("escalation policy"),
    )
    why_it_matters = models.CharField(_("why it matters"), max_length=300, blank=True)
    procedure = models.TextField(_("procedure"), blank=True, help_text=_("One step a line, shown with the incident."))
    cameras = models.ManyToManyField(Camera, blank=True, related_name="templates", verbose_name=_("cameras"))

    class Meta:
        ordering = ("name",)
        verbose_name = _("template")
        verbose_name_plural = _("templates")

    def __str__(self) -> str:
        return self.name


class TemplateOverride(models.Model):
    """What of a template is different at a site, in a camera group or on a camera: exactly one of them is set."""

    template = models.ForeignKey(RuleTemplate, on_delete=models.CASCADE, related_name="overrides")
    site = models.ForeignKey(Site, on_delete=models.CASCADE, null=True, related_name="+")
    group = models.ForeignKey(CameraGroup, on_delete=models.CASCADE, null=True, related_name="+")
    camera = models.ForeignKey(Camera, on_delete=models.CASCADE, null=True, related_name="+")
    changes = models.JSONField(default=dict)
    """Only the fields that differ; ``config`` holds only the settings that do. ``recipients`` are their uids."""

    class Meta:
        ordering = ("template", "id")
        constraints = [
            models.CheckConstraint(
                condition=Q(site__isnull=False, group__isnull=True, camera__isnull=True)
                | Q(site__isnull=True, group__isnull=False, camera__isnull=True)
                | Q(site__isnull=True, group__isnull=True, camera__isnull=False),
                name="override_of_one_place",
            ),
            models.UniqueConstraint(fields=("template", "site"), name="one_override_a_site"),
            models.UniqueConstraint(fields=("template", "group"), name="one_override_a_group"),
            models.UniqueConstraint(fields=("template", "camera"), name="one_override_a_camera"),
        ]

    @property
    def place(self) -> Site | CameraGroup | Camera:
        """Where it holds."""
        place = self.site or self.group or self.camera
        assert place is not None, "the database holds exactly one"
        return place


class RuleVersion(models.Model):
    """One immutable edit of a Rule: kind, settings, zones' geometry and schedule, all embedded.

    Acts on ``captured_at`` within [active_from_at, active_until_at). A version that differs from the one before only in
    what stands ``beside`` embeds the very same: the engine goes on with what it knows, and so do its events' names.
    """

    uid = models.UUIDField(default=new_uid, unique=True, editable=False)
    rule = models.ForeignKey(Rule, on_delete=models.CASCADE, related_name="versions")
    number = models.PositiveIntegerField()
    kind = models.CharField(max_length=40)
    severity = models.CharField(max_length=8, choices=Severity)
    deployment = models.UUIDField()
    embedded = models.JSONField()
    """``alerts.rules.config.EmbeddedRule``: what the engine builds from, complete."""
    beside = models.JSONField(default=dict)
    """``alerts.versions.Beside``: what people are told, and who. Empty in versions older than this column."""
    author = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)
    active_from_at = models.DateTimeField()
    active_until_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ("rule", "-number")
        constraints = [
            models.UniqueConstraint(fields=("rule", "number"), name="rule_version_number_unique"),
            models.UniqueConstraint(
                fields=("rule",), condition=Q(active_until_at__isnull=True), name="one_version_in_force"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.rule} #{self.number}"


class Incident(models.Model):
    """The operator's case, grouping Events by rule and place."""

    class State(models.TextChoices):
        OPEN = "open", _("open")
        ACKNOWLEDGED = "acknowledged", _("acknowledged")
        RESOLVED = "resolved", _("resolved")

    class Disposition(models.TextChoices):
        CONFIRMED = "confirmed", _("confirmed")
        FALSE = "false", _("false alarm")
        TEST = "test", _("test")
        INSPECTED = "inspected", _("inspected, nothing to do")
        HANDED_OVER = "handed_over", _("handed over")

    class FalseReason(models.TextChoices):
        """What a rule took for what it looks for."""

        HEADLIGHTS = "headlights", pgettext_lazy("false alarm", "headlights")
        RAIN = "rain", pgettext_lazy("false alarm", "rain")
        SHADOW = "shadow", pgettext_lazy("false alarm", "shadow")
        ANIMAL = "animal", pgettext_lazy("false alarm", "animal")
        REFLECTION = "reflection", pgettext_lazy("false alarm", "reflection")
        STEAM = "steam", pgettext_lazy("false alarm", "steam")
        INSECT = "insect", pgettext_lazy("false alarm", "insect")
        STAFF = "staff", pgettext_lazy("false alarm", "staff")
        OTHER = "other", pgettext_lazy("false alarm", "something else")

    class HandedTo(models.TextChoices):
        """Who goes on with it."""

        POLICE = "police", pgettext_lazy("handed over to", "police")
        FIRE = "fire", pgettext_lazy("handed over to", "fire brigade")
        AMBULANCE = "ambulance", pgettext_lazy("handed over to", "ambulance")
        MAINTENANCE = "maintenance", pgettext_lazy("handed over to", "maintenance")
        OTHER = "other", pgettext_lazy("handed over to", "somebody else")

    class MutedBy(models.TextChoices):
        """Why nobody is told for now: ``alerts.muting.By``."""

        SILENCE = "silence", _("silence")
        WINDOW = "window", _("maintenance window")
        SITE = "site", _("site outage")
        CAMERA = "camera", _("camera offline")

    uid = models.UUIDField(default=new_uid, unique=True, editable=False)
    group_key = models.CharField(max_length=120)
    state = models.CharField(max_length=16, choices=State, default=State.OPEN)
    severity = models.CharField(max_length=8, choices=Severity)
    event_severity = models.CharField(max_length=8, choices=Severity, blank=True, default="", db_default="")
    """The worst that an event has said, whatever people made of it; it only rises. Empty: as ``severity``."""
    kind = models.CharField(max_length=40)
    label = models.CharField(max_length=60, blank=True)
    title = models.CharField(max_length=200, blank=True, default="", db_default="")
    """What happened in the words of whoever opened it; empty where a rule did."""
    site = models.ForeignKey(Site, on_delete=models.PROTECT, related_name="incidents")
    camera = models.ForeignKey(Camera, on_delete=models.PROTECT, related_name="incidents", null=True)
    rule = models.ForeignKey(Rule, on_delete=models.SET_NULL, null=True, related_name="incidents")
    rule_version = models.ForeignKey(RuleVersion, on_delete=models.SET_NULL, null=True, related_name="+")
    zone_name = models.CharField(max_length=100, blank=True)
    happened_at = models.DateTimeField()
    opened_at = models.DateTimeField()
    last_event_at = models.DateTimeField()
    event_count = models.PositiveIntegerField(default=0)
    late = models.BooleanField(default=False)
    cameras = models.ManyToManyField(Camera, blank=True, related_name="also_incidents")
    """Those that saw it too, or, where ``camera`` is none, that it is about."""
    recipients = models.ManyToManyField(Recipient, blank=True, related_name="incidents")
    """Whom the person or system that opened it named; a rule's incidents go to those of the rule."""
    news = models.PositiveSmallIntegerField(default=0, db_default=0)
    """How many times since the opening there was something new to tell: the ``step`` of its next alerts."""
    told_objects = models.FloatField(null=True)
    """How many objects at once people know of."""
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="owned_incidents"
    )
    """Who has it, or was asked to take it while it is still open."""
    muted_by = models.CharField(max_length=8, choices=MutedBy, blank=True, default="", db_default="")
    """Empty: it is not muted. A resolved incident is not."""
    muted_silence = models.ForeignKey("Silence", on_delete=models.SET_NULL, null=True, related_name="+")
    muted_window = models.ForeignKey("MaintenanceWindow", on_delete=models.SET_NULL, null=True, related_name="+")
    untold = models.CharField(max_length=16, blank=True, default="", db_default="")
    """``Alert.Reason`` of what is told once nothing mutes it any more."""
    reopened_at = models.DateTimeField(null=True)
    acknowledged_at = models.DateTimeField(null=True)
    acknowledged_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="acknowledged_incidents"
    )
    resolved_at = models.DateTimeField(null=True)
    resolved_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="resolved_incidents"
    )
    disposition = models.CharField(max_length=16, choices=Disposition, blank=True)
    false_reason = models.CharField(max_length=16, choices=FalseReason, blank=True)
    """Only with the disposition *false*; empty: nobody said."""
    steps_taken = models.PositiveSmallIntegerField(default=0, db_default=0)
    """Of its escalation. A step is claimed by a conditional UPDATE of this, in the transaction of its alerts."""
    next_step_at = models.DateTimeField(null=True)
    """When the next one is due; null: there is none."""
    handed_to = models.CharField(max_length=16, choices=HandedTo, blank=True, default="", db_default="")
    """Only with the disposition *handed over*; empty: nobody said."""
    change = models.BigIntegerField(default=0, db_index=True)
    """Value of the ``changes`` sequence at the last change; screens resync by it."""

    class Meta:
        ordering = ("-opened_at", "-id")
        indexes = [
            models.Index(fields=("state", "opened_at")),
            models.Index(
                fields=("next_step_at",),
                name="incident_next_step",
                condition=Q(state="open", next_step_at__isnull=False),
            ),
        ]
        constraints = [
            models.UniqueConstraint(
                fields=("group_key",), condition=~Q(state="resolved"), name="one_unresolved_incident_per_group"
            )
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.uid}"

    @property
    def rule_name(self) -> str:
        """What its rule was called when it was opened."""
        return self._said("name") or (self.rule.name if self.rule else "")

    @property
    def why_it_matters(self) -> str:
        """As its rule said when it was opened."""
        return self._said("why_it_matters")

    @property
    def procedure(self) -> str:
        """As its rule said when it was opened, a step a line."""
        return self._said("procedure")

    def _said(self, name: str) -> str:
        """An edit of the rule does not change what an incident says; a version that kept no words has the rule's."""
        beside = self.rule_version.beside if self.rule_version else {}
        return str(beside[name] if name in beside else getattr(self.rule, name, ""))


class IncidentTransition(models.Model):
    """One line of an Incident's history. Append-only.

    ``before`` and ``after`` are states of a *step*, severities of a *severity*; after a *mute* comes what mutes.
    """

    class Action(models.TextChoices):
        STEP = "step", _("step")
        ASSIGN = "assign", _("assigned")
        SEVERITY = "severity", _("severity")
        NOTE = "note", _("note")
        MUTE = "mute", _("muted")
        UNMUTE = "unmute", _("no longer muted")

    incident = models.ForeignKey(Incident, on_delete=models.CASCADE, related_name="transitions")
    at = models.DateTimeField()
    before = models.CharField(max_length=16, blank=True)
    after = models.CharField(max_length=16)
    by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+")
    through = models.CharField(max_length=16, default="screen")
    """``alerts.transitions.THROUGH``."""
    note = models.CharField(max_length=500, blank=True)
    action = models.CharField(max_length=8, choices=Action, default=Action.STEP, db_default="step")
    to = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+")
    """Whom it was assigned to."""

    class Meta:
        ordering = ("at", "id")


class Event(models.Model):
    """A stored Event; ``uid`` follows from what happened, so a repeated one changes nothing."""

    class Picture(models.TextChoices):
        PENDING = "pending", _("being fetched")
        KEPT = "kept", _("kept")
        GONE = "gone", _("picture no longer kept")
        NONE = "none", _("no picture")

    uid = models.UUIDField(unique=True, editable=False)
    source = models.CharField(max_length=16, default="rule")
    kind = models.CharField(max_length=40)
    severity = models.CharField(max_length=8, choices=Severity)
    camera = models.ForeignKey(Camera, on_delete=models.PROTECT, related_name="events", null=True)
    rule_version = models.ForeignKey(RuleVersion, on_delete=models.SET_NULL, null=True, related_name="events")
    incident = models.ForeignKey(Incident, on_delete=models.CASCADE, null=True, related_name="events")
    happened_at = models.DateTimeField()
    known_at = models.DateTimeField()
    content = models.JSONField()
    """``alerts.events.Event`` as JSON: facts, boxes, path, zone."""
    picture = models.CharField(max_length=8, choices=Picture, default=Picture.PENDING)
    picture_path = models.CharField(max_length=200, blank=True)
    picture_sha256 = models.CharField(max_length=64, blank=True)
    """Of the kept file, as it was written."""
    published_at = models.DateTimeField(null=True)
    """When it left for the ``events`` topic; the rows are the truth."""

    class Meta:
        ordering = ("happened_at", "id")
        indexes = [
            models.Index(fields=("picture",)),
            models.Index(fields=("published_at",)),
            models.Index(fields=("incident", "happened_at"), name="event_first_of_incident"),
        ]


class Alert(models.Model):
    """The decision to tell a Recipient something about an Incident."""

    class Reason(models.TextChoices):
        OPENED = "opened", _("opened")
        REMINDER = "reminder", _("still unacknowledged")
        WORSE = "worse", _("got worse")
        LATE = "late", _("known late")
        GROWN = "grown", _("twice as many")
        SPREAD = "spread", _("on another camera too")
        AGAIN = "again", _("again after a quiet time")
        REOPENED = "reopened", _("reopened")

    NEWS = frozenset({Reason.WORSE, Reason.GROWN, Reason.SPREAD, Reason.AGAIN})
    """New facts: told also while somebody has the incident."""

    uid = models.UUIDField(default=new_uid, unique=True, editable=False)
    incident = models.ForeignKey(Incident, on_delete=models.CASCADE, related_name="alerts")
    recipient = models.ForeignKey(Recipient, on_delete=models.PROTECT, related_name="alerts")
    reason = models.CharField(max_length=16, choices=Reason)
    step = models.PositiveSmallIntegerField(default=0)
    created_at = models.DateTimeField()
    answered_at = models.DateTimeField(null=True)
    """When this recipient acknowledged from afar."""
    answered_through = models.CharField(max_length=16, blank=True, db_default="")
    """link, sms."""

    class Meta:
        ordering = ("created_at", "id")
        constraints = [
            models.UniqueConstraint(fields=("incident", "recipient", "reason", "step"), name="alert_once_per_step")
        ]
        indexes = [
            models.Index(fields=("recipient", "created_at"), name="alert_load_of_recipient"),
            models.Index(fields=("created_at",), name="alert_lately"),
        ]


class Delivery(models.Model):
    """One attempt to get one Alert to one Recipient through one Notifier."""

    class State(models.TextChoices):
        QUEUED = "queued", _("queued")
        SENDING = "sending", _("sending")
        SENT = "sent", _("sent")
        DELIVERED = "delivered", _("delivered")
        FAILED = "failed", _("failed")
        UNKNOWN = "unknown", _("outcome unknown")
        CANCELLED = "cancelled", _("not needed any more")

    class Held(models.TextChoices):
        """Why it waits although it could be sent."""

        FLOOD = "flood", _("many at once; they go out together")
        LATE = "late", _("known late; they go out together")
        RECIPIENT = "recipient", _("enough messages for this person in one minute")
        SENDER = "sender", _("the number that sends is busy")
        MUTED = "muted", _("muted")
        QUIET = "quiet", _("quiet hours")

    uid = models.UUIDField(default=new_uid, unique=True, editable=False)
    alert = models.ForeignKey(Alert, on_delete=models.CASCADE, related_name="deliveries")
    contact = models.ForeignKey(Contact, on_delete=models.PROTECT, related_name="deliveries")
    notifier = models.CharField(max_length=40)
    """Key of ``alerts.notifiers.registry.NOTIFIERS`` that took it; empty until it was claimed."""
    state = models.CharField(max_length=16, choices=State, default=State.QUEUED)
    attempts = models.PositiveSmallIntegerField(default=0)
    not_before_at = models.DateTimeField()
    lease_owner = models.CharField(max_length=100, blank=True)
    lease_until_at = models.DateTimeField(null=True)
    resends = models.OneToOneField("self", on_delete=models.CASCADE, null=True, related_name="resent_as")
    """The delivery of unknown outcome that this one repeats: it may arrive twice."""
    held = models.CharField(max_length=10, choices=Held, blank=True, db_default="")
    """Why it was put off until ``not_before_at``; empty when it was not."""
    # Nearly all carry themselves: with an index of those too SQLite looks through all of them to find a few.
    carried_by = models.ForeignKey("self", on_delete=models.SET_NULL, null=True, related_name="carries", db_index=False)
    """The delivery whose message says this one too; it is sent once, and both share what becomes of it."""
    address = models.CharField(max_length=500, blank=True)
    """Where it went: the contact's address when it was sent. Empty until then; the contact may be edited later."""
    subject = models.CharField(max_length=300, blank=True)
    text = models.TextField(blank=True)
    html = models.TextField(blank=True)
    provider_id = models.CharField(max_length=100, blank=True)
    problem = models.CharField(max_length=500, blank=True)
    sender_ended = models.BooleanField(default=False, db_default=False)
    """Its outcome is unknown because the process that was sending it has ended: no answer to that one can come."""
    segments = models.PositiveSmallIntegerField(default=0, db_default=0)
    """SMS segments that were paid for; of several tries the last one's."""
    created_at = models.DateTimeField()
    attempted_at = models.DateTimeField(null=True)
    """The last time that somebody began to send it."""
    sent_at = models.DateTimeField(null=True)
    delivered_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)
    asked_at = models.DateTimeField(null=True)
    """The last time that the provider was asked what became of it."""

    class Meta:
        ordering = ("created_at", "id")
        verbose_name = _("delivery")
        verbose_name_plural = _("deliveries")
        indexes = [
            models.Index(fields=("state", "not_before_at")),
            models.Index(fields=("-created_at", "-id"), name="delivery_newest"),
            models.Index(fields=("-sent_at",), name="delivery_last_sent", condition=Q(sent_at__isnull=False)),
            models.Index(fields=("attempted_at",), name="delivery_spent", condition=Q(attempted_at__isnull=False)),
            models.Index(fields=("carried_by",), name="delivery_carried", condition=Q(carried_by__isnull=False)),
            models.Index(fields=("provider_id",), name="delivery_by_provider_id", condition=~Q(provider_id="")),
        ]
        constraints = [
            models.UniqueConstraint(
                fields=("alert", "contact"), condition=Q(resends__isnull=True), name="delivery_once_per_contact"
            )
        ]

    @property
    def to(self) -> str:
        """Where it went, or for what has not left yet, where it would go."""
        return self.address or self.contact.address


class ReplyCode(models.Model):
    """Two digits that stand for one Incident in the messages to one Recipient, until they are needed again."""

    recipient = models.ForeignKey(Recipient, on_delete=models.CASCADE, related_name="reply_codes")
    incident = models.ForeignKey(Incident, on_delete=models.CASCADE, related_name="reply_codes")
    code = models.CharField(max_length=2)
    given_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=("recipient", "code"), name="reply_code_once_per_recipient"),
            models.UniqueConstraint(fields=("recipient", "incident"), name="one_reply_code_per_incident"),
        ]


class InboundMessage(models.Model):
    """What somebody sent to us, taken once. Who sent it is only what the provider says."""

    class Done(models.TextChoices):
        """What was done with it: ``alerts.answers.Outcome``."""

        ACKNOWLEDGED = Outcome.ACKNOWLEDGED.value, _("an incident was acknowledged")
        NO_SUCH_CODE = Outcome.NO_SUCH_CODE.value, _("nothing: no open alert has this number")
        WHICH = Outcome.WHICH.value, _("nothing: several alerts were open")
        NOTHING_OPEN = Outcome.NOTHING_OPEN.value, _("nothing: nothing was open")
        UNCLEAR = Outcome.UNCLEAR.value, _("nothing: it was not understood")
        STRANGER = Outcome.STRANGER.value, _("nothing: the number is nobody's")
        UNSUBSCRIBED = Outcome.UNSUBSCRIBED.value, _("nothing more is sent there")
        SUBSCRIBED = Outcome.SUBSCRIBED.value, _("messages are sent there again")

    provider_id = models.CharField(_("the provider's name for it"), max_length=100, unique=True)
    sender = models.CharField(_("from whom"), max_length=40)
    text = models.CharField(_("text"), max_length=160)
    at = models.DateTimeField(_("written at"))
    taken_at = models.DateTimeField(_("taken in"))
    outcome = models.CharField(_("what was done"), max_length=16, choices=Done)
    incident = models.ForeignKey(
        Incident, on_delete=models.SET_NULL, null=True, related_name="answers", verbose_name=_("incident")
    )
    reply = models.CharField(_("reply"), max_length=320, blank=True)
    replied_at = models.DateTimeField(_("replied"), null=True)

    class Meta:
        ordering = ("-at", "-id")
        verbose_name = _("received message")
        verbose_name_plural = _("received messages")
        indexes = [models.Index(fields=("sender", "replied_at"))]

    def __str__(self) -> str:
        return f"{self.sender}: {self.text}"


class ProcessLease(models.Model):
    """Which of several like processes does the work; the others stand by. Claimed and renewed by conditional UPDATE."""

    name = models.CharField(max_length=32, unique=True)
    owner = models.CharField(max_length=100, blank=True)
    until_at = models.DateTimeField(null=True)


class FoldPosition(models.Model):
    """How far the fold of one partition has come. Compare-and-set on ``generation`` in the events' transaction."""

    partition = models.PositiveSmallIntegerField(unique=True)
    generation = models.BigIntegerField(default=0)
    owner = models.CharField(max_length=100, blank=True)
    position = models.BigIntegerField(default=0)
    """The next offset of ``observations`` to read."""
    log_identity = models.CharField(max_length=64, blank=True)
    snapshot = models.BinaryField(default=b"")
    engine_version = models.PositiveSmallIntegerField(default=0)
    saved_at = models.DateTimeField(null=True)


class Count(models.Model):
    """One number of a counting rule's series: ``count`` objects of ``label`` over a line within [from_at, until_at).

    Of a turn, they came in by the line and went out by ``to_zone``.

    Made by the fold; the same log gives the same rows again. ``seen_s``: how much of that time was watched.
    """

    class Direction(models.TextChoices):
        FORWARD = "forward", _("with the arrow")
        BACKWARD = "backward", _("against the arrow")
        TURN = "turn", _("turn")

    camera = models.ForeignKey(Camera, on_delete=models.CASCADE, related_name="counts", verbose_name=_("camera"))
    rule_version = models.UUIDField()
    zone = models.UUIDField()
    direction = models.CharField(_("direction"), max_length=8, choices=Direction)
    to_zone = models.UUIDField(null=True)
    label = models.CharField(_("label"), max_length=60)
    from_at = models.DateTimeField(_("from"))
    until_at = models.DateTimeField(_("until"))
    seen_s = models.FloatField(_("watched (s)"))
    count = models.PositiveIntegerField(_("count"))

    class Meta:
        ordering = ("-from_at", "zone", "direction", "to_zone", "label")
        verbose_name = _("count")
        verbose_name_plural = _("counts")
        constraints = [
            models.UniqueConstraint(
                fields=("rule_version", "zone", "direction", "label", "from_at"),
                condition=models.Q(to_zone__isnull=True),
                name="count_unique_in_its_series",
            ),
            models.UniqueConstraint(
                fields=("rule_version", "zone", "to_zone", "label", "from_at"),
                condition=models.Q(to_zone__isnull=False),
                name="turn_unique_in_its_series",
            ),
        ]
        indexes = [models.Index(fields=("camera", "from_at"))]

    def __str__(self) -> str:
        return f"{self.count} {self.label}"


class Rehearsal(models.Model):
    """One draft tried over the archive. Its author's alone, kept a day; nothing of it is an incident or is sent."""

    class State(models.TextChoices):
        WAITING = "waiting", _("waiting for a worker")
        RUNNING = "running", _("running")
        DONE = "done", _("done")
        CANCELLED = "cancelled", _("cancelled")
        FAILED = "failed", _("failed")

    uid = models.UUIDField(default=new_uid, unique=True, editable=False)
    author = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="rehearsals")
    draft = models.JSONField()
    """The unsaved rule as an EmbeddedRule, as plain values."""
    in_force = models.JSONField(null=True)
    """The version it is compared with; null where none runs."""
    in_force_number = models.PositiveIntegerField(null=True)
    sources = models.JSONField(default=list, db_default=[])
    """Of a sequence: the versions in force of the rules that it is made of, as EmbeddedRules."""
    cameras = models.JSONField()
    """Their uids, in the order in which they are gone through."""
    from_at = models.DateTimeField()
    until_at = models.DateTimeField()
    time_zone = models.CharField(max_length=64)
    tracked_anew = models.BooleanField(default=False, db_default=False)
    """Whether the detections are tracked anew, instead of the archived tracks being taken."""
    state = models.CharField(max_length=10, choices=State, default=State.WAITING)
    share = models.FloatField(default=0.0)
    """How far it is, 0 to 1."""
    summary = models.JSONField(default=dict)
    """``alerts.rehearsal_rows.Figures``; while it runs, of what it went through, and empty before."""
    problem = models.CharField(max_length=500, blank=True)
    """Why it failed: a code of ``alerts.rehearsals.PROBLEMS``, or what the engine said of a version."""
    created_at = models.DateTimeField()
    beat_at = models.DateTimeField(null=True)
    """The worker was alive then."""
    finished_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ("-created_at", "-id")
        verbose_name = _("rehearsal")
        verbose_name_plural = _("rehearsals")
        indexes = [models.Index(fields=("state", "beat_at"))]


class RehearsalRow(models.Model):
    """One result of a rehearsal as it streamed in: a firing, or a time of which nothing can be told."""

    rehearsal = models.ForeignKey(Rehearsal, on_delete=models.CASCADE, related_name="rows")
    kind = models.CharField(max_length=8)
    """``firing`` or ``unknown``."""
    content = models.JSONField()
    """``alerts.rehearsal_rows.Firing`` or ``alerts.rehearsal.Unknown``, as plain values."""

    class Meta:
        ordering = ("id",)
        indexes = [models.Index(fields=("rehearsal", "kind"))]


class Silence(models.Model):
    """Nobody is told of what its matchers mean, within [from_at, until_at). Its incidents stay where they are."""

    uid = models.UUIDField(default=new_uid, unique=True, editable=False)
    matchers = models.JSONField()
    """``alerts.muting.Matchers`` as plain values."""
    author = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+")
    reason = models.CharField(_("reason"), max_length=200)
    from_at = models.DateTimeField(_("from"))
    until_at = models.DateTimeField(_("until"))
    ends_with = models.ForeignKey(Incident, on_delete=models.SET_NULL, null=True, related_name="ends_silences")
    """The incident whose resolution ends it."""
    ended_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+")
    """Who ended it early, or resolved that incident."""
    created_at = models.DateTimeField()

    class Meta:
        ordering = ("-until_at", "-id")
        verbose_name = _("silence")
        verbose_name_plural = _("silences")
        indexes = [models.Index(fields=("until_at",), name="silence_until")]

    def __str__(self) -> str:
        return self.reason


class MaintenanceWindow(models.Model):
    """A time of each week, in its site's clock, in which nobody is told of what its matchers mean there."""

    uid = models.UUIDField(default=new_uid, unique=True, editable=False)
    name = models.CharField(_("name"), max_length=100)
    site = models.ForeignKey(Site, on_delete=models.CASCADE, related_name="windows", verbose_name=_("site"))
    matchers = models.JSONField(default=dict)
    """``alerts.muting.Matchers`` as plain values; empty: everything at the site."""
    schedule = models.JSONField(_("when"))
    """``alerts.schedule.stored``: as a rule's, with at least one span."""
    enabled = models.BooleanField(_("enabled"), default=True)
    author = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+")
    created_at = models.DateTimeField()

    class Meta:
        ordering = ("site__name", "name")
        verbose_name = _("maintenance window")
        verbose_name_plural = _("maintenance windows")
        constraints = [models.UniqueConstraint(fields=("site", "name"), name="window_name_unique_at_its_site")]

    def __str__(self) -> str:
        return f"{self.site}: {self.name}"
