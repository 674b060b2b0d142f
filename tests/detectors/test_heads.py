"""Outputs made by hand become the boxes that they mean, for every head."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from detectors.backends.base import BOXES_MOST, Card, HeadSpec, InputSpec, ModelBroken
from detectors.backends.heads import HEADS, make_head
from detectors.detections import Detections
from detectors.geometry import Letterbox

WH = (64, 64)
CELLS = 64 + 16 + 4
WHOLE = Letterbox.fit(WH, WH)
# One person in the middle of the left half, 16×32 pixels, and one car of 32×16 below right.
PERSON = (16.0, 32.0, 16.0, 32.0)
CAR = (48.0, 56.0, 32.0, 16.0)
EXPECTED = Detections.of([((0.125, 0.25, 0.375, 0.75), 0.9, "person"), ((0.5, 0.75, 1.0, 1.0), 0.6, "car")])


def card(kind: str, labels: Sequence[str] = ("person", "car", "dog"), **head: object) -> Card:
    return Card(
        name="hand", version="1", backend="auto", file="hand.onnx", licence="none", labels=tuple(labels),
        input=InputSpec(width_px=WH[0], height_px=WH[1]), head=HeadSpec(kind=kind, **head),  # type: ignore[arg-type]
    )  # fmt: skip


def corners(box: tuple[float, ...]) -> list[float]:
    x, y, w, h = box
    return [x - w / 2, y - h / 2, x + w / 2, y + h / 2]


def yolov5() -> list[np.ndarray]:
    out = np.zeros((1, 3 * CELLS, 8), np.float32)
    out[0, 7] = [*PERSON, 0.9, 1.0, 0.05, 0]
    # The same person from a neighbouring anchor, less sure: suppressed.
    out[0, 8] = [17, 32, 16, 32, 0.8, 1.0, 0, 0]
    out[0, 200] = [*CAR, 0.8, 0, 0.75, 0.1]
    # Sure that there is something, and not of what; and the other way round.
    out[0, 201], out[0, 202] = [*CAR, 1, 0.05, 0.05, 0.05], [*CAR, 0.05, 1, 1, 1]
    return [out]


def yolov8() -> list[np.ndarray]:
    out = np.zeros((1, 7, CELLS), np.float32)
    out[0, :, 7] = [*PERSON, 0.9, 0.05, 0]
    out[0, :, 8] = [17, 32, 16, 32, 0.7, 0, 0]
    out[0, :, 83] = [*CAR, 0, 0.6, 0.09]
    return [out]


def yolox() -> list[np.ndarray]:
    out = np.zeros((1, CELLS, 8), np.float32)
    # Cell (2, 4) of stride 8 begins at 16, 32; cell (1, 1) of stride 32 at 32, 32.
    out[0, 4 * 8 + 2] = [0, 0, np.log(2), np.log(4), 0.9, 1, 0, 0]
    out[0, 64 + 16 + 3] = [0.5, 0.75, 0, np.log(0.5), 0.8, 0, 0.75, 0.1]
    return [out]


def nanodet_levels() -> list[np.ndarray]:
    """Scores then distributions, level by level, with distances of whole strides."""
    scores = [np.zeros((1, cells, 3), np.float32) for cells in (64, 16, 4)]
    sides = [np.zeros((1, cells, 4, 8), np.float32) for cells in (64, 16, 4)]
    # Stride 16, cell (0, 1): centre 8, 24. Stride 32, cell (1, 1): centre 48, 48.
    scores[1][0, 4, 0], scores[2][0, 3, 1] = 0.9, 0.6
    for distribution, stride, distances in (
        (sides[1][0, 4], 16, (0, 8, 16, 24)),
        (sides[2][0, 3], 32, (16, 0, 16, 16)),
    ):
        for side, distance in zip(distribution, distances, strict=True):
            below, part = divmod(distance / stride, 1)
            side[:] = -50
            side[int(below)], side[int(below) + 1] = np.log(1 - part + 1e-9), np.log(part + 1e-9)
    return [*scores, *(one.reshape(1, -1, 32) for one in sides)]


def rows(*, fractions: bool = False) -> list[np.ndarray]:
    out = np.zeros((1, 300, 6), np.float32)
    boxes = [list(np.array(box) / 64) if fractions else corners(box) for box in (CAR, PERSON)]
    # Not in order, and the second is under the floor.
    out[0, 0], out[0, 1], out[0, 2] = [*boxes[0], 0.6, 1], [*boxes[0], 0.09, 2], [*boxes[1], 0.9, 0]
    return [out]


def rtdetr() -> list[np.ndarray]:
    out = np.zeros((1, 300, 7), np.float32)
    out[0, 9], out[0, 3] = [*np.array(PERSON) / 64, 0.9, 0.01, 0], [*np.array(CAR) / 64, 0, 0.6, 0.05]
    return [out]


def detr(*, no_object: bool = False) -> list[np.ndarray]:
    logits = np.full((1, 100, 3 + no_object), -20, np.float32)
    boxes = np.zeros((1, 100, 4), np.float32)
    boxes[0, 5], boxes[0, 2] = np.array(PERSON) / 64, np.array(CAR) / 64
    if no_object:
        logits[0, :, 3] = 20
        logits[0, 5], logits[0, 2] = np.log([0.9, 1e-9, 1e-9, 0.1]), np.log([1e-9, 0.6, 1e-9, 0.4])
    else:
        logits[0, 5, 0], logits[0, 2, 1] = np.log(0.9 / 0.1), np.log(0.6 / 0.4)
    return [logits, boxes]


def dfine() -> list[np.ndarray]:
    labels, boxes, scores = (
        np.zeros((1, 300), np.int64),
        np.zeros((1, 300, 4), np.float32),
        np.zeros((1, 300), np.float32),
    )
    for query, (box, score, label) in enumerate([(CAR, 0.6, 1), (PERSON, 0.9, 0), (CAR, 0.05, 2)]):
        labels[0, query], boxes[0, query], scores[0, query] = label, corners(box), score
    return [labels, boxes, scores]


NANODET = [1, 2, 0, 4, 5, 3]
"""Another order than the head's own."""
CASES = {
    "yolov5": (card("yolov5"), yolov5()),
    "yolov8": (card("yolov8"), yolov8()),
    "yolov8 transposed": (card("yolov8"), [yolov8()[0].transpose(0, 2, 1)]),
    "yolox": (card("yolox"), yolox()),
    "end2end": (card("end2end"), rows()),
    "rtdetr-top": (card("rtdetr-top"), rows(fractions=True)),
    "rtdetr": (card("rtdetr"), rtdetr()),
    "detr": (card("detr"), detr()),
    "detr with no-object": (card("detr"), detr(no_object=True)),
    "dfine": (card("dfine"), dfine()),
    "dfine, other order": (card("dfine"), dfine()[::-1]),
    "dfine, narrower numbers": (card("dfine"), [dfine()[0].astype(np.int32), *dfine()[1:]]),
}


def decode(which: Card, outputs: Sequence[np.ndarray], letterbox: Letterbox = WHOLE) -> Detections:
    return make_head(which, [output.shape for output in outputs]).decode(outputs, letterbox)


def test_every_head_has_a_case() -> None:
    assert {which.head.kind for which, _ in CASES.values()} | {"nanodet"} == set(HEADS)


@pytest.mark.parametrize("name", CASES)
def test_outputs_become_boxes(name: str) -> None:
    found = decode(*CASES[name])
    assert found.label == EXPECTED.label
    assert found.xyxy == pytest.approx(EXPECTED.xyxy, abs=1e-5)
    assert found.score == pytest.approx(EXPECTED.score, abs=1e-5)


@pytest.mark.parametrize("name", CASES)
def test_half_precision_is_as_good(name: str) -> None:
    which, outputs = CASES[name]
    found = decode(which, [one.astype(np.float16) if one.dtype == np.float32 else one for one in outputs])
    assert found.label == EXPECTED.label
    assert found.xyxy == pytest.approx(EXPECTED.xyxy, abs=0.01)


@pytest.mark.parametrize("name", CASES)
def test_an_ignored_class_is_never_told(name: str) -> None:
    which, outputs = CASES[name]
    found = decode(card(which.head.kind, ("", "car", "dog")), outputs)
    assert found.label == ("car",)


@pytest.mark.parametrize("name", CASES)
def test_nothing_seen_is_nothing(name: str) -> None:
    which, outputs = CASES[name]
    empty = [np.full_like(one, -20) if one.shape == (1, 100, 3) else np.zeros_like(one) for one in outputs]
    if name == "detr with no-object":
        empty[0][..., 3] = 20
    assert len(decode(which, empty)) == 0


@pytest.mark.parametrize("name", CASES)
def test_the_letterbox_is_undone(name: str) -> None:
    # 128×64 fills the middle 64×32: the person reaches over its whole height.
    found = decode(*CASES[name], Letterbox.fit((128, 64), WH))
    assert found.xyxy[0] == pytest.approx([0.125, 0.0, 0.375, 1.0], abs=1e-5)


@pytest.mark.parametrize("merged", [False, True])
def test_nanodet_sums_its_distributions(merged: bool) -> None:
    levels = nanodet_levels()
    whole = [np.concatenate([np.concatenate(levels[:3], 1), np.concatenate(levels[3:], 1)], axis=2)]
    found = decode(card("nanodet", bins=8), whole if merged else [levels[index] for index in NANODET])
    assert found.label == ("person", "car")
    # Centre 8, 24 less 0 and 8, plus 16 and 24; centre 48, 48 less 16 and 0, plus 16 and 16.
    assert found.xyxy * 64 == pytest.approx(np.array([[8, 16, 24, 48], [32, 48, 64, 64]]), abs=0.01)


@pytest.mark.parametrize("name", CASES)
def test_outputs_of_another_model_are_refused(name: str) -> None:
    with pytest.raises(ModelBroken, match=r"hand 1: expected outputs .* head with 3 labels, got \(.*9, 9\)"):
        make_head(CASES[name][0], [(1, 9, 9)])


def test_a_class_beyond_the_labels_is_said() -> None:
    with pytest.raises(ValueError, match="expected 0 to 1, as many as the card has labels, got 0 to 2"):
        out = rows()[0]
        out[0, 1, 4] = 0.5
        decode(card("end2end", ("person", "car")), [out])


@pytest.mark.parametrize("kind", ["yolov8", "yolov5", "yolox", "end2end", "rtdetr"])
def test_a_model_that_is_sure_of_everything_is_held(kind: str) -> None:
    name = next(name for name in CASES if name.split()[0] == kind)
    which, outputs = CASES[name]
    found = decode(which, [np.full_like(outputs[0], 1.0)])
    assert 0 < len(found) <= BOXES_MOST
    assert ((found.xyxy >= 0) & (found.xyxy <= 1)).all() and (found.score <= 1).all()


def test_a_size_beyond_measure_is_held_to_the_picture() -> None:
    out = yolox()[0]
    out[0, 4 * 8 + 2, 2:4] = 300
    assert np.isfinite(decode(card("yolox"), [out]).xyxy).all()


def test_an_unknown_head_names_those_there_are() -> None:
    with pytest.raises(ModelBroken, match=r"head: expected one of .*yolov8.*, got 'yolo9000'; mend the model card"):
        make_head(card("yolo9000"), [(1, 7, CELLS)])


def test_a_card_that_ignores_everything_is_broken() -> None:
    with pytest.raises(ModelBroken, match="expected at least one, got none or only ignored ones"):
        make_head(card("yolov8", ("", "", "")), [(1, 7, CELLS)])
