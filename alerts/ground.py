"""Metres on the ground: from four corners of a rectangle in the picture and the lengths of two of its sides. Pure.

What is level and straight in front of a camera maps to the picture by a homography, which four points fix. Points are
fractions of the picture, so another resolution moves nothing. An object stands where its feet are; what is above the
ground (a head, a roof) has no place on it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise
from statistics import median
from typing import Any

import msgspec

from alerts.zones import BadPoints, _, area, check_points

Point = tuple[float, float]
Step = tuple[float, float, float]
"""When (POSIX seconds) something stood where on the ground (metres)."""

LEAST_M, MOST_M = 0.1, 1000.0
"""Of a side. A shorter one cannot be clicked well enough, a longer one is no longer one level ground."""
LEAST_SIDE, LEAST_AREA = 0.01, 0.002
"""Of the picture. In a smaller rectangle one badly clicked point is half of its size."""
FARTHEST = 4.0
"""Beyond so many times the distance of the farthest calibrated corner nothing is measured: there a pixel is metres."""
SPEED_S = 2.0
"""A speed is that of the last so many seconds."""
SPEED_LEAST_S, SPEED_LEAST_STEPS = 0.6, 4
"""Of less, a speed would be the trembling of the box."""


class Ground(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A rectangle on the ground: its corners in the picture, one after the other, and two of its sides.

    ``width_m`` lies between the first and the second corner, ``depth_m`` between the second and the third.
    """

    points: list[Point]
    width_m: float
    depth_m: float


class BadGround(BadPoints):
    """A calibration that measures nothing. ``field`` names what is wrong: points, width_m or depth_m."""

    def __init__(self, field: str, msgid: str, **params: object) -> None:
        super().__init__(msgid, **params)
        self.field = field


def check_ground(value: Any) -> Ground:
    """``value`` (plain, or a ``Ground``) as a calibration that measures. Raises ``BadGround`` with the remedy."""
    try:
        ground = msgspec.convert(msgspec.to_builtins(value), Ground)
    except msgspec.ValidationError as error:
        raise BadGround(
            "points", _("Expected four corners and two lengths in metres: %(problem)s."), problem=error
        ) from None
    for field in ("width_m", "depth_m"):
        _check_length(field, getattr(ground, field))
    _check_corners(ground.points)
    return ground


def stored(ground: Ground | None) -> dict[str, Any] | None:
    """As a view keeps it: plain JSON."""
    return None if ground is None else msgspec.json.decode(msgspec.json.encode(ground))


def _check_length(field: str, metres: float) -> None:
    if not (math.isfinite(metres) and LEAST_M <= metres <= MOST_M):
        raise BadGround(
            field,
            _("Expected a length from %(least)g to %(most)g m, got %(got)g. Measure it on the spot or on a map."),
            least=LEAST_M,
            most=MOST_M,
            got=metres,
        )


def _check_corners(points: list[Point]) -> None:
    if len(points) != 4:
        raise BadGround("points", _("Expected four corners, got %(got)d. Click all four."), got=len(points))
    try:
        check_points(points)
    except BadPoints as bad:
        raise BadGround("points", bad.msgid, **bad.params) from None
    near = min(math.dist(a, b) for a, b in pairwise([*points, points[0]]))
    if near < LEAST_SIDE or area(points) < LEAST_AREA:
        raise BadGround("points", _("The corners lie too near to each other to measure by. Choose a larger rectangle."))
    if not _is_convex(points):
        raise BadGround(
            "points", _("These are not the corners of a rectangle on the ground: one points inwards. Move it out.")
        )


def _is_convex(points: Sequence[Point]) -> bool:
    """Whether the ring turns the same way at each corner, and clearly."""
    turns = []
    for a, b, c in zip(points, [*points[1:], points[0]], [*points[2:], *points[:2]], strict=True):
        first, second = (b[0] - a[0], b[1] - a[1]), (c[0] - b[0], c[1] - b[1])
        sine = (first[0] * second[1] - first[1] * second[0]) / (math.hypot(*first) * math.hypot(*second))
        turns.append(sine)
    return min(turns) > 0.02 or max(turns) < -0.02


@dataclass(frozen=True, slots=True)
class Plane:
    """The ground of a view. ``rows``: the matrix that takes (x, y, 1) to (metres × w, metres × w, w).

    w is 1 at the farthest corner of the calibration and falls to 0 at the horizon, as one over the distance.
    """

    rows: tuple[tuple[float, float, float], tuple[float, float, float], tuple[float, float, float]]

    @classmethod
    def of(cls, ground: Ground) -> Plane:
        """The plane of a checked calibration."""
        across, along, scale = _to_unit_square(ground.points)
        far = min((scale[0] * x + scale[1] * y + scale[2] for x, y in ground.points), key=abs)
        a, b, c = (value * ground.width_m / far for value in across)
        d, e, f = (value * ground.depth_m / far for value in along)
        g, h, i = (value / far for value in scale)
        return cls(((a, b, c), (d, e, f), (g, h, i)))

    def at(self, point: Point) -> Point | None:
        """Where on the ground ``point`` of the picture is, in metres; None too far away, or above the horizon."""
        (a, b, c), (d, e, f), (g, h, i) = self.rows
        x, y = point
        w = g * x + h * y + i
        return ((a * x + b * y + c) / w, (d * x + e * y + f) / w) if w * FARTHEST >= 1.0 else None

    def distance_m(self, a: Point, b: Point) -> float | None:
        """Between two points of the picture; None where one cannot be measured."""
        here, there = self.at(a), self.at(b)
        return None if here is None or there is None else math.dist(here, there)

    def area_m2(self, polygon: Sequence[Point]) -> float | None:
        """Of a polygon of the picture; None where part of it cannot be measured. Straight edges stay straight."""
        corners = [corner for corner in (self.at(point) for point in polygon) if corner is not None]
        return area(corners) if len(corners) == len(polygon) else None


def _to_unit_square(points: Sequence[Point]) -> tuple[tuple[float, float, float], ...]:
    """The matrix that takes the quadrilateral ``points`` to (0, 0), (1, 0), (1, 1), (0, 1), up to its scale.

    The adjugate of the matrix the other way. Source: Heckbert, Fundamentals of Texture Mapping, 1989, section 2.2.3.
    """
    (x0, y0), (x1, y1), (x2, y2), (x3, y3) = points
    sx, sy = x0 - x1 + x2 - x3, y0 - y1 + y2 - y3
    dx1, dy1, dx2, dy2 = x1 - x2, y1 - y2, x3 - x2, y3 - y2
    det = dx1 * dy2 - dx2 * dy1
    g, h = (sx * dy2 - dx2 * sy) / det, (dx1 * sy - sx * dy1) / det
    a, b, c = x1 - x0 + g * x1, x3 - x0 + h * x3, x0
    d, e, f = y1 - y0 + g * y1, y3 - y0 + h * y3, y0
    return (
        (e - f * h, c * h - b, b * f - c * e),
        (f * g - d, a - c * g, c * d - a * f),
        (d * h - e * g, b * g - a * h, a * e - b * d),
    )


def recent(steps: Sequence[Step], at_s: float) -> list[Step]:
    """Those of ``steps`` that a speed at ``at_s`` is made of."""
    return [step for step in steps if round(at_s - step[0], 3) <= SPEED_S]


def speed_kmh(steps: Sequence[Step]) -> float | None:
    """How fast something went along ``steps``; None where they are too few or too short a time.

    The median, for each direction, of the speeds between all pairs of them: a third of the boxes may be wrong.
    Source: Theil and Sen's estimator of a slope.

    >>> speed_kmh([(0.0, 0.0, 0.0), (0.2, 1.0, 0.0), (0.4, 2.0, 0.0), (0.6, 3.0, 0.0)])
    18.0
    """
    if len(steps) < SPEED_LEAST_STEPS or round(steps[-1][0] - steps[0][0], 3) < SPEED_LEAST_S:
        return None
    slopes = [
        ((x2 - x1) / passed_s, (y2 - y1) / passed_s)
        for (t1, x1, y1), (t2, x2, y2) in combinations(steps, 2)
        if (passed_s := round(t2 - t1, 3)) > 0
    ]
    return round(math.hypot(median(x for x, _ in slopes), median(y for _, y in slopes)) * 3.6, 1)
