"""Backends: key → dotted path, imported on first use; and the model cards in ``detectors/zoo``.

A new runtime is one file and one line here; torch and the like are loaded only when somebody chooses them.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import msgspec

from detectors.backends.base import Backend, Card, ModelBroken, ModelMissing, RuntimeMissing

BACKENDS = {
    "openvino": "detectors.backends.openvino:OpenVinoBackend",
    "ultralytics": "detectors.backends.ultralytics:UltralyticsBackend",
}

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
            f"install it with: pip install {key}"
        ) from error
    return backend


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
        "labels": sorted(set(card.classes)),
    }
