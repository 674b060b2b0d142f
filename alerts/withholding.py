"""What is muted: withheld while it lasts, written down where it begins and ends, and told afterwards."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from django.db import models, transaction

from alerts import mutes, telling
from alerts.announce import hold
from alerts.delivery import mute_queued, unmute_queued
from alerts.intake import most_urgent
from alerts.models import Alert, Incident, IncidentTransition
from alerts.muting import Muted, Mutes, silenced, why_muted
from alerts.opening import line
from alerts.telling import Decided

if TYPE_CHECKING:
    from django.contrib.auth.models import AbstractBaseUser

Action = IncidentTransition.Action
Reason = Alert.Reason


def tell_unless_muted(incident: Incident, reason: str, muting: Mutes, decided: Decided, now: datetime) -> None:
    """The one place where telling begins: now, or once nothing mutes the incident any more."""
    muted = why_muted(mutes.subject_of(incident), muting)
    if muted is not None:
        _withhold(incident, reason, muted, now)
        return
    if incident.muted_by:
        # What muted it is over since a moment, and this comes before the sweep: said at once, for both.
        reason = most_urgent((reason, incident.untold)) or reason
        _set_muted(incident, None, now)
    telling.inform(incident, Reason(reason), decided, now)


def _withhold(incident: Incident, reason: str, muted: Muted, now: datetime) -> None:
    """Remember what is to be told. A muted incident says that it is, and why."""
    untold = most_urgent((reason, incident.untold)) or reason
    unresolved(incident).update(untold=untold)
    incident.untold = untold
    _set_muted(incident, muted, now)
    telling.stop(incident)


def unresolved(incident: Incident) -> models.QuerySet[Incident]:
    """Its row, unless it has been resolved meanwhile."""
    return Incident.objects.filter(pk=incident.pk).exclude(state=Incident.State.RESOLVED)


def _set_muted(incident: Incident, muted: Muted | None, now: datetime) -> None:
    """Write down what mutes it now. Where that begins or ends, a line of its history; what is queued waits, or goes."""
    before = incident.muted_by
    incident.muted_by = muted.by if muted else ""
    incident.muted_silence_id = muted.key if muted and muted.by == "silence" else None
    incident.muted_window_id = muted.key if muted and muted.by == "window" else None
    columns = ("muted_by", "muted_silence_id", "muted_window_id")
    unresolved(incident).update(**{name: getattr(incident, name) for name in columns})
    if muted is None:
        unresolved(incident).update(untold="")
        incident.untold = ""
    if bool(before) != bool(muted):
        (mute_queued if muted else unmute_queued)(incident.pk, now)
        action = Action.MUTE if muted else Action.UNMUTE
        line(incident, action, now, after=incident.muted_by, by=_who_silenced(incident), note=_said(incident)).save()


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
    rows = Incident.objects.exclude(state=Incident.State.RESOLVED)
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
        fresh = unresolved(incident).filter(muted_by=incident.muted_by).first()
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
    return incident.state == Incident.State.OPEN or untold in Alert.NEWS
