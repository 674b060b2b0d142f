"""Lets torchvision be imported beside any torch, or stand-ins take its place.

Ultralytics asks for torchvision's version while it is imported, and imports torchvision itself for one operator,
non-maximum suppression, which TorchScript files may name too. On PyPI there are only builds of torchvision for one CUDA
build of torch: beside another torch its compiled part does not load, and the import ends in ``RuntimeError: operator
torchvision::nms does not exist``.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import sys
import types
from collections.abc import Iterable
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any, Literal

import torch

Way = Literal["torchvision", "registered", "stub"]

OPERATORS = ("nms", "qnms")
"""What torchvision's Python part describes while it is imported."""

_way: Way | None = None
_library: Any = None
"""Kept for as long as the process lives: the operators go with it."""


def ready() -> Way:
    """After this ``import torchvision`` works and ``torchvision.ops.nms`` computes. Says which way it took.

    ``torchvision``: it is installed and fits. ``registered``: it is installed, its compiled part does not fit, and its
    operators are ours. ``stub``: it is not installed, or of no use; a module with ``ops.nms`` stands for it. May take
    seconds the first time: torchvision is large.
    """
    global _way
    if _way is None:
        _way = _find_way()
    return _way


def known() -> None:
    """After this torchvision has a version to tell, whether it is installed or not. Imports nothing."""
    try:
        importlib.metadata.version("torchvision")
    except importlib.metadata.PackageNotFoundError:
        sys.meta_path.append(_Registered())


def nms(boxes: Any, scores: Any, iou_threshold: float) -> Any:
    """Indices of the boxes that stay, best first, as torchvision's operator gives them."""
    from detectors.backends.ultralytics_import import TorchNMS

    return TorchNMS.nms(boxes, scores, iou_threshold)


def _find_way() -> Way:
    try:
        if _computes(importlib.import_module("torchvision")):
            return "torchvision"
    except ModuleNotFoundError:
        _stand_in()
        return "stub"
    except Exception:  # whatever a compiled part that does not fit raises: RuntimeError, OSError, AttributeError
        pass
    _forget()
    _register()
    try:
        _replace_nms(importlib.import_module("torchvision"))
    except Exception:
        _forget()
        _stand_in()
        return "stub"
    return "registered"


def _computes(torchvision: Any) -> bool:
    """Some versions import without their compiled part and only fail when they are asked."""
    kept = torchvision.ops.nms(torch.tensor([[0.0, 0.0, 1.0, 1.0]]), torch.tensor([1.0]), 0.5)
    return bool(kept.tolist() == [0])


def _register() -> None:
    """The operators themselves, for torch and for TorchScript files that were exported with suppression inside."""
    global _library
    if _library is not None:
        return
    _library = torch.library.Library("torchvision", "FRAGMENT")
    for name in OPERATORS:
        if not hasattr(torch.ops.torchvision, name):
            _library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
            for key in ("CPU", "CUDA"):
                _library.impl(name, nms, key)


def _replace_nms(torchvision: Any) -> None:
    """Its own function asks for the compiled part before anything else."""
    torchvision.ops.boxes.nms = torchvision.ops.nms = nms


def _stand_in() -> None:
    _register()
    ops, module = _module("torchvision.ops"), _module("torchvision")
    ops.__dict__.update(nms=nms)
    module.__dict__.update(ops=ops, __version__=_version())


def _module(name: str) -> types.ModuleType:
    module = types.ModuleType(name)
    module.__spec__ = ModuleSpec(name, None, is_package=True)
    module.__path__ = []
    sys.modules[name] = module
    return module


def _forget() -> None:
    """Half an import would be taken for a whole one."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
        del sys.modules[name]


def _version() -> str:
    """The version that belongs to this torch: 0.15 came with 2.0, and both have counted on together since."""
    return f"0.{int(torch.__version__.split('.')[1]) + 15}.0"


class _Distribution(importlib.metadata.Distribution):
    """An installed distribution as far as its name and version go."""

    def read_text(self, filename: str) -> str | None:
        return f"Metadata-Version: 2.1\nName: torchvision\nVersion: {_version()}\n" if filename == "METADATA" else None

    def locate_file(self, path: Any) -> Path:
        return Path(path)


class _Registered:
    """Finds ``_Distribution`` for ``importlib.metadata``, and no module."""

    @staticmethod
    def find_spec(name: str, path: object = None, target: object = None) -> None:
        return None

    @staticmethod
    def find_distributions(context: importlib.metadata.DistributionFinder.Context) -> Iterable[_Distribution]:
        return [_Distribution()] if context.name == "torchvision" else []
