"""Ultralytics models small enough to be made by a test: random weights in Ultralytics' own networks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import torch

from detectors.backends.base import Card, HeadSpec, InputSpec, Picture
from detectors.backends.ultralytics_import import tasks, ultralytics
from detectors.labels import COCO_80

INPUT_WH = (128, 160)

MODELS = {
    "detect": ("yolo11n.yaml", tasks.DetectionModel),
    "segment": ("yolo11n-seg.yaml", tasks.SegmentationModel),
    "pose": ("yolo11n-pose.yaml", tasks.PoseModel),
    "obb": ("yolo11n-obb.yaml", tasks.OBBModel),
    "two heads": ("yolo26n.yaml", tasks.DetectionModel),
    "end to end": ("yolo26n.yaml", tasks.DetectionModel),
    "end to end obb": ("yolo26n-obb.yaml", tasks.OBBModel),
}


def street() -> Picture:
    """The picture that comes with Ultralytics, a bus and four people, at 240×320."""
    path = Path(ultralytics.__file__).parent / "assets" / "bus.jpg"
    return cv2.resize(cv2.imread(str(path)), (240, 320), interpolation=cv2.INTER_AREA)


def network(kind: str, classes: int) -> Any:
    """A network of ``kind`` that is sure of something in a few places of ``street()`` at ``INPUT_WH``."""
    file, make = MODELS[kind]
    torch.manual_seed(0)
    model = make(file, nc=classes, verbose=False)
    model.task = {"two heads": "detect", "end to end": "detect", "end to end obb": "obb"}.get(kind, kind)
    last = model.model[-1]
    if kind.startswith("end to end"):
        model.end2end = True
    heads = [last.cv3, *([last.one2one_cv3] if kind.startswith("end to end") else [])]
    inner = cv2.resize(street(), (120, 160))
    given = cv2.copyMakeBorder(inner, 0, 0, 4, 4, cv2.BORDER_CONSTANT, value=(114, 114, 114))
    seen = torch.from_numpy(given).permute(2, 0, 1).flip(0)[None] / 255
    with torch.no_grad():
        _normalise(model, seen)
        for layer in (layers[-1] for branch in heads for layers in branch):
            _spread(model, layer, seen)
    # Fused, it has lost the head whose boxes are still to be suppressed.
    return model.eval().fuse(verbose=False) if kind.startswith("end to end") else model.eval()


def _normalise(model: Any, picture: Any) -> None:
    """One look sets the normalisation, without which nothing of a picture reaches the last layers."""
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 1.0
    model.train()(picture)


def _spread(model: Any, layer: Any, picture: Any) -> None:
    """Few of the scores that ``layer`` makes over ``picture`` are above 0.1, and no two alike."""
    seen: list[Any] = []
    torch.nn.init.normal_(layer.weight)
    hook = layer.register_forward_hook(lambda _layer, _given, made: seen.append(made))
    model.eval()(picture)
    hook.remove()
    layer.weight /= seen[0].std()
    layer.bias.fill_(0).sub_(seen[0].mean() / seen[0].std() + 3.7)


def save(path: Path, kind: str, labels: tuple[str, ...], input_wh: tuple[int, int] = INPUT_WH) -> Card:
    """Writes a checkpoint as Ultralytics does, and gives its card."""
    model = network(kind, len(labels))
    model.args = {"task": model.task}
    torch.save({"model": model, "train_args": {"task": model.task}}, path)
    return card(path.name, labels, input_wh)


def card(file: str, labels: tuple[str, ...] = COCO_80, input_wh: tuple[int, int] = INPUT_WH) -> Card:
    """What Ultralytics' models take: red green blue, 0 to 1, grey 114 beside the picture."""
    return Card(
        name="yolo",
        version="1",
        backend="ultralytics",
        file=file,
        licence="none",
        labels=labels,
        input=InputSpec(width_px=input_wh[0], height_px=input_wh[1], colour="rgb", std=(255.0, 255.0, 255.0), pad=114),
        head=HeadSpec(kind="ultralytics"),
    )
