"""Silences and maintenance windows as people make them. What they mute is brought in step at once."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import msgspec
from django.db import transaction

from alerts.incidents import keep_mutes
from alerts.models import Incident, MaintenanceWindow, Silence
from alerts.mutes import window_schedule
from alerts.muting import Matchers, read_matchers
from alerts.schedule import check_schedule
from streams.models import SequenceCounter

if TYPE_CHECKING:
    from django.contrib.auth.models import AbstractBaseUser

LONGEST = timedelta(days=30)
"""Whoever wants to hear nothing for longer wants another rule."""
LAST_ENDED = 50
WHY = "why nobody is to be told"


def make_silence(
    matchers: Mapping[str, Any],
    *,
    author: AbstractBaseUser,
    reason: str,
    from_at: datetime,
    until_at: datetime,
    now: datetime,
    ends_with: Incident | None = None,
) -> Silence:
    """A new silence; with ``ends_with`` it ends sooner, when that incident is resolved. Raises ``ValueError``."""
    _check_span(from_at, until_at, now)
    if ends_with is not None and ends_with.state == Incident.State.RESOLVED:
        raise ValueError(f"ends_with: expected an unresolved incident, got {ends_with.uid}, which is resolved")
    made = Silence(author=author, reason=reason, from_at=max(from_at, now), until_at=until_at, ends_with=ends_with)  # type: ignore[misc]
    made.matchers = matchers
    with transaction.atomic():
        _write(made, now)
        mark_changed()
    keep_mutes(now)
    return made


def carry_over(row: Silence | MaintenanceWindow, *, now: datetime) -> None:
    """Store what a text of all configuration says: a window; a silence, begun or not, or its new reason and end.

    Only the row. Call ``mark_changed`` last in the transaction, and the sweep brings in step what it mutes: nobody who
    holds that counter goes on to incidents. Raises ``ValueError``.
    """
    if isinstance(row, MaintenanceWindow):
        _write_window(row, now)
        return
    _check_span(row.from_at, row.until_at, now)
    if row.pk:
        _change_row(row, now, reason=_worded(row.reason, "reason", WHY), until_at=row.until_at)
    else:
        _write(row, now)


def let_go(row: Silence | MaintenanceWindow, *, by: AbstractBaseUser | None, now: datetime) -> None:
    """End a silence or delete a window; only the row, as ``carry_over`` says."""
    if isinstance(row, MaintenanceWindow):
        row.delete()
    else:
        _change_row(row, now, **_ended(row, by, now))


def mark_changed() -> None:
    """What mutes is another: for screens, and for whoever brings in step what is muted."""
    SequenceCounter.advance(SequenceCounter.MUTING)
    SequenceCounter.advance(SequenceCounter.CHANGES)


def _write(silence: Silence, now: datetime) -> None:
    silence.matchers = msgspec.to_builtins(read_matchers(silence.matchers))
    silence.reason = _worded(silence.reason, "reason", WHY)
    silence.created_at = now
    silence.save()


def change_silence(silence: Silence, *, reason: str, until_at: datetime, now: datetime) -> Silence:
    """Another reason or end, while it is not over. Raises ``ValueError``."""
    _check_span(silence.from_at, until_at, now)
    _change(silence, now, reason=_worded(reason, "reason", WHY), until_at=until_at)
    return silence


def end_silence(silence: Silence, *, by: AbstractBaseUser, now: datetime) -> Silence:
    """It is over now; what it withheld and is still news is told. Raises ``ValueError`` when it was over before."""
    _change(silence, now, **_ended(silence, by, now))
    return silence


def _ended(silence: Silence, by: AbstractBaseUser | None, now: datetime) -> dict[str, Any]:
    return {"from_at": min(silence.from_at, now), "until_at": now, "ended_by": by}


def _change(silence: Silence, now: datetime, **columns: Any) -> None:
    with transaction.atomic():
        _change_row(silence, now, **columns)
        mark_changed()
    silence.refresh_from_db()
    keep_mutes(now)


def _change_row(silence: Silence, now: datetime, **columns: Any) -> None:
    if not Silence.objects.filter(pk=silence.pk, until_at__gt=now).update(**columns):
        raise ValueError(f"silence {silence.uid}: expected one that lasts, got one that is over; make another")


def _check_span(from_at: datetime, until_at: datetime, now: datetime) -> None:
    if until_at <= max(from_at, now):
        raise ValueError(f"until_at: expected later than {max(from_at, now).isoformat()}, got {until_at.isoformat()}")
    if until_at - now > LONGEST:
        raise ValueError(
            f"until_at: expected at most {LONGEST.days} days from now, got {(until_at - now).days}; end it earlier"
        )


def _worded(text: str, name: str, what: str) -> str:
    words = " ".join(text.replace("\0", "").split())[:200]
    if not words:
        raise ValueError(f"{name}: expected {what}, got nothing; write a few words")
    return words


def save_window(window: MaintenanceWindow, *, now: datetime) -> MaintenanceWindow:
    """Store a new window or another form of one that is there. Raises ``ValueError`` for one that is never open."""
    with transaction.atomic():
        _write_window(window, now)
        mark_changed()
    keep_mutes(now)
    return window


def _write_window(window: MaintenanceWindow, now: datetime) -> None:
    window.name = _worded(window.name, "name", "what is done in this time")
    window.matchers = msgspec.to_builtins(msgspec.convert(window.matchers, type=Matchers))
    schedule = window_schedule(window)
    if not schedule.spans:
        raise ValueError("schedule: expected at least one span, got none; without one it would always be open")
    check_schedule(schedule)
    window.created_at = window.created_at or now
    window.save()


def remove_window(window: MaintenanceWindow, *, now: datetime) -> None:
    """It is not there any more; what it withheld and is still news is told."""
    with transaction.atomic():
        window.delete()
        mark_changed()
    keep_mutes(now)


def phase(silence: Silence, now: datetime) -> str:
    """``upcoming``, ``active`` or ``ended``."""
    if silence.until_at <= now:
        return "ended"
    return "upcoming" if silence.from_at > now else "active"


def by_phase(now: datetime) -> dict[str, list[Silence]]:
    """All that last or are to come, and the last ``LAST_ENDED`` that are over."""
    rows = Silence.objects.select_related(
        "author", "ended_by", "ends_with__site", "ends_with__camera", "ends_with__rule"
    )
    return {
        "active": list(rows.filter(from_at__lte=now, until_at__gt=now).order_by("until_at")),
        "upcoming": list(rows.filter(from_at__gt=now, until_at__gt=now).order_by("from_at")),
        "ended": list(rows.filter(until_at__lte=now)[:LAST_ENDED]),
    }
