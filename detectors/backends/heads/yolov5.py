"""YOLOv5, v6 and v7, and exports of YOLOX that decode themselves: an objectness beside the classes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from detectors.backends.base import Card
from detectors.backends.heads.base import Classes, Output, Shape, corners, extent, match, plain
from detectors.detections import FLOOR, Detections
from detectors.geometry import Letterbox


class YoloV5Head:
    """``(boxes, 5 + classes)``: centre and size in pixels of the input, objectness, class scores, all decoded.

    A box's score is objectness × class score.
    """

    def __init__(self, card: Card, shapes: Sequence[Shape]) -> None:
        """Raises ``ModelBroken`` when ``shapes`` (of the model's outputs) are not such a head's."""
        self._classes, self._extent = Classes(card), extent(card)
        [self._index] = match(card, [(-1, 5 + len(self._classes))], shapes)

    def decode(self, outputs: Sequence[Output], letterbox: Letterbox) -> Detections:
        rows = plain(outputs[self._index])
        # No class score is above 1, so the objectness alone rules out nearly everything.
        rows = rows[rows[:, 4] >= FLOOR].astype(np.float32)
        score = rows[:, 4:5] * rows[:, 5:]
        box, class_id = self._classes.by_cell(score)
        if not len(box):
            return Detections.empty()
        boxes = corners(rows[box, :4])
        return self._classes.suppressed(boxes, score[box, class_id], class_id, letterbox, self._extent)
