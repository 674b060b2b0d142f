"""YOLOv8, 9, 11, 12, 13, and YOLOv10 and YOLO26 without their end-to-end head: classes without an objectness."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from detectors.backends.base import Card
from detectors.backends.heads.base import Classes, Output, Shape, corners, extent, fits, match, plain
from detectors.detections import Detections
from detectors.geometry import Letterbox


class YoloV8Head:
    """``(4 + classes, cells)``: centre and size in pixels of the input, then class scores, 0–1; or transposed."""

    def __init__(self, card: Card, shapes: Sequence[Shape]) -> None:
        """Raises ``ModelBroken`` when ``shapes`` (of the model's outputs) are not such a head's."""
        self._classes, self._extent = Classes(card), extent(card)
        rows = 4 + len(self._classes)
        first = shapes[0][-2:] if len(shapes) == 1 else ()
        self._transposed = fits((-1, rows), first) and not fits((rows, -1), first)
        [self._index] = match(card, [(-1, rows) if self._transposed else (rows, -1)], shapes)

    def decode(self, outputs: Sequence[Output], letterbox: Letterbox) -> Detections:
        output = plain(outputs[self._index])
        output = output.T if self._transposed else output
        cell, class_id = self._classes.by_class(output[4:])
        if not len(cell):
            return Detections.empty()
        boxes = corners(output[:4, cell].T.astype(np.float32))
        return self._classes.suppressed(boxes, output[4 + class_id, cell], class_id, letterbox, self._extent)
