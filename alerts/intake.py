"""What a batch of events makes of the incidents of its groups: counted, worse, grown, spread, and what is news. Pure.

The shell (``alerts.recording``) reads each group's unresolved incident once, folds the batch over them in its order and
writes each incident once. However the events are divided into batches, the same is counted and the same is told.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Literal, Protocol
from uuid import UUID

from alerts.events import SEVERITIES, Severity

Reason = Literal["opened", "reopened", "late", "worse", "grown", "spread", "again"]
"""Why people are told: those of ``Alert.Reason`` that something new may have."""

URGENCY: tuple[Reason, ...] = ("opened", "reopened", "late", "worse", "grown", "spread", "again")
"""Of several reasons to tell the same people, the first one says it."""


class Happening(Protocol):
    """What of one thing that happened decides about its incident (``alerts.grouping.Happened``)."""

    @property
    def key(self) -> str:
        """Its group, which has at most one unresolved incident."""

    @property
    def severity(self) -> Severity: ...

    @property
    def happened_at(self) -> datetime: ...

    @property
    def objects(self) -> float | None:
        """How many at once, where that was counted."""

    @property
    def news_after_s(self) -> float:
        """After so long a quiet time it is news again."""

    @property
    def acting(self) -> UUID | None:
        """The rule version that made it; none: no rule did."""

    @property
    def seen_by(self) -> int | None:
        """The key of the camera; none: it is about the site."""

    def is_late(self, now: datetime) -> bool:
        """Known so long after it happened that it must not look like news."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What decides how an unresolved incident takes the next event. The names are those of ``Incident``'s columns."""

    severity: str
    event_severity: str
    happened_at: datetime
    last_event_at: datetime
    event_count: int = 1
    late: bool = False
    told_objects: float | None = None
    news: int = 0
    camera: int | None = None
    """The key of the camera that saw it first; none: it is about the site, and no camera is news."""
    acting: UUID | None = None
    """The rule version that opened it. What another one says of the severity is an edit of the rule, and no news."""
    cameras: frozenset[int] = frozenset()
    """Those that saw it too."""


@dataclass(frozen=True, slots=True)
class News:
    """People are to be told of the group's incident, as it stood then: ``case`` decides whom, and by which way.

    What became known late is told late, also of an incident that is not.
    """

    key: str
    reason: Reason
    case: Case


@dataclass(frozen=True, slots=True)
class Folded:
    """What a batch made of its groups: how each stands at the end, and the news in the order in which it came."""

    cases: dict[str, Case] = field(default_factory=dict)
    news: list[News] = field(default_factory=list)


def fold(known: Mapping[str, Case], batch: Iterable[Happening], now: datetime) -> Folded:
    """Take in ``batch``, in its order. A group that is not ``known`` is opened by the first that belongs to it."""
    folded = Folded()
    for happened in batch:
        case = folded.cases.get(happened.key) or known.get(happened.key)
        after, reason = _opened(happened, now) if case is None else _extended(case, happened, now)
        folded.cases[happened.key] = after
        if reason is not None:
            told = replace(after, late=after.late or happened.is_late(now))
            folded.news.append(News(happened.key, reason, told))
    return folded


def most_urgent(reasons: Iterable[str]) -> Reason | None:
    """The one of ``reasons`` that says it; None: there is none.

    >>> most_urgent(["again", "worse"]), most_urgent([])
    ('worse', None)
    """
    given = set(reasons)
    return next((one for one in URGENCY if one in given), None)


def _opened(happened: Happening, now: datetime) -> tuple[Case, Reason]:
    late = happened.is_late(now)
    case = Case(
        severity=happened.severity,
        event_severity=happened.severity,
        happened_at=happened.happened_at,
        last_event_at=happened.happened_at,
        late=late,
        told_objects=happened.objects,
        camera=happened.seen_by,
        acting=happened.acting,
    )
    return case, "late" if late else "opened"


def _extended(case: Case, happened: Happening, now: datetime) -> tuple[Case, Reason | None]:
    """Counted, with what it adds to what is known. A repeat tells nobody; a new fact does."""
    late = happened.is_late(now)
    found = {reason: changes for reason, find in FACTS.items() if (changes := find(case, happened, late)) is not None}
    reason = most_urgent(found)
    changes = {name: value for changed in found.values() for name, value in changed.items()}
    return replace(
        case,
        event_count=case.event_count + 1,
        last_event_at=max(case.last_event_at, happened.happened_at),
        news=case.news + (reason is not None),
        **_quietly(case, happened) | changes,
    ), reason


def _quietly(case: Case, happened: Happening) -> dict[str, Any]:
    """What is learned without being news: how many, where nobody had counted; worse than any event, if not than said.

    What people made of the severity stands against repeats, not against an event that is worse than any before.
    """
    changes: dict[str, Any] = {}
    if _is_worst(case, happened):
        changes["event_severity"] = happened.severity
    if case.told_objects is None and happened.objects is not None and happened.objects > 0:
        changes["told_objects"] = happened.objects
    return changes


def _is_worst(case: Case, happened: Happening) -> bool:
    """Worse than any event so far, by the same measure."""
    return happened.acting == case.acting and _exceeds(happened.severity, case.event_severity or case.severity)


def _exceeds(severity: str, other: str) -> bool:
    return SEVERITIES.index(severity) > SEVERITIES.index(other)


def _worse(case: Case, happened: Happening, late: bool) -> dict[str, Any] | None:
    """Worse than any event so far, and than what people made of it."""
    if not _is_worst(case, happened):
        return None
    return {"severity": happened.severity} if _exceeds(happened.severity, case.severity) else None


def _no_longer_late(case: Case, happened: Happening, late: bool) -> dict[str, Any] | None:
    """So far people know, by no SMS, of something long past; that it happens now is news."""
    return {"late": False, "happened_at": happened.happened_at} if case.late and not late else None


def _grown(case: Case, happened: Happening, late: bool) -> dict[str, Any] | None:
    """At least twice as many at once as people know of."""
    objects, known = happened.objects, case.told_objects
    if objects is None or objects <= 0 or known is None or known > objects / 2:
        return None
    return {"told_objects": objects}


def _spread(case: Case, happened: Happening, late: bool) -> dict[str, Any] | None:
    """Seen by a camera that had not seen it."""
    camera = happened.seen_by
    if camera is None or case.camera in (None, camera) or camera in case.cameras:
        return None
    return {"cameras": case.cameras | {camera}}


def _again(case: Case, happened: Happening, late: bool) -> dict[str, Any] | None:
    """After a quiet time. Of many that come at once after it only the first is news."""
    quiet_until_at = happened.happened_at - timedelta(seconds=happened.news_after_s)
    return {} if not late and case.last_event_at < quiet_until_at else None


FACTS: Mapping[Reason, Callable[[Case, Happening, bool], dict[str, Any] | None]] = {
    "worse": _worse,
    "opened": _no_longer_late,
    "grown": _grown,
    "spread": _spread,
    "again": _again,
}
"""Each kind of news, with what finds it: what it changes; None where there is none."""
