"""Backends: key → dotted path, imported on first use; and the model cards in ``detectors/zoo``.

A new runtime is one file and one line here; torch and the like are loaded only when somebody chooses them.
"""

from __future__ import annotations

import importlib
import importlib.util
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

from detectors.backends.base import Backend, Card, ModelBroken, ModelMissing, RuntimeMissing
from detectors.backends.choice import READERS, choose

BACKENDS = {
    "openvino": "detectors.backends.openvino:OpenVinoBackend",
    "onnxruntime": "detectors.backends.onnxruntime:OnnxRuntimeBackend",
}

INSTALL = {"onnxruntime": "./poliscope install onnxruntime", "ultralytics": "./poliscope install ultralytics"}
"""What to type for a runtime that is not part of the base."""

AUTO = "auto"
"""In place of a key: the best runtime that is there and reads the model's file."""

ZOO = Path(__file__).resolve().parent / "zoo"
DEFAULT_CARD = "nanodet_g"
"""The general detector that comes with the project."""


def make_backend(key: str) -> Backend:
    """A backend of the kind ``key`` with nothing loaded.

    Raises ``RuntimeMissing`` when its runtime cannot be imported; the other kinds are not touched by that.
    """
    path = BACKENDS.get(key)
    if path is None:
        raise RuntimeMissing(
            f"backend: expected one of {', '.join(sorted(BACKENDS))}, got {key!r}; choose one of them for the model"
        )
    module, _, attribute = path.partition(":")
    try:
        backend: Backend = getattr(importlib.import_module(module), attribute)()
    except Exception as error:
        raise RuntimeMissing(
            f"backend {key}: its runtime cannot be loaded ({type(error).__name__}: {error}); "
            f"install it with: {install_command(key)}"
        ) from error
    return backend


def install_command(key: str) -> str:
    """What to type to have the runtime of ``key``."""
    return INSTALL.get(key, "pip install -r requirements.txt")


def resolve(key: str, path: Path) -> str:
    """``key`` itself; for ``auto`` that of the best runtime here that reads ``path``. Raises ``RuntimeMissing``."""
    if key != AUTO:
        return key
    chosen = choose(available(), path.suffix)
    if chosen is None:
        readers = READERS.get(path.suffix, ())
        raise RuntimeMissing(
            f"backend auto: expected a runtime that reads {path.name} ({', '.join(readers) or 'none does'}), got "
            f"{', '.join(sorted(available())) or 'none at all'}; "
            + (" or ".join(map(install_command, readers)) or f"export the model to a file ending in {' or '.join(READERS)}")
        )
    return chosen


@cache
def available() -> frozenset[str]:
    """The runtimes that are installed, and what makes them better here, in the words of ``choice.PREFERENCE``."""
    found = {key for key in BACKENDS if importlib.util.find_spec(key)}
    if "onnxruntime" in found and _cuda():
        found.add("onnxruntime:cuda")
    if "openvino" in found and "GenuineIntel" in _processor():
        found.add("openvino:intel")
    return frozenset(found)


def _cuda() -> bool:
    """Whether ONNX Runtime is its CUDA build, and there is an NVIDIA card."""
    try:
        providers = importlib.import_module("onnxruntime").get_available_providers()
    except Exception:
        return False
    return "CUDAExecutionProvider" in providers and any(Path(path).exists() for path in ("/dev/nvidia0", "/dev/dxg"))


def _processor() -> str:
    try:
        return Path("/proc/cpuinfo").read_text()
    except OSError:
        return ""


def cards(zoo: Path = ZOO) -> list[str]:
    """Names of the model cards there are."""
    return sorted(path.stem for path in zoo.glob("*.toml"))


def load_card(name: str, zoo: Path = ZOO) -> Card:
    """The model card ``name``. Raises ``ModelMissing`` or ``ModelBroken``."""
    if name not in cards(zoo):
        raise ModelMissing(
            f"model card: expected one of {', '.join(cards(zoo)) or 'none there are'}, got {name!r}; choose one of them"
        )
    try:
        return msgspec.toml.decode((zoo / f"{name}.toml").read_bytes(), type=Card)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ModelBroken(f"model card {name}: {error}; mend {name}.toml") from None


def model_path(card: Card, zoo: Path = ZOO) -> Path:
    """Where the weights of a card of the zoo are."""
    return zoo / card.file


def model_fields(name: str = DEFAULT_CARD, zoo: Path = ZOO) -> dict[str, Any]:
    """What a row of ``detectors.models.Model`` holds for this card, as keyword arguments."""
    card = load_card(name, zoo)
    return {
        "name": card.name,
        "version": card.version,
        "backend": card.backend,
        "card": name,
        "path": "",
        "sha256": card.sha256,
        "licence": card.licence,
        "labels": list(card.told),
    }
