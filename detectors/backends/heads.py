"""Heads: how a network's outputs become boxes. NumPy only, so that every runtime may use them. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from detectors.backends.base import Card, ModelBroken, candidates, keep_best
from detectors.detections import Detections
from detectors.geometry import Letterbox

Output = npt.NDArray[np.floating[Any]]
Shape = tuple[int, ...]


class Head(Protocol):
    """Decodes one picture's outputs."""

    def decode(self, outputs: Sequence[Output], letterbox: Letterbox) -> Detections:
        """``outputs`` in the order of the shapes that the head was made with."""


class NanoDetHead:
    """Per stride ``(cells, classes)`` scores, already 0–1, and ``(cells, 4 × bins)`` distributions of the distances
    from the cell's centre to the box's four sides, in strides.

    Source: Generalized Focal Loss, arXiv 2006.04388, equation 5: a distance is the mean of its distribution.
    """

    def __init__(self, card: Card, shapes: Sequence[Shape]) -> None:
        """Raises ``ModelBroken`` when ``shapes`` (of the model's outputs) are not such a head's."""
        self._classes, spec = card.classes, card.head
        self._extent = float(max(card.input.width_px, card.input.height_px) * 4)
        self._bins = np.arange(spec.bins, dtype=np.float32)
        wanted: list[Shape] = []
        centres = []
        for stride in spec.strides:
            columns, rows = -(-card.input.width_px // stride), -(-card.input.height_px // stride)
            grid = np.stack(np.meshgrid(np.arange(columns), np.arange(rows)), axis=-1).reshape(-1, 2)
            centres.append((np.concatenate((grid, grid), axis=1) + 0.5) * stride)
            wanted += [(columns * rows, len(self._classes)), (columns * rows, 4 * spec.bins)]
        self._centres = [centre.astype(np.float32) for centre in centres]
        self._strides = spec.strides
        self._order = _match(card, wanted, shapes)

    def decode(self, outputs: Sequence[Output], letterbox: Letterbox) -> Detections:
        scores = np.concatenate([_plain(outputs[index]) for index in self._order[::2]])
        cell, class_id = candidates(scores)
        if not len(cell):
            return Detections.empty()
        boxes = np.empty((len(cell), 4), np.float32)
        begin = 0
        for level, stride in enumerate(self._strides):
            centres = self._centres[level]
            here = (cell >= begin) & (cell < begin + len(centres))
            if here.any():
                at = cell[here] - begin
                boxes[here] = self._boxes(_plain(outputs[self._order[2 * level + 1]])[at], centres[at], stride)
            begin += len(centres)
        boxes_px, score, labels = keep_best(boxes, scores[cell, class_id], class_id, self._classes, self._extent)
        return Detections(letterbox.to_fractions(boxes_px), np.minimum(score, 1), labels)

    def _boxes(self, distribution: Output, centres: Output, stride: int) -> Output:
        logits = distribution.reshape(len(distribution), 4, len(self._bins)).astype(np.float32)
        weight = np.exp(logits - logits.max(axis=2, keepdims=True))
        distance = (weight @ self._bins) / weight.sum(axis=2) * stride
        distance[:, :2] *= -1
        boxes: Output = centres + distance
        return boxes


def _plain(output: Output) -> Output:
    """Without the leading dimension of one picture."""
    return output.reshape(output.shape[-2:])


def _match(card: Card, wanted: Sequence[Shape], shapes: Sequence[Shape]) -> list[int]:
    """Which of ``shapes`` is each of ``wanted``: the first unused one that fits. Raises ``ModelBroken``."""
    got = [tuple(shape[-2:]) for shape in shapes]
    free = list(range(len(got)))
    order = []
    for want in wanted:
        index = next((index for index in free if got[index] == want), None)
        if index is None:
            raise ModelBroken(
                f"{card.model_version}: expected outputs {', '.join(map(str, wanted))} of a {card.head.kind} head "
                f"with {len(card.classes)} labels, got {', '.join(map(str, got)) or 'none'}; "
                "this card does not fit this file"
            )
        free.remove(index)
        order.append(index)
    return order


HEADS: dict[str, Callable[[Card, Sequence[Shape]], Head]] = {"nanodet": NanoDetHead}


def make_head(card: Card, shapes: Sequence[Shape]) -> Head:
    """The head that ``card`` names, fitted to the model's output ``shapes``. Raises ``ModelBroken``."""
    if card.head.kind not in HEADS:
        raise ModelBroken(
            f"{card.model_version}: head: expected one of {', '.join(sorted(HEADS))}, got {card.head.kind!r}; "
            "mend the model card"
        )
    return HEADS[card.head.kind](card, shapes)
