"""Each minute: has anybody been forgotten? What is found becomes an incident of its own, told to the administrators.

It looks at rows alone, so it finds what went wrong whoever did it. It tells by another way than the one in trouble,
where an administrator has one.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import Exists, F, OuterRef, Q, QuerySet
from django.db.models.functions import Coalesce

from alerts import budgets, duty, opening, spending
from alerts.announce import stamp
from alerts.delivery import hand_over, queue
from alerts.models import Alert, Contact, Delivery, Incident, Recipient, Severity
from alerts.opening import Opened
from alerts.telling import first_of_each_channel, names_somebody
from streams.models import Site

logger = logging.getLogger(__name__)

KIND = "system"
HEARD_WITHIN_S = 60.0
"""A rejected contact's successor is queued in the same moment, and one of unknown outcome has had its second try."""
UNSENT_S = 30.0
STOPPED_S = 60.0
TELL_AGAIN = timedelta(hours=1)
"""While its incident is not resolved: something newer of the same kind is told no sooner."""
LOOK_BACK = timedelta(days=1)
ZONE_LENGTH = 100
MOST = 200
"""Rows of one look; what is said of them is cut long before."""

State = Delivery.State


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that ought not to be. ``about`` is put into its sentence; ``channels`` are those in trouble."""

    code: str
    about: str
    at: datetime
    channels: frozenset[str] = frozenset()


def unheard(now: datetime) -> Iterator[Finding]:
    """Open incidents with alerts of which nothing got out, and nothing will; and those without any alert."""
    alerts, untold = _unheard_alerts(now), _told_to_nobody(now)
    since = [row.created_at for row in alerts] + [row.reopened_at or row.opened_at for row in untold]
    if since:
        tried = Delivery.objects.filter(alert__in=alerts).values_list("contact__channel", flat=True)
        about = _places([*(row.incident for row in alerts), *untold])
        yield Finding("unheard", about, max(since), frozenset(tried))


def _unheard_alerts(now: datetime) -> list[Alert]:
    """The newest of them. What was cancelled before an incident was reopened is told anew since."""
    on_the_way = Q(state__in=(State.QUEUED, State.SENDING, State.SENT, State.DELIVERED))
    doubtful = Q(state=State.UNKNOWN, finished_at__gt=now - timedelta(minutes=3))
    deliveries = Delivery.objects.filter(alert=OuterRef("pk"))
    beside = Delivery.objects.filter(on_the_way | doubtful, alert__incident=OuterRef("incident"))
    rows = Alert.objects.filter(incident__in=_open_incidents(), created_at__gt=now - LOOK_BACK)
    rows = rows.filter(created_at__lte=now - timedelta(seconds=HEARD_WITHIN_S))
    rows = rows.exclude(created_at__lt=F("incident__reopened_at"), incident__reopened_at__isnull=False)
    # Of people who could be told and were not, by decision: known late, or the ways that a step uses; but somebody was.
    usable = Contact.objects.usable().filter(recipient=OuterRef("recipient"))
    left_out = ~Exists(deliveries) & Exists(usable) & (Q(incident__late=True) | Exists(beside))
    rows = rows.exclude(Exists(deliveries.filter(on_the_way | doubtful))).exclude(left_out)
    return list(rows.select_related("incident__camera", "incident__site").order_by("-created_at")[:MOST])


def _told_to_nobody(now: datetime) -> list[Incident]:
    """The newest of those that somebody is to be told of, and that nobody was: nobody of them is in use."""
    began_at = Coalesce("reopened_at", "opened_at")
    alerts = Alert.objects.filter(incident=OuterRef("pk"), created_at__gte=OuterRef("began_at"))
    rows = _open_incidents().filter(muted_by="").annotate(began_at=began_at)
    rows = rows.filter(began_at__gt=now - LOOK_BACK, began_at__lte=now - timedelta(seconds=HEARD_WITHIN_S))
    found = rows.filter(~Exists(alerts)).select_related("camera", "site", "rule").order_by("-began_at")[:MOST]
    return [row for row in found if names_somebody(row)]


def _open_incidents() -> QuerySet[Incident]:
    return Incident.objects.filter(state=Incident.State.OPEN).exclude(kind=KIND)


def _places(rows: Iterable[Incident]) -> str:
    """The cameras of ``rows``, as many as fit."""
    names = dict.fromkeys(row.camera.name if row.camera else row.site.name for row in rows)
    return ", ".join(names)[:ZONE_LENGTH]


def stopped(now: datetime) -> Iterator[Finding]:
    """Open incidents whose next step ought to have been taken."""
    patience = timedelta(seconds=STOPPED_S)
    overdue = Incident.objects.filter(state=Incident.State.OPEN, next_step_at__lte=now - patience)
    row = overdue.select_related("camera", "site").order_by("-next_step_at").first()
    if row is not None and row.next_step_at is not None:
        yield Finding("stopped", _places([row]), row.next_step_at + patience)


def broken_rotas(now: datetime) -> Iterator[Finding]:
    """Rotas by which rules tell, and which at this moment tell nobody."""
    found = duty.broken(now, LOOK_BACK)
    if found:
        names = ", ".join(rota.name for rota, _gap in found)
        yield Finding("rota", names[:ZONE_LENGTH], max(gap.from_at for _rota, gap in found))


def unsent(now: datetime) -> Iterator[Finding]:
    """Messages that ought to have left, tried in vain or not at all, and are not held for a reason that is shown."""
    patience = now - timedelta(seconds=UNSENT_S)
    # Each failure puts it off, so that by its own time it is never late.
    ought = Q(held="") | Q(attempts__gt=0) | Q(not_before_at__lte=patience)
    due = Delivery.objects.filter(ought, state=State.QUEUED, created_at__lte=patience, alert__incident__muted_by="")
    channels = sorted(set(due.values_list("contact__channel", flat=True)))
    if channels:
        yield Finding("unsent", f"{due.count()} ({', '.join(channels)})", now, frozenset(channels))


def month(now: datetime) -> Iterator[Finding]:
    """SMS that run low before the month is over; once a month."""
    ceiling = settings.SMS_PER_MONTH
    used = spending.month_used(now) if ceiling else 0
    if budgets.share(used, ceiling) >= budgets.WARN_SHARE:
        yield Finding(
            "sms-month", f"{used} / {ceiling}", spending.month_begins_at(now), frozenset({Contact.Channel.SMS})
        )


HARMLESS = frozenset({"sms-month", "rota"})
"""What people have to see to while everything here works."""

CHECKS: tuple[Callable[[datetime], Iterable[Finding]], ...] = (unheard, stopped, broken_rotas, unsent, month)


def audit(now: datetime) -> list[Finding]:
    """Look for everything, and tell what is new of it. A check that fails is a finding itself; the others run."""
    found: list[Finding] = []
    for check in CHECKS:
        try:
            found += check(now)
        except Exception:
            logger.exception("the auditor's check %r failed; the others run", check.__name__)
            found.append(Finding("unchecked", "", now))
    for finding in found:
        _tell(finding, now)
    return found


def _tell(finding: Finding, now: datetime) -> None:
    """Open its incident, or go on with the one that is; nothing where somebody closed one over the very same."""
    key = f"system:{finding.code}"
    known = Incident.objects.filter(group_key=key).order_by("-pk").first()
    if known is not None and known.state != Incident.State.RESOLVED:
        if known.last_event_at < finding.at:
            _go_on(known, finding, now)
        return
    if known is not None and known.resolved_at is not None and known.resolved_at >= finding.at:
        return
    logger.error("the auditor found: %s: %s", finding.code, finding.about)
    site = Site.objects.order_by("pk").first()
    if site is not None:
        _open(finding, key, site, now)


def _go_on(incident: Incident, finding: Finding, now: datetime) -> None:
    """Something newer is found while ``incident`` is not resolved: whoever has it shall not hear of the first only."""
    recent = incident.alerts.filter(created_at__gt=now - TELL_AGAIN).exists()
    about = {"zone_name": finding.about[:ZONE_LENGTH], "last_event_at": finding.at}
    with transaction.atomic():
        # Of two sweeps one finds the row as it was read.
        rows = Incident.objects.filter(pk=incident.pk, last_event_at=incident.last_event_at, news=incident.news)
        rows = rows.exclude(state=Incident.State.RESOLVED)
        if not rows.update(event_count=F("event_count") + 1, news=incident.news + (not recent), **about):
            return
        incident.refresh_from_db()
        made = [] if recent else list(_decide(incident, finding, now, Alert.Reason.AGAIN, step=incident.news))
        _conclude(incident, made, now)


def _open(finding: Finding, key: str, site: Site, now: datetime) -> None:
    try:
        with transaction.atomic():
            incident = Incident(
                group_key=key,
                kind=KIND,
                label=finding.code,
                severity=Severity.CRITICAL,
                site=site,
                zone_name=finding.about[:ZONE_LENGTH],
                happened_at=now,
                opened_at=now,
                last_event_at=now,
                event_count=1,
            )
            opening.insert([incident], Opened(through="auditor"), now)
            _conclude(incident, _decide(incident, finding, now, Alert.Reason.OPENED), now)
    except IntegrityError:
        return  # another sweep was faster


def _conclude(incident: Incident, decided: Iterable[tuple[Alert, Contact]], now: datetime) -> None:
    """Queue what was decided, last in its transaction."""
    uids = [queue(alert, contact, now).uid for alert, contact in decided]
    stamp([incident.pk])
    transaction.on_commit(partial(hand_over, uids, severity=incident.severity))


def _decide(
    incident: Incident, finding: Finding, now: datetime, reason: Alert.Reason, step: int = 0
) -> Iterator[tuple[Alert, Contact]]:
    """An alert for each administrator, by every channel that is not in trouble, else by those that are."""
    for person in administrators():
        alert = Alert.objects.create(incident=incident, recipient=person, reason=reason, step=step, created_at=now)
        usable = list(Contact.objects.usable().filter(recipient=person).order_by("order", "id"))
        others = [contact for contact in usable if contact.channel not in finding.channels]
        for contact in first_of_each_channel(others or usable):
            yield alert, contact


def administrators() -> QuerySet[Recipient]:
    """Recipients whose accounts may configure."""
    return Recipient.objects.filter(active=True, user__is_active=True, user__is_staff=True)
