"""Ultralytics' models on PyTorch: one batch at a time in half precision on an NVIDIA GPU, else one thread a stream.

Its readers and networks are used, its ``predict`` is not: pictures are scaled straight into one buffer, normalisation
runs on the device, and what comes back is one small array a batch. On two CPU cores two streams of one thread took
82 ms (161 of CPU) a picture of YOLO11n at 640×640, one stream over two threads 101 (192).
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch

from detectors.backends.base import Card, ModelBroken, Picture, RuntimeMissing, check_picture, default_streams
from detectors.backends.ultralytics_boxes import Output
from detectors.backends.ultralytics_files import (
    brief,
    check_files,
    check_input,
    choose_device,
    class_count,
    open_model,
    task_of,
)
from detectors.detections import Detections
from detectors.geometry import Letterbox

KINDS = ("ultralytics", "yolov8", "end2end")
"""``Card.head.kind``: what the file itself says, and the two forms there are for a file that does not say."""
BATCH_MOST = 64
"""Pictures that a GPU computes at once: more gain nothing and cost memory."""


class UltralyticsBackend:
    """Keeps the contract of ``detectors.backends.base.Backend``."""

    name = "ultralytics"

    def __init__(self, *, streams: int | None = None) -> None:
        """``streams``: threads that scale pictures, and on the CPU compute them; by default one a CPU, at most 4."""
        self._streams = streams or default_streams()
        self.runner: Runner | None = None
        """What is loaded, for those who measure its steps."""
        self._pool: ThreadPoolExecutor | None = None
        self._most = BATCH_MOST
        self._device = self._model_version = ""
        self._input_wh = (0, 0)

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
        if card.head.kind not in KINDS:
            raise ModelBroken(
                f"{card.model_version}: head: expected one of {', '.join(KINDS)}, got {card.head.kind!r}; "
                "mend the model card or choose another backend"
            )
        path = check_files(model_path, card)
        target = choose_device(device, path, card.model_version)
        # One thread an operation: streams share the work by pictures.
        torch.set_num_threads(1)
        runner = Runner(open_model(path, card, target), card, target)
        self._pool = ThreadPoolExecutor(self._streams, "ultralytics", torch.set_num_threads, (1,))
        self.runner, self._most = runner, BATCH_MOST
        self._device = "CPU" if target.type == "cpu" else torch.cuda.get_device_name(target)
        self._model_version, self._input_wh = card.model_version, (card.input.width_px, card.input.height_px)

    def warm_up(self) -> None:
        width, height = self._input_wh
        self.infer([np.zeros((height, width, 3), np.uint8)] * self._streams)

    def infer(self, pictures: Sequence[Picture]) -> list[Detections]:
        runner, pool = self.runner, self._pool
        if runner is None or pool is None:
            raise RuntimeError("ultralytics: infer before load; load a model first")
        for picture in pictures:
            check_picture(picture)
        if runner.side_by_side:
            return list(pool.map(runner.alone, pictures))
        results: list[Detections] = []
        while len(results) < len(pictures):
            part = pictures[len(results) : len(results) + self._most]
            try:
                results += runner.together(part, pool)
                continue
            except torch.OutOfMemoryError:
                pass  # outside this block nothing holds on to the failed batch's memory any more
            self._halve(len(part))
        return results

    def unload(self) -> None:
        if self._pool is not None:
            self._pool.shutdown()
        self.runner = self._pool = None
        self._device = self._model_version = ""
        torch.cuda.empty_cache()

    def _halve(self, count: int) -> None:
        """Half of a batch of ``count`` from now on. Raises ``MemoryError`` when it was one picture alone."""
        torch.cuda.empty_cache()
        if count == 1:
            width, height = self._input_wh
            raise MemoryError(
                f"{self._model_version}: expected memory for one picture of {width}×{height} on {self._device}, got "
                "none; run fewer models there or a smaller one"
            )
        self._most = max(1, count // 2)


class Runner:
    """One opened model with its buffer. Used by one thread, but for ``alone``."""

    def __init__(self, model: Any, card: Card, device: Any) -> None:
        """Computes one empty picture, to see what comes out. Raises ``ModelProblem``."""
        check_input(model, card)
        self._model, self._spec, self._device = model, card.input, device
        self._input_wh = (card.input.width_px, card.input.height_px)
        self._dtype = torch.float16 if model.fp16 else torch.float32
        on_cuda = device.type == "cuda"
        # The other readers compute on a stream of their own choice, which a stream of ours would not wait for.
        self._stream = torch.cuda.Stream(device) if on_cuda and model.format in ("pt", "torchscript") else None
        self._pinned = on_cuda
        self._mean, self._std = (
            torch.tensor(values, dtype=self._dtype, device=device)[:, None, None]
            for values in (card.input.mean, card.input.std)
        )
        self._buffer = self._make_buffer(1)
        self._output = self._fit(card)
        self.side_by_side = not on_cuda and model.format == "pt"
        """Whether pictures are computed each in a thread of its own."""

    def _fit(self, card: Card) -> Output:
        try:
            with torch.inference_mode():
                shape = self._forward(self._send(self._buffer)).shape
                if self._pinned:
                    torch.cuda.synchronize(self._device)
        except torch.OutOfMemoryError:
            raise RuntimeMissing(
                f"{card.model_version}: expected memory for one picture on {self._device}, got none; choose another "
                "device or fewer models"
            ) from None
        except Exception as error:
            raise ModelBroken(
                f"{card.model_version}: expected it to analyse an empty picture, got {type(error).__name__}: "
                f"{brief(error)}; export the model again or choose another"
            ) from None
        end_to_end = bool(self._model.end2end) or card.head.kind == "end2end"
        return Output.fit(card, task_of(self._model), end_to_end, shape, class_count(self._model))

    def alone(self, picture: Picture) -> Detections:
        """One picture. Safe from many threads at once."""
        buffer = self._make_buffer(1)
        letterbox = self._put(picture, buffer[0].numpy())
        with torch.inference_mode():
            rows = self.compute(self._send(buffer)).numpy()
        return self._output.detections(rows[0], letterbox)

    def together(self, pictures: Sequence[Picture], pool: ThreadPoolExecutor) -> list[Detections]:
        """All of them at once; ``pool`` scales them. Raises ``torch.OutOfMemoryError``."""
        letterboxes = self.scale(pictures, pool)
        with torch.inference_mode(), self.on_stream():
            rows = self.compute(self.send(len(pictures))).cpu().numpy()
        return self.boxes(rows, letterboxes)

    # Its four steps, of which the second and third belong into ``inference_mode`` and ``on_stream``

    def scale(self, pictures: Sequence[Picture], pool: ThreadPoolExecutor) -> list[Letterbox]:
        """Fit ``pictures`` into the buffer."""
        if len(self._buffer) < len(pictures):
            self._buffer = self._make_buffer(len(pictures))
        return list(pool.map(self._put, pictures, self._buffer[: len(pictures)].numpy()))

    def send(self, count: int) -> Any:
        """The first ``count`` of the buffer, as bytes on the device."""
        return self._send(self._buffer[:count])

    def compute(self, sent: Any) -> Any:
        """Normalise what was ``sent``, run the network, pick the best boxes: ``(count, n, 6 or 7)`` on the device."""
        return self._output.best(self._forward(sent))

    def boxes(self, rows: npt.NDArray[np.float32], letterboxes: Sequence[Letterbox]) -> list[Detections]:
        """What each picture's rows mean."""
        return [self._output.detections(*pair) for pair in zip(rows, letterboxes, strict=True)]

    def _make_buffer(self, count: int) -> Any:
        """``(count, height, width, 3) uint8``; pinned where a GPU fetches from it."""
        width, height = self._input_wh
        return torch.full((count, height, width, 3), self._spec.pad, dtype=torch.uint8, pin_memory=self._pinned)

    def _put(self, picture: Picture, slot: npt.NDArray[np.uint8]) -> Letterbox:
        """Scale ``picture`` into ``slot``, grey beside it."""
        height, width = picture.shape[:2]
        letterbox = Letterbox.fit((width, height), self._input_wh)
        (x, y), (w, h) = letterbox.offset_xy, letterbox.inner_wh
        slot[:y], slot[y + h :], slot[:, :x], slot[:, x + w :] = (self._spec.pad,) * 4
        inner = slot[y : y + h, x : x + w]
        # More than 2:1 linear scaling skips pixels, and small people with them.
        how = cv2.INTER_AREA if width > 2 * w else cv2.INTER_LINEAR
        inner[...] = picture if (width, height) == (w, h) else cv2.resize(picture, (w, h), interpolation=how)
        return letterbox

    def _send(self, buffer: Any) -> Any:
        return buffer.to(self._device, non_blocking=True)

    def _forward(self, sent: Any) -> Any:
        """The first output over letterboxed pictures."""
        batch = sent.permute(0, 3, 1, 2).contiguous()
        if self._spec.colour == "rgb":
            batch = batch.flip(1)
        batch = batch.to(self._dtype)
        if any(self._spec.mean):
            batch -= self._mean
        output = self._model(batch.div_(self._std))
        while isinstance(output, (list, tuple)):
            output = output[0]
        return output

    def on_stream(self) -> AbstractContextManager[None]:
        """What runs inside is queued on this runner's own CUDA stream, where it has one."""
        if self._stream is None:
            return nullcontext()
        context: AbstractContextManager[None] = torch.cuda.stream(self._stream)
        return context
