"""Static regions on painted places: what was put down, what was taken, and what is neither."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import av
import cv2
import msgspec
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.analytics.static_regions import Box, StaticRegion, StaticRegions, StaticRegionsConfig
from detectors.labels import APPEARED, LABELS, VANISHED, family

Real = npt.NDArray[np.float32]
WIDTH, HEIGHT = 320, 180
STEP_S = 1.0
GRAIN = np.random.default_rng(5).normal(0, 1.5, (9, HEIGHT, WIDTH)).astype(np.float32)
"""A few pictures' worth of a sensor's noise."""


def place() -> Real:
    """A hall of tiles and doors."""
    chance = np.random.default_rng(11)
    drawn = np.full((HEIGHT, WIDTH), 130, np.float32)
    for _ in range(40):
        x, y = int(chance.integers(0, WIDTH - 20)), int(chance.integers(0, HEIGHT - 20))
        w, h = (int(value) for value in chance.integers(8, 60, 2))
        drawn[y : y + h, x : x + w] = chance.integers(90, 180)
    return drawn


HALL = place()


def with_box(scene: Real, x: int, y: int, w: int, h: int, level: float = 30) -> Real:
    painted = scene.copy()
    painted[y : y + h, x : x + w] = level
    return painted


def bag(scene: Real) -> Real:
    return with_box(scene, 150, 120, 14, 12)


def person(scene: Real, x: int) -> Real:
    return with_box(scene, x, 80, 16, 55, 60)


class Watch:
    """The analysis, its clock, and what it reported last."""

    def __init__(self, config: StaticRegionsConfig | None = None) -> None:
        self.regions = StaticRegions(config or StaticRegionsConfig())
        self.now_s, self.last = 100.0, list[StaticRegion]()

    def show(self, scene: Real, seconds: float, step_s: float = STEP_S, people: Sequence[Box] = ()) -> list[str]:
        """Show ``scene`` for ``seconds``; what was reported, in order, each once."""
        said: list[str] = []
        for number in range(round(seconds / step_s)):
            self.now_s += step_s
            shot = np.clip(scene + GRAIN[(number * 7 + round(self.now_s)) % len(GRAIN)], 0, 255).astype(np.uint8)
            self.last = self.regions.update(shot, self.now_s, people)
            said += [one.label for one in self.last]
        return list(dict.fromkeys(said))

    def cross(self, scene: Real, speed: int = 8) -> list[str]:
        """Somebody walks through ``scene``."""
        return [name for x in range(0, WIDTH - 16, speed) for name in self.show(person(scene, x), 0.2, 0.2)]


@pytest.fixture
def watch() -> Watch:
    """Has seen the empty hall for 40 s."""
    watch = Watch()
    assert watch.show(HALL, 40) == []
    return watch


def test_a_bag_that_is_put_down_appears_where_it_stands(watch: Watch) -> None:
    assert watch.cross(HALL) == []
    assert watch.show(bag(HALL), 8) == []
    assert watch.show(bag(HALL), 10) == [APPEARED]
    [region] = watch.last
    assert np.allclose(np.array(region.xyxy) * [WIDTH, HEIGHT, WIDTH, HEIGHT], [150, 120, 164, 132], atol=4)
    assert region.score > 0.6
    assert region.still_s == pytest.approx(15.5, abs=2)


def test_once_it_is_fetched_it_is_gone_at_once(watch: Watch) -> None:
    watch.show(bag(HALL), 60)
    assert watch.show(HALL, 10) == []


def test_what_is_taken_away_has_vanished() -> None:
    watch = Watch()
    watch.show(bag(HALL), 60)
    assert watch.show(HALL, 30) == [VANISHED]


def test_a_bag_whiter_than_the_floor_appears_too(watch: Watch) -> None:
    assert watch.show(with_box(HALL, 150, 120, 14, 12, 245), 30) == [APPEARED]


def test_people_who_pass_are_none(watch: Watch) -> None:
    for _ in range(4):
        assert watch.cross(HALL) == []


def test_who_passes_before_it_does_not_begin_it_anew(watch: Watch) -> None:
    watch.show(bag(HALL), 30)
    watch.cross(bag(HALL))
    watch.show(bag(HALL), 3)
    [region] = watch.last
    assert region.still_s > 20


def test_somebody_who_waits_is_a_region_and_leaves_none_behind(watch: Watch) -> None:
    assert watch.show(person(HALL, 150), 40) == [APPEARED]
    assert watch.cross(HALL) == []
    assert watch.show(HALL, 30) == []


@pytest.mark.parametrize(
    "light",
    [
        lambda scene: scene * 0.45,
        lambda scene: np.clip(scene + 60, 0, 255),
        lambda scene: np.where(np.arange(WIDTH)[None, :] < 160, scene * 0.4, scene),
    ],
    ids=["lamps out", "sun", "half the lamps"],
)
def test_a_change_of_light_is_none(watch: Watch, light: Any) -> None:
    assert watch.show(light(HALL).astype(np.float32), 120) == []


def test_after_a_change_of_light_it_finds_again(watch: Watch) -> None:
    watch.show(HALL * 0.45, 60)
    assert watch.show(bag(HALL * 0.45), 30) == [APPEARED]


def test_a_cloud_that_comes_slowly_is_none(watch: Watch) -> None:
    for step in range(60):
        assert watch.show((HALL * (1 - step / 150)).astype(np.float32), 3) == []


def box_of(x: int) -> Box:
    return (x / WIDTH, 80 / HEIGHT, (x + 16) / WIDTH, 135 / HEIGHT)


def test_who_is_known_as_a_person_is_none_and_is_not_learned() -> None:
    watch = Watch()
    # From the first picture on, through all of the learning.
    assert watch.show(person(HALL, 150), 60, people=[box_of(150)]) == []
    assert watch.show(HALL, 30) == [], "the place behind who was there is learned when it is seen"
    assert watch.show(with_box(HALL, 152, 100, 12, 12), 30) == [APPEARED]


def test_a_bag_waits_for_whoever_stands_before_it(watch: Watch) -> None:
    owner = [box_of(148)]
    assert watch.show(person(bag(HALL), 148), 40, people=owner) == []
    assert watch.show(bag(HALL), 9) == []
    assert watch.show(bag(HALL), 10) == [APPEARED]
    assert watch.show(person(bag(HALL), 148), 5, people=owner) == [APPEARED], "what stands is not forgotten behind him"


@pytest.mark.parametrize("dx, dy", [(1, 0), (0, 1), (-1, -1)])
def test_a_mast_that_trembles_is_none(watch: Watch, dx: int, dy: int) -> None:
    for _ in range(10):
        assert watch.show(np.roll(HALL, (dy, dx), (0, 1)), 7) == []
        assert watch.show(HALL, 5) == []


@pytest.mark.parametrize("dx, dy", [(3, 0), (-6, 4), (0, 9)])
def test_a_camera_that_was_moved_learns_its_new_place(watch: Watch, dx: int, dy: int) -> None:
    elsewhere = np.asarray(np.roll(HALL, (dy, dx), (0, 1)), np.float32)
    assert watch.show(elsewhere, 120) == []
    assert watch.show(bag(elsewhere), 30) == [APPEARED]


@pytest.mark.parametrize("w, h", [(3, 3), (200, 100)])
def test_too_small_and_too_large_are_none(watch: Watch, w: int, h: int) -> None:
    assert watch.show(with_box(HALL, 60, 40, w, h), 30) == []


def test_two_are_two(watch: Watch) -> None:
    watch.show(with_box(bag(HALL), 40, 30, 12, 12), 30)
    assert [one.label for one in watch.last] == [APPEARED, APPEARED]


def test_what_has_stood_for_long_belongs_to_the_place_and_vanishes_when_it_goes() -> None:
    watch = Watch(StaticRegionsConfig(absorb_s=60))
    watch.show(HALL, 40)
    assert watch.show(bag(HALL), 90) == [APPEARED]
    assert watch.last == []
    assert watch.show(HALL, 30) == [VANISHED]


def test_pictures_far_apart_count_the_time_between_them(watch: Watch) -> None:
    # A gated camera sends one in ten seconds while nothing changes.
    assert watch.show(bag(HALL), 5) == []
    assert watch.show(bag(HALL), 20, step_s=10) == [APPEARED]


@pytest.mark.shared
def test_a_campus_where_people_walk_and_talk_leaves_nothing(shared: Path) -> None:
    watch = Watch()
    with av.open(str(shared / "footage" / "pets_vtest.avi")) as container:
        for frame in container.decode(video=0):
            if frame.time is None or frame.time < (watch.now_s - 100.0):
                continue
            watch.now_s += 0.5
            plane = cv2.resize(frame.to_ndarray(format="gray"), (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)
            assert watch.regions.update(plane, watch.now_s) == []
    assert watch.now_s > 170


def test_it_refuses_another_plane() -> None:
    with pytest.raises(ValueError, match=r"expected a plane of \(180, 320\) uint8, got \(90, 160\) uint8"):
        StaticRegions(StaticRegionsConfig()).update(np.zeros((90, 160), np.uint8), 0.0)


def test_it_refuses_a_state_of_another_size() -> None:
    watch = Watch()
    watch.show(HALL, 1)
    with pytest.raises(ValueError, match="begin anew"):
        StaticRegionsConfig(plane_wh=(160, 90)).build(watch.regions.snapshot())


def test_its_labels_are_of_our_tree() -> None:
    assert {APPEARED, VANISHED} <= LABELS
    assert family(APPEARED) == family(VANISHED) == "static-region"


@settings(max_examples=5, deadline=None)
@given(st.integers(0, 60))
def test_a_restart_at_any_point_changes_nothing(cut: int) -> None:
    chance = np.random.default_rng(1)
    scenes = [HALL] * 24 + [person(HALL, 100)] * 4 + [bag(HALL)] * 24 + [HALL] * 8
    shots = [np.clip(scene + chance.normal(0, 1.5, scene.shape), 0, 255).astype(np.uint8) for scene in scenes]
    whole, halves = StaticRegions(StaticRegionsConfig()), StaticRegions(StaticRegionsConfig())
    for number, shot in enumerate(shots):
        if number == cut:
            state = msgspec.msgpack.decode(msgspec.msgpack.encode(halves.snapshot()))
            halves = StaticRegionsConfig().build(state)
        assert halves.update(shot, 2.0 * number) == whole.update(shot, 2.0 * number)
