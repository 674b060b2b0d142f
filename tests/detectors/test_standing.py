"""Static regions beside detections: what travels, for whom, and when a place is learned anew."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

import cv2
import msgspec
import numpy as np

from detectors.detections import Detections
from detectors.pictures import decode_jpeg
from detectors.standing import MOST, Standing
from streams.frame import Frame, Jpeg

GATE, VIEW, PEOPLE = UUID(int=1), UUID(int=2), UUID(int=3)
SOMEBODY = Detections.of([((0.1, 0.1, 0.2, 0.4), 0.8, "person")])


def picture_with(*, bag: bool, at: tuple[int, int] = (30, 20)) -> bytes:
    """A grey place of 64×48, as JPEG, with a bag ``at`` its left and top."""
    shown = np.full((48, 64, 3), 200, np.uint8)
    if bag:
        shown[at[1] : at[1] + 12, at[0] : at[0] + 14] = 20
    return bytes(cv2.imencode(".jpg", shown)[1])


def frame(seconds: float, *, bag: bool = False, camera: UUID = GATE, view: UUID = VIEW) -> Frame:
    return Frame(
        camera=camera,
        session=1,
        sequence=round(seconds),
        captured_at=datetime(2026, 5, 1, tzinfo=UTC) + timedelta(seconds=seconds),
        view=view,
        why="motion",
        width_px=64,
        height_px=48,
        source_wh=(64, 48),
        payload=Jpeg(picture_with(bag=bag)),
    )


def look(standing: Standing, one: Frame) -> Detections:
    assert isinstance(one.payload, Jpeg)
    return standing.beside(SOMEBODY, PEOPLE, one, decode_jpeg(one.payload.data, (64, 48)))


def taught() -> Standing:
    """Has seen the empty place for 50 s."""
    standing = Standing()
    for seconds in range(0, 50, 5):
        assert look(standing, frame(seconds)) == SOMEBODY
    return standing


def after_a_bag(standing: Standing, **changes: UUID) -> Detections:
    for seconds in range(50, 80, 5):
        found = look(standing, msgspec.structs.replace(frame(seconds, bag=True), **changes))
    return found


def test_a_bag_comes_after_what_the_model_knows_and_where_it_stands() -> None:
    found = after_a_bag(taught())
    assert found.label == ("person", "appeared-object")
    assert found.score[1] >= 0.5
    assert np.allclose(found.xyxy[1] * [64, 48, 64, 48], [30, 20, 44, 32], atol=1.5)


def test_another_view_is_another_place() -> None:
    assert after_a_bag(taught(), view=UUID(int=9)) == SOMEBODY


def test_another_camera_has_its_own() -> None:
    standing = taught()
    assert after_a_bag(standing, camera=UUID(int=9)) == SOMEBODY
    assert len(standing) == 2


def test_a_clock_that_was_put_right_begins_anew() -> None:
    standing = taught()
    assert look(standing, frame(-3600, bag=True)) == SOMEBODY
    assert after_a_bag(standing).label == ("person",)


def test_a_frame_that_comes_twice_counts_once() -> None:
    standing = taught()
    for _ in range(20):
        assert look(standing, frame(50, bag=True)) == SOMEBODY


def test_it_keeps_so_many_and_no_more() -> None:
    standing = Standing()
    for number in range(MOST + 3):
        look(standing, frame(0, camera=UUID(int=100 + number)))
    assert len(standing) == MOST
