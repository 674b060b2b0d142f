"""Acknowledging from afar: by a link, by answering an SMS. Each answer is taken once, in one transaction."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.db import IntegrityError, transaction
from django.utils import translation
from django.utils.translation import gettext as _

from alerts import answers, incidents, links, texts
from alerts.answers import Outcome
from alerts.confirmation import opt_in, opt_out
from alerts.models import Alert, Contact, InboundMessage, Incident, Recipient, ReplyCode
from alerts.notifiers.base import Answer, DeliveryError, Follows, Message
from alerts.notifiers.registry import notifier_for, notifier_of
from alerts.spending import send_beside
from alerts.transitions import IllegalTransition
from streams.ids import new_uid

logger = logging.getLogger(__name__)

REPLIES_MOST, REPLIES_WITHIN = 5, timedelta(minutes=10)
"""Replies to one number; two machines must not write to each other all night, and nobody must run up our bill."""
LOOK_BACK = timedelta(days=1)
KEPT = timedelta(days=90)
"""Strangers write, too. Longer than any provider gives an answer out again."""
TOO_OLD = timedelta(hours=24)
"""As a link, an answer counts for a day."""


# By link


@dataclass(frozen=True, slots=True)
class Linked:
    """What a link stands for."""

    alert: Alert
    until_at: datetime

    def expired(self, now: datetime) -> bool:
        """Whether it came too late."""
        return now >= self.until_at


def linked(token: str) -> Linked | None:
    """What ``token`` stands for; None for one that we did not make, or whose alert or recipient is gone."""
    link = links.read(token, settings.SECRET_KEY)
    if link is None:
        return None
    related = ("recipient__user", "incident__site", "incident__camera", "incident__rule")
    alert = Alert.objects.select_related(*related).filter(pk=link.alert, recipient__active=True).first()
    return Linked(alert, link.until_at) if alert else None


def acknowledge_as(alert: Alert, through: str, now: datetime) -> bool:
    """``alert``'s recipient has its incident. False: somebody else was faster, or it is over."""
    try:
        with transaction.atomic():
            Alert.objects.filter(pk=alert.pk).update(answered_at=now, answered_through=through)
            user = alert.recipient.user
            # Who has no account here is named all the same.
            note = "" if user else alert.recipient.name
            incidents.acknowledge(alert.incident.uid, by=user, through=through, now=now, note=note)
    except IllegalTransition:
        return False
    return True


# By SMS


def poll(now: datetime) -> int:
    """Fetch what people sent to us and take what is new. Blocks as the provider does. Returns how many were new."""
    try:
        notifier = notifier_of("twilio")
        found: list[Answer] = notifier.answers(now - LOOK_BACK) if isinstance(notifier, Follows) else []
    except DeliveryError as error:
        logger.info("answers could not be fetched: %s", error.text)
        return 0
    rows = InboundMessage.objects.filter(provider_id__in=[one.provider_id for one in found])
    known = set(rows.values_list("provider_id", flat=True))
    return sum(take(one, now) for one in sorted(found, key=lambda one: one.at) if one.provider_id not in known)


def take(answer: Answer, now: datetime) -> bool:
    """Do what ``answer`` means and reply to it. False: it was taken before."""
    try:
        with transaction.atomic():
            row = _take(answer, now)
    except IntegrityError:
        return False
    if row.reply:
        _send_reply(row, now)
    return True


def _take(answer: Answer, now: datetime) -> InboundMessage:
    """Raises ``IntegrityError`` when it was taken before. What is older than ``KEPT`` goes."""
    InboundMessage.objects.filter(taken_at__lt=now - KEPT).delete()
    text = texts.clean(answer.text)[:160]
    row = InboundMessage.objects.create(
        provider_id=answer.provider_id[:100], sender=answer.sender[:40], text=text, at=answer.at, taken_at=now
    )
    people = _people(answer.sender)
    coded = _open_alerts(people, answer.at, now)
    meant = answers.meaning(text, coded, others=_has_others(people, coded, answer.at))
    row.outcome = meant.outcome.value
    if (heed := _WISHES.get(meant.outcome)) is not None:
        _heed(heed, row, now)
    elif people:
        _act(meant, people, row, now)
    else:
        row.outcome = Outcome.STRANGER.value
    row.save()
    return row


_WISHES: dict[Outcome, Callable[[Contact, datetime], int]] = {
    Outcome.UNSUBSCRIBED: opt_out,
    Outcome.SUBSCRIBED: lambda contact, _: opt_in(contact),
}


def _heed(wish: Callable[[Contact, datetime], int], row: InboundMessage, now: datetime) -> None:
    """Whoever has the number says whether more is to come; that counts for it whoever it is entered for."""
    contact = Contact.objects.filter(channel=Contact.Channel.SMS, address=row.sender).first()
    if contact is not None:
        wish(contact, now)
    else:
        row.outcome = Outcome.STRANGER.value


def _act(meant: answers.Meant[Alert], people: list[Recipient], row: InboundMessage, now: datetime) -> None:
    """Acknowledge what is meant, and find the words that say so."""
    outcome = meant.outcome
    if meant.alert is not None:
        row.incident = meant.alert.incident
        if not acknowledge_as(meant.alert, "sms", now):
            outcome = Outcome.NOTHING_OPEN
    row.outcome = outcome.value
    if not _replied_enough(row.sender, now):
        row.reply = _reply(outcome, meant.codes, row.incident, people[0])


def _people(sender: str) -> list[Recipient]:
    """Whose number it is, as they confirmed themselves; several may share one."""
    rows = Contact.objects.filter(channel=Contact.Channel.SMS, address=sender, recipient__active=True)
    rows = rows.filter(confirmed_at__isnull=False, opted_out_at__isnull=True)
    return [row.recipient for row in rows.select_related("recipient__user").order_by("recipient", "pk")]


def _open_alerts(people: Iterable[Recipient], at: datetime, now: datetime) -> dict[str, list[Alert]]:
    """What ``people`` can acknowledge by code. One that was given after the answer was written means nothing in it."""
    if now - at > TOO_OLD:
        return {}
    rows = ReplyCode.objects.filter(recipient__in=list(people), given_at__lte=at + _CLOCKS_APART)
    is_open = rows.filter(incident__state=Incident.State.OPEN).values("code")
    found: dict[str, list[Alert]] = {}
    for row in rows.filter(code__in=is_open):
        alerts = Alert.objects.filter(recipient=row.recipient_id, incident=row.incident_id)
        alert = alerts.select_related("recipient__user", "incident__site", "incident__camera", "incident__rule").last()
        if alert is not None and _may_be_meant(alert, at):
            found.setdefault(row.code, []).append(alert)
    return found


def _may_be_meant(alert: Alert, at: datetime) -> bool:
    """One that is over too, where somebody who shares the telephone was told of it by the same code a while ago."""
    return alert.incident.state == Incident.State.OPEN or at - alert.created_at < answers.KEPT


def _has_others(people: Iterable[Recipient], coded: Mapping[str, list[Alert]], at: datetime) -> bool:
    """Whether ``people`` had been told of anything open that is not ``coded``: by e-mail, or its code is another's."""
    known = [alert.incident_id for alerts in coded.values() for alert in alerts]
    rows = Alert.objects.filter(recipient__in=list(people), incident__state=Incident.State.OPEN)
    return rows.filter(created_at__lte=at + _CLOCKS_APART).exclude(incident__in=known).exists()


_CLOCKS_APART = timedelta(seconds=30)


def _replied_enough(sender: str, now: datetime) -> bool:
    return InboundMessage.objects.filter(sender=sender, replied_at__gt=now - REPLIES_WITHIN).count() >= REPLIES_MOST


def _reply(outcome: Outcome, codes: Iterable[str], incident: Incident | None, person: Recipient) -> str:
    with translation.override(person.language):
        words = {"codes": texts.listed(codes), "what": texts.headline(incident) if incident else ""}
        return texts.fit_reply(_SENTENCES[outcome]() % words)


_SENTENCES = {
    Outcome.ACKNOWLEDGED: lambda: _("You have it: %(what)s. Nothing more is sent about it."),
    Outcome.NO_SUCH_CODE: lambda: _("No open alert has this number. Open for you: %(codes)s. Answer one of them."),
    Outcome.WHICH: lambda: _("More than one alert is open for you. Answer one of these numbers: %(codes)s."),
    Outcome.NOTHING_OPEN: lambda: _("Nothing is open for you; nothing was changed."),
    Outcome.UNCLEAR: lambda: _("Not understood; nothing was changed. Answer one of these numbers: %(codes)s."),
}


def _send_reply(row: InboundMessage, now: datetime) -> None:
    """Once: whoever gets no reply sees in the next message that the alert is still open."""
    InboundMessage.objects.filter(pk=row.pk).update(replied_at=now)
    try:
        message = Message(to=row.sender, text=row.reply, reference=str(new_uid()))
        send_beside(notifier_for(Contact.Channel.SMS), Contact.Channel.SMS, message, now)
    except DeliveryError as error:
        logger.warning("answer %s: its reply was not sent: %s", row.provider_id, error.text)
