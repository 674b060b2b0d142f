"""OpenVINO on the CPU: pictures go in as bytes, normalisation runs inside the graph, one thread a stream.

Each inference request has an input buffer of its own that pictures are scaled straight into; while one request runs,
the next picture is scaled and the last one's outputs are decoded. On CPUs with AMX or AVX-512 bf16 OpenVINO computes in
bf16 by itself, which measured 2 to 4 times faster than float32.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import openvino
from openvino.preprocess import ColorFormat, PrePostProcessor

from detectors.backends.base import Card, ModelBroken, Picture, RuntimeMissing, check_file, check_picture
from detectors.backends.heads import Head, make_head
from detectors.detections import Detections
from detectors.geometry import Letterbox


class OpenVinoBackend:
    """Keeps the contract of ``detectors.backends.base.Backend``."""

    name = "openvino"

    def __init__(self, *, streams: int | None = None) -> None:
        """``streams``: pictures computed at once; by default as many as there are CPUs for this process, at most 4."""
        self._streams = streams or min(4, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 2)
        self._device = ""
        self._model_version = ""
        self._input_wh = (0, 0)
        self._slots: list[_Slot] = []

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
        core = openvino.Core()
        target = _device(core, device, card)
        model = _read(core, model_path, card)
        try:
            compiled = core.compile_model(_with_preprocessing(model, card), target, self._options(target))
        except Exception as error:
            raise ModelBroken(
                f"{card.model_version}: OpenVINO cannot compile {model_path.name} for {target} ({_brief(error)}); "
                "convert it again or choose another model"
            ) from None
        head = make_head(card, [tuple(output.shape) for output in compiled.outputs])
        self._slots = [_Slot(compiled, head, card) for _ in range(self._streams)]
        self._device, self._model_version = target, card.model_version
        self._input_wh = (card.input.width_px, card.input.height_px)

    def _options(self, target: str) -> dict[str, Any]:
        if target != "CPU":
            return {"PERFORMANCE_HINT": "THROUGHPUT"}
        # One thread a stream: measured 24 ms of CPU a picture, against 37 with one stream over two threads.
        return {"NUM_STREAMS": str(self._streams), "INFERENCE_NUM_THREADS": self._streams}

    def warm_up(self) -> None:
        width, height = self._input_wh
        self.infer([np.zeros((height, width, 3), np.uint8)] * len(self._slots))

    def infer(self, pictures: Sequence[Picture]) -> list[Detections]:
        if not self._slots:
            raise RuntimeError("openvino: infer before load; load a model first")
        for picture in pictures:
            check_picture(picture)
        results: list[Detections] = []
        slots = len(self._slots)
        try:
            for index, picture in enumerate(pictures):
                slot = self._slots[index % slots]
                if index >= slots:
                    results.append(slot.result())
                slot.start(picture)
            results += [self._slots[i % slots].result() for i in range(len(results), len(pictures))]
        finally:
            for slot in self._slots:
                slot.settle()
        return results

    def unload(self) -> None:
        self._slots = []
        self._device = self._model_version = ""


class _Slot:
    """One inference request with its input buffer."""

    def __init__(self, compiled: Any, head: Head, card: Card) -> None:
        self._head, self._pad = head, card.input.pad
        self._input_wh = (card.input.width_px, card.input.height_px)
        self._buffer = np.full((1, card.input.height_px, card.input.width_px, 3), self._pad, np.uint8)
        self._request = compiled.create_infer_request()
        self._request.set_input_tensor(openvino.Tensor(self._buffer, shared_memory=True))
        self._outputs = len(compiled.outputs)
        self._letterbox: Letterbox | None = None
        self._running = False

    def start(self, picture: Picture) -> None:
        height, width = picture.shape[:2]
        letterbox = Letterbox.fit((width, height), self._input_wh)
        before = self._letterbox
        if before is None or (before.inner_wh, before.offset_xy) != (letterbox.inner_wh, letterbox.offset_xy):
            self._buffer[...] = self._pad
        self._letterbox = letterbox
        (x, y), (w, h) = letterbox.offset_xy, letterbox.inner_wh
        # More than 2:1 linear scaling skips pixels, and small people with them.
        how = cv2.INTER_AREA if width > 2 * w else cv2.INTER_LINEAR
        self._buffer[0, y : y + h, x : x + w] = (
            picture if (width, height) == (w, h) else cv2.resize(picture, (w, h), interpolation=how)
        )
        self._request.start_async()
        self._running = True

    def result(self) -> Detections:
        self.settle()
        assert self._letterbox is not None
        outputs = [self._request.get_output_tensor(index).data for index in range(self._outputs)]
        return self._head.decode(outputs, self._letterbox)

    def settle(self) -> None:
        """Wait for what is running: its buffer is in use until then."""
        if self._running:
            self._running = False
            self._request.wait()


def _device(core: Any, wanted: str, card: Card) -> str:
    there: list[str] = core.available_devices
    if wanted in ("auto", ""):
        return "CPU" if "CPU" in there else next(iter(there), "CPU")
    if wanted not in there:
        raise RuntimeMissing(
            f"{card.model_version}: expected OpenVINO to offer {wanted}, got {', '.join(there) or 'nothing'}; "
            "choose one of these or install the device's driver"
        )
    return wanted


def _read(core: Any, path: Path, card: Card) -> Any:
    try:
        model = core.read_model(str(path))
    except Exception as error:
        raise ModelBroken(
            f"{card.model_version}: OpenVINO cannot read {path.name} ({_brief(error)}); fetch or convert it again"
        ) from None
    want = (1, 3, card.input.height_px, card.input.width_px)
    inputs = [_shape(node) for node in model.inputs]
    if len(inputs) != 1 or inputs[0] != tuple(str(size) for size in want):
        got = "; ".join(f"({', '.join(shape)})" for shape in inputs) or "none"
        raise ModelBroken(
            f"{card.model_version}: expected one input {want}, got {got}; this card does not fit this file"
        )
    return model


def _shape(node: Any) -> tuple[str, ...]:
    return tuple(str(size) for size in node.partial_shape)


def _with_preprocessing(model: Any, card: Card) -> Any:
    steps = PrePostProcessor(model)
    given = steps.input()
    given.tensor().set_element_type(openvino.Type.u8).set_layout(openvino.Layout("NHWC"))
    given.tensor().set_color_format(ColorFormat.BGR)
    given.model().set_layout(openvino.Layout("NCHW"))
    work = given.preprocess().convert_element_type(openvino.Type.f32)
    if card.input.colour == "rgb":
        work = work.convert_color(ColorFormat.RGB)
    work.mean(list(card.input.mean)).scale(list(card.input.std))
    return steps.build()


def _brief(error: Exception) -> str:
    """The last line of OpenVINO's report, without its source positions."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[-1] if lines else type(error).__name__)[:200]
