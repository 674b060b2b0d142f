"""A model small enough to be made by a test: its one box is as sure as the picture is bright."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import openvino
from openvino import opset13 as ops

SIZE = 32
LABELS = ("person", "car")

CARD = """
name = "tiny"
version = "1"
backend = "openvino"
file = "tiny.xml"
licence = "none"
labels = ["person", "car"]
[input]
width_px = 32
height_px = 32
std = [255.0, 255.0, 255.0]
[head]
kind = "nanodet"
"""


def tiny_model(folder: Path, *, size: int = SIZE, classes: int = len(LABELS), name: str = "tiny") -> Path:
    """``name``.xml, .bin and .toml. A picture of grey level g gives one person, 0.25 to 0.75, with score g / 255."""
    picture = ops.parameter([1, 3, size, size], np.float32, name="picture")
    bright = ops.reduce_mean(picture, ops.constant(np.array([0, 1, 2, 3])), keep_dims=False)
    bright = ops.reshape(bright, ops.constant(np.array([1, 1, 1])), special_zero=False)
    outputs = []
    for stride in (8, 16, 32):
        cells = (size // stride) ** 2
        sure = np.zeros((1, cells, classes), np.float32)
        if stride == 32:
            sure[0, 0, 0] = 1
        outputs.append(ops.multiply(bright, ops.constant(sure)))
    for stride in (8, 16, 32):
        # A distance of a quarter of a stride: the mean of three parts 0 and one part 1.
        logits = np.full((1, (size // stride) ** 2, 4, 11), -50, np.float32)
        logits[..., 0], logits[..., 1] = np.log(0.75), np.log(0.25)
        outputs.append(
            ops.add(ops.constant(logits.reshape(1, -1, 44)), ops.multiply(bright, ops.constant(np.float32(0))))
        )
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.xml"
    openvino.save_model(openvino.Model(outputs, [picture], name), path, compress_to_fp16=False)
    (folder / f"{name}.toml").write_text(CARD.replace("tiny.xml", path.name))
    return path


def grey(level: int, wh: tuple[int, int] = (64, 48)) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """A picture of one grey level."""
    return np.full((wh[1], wh[0], 3), level, np.uint8)
