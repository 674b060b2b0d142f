"""Draws a scene, picture by picture."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from streams.scenes import lens
from streams.scenes.cutouts import Cutout, Footage, Image, Plane, flipped, resized, turned
from streams.scenes.looks import Look
from streams.scenes.props import drawn
from streams.scenes.script import CLIP_WH, Pose, Scene, Walk, corner, on_stage, placed, stands, transform, walkers

POST_FOOT_PX = 392
"""Who has his feet above this line of the clip walks behind the lamp post."""


def _behind_post() -> Plane:
    """0 where the lamp post and its sign hide whoever walks behind them, else 1; ``(576, 768)``."""
    front = np.zeros((CLIP_WH[1], CLIP_WH[0]), np.float32)
    front[202:245, 413:447] = 1
    front[90:392, 426:438] = 1
    return 1 - np.asarray(cv2.GaussianBlur(front, (0, 0), 0.7), np.float32)


@dataclass(frozen=True, slots=True)
class _Figure:
    """What is drawn into the clip's picture, and where its feet are: who stands lower stands nearer."""

    feet_px: float
    cutout: Cutout
    alpha: Plane


class Stage:
    """Draws one scene, picture by picture. Deterministic: the same picture for the same number, every time."""

    def __init__(self, scene: Scene, footage: Footage) -> None:
        self._scene, self._footage = scene, footage
        self._look = Look(scene.look, footage.empty)
        self._graded = self._look.grade(self._look.empty, 0, 0)
        self._empty_at: tuple[float, float] | None = None
        self._empty = self._graded
        self._behind = _behind_post()
        random = np.random.default_rng(20090617)
        shape = (scene.size[1], scene.size[0])
        self._grains = [np.rint(random.normal(0, self._look.grain, shape)).astype(np.int8) for _ in range(5)]

    def picture(self, frame: int) -> Image:
        """Frame ``frame`` as I420, ``(h·3/2, w) uint8``."""
        frame = lens.shown(self._scene, frame)
        scene, t_s = self._scene, frame / self._scene.fps
        if self._empty_at != corner(scene, t_s):
            self._empty_at = corner(scene, t_s)
            self._empty = self._warp(self._graded, transform(scene, t_s), scene.size)
        figures = self._figures(frame)
        picture = self._empty.copy() if figures else self._empty
        ground = self._look.empty.copy() if len(figures) > 1 else self._look.empty
        for figure in figures:
            self._draw(picture, ground, t_s, figure)
        picture = lens.seen_through(scene, t_s, picture)
        return self._noisy(np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2YUV_I420), np.uint8), frame)

    def _figures(self, frame: int) -> list[_Figure]:
        """Who and what is in the picture, far ones first."""
        walking = [self._walking(walk, how) for walk, how in on_stage(self._scene, frame)]
        standing = [
            (prop, stand) for prop in self._scene.props if (stand := stands(prop, frame / self._scene.fps)) is not None
        ]
        put = [_Figure(stand.y, *drawn(prop, stand, self._footage.empty)) for prop, stand in standing]
        return sorted([*walking, *put], key=lambda figure: figure.feet_px)

    def _walking(self, walk: Walk, how: Pose) -> _Figure:
        box = walkers()[walk.who].boxes[how.box]
        cutout, own = self._footage.cutouts[walk.who][how.box], placed(walk, box) == tuple(box)
        if how.flipped or how.fallen or not own:
            cutout = turned(
                flipped(cutout, box) if how.flipped else cutout, 90 * how.fallen, ((box[0] + box[2]) / 2, box[3])
            )
            cutout = resized(cutout, walk.scale, (box, placed(walk, box)))
            own = False
        return _Figure(box[3] + walk.dy, cutout, cutout.soft if own else cutout.solid)

    @staticmethod
    def _warp(source: Image, matrix: npt.NDArray[np.float64], size: tuple[int, int]) -> Image:
        warped = cv2.warpAffine(source, matrix, size, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
        return np.asarray(warped, np.uint8)

    def _noisy(self, yuv: Image, frame: int) -> Image:
        luma = yuv[: self._scene.size[1]]
        grain = self._grains[frame % len(self._grains)]
        if self._scene.fresh_grain:
            grain = np.roll(grain, 1009 * frame)
        cv2.add(luma, grain, dst=luma, dtype=cv2.CV_8U)
        return yuv

    def _draw(self, picture: Image, ground: Image, t_s: float, figure: _Figure) -> None:
        """Composite on ``ground``, in the clip's pixels, grade, then warp only the part that changed."""
        cutout, alpha = figure.cutout, figure.alpha
        x, y, (height, width) = cutout.x, cutout.y, alpha.shape
        x1, y1, x2, y2 = max(0, x - 3), max(0, y - 3), min(CLIP_WH[0], x + width + 3), min(CLIP_WH[1], y + height + 3)
        left, top, right, bottom = max(0, x), max(0, y), min(CLIP_WH[0], x + width), min(CLIP_WH[1], y + height)
        if right <= left or bottom <= top:
            return
        part = ground[y1:y2, x1:x2].astype(np.float32)
        over = part[top - y1 : bottom - y1, left - x1 : right - x1]
        share = alpha[top - y : bottom - y, left - x : right - x, None]
        if figure.feet_px < POST_FOOT_PX:
            share = share * self._behind[top:bottom, left:right, None]
        over += share * (cutout.colour[top - y : bottom - y, left - x : right - x] - over)
        whole = part.astype(np.uint8)
        if ground is not self._look.empty:
            # Who comes nearer is drawn over who is behind.
            ground[y1:y2, x1:x2] = whole
        self._paste(picture, t_s, self._look.grade(whole, x1, y1), x1, y1)

    def _paste(self, picture: Image, t_s: float, part: Image, x: int, y: int) -> None:
        matrix, (width, height) = transform(self._scene, t_s), self._scene.size
        part_height, part_width = part.shape[:2]
        ends = sorted(matrix[0, 0] * (x + end) + matrix[0, 2] for end in (2, part_width - 3))
        left, right = max(0, int(np.ceil(ends[0]))), min(width, int(ends[1]) + 1)
        top = max(0, int(np.ceil(matrix[1, 1] * (y + (2 if y else 0)) + matrix[1, 2])))
        bottom = min(height, int(matrix[1, 1] * (y + part_height - 3) + matrix[1, 2]) + 1)
        if right <= left or bottom <= top:
            return
        local = matrix.copy()
        local[:, 2] += matrix[:, :2] @ (x, y) - (left, top)
        picture[top:bottom, left:right] = self._warp(part, local, (right - left, bottom - top))
