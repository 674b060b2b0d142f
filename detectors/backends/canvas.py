"""Pictures as a network takes them: fitted into its input, and, where the graph does not do it, normalised."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from detectors.backends.base import Card, Picture
from detectors.geometry import Letterbox


class Canvas:
    """``pixels``: ``(1, height, width, 3) uint8``, blue green red, one network input that pictures are scaled straight
    into, one after the other. Used by one thread at a time.
    """

    def __init__(self, card: Card) -> None:
        self._wh, self._pad = (card.input.width_px, card.input.height_px), card.input.pad
        self._fit = Letterbox.stretch if card.input.fit == "stretch" else Letterbox.fit
        self.pixels = np.full((1, self._wh[1], self._wh[0], 3), self._pad, np.uint8)
        self._before: Letterbox | None = None

    def put(self, picture: Picture) -> Letterbox:
        """Overwrites what was there. Returns where in the input the picture is."""
        height, width = picture.shape[:2]
        letterbox, before = self._fit((width, height), self._wh), self._before
        if before is None or (before.inner_wh, before.offset_xy) != (letterbox.inner_wh, letterbox.offset_xy):
            self.pixels[...] = self._pad
        self._before = letterbox
        (x, y), (w, h) = letterbox.offset_xy, letterbox.inner_wh
        # More than 2:1 linear scaling skips pixels, and small people with them.
        how = cv2.INTER_AREA if width > 2 * w else cv2.INTER_LINEAR
        self.pixels[0, y : y + h, x : x + w] = (
            picture if (width, height) == (w, h) else cv2.resize(picture, (w, h), interpolation=how)
        )
        return letterbox


class Normaliser:
    """(value − mean) / std in the card's order of colours."""

    def __init__(self, card: Card) -> None:
        self._order = (0, 1, 2) if card.input.colour == "bgr" else (2, 1, 0)
        self._mean = [np.float32(mean) for mean in card.input.mean]
        self._scale = [np.float32(1 / std) for std in card.input.std]

    def write(self, pixels: npt.NDArray[np.uint8], into: npt.NDArray[np.floating[Any]]) -> None:
        """``pixels`` ``(height, width, 3)`` into the planes of ``into`` ``(3, height, width)``."""
        # Plane by plane and in place: measured half the time of one expression over the whole picture.
        planes = cv2.split(pixels)
        for channel, source in enumerate(self._order):
            plane = into[channel]
            plane[...] = planes[source]
            if self._mean[channel]:
                plane -= self._mean[channel]
            plane *= self._scale[channel]
