"""Models small enough to be made by a test: their one box is as sure as the picture is bright."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

SIZE = 32
LABELS = ("person", "car")
CELLS = 16 + 4 + 1
"""Of a 32×32 input with strides 8, 16 and 32."""

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

ONNX_CARD = """
name = "tiny"
version = "1"
backend = "auto"
file = "tiny.onnx"
licence = "none"
labels = ["person", "car"]
[input]
width_px = 32
height_px = 32
colour = "rgb"
std = [255.0, 255.0, 255.0]
pad = 114
[head]
kind = "yolov8"
"""

METADATA = {"task": "detect", "stride": "32", "batch": "1", "imgsz": "[32, 32]", "names": "{0: 'person', 1: 'car'}"}
"""What Ultralytics writes beside a model."""


def tiny_model(folder: Path, *, size: int = SIZE, classes: int = len(LABELS), name: str = "tiny") -> Path:
    """``name``.xml, .bin and .toml. A picture of grey level g gives one person, 0.25 to 0.75, with score g / 255."""
    import openvino
    from openvino import opset13 as ops

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


def tiny_onnx(folder: Path, *, name: str = "tiny", dynamic: bool = False) -> Path:
    """``name``.onnx and .toml: the same behaviour as YOLOv8 writes it, ``(1, 4 + 2, cells)``, for every runtime that
    reads ONNX. ``dynamic``: batch, height and width are left open.
    """
    still, bright = np.zeros((1, 6, CELLS), np.float32), np.zeros((1, 6, CELLS), np.float32)
    still[0, :4, -1] = SIZE / 2
    bright[0, 4, -1] = 1
    path = folder / f"{name}.onnx"
    input_shape = ["batch", 3, "height", "width"] if dynamic else [1, 3, SIZE, SIZE]
    output_shape = ["batch", 6, "cells"] if dynamic else [1, 6, CELLS]
    write_onnx(path, [Out("output0", output_shape, still, bright)], input_shape, metadata=METADATA)
    (folder / f"{name}.toml").write_text(ONNX_CARD.replace("tiny.onnx", path.name))
    return path


class Out:
    """An output: ``still`` + ``bright`` × the picture's mean, alike for every picture of a batch."""

    def __init__(
        self, name: str, shape: Sequence[int | str], still: np.ndarray, bright: np.ndarray | None = None
    ) -> None:
        self.name, self.shape, self.still = name, list(shape), still
        self.bright = np.zeros_like(still) if bright is None else bright


def write_onnx(
    path: Path,
    outputs: Sequence[Out],
    input_shape: Sequence[int | str],
    *,
    metadata: Mapping[str, str] | None = None,
    sizes: bool = False,
) -> None:
    """An ONNX model with one picture as its input, and with ``sizes`` a second one ``orig_target_sizes``."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    nodes, weights = [helper.make_node("ReduceMean", ["images"], ["mean"], axes=[1, 2, 3], keepdims=0)], []
    for out in outputs:
        whole = out.still.dtype.kind == "i"
        ones = [1] * (out.still.ndim - 1)
        rank = np.array([-1, *ones], np.int64)
        for part, value in (("still", out.still), ("bright", out.bright), ("rank", rank)):
            weights.append(numpy_helper.from_array(value.astype(np.int64 if part == "rank" else np.float32),
                                                   f"{out.name}.{part}"))  # fmt: skip
        nodes += [
            helper.make_node("Reshape", ["mean", f"{out.name}.rank"], [f"{out.name}.mean"]),
            helper.make_node("Mul", [f"{out.name}.mean", f"{out.name}.bright"], [f"{out.name}.moved"]),
            helper.make_node("Add", [f"{out.name}.moved", f"{out.name}.still"], [f"{out.name}.sum" if whole else out.name]),
        ]
        if whole:
            nodes.append(helper.make_node("Cast", [f"{out.name}.sum"], [out.name], to=TensorProto.INT64))
    inputs = [helper.make_tensor_value_info("images", TensorProto.FLOAT, list(input_shape))]
    if sizes:
        inputs.append(helper.make_tensor_value_info("orig_target_sizes", TensorProto.INT64, ["N", 2]))
        _scale_boxes(nodes, outputs)
    given = [
        helper.make_tensor_value_info(
            out.name, TensorProto.INT64 if out.still.dtype.kind == "i" else TensorProto.FLOAT, out.shape
        )
        for out in outputs
    ]
    graph = helper.make_graph(nodes, "tiny", inputs, given, weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(model, dict(metadata or {}))
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, str(path))


def _scale_boxes(nodes: list[object], outputs: Sequence[Out]) -> None:
    """As D-FINE does: boxes in fractions times width, height, width, height."""
    from onnx import TensorProto, helper

    [boxes] = [out for out in outputs if out.name == "boxes"]
    for node in nodes:
        if list(node.output) == ["boxes"]:  # type: ignore[attr-defined]
            node.output[0] = "fractions"  # type: ignore[attr-defined]
    nodes += [
        helper.make_node("Cast", ["orig_target_sizes"], ["wh"], to=TensorProto.FLOAT),
        helper.make_node("Concat", ["wh", "wh"], ["whwh"], axis=-1),
        helper.make_node("Reshape", ["whwh", "whwh.rank"], ["whwh.rows"]),
        helper.make_node("Mul", ["fractions", "whwh.rows"], ["boxes"]),
        helper.make_node("Constant", [], ["whwh.rank"], value_ints=[-1, 1, 4]),
    ]
    nodes.insert(0, nodes.pop())


def grey(level: int, wh: tuple[int, int] = (64, 48)) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """A picture of one grey level."""
    return np.full((wh[1], wh[0], 3), level, np.uint8)
