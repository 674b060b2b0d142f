"""Incidents: the one place of their transactions.

Nothing here relies on ``select_for_update``. Who opens an incident is decided by a unique index, who extends or moves
it by a conditional UPDATE; whoever loses either looks again. So it is right on SQLite and PostgreSQL alike, with any
number of writers.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.db import IntegrityError, models, transaction
from django.db.models import F, Value
from django.db.models.functions import Greatest

from alerts.announce import stamp
from alerts.delivery import cancel_queued
from alerts.events import SEVERITIES, Event, to_json
from alerts.models import Alert, Incident, IncidentTransition, RuleVersion
from alerts.models import Event as EventRow
from alerts.telling import Decided, inform
from streams.models import Camera

if TYPE_CHECKING:
    from django.contrib.auth.models import AbstractBaseUser

logger = logging.getLogger(__name__)

TRIES = 5
"""An incident can be resolved between looking and extending; nobody resolves five in a row."""

State = Incident.State

LEGAL: Mapping[str, frozenset[str]] = {
    State.OPEN: frozenset({State.ACKNOWLEDGED, State.RESOLVED}),
    State.ACKNOWLEDGED: frozenset({State.RESOLVED}),
    State.RESOLVED: frozenset(),
}
"""Every transition there is."""


class IllegalTransition(ValueError):
    """An incident cannot go from where it is to where it was asked to."""

    def __init__(self, uid: UUID, before: str, after: str) -> None:
        allowed = ", ".join(sorted(LEGAL[before])) or "nothing"
        super().__init__(
            f"incident {uid}: it is {before}, from where it can become {allowed}, not {after}; reload it first"
        )
        self.before, self.after = before, after


# Events


def record(events: Sequence[Event], *, now: datetime) -> None:
    """Store ``events``, open or extend their incidents, and decide who is told, in the caller's transaction.

    An event that is stored already changes nothing, so giving the same ones again is harmless.
    """
    with transaction.atomic():
        batch = _Batch.of(events)
        decided = Decided()
        for event in events:
            _record_one(event, batch, decided, now)
        decided.conclude()


@dataclass(slots=True)
class _Batch:
    """What the database knows of a batch of events, read once instead of once an event.

    ``unresolved``: incidents that this transaction has changed, by group; until it ends nobody else can change them.
    """

    cameras: Mapping[UUID, Camera]
    versions: Mapping[UUID, RuleVersion]
    stored: set[UUID]
    unresolved: dict[str, Incident] = field(default_factory=dict)

    @classmethod
    def of(cls, events: Sequence[Event]) -> _Batch:
        cameras = Camera.objects.select_related("site").filter(uid__in={event.camera for event in events})
        versions = RuleVersion.objects.select_related("rule__policy").filter(
            uid__in={event.rule_version for event in events if event.rule_version}
        )
        stored = EventRow.objects.filter(uid__in={event.uid for event in events}).values_list("uid", flat=True)
        return cls({row.uid: row for row in cameras}, {row.uid: row for row in versions}, set(stored))


def _record_one(event: Event, batch: _Batch, decided: Decided, now: datetime) -> None:
    if event.uid in batch.stored:
        return
    camera = batch.cameras.get(event.camera)
    if camera is None:
        logger.error("event %s: its camera %s is no longer there; set aside", event.uid, event.camera)
        return
    batch.stored.add(event.uid)
    version = batch.versions.get(event.rule_version) if event.rule_version else None
    key = group_key(event, version)
    try:
        with transaction.atomic():
            incident, reason = _open_or_extend(event, camera, version, key, batch, now)
            _insert(event, camera, version, incident, now)
    except IntegrityError:
        if not EventRow.objects.filter(uid=event.uid).exists():
            raise
        # Somebody else stored the same event since we looked: what it did to the incident has been done by them.
        batch.unresolved.pop(key, None)
        return
    batch.unresolved[key] = incident
    decided.touched.add(incident.pk)
    if reason is not None and version is not None:
        inform(incident, version.rule, reason, decided, now)


def _insert(event: Event, camera: Camera, version: RuleVersion | None, incident: Incident, now: datetime) -> None:
    """Store the event. Raises ``IntegrityError`` when it is stored."""
    EventRow.objects.create(
        uid=event.uid,
        source=event.source,
        kind=event.kind,
        severity=event.severity,
        camera=camera,
        rule_version=version,
        incident=incident,
        happened_at=event.happened_at,
        known_at=now,
        content=to_json(event),
        picture=EventRow.Picture.PENDING if event.frame else EventRow.Picture.NONE,
    )


def group_key(event: Event, version: RuleVersion | None) -> str:
    """Names the group that has at most one unresolved incident: the rule (all its versions) and the place."""
    cause = f"rule:{version.rule.uid}" if version else f"{event.source}:{event.kind}"
    return f"{cause}@{event.camera}"


def is_late(event: Event, now: datetime) -> bool:
    """Known so long after it happened that it must not look like news."""
    return (now - event.happened_at).total_seconds() > event.stale_s


def _open_or_extend(
    event: Event, camera: Camera, version: RuleVersion | None, key: str, batch: _Batch, now: datetime
) -> tuple[Incident, Alert.Reason | None]:
    """The incident that takes ``event``, and why somebody is told of it now, if anybody is."""
    for _try in range(TRIES):
        incident = batch.unresolved.get(key)
        if incident is None:
            incident = Incident.objects.filter(group_key=key).exclude(state=State.RESOLVED).first()
        if incident is None:
            incident = _open(event, camera, version, key, now)
            if incident is not None:
                return incident, Alert.Reason.LATE if incident.late else Alert.Reason.OPENED
        elif _unresolved(incident).update(
            event_count=F("event_count") + 1,
            last_event_at=Greatest(F("last_event_at"), Value(event.happened_at, models.DateTimeField())),
        ):
            return incident, _escalate(incident, event, now)
    raise RuntimeError(f"group {key}: neither opened nor extended in {TRIES} tries; the transaction starts again")


def _open(event: Event, camera: Camera, version: RuleVersion | None, key: str, now: datetime) -> Incident | None:
    """The new incident, or None when another transaction opened it first."""
    try:
        with transaction.atomic():
            incident = Incident.objects.create(
                group_key=key,
                severity=event.severity,
                kind=event.kind,
                label=event.label,
                site=camera.site,
                camera=camera,
                rule=version.rule if version else None,
                rule_version=_saying(version),
                zone_name=_zone_name(event, version),
                happened_at=event.happened_at,
                opened_at=now,
                last_event_at=event.happened_at,
                event_count=1,
                late=is_late(event, now),
            )
            _log_transition(incident, "", State.OPEN, now)
    except IntegrityError:
        return None
    return incident


def _saying(version: RuleVersion | None) -> RuleVersion | None:
    """The newest version that acts just as ``version`` does: words are told as they stand when an incident opens."""
    if version is None:
        return None
    alike = RuleVersion.objects.filter(rule=version.rule, embedded__version=str(version.uid))
    return alike.order_by("-number").first() or version


def _zone_name(event: Event, version: RuleVersion | None) -> str:
    zones: list[dict[str, Any]] = version.embedded.get("zones", []) if version else []
    return next((str(zone["name"]) for zone in zones if str(zone["uid"]) == str(event.zone)), "")


def _unresolved(incident: Incident) -> models.QuerySet[Incident]:
    return Incident.objects.filter(pk=incident.pk).exclude(state=State.RESOLVED)


def _escalate(incident: Incident, event: Event, now: datetime) -> Alert.Reason | None:
    """Take in what ``event`` adds to what is known. A repeat tells nobody; a new fact does.

    Severity only rises and *late* only ends, so what was read, however old, tells truly when there is nothing to do.
    """
    lower = SEVERITIES[: SEVERITIES.index(event.severity)]
    rows = _unresolved(incident)
    worse = incident.severity in lower and rows.filter(severity__in=lower).update(severity=event.severity)
    # So far people know, by no SMS, of something long past; that it happens now is news.
    fresh = (
        incident.late
        and not is_late(event, now)
        and rows.filter(late=True).update(late=False, happened_at=event.happened_at)
    )
    if not (worse or fresh):
        return None
    incident.refresh_from_db()
    return Alert.Reason.OPENED if fresh else Alert.Reason.WORSE


# What people decide


def acknowledge(uid: UUID, *, by: AbstractBaseUser | None, through: str, now: datetime) -> Incident:
    """Somebody has it: nothing more is sent. Raises ``IllegalTransition``, ``Incident.DoesNotExist``."""
    return _move(uid, State.ACKNOWLEDGED, by, through, now, acknowledged_at=now, acknowledged_by=by)


def resolve(
    uid: UUID,
    *,
    by: AbstractBaseUser | None,
    disposition: str,
    note: str,
    through: str,
    now: datetime,
    false_reason: str = "",
) -> Incident:
    """It is over, and what it was; of a false alarm, what caused it (empty: nobody said).

    Raises ``IllegalTransition``, ``Incident.DoesNotExist``, ``ValueError``.
    """
    if disposition not in Incident.Disposition.values:
        raise ValueError(
            f"disposition: expected one of {', '.join(Incident.Disposition.values)}, got {disposition!r}; choose one"
        )
    _check_false_reason(disposition, false_reason)
    given = {"resolved_at": now, "resolved_by": by, "disposition": disposition, "false_reason": false_reason}
    # PostgreSQL's text cannot hold NUL.
    return _move(uid, State.RESOLVED, by, through, now, note=note.replace("\0", ""), **given)


def _check_false_reason(disposition: str, reason: str) -> None:
    if reason and disposition != Incident.Disposition.FALSE:
        raise ValueError(
            f"false_reason: expected none with the disposition {disposition}, got {reason!r}; only false takes one"
        )
    if reason and reason not in Incident.FalseReason.values:
        raise ValueError(
            f"false_reason: expected one of {', '.join(Incident.FalseReason.values)}, got {reason!r}; choose one"
        )


def _move(
    uid: UUID, after: str, by: AbstractBaseUser | None, through: str, now: datetime, note: str = "", **changes: Any
) -> Incident:
    with transaction.atomic():
        incident = Incident.objects.get(uid=uid)
        before = _step_to(incident, after, changes)
        incident.refresh_from_db()
        _log_transition(incident, before, after, now, by=by, through=through, note=note)
        cancel_queued(incident.pk, now)
        incident.change = stamp([incident.pk])
    return incident


def _step_to(incident: Incident, after: str, changes: dict[str, Any]) -> str:
    """Change the row from whatever it is now, and return what that was. Raises ``IllegalTransition``."""
    before: str = incident.state
    while after in LEGAL[before]:
        if Incident.objects.filter(pk=incident.pk, state=before).update(state=after, **changes):
            return before
        before = Incident.objects.values_list("state", flat=True).get(pk=incident.pk)
    raise IllegalTransition(incident.uid, before, after)


def _log_transition(
    incident: Incident,
    before: str,
    after: str,
    now: datetime,
    *,
    by: AbstractBaseUser | None = None,
    through: str = "engine",
    note: str = "",
) -> None:
    IncidentTransition.objects.create(
        incident=incident,
        at=now,
        before=before,
        after=after,
        by=by,  # type: ignore[misc]
        through=through,
        note=note[:500],
    )
