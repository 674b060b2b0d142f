"""One object over time: two-stage IoU association with a Kalman filter. Pure, deterministic, resumable to the bit.

Source: ByteTrack (arXiv 2110.06864, algorithm 1): confident boxes are matched to all tracks first, then the doubtful
ones to the tracks still without a box; only confident boxes begin a track. Ours differs where gated cameras need it:
time is ``captured_at``, not a count of frames; boxes are compared after growing both by the prediction's uncertainty;
and a long silence means that nothing moved, because a gated camera is silent while nothing changes.

Each axis is a filter of its own with the same noise, so a track's covariance is three numbers, not an 8×8 matrix, and
a frame is a few operations on small arrays: no BLAS, whose sums differ from machine to machine.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from datetime import datetime
from functools import cache
from typing import Any

import lap
import msgspec
import numpy as np
import numpy.typing as npt

from detectors.detections import Detections
from detectors.geometry import iou_batch
from detectors.labels import family
from streams.instants import to_us, to_utc

Array = npt.NDArray[np.float64]
Pairs = list[tuple[int, int]]

# Columns of the state: centre, size, velocity of the centre, covariance (position, mixed, velocity), seconds since the
# last box, seconds counted as lost.
_X, _Y, _W, _H, _VX, _VY, _PP, _PV, _VV, _SINCE, _MISSED = range(11)
_COLUMNS = 11


class TrackerConfig(msgspec.Struct, frozen=True, kw_only=True):
    """How tracks begin, continue and end. Noise is in units of the object's own size (mean of width and height)."""

    high: float = 0.35
    """Boxes with this score or more are matched first and may begin a track."""
    low: float = 0.15
    """Boxes below this score are not looked at."""
    match_iou: float = 0.2
    """Least overlap (of grown boxes, see ``grow``) for a confident box."""
    match_low_iou: float = 0.4
    """Least overlap for a doubtful box."""
    other_family: float = 0.5
    """An overlap counts so much less between a person's track and a vehicle's box, and the like."""
    duplicate_iou: float = 0.7
    """A box that overlaps another of its family so much in one picture is the same object, named twice."""
    lost_s: float = 2.0
    """A track without a box is kept for so long."""
    coast_s: float = 1.5
    """A longer silence is no motion: the object stands where it was, and the silence counts as so long."""
    grow: float = 0.5
    """Boxes grow by this many standard deviations of the predicted position before they are compared …"""
    grow_most: float = 0.4
    """… but never by more than this part of the size."""
    measured: float = 0.05
    """Standard deviation of a box's centre."""
    speed: float = 1.5
    """Standard deviation of an unknown velocity, sizes a second: a walking person's."""
    acceleration: float = 1.0
    """Growth of the velocity's standard deviation, sizes a second per root of a second."""
    size_s: float = 0.3
    """Time over which the size is smoothed."""


class Track(msgspec.Struct, frozen=True, gc=False):
    """One object as it is in the frame just analysed. ``xyxy`` and ``score`` are those of its box in this frame."""

    number: int
    """Names the track inside its tracker; never leaves the fold (see ``alerts.events.occurrence_id``)."""
    xyxy: tuple[float, float, float, float]
    score: float
    label: str
    """What most of its boxes said, each weighed by its score."""
    first: tuple[int, int]
    """(session, sequence) of its first frame."""
    first_at: datetime
    hits: int
    """Frames in which it had a box, this one included."""


class _Life(msgspec.Struct):
    """What is known of a track beside its state."""

    number: int
    first: tuple[int, int]
    first_us: int
    hits: int
    label: str
    votes: dict[str, float]


class _Snapshot(msgspec.Struct):
    v: int
    next: int
    at_us: int | None
    lives: list[_Life]
    rows: list[list[float]]


class Tracker:
    """Follows the objects of one camera as one deployment sees them.

    Not thread-safe. The same frames give the same tracks, to the bit, wherever the tracker was snapshot and restored.
    """

    def __init__(self, config: TrackerConfig | None = None) -> None:
        self.config = TrackerConfig() if config is None else config
        self._rows: Array = np.zeros((0, _COLUMNS))
        self._lives: list[_Life] = []
        self._next = 1
        self._at_us: int | None = None

    def update(self, detections: Detections, *, session: int, sequence: int, at: datetime) -> list[Track]:
        """Take in one analysed frame; returns the tracks that have a box in it, and no other.

        ``at`` is the frame's ``captured_at`` (aware); one before the last frame's counts as the last frame's. A new
        session is a gap like any other. Cost: about 0.15 ms at 20 boxes.
        """
        self._predict(self._advance(at))
        if len(detections) and detections.score.min() < self.config.low:
            detections = detections.where(detections.score >= self.config.low)
        boxes = detections.xyxy.astype(np.float64)
        affinity = self._affinity(boxes, detections.label)
        pairs = self._associate(affinity, detections.score)
        self._correct(pairs, boxes)
        score, xyxy = detections.score.tolist(), detections.xyxy.tolist()
        for row, column in pairs:
            self._vote(self._lives[row], detections.label[column], score[column])
        shown = [(self._lives[row], column) for row, column in pairs]
        self._forget()
        shown += self._begin([column for _, column in pairs], boxes, detections, (session, sequence))
        return [_view(life, xyxy[column], score[column]) for life, column in shown]

    def snapshot(self) -> dict[str, Any]:
        """The whole state as plain types (JSON and MessagePack keep every bit of it)."""
        state: dict[str, Any] = msgspec.to_builtins(
            _Snapshot(1, self._next, self._at_us, self._lives, self._rows.tolist())
        )
        return state

    @classmethod
    def restore(cls, state: dict[str, Any], config: TrackerConfig | None = None) -> Tracker:
        """A tracker that goes on exactly as the one that gave ``state``. Raises ``msgspec.ValidationError``."""
        saved = msgspec.convert(state, _Snapshot)
        tracker = cls(config)
        tracker._next, tracker._at_us, tracker._lives = saved.next, saved.at_us, saved.lives
        tracker._rows = np.array(saved.rows, np.float64).reshape(len(saved.lives), _COLUMNS)
        return tracker

    def __len__(self) -> int:
        """Tracks that are followed now, lost ones included."""
        return len(self._lives)

    def _advance(self, at: datetime) -> float:
        """Seconds since the last frame; never negative, so that a camera's clock stepping back harms nothing."""
        at_us = to_us(at)
        before_us = at_us if self._at_us is None else self._at_us
        self._at_us = max(at_us, before_us)
        return (self._at_us - before_us) / 1e6

    def _predict(self, dt_s: float) -> None:
        if not self._lives:
            return
        rows, config = self._rows, self.config
        variance = ((rows[:, _W] + rows[:, _H]) / 2) ** 2
        if dt_s <= config.coast_s:
            noise = variance * config.acceleration**2
            rows[:, _X : _Y + 1] += rows[:, _VX : _VY + 1] * dt_s
            rows[:, _PP] += dt_s * (2 * rows[:, _PV] + dt_s * rows[:, _VV]) + noise * (dt_s**3 / 3)
            rows[:, _PV] += dt_s * rows[:, _VV] + noise * (dt_s**2 / 2)
            rows[:, _VV] += noise * dt_s
        else:
            rows[:, _VX : _VY + 1] = 0.0
            rows[:, _PP] += variance
            rows[:, _PV] = 0.0
            rows[:, _VV] = variance * config.speed**2
        rows[:, _SINCE] += dt_s
        rows[:, _MISSED] += min(dt_s, config.coast_s)

    def _affinity(self, boxes: Array, labels: Sequence[str]) -> Array:
        """``(tracks, boxes)``, 0–1: overlap of grown boxes, less where the families differ."""
        rows, config = self._rows, self.config
        if not len(rows) or not len(boxes):
            return np.zeros((len(rows), len(boxes)))
        half = rows[:, _W : _H + 1] / 2
        centre = rows[:, _X : _Y + 1]
        grow = np.minimum(config.grow * np.sqrt(rows[:, _PP]), config.grow_most * (half[:, 0] + half[:, 1]))
        overlap = iou_batch(np.concatenate((centre - half, centre + half), axis=1), boxes, grow)
        ours, theirs = [_kin(life.label) for life in self._lives], [_kin(label) for label in labels]
        if len({*ours, *theirs}) > 1:
            overlap[np.array(ours)[:, None] != np.array(theirs)] *= config.other_family
        return overlap.astype(np.float64, copy=False)

    def _associate(self, affinity: Array, score: npt.NDArray[np.float32]) -> Pairs:
        config = self.config
        if not affinity.size:
            return []
        confident = np.flatnonzero(score >= config.high)
        doubtful = np.flatnonzero(score < config.high)
        pairs = _assign(affinity, np.arange(len(affinity)), confident, config.match_iou)
        taken = {row for row, _ in pairs}
        # Only what had a box a moment ago: doubtful boxes would pull long-lost tracks anywhere.
        since = self._rows[:, _SINCE].tolist()
        recent = [row for row, since_s in enumerate(since) if since_s <= config.coast_s and row not in taken]
        pairs += _assign(affinity, np.array(recent, np.intp), doubtful, config.match_low_iou)
        return sorted(pairs)

    def _correct(self, pairs: Pairs, boxes: Array) -> None:
        if not pairs:
            return
        rows, config = self._rows, self.config
        index = np.array([row for row, _ in pairs])
        box = boxes[[column for _, column in pairs]]
        state = rows[index]
        size = box[:, 2:] - box[:, :2]
        variance = (config.measured * (size[:, 0] + size[:, 1]) / 2) ** 2 + 1e-12
        total = state[:, _PP] + variance
        gain, gain_v = state[:, _PP] / total, state[:, _PV] / total
        error = (box[:, :2] + box[:, 2:]) / 2 - state[:, _X : _Y + 1]
        state[:, _X : _Y + 1] += gain[:, None] * error
        state[:, _VX : _VY + 1] += gain_v[:, None] * error
        state[:, _VV] -= gain_v * state[:, _PV]
        state[:, _PV] -= gain * state[:, _PV]
        state[:, _PP] -= gain * state[:, _PP]
        weight = state[:, _SINCE] / (state[:, _SINCE] + config.size_s)
        state[:, _W : _H + 1] += weight[:, None] * (size - state[:, _W : _H + 1])
        state[:, _SINCE : _MISSED + 1] = 0.0
        rows[index] = state

    @staticmethod
    def _vote(life: _Life, label: str, score: float) -> None:
        life.hits += 1
        life.votes[label] = life.votes.get(label, 0.0) + score
        if life.votes[label] > life.votes[life.label]:
            life.label = label

    def _forget(self) -> None:
        if not self._lives:
            return
        keep = self._rows[:, _MISSED] <= self.config.lost_s
        if not keep.all():
            self._rows = self._rows[keep]
            self._lives = [life for life, kept in zip(self._lives, keep, strict=True) if kept]

    def _begin(
        self, shown: list[int], boxes: Array, detections: Detections, first: tuple[int, int]
    ) -> list[tuple[_Life, int]]:
        free = np.flatnonzero(detections.score >= self.config.high).tolist()
        new: list[int] = []
        for column in sorted(set(free) - set(shown), key=lambda c: (-float(detections.score[c]), c)):
            if not self._named_twice(column, shown + new, boxes, detections.label):
                new.append(column)
        if not new:
            return []
        self._rows = np.concatenate((self._rows, self._fresh(boxes[new])))
        lives = [self._life(detections, column, first) for column in new]
        self._lives += lives
        return list(zip(lives, new, strict=True))

    def _named_twice(self, column: int, shown: list[int], boxes: Array, labels: Sequence[str]) -> bool:
        kin = [other for other in shown if _kin(labels[other]) == _kin(labels[column])]
        if not kin:
            return False
        return bool((iou_batch(boxes[[column]], boxes[kin]) >= self.config.duplicate_iou).any())

    def _fresh(self, boxes: Array) -> Array:
        rows = np.zeros((len(boxes), _COLUMNS))
        rows[:, _X : _Y + 1] = (boxes[:, :2] + boxes[:, 2:]) / 2
        rows[:, _W : _H + 1] = boxes[:, 2:] - boxes[:, :2]
        variance = ((rows[:, _W] + rows[:, _H]) / 2) ** 2
        rows[:, _PP] = variance * self.config.measured**2
        rows[:, _VV] = variance * self.config.speed**2
        return rows

    def _life(self, detections: Detections, column: int, first: tuple[int, int]) -> _Life:
        assert self._at_us is not None
        label, score = detections.label[column], float(detections.score[column])
        life = _Life(self._next, first, self._at_us, 1, label, {label: score})
        self._next += 1
        return life


@cache
def _kin(label: str) -> int:
    """A number for the family of ``label``: comparing numbers costs NumPy a tenth of comparing names."""
    return zlib.crc32(family(label).encode())


def _view(life: _Life, xyxy: list[float], score: float) -> Track:
    x1, y1, x2, y2 = xyxy
    return Track(
        life.number,
        (x1, y1, x2, y2),
        score,
        life.label,
        life.first,
        to_utc(life.first_us),
        life.hits,
    )


def _assign(affinity: Array, rows: npt.NDArray[np.intp], columns: npt.NDArray[np.intp], least: float) -> Pairs:
    """The pairs of most affinity in sum, none below ``least``."""
    if not len(rows) or not len(columns):
        return []
    part = affinity[rows[:, None], columns[None]]
    good = part >= least
    if not good.any():
        return []
    if good.sum(axis=0).max() == 1 and good.sum(axis=1).max() == 1:
        # The usual case, a street that is not crowded: nobody competes, so there is nothing to solve.
        row_index, column_index = np.nonzero(good)
        chosen = list(zip(row_index.tolist(), column_index.tolist(), strict=True))
    else:
        _, matched, _ = lap.lapjv(1.0 - part, extend_cost=True, cost_limit=1.0 - least + 1e-9)
        chosen = [(row, column) for row, column in enumerate(matched.tolist()) if column >= 0]
    return [(int(rows[row]), int(columns[column])) for row, column in chosen]
