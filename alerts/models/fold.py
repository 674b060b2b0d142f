"""How far the fold has come, who does which work, and what was counted."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

from streams.models import Camera


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
