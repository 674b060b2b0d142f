"""What an ONNX file says of itself, against files that the onnx package wrote."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from detectors.onnx_file import ExternalWeights, NotOnnx, Port, read_onnx, read_onnx_file
from tests.detectors.tiny import METADATA, tiny_onnx


@pytest.fixture(scope="module")
def tiny_bytes(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return tiny_onnx(tmp_path_factory.mktemp("onnx")).read_bytes()


def test_it_reads_inputs_outputs_and_metadata(tmp_path: Path) -> None:
    file = read_onnx_file(tiny_onnx(tmp_path))
    assert file.inputs == (Port("images", (1, 3, 32, 32), TensorProto.FLOAT),)
    assert file.outputs == (Port("output0", (1, 6, 21), TensorProto.FLOAT),)
    assert file.metadata == METADATA


def test_lengths_that_are_open_are_minus_one(tmp_path: Path) -> None:
    file = read_onnx_file(tiny_onnx(tmp_path, dynamic=True))
    assert (file.inputs[0].shape, file.outputs[0].shape) == ((-1, 3, -1, -1), (-1, 6, -1))


def test_weights_that_are_listed_as_inputs_are_none() -> None:
    value = numpy_helper.from_array(np.ones(2, np.float32), "weight")
    ports = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [2]) for name in ("x", "weight", "y")]
    graph = helper.make_graph([helper.make_node("Add", ["x", "weight"], ["y"])], "g", ports[:2], ports[2:], [value])
    assert [port.name for port in read_onnx(helper.make_model(graph).SerializeToString()).inputs] == ["x"]


def _external(tensor: onnx.TensorProto) -> onnx.TensorProto:
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../../etc/passwd")
    return tensor


def _weight() -> onnx.TensorProto:
    return numpy_helper.from_array(np.ones((2, 2), np.float32), "weight")


def _in_a_branch() -> onnx.GraphProto:
    out = helper.make_tensor_value_info("weight", TensorProto.FLOAT, [2, 2])
    branch = helper.make_graph([], "branch", [], [out], [_external(_weight())])
    plain = helper.make_graph([], "branch", [], [out], [_weight()])
    node = helper.make_node("If", ["x"], ["y"], then_branch=plain, else_branch=branch)
    return helper.make_graph([node], "g", [], [out])


def _in_a_constant() -> onnx.GraphProto:
    return helper.make_graph([helper.make_node("Constant", [], ["y"], value=_external(_weight()))], "g", [], [])


@pytest.mark.parametrize(
    "graph",
    [helper.make_graph([], "g", [], [], [_external(_weight())]), _in_a_constant(), _in_a_branch()],
    ids=["weight", "constant", "branch"],
)
def test_weights_in_another_file_are_told_apart(graph: onnx.GraphProto) -> None:
    with pytest.raises(ExternalWeights, match="wants weights from another file"):
        read_onnx(helper.make_model(graph).SerializeToString())


@pytest.mark.parametrize(
    "content, says",
    [
        (b"", "one graph, got 0"),
        (b"model: v1", "wire type 5|cut off|one graph"),
        (b"<?xml version='1.0'?>", "no ONNX|other bytes|one graph"),
        (b"\x80" * 40, "expected a number"),
        (b"\x3a\xff\xff\xff\xff\x0f", "bytes more"),
    ],
)
def test_other_bytes_are_no_onnx(content: bytes, says: str) -> None:
    with pytest.raises(NotOnnx, match=says):
        read_onnx(content)


def test_an_empty_file_is_no_onnx(tmp_path: Path) -> None:
    (tmp_path / "empty.onnx").touch()
    with pytest.raises(NotOnnx, match="empty file"):
        read_onnx_file(tmp_path / "empty.onnx")


def test_graphs_without_end_are_refused() -> None:
    inner = b""
    for _ in range(200):
        # node { attribute { graph { … } } }
        for key in (b"\x32", b"\x2a", b"\x0a"):
            length, varint = len(inner), b""
            while length > 127:
                varint, length = varint + bytes([length & 127 | 128]), length >> 7
            inner = key + varint + bytes([length]) + inner
    model = onnx.ModelProto()
    model.graph.name = "g"
    length, varint = len(inner), b""
    while length > 127:
        varint, length = varint + bytes([length & 127 | 128]), length >> 7
    with pytest.raises(NotOnnx, match="graphs within one another"):
        read_onnx(b"\x3a" + varint + bytes([length]) + inner)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_damaged_files_end_in_a_sentence(tiny_bytes: bytes, data: st.DataObject) -> None:
    content = bytearray(tiny_bytes[: data.draw(st.integers(0, len(tiny_bytes)))])
    for _ in range(data.draw(st.integers(0, 8))):
        if content:
            content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    try:
        read_onnx(bytes(content))
    except (NotOnnx, ExternalWeights) as error:
        assert str(error).startswith("expected ")
