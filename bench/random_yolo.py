"""A YOLO11n of random weights, in the shapes that the benchmarks need: ``python -m bench.random_yolo FOLDER``.

It finds nothing, and computes what a trained one computes. Needs torch and ultralytics.
"""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path
from typing import Any

from detectors.backends import torchvision_ops

INPUT_WH = (640, 384)
CARD = """\
name = "yolo11n-random"
version = "1"
backend = "openvino"
file = "yolo11n.onnx"
licence = "none: random weights"
labels = "coco-80"

[input]
width_px = {width}
height_px = {height}
colour = "rgb"
std = [255.0, 255.0, 255.0]
pad = 114

[head]
kind = "yolov8"
"""


def main(arguments: list[str]) -> int:
    """Write ``yolo11n.pt`` for Ultralytics, ``yolo11n.onnx`` and its card ``yolo11n.toml`` for us."""
    folder = Path(arguments[0]).resolve()
    # It keeps settings beside the home folder and installs packages by itself, unless told otherwise.
    os.environ.update(YOLO_CONFIG_DIR=str(folder), YOLO_AUTOINSTALL="false")
    torchvision_ops.known()
    torchvision_ops.ready()
    ultralytics: Any = importlib.import_module("ultralytics")
    width, height = INPUT_WH
    weights = folder / "yolo11n.pt"
    ultralytics.YOLO("yolo11n.yaml").save(weights)
    ultralytics.YOLO(weights).export(format="onnx", imgsz=(height, width), simplify=False, device="cpu", verbose=False)
    (folder / "yolo11n.toml").write_text(CARD.format(width=width, height=height))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
