"""Whose turn it is and who is told after whom: rotas and escalation policies."""

from __future__ import annotations

from datetime import time

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from alerts.models.people import Recipient, Team
from streams.ids import new_uid
from streams.models import validate_time_zone


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
