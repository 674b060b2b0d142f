"""What an ONNX file says of itself, read without running or building anything. Pure.

Runtimes follow references to other files ("external data"), so a file with such references is refused before any
runtime sees it.

Source: https://github.com/onnx/onnx/blob/main/onnx/onnx.proto (field numbers), protobuf encoding (wire types).
"""

from __future__ import annotations

from collections.abc import Iterator
from mmap import mmap

Buffer = bytes | memoryview | mmap

# Message → field → message: every way from a model down to a tensor.
_CHILDREN: dict[str, dict[int, str]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "function": {7: "node", 11: "attribute"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
}
_GRAPH, _EXTERNAL_DATA, _DATA_LOCATION = 7, 13, 14
_VARINT, _I64, _LEN, _I32 = 0, 1, 2, 5
DEEPEST = 64
"""Graphs within graphs; real ones have three levels."""


class NotOnnx(ValueError):
    """The bytes are no ONNX model; the text says why."""


class ExternalData(ValueError):
    """The model wants bytes from another file."""


def check_onnx(content: Buffer) -> None:
    """Raises ``NotOnnx`` or ``ExternalData``. Reads every field but no tensor's content.

    >>> check_onnx(b"model: v1")
    Traceback (most recent call last):
    ...
    detectors.onnx_wire.NotOnnx: expected an ONNX model, got other bytes (wire type 5 of 7 where there is no graph)
    """
    view = memoryview(content)
    graphs = 0
    waiting: list[tuple[str, int, int, int]] = [("model", 0, len(view), 0)]
    while waiting:
        kind, start, end, depth = waiting.pop()
        if depth > DEEPEST:
            raise NotOnnx(f"expected at most {DEEPEST} messages within one another, got more")
        for number, wire, begin, stop in _fields(view, start, end):
            if kind == "tensor":
                _check_tensor(number, wire, begin)
            elif wire == _LEN and (child := _CHILDREN[kind].get(number)):
                graphs += kind == "model" and number == _GRAPH
                waiting.append((child, begin, stop, depth + 1))
    if graphs != 1:
        raise NotOnnx(f"expected an ONNX model with one graph, got {graphs}")


def _check_tensor(number: int, wire: int, value: int) -> None:
    """For a varint ``value`` is the number itself."""
    if number == _EXTERNAL_DATA or (number == _DATA_LOCATION and wire == _VARINT and value):
        raise ExternalData("expected a model in one file, got weights that are to come from another one")


def _fields(view: memoryview, start: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """(field number, wire type, begin, end) of each field; for a varint its value stands in place of begin."""
    at = start
    while at < end:
        key, at = _varint(view, at, end)
        number, wire = key >> 3, key & 7
        if wire == _VARINT:
            value, at = _varint(view, at, end)
            yield number, wire, value, at
            continue
        if wire == _LEN:
            length, at = _varint(view, at, end)
        elif wire in (_I64, _I32):
            length = 8 if wire == _I64 else 4
        else:
            raise NotOnnx(f"expected an ONNX model, got other bytes (wire type {wire} at byte {at})")
        if at + length > end:
            raise NotOnnx(f"expected {at + length - end} bytes more after byte {end}: the file is cut off, or no ONNX")
        yield number, wire, at, at + length
        at += length


def _varint(view: memoryview, at: int, end: int) -> tuple[int, int]:
    value = shift = 0
    while at < end and shift < 70:
        byte = view[at]
        value |= (byte & 0x7F) << shift
        at += 1
        if byte < 0x80:
            return value, at
        shift += 7
    raise NotOnnx(f"expected a number at byte {at}: the file is cut off, or no ONNX")
