"""From planes to JPEG: sizes, colours, masks."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from streams.picture import Planes, fitted_wh, gate_plane, jpeg

WHOLE = [[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]]


def planes(width: int = 640, height: int = 360, y: int = 120, u: int = 128, v: int = 128, **given: bool) -> Planes:
    """A picture of one colour."""
    half = ((height + 1) // 2, (width + 1) // 2)
    return Planes(
        np.full((height, width), y, np.uint8), np.full(half, u, np.uint8), np.full(half, v, np.uint8), **given
    )


def decoded(data: bytes) -> npt.NDArray[np.uint8]:
    """``(height, width, 3) uint8``, BGR."""
    picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None
    return np.asarray(picture, np.uint8)


@pytest.mark.parametrize(
    ("source_wh", "long_px", "expected"),
    [
        ((1920, 1080), 960, (960, 540)),
        ((640, 360), 960, (640, 360)),
        ((1080, 1920), 960, (540, 960)),
        ((2592, 1944), 960, (960, 720)),
        ((641, 361), 960, (640, 360)),
        ((1, 1), 960, (2, 2)),
        ((4000, 3), 960, (960, 2)),
    ],
)
def test_it_fits_within_the_wanted_size_and_the_source(
    source_wh: tuple[int, int], long_px: int, expected: tuple[int, int]
) -> None:
    assert fitted_wh(source_wh, long_px) == expected


@pytest.mark.parametrize("source", [(640, 360), (1920, 1080), (641, 361), (352, 288)])
def test_the_jpeg_has_the_asked_size(source: tuple[int, int]) -> None:
    wh = fitted_wh(source, 320)
    assert decoded(jpeg(planes(*source), wh)).shape == (wh[1], wh[0], 3)


@pytest.mark.parametrize(
    ("yuv", "full_range", "bgr"),
    [
        ((16, 128, 128), False, (0, 0, 0)),
        ((235, 128, 128), False, (255, 255, 255)),
        ((0, 128, 128), True, (0, 0, 0)),
        ((255, 128, 128), True, (255, 255, 255)),
        ((81, 90, 240), False, (0, 0, 255)),
        ((145, 54, 34), False, (0, 255, 0)),
        ((41, 240, 110), False, (255, 0, 0)),
    ],
)
def test_colours_come_out_as_they_went_in(
    yuv: tuple[int, int, int], full_range: bool, bgr: tuple[int, int, int]
) -> None:
    picture = decoded(jpeg(planes(64, 64, *yuv, full_range=full_range), (64, 64)))
    assert picture.reshape(-1, 3).mean(axis=0) == pytest.approx(bgr, abs=6)


def test_a_mask_hides_its_polygon_and_nothing_else() -> None:
    mask = [[0.5, 0.0], [1.0, 0.0], [1.0, 1.0], [0.5, 1.0]]
    picture = decoded(jpeg(planes(y=200), (640, 360), [mask]))
    assert picture[:, 330:].max() < 12
    assert picture[:, :310].min() > 180


def test_overlapping_masks_hide_their_overlap_too() -> None:
    left = [[0.0, 0.0], [0.7, 0.0], [0.7, 1.0], [0.0, 1.0]]
    right = [[0.3, 0.0], [1.0, 0.0], [1.0, 1.0], [0.3, 1.0]]
    assert decoded(jpeg(planes(y=200), (640, 360), [left, right])).max() < 12


def test_a_mask_beyond_the_picture_is_cut_at_its_edge() -> None:
    around = [[-1.0, -1.0], [2.0, -1.0], [2.0, 2.0], [-1.0, 2.0]]
    assert decoded(jpeg(planes(y=200), (640, 360), [around])).max() < 12


def test_the_gate_s_plane_is_small_and_masked() -> None:
    plane = gate_plane(planes(1920, 1080, y=200), [[[0.0, 0.0], [0.5, 0.0], [0.5, 1.0], [0.0, 1.0]]])
    assert plane.shape == (90, 160)
    assert plane[:, :80].max() == 0
    assert plane[:, 85:].min() == 200
    assert gate_plane(planes(), [WHOLE]).max() == 0


def test_a_small_walker_of_a_large_picture_shows_in_the_gate_s_plane() -> None:
    picture = planes(1920, 1080, y=120)
    picture.y[500:554, 900:924] = 60
    changed = np.abs(gate_plane(picture).astype(int) - 120) > 20
    assert 6 <= changed.sum() <= 20


def test_it_paints_no_mask_into_the_decoder_s_memory() -> None:
    picture = planes(160, 90, y=200)
    jpeg(picture, (160, 90), [WHOLE])
    gate_plane(picture, [WHOLE])
    assert picture.y.min() == 200


def test_planes_that_do_not_belong_together_are_refused() -> None:
    with pytest.raises(ValueError, match=r"expected chroma of \(180, 320\)"):
        Planes(np.zeros((360, 640), np.uint8), np.zeros((360, 640), np.uint8), np.zeros((180, 320), np.uint8))
