"""Masks: the polygon around places that lie close together. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain

import numpy as np

from alerts.rules.config import Point
from alerts.zones import contains

MARGIN = 0.02
"""So much wider than what it covers, in fractions of the picture: a box is never twice in the very same place."""
REACHES = (0.04, 0.08, 0.16)
"""How far the next place of one cluster may lie; what is one cluster at one reach may be two at a smaller one."""
MOST_CORNERS = 16
"""More would be a shape that nobody checks by eye: the upright rectangle around it is taken instead."""
_GRID = 40


def around(places: Sequence[Point]) -> list[Point]:
    """A convex polygon that holds ``places`` and ``MARGIN`` more, as far as the picture goes.

    >>> around([(0.5, 0.5)])
    [(0.48, 0.48), (0.52, 0.48), (0.52, 0.52), (0.48, 0.52)]
    """
    steps = [(dx, dy) for dx in (-MARGIN, MARGIN) for dy in (-MARGIN, MARGIN)]
    corners = sorted({(_within(_within(x) + dx), _within(_within(y) + dy)) for x, y in places for dx, dy in steps})
    hull = _hull(corners)
    if len(hull) <= MOST_CORNERS:
        return hull
    xs, ys = [x for x, _ in corners], [y for _, y in corners]
    return _hull(sorted({(x, y) for x in (min(xs), max(xs)) for y in (min(ys), max(ys))}))


def _within(value: float) -> float:
    return round(min(1.0, max(0.0, value)), 3)


def _hull(corners: Sequence[Point]) -> list[Point]:
    """The convex hull of sorted, different ``corners``. Source: A. M. Andrew, 1979, monotone chain."""
    return [*_half(corners), *_half(corners[::-1])]


def _half(corners: Sequence[Point]) -> list[Point]:
    kept: list[Point] = []
    for corner in corners:
        while len(kept) > 1 and _turn(kept[-2], kept[-1], corner) <= 1e-12:
            kept.pop()
        kept.append(corner)
    return kept[:-1]


def _turn(a: Point, b: Point, c: Point) -> float:
    return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])


def clusters(places: Sequence[Point]) -> Iterator[list[int]]:
    """Groups of two or more of ``places`` (their indexes) of which each lies close to another, each group once."""
    given: set[tuple[int, ...]] = set()
    for group in chain.from_iterable(_linked(places, reach) for reach in REACHES):
        if len(group) > 1 and tuple(group) not in given:
            given.add(tuple(group))
            yield group


def _linked(places: Sequence[Point], reach: float) -> list[list[int]]:
    groups: list[list[int]] = []
    for number, (x, y) in enumerate(places):
        near = [group for group in groups if any(_apart(places[i], (x, y)) <= reach for i in group)]
        groups = [group for group in groups if group not in near]
        groups.append(sorted([*chain.from_iterable(near), number]))
    return groups


def _apart(one: Point, other: Point) -> float:
    return float(np.hypot(one[0] - other[0], one[1] - other[1]))


def covered(mask: Sequence[Point], places: Sequence[Point]) -> float:
    """The share (0–1) of ``places`` that ``mask`` holds; 0 where there is none."""
    return float(contains(mask, np.array(places, np.float64)).mean()) if places else 0.0


def share(mask: Sequence[Point], zones: Sequence[Sequence[Point]]) -> float:
    """How much (0–1) of ``zones`` together ``mask`` takes away, counted on a grid.

    >>> share([(0, 0), (0.5, 0), (0.5, 1), (0, 1)], [[(0, 0), (1, 0), (1, 1), (0, 1)]])
    0.5
    """
    steps = (np.arange(_GRID) + 0.5) / _GRID
    grid = np.stack(np.meshgrid(steps, steps), -1).reshape(-1, 2)
    zoned = np.logical_or.reduce([contains(zone, grid) for zone in zones], initial=False) & np.ones(len(grid), bool)
    if not zoned.any():
        return 1.0
    return float((contains(mask, grid) & zoned).sum() / zoned.sum())
