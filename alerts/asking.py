"""Why did it not fire, on one camera at one moment: the archive's minutes, and what the database knows of them.

Whether a rule fired is said by the rows. What kept it from firing is said by the archive, and where the rule as it is
now differs from the one that ran then, whether that one would have fired. Changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from uuid import UUID

import msgspec
from django.db.models import Q, QuerySet

from alerts.archive_rows import Batch
from alerts.delivery import State as Delivered
from alerts.events import Event
from alerts.history import newest_version
from alerts.model_labels import labels_by_model
from alerts.models import Alert, Incident, IncidentTransition, Rule, RuleVersion
from alerts.models import Event as EventRow
from alerts.proposing import archive_reader
from alerts.rehearsal_items import Reader
from alerts.rules.config import EmbeddedRule
from alerts.rules.sequence import sequence_of
from alerts.why import AROUND_S, Answer, Question, Step, why_not
from streams.models import Camera

AROUND = timedelta(seconds=AROUND_S)
LONG_AGO = timedelta(days=1)
MOST_EVENTS = 1000


@dataclass(frozen=True, slots=True)
class Walk:
    """One rule's way through the stages, with what the rows say of it.

    ``then`` is the version that was walked, ``before`` its newest one, which ``changed`` would change. ``fires_now``:
    that one, another than the version of the moment, would have fired as it is. ``incident`` is what it became, or
    where it did not fire for having done so already, what it had become.
    """

    rule: Rule
    answer: Answer
    then: EmbeddedRule | None = None
    before: EmbeddedRule | None = None
    changed: EmbeddedRule | None = None
    fires_now: bool = False
    incident: Incident | None = None
    alerts: tuple[Alert, ...] = ()

    @property
    def fired(self) -> bool:
        """Whether it is on record."""
        return any(step.stage == "rule" and step.passed for step in self.answer.steps)


def ask(camera: Camera, at: datetime, rules: Sequence[Rule], *, read: Reader | None = None) -> list[Walk]:
    """The walk of each of ``rules``, which have a zone on ``camera``. Blocks on the disk. Raises ``OSError``."""
    asked = [_Rule(rule, camera, at) for rule in rules]
    events, makers = _of_sequences(camera, at, [one.then for one in asked if one.then is not None])
    question = Question(
        camera=camera.uid,
        at=at,
        rules=[rule for one in asked for rule in (one.then, one.now) if rule is not None],
        knows=labels_by_model(),
        events=events,
        makers=makers,
    )
    batches: list[Batch] = list((read or archive_reader())(camera.uid, question.from_at, question.until_at, None))
    return [one.walk(replace(question, rules=[]), batches) for one in asked]


class _Rule:
    """One rule, as it was then (``then``) and, where that is another one, as it is now (``now``)."""

    def __init__(self, rule: Rule, camera: Camera, at: datetime) -> None:
        self.rule, self._camera, self._at = rule, camera, at
        version = _version_at(rule, at)
        self.then = None if version is None else _embedded(version)
        newest = newest_version(rule)
        self.before = None if newest is None else _embedded(newest)
        self.now = None if self.before is None else self._wide(self.before)
        if self.then is not None and self.before is not None and self.then.version == self.before.version:
            in_force = self.then.active_from_at <= at and (
                self.then.active_until_at is None or at < self.then.active_until_at
            )
            self.now = None if in_force else self.now

    def _wide(self, rule: EmbeddedRule) -> EmbeddedRule:
        return msgspec.structs.replace(rule, active_from_at=self._at - LONG_AGO, active_until_at=None)

    def walk(self, question: Question, batches: Iterable[Batch]) -> Walk:
        if self.then is None:
            never = Step(stage="rule", passed=False, bound="unreadable")
            return Walk(self.rule, Answer(rule=self.rule.uid, version=self.rule.uid, steps=[never]))
        [answer] = why_not(replace(question, rules=[self.then]), batches)
        if (row := self._recorded()) is not None:
            return self._fired(answer, row)
        if answer.fired:
            unrecorded = Step(stage="rule", passed=False, bound="unrecorded")
            return Walk(self.rule, msgspec.structs.replace(answer, steps=[*answer.steps[:-1], unrecorded]), self.then)
        walk = Walk(self.rule, answer, self.then, self.before, answer.changed, incident=self._earlier(answer))
        if self.now is None:
            return walk
        [again] = why_not(replace(question, rules=[self.now]), batches)
        return replace(walk, changed=again.changed, fires_now=bool(again.fired))

    def _rows(self) -> QuerySet[EventRow]:
        rows = EventRow.objects.filter(rule_version__rule=self.rule, camera=self._camera, incident__isnull=False)
        return rows.select_related("incident__camera", "incident__site", "incident__rule").order_by("happened_at", "id")

    def _recorded(self) -> EventRow | None:
        near = Q(happened_at__gte=self._at - AROUND, happened_at__lte=self._at + AROUND)
        return self._rows().filter(near).first()

    def _earlier(self, answer: Answer) -> Incident | None:
        """What it had fired before, where that is why it did not fire now."""
        if not any(step.bound in ("already", "rearm", "not_back") for step in answer.steps):
            return None
        row = self._rows().filter(happened_at__lt=self._at).last()
        return row.incident if row is not None else None

    def _fired(self, answer: Answer, row: EventRow) -> Walk:
        """The rows say that it fired: whatever the archive lacks of it, nothing before the rule stopped it."""
        before = [step for step in answer.steps if step.stage != "rule" and step.passed]
        done = Step(stage="rule", passed=True, got=row.happened_at.isoformat())
        alerts = _alerts(row)
        steps = [*before, done, *_after(row, alerts)]
        told = msgspec.structs.replace(answer, steps=steps, changed=None)
        return Walk(self.rule, told, self.then, incident=row.incident, alerts=alerts)


def _version_at(rule: Rule, at: datetime) -> RuleVersion | None:
    """The version of that moment, on or off; where there was none yet, the first."""
    versions = rule.versions.order_by("-number")
    return versions.filter(active_from_at__lte=at).first() or versions.last()


def _embedded(version: RuleVersion) -> EmbeddedRule | None:
    """As it acted; None where it cannot be read any more. One that only words differ in embeds the dates of another."""
    try:
        rule = msgspec.convert(version.embedded, EmbeddedRule)
    except msgspec.ValidationError:
        return None
    return msgspec.structs.replace(rule, active_from_at=version.active_from_at, active_until_at=version.active_until_at)


def _of_sequences(
    camera: Camera, at: datetime, rules: Sequence[EmbeddedRule]
) -> tuple[list[Event], list[EmbeddedRule]]:
    """The events that the sequences among ``rules`` wait for, and the versions that fired them."""
    configs = [config for rule in rules if (config := sequence_of(rule)) is not None]
    if not configs:
        return [], []
    wanted = {UUID(uid) for config in configs for uid in (config.first, config.then)}
    since = at - max(timedelta(seconds=2 * config.within_s + config.rearm_s) for config in configs)
    versions = {row.pk: rule for row in _versions(wanted) if (rule := _embedded(row)) is not None}
    rows = EventRow.objects.filter(
        rule_version__in=versions, camera__site=camera.site, happened_at__gt=since, happened_at__lte=at + AROUND
    )
    newest = rows.order_by("-happened_at", "-id").values_list("content", flat=True)[:MOST_EVENTS]
    events = [event for content in newest if (event := _event(content)) is not None]
    return events[::-1], list(versions.values())


def _versions(rules: set[UUID]) -> Iterable[RuleVersion]:
    return RuleVersion.objects.filter(rule__uid__in=rules)


def _event(content: object) -> Event | None:
    try:
        return msgspec.convert(content, Event)
    except msgspec.ValidationError:
        return None  # older than its form


# Behind the rule.


def _alerts(row: EventRow) -> tuple[Alert, ...]:
    """What was decided with this event: an alert carries the time at which its event became known."""
    alerts = Alert.objects.filter(incident=row.incident, created_at=row.known_at).select_related("recipient")
    return tuple(alerts.prefetch_related("deliveries__contact", "deliveries__alert").order_by("recipient__name"))


def _after(row: EventRow, alerts: Sequence[Alert]) -> list[Step]:
    incident = row.incident
    assert incident is not None
    if not alerts and incident.opened_at < row.known_at:
        return [Step(stage="silence", passed=False, bound="repeat", got=incident.opened_at.isoformat())]
    muted = incident.transitions.filter(action=IncidentTransition.Action.MUTE).last()
    if not alerts and muted is not None:
        why = muted.note or muted.after
        return [Step(stage="silence", passed=False, bound="muted", wanted=why, got=muted.at.isoformat())]
    late = any(alert.reason == Alert.Reason.LATE for alert in alerts)
    waited_s = round((row.known_at - row.happened_at).total_seconds(), 1)
    silence = Step(stage="silence", passed=True, bound="late" if late else "", got=waited_s if late else "")
    return [silence, _delivery(alerts)]


def _delivery(alerts: Sequence[Alert]) -> Step:
    if not alerts:
        return Step(stage="delivery", passed=False, bound="nobody")
    states = {delivery.state for alert in alerts for delivery in alert.deliveries.all()}
    if not states:
        names = ", ".join(alert.recipient.name for alert in alerts)
        return Step(stage="delivery", passed=False, bound="contact", got=names)
    if states & {Delivered.SENT, Delivered.DELIVERED}:
        return Step(stage="delivery", passed=True)
    order = (Delivered.SENDING, Delivered.QUEUED, Delivered.UNKNOWN, Delivered.CANCELLED, Delivered.FAILED)
    return Step(stage="delivery", passed=False, bound=next(str(state) for state in order if state in states))
