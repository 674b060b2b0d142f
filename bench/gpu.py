"""``python -m bench.gpu``: how many 1080p cameras at 10 pictures a second one GPU holds, and where the time goes.

YOLO11n with random weights at 640×640 through the Ultralytics backend, as the detect worker uses it: JPEGs are decoded
and scaled on the CPU, a batch is copied and computed in half precision on a CUDA stream of its own. Random weights cost
what trained ones cost, but for the few boxes. Each batch size runs for ``--seconds``, step by step and then freely; one
batch after the other, one process. ``--device cpu`` shows that it works where there is no GPU.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from bench.common import report
from detectors import registry
from detectors.backends.base import Picture, RuntimeMissing
from detectors.labels import COCO_80
from detectors.pictures import decode_jpeg

PICTURE_WH = (1920, 1080)
INPUT_WH = (640, 640)
RATE = 10
"""Pictures a second of one camera."""
BUSY_MOST = 0.7
"""A camera is held when the machine is busy for no more of its time than this."""
BATCHES = (1, 2, 4, 8, 16, 32, 64)
STEPS = ("scale", "copy", "compute", "boxes")


def jpegs(count: int) -> list[bytes]:
    """Smooth noise, about as hard to decode as a street, and the same at every run."""
    noise = np.random.default_rng(1)
    found = []
    for _ in range(count):
        small = noise.integers(60, 190, (135, 240, 3), np.uint8)
        picture = cv2.resize(small, PICTURE_WH, interpolation=cv2.INTER_CUBIC)
        found.append(bytes(cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 80])[1]))
    return found


class Steps:
    """One batch after the other, with the time of each step; ``wait`` returns when the device is done."""

    def __init__(self, runner: Any, pool: ThreadPoolExecutor, wait: Callable[[], None]) -> None:
        self._runner, self._pool, self._wait = runner, pool, wait

    def once(self, pictures: Sequence[Picture]) -> tuple[float, ...]:
        """Seconds of each of ``STEPS``."""
        import torch

        at = [time.perf_counter()]

        def lap() -> None:
            self._wait()
            at.append(time.perf_counter())

        letterboxes = self._runner.scale(pictures, self._pool)
        lap()
        with torch.inference_mode(), self._runner.on_stream():
            sent = self._runner.send(len(pictures))
            lap()
            rows = self._runner.compute(sent).cpu().numpy()
            lap()
        self._runner.boxes(rows, letterboxes)
        lap()
        return tuple(after - before for before, after in pairwise(at))


def by_step(steps: Steps, pictures: Sequence[Picture], seconds: float) -> dict[str, float]:
    """Milliseconds a picture of each step, with the device waited for after each."""
    steps.once(pictures)
    spent, count, end = np.zeros(len(STEPS)), 0, time.perf_counter() + seconds
    while not count or time.perf_counter() < end:
        spent += steps.once(pictures)
        count += len(pictures)
    return {name: float(value) * 1e3 / count for name, value in zip(STEPS, spent, strict=True)}


def rate(infer: Callable[[Sequence[Picture]], object], pictures: Sequence[Picture], seconds: float) -> float:
    """Pictures a second through ``infer``, batch after batch, nothing waited for in between."""
    infer(pictures)
    count, start = 0, time.perf_counter()
    while not count or time.perf_counter() < start + seconds:
        infer(pictures)
        count += len(pictures)
    return count / (time.perf_counter() - start)


def decoding(files: Sequence[bytes], seconds: float) -> float:
    """CPU milliseconds to decode one picture for this input."""
    count, end, start = 0, time.perf_counter() + seconds, time.process_time()
    while not count or time.perf_counter() < end:
        decode_jpeg(files[count % len(files)], PICTURE_WH, [INPUT_WH])
        count += 1
    return (time.process_time() - start) * 1e3 / count


def measure(device: str, seconds: float, batches: Sequence[int]) -> tuple[list[Sequence[object]], dict[str, Any]]:
    """The table and the figures. Raises ``RuntimeMissing`` without the runtime or the device."""
    backend: Any = registry.make_backend("ultralytics")
    import torch

    from tests.detectors import yolo

    files = jpegs(8)
    with tempfile.TemporaryDirectory(prefix="poliscope-bench-") as folder:
        path = Path(folder) / "yolo11n.pt"
        backend.load(path, yolo.save(path, "detect", COCO_80, INPUT_WH), device)
    backend.warm_up()
    runner, pool = backend.runner, ThreadPoolExecutor(4)
    steps = Steps(runner, pool, torch.cuda.synchronize if torch.cuda.is_available() else lambda: None)
    decode_ms = decoding(files, min(seconds, 2.0))
    pictures = [decode_jpeg(data, PICTURE_WH, [INPUT_WH]) for data in files]
    rows: list[Sequence[object]] = [("batch", "pictures/s", "1080p10", *(f"{name} ms" for name in STEPS))]
    found = []
    for batch in batches:
        many = [pictures[index % len(pictures)] for index in range(batch)]
        parts, fast = by_step(steps, many, seconds), rate(backend.infer, many, seconds)
        held = int(BUSY_MOST * fast / RATE)
        rows.append((batch, fast, held, *parts.values()))
        found.append({"batch": batch, "pictures_per_s": round(fast, 1), "streams_1080p10": held,
                      **{f"{name}_ms": round(value, 3) for name, value in parts.items()}})  # fmt: skip
    pool.shutdown()
    best = max(found, key=lambda one: one["pictures_per_s"])
    cores = best["streams_1080p10"] * RATE * decode_ms / 1e3 / BUSY_MOST
    figures = {
        "device": backend.device,
        "streams_1080p10": best["streams_1080p10"],
        "at_batch": best["batch"],
        "decode_cpu_ms": round(decode_ms, 3),
        "decode_cores_for_these": round(cores, 1),
        "batches": found,
    }
    backend.unload()
    return rows, figures


def main(arguments: Sequence[str] = ()) -> int:
    """Print the table and the JSON line. 2 where there is no GPU."""
    parser = argparse.ArgumentParser(prog="bench gpu")
    parser.add_argument("--device", default="cuda", help="cuda, cuda:N, or cpu to see that it works")
    parser.add_argument("--seconds", type=float, default=5.0, help="for each batch size, twice")
    parser.add_argument("--batches", type=int, nargs="+", default=list(BATCHES))
    given = parser.parse_args(list(arguments))
    cv2.setNumThreads(1)
    try:
        rows, figures = measure(given.device, given.seconds, given.batches)
    except RuntimeMissing as error:
        print(f"bench gpu: it needs an NVIDIA GPU and Ultralytics, or --device cpu to see that it works. {error}",
              file=sys.stderr)  # fmt: skip
        return 2
    cores = len(os.sched_getaffinity(0))
    print(
        f"Decoding one picture: {figures['decode_cpu_ms']:.2f} ms of CPU; for {figures['streams_1080p10']} cameras "
        f"{figures['decode_cores_for_these']} cores, of which {cores} are here."
    )
    versions = {name: importlib.metadata.version(name) for name in ("torch", "ultralytics")}
    chosen = " ".join(map(str, given.batches))
    command = f"python -m bench.gpu --device {given.device} --seconds {given.seconds:g} --batches {chosen}"
    footage = f"generated {PICTURE_WH[0]}×{PICTURE_WH[1]} JPEGs; YOLO11n, random weights, {INPUT_WH[0]}×{INPUT_WH[1]}"
    report(rows, figures, command, footage=footage, more_versions=versions)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
