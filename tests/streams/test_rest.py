"""A camera that rests on its key frames: what is decoded, and that nothing which begins in the dark is lost."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from streams import reader, rtsp
from streams.addresses import Address
from streams.frame import Frame, decode_frame
from streams.problems import Ended
from tests.services.capture import camera
from tests.streams.test_capture import Recorder

WH = (1280, 720)
FPS, GROUP = 10, 20
ADDRESS = Address("rtsp", "camera", 554, "/", "127.0.0.1")
ENTERS_S, LEAVES_S, LASTS_S = 17.0, 21.0, 30.0
"""Somebody walks through; the key frames around are at 16, 18, 20 and 22 s."""
PASSES_S = 26.5
"""Something passes within a second: the key frames at 26 and 28 s do not show it."""


def picture(at_s: float) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """A grey yard; somebody dark crosses it, later something large and patterned passes quickly."""
    shown = np.full((WH[1], WH[0], 3), 120, np.uint8)
    shown[::40] = 90
    if ENTERS_S <= at_s < LEAVES_S:
        left = int(100 + (at_s - ENTERS_S) * 250)
        shown[300:420, left : left + 50] = 20
    if PASSES_S <= at_s < PASSES_S + 1:
        top = int((at_s - PASSES_S) * 300)
        shown[top : top + 400, 400:800] = np.random.default_rng(7).integers(0, 255, (400, 400, 1), np.uint8)
    return shown


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("rest") / "yard.mp4"
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=FPS)
        video.width, video.height, video.pix_fmt = *WH, "yuv420p"
        video.options = {"preset": "ultrafast", "tune": "zerolatency", "g": str(GROUP), "sc_threshold": "0"}
        for index in range(int(LASTS_S * FPS)):
            container.mux(video.encode(av.VideoFrame.from_ndarray(picture(index / FPS), format="rgb24")))
        container.mux(video.encode(None))
    return path


class Film:
    """A clip as a camera whose packets arrive evenly, as fast as they are read."""

    def __init__(self, path: Path) -> None:
        self.stream = rtsp.Stream(av.open(str(path)), ADDRESS, self._next_s)
        rtsp.prepare(self.stream._video)
        self._count = 0

    def _next_s(self) -> float:
        self._count += 1
        return 1000 + self._count / FPS


@pytest.fixture
def film(clip: Path) -> Iterator[rtsp.Stream]:
    stream = Film(clip).stream
    yield stream
    stream.close()


def times(arrivals: Any) -> list[float]:
    return [round(float(frame.time), 3) for arrival in arrivals for frame in arrival.frames]


def read_until(stream: rtsp.Stream, at_s: float, then: Any) -> list[rtsp.Arrival]:
    """Everything that is read until ``then`` was called at ``at_s``, and what that gave."""
    stream.keeping = True
    seen: list[rtsp.Arrival] = []
    for arrival in stream.read():
        seen.append(arrival)
        if arrival.pts_s is not None and arrival.pts_s >= at_s:
            return [*seen, *(then() or ())]
    raise AssertionError("the clip is too short")


def test_at_rest_only_key_frames_are_decoded(film: rtsp.Stream) -> None:
    read_until(film, 6.5, film.rest)
    assert times(read_until(film, 12.5, lambda: None)) == [8.0, 10.0, 12.0]


@pytest.mark.parametrize("wakes_s, begins_s", [(11.0, 10.1), (12.0, 10.1), (13.9, 12.1)])
def test_waking_gives_all_that_came_since_the_last_picture(film: rtsp.Stream, wakes_s: float, begins_s: float) -> None:
    """Right after a key frame (12.0) that is the group before it."""
    read_until(film, 6.5, film.rest)
    assert film.resting
    woken: list[float] = []

    def wake() -> None:
        woken.extend(times(film.wake(begins_s - 0.1)))

    at_rest = times(read_until(film, wakes_s, wake))
    assert set(at_rest) <= {8.0, 10.0, 12.0}
    assert woken == pytest.approx(np.arange(begins_s, wakes_s + 0.05, 0.1).tolist())


def test_after_waking_pictures_follow_without_a_gap(film: rtsp.Stream) -> None:
    read_until(film, 6.5, film.rest)
    read_until(film, 9.0, lambda: list(film.wake(8.0)))
    assert times(read_until(film, 12.0, lambda: None)) == pytest.approx(np.arange(9.1, 12.05, 0.1).tolist())


def test_a_camera_that_is_not_kept_cannot_rest(film: rtsp.Stream) -> None:
    for arrival in film.read():
        if arrival.pts_s is not None and arrival.pts_s >= 12:
            break
    assert not film.restful


def written(clip: Path, monkeypatch: pytest.MonkeyPatch, **changes: object) -> tuple[list[Frame], int]:
    """What a lookout writes of the whole clip, and how many pictures it took in for it."""
    film, taken = Film(clip), []
    picture = reader.Lookout._picture

    @contextmanager
    def opened(*_: object, **__: object) -> Iterator[rtsp.Stream]:
        yield film.stream

    def counted(*given: Any) -> None:
        taken.append(given)
        picture(*given)

    monkeypatch.setattr(reader, "check_address", lambda *_, **__: ADDRESS)
    monkeypatch.setattr(reader.rtsp, "open_stream", opened)
    monkeypatch.setattr(reader.Lookout, "_run", lambda *_: None)
    monkeypatch.setattr(reader.Lookout, "_picture", counted)
    outlet = Recorder()
    config = camera("rtsp://camera/", **{"gated": True, **changes})
    lookout = reader.Lookout(config, outlet, frozenset(), frozenset())
    with pytest.raises(Ended):
        lookout._read(lookout._token)
    frames = [decode_frame(payload) for topic, payload in outlet.records if topic.startswith("frames.")]
    return frames, len(taken)


def at_s(frames: list[Frame]) -> list[float]:
    return [(frame.captured_at - frames[0].captured_at).total_seconds() for frame in frames]


def test_what_begins_between_two_key_frames_is_sampled_as_if_there_had_been_no_rest(
    clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    resting, few = written(clip, monkeypatch, rests=True)
    whole, many = written(clip, monkeypatch, rests=False)
    moving = [[one for one in at_s(frames) if ENTERS_S - 0.5 < one < LEAVES_S + 1] for frames in (resting, whole)]
    assert len(moving[1]) > 20
    assert moving[0] == pytest.approx(moving[1], abs=0.25)
    assert few < 0.75 * many
    passing = [[one for one in at_s(frames) if PASSES_S <= one < PASSES_S + 1] for frames in (resting, whole)]
    assert len(passing[1]) >= 4
    assert passing[0] == pytest.approx(passing[1], abs=0.25)
    assert [frame.sequence for frame in resting] == sorted({frame.sequence for frame in resting})
    assert len({frame.session for frame in resting}) == 1


@pytest.mark.parametrize("changes", [{"rests": False}, {"rests": True, "gated": False}])
def test_a_camera_that_may_not_rest_is_decoded_whole(
    clip: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, bool]
) -> None:
    rested: list[object] = []
    monkeypatch.setattr(reader.rtsp.Stream, "rest", rested.append)
    frames, _decoded = written(clip, monkeypatch, **changes)
    assert frames and rested == []
