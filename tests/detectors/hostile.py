"""Models that mean harm, made with ``onnx``: each is a file that a careless program would open."""

from __future__ import annotations

import pickle
import stat
import zipfile
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

CARD = """
name = "hostile"
version = "1"
backend = "openvino"
file = "model.onnx"
licence = "none"
labels = ["person", "car"]
[input]
width_px = 32
height_px = 32
[head]
kind = "nanodet"
"""

PICTURE = helper.make_tensor_value_info("picture", TensorProto.FLOAT, [1, 3, 32, 32])
STRIDES = ((8, 16), (16, 4), (32, 1))


def save(folder: Path, graph: onnx.GraphProto, name: str = "hostile.onnx") -> Path:
    """``graph`` as a model, with a card beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path = folder / name
    path.write_bytes(model.SerializeToString())
    path.with_suffix(".toml").write_text(CARD)
    return path


def harmless(
    folder: Path, *, value: float = 0.5, extra: list[onnx.NodeProto] | None = None, seed: str = "mean"
) -> Path:
    """A NanoDet head over the mean of the picture, times ``value``; NaN makes every output NaN."""
    nodes = [
        helper.make_node("ReduceMean", ["picture"], ["mean"], axes=[0, 1, 2, 3], keepdims=0),
        *(extra or []),
        helper.make_node("Mul", [seed, "factor"], ["seed"]),
    ]
    constants = [numpy_helper.from_array(np.array(value, np.float32), "factor")]
    outputs = []
    for stride, cells in STRIDES:
        for kind, width in (("score", 2), ("box", 44)):
            name = f"{kind}{stride}"
            constants.append(numpy_helper.from_array(np.ones((1, cells, width), np.float32), f"ones_{name}"))
            nodes.append(helper.make_node("Mul", ["seed", f"ones_{name}"], [name]))
            outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, cells, width]))
    return save(folder, helper.make_graph(nodes, "hostile", [PICTURE], outputs, constants))


def not_a_number(folder: Path) -> Path:
    """Every output is NaN."""
    return harmless(folder, value=float("nan"))


def endless(folder: Path) -> Path:
    """A loop that never ends; its length depends on the picture, so that no compiler can fold it away."""
    true = numpy_helper.from_array(np.array(True), "true")
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["go_in"], ["go_out"]),
            helper.make_node("Sin", ["sum_in"], ["sine"]),
            helper.make_node("Add", ["sum_in", "sine"], ["sum_out"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("round", TensorProto.INT64, []),
            helper.make_tensor_value_info("go_in", TensorProto.BOOL, []),
            helper.make_tensor_value_info("sum_in", TensorProto.FLOAT, []),
        ],
        [
            helper.make_tensor_value_info("go_out", TensorProto.BOOL, []),
            helper.make_tensor_value_info("sum_out", TensorProto.FLOAT, []),
        ],
    )
    loop = [
        helper.make_node("Constant", [], ["rounds"], value=numpy_helper.from_array(np.array(2**62, np.int64))),
        helper.make_node("Constant", [], ["go"], value=true),
        helper.make_node("Loop", ["rounds", "go", "mean"], ["looped"], body=body),
    ]
    return harmless(folder, extra=loop, seed="looped")


def huge(folder: Path) -> Path:
    """Wants 80 GB."""
    shape = numpy_helper.from_array(np.array([20_000, 1_000_000], np.int64))
    nodes = [
        helper.make_node("Constant", [], ["shape"], value=shape),
        helper.make_node("ConstantOfShape", ["shape"], ["zeros"]),
        helper.make_node("Add", ["zeros", "mean"], ["big"]),
        helper.make_node("ReduceMax", ["big"], ["most"], keepdims=0),
    ]
    return harmless(folder, extra=nodes, seed="most")


def outside(folder: Path, location: str = "../secret.bin") -> Path:
    """Its weights are to come from another file."""
    path = harmless(folder)
    model = onnx.load(path)
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)
    path.write_bytes(model.SerializeToString())
    return path


def outside_in_a_branch(folder: Path) -> Path:
    """The same, hidden in a constant of a loop's body."""
    path = endless(folder)
    model = onnx.load(path)
    loop = next(node for node in model.graph.node if node.op_type == "Loop")
    tensor = TensorProto(name="hidden", dims=[1], data_type=TensorProto.FLOAT, data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value="/etc/passwd")
    loop.attribute[0].g.node.append(helper.make_node("Constant", [], ["hidden"], value=tensor))
    path.write_bytes(model.SerializeToString())
    return path


class _Canary:
    """Touches a file when somebody unpickles it."""

    def __init__(self, touched: Path) -> None:
        self._touched = touched

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self._touched,)


def canary(path: Path, touched: Path) -> Path:
    """A pickle under ``path`` that makes ``touched`` when it is loaded carelessly; a zip as torch writes it."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({"model": _Canary(touched)}, protocol=2))
        archive.writestr("archive/version", "3\n")
        archive.writestr("archive/byteorder", "little")
    return path


def bomb(path: Path, unpacked_bytes: int) -> Path:
    """A small zip of many zeros."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("model.onnx", "w") as file:
        for _ in range(unpacked_bytes // 1_000_000):
            file.write(bytes(1_000_000))
    return path


def lying_bomb(path: Path, unpacked_bytes: int) -> Path:
    """The same, but its directory says that it unpacks to ten bytes."""
    bomb(path, unpacked_bytes)
    content = bytearray(path.read_bytes())
    at = content.rindex(b"PK\x01\x02")
    content[at + 24 : at + 28] = (10).to_bytes(4, "little")
    path.write_bytes(bytes(content))
    return path


def zipped(path: Path, **members: bytes) -> Path:
    """A zip with these members; ``__`` in a name stands for a dot."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name.replace("__", "."), content)
    return path


def slip(path: Path, name: str) -> Path:
    """A member that wants to go elsewhere."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("model.onnx", b"x")
        archive.writestr(name, b"x")
    return path


def linked(path: Path) -> Path:
    """A member that is a symbolic link."""
    with zipfile.ZipFile(path, "w") as archive:
        member = zipfile.ZipInfo("model.onnx")
        member.create_system = 3
        member.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(member, "/etc/passwd")
    return path
