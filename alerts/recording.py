"""Events become rows: a batch of them in one transaction, each incident read once and written once.

Which incident takes what, and what is news, is ``alerts.intake``'s to decide; here its rows are held, read and written.
Nothing relies on ``select_for_update``: whoever changes a row has it until the commit, so the incidents are held
first, by an UPDATE that changes nothing. Who opens one is decided by a unique index, and so is who stores an event;
whoever loses either looks again at everything. So it is right on SQLite and PostgreSQL, with any number of writers.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import IntegrityError, transaction
from django.db.models import F

from alerts import mutes, opening
from alerts.events import Event
from alerts.grouping import Happened, of_event
from alerts.intake import Case, Folded, News, fold
from alerts.models import Event as EventRow
from alerts.models import Incident, RuleVersion
from alerts.opening import BY_ITSELF, Opened
from alerts.telling import Decided
from alerts.transitions import UNRESOLVED
from alerts.withholding import tell_unless_muted
from streams.models import Camera

logger = logging.getLogger(__name__)

TRIES = 5
"""Somebody may open the same incident or store the same event between our look and our writing; nobody does so five
times in a row."""
COLUMNS = (
    "severity",
    "event_severity",
    "happened_at",
    "last_event_at",
    "event_count",
    "late",
    "told_objects",
    "news",
)
"""What a ``Case`` has of an incident's own columns."""

ACTING = F("rule_version__embedded__version")
"""The version that opened an incident, as events name it: one that changed words alone acts under an older name."""

Incidents = dict[str, Incident]
"""The unresolved incident of each group, by the group's key."""


def record(events: Sequence[Event], *, now: datetime) -> None:
    """Store ``events``, open or extend their incidents, and decide who is told, in the caller's transaction.

    An event that is stored already changes nothing, so giving the same ones again is harmless.
    """
    take(look_up(events), now=now)


def look_up(events: Sequence[Event]) -> list[Happened]:
    """``events`` with the rows that they name. One whose camera is gone is left out."""
    if not events:
        return []
    cameras = Camera.objects.select_related("site").in_bulk({event.camera for event in events}, field_name="uid")
    named = {event.rule_version for event in events if event.rule_version}
    versions = RuleVersion.objects.select_related("rule__policy").in_bulk(named, field_name="uid")
    for event in events:
        if event.camera not in cameras:
            logger.error("event %s: its camera %s is no longer there; set aside", event.uid, event.camera)
    return [
        of_event(event, cameras[event.camera], versions.get(event.rule_version) if event.rule_version else None)
        for event in events
        if event.camera in cameras
    ]


def take(batch: Sequence[Happened], *, now: datetime, opened: Opened = BY_ITSELF) -> None:
    """As ``record``, of what was looked up. ``opened`` says who opens what is opened by this."""
    for left in reversed(range(TRIES if batch else 0)):
        try:
            with transaction.atomic():
                _take_once(batch, now, opened)
            return
        except IntegrityError:
            if not left:
                raise


def take_in(happened: Happened, *, now: datetime, opened: Opened) -> Incident:
    """The incident that ``happened`` opens or extends, in a transaction of its own. The same ``uid`` again: as it was.

    ``opened`` says who opens it, if it is opened by this.
    """
    take([happened], now=now, opened=opened)
    return Incident.objects.get(events__uid=happened.uid)


def _take_once(batch: Sequence[Happened], now: datetime, opened: Opened) -> None:
    """Raises ``IntegrityError`` when somebody opened one of the incidents or stored one of the events meanwhile."""
    held = _held({one.key for one in batch})
    # Only now: whoever stored the same event a moment ago had its incident until then.
    fresh = _not_stored(batch)
    if not fresh:
        return
    known = _cases(held, fresh)
    folded = fold(known, fresh, now)
    _extend(held, known, folded)
    incidents = held | _open([one for one in fresh if one.key not in held], folded, opened, now)
    _spread(incidents, known, folded)
    _insert(fresh, incidents, now)
    decided = Decided({incidents[key].pk for key in folded.cases})
    _tell(folded.news, incidents, decided, now)
    decided.conclude()


def _held(keys: Iterable[str]) -> Incidents:
    """The unresolved incidents of the groups ``keys``: nobody else changes them before this transaction ends."""
    # By the states that there are: SQLite finds them by an index, and would read all rows for those that are not.
    rows = Incident.objects.filter(group_key__in=set(keys), state__in=sorted(UNRESOLVED))
    while True:
        count = rows.update(change=F("change"))
        found: Incidents = {row.group_key: row for row in rows.annotate(acting=ACTING).order_by()}
        if len(found) == count:
            return found
        # One was opened between the two statements: it is not ours yet.


def _not_stored(batch: Sequence[Happened]) -> list[Happened]:
    """Those of ``batch`` that no row has, each once."""
    by_uid = {one.uid: one for one in reversed(batch)}
    stored = set(EventRow.objects.filter(uid__in=by_uid).values_list("uid", flat=True))
    return [one for one in batch if one.uid not in stored and by_uid[one.uid] is one]


def _cases(held: Incidents, batch: Iterable[Happened]) -> dict[str, Case]:
    """What is known of the incidents of ``batch``; other cameras are asked for only where one may be news."""
    foreign = {
        held[one.key].pk
        for one in batch
        if one.key in held and one.seen_by is not None and held[one.key].camera_id not in (None, one.seen_by)
    }
    beside: dict[int, set[int]] = defaultdict(set)
    if foreign:
        rows = Incident.cameras.through.objects.filter(incident__in=foreign)
        for incident, camera in rows.values_list("incident_id", "camera_id"):
            beside[incident].add(camera)
    return {key: _case(row, beside[row.pk]) for key, row in held.items()}


def _case(incident: Incident, beside: Iterable[int]) -> Case:
    columns: dict[str, Any] = {name: getattr(incident, name) for name in COLUMNS}
    acting: str | None = getattr(incident, "acting", None)
    return Case(
        camera=incident.camera_id, acting=UUID(acting) if acting else None, cameras=frozenset(beside), **columns
    )


def _extend(held: Incidents, known: Mapping[str, Case], folded: Folded) -> None:
    """Write what became of incidents that were there, each with one UPDATE of what is different."""
    for key, case in folded.cases.items():
        if key in held:
            changed = {name: value for name in COLUMNS if (value := getattr(case, name)) != getattr(known[key], name)}
            Incident.objects.filter(pk=held[key].pk).update(**changed)


def _open(batch: Iterable[Happened], folded: Folded, opened: Opened, now: datetime) -> Incidents:
    """Store the incidents that ``batch`` opens, each as it stands at the batch's end."""
    first: dict[str, Happened] = {}
    for one in batch:
        first.setdefault(one.key, one)
    saying = {version.pk: _saying(version) for version in {one.version for one in first.values()} if version}
    made = {key: _new(one, folded.cases[key], saying, now) for key, one in first.items()}
    if made:
        opening.insert(list(made.values()), opened, now)
    return made


def _saying(version: RuleVersion) -> RuleVersion:
    """The newest version that acts just as ``version`` does: words are told as they stand when an incident opens."""
    alike = RuleVersion.objects.filter(rule=version.rule, embedded__version=str(version.uid))
    return alike.order_by("-number").first() or version


def _new(happened: Happened, case: Case, saying: Mapping[int, RuleVersion], now: datetime) -> Incident:
    version = happened.version
    return Incident(
        group_key=happened.key,
        kind=happened.kind,
        label=happened.label,
        title=happened.title,
        site=happened.site,
        camera=None if happened.about_site else happened.camera,
        rule=version.rule if version else None,
        rule_version=saying[version.pk] if version else None,
        zone_name=happened.zone_name,
        opened_at=now,
        **{name: getattr(case, name) for name in COLUMNS},
    )


def _spread(incidents: Incidents, known: Mapping[str, Case], folded: Folded) -> None:
    """Write which cameras saw them that had not."""
    through = Incident.cameras.through
    nobody: frozenset[int] = frozenset()
    through.objects.bulk_create(
        through(incident_id=incidents[key].pk, camera_id=camera)
        for key, case in folded.cases.items()
        for camera in sorted(case.cameras - (known[key].cameras if key in known else nobody))
    )


def _insert(batch: Iterable[Happened], incidents: Incidents, now: datetime) -> None:
    """Store the events, in one statement."""
    EventRow.objects.bulk_create(
        EventRow(
            uid=happened.uid,
            source=happened.source,
            kind=happened.kind,
            severity=happened.severity,
            camera=happened.camera,
            rule_version=happened.version,
            incident=incidents[happened.key],
            happened_at=happened.happened_at,
            known_at=now,
            content=happened.content,
            picture=EventRow.Picture.PENDING if happened.has_picture else EventRow.Picture.NONE,
        )
        for happened in batch
    )


def _tell(news: Sequence[News], incidents: Incidents, decided: Decided, now: datetime) -> None:
    """Tell each piece of news as its incident stood then; what mutes is read only where there is any."""
    if not news:
        return
    muting = mutes.load(now)
    for one in news:
        incident = incidents[one.key]
        for name in COLUMNS:
            setattr(incident, name, getattr(one.case, name))
        tell_unless_muted(incident, one.reason, muting, decided, now)
