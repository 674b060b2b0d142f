"""The tracker. Scenes are lists of (seconds, boxes); a box is a person 0.06 wide and 0.2 high unless said."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.detections import Detections
from detectors.tracking import Track, Tracker, TrackerConfig

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
Row = tuple[tuple[float, float, float, float], float, str]


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def person(x: float, y: float = 0.5, score: float = 0.8, label: str = "person", w: float = 0.06, h: float = 0.2) -> Row:
    return ((x - w / 2, y - h / 2, x + w / 2, y + h / 2), score, label)


class Scene:
    """Feeds a tracker and remembers which track each frame showed."""

    def __init__(self, config: TrackerConfig | None = None) -> None:
        self.tracker = Tracker(config)
        self.sequence = 0

    def show(self, seconds: float, *rows: Row, session: int = 1) -> list[Track]:
        self.sequence += 1
        return self.tracker.update(Detections.of(rows), session=session, sequence=self.sequence, at=at(seconds))

    def walk(self, times: Iterable[float], where: Callable[[float], Row]) -> set[int]:
        """Numbers of the tracks of one object that is seen alone."""
        return {track.number for seconds in times for track in self.show(seconds, where(seconds))}


def nearest(tracks: list[Track], x: float) -> Track:
    return min(tracks, key=lambda track: abs((track.xyxy[0] + track.xyxy[2]) / 2 - x))


@pytest.fixture
def scene() -> Scene:
    return Scene()


def every(step_s: float, until_s: float) -> list[float]:
    return [round(index * step_s, 3) for index in range(int(until_s / step_s) + 1)]


@pytest.mark.parametrize("hz", [2.0, 5.0, 10.0, 25.0])
@pytest.mark.parametrize("speed", [0.0, 0.05, 0.12], ids=["still", "walking", "running"])
def test_one_walker_is_one_track_at_any_rate(scene: Scene, hz: float, speed: float) -> None:
    assert scene.walk(every(1 / hz, 6), lambda t: person(0.1 + speed * t)) == {1}


def test_a_track_tells_where_it_began(scene: Scene) -> None:
    scene.show(0.0)
    scene.show(0.2, person(0.3, score=0.6))
    [track] = scene.show(0.4, person(0.31, score=0.9))
    assert (track.number, track.first, track.first_at, track.hits) == (1, (1, 2), at(0.2), 2)
    assert track.label == "person" and track.score == pytest.approx(0.9)


def test_its_box_is_the_one_seen_in_this_frame(scene: Scene) -> None:
    scene.show(0.0, person(0.3))
    [track] = scene.show(0.2, person(0.33, h=0.3))
    assert track.xyxy == pytest.approx(person(0.33, h=0.3)[0])


def test_only_tracks_seen_in_this_frame_are_given(scene: Scene) -> None:
    scene.show(0.0, person(0.2), person(0.7))
    assert [track.number for track in scene.show(0.2, person(0.7))] == [2]
    assert scene.show(0.4) == []


def test_two_who_cross_keep_their_numbers(scene: Scene) -> None:
    for seconds in every(0.2, 6):
        tracks = scene.show(seconds, person(0.2 + 0.1 * seconds, 0.5), person(0.8 - 0.1 * seconds, 0.56))
    assert len(tracks) == 2
    assert nearest(tracks, 0.8).first == nearest(tracks, 0.2).first == (1, 1)
    first = Scene().show(0.0, person(0.2, 0.5), person(0.8, 0.56))
    assert nearest(tracks, 0.8).number == nearest(first, 0.2).number


@pytest.mark.parametrize("hidden_s, same", [(0.6, True), (1.4, True), (3.0, False)])
def test_whoever_is_hidden_for_a_while_is_the_same(scene: Scene, hidden_s: float, same: bool) -> None:
    scene.walk(every(0.2, 2), lambda t: person(0.2 + 0.1 * t))
    for seconds in every(0.2, hidden_s - 0.2):
        scene.show(2.2 + seconds)
    [track] = scene.show(2.2 + hidden_s, person(0.2 + 0.1 * (2.2 + hidden_s)))
    assert (track.number == 1) is same


@pytest.mark.parametrize("gap_s", [3.0, 10.0, 60.0, 3600.0])
def test_whoever_stands_through_a_silence_is_the_same(scene: Scene, gap_s: float) -> None:
    scene.walk(every(0.2, 2), lambda t: person(0.2 + 0.1 * min(t, 1.5)))
    assert scene.walk([2 + gap_s, 2.2 + gap_s], lambda t: person(0.36)) == {1}


def test_heartbeats_alone_hold_a_track(scene: Scene) -> None:
    assert scene.walk([0, 10, 20.5, 30, 41], lambda t: person(0.5)) == {1}


def test_two_heartbeats_without_it_end_a_track(scene: Scene) -> None:
    scene.show(0, person(0.5))
    scene.show(10)
    assert len(scene.tracker) == 1
    scene.show(20)
    assert len(scene.tracker) == 0


@pytest.mark.parametrize("seed", range(5))
def test_bursts_with_gaps_are_one_track(scene: Scene, seed: int) -> None:
    times, seconds = [], 0.0
    for index in range(60):
        seconds += [0.1, 0.2, 0.4, 0.13][(index * 7 + seed) % 4] if index % 15 else 5.0 + seed
        times.append(seconds)
    # Walks while there are pictures; a gated camera is silent because nothing moves.
    moved = {seconds: 0.1 + 0.006 * index for index, seconds in enumerate(times)}
    assert scene.walk(times, lambda t: person(moved[t])) == {1}


def test_a_reconnect_is_a_gap_like_any_other(scene: Scene) -> None:
    scene.show(0.0, person(0.5), session=1)
    [track] = scene.show(1.0, person(0.52), session=2)
    assert (track.number, track.first) == (1, (1, 1))


def test_a_clock_that_steps_back_harms_nothing(scene: Scene) -> None:
    scene.show(100.0, person(0.5))
    [track] = scene.show(3.0, person(0.51), session=2)
    assert track.number == 1
    [track] = scene.show(3.2, person(0.52), session=2)
    assert track.number == 1


def test_a_doubtful_box_continues_a_track(scene: Scene) -> None:
    scene.show(0.0, person(0.5))
    assert [track.number for track in scene.show(0.2, person(0.505, score=0.15))] == [1]


@pytest.mark.parametrize("score, begins", [(0.1, False), (0.34, False), (0.36, True)])
def test_a_doubtful_box_begins_none(scene: Scene, score: float, begins: bool) -> None:
    assert bool(scene.show(0.0, person(0.5, score=score))) is begins


def test_a_box_below_the_low_bound_is_not_looked_at() -> None:
    scene = Scene(TrackerConfig(low=0.2))
    scene.show(0.0, person(0.5))
    assert scene.show(0.2, person(0.5, score=0.19)) == []


def test_one_object_named_twice_is_one_track(scene: Scene) -> None:
    van = [person(0.5, label=name, score=score, w=0.3, h=0.3) for name, score in (("truck", 0.5), ("car", 0.7))]
    [track] = scene.show(0.0, *van)
    assert track.label == "car"
    assert [track.number for track in scene.show(0.2, *van)] == [1]


def test_a_rider_and_the_bicycle_are_two(scene: Scene) -> None:
    rows = [person(0.5, h=0.3), person(0.5, 0.53, label="bicycle", w=0.07, h=0.24)]
    assert len(scene.show(0.0, *rows)) == 2
    tracks = scene.show(0.2, *reversed(rows))
    assert {track.label: track.number for track in tracks} == {"person": 1, "bicycle": 2}


def test_the_label_is_what_most_of_its_boxes_said(scene: Scene) -> None:
    seen = ["car", "truck", "truck", "car", "truck"]
    labels = [scene.show(0.2 * i, person(0.5, label=name, w=0.2))[0].label for i, name in enumerate(seen)]
    assert labels == ["car", "car", "truck", "truck", "truck"]


def test_a_crowd_is_as_many_tracks_as_people(scene: Scene) -> None:
    for seconds in every(0.2, 3):
        tracks = scene.show(seconds, *(person(0.05 + 0.09 * i + 0.02 * seconds, 0.3 + 0.02 * i) for i in range(10)))
    assert {track.number for track in tracks} == set(range(1, 11))


def test_boxes_without_area_harm_nothing(scene: Scene) -> None:
    for seconds in every(0.2, 1):
        scene.show(seconds, ((0.5, 0.5, 0.5, 0.5), 0.9, "person"), person(0.2))
    assert len(scene.tracker) >= 1


def test_an_empty_frame_of_an_empty_tracker_is_empty(scene: Scene) -> None:
    assert scene.show(0.0) == [] and len(scene.tracker) == 0


# Resuming: a snapshot at any point changes nothing, not even the last bit.

unit = st.floats(0.05, 0.95)
row = st.tuples(
    st.tuples(unit, unit, st.floats(0.01, 0.3), st.floats(0.01, 0.5)),
    st.floats(0.05, 1),
    st.sampled_from(["person", "car", "truck", "bicycle"]),
).map(lambda r: person(r[0][0], r[0][1], r[1], r[2], r[0][2], r[0][3]))
history = st.lists(
    st.tuples(st.sampled_from([0.0, 0.04, 0.1, 0.2, 0.33, 1.0, 1.6, 10.0]), st.lists(row, max_size=8)),
    min_size=1,
    max_size=25,
)


@settings(deadline=None, max_examples=60)
@given(history, st.sets(st.integers(0, 24)))
def test_restoring_anywhere_gives_the_same_to_the_bit(frames: list[tuple[float, list[Row]]], cuts: set[int]) -> None:
    whole, resumed = Scene(), Scene()
    seconds = 0.0
    for index, (gap_s, rows) in enumerate(frames):
        seconds += gap_s
        if index in cuts:
            # Through JSON and MessagePack, as a database column and a wire would have it.
            state = msgspec.msgpack.decode(msgspec.msgpack.encode(resumed.tracker.snapshot()))
            resumed.tracker = Tracker.restore(json.loads(json.dumps(state)))
        assert whole.show(seconds, *rows) == resumed.show(seconds, *rows)
    assert whole.tracker.snapshot() == resumed.tracker.snapshot()


@settings(deadline=None, max_examples=40)
@given(history)
def test_every_track_given_is_a_box_of_the_frame(frames: list[tuple[float, list[Row]]]) -> None:
    scene, seconds = Scene(), 0.0
    for gap_s, rows in frames:
        seconds += gap_s
        given_boxes = Detections.of(rows).xyxy.tolist()
        tracks = scene.show(seconds, *rows)
        assert len({track.number for track in tracks}) == len(tracks) <= len(rows)
        assert all(list(track.xyxy) in given_boxes for track in tracks)


@pytest.mark.parametrize("broken", [{}, {"v": 1}, {"v": "x", "next": 1, "at_us": None, "lives": [], "rows": []}])
def test_a_snapshot_that_is_none_is_refused(broken: dict) -> None:
    with pytest.raises(msgspec.ValidationError):
        Tracker.restore(broken)
