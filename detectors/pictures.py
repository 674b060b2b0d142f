"""From a JPEG to pixels, no larger than the models need."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from detectors.backends.base import Picture

_REDUCED = {
    1: cv2.IMREAD_COLOR,
    2: cv2.IMREAD_REDUCED_COLOR_2,
    4: cv2.IMREAD_REDUCED_COLOR_4,
    8: cv2.IMREAD_REDUCED_COLOR_8,
}


class BadPicture(ValueError):
    """Bytes that are not the whole picture that they claim to be."""


def reduction(picture_wh: tuple[int, int], inputs_wh: Sequence[tuple[int, int]]) -> int:
    """By how much (1, 2, 4, 8) a JPEG may shrink while it is decoded and still fill every input of ``inputs_wh``.

    libjpeg then computes fewer coefficients, and averages as it does, so small people are not skipped.

    >>> reduction((960, 540), [(416, 416)]), reduction((960, 540), [(640, 640)])
    (2, 1)
    """
    width, height = picture_wh
    needed = max((min(w / width, h / height) for w, h in inputs_wh), default=1.0)
    return max((factor for factor in _REDUCED if factor * needed <= 1), default=1)


def decode_jpeg(data: bytes, picture_wh: tuple[int, int], inputs_wh: Sequence[tuple[int, int]] = ()) -> Picture:
    """The picture, ``(height, width, 3) uint8`` blue green red, maybe reduced. Raises ``BadPicture``."""
    if data[:2] != b"\xff\xd8" or data[-2:] != b"\xff\xd9":
        # Of half a JPEG OpenCV makes a picture that is half grey, and says nothing.
        raise BadPicture(f"JPEG: expected a whole picture, got {len(data)} bytes that do not begin and end as one")
    factor = reduction(picture_wh, inputs_wh)
    try:
        picture = cv2.imdecode(np.frombuffer(data, np.uint8), _REDUCED[factor])
    except cv2.error as error:
        raise BadPicture(f"JPEG: {error.err} in {len(data)} bytes") from None
    if picture is None:
        raise BadPicture(f"JPEG: nothing can be decoded of {len(data)} bytes")
    expected = tuple(-(-size // factor) for size in picture_wh)
    if picture.shape[:2] != expected[::-1]:
        raise BadPicture(
            f"JPEG: expected {expected[0]}×{expected[1]} pixels, got {picture.shape[1]}×{picture.shape[0]}"
        )
    return picture.astype(np.uint8, copy=False)
