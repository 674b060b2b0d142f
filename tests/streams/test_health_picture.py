"""What is wrong with pictures that come, on painted planes and on real ones."""

from __future__ import annotations

import copy
import functools
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import av
import cv2
import numpy as np
import numpy.typing as npt
import pytest

from streams.clock import SessionClock, Stamp
from streams.health_picture import ADOPT_S, BLIND, HOLD_S, LEARN_S, LOOK_S, PictureHealth
from streams.ladder import PLANE_WH, Plane
from streams.picture import gate_plane
from streams.problems import Trouble
from streams.reader import Lookout
from streams.rtsp import planes_of
from tests.services.capture import camera
from tests.streams.test_capture import Recorder

Real = npt.NDArray[np.float32]
WIDTH, HEIGHT = PLANE_WH


def place(seed: int) -> Real:
    """A street of boxes, windows and wires, ``(90, 160)``."""
    chance = np.random.default_rng(seed)
    drawn = np.full((HEIGHT, WIDTH), 120, np.float32)
    for _ in range(60):
        x, y = int(chance.integers(0, WIDTH - 8)), int(chance.integers(0, HEIGHT - 8))
        w, h = (int(value) for value in chance.integers(4, 30, 2))
        drawn[y : y + h, x : x + w] = chance.integers(40, 220)
    return drawn


STREET, ELSEWHERE = place(1), place(2)
noise = np.random.default_rng(7)


def shot(scene: Real, grain: float = 1.5) -> Plane:
    """A picture of ``scene`` with a sensor's noise."""
    return np.clip(scene + noise.normal(0, grain, scene.shape), 0, 255).astype(np.uint8)


def blurred(scene: Real, px: float = 2.0) -> Real:
    return np.asarray(cv2.GaussianBlur(scene, (0, 0), px), np.float32)


def shifted(scene: Real, dx: int, dy: int = 0) -> Real:
    return np.asarray(np.roll(scene, (dy, dx), (0, 1)), np.float32)


def hand(scene: Real) -> Real:
    return np.full_like(scene, 90) + np.linspace(-15, 15, WIDTH, dtype=np.float32)[None, :]


def dark(scene: Real) -> Real:
    return np.full_like(scene, 18)


def lorry(scene: Real, x: int = 8) -> Real:
    painted = scene.copy()
    painted[8:84, x : x + 120] = 190
    painted[30:34, x : x + 120] = 60
    painted[70:84, x + 10 : x + 30] = 20
    return painted


class Watch:
    """A ``PictureHealth`` and its clock."""

    def __init__(self) -> None:
        self.health, self.now_s = PictureHealth(), 1000.0

    def show(
        self, scene: Real, seconds: float, grain: float = 1.5, *, masked: bool = False, step_s: float = LOOK_S
    ) -> list[str]:
        """Look at ``scene`` for ``seconds``; the verdicts that stood, in order, each once."""
        stood: list[str] = []
        for _ in range(round(seconds / step_s)):
            assert self.health.due(self.now_s)
            self.health.look(shot(scene, grain), self.now_s, masked=masked)
            self.now_s += step_s
            if self.health.trouble and self.health.trouble not in stood[-1:]:
                stood.append(self.health.trouble)
        return stood


@pytest.fixture(scope="module")
def learned() -> Watch:
    """Has seen the street for five minutes."""
    watch = Watch()
    assert watch.show(STREET, 300) == []
    return watch


@pytest.fixture
def watch(learned: Watch) -> Watch:
    """The same, to be spoiled."""
    return copy.deepcopy(learned)


TROUBLES: list[tuple[str, Callable[[Real], Real]]] = [
    ("dark", dark),
    ("covered", hand),
    ("blurred", blurred),
    ("blurred", lambda scene: scene * 0.25 + 150),  # fog
    ("moved", lambda scene: shifted(scene, 5)),
    ("moved", lambda scene: shifted(scene, 40, 20)),
    ("moved", lambda scene: ELSEWHERE),
    ("moved", lambda scene: shifted(scene, 8) * 0.6),  # and in less light
]


@pytest.mark.parametrize("trouble, what", TROUBLES, ids=[f"{name}-{n}" for n, (name, _) in enumerate(TROUBLES)])
def test_it_says_what_is_wrong_when_it_has_lasted(watch: Watch, trouble: Trouble, what: Callable[[Real], Real]) -> None:
    began_s = watch.now_s
    assert watch.show(what(STREET), HOLD_S[Trouble(trouble)]) == []
    assert watch.show(what(STREET), 60) == [trouble]
    assert watch.health.since_s == began_s
    watch.show(STREET, LOOK_S)
    assert watch.health.trouble is None


@pytest.mark.parametrize(
    "what",
    [
        STREET,
        STREET * 0.4 + 10,  # dusk at once
        np.clip(STREET + 40, 0, 255),  # the sun comes out
        lorry(STREET, 0) * 0 + np.where(np.arange(WIDTH)[None, :] < 60, 190, STREET),  # a wall of a lorry, parked
    ],
    ids=["the same", "dusk", "sun", "parked"],
)
def test_it_lets_be_what_is_only_light_or_somebody(watch: Watch, what: Real) -> None:
    assert watch.show(what.astype(np.float32), 90) == []


def test_a_lorry_that_passes_close_by_covers_nothing(watch: Watch) -> None:
    for _ in range(5):
        assert watch.show(lorry(STREET), 9) == []
        assert watch.show(STREET, 30) == []


def test_nights_that_come_slowly_are_no_trouble(watch: Watch) -> None:
    lamps = np.zeros_like(STREET)
    lamps[20:50, 30:60] = STREET[20:50, 30:60] * 0.5
    for step in range(120):
        light = 1 - step / 120 * 0.85
        assert watch.show(np.maximum(16 + (STREET - 16) * light, lamps), 30, step_s=15) == []


def test_a_frozen_picture_has_been_so_since_it_last_changed() -> None:
    watch = Watch()
    watch.show(STREET, 30)
    stuck, began_s = shot(STREET), watch.now_s
    while watch.health.trouble is None:
        watch.health.look(stuck, watch.now_s)
        watch.now_s += LOOK_S
    assert watch.health.trouble is Trouble.FROZEN
    assert watch.health.since_s == began_s
    assert watch.now_s - began_s == pytest.approx(HOLD_S[Trouble.FROZEN], abs=2 * LOOK_S)
    watch.show(STREET, LOOK_S)
    assert watch.health.trouble is None


def test_a_frozen_picture_that_is_encoded_anew_is_frozen(tmp_path: Path) -> None:
    """What a stuck sensor sends through a real encoder: key frames differ a little from the pictures between."""
    film, stuck = tmp_path / "stuck.mp4", cv2.resize(shot(STREET), (640, 360), interpolation=cv2.INTER_CUBIC)
    with av.open(str(film), "w") as container:
        stream = container.add_stream("libx264", rate=10, options={"preset": "veryfast", "crf": "24", "g": "20"})
        stream.width, stream.height, stream.pix_fmt = 640, 360, "yuv420p"
        for _ in range(1000):
            picture = av.VideoFrame.from_ndarray(np.repeat(stuck[..., None], 3, axis=2), format="bgr24")
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
    health, planes = PictureHealth(), []
    with av.open(str(film)) as container:
        for number, frame in enumerate(container.decode(video=0)):
            if health.due(number / 10):
                planes.append(gate_plane(planes_of(frame)))
                health.look(planes[-1], number / 10)
    assert health.trouble is Trouble.FROZEN
    assert any(not np.array_equal(planes[-1], plane) for plane in planes[-5:]), "the encoder gave the very same again"


def test_it_accuses_nobody_before_it_has_learned() -> None:
    watch = Watch()
    watch.show(STREET, LEARN_S / 2)
    assert watch.show(ELSEWHERE, LEARN_S / 2) == []


def test_a_camera_that_patrols_is_never_said_to_have_moved() -> None:
    watch = Watch()
    for step in range(60):
        assert watch.show(place(step % 5), 9) == []


def test_a_camera_that_was_turned_for_good_is_learned_anew(watch: Watch) -> None:
    assert watch.show(ELSEWHERE, ADOPT_S, step_s=60) == ["moved"]
    assert watch.show(ELSEWHERE, 200)[1:] == []
    assert watch.health.trouble is None
    assert watch.show(STREET, 60) == ["moved"]


def test_what_masks_hide_is_not_judged() -> None:
    watch = Watch()
    masked = STREET.copy()
    masked[:85] = 0
    assert watch.show(masked, 300, grain=0, masked=True) == []
    half = STREET.copy()
    half[:45] = 0
    assert watch.show(half, 120, masked=True) == []
    assert watch.show(np.where(half > 0, 18, 0).astype(np.float32), 60, grain=0.3, masked=True) == ["dark"]


def test_it_refuses_another_plane() -> None:
    with pytest.raises(ValueError, match=r"expected a plane of \(90, 160\) uint8, got \(45, 80\) uint8"):
        PictureHealth().look(np.zeros((45, 80), np.uint8), 0.0)


@pytest.mark.parametrize("scene, state, reason", [(dark, "blind", "dark"), (blurred, "quiet", "blurred")])
def test_capture_says_it_and_takes_it_back(
    watch: Watch, scene: Callable[[Real], Real], state: str, reason: str
) -> None:
    config, outlet = camera("rtsp://127.0.0.1:9/cam0"), Recorder()
    lookout = Lookout(config, outlet, frozenset(), frozenset())
    lookout.stop()
    lookout._pictures = watch.health
    session = lookout._new_session((640, 360), time.monotonic())
    pictures: list[tuple[Callable[[Real], Real], float]] = [(scene, 60), (lambda real: real, 6)]
    for what, seconds in pictures:
        for _ in range(round(seconds / LOOK_S)):
            watch.show(what(STREET), LOOK_S)
            # A picture is stamped by when it arrives.
            session.clock = SessionClock(at(watch.now_s), watch.now_s)
            stamp = session.clock.stamp(0.0, watch.now_s)
            assert isinstance(stamp, Stamp)
            lookout._seen(config, session, stamp, watch.now_s)
    said = [(one.state, one.reason) for one in outlet.states()]
    assert list(dict.fromkeys(said)) == [("quiet", ""), (state, reason)]
    assert said[-1] == ("quiet", "")
    began = next(one for one in outlet.states() if one.reason)
    if state == "blind":
        assert began.at - began.since_at >= timedelta(seconds=HOLD_S[Trouble(reason)])


def at(now_s: float) -> datetime:
    return datetime.now(UTC).replace(microsecond=0) + timedelta(days=1, seconds=now_s)


def test_only_what_hides_everything_blinds() -> None:
    assert {"dark", "frozen", "covered"} == BLIND


@functools.cache
def shown(path: Path) -> list[Plane]:
    """A plane each second of the clip's first 40."""
    found: list[Plane] = []
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            if frame.time is not None and frame.time >= len(found):
                found.append(gate_plane(planes_of(frame.reformat(format="yuv420p"))))
            if len(found) == 40:
                break
    return found


@pytest.mark.shared
@pytest.mark.parametrize("clip", ["pets_vtest.avi", "intel_person-bicycle-car.mp4", "intel_one-by-one-person.mp4"])
@pytest.mark.parametrize(
    "trouble, what",
    [
        (None, lambda plane: plane),
        ("dark", lambda plane: np.clip(plane * 0.02 + 16, 0, 255)),
        ("covered", lambda plane: np.full_like(plane, 70)),
        ("blurred", lambda plane: cv2.GaussianBlur(plane, (0, 0), 2.5)),
        ("moved", lambda plane: np.roll(plane, (9, 25), (0, 1))),
    ],
    ids=["well", "dark", "covered", "blurred", "moved"],
)
def test_it_judges_real_pictures(shared: Path, clip: str, trouble: str | None, what: Callable[[Plane], Plane]) -> None:
    watch, stood = Watch(), set()
    planes = shown(shared / "footage" / clip)
    for number in range(50):
        plane = planes[number % len(planes)]
        spoiled = what(plane) if number >= 30 else plane
        # A still wall is frozen, too, if nothing of it ever differs.
        grain = noise.integers(0, 2, plane.shape) if trouble else 0
        watch.health.look(np.asarray(spoiled + grain, np.uint8), watch.now_s)
        watch.now_s += LOOK_S
        stood |= {watch.health.trouble.value} if watch.health.trouble else set()
    assert stood == ({trouble} if trouble else set())
