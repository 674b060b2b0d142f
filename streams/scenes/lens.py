"""What may be wrong between a place and its picture: darkness, a cover, a blur, a frozen sensor; and what is not: a
lorry that passes close by.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from streams.scenes.cutouts import Image
from streams.scenes.script import Scene

DARK = (9, 8, 8)
"""What is left of a picture by night without a lamp, BGR."""
COVER = (74, 82, 92)
BLUR_SHARE = 1 / 40
"""Of the picture's height: a lens out of focus."""
LORRY_SHARE = 0.85
"""Of the picture's height that a lorry hides."""


def shown(scene: Scene, frame: int) -> int:
    """The frame that is shown as ``frame``: an earlier one while the sensor is frozen."""
    for fault in scene.faults:
        first = round(fault.at_s * scene.fps)
        if fault.kind == "frozen" and first <= frame < round(fault.until_s * scene.fps):
            return first
    return frame


def seen_through(scene: Scene, t_s: float, picture: Image) -> Image:
    """``picture`` (``(h, w, 3)`` BGR) as the lens gives it at ``t_s``."""
    for fault in scene.faults:
        if fault.kind in _EFFECTS and fault.at_s <= t_s < fault.until_s:
            picture = _EFFECTS[fault.kind](picture, (t_s - fault.at_s) / (fault.until_s - fault.at_s))
    return picture


def _dark(picture: Image, part: float) -> Image:
    return np.full_like(picture, DARK)


def _covered(picture: Image, part: float) -> Image:
    """A cloth close to the lens: nearly one colour, a little lighter to one side."""
    light = np.linspace(-14, 14, picture.shape[1], dtype=np.float32)[None, :, None]
    return np.asarray(
        np.clip(np.array(COVER, np.float32) + light + np.zeros_like(picture, np.float32), 0, 255), np.uint8
    )


def _blurred(picture: Image, part: float) -> Image:
    return np.asarray(cv2.GaussianBlur(picture, (0, 0), picture.shape[0] * BLUR_SHARE), np.uint8)


def _lorry(picture: Image, part: float) -> Image:
    """A box body longer than the picture is wide passes from right to left, near its middle as slowly as at a light."""
    height, width = picture.shape[:2]
    length = 1.3 * width
    slow = 0.5 + 4 * (part - 0.5) ** 3
    left = round(width - slow * (width + length))
    passed = picture.copy()
    top, bottom = round(height * (1 - LORRY_SHARE) / 2), round(height * (1 + LORRY_SHARE) / 2)
    cv2.rectangle(passed, (left, top), (round(left + length), bottom), (196, 198, 200), -1)
    for stripe in range(3):
        y = round(top + (bottom - top) * (0.3 + 0.06 * stripe))
        cv2.line(passed, (left, y), (round(left + length), y), (120, 70, 40), 3)
    cv2.rectangle(passed, (left, bottom - 24), (round(left + length), bottom), (38, 38, 40), -1)
    return passed


_EFFECTS: dict[str, Callable[[Image, float], Image]] = {
    "dark": _dark,
    "covered": _covered,
    "blurred": _blurred,
    "lorry": _lorry,
}
