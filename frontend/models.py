"""People, their access, their API tokens, and who looked at what."""

from __future__ import annotations

from django.contrib.auth.models import AbstractUser
from django.db import models
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from streams.ids import new_uid
from streams.models import Camera, CameraGroup, validate_time_zone


class User(AbstractUser):
    """Somebody who can log in. What they see follows from role and camera groups: ``frontend.permissions``."""

    class Role(models.TextChoices):
        ADMINISTRATOR = "administrator", _("administrator")
        SUPERVISOR = "supervisor", _("supervisor")
        OPERATOR = "operator", _("operator")
        OBSERVER = "observer", _("observer")

    uid = models.UUIDField(default=new_uid, unique=True, editable=False)
    role = models.CharField(pgettext_lazy("person", "role"), max_length=16, choices=Role, default=Role.OPERATOR)
    language = models.CharField(_("language"), max_length=10, default="en")
    time_zone = models.CharField(_("time zone"), max_length=64, default="UTC", validators=[validate_time_zone])
    camera_groups = models.ManyToManyField(
        CameraGroup, blank=True, related_name="people", verbose_name=_("camera groups")
    )

    def get_full_name(self) -> str:
        """The given name first, and of a Chinese name the family's, as its bearer writes it."""
        family, given = self.last_name.strip(), self.first_name.strip()
        if family and given and all("\u3400" <= character <= "\u9fff" for character in family + given):
            return family + given
        return super().get_full_name()


class ApiToken(models.Model):
    """A bearer token of a person's; only its SHA-256 is kept."""

    uid = models.UUIDField(default=new_uid, unique=True, editable=False)
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="api_tokens", verbose_name=_("user"))
    name = models.CharField(_("name"), max_length=100)
    digest = models.CharField(max_length=64, unique=True, editable=False)
    created_at = models.DateTimeField(_("created"), auto_now_add=True)
    last_used_at = models.DateTimeField(_("last used"), null=True, editable=False)
    expires_at = models.DateTimeField(_("expires"), null=True, blank=True)

    class Meta:
        verbose_name = _("API token")
        verbose_name_plural = _("API tokens")

    def __str__(self) -> str:
        return self.name


class ViewAudit(models.Model):
    """One picture looked at or one action taken. Append-only."""

    at = models.DateTimeField(auto_now_add=True)
    user = models.ForeignKey(User, on_delete=models.PROTECT, null=True, related_name="+")
    action = models.CharField(max_length=40)
    camera = models.ForeignKey(Camera, on_delete=models.SET_NULL, null=True, related_name="+")
    subject = models.UUIDField(null=True)
    address = models.GenericIPAddressField(null=True)

    class Meta:
        indexes = [models.Index(fields=("camera", "at"))]
        verbose_name = _("audit entry")
        verbose_name_plural = _("audit entries")
