"""Who is told of an incident, by what, and who next when nobody acknowledges.

Decided in the caller's transaction as rows, Alerts and their Deliveries; sending is another matter (``delivery``). Each
step of an escalation is claimed by a conditional UPDATE of its incident, open and with just so many steps taken: the
same row that an acknowledgement changes. So a step is taken once, by whichever sweep comes first, and none after.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from uuid import UUID

from django.db import Error as DatabaseError
from django.db import models, transaction
from django.db.models import Max, Prefetch, Q

from alerts import duty, mutes
from alerts.announce import stamp
from alerts.delivery import channels_pending, hand_over, queue_all, quiet_until, suits
from alerts.escalation import IMPLICIT, Plan, next_at, told_otherwise
from alerts.grouping import SITE_OUTAGE
from alerts.models import Alert, Contact, EscalationStep, Incident, Recipient, Rota, Rule

logger = logging.getLogger(__name__)

AT_ONCE = 200
"""Steps of one look. What is left is due still, and taken a second later."""

Reason = Alert.Reason


@dataclass(slots=True)
class Decided:
    """What one transaction changed: incidents by key, and the deliveries that it made, by severity."""

    touched: set[int] = field(default_factory=set)
    deliveries: dict[str, list[UUID]] = field(default_factory=dict)

    def tell(self, incident: Incident, severity: str, uids: Iterable[UUID]) -> None:
        self.touched.add(incident.pk)
        self.deliveries.setdefault(severity, []).extend(uids)

    def conclude(self) -> None:
        """Advance ``changes``, last in the transaction; hand over and announce once it is committed."""
        if not self.touched:
            return
        stamp(self.touched)
        for severity, uids in self.deliveries.items():
            if uids:
                transaction.on_commit(partial(hand_over, uids, severity=severity))


# Steps


@dataclass(frozen=True, slots=True)
class _Course:
    """How a rule escalates. A policy is read as it stands, so an edit holds from the next step on."""

    rule: Rule | None
    steps: tuple[EscalationStep, ...]
    plan: Plan

    @classmethod
    def of(cls, rule: Rule | None) -> _Course:
        policy = rule.policy if rule is not None else None
        steps = tuple(policy.steps.order_by("order")) if policy is not None else ()
        if policy is None or not steps:
            return cls(rule, (), IMPLICIT)
        return cls(rule, steps, Plan(tuple(float(step.wait_s) for step in steps), policy.repeats))

    def reached(self, taken: int) -> list[int]:
        """The steps whose people know by now, each once; the first one in any case."""
        return sorted({self.plan.index(number) for number in range(max(1, taken))}) if self.steps else [0]


def inform(incident: Incident, reason: Alert.Reason, decided: Decided, now: datetime) -> None:
    """There is news of ``incident``: the first step of its escalation, or word to those that it has reached by now.

    In the caller's transaction, which has changed the incident already. Steps that a ``stop`` held up go on after it.
    """
    course = _Course.of(incident.rule)
    if incident.steps_taken == 0 and incident.state == Incident.State.OPEN:
        _take(incident, course, reason, decided, now)
        return
    for index in course.reached(incident.steps_taken):
        _tell_step(incident, course, index, reason, decided, now, step=incident.news)
    due_at = told_otherwise(course.plan, incident.steps_taken, incident.next_step_at, now)
    if due_at is None and incident.state == Incident.State.OPEN:
        due_at = next_at(course.plan, incident.steps_taken, now)
    if due_at != incident.next_step_at:
        _next_at(incident, due_at)


def take_due_steps(now: datetime) -> int:
    """Take the step of every open incident whose time has come; returns how many. Safe to call at any moment.

    One that cannot be taken holds no other up; the auditor finds it. Raises the database's errors.
    """
    due = Incident.objects.filter(state=Incident.State.OPEN, next_step_at__lte=now)
    found = due.select_related("rule__policy", "site").order_by("next_step_at", "pk")[:AT_ONCE]
    return sum(_take_guarded(incident, now) for incident in found)


def _take_guarded(incident: Incident, now: datetime) -> bool:
    try:
        return _take_due(incident, now)
    except DatabaseError:
        raise
    except Exception:
        logger.exception("incident %s: its next step was not taken; those of others are", incident.uid)
        return False


def _take_due(incident: Incident, now: datetime) -> bool:
    with transaction.atomic():
        decided = Decided()
        reason = Reason.REMINDER if incident.steps_taken else Reason.OPENED
        _take(incident, _Course.of(incident.rule), reason, decided, now)
        decided.conclude()
    return bool(decided.touched)


def _take(incident: Incident, course: _Course, reason: Alert.Reason, decided: Decided, now: datetime) -> None:
    """Take the next step unless somebody did, or has the incident by now, or wants no more of it."""
    plan, number = course.plan, incident.steps_taken
    if number >= plan.count:
        _next_at(incident, None)  # the policy became shorter meanwhile
        return
    if not _claim(incident):
        return
    decided.touched.add(incident.pk)
    reached = _tell_step(incident, course, number, reason, decided, now, step=_alert_step(incident, number))
    again = reached is not None or not plan.tells_again
    _next_at(incident, next_at(plan, number + 1, now, reached=bool(reached)) if again else None)


def _alert_step(incident: Incident, number: int) -> int:
    """The number of the step; after a reopening, when they begin anew, it goes on from those before."""
    last: int | None = incident.alerts.aggregate(last=Max("step"))["last"]
    return number if last is None else max(number, last + 1)


def _claim(incident: Incident) -> bool:
    """Whether the next step is ours. It is not where anything of the row is not as we read it."""
    number = incident.steps_taken
    rows = Incident.objects.filter(pk=incident.pk, state=Incident.State.OPEN, steps_taken=number)
    if incident.next_step_at is not None:
        rows = rows.filter(next_step_at=incident.next_step_at)
    if not rows.update(steps_taken=number + 1, next_step_at=None):
        return False
    incident.steps_taken = number + 1
    return True


def _next_at(incident: Incident, at: datetime | None) -> None:
    Incident.objects.filter(pk=incident.pk, steps_taken=incident.steps_taken).update(next_step_at=at)
    incident.next_step_at = at


def stop(incident: Incident) -> None:
    """Take no further step of ``incident``, although it is open: somebody wants no more of it."""
    Incident.objects.filter(pk=incident.pk).update(next_step_at=None)
    incident.next_step_at = None


def go_on(incident: Incident, now: datetime) -> bool:
    """Take the steps that are left after a ``stop``, the next one at once. False: there is none, or it is not open."""
    if incident.steps_taken >= _Course.of(incident.rule).plan.count:
        return False
    rows = Incident.objects.filter(pk=incident.pk, state=Incident.State.OPEN, steps_taken=incident.steps_taken)
    return bool(rows.filter(next_step_at__isnull=True).update(next_step_at=now))


@dataclass(frozen=True, slots=True)
class Upcoming:
    """The step that is taken next unless somebody acknowledges.

    ``again``: the same people are told once more. Else ``duties`` are the rotas of the step, each with who will have
    the duty (empty: nobody), ``names`` its people and teams, and ``channels`` the only ways to use, if not all.
    """

    at: datetime
    again: bool = False
    duties: tuple[tuple[str, str], ...] = ()
    names: tuple[str, ...] = ()
    channels: tuple[str, ...] = ()


def upcoming(incident: Incident) -> Upcoming | None:
    """What happens next by itself; None: nothing."""
    if incident.state != Incident.State.OPEN or incident.next_step_at is None:
        return None
    course, number = _Course.of(incident.rule), incident.steps_taken
    if number >= course.plan.count:
        return None
    if not course.steps:
        return Upcoming(incident.next_step_at, again=True)
    return _foreseen(course.steps[course.plan.index(number)], incident.next_step_at)


def _foreseen(step: EscalationStep, at: datetime) -> Upcoming:
    on = {row: duty.on_duty(row, at) for row in step.rotas.all()}
    people = dict(Recipient.objects.filter(pk__in=[key for key in on.values() if key]).values_list("pk", "name"))
    return Upcoming(
        at,
        duties=tuple((row.name, people.get(key or 0, "")) for row, key in on.items()),
        names=(*step.recipients.values_list("name", flat=True), *step.teams.values_list("name", flat=True)),
        channels=tuple(step.channels),
    )


# Whom


def _tell_step(
    incident: Incident,
    course: _Course,
    number: int,
    reason: Alert.Reason,
    decided: Decided,
    now: datetime,
    *,
    step: int,
) -> int | None:
    """Tell the people of a step. Returns how many messages reach them, those on their way included; None: no people."""
    # Where an earlier message still waits for its channel, another would only make two of it.
    without = channels_pending(incident.pk) if reason is Reason.REMINDER else frozenset()
    waited_for = {person for person, _channel in channels_pending(incident.pk, quiet=False)} if without else set()
    told, reached = False, 0
    for people, channels in _groups(incident, course, number, now):
        reached += sum(person.pk in waited_for for person in people)
        for uids in tell(incident, reason, people, now, step=step, without=without, channels=channels):
            decided.tell(incident, incident.severity, uids)
            told, reached = True, reached + len(uids)
    return reached if told or reached else None


def _groups(
    incident: Incident, course: _Course, number: int, now: datetime
) -> Iterable[tuple[list[Recipient], Collection[str]]]:
    """The people of a step with the channels by which they are told; none: by all."""
    if not course.steps and number:
        # Those who were told, whoever the rule tells by now.
        yield reachable(Recipient.objects.filter(alerts__incident=incident).distinct()), ()
        return
    if number == 0:
        yield reachable(_named(incident)), ()
    if course.steps:
        step = course.steps[course.plan.index(number)]
        yield reachable(Recipient.objects.filter(pk__in=people_of(step, now))), step.channels


def _named(incident: Incident) -> models.QuerySet[Recipient]:
    """Those of its rule; of a site's outage those of its cameras' health rules; and whoever was named for it."""
    site_is_out = incident.kind == SITE_OUTAGE
    rules = mutes.health_rules(incident.site) if site_is_out else Rule.objects.filter(incidents=incident)
    chosen = Recipient.objects.filter(Q(rules__in=rules) | Q(incidents=incident))
    return Recipient.objects.filter(pk__in=chosen.values("pk"))


def names_somebody(incident: Incident) -> bool:
    """Whether somebody is to be told of ``incident``. A rule that names nobody at all is meant so."""
    return (incident.rule is not None and incident.rule.policy_id is not None) or _named(incident).exists()


def people_of(step: EscalationStep, at: datetime) -> set[int]:
    """The keys of everybody whom ``step`` tells at ``at``."""
    named = Recipient.objects.filter(Q(steps=step) | Q(teams__steps=step)).values_list("pk", flat=True)
    on = (duty.on_duty(row, at) for row in Rota.objects.filter(steps=step))
    return {*named, *(person for person in on if person is not None)}


def reachable(recipients: models.QuerySet[Recipient]) -> list[Recipient]:
    """The active ones, with their usable contacts in order in ``usable``."""
    usable = Contact.objects.usable().order_by("order", "id")
    return list(recipients.filter(active=True).prefetch_related(Prefetch("contacts", usable, to_attr="usable")))


def tell(
    incident: Incident,
    reason: Alert.Reason,
    recipients: Iterable[Recipient],
    now: datetime,
    *,
    step: int,
    without: frozenset[tuple[int, str]] = frozenset(),
    channels: Collection[str] = (),
) -> list[list[UUID]]:
    """Create the alerts and their deliveries; returns the uids of those due now for each recipient who is told.

    ``without``: pairs of recipient key and channel that are left out, as something is on its way there still.
    ``channels``: the only ones to use; none: all. The caller holds the incident, so nobody tells the same meanwhile.
    """
    told = set(incident.alerts.filter(reason=reason, step=step).values_list("recipient", flat=True))
    chosen: list[tuple[Alert, list[_Way]]] = []
    for recipient in recipients:
        ways = [
            (contact, quiet_until_at)
            for contact, quiet_until_at in _ways(recipient, incident, now, channels)
            if (recipient.pk, contact.channel) not in without
        ]
        if recipient.pk not in told and (ways or not without):
            alert = Alert(incident=incident, recipient=recipient, reason=reason, step=step, created_at=now)
            chosen.append((alert, ways))
    Alert.objects.bulk_create([alert for alert, _ in chosen])
    made = queue_all([(alert, *way) for alert, ways in chosen for way in ways], now)
    return [[row.uid for row in made if row.alert is alert and not row.held] for alert, _ in chosen]


_Way = tuple[Contact, datetime | None]
"""A contact, and until when its owner's quiet hours put it off."""


def _ways(recipient: Recipient, incident: Incident, now: datetime, channels: Collection[str]) -> list[_Way]:
    """How ``recipient`` is told now; where only quiet hours are in the way of all, how when they are over."""
    contacts = [
        contact
        for contact in first_of_each_channel(recipient.usable)  # type: ignore[attr-defined]
        if not channels or contact.channel in channels
    ]
    late = incident.late
    suitable: list[_Way] = [(contact, None) for contact in contacts if suits(contact, incident, now, late=late)]
    if suitable or late:
        return suitable
    return [(contact, quiet_until(contact, incident, now)) for contact in contacts]


def first_of_each_channel(contacts: Iterable[Contact]) -> list[Contact]:
    """The first contact of each channel; the others stand in when it is rejected."""
    chosen: dict[str, Contact] = {}
    for contact in contacts:
        chosen.setdefault(contact.channel, contact)
    return list(chosen.values())
