"""What heads share: the classes that a card keeps, cells of a grid, corners, and fitting shapes to a card. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from detectors.backends.base import BOXES_MOST, Card, ModelBroken, candidates, keep_best
from detectors.detections import Detections
from detectors.geometry import Boxes, Floats, Indices, Letterbox

Output = npt.NDArray[Any]
Shape = tuple[int, ...]
"""Of one output; −1 stands for a length that differs from picture to picture."""


class Head(Protocol):
    """Decodes one picture's outputs."""

    def decode(self, outputs: Sequence[Output], letterbox: Letterbox) -> Detections:
        """``outputs`` in the order of the shapes that the head was made with."""


class Classes:
    """A card's labels in the order of the model's classes. A class with the label "" is never told."""

    def __init__(self, card: Card) -> None:
        self.labels = card.classes
        kept = [index for index, label in enumerate(self.labels) if label]
        self._kept = np.array(kept, np.intp) if len(kept) < len(self.labels) else None

    def __len__(self) -> int:
        return len(self.labels)

    def by_cell(self, score: Floats) -> tuple[Indices, Indices]:
        """(cell, class) of what is sure enough in ``score`` ``(cells, classes)``, as ``candidates`` does."""
        cell, column = candidates(score if self._kept is None else score[:, self._kept])
        return cell, column if self._kept is None else self._kept[column]

    def by_class(self, score: Floats) -> tuple[Indices, Indices]:
        """The same for ``(classes, cells)``: looked through as it lies in memory, not transposed."""
        row, cell = candidates(score if self._kept is None else score[self._kept])
        return cell, row if self._kept is None else self._kept[row]

    def suppressed(
        self, boxes_px: Boxes, score: Floats, class_id: Indices, letterbox: Letterbox, extent: float
    ) -> Detections:
        """What non-maximum suppression leaves. ``boxes_px``: corners in pixels of the input, held to ± ``extent``."""
        held = np.clip(boxes_px, -extent, extent)
        boxes, best, labels = keep_best(held, score, class_id, self.labels, extent)
        return Detections(letterbox.to_fractions(boxes), np.minimum(best, 1), labels)

    def ranked(self, boxes_px: Boxes, score: Floats, class_id: Indices, letterbox: Letterbox) -> Detections:
        """The best ``BOXES_MOST`` as they are: the network itself names each object once."""
        order = np.argsort(-score, kind="stable")[:BOXES_MOST]
        labels = tuple(self.labels[index] for index in class_id[order].tolist())
        best = np.minimum(score[order], 1).astype(np.float32)
        return Detections(letterbox.to_fractions(boxes_px[order]), best, labels)

    def told(self, class_id: Indices) -> npt.NDArray[np.bool_]:
        """Which of ``class_id`` have a label. Raises ``ValueError`` for a class that the card does not have."""
        if len(class_id) and not (0 <= class_id.min() and class_id.max() < len(self)):
            raise ValueError(
                f"classes: expected 0 to {len(self) - 1}, as many as the card has labels, got {int(class_id.min())} to "
                f"{int(class_id.max())}; the card's labels do not fit this model"
            )
        kept: npt.NDArray[np.bool_] = np.ones(len(class_id), bool)
        return kept if self._kept is None else np.isin(class_id, self._kept)


def plain(output: Output) -> Output:
    """Without the leading dimension of one picture."""
    return output.reshape(output.shape[-2:])


def row(output: Output) -> Output:
    """``(n,)`` of ``(1, n)`` or ``(1, n, 1)``."""
    return output.reshape(-1)


def corners(cxcywh: Boxes) -> Boxes:
    """``(n, 4)`` centres and sizes as x1 y1 x2 y2 in the same unit.

    >>> corners(np.array([[5.0, 5.0, 4.0, 2.0]])).tolist()
    [[3.0, 4.0, 7.0, 6.0]]
    """
    centre, half = cxcywh[:, :2], np.abs(cxcywh[:, 2:]) / 2
    boxes: Boxes = np.concatenate((centre - half, centre + half), axis=1)
    return boxes


def in_order(xyxy: Boxes) -> Boxes:
    """``(n, 4)`` with x1 ≤ x2 and y1 ≤ y2: a network that gives corners does not promise which comes first."""
    ordered: Boxes = np.sort(xyxy.reshape(-1, 2, 2), axis=1).reshape(-1, 4)
    return ordered


def sigmoid(logits: Floats) -> Floats:
    """1 / (1 + e^−x), without overflow."""
    return 0.5 * (1 + np.tanh(logits / 2))


def input_wh(card: Card) -> tuple[int, int]:
    """Of the network, in pixels."""
    return card.input.width_px, card.input.height_px


def extent(card: Card) -> float:
    """Boxes are held to ± this, in pixels of the input: no box that matters reaches so far out."""
    return float(max(input_wh(card)) * 2)


def grid(wh: tuple[int, int], stride: int) -> Output:
    """``(cells, 2)``, x y of each cell of a level, row by row; a side that the stride does not divide is rounded up.

    >>> grid((16, 8), 8).tolist()
    [[0, 0], [1, 0]]
    """
    columns, rows = -(-wh[0] // stride), -(-wh[1] // stride)
    return np.stack(np.meshgrid(np.arange(columns), np.arange(rows)), axis=-1).reshape(-1, 2)


def cells(wh: tuple[int, int], strides: Sequence[int]) -> int:
    """Cells of all levels together."""
    return sum(-(-wh[0] // stride) * -(-wh[1] // stride) for stride in strides)


def fits(want: Shape, got: Shape) -> bool:
    """Whether the last two lengths agree; −1 on either side agrees with everything."""
    return len(got) == len(want) and all(-1 in pair or pair[0] == pair[1] for pair in zip(want, got, strict=True))


def match(card: Card, wanted: Sequence[Shape], shapes: Sequence[Shape]) -> list[int]:
    """Which of ``shapes`` is each of ``wanted``: the first unused one that fits. Raises ``ModelBroken``."""
    got = [tuple(shape[-2:]) for shape in shapes]
    free = list(range(len(got)))
    order = []
    for want in wanted:
        index = next((index for index in free if fits(want, got[index])), None)
        if index is None:
            raise misfit(card, ", ".join(map(told_shape, wanted)), got)
        free.remove(index)
        order.append(index)
    return order


def misfit(card: Card, expected: str, got: Sequence[Shape]) -> ModelBroken:
    """The error for outputs that are not those of the card's head."""
    return ModelBroken(
        f"{card.model_version}: expected outputs {expected} of a {card.head.kind} head with "
        f"{len(card.classes)} labels, got {', '.join(map(told_shape, got)) or 'none'}; this card does not fit this file"
    )


def told_shape(shape: Shape) -> str:
    """A shape for people.

    >>> told_shape((1, 84, -1))
    '(1, 84, any)'
    """
    inner = ", ".join("any" if size < 0 else str(size) for size in shape)
    return f"({inner},)" if len(shape) == 1 else f"({inner})"
