"""NanoDet: a score for each class and a distribution of distances for each side, at every cell."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from detectors.backends.base import Card
from detectors.backends.heads.base import Classes, Output, Shape, cells, extent, fits, grid, input_wh, match, plain
from detectors.detections import Detections
from detectors.geometry import Letterbox


class NanoDetHead:
    """Per stride ``(cells, classes)`` scores, already 0–1, and ``(cells, 4 × bins)`` distributions of the distances
    from the cell's centre to the box's four sides, in strides; or all of it side by side in one
    ``(cells, classes + 4 × bins)``.

    Source: Generalized Focal Loss, arXiv 2006.04388, equation 5: a distance is the mean of its distribution.
    """

    def __init__(self, card: Card, shapes: Sequence[Shape]) -> None:
        """Raises ``ModelBroken`` when ``shapes`` (of the model's outputs) are not such a head's."""
        self._classes, spec = Classes(card), card.head
        self._extent = extent(card)
        self._bins = np.arange(spec.bins, dtype=np.float32)
        levels = [grid(input_wh(card), stride) for stride in spec.strides]
        self._sizes = [len(level) for level in levels]
        self._centres = np.concatenate(
            [np.tile(level + 0.5, 2) * stride for level, stride in zip(levels, spec.strides, strict=True)]
        ).astype(np.float32)
        self._strides = np.repeat(np.array(spec.strides, np.float32), self._sizes)[:, None]
        columns = len(self._classes) + 4 * spec.bins
        self._merged = len(shapes) == 1 and fits((cells(input_wh(card), spec.strides), columns), shapes[0][-2:])
        wanted = [shape for size in self._sizes for shape in ((size, len(self._classes)), (size, 4 * spec.bins))]
        self._order = [] if self._merged else match(card, wanted, shapes)

    def decode(self, outputs: Sequence[Output], letterbox: Letterbox) -> Detections:
        scores, distributions = self._split(outputs)
        cell, class_id = self._classes.by_cell(scores)
        if not len(cell):
            return Detections.empty()
        distance = self._distances(self._at(distributions, cell)) * self._strides[cell]
        distance[:, :2] *= -1
        boxes = self._centres[cell] + distance
        return self._classes.suppressed(boxes, scores[cell, class_id], class_id, letterbox, self._extent)

    def _split(self, outputs: Sequence[Output]) -> tuple[Output, list[Output]]:
        """Scores of all cells, and the distributions level by level."""
        if self._merged:
            merged = plain(outputs[0])
            return merged[:, : len(self._classes)], [merged[:, len(self._classes) :]]
        levels = [plain(outputs[index]) for index in self._order]
        return np.concatenate(levels[::2]), levels[1::2]

    def _at(self, distributions: list[Output], cell: Output) -> Output:
        """The rows of ``cell``, without joining the levels: most cells see nothing."""
        rows = np.empty((len(cell), 4 * len(self._bins)), np.float32)
        begin = 0
        for level in distributions:
            here = (cell >= begin) & (cell < begin + len(level))
            rows[here] = level[cell[here] - begin]
            begin += len(level)
        return rows

    def _distances(self, rows: Output) -> Output:
        logits = rows.reshape(len(rows), 4, len(self._bins))
        weight = np.exp(logits - logits.max(axis=2, keepdims=True))
        distance: Output = (weight @ self._bins) / weight.sum(axis=2)
        return distance
