"""Heads: how a network's outputs become boxes. NumPy only, so that every runtime may use them. Pure.

A new one is one file here and one line in ``HEADS``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from detectors.backends.base import Card, ModelBroken
from detectors.backends.heads.base import Head, Output, Shape
from detectors.backends.heads.detr import DetrHead
from detectors.backends.heads.dfine import DFineHead
from detectors.backends.heads.end2end import EndToEndHead
from detectors.backends.heads.nanodet import NanoDetHead
from detectors.backends.heads.rtdetr import RtDetrHead, RtDetrTopHead
from detectors.backends.heads.yolov5 import YoloV5Head
from detectors.backends.heads.yolov8 import YoloV8Head
from detectors.backends.heads.yolox import YoloXHead

__all__ = ["FREE_SIZE", "HEADS", "SIZES_INPUT", "Head", "Output", "Shape", "make_head"]

HEADS: dict[str, Callable[[Card, Sequence[Shape]], Head]] = {
    "nanodet": NanoDetHead,
    "yolov5": YoloV5Head,
    "yolov8": YoloV8Head,
    "yolox": YoloXHead,
    "end2end": EndToEndHead,
    "rtdetr": RtDetrHead,
    "rtdetr-top": RtDetrTopHead,
    "detr": DetrHead,
    "dfine": DFineHead,
}

FREE_SIZE = frozenset({"nanodet", "yolox"})
"""Heads that lay their grid over the input themselves: their networks may be given an input of another size, where
others have the positions of the cells baked in."""

SIZES_INPUT = frozenset({"dfine"})
"""Heads whose network takes a second input ``(1, 2) int64``: the width and height that its boxes are to be in."""


def make_head(card: Card, shapes: Sequence[Shape]) -> Head:
    """The head that ``card`` names, fitted to the model's output ``shapes``. Raises ``ModelBroken``."""
    if card.head.kind not in HEADS:
        raise ModelBroken(
            f"{card.model_version}: head: expected one of {', '.join(sorted(HEADS))}, got {card.head.kind!r}; "
            "mend the model card"
        )
    return HEADS[card.head.kind](card, shapes)
