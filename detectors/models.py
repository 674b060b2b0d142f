"""Registered model versions and the choice to run them."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

from detectors.labels import APPEARED, VANISHED
from streams.ids import new_uid
from streams.models import Camera


class Model(models.Model):
    """A registered, checked model version."""

    uid = models.UUIDField(default=new_uid, unique=True, editable=False)
    name = models.CharField(_("name"), max_length=100)
    version = models.CharField(_("version"), max_length=100)
    backend = models.CharField(_("backend"), max_length=40)
    """Key of ``detectors.registry.BACKENDS``, or ``auto``."""
    card = models.CharField(_("model card"), max_length=100, blank=True)
    """Name of the card in ``detectors/zoo/`` that describes it; empty for an uploaded one."""
    path = models.CharField(_("path"), max_length=300, blank=True)
    sha256 = models.CharField(_("checksum"), max_length=64, blank=True)
    licence = models.CharField(_("licence"), max_length=100, blank=True)
    labels = models.JSONField(_("labels"), default=list, blank=True)
    """Terms of ``detectors.labels`` that this model can give."""
    classes = models.JSONField(_("classes"), default=list, blank=True)
    """``[{"name": the model's own word, "label": ours or ""}]`` in their order; empty: the card's labels."""
    device = models.CharField(_("device"), max_length=40, default="auto")
    latency_ms = models.FloatField(_("milliseconds a picture"), null=True, editable=False)
    cpu_ms = models.FloatField(_("milliseconds of CPU a picture"), null=True, editable=False)
    measured_on = models.CharField(_("measured on"), max_length=200, blank=True, editable=False)
    problem = models.CharField(_("problem"), max_length=500, blank=True, editable=False)

    class Meta:
        ordering = ("name", "version")
        verbose_name = _("model")
        verbose_name_plural = _("models")
        constraints = [models.UniqueConstraint(fields=("name", "version"), name="model_version_unique")]

    def __str__(self) -> str:
        return f"{self.name} {self.version}"


class Candidate(models.Model):
    """A model on its way in: named or handed in, not checked yet; or refused, with the reason."""

    class State(models.TextChoices):
        WAITING = "waiting", _("waits for a worker")
        CHECKING = "checking", _("is being checked")
        TAKEN = "taken", _("is in")
        REFUSED = "refused", _("was refused")

    uid = models.UUIDField(default=new_uid, unique=True, editable=False)
    what = models.CharField(_("what"), max_length=300)
    """The name of a file that was handed in, or of a known model."""
    file = models.CharField(max_length=100, blank=True)
    """Name in the folder of incoming files; empty for a known model."""
    name = models.CharField(_("name"), max_length=100, blank=True)
    licence = models.CharField(_("licence"), max_length=100, blank=True)
    backend = models.CharField(_("runs on"), max_length=40, default="auto")
    labels = models.CharField(_("classes"), max_length=4000, blank=True)
    """As a person typed them, for a file that does not name its classes."""
    state = models.CharField(_("state"), max_length=10, choices=State.choices, default=State.WAITING)
    progress = models.CharField(_("progress"), max_length=200, blank=True)
    problem = models.CharField(_("problem"), max_length=1000, blank=True)
    created_at = models.DateTimeField(_("handed in"), auto_now_add=True)
    claimed_at = models.DateTimeField(null=True)
    """When a worker began."""
    model = models.ForeignKey(Model, null=True, on_delete=models.SET_NULL, verbose_name=_("model"))

    class Meta:
        ordering = ("-created_at",)
        verbose_name = _("model on its way in")
        verbose_name_plural = _("models on their way in")

    def __str__(self) -> str:
        return self.what


class Deployment(models.Model):
    """The choice to run a Model on some cameras in a pool."""

    uid = models.UUIDField(default=new_uid, unique=True, editable=False)
    name = models.CharField(_("name"), max_length=100, unique=True)
    model = models.ForeignKey(Model, on_delete=models.PROTECT, related_name="deployments", verbose_name=_("model"))
    pool = models.SlugField(_("pool"), max_length=40, default="general")
    enabled = models.BooleanField(_("enabled"), default=True)
    all_cameras = models.BooleanField(_("all cameras"), default=True)
    cameras = models.ManyToManyField(Camera, blank=True, related_name="deployments", verbose_name=_("cameras"))
    condition = models.JSONField(_("condition"), default=dict, blank=True)
    """``{"kind": "on_motion"}`` (default) or ``{"kind": "always"}``; more kinds come with cascades."""
    hz = models.FloatField(_("pictures a second"), default=5.0)
    static_regions = models.BooleanField(
        _("find what is left or taken"),
        default=False,
        help_text=_(
            "Also finds what was put down or taken away, whatever it is, for rules about left and removed objects."
        ),
    )

    class Meta:
        ordering = ("name",)
        verbose_name = _("deployment")
        verbose_name_plural = _("deployments")

    def __str__(self) -> str:
        return self.name

    @property
    def labels(self) -> list[str]:
        """Terms of ``detectors.labels`` that it can give: its model's, and those of its analytics."""
        return [*self.model.labels, *((APPEARED, VANISHED) if self.static_regions else ())]
