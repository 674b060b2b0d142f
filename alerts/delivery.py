"""The outbox: deliveries are rows, claimed by conditional UPDATE with a lease, sent outside any transaction.

``queued → sending (lease) → sent | queued again | failed | unknown``; what its provider says later moves it forward
(``alerts.reconcile``). Nothing is lost, because the row is there before
anything is sent. Nothing is sent twice while the outcome is definite, because only the claim's winner sends. A lease
that ran out, an answer that never came: *unknown*, sent once more after ``RESEND_AFTER_S`` and never again.

Every conditional UPDATE here names columns of ``Delivery`` only. With a condition on another table Django writes
``id IN (SELECT …)``, and PostgreSQL, having waited for a row, does not look at the sub-select again: two would win.
"""

from __future__ import annotations

import logging
import os
import random
import secrets
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID

from django.db import Error as DatabaseError
from django.db import IntegrityError, close_old_connections, transaction
from django.db.models import Case, F, Q, When
from django.utils import timezone

from alerts import holding
from alerts.announce import hold, stamp
from alerts.confirmation import opt_out
from alerts.handover import broker_away_s, hand_over
from alerts.lateness import known_late
from alerts.models import Alert, Contact, Delivery, Event, Incident
from alerts.notifiers.addresses import service
from alerts.notifiers.base import SLOTS, DeliveryError, Message, Receipt
from alerts.notifiers.registry import notifier_for
from alerts.quiet_hours import quiet_ends_at
from alerts.texts import segments
from alerts.wording import compose, opening_event

__all__ = ["broker_away_s", "deliver", "hand_over", "queue", "queue_all"]

logger = logging.getLogger(__name__)

LEASE_S = 30.0
"""Longer than any notifier may take; a worker that was killed has let go of it by then."""
RESEND_AFTER_S = 60.0
GONE_RESEND_AFTER_S = 20.0
"""Whoever was sending has ended, so no answer can come any more; the provider is asked meanwhile."""
RESEND_WITHIN_S = 6 * 3600.0
GATHER_AGAIN_S = 2.0
GIVE_UP_AFTER_S, GIVE_UP_LEAST = 4 * 3600.0, 8
"""Not before so many attempts: what waited for hours with reason has only begun."""
FIRST_BACKOFF_S, LONGEST_BACKOFF_S = 2.0, 300.0
PICTURE_WAIT_S = 4.0
"""An e-mail waits so long for its picture, which is fetched right after the commit."""
POSTPONE_S = 1.0
RECORD_TRIES, RECORD_AGAIN_S = 80, 1.0
"""Within lease and resend together (30 s and 60 s) a late record still prevents the second message."""

STOPPED = "whoever was sending it stopped"
GONE = "whoever was sending it has ended"

State = Delivery.State


# Deciding


def queue(alert: Alert, contact: Contact, now: datetime, **more: Any) -> Delivery:
    """A new delivery, due at once. Raises ``IntegrityError`` when the alert has one to that contact already."""
    given = {"not_before_at": now, "created_at": now, **more}
    return Delivery.objects.create(alert=alert, contact=contact, **given)


def queue_all(told: Iterable[tuple[Alert, Contact, datetime | None]], now: datetime) -> list[Delivery]:
    """New deliveries of alerts that have none yet: one statement, however many they are.

    The third of each says when quiet hours are over that are still in the way.
    """
    made = [
        Delivery(alert=alert, contact=contact, created_at=now, **_due(quiet_until_at, now))
        for alert, contact, quiet_until_at in told
    ]
    return Delivery.objects.bulk_create(made)


def _due(quiet_until_at: datetime | None, now: datetime) -> dict[str, Any]:
    """At once, or when the quiet hours are over."""
    if quiet_until_at is None:
        return {"not_before_at": now}
    return {"not_before_at": quiet_until_at, "held": Delivery.Held.QUIET}


def suits(contact: Contact, incident: Incident, now: datetime, *, late: bool) -> bool:
    """What is long past (``late``), or comes in somebody's quiet hours, wakes nobody by SMS, unless it is critical.

    Every other channel is silenced where it is read: by the mail program, by the telephone for each chat.
    """
    if contact.channel != Contact.Channel.SMS or incident.severity == "critical":
        return True
    return not late and quiet_until(contact, incident, now) is None


def quiet_until(contact: Contact, incident: Incident, now: datetime) -> datetime | None:
    """When the quiet hours of ``contact``'s recipient are over; None: they have none now."""
    recipient = contact.recipient
    zone = recipient.time_zone or incident.site.time_zone
    return quiet_ends_at(recipient.quiet_from, recipient.quiet_until, zone, now)


def wanted(delivery: Delivery) -> bool:
    """Whether it is still to be sent: nobody has the incident, or there is news since somebody took it."""
    alert = delivery.alert
    incident = alert.incident
    if incident.state == Incident.State.ACKNOWLEDGED and incident.acknowledged_at is not None:
        return alert.reason in Alert.NEWS and alert.created_at > incident.acknowledged_at
    return incident.state == Incident.State.OPEN


def cancel_queued(incident: int, now: datetime) -> int:
    """Cancel whatever has not left of an incident (key), inside the caller's transaction. Returns how many."""
    return _cancel(_waiting(incident), now)


def _waiting(incident: int, **only: Any) -> list[int]:
    """Keys of what has not left of an incident (key)."""
    rows = Delivery.objects.filter(alert__incident=incident, state=State.QUEUED, **only)
    return list(rows.values_list("pk", flat=True))


def _cancel(keys: list[int], now: datetime) -> int:
    rows = Delivery.objects.filter(pk__in=keys, state=State.QUEUED)
    return rows.update(state=State.CANCELLED, finished_at=now)


def mute_queued(incident: int, now: datetime) -> None:
    """Put off whatever has not left of an incident (key), which is muted, inside the caller's transaction.

    What waits for the end of somebody's quiet hours waits for that: a silence that ends at night wakes nobody.
    """
    held = {"held": Delivery.Held.MUTED, "not_before_at": now + timedelta(seconds=holding.MUTED_S)}
    rows = Delivery.objects.filter(pk__in=_waiting(incident), state=State.QUEUED)
    rows.exclude(held=Delivery.Held.QUIET).update(**held)


def unmute_queued(incident: int, now: datetime) -> None:
    """Let go at once what waited for that, inside the caller's transaction."""
    muted = _waiting(incident, held=Delivery.Held.MUTED)
    Delivery.objects.filter(pk__in=muted, state=State.QUEUED).update(held="", not_before_at=now)


def channels_pending(incident: int, *, quiet: bool = True) -> frozenset[tuple[int, str]]:
    """Recipient key and channel of everything of an incident (key) that is on its way; ``quiet``: or will be by day."""
    rows = Delivery.objects.filter(alert__incident=incident, state__in=(State.QUEUED, State.SENDING))
    if not quiet:
        rows = rows.exclude(held=Delivery.Held.QUIET)
    return frozenset(rows.values_list("alert__recipient", "contact__channel"))


def backoff_s(attempts: int, retry_after_s: float | None, jitter: float) -> float:
    """How long to wait after ``attempts`` definite failures; ``jitter`` is in [0, 1).

    >>> backoff_s(1, None, 0.5), backoff_s(3, None, 0.5), backoff_s(40, None, 0.5), backoff_s(1, 60.0, 0.0)
    (2.0, 8.0, 300.0, 60.0)
    """
    grown = min(LONGEST_BACKOFF_S, FIRST_BACKOFF_S * 2.0 ** min(attempts - 1, 20))
    return max(grown * (0.5 + jitter), retry_after_s or 0.0)


# Sending


def deliver(uid: UUID, *, clock: Callable[[], datetime] = timezone.now) -> str | None:
    """Send one delivery, if it is due and nobody else does. Returns its new state; None: not ours to send now."""
    row = _load(uid)
    if row is None or row.state != State.QUEUED or row.not_before_at > clock():
        return None
    if _is_put_off(row, clock()):
        return None
    owner = f"{_home()}-{os.getpid()}-{secrets.token_hex(4)}"
    if not claim(row.pk, owner, clock()):
        return None
    # Read again: from here on an acknowledgement or a silence comes too late, up to here it does not.
    row = _load(uid)
    if row is None:
        return None
    # Many may have looked at the same moment and all found room. Whoever claimed last sees all the others.
    if _crowd(row) > 0 or holding.hold(row, clock()) is not None:
        unclaim(row.pk, owner, clock())
        return None
    return _attempt(row, owner, clock)


def claim(key: int, owner: str, now: datetime) -> bool:
    """Make ``owner`` the only one that sends it. False: somebody else does, or it is not due."""
    rows = Delivery.objects.filter(pk=key, state=State.QUEUED, not_before_at__lte=now)
    return bool(rows.update(**_claimed(owner, now)))


def _claimed(owner: str, now: datetime) -> dict[str, Any]:
    lease_until_at = now + timedelta(seconds=LEASE_S)
    # Without a notifier: nothing of this attempt has left yet.
    begun = {"state": State.SENDING, "attempts": F("attempts") + 1, "attempted_at": now, "notifier": ""}
    return {"lease_owner": owner, "lease_until_at": lease_until_at, **begun}


def _home() -> str:
    """Where the numbers of processes mean what they mean here: this machine, and on it this container."""
    try:
        space = os.stat("/proc/self/ns/pid").st_ino
    except OSError:
        space = 0
    return f"{socket.gethostname()}.{space}"


def has_ended(owner: str) -> bool:
    """Whether the process that claimed as ``owner`` is certainly gone; of another machine nobody can say."""
    home, _, process = owner.rpartition("-")[0].rpartition("-")
    if home != _home() or not process.isdigit():
        return False
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False


def unclaim(key: int, owner: str, now: datetime) -> None:
    """Put back what ``owner`` claimed and has not begun to send."""
    rows = Delivery.objects.filter(pk=key, state=State.SENDING, lease_owner=owner)
    again = {"attempts": F("attempts") - 1, "not_before_at": _a_little_later(now), "attempted_at": None}
    rows.update(state=State.QUEUED, lease_until_at=None, **again)


def _a_little_later(now: datetime) -> datetime:
    # Jittered, so that those put off together do not come back together.
    return now + timedelta(seconds=POSTPONE_S * (0.5 + random.random()))


def _load(uid: UUID) -> Delivery | None:
    return Delivery.objects.select_related(*_RELATED, "resends").filter(uid=uid).first()


_RELATED = (
    "contact",
    "alert__recipient",
    "alert__incident__site",
    "alert__incident__camera",
    "alert__incident__rule",
)


def _is_put_off(row: Delivery, now: datetime) -> bool:
    """Put ``row`` off, if it has to wait."""
    if _crowd(row, more=1) > 0 or _waits_for_picture(row, now):
        Delivery.objects.filter(pk=row.pk, state=State.QUEUED).update(not_before_at=_a_little_later(now))
        return True
    hold_back = holding.hold(row, now)
    if hold_back is None:
        return False
    with transaction.atomic():
        hold(row.alert.incident_id)
        rows = Delivery.objects.filter(pk=row.pk, state=State.QUEUED)
        if rows.update(held=hold_back.why, not_before_at=hold_back.until_at) and row.held != hold_back.why:
            stamp([row.alert.incident_id])
    return True


def _crowd(row: Delivery, more: int = 0) -> int:
    """By how many there are too many on the way to ``row``'s service, with ``more`` of them.

    Each may take half of the slots that the others leave, so that some are left however many services hang.
    """
    rows = Delivery.objects.filter(state=State.SENDING, carried_by__isnull=True)
    busy = Counter(service(*where) for where in rows.values_list("contact__channel", "contact__address"))
    mine = busy[service(row.contact.channel, row.contact.address)]
    return mine + more - at_once(SLOTS - (busy.total() - mine))


def at_once(left: int) -> int:
    """How many may be on the way to one service when the others leave so many slots.

    >>> at_once(12), at_once(6), at_once(3), at_once(0)
    (6, 3, 1, 1)
    """
    return max(1, left // 2)


def _waits_for_picture(row: Delivery, now: datetime) -> bool:
    if row.contact.channel != Contact.Channel.EMAIL or row.attempts:
        return False
    event = opening_event(row)
    return (
        event is not None
        and event.picture == Event.Picture.PENDING
        and (now - event.known_at).total_seconds() < PICTURE_WAIT_S
    )


def _attempt(row: Delivery, owner: str, clock: Callable[[], datetime]) -> str | None:
    if not wanted(row):
        return _finish(row, owner, State.CANCELLED, clock())
    if not row.contact.usable:
        return _elsewhere(row, owner, row.contact.disabled_reason or "this contact is switched off", clock())
    if holding.month_is_spent(row, clock()):
        return _elsewhere(row, owner, "budget: this month's SMS are used up", clock())
    if row.held in holding.TOGETHER:
        _gather(row, owner, clock())
    try:
        receipt = _send(row, owner, clock())
    except _NotOurs:
        return None
    except DeliveryError as error:
        return _failed(row, owner, error, clock())
    fields = {"provider_id": receipt.provider_id[:100], "sent_at": clock(), "problem": ""}
    return _surely(lambda: _finish(row, owner, State.SENT, clock(), **fields))


def _gather(row: Delivery, owner: str, now: datetime) -> None:
    """Take along whatever is held like ``row`` for the same contact: one message says it all."""
    others = Delivery.objects.filter(contact=row.contact_id, state=State.QUEUED, held=row.held)
    others.update(carried_by=row.pk, **_claimed(owner, now))
    for one in carried(row):
        muted = bool(one.alert.incident.muted_by)
        if wanted(one) and not muted:
            continue
        Delivery.objects.filter(pk=one.pk, lease_owner=owner).update(carried_by=None)
        if muted:
            unclaim(one.pk, owner, now)
        else:
            _finish(one, owner, State.CANCELLED, now)


def carried(row: Delivery) -> list[Delivery]:
    """What ``row``'s message says beside ``row``'s own alert."""
    return list(Delivery.objects.filter(carried_by=row.pk).select_related(*_RELATED).order_by("pk"))


def _surely(record: Callable[[], str | None]) -> str | None:
    """Record what the provider has taken, however often the database must be asked: forgotten, it would be sent again.

    Raises the database's error when it is away for longer than the resend waits.
    """
    for _ in range(RECORD_TRIES):
        try:
            return record()
        except DatabaseError as error:
            logger.warning("sent, and the database does not answer (%s); recorded as soon as it does", error)
            close_old_connections()
            time.sleep(RECORD_AGAIN_S)
    return record()


class _NotOurs(Exception):
    """The lease ran out before anything left, and somebody else has the delivery now."""


def _send(row: Delivery, owner: str, now: datetime) -> Receipt:
    """Find words and notifier, store the words, send. Raises ``DeliveryError``, ``_NotOurs`` and nothing else."""
    try:
        notifier = notifier_for(row.contact.channel)
        message = compose(row, carried(row), now)
        _keep_words(row, owner, notifier.key, message)
    except (DeliveryError, _NotOurs):
        raise
    except Exception as error:
        logger.exception("delivery %s: not put into words", row.uid)
        raise DeliveryError("definite", f"not put into words ({type(error).__name__})") from None
    try:
        return notifier.send(message)
    except DeliveryError:
        raise
    except Exception as error:  # nobody can say how far it got
        logger.exception("delivery %s: the notifier failed in a way it does not know", row.uid)
        raise DeliveryError("unknown", f"{notifier.key}: {type(error).__name__}") from None


def _keep_words(row: Delivery, owner: str, notifier: str, message: Message) -> None:
    """Before it is sent: what was sent can be shown, and looked for at the provider, whatever happens to us.

    Only whoever still has the lease may send: raises ``_NotOurs``.
    """
    words = {"subject": message.subject, "text": message.text, "html": message.html, "notifier": notifier}
    sms = row.contact.channel == Contact.Channel.SMS
    paid = {"segments": segments(message.text) if sms else 0}
    # Where it goes may be a credential; what the contact shows of it is not.
    mine = Delivery.objects.filter(pk=row.pk, lease_owner=owner, state=State.SENDING)
    if not mine.update(address=row.contact.address, **words, **paid):
        raise _NotOurs
    Delivery.objects.filter(carried_by=row.pk, lease_owner=owner).update(address=row.contact.address, **words)


# What became of it


def _finish(row: Delivery, owner: str, state: str, now: datetime, **fields: object) -> str | None:
    """Record an outcome, of what ``row`` carries too, if the lease is ours. The new state; None when it is not ours."""
    # Sent after all, although the lease ran out meanwhile: knowing is better than sending it once more.
    ours = [State.SENDING, State.UNKNOWN] if state == State.SENT else [State.SENDING]
    if state == State.QUEUED:
        # The next one that is claimed gathers them anew.
        fields |= {"finished_at": None, "carried_by": None}
    else:
        fields["finished_at"] = now
    return state if record_outcome(row, ours, {"lease_owner": owner}, {**fields, "state": state}, now) else None


def record_outcome(
    row: Delivery, before: Iterable[str], only: dict[str, Any], fields: dict[str, Any], now: datetime
) -> bool:
    """Change ``row`` and what it carries, where they are still in one of ``before`` and as ``only`` says.

    What is known to have been sent is not sent once more. False: somebody else was faster.
    """
    together = Q(pk=row.pk) | Q(carried_by=row.pk)
    incidents = set(Delivery.objects.filter(together).values_list("alert__incident", flat=True))
    with transaction.atomic():
        for incident in sorted(incidents):
            hold(incident)
        keys = list(Delivery.objects.filter(together).values_list("pk", flat=True))
        rows = Delivery.objects.filter(pk__in=keys, state__in=list(before), **only)
        if not rows.update(lease_until_at=None, **fields):
            return False
        if fields["state"] in (State.SENT, State.DELIVERED):
            again = Delivery.objects.filter(resends__in=keys, state=State.QUEUED)
            again.update(state=State.CANCELLED, finished_at=now)
        stamp(incidents)
    return True


def _failed(row: Delivery, owner: str, error: DeliveryError, now: datetime) -> str | None:
    problem = error.text[:500]
    if error.outcome == "unknown":
        logger.warning("delivery %s: outcome unknown: %s", row.uid, problem)
        return _finish(row, owner, State.UNKNOWN, now, problem=problem)
    if error.outcome == "rejected":
        return _rejected(row, owner, problem, now, unsubscribed=error.unsubscribed)
    if row.attempts >= GIVE_UP_LEAST and (now - row.created_at).total_seconds() > GIVE_UP_AFTER_S:
        logger.error("delivery %s: given up after %s attempts: %s", row.uid, row.attempts, problem)
        return _elsewhere(row, owner, problem, now)
    wait_s = backoff_s(row.attempts, error.retry_after_s, random.random())
    logger.info("delivery %s: not sent, again in %.0f s: %s", row.uid, wait_s, problem)
    return _finish(row, owner, State.QUEUED, now, problem=problem, not_before_at=now + timedelta(seconds=wait_s))


def _rejected(row: Delivery, owner: str, problem: str, now: datetime, *, unsubscribed: bool) -> str | None:
    """Switch the contact off, and give the recipient's next one its turn at once."""
    switch_off(row.contact, problem, now, unsubscribed=unsubscribed)
    return _elsewhere(row, owner, problem, now)


def switch_off(contact: Contact, problem: str, now: datetime, *, unsubscribed: bool) -> None:
    """Nothing more goes to ``contact`` until somebody mends it; ``unsubscribed``: until its owner wants it again."""
    if unsubscribed:
        opt_out(contact, now)
    rows = Contact.objects.filter(pk=contact.pk, disabled_at__isnull=True)
    rows.update(disabled_at=now, disabled_reason=problem[:300])


def _elsewhere(row: Delivery, owner: str, problem: str, now: datetime) -> str | None:
    """It failed; the recipient's next contact has its turn at once, for everything that the message said."""
    with transaction.atomic():
        said = [row, *carried(row)]
        state = _finish(row, owner, State.FAILED, now, problem=problem)
        if state is not None:
            queue_next(said, problem, now)
    return state


def queue_next(rows: Iterable[Delivery], problem: str, now: datetime) -> None:
    """Queue each of ``rows``, which failed with ``problem``, to the next contact of its recipient, if there is one."""
    for row in rows:
        following = _next_way(row, now)
        if following is None:
            logger.error("delivery %s: %s; %s has no other contact", row.uid, problem, row.alert.recipient.name)
            continue
        contact, quiet_until_at = following
        _queue_once(row, contact, now, **_due(quiet_until_at, now))


def _next_way(row: Delivery, now: datetime) -> tuple[Contact, datetime | None] | None:
    """The first usable contact that this alert has not gone to: of the same channel, else of any that suits.

    Where only quiet hours are in the way of all, with when they are over.
    """
    incident, late = row.alert.incident, known_late(row.alert) is not None
    tried = Delivery.objects.filter(alert=row.alert_id).values("contact")
    left = Contact.objects.usable().filter(recipient=row.alert.recipient_id).exclude(pk__in=tried)
    contacts = sorted(
        left.select_related("recipient").order_by("order", "id"), key=lambda one: one.channel != row.contact.channel
    )
    for contact in contacts:
        if suits(contact, incident, now, late=late):
            return contact, None
    return (contacts[0], quiet_until(contacts[0], incident, now)) if contacts and not late else None


def _queue_once(row: Delivery, contact: Contact, now: datetime, **more: Any) -> bool:
    """Queue another delivery of ``row``'s alert and hand it over on commit; False when somebody just did."""
    try:
        with transaction.atomic():
            made = queue(row.alert, contact, now, **more)
    except IntegrityError:
        return False
    transaction.on_commit(partial(hand_over, [made.uid], severity=row.alert.incident.severity))
    return True


# What the sweep asks for


def to_hand_over(now: datetime, *, grace_s: float, limit: int = 500) -> list[tuple[UUID, str, str, datetime]]:
    """Queued and due: uid, severity, service and since when; the critical first.

    A new one is given ``grace_s``, as whoever committed it is handing it over; one that was put off or failed is not.
    """
    rows = Delivery.objects.filter(state=State.QUEUED, not_before_at__lte=now).filter(
        Q(not_before_at__gt=F("created_at")) | Q(not_before_at__lte=now - timedelta(seconds=grace_s))
    )
    columns = ("uid", "alert__incident__severity", "contact__channel", "contact__address", "not_before_at")
    # Before the limit, or a backlog of ordinary ones would hide a critical one for as long as it lasts.
    urgent = Case(When(alert__incident__severity="critical", then=0), default=1)
    found = rows.order_by(urgent, "not_before_at").values_list(*columns)[:limit]
    return [(uid, severity, service(*where), at) for uid, severity, *where, at in found]


def any_unfinished(now: datetime) -> bool:
    """Whether any delivery may still change by itself: at rest there is none, and this is all it costs to know."""
    doubtful = Q(state=State.UNKNOWN, finished_at__gt=now - timedelta(seconds=RESEND_WITHIN_S))
    return Delivery.objects.filter(Q(state__in=(State.QUEUED, State.SENDING)) | doubtful).exists()


def count_overdue(now: datetime, *, since_s: float) -> int:
    """How many are queued and due for ``since_s``."""
    return Delivery.objects.filter(state=State.QUEUED, not_before_at__lte=now - timedelta(seconds=since_s)).count()


def cancel_unwanted(now: datetime) -> int:
    """Cancel what was queued again while somebody acknowledged. Returns how many."""
    rows = Delivery.objects.filter(state=State.QUEUED).exclude(alert__incident__state=Incident.State.OPEN)
    stray = [row for row in rows.select_related("alert__incident")[:500] if not wanted(row)]
    return sum(_cancel_stray(row, now) for row in stray)


def _cancel_stray(row: Delivery, now: datetime) -> int:
    with transaction.atomic():
        hold(row.alert.incident_id)
        cancelled = _cancel([row.pk], now)
        if cancelled:
            stamp([row.alert.incident_id])
    return cancelled


def expire_leases(now: datetime) -> int:
    """Whoever was sending has stopped: what had not left is queued again, the rest is unknown. Returns how many.

    A process of this machine that has ended is not waited for.
    """
    rows = Delivery.objects.filter(state=State.SENDING).select_related("alert").order_by("lease_until_at")[:500]
    return sum(_expire(row, now) for row in rows if _ran_out(row, now) or has_ended(row.lease_owner))


def _ran_out(row: Delivery, now: datetime) -> bool:
    return row.lease_until_at is not None and row.lease_until_at < now


def _expire(row: Delivery, now: datetime) -> bool:
    gone = not _ran_out(row, now)
    problem = GONE if gone else STOPPED
    ended: dict[str, Any] = {"state": State.UNKNOWN, "finished_at": now, "sender_ended": gone}
    if not row.notifier and (now - row.created_at).total_seconds() < GIVE_UP_AFTER_S:
        # Later each time: it may be this very message that ends whoever takes it.
        not_before_at = now + timedelta(seconds=backoff_s(row.attempts, None, 0.0))
        ended = {"state": State.QUEUED, "not_before_at": not_before_at, "carried_by": None}
    with transaction.atomic():
        hold(row.alert.incident_id)
        # By the notifier too: what leaves at this very moment is unknown, and found so by the next look.
        ours = Delivery.objects.filter(
            pk=row.pk, state=State.SENDING, lease_owner=row.lease_owner, notifier=row.notifier
        )
        if not ours.update(lease_until_at=None, problem=problem, **ended):
            return False
        stamp([row.alert.incident_id])
    logger.warning("delivery %s: %s; now %s", row.uid, problem, ended["state"])
    return True


def resend_unknown(now: datetime) -> int:
    """Send once more what may not have arrived, ``RESEND_AFTER_S`` later and once only. Returns how many.

    Where its contact was switched off meanwhile, whoever claims it gives the recipient's next one its turn.
    """
    due = Q(finished_at__lte=now - timedelta(seconds=RESEND_AFTER_S)) | Q(
        sender_ended=True, finished_at__lte=now - timedelta(seconds=GONE_RESEND_AFTER_S)
    )
    rows = Delivery.objects.filter(
        due,
        state=State.UNKNOWN,
        resent_as__isnull=True,
        finished_at__gt=now - timedelta(seconds=RESEND_WITHIN_S),
    ).exclude(alert__incident__state=Incident.State.RESOLVED)
    # Said as "is null" SQLite would find all that resend nothing by their index first: nearly every row.
    rows = rows.exclude(resends__isnull=False)
    found = rows.select_related("alert__incident", "contact").order_by("finished_at")[:500]
    return sum(_resend(row, now) for row in found if wanted(row))


def _resend(row: Delivery, now: datetime) -> bool:
    # What went together goes together again.
    due_at = now + timedelta(seconds=GATHER_AGAIN_S) if row.held in holding.TOGETHER else now
    with transaction.atomic():
        hold(row.alert.incident_id)
        if not _queue_once(row, row.contact, now, resends=row, held=row.held, not_before_at=due_at):
            return False
        stamp([row.alert.incident_id])
    return True
