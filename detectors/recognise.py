"""A model file's card, from the file alone: its inputs and outputs, and what its exporter wrote beside them.

Nothing is guessed silently: a file that could be two things, or whose class names are missing or unknown, is refused
with a sentence that says what is needed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from detectors.backends.base import LARGEST_PX, SMALLEST_PX, Card, InputSpec, ModelBroken, check_onnx, digest
from detectors.backends.heads.base import Output, Shape, told_shape
from detectors.exported import Exported, read_exported, read_yaml
from detectors.families import Family, Look, families, imagenet, input_spec
from detectors.label_map import map_labels
from detectors.labels import COCO_80, LABEL_SETS
from detectors.onnx_file import Port
from detectors.trial import Trial

USUAL_WH = (640, 640)
"""Where neither the file's shapes nor its exporter say: what nearly all are trained with."""
SURE = 0.1
"""A YOLOX that sees something in a plain picture is not given what it wants."""


def recognise(path: Path, *, labels: Sequence[str] | None = None, name: str | None = None) -> Card:
    """The card of an ``.onnx`` or OpenVINO ``.xml`` file: head, input, labels, checksum. Seconds for a large file.

    ``labels``: one for each class, in order, ours or any that ``detectors.label_map`` knows, ``-`` for a class that is
    to be ignored; or the name of a list of ``detectors.labels.LABEL_SETS``; or ``name=label`` pairs that add to the
    names in the file, ``*=-`` to ignore all the others. ``name``: of the model; by default the file's.

    Raises ``ModelProblem``: what was expected, what the file has, and what to do.
    """
    sha256 = digest(path, path.name)
    inputs, outputs, exported, trial = _open(path)
    if exported.task and exported.task != "detect":
        raise ModelBroken(
            f"{path.name}: expected a detector, got a model for the task {exported.task!r}; choose another"
        )
    wh = _input_wh(path, inputs, exported)
    shapes = _output_shapes(path, inputs, outputs, wh, trial)
    names = _class_names(exported, labels)
    look = Look(wh, shapes, len(inputs), exported, len(names) if names else None)
    family = _family(path, look)
    if names is None:
        raise ModelBroken(f"{_looks(path, look, [family])}; the class names are missing: give them with --labels")
    spec = input_spec(family, wh)
    if family.kind == "yolox":
        family, spec = _which_yolox(path, family, spec)
    return Card(
        name=name or path.stem,
        version=sha256[:8],
        backend="openvino" if path.suffix == ".xml" else "auto",
        file=path.name,
        sha256=sha256,
        licence=exported.licence[:100] or "unknown",
        origin=exported.description[:200],
        labels=_labels(path, names, labels),
        input=spec,
        head=family.head,
    )


def _open(path: Path) -> tuple[tuple[Port, ...], tuple[Port, ...], Exported, Trial | None]:
    """Inputs, outputs and what the exporter told. No runtime sees an ONNX file that wants other files."""
    if path.suffix == ".onnx":
        file = check_onnx(path, path.name)
        return file.inputs, file.outputs, read_exported(file.metadata), None
    if path.suffix == ".xml":
        trial = Trial(path)
        return trial.inputs, trial.outputs, _beside(path, trial), trial
    raise ModelBroken(
        f"{path.name}: expected a file ending in .onnx or .xml, got {path.suffix or 'no ending'}; export the model to "
        "ONNX"
    )


def _beside(path: Path, trial: Trial) -> Exported:
    """What Ultralytics wrote into an OpenVINO file, or beside it."""
    try:
        told = read_yaml((path.parent / "metadata.yaml").read_text("utf-8", "replace"))
    except OSError:
        words = trial.told("model_info", "labels").split()
        told = {"names": repr(words) if words else ""}
    return read_exported(told)


def _input_wh(path: Path, inputs: Sequence[Port], exported: Exported) -> tuple[int, int]:
    """Of the one input that takes a picture. Raises ``ModelBroken``."""
    pictures = [port.shape for port in inputs if port.shape and len(port.shape) == 4]
    others = [port for port in inputs if port.shape is None or len(port.shape) != 4]
    sizes = not others or (len(others) == 1 and others[0].shape in ((1, 2), (-1, 2)))
    if len(pictures) != 1 or not sizes or pictures[0][0] not in (1, -1) or pictures[0][1] not in (3, -1):
        got = ", ".join(told_shape(port.shape or ()) for port in inputs) or "none"
        raise ModelBroken(
            f"{path.name}: expected one input (1, 3, height, width), and for D-FINE and RT-DETR the size (1, 2) beside "
            f"it, got {got}; export it for single colour pictures, channels first"
        )
    height, width = pictures[0][2:]
    usual = exported.wh or USUAL_WH
    wh = (width if width > 0 else usual[0]), (height if height > 0 else usual[1])
    if not all(SMALLEST_PX <= length <= LARGEST_PX for length in wh):
        raise ModelBroken(
            f"{path.name}: expected an input of {SMALLEST_PX} to {LARGEST_PX} pixels a side, got {wh[0]}×{wh[1]}; "
            "export it with another size"
        )
    return wh


def _output_shapes(
    path: Path, inputs: Sequence[Port], outputs: Sequence[Port], wh: tuple[int, int], trial: Trial | None
) -> tuple[Shape, ...]:
    """With the input held to ``wh``; OpenVINO works out what the file leaves open."""
    known = [port.shape for port in outputs]
    if all(shape and -1 not in shape for shape in known) and all(
        port.shape and -1 not in port.shape for port in inputs
    ):
        return tuple(shape for shape in known if shape)
    trial = trial or Trial(path)
    trial.hold({
        index: [1, 3, wh[1], wh[0]] if len(port.shape or ()) == 4 else [1, 2] for index, port in enumerate(inputs)
    })  # fmt: skip
    return tuple(port.shape or () for port in trial.outputs)


def _class_names(exported: Exported, labels: Sequence[str] | None) -> tuple[str, ...] | None:
    """Those of ``labels``, or those in the file; None: there are none."""
    if not labels or all("=" in label for label in labels):
        return exported.names
    if len(labels) == 1 and labels[0] in LABEL_SETS:
        return LABEL_SETS[labels[0]]
    return tuple(labels)


def _labels(path: Path, names: Sequence[str], labels: Sequence[str] | None) -> str | tuple[str, ...]:
    """Our label of each class. Raises ``ModelBroken`` for names that nobody knows."""
    pairs = [label.partition("=") for label in labels or () if "=" in label]
    given = {before.strip(): after.strip() for before, _, after in pairs}
    found = map_labels(names, {**given, "-": "-", "": "-"})
    if found.unknown:
        told = [f"{name!r}" + (f" ({' or '.join(near)}?)" if near else "") for name, near in found.unknown.items()]
        more = f" and {len(told) - 10} more" if len(told) > 10 else ""
        raise ModelBroken(
            f"{path.name}: expected class names that have a label of ours, got {', '.join(told[:10])}{more}; say what "
            "they are with --labels name=label, name=- to ignore one, *=- to ignore the rest"
        )
    if not any(found.labels):
        raise ModelBroken(f"{path.name}: expected at least one class with a label, got none; name one with --labels")
    return "coco-80" if found.labels == COCO_80 else found.labels


def _family(path: Path, look: Look) -> Family:
    """The one that fits. Raises ``ModelBroken`` for none, and where only class names could tell."""
    found = families(look)
    if not found:
        others = families(replace(look, classes=None))
        if others:
            raise ModelBroken(
                f"{_looks(path, look, others)}, got {look.classes} class names; give as many with --labels"
            )
        raise ModelBroken(
            f"{path.name}: expected the outputs of YOLOv5 to 26, YOLOX, NanoDet, RT-DETR or D-FINE, got "
            f"{', '.join(map(told_shape, look.outputs)) or 'none'} for an input of {look.wh[0]}×{look.wh[1]}; export "
            "the model with its boxes decoded, or write its card by hand"
        )
    if len(found) > 1 and look.classes is None:
        raise ModelBroken(f"{_looks(path, look, found)}; the class names tell which: give them with --labels")
    return found[0]


def _looks(path: Path, look: Look, found: Sequence[Family]) -> str:
    likes = [one.title + ("" if one.classes is None else f" with {_classes(one.classes)}") for one in found]
    return f"{path.name}: outputs {', '.join(map(told_shape, look.outputs))} look like {' or '.join(likes)}"


def _classes(count: int) -> str:
    return "1 class" if count == 1 else f"{count} classes"


def _which_yolox(path: Path, family: Family, spec: InputSpec) -> tuple[Family, InputSpec]:
    """YOLOX, old YOLOX or YOLOv6: their shapes are alike, what they make of plain pictures is not.

    YOLOv6, and a YOLOX that decodes itself, give centres in pixels, and YOLOv6's objectness is always 1. YOLOX before
    0.2 wants pictures normalised as for ImageNet, and sees things in plain ones that are not.
    """
    old = imagenet(spec)
    trial = Trial(path)
    trial.hold({0: [1, 3, spec.height_px, spec.width_px]})
    plain, normalised = (_try(trial, way) for way in (spec, old))
    if np.abs(plain[:, :2]).max() > max(spec.width_px, spec.height_px) / 4:
        family = replace(family, kind="yolov5")
        if (plain[:, 4] == 1).all():
            return family, input_spec(family, (spec.width_px, spec.height_px))
    return family, old if _surest(plain) >= SURE > _surest(normalised) else spec


def _try(trial: Trial, way: InputSpec) -> Output:
    """The rows ``(n, 5 + classes)`` that it gives for black, dark, white and shaded, prepared in a ``way``."""
    shade = np.linspace(0, 255, way.width_px, dtype=np.float32)
    shades = [np.full_like(shade, level) for level in (0, 114, 255)] + [shade]
    mean, std = (np.array(values, np.float32).reshape(1, 3, 1, 1) for values in (way.mean, way.std))
    whole = (1, 3, way.height_px, way.width_px)
    found = trial.run([((np.broadcast_to(one, whole) - mean) / std).astype(np.float32) for one in shades])
    return np.concatenate([outputs[0][0] for outputs in found])


def _surest(rows: Output) -> float:
    return float((rows[:, 4:5] * rows[:, 5:]).max())


def names_in(path: Path) -> tuple[str, ...] | None:
    """What an ``.onnx`` or ``.xml`` file calls its classes; None: it does not say. Raises ``ModelProblem``."""
    return _open(path)[2].names
