"""The clip's empty place, and its walkers cut out of it with soft edges."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import numpy.typing as npt

from streams.scenes.script import CLIP_WH, FOLDER, Point, Walker, walkers

Image = npt.NDArray[np.uint8]
Plane = npt.NDArray[np.float32]
Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Cutout:
    """A walker in one picture: ``colour (h, w, 3)``, at (``x``, ``y``) of the clip.

    ``soft`` and ``solid`` are ``(h, w) float32`` 0–1: with his shadow, for his own place; without, for another.
    """

    x: int
    y: int
    colour: Image
    soft: Plane
    solid: Plane


@dataclass(frozen=True, slots=True)
class Footage:
    """The empty place and everybody cut out of it."""

    empty: Image
    cutouts: dict[str, list[Cutout]]


def _margin(box: Sequence[int]) -> tuple[int, int, int, int]:
    x1, y1, x2, y2 = box
    side, top = max(6, (x2 - x1) // 4), max(6, (y2 - y1) // 12)
    return max(0, x1 - side), max(0, y1 - top), min(CLIP_WH[0], x2 + side), min(CLIP_WH[1], y2 + top)


def load_footage(clip: Path = FOLDER / "campus.mp4") -> Footage:
    """Decode the clip once, find its empty place and cut the walkers out. About 3 s and 150 MB."""
    wanted: dict[int, list[tuple[str, int]]] = {}
    for who, walker in walkers().items():
        for index in range(len(walker.boxes)):
            wanted.setdefault(walker.first + index, []).append((who, index))
    samples: list[Image] = []
    patches: dict[tuple[str, int], Image] = {}
    with av.open(str(clip)) as container:
        for number, frame in enumerate(container.decode(video=0)):
            if number not in wanted and number % 16:
                continue
            picture = np.asarray(frame.to_ndarray(format="bgr24"), np.uint8)
            if number % 16 == 0:
                samples.append(picture)
            for who, index in wanted.get(number, ()):
                x1, y1, x2, y2 = _margin(walkers()[who].boxes[index])
                patches[who, index] = picture[y1:y2, x1:x2].copy()
    empty = _median(samples)
    cutouts = {}
    for who, walker in walkers().items():
        own = [_cut(empty, patches[who, index], box) for index, box in enumerate(walker.boxes)]
        cutouts[who] = [_lent(walker, own, index) for index in range(len(own))]
    return Footage(empty, cutouts)


def _lent(walker: Walker, own: list[Cutout], index: int) -> Cutout:
    """The cut-out for ``index``, moved to where the walker is then."""
    other = walker.shown(index)
    if other == index:
        return own[index]
    here, there, cutout = walker.boxes[index], walker.boxes[other], own[other]
    return resized(cutout, (here[3] - here[1]) / (there[3] - there[1]), (there, here))


def resized(cutout: Cutout, scale: float, feet: tuple[Sequence[float], Sequence[float]]) -> Cutout:
    """The cut-out at another size, moved so that the feet of the first box come to those of the second."""
    height, width = cutout.soft.shape
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    colour = np.asarray(cv2.resize(cutout.colour, size, interpolation=cv2.INTER_CUBIC), np.uint8)
    soft, solid = (np.asarray(cv2.resize(alpha, size), np.float32) for alpha in (cutout.soft, cutout.solid))
    before, after = (((box[0] + box[2]) / 2, box[3]) for box in feet)
    x, y = (at + (corner - was) * scale for at, corner, was in zip(after, (cutout.x, cutout.y), before, strict=True))
    return Cutout(round(x), round(y), colour, soft, solid)


def flipped(cutout: Cutout, box: Sequence[float]) -> Cutout:
    """The cut-out turned to its other side, about the middle of ``box``."""
    x = round(box[0] + box[2] - cutout.x - cutout.soft.shape[1])
    return Cutout(x, cutout.y, cutout.colour[:, ::-1], cutout.soft[:, ::-1], cutout.solid[:, ::-1])


def turned(cutout: Cutout, degrees: float, feet: Point) -> Cutout:
    """The cut-out fallen to the right by ``degrees``, about the feet, and lying on the ground where they stood."""
    if not degrees:
        return cutout
    height, width = cutout.soft.shape
    matrix = cv2.getRotationMatrix2D((feet[0] - cutout.x, feet[1] - cutout.y), -degrees, 1.0)
    corners = np.array([(0, 0, 1), (width, 0, 1), (0, height, 1), (width, height, 1)], np.float64) @ matrix.T
    (x1, y1), (x2, y2) = np.floor(corners.min(axis=0)), np.ceil(corners.max(axis=0))
    matrix[:, 2] -= x1, y1
    size = (int(x2 - x1), int(y2 - y1))
    colour = np.asarray(cv2.warpAffine(cutout.colour, matrix, size, flags=cv2.INTER_LINEAR), np.uint8)
    soft, solid = (np.asarray(cv2.warpAffine(one, matrix, size), np.float32) for one in (cutout.soft, cutout.solid))
    lowest = np.flatnonzero(solid.max(axis=1) > 0.5)
    sunk = y1 + (lowest[-1] + 1 if lowest.size else size[1]) + cutout.y - feet[1]
    return Cutout(cutout.x + int(x1), round(cutout.y + y1 - sunk), colour, soft, solid)


def _median(samples: list[Image]) -> Image:
    stack = np.stack(samples)
    middle = len(samples) // 2
    # Rows at a time: a partition of the whole stack would need it all in memory twice.
    rows = [np.partition(stack[:, y : y + 32], middle, axis=0)[middle] for y in range(0, stack.shape[1], 32)]
    return np.concatenate(rows)


def _cut(empty: Image, patch: Image, box: Sequence[int]) -> Cutout:
    x, y, x2, y2 = _margin(box)
    behind = empty[y:y2, x:x2]
    differs = cv2.absdiff(patch, behind).max(axis=2).astype(np.float32)
    far = np.asarray(cv2.GaussianBlur(differs, (0, 0), 0.8), np.float32)
    tight = (box[0] - x, box[1] - y, box[2] - x, box[3] - y)
    at_edge = box[0] <= 2 or box[2] >= CLIP_WH[0] - 2
    near = np.ones_like(far) if at_edge else _window(far.shape, tight)
    body = _body(far > 22, tight)
    filled = cv2.erode(cv2.morphologyEx(body, cv2.MORPH_CLOSE, _square(7)), _square(7))
    soft: Array = np.maximum(np.clip((far - 8) / 14, 0, 1) * body, filled).astype(np.float32)
    # A shadow belongs to its ground and an edge to what was behind it: elsewhere both would show as a halo.
    far = np.asarray(cv2.morphologyEx(far, cv2.MORPH_OPEN, _square(3)), np.float32)
    solid: Array = cv2.morphologyEx(
        np.clip((far - 30) / 24, 0, 1) * _body(far > 38, tight), cv2.MORPH_CLOSE, _square(3)
    )
    solid = cv2.erode(solid.astype(np.float32), _square(2))
    soft, solid = (cv2.GaussianBlur(alpha, (0, 0), 0.9) * near for alpha in (soft, solid))
    return Cutout(x, y, _unmixed(patch, behind, soft), soft, solid)


def _window(shape: tuple[int, ...], box: tuple[int, int, int, int]) -> Plane:
    """1 where a person in ``box`` can be, narrower at the head than at the feet; who walks beside him is left out."""
    x1, y1, x2, y2 = box
    height = max(1, y2 - y1)
    y, x = np.mgrid[0 : shape[0], 0 : shape[1]].astype(np.float32)
    down = np.clip((y - y1) / height, 0, 1)
    half = np.maximum(height * (0.13 + 0.15 * down), 0.62 * (x2 - x1) * down)
    beside = np.abs(x - (x1 + x2 - 1) / 2) - half
    beyond = np.maximum(y1 - 1 - y, y - y2 - 3)
    return np.asarray(np.clip(1 - np.maximum(beside, beyond) / 3, 0, 1), np.float32)


def _square(side: int) -> Image:
    return np.ones((side, side), np.uint8)


def _body(differs: npt.NDArray[np.bool_], box: tuple[int, int, int, int]) -> Image:
    """Which pixels are the walker's, slightly grown: the largest part that differs, and what is over or under it."""
    core = cv2.morphologyEx(differs.astype(np.uint8), cv2.MORPH_CLOSE, _square(5))
    count, parts, stats, _ = cv2.connectedComponentsWithStats(core)
    x1, y1, x2, y2 = box
    within = np.bincount(parts[max(0, y1) : y2 + 1, max(0, x1) : x2 + 1].ravel(), minlength=count)
    within[0] = 0
    main = int(within.argmax())
    left, width, area = (stats[:, kind] for kind in (cv2.CC_STAT_LEFT, cv2.CC_STAT_WIDTH, cv2.CC_STAT_AREA))
    shared = np.minimum(left + width, left[main] + width[main]) - np.maximum(left, left[main])
    keep = (within > 0.6 * area) & (area > 12) & (shared > 0.5 * width)
    keep[main], keep[0] = main > 0, False
    return np.asarray(cv2.dilate(keep[parts].astype(np.uint8), _square(5)), np.uint8)


def _unmixed(patch: Image, behind: Image, alpha: Plane) -> Image:
    """The walker's own colour where his edge is mixed with the place, so that he may stand elsewhere without a halo."""
    a = np.maximum(alpha, 0.35)[..., None]
    return np.clip((patch - (1 - a) * behind) / a, 0, 255).astype(np.uint8)
