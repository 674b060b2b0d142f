"""RT-DETR as Ultralytics exports it: queries with boxes in fractions of the input. No suppression is needed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from detectors.backends.base import Card
from detectors.backends.heads.base import Classes, Output, Shape, corners, match, plain
from detectors.backends.heads.end2end import EndToEndHead
from detectors.detections import Detections
from detectors.geometry import Letterbox


class RtDetrHead:
    """``(queries, 4 + classes)``: centre and size in fractions of the input, then class scores, 0–1."""

    def __init__(self, card: Card, shapes: Sequence[Shape]) -> None:
        """Raises ``ModelBroken`` when ``shapes`` (of the model's outputs) are not such a head's."""
        self._classes = Classes(card)
        [self._index] = match(card, [(-1, 4 + len(self._classes))], shapes)

    def decode(self, outputs: Sequence[Output], letterbox: Letterbox) -> Detections:
        rows = plain(outputs[self._index])
        query, class_id = self._classes.by_cell(rows[:, 4:])
        boxes = in_pixels(rows[query, :4], letterbox)
        return self._classes.ranked(boxes, rows[query, 4 + class_id], class_id, letterbox)


class RtDetrTopHead(EndToEndHead):
    """``(rows, 6)``: centre and size in fractions of the input, score, class: Ultralytics from 8.4 on, which picks the
    best inside the network."""

    def _boxes(self, given: Output, letterbox: Letterbox) -> Output:
        return in_pixels(given, letterbox)


def in_pixels(cxcywh: Output, letterbox: Letterbox) -> Output:
    """Corners in pixels of the input, of centres and sizes in fractions of it."""
    return corners(cxcywh.astype(np.float32)) * np.array(letterbox.input_wh * 2, np.float32)
