"""What the worker's tests share: cameras, frames, plans, a model with dislikes; and a worker's process."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import cv2
import msgspec
import numpy as np

from detectors.backends.base import Backend, Card, Picture
from detectors.dead_letters import DeadLetter, decode_dead_letter
from detectors.detections import Detections
from detectors.loading import Loader
from detectors.plan import DeploymentSpec, ModelSpec, PoolPlan, pool_plan
from detectors.suspects import Suspects
from detectors.worker import Worker
from streams.frame import Frame, Jpeg, encode_frame
from streams.log import Log, LogAddresses, open_log
from streams.observations import Observation, decode_observation
from streams.topics import DEAD_LETTERS, HEALTH, OBSERVATIONS, PARTITIONS, frames

POOL = "general"
TOPIC = frames(POOL)
CAMERAS = [UUID(int=number) for number in range(1, 5)]
NOT_THERE = UUID(int=99)
MODEL = ModelSpec(UUID(int=900), "tiny", "1", "openvino", path="tiny.xml")
DEPLOYMENT = DeploymentSpec(UUID(int=800), "people", POOL, MODEL)
PLAN = pool_plan(POOL, [DEPLOYMENT], CAMERAS)


def jpeg(level: int, wh: tuple[int, int] = (64, 48)) -> bytes:
    return bytes(cv2.imencode(".jpg", np.full((wh[1], wh[0], 3), level, np.uint8))[1])


def frame(camera: UUID, sequence: int, level: int = 200, *, data: bytes | None = None, age_s: float = 0.0) -> Frame:
    return Frame(
        camera=camera,
        session=1,
        sequence=sequence,
        captured_at=datetime.now(UTC) - timedelta(seconds=age_s),
        view=UUID(int=camera.int + 1000),
        why="motion",
        width_px=64,
        height_px=48,
        source_wh=(1280, 960),
        payload=Jpeg(jpeg(level) if data is None else data),
    )


class Stage:
    """A log with our topics, and what stands in it."""

    def __init__(self, log: Log, folder: Path) -> None:
        self.log, self.folder = log, folder
        log.create([TOPIC, OBSERVATIONS, DEAD_LETTERS, HEALTH])
        self._producer = log.producer()
        self.plan: PoolPlan = PLAN
        self.make_backend: Callable[[str], Backend] = lambda _: Grumpy()

    def put(self, *given: Frame | bytes, partition: int | None = None) -> None:
        for one in given:
            payload = one if isinstance(one, bytes) else encode_frame(one)
            where = partition if partition is not None or isinstance(one, bytes) else one.camera.int % PARTITIONS
            assert self._producer.append(TOPIC.name, where or 0, payload)
        assert self._producer.flush(10)

    def worker(self, **options: object) -> Worker:
        loader = Loader(self.folder, make_backend=self.make_backend)
        return Worker(self.log, POOL, "tester", lambda: self.plan, loader, **options)  # type: ignore[arg-type]

    def observations(self, camera: UUID) -> list[Observation]:
        records = self.log.read(OBSERVATIONS.name, camera.int % PARTITIONS, 0, 5000)
        return [one for one in map(decode_observation, (r.payload for r in records)) if one.camera == camera]  # type: ignore[union-attr]

    def dead_letters(self) -> list[DeadLetter]:
        return [decode_dead_letter(record.payload) for record in self.log.read(DEAD_LETTERS.name, 0, 0)]

    def committed(self) -> dict[int, int]:
        return self.log.committed(TOPIC.name, f"detect.{POOL}")

    def left(self) -> int:
        """Records that the group has not committed."""
        return sum(self.log.lag(TOPIC.name, f"detect.{POOL}").values())

    def close(self) -> None:
        self._producer.close()
        self.log.close()


def until(worker: Worker, done: Callable[[], bool], timeout_s: float = 20.0) -> None:
    """Let ``worker`` go round until ``done``."""
    deadline = time.monotonic() + timeout_s
    while not done():
        assert time.monotonic() < deadline, "the worker did not get there"
        worker.step()


class Grumpy:
    """A model made for tests: a person as sure as the picture is bright; at level 13 it raises, at 66 it kills."""

    name = "grumpy"
    device = "CPU"
    model_version = "grumpy 1"
    input_wh = (64, 48)

    def __init__(self, slow_s: float = 0.0) -> None:
        self.slow_s = slow_s
        self.batches: list[int] = []

    def load(self, model_path: Path, card: Card, device: str = "auto") -> None:
        self.model_version = card.model_version

    def warm_up(self) -> None:
        pass

    def unload(self) -> None:
        pass

    def infer(self, pictures: Sequence[Picture]) -> list[Detections]:
        self.batches.append(len(pictures))
        time.sleep(self.slow_s * len(pictures))
        return [self._one(round(float(picture.mean()))) for picture in pictures]

    def _one(self, level: int) -> Detections:
        if level == 13:
            raise RuntimeError("unlucky")
        if level == 66:
            os.kill(os.getpid(), signal.SIGSEGV)
        return Detections.of([((0.25, 0.25, 0.75, 0.75), level / 255, "person")])


def main() -> None:
    """A worker in a process of its own: ``python -m tests.detectors.stage FRAMES_URL REST_URL FOLDER SLOW_S``."""
    frames_url, rest_url, folder, slow_s = sys.argv[1:]
    log = open_log(LogAddresses(kafka="", frames_url=frames_url, rest_url=rest_url), name="stage")
    loader = Loader(Path(folder), make_backend=lambda _: Grumpy(float(slow_s)))
    suspects = Suspects(Path(folder) / "note.json")
    worker = Worker(log, POOL, "tester", lambda: PLAN, loader, suspects=suspects, session_timeout_s=6.0)
    signal.signal(signal.SIGTERM, lambda *_: worker.stop())
    print(json.dumps({"ready": True}), flush=True)
    worker.run()
    print(json.dumps(msgspec.to_builtins(worker.counters)), flush=True)
    log.close()


if __name__ == "__main__":
    main()
