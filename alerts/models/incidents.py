"""What happened: incidents with their history, and the events that they group."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from alerts.models.people import Recipient
from alerts.models.rules import Rule, RuleVersion, Severity
from streams.ids import new_uid
from streams.models import Camera, Site


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
