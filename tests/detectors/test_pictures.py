"""Decoding: whole pictures only, and no larger than needed."""

from __future__ import annotations

import cv2
import pytest

from detectors.pictures import BadPicture, decode_jpeg, reduction
from tests.detectors.tiny import grey


def jpeg(wh: tuple[int, int] = (960, 540), level: int = 128) -> bytes:
    return bytes(cv2.imencode(".jpg", grey(level, wh))[1])


@pytest.mark.parametrize(
    "picture, inputs, factor",
    [
        ((960, 540), [(416, 416)], 2),
        ((960, 540), [(416, 416), (960, 960)], 1),
        ((640, 360), [(416, 416)], 1),
        ((1920, 1080), [(416, 416)], 4),
        ((8000, 8000), [(32, 32)], 8),
        ((540, 960), [(416, 416)], 2),
        ((832, 468), [(416, 416)], 2),
        ((100, 100), [], 1),
    ],
)
def test_a_picture_is_decoded_no_larger_than_needed(picture: tuple[int, int], inputs: list, factor: int) -> None:
    assert reduction(picture, inputs) == factor


@pytest.mark.parametrize("wh", [(960, 540), (961, 541), (17, 9)])
@pytest.mark.parametrize("inputs", [[], [(416, 416)], [(4, 4)]])
def test_it_is_the_picture(wh: tuple[int, int], inputs: list) -> None:
    picture = decode_jpeg(jpeg(wh, 200), wh, inputs)
    assert picture.shape[2] == 3 and abs(int(picture.mean()) - 200) <= 1


@pytest.mark.parametrize(
    "data, says",
    [
        (b"", "0 bytes that do not begin and end as one"),
        (b"GIF89a", "do not begin and end"),
        (jpeg()[:-100], "do not begin and end"),
        (b"\xff\xd8" + b"\x00" * 50 + b"\xff\xd9", "JPEG: "),
        (b"\xff\xd8\xff\xd9", "JPEG: "),
        (jpeg((64, 48)), "expected 960×540 pixels, got 64×48"),
    ],
)
def test_anything_else_is_refused(data: bytes, says: str) -> None:
    with pytest.raises(BadPicture, match=says):
        decode_jpeg(data, (960, 540))
