"""Which runtime runs a model that leaves the choice open. Pure.

Measured on NanoDet: OpenVINO 5 ms and ONNX Runtime 15 ms a picture on two Xeon cores with AMX, where OpenVINO computes in
bf16 by itself.
"""

from __future__ import annotations

from collections.abc import Collection

READERS: dict[str, tuple[str, ...]] = {
    ".onnx": ("onnxruntime", "openvino", "ultralytics"),
    ".xml": ("openvino",),
    ".pt": ("ultralytics",),
}
"""Ending of a model's file → keys of ``detectors.registry.BACKENDS`` that read such files."""

PREFERENCE = ("onnxruntime:cuda", "openvino:intel", "onnxruntime", "openvino", "ultralytics")
"""The best first. ``key:what`` is a runtime with something that makes it better: an NVIDIA card, an Intel processor."""


def choose(available: Collection[str], suffix: str = ".onnx") -> str | None:
    """The best key of ``available`` that reads files ending in ``suffix``; None: none of them does.

    >>> choose({"openvino", "openvino:intel", "onnxruntime"})
    'openvino'
    >>> choose({"openvino", "onnxruntime"}, ".pt")
    """
    readers = READERS.get(suffix, ())
    keys = (one.partition(":")[0] for one in PREFERENCE if one in available)
    return next((key for key in keys if key in readers), None)
