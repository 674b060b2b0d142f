"""From a false alarm to one proposed change, with its rehearsal over the archive around every alarm of the rule.

The counts are those of the rehearsal: what the rule as it is now fired there, and what the changed one would have.
"""

from __future__ import annotations

import time
import zoneinfo
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import zip_longest
from typing import Any
from uuid import UUID

import msgspec
from django.conf import settings

from alerts.archive import Archive, Query
from alerts.archive_rows import Batch
from alerts.awaited import cameras_beside, embedded, sources_in_force
from alerts.events import Event, SeenBox
from alerts.history import newest_version
from alerts.model_labels import labels_by_model
from alerts.models import Event as EventRow
from alerts.models import Incident
from alerts.proposals import Case, Proposal, Sighting, propose
from alerts.rehearsal import rehearse
from alerts.rehearsal_items import WARM_UP_S, Found, Item, Reader, Rehearsal, Unknown
from alerts.rehearsal_sequence import rehearse_sequence
from alerts.rehearsal_summary import SAME_S, compare
from alerts.rules.config import EmbeddedRule
from alerts.rules.registry import BadConfig, read_config
from alerts.rules.sequence import sequence_of
from alerts.sequences import KIND as SEQUENCE
from streams import observations as wire
from streams.models import Camera

MOST_INCIDENTS = 40
LIMIT_S = 3.0
"""Somebody waits for the answer. What was not looked at by then is named and not counted."""
MOST_TRIES = 3
"""So many changes are rehearsed, the most promising first."""
BEFORE_S, AFTER_S = 30.0, 60.0
MOST_SPAN_S = 300.0
"""An incident may last for hours; its first events say what it was."""
SETTLE_S = 30.0
"""Beside the rule's own waits: a track must be known before it counts."""

KEPT = (Incident.Disposition.CONFIRMED, Incident.Disposition.HANDED_OVER)
"""What must still be told: somebody confirmed it, or handed it over as theirs."""


@dataclass(frozen=True, slots=True)
class Tally:
    """How many of the alarms that can be told of fire no more."""

    removed: int = 0
    of: int = 0


@dataclass(frozen=True, slots=True)
class Proposed:
    """The proposal with the counts of its rehearsal, or why there is none.

    ``reason``: ``no_rule`` (nothing to change), ``unreadable`` (its version cannot be read), ``incomplete`` (what the
    sequence waits for does not run), ``not_archived`` (no false alarm of it can be told of any more), ``avoided`` (the
    rule as it is now fires none of them), ``alike`` (the false ones look like the confirmed ones), ``not_measured`` (no
    one object fired them, so only hours could differ), ``no_time`` (too much to look at); empty with a proposal.
    """

    reason: str = ""
    proposal: Proposal | None = None
    before: EmbeddedRule | None = None
    false: Tally = field(default_factory=Tally)
    confirmed: Tally = field(default_factory=Tally)
    asked: bool | None = None
    """Whether the alarm that was asked about is removed; None: cannot tell."""
    cannot_tell: tuple[Incident, ...] = ()
    already: int = 0
    """Alarms of an older version that the rule as it is now does not fire."""
    not_looked: int = 0


def archive_reader() -> Reader:
    """Reads the archive of this installation."""
    archive = Archive(settings.ARCHIVE["folder"])

    def read(camera: UUID, from_at: datetime, until_at: datetime, labels: frozenset[str] | None) -> Iterable[Batch]:
        return archive.read(Query(camera, from_at, until_at, labels))

    return read


def propose_for(
    incident: Incident,
    *,
    read: Reader | None = None,
    limit_s: float = LIMIT_S,
    monotonic: Callable[[], float] = time.monotonic,
) -> Proposed:
    """One change that would have avoided ``incident`` and its like. Blocks for about ``limit_s``; changes nothing."""
    version = newest_version(incident.rule)
    if version is None or incident.camera is None:
        return Proposed("no_rule")
    deadline = _Deadline(limit_s, monotonic)
    try:
        rule = embedded(version.embedded)
        stage = _Stage(rule)
    except (msgspec.ValidationError, BadConfig):
        return Proposed("unreadable")
    if not stage.complete:
        return Proposed("incomplete")
    alarms = [_Alarm(row, stage, deadline) for row in _judged(incident)]
    return _Work(incident, rule, alarms, read or archive_reader(), deadline).run()


class _Stage:
    """What runs beside a rule where it is rehearsed: nothing, or the rules that a sequence is made of.

    Raises ``BadConfig``.
    """

    def __init__(self, rule: EmbeddedRule) -> None:
        self._knows = labels_by_model()
        self._sequence = rule.kind == SEQUENCE
        made_of = sources_in_force(rule) if self._sequence else {}
        self._sources = [source for source in made_of.values() if source is not None]
        self.complete = len(self._sources) == len(made_of)
        """Whether all that it waits for runs."""
        watched = frozenset[UUID]().union(*(source.cameras for source in self._sources))
        beside = cameras_beside([rule]) if self._sequence else {}
        self._sites = {camera: site for camera, site in beside.items() if camera in watched}
        sequences = [config for one in (rule, *self._sources) if (config := sequence_of(one)) is not None]
        self._alone = all(config.scope == "camera" for config in sequences)
        self._settles_s = max(_settles_s(one) for one in self._sources or [rule])

    def rehearsed(
        self, rule: EmbeddedRule, camera: Camera, span: tuple[datetime, datetime], waited_s: float, read: Reader
    ) -> Iterator[Item]:
        """``rule`` around an alarm on ``camera`` that began ``waited_s`` before the span."""
        site = [uid for uid, where in self._sites.items() if where == camera.site_id]
        what = Rehearsal(
            draft=rule,
            cameras=[camera.uid] if self._alone else site,
            from_at=span[0],
            until_at=span[1],
            sources=self._sources,
            sites=self._sites,
            warm_up_s=self._settles_s + waited_s,
            knows=self._knows,
        )
        return rehearse_sequence(what, read) if self._sequence else rehearse(what, read)

    def made(self, events: Sequence[Event]) -> bool:
        """Whether the rules of a sequence are those that its ``events`` were made by."""
        causes = [uid for event in events for uid in event.causes]
        versions = EventRow.objects.filter(uid__in=causes).values_list("rule_version__uid", flat=True)
        return not causes or set(versions) <= {source.version for source in self._sources}


def _settles_s(rule: EmbeddedRule) -> float:
    """Long enough for the rule to be as it was: all that it waits for has lasted, and it is ready again."""
    return min(WARM_UP_S, SETTLE_S + read_config(rule.kind, rule.config).looks_back_s)


def _judged(incident: Incident) -> list[Incident]:
    """The alarms of its rule that people judged, that one first: the newest, as many false as others where both are."""
    alarms = Incident.objects.filter(rule=incident.rule, camera__isnull=False).exclude(pk=incident.pk)
    alarms = alarms.select_related("camera", "site", "rule_version").order_by("-happened_at", "-id")
    false = list(alarms.filter(disposition=Incident.Disposition.FALSE)[: MOST_INCIDENTS - 1])
    kept = list(alarms.filter(disposition__in=KEPT)[:MOST_INCIDENTS])
    half = MOST_INCIDENTS // 2
    fewer = false[: max(half, MOST_INCIDENTS - len(kept)) - 1]
    pairs = zip_longest(kept[: MOST_INCIDENTS - 1 - len(fewer)], fewer)
    # By turns: where the time does not suffice for all, what was looked at has some of both.
    return [incident, *(one for pair in pairs for one in pair if one is not None)]


class _Deadline:
    def __init__(self, limit_s: float, monotonic: Callable[[], float]) -> None:
        self._monotonic, self._limit_s, self._began_s = monotonic, limit_s, monotonic()

    def over(self, share: float) -> bool:
        """Whether ``share`` of the time is spent."""
        return self._monotonic() - self._began_s > share * self._limit_s


class _Alarm:
    """One judged incident, and the archive around its first events."""

    def __init__(self, row: Incident, stage: _Stage, deadline: _Deadline) -> None:
        self.row, self._stage, self._deadline = row, stage, deadline
        self.false = row.disposition not in KEPT
        first = row.happened_at
        until = first + timedelta(seconds=MOST_SPAN_S)
        stored = EventRow.objects.filter(incident=row, happened_at__lte=until).order_by("happened_at", "id")[:50]
        self.events = [event for one in stored if (event := _event(one)) is not None]
        last = min(until, max([first, *(event.happened_at for event in self.events)]))
        self._span = first - timedelta(seconds=BEFORE_S), last + timedelta(seconds=AFTER_S)
        self._waited_s = max((_number(event, "after_first") for event in self.events), default=0.0)
        self._batches: dict[UUID, list[Batch]] = {}
        self.base: list[Found] = []
        """What the rule as it is now fires of it."""
        self.looked, self.known = False, True

    @property
    def avoided(self) -> bool:
        """Whether the rule as it is now does not fire it at all."""
        return self.looked and self.known and not self.base

    def look(self, rule: EmbeddedRule, read: Reader) -> None:
        """Rehearse the rule as it is now, and keep the batches for the changed ones. Given up when the time is over."""

        def once(camera: UUID, *asked: Any) -> Iterator[Batch]:
            kept = self._batches.setdefault(camera, [])
            for batch in read(camera, *asked):
                kept.append(batch)
                yield batch

        items: list[Item] = []
        for item in self._rehearsed(rule, once):
            if self._deadline.over(1.0):
                self._batches = {}
                return
            items.append(item)
        self.looked = True
        names = {event.uid for event in self.events}
        times = [event.happened_at for event in self.events] or [self.row.happened_at]
        found = [item for item in items if isinstance(item, Found)]
        self.base = [one for one in found if one.event.uid in names or _near(one, times)]
        # Fired by this very version and not fired now: something that it saw then is not in the archive.
        self.known = bool(self.base) or not (self._same_version(rule) or self._blind(items))

    def _same_version(self, rule: EmbeddedRule) -> bool:
        """Whether it was fired by ``rule`` as it is, and by what that is made of as it is."""
        version = self.row.rule_version
        fired_by = version is not None and version.embedded.get("version") == str(rule.version)
        return fired_by and self._stage.made(self.events)

    def fires(self, rule: EmbeddedRule) -> bool:
        """Whether the changed ``rule`` still fires it."""
        items = self._rehearsed(rule, lambda camera, *asked: iter(self._batches.get(camera, [])))
        return bool(compare([item for item in items if isinstance(item, Found)], self.base))

    def _rehearsed(self, rule: EmbeddedRule, read: Reader) -> Iterator[Item]:
        assert self.row.camera is not None
        return self._stage.rehearsed(rule, self.row.camera, self._span, self._waited_s, read)

    def _blind(self, items: Sequence[Item]) -> bool:
        at = self.row.happened_at
        return any(isinstance(item, Unknown) and item.from_at <= at <= item.until_at for item in items)

    @property
    def box(self) -> SeenBox | None:
        """The object that fired it; None: no one object did."""
        return next((box for event in self.events[:1] for box in event.boxes if box.fired), None)

    def case(self) -> Case | None:
        """What is known of it; None where its event cannot be read."""
        event, box = next(iter(self.events), None), self.box
        if event is None:
            return None
        return Case(
            uid=self.row.uid,
            false=self.false,
            camera=event.camera,
            zone=event.zone,
            local=event.happened_at.astimezone(zoneinfo.ZoneInfo(self.row.site.time_zone)),
            xyxy=None if box is None else box.xyxy,
            score=_number(event, "confidence", 0.0 if box is None else box.score),
            confirmed=int(_number(event, "confirmed")),
            held_s=_number(event, "in_zone"),
            after_first_s=_number(event, "after_first"),
            path=event.path,
            sightings=self._sightings(),
        )

    def _sightings(self) -> list[Sighting]:
        """The object of the first event as it was followed, without what came before and after it."""
        if not self.base or self.base[0].track is None:
            return []
        first, number = self.base[0].track.first, self.base[0].number
        camera, deployment = self.base[0].event.camera, self.base[0].event.deployment
        seen: list[Sighting] = []
        last = 0
        for row in (row for batch in self._batches[camera] for row in batch.rows):
            picture = row.observation
            if not isinstance(picture, wire.Detections) or picture.deployment != deployment:
                continue
            at_s = picture.captured_at.timestamp()
            track = next((one for one in row.tracks or () if one.number == number and one.first == first), None)
            if track is not None:
                seen.append(Sighting(at_s, track.xyxy, track.score))
                last = len(seen)
            elif seen:
                seen.append(Sighting(at_s, seen[-1].xyxy, 0.0))
        return seen[:last]


def _event(row: EventRow) -> Event | None:
    try:
        return msgspec.convert(row.content, Event)
    except msgspec.ValidationError:
        return None  # of another source, or older than its form: the incident stays, without its numbers


def _number(event: Event, name: str, default: float = 0.0) -> float:
    return next((fact.value for fact in event.facts if fact.name == name), default)


def _near(found: Found, times: Sequence[datetime]) -> bool:
    return any(abs((found.event.happened_at - at).total_seconds()) <= SAME_S for at in times)


class _Work:
    """One search: look at every alarm as it is, then try the most promising changes."""

    def __init__(
        self, asked: Incident, rule: EmbeddedRule, alarms: Sequence[_Alarm], read: Reader, deadline: _Deadline
    ) -> None:
        self._asked, self._rule, self._alarms = asked, rule, alarms
        self._read, self._deadline = read, deadline

    def run(self) -> Proposed:
        for alarm in self._alarms:
            if not self._deadline.over(0.5):
                alarm.look(self._rule, self._read)
        if not any(alarm.false for alarm in self._told()):
            return self._said(reason=self._why_none())
        tried = [done for one in self._promising() if (done := self._try(one)) is not None]
        best = max(tried, key=lambda done: done.false.removed, default=None)
        return best or self._said(reason="no_time" if self._deadline.over(1.0) else self._why_alike())

    def _why_none(self) -> str:
        """Why no false alarm can be told of."""
        if any(alarm.avoided for alarm in self._alarms):
            return "avoided"
        return "not_archived" if all(alarm.looked for alarm in self._alarms) else "no_time"

    def _why_alike(self) -> str:
        measured = self._rule.kind == SEQUENCE or any(alarm.box is not None for alarm in self._told())
        return "alike" if measured else "not_measured"

    def _told(self) -> list[_Alarm]:
        """The alarms of which a rehearsal can tell something."""
        return [alarm for alarm in self._alarms if alarm.base]

    def _promising(self) -> list[Proposal]:
        assert self._asked.camera is not None
        # Also what is archived no more: its event still says where a confirmed one stood.
        cases = [case for alarm in self._alarms if not alarm.avoided and (case := alarm.case())]
        asked, camera, cause = self._asked.uid, self._asked.camera.uid, self._asked.false_reason
        return propose(self._rule, cases, asked=asked, camera=camera, cause=cause)[:MOST_TRIES]

    def _try(self, proposal: Proposal) -> Proposed | None:
        """The proposal with its rehearsal; None where that shows that it is no good."""
        fires: dict[UUID, bool] = {}
        for alarm in self._told():
            if self._deadline.over(1.0):
                break
            fires[alarm.row.uid] = alarm.fires(proposal.rule)
            if not alarm.false and not fires[alarm.row.uid]:
                return None
        false = [fires[alarm.row.uid] for alarm in self._told() if alarm.false and alarm.row.uid in fires]
        if all(false):
            return None
        asked = fires.get(self._asked.uid)
        return self._said(
            proposal=proposal,
            false=Tally(false.count(False), len(false)),
            confirmed=Tally(0, len(fires) - len(false)),
            asked=None if asked is None else not asked,
            not_looked=sum(not alarm.looked for alarm in self._alarms) + len(self._told()) - len(fires),
        )

    def _said(self, **more: Any) -> Proposed:
        common: dict[str, Any] = {
            "before": self._rule,
            "cannot_tell": tuple(alarm.row for alarm in self._alarms if not alarm.known),
            "already": sum(alarm.avoided for alarm in self._alarms),
            "not_looked": sum(not alarm.looked for alarm in self._alarms),
        }
        return Proposed(**{**common, **more})
