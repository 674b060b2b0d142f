"""Files that Ultralytics really writes, of networks with random weights: recognised, and run by every runtime."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from detectors import registry
from detectors.recognise import recognise
from monitor.instance import BASE_DIR
from tests.detectors.tiny import grey

# In a process of its own: torch warns, and takes a gigabyte.
EXPORT = """
from detectors.backends.torchvision_ops import known, ready
known()
ready()
from ultralytics import YOLO
YOLO("yolo11n.yaml").export(format="onnx", imgsz=160, simplify=False, dynamic=True)
YOLO("yolo26n.yaml").export(format="onnx", imgsz=160, simplify=False, nms=False)
"""


@pytest.fixture(scope="module")
def exports(tmp_path_factory: pytest.TempPathFactory) -> Path:
    for package in ("torch", "ultralytics", "onnx"):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"needs {package}")
    folder = tmp_path_factory.mktemp("exports")
    quiet = {
        "YOLO_AUTOINSTALL": "false",
        "YOLO_OFFLINE": "true",
        "YOLO_CONFIG_DIR": str(folder),
        "OMP_NUM_THREADS": "2",
        "PYTHONPATH": str(BASE_DIR),
    }
    command = [sys.executable, "-c", EXPORT]
    done = subprocess.run(command, cwd=folder, env={**os.environ, **quiet}, capture_output=True, text=True, timeout=150)
    assert done.returncode == 0, done.stderr[-2000:]
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("name, kind", [("yolo11n", "yolov8"), ("yolo26n", "end2end")])
def test_real_exports_are_recognised_and_run(exports: Path, name: str, kind: str) -> None:
    path = exports / f"{name}.onnx"
    card = recognise(path, labels=["coco-80"])
    assert (card.head.kind, card.input.width_px, card.input.height_px) == (kind, 160, 160)
    for key in ("openvino", "onnxruntime"):
        backend = registry.make_backend(key)
        backend.load(path, card)
        backend.warm_up()
        assert len(backend.infer([grey(100), grey(200, (300, 90))])) == 2
