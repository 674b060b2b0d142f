"""What the outputs of Ultralytics' models mean: tensors on the model's device to ``Detections``.

Two forms. *Raw*: ``(pictures, 4 + classes + more, cells)``, boxes as centre and size, suppression still to do; *more*
is mask coefficients, key points, or an angle. *End to end* (YOLO26, or exported with suppression inside):
``(pictures, boxes, 6 + more)``, with score and class as columns 4 and 5. The best cells are picked on the device, and
all that leaves it is one small array a batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from detectors.backends.base import BOXES_MOST, CANDIDATES_MOST, NMS_IOU, Card, ModelBroken, keep_best
from detectors.backends.ultralytics_import import TorchNMS, batch_probiou
from detectors.detections import FLOOR, Detections
from detectors.geometry import Letterbox

TASKS = ("detect", "segment", "pose", "obb")
Rows = npt.NDArray[np.float32]
"""``(n, 6 or 7)``: four of a box in pixels of the input, score, class, and the angle in radians of a turned box."""


@dataclass(frozen=True, slots=True)
class Output:
    """How to read one model's output."""

    classes: tuple[str, ...]
    """Our label of each class; an empty one is not wanted."""
    task: str
    end_to_end: bool
    extent: float
    """Larger than any coordinate."""

    @classmethod
    def fit(cls, card: Card, task: str, end_to_end: bool, shape: Sequence[int], names: int) -> Output:
        """Raises ``ModelBroken`` when an output of ``shape`` is not that of such a model with the card's labels.

        ``names``: how many classes the file says it has; 0 when it does not say.
        """
        classes = card.classes
        if task not in TASKS:
            raise ModelBroken(
                f"{card.model_version}: task: expected one of {', '.join(TASKS)}, got {task!r}; choose another model"
            )
        least = 6 if end_to_end else 4 + len(classes)
        exact = {"detect": least, "obb": least + 1}.get(task)
        columns = shape[-1 if end_to_end else -2] if len(shape) == 3 else 0
        if (columns != exact if exact else columns <= least) or names not in (0, len(classes)):
            wanted = str(exact or f"more than {least}")
            raise ModelBroken(
                f"{card.model_version}: expected outputs ({f'boxes, {wanted}' if end_to_end else f'{wanted}, cells'}) "
                f"of an ultralytics {task} head with {len(classes)} labels, got {tuple(shape[1:])}"
                f"{f' and {names} classes' if names else ''}; this card does not fit this file"
            )
        return cls(classes, task, end_to_end, float(max(card.input.width_px, card.input.height_px) * 4))

    def best(self, output: Any) -> Any:
        """The most certain boxes of each picture as one tensor ``(pictures, n, 6 or 7) float32`` on the same device."""
        if self.end_to_end:
            columns = [0, 1, 2, 3, 4, 5] + ([output.shape[-1] - 1] if self.task == "obb" else [])
            return output[:, :CANDIDATES_MOST, columns].float()
        score, class_id = output[:, 4 : 4 + len(self.classes)].max(1)
        score, cell = self._wanted(score, class_id).topk(min(CANDIDATES_MOST, score.shape[1]))
        parts = [output[:, :4], class_id[:, None], *([output[:, -1:]] if self.task == "obb" else [])]
        box, number, *angle = [
            part.gather(2, cell[:, None].expand(-1, part.shape[1], -1)).transpose(1, 2).float() for part in parts
        ]
        return torch.cat([box, score[..., None].float(), number, *angle], 2)

    def _wanted(self, score: Any, class_id: Any) -> Any:
        """``score``, 0 where the class is not wanted: such cells must take no wanted one's place."""
        if all(self.classes):
            return score
        wanted = torch.tensor([bool(label) for label in self.classes], device=score.device, dtype=score.dtype)
        return score * wanted[class_id]

    def detections(self, rows: Rows, letterbox: Letterbox) -> Detections:
        """One picture's ``rows`` as boxes in fractions of it."""
        rows = rows[rows[:, 4] >= FLOOR]
        number = rows[:, 5].astype(np.intp)
        if not all(self.classes):
            wanted = np.array([bool(label) for label in self.classes])[number]
            rows, number = rows[wanted], number[wanted]
        if not len(rows):
            return Detections.empty()
        boxes, score = self._upright(rows), rows[:, 4]
        if self.end_to_end or self.task == "obb":
            kept = self._kept(rows, number)
            boxes, score, label = boxes[kept], score[kept], tuple(self.classes[index] for index in number[kept])
        else:
            boxes, score, label = keep_best(boxes, score, number, self.classes, self.extent)
        return Detections(letterbox.to_fractions(boxes), np.minimum(score, 1), label)

    def _upright(self, rows: Rows) -> Rows:
        """``(n, 4)`` x1 y1 x2 y2; of a turned box the smallest upright one around it."""
        if self.end_to_end and self.task != "obb":
            return rows[:, :4]
        centre, half = rows[:, :2], rows[:, 2:4] / 2
        if self.task == "obb":
            cos, sin = np.abs(np.cos(rows[:, 6])), np.abs(np.sin(rows[:, 6]))
            half = np.stack((half[:, 0] * cos + half[:, 1] * sin, half[:, 0] * sin + half[:, 1] * cos), 1)
        return np.concatenate((centre - half, centre + half), 1)

    def _kept(self, rows: Rows, number: npt.NDArray[np.intp]) -> npt.NDArray[np.intp]:
        """Indices of the rows that stay, best first: all of an end-to-end model, else those not suppressed turned."""
        if self.end_to_end:
            return np.argsort(-rows[:, 4], kind="stable")[:BOXES_MOST]
        # Upright boxes around two parked lorries overlap where the lorries do not: compared as they lie.
        place = {name: index for index, name in enumerate(sorted({self.classes[index] for index in number}))}
        shift = np.array([place[self.classes[index]] for index in number], np.float32) * 2 * self.extent
        turned = np.concatenate((rows[:, :2] + shift[:, None], rows[:, 2:4], rows[:, 6:]), 1)
        kept = TorchNMS.fast_nms(
            torch.from_numpy(turned), torch.from_numpy(rows[:, 4].copy()), NMS_IOU, iou_func=batch_probiou
        )
        indices: npt.NDArray[np.intp] = kept.numpy()[:BOXES_MOST]
        return indices
