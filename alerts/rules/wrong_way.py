"""Wrong way: something moves against an arrow for a distance. Pure.

The arrow is the way that is right. On a line it is the way from its first to its second point, for what moves beside
it; in a polygon it is the angle. Positions are medians of the last boxes. The distance is counted from the farthest
point it had reached the right way, and only while the way back is mostly against the arrow, so that who crosses the
road is not wrong.
"""

from __future__ import annotations

import math
from typing import Annotated, Any, ClassVar

import msgspec
from msgspec import Meta

from alerts.events import Fact
from alerts.ground import speed_kmh
from alerts.rules.config import EmbeddedZone, Needs, Point, _
from alerts.rules.following import SMOOTHED, InZone, Standing, State, ZoneConfig, distance, middle, restore
from alerts.rules.logic import Logic, Seen, Shortfall, short, thousandths
from alerts.zones import bottom_centre
from detectors.tracking import Track


class WrongWayConfig(ZoneConfig, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An object of these labels moves against the arrow for ``against``."""

    shapes: ClassVar[tuple[str, ...]] = ("polygon", "line")
    metric: ClassVar[tuple[str, ...]] = ("against_m",)

    labels: Annotated[
        list[str],
        Meta(min_length=1, title=_("Labels"), description=_("What is looked for, for example person or vehicle.")),
    ] = msgspec.field(default_factory=lambda: ["vehicle"])
    angle: Annotated[
        float,
        Meta(
            ge=0,
            lt=360,
            title=_("Right way (°)"),
            description=_("In a polygon: 0 is up in the picture, 90 right, 180 down. A line has its own."),
        ),
    ] = 0.0
    against: Annotated[
        float,
        Meta(gt=0, le=5, title=_("Against it for"), description=_("Picture heights it must move the wrong way.")),
    ] = 0.15
    against_m: Annotated[
        Annotated[float, Meta(gt=0, le=500)] | None,
        Meta(
            title=_("Against it for (m)"),
            description=_("Instead, in metres; the ground of the view must be calibrated. Empty: picture heights."),
        ),
    ] = None
    tolerance: Annotated[
        float,
        Meta(
            gt=0,
            le=90,
            title=_("Tolerance (°)"),
            description=_("How far its way may turn off the opposite of the arrow."),
        ),
    ] = 60.0
    beside: Annotated[
        float,
        Meta(
            gt=0, le=2, title=_("Beside the line"), description=_("Picture heights on either side that belong to it.")
        ),
    ] = 0.2

    def needs(self) -> Needs:
        """Five pictures a second keep a moving car one track."""
        return Needs(labels=list(self.labels), hz=5.0, width_px=640, unbroken=True)

    def build(self, zone: EmbeddedZone, state: Any | None) -> Logic:
        """Logic for one zone."""
        return _WrongWay(self, zone, restore(state, State[_Course]))


class _Course(Standing):
    recent: list[Point] = msgspec.field(default_factory=list)
    top: Point | None = None
    """The farthest that it came the right way."""
    against: float = 0.0


class _WrongWay(InZone[WrongWayConfig, _Course]):
    stay = _Course
    clocks_speed = True

    @property
    def wake_at_s(self) -> float | None:
        """What does not move does not go the wrong way."""
        return None

    def on_blind(self, from_s: float, until_s: float) -> None:
        """How it moved meanwhile is not known."""
        super().on_blind(from_s, until_s)
        for stay in self._state.stays.values():
            self._break(stay)

    def _break(self, stay: _Course) -> None:
        stay.recent, stay.top = [], None
        self._go(stay, 0.0)

    def _go_on(self, stay: _Course, at: Point) -> None:
        """Another may drive close behind: only what each was seen to go counts, and together."""
        super()._go_on(stay, at)
        by = at[0] - stay.path[-1][0], at[1] - stay.path[-1][1]
        stay.recent = [_moved(point, by) for point in stay.recent]
        stay.top = None if stay.top is None else _moved(stay.top, by)

    def _place(self, stay: _Course, seen: Seen, track: Track) -> None:
        super()._place(stay, seen, track)
        if not stay.inside:
            self._break(stay)
            return
        stay.recent = [*stay.recent[1 - SMOOTHED :], bottom_centre(track.xyxy)]
        here, top = middle(stay.recent), stay.top
        if top is None or (along := self._along(top, here, seen.aspect)) >= 0:
            stay.top = here
            self._go(stay, 0.0)
        else:
            straight = -along >= math.cos(math.radians(self._config.tolerance)) * distance(top, here, seen.aspect)
            self._go(stay, self._gone(top, here, -along) if straight else 0.0)

    @property
    def _bound(self) -> float:
        return self._config.against_m or self._config.against

    def _gone(self, top: Point, here: Point, against: float) -> float:
        """How far it came the wrong way, in the unit of ``_bound``; what cannot be measured does not count."""
        if self._config.against_m is None or self._ground is None:
            return against
        return self._ground.distance_m(top, here) or 0.0

    def _go(self, stay: _Course, against: float) -> None:
        stay.against = against
        if against < self._bound / 2:
            self._release(stay)

    def _due(self, stay: _Course) -> bool:
        return stay.against >= self._bound and stay.travel >= self._config.min_travel

    def _lacks(self, stay: _Course, at_s: float) -> list[Shortfall]:
        lacks, against = super()._lacks(stay, at_s), thousandths(stay.against)
        if not stay.inside or against >= self._bound:
            return lacks
        setting = "against" if self._config.against_m is None else "against_m"
        return [short(setting, self._bound, against, setting), *lacks]

    def _along(self, top: Point, here: Point, aspect: float) -> float:
        """How far ``here`` lies the right way from ``top``, in picture heights."""
        x, y = self._arrow(aspect)
        return (here[0] - top[0]) * aspect * x + (here[1] - top[1]) * y

    def _arrow(self, aspect: float) -> Point:
        """The right way, one picture height long."""
        if self._zone.shape != "line":
            turn = math.radians(self._config.angle)
            return math.sin(turn), -math.cos(turn)
        a, b = self._zone.points
        length = distance(a, b, aspect)
        return (b[0] - a[0]) * aspect / length, (b[1] - a[1]) / length

    def _contains(self, track: Track, seen: Seen) -> bool:
        if self._zone.shape != "line":
            return super()._contains(track, seen)
        (a, b), here, aspect = self._zone.points, bottom_centre(track.xyxy), seen.aspect
        length = distance(a, b, aspect)
        t = min(1.0, max(0.0, self._along(a, here, aspect) / length))
        foot = a[0] + t * (b[0] - a[0]), a[1] + t * (b[1] - a[1])
        return distance(foot, here, aspect) <= self._config.beside

    def _facts(self, stay: _Course) -> list[Fact]:
        unit = "m" if self._config.against_m else "heights"
        return [
            Fact("against", round(stay.against, 3), ">=", self._bound, unit),
            *self._ground_facts(stay, speed_kmh(stay.steps)),
            *super()._facts(stay),
        ]


def _moved(point: Point, by: Point) -> Point:
    return point[0] + by[0], point[1] + by[1]
