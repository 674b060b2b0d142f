"""The card of an Ultralytics ``.pt`` that stays one: read by safe loading, in the trial's child only."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path

from detectors.backends.base import Card, HeadSpec, InputSpec, ModelBroken, RuntimeMissing, brief, digest
from detectors.label_map import map_labels

USUAL_PX = 640


def recognise_pt(path: Path, *, labels: Sequence[str], name: str) -> tuple[Card, tuple[str, ...]]:
    """Its card, and what it calls its classes. ``labels``: one for each class, or ``name=label`` pairs.

    Raises ``ModelProblem``.
    """
    tamed = importlib.import_module("detectors.backends.ultralytics_import")
    if why := tamed.unsafe():
        raise RuntimeMissing(f"{path.name}: a .pt is not opened: it can run code while it is read, and {why}")
    try:
        network = importlib.import_module("ultralytics").YOLO(str(path)).model
        names = tuple(str(network.names[number]) for number in range(len(network.names)))
        size = int(getattr(network, "args", {}).get("imgsz") or USUAL_PX)
    except Exception as error:
        raise ModelBroken(
            f"{path.name}: Ultralytics cannot read it ({type(error).__name__}: {brief(error)}); fetch it again, or "
            "export it to ONNX where it was trained"
        ) from None
    given = dict(label.split("=", 1) for label in labels if "=" in label)
    if in_order := [label for label in labels if "=" not in label]:
        names, given = tuple(in_order), {"-": "-"}
    sha256 = digest(path, path.name)
    card = Card(
        name=name,
        version=sha256[:8],
        backend="ultralytics",
        file=path.name,
        sha256=sha256,
        licence="AGPL-3.0",
        labels=map_labels(names, given).labels,
        input=InputSpec(width_px=size, height_px=size, colour="rgb", std=(255.0, 255.0, 255.0), pad=114),
        head=HeadSpec(kind="ultralytics"),
    )
    return card, names
