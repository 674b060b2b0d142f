"""End-to-end heads (YOLOv10, YOLO26) and exports with suppression inside: the network gives finished rows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from detectors.backends.base import Card
from detectors.backends.heads.base import Classes, Output, Shape, in_order, match, plain
from detectors.detections import FLOOR, Detections
from detectors.geometry import Letterbox


class EndToEndHead:
    """``(rows, 6)``: x1 y1 x2 y2 in pixels of the input, score, class. Rows below the floor are padding."""

    def __init__(self, card: Card, shapes: Sequence[Shape]) -> None:
        """Raises ``ModelBroken`` when ``shapes`` (of the model's outputs) are not such a head's."""
        self._classes = Classes(card)
        [self._index] = match(card, [(-1, 6)], shapes)

    def decode(self, outputs: Sequence[Output], letterbox: Letterbox) -> Detections:
        """Raises ``ValueError`` for a class that the card does not have."""
        rows = plain(outputs[self._index])
        rows = rows[rows[:, 4] >= FLOOR].astype(np.float32)
        class_id = np.rint(rows[:, 5]).astype(np.intp)
        told = self._classes.told(class_id)
        boxes = self._boxes(rows[told, :4], letterbox)
        return self._classes.ranked(boxes, rows[told, 4], class_id[told], letterbox)

    def _boxes(self, given: Output, letterbox: Letterbox) -> Output:
        """Corners in pixels of the input."""
        return in_order(given)
