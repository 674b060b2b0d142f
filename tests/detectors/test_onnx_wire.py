"""ONNX files read as plain fields: whole ones pass, others are told apart from them, whatever bytes they hold."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detectors import registry
from detectors.onnx_wire import ExternalData, NotOnnx, check_onnx
from tests.detectors import hostile


def test_a_real_model_passes() -> None:
    check_onnx(registry.model_path(registry.load_card("nanodet_g")).read_bytes())


@pytest.mark.parametrize(
    "location", ["../secret.bin", "/etc/passwd", "weights.bin", "a/../../b"], ids=["up", "absolute", "beside", "mixed"]
)
def test_weights_from_elsewhere_are_seen(location: str, tmp_path: Path) -> None:
    with pytest.raises(ExternalData, match="weights that are to come from another one"):
        check_onnx(hostile.outside(tmp_path, location).read_bytes())


def test_they_are_seen_in_a_loops_body_too(tmp_path: Path) -> None:
    check_onnx(hostile.endless(tmp_path).read_bytes())
    with pytest.raises(ExternalData):
        check_onnx(hostile.outside_in_a_branch(tmp_path).read_bytes())


@pytest.mark.parametrize(
    "content", [b"", b"hello, I am a model", b"PK\x03\x04", b"<?xml version='1.0'?><net/>", b"\x08\x08"]
)
def test_other_bytes_are_no_model(content: bytes) -> None:
    with pytest.raises(NotOnnx):
        check_onnx(content)


def test_a_cut_file_is_said_to_be_cut(tmp_path: Path) -> None:
    content = hostile.harmless(tmp_path).read_bytes()
    for length in (1, len(content) // 3, len(content) - 1):
        with pytest.raises(NotOnnx, match=r"cut off|with one graph, got 0"):
            check_onnx(content[:length])


def test_graphs_within_graphs_have_a_bottom() -> None:
    content = b""
    for _ in range(200):  # graph → node → attribute → graph …
        for field in (6, 5, 1):
            content = bytes([field << 3 | 2]) + length(len(content)) + content
    with pytest.raises(NotOnnx, match="at most 64 messages within one another"):
        check_onnx(bytes([7 << 3 | 2]) + length(len(content)) + content)


def length(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


@given(st.binary(max_size=300))
def test_no_bytes_raise_anything_else(content: bytes) -> None:
    with contextlib.suppress(NotOnnx, ExternalData):
        check_onnx(content)
