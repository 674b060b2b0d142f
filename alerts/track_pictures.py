"""A small picture of each track at its clearest moment, cut out of the frame that the log still holds.

The frame is the one at the Detections' own log position, so masks are burned in and the box fits. It costs one read,
one decoding and one small encoding a track (some milliseconds), on a thread of its own; when that falls behind,
pictures are left out and counted. Losing one loses no row.
"""

from __future__ import annotations

import logging
import shutil
import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from uuid import UUID

import msgspec
import numpy as np

from alerts.archive_files import Folder, hour_of
from detectors.tracking import Track
from streams.frame import Frame, Jpeg, UnknownVersion, decode_frame
from streams.instants import to_us
from streams.log import Log, LogError
from streams.observations import Detections, LogPosition

logger = logging.getLogger(__name__)

GONE = timedelta(seconds=3)
"""A track that was not seen for so long is over: its clearest moment is known."""
OLDEST = timedelta(seconds=60)
"""A moment is not kept waiting for a clearer one any longer: the log forgets frames after minutes."""
CLEARER = 1.3
"""After a picture was taken, only one so much clearer is worth another."""
LEAST_HITS = 3
EDGE = 0.005
MARGIN = 0.15
SIDE_PX = 160
QUALITY = 80
MAX_WAITING = 200

Box = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Moment:
    """A track as one frame shows it."""

    camera: UUID
    deployment: UUID
    track: Track
    session: int
    sequence: int
    at: datetime
    frame: LogPosition
    clear: float


def clearness(track: Track) -> float:
    """How well the box shows its object: the surer and larger the better, half where the picture's edge cuts it."""
    x1, y1, x2, y2 = track.xyxy
    cut = x1 < EDGE or y1 < EDGE or x2 > 1 - EDGE or y2 > 1 - EDGE
    size = max(0.0, (x2 - x1) * (y2 - y1)) ** 0.5
    return float(track.score * size * (0.5 if cut else 1.0))


@dataclass(slots=True)
class _Best:
    moment: Moment
    seen_at: datetime
    taken: float = 0.0


@dataclass(slots=True)
class Clearest:
    """Chooses the moments, picture by picture. Pure."""

    _best: dict[tuple[UUID, UUID], dict[int, _Best]] = field(default_factory=dict)

    def see(self, seen: Detections, tracks: list[Track]) -> list[Moment]:
        """One more picture; returns the moments that are settled now."""
        best = self._best.setdefault((seen.camera, seen.deployment), {})
        if seen.frame is not None:
            for track in tracks:
                if track.hits >= LEAST_HITS:
                    self._take(best, seen, seen.frame, track)
        settled = [one for one in best.values() if _is_due(one, seen.captured_at)]
        for one in settled:
            one.taken = one.moment.clear
        for number in [number for number, one in best.items() if seen.captured_at - one.seen_at > GONE]:
            del best[number]
        return [one.moment for one in settled]

    def _take(self, best: dict[int, _Best], seen: Detections, frame: LogPosition, track: Track) -> None:
        known, clear = best.get(track.number), clearness(track)
        if known is None or known.moment.clear < clear:
            moment = Moment(
                seen.camera, seen.deployment, track, seen.session, seen.sequence, seen.captured_at, frame, clear
            )
            best[track.number] = _Best(moment, seen.captured_at, known.taken if known else 0.0)
        else:
            known.seen_at = seen.captured_at


def _is_due(one: _Best, at: datetime) -> bool:
    over = at - one.seen_at > GONE or at - one.moment.at > OLDEST
    return over and one.moment.clear > CLEARER * one.taken


class TrackPictures:
    """Takes and keeps the pictures. ``see`` never blocks; the rest is done on another thread."""

    def __init__(self, folder: Folder, log: Log, *, leave_bytes: int = 0) -> None:
        self.left_out = 0
        self._folder, self._log, self._leave_bytes = folder, log, leave_bytes
        self._clearest = Clearest()
        self._waiting = 0
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="track-pictures")

    def see(self, seen: Detections, tracks: list[Track]) -> None:
        """One more picture was folded."""
        for moment in self._clearest.see(seen, tracks):
            if self._waiting >= MAX_WAITING:
                self.left_out += 1
                continue
            self._waiting += 1
            self._worker.submit(self._keep, moment)

    def close(self) -> None:
        """Finish the one that is being taken."""
        self._worker.shutdown(wait=True, cancel_futures=True)

    def _keep(self, moment: Moment) -> None:
        try:
            record = self._log.read_one(moment.frame.topic, moment.frame.partition, moment.frame.offset)
            jpeg = crop(record.payload, moment) if record is not None else None
            if jpeg is None:
                self.left_out += 1
            elif shutil.disk_usage(self._folder.root).free - len(jpeg) > self._leave_bytes:
                store(self._folder, moment, jpeg)
        except (LogError, OSError, sqlite3.Error) as error:
            self.left_out += 1
            logger.warning("a track of camera %s has no picture: %s", moment.camera, error)
        except Exception:
            logger.exception("a track of camera %s has no picture", moment.camera)
        finally:
            self._waiting -= 1


def crop(payload: bytes, moment: Moment) -> bytes | None:
    """The track's part of the frame in ``payload`` as a small JPEG; None when that is another frame or has none."""
    # Half of what it costs in memory is this import: only who keeps pictures pays.
    import cv2

    from detectors.pictures import BadPicture, decode_jpeg

    try:
        frame = decode_frame(payload)
        if not _same(frame, moment) or not isinstance(frame.payload, Jpeg):
            return None
        picture = decode_jpeg(frame.payload.data, (frame.width_px, frame.height_px))
    except (UnknownVersion, msgspec.DecodeError, BadPicture) as error:
        logger.warning("a track of camera %s has no picture: %s", moment.camera, error)
        return None
    left, top, right, bottom = around(moment.track.xyxy, (frame.width_px, frame.height_px))
    part = picture[top:bottom, left:right]
    scale = min(1.0, SIDE_PX / max(part.shape[:2]))
    if scale < 1:
        size = (max(1, round(part.shape[1] * scale)), max(1, round(part.shape[0] * scale)))
        part = cv2.resize(part, size, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)
    done, encoded = cv2.imencode(".jpg", part, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    return bytes(encoded) if done else None


def _same(frame: Frame, moment: Moment) -> bool:
    wanted = (moment.camera, moment.session, moment.sequence)
    return (frame.camera, frame.session, frame.sequence) == wanted


def around(xyxy: Box, picture_wh: tuple[int, int]) -> tuple[int, int, int, int]:
    """Pixels (left, top, right, bottom) of the box with a margin, at least 2×2 within the picture.

    >>> around((0.25, 0.25, 0.75, 0.75), (100, 100))
    (18, 18, 82, 82)
    """
    x1, y1, x2, y2 = xyxy
    width, height = picture_wh
    wider, higher = MARGIN * (x2 - x1), MARGIN * (y2 - y1)
    left, top = max(0, int((x1 - wider) * width + 0.5)), max(0, int((y1 - higher) * height + 0.5))
    right, bottom = min(width, int((x2 + wider) * width + 0.5)), min(height, int((y2 + higher) * height + 0.5))
    left, top = min(left, width - 2), min(top, height - 2)
    return left, top, max(right, left + 2), max(bottom, top + 2)


_TABLE = """CREATE TABLE IF NOT EXISTS track (
    deployment TEXT, session INTEGER, sequence INTEGER, number INTEGER, label TEXT, at_us INTEGER, clear REAL,
    jpeg BLOB, PRIMARY KEY (deployment, session, sequence, number)) WITHOUT ROWID"""
_PUT = """INSERT INTO track VALUES (?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT DO UPDATE SET label = excluded.label, at_us = excluded.at_us, clear = excluded.clear,
    jpeg = excluded.jpeg WHERE excluded.clear > track.clear"""


@contextmanager
def _open(path: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(path, timeout=5.0)) as connection, connection:
        yield connection


def store(folder: Folder, moment: Moment, jpeg: bytes) -> None:
    """Keep ``jpeg`` as the track's picture unless a clearer one is kept. Raises ``sqlite3.Error``."""
    track = moment.track
    path = folder.pictures(moment.camera, hour_of(track.first_at))
    path.parent.mkdir(parents=True, exist_ok=True)
    with _open(path) as connection:
        connection.execute(_TABLE)
        connection.execute(
            _PUT,
            (str(moment.deployment), *track.first, track.number, track.label, to_us(moment.at), moment.clear, jpeg),
        )


def picture_of(folder: Folder, camera: UUID, deployment: UUID, track: Track) -> bytes | None:
    """The JPEG of ``track`` (as a rehearsal names it), or None when none is kept."""
    path = folder.pictures(camera, hour_of(track.first_at))
    if not path.is_file():
        return None
    with _open(path) as connection:
        row = connection.execute(
            "SELECT jpeg FROM track WHERE deployment = ? AND session = ? AND sequence = ? AND number = ?",
            (str(deployment), *track.first, track.number),
        ).fetchone()
    return None if row is None else bytes(row[0])
