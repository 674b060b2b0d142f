"""What is told to whom: alerts, their deliveries, and the answers to them."""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from alerts.answers import Outcome
from alerts.models.incidents import Incident
from alerts.models.people import Contact, Recipient
from streams.ids import new_uid


class Alert(models.Model):
    """The decision to tell a Recipient something about an Incident."""

    class Reason(models.TextChoices):
        OPENED = "opened", _("opened")
        REMINDER = "reminder", _("still unacknowledged")
        WORSE = "worse", _("got worse")
        LATE = "late", _("known late")
        GROWN = "grown", _("twice as many")
        SPREAD = "spread", _("on another camera too")
        AGAIN = "again", _("again after a quiet time")
        REOPENED = "reopened", _("reopened")

    NEWS = frozenset({Reason.WORSE, Reason.GROWN, Reason.SPREAD, Reason.AGAIN})
    """New facts: told also while somebody has the incident."""

    uid = models.UUIDField(default=new_uid, unique=True, editable=False)
    incident = models.ForeignKey(Incident, on_delete=models.CASCADE, related_name="alerts")
    recipient = models.ForeignKey(Recipient, on_delete=models.PROTECT, related_name="alerts")
    reason = models.CharField(max_length=16, choices=Reason)
    step = models.PositiveSmallIntegerField(default=0)
    created_at = models.DateTimeField()
    answered_at = models.DateTimeField(null=True)
    """When this recipient acknowledged from afar."""
    answered_through = models.CharField(max_length=16, blank=True, db_default="")
    """link, sms."""

    class Meta:
        ordering = ("created_at", "id")
        constraints = [
            models.UniqueConstraint(fields=("incident", "recipient", "reason", "step"), name="alert_once_per_step")
        ]
        indexes = [
            models.Index(fields=("recipient", "created_at"), name="alert_load_of_recipient"),
            models.Index(fields=("created_at",), name="alert_lately"),
        ]


class Delivery(models.Model):
    """One attempt to get one Alert to one Recipient through one Notifier."""

    class State(models.TextChoices):
        QUEUED = "queued", _("queued")
        SENDING = "sending", _("sending")
        SENT = "sent", _("sent")
        DELIVERED = "delivered", _("delivered")
        FAILED = "failed", _("failed")
        UNKNOWN = "unknown", _("outcome unknown")
        CANCELLED = "cancelled", _("not needed any more")

    class Held(models.TextChoices):
        """Why it waits although it could be sent."""

        FLOOD = "flood", _("many at once; they go out together")
        LATE = "late", _("known late; they go out together")
        RECIPIENT = "recipient", _("enough messages for this person in one minute")
        SENDER = "sender", _("the number that sends is busy")
        MUTED = "muted", _("muted")
        QUIET = "quiet", _("quiet hours")

    uid = models.UUIDField(default=new_uid, unique=True, editable=False)
    alert = models.ForeignKey(Alert, on_delete=models.CASCADE, related_name="deliveries")
    contact = models.ForeignKey(Contact, on_delete=models.PROTECT, related_name="deliveries")
    notifier = models.CharField(max_length=40)
    """Key of ``alerts.notifiers.registry.NOTIFIERS`` that took it; empty until it was claimed."""
    state = models.CharField(max_length=16, choices=State, default=State.QUEUED)
    attempts = models.PositiveSmallIntegerField(default=0)
    not_before_at = models.DateTimeField()
    lease_owner = models.CharField(max_length=100, blank=True)
    lease_until_at = models.DateTimeField(null=True)
    resends = models.OneToOneField("self", on_delete=models.CASCADE, null=True, related_name="resent_as")
    """The delivery of unknown outcome that this one repeats: it may arrive twice."""
    held = models.CharField(max_length=10, choices=Held, blank=True, db_default="")
    """Why it was put off until ``not_before_at``; empty when it was not."""
    # Nearly all carry themselves: with an index of those too SQLite looks through all of them to find a few.
    carried_by = models.ForeignKey("self", on_delete=models.SET_NULL, null=True, related_name="carries", db_index=False)
    """The delivery whose message says this one too; it is sent once, and both share what becomes of it."""
    address = models.CharField(max_length=500, blank=True)
    """Where it went: the contact's address when it was sent. Empty until then; the contact may be edited later."""
    subject = models.CharField(max_length=300, blank=True)
    text = models.TextField(blank=True)
    html = models.TextField(blank=True)
    provider_id = models.CharField(max_length=100, blank=True)
    problem = models.CharField(max_length=500, blank=True)
    sender_ended = models.BooleanField(default=False, db_default=False)
    """Its outcome is unknown because the process that was sending it has ended: no answer to that one can come."""
    segments = models.PositiveSmallIntegerField(default=0, db_default=0)
    """SMS segments that were paid for; of several tries the last one's."""
    created_at = models.DateTimeField()
    attempted_at = models.DateTimeField(null=True)
    """The last time that somebody began to send it."""
    sent_at = models.DateTimeField(null=True)
    delivered_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)
    asked_at = models.DateTimeField(null=True)
    """The last time that the provider was asked what became of it."""

    class Meta:
        ordering = ("created_at", "id")
        verbose_name = _("delivery")
        verbose_name_plural = _("deliveries")
        indexes = [
            models.Index(fields=("state", "not_before_at")),
            models.Index(fields=("-created_at", "-id"), name="delivery_newest"),
            models.Index(fields=("-sent_at",), name="delivery_last_sent", condition=Q(sent_at__isnull=False)),
            models.Index(fields=("attempted_at",), name="delivery_spent", condition=Q(attempted_at__isnull=False)),
            models.Index(fields=("carried_by",), name="delivery_carried", condition=Q(carried_by__isnull=False)),
            models.Index(fields=("provider_id",), name="delivery_by_provider_id", condition=~Q(provider_id="")),
        ]
        constraints = [
            models.UniqueConstraint(
                fields=("alert", "contact"), condition=Q(resends__isnull=True), name="delivery_once_per_contact"
            )
        ]

    @property
    def to(self) -> str:
        """Where it went, or for what has not left yet, where it would go."""
        return self.address or self.contact.address


class ReplyCode(models.Model):
    """Two digits that stand for one Incident in the messages to one Recipient, until they are needed again."""

    recipient = models.ForeignKey(Recipient, on_delete=models.CASCADE, related_name="reply_codes")
    incident = models.ForeignKey(Incident, on_delete=models.CASCADE, related_name="reply_codes")
    code = models.CharField(max_length=2)
    given_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=("recipient", "code"), name="reply_code_once_per_recipient"),
            models.UniqueConstraint(fields=("recipient", "incident"), name="one_reply_code_per_incident"),
        ]


class InboundMessage(models.Model):
    """What somebody sent to us, taken once. Who sent it is only what the provider says."""

    class Done(models.TextChoices):
        """What was done with it: ``alerts.answers.Outcome``."""

        ACKNOWLEDGED = Outcome.ACKNOWLEDGED.value, _("an incident was acknowledged")
        NO_SUCH_CODE = Outcome.NO_SUCH_CODE.value, _("nothing: no open alert has this number")
        WHICH = Outcome.WHICH.value, _("nothing: several alerts were open")
        NOTHING_OPEN = Outcome.NOTHING_OPEN.value, _("nothing: nothing was open")
        UNCLEAR = Outcome.UNCLEAR.value, _("nothing: it was not understood")
        STRANGER = Outcome.STRANGER.value, _("nothing: the number is nobody's")
        UNSUBSCRIBED = Outcome.UNSUBSCRIBED.value, _("nothing more is sent there")
        SUBSCRIBED = Outcome.SUBSCRIBED.value, _("messages are sent there again")

    provider_id = models.CharField(_("the provider's name for it"), max_length=100, unique=True)
    sender = models.CharField(_("from whom"), max_length=40)
    text = models.CharField(_("text"), max_length=160)
    at = models.DateTimeField(_("written at"))
    taken_at = models.DateTimeField(_("taken in"))
    outcome = models.CharField(_("what was done"), max_length=16, choices=Done)
    incident = models.ForeignKey(
        Incident, on_delete=models.SET_NULL, null=True, related_name="answers", verbose_name=_("incident")
    )
    reply = models.CharField(_("reply"), max_length=320, blank=True)
    replied_at = models.DateTimeField(_("replied"), null=True)

    class Meta:
        ordering = ("-at", "-id")
        verbose_name = _("received message")
        verbose_name_plural = _("received messages")
        indexes = [models.Index(fields=("sender", "replied_at"))]

    def __str__(self) -> str:
        return f"{self.sender}: {self.text}"
