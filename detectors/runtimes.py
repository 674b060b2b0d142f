"""Which runtimes are installed here, told without loading any of them."""

from __future__ import annotations

from importlib.util import find_spec

from detectors.registry import BACKENDS, install_command

_NAMES = {"openvino": "OpenVINO", "onnxruntime": "ONNX Runtime", "ultralytics": "Ultralytics"}


def runtime_name(key: str) -> str:
    """As people write it.

    >>> runtime_name("onnxruntime"), runtime_name("tflite")
    ('ONNX Runtime', 'tflite')
    """
    return _NAMES.get(key, key)


def installed(key: str) -> bool:
    """Whether the backend ``key`` exists and the package of its runtime is there. Whether it works shows a trial."""
    return key in BACKENDS and find_spec(key) is not None


def missing(key: str) -> str:
    """What to do about a backend that cannot run here; empty when it is there."""
    if installed(key):
        return ""
    if key not in BACKENDS:
        return f"expected one of {', '.join(sorted(BACKENDS))}, got {key!r}; choose one of them"
    return f"{runtime_name(key)} is not installed; run {install_command(key)}"
