"""Scenes as films with their truth beside them, drawn once and kept."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import av
import cv2
import msgspec

from streams.ids import new_uid
from streams.scenes.cutouts import Footage, load_footage
from streams.scenes.demo import SCENES
from streams.scenes.script import FOLDER, Scene, SceneZone, ScriptedEvent, Seen, scripted_events, truth
from streams.scenes.stage import Stage

UNFINISHED_S = 600.0
"""A half drawn video of this age belongs to nobody any more."""
GOP_FRAMES = 20
"""A viewer who joins waits for at most this many pictures."""

DRAWN_BY = [
    Path(__file__).with_name(f"{name}.py") for name in ("script", "cutouts", "looks", "props", "lens", "stage", "files")
]
Progress = Callable[[float], None]


class Recorded(msgspec.Struct, frozen=True):
    """What stands beside each video: the scene's truth, for tests and the canary."""

    key: str
    title: str
    fps: int
    size: tuple[int, int]
    length_s: float
    zones: list[SceneZone]
    events: list[ScriptedEvent]
    seen: list[Seen]


def version(scene: Scene) -> str:
    """Names everything that decides what the scene's video looks like; another one means drawing it anew."""
    digest = hashlib.sha256()
    for path in (*DRAWN_BY, FOLDER / "walkers.json", FOLDER / "campus.mp4"):
        digest.update(path.read_bytes())
    digest.update(repr(scene).encode() + av.__version__.encode() + cv2.__version__.encode())
    return digest.hexdigest()[:16]


def recorded(scene: Scene) -> Recorded:
    """The scene's truth as it is written beside its video."""
    return Recorded(
        scene.key,
        scene.title,
        scene.fps,
        scene.size,
        scene.length_s,
        list(scene.zones),
        scripted_events(scene),
        truth(scene),
    )


def render(scene: Scene, path: Path, progress: Progress | None = None, footage: Footage | None = None) -> None:
    """Write the scene as H.264 in MP4 to ``path``, complete or not at all, and its truth beside it (``.json``).

    ``progress`` is called about 20 times with the share done, 0–1. Takes 5 to 15 s on one core. Raises ``OSError``.
    """
    stage = Stage(scene, footage or load_footage())
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.stem}.{new_uid().hex}.mp4")
    try:
        _encode(scene, stage, unfinished, progress or (lambda share: None))
        truth_path = unfinished.with_suffix(".json")
        truth_path.write_bytes(msgspec.json.encode(recorded(scene)))
        os.replace(truth_path, path.with_suffix(".json"))
        os.replace(unfinished, path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            unfinished.unlink()


def _encode(scene: Scene, stage: Stage, path: Path, progress: Progress) -> None:
    # No B-frames: a camera sends pictures in the order in which it took them, and RTP carries no other.
    options = {
        "preset": "veryfast",
        "tune": "zerolatency",
        "crf": "24",
        "g": str(GOP_FRAMES),
        "keyint_min": str(GOP_FRAMES),
        "sc_threshold": "0",
        "threads": "1",
    }
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=scene.fps, options=options)
        stream.width, stream.height = scene.size
        stream.pix_fmt = "yuv420p"
        for number in range(scene.frames):
            picture = av.VideoFrame.from_ndarray(stage.picture(number), format="yuv420p")
            picture.pts = number
            container.mux(stream.encode(picture))
            if number % max(1, scene.frames // 20) == 0:
                progress(number / scene.frames)
        container.mux(stream.encode())
    progress(1.0)


def prepare(
    folder: Path, scenes: Sequence[Scene] = SCENES, progress: Callable[[str, float], None] | None = None
) -> dict[str, Path]:
    """The videos of ``scenes`` by key, drawn where this version of them is not yet in ``folder``, on all cores.

    ``progress`` is called with the scene's title and the share of it that is done: 0 for each that is missing before
    any is drawn, then from the threads that draw. Encoder and OpenCV, nine tenths of the work, let go of the
    interpreter.
    """
    tell = progress or (lambda title, share: None)
    paths = {one.key: folder / f"{one.key}-{version(one)}.mp4" for one in scenes}
    missing = [one for one in scenes if not paths[one.key].exists() or not paths[one.key].with_suffix(".json").exists()]
    for one in missing:
        tell(one.title, 0.0)
    footage = load_footage() if missing else None

    def draw(one: Scene) -> None:
        render(one, paths[one.key], functools.partial(tell, one.title), footage)
        _tidy(folder, paths[one.key])

    with ThreadPoolExecutor(os.cpu_count()) as threads:
        for drawn in [threads.submit(draw, one) for one in missing]:
            drawn.result()
    return paths


def _tidy(folder: Path, keep: Path) -> None:
    """Delete what other versions of one scene left behind, and what a stopped process did not finish."""
    key = keep.stem.partition("-")[0]
    for path in [*folder.glob(f"{key}-*"), *folder.glob(f".{key}-*")]:
        if path.stem != keep.stem and (path.name[0] != "." or time.time() - path.stat().st_mtime > UNFINISHED_S):
            path.unlink(missing_ok=True)
