"""Ultralytics' outputs as boxes: which class wins, what is suppressed, what a turned box becomes."""

# ruff: noqa: E402  (a machine without torch must be able to skip this file)
from __future__ import annotations

import math

import numpy as np
import pytest

INSTALL = "needs Ultralytics: ./poliscope install ultralytics"
torch = pytest.importorskip("torch", reason=INSTALL)
pytest.importorskip("detectors.backends.ultralytics_import", reason=INSTALL, exc_type=ImportError)

from detectors.backends.base import ModelBroken
from detectors.backends.ultralytics_boxes import Output
from detectors.detections import Detections
from detectors.geometry import Letterbox
from tests.detectors import yolo

WHOLE = Letterbox.fit((100, 100), (100, 100))
LABELS = ("car", "truck", "")


def raw(*cells: tuple[float, ...]) -> torch.Tensor:
    """One picture: x y w h, a score a class, and what more there is; a row a cell."""
    return torch.tensor(cells).T[None]


def found(
    output: torch.Tensor, task: str = "detect", labels: tuple[str, ...] = LABELS, ended: bool = False
) -> Detections:
    rows = Output(labels, task, ended, 400.0).best(output)
    return Output(labels, task, ended, 400.0).detections(rows[0].numpy(), WHOLE)


def test_a_box_is_a_centre_and_a_size() -> None:
    one = found(raw((50, 40, 20, 10, 0.9, 0.2, 0.1)))
    assert one.label == ("car",) and one.score == pytest.approx([0.9])
    assert one.xyxy == pytest.approx(np.array([[0.4, 0.35, 0.6, 0.45]]))


@pytest.mark.parametrize(
    "scores, label", [((0.3, 0.5, 0.4), ("truck",)), ((0.3, 0.4, 0.5), ()), ((0.09, 0.05, 0.0), ())]
)
def test_the_best_class_wins_and_an_unwanted_one_is_not_told(scores: tuple[float, ...], label: tuple[str, ...]) -> None:
    assert found(raw((50, 50, 20, 20, *scores))).label == label


def test_unwanted_classes_take_no_ones_place() -> None:
    crowd = [(x % 90, x // 10, 5, 5, 0.0, 0.0, 0.9) for x in range(500)]
    assert found(raw(*crowd, (50, 50, 20, 20, 0.2, 0.0, 0.0))).label == ("car",)


@pytest.mark.parametrize("labels, left", [(("car", "truck", ""), 2), (("vehicle", "vehicle", ""), 1)])
def test_boxes_are_suppressed_within_a_label(labels: tuple[str, ...], left: int) -> None:
    assert len(found(raw((50, 50, 20, 20, 0.9, 0, 0), (51, 50, 20, 20, 0, 0.8, 0)), labels=labels)) == left


def test_more_columns_than_classes_are_no_scores() -> None:
    assert found(raw((50, 50, 20, 20, 0.9, 0, 0, 7.0, 8.0)), "segment").score == pytest.approx([0.9])


@pytest.mark.parametrize(
    "angle, xyxy",
    [
        (0.0, (0.3, 0.45, 0.7, 0.55)),
        (math.pi / 2, (0.45, 0.3, 0.55, 0.7)),
        (math.pi / 4, (0.3232, 0.3232, 0.6768, 0.6768)),
        (-math.pi / 4, (0.3232, 0.3232, 0.6768, 0.6768)),
    ],
)
@pytest.mark.parametrize("ended", [False, True])
def test_a_turned_box_becomes_the_upright_one_around_it(ended: bool, angle: float, xyxy: tuple[float, ...]) -> None:
    box = (50.0, 50.0, 40.0, 10.0)
    output = torch.tensor([[(*box, 0.9, 0.0, angle)]]) if ended else raw((*box, 0.9, 0.0, 0.0, angle))
    assert found(output, "obb", ended=ended).xyxy == pytest.approx(np.array([xyxy]), abs=1e-4)


def test_lorries_parked_aslant_are_two() -> None:
    # Side by side at 45 degrees, one metre between them: the upright boxes around them overlap, they do not.
    aside, upright = 11 / math.sqrt(2) / 2, 90 / math.sqrt(2)
    centres = [(50 - aside, 50 + aside), (50 + aside, 50 - aside)]
    assert len(found(raw(*[(*xy, 80, 10, 0.9, 0, 0, math.pi / 4) for xy in centres]), "obb")) == 2
    assert len(found(raw(*[(*xy, upright, upright, 0.9, 0, 0) for xy in centres]))) == 1


def test_an_end_to_end_output_is_only_sorted() -> None:
    rows = torch.tensor(
        [[(10, 10, 30, 30, 0.3, 1.0), (11, 10, 30, 30, 0.8, 1.0), (0, 0, 9, 9, 0.9, 2.0), (0, 0, 9, 9, 0.05, 0)]]
    )
    ended = found(rows, ended=True)
    assert (ended.label, ended.score.tolist()) == (("truck", "truck"), pytest.approx([0.8, 0.3]))


@pytest.mark.parametrize(
    "task, ended, shape, names, fits",
    [
        ("detect", False, (1, 7, 21), 3, True),
        ("detect", False, (1, 7, 21), 0, True),
        ("detect", False, (1, 8, 21), 0, False),
        ("detect", False, (1, 7, 21), 4, False),
        ("detect", False, (1, 7), 0, False),
        ("obb", False, (1, 8, 21), 3, True),
        ("segment", False, (1, 39, 21), 3, True),
        ("pose", False, (1, 7, 21), 3, False),
        ("detect", True, (1, 300, 6), 3, True),
        ("detect", True, (1, 7, 21), 3, False),
        ("obb", True, (1, 300, 7), 3, True),
        ("classify", False, (1, 7, 21), 3, False),
    ],
)
def test_an_output_fits_its_card_or_is_refused(
    task: str, ended: bool, shape: tuple[int, ...], names: int, fits: bool
) -> None:
    card = yolo.card("any.pt", ("car", "truck", "bus"))
    if fits:
        assert Output.fit(card, task, ended, shape, names).task == task
    else:
        with pytest.raises(ModelBroken, match=r"yolo 1: .*expected .*, got "):
            Output.fit(card, task, ended, shape, names)
