"""Which of a network's inputs takes the picture. The same for every runtime. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from detectors.backends.base import Card, ModelBroken
from detectors.backends.heads import SIZES_INPUT
from detectors.backends.heads.base import fits, told_shape
from detectors.onnx_file import Port


@dataclass(frozen=True, slots=True)
class Inputs:
    """Indices of the network's inputs."""

    picture: int
    sizes: int | None
    """Of the one that takes width and height, ``(1, 2)``; None: the network has none."""


def match_inputs(card: Card, given: Sequence[Port]) -> Inputs:
    """Lengths that the file leaves open (−1) are the card's to say. Raises ``ModelBroken``."""
    want = (1, 3, card.input.height_px, card.input.width_px)
    shapes = [port.shape or () for port in given]
    pictures = [index for index, shape in enumerate(shapes) if fits(want, shape)]
    two = card.head.kind in SIZES_INPUT
    sizes = [index for index, shape in enumerate(shapes) if two and fits((1, 2), shape)]
    if len(shapes) != 1 + two or len(pictures) != 1 or len(sizes) != two:
        expected = f"two inputs {want} and (1, 2)" if two else f"one input {want}"
        got = "; ".join(map(told_shape, shapes)) or "none"
        raise ModelBroken(f"{card.model_version}: expected {expected}, got {got}; this card does not fit this file")
    return Inputs(pictures[0], sizes[0] if two else None)
