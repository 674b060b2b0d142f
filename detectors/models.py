"""Registered model versions and the choice to run them."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

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
    problem = models.CharField(_("problem"), max_length=500, blank=True, editable=False)

    class Meta:
        ordering = ("name", "version")
        verbose_name = _("model")
        verbose_name_plural = _("models")
        constraints = [models.UniqueConstraint(fields=("name", "version"), name="model_version_unique")]

    def __str__(self) -> str:
        return f"{self.name} {self.version}"


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

    class Meta:
        ordering = ("name",)
        verbose_name = _("deployment")
        verbose_name_plural = _("deployments")

    def __str__(self) -> str:
        return self.name
