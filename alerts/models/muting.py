"""When nobody is told: silences and maintenance windows."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.utils.translation import gettext_lazy as _

from alerts.models.incidents import Incident
from streams.ids import new_uid
from streams.models import Site


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
