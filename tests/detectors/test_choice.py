"""Which runtime runs a model that leaves the choice open."""

from __future__ import annotations

from pathlib import Path

import pytest

from detectors import registry
from detectors.backends.base import RuntimeMissing
from detectors.backends.choice import PREFERENCE, READERS, choose

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    "available, suffix, expected",
    [
        ({"openvino", "openvino:intel", "onnxruntime", "onnxruntime:cuda"}, ".onnx", "onnxruntime"),
        ({"openvino", "openvino:intel", "onnxruntime"}, ".onnx", "openvino"),
        ({"openvino", "onnxruntime"}, ".onnx", "onnxruntime"),
        ({"openvino"}, ".onnx", "openvino"),
        ({"ultralytics"}, ".onnx", "ultralytics"),
        ({"onnxruntime", "onnxruntime:cuda", "openvino"}, ".xml", "openvino"),
        ({"onnxruntime", "openvino", "ultralytics"}, ".pt", "ultralytics"),
        ({"onnxruntime", "openvino"}, ".pt", None),
        ({"onnxruntime", "openvino"}, ".tflite", None),
        (set(), ".onnx", None),
    ],
)
def test_the_best_that_is_there(available: set[str], suffix: str, expected: str | None) -> None:
    assert choose(available, suffix) == expected


def test_every_reader_has_a_place() -> None:
    assert {key for readers in READERS.values() for key in readers} == {one.partition(":")[0] for one in PREFERENCE}


def test_a_named_backend_is_taken_as_it_is() -> None:
    assert registry.resolve("openvino", Path("model.pt")) == "openvino"


def test_auto_is_one_that_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    assert registry.resolve("auto", Path("model.xml")) == "openvino"
    monkeypatch.setattr(registry, "available", lambda: frozenset({"openvino"}))
    assert registry.resolve("auto", Path("model.onnx")) == "openvino"
    with pytest.raises(
        RuntimeMissing, match=r"reads model.pt \(ultralytics\), got openvino; \./poliscope install ultra"
    ):
        registry.resolve("auto", Path("model.pt"))
    with pytest.raises(
        RuntimeMissing, match=r"reads model.h5 \(none does\).*export the model to a file ending in .onnx"
    ):
        registry.resolve("auto", Path("model.h5"))


def test_dev_has_the_same_onnxruntime() -> None:
    pins = [
        [line for line in (ROOT / "requirements" / name).read_text().splitlines() if line.startswith("onnxruntime==")]
        for name in ("onnxruntime.txt", "dev.txt")
    ]
    assert pins[0] == pins[1] and len(pins[0]) == 1
