"""Incidents: the one place of their transactions.

Nothing here relies on ``select_for_update``. Who opens an incident is decided by a unique index, who extends or moves
it by a conditional UPDATE; whoever loses either looks again. So it is right on SQLite and PostgreSQL alike, with any
number of writers.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.db import IntegrityError, models, transaction
from django.db.models import F, Value
from django.db.models.functions import Greatest

from alerts import mutes, telling, transitions
from alerts.announce import hold, stamp
from alerts.delivery import cancel_queued
from alerts.events import SEVERITIES, Event
from alerts.grouping import Happened, of_event
from alerts.models import Alert, Incident, IncidentTransition, Recipient, RuleVersion, Silence
from alerts.models import Event as EventRow
from alerts.muting import Muted, Mutes, silenced, why_muted
from alerts.telling import Decided
from alerts.transitions import IllegalTransition
from streams.models import Camera

if TYPE_CHECKING:
    from django.contrib.auth.models import AbstractBaseUser

logger = logging.getLogger(__name__)

TRIES = 5
"""An incident can be resolved between looking and extending; nobody resolves five in a row."""
NOTE_LENGTH = 500

State = Incident.State
Action = IncidentTransition.Action
Reason = Alert.Reason

URGENCY = (Reason.OPENED, Reason.REOPENED, Reason.LATE, Reason.WORSE, Reason.GROWN, Reason.SPREAD, Reason.AGAIN)
"""Of several reasons to tell the same people, the first one says it."""


class AnotherUnresolved(ValueError):
    """An incident cannot be opened again: its group has an unresolved one already."""

    def __init__(self, uid: UUID, other: UUID | None) -> None:
        super().__init__(
            f"incident {uid}: expected no unresolved incident of the same rule and place, got {other}; "
            f"go on with that one"
        )
        self.other = other


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """Who opens an incident, what they add, and whom it is to be told to beside those of a rule."""

    by: AbstractBaseUser | None = None
    through: str = transitions.ENGINE
    note: str = ""
    recipients: Sequence[Recipient] = ()
    cameras: Sequence[Camera] = ()
    """Those that it is about, where it is about the site."""


BY_ITSELF = Opened()


# Events


def record(events: Sequence[Event], *, now: datetime) -> None:
    """Store ``events``, open or extend their incidents, and decide who is told, in the caller's transaction.

    An event that is stored already changes nothing, so giving the same ones again is harmless.
    """
    with transaction.atomic():
        batch = _Batch.of(events, now)
        decided = Decided()
        for event in events:
            _record_one(event, batch, decided, now)
        decided.conclude()


def take_in(happened: Happened, *, now: datetime, opened: Opened) -> Incident:
    """The incident that ``happened`` opens or extends, in a transaction of its own. The same ``uid`` again: as it was.

    ``opened`` says who opens it, if it is opened by this.
    """
    with transaction.atomic():
        batch = _Batch(now)
        decided = Decided()
        _take_in(happened, batch, decided, now, opened)
        decided.conclude()
    return Incident.objects.get(events__uid=happened.uid)


@dataclass(slots=True)
class _Batch:
    """What the database knows of a batch of events, read once instead of once an event.

    ``unresolved``: incidents that this transaction has changed, by group; until it ends nobody else can change them.
    """

    now: datetime
    cameras: Mapping[UUID, Camera] = field(default_factory=dict)
    versions: Mapping[UUID, RuleVersion] = field(default_factory=dict)
    stored: set[UUID] = field(default_factory=set)
    unresolved: dict[str, Incident] = field(default_factory=dict)
    _mutes: Mutes | None = None

    @classmethod
    def of(cls, events: Sequence[Event], now: datetime) -> _Batch:
        cameras = Camera.objects.select_related("site").filter(uid__in={event.camera for event in events})
        versions = RuleVersion.objects.select_related("rule__policy").filter(
            uid__in={event.rule_version for event in events if event.rule_version}
        )
        stored = EventRow.objects.filter(uid__in={event.uid for event in events}).values_list("uid", flat=True)
        return cls(now, {row.uid: row for row in cameras}, {row.uid: row for row in versions}, set(stored))

    @property
    def mutes(self) -> Mutes:
        """Read on first use: most batches tell nobody anything."""
        if self._mutes is None:
            self._mutes = mutes.load(self.now)
        return self._mutes


def _record_one(event: Event, batch: _Batch, decided: Decided, now: datetime) -> None:
    if event.uid in batch.stored:
        return
    camera = batch.cameras.get(event.camera)
    if camera is None:
        logger.error("event %s: its camera %s is no longer there; set aside", event.uid, event.camera)
        return
    batch.stored.add(event.uid)
    version = batch.versions.get(event.rule_version) if event.rule_version else None
    _take_in(of_event(event, camera, version), batch, decided, now, BY_ITSELF)


def _take_in(happened: Happened, batch: _Batch, decided: Decided, now: datetime, opened: Opened) -> None:
    try:
        with transaction.atomic():
            incident, reason = _open_or_extend(happened, batch, now, opened)
            _insert(happened, incident, now)
    except IntegrityError:
        if not EventRow.objects.filter(uid=happened.uid).exists():
            raise
        # Somebody else stored the same event since we looked: what it did to the incident has been done by them.
        batch.unresolved.pop(happened.key, None)
        return
    batch.unresolved[happened.key] = incident
    decided.touched.add(incident.pk)
    if reason is not None:
        _tell_unless_muted(incident, reason, batch.mutes, decided, now)


def _insert(happened: Happened, incident: Incident, now: datetime) -> None:
    """Store the event. Raises ``IntegrityError`` when it is stored."""
    EventRow.objects.create(
        uid=happened.uid,
        source=happened.source,
        kind=happened.kind,
        severity=happened.severity,
        camera=happened.camera,
        rule_version=happened.version,
        incident=incident,
        happened_at=happened.happened_at,
        known_at=now,
        content=happened.content,
        picture=EventRow.Picture.PENDING if happened.has_picture else EventRow.Picture.NONE,
    )


def _open_or_extend(
    happened: Happened, batch: _Batch, now: datetime, opened: Opened
) -> tuple[Incident, Alert.Reason | None]:
    """The incident that takes what ``happened``, and why somebody is told of it now, if anybody is."""
    for _try in range(TRIES):
        incident = batch.unresolved.get(happened.key)
        if incident is None:
            incident = Incident.objects.filter(group_key=happened.key).exclude(state=State.RESOLVED).first()
        if incident is None:
            incident = _open(happened, now, opened)
            if incident is not None:
                return incident, Reason.LATE if incident.late else Reason.OPENED
        elif (after_quiet := _extend(incident, happened, now)) is not None:
            return incident, _news(incident, happened, now, after_quiet)
    raise RuntimeError(
        f"group {happened.key}: neither opened nor extended in {TRIES} tries; the transaction starts again"
    )


def _open(happened: Happened, now: datetime, opened: Opened) -> Incident | None:
    """The new incident, or None when another transaction opened it first."""
    try:
        with transaction.atomic():
            incident = Incident.objects.create(
                group_key=happened.key,
                severity=happened.severity,
                event_severity=happened.severity,
                kind=happened.kind,
                label=happened.label,
                title=happened.title,
                site=happened.site,
                camera=None if happened.about_site else happened.camera,
                rule=happened.version.rule if happened.version else None,
                rule_version=_saying(happened.version),
                zone_name=happened.zone_name,
                happened_at=happened.happened_at,
                opened_at=now,
                last_event_at=happened.happened_at,
                event_count=1,
                told_objects=happened.objects,
                late=happened.is_late(now),
            )
            incident.recipients.set(opened.recipients)
            incident.cameras.set(opened.cameras)
            _log(incident, Action.STEP, now, after=State.OPEN, by=opened.by, through=opened.through, note=opened.note)
    except IntegrityError:
        return None
    return incident


def _saying(version: RuleVersion | None) -> RuleVersion | None:
    """The newest version that acts just as ``version`` does: words are told as they stand when an incident opens."""
    if version is None:
        return None
    alike = RuleVersion.objects.filter(rule=version.rule, embedded__version=str(version.uid))
    return alike.order_by("-number").first() or version


def _unresolved(incident: Incident) -> models.QuerySet[Incident]:
    return Incident.objects.filter(pk=incident.pk).exclude(state=State.RESOLVED)


def _extend(incident: Incident, happened: Happened, now: datetime) -> bool | None:
    """Count what ``happened``; whether it comes after a quiet time. None: the incident has been resolved meanwhile.

    One UPDATE asks and answers, so of many that come at once after the quiet only the first is news.
    """
    counted = {
        "event_count": F("event_count") + 1,
        "last_event_at": Greatest(F("last_event_at"), Value(happened.happened_at, models.DateTimeField())),
    }
    rows = _unresolved(incident)
    quiet_until_at = happened.happened_at - timedelta(seconds=happened.news_after_s)
    if not happened.is_late(now) and rows.filter(last_event_at__lt=quiet_until_at).update(**counted):
        return True
    return False if rows.update(**counted) else None


def _news(incident: Incident, happened: Happened, now: datetime, after_quiet: bool) -> Alert.Reason | None:
    """Take in what ``happened`` adds to what is known. A repeat tells nobody; a new fact does."""
    found = {
        Reason.WORSE: _is_worse(incident, happened),
        Reason.OPENED: _is_no_longer_late(incident, happened, now),
        Reason.GROWN: _has_grown(incident, happened),
        Reason.SPREAD: _has_spread(incident, happened),
        Reason.AGAIN: after_quiet,
    }
    reason = next((one for one in URGENCY if found.get(one)), None)
    if reason is not None:
        _unresolved(incident).update(news=F("news") + 1)
        incident.refresh_from_db()
    return reason


def _is_worse(incident: Incident, happened: Happened) -> bool:
    """Worse than any event so far. What people made of the severity stands against repeats, not against this.

    What events have said only rises, so what was read, however old, tells truly when there is nothing to do.
    """
    lower = SEVERITIES[: SEVERITIES.index(happened.severity)]
    if (incident.event_severity or incident.severity) not in lower:
        return False
    rows = _unresolved(incident)
    risen = rows.filter(event_severity__in=(*lower, "")).update(event_severity=happened.severity)
    return bool(risen and rows.filter(severity__in=lower).update(severity=happened.severity))


def _is_no_longer_late(incident: Incident, happened: Happened, now: datetime) -> bool:
    """So far people know, by no SMS, of something long past; that it happens now is news."""
    if not incident.late or happened.is_late(now):
        return False
    return bool(_unresolved(incident).filter(late=True).update(late=False, happened_at=happened.happened_at))


def _has_grown(incident: Incident, happened: Happened) -> bool:
    """At least twice as many at once as people know of."""
    if happened.objects is None or happened.objects <= 0:
        return False
    rows = _unresolved(incident)
    if rows.filter(told_objects__lte=happened.objects / 2).update(told_objects=happened.objects):
        return True
    rows.filter(told_objects__isnull=True).update(told_objects=happened.objects)
    return False


def _has_spread(incident: Incident, happened: Happened) -> bool:
    """Seen by a camera that had not seen it."""
    camera = happened.camera
    if happened.about_site or camera is None or incident.camera_id in (None, camera.pk):
        return False
    if incident.cameras.filter(pk=camera.pk).exists():
        return False
    try:
        with transaction.atomic():
            Incident.cameras.through.objects.create(incident=incident, camera=camera)
    except IntegrityError:
        return False
    return True


# Muting


def _tell_unless_muted(
    incident: Incident, reason: Alert.Reason, muting: Mutes, decided: Decided, now: datetime
) -> None:
    """The one place where telling begins: now, or once nothing mutes the incident any more."""
    muted = why_muted(mutes.subject_of(incident), muting)
    if muted is not None:
        _withhold(incident, reason, muted, now)
        return
    if incident.muted_by:
        # What muted it is over since a moment, and this comes before the sweep: said at once, for both.
        reason = _most_urgent(reason, incident.untold)
        _set_muted(incident, None, now)
    telling.inform(incident, reason, decided, now)


def _withhold(incident: Incident, reason: Alert.Reason, muted: Muted, now: datetime) -> None:
    """Remember what is to be told. A muted incident says that it is, and why."""
    untold = _most_urgent(reason, incident.untold)
    _unresolved(incident).update(untold=untold)
    incident.untold = untold
    _set_muted(incident, muted, now)
    telling.stop(incident)


def _most_urgent(*reasons: str) -> Alert.Reason:
    return next(one for one in URGENCY if one in reasons)


def _set_muted(incident: Incident, muted: Muted | None, now: datetime) -> None:
    """Write down what mutes it now; a line of its history where that begins or ends."""
    before = incident.muted_by
    incident.muted_by = muted.by if muted else ""
    incident.muted_silence_id = muted.key if muted and muted.by == "silence" else None
    incident.muted_window_id = muted.key if muted and muted.by == "window" else None
    columns = ("muted_by", "muted_silence_id", "muted_window_id")
    _unresolved(incident).update(**{name: getattr(incident, name) for name in columns})
    if muted is None:
        _unresolved(incident).update(untold="")
        incident.untold = ""
    if bool(before) != bool(muted):
        action = Action.MUTE if muted else Action.UNMUTE
        _log(incident, action, now, after=incident.muted_by, by=_who_silenced(incident), note=_said(incident))


def _who_silenced(incident: Incident) -> AbstractBaseUser | None:
    return incident.muted_silence.author if incident.muted_silence else None


def _said(incident: Incident) -> str:
    """The silence's reason, or the window's name."""
    if incident.muted_silence:
        return incident.muted_silence.reason
    return incident.muted_window.name if incident.muted_window else ""


def keep_mutes(now: datetime) -> int:
    """Bring what is muted in step with silences, windows and what is out. Returns how many incidents changed.

    What was withheld is told once nothing mutes it any more, if nobody has it yet; once, whoever else does the same.
    """
    muting = mutes.load(now)
    rows = Incident.objects.exclude(state=State.RESOLVED)
    if not muting.silences:
        rows = rows.exclude(muted_by="")
    large = ("rule_version__embedded", "rule_version__beside", "rule__config", "rule__schedule")
    found = rows.select_related("site", "camera", "rule", "rule_version").defer(*large).order_by("pk")
    return sum(_keep_mute(incident, muting, now) for incident in found)


def _keep_mute(incident: Incident, muting: Mutes, now: datetime) -> bool:
    # A silence mutes what is there too; windows and outages only what happens in them.
    judge = why_muted if incident.muted_by else silenced
    muted = judge(mutes.subject_of(incident), muting)
    known = Muted(incident.muted_by, mutes.key_of(incident)) if incident.muted_by else None  # type: ignore[arg-type]
    if muted == known:
        return False
    with transaction.atomic():
        hold(incident.pk)
        fresh = _unresolved(incident).filter(muted_by=incident.muted_by).first()
        if fresh is None:
            return False
        decided = Decided({incident.pk})
        untold = fresh.untold
        _set_muted(fresh, muted, now)
        if muted is not None:
            telling.stop(fresh)
        elif untold and _still_news(fresh, untold):
            telling.inform(fresh, Reason(untold), decided, now)
        else:
            telling.go_on(fresh, now)
        decided.conclude()
    return True


def _still_news(incident: Incident, untold: str) -> bool:
    """Whoever has an incident need not be told that there is one."""
    return incident.state == State.OPEN or untold in Alert.NEWS


# What people decide


def acknowledge(uid: UUID, *, by: AbstractBaseUser | None, through: str, now: datetime) -> Incident:
    """Somebody has it: nothing more is sent. Raises ``IllegalTransition``, ``Incident.DoesNotExist``."""
    with transaction.atomic():
        incident = _move(uid, "acknowledge", by, through, now, acknowledged_at=now, acknowledged_by=by, owner=by)
        incident.change = stamp([incident.pk])
    return incident


def resolve(
    uid: UUID,
    *,
    by: AbstractBaseUser | None,
    disposition: str,
    note: str,
    through: str,
    now: datetime,
    false_reason: str = "",
    handed_to: str = "",
) -> Incident:
    """It is over, and what it was; of a false alarm what caused it, of one handed over to whom (empty: nobody said).

    Raises ``IllegalTransition``, ``Incident.DoesNotExist``, ``ValueError``.
    """
    if disposition not in Incident.Disposition.values:
        raise ValueError(
            f"disposition: expected one of {', '.join(Incident.Disposition.values)}, got {disposition!r}; choose one"
        )
    _check_detail("false_reason", false_reason, Incident.FalseReason.values, disposition, Incident.Disposition.FALSE)
    _check_detail("handed_to", handed_to, Incident.HandedTo.values, disposition, Incident.Disposition.HANDED_OVER)
    said = {"disposition": disposition, "false_reason": false_reason, "handed_to": handed_to}
    unmuted = {"muted_by": "", "muted_silence": None, "muted_window": None}
    with transaction.atomic():
        incident = _move(uid, "resolve", by, through, now, note, resolved_at=now, resolved_by=by, **said, **unmuted)
        ended = _end_silences(incident, by, now)
        incident.change = stamp([incident.pk])
    if ended:
        keep_mutes(now)
    return incident


def _check_detail(name: str, value: str, known: Sequence[str], disposition: str, only: str) -> None:
    """Raises ``ValueError`` when ``value`` is none of ``known``, or the disposition is not the only one with it."""
    if value and disposition != only:
        raise ValueError(
            f"{name}: expected none with the disposition {disposition}, got {value!r}; only {only} takes one"
        )
    if value and value not in known:
        raise ValueError(f"{name}: expected one of {', '.join(known)}, got {value!r}; choose one")


def _end_silences(incident: Incident, by: AbstractBaseUser | None, now: datetime) -> int:
    """End those that were to last as long as the incident. Returns how many."""
    ends_at = Greatest(F("from_at"), Value(now, models.DateTimeField()))
    return Silence.objects.filter(ends_with=incident, until_at__gt=now).update(until_at=ends_at, ended_by=by)


def reopen(uid: UUID, *, by: AbstractBaseUser | None, note: str, through: str, now: datetime) -> Incident:
    """It was not over: open again, nobody has it, and it is told again.

    Raises ``IllegalTransition``, ``AnotherUnresolved``, ``Incident.DoesNotExist``, ``ValueError`` without a note.
    """
    nobody = dict.fromkeys(("acknowledged_at", "acknowledged_by", "owner", "resolved_at", "resolved_by"))
    unsaid = dict.fromkeys(("disposition", "false_reason", "handed_to"), "")
    try:
        with transaction.atomic():
            counted = {"news": F("news") + 1, "reopened_at": now, "late": False}
            anew = {"steps_taken": 0, "next_step_at": None}
            incident = _move(uid, "reopen", by, through, now, note, **nobody, **unsaid, **counted, **anew)
            _tell_of_decision(incident, Reason.REOPENED, now)
    except IntegrityError:
        raise AnotherUnresolved(uid, _unresolved_beside(uid)) from None
    return incident


def _unresolved_beside(uid: UUID) -> UUID | None:
    """The unresolved incident of the same group."""
    group = Incident.objects.filter(uid=uid).values("group_key")
    others = Incident.objects.filter(group_key__in=group).exclude(state=State.RESOLVED)
    return others.values_list("uid", flat=True).first()


def _tell_of_decision(incident: Incident, reason: Alert.Reason, now: datetime) -> None:
    """What a person decided is told like an event's news. Ends the transaction's work."""
    decided = Decided({incident.pk})
    _tell_unless_muted(incident, reason, mutes.load(now), decided, now)
    decided.conclude()
    incident.refresh_from_db()


def _move(
    uid: UUID,
    action: transitions.Action,
    by: AbstractBaseUser | None,
    through: str,
    now: datetime,
    note: str = "",
    **changes: Any,
) -> Incident:
    """Take a step of the table, within the caller's transaction, which ends with ``stamp``."""
    step = transitions.STEPS[action]
    transitions.check_given(step, (name for name, value in {**changes, "note": note.strip()}.items() if value), through)
    incident = Incident.objects.get(uid=uid)
    before = _step_to(incident, step, {**changes, "untold": ""})
    incident.refresh_from_db()
    _log(incident, Action.STEP, now, before=before, after=step.after, by=by, through=through, note=note)
    cancel_queued(incident.pk, now)
    return incident


def _step_to(incident: Incident, step: transitions.Step, changes: dict[str, Any]) -> str:
    """Change the row from whatever it is now, and return what that was. Raises ``IllegalTransition``."""
    before: str = incident.state
    while before in step.before:
        if Incident.objects.filter(pk=incident.pk, state=before).update(state=step.after, **changes):
            return before
        before = Incident.objects.values_list("state", flat=True).get(pk=incident.pk)
    raise IllegalTransition(incident.uid, before, step.after)


def assign(
    uid: UUID, *, to: AbstractBaseUser, by: AbstractBaseUser | None, through: str, now: datetime, note: str = ""
) -> Incident:
    """Whose it is. An open one stays open: only who has it can say so.

    Raises ``IllegalTransition`` for a resolved one, ``Incident.DoesNotExist``.
    """
    with transaction.atomic():
        incident = _change(uid, Action.ASSIGN, {"owner": to})
        _log(incident, Action.ASSIGN, now, by=by, through=through, note=note, to=to)
        incident.change = stamp([incident.pk])
    return incident


def add_note(uid: UUID, *, text: str, by: AbstractBaseUser | None, through: str, now: datetime) -> Incident:
    """A line that stays. Raises ``Incident.DoesNotExist``, ``ValueError`` for an empty one."""
    if not text.strip():
        raise ValueError("note: expected some words, got none; write what you saw or did")
    with transaction.atomic():
        incident = Incident.objects.get(uid=uid)
        hold(incident.pk)
        _log(incident, Action.NOTE, now, by=by, through=through, note=text)
        incident.change = stamp([incident.pk])
    return incident


def change_severity(
    uid: UUID, *, severity: str, note: str, by: AbstractBaseUser | None, through: str, now: datetime
) -> Incident:
    """How bad it is, as a person judges it, and why. Raised, it is told; lowered, only a worse event raises it again.

    Raises ``IllegalTransition`` for a resolved one, ``Incident.DoesNotExist``, ``ValueError``.
    """
    if severity not in SEVERITIES:
        raise ValueError(f"severity: expected one of {', '.join(SEVERITIES)}, got {severity!r}; choose one")
    if not note.strip():
        raise ValueError("note: expected the reason for the change, got none; say why")
    with transaction.atomic():
        incident = Incident.objects.get(uid=uid)
        hold(incident.pk)
        before = Incident.objects.values_list("severity", flat=True).get(pk=incident.pk)
        if before == severity:
            return incident
        worse = SEVERITIES.index(severity) > SEVERITIES.index(before)
        incident = _change(uid, Action.SEVERITY, {"severity": severity, "news": F("news") + int(worse)})
        _log(incident, Action.SEVERITY, now, before=before, after=severity, by=by, through=through, note=note)
        if worse:
            _tell_of_decision(incident, Reason.WORSE, now)
        else:
            incident.change = stamp([incident.pk])
    return incident


def _change(uid: UUID, action: str, changes: dict[str, Any]) -> Incident:
    """Change an unresolved incident. Raises ``IllegalTransition``, ``Incident.DoesNotExist``."""
    incident = Incident.objects.get(uid=uid)
    if not _unresolved(incident).update(**changes):
        raise IllegalTransition(uid, State.RESOLVED, action)
    incident.refresh_from_db()
    return incident


def _log(
    incident: Incident,
    action: str,
    now: datetime,
    *,
    before: str = "",
    after: str = "",
    by: AbstractBaseUser | None = None,
    through: str = transitions.ENGINE,
    note: str = "",
    to: AbstractBaseUser | None = None,
) -> None:
    IncidentTransition.objects.create(
        incident=incident,
        action=action,
        at=now,
        before=before,
        after=after,
        by=by,  # type: ignore[misc]
        through=through,
        # PostgreSQL's text cannot hold NUL.
        note=note.replace("\0", "").strip()[:NOTE_LENGTH],
        to=to,
    )
