"""How a place looks: its light and colours, and what is put up in it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import cv2
import numpy as np
import numpy.typing as npt

from streams.scenes.cutouts import Array, Image, Plane
from streams.scenes.demo import LANE_PX
from streams.scenes.script import CLIP_WH


class Look:
    """How a place looks: ``grade`` turns a part of the clip's picture, at (x, y), into the scene's colours."""

    def __init__(self, name: str, empty: Image) -> None:
        self.empty = _DRESSED.get(name, _as_is)(empty)
        self._matrix, self._curve, self._light = _GRADES[name]()
        self.grain = 1.6 if name == "night" else 0.9

    def grade(self, part: Image, x: int, y: int) -> Image:
        """``part`` is ``(h, w, 3)`` BGR whose corner lies at (``x``, ``y``) of the clip."""
        graded: Array = part if self._matrix is None else cv2.transform(part, self._matrix)
        graded = cv2.LUT(graded, self._curve)
        if self._light is not None:
            light = self._light[y : y + part.shape[0], x : x + part.shape[1]]
            graded = cv2.convertScaleAbs(cv2.multiply(graded, light, dtype=cv2.CV_32F))
        return np.asarray(graded, np.uint8)


Grade = tuple[Plane | None, Image, Plane | None]


def _curve(gamma: float, gain: tuple[float, float, float], lift: float = 0.0) -> Image:
    """A look-up table ``(1, 256, 3)`` BGR."""
    x = np.linspace(0, 1, 256)[:, None] ** gamma
    return np.asarray(np.clip(255 * (lift + x * np.array(gain)), 0, 255), np.uint8).reshape(1, 256, 3)


def _day() -> Grade:
    return None, _curve(1.0, (1.0, 1.0, 1.0)), None


def _gate() -> Grade:
    return None, _curve(0.92, (1.02, 0.96, 0.93), 0.01), None


def _dry() -> Grade:
    """Late summer: the green of the grass leans to straw, the light is warm."""
    matrix = np.array([[0.95, 0.02, 0.0], [0.0, 0.80, 0.16], [-0.10, 0.55, 0.58]], np.float32)
    return matrix, _curve(0.86, (0.90, 1.0, 1.04), 0.01), None


def _night() -> Grade:
    """Two lamps: everything is dark and a little blue but under them."""
    matrix = np.array([[0.62, 0.28, 0.10], [0.15, 0.62, 0.20], [0.10, 0.30, 0.56]], np.float32)
    y, x = np.mgrid[0 : CLIP_WH[1], 0 : CLIP_WH[0]].astype(np.float32)
    pools = [(300, 330, 150, 110, 1.0), (70, 300, 130, 120, 0.8)]
    glow = sum(p * np.exp(-(((x - cx) / w) ** 2 + ((y - cy) / h) ** 2)) for cx, cy, w, h, p in pools)
    warm = np.array([0.42, 0.72, 0.90], np.float32)
    cold = np.array([0.34, 0.26, 0.22], np.float32)
    light = cold + np.asarray(glow)[..., None] * warm
    return matrix, _curve(1.45, (0.92, 0.90, 0.90), 0.01), light.astype(np.float32)


_GRADES: dict[str, Callable[[], Grade]] = {"day": _day, "gate": _gate, "dry": _dry, "night": _night}


def _as_is(empty: Image) -> Image:
    return empty


def _blank_sign(empty: Image) -> Image:
    """The place with nothing written on its sign: a mirror would show the words the wrong way round."""
    blank = empty.copy()
    blank[208:240, 418:443] = np.median(empty[208:240, 418:443].reshape(-1, 3), axis=0)
    return blank


def _with_gate(empty: Image) -> Image:
    """The place with a lane hatched in worn yellow paint and a raised boom beside it."""
    boom = _hatched(empty)
    foot, tip = np.array([724.0, 250.0]), np.array([664.0, 150.0])
    steps = 11
    for step in range(steps):
        a, b = (foot + (tip - foot) * part / steps for part in (step, step + 1))
        cv2.line(boom, _px(a), _px(b), (52, 48, 168) if step % 2 else (205, 208, 210), 2, cv2.LINE_AA, 4)
    cv2.rectangle(boom, (719, 244), (729, 272), (74, 76, 78), -1, cv2.LINE_AA)
    cv2.rectangle(boom, (719, 244), (729, 248), (60, 150, 190), -1, cv2.LINE_AA)
    return boom


def _px(point: Sequence[float] | npt.NDArray[np.float64]) -> tuple[int, int]:
    """In sixteenths of a pixel, as ``shift=4`` has it."""
    return round(float(point[0]) * 16), round(float(point[1]) * 16)


def _hatched(empty: Image) -> Image:
    corners = np.array([_px(point) for point in LANE_PX], np.int32)
    area = np.zeros(empty.shape[:2], np.uint8)
    cv2.fillPoly(area, [corners], 255, cv2.LINE_AA, 4)
    stripes = np.zeros_like(area)
    for x in range(420, 760, 20):
        cv2.line(stripes, (x, 310), (x + 90, 190), 255, 2, cv2.LINE_AA)
    paint: Array = cv2.min(area, stripes)
    cv2.polylines(paint, [corners], True, 255, 2, cv2.LINE_AA, 4)
    share = (cv2.GaussianBlur(paint, (0, 0), 0.7).astype(np.float32) / 255 * 0.55)[..., None]
    # Worn paint keeps the tarmac's own texture.
    texture = empty.mean(axis=2, keepdims=True) / 128
    return np.asarray(np.clip(empty * (1 - share) + share * texture * np.array([70, 180, 210]), 0, 255), np.uint8)


_DRESSED: dict[str, Callable[[Image], Image]] = {"gate": _with_gate, "dry": _blank_sign, "night": _blank_sign}
