"""A delivery in words: for its channel, in its recipient's language, with the ways to answer it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import datetime, timedelta

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import OuterRef, Q, Subquery

from alerts import links, texts
from alerts.answers import KEPT, free_code
from alerts.lateness import known_late
from alerts.models import Alert, Contact, Delivery, Event, Incident, ReplyCode
from alerts.notifiers.base import Message

logger = logging.getLogger(__name__)

CODE_TRIES = 5


def opening_event(row: Delivery) -> Event | None:
    """The event that opened the delivery's incident."""
    return Event.objects.filter(incident=row.alert.incident_id).order_by("happened_at", "id").first()


def compose(row: Delivery, carried: Sequence[Delivery], now: datetime) -> Message:
    """The message of ``row``, which says what ``carried`` are about too."""
    if carried:
        return _together([row, *carried], now)
    if row.contact.channel == Contact.Channel.SMS:
        return _message(row, texts.sms(row.alert, now, way_back(row.alert, now)))
    if row.contact.channel == Contact.Channel.EMAIL:
        event = opening_event(row)
        picture = _picture(event)
        words = texts.email(row.alert, event, now, picture=picture is not None, back=_link_only(row.alert, now))
        return _message(row, words, picture)
    return _message(row, texts.chat(row.alert, now, _link_only(row.alert, now)))


def _together(rows: Sequence[Delivery], now: datetime) -> Message:
    short = rows[0].contact.channel == Contact.Channel.SMS
    return _message(rows[0], texts.digest([row.alert for row in rows], now, short=short), rows=rows)


def _message(row: Delivery, words: texts.Words, picture: bytes | None = None, rows: Sequence[Delivery] = ()) -> Message:
    return Message(
        to=row.contact.reach,
        subject=words.subject,
        text=words.text,
        html=words.html,
        picture=picture,
        # A repetition goes by the name of what it repeats.
        reference=str(row.resends.uid if row.resends else row.uid),
        urgent=row.alert.incident.severity == "critical",
        content={"alerts": [_plain(one.alert) for one in rows or [row]]},
    )


def _plain(alert: Alert) -> dict[str, object]:
    """What a program may want to know of an alert, in words that do not change with the language."""
    incident = alert.incident
    return {
        "alert": str(alert.uid),
        "reason": alert.reason,
        "incident": str(incident.uid),
        "state": incident.state,
        "severity": incident.severity,
        "kind": incident.kind,
        "label": incident.label,
        "zone": incident.zone_name,
        "camera": incident.camera.name if incident.camera else None,
        "site": incident.site.name,
        "time_zone": incident.site.time_zone,
        "happened_at": incident.happened_at.isoformat(),
        "opened_at": incident.opened_at.isoformat(),
        "late": known_late(alert) is not None,
        "address": texts.incident_address(incident),
    }


def _picture(event: Event | None) -> bytes | None:
    if event is None or event.picture != Event.Picture.KEPT:
        return None
    try:
        return (settings.MEDIA_ROOT / event.picture_path).read_bytes()
    except OSError as error:
        logger.warning("event %s: its picture cannot be read (%s); the e-mail goes without", event.uid, error)
        return None


# Ways back


def link_of(alert: Alert, now: datetime) -> str:
    """The address that acknowledges ``alert``'s incident as its recipient, for a day."""
    link = links.Link(alert.pk, now + timedelta(seconds=links.VALID_S))
    return f"{settings.PUBLIC_URL}{links.PATH}{links.make(link, settings.SECRET_KEY)}"


def _link_only(alert: Alert, now: datetime) -> texts.Back:
    return texts.Back(link_of(alert, now))


def way_back(alert: Alert, now: datetime) -> texts.Back:
    """A link, and two digits where the number that sends can be answered."""
    sender = str(settings.TWILIO["sender"])
    return texts.Back(link_of(alert, now), code_of(alert, now) if not sender or sender.startswith("+") else "")


def code_of(alert: Alert, now: datetime) -> str:
    """The two digits that stand for ``alert``'s incident in messages to its recipient; given at the first of them.

    Empty where each stands for something else that the recipient may still answer.
    """
    mine = ReplyCode.objects.filter(recipient=alert.recipient_id)
    for _ in range(CODE_TRIES):
        if row := mine.filter(incident=alert.incident_id).first():
            return row.code
        code = free_code(_standing(alert.recipient_id), now)
        if not code:
            logger.info("alert %s: every code stands for something else; its message goes without", alert.uid)
            return ""
        _give(alert, code, now)
    logger.warning("alert %s: no code in %s tries; its message goes without", alert.uid, CODE_TRIES)
    return ""


def _standing(recipient: int) -> dict[str, datetime | None]:
    """Each code on the telephones of a recipient (by key), with when it was last said; None: it stands for an open one.

    Of whoever shares one of them too: an answer tells no more than the telephone that it comes from.
    """
    numbers = Contact.objects.filter(recipient=recipient, channel=Contact.Channel.SMS).values("address")
    sharing = Contact.objects.filter(channel=Contact.Channel.SMS, address__in=numbers).values("recipient")
    told = Alert.objects.filter(recipient=OuterRef("recipient"), incident=OuterRef("incident"))
    last = Subquery(told.order_by("-created_at").values("created_at")[:1])
    rows = ReplyCode.objects.filter(Q(recipient=recipient) | Q(recipient__in=sharing)).annotate(last=last)
    standing: dict[str, datetime | None] = {}
    for code, state, given_at, last_at in rows.values_list("code", "incident__state", "given_at", "last"):
        said_at = max(given_at, last_at or given_at)
        before = standing.get(code, said_at)
        standing[code] = None if state == Incident.State.OPEN or before is None else max(before, said_at)
    return standing


def _give(alert: Alert, code: str, now: datetime) -> None:
    """Let ``code`` stand for the alert's incident, unless somebody gave it just now."""
    given = {"incident_id": alert.incident_id, "given_at": now}
    free = ReplyCode.objects.filter(recipient=alert.recipient_id, code=code, given_at__lte=now - KEPT)
    try:
        with transaction.atomic():
            if not free.update(**given):
                ReplyCode.objects.create(recipient_id=alert.recipient_id, code=code, **given)
    except IntegrityError:
        pass
