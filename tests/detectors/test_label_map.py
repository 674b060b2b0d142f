"""Other people's class names in our labels."""

from __future__ import annotations

import pytest

from detectors.label_map import _ALSO, _OURS, map_labels, near, ours, plain
from detectors.labels import COCO_80, LABELS

# As COCO and Ultralytics write them.
COCO_NAMES = [
    "person",
    "bicycle",
    "car",
    "motorcycle",
    "airplane",
    "bus",
    "train",
    "truck",
    "boat",
    "traffic light",
    "fire hydrant",
    "stop sign",
    "parking meter",
    "bench",
    "bird",
    "cat",
    "dog",
    "horse",
    "sheep",
    "cow",
    "elephant",
    "bear",
    "zebra",
    "giraffe",
    "backpack",
    "umbrella",
    "handbag",
    "tie",
    "suitcase",
    "frisbee",
    "skis",
    "snowboard",
    "sports ball",
    "kite",
    "baseball bat",
    "baseball glove",
    "skateboard",
    "surfboard",
    "tennis racket",
    "bottle",
    "wine glass",
    "cup",
    "fork",
    "knife",
    "spoon",
    "bowl",
    "banana",
    "apple",
    "sandwich",
    "orange",
    "broccoli",
    "carrot",
    "hot dog",
    "pizza",
    "donut",
    "cake",
    "chair",
    "couch",
    "potted plant",
    "bed",
    "dining table",
    "toilet",
    "tv",
    "laptop",
    "mouse",
    "remote",
    "keyboard",
    "cell phone",
    "microwave",
    "oven",
    "toaster",
    "sink",
    "refrigerator",
    "book",
    "clock",
    "vase",
    "scissors",
    "teddy bear",
    "hair drier",
    "toothbrush",
]
VOC_NAMES = [
    "aeroplane",
    "bicycle",
    "bird",
    "boat",
    "bottle",
    "bus",
    "car",
    "cat",
    "chair",
    "cow",
    "diningtable",
    "dog",
    "horse",
    "motorbike",
    "person",
    "pottedplant",
    "sheep",
    "sofa",
    "train",
    "tvmonitor",
]


def test_cocos_names_are_our_coco_list() -> None:
    assert map_labels(COCO_NAMES).labels == COCO_80
    assert map_labels([name.replace(" ", "_").title() for name in COCO_NAMES]).labels == COCO_80


def test_pascals_names_are_all_known() -> None:
    found = map_labels(VOC_NAMES)
    assert not found.unknown
    assert found.labels[:3] == ("aircraft", "bicycle", "bird") and found.labels[-1] == "tv"


@pytest.mark.parametrize(
    "name, label",
    [("Person", "person"), ("people", "person"), ("Fire", "fire"), ("smoke", "smoke"), ("Hardhat", "helmet"),
     ("Safety Vest", "vest"), ("License_Plate", "licence-plate"), ("Cars", "car"), ("Buses", "bus"),
     ("Land vehicle", "vehicle"), ("  TRUCK ", "truck"), ("TrafficLight", "traffic-light"), ("handgun", "gun")],
)  # fmt: skip
def test_names_that_are_certain(name: str, label: str) -> None:
    assert ours(name) == label


# The opposite of a thing is not the thing, and half a name is not the name.
@pytest.mark.parametrize(
    "name", ["no-helmet", "NO-Hardhat", "without mask", "crane", "fire truck", "car wheel", "", "0"]
)
def test_names_that_are_not_certain_are_left_to_a_person(name: str) -> None:
    assert ours(name) is None


def test_unknown_names_come_with_near_ones() -> None:
    found = map_labels(["person", "persn", "qqqq"])
    assert found.labels == ("person", "", "")
    assert found.unknown == {"persn": ("person",), "qqqq": ()}
    assert near("hard hatt") == ("helmet",)


def test_what_is_given_comes_first() -> None:
    found = map_labels(["person", "crane", "no helmet", "car"], {"Crane": "excavator", "person": "-", "*": "-"})
    assert (found.labels, dict(found.unknown)) == (("", "excavator", "", "car"), {})


def test_a_given_label_that_nobody_knows_is_unknown() -> None:
    assert list(map_labels(["crane"], {"crane": "cranne"}).unknown) == ["crane"]


def test_every_other_name_leads_to_one_label_of_ours() -> None:
    assert set(_ALSO) <= LABELS
    assert len(_OURS) == sum(len(names.split()) for names in _ALSO.values())
    assert not set(_OURS) & LABELS
    assert all(plain(name) == name for name in _OURS)
