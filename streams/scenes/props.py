"""Things that are put into a scene: the clip's own parked van, cut out, and two that are painted."""

from __future__ import annotations

import functools

import cv2
import numpy as np

from streams.scenes.cutouts import Cutout, Image, Plane
from streams.scenes.script import Prop, Stand, prop_box

VAN_PX = (
    (658, 47), (673, 45), (690, 44), (709, 46), (712, 50), (716, 58), (723, 63), (719, 68), (722, 77), (722, 89),
    (716, 91), (704, 91), (702, 96), (698, 99), (690, 99), (678, 98), (661, 97), (657, 92), (652, 87), (652, 75),
    (653, 65), (655, 55),
)  # fmt: skip
"""The van's outline where it stands parked in the clip, px; no walker passes before it."""
PAINTED_PX = 64


def drawn(prop: Prop, stand: Stand, empty: Image) -> tuple[Cutout, Plane]:
    """``prop`` as a cut-out at its place, and its outline as alpha. ``empty`` is the clip's empty place."""
    colour, alpha = _van(empty.tobytes()) if prop.what == "van" else _PAINTED[prop.what]()
    x1, y1, x2, y2 = prop_box(prop, stand)
    size = (max(1, round(x2 - x1)), max(1, round(y2 - y1)))
    shown = np.asarray(
        cv2.resize(colour, size, interpolation=cv2.INTER_CUBIC if size[1] > PAINTED_PX else cv2.INTER_AREA)
    )
    outline = np.asarray(cv2.resize(alpha, size, interpolation=cv2.INTER_LINEAR), np.float32)
    return Cutout(round(x1), round(y1), np.asarray(shown, np.uint8), outline, outline), outline


@functools.lru_cache(maxsize=1)
def _van(empty: bytes) -> tuple[Image, Plane]:
    outline = np.array(VAN_PX, np.int32)
    x, y, width, height = cv2.boundingRect(outline)
    picture = np.frombuffer(empty, np.uint8).reshape(576, 768, 3)[y : y + height, x : x + width]
    mask = np.zeros((height, width), np.uint8)
    cv2.fillPoly(mask, [outline - (x, y)], 255, cv2.LINE_AA)
    return picture.copy(), _edge(mask, 0.6)


def _edge(mask: Image, softness: float) -> Plane:
    """``mask`` as alpha, 0–1, with a soft edge."""
    return np.asarray(cv2.GaussianBlur(mask, (0, 0), softness) / 255.0, np.float32)


@functools.cache
def _bag() -> tuple[Image, Plane]:
    """A blue holdall with two straps."""
    colour, mask = np.full((PAINTED_PX, 80, 3), (96, 44, 30), np.uint8), np.zeros((PAINTED_PX, 80), np.uint8)
    cv2.rectangle(mask, (4, 20), (75, 61), 255, -1)
    cv2.ellipse(mask, (40, 22), (20, 18), 0, 180, 360, 255, 4)
    cv2.rectangle(colour, (4, 20), (75, 28), (126, 70, 52), -1)
    for x in (22, 54):
        cv2.rectangle(colour, (x, 20), (x + 5, 61), (30, 30, 34), -1)
    cv2.rectangle(colour, (4, 54), (75, 61), (58, 26, 18), -1)
    return colour, _edge(mask, 0.8)


@functools.cache
def _box() -> tuple[Image, Plane]:
    """A cardboard box with a strip of tape."""
    colour = np.full((PAINTED_PX, PAINTED_PX, 3), (92, 134, 172), np.uint8)
    cv2.rectangle(colour, (0, 0), (63, 12), (112, 156, 194), -1)
    cv2.rectangle(colour, (28, 0), (36, 63), (70, 108, 146), -1)
    return colour, np.ones((PAINTED_PX, PAINTED_PX), np.float32)


_PAINTED = {"bag": _bag, "box": _box}
