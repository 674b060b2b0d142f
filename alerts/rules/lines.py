"""Going over a directed line: what crossing and counting have in common. Pure.

The line is a segment: who walks around its end does not cross it. A crossing needs a way on each side: the track came
from clearly one side (beyond a band about the line, and at least ``least_way``) and has gone as far on the other, so
a box that trembles on the line crosses nothing. A track that was out of sight on the line crossed where the straight
way between its last and its next box does.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Annotated, ClassVar, NamedTuple, TypeVar

import msgspec
from msgspec import Meta

from alerts.events import Fact
from alerts.ground import speed_kmh
from alerts.rules.config import CommonConfig, EmbeddedZone, Point, _
from alerts.rules.following import Fresh, State, Stay, distance
from alerts.rules.logic import Direction, Seen, Shortfall, short, thousandths
from alerts.zones import bottom_centre
from detectors.tracking import Track


class LineConfig(CommonConfig, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What all kinds that look at a line carry."""

    shapes: ClassVar[tuple[str, ...]] = ("line",)

    band: Annotated[
        float,
        Meta(
            ge=0,
            le=0.5,
            title=_("Band"),
            description=_("Picture heights on either side of the line in which nothing is decided."),
        ),
    ] = 0.02
    least_way: Annotated[
        float,
        Meta(
            ge=0,
            le=1,
            title=_("Least way on each side"),
            description=_("Picture heights it must have gone before the line, and again behind it."),
        ),
    ] = 0.04


WIDEST = 4.0
"""No picture is wider for its height; the wider, the farther apart its sides."""


def has_two_sides(ends: Sequence[Point], band: float) -> bool:
    """Whether the picture reaches beyond ``band`` on both sides of the line: else nothing can go over it.

    >>> has_two_sides([(0.0, 0.5), (1.0, 0.5)], 0.02), has_two_sides([(0.0, 0.99), (1.0, 0.99)], 0.02)
    (True, False)
    """
    corners = [(x, y) for x in (0.0, 1.0) for y in (0.0, 1.0)]
    off = [_off(ends, corner, WIDEST) for corner in corners]
    return min(off) < -band and max(off) > band


def _off(ends: Sequence[Point], point: Point, aspect: float) -> float:
    """How far ``point`` is off the line or its extension, in picture heights; positive where the arrow points."""
    a, b = ends
    dx, dy = (b[0] - a[0]) * aspect, b[1] - a[1]
    return (dx * (point[1] - a[1]) - dy * (point[0] - a[0]) * aspect) / math.hypot(dx, dy)


class Way(NamedTuple):
    """One crossing: how far the track went before and behind the line, in picture heights."""

    direction: Direction
    before: float
    behind: float


class Mark(msgspec.Struct):
    """Where one object is with regard to one line.

    ``side``: 1 where its arrow points, -1 behind it, 0 not known yet.
    """

    side: int = 0
    origin: Point | None = None
    """Where its way on this side began."""
    way: float = 0.0
    last: Point | None = None
    cut: Point | None = None
    """Where it last went over the line, or over the line's extension."""
    within: bool = False
    """Whether that was between the line's ends."""


class Walk(Stay):
    """A stay that is its own ``Mark`` with regard to the rule's line, and what it crossed."""

    side: int = 0
    origin: Point | None = None
    way: float = 0.0
    last: Point | None = None
    cut: Point | None = None
    within: bool = False
    crossed: list[Way] = msgspec.field(default_factory=list)
    """Crossings that have not been told, because it is not confirmed yet."""
    went: Direction | None = None
    """Which way it crossed last."""
    speed: float | None = None
    """At the last of them, in km/h, where the ground is calibrated."""


class Line:
    """The arithmetic of one directed line."""

    def __init__(self, zone: EmbeddedZone, config: LineConfig) -> None:
        if len(zone.points) != 2:
            raise ValueError(
                f"zone {zone.name!r}: expected a line with 2 points, got {len(zone.points)}; choose a line, or draw one"
            )
        self._ends, self._band, self._least_way = zone.points, config.band, config.least_way

    @staticmethod
    def forget(mark: Mark | Walk) -> None:
        """What it did since it was last seen is not to be counted."""
        mark.side, mark.way = 0, 0.0
        mark.origin = mark.last = mark.cut = None

    def advance(self, mark: Mark | Walk, here: Point, aspect: float) -> Way | None:
        """The object of ``mark`` stands ``here`` now; the crossing that this completes."""
        last, mark.last = mark.last, here
        off = self._off(here, aspect)
        if last is not None:
            self._cut(mark, last, here, aspect)
        if mark.side == 0:
            if abs(off) > self._band:
                mark.side, mark.origin, mark.way = (1 if off > 0 else -1), here, 0.0
        elif off * mark.side >= 0:
            mark.way = max(mark.way, _apart(mark.origin, here, aspect))
        elif abs(off) > self._band:
            return self._arrive(mark, here, aspect)
        return None

    def _arrive(self, mark: Mark | Walk, here: Point, aspect: float) -> Way | None:
        behind = _apart(mark.cut, here, aspect)
        if behind < self._least_way:
            return None
        before, direction = max(mark.way, _apart(mark.origin, mark.cut, aspect)), _direction(-mark.side)
        mark.side, mark.origin, mark.way = -mark.side, mark.cut, behind
        crossed = mark.within and before >= self._least_way
        return Way(direction, round(before, 3), round(behind, 3)) if crossed else None

    def _off(self, point: Point, aspect: float) -> float:
        return _off(self._ends, point, aspect)

    def _cut(self, mark: Mark | Walk, last: Point, here: Point, aspect: float) -> None:
        was, now = self._off(last, aspect), self._off(here, aspect)
        if (was < 0) == (now < 0):
            return
        t = was / (was - now)
        cut = last[0] + t * (here[0] - last[0]), last[1] + t * (here[1] - last[1])
        mark.cut, mark.within = cut, 0 <= self._along(cut, aspect) <= 1

    def _along(self, point: Point, aspect: float) -> float:
        """Where ``point`` stands along the line: 0 at its first end, 1 at its second."""
        a, b = self._ends
        dx, dy = (b[0] - a[0]) * aspect, b[1] - a[1]
        return ((point[0] - a[0]) * aspect * dx + (point[1] - a[1]) * dy) / (dx * dx + dy * dy)


L = TypeVar("L", bound=LineConfig)
W = TypeVar("W", bound=Walk)


class OverLine(Fresh[L, W]):
    """Following that notices crossings; a kind takes them from ``_crossings``."""

    takes_over_s = 1.5

    def __init__(self, config: L, zone: EmbeddedZone, state: State[W]) -> None:
        super().__init__(config, zone, state)
        self._line = Line(zone, config)

    def on_blind(self, from_s: float, until_s: float) -> None:
        """Who crossed meanwhile was not seen crossing."""
        super().on_blind(from_s, until_s)
        for stay in self._state.stays.values():
            self._break(stay)

    def _break(self, stay: W) -> None:
        Line.forget(stay)

    def _crossings(self) -> Iterator[tuple[int, W, Way]]:
        """Every crossing of a confirmed track that has moved enough, once."""
        for number, stay in self._state.stays.items():
            if stay.crossed and self._occupies(stay) and self._due(stay):
                ways, stay.crossed = stay.crossed, []
                for way in ways:
                    stay.went = way.direction
                    yield number, stay, way

    def _lacks(self, stay: W, at_s: float) -> list[Shortfall]:
        if stay.crossed or stay.went is not None:
            return super()._lacks(stay, at_s)
        return [self._uncrossed(stay), *super()._lacks(stay, at_s)]

    def _uncrossed(self, stay: W) -> Shortfall:
        if stay.cut is None:
            return Shortfall(bound="not_crossed", wanted="over the line", got="")
        if not stay.within:
            return Shortfall(bound="past_the_end", wanted="over the line", got="")
        least, before = self._config.least_way, thousandths(stay.way)
        if before < least:
            return short("before_line", least, before, "least_way")
        return Shortfall(bound="behind_line", wanted=least, got="less")

    def _place(self, stay: W, seen: Seen, track: Track) -> None:
        if way := self._line.advance(stay, bottom_centre(track.xyxy), seen.aspect):
            self._cross(stay, way)

    def _cross(self, stay: W, way: Way) -> None:
        """``stay`` went over the line."""
        stay.crossed = [*stay.crossed, way]
        stay.speed = speed_kmh(stay.steps)

    def _way_facts(self, stay: W, way: Way) -> list[Fact]:
        least, sign = self._config.least_way, 1.0 if way.direction == "forward" else -1.0
        return [
            Fact("direction", sign, "=", sign),
            Fact("before_line", way.before, ">=", least, "heights"),
            Fact("behind_line", way.behind, ">=", least, "heights"),
            *self._facts(stay),
        ]


def _direction(side: int) -> Direction:
    return "forward" if side > 0 else "backward"


def _apart(a: Point | None, b: Point | None, aspect: float) -> float:
    return 0.0 if a is None or b is None else distance(a, b, aspect)
