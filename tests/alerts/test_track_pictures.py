"""Each track's picture: the clearest moment, cut from the right frame of a real log, small, and kept once."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import cv2
import msgspec
import numpy as np
import pytest

from alerts.archive_files import Folder
from alerts.engine import Engine
from alerts.track_pictures import SIDE_PX, Clearest, Moment, TrackPictures, clearness, crop, picture_of, store
from detectors.tracking import Track
from streams.frame import Frame, Jpeg, encode_frame
from streams.log import Log
from streams.log_redis import RedisLog
from streams.observations import Detections, LogPosition
from streams.topics import frames, standing_topics
from tests.alerts.histories import GATE, GENERAL, VIEW, at, nobody, rule, seen, walker
from tests.services.valkey import Valkey

SIZE = (640, 480)
PLACE = LogPosition("frames.general", 3, 7)


def followed(pictures: list[Detections]) -> list[tuple[Detections, list[Track]]]:
    engine = Engine([rule()])
    placed = [msgspec.structs.replace(one, frame=one.frame or PLACE) for one in pictures]
    return [(one, engine.step(one).tracks or []) for one in placed]


def frame_of(picture: Detections) -> bytes:
    """A grey frame in which the boxes are red."""
    pixels = np.full((SIZE[1], SIZE[0], 3), 90, np.uint8)
    for x1, y1, x2, y2 in np.frombuffer(picture.xyxy, "<f4").reshape(-1, 4):
        pixels[int(y1 * SIZE[1]) : int(y2 * SIZE[1]), int(x1 * SIZE[0]) : int(x2 * SIZE[0])] = (20, 20, 220)
    frame = Frame(
        camera=GATE,
        session=picture.session,
        sequence=picture.sequence,
        captured_at=picture.captured_at,
        view=VIEW,
        why="motion",
        width_px=SIZE[0],
        height_px=SIZE[1],
        source_wh=SIZE,
        payload=Jpeg(bytes(cv2.imencode(".jpg", pixels)[1])),
    )
    return encode_frame(frame)


def passing() -> list[Detections]:
    """Somebody who is seen best in the third second, and is gone in the fifth."""
    scores = [0.5 + 0.4 * (i == 15) for i in range(25)]
    walking = [seen(i / 5, walker(0.3 + 0.01 * i, score=score)) for i, score in enumerate(scores)]
    return [*walking, *nobody(5, 10)]


def test_the_clearest_moment_is_told_once_when_the_track_is_over() -> None:
    clearest = Clearest()
    told = [moment for one, tracks in followed(passing()) for moment in clearest.see(one, tracks)]
    assert [moment.at for moment in told] == [at(3)]
    assert told[0].track.label == "person" and told[0].deployment == GENERAL


def test_what_stands_there_for_long_is_taken_before_the_log_forgets_it() -> None:
    standing = [seen(i, walker(0.5, score=0.7)) for i in range(200)]
    clearest = Clearest()
    told = [moment for one, tracks in followed(standing) for moment in clearest.see(one, tracks)]
    assert len(told) == 1 and told[0].at < at(62)


def test_a_glimpse_is_no_track_worth_a_picture() -> None:
    clearest = Clearest()
    assert not [m for one, tracks in followed([seen(0, walker(0.5)), *nobody(1, 9)]) for m in clearest.see(one, tracks)]


def test_a_box_that_the_edge_cuts_is_less_clear() -> None:
    [whole], [cut] = (followed([seen(0, walker(x, y=0.6))])[0][1] for x in (0.5, 0.021))
    assert clearness(cut) < clearness(whole)


def moment_of(picture: Detections) -> Moment:
    [track] = followed([picture])[0][1]
    return Moment(GATE, GENERAL, track, picture.session, picture.sequence, picture.captured_at, PLACE, clearness(track))


def test_the_crop_shows_the_object_with_a_margin_and_is_small() -> None:
    picture = seen(0, walker(0.5))
    jpeg = crop(frame_of(picture), moment_of(picture))
    assert jpeg is not None and len(jpeg) < 6000
    pixels = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert pixels is not None and max(pixels.shape) <= SIDE_PX
    middle, corner = pixels[pixels.shape[0] // 2, pixels.shape[1] // 2], pixels[0, 0]
    assert middle[2] > 180 and abs(int(corner[2]) - 90) < 25


def test_another_frame_or_no_frame_gives_no_picture() -> None:
    picture = seen(0, walker(0.5))
    assert crop(frame_of(seen(1, walker(0.5))), moment_of(picture)) is None
    assert crop(b"no frame", moment_of(picture)) is None


def test_a_clearer_one_takes_its_place_and_a_duller_one_does_not(tmp_path: Path) -> None:
    folder, moment = Folder(tmp_path), moment_of(seen(0, walker(0.5)))
    for clear, jpeg in ((0.5, b"first"), (0.4, b"duller"), (0.6, b"clearer")):
        store(folder, Moment(*_fields(moment)[:-1], clear), jpeg)  # type: ignore[arg-type]
    assert picture_of(folder, GATE, GENERAL, moment.track) == b"clearer"
    assert picture_of(folder, UUID(int=99), GENERAL, moment.track) is None


def _fields(moment: Moment) -> list[object]:
    return [getattr(moment, name) for name in Moment.__slots__]


@pytest.mark.valkey
class TestOverARealLog:
    @pytest.fixture
    def log(self, valkey: Valkey) -> Iterator[Log]:
        log = RedisLog(valkey.addresses, name="track-pictures")
        log.create(standing_topics(["general"]))
        yield log
        log.close()

    def test_a_tracks_picture_is_kept_beside_the_archive(self, log: Log, tmp_path: Path) -> None:
        pictures, producer = passing(), log.producer()
        offsets: list[int] = []
        for picture in pictures:
            producer.append(frames("general").name, 3, frame_of(picture), lambda offset, _: offsets.append(offset or 0))
        assert producer.flush(5)
        producer.close()
        placed = [
            msgspec.structs.replace(one, frame=LogPosition("frames.general", 3, offset))
            for one, offset in zip(pictures, offsets, strict=True)
        ]
        keeper = TrackPictures(Folder(tmp_path), log)
        steps = followed(placed)
        for one, tracks in steps:
            keeper.see(one, tracks)
        track = steps[0][1][0]
        until = time.monotonic() + 10
        while picture_of(Folder(tmp_path), GATE, GENERAL, track) is None and time.monotonic() < until:
            time.sleep(0.02)
        keeper.close()
        assert picture_of(Folder(tmp_path), GATE, GENERAL, track) is not None
        assert keeper.left_out == 0
