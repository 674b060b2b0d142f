"""What an ONNX file says of itself, read field by field without building or running anything. Pure but for the file.

A model that keeps its weights in another file names that file, and a runtime opens whatever is named; so such a model
is told apart here, before any runtime sees it.

Source: onnx/onnx.proto of https://github.com/onnx/onnx (field numbers); protobuf's encoding (wire types).
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

FIELDS_MOST = 3_000_000
"""A large detector has 50,000; more is no model but a way to keep us busy."""
DEPTH_MOST = 32
"""Graphs within graphs (If, Loop); real ones have three."""
METADATA_MOST = 1 << 20
"""Bytes of one metadata value; the names of 1,000 classes take 20,000."""

_VARINT, _I64, _BYTES, _I32 = 0, 1, 2, 5

# Message → field number → the message in it: every way from a model down to a tensor.
_DOWN: dict[str, dict[int, str]] = {
    "model": {7: "graph", 14: "metadata", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "function": {7: "node", 11: "attribute"},
    "graph": {1: "node", 5: "tensor", 11: "input", 12: "output", 15: "sparse"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {},
}
_TENSOR_NAME, _EXTERNAL_DATA, _DATA_LOCATION = 8, 13, 14


class NotOnnx(ValueError):
    """The bytes are no ONNX model; the text says why."""


class ExternalWeights(ValueError):
    """The model wants weights from another file."""


@dataclass(frozen=True, slots=True)
class Port:
    """An input or output of the graph. ``shape``: −1 for a length that the file leaves open; None: not told."""

    name: str
    shape: tuple[int, ...] | None
    element: int = 0
    """TensorProto.DataType: 1 float32, 2 uint8, 7 int64, 10 float16."""


@dataclass(frozen=True, slots=True)
class OnnxFile:
    """Inputs without the weights, outputs, and what its maker wrote beside them."""

    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    metadata: dict[str, str] = field(default_factory=dict)


def read_onnx_file(path: Path) -> OnnxFile:
    """Raises ``NotOnnx``, ``ExternalWeights``, ``OSError``. Touches no tensor's content, however large the file is."""
    with path.open("rb") as file:
        if not file.seek(0, 2):
            raise NotOnnx("expected an ONNX model, got an empty file")
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content, memoryview(content) as view:
            return read_onnx(view)


def read_onnx(content: bytes | memoryview) -> OnnxFile:
    """The same of bytes in memory."""
    with memoryview(content) as view:
        walk = _Walk(view)
        walk.down("model", 0, len(view), 0)
    if walk.graphs != 1:
        raise NotOnnx(f"expected an ONNX model with one graph, got {walk.graphs}")
    inputs = tuple(port for port in walk.inputs if port.name not in walk.weights)
    return OnnxFile(inputs, tuple(walk.outputs), walk.metadata)


class _Walk:
    """One pass over a file."""

    def __init__(self, view: memoryview) -> None:
        self._view, self._left = view, FIELDS_MOST
        self.graphs = 0
        self.inputs: list[Port] = []
        self.outputs: list[Port] = []
        self.weights: set[str] = set()
        self.metadata: dict[str, str] = {}

    def down(self, kind: str, begin: int, end: int, depth: int) -> None:
        if depth > 4 * DEPTH_MOST:
            raise NotOnnx(f"expected at most {DEPTH_MOST} graphs within one another, got more")
        for number, value, start, stop in self._fields(begin, end):
            if kind == "tensor":
                self._tensor(number, value, start, stop, depth)
            elif start is not None and (child := _DOWN[kind].get(number)):
                self._child(child, start, stop, depth + 1)

    def _child(self, kind: str, start: int, stop: int, depth: int) -> None:
        # The model's own graph is at depth 1; those inside nodes have inputs and outputs that are not the model's.
        if kind == "metadata":
            key, value = (self._text(start, stop, number) for number in (1, 2))
            self.metadata[key] = value
        elif kind in ("input", "output"):
            if depth == 2:
                (self.inputs if kind == "input" else self.outputs).append(self._port(start, stop))
        else:
            self.graphs += kind == "graph" and depth == 1
            self.down(kind, start, stop, depth)

    def _tensor(self, number: int, value: int, start: int | None, stop: int, depth: int) -> None:
        if number == _EXTERNAL_DATA or (number == _DATA_LOCATION and value):
            raise ExternalWeights("expected a model in one file, got one that wants weights from another file")
        if number == _TENSOR_NAME and depth == 2 and start is not None:
            self.weights.add(self._decoded(start, stop))

    def _port(self, begin: int, end: int) -> Port:
        """Of a ValueInfoProto: name 1, type 2 → tensor_type 1 → elem_type 1, shape 2 → dim 1 → dim_value 1."""
        element, shape = 0, None
        for tensor in self._inside(begin, end, 2, 1):
            for number, value, start, stop in self._fields(*tensor):
                if number == 1:
                    element = value
                elif number == 2 and start is not None:
                    shape = tuple(self._length(*dim) for dim in self._inside(start, stop, 1))
        return Port(self._text(begin, end, 1), shape, element)

    def _length(self, begin: int, end: int) -> int:
        known = [value for number, value, start, _ in self._fields(begin, end) if number == 1 and start is None]
        return known[0] if known and 0 < known[0] < 1 << 31 else -1

    def _inside(self, begin: int, end: int, *numbers: int) -> list[tuple[int, int]]:
        """Where the messages lie that ``numbers`` lead to, one field in another."""
        places = [(begin, end)]
        for wanted in numbers:
            places = [
                (start, stop)
                for place in places
                for number, _, start, stop in self._fields(*place)
                if number == wanted and start is not None
            ]
        return places

    def _text(self, begin: int, end: int, wanted: int) -> str:
        return next((self._decoded(*place) for place in self._inside(begin, end, wanted)), "")

    def _decoded(self, start: int, stop: int) -> str:
        if stop - start > METADATA_MOST:
            raise NotOnnx(f"expected texts of at most {METADATA_MOST} bytes, got one of {stop - start}")
        return bytes(self._view[start:stop]).decode("utf-8", "replace")

    def _fields(self, at: int, end: int) -> Iterator[tuple[int, int, int | None, int]]:
        """(number, value, begin, end) of each field: a varint has its value and no begin, bytes have no value."""
        while at < end:
            self._left -= 1
            if self._left < 0:
                raise NotOnnx(f"expected at most {FIELDS_MOST} fields, got more")
            key, at = self._varint(at, end)
            wire = key & 7
            if wire == _VARINT:
                value, at = self._varint(at, end)
                yield key >> 3, value, None, at
                continue
            if wire == _BYTES:
                length, at = self._varint(at, end)
            elif wire in (_I64, _I32):
                length = 8 if wire == _I64 else 4
            else:
                raise NotOnnx(f"expected an ONNX model, got other bytes (wire type {wire} at byte {at})")
            if at + length > end:
                raise NotOnnx(f"expected {at + length - end} bytes more after byte {end}: it is cut off, or no ONNX model")
            yield key >> 3, 0, at, at + length
            at += length

    def _varint(self, at: int, end: int) -> tuple[int, int]:
        value = 0
        for shift in range(0, 70, 7):
            if at >= end:
                break
            byte = self._view[at]
            value |= (byte & 0x7F) << shift
            at += 1
            if byte < 0x80:
                return value, at
        raise NotOnnx(f"expected a number at byte {at}: it is cut off, or no ONNX model")
