"""Incidents: what people decide about them; and the one door to all of their transactions.

What happens by itself is next door: events (``alerts.recording``) and what mutes (``alerts.withholding``). Nothing
relies on ``select_for_update``: who moves an incident is decided by a conditional UPDATE, and whoever loses looks
again. So it is right on SQLite and PostgreSQL alike, with any number of writers.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.db import IntegrityError, models, transaction
from django.db.models import F, Value
from django.db.models.functions import Greatest

from alerts import mutes, transitions
from alerts.announce import hold, stamp
from alerts.delivery import cancel_queued
from alerts.events import SEVERITIES
from alerts.models import Alert, Incident, IncidentTransition, Silence
from alerts.opening import Opened, line
from alerts.recording import record, take_in
from alerts.telling import Decided
from alerts.transitions import IllegalTransition
from alerts.withholding import keep_mutes, tell_unless_muted, unresolved

if TYPE_CHECKING:
    from django.contrib.auth.models import AbstractBaseUser

__all__ = [
    "AnotherUnresolved",
    "IllegalTransition",
    "Opened",
    "acknowledge",
    "add_note",
    "assign",
    "change_severity",
    "keep_mutes",
    "record",
    "reopen",
    "resolve",
    "take_in",
]

State = Incident.State
Action = IncidentTransition.Action
Reason = Alert.Reason


class AnotherUnresolved(ValueError):
    """An incident cannot be opened again: its group has an unresolved one already."""

    def __init__(self, uid: UUID, other: UUID | None) -> None:
        super().__init__(
            f"incident {uid}: expected no unresolved incident of the same rule and place, got {other}; "
            f"go on with that one"
        )
        self.other = other


def acknowledge(uid: UUID, *, by: AbstractBaseUser | None, through: str, now: datetime, note: str = "") -> Incident:
    """Somebody has it: nothing more is sent. Raises ``IllegalTransition``, ``Incident.DoesNotExist``."""
    with transaction.atomic():
        incident = _move(uid, "acknowledge", by, through, now, note, acknowledged_at=now, acknowledged_by=by, owner=by)
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
    tell_unless_muted(incident, reason, mutes.load(now), decided, now)
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
    line(incident, Action.STEP, now, before=before, after=step.after, by=by, through=through, note=note).save()
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
        line(incident, Action.ASSIGN, now, by=by, through=through, note=note, to=to).save()
        incident.change = stamp([incident.pk])
    return incident


def add_note(uid: UUID, *, text: str, by: AbstractBaseUser | None, through: str, now: datetime) -> Incident:
    """A line that stays. Raises ``Incident.DoesNotExist``, ``ValueError`` for an empty one."""
    if not text.strip():
        raise ValueError("note: expected some words, got none; write what you saw or did")
    with transaction.atomic():
        incident = Incident.objects.get(uid=uid)
        hold(incident.pk)
        line(incident, Action.NOTE, now, by=by, through=through, note=text).save()
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
        line(incident, Action.SEVERITY, now, before=before, after=severity, by=by, through=through, note=note).save()
        if worse:
            _tell_of_decision(incident, Reason.WORSE, now)
        else:
            incident.change = stamp([incident.pk])
    return incident


def _change(uid: UUID, action: str, changes: dict[str, Any]) -> Incident:
    """Change an unresolved incident. Raises ``IllegalTransition``, ``Incident.DoesNotExist``."""
    incident = Incident.objects.get(uid=uid)
    if not unresolved(incident).update(**changes):
        raise IllegalTransition(uid, State.RESOLVED, action)
    incident.refresh_from_db()
    return incident
