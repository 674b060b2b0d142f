"""What is looked for and where: zones, rules with their versions, and templates."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from alerts.models.escalation import EscalationPolicy
from alerts.models.people import Recipient
from detectors.models import Deployment
from streams.ids import new_uid
from streams.models import Camera, CameraGroup, Site, View


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
