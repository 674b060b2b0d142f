"""Boxes and letterboxes as plain arithmetic. Pure.

Boxes are ``(n, 4)`` arrays, x1 y1 x2 y2, in whatever unit the caller uses for all of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Boxes = npt.NDArray[np.floating[Any]]
Floats = npt.NDArray[np.floating[Any]]
Indices = npt.NDArray[np.intp]


def area(boxes: Boxes) -> Floats:
    """``(n,)``: width × height.

    >>> area(np.array([[0.0, 0.0, 2.0, 3.0]])).tolist()
    [6.0]
    """
    return (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])


def iou_batch(a: Boxes, b: Boxes, grow: Floats | None = None) -> Floats:
    """Intersection over union of every box of ``a`` (n) with every box of ``b`` (m): ``(n, m)``, 0–1.

    ``grow`` (``(n,)``, not negative) widens both boxes of a pair by as much on every side as their ``a`` says, so that
    boxes that miss each other narrowly still compare. Boxes without area give 0.
    Source: buffered IoU, arXiv 2211.14317, section 3.1.

    >>> iou_batch(np.array([[0.0, 0.0, 2.0, 2.0]]), np.array([[1.0, 0.0, 3.0, 2.0]])).round(3).tolist()
    [[0.333]]
    """
    # Coordinate by coordinate: arrays whose last dimension is 2 or 4 cost NumPy ten times as much.
    ax1, ay1, ax2, ay2 = np.ascontiguousarray(a.T)[:, :, None]
    bx1, by1, bx2, by2 = np.ascontiguousarray(b.T)[:, None, :]
    width: Floats = np.minimum(ax2, bx2) - np.maximum(ax1, bx1)
    height = np.minimum(ay2, by2) - np.maximum(ay1, by1)
    a_wh, b_wh = (ax2 - ax1, ay2 - ay1), (bx2 - bx1, by2 - by1)
    if grow is not None:
        widened = 2 * grow[:, None]
        width, height = width + widened, height + widened
        a_wh = (a_wh[0] + widened, a_wh[1] + widened)
        b_wh = (b_wh[0] + widened, b_wh[1] + widened)
    np.maximum(width, 0, out=width)
    width *= np.maximum(height, 0, out=height)
    union = a_wh[0] * a_wh[1] + b_wh[0] * b_wh[1]
    union -= width
    # Boxes without area overlap by 0; the smallest number keeps 0 / 0 out.
    width /= np.maximum(union, np.finfo(union.dtype).tiny, out=union)
    return width


def suppress(boxes: Boxes, score: Floats, threshold: float) -> Indices:
    """Indices of the boxes that stay, best score first: of two that overlap more than ``threshold`` the better stays.

    Equal scores: the earlier one. Greedy non-maximum suppression; O(n²) memory, meant for n in the hundreds.
    """
    order = np.argsort(-score, kind="stable")
    overlapping = iou_batch(boxes[order], boxes[order]) > threshold
    kept = np.ones(len(order), bool)
    for index in np.flatnonzero(np.triu(overlapping, 1).any(axis=1)):
        if kept[index]:
            kept[index + 1 :] &= ~overlapping[index, index + 1 :]
    return order[kept]


@dataclass(frozen=True, slots=True)
class Letterbox:
    """How a picture was fitted into a model's input: scaled alike in both directions, centred, the rest padded."""

    source_wh: tuple[int, int]
    inner_wh: tuple[int, int]
    """The picture's size inside the input, in pixels."""
    offset_xy: tuple[int, int]
    input_wh: tuple[int, int]

    @classmethod
    def fit(cls, source_wh: tuple[int, int], input_wh: tuple[int, int]) -> Letterbox:
        """Raises ``ValueError`` for a picture or input without area.

        >>> Letterbox.fit((1280, 720), (416, 416)).inner_wh
        (416, 234)
        """
        if min(*source_wh, *input_wh) < 1:
            raise ValueError(f"letterbox: expected sizes of at least 1×1, got {source_wh} into {input_wh}")
        scale = min(input_wh[0] / source_wh[0], input_wh[1] / source_wh[1])
        width = min(input_wh[0], max(1, round(source_wh[0] * scale)))
        height = min(input_wh[1], max(1, round(source_wh[1] * scale)))
        return cls(source_wh, (width, height), ((input_wh[0] - width) // 2, (input_wh[1] - height) // 2), input_wh)

    @classmethod
    def stretch(cls, source_wh: tuple[int, int], input_wh: tuple[int, int]) -> Letterbox:
        """The whole input, proportions or not: a letterbox without bars. Raises ``ValueError`` as ``fit`` does."""
        cls.fit(source_wh, input_wh)
        return cls(source_wh, input_wh, (0, 0), input_wh)

    @staticmethod
    def trimmed(picture_wh: tuple[int, int], input_wh: tuple[int, int], step: int) -> tuple[int, int]:
        """The least input, in steps of ``step`` pixels, that takes a picture as large as ``input_wh`` does.

        >>> Letterbox.trimmed((1920, 1080), (416, 416), 32), Letterbox.trimmed((640, 640), (416, 416), 32)
        ((416, 256), (416, 416))
        """
        inner = Letterbox.fit(picture_wh, input_wh).inner_wh
        width, height = (min(-(-size // step) * step, most) for size, most in zip(inner, input_wh, strict=True))
        return width, height

    def to_fractions(self, boxes: Boxes) -> npt.NDArray[np.float32]:
        """``boxes`` in pixels of the input as fractions of the picture, held to 0–1: ``(n, 4) float32``."""
        offset = np.array([*self.offset_xy, *self.offset_xy], np.float32)
        size = np.array([*self.inner_wh, *self.inner_wh], np.float32)
        fractions: npt.NDArray[np.float32] = np.clip((boxes - offset) / size, 0, 1).astype(np.float32)
        return fractions

    def to_input(self, boxes: Boxes) -> npt.NDArray[np.float32]:
        """``boxes`` in fractions of the picture as pixels of the input: ``(n, 4) float32``."""
        offset = np.array([*self.offset_xy, *self.offset_xy], np.float32)
        size = np.array([*self.inner_wh, *self.inner_wh], np.float32)
        return (boxes * size + offset).astype(np.float32)
