"""Drafts that are tried over the archive."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.utils.translation import gettext_lazy as _

from streams.ids import new_uid


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
