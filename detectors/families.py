"""Which detectors have outputs of such shapes. Pure.

A family's function looks at the shapes and says how many classes there would be; several may fit, and the number of
class names tells them apart. Cell counts tell those with anchors (three boxes a cell) from those without.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import msgspec

from detectors.backends.base import HeadSpec, InputSpec
from detectors.backends.heads.base import Shape, cells
from detectors.exported import Exported

LEVELS = ((8, 16, 32), (8, 16, 32, 64), (4, 8, 16, 32))
"""Strides of the levels that detectors look at."""
TINY = (16, 32)
"""Those of tiny YOLOv3. Where boxes are rows, its cells are so few that a list of queries looks like them."""
QUERIES_MOST = 1000
BINS = (8, 11, 17)
"""Bins of a side's distribution: reg_max 7, 10 and 16."""

_IMAGENET_RGB = ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375))
_NANODET_BGR = ((103.53, 116.28, 123.675), (57.375, 57.12, 58.395))


@dataclass(frozen=True, slots=True)
class Look:
    """What is known of a file. ``outputs``: with the leading length of one picture; −1 for what is open."""

    wh: tuple[int, int]
    outputs: tuple[Shape, ...]
    inputs: int = 1
    exported: Exported = field(default_factory=Exported)
    classes: int | None = None
    """Class names that there are; None: not known."""

    @property
    def rows_columns(self) -> Shape:
        """Of a single output ``(1, rows, columns)``; empty for any others."""
        return self.outputs[0][1:] if len(self.outputs) == 1 and len(self.outputs[0]) == 3 else ()

    @property
    def listed(self) -> bool:
        """Whether the exporter says that the network gives a list of objects, and no cells."""
        return bool(self.exported.end2end or self.exported.nms or self.exported.head == "RTDETRDecoder")


@dataclass(frozen=True, slots=True)
class Family:
    """``classes`` None: the shapes do not tell."""

    title: str
    kind: str
    classes: int | None
    strides: tuple[int, ...] = (8, 16, 32)
    bins: int = 11

    @property
    def head(self) -> HeadSpec:
        return HeadSpec(kind=self.kind, strides=self.strides, bins=self.bins)


def input_spec(family: Family, wh: tuple[int, int]) -> InputSpec:
    """How the family's own exporter prepares a picture."""
    size = InputSpec(width_px=wh[0], height_px=wh[1], colour="rgb", std=(255.0, 255.0, 255.0), pad=114)
    if family.kind == "nanodet":
        return InputSpec(width_px=wh[0], height_px=wh[1], mean=_NANODET_BGR[0], std=_NANODET_BGR[1])
    if family.kind == "yolox":
        return InputSpec(width_px=wh[0], height_px=wh[1], pad=114)
    if family.title == "DETR":
        return imagenet(msgspec.structs.replace(size, fit="stretch"))
    if family.kind in ("rtdetr", "rtdetr-top", "detr", "dfine"):
        return msgspec.structs.replace(size, fit="stretch")
    return size


def imagenet(spec: InputSpec) -> InputSpec:
    """The same with red green blue normalised as for ImageNet, as old YOLOX and DETR want it."""
    return msgspec.structs.replace(spec, colour="rgb", mean=_IMAGENET_RGB[0], std=_IMAGENET_RGB[1])


def families(look: Look) -> list[Family]:
    """Those that fit, and that have as many classes as there are names; the likeliest first."""
    found = [family for recognise in _FAMILIES if (family := recognise(look))]
    if look.classes is None:
        return found
    return [replace(one, classes=look.classes) for one in found if one.classes in (None, look.classes)]


def _yolov5(look: Look) -> Family | None:
    """Three anchors a cell."""
    strides = _levels(look, 3)
    if strides is None or look.rows_columns[1] < 6:
        return None
    return Family("YOLOv5 or v7", "yolov5", look.rows_columns[1] - 5, strides)


def _yolov8(look: Look) -> Family | None:
    rows, columns = look.rows_columns or (0, 0)
    strides = None if look.listed else _strides_of(look.wh, columns, 1, (*LEVELS, TINY))
    return Family("YOLOv8 to v13, or YOLO26", "yolov8", rows - 4, strides) if strides and rows >= 5 else None


def _yolov8_transposed(look: Look) -> Family | None:
    strides = _levels(look, 1)
    if strides is None or look.rows_columns[1] < 5:
        return None
    return Family("YOLOv8 (transposed)", "yolov8", look.rows_columns[1] - 4, strides)


def _yolox(look: Look) -> Family | None:
    strides = _levels(look, 1)
    return Family("YOLOX", "yolox", look.rows_columns[1] - 5, strides) if strides and look.rows_columns[1] > 5 else None


def _nanodet(look: Look) -> Family | None:
    """Two outputs a level: scores and distributions."""
    for strides in LEVELS:
        if len(look.outputs) != 2 * len(strides) or any(len(shape) != 3 for shape in look.outputs):
            continue
        by_level = [
            sorted(columns for _, rows, columns in look.outputs if rows == cells(look.wh, [stride]))
            for stride in strides
        ]
        if any(one != by_level[0] for one in by_level):
            continue
        for bins in BINS:
            if len(by_level[0]) == 2 and 4 * bins in by_level[0]:
                return Family("NanoDet", "nanodet", sum(by_level[0]) - 4 * bins, strides, bins)
    return None


def _nanodet_plus(look: Look) -> Family | None:
    """All levels and both parts in one output: only the number of names tells where the scores end."""
    strides = _levels(look, 1)
    if strides is None:
        return None
    classes = look.classes or 80
    sides = look.rows_columns[1] - classes
    return Family("NanoDet", "nanodet", classes, strides, sides // 4) if sides in [4 * bins for bins in BINS] else None


def _end2end(look: Look) -> Family | None:
    """Rows of YOLOv10 and YOLO26, and of any YOLO that was exported with its suppression."""
    exported = look.exported
    if not _queries(look) or look.rows_columns[1] != 6 or exported.head == "RTDETRDecoder":
        return None
    if look.classes == 2 and exported.end2end is False and not exported.nms:
        return None  # 4 + 2 classes of an RT-DETR, whose exporter would have said so of its own rows.
    return Family("YOLO, end to end", "end2end", None)


def _rtdetr_top(look: Look) -> Family | None:
    if not _queries(look) or look.rows_columns[1] != 6 or look.exported.head != "RTDETRDecoder":
        return None
    return Family("RT-DETR", "rtdetr-top", None)


def _rtdetr(look: Look) -> Family | None:
    exported = look.exported
    if not _queries(look) or exported.head or exported.end2end or exported.nms or look.rows_columns[1] < 5:
        return None
    return Family("RT-DETR", "rtdetr", look.rows_columns[1] - 4)


def _detr(look: Look) -> Family | None:
    """Logits and boxes; one logit more than there are names is "no object"."""
    shapes = [shape[1:] for shape in look.outputs]
    if len(shapes) < 2 or any(len(shape) != 2 for shape in shapes[:2]) or shapes[1][1] != 4:
        return None
    if shapes[0][0] != shapes[1][0] or not -1 <= shapes[0][0] <= QUERIES_MOST or shapes[0][1] < 1:
        return None
    logits = shapes[0][1]
    if look.classes is not None and logits == look.classes + 1:
        return Family("DETR", "detr", look.classes)
    return Family("RT-DETR or D-FINE of transformers", "detr", logits)


def _dfine(look: Look) -> Family | None:
    if look.inputs != 2 or sorted(map(len, look.outputs)) != [2, 2, 3]:
        return None
    return Family("D-FINE or RT-DETR", "dfine", None)


_FAMILIES: Sequence[Callable[[Look], Family | None]] = (
    *(_nanodet, _yolov5, _yolov8, _yolox, _yolov8_transposed, _nanodet_plus),
    *(_rtdetr_top, _end2end, _rtdetr, _detr, _dfine),
)


def _levels(look: Look, boxes: int) -> tuple[int, ...] | None:
    """Strides of a single output with so many boxes a cell as its rows."""
    if not look.rows_columns or look.listed:
        return None
    return _strides_of(look.wh, look.rows_columns[0], boxes, LEVELS)


def _strides_of(
    wh: tuple[int, int], rows: int, boxes: int, levels: Sequence[tuple[int, ...]]
) -> tuple[int, ...] | None:
    return next((strides for strides in levels if boxes * cells(wh, strides) == rows), None)


def _queries(look: Look) -> bool:
    """Whether a single output is a short list, or one of open length, and no grid either way round."""
    if not look.rows_columns or not -1 <= look.rows_columns[0] <= QUERIES_MOST:
        return False
    return not (_levels(look, 1) or _levels(look, 3) or _strides_of(look.wh, look.rows_columns[1], 1, LEVELS))
