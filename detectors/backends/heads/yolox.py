"""YOLOX as its exporter writes it: boxes still as offsets from their cells."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from detectors.backends.base import Card
from detectors.backends.heads.base import Classes, Output, Shape, cells, corners, extent, grid, input_wh, match, plain
from detectors.detections import FLOOR, Detections
from detectors.geometry import Letterbox


class YoloXHead:
    """``(cells, 5 + classes)``: offset of the centre in strides, logarithm of the size in strides, objectness and class
    scores, 0–1. A box's score is objectness × class score.

    Source: YOLOX, arXiv 2107.08430; yolox/utils/demo_utils.py of its repository, ``demo_postprocess``.
    """

    def __init__(self, card: Card, shapes: Sequence[Shape]) -> None:
        """Raises ``ModelBroken`` when ``shapes`` (of the model's outputs) are not such a head's."""
        self._classes, self._extent = Classes(card), extent(card)
        strides = card.head.strides
        levels = [grid(input_wh(card), stride) for stride in strides]
        self._grid = np.concatenate(levels).astype(np.float32)
        self._stride = np.repeat(np.array(strides, np.float32), [len(level) for level in levels])[:, None]
        [self._index] = match(card, [(cells(input_wh(card), strides), 5 + len(self._classes))], shapes)

    def decode(self, outputs: Sequence[Output], letterbox: Letterbox) -> Detections:
        rows = plain(outputs[self._index])
        likely = np.flatnonzero(rows[:, 4] >= FLOOR)
        score = rows[likely, 4:5].astype(np.float32) * rows[likely, 5:]
        box, class_id = self._classes.by_cell(score)
        if not len(box):
            return Detections.empty()
        boxes = self._boxes(rows, likely[box])
        return self._classes.suppressed(boxes, score[box, class_id], class_id, letterbox, self._extent)

    def _boxes(self, rows: Output, cell: Output) -> Output:
        centre = rows[cell, :2] + self._grid[cell]
        # Above e^20 strides nothing is a size; the bound keeps infinity out.
        size = np.exp(np.minimum(rows[cell, 2:4].astype(np.float32), 20))
        return corners(np.concatenate((centre, size), axis=1) * self._stride[cell])
