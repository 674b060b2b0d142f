"""The DETR family as Hugging Face's transformers names its outputs: ``logits`` and ``pred_boxes``."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from detectors.backends.base import Card
from detectors.backends.heads.base import Classes, Output, Shape, match, misfit, plain, sigmoid
from detectors.backends.heads.rtdetr import in_pixels
from detectors.detections import Detections
from detectors.geometry import Letterbox


class DetrHead:
    """``(queries, classes)`` logits, and ``(queries, 4)`` centres and sizes in fractions of the input.

    As many logits as labels: each class has a sigmoid of its own (RT-DETR, D-FINE, Deformable DETR). One more: the
    last says "no object" and they share one softmax (DETR, arXiv 2005.12872).
    """

    def __init__(self, card: Card, shapes: Sequence[Shape]) -> None:
        """Raises ``ModelBroken`` when ``shapes`` (of the model's outputs) are not such a head's."""
        self._classes = Classes(card)
        n = len(self._classes)
        if len(shapes) < 2 or shapes[0][-1] not in (n, n + 1):
            raise misfit(card, f"(any, {n}) or (any, {n + 1}), (any, 4)", [shape[-2:] for shape in shapes])
        self._no_object = shapes[0][-1] == n + 1
        self._logits, self._boxes = match(card, [(-1, n + self._no_object), (-1, 4)], shapes)

    def decode(self, outputs: Sequence[Output], letterbox: Letterbox) -> Detections:
        scores = self._scores(plain(outputs[self._logits]).astype(np.float32))
        query, class_id = self._classes.by_cell(scores)
        boxes = in_pixels(plain(outputs[self._boxes])[query], letterbox)
        return self._classes.ranked(boxes, scores[query, class_id], class_id, letterbox)

    def _scores(self, logits: Output) -> Output:
        if not self._no_object:
            return sigmoid(logits)
        weight = np.exp(logits - logits.max(axis=1, keepdims=True))
        scores: Output = (weight / weight.sum(axis=1, keepdims=True))[:, :-1]
        return scores
