"""Networks trimmed to the shape of the pictures: they find the same, for fewer pixels computed."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest

from detectors import registry
from detectors.backends.base import Picture
from detectors.backends.openvino import SHAPES_MOST, OpenVinoBackend
from detectors.detections import Detections
from detectors.geometry import Letterbox, iou_batch
from tests.detectors.tiny import grey

CLIP = Path(registry.__file__).parents[1] / "streams" / "footage" / "campus.mp4"
SURE = 0.45
"""The score from which rules count a box unless they say otherwise."""


def loaded() -> OpenVinoBackend:
    card = registry.load_card(registry.DEFAULT_CARD)
    backend = OpenVinoBackend(streams=1)
    backend.load(registry.model_path(card), card)
    return backend


@pytest.fixture(scope="module")
def backend() -> OpenVinoBackend:
    return loaded()


@pytest.fixture(scope="module")
def street() -> list[Picture]:
    """Ten pictures of the campus clip, cut to 16:9."""
    found = []
    with av.open(str(CLIP)) as container:
        for index, frame in enumerate(container.decode(video=0)):
            if index % 40 == 0:
                found.append(frame.to_ndarray(format="bgr24")[72:504])
            if len(found) == 10:
                break
    return found


def people(found: Detections) -> Detections:
    return found.where((found.score >= SURE) & np.array([label == "person" for label in found.label], bool))


@pytest.mark.parametrize(
    "picture_wh, input_wh, trimmed",
    [
        ((1920, 1080), (416, 416), (416, 256)),
        ((768, 576), (416, 416), (416, 320)),
        ((1080, 1920), (416, 416), (256, 416)),
        ((500, 500), (416, 416), (416, 416)),
        ((640, 360), (640, 384), (640, 384)),
        ((4000, 10), (416, 416), (416, 32)),
    ],
)
def test_the_bars_beside_a_picture_are_cut_off(
    picture_wh: tuple[int, int], input_wh: tuple[int, int], trimmed: tuple[int, int]
) -> None:
    assert Letterbox.trimmed(picture_wh, input_wh, 32) == trimmed


def test_it_finds_the_same_people(backend: OpenVinoBackend, street: list[Picture]) -> None:
    trimmed = [people(found) for found in backend.infer(street)]
    assert backend._networks.get((416, 256)) is not None
    full = [people(found) for found in backend._network(backend.input_wh).infer(street)]
    assert sum(map(len, full)) >= 20
    found = 0
    for ours, theirs in zip(trimmed, full, strict=True):
        overlap = iou_batch(ours.xyxy, theirs.xyxy)
        found += int((overlap.max(axis=0, initial=0) >= 0.75).sum())
        assert abs(len(ours) - len(theirs)) <= 1
    assert found >= 0.9 * sum(map(len, full))


def test_shapes_may_be_mixed_and_keep_their_order(backend: OpenVinoBackend, street: list[Picture]) -> None:
    wide, square = street[0], np.ascontiguousarray(street[0][:, :432])
    mixed = backend.infer([wide, square, wide, square])
    assert [len(found) for found in mixed] == [len(found) for found in backend.infer([wide, square]) * 2]
    assert mixed[0].xyxy == pytest.approx(mixed[2].xyxy)


def test_only_a_few_shapes_are_kept(backend: OpenVinoBackend) -> None:
    for height in range(40, 400, 40):
        backend.infer([grey(90, (400, height))])
    kept = [size for size, network in backend._networks.items() if network is not None]
    assert len(set(kept) - {backend.input_wh}) == SHAPES_MOST


def test_the_full_network_is_let_go_where_a_trimmed_one_serves_and_comes_back() -> None:
    backend = loaded()
    assert list(backend._networks) == [backend.input_wh]
    backend.infer([grey(90, (640, 360))])
    assert list(backend._networks) == [(416, 256)]
    backend.infer([grey(90, (400, 400))])
    assert set(backend._networks) == {backend.input_wh, (416, 256)}
