"""Zones are arithmetic: polygons and lines in fractions of the picture. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

MIN_POINTS, MAX_POINTS = 3, 64
EDGE = 0.02
"""A box that ends so near the picture's edge, in fractions of the picture, may go on behind it."""

Float = npt.NDArray[np.float64]


def _(text: str) -> str:
    """Marks a sentence for translation; its language is chosen when it is shown."""
    return text


class BadPoints(ValueError):
    """Corners that make no zone. ``msgid`` and ``params`` are the sentence before translation."""

    def __init__(self, msgid: str, **params: object) -> None:
        self.msgid, self.params = msgid, params
        super().__init__(msgid % params)


def check_points(points: Any, shape: str = "polygon") -> list[tuple[float, float]]:
    """The corners of a zone as pairs of floats, checked.

    A polygon has 3 to 64 different corners within the picture, encloses an area and does not cross itself; a line has
    two different ends within the picture. Raises ``BadPoints`` with a sentence that names the corner and the remedy.
    """
    if not isinstance(points, Sequence) or isinstance(points, str | bytes):
        raise BadPoints(_("points: expected a list of [x, y] corners; write for example [[0.1, 0.5], [0.4, 0.5], …]"))
    corners = [_corner(number, point) for number, point in enumerate(points, start=1)]
    if shape == "line" and len(corners) != 2:
        raise BadPoints(
            _("points: expected exactly 2 corners for a line, got %(got)d; add or remove some"), got=len(corners)
        )
    if shape != "line" and not MIN_POINTS <= len(corners) <= MAX_POINTS:
        raise BadPoints(
            _("points: expected %(least)d to %(most)d corners for a polygon, got %(got)d; add or remove some"),
            least=MIN_POINTS,
            most=MAX_POINTS,
            got=len(corners),
        )
    if len(set(corners)) != len(corners):
        raise BadPoints(_("points: expected different corners, got one twice; remove the repeated one"))
    if shape != "line":
        _check_simple(corners)
    return corners


def _corner(number: int, point: Any) -> tuple[float, float]:
    if not isinstance(point, Sequence) or isinstance(point, str | bytes) or len(point) != 2:
        raise BadPoints(
            _("corner %(number)d: expected [x, y], got %(got)r; write two numbers"), number=number, got=point
        )
    if any(isinstance(value, bool) or not isinstance(value, int | float) for value in point):
        raise BadPoints(
            _("corner %(number)d: expected two numbers, got %(got)r; write for example [0.25, 0.5]"),
            number=number,
            got=point,
        )
    x, y = float(point[0]), float(point[1])
    if not (math.isfinite(x) and math.isfinite(y) and 0 <= x <= 1 and 0 <= y <= 1):
        raise BadPoints(
            _(
                "corner %(number)d: expected fractions of the picture from 0 to 1, got [%(x)g, %(y)g]; "
                "it lies outside the picture, move it inside"
            ),
            number=number,
            x=x,
            y=y,
        )
    return x, y


def _check_simple(corners: list[tuple[float, float]]) -> None:
    edges = list(pairwise([*corners, corners[0]]))
    for i, first in enumerate(edges):
        for j in range(i + 2, len(edges)):
            if (i, j) != (0, len(edges) - 1) and _cross(first, edges[j]):
                raise BadPoints(
                    _("polygon: edge %(one)d crosses edge %(other)d; put the corners in order around the zone"),
                    one=i + 1,
                    other=j + 1,
                )
    if area(corners) < 1e-6:
        raise BadPoints(_("polygon: expected an area, got corners on one line; move one of them"))


def _side(a: tuple[float, float], b: tuple[float, float], c: tuple[float, float]) -> float:
    return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])


def _cross(
    first: tuple[tuple[float, float], tuple[float, float]], second: tuple[tuple[float, float], tuple[float, float]]
) -> bool:
    (a, b), (c, d) = first, second
    one, two, three, four = _side(a, b, c), _side(a, b, d), _side(c, d, a), _side(c, d, b)
    if one * two < 0 and three * four < 0:
        return True
    return any(
        side == 0 and min(p[0], q[0]) <= r[0] <= max(p[0], q[0]) and min(p[1], q[1]) <= r[1] <= max(p[1], q[1])
        for side, p, q, r in ((one, a, b, c), (two, a, b, d), (three, c, d, a), (four, c, d, b))
    )


def area(corners: Sequence[tuple[float, float]]) -> float:
    """The area of a simple polygon, in fractions of the picture (shoelace formula).

    >>> area([(0, 0), (1, 0), (1, 1), (0, 1)])
    1.0
    """
    ring = [*corners, corners[0]]
    return abs(sum(a[0] * b[1] - b[0] * a[1] for a, b in pairwise(ring))) / 2


def contains(polygon: Sequence[tuple[float, float]], points: Float) -> npt.NDArray[np.bool_]:
    """For each of ``points`` (``(n, 2)``, x y) whether it lies in ``polygon`` (even-odd rule, edges count as in).

    >>> contains([(0, 0), (1, 0), (1, 1), (0, 1)], np.array([[0.5, 0.5], [1.5, 0.5]])).tolist()
    [True, False]
    """
    inside = np.zeros(len(points), bool)
    on_edge = np.zeros(len(points), bool)
    x, y = points[:, 0], points[:, 1]
    for (x1, y1), (x2, y2) in pairwise([*polygon, polygon[0]]):
        side = (x2 - x1) * (y - y1) - (y2 - y1) * (x - x1)
        within = (x >= min(x1, x2)) & (x <= max(x1, x2)) & (y >= min(y1, y2)) & (y <= max(y1, y2))
        on_edge |= (np.abs(side) < 1e-12) & within
        if y1 != y2:
            inside ^= ((y1 > y) != (y2 > y)) & (x < (x2 - x1) * (y - y1) / (y2 - y1) + x1)
    return inside | on_edge


def holds(polygon: Sequence[tuple[float, float]], x: float, y: float) -> bool:
    """What ``contains`` says of one point, to the bit. For a picture's few points NumPy would cost five times as much.

    >>> holds([(0, 0), (1, 0), (1, 1), (0, 1)], 0.5, 0.5)
    True
    """
    inside = False
    x1, y1 = polygon[-1]
    for x2, y2 in polygon:
        above = y2 > y
        if (y1 > y) != above and x < (x2 - x1) * (y - y1) / (y2 - y1) + x1:
            inside = not inside
        if (x1 <= x <= x2 or x2 <= x <= x1) and (y1 <= y <= y2 or y2 <= y <= y1):
            side = (x2 - x1) * (y - y1) - (y2 - y1) * (x - x1)
            if -1e-12 < side < 1e-12:
                return True
        x1, y1 = x2, y2
    return inside


def around(points: Sequence[tuple[float, float]]) -> tuple[float, float, float, float]:
    """A box (xyxy) that no point of the polygon ``points`` lies outside of, whatever the rounding.

    >>> left, top, right, bottom = around([(0.2, 0.5), (0.6, 0.4), (0.5, 0.9)])
    >>> left < 0.2 and top < 0.4 and right > 0.6 and bottom > 0.9
    True
    """
    xs, ys = [x for x, _ in points], [y for _, y in points]
    return min(xs) - 1e-6, min(ys) - 1e-6, max(xs) + 1e-6, max(ys) + 1e-6


def overlap(polygon: Sequence[tuple[float, float]], xyxy: tuple[float, float, float, float]) -> float:
    """The share (0–1) of the box ``xyxy`` that lies in ``polygon`` (Sutherland–Hodgman clipping by the box).

    >>> overlap([(0, 0), (0.5, 0), (0.5, 1), (0, 1)], (0.0, 0.0, 1.0, 1.0))
    0.5
    """
    x1, y1, x2, y2 = xyxy
    box = (x2 - x1) * (y2 - y1)
    if box <= 0:
        return 0.0
    ring = list(polygon)
    for axis, bound, sign in ((0, x1, 1.0), (0, x2, -1.0), (1, y1, 1.0), (1, y2, -1.0)):
        ring = _clip(ring, axis, bound, sign)
        if not ring:
            return 0.0
    return min(1.0, area(ring) / box)


def _clip(ring: list[tuple[float, float]], axis: int, bound: float, sign: float) -> list[tuple[float, float]]:
    kept: list[tuple[float, float]] = []
    for here, there in pairwise([ring[-1], *ring]):
        here_in, there_in = sign * (here[axis] - bound) >= 0, sign * (there[axis] - bound) >= 0
        if here_in != there_in:
            t = (bound - here[axis]) / (there[axis] - here[axis])
            kept.append((here[0] + t * (there[0] - here[0]), here[1] + t * (there[1] - here[1])))
        if there_in:
            kept.append(there)
    return kept


def bottom_centre(xyxy: tuple[float, float, float, float]) -> tuple[float, float]:
    """Where an object stands: the middle of its box's lower edge."""
    return (xyxy[0] + xyxy[2]) / 2, xyxy[3]


def at_edge(xyxy: tuple[float, float, float, float]) -> bool:
    """Whether the box touches the picture's edge: who vanishes there has left the picture, most likely.

    >>> at_edge((0.4, 0.2, 0.6, 0.7)), at_edge((0.8, 0.2, 1.0, 0.7))
    (False, True)
    """
    x1, y1, x2, y2 = xyxy
    return x1 <= EDGE or y1 <= EDGE or x2 >= 1.0 - EDGE or y2 >= 1.0 - EDGE
