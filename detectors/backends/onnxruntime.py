"""ONNX Runtime: on an NVIDIA card where its CUDA build finds one, else on the CPU.

On the CPU one session of one thread is run by as many callers as there are streams: they share its weights, and NanoDet
took 50 ms of CPU a picture so, against 89 with one caller and two threads inside (two cores of an AMD EPYC).
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import numpy as np
import onnxruntime

from detectors.backends.base import (
    Card,
    ModelBroken,
    Picture,
    RuntimeMissing,
    brief,
    check_file,
    check_picture,
    default_streams,
)
from detectors.backends.canvas import Canvas, Normaliser
from detectors.backends.heads import Head, Output, make_head
from detectors.backends.ports import Inputs, match_inputs
from detectors.detections import Detections
from detectors.onnx_file import Port

CUDA = "CUDAExecutionProvider"
CPU = "CPUExecutionProvider"
CUDA_BATCH = 8
"""Pictures computed at once on an NVIDIA card, when the model leaves that open."""
_ELEMENTS = {"tensor(float)": np.float32, "tensor(float16)": np.float16}


class OnnxRuntimeBackend:
    """Keeps the contract of ``detectors.backends.base.Backend``."""

    name = "onnxruntime"

    def __init__(self, *, streams: int | None = None, batch: int | None = None) -> None:
        """``streams``: callers at once; by default as many as there are CPUs for this process, at most 4.

        ``batch``: pictures of one call, for models that leave it open; by default 1 on the CPU, where more gained
        nothing, and ``CUDA_BATCH`` on a card.
        """
        self._streams, self._batch = streams or default_streams(), batch
        self._device = ""
        self._model_version = ""
        self._input_wh = (0, 0)
        self._network: _Network | None = None
        self._pool: ThreadPoolExecutor | None = None
        self._slots: SimpleQueue[_Slot] = SimpleQueue()

    @property
    def device(self) -> str:
        return self._device

    @property
    def model_version(self) -> str:
        return self._model_version

    @property
    def input_wh(self) -> tuple[int, int]:
        return self._input_wh

    def load(self, model_path: Path, card: Card, device: str = "auto") -> None:
        self.unload()
        check_file(model_path, card)
        session, target = _session(model_path, card, device)
        wanted = self._batch or (1 if target == "CPU" else CUDA_BATCH)
        network = _Network(session, card, wanted)
        for _ in range(self._streams):
            self._slots.put(_Slot(network, card))
        self._network, self._pool = network, ThreadPoolExecutor(self._streams, "onnxruntime")
        self._device, self._model_version = target, card.model_version
        self._input_wh = (card.input.width_px, card.input.height_px)

    def warm_up(self) -> None:
        width, height = self._input_wh
        assert self._network is not None
        self.infer([np.zeros((height, width, 3), np.uint8)] * self._streams * self._network.batch)

    def infer(self, pictures: Sequence[Picture]) -> list[Detections]:
        if self._network is None or self._pool is None:
            raise RuntimeError("onnxruntime: infer before load; load a model first")
        for picture in pictures:
            check_picture(picture)
        size = self._network.batch
        parts = [pictures[begin : begin + size] for begin in range(0, len(pictures), size)]
        return [found for part in self._pool.map(self._run, parts) for found in part]

    def _run(self, pictures: Sequence[Picture]) -> list[Detections]:
        slot = self._slots.get()
        try:
            return slot.run(pictures)
        finally:
            self._slots.put(slot)

    def unload(self) -> None:
        if self._pool is not None:
            self._pool.shutdown()
        self._pool = self._network = None
        self._slots = SimpleQueue()
        self._device = self._model_version = ""


class _Network:
    """One session and how it is called. Used by several threads at once."""

    def __init__(self, session: Any, card: Card, batch: int) -> None:
        """``batch``: as many pictures a call as there may be. Raises ``ModelBroken``."""
        self._session = session
        ports = session.get_inputs()
        inputs = match_inputs(card, [Port(port.name, _shape(port.shape)) for port in ports])
        self._names = [port.name for port in ports]
        self._inputs: Inputs = inputs
        self._wh = (card.input.width_px, card.input.height_px)
        picture = ports[inputs.picture]
        if picture.type not in _ELEMENTS:
            raise ModelBroken(
                f"{card.model_version}: expected an input of float32 or float16, got {picture.type}; export it with one"
            )
        self.element = _ELEMENTS[picture.type]
        self.batch = batch if batch > 1 and _shape(picture.shape)[0] < 0 and self._batches(card, batch) else 1
        shapes = [output.shape for output in self._try(card, 1)]
        self.head: Head = make_head(card, shapes)

    def run(self, blob: Output) -> list[Output]:
        """``blob``: ``(n, 3, height, width)`` of ``element``. The outputs, of all n."""
        given = {self._names[self._inputs.picture]: blob}
        if self._inputs.sizes is not None:
            given[self._names[self._inputs.sizes]] = np.array([self._wh] * len(blob), np.int64)
        outputs: list[Output] = self._session.run(None, given)
        return outputs

    def _try(self, card: Card, pictures: int) -> list[Output]:
        """Shapes that the file leaves open show only in a run."""
        try:
            return self.run(np.zeros((pictures, 3, self._wh[1], self._wh[0]), self.element))
        except Exception as error:
            raise ModelBroken(
                f"{card.model_version}: ONNX Runtime cannot run it on an empty picture ({brief(error)}); convert it "
                "again or choose another model"
            ) from None

    def _batches(self, card: Card, pictures: int) -> bool:
        """Some exports leave the batch open and still compute one picture."""
        try:
            return all(output.ndim and len(output) == pictures for output in self._try(card, pictures))
        except ModelBroken:
            return False


class _Slot:
    """The buffers of one call."""

    def __init__(self, network: _Network, card: Card) -> None:
        self._network, self._canvas, self._normaliser = network, Canvas(card), Normaliser(card)
        self._blob = np.empty((network.batch, 3, card.input.height_px, card.input.width_px), network.element)

    def run(self, pictures: Sequence[Picture]) -> list[Detections]:
        """At most as many as the network's batch."""
        letterboxes = []
        for index, picture in enumerate(pictures):
            letterboxes.append(self._canvas.put(picture))
            self._normaliser.write(self._canvas.pixels[0], self._blob[index])
        outputs = self._network.run(self._blob[: len(pictures)])
        return [
            self._network.head.decode([output[index : index + 1] for output in outputs], letterbox)
            for index, letterbox in enumerate(letterboxes)
        ]


def _session(path: Path, card: Card, wanted: str) -> tuple[Any, str]:
    """A session, and the device that it runs on: ``CPU`` or ``CUDA:0``. Raises ``ModelProblem``."""
    there = onnxruntime.get_available_providers()
    number = _cuda_number(card, wanted, there)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    providers: list[Any] = [CPU] if number is None else [(CUDA, {"device_id": number}), CPU]
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=providers)
    except Exception as error:
        raise ModelBroken(
            f"{card.model_version}: ONNX Runtime cannot read {path.name} ({brief(error)}); fetch or convert it again"
        ) from None
    if CUDA in session.get_providers():
        return session, f"CUDA:{number}"
    if number is not None and wanted not in ("auto", ""):
        raise _no_device(card, wanted, "CPU, as CUDA did not start")
    return session, "CPU"


def _cuda_number(card: Card, wanted: str, there: Sequence[str]) -> int | None:
    """Which NVIDIA card; None: the CPU. Raises ``RuntimeMissing``."""
    if wanted == "CPU" or (wanted in ("auto", "") and CUDA not in there):
        return None
    kind, _, number = ("CUDA" if wanted in ("auto", "") else wanted).partition(":")
    if kind == "CUDA" and CUDA in there and (not number or number.isdecimal()):
        return int(number or 0)
    raise _no_device(card, wanted, ", ".join(["CPU", "CUDA"] if CUDA in there else ["CPU"]))


def _no_device(card: Card, wanted: str, got: str) -> RuntimeMissing:
    return RuntimeMissing(
        f"{card.model_version}: expected ONNX Runtime to offer {wanted}, got {got}; choose one of these, or install "
        "NVIDIA's driver and the package onnxruntime-gpu in place of onnxruntime"
    )


def _shape(shape: Sequence[int | str | None]) -> tuple[int, ...]:
    return tuple(size if isinstance(size, int) and size > 0 else -1 for size in shape)
