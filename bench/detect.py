"""``./poliscope bench detect``: what one analysed picture costs, part by part, with the shipped model."""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

import cv2
import numpy as np

from bench.common import report
from detectors import registry
from detectors.detections import Detections
from detectors.pictures import decode_jpeg
from detectors.tracking import Tracker

PICTURE_WH = (960, 540)


def pictures(count: int) -> list[bytes]:
    """JPEGs of smooth noise with some boxes: about as hard to decode as a street, and the same at every run."""
    noise = np.random.default_rng(1)
    found = []
    for _ in range(count):
        ground = cv2.resize(noise.integers(60, 190, (68, 120, 3), np.uint8), PICTURE_WH, interpolation=cv2.INTER_CUBIC)
        found.append(bytes(cv2.imencode(".jpg", ground, [cv2.IMWRITE_JPEG_QUALITY, 80])[1]))
    return found


def crowd(frames: int, people: int = 20) -> list[Detections]:
    """``people`` walkers, 5 pictures a second."""
    dice = random.Random(2)
    walkers = [(dice.random(), dice.uniform(0.2, 0.8), dice.uniform(-0.05, 0.05)) for _ in range(people)]
    return [
        Detections.of(
            [
                (
                    (x := (start + speed * index / 5) % 0.9, y - 0.06, x + 0.04, y + 0.06),
                    dice.uniform(0.3, 0.9),
                    "person",
                )
                for start, y, speed in walkers
            ]
        )
        for index in range(frames)
    ]


def cost(work: Callable[[], object], count: int, rounds: int = 3) -> tuple[float, float]:
    """(wall, CPU) milliseconds for each of the ``count`` things that ``work`` does; the best of ``rounds``."""
    best = (float("inf"), float("inf"))
    for _ in range(rounds):
        wall, cpu = time.perf_counter(), time.process_time()
        work()
        best = min(best, ((time.perf_counter() - wall) * 1e3 / count, (time.process_time() - cpu) * 1e3 / count))
    return best


def track(frames: Sequence[Detections]) -> None:
    """Follow everybody from the first frame to the last."""
    tracker, start = Tracker(), datetime(2026, 1, 1, tzinfo=UTC)
    for index, found in enumerate(frames):
        tracker.update(found, session=1, sequence=index, at=start + timedelta(seconds=index / 5))


def main(arguments: Sequence[str] = ()) -> int:
    """Print the table and the JSON line."""
    parser = argparse.ArgumentParser(prog="bench detect")
    parser.add_argument("--card", default=registry.DEFAULT_CARD)
    parser.add_argument("--pictures", type=int, default=200)
    options = parser.parse_args(list(arguments))
    cv2.setNumThreads(1)
    card = registry.load_card(options.card)
    backend = registry.make_backend(card.backend)
    backend.load(registry.model_path(card), card)
    backend.warm_up()
    files, walkers = pictures(options.pictures), crowd(300)
    decoded = [decode_jpeg(data, PICTURE_WH, [backend.input_wh]) for data in files]
    parts = {
        "decode": cost(lambda: [decode_jpeg(data, PICTURE_WH, [backend.input_wh]) for data in files], len(files)),
        "infer": cost(lambda: [backend.infer(decoded[i : i + 16]) for i in range(0, len(decoded), 16)], len(decoded)),
        "infer_alone": cost(lambda: [backend.infer([picture]) for picture in decoded], len(decoded)),
        "track_20": cost(lambda: track(walkers), 300),
    }
    rows: list[Sequence[object]] = [("per picture", "wall ms", "CPU ms")]
    rows += [(name, wall, cpu) for name, (wall, cpu) in parts.items()]
    figures = {
        f"{name}_{kind}_ms": round(value, 3)
        for name, pair in parts.items()
        for kind, value in zip(("wall", "cpu"), pair, strict=True)
    }
    kib = sum(map(len, files)) / len(files) / 1024
    command = f"./poliscope bench detect --card {options.card} --pictures {options.pictures}"
    report(rows, figures, command, footage=f"generated {PICTURE_WH[0]}×{PICTURE_WH[1]} JPEGs of {kib:.0f} KiB")
    return 0
