"""Who is told, and by what: recipients with their contacts, and teams."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.db import models
from django.utils.translation import gettext_lazy as _

from alerts.notifiers.addresses import is_shown, shown
from alerts.notifiers.registry import channels, is_secret
from alerts.sealing import seal, unseal
from streams.ids import new_uid
from streams.models import validate_time_zone


class Recipient(models.Model):
    """Somebody who is told."""

    uid = models.UUIDField(default=new_uid, unique=True, editable=False)
    name = models.CharField(_("name"), max_length=100, unique=True)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        related_name="recipients",
        verbose_name=_("user"),
    )
    language = models.CharField(_("language"), max_length=10, default="en")
    time_zone = models.CharField(_("time zone"), max_length=64, blank=True, validators=[validate_time_zone])
    active = models.BooleanField(_("active"), default=True)
    quiet_from = models.TimeField(_("quiet from"), null=True, blank=True)
    quiet_until = models.TimeField(_("quiet until"), null=True, blank=True)
    """By their own clock; both or neither. Then nothing but what is critical comes by SMS."""

    class Meta:
        ordering = ("name",)
        verbose_name = _("recipient")
        verbose_name_plural = _("recipients")

    def __str__(self) -> str:
        return self.name


class ContactQuerySet(models.QuerySet["Contact"]):
    """Contacts, with the one question that everybody asks."""

    def usable(self) -> ContactQuerySet:
        """Those that may be sent something: confirmed, not refused by a provider, not unsubscribed."""
        return self.filter(confirmed_at__isnull=False, disabled_at__isnull=True, opted_out_at__isnull=True)


class Contact(models.Model):
    """A Recipient's number or address. A definite rejection disables it, with the reason.

    Until its owner has confirmed it, it is sent nothing but its code (``alerts.confirmation``). An address that is a
    credential is sealed when it is saved; ``address`` then holds what may be shown of it.
    """

    class Channel(models.TextChoices):
        """The channels that have forms of their own; all of them are in ``alerts.notifiers.registry``."""

        SMS = "sms", _("SMS")
        EMAIL = "email", _("e-mail")

    uid = models.UUIDField(default=new_uid, unique=True, editable=False)
    recipient = models.ForeignKey(Recipient, on_delete=models.CASCADE, related_name="contacts")
    channel = models.CharField(_("channel"), max_length=16, choices=channels)
    address = models.CharField(_("address"), max_length=500)
    sealed = models.BinaryField(default=b"", db_default=b"", editable=False)
    order = models.PositiveSmallIntegerField(_("order"), default=0)
    confirmed_at = models.DateTimeField(null=True, editable=False)
    opted_out_at = models.DateTimeField(null=True, editable=False)
    """Its owner wants nothing more; only they can take it back."""
    disabled_at = models.DateTimeField(null=True, editable=False)
    disabled_reason = models.CharField(max_length=300, blank=True, editable=False)

    objects = ContactQuerySet.as_manager()

    class Meta:
        ordering = ("recipient", "order", "id")
        verbose_name = _("contact")
        verbose_name_plural = _("contacts")
        constraints = [
            models.UniqueConstraint(fields=("recipient", "channel", "address"), name="contact_once_per_recipient")
        ]

    def __str__(self) -> str:
        return f"{self.recipient}, {self.get_channel_display()}"

    def clean(self) -> None:
        """Before it is compared with others: they are known by what is shown of them."""
        self._seal()

    def save(self, *args: Any, **kwargs: Any) -> None:
        """With an address that is a credential sealed."""
        if self._seal() and (fields := kwargs.get("update_fields")) is not None:
            kwargs["update_fields"] = {*fields, "sealed", "address"}
        super().save(*args, **kwargs)

    def _seal(self) -> bool:
        """Whether that changed anything."""
        if not is_secret(self.channel):
            changed, self.sealed = bool(self.sealed), b""
            return changed
        if is_shown(self.address):
            return False
        self.sealed, self.address = seal(self.address), shown(self.address)
        return True

    @property
    def reach(self) -> str:
        """The whole address, for a notifier and for nobody else."""
        return unseal(self.sealed) if self.sealed else self.address

    @property
    def usable(self) -> bool:
        """As ``ContactQuerySet.usable`` says."""
        return self.confirmed_at is not None and self.disabled_at is None and self.opted_out_at is None


class ContactCode(models.Model):
    """A code that was sent to confirm a contact. The rows stay, so that nobody sends more by making it anew."""

    contact = models.ForeignKey(Contact, on_delete=models.SET_NULL, null=True, related_name="codes")
    address = models.CharField(max_length=500)
    number = models.PositiveIntegerField()
    """The how manieth to this address: of two at the same moment one is refused."""
    digest = models.CharField(max_length=64)
    """HMAC of the code under the secret key; six digits are soon guessed from a plain hash."""
    asked_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+")
    sent_at = models.DateTimeField(db_index=True)
    expires_at = models.DateTimeField()
    tries = models.PositiveSmallIntegerField(default=0)
    used_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ("-sent_at", "-id")
        constraints = [models.UniqueConstraint(fields=("address", "number"), name="code_numbered_per_address")]


class TrialMessage(models.Model):
    """A trial message that somebody asked for within the last hour: what further ones are counted by."""

    contact = models.ForeignKey(Contact, on_delete=models.SET_NULL, null=True, related_name="trials")
    address = models.CharField(max_length=500)
    asked_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+")
    sent_at = models.DateTimeField(db_index=True)


class OtherSms(models.Model):
    """An SMS that no delivery stands for, a code, a trial or a reply: what the budgets count besides."""

    at = models.DateTimeField(db_index=True)
    segments = models.PositiveSmallIntegerField()


class Team(models.Model):
    """People who are told together."""

    uid = models.UUIDField(default=new_uid, unique=True, editable=False)
    name = models.CharField(_("name"), max_length=100, unique=True)
    members = models.ManyToManyField(Recipient, blank=True, related_name="teams", verbose_name=_("members"))

    class Meta:
        ordering = ("name",)
        verbose_name = _("team")
        verbose_name_plural = _("teams")

    def __str__(self) -> str:
        return self.name
