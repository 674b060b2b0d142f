"""Static regions: what stands where nothing stood, or no longer stands where something did. Pure.

Two backgrounds of one camera, a fast and a slow one. Where the fast one differs from the slow one and the picture
agrees with the fast one for ``still_s``, something has come or gone; whether the region's own edges are in the picture
or in the slow background says which. Edges that are alike in both are light; what a camera's tremble explains is no
difference; where people are known to be, nothing is judged. It knows no objects: a bag that no detector knows is found
like any other. Whether it is a bag or a parked car is for the rule to say, which sees the tracks beside it.

Source: Porikli, Ivanov and Haga, Robust abandoned object detection using dual foregrounds, 2008 (the two backgrounds);
Tian et al., Robust and efficient foreground analysis, 2011 (edges tell an added object from a removed one).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import cv2
import msgspec
import numpy as np
import numpy.typing as npt
from msgspec import Meta

from detectors.labels import APPEARED, VANISHED

Plane = npt.NDArray[np.uint8]
Real = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]
Box = tuple[float, float, float, float]


SETTLED_S = 4.0
"""While the place is learned: what has kept still for so long is part of it."""
GONE_FASTER = 4.0
"""What a region gains in so many seconds it loses in one."""
AROUND = 0.1
"""Of a person's box, to each side."""
MOVED_PX, MOVED_SURE, MOVED_S = 1.5, 0.15, 4.0
"""A picture that lies so far off the background for so long, as sure as this (the correlation's peak, 0–1), was taken
by a camera that has been moved: every edge of the place would else come and go."""


class StaticRegionsConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Times in seconds, levels in grey levels, areas as shares of the picture."""

    plane_wh: tuple[int, int] = (320, 180)
    """Size of the luma plane that ``update`` takes. A bag of 40 px in 1080p covers 7×7 px of it."""
    warm_up_s: float = 30.0
    """Nothing is reported so long after the start or a change of light: the slow background is being learned."""
    fast_s: float = 2.0
    """Time constant of the fast background: who walks never is part of it, what is put down is after some seconds."""
    slow_s: float = 120.0
    """Time constant of the slow background, where nothing stands out from it."""
    still_s: Annotated[float, Meta(gt=0)] = 10.0
    """A region is reported once it has been still for so long."""
    absorb_s: float = 1800.0
    """What has stood for so long belongs to the place; once it goes, it has vanished."""
    levels: float = 18.0
    """Least difference from the slow background."""
    noises: float = 5.0
    """Likewise, in medians of the plane's own differences."""
    least_clear: float = 0.1
    """The edges of what came, or went, are in one picture so much stronger than in the other, as a share of both."""
    least_area: float = 0.0004
    most_area: float = 0.15
    light_share: float = 0.35
    """When more of the plane differs at once, the light changed, not the place."""

    def build(self, state: Any | None = None) -> StaticRegions:
        """A fresh analysis, or the one that gave the snapshot ``state``."""
        return StaticRegions(self, state)


class StaticRegion(msgspec.Struct, frozen=True):
    """One region: ``xyxy`` in fractions of the picture; ``score`` 0.5–1: how clearly it appeared, or vanished."""

    xyxy: tuple[float, float, float, float]
    label: Literal["appeared-object", "vanished-object"]
    score: float
    still_s: float


class _State(msgspec.Struct):
    wh: tuple[int, int]
    at_s: float
    learned_s: float
    slow: bytes
    fast: bytes
    still_s: bytes
    steady_s: bytes
    known: bytes
    shifted_s: float
    v: int = 2


class StaticRegions:
    """One camera's static regions. Pictures come in order, at any rate; the time between two counts as unchanged."""

    def __init__(self, config: StaticRegionsConfig, state: Any | None = None) -> None:
        self.config = config
        shape = config.plane_wh[::-1]
        self._slow: Real | None = None
        self._window = np.asarray(cv2.createHanningWindow(config.plane_wh, cv2.CV_32F), np.float32)
        self._fast: Real = np.zeros(shape, np.float32)
        self._still_s: Real = np.zeros(shape, np.float32)
        self._steady_s: Real = np.zeros(shape, np.float32)
        """Of each pixel: for how long it has agreed with the fast background."""
        self._known: Mask = np.zeros(shape, np.bool_)
        """Where the place has been seen, and not only whoever stood before it."""
        self._at_s = self._learned_s = self._shifted_s = 0.0
        if state is not None:
            self._restore(msgspec.convert(state, _State))

    def update(self, plane: Plane, at_s: float, people: Sequence[Box] = ()) -> list[StaticRegion]:
        """The regions that stand in ``plane`` (``(180, 320) uint8`` luma, masks painted over), largest first.

        ``at_s`` is the picture's time in seconds; one that is not later than the last counts as no time. Behind
        ``people`` (xyxy in fractions) the place cannot be seen: nothing there is learned and no time counted. Raises
        ``ValueError`` for another shape or type.
        """
        if plane.shape != self.config.plane_wh[::-1] or plane.dtype != np.uint8:
            raise ValueError(
                f"static regions: expected a plane of {self.config.plane_wh[::-1]} uint8, "
                f"got {plane.shape} {plane.dtype}; resize the luma"
            )
        # A pixel is an average of its neighbours, so that the camera's tremble of a pixel is no difference.
        now: Real = np.asarray(cv2.GaussianBlur(plane.astype(np.float32), (0, 0), 1.0), np.float32)
        hidden = self._hidden(people)
        if self._slow is None:
            self._rebase(now, at_s)
            return []
        elapsed_s = max(0.0, at_s - self._at_s)
        self._at_s = max(at_s, self._at_s)
        self._learned_s += elapsed_s
        return self._regions() if self._advance(now, self._slow, elapsed_s, hidden) else []

    def snapshot(self) -> Any:
        """The whole state as plain types and bytes; None before the first picture."""
        if self._slow is None:
            return None
        state = _State(
            wh=self.config.plane_wh,
            at_s=self._at_s,
            learned_s=self._learned_s,
            slow=_packed(self._slow),
            fast=_packed(self._fast),
            still_s=_packed(self._still_s),
            steady_s=_packed(self._steady_s),
            known=self._known.tobytes(),
            shifted_s=self._shifted_s,
        )
        return msgspec.to_builtins(state, builtin_types=(bytes,))

    def _restore(self, state: _State) -> None:
        if tuple(state.wh) != self.config.plane_wh:
            raise ValueError(f"static regions: expected a state of {self.config.plane_wh}, got {state.wh}; begin anew")
        shape = self.config.plane_wh[::-1]
        self._slow, self._fast, self._still_s, self._steady_s = (
            np.frombuffer(data, "<f4").reshape(shape).astype(np.float32)
            for data in (state.slow, state.fast, state.still_s, state.steady_s)
        )
        self._known = np.frombuffer(state.known, np.bool_).reshape(shape).copy()
        self._at_s, self._learned_s, self._shifted_s = state.at_s, state.learned_s, state.shifted_s

    def _rebase(self, now: Real, at_s: float) -> None:
        self._slow, self._fast = now.copy(), now.copy()
        self._still_s.fill(0)
        self._steady_s.fill(0)
        self._known.fill(False)
        self._at_s, self._learned_s, self._shifted_s = at_s, 0.0, 0.0

    def _hidden(self, people: Sequence[Box]) -> Mask:
        """Where people are, and a little around them: a box seldom holds both elbows."""
        width, height = self.config.plane_wh
        hidden = np.zeros((height, width), np.bool_)
        for x1, y1, x2, y2 in people:
            dx, dy = AROUND * (x2 - x1), AROUND * (y2 - y1)
            left, top = max(0, math.floor((x1 - dx) * width)), max(0, math.floor((y1 - dy) * height))
            hidden[top : math.ceil((y2 + dy) * height), left : math.ceil((x2 + dx) * width)] = True
        return hidden

    def _advance(self, now: Real, slow: Real, elapsed_s: float, hidden: Mask) -> bool:
        """Take ``now`` in; False when the light changed, or the camera was moved, and everything began anew."""
        config = self.config
        limit, shift = self._limit(now - slow)
        # An even brightening is taken off, and followed.
        slow += shift
        self._fast += shift
        differs = _beyond(now, slow, limit)
        if (
            differs.mean() > config.light_share
            or abs(shift) > 2 * config.levels
            or self._is_moved(now, slow, elapsed_s)
        ):
            self._rebase(now, self._at_s)
            return False
        agrees = np.abs(now - self._fast) <= limit
        self._fast += (now - self._fast) * np.float32(1 - math.exp(-elapsed_s / config.fast_s))
        np.copyto(self._steady_s, np.where(agrees & ~hidden, self._steady_s + np.float32(elapsed_s), 0))
        # Only what keeps still is the place: somebody who walks by at the start, or waits there, leaves no ghost in it.
        steady = self._steady_s >= SETTLED_S
        if self._learned_s < config.warm_up_s:
            np.copyto(slow, self._fast, where=steady)
            self._known |= steady
            return True
        np.copyto(slow, self._fast, where=steady & ~self._known)
        self._known |= steady
        differs &= ~hidden & self._known
        self._count(differs, agrees & (np.abs(self._fast - slow) > limit), elapsed_s, ~hidden)
        part = np.float32(1 - math.exp(-elapsed_s / config.slow_s))
        np.copyto(slow, slow + (now - slow) * part, where=~differs & ~hidden)
        return True

    def _count(self, differs: Mask, stands: Mask, elapsed_s: float, seen: Mask) -> None:
        """Time that what differs has stood. It melts while something else is seen there, so that passers never add up
        to a thing that stands, and faster once the place itself can be seen; a flicker costs a moment, not all of it.
        """
        still, step = self._still_s, np.float32(elapsed_s)
        most = np.float32(self.config.still_s)
        np.copyto(still, np.maximum(np.minimum(still, most) - np.float32(GONE_FASTER) * step, 0), where=~differs & seen)
        np.copyto(still, still + step, where=differs & stands)
        np.copyto(still, np.maximum(still - step, 0), where=differs & ~stands)

    def _is_moved(self, now: Real, slow: Real, elapsed_s: float) -> bool:
        """Whether the camera has looked beside its background for long enough.

        Source: Kuglin and Hines, The phase correlation image alignment method, 1975.
        """
        # Its own window would be multiplied into what it is given, which is our background.
        (dx, dy), sure = cv2.phaseCorrelate(*((plane - plane.mean()) * self._window for plane in (slow, now)))
        is_off = max(abs(dx), abs(dy)) >= MOVED_PX and sure >= MOVED_SURE
        self._shifted_s = self._shifted_s + elapsed_s if is_off else 0.0
        return self._shifted_s >= MOVED_S

    def _limit(self, difference: Real) -> tuple[float, np.float32]:
        sparse = difference[::3, ::3]
        shift = np.float32(np.median(sparse))
        noise = float(np.median(np.abs(sparse - shift)))
        return max(self.config.levels, self.config.noises * noise), shift

    def _regions(self) -> list[StaticRegion]:
        standing = (self._still_s >= self.config.still_s).astype(np.uint8)
        if not standing.any():
            return []
        closed = cv2.morphologyEx(standing, cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8))
        count, numbers, stats, _ = cv2.connectedComponentsWithStats(closed, connectivity=8)
        assert self._slow is not None
        edges = _steps(self._fast), _steps(self._slow)
        found: list[tuple[int, StaticRegion]] = []
        for number in range(1, count):
            x, y, w, h, area = (int(value) for value in stats[number])
            if self._absorbed(numbers == number):
                continue
            if not self.config.least_area <= area / standing.size <= self.config.most_area:
                continue
            region = self._region(numbers == number, (x, y, w, h), *edges)
            if region is not None:
                found.append((area, region))
        return [region for _, region in sorted(found, key=lambda one: (-one[0], one[1].xyxy))]

    def _absorbed(self, mask: Mask) -> bool:
        """Whether the region has stood for so long that it is the place now; whole, with its blurred outline."""
        if self._still_s[mask].max() < self.config.absorb_s:
            return False
        assert self._slow is not None
        whole = cv2.dilate(mask.astype(np.uint8), np.ones((9, 9), np.uint8)) > 0
        np.copyto(self._slow, self._fast, where=whole)
        self._still_s[whole] = 0
        return True

    def _region(self, mask: Mask, box: tuple[int, int, int, int], now: Real, usual: Real) -> StaticRegion | None:
        width, height = self.config.plane_wh
        x, y, w, h = box
        rim = _rim(mask)
        with_it, without = now[rim].mean(), usual[rim].mean()
        clear = float(abs(with_it - without) / max(1e-6, with_it + without))
        if clear < self.config.least_clear:
            return None
        return StaticRegion(
            xyxy=(x / width, y / height, (x + w) / width, (y + h) / height),
            label=APPEARED if with_it >= without else VANISHED,
            score=round(0.5 + 0.5 * min(1.0, 2 * clear), 3),
            still_s=round(float(np.median(self._still_s[mask & (self._still_s > 0)])), 1),
        )


def _beyond(now: Real, usual: Real, limit: float) -> Mask:
    """Where ``now`` is brighter or darker than every neighbour in ``usual`` by more than ``limit``.

    A camera on a mast trembles by a pixel: beside an edge that is a large difference, and none at all.
    """
    kernel = np.ones((3, 3), np.uint8)
    most, least = cv2.dilate(usual, kernel), cv2.erode(usual, kernel)
    return np.asarray((now > most + limit) | (now < least - limit), np.bool_)


def _packed(plane: Real) -> bytes:
    return plane.astype("<f4").tobytes()


def _rim(mask: Mask) -> Mask:
    """The region's outline, two pixels wide to either side."""
    drawn = mask.astype(np.uint8)
    kernel = np.ones((5, 5), np.uint8)
    return np.asarray(cv2.dilate(drawn, kernel) != cv2.erode(drawn, kernel), np.bool_)


def _steps(plane: Real) -> Real:
    """Steps to the next pixel, right and below."""
    steps: Real = np.zeros_like(plane)
    steps[:, :-1] += np.abs(np.diff(plane, axis=1))
    steps[:-1] += np.abs(np.diff(plane, axis=0))
    return steps
