"""Opens model files with Ultralytics' own readers: which files there may be, on which device, and what is refused."""

from __future__ import annotations

import importlib
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from detectors.backends import torchvision_ops
from detectors.backends.base import Card, ModelBroken, ModelMissing, RuntimeMissing, check_file
from detectors.backends.nvidia import driver_there
from detectors.backends.ultralytics_import import AutoBackend, check_yolov5u_filename, head, unsafe

logger = logging.getLogger(__name__)

FORMATS = {".pt": "pt", ".torchscript": "torchscript", ".onnx": "onnx", ".engine": "engine", ".xml": "openvino"}
OPENVINO_FOLDER = "_openvino_model"
"""How Ultralytics names the folder that it exports; its own reader knows it by this."""
ON_CUDA = ("pt", "torchscript", "onnx", "engine")


def choose_device(wanted: str, path: Path, version: str) -> Any:
    """The ``torch.device`` for ``wanted`` (auto, cpu, cuda or cuda:N) and the model at ``path``.

    Raises ``RuntimeMissing`` for a device that is not there.
    """
    cards = torch.cuda.device_count() if torch.cuda.is_available() else 0
    name = wanted.lower() or "auto"
    if name == "auto":
        if not cards and driver_there():
            logger.warning("%s: %s; it runs on the CPU", version, _no_cuda())
        return torch.device("cuda:0" if cards and _runs_on_cuda(path) else "cpu")
    there = ["CPU", *(f"cuda:{index}" for index in range(cards))]
    if name == "cuda" and cards:
        name = "cuda:0"
    if name not in (each.lower() for each in there):
        raise RuntimeMissing(
            f"{version}: expected torch to offer {wanted}, got {', '.join(there)}; choose one of these"
            + (f", or {_no_cuda()}" if name.startswith("cuda") and not cards else "")
        )
    return torch.device(name)


def _runs_on_cuda(path: Path) -> bool:
    if path.suffix == ".onnx":
        try:
            providers: list[str] = importlib.import_module("onnxruntime").get_available_providers()
        except ImportError:
            return False
        return "CUDAExecutionProvider" in providers
    return FORMATS.get(path.suffix, "openvino") in ON_CUDA


def _no_cuda() -> str:
    if not driver_there():
        return "install the NVIDIA driver and run ./poliscope install ultralytics again"
    return f"torch {torch.__version__} does not see the NVIDIA driver that is here: ./poliscope install ultralytics"


def check_files(path: Path, card: Card) -> Path:
    """Checks the model's file, or an OpenVINO folder's two, and gives what the reader is to be given.

    Raises ``ModelProblem``.
    """
    graphs: Sequence[Path] = sorted(path.glob("*.xml")) if path.is_dir() else [path]
    if len(graphs) != 1:
        raise ModelMissing(
            f"{card.model_version}: expected one .xml in {path}, got {len(graphs) or 'none'}; export the model again"
        )
    check_file(graphs[0], card)
    if graphs[0].suffix not in FORMATS:
        raise ModelBroken(
            f"{card.model_version}: expected a file that ends in {', '.join(FORMATS)}, got {path.name}; "
            "export the model to one of these"
        )
    given = (graphs[0].parent if graphs[0].suffix == ".xml" else path).absolute()
    if graphs[0].suffix == ".xml" and not given.name.endswith(OPENVINO_FOLDER):
        raise ModelBroken(
            f"{card.model_version}: expected the folder of {graphs[0].name} to end in {OPENVINO_FOLDER}, got "
            f"{given.name}; rename it, or give this model the openvino backend"
        )
    # Its reader changes some names and then fetches what it does not find.
    if check_yolov5u_filename(str(given).strip().replace("'", ""), verbose=False) != str(given):
        raise ModelBroken(
            f"{card.model_version}: expected a path without quotes and names of old YOLOv5 and v3 files, got {given}; "
            "rename the file"
        )
    return given


def open_model(path: Path, card: Card, device: Any) -> Any:
    """The ``AutoBackend`` of a checked file, in half precision on CUDA. Raises ``ModelProblem``."""
    kind = FORMATS.get(path.suffix, "openvino")
    if device.type != "cpu" and kind not in ON_CUDA:
        raise RuntimeMissing(
            f"{card.model_version}: expected a model that runs on {device}, got {path.name}, which runs on the CPU; "
            f"choose the device CPU or a file of another kind ({', '.join(ON_CUDA)})"
        )
    if kind == "engine" and device.type == "cpu":
        raise RuntimeMissing(
            f"{card.model_version}: expected an NVIDIA GPU for {path.name}, got the CPU; choose a .pt or .onnx file"
        )
    if kind == "pt" and (why := unsafe()):
        raise RuntimeMissing(
            f"{card.model_version}: {path.name} is not opened: a .pt can run code while it is read, and {why}; "
            "start the worker afresh, or ./poliscope install ultralytics"
        )
    if kind == "torchscript":
        torchvision_ops.ready()
    model = _read(path, card, device)
    if device.type != "cpu" and torch.device(model.device).type == "cpu":
        raise RuntimeMissing(
            f"{card.model_version}: expected {path.name} to run on {device}, got the CPU; install onnxruntime-gpu, "
            "or choose the device CPU"
        )
    return model


def _read(path: Path, card: Card, device: Any) -> Any:
    try:
        # end2end=False: where a .pt has both heads, the one that is suppressed afterwards, as ``predict`` takes it.
        return AutoBackend(str(path), device=device, fp16=device.type != "cpu", verbose=False, end2end=False)
    except torch.OutOfMemoryError:
        raise RuntimeMissing(
            f"{card.model_version}: expected memory for it on {device}, got none; choose another device or fewer models"
        ) from None
    except ModuleNotFoundError as error:
        if path.suffix == ".pt":
            raise ModelBroken(
                f"{card.model_version}: {path.name} needs the Python module {error.name}, which Ultralytics does not "
                "have; train or export the model with Ultralytics alone"
            ) from None
        raise RuntimeMissing(
            f"{card.model_version}: {path.name} needs {error.name}, which is not installed; "
            f"./poliscope install {error.name}"
        ) from None
    except Exception as error:
        raise ModelBroken(
            f"{card.model_version}: Ultralytics cannot read {path.name} ({brief(error)}); fetch or export it again"
        ) from None


def task_of(model: Any) -> str:
    """What the model does, read from its last layer or its export's own words; without any: detect."""
    if model.format != "pt":
        return str(model.task or "detect")
    last = model.backend.model.model[-1]
    kinds = {"obb": head.OBB, "pose": head.Pose, "segment": (head.Segment, head.YOLOESegment), "detect": head.Detect}
    return next((task for task, kind in kinds.items() if isinstance(last, kind)), type(last).__name__)


def check_input(model: Any, card: Card) -> None:
    """Raises ``ModelBroken`` when the model does not take pictures of the card's size."""
    want = (1, 3, card.input.height_px, card.input.width_px)
    if model.format == "onnx":
        inputs = [tuple(node.shape) for node in model.session.get_inputs()]
        _limit_batch(model, inputs[0][0] if inputs else 1)
    elif model.format == "pt" or model.metadata.get("dynamic"):
        inputs = [(1, model.channels, "height", "width")]
    else:
        inputs = [(1, model.channels, *model.metadata.get("imgsz", want[2:]))]
    fits = len(inputs) == 1 and all(
        got == size or not isinstance(got, int) for got, size in zip(inputs[0][1:], want[1:], strict=False)
    )
    if not fits or len(inputs[0]) != 4:
        got = "; ".join(f"({', '.join(map(str, shape))})" for shape in inputs) or "none"
        raise ModelBroken(
            f"{card.model_version}: expected one input {want}, got {got}; this card does not fit this file"
        )
    if model.format == "pt" and (want[2] % model.stride or want[3] % model.stride):
        raise ModelBroken(
            f"{card.model_version}: input: expected sides that are multiples of {model.stride}, got "
            f"{want[3]}×{want[2]}; mend the model card"
        )


def _limit_batch(model: Any, batch: object) -> None:
    """A file without Ultralytics' own words about its batch takes what its input says, and is fed so much at a time."""
    if isinstance(batch, int):
        model.backend.batch = batch
        model.backend.metadata["dynamic"] = False


def class_count(model: Any) -> int:
    """How many classes the file says that it has; 0 when it does not say."""
    return len(model.names) if model.format == "pt" or model.metadata.get("names") else 0


def brief(error: BaseException) -> str:
    """The first line of a report, without its emoji."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__).encode("ascii", "ignore").decode().strip()[:200]
