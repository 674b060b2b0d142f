"""One change of a rule that would spare people its false alarms and keep every confirmed one. Pure.

It guesses from what is known of each alarm; what the change would really have done, a rehearsal says.
"""

from __future__ import annotations

import math
import uuid
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import cached_property
from itertools import pairwise
from typing import Any, Literal, NamedTuple
from uuid import UUID

import msgspec
import numpy as np

from alerts import masks
from alerts.rules.config import CommonConfig, EmbeddedRule, EmbeddedZone, Point, Schedule, ScheduleSpan
from alerts.rules.registry import BadConfig, read_config
from alerts.rules.sequence import SequenceConfig
from alerts.schedule import follows_sun, is_active
from alerts.zones import bottom_centre, contains

Xyxy = tuple[float, float, float, float]
Kind = Literal["mask", "confidence", "confirmation", "hold", "size", "within", "schedule"]

MOST_CONFIDENCE = 0.95
MOST_HOLD_S = 120.0
MOST_COUNT = 50
MOST_SHARE = 0.6
"""A mask that takes more of the zones than this is no mask: the zones are in the wrong place."""
MOST_SPREAD = 0.3
"""What wandered further than this (fractions of the picture) has no place that a mask could cover."""
MOST_HOURS_CUT = 12
LEAST_FOR_HOURS = 3
"""So many false and so many confirmed alarms at least, before hours without a confirmed one mean anything."""
ROOM = {"confidence": 0.06, "hold_s": 2.0, "min_height": 0.02, "max_height": 0.02, "within_s": 10.0}
"""How far beyond the worst false alarm a bound goes at most, however much room the confirmed ones leave."""

_MIDNIGHT = datetime(2026, 1, 1, tzinfo=UTC)
_PICTURE: list[Point] = [(0, 0), (1, 0), (1, 1), (0, 1)]

_SUITS: dict[str, frozenset[Kind]] = {
    "headlights": frozenset({"mask", "hold"}),
    "rain": frozenset({"confirmation", "confidence"}),
    "shadow": frozenset({"mask", "schedule"}),
    "animal": frozenset({"size", "confidence"}),
    "reflection": frozenset({"mask"}),
    "steam": frozenset({"mask"}),
    "insect": frozenset({"confirmation", "size"}),
    "staff": frozenset({"schedule", "mask"}),
}
"""By ``Incident.FalseReason``: which change such alarms call for, when several would do the same."""


class Sighting(NamedTuple):
    """One analysed picture while the object was followed; score 0: this picture missed it."""

    at_s: float
    xyxy: Xyxy
    score: float


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """One alarm that people judged: false, or one that must stay.

    ``local`` is in the site's clock. ``confirmed``, ``held_s`` and ``after_first_s`` are the event's own numbers.
    ``sightings`` is all that is archived of its object, in order; empty where that is nothing.
    """

    uid: UUID
    false: bool
    camera: UUID
    zone: UUID | None
    local: datetime
    xyxy: Xyxy | None = None
    """None: no one object fired it."""
    score: float = 0.0
    confirmed: int = 0
    held_s: float = 0.0
    after_first_s: float = 0.0
    """Of a sequence: how long after its first event it was complete."""
    path: list[Point] = []
    sightings: list[Sighting] = []


class Proposal(msgspec.Struct, frozen=True, kw_only=True):
    """``rule`` is the whole changed rule, under a version name of its own.

    ``removed`` and ``cost`` are guesses: the false alarms that it spares people, and how much it gives up (0–1).
    """

    kind: Kind
    rule: EmbeddedRule
    removed: frozenset[UUID]
    cost: float

    @property
    def mask(self) -> EmbeddedZone | None:
        """The exclusion that it adds."""
        return self.rule.zones[-1] if self.kind == "mask" else None


class Range(NamedTuple):
    """What is known of a number: at least, at most."""

    low: float
    high: float


def propose(rule: EmbeddedRule, cases: Sequence[Case], *, asked: UUID, camera: UUID, cause: str = "") -> list[Proposal]:
    """Changes of ``rule`` that by what is known remove some false alarm and no confirmed one, the best first.

    Best: the most false ones removed; then the ``asked`` one among them; then the mildest, where much alike what suits
    its ``cause``. A mask is looked for on ``camera`` only. Empty: the false ones look like the confirmed ones.
    Raises ``BadConfig``.
    """
    config = read_config(rule.kind, rule.config)
    search = _Search(rule, config, cases)
    if isinstance(config, SequenceConfig):
        # What it saw is its rules' business: each has false alarms, and proposals, of its own.
        found = search.within(config.within_s)
    else:
        boxed = [case for case in cases if case.xyxy is not None]
        found = list(_Search(rule, config, boxed).of_objects(camera))
    found = [one for one in (*found, *search.schedule()) if one.removed]
    suits = _SUITS.get(cause, frozenset())

    def worth(one: Proposal) -> tuple[Any, ...]:
        return -len(one.removed), asked not in one.removed, int(one.cost * 10), one.kind not in suits, one.cost

    return sorted(found, key=worth)


class _Known:
    """A case measured against the rule."""

    def __init__(self, case: Case, rule: EmbeddedRule, config: CommonConfig) -> None:
        self.case, self._config = case, config
        self._zone = next((zone for zone in rule.zones if zone.uid == case.zone and zone.shape == "polygon"), None)

    @property
    def box(self) -> Xyxy:
        assert self.case.xyxy is not None, "without a box nothing is measured"
        return self.case.xyxy

    @cached_property
    def feet(self) -> Point:
        return bottom_centre(self.box)

    @cached_property
    def places(self) -> list[Point]:
        """Where it stood within its zone."""
        feet = [bottom_centre(one.xyxy) for one in self.case.sightings] or list(self.case.path)
        inside = self._inside(feet)
        return [self.feet, *(place for place, good in zip(feet, inside, strict=True) if good)]

    @cached_property
    def reach(self) -> Range:
        """The highest confidence at which it would still have been confirmed."""
        if not self.case.sightings:
            return Range(self.case.score, self.case.score)
        k, windows = self._config.confirm_k, self._windows(self._config.confirm_n, self._config.confirm_within_s)
        best = max((sorted(scores)[-k] for scores in windows if len(scores) >= k), default=self.case.score)
        return Range(best, best)

    def count(self, n: int, within_s: float) -> Range:
        """In how many of any ``n`` pictures in a row it was seen well enough."""
        if not self.case.sightings:
            return Range(self.case.confirmed, self.case.confirmed if n <= self._config.confirm_n else math.inf)
        good = [sum(score >= self._config.confidence for score in scores) for scores in self._windows(n, within_s)]
        return Range(max(good), max(good))

    @cached_property
    def lasted_s(self) -> Range:
        """How long it was in the zone."""
        inside = self._inside([bottom_centre(one.xyxy) for one in self.case.sightings])
        times = [one.at_s for one, good in zip(self.case.sightings, inside, strict=True) if good]
        if not times:
            return Range(self.case.held_s, math.inf)
        # Quiet time counts as held and has no pictures, so the event's own number may be the larger.
        lasted_s = max(self.case.held_s, times[-1] - times[0])
        return Range(lasted_s, lasted_s)

    @cached_property
    def height(self) -> Range:
        """The lowest and the highest box of it, in picture heights."""
        boxes = [one.xyxy for one in self.case.sightings if one.score > 0] or [self.box]
        heights = [y2 - y1 for _, y1, _, y2 in boxes]
        return Range(min(heights), max(heights))

    @cached_property
    def after_first_s(self) -> Range:
        """How long after its first event the sequence was complete."""
        return Range(self.case.after_first_s, self.case.after_first_s)

    def _windows(self, n: int, within_s: float) -> Iterator[list[float]]:
        """The scores of each ``n`` pictures in a row, those left out that are too old by the last one."""
        seen = self.case.sightings
        for end in range(1, len(seen) + 1):
            yield [one.score for one in seen[max(0, end - n) : end] if seen[end - 1].at_s - one.at_s <= within_s]

    def _inside(self, feet: Sequence[Point]) -> list[bool]:
        if self._zone is None or not feet:
            return [True] * len(feet)
        return [bool(good) for good in contains(self._zone.points, np.array(feet, np.float64))]


Judge = Callable[[_Known], bool]


class _Search:
    def __init__(self, rule: EmbeddedRule, config: CommonConfig, cases: Sequence[Case]) -> None:
        self._rule, self._config = rule, config
        known = [_Known(case, rule, config) for case in cases]
        self._false = [one for one in known if one.case.false]
        self._kept = [one for one in known if not one.case.false]

    def of_objects(self, camera: UUID) -> Iterator[Proposal]:
        """Changes of how an object must look, and where; each case has a box."""
        yield from self._confidence()
        yield from self._confirmation()
        yield from self._hold()
        yield from self._sizes()
        yield from self._masks(camera)

    def _judged(
        self, kind: Kind, rule: EmbeddedRule | None, cost: float, avoids: Judge, keeps: Judge
    ) -> list[Proposal]:
        """The change as a proposal; none where it is no rule, or loses an alarm that must stay."""
        if rule is None or not all(keeps(one) for one in self._kept):
            return []
        removed = frozenset(one.case.uid for one in self._false if avoids(one))
        return [Proposal(kind=kind, rule=rule, removed=removed, cost=cost)]

    def _bar(self, name: str, measure: Callable[[_Known], Range], most: float, digits: int) -> float | None:
        """A bound above the false ones' best that is no higher than the confirmed ones' least."""
        limit = min([*(measure(one).low for one in self._kept), most])
        now = float(getattr(self._config, name) or 0.0)
        for best in sorted({measure(one).high for one in self._false}, reverse=True):
            bar = round(min((best + limit) / 2, best + ROOM[name]), digits)
            if max(best, now) < bar <= limit:
                return bar
        return None

    def _confidence(self) -> list[Proposal]:
        bar = self._bar("confidence", lambda one: one.reach, MOST_CONFIDENCE, 2)
        if bar is None:
            return []
        rule, cost = self._with(confidence=bar), bar - self._config.confidence
        return self._judged(
            "confidence", rule, cost, lambda one: one.reach.high < bar, lambda one: one.reach.low >= bar
        )

    def _confirmation(self) -> Iterator[Proposal]:
        k, n, within_s = self._config.confirm_k, self._config.confirm_n, self._config.confirm_within_s
        wider = min(MOST_COUNT, 2 * n)
        steps = [(more, n, within_s) for more in range(k + 1, n + 1)]
        steps += [(more, wider, min(60.0, 2 * within_s)) for more in range(n + 1, wider + 1)]
        for more, of, within in steps:
            yield from self._confirmed(more, of, within)

    def _confirmed(self, k: int, n: int, within_s: float) -> list[Proposal]:
        rule = self._with(confirm_k=k, confirm_n=n, confirm_within_s=within_s)
        cost = (k - self._config.confirm_k) / MOST_COUNT

        def avoids(one: _Known) -> bool:
            return one.count(n, within_s).high < k

        return self._judged("confirmation", rule, cost, avoids, lambda one: one.count(n, within_s).low >= k)

    def _hold(self) -> list[Proposal]:
        if not hasattr(self._config, "hold_s"):
            return []
        bar = self._bar("hold_s", lambda one: one.lasted_s, MOST_HOLD_S, 1)
        if bar is None:
            return []
        rule, cost = self._with(hold_s=bar), (bar - self._config.hold_s) / MOST_HOLD_S
        return self._judged(
            "hold", rule, cost, lambda one: one.lasted_s.high < bar, lambda one: one.lasted_s.low >= bar
        )

    def _sizes(self) -> Iterator[Proposal]:
        now_least, now_most = self._config.min_height or 0.0, self._config.max_height or 1.0
        least = self._bar("min_height", lambda one: one.height, 0.9, 3)
        most = self._ceiling("max_height", lambda one: one.height, 0.02, now_most, 3)
        if least is not None:
            rule, cost = self._with(min_height=least), least - now_least
            yield from self._judged(
                "size", rule, cost, lambda one: one.height.high < least, lambda one: one.height.low >= least
            )
        if most is not None:
            rule, cost = self._with(max_height=most), now_most - most
            yield from self._judged(
                "size", rule, cost, lambda one: one.height.low > most, lambda one: one.height.high <= most
            )

    def within(self, now_s: float) -> list[Proposal]:
        """Of a sequence: less time than ``now_s`` for its second event."""
        most_s = self._ceiling("within_s", lambda one: one.after_first_s, 1.0, now_s, 0)
        if most_s is None:
            return []
        rule, cost = self._with(within_s=most_s), (now_s - most_s) / now_s
        return self._judged(
            "within",
            rule,
            cost,
            lambda one: one.after_first_s.low > most_s,
            lambda one: one.after_first_s.high <= most_s,
        )

    def _ceiling(
        self, name: str, measure: Callable[[_Known], Range], least: float, now: float, digits: int
    ) -> float | None:
        """Like ``_bar``, from above: a bound below the false ones' least, no lower than the confirmed ones' most."""
        limit = max([*(measure(one).high for one in self._kept), least])
        for best in sorted({measure(one).low for one in self._false}):
            bar = round(max((best + limit) / 2, best - ROOM[name]), digits)
            if limit <= bar < min(best, now):
                return bar
        return None

    def _masks(self, camera: UUID) -> Iterator[Proposal]:
        here = [one for one in self._false if one.case.camera == camera and _spread(one.places) <= MOST_SPREAD]
        zones = [zone for zone in self._rule.zones if zone.camera == camera and zone.shape != "exclusion"]
        if not zones:
            return
        areas = [zone.points for zone in zones if zone.shape == "polygon"] or [_PICTURE]
        for group in masks.clusters([one.feet for one in here]):
            points = masks.around([place for number in group for place in here[number].places])
            cost = masks.share(points, areas)
            if cost <= MOST_SHARE:
                yield from self._masked(zones[0], points, cost)

    def _masked(self, zone: EmbeddedZone, points: list[Point], cost: float) -> list[Proposal]:
        uid = uuid.uuid5(self._rule.version, repr(points))
        mask = EmbeddedZone(
            uid=uid, camera=zone.camera, view=zone.view, name="exclusion", shape="exclusion", points=points
        )
        rule = self._changed(zones=[*self._rule.zones, mask])

        def avoids(one: _Known) -> bool:
            return one.case.camera == zone.camera and masks.covered(points, one.places) == 1.0

        def keeps(one: _Known) -> bool:
            if one.case.camera != zone.camera:
                return True
            return not masks.covered(points, [one.feet]) and masks.covered(points, one.places) < 0.5

        return self._judged("mask", rule, cost, avoids, keeps)

    def schedule(self) -> list[Proposal]:
        """Hours that held only false ones."""
        spans = self._rule.schedule.spans
        # The sun's hours move through the year: which ones to cut nobody can say.
        if follows_sun(self._rule.schedule):
            return []
        if len(self._kept) < LEAST_FOR_HOURS or any(sorted(set(span.days)) != list(range(7)) for span in spans):
            return []
        cut = _quiet_hours([one.case.local.hour for one in self._false], [one.case.local.hour for one in self._kept])
        if cut is None:
            return []
        hours = frozenset((cut[0] + step) % 24 for step in range(cut[1]))
        left = _without(spans, hours)
        rule = self._changed(schedule=msgspec.structs.replace(self._rule.schedule, spans=left)) if left else None
        return self._judged(
            "schedule",
            rule,
            len(hours) / 24,
            lambda one: one.case.local.hour in hours,
            lambda one: one.case.local.hour not in hours,
        )

    def _with(self, **settings: Any) -> EmbeddedRule | None:
        return self._changed(config={**self._rule.config, **settings})

    def _changed(self, **changes: Any) -> EmbeddedRule | None:
        """The rule with ``changes``, named by them; None where its kind does not take them."""
        rule = msgspec.structs.replace(self._rule, **changes)
        try:
            read_config(rule.kind, rule.config)
        except BadConfig:
            return None
        name = msgspec.json.encode([rule.config, rule.zones, rule.schedule])
        return msgspec.structs.replace(rule, version=uuid.uuid5(rule.version, name.hex()))


def _spread(places: Sequence[Point]) -> float:
    xs, ys = [x for x, _ in places], [y for _, y in places]
    return max(max(xs) - min(xs), max(ys) - min(ys))


def _quiet_hours(false: Sequence[int], kept: Sequence[int]) -> tuple[int, int] | None:
    """(first hour, how many hours) with the most of ``false``, none of ``kept``; the shortest of those."""
    best: tuple[int, int] | None = None
    most = LEAST_FOR_HOURS - 1
    for length in range(1, MOST_HOURS_CUT + 1):
        for first in range(24):
            hours = {(first + step) % 24 for step in range(length)}
            held = sum(hour in hours for hour in false)
            if held > most and not any(hour in hours for hour in kept):
                best, most = (first, length), held
    return best


def _without(spans: Sequence[ScheduleSpan], hours: frozenset[int]) -> list[ScheduleSpan]:
    """Daily ``spans`` (none: always) less ``hours``; empty where nothing is left."""
    whole = Schedule(spans=list(spans))
    day = [_MIDNIGHT + timedelta(minutes=minute) for minute in range(1440)]
    acts = [at.hour not in hours and is_active(whole, at) for at in day]
    edges = [minute for minute, (before, now) in enumerate(pairwise([acts[-1], *acts])) if before != now]
    starts, ends = [one for one in edges if acts[one]], [one for one in edges if not acts[one]]
    pieces = [(start, min((end for end in ends if end > start), default=ends[0])) for start in starts]
    return [ScheduleSpan(from_=_clock(start), until=_clock(end)) for start, end in pieces]


def _clock(minute: int) -> str:
    return f"{minute // 60:02}:{minute % 60:02}"
