"""Zones are arithmetic, so these are tables."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerts.zones import area, bottom_centre, check_points, contains, overlap

SQUARE = [(0.2, 0.2), (0.6, 0.2), (0.6, 0.6), (0.2, 0.6)]
NOTCHED = [(0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.5, 0.5), (0.0, 1.0)]


@pytest.mark.parametrize(
    "polygon, point, inside",
    [
        (SQUARE, (0.4, 0.4), True),
        (SQUARE, (0.1, 0.4), False),
        (SQUARE, (0.2, 0.4), True),  # on an edge
        (SQUARE, (0.6, 0.6), True),  # on a corner
        (NOTCHED, (0.5, 0.9), False),  # in the notch
        (NOTCHED, (0.1, 0.8), True),
        (NOTCHED, (0.5, 0.4), True),
    ],
)
def test_a_point_is_in_or_out(polygon: list[tuple[float, float]], point: tuple[float, float], inside: bool) -> None:
    assert contains(polygon, np.array([point])).tolist() == [inside]


@pytest.mark.parametrize(
    "box, share",
    [
        ((0.2, 0.2, 0.6, 0.6), 1.0),
        ((0.0, 0.2, 0.4, 0.6), 0.5),
        ((0.7, 0.7, 0.9, 0.9), 0.0),
        ((0.0, 0.0, 1.0, 1.0), 0.16),
        ((0.3, 0.3, 0.3, 0.4), 0.0),  # no area
    ],
)
def test_the_share_of_a_box_in_a_zone(box: tuple[float, float, float, float], share: float) -> None:
    assert overlap(SQUARE, box) == pytest.approx(share)


def test_a_notch_is_not_counted_as_inside() -> None:
    assert overlap(NOTCHED, (0.0, 0.0, 1.0, 1.0)) == pytest.approx(0.75)


@pytest.mark.parametrize(
    "points, shape, said",
    [
        ([[0.1, 0.1], [0.9, 0.1]], "polygon", "expected 3 to 64 corners for a polygon, got 2"),
        ([[0.1, 0.1], [0.9, 0.1], [0.5, 1.2]], "polygon", "corner 3: expected fractions of the picture"),
        ([[0.1, 0.1], [0.9, 0.9], [0.9, 0.1], [0.1, 0.9]], "polygon", "edge 1 crosses edge 3"),
        ([[0.1, 0.1], [0.5, 0.1], [0.9, 0.1]], "polygon", "expected an area"),
        ([[0.1, 0.1], [0.9, 0.1], [0.1, 0.1]], "polygon", "expected different corners"),
        ([[0.1, 0.1], [0.9, math.nan], [0.5, 0.5]], "polygon", "corner 2"),
        ([[0.1, 0.1], [0.9, True], [0.5, 0.5]], "polygon", "corner 2: expected two numbers"),
        ([[0.1, 0.1], [0.9, 1e999], [0.5, 0.5]], "polygon", "corner 2"),
        ([[0.1, 0.1], "ab", [0.5, 0.5]], "polygon", r"corner 2: expected \[x, y\]"),
        ("everything", "polygon", "expected a list"),
        ([[0.1, 0.1]] * 3, "line", "expected exactly 2 corners for a line, got 3"),
    ],
)
def test_it_refuses_a_bad_zone_with_the_reason(points: object, shape: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        check_points(points, shape)


def test_a_good_zone_comes_back_as_pairs_of_floats() -> None:
    assert check_points([[0, 0], [1, 0], [1, 1]]) == [(0.0, 0.0), (1.0, 0.0), (1.0, 1.0)]


def test_an_object_stands_where_its_box_ends() -> None:
    assert bottom_centre((0.2, 0.1, 0.4, 0.7)) == (pytest.approx(0.3), 0.7)


fractions = st.floats(0, 1, width=32)


@given(fractions, fractions, st.floats(0.01, 0.5), st.floats(0.01, 0.5))
def test_a_share_is_between_nothing_and_all(x: float, y: float, width: float, height: float) -> None:
    assert 0 <= overlap(SQUARE, (x, y, x + width, y + height)) <= 1


@given(st.permutations(range(4)))
def test_the_area_does_not_depend_on_where_the_corners_begin(order: list[int]) -> None:
    turned = SQUARE[order[0] :] + SQUARE[: order[0]]
    assert area(turned) == pytest.approx(area(SQUARE))
