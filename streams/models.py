"""Places, cameras, what they look at, what is wanted of them, and what could not be seen."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.core.exceptions import ValidationError
from django.db import connection, models, transaction
from django.db.models import Count
from django.utils.translation import gettext_lazy as _

from streams.ids import new_uid
from streams.time_zones import time_zones
from streams.topics import PARTITIONS, partition_of


def validate_time_zone(name: str) -> None:
    """Raises ``ValidationError`` unless ``name`` is an IANA time zone."""
    if name not in time_zones():
        raise ValidationError(
            _("“%(name)s” is not a time zone. Use an IANA name such as Asia/Taipei."), params={"name": name}
        )


class SequenceCounter(models.Model):
    """One row a sequence, updated last in a transaction, so that its order is the order of commits."""

    CHANGES = "changes"
    """What screens resync by: incidents, deliveries, acknowledgements."""
    CONFIGURATION = "configuration"
    """What processes reload by: every edit of cameras, views, zones, rules, deployments, recipients."""
    MUTING = "muting"
    """Every edit of silences and maintenance windows."""
    BY_HAND = "by_hand"
    """Messages that somebody asked for, so that they are counted one after the other."""

    name = models.CharField(max_length=32, primary_key=True)
    value = models.BigIntegerField(default=0)

    def __str__(self) -> str:
        return f"{self.name}={self.value}"

    @classmethod
    def advance(cls, name: str) -> int:
        """The next value. Call it last in the transaction: it holds the row until the commit."""
        with connection.cursor() as cursor:
            cursor.execute(
                "INSERT INTO streams_sequencecounter (name, value) VALUES (%s, 1) ON CONFLICT (name)"
                " DO UPDATE SET value = streams_sequencecounter.value + 1 RETURNING value",
                [name],
            )
            value: int = cursor.fetchone()[0]
        return value

    @classmethod
    def current(cls, name: str) -> int:
        """The last committed value; 0 before the first."""
        return cls.objects.filter(name=name).values_list("value", flat=True).first() or 0


class Site(models.Model):
    """A place with its own clock and map position."""

    uid = models.UUIDField(default=new_uid, unique=True, editable=False)
    name = models.CharField(_("name"), max_length=100, unique=True)
    time_zone = models.CharField(_("time zone"), max_length=64, default="UTC", validators=[validate_time_zone])
    latitude = models.FloatField(_("latitude"), null=True, blank=True)
    longitude = models.FloatField(_("longitude"), null=True, blank=True)
    contact = models.CharField(_("contact"), max_length=200, blank=True)

    class Meta:
        ordering = ("name",)
        verbose_name = _("site")
        verbose_name_plural = _("sites")

    def __str__(self) -> str:
        return self.name


class CameraGroup(models.Model):
    """Cameras that the same people may see."""

    uid = models.UUIDField(default=new_uid, unique=True, editable=False)
    name = models.CharField(_("name"), max_length=100, unique=True)

    class Meta:
        ordering = ("name",)
        verbose_name = _("camera group")
        verbose_name_plural = _("camera groups")

    def __str__(self) -> str:
        return self.name


def least_used_slot() -> int:
    """The smallest of the ``PARTITIONS`` slots that the fewest cameras have."""
    used = {slot: 0 for slot in range(PARTITIONS)}
    for row in Camera.objects.values("slot").annotate(n=Count("id")):
        used[row["slot"] % PARTITIONS] = used.get(row["slot"] % PARTITIONS, 0) + row["n"]
    return min(used, key=lambda slot: (used[slot], slot))


class Camera(models.Model):
    """A place and purpose being watched, fixed or carried by a drone."""

    class Carrier(models.TextChoices):
        FIXED = "fixed", _("fixed")
        DRONE = "drone", _("drone")

    uid = models.UUIDField(default=new_uid, unique=True, editable=False)
    name = models.CharField(_("name"), max_length=100)
    site = models.ForeignKey(Site, on_delete=models.PROTECT, related_name="cameras", verbose_name=_("site"))
    group = models.ForeignKey(
        CameraGroup, on_delete=models.PROTECT, related_name="cameras", verbose_name=_("camera group")
    )
    carrier = models.CharField(_("carrier"), max_length=8, choices=Carrier, default=Carrier.FIXED)
    slot = models.PositiveSmallIntegerField(editable=False)
    enabled = models.BooleanField(_("enabled"), default=True)
    evidence_px = models.PositiveIntegerField(
        _("evidence size"), default=960, help_text=_("Long side of kept pictures, in pixels; never above the source.")
    )
    gated = models.BooleanField(
        _("analyse on change only"),
        default=True,
        help_text=_("Off: every picture at the wanted rate is analysed, changed or not."),
    )
    rests = models.BooleanField(
        _("rest on key frames"),
        default=True,
        help_text=_(
            "While nothing moves, one picture in a few seconds is decoded. Off: every one, so that what passes within "
            "two seconds is seen too. Pictures below 1280×720 are always decoded."
        ),
    )

    class Meta:
        ordering = ("name",)
        verbose_name = _("camera")
        verbose_name_plural = _("cameras")
        constraints = [models.UniqueConstraint(fields=("site", "name"), name="camera_name_unique_in_site")]

    def __str__(self) -> str:
        return self.name

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Give a new camera its slot."""
        with transaction.atomic():
            if self.slot is None:
                self.slot = least_used_slot()
            super().save(*args, **kwargs)

    @property
    def detect_source(self) -> Source | None:
        """The address that pictures are analysed from: see ``preferred``; None for a camera without any."""
        return preferred(self.sources.all())

    @property
    def partition(self) -> int:
        """The partition of every per-camera topic that carries this camera."""
        return partition_of(self.slot)


class CameraLease(models.Model):
    """Which capture process holds a camera. ``fence`` grows with every claim and opens every session number."""

    camera = models.OneToOneField(Camera, on_delete=models.CASCADE, related_name="lease")
    owner = models.CharField(max_length=100, blank=True)
    fence = models.PositiveIntegerField(default=0)
    expires_at = models.DateTimeField(null=True)


class Source(models.Model):
    """One address of a Camera with a role. The address with its credentials is encrypted at rest."""

    class Role(models.TextChoices):
        DETECT = "detect", _("detect")
        RECORD = "record", _("record")
        VIEW = "view", _("view")

    uid = models.UUIDField(default=new_uid, unique=True, editable=False)
    camera = models.ForeignKey(Camera, on_delete=models.CASCADE, related_name="sources")
    role = models.CharField(_("role"), max_length=8, choices=Role, default=Role.DETECT)
    address = models.CharField(
        _("address"), max_length=500, help_text=_("rtsp://host:port/path, without user name and password.")
    )
    credentials = models.BinaryField(blank=True, default=b"", editable=False)
    """Encrypted ``user:password``; see ``streams/credentials.py``. Never shown, logged or exported."""
    found = models.JSONField(null=True, editable=False)
    """What it gave when it was last tried: ``streams.probe.Probed`` without the picture; None: never tried."""
    found_at = models.DateTimeField(null=True, editable=False)

    class Meta:
        verbose_name = _("source")
        verbose_name_plural = _("sources")
        constraints = [models.UniqueConstraint(fields=("camera", "role"), name="one_source_per_role")]

    def __str__(self) -> str:
        return f"{self.camera} ({self.get_role_display()})"


def preferred(sources: Iterable[Source]) -> Source | None:
    """Which of one camera's ``sources`` its pictures are analysed from: detect, else record, else view."""
    order = (Source.Role.DETECT, Source.Role.RECORD, Source.Role.VIEW)
    return min(sources, key=lambda source: order.index(Source.Role(source.role)), default=None)


class View(models.Model):
    """What a Camera looks at in one position; zones and masks belong to it."""

    uid = models.UUIDField(default=new_uid, unique=True, editable=False)
    camera = models.ForeignKey(Camera, on_delete=models.CASCADE, related_name="views", verbose_name=_("camera"))
    name = models.CharField(_("name"), max_length=100, default="main")
    masks = models.JSONField(
        _("privacy masks"),
        default=list,
        blank=True,
        help_text=_("Polygons of [x, y] in fractions of the picture, painted over before anything leaves capture."),
    )
    ground = models.JSONField(_("ground"), null=True, blank=True, default=None)
    """Four corners of a rectangle on the ground and two lengths, as ``alerts.ground.Ground``; None: not calibrated."""
    reference = models.CharField(max_length=200, blank=True, editable=False)
    """Path of the reference picture in the media storage; empty until one was kept."""

    class Meta:
        verbose_name = _("view")
        verbose_name_plural = _("views")
        constraints = [models.UniqueConstraint(fields=("camera", "name"), name="view_name_unique_in_camera")]

    def __str__(self) -> str:
        return f"{self.camera}: {self.name}"


class Demand(models.Model):
    """What one layer above wants of a Camera's detect source; written in the transaction of the edit that causes it.

    ``wanted_by`` is the uid of what wants it (a rule version, a person's screen); ``pool`` who is to analyse it.
    """

    camera = models.ForeignKey(Camera, on_delete=models.CASCADE, related_name="demands")
    wanted_by = models.UUIDField()
    pool = models.CharField(max_length=40)
    width_px = models.PositiveIntegerField(default=640)
    hz = models.FloatField(default=5.0)
    every_frame = models.BooleanField(default=False)
    unbroken = models.BooleanField(default=False)
    """Its camera is not to rest on key frames."""
    severity = models.PositiveSmallIntegerField(default=0)

    class Meta:
        constraints = [models.UniqueConstraint(fields=("camera", "wanted_by", "pool"), name="one_demand_each")]


class BlindSpan(models.Model):
    """A time in which a deployment (or, with none, every one) could not see a camera: the coverage ledger's unit."""

    uid = models.UUIDField(default=new_uid, unique=True, editable=False)
    camera = models.ForeignKey(Camera, on_delete=models.CASCADE, related_name="blind_spans")
    deployment = models.UUIDField(null=True)
    from_at = models.DateTimeField()
    to_at = models.DateTimeField(null=True)
    reason = models.CharField(max_length=100)

    class Meta:
        indexes = [
            models.Index(fields=("camera", "from_at")),
            models.Index(fields=("camera",), name="blind_span_open", condition=models.Q(to_at__isnull=True)),
        ]
        constraints = [
            models.UniqueConstraint(
                fields=("camera", "deployment", "from_at"), name="blind_span_once", nulls_distinct=False
            )
        ]
