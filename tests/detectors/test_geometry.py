"""Boxes and letterboxes, as tables."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detectors.geometry import Letterbox, area, iou_batch, suppress


def boxes(*rows: tuple[float, float, float, float]) -> np.ndarray:
    return np.array(rows, np.float64).reshape(len(rows), 4)


@pytest.mark.parametrize(
    "a, b, expected",
    [
        ((0, 0, 2, 2), (0, 0, 2, 2), 1.0),
        ((0, 0, 2, 2), (1, 0, 3, 2), 1 / 3),
        ((0, 0, 2, 2), (2, 0, 4, 2), 0.0),
        ((0, 0, 2, 2), (5, 5, 6, 6), 0.0),
        ((0, 0, 4, 4), (1, 1, 3, 3), 0.25),
        ((1, 1, 1, 1), (1, 1, 1, 1), 0.0),
        ((0, 0, 0, 5), (0, 0, 5, 5), 0.0),
    ],
)
def test_iou(a: tuple[float, ...], b: tuple[float, ...], expected: float) -> None:
    assert iou_batch(boxes(a), boxes(b)) == pytest.approx(np.array([[expected]]))


def test_iou_of_nothing_has_the_right_shape() -> None:
    assert iou_batch(np.zeros((0, 4)), boxes((0, 0, 1, 1))).shape == (0, 1)
    assert iou_batch(boxes((0, 0, 1, 1)), np.zeros((0, 4))).shape == (1, 0)


def test_grown_boxes_meet() -> None:
    a, b = boxes((0, 0, 2, 2)), boxes((3, 0, 5, 2))
    assert iou_batch(a, b)[0, 0] == 0
    # Both become 4×4 and overlap by 1×4: 4 / (16 + 16 − 4).
    assert iou_batch(a, b, np.array([1.0]))[0, 0] == pytest.approx(4 / 28)


def test_growing_leaves_the_same_box_the_same() -> None:
    a = boxes((0, 0, 2, 2), (4, 4, 6, 8))
    assert np.diag(iou_batch(a, a, np.array([0.5, 3.0]))) == pytest.approx([1, 1])


coordinate = st.floats(0, 1, width=32)
any_box = st.tuples(coordinate, coordinate, coordinate, coordinate).map(
    lambda c: (min(c[0], c[2]), min(c[1], c[3]), max(c[0], c[2]), max(c[1], c[3]))
)


@given(st.lists(any_box, min_size=1, max_size=6), st.lists(any_box, min_size=1, max_size=6))
def test_iou_is_symmetric_and_a_fraction(one: list, other: list) -> None:
    a, b = boxes(*one), boxes(*other)
    found = iou_batch(a, b)
    assert ((found >= 0) & (found <= 1 + 1e-9)).all()
    assert found == pytest.approx(iou_batch(b, a).T)


def test_area() -> None:
    assert area(boxes((0, 0, 2, 3), (1, 1, 1, 4))).tolist() == [6, 0]


@pytest.mark.parametrize(
    "score, threshold, expected",
    [
        ([0.9, 0.8, 0.7], 0.5, [0, 2]),
        ([0.8, 0.9, 0.7], 0.5, [1, 2]),
        ([0.5, 0.5, 0.5], 0.5, [0, 2]),
        ([0.9, 0.8, 0.7], 0.95, [0, 1, 2]),
    ],
)
def test_suppression_keeps_the_better_of_two(score: list[float], threshold: float, expected: list[int]) -> None:
    rows = boxes((0, 0, 2, 2), (0, 0, 2, 1.8), (5, 5, 6, 6))
    assert suppress(rows, np.array(score), threshold).tolist() == expected


def test_what_was_suppressed_suppresses_nothing() -> None:
    # A chain: the second overlaps the first and the third, which do not overlap each other.
    chain = boxes((0, 0, 10, 1), (4, 0, 14, 1), (8, 0, 18, 1))
    assert suppress(chain, np.array([0.9, 0.8, 0.7]), 0.3).tolist() == [0, 2]


def test_suppression_of_nothing() -> None:
    assert suppress(np.zeros((0, 4)), np.zeros(0), 0.5).tolist() == []


@pytest.mark.parametrize(
    "source, inner, offset",
    [
        ((1280, 720), (416, 234), (0, 91)),
        ((720, 1280), (234, 416), (91, 0)),
        ((416, 416), (416, 416), (0, 0)),
        ((100, 50), (416, 208), (0, 104)),
        ((10000, 1), (416, 1), (0, 207)),
    ],
)
def test_letterbox_fits(source: tuple[int, int], inner: tuple[int, int], offset: tuple[int, int]) -> None:
    box = Letterbox.fit(source, (416, 416))
    assert (box.inner_wh, box.offset_xy) == (inner, offset)


@pytest.mark.parametrize("source", [(1280, 720), (720, 1280), (37, 11), (416, 416)])
def test_letterbox_there_and_back(source: tuple[int, int]) -> None:
    box = Letterbox.fit(source, (416, 416))
    rows = boxes((0, 0, 1, 1), (0.25, 0.5, 0.75, 0.9))
    assert box.to_fractions(box.to_input(rows)) == pytest.approx(rows, abs=1e-5)


def test_letterbox_holds_boxes_to_the_picture() -> None:
    box = Letterbox.fit((100, 50), (416, 416))
    assert box.to_fractions(boxes((-50, 0, 500, 416))).tolist() == [[0, 0, 1, 1]]


def test_letterbox_refuses_nothing_at_all() -> None:
    with pytest.raises(ValueError, match="expected sizes of at least 1×1"):
        Letterbox.fit((0, 10), (416, 416))
