"""Rehearsal: what a rule would have done, by the very engine that runs it. Pure over what a reader gives.

Results stream: whoever asks takes one item at a time and may stop between any two. Two speeds: with the archived
tracks a week of one camera takes seconds; with a tracker of its own (``tracking``) the detections are tracked anew.
Nothing is stored or sent. Time in which nothing can be told is named, and never counts as "would not have fired".
"""

from __future__ import annotations

import zoneinfo
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any, Literal
from uuid import UUID

import msgspec
import numpy as np

from alerts.archive_rows import Batch, Kept, Ticks, from_us
from alerts.engine import WORD_HOLDS_US, BlindChange, Engine, Outcome
from alerts.events import Event
from alerts.rules.config import CommonConfig, EmbeddedRule
from alerts.rules.registry import read_config
from alerts.why import settling_s
from detectors.labels import expand
from detectors.tracking import Track, TrackerConfig
from streams import observations as wire

WARM_UP_S = 900.0
"""The engine sees at least so much before the span, so that who stands there already is known."""
SILENT = timedelta(microseconds=WORD_HOLDS_US)
"""A longer silence was not watched (or not kept): the engine believes no word for longer either."""
UNSEEN = timedelta(seconds=60)
"""A deployment is given a picture each 10 s even while nothing moves; longer without one, it did not look."""
SAME_S = 10.0
"""Firings of two versions on one camera are the same when they are of one track, or at most this far apart."""
NIGHT = (22, 6)
"""Hours of the site's own clock that count as night: from the first up to, and without, the second."""

Version = Literal["draft", "in_force"]


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """It would have fired. ``track`` is the object on the event's picture, as it was tracked; None: of no one track."""

    version: Version
    event: Event
    number: int
    track: Track | None


class Unknown(msgspec.Struct, frozen=True, kw_only=True):
    """A time of which nothing can be told.

    ``reason``: ``blind:…`` or ``dropped:…`` as the ledger has it, ``silent`` (nothing was said about the camera),
    ``unlooked`` (the rule's deployment did not look), ``label`` (its model does not know all that the rule looks for).
    """

    camera: UUID
    from_at: datetime
    until_at: datetime
    reason: str

    @property
    def seconds(self) -> float:
        return (self.until_at - self.from_at).total_seconds()


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """How far it is: ``share`` 0–1 of everything, ``at`` on ``camera``'s own time. It may be stopped here."""

    share: float
    camera: UUID
    at: datetime


class Broken(msgspec.Struct, frozen=True, kw_only=True):
    """A version cannot run, with the reason."""

    version: Version
    reason: str


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """The whole of it, last of all. Times of day are the site's."""

    fired: int
    by_hour: list[tuple[datetime, int]]
    """Hours (local, aware) in which it fired, in order, with how often."""
    at_night: int
    most_in_an_hour: int
    """In any sixty minutes."""
    new: list[UUID]
    same: list[tuple[UUID, UUID]]
    """Events of the draft, each with that of the version in force."""
    gone: list[UUID]
    unknown_s: dict[str, float]
    """Camera seconds of which nothing can be told, by reason; where two hold, the graver one counts."""
    known_s: float


Item = Found | Unknown | Progress | Broken | Summary
Reader = Callable[[UUID, datetime, datetime, frozenset[str] | None], Iterable[Batch]]
"""(camera, from, until, labels) -> batches in log order; see ``alerts.archive.Archive``."""


@dataclass(frozen=True, kw_only=True)
class Rehearsal:
    """What is rehearsed. ``knows`` gives the labels of a model named as in Detections; None: it is not known."""

    draft: EmbeddedRule
    cameras: Sequence[UUID]
    from_at: datetime
    until_at: datetime
    in_force: EmbeddedRule | None = None
    time_zone: str = "UTC"
    tracking: TrackerConfig | None = None
    """Track anew with this; None: the archived tracks are taken."""
    warm_up_s: float | None = None
    """None: ``WARM_UP_S``, and more where a version waits for something that lasts longer."""
    knows: Mapping[str, frozenset[str]] = field(default_factory=dict)

    def rules(self) -> dict[UUID, tuple[Version, EmbeddedRule]]:
        """The versions that run, by name, each in force over the whole span; one and the same runs once."""
        wide = {"active_from_at": self.first_at, "active_until_at": None}
        rules: dict[UUID, tuple[Version, EmbeddedRule]] = {}
        if self.in_force is not None:
            rules[self.in_force.version] = ("in_force", msgspec.structs.replace(self.in_force, **wide))
        rules[self.draft.version] = ("draft", msgspec.structs.replace(self.draft, **wide))
        return rules

    @property
    def first_at(self) -> datetime:
        """Where reading begins: the warm-up's start."""
        versions = [rule for rule in (self.draft, self.in_force) if rule is not None]
        needed_s = max([WARM_UP_S, *map(settling_s, versions)])
        return self.from_at - timedelta(seconds=needed_s if self.warm_up_s is None else self.warm_up_s)


def rehearse(what: Rehearsal, read: Reader) -> Iterator[Item]:
    """Everything that would have happened, camera after camera, and the ``Summary`` last."""
    found: list[Found] = []
    unknown: list[Unknown] = []
    for place, camera in enumerate(what.cameras):
        for item in _Camera(what, camera).run(read):
            if isinstance(item, Found):
                found.append(item)
            elif isinstance(item, Unknown):
                unknown.append(item)
            elif isinstance(item, Progress):
                share = (place + item.share) / len(what.cameras)
                item = msgspec.structs.replace(item, share=share)
            yield item
    yield summarise(what, found, unknown)


class _Camera:
    """One camera of a rehearsal: its engine, and what is not known of it."""

    def __init__(self, what: Rehearsal, camera: UUID) -> None:
        self._what, self._camera = what, camera
        self._rules = what.rules()
        self._deployments = {rule.deployment for _, rule in self._rules.values()}
        self._engine = Engine([rule for _, rule in self._rules.values()], tracking=what.tracking, screens=False)
        self._ledger = Ledger(camera, what.draft.deployment, what.from_at, what.until_at, _watch(what))
        self._tracks: list[Track] = []
        self._latest: UUID | None = None

    def run(self, read: Reader) -> Iterator[Item]:
        for version, reason in self._engine.broken.items():
            yield Broken(version=self._rules[version][0], reason=reason)
        labels = None if self._what.tracking is not None else _labels(rule for _, rule in self._rules.values())
        for batch in read(self._camera, self._what.first_at, self._what.until_at, labels):
            yield from self._batch(batch)
            if batch.rows:
                yield self._progress(batch.rows[-1])
        yield from self._ledger.close()

    def _progress(self, row: Kept) -> Progress:
        at = _time(row.observation)
        whole = (self._what.until_at - self._what.first_at).total_seconds()
        share = (at - self._what.first_at).total_seconds() / whole
        return Progress(share=min(1.0, max(0.0, share)), camera=self._camera, at=at)

    def _batch(self, batch: Batch) -> Iterator[Item]:
        ticks, engine, ledger = batch.ticks, self._engine, self._ledger
        before = np.searchsorted(ticks.offset, [row.offset for row in batch.rows]).tolist()
        latest_us = np.maximum.accumulate(ticks.at_us).tolist()
        done, retrack = 0, self._what.tracking is not None
        for row, upto in zip(batch.rows, before, strict=True):
            observation, tracks = row.observation, row.tracks
            if upto > done:
                if (wake_us := engine.wake_us()) is not None and latest_us[upto - 1] >= wake_us:
                    yield from self._pass(ticks, done, upto)
                done = upto
            if tracks is not None and not self._analyses(observation):
                ledger.take(observation)
                continue
            outcome = engine.step(observation, None if retrack else tracks)
            if outcome.tracks is not None:
                self._tracks = outcome.tracks
            if over := ledger.take(observation, outcome.blind):
                yield from over
            if outcome.events:
                yield from self._found(outcome)
        yield from self._pass(ticks, done, len(ticks.offset))

    def _analyses(self, picture: Any) -> bool:
        """Whether a version that is rehearsed reads this deployment's pictures; mostly it is the same object again."""
        if picture.deployment is not self._latest:
            if picture.deployment not in self._deployments:
                return False
            self._latest = picture.deployment
        return True

    def _pass(self, ticks: Ticks, start: int, end: int) -> Iterator[Item]:
        """Step the ticks that can fire. The others change nothing, and there is one a second."""
        while start < end and (wake_us := self._engine.wake_us()) is not None:
            due = np.flatnonzero(ticks.at_us[start:end] >= wake_us)
            if not len(due):
                return
            start += int(due[0])
            yield from self._found(self._engine.step(wire.Tick(at=from_us(int(ticks.at_us[start])))))
            start += 1

    def _found(self, outcome: Outcome) -> Iterator[Item]:
        for event, number in zip(outcome.events, outcome.fired, strict=True):
            if event.rule_version is None or not self._what.from_at <= event.happened_at < self._what.until_at:
                continue
            track = next((track for track in self._tracks if track.number == number), None)
            version = self._rules[event.rule_version][0]
            yield Found(version=version, event=event, number=number, track=track)


_SEEN = (wire.Detections, wire.Dropped)


def _time(observation: wire.Observation) -> datetime:
    return observation.captured_at if isinstance(observation, _SEEN) else observation.at


def _config(rule: EmbeddedRule) -> CommonConfig | None:
    try:
        return read_config(rule.kind, rule.config)
    except ValueError:
        return None  # the engine says so itself, as Broken


def _labels(rules: Iterable[EmbeddedRule]) -> frozenset[str]:
    """What these rules look at, with all that lies below each label."""
    return frozenset().union(*(_needed(config) for rule in rules if (config := _config(rule)) is not None))


def _needed(config: CommonConfig) -> frozenset[str]:
    needs = getattr(config, "needs", None)
    labels = {*config.labels, *(needs().labels if needs is not None else ())}
    return frozenset().union(*(expand(label) for label in labels))


def _watch(what: Rehearsal) -> Callable[[str], bool]:
    """Whether a model (as named in Detections) knows all that the draft looks for; one that nobody names is trusted.

    Of a family one member is enough, as where a rule is saved. With one label unknown it may have fired for that one,
    so nothing can be told; what it would have fired for the others is found all the same.
    """
    config = _config(what.draft)
    sought = {} if config is None else config.sought
    wanted = [expand(label) for labels in sought.values() for label in labels]
    return lambda model: model not in what.knows or all(what.knows[model] & terms for terms in wanted)


class Ledger:
    """What cannot be told of one camera within [from, until), as the observations come by. Pure.

    ``watches`` says of a model, by its name in Detections, whether it knows what the rule looks for.
    """

    def __init__(
        self, camera: UUID, deployment: UUID, from_at: datetime, until_at: datetime, watches: Callable[[str], bool]
    ) -> None:
        self._camera, self._deployment, self._watches = camera, deployment, watches
        self._from_at, self._until_at = from_at, until_at
        self._heard_at = self._looked_at = from_at
        self._unfit_at: datetime | None = None
        self._model = ""
        self._blind: BlindChange | None = None

    def take(self, observation: wire.Observation, blind: Sequence[BlindChange] = ()) -> list[Unknown]:
        """One more observation was folded; returns what was not known and is over."""
        over: list[Unknown] = []
        if blind:
            over += [found for change in blind for found in self._on_blind(change)]
        at = _time(observation)
        if at > self._heard_at:
            if at - self._heard_at > SILENT:
                over += self._span(self._heard_at, at, "silent")
            self._heard_at = at
        if isinstance(observation, _SEEN) and observation.deployment == self._deployment:
            over += self._look(observation)
        return over

    def _look(self, seen: wire.Detections | wire.Dropped) -> list[Unknown]:
        over: list[Unknown] = []
        if seen.captured_at - self._looked_at > UNSEEN:
            over += self._span(self._looked_at, seen.captured_at, "unlooked")
        self._looked_at = max(self._looked_at, seen.captured_at)
        if isinstance(seen, wire.Detections) and seen.model != self._model:
            over += self._on_model(seen)
        return over

    def close(self) -> list[Unknown]:
        """The span is over: whatever still lasts ends with it."""
        over: list[Unknown] = []
        if self._until_at - self._heard_at > SILENT:
            over += self._span(self._heard_at, self._until_at, "silent")
        if self._until_at - self._looked_at > UNSEEN:
            over += self._span(self._looked_at, self._until_at, "unlooked")
        if self._unfit_at is not None:
            over += self._span(self._unfit_at, self._until_at, "label")
        if self._blind is not None:
            over += self._span(self._blind.from_at, self._until_at, f"blind:{self._blind.reason}")
        return over

    def _on_blind(self, change: BlindChange) -> list[Unknown]:
        if change.deployment not in (None, self._deployment):
            return []
        if change.until_at is None:
            self._blind = change
            return []
        if change.deployment is None:
            self._blind = None
        prefix = "" if change.reason.startswith("dropped:") else "blind:"
        return self._span(change.from_at, change.until_at, f"{prefix}{change.reason}")

    def _on_model(self, seen: wire.Detections) -> list[Unknown]:
        self._model = seen.model
        began, self._unfit_at = self._unfit_at, None if self._watches(seen.model) else seen.captured_at
        return [] if began is None else self._span(began, seen.captured_at, "label")

    def _span(self, from_at: datetime, until_at: datetime, reason: str) -> list[Unknown]:
        from_at, until_at = max(from_at, self._from_at), min(until_at, self._until_at)
        if until_at <= from_at:
            return []
        return [Unknown(camera=self._camera, from_at=from_at, until_at=until_at, reason=reason)]


# Adding up.


def summarise(what: Rehearsal, found: Sequence[Found], unknown: Sequence[Unknown]) -> Summary:
    """Counts, the comparison, and how much is known at all."""
    same_version = what.in_force is not None and what.in_force.version == what.draft.version
    draft = [one for one in found if one.version == "draft"]
    force = draft if same_version else [one for one in found if one.version == "in_force"]
    same = compare(draft, force)
    kept, met = {one for one, _ in same}, {other for _, other in same}
    clock = zoneinfo.ZoneInfo(what.time_zone)
    local = sorted(one.event.happened_at.astimezone(clock) for one in draft)
    unknown_s = unknown_by_reason(unknown)
    whole_s = (what.until_at - what.from_at).total_seconds() * len(what.cameras)
    return Summary(
        fired=len(draft),
        by_hour=sorted(Counter(at.replace(minute=0, second=0, microsecond=0) for at in local).items()),
        at_night=sum(is_night(at) for at in local),
        most_in_an_hour=most_in_an_hour(local),
        new=[one.event.uid for one in draft if one.event.uid not in kept],
        same=same,
        gone=[one.event.uid for one in force if one.event.uid not in met],
        unknown_s=unknown_s,
        known_s=whole_s - sum(unknown_s.values()),
    )


def is_night(local: datetime) -> bool:
    """Whether a time of the site's clock counts as night."""
    return local.hour >= NIGHT[0] or local.hour < NIGHT[1]


def most_in_an_hour(times: Sequence[datetime]) -> int:
    """The most of the sorted ``times`` within any sixty minutes.

    >>> from datetime import UTC
    >>> most_in_an_hour([datetime(2026, 1, 1, 10, m, tzinfo=UTC) for m in (0, 30, 59)])
    3
    """
    first, most = 0, 0
    for last, at in enumerate(times):
        while (at - times[first]).total_seconds() >= 3600:
            first += 1
        most = max(most, last - first + 1)
    return most


def compare(draft: Sequence[Found], in_force: Sequence[Found]) -> list[tuple[UUID, UUID]]:
    """Which firings of the two are the same, nearest in time first; each is in one pair at most."""
    near = _Near(in_force)
    pairs: dict[int, int] = {}
    taken: set[int] = set()
    for _, i, j in sorted((apart_s, i, j) for i, one in enumerate(draft) for apart_s, j in near.to(one)):
        if i not in pairs and j not in taken:
            pairs[i] = j
            taken.add(j)
    return [(draft[i].event.uid, in_force[j].event.uid) for i, j in sorted(pairs.items())]


class _Near:
    """Finds what is of the same track or close in time, without looking at everything."""

    def __init__(self, found: Sequence[Found]) -> None:
        self._by_track: dict[tuple[UUID, int, tuple[int, int]], list[tuple[datetime, int]]] = {}
        self._by_time: dict[UUID, list[tuple[datetime, int]]] = {}
        for number, one in enumerate(found):
            place = (one.event.happened_at, number)
            self._by_time.setdefault(one.event.camera, []).append(place)
            if one.track is not None:
                self._by_track.setdefault((one.event.camera, one.number, one.track.first), []).append(place)
        for places in self._by_time.values():
            places.sort()

    def to(self, one: Found) -> set[tuple[float, int]]:
        """(seconds apart, index) of each that may be the same as ``one``."""
        camera, at = one.event.camera, one.event.happened_at
        by_time = self._by_time.get(camera, [])
        span = timedelta(seconds=SAME_S)
        places = by_time[bisect_left(by_time, (at - span, -1)) : bisect_right(by_time, (at + span, len(by_time)))]
        if one.track is not None:
            places = places + self._by_track.get((camera, one.number, one.track.first), [])
        return {(abs((at - other_at).total_seconds()), number) for other_at, number in places}


def unknown_by_reason(unknown: Iterable[Unknown]) -> dict[str, float]:
    """Seconds by reason, camera by camera, no second twice: where two reasons hold, the graver one counts."""
    edges = sorted(
        edge
        for span in unknown
        for edge in (
            (str(span.camera), span.from_at, 1, _gravity(span.reason)),
            (str(span.camera), span.until_at, -1, _gravity(span.reason)),
        )
    )
    seconds: dict[str, float] = {}
    holds: Counter[tuple[int, str]] = Counter()
    for (camera, from_at, change, reason), (next_camera, until_at, _, _) in pairwise([*edges, *edges[-1:]]):
        holds[reason] += change
        if camera == next_camera and until_at > from_at and (now := [one for one, count in holds.items() if count]):
            worst = min(now)[1]
            seconds[worst] = seconds.get(worst, 0.0) + (until_at - from_at).total_seconds()
    return seconds


_GRAVITY = ("blind", "dropped", "silent", "label", "unlooked")


def _gravity(reason: str) -> tuple[int, str]:
    return _GRAVITY.index(reason.partition(":")[0]), reason
