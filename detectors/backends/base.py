"""What a backend is: a runtime that turns pictures into ``Detections`` in our labels. Pure but for reading model files.

A backend declares nothing about delivery: it is a function of its pictures. It may raise at any time for one picture;
the worker then tries that picture once more alone and puts it aside.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Protocol

import msgspec
import numpy as np
import numpy.typing as npt
from msgspec import Meta

from detectors.detections import FLOOR, Detections
from detectors.geometry import Floats, suppress
from detectors.labels import LABEL_SETS, UnknownLabel, check
from detectors.onnx_file import ExternalWeights, NotOnnx, OnnxFile, read_onnx_file

Picture = npt.NDArray[np.uint8]
"""``(height, width, 3) uint8``, blue green red."""

CANDIDATES_MOST = 300
"""Boxes that suppression looks at, the best ones: a broken model that is sure of everything must not stall the pool."""
BOXES_MOST = 150
"""Boxes of one picture that are kept, the best ones."""
NMS_IOU = 0.6


class ModelProblem(Exception):
    """A model cannot be used; the text names it, what was expected, what was got, and the remedy.

    ``code`` travels in heartbeats.
    """

    code: ClassVar[str] = "model"


class ModelMissing(ModelProblem):
    """The model's file or card is not there."""

    code = "model_missing"


class ModelBroken(ModelProblem):
    """The file is there and is not what its card says."""

    code = "model_broken"


class RuntimeMissing(ModelProblem):
    """The program that runs such models is not installed or does not work here."""

    code = "runtime_missing"


class InputSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the network takes: one letterboxed picture, normalised as (value − mean) / std."""

    width_px: Annotated[int, Meta(ge=8, le=8192)]
    height_px: Annotated[int, Meta(ge=8, le=8192)]
    colour: Literal["bgr", "rgb"] = "bgr"
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    pad: Annotated[int, Meta(ge=0, le=255)] = 0
    """Grey level beside the picture, before normalisation."""
    fit: Literal["letterbox", "stretch"] = "letterbox"
    """Whether a picture of another shape keeps its proportions, or is stretched to the whole input."""


class HeadSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the network's outputs become boxes; ``kind`` is a key of ``detectors.backends.heads.HEADS``."""

    kind: str
    strides: tuple[int, ...] = (8, 16, 32)
    bins: Annotated[int, Meta(ge=1)] = 11


class Card(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A model card: everything that is to be known of one model version beside its weights."""

    name: str
    version: str
    backend: str
    """Key of ``detectors.registry.BACKENDS``, or ``auto``: the best one that is there and reads such files."""
    file: str
    sha256: str = ""
    """Of ``file`` and, for an OpenVINO ``.xml``, of the ``.bin`` beside it, in this order. Empty: not checked."""
    licence: str
    origin: str = ""
    labels: str | tuple[str, ...]
    """A name of ``detectors.labels.LABEL_SETS``, or the labels themselves, in the order of the model's classes. A class
    whose label is "" is ignored: its boxes are never told."""
    input: InputSpec
    head: HeadSpec

    @property
    def model_version(self) -> str:
        """What observations carry."""
        return f"{self.name} {self.version}"

    @property
    def classes(self) -> tuple[str, ...]:
        """Our label of each class, "" for an ignored one. Raises ``ModelBroken`` for a label or list that there is not,
        and when all are ignored.
        """
        if isinstance(self.labels, str):
            if self.labels not in LABEL_SETS:
                known = ", ".join(sorted(LABEL_SETS))
                raise ModelBroken(
                    f"{self.model_version}: labels: expected a list or one of {known}, got {self.labels!r}; "
                    "mend the model card"
                )
            return LABEL_SETS[self.labels]
        try:
            check(label for label in self.labels if label)
        except UnknownLabel as error:
            raise ModelBroken(f"{self.model_version}: {error}; mend the model card") from None
        if not any(self.labels):
            raise ModelBroken(
                f"{self.model_version}: labels: expected at least one, got none or only ignored ones; mend the model card"
            )
        return self.labels

    @property
    def told(self) -> tuple[str, ...]:
        """The labels that this model can give, each once, sorted. Raises as ``classes`` does."""
        return tuple(sorted({label for label in self.classes if label}))


class Backend(Protocol):
    """One loaded model on one device. Used by one thread."""

    name: str
    """Key in ``detectors.registry.BACKENDS``."""

    @property
    def device(self) -> str:
        """What runs it, for people: ``CPU``, or a card's name."""

    @property
    def model_version(self) -> str:
        """``Card.model_version`` of what is loaded."""

    @property
    def input_wh(self) -> tuple[int, int]:
        """The network's input in pixels: a picture need not be decoded larger than this."""

    def load(self, model_path: Path, card: Card, device: str = "auto") -> None:
        """Get ready. May take seconds. Raises ``ModelProblem``: nothing is loaded, ``load`` may be tried again."""

    def warm_up(self) -> None:
        """Run once over an empty picture, so that the first real one costs no more than the others."""

    def infer(self, pictures: Sequence[Picture]) -> list[Detections]:
        """The boxes of each picture, in order: fractions of the picture, our labels, all with a score ≥ ``FLOOR``.

        Pictures may differ in size. Blocks until all are done. Any exception leaves the backend usable.
        """

    def unload(self) -> None:
        """Give the memory back. ``load`` may follow."""


def check_file(path: Path, card: Card) -> None:
    """That the model's file is there, is the one of the card, and wants no bytes from other files. Reads it whole.
    Raises ``ModelProblem``.
    """
    found = digest(path, card.model_version)
    if card.sha256 and found != card.sha256:
        raise ModelBroken(
            f"{card.model_version}: expected SHA-256 {card.sha256[:16]}… of {path.name}, got "
            f"{found[:16]}…; fetch the file again, it is damaged or another one"
        )
    if path.suffix == ".onnx":
        check_onnx(path, card.model_version)


def digest(path: Path, subject: str) -> str:
    """SHA-256 of ``path`` and, for an OpenVINO ``.xml``, of the ``.bin`` beside it, in this order.

    Raises ``ModelMissing``, naming ``subject``.
    """
    parts = [path, path.with_suffix(".bin")] if path.suffix == ".xml" else [path]
    found = hashlib.sha256()
    for part in parts:
        try:
            with part.open("rb") as file:
                while block := file.read(1 << 20):
                    found.update(block)
        except FileNotFoundError:
            raise ModelMissing(
                f"{subject}: expected the model at {part}, got nothing; put the file there or choose another model"
            ) from None
        except OSError as error:
            raise ModelMissing(
                f"{subject}: expected to read {part}, got {error.strerror}; mend the file's permissions"
            ) from None
    return found.hexdigest()


def check_onnx(path: Path, subject: str) -> OnnxFile:
    """What an ONNX file says of itself. Raises ``ModelBroken``, naming ``subject``, for one that is none or that wants
    weights from another file: runtimes would read whatever file it names.
    """
    try:
        return read_onnx_file(path)
    except NotOnnx as error:
        raise ModelBroken(f"{subject}: {path.name}: {error}; export it again or choose another model") from None
    except ExternalWeights as error:
        raise ModelBroken(
            f"{subject}: {path.name}: {error}; save it as one file (onnx.save without external data)"
        ) from None


def brief(error: Exception) -> str:
    """The last line of a runtime's report, without its source positions, at most 200 characters."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[-1] if lines else type(error).__name__)[:200]


def default_streams() -> int:
    """Pictures computed at once on a CPU: as many as there are CPUs for this process, at most 4."""
    return min(4, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 2)


def check_picture(picture: Picture) -> None:
    """Raises ``ValueError`` unless it is ``(height, width, 3) uint8`` with an area."""
    if picture.ndim != 3 or picture.shape[2] != 3 or picture.dtype != np.uint8 or not picture.size:
        raise ValueError(f"picture: expected (height, width, 3) uint8, got {picture.shape} {picture.dtype}")


def keep_best(
    boxes: Floats, score: Floats, class_id: npt.NDArray[np.intp], classes: Sequence[str], extent: float
) -> tuple[Floats, npt.NDArray[np.float32], tuple[str, ...]]:
    """Boxes left by non-maximum suppression within each label, best first, at most ``BOXES_MOST``.

    ``extent`` is larger than any coordinate: labels are moved that far apart, so that one pass serves all of them.
    """
    names = [classes[index] for index in class_id.tolist()]
    place = {name: number for number, name in enumerate(sorted(set(names)))}
    shift = np.array([place[name] for name in names], boxes.dtype) * (2 * extent)
    kept = suppress(boxes + shift[:, None], score, NMS_IOU)[:BOXES_MOST]
    return boxes[kept], score[kept].astype(np.float32), tuple(names[index] for index in kept.tolist())


def candidates(score: Floats) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """(cell, class) of every score of ``(cells, classes)`` that is at least ``FLOOR``; the best ``CANDIDATES_MOST``."""
    flat: npt.NDArray[Any] = score.reshape(-1)
    found = np.flatnonzero(flat >= FLOOR)
    if len(found) > CANDIDATES_MOST:
        found = found[np.argsort(-flat[found], kind="stable")[:CANDIDATES_MOST]]
    cell, class_id = np.divmod(found, score.shape[1])
    return cell, class_id
