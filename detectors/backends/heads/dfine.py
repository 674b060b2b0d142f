"""D-FINE, DEIM and RT-DETR as their own repositories export them: labels, boxes and scores, already picked."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from detectors.backends.base import Card
from detectors.backends.heads.base import Classes, Output, Shape, fits, in_order, misfit, plain, row
from detectors.detections import FLOOR, Detections
from detectors.geometry import Letterbox


class DFineHead:
    """``labels (n,)`` whole numbers, ``boxes (n, 4)`` x1 y1 x2 y2, ``scores (n,)``, in any order.

    The network takes the size that the boxes are to be in as its second input; it is given that of its picture, so they
    are in pixels of the input.
    """

    def __init__(self, card: Card, shapes: Sequence[Shape]) -> None:
        """Raises ``ModelBroken`` when ``shapes`` (of the model's outputs) are not such a head's."""
        self._classes = Classes(card)
        boxes = [index for index, shape in enumerate(shapes) if len(shape) == 3 and fits((-1, 4), shape[1:])]
        self._rest = [index for index, shape in enumerate(shapes) if len(shape) == 2]
        if len(boxes) != 1 or len(self._rest) != 2:
            raise misfit(card, "(1, any), (1, any, 4), (1, any)", shapes)
        [self._boxes] = boxes

    def decode(self, outputs: Sequence[Output], letterbox: Letterbox) -> Detections:
        """Raises ``ValueError`` for a class that the card does not have."""
        # Runtimes change the width of whole numbers, never that they are whole.
        labels, scores = sorted((outputs[index] for index in self._rest), key=lambda output: output.dtype.kind == "f")
        score = row(scores).astype(np.float32)
        found = np.flatnonzero(score >= FLOOR)
        class_id = row(labels)[found].astype(np.intp)
        found, class_id = found[told := self._classes.told(class_id)], class_id[told]
        boxes = in_order(plain(outputs[self._boxes])[found].astype(np.float32))
        return self._classes.ranked(boxes, score[found], class_id, letterbox)
