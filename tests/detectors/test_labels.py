"""The label tree."""

from __future__ import annotations

import pytest

from detectors.labels import COCO_80, LABELS, UnknownLabel, check, expand, family, is_a


def test_coco_has_80_classes_of_ours() -> None:
    assert len(COCO_80) == len(set(COCO_80)) == 80
    check(COCO_80)


# Spot checks of the order, from COCO's own list of categories.
@pytest.mark.parametrize(
    "index, label",
    [(0, "person"), (1, "bicycle"), (2, "car"), (4, "aircraft"), (5, "bus"), (7, "truck"), (16, "dog"),
     (24, "backpack"), (28, "suitcase"), (39, "bottle"), (46, "banana"), (56, "chair"), (62, "tv"), (67, "phone"),
     (79, "toothbrush")],
)  # fmt: skip
def test_coco_is_in_the_models_order(index: int, label: str) -> None:
    assert COCO_80[index] == label


@pytest.mark.parametrize(
    "label, ancestor, expected",
    [
        ("car", "vehicle", True),
        ("vehicle", "vehicle", True),
        ("vehicle", "car", False),
        ("dog", "animal", True),
        ("person", "animal", False),
        ("backpack", "bag", True),
    ],
)
def test_is_a(label: str, ancestor: str, expected: bool) -> None:
    assert is_a(label, ancestor) is expected


@pytest.mark.parametrize("label", sorted(LABELS))
def test_everything_is_part_of_its_family(label: str) -> None:
    assert is_a(label, family(label))
    assert label in expand(label)


@pytest.mark.parametrize(
    "label, hint",
    [("persn", "did you mean person"), ("Vehicle", "vehicle"), ("traffic light", "traffic-light"), ("qqq", "broadest")],
)
def test_an_unknown_label_lists_near_ones(label: str, hint: str) -> None:
    with pytest.raises(UnknownLabel, match=hint):
        expand(label)
    with pytest.raises(ValueError, match="is not one of"):
        is_a("person", label)


def test_a_label_of_a_newer_model_is_a_family_of_its_own() -> None:
    assert family("scooter-from-the-future") == "scooter-from-the-future"
