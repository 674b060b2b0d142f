"""Real pictures of a real street for four cameras, appended to the log as capture would: the same in every run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any
from uuid import UUID

import av
import cv2
import numpy as np
import numpy.typing as npt

from streams.frame import Frame, Jpeg, encode_frame
from streams.topics import frames, partition_of

CLIP = Path(__file__).resolve().parents[2] / "streams" / "footage" / "campus.mp4"
HZ = 5.0
SECONDS = 40.0
SESSION = 2**20


@lru_cache(maxsize=1)
def pictures() -> list[npt.NDArray[np.uint8]]:
    """``(384, 512, 3) uint8`` BGR pictures of the clip, five a second, decoded once a test session."""
    found: list[npt.NDArray[np.uint8]] = []
    with av.open(str(CLIP)) as container:
        for number, picture in enumerate(container.decode(video=0)):
            if number % 2 == 0:
                found.append(cv2.resize(picture.to_ndarray(format="bgr24"), (512, 384)))
            if len(found) >= SECONDS * HZ:
                break
    return found


@lru_cache(maxsize=16)
def jpegs(number: int) -> list[bytes]:
    """What camera ``number`` sees: the clip from another moment on, every second camera mirrored."""
    shift = number * 31
    rolled = pictures()[shift:] + pictures()[:shift]
    turned = [picture[:, ::-1] if number % 2 else picture for picture in rolled]
    return [cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 80])[1].tobytes() for picture in turned]


@dataclass(frozen=True, slots=True)
class Sampled:
    """One encoded frame and where it goes."""

    partition: int
    payload: bytes


def sampled(cameras: list[dict[str, Any]], start: datetime) -> Iterator[list[Sampled]]:
    """For each fifth of a second the frames of all cameras, in order."""
    for step in range(int(SECONDS * HZ)):
        captured_at = start + timedelta(seconds=step / HZ)
        yield [
            Sampled(
                partition_of(camera["slot"]),
                encode_frame(
                    Frame(
                        camera=UUID(camera["uid"]),
                        session=SESSION,
                        sequence=step * 2 + 1,
                        captured_at=captured_at,
                        view=UUID(camera["view"]),
                        why="motion",
                        width_px=512,
                        height_px=384,
                        source_wh=(512, 384),
                        payload=Jpeg(jpegs(number)[step]),
                    )
                ),
            )
            for number, camera in enumerate(cameras)
        ]


TOPIC = frames("general").name
