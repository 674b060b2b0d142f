"""Our own label tree: what every model's classes are mapped to, and what rules ask for. Pure.

A rule that asks for ``vehicle`` means every label below it; a model gives the most exact label that it knows.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from functools import cache
from typing import Final

APPEARED: Final = "appeared-object"
VANISHED: Final = "vanished-object"
"""What no model gives: a static region that came to stand, or went."""

_CHILDREN: dict[str, tuple[str, ...]] = {
    "person": (),
    "vehicle": (
        *("car", "truck", "bus", "motorcycle", "bicycle", "train", "boat", "aircraft"),
        *("van", "tricycle", "forklift", "excavator", "drone"),
    ),
    "animal": ("bird", "cat", "dog", "horse", "sheep", "cow", "elephant", "bear", "zebra", "giraffe"),
    "bag": ("backpack", "handbag", "suitcase"),
    "street-furniture": ("traffic-light", "fire-hydrant", "stop-sign", "parking-meter", "bench"),
    "sports-gear": (
        "frisbee",
        "skis",
        "snowboard",
        "ball",
        "kite",
        "baseball-bat",
        "baseball-glove",
        "skateboard",
        "surfboard",
        "tennis-racket",
    ),
    "tableware": ("bottle", "wine-glass", "cup", "fork", "knife", "spoon", "bowl"),
    "food": (
        "banana",
        "apple",
        "sandwich",
        "orange",
        "broccoli",
        "carrot",
        "hot-dog",
        "pizza",
        "donut",
        "cake",
    ),
    "furniture": ("chair", "couch", "potted-plant", "bed", "dining-table", "toilet"),
    "appliance": (
        "tv",
        "laptop",
        "mouse",
        "remote",
        "keyboard",
        "phone",
        "microwave",
        "oven",
        "toaster",
        "sink",
        "refrigerator",
    ),
    "hazard": ("fire", "smoke", "plume", "haze", "spill", "flood"),
    "waste": ("litter",),
    "protective-gear": ("helmet", "vest", "mask"),
    "weapon": ("gun",),
    "static-region": ("appeared-object", "vanished-object"),
    "face": (),
    "licence-plate": (),
    "thing": ("umbrella", "tie", "book", "clock", "vase", "scissors", "teddy-bear", "hair-drier", "toothbrush"),
}

_PARENT = {child: parent for parent, children in _CHILDREN.items() for child in children}

LABELS: frozenset[str] = frozenset(_CHILDREN) | frozenset(_PARENT)
"""Every term there is."""

# The 80 classes of COCO in the order of a model's outputs (category ids 1–90 with the unused left out).
# Source: https://cocodataset.org, instances_val2017.json.
COCO_80: tuple[str, ...] = (
    *("person", "bicycle", "car", "motorcycle", "aircraft", "bus", "train", "truck", "boat", "traffic-light"),
    *("fire-hydrant", "stop-sign", "parking-meter", "bench", "bird", "cat", "dog", "horse", "sheep", "cow"),
    *("elephant", "bear", "zebra", "giraffe", "backpack", "umbrella", "handbag", "tie", "suitcase", "frisbee"),
    *("skis", "snowboard", "ball", "kite", "baseball-bat", "baseball-glove", "skateboard", "surfboard"),
    *("tennis-racket", "bottle", "wine-glass", "cup", "fork", "knife", "spoon", "bowl", "banana", "apple"),
    *("sandwich", "orange", "broccoli", "carrot", "hot-dog", "pizza", "donut", "cake", "chair", "couch"),
    *("potted-plant", "bed", "dining-table", "toilet", "tv", "laptop", "mouse", "remote", "keyboard", "phone"),
    *("microwave", "oven", "toaster", "sink", "refrigerator", "book", "clock", "vase", "scissors", "teddy-bear"),
    *("hair-drier", "toothbrush"),
)

LABEL_SETS: dict[str, tuple[str, ...]] = {"coco-80": COCO_80}
"""Label lists that a model card may name instead of writing them out."""


class UnknownLabel(ValueError):
    """A term that the tree does not have; the text lists the nearest ones."""

    def __init__(self, label: str) -> None:
        near = difflib.get_close_matches(label.lower().replace(" ", "-"), sorted(LABELS), n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(near)}?" if near else f"the broadest are {', '.join(sorted(_CHILDREN))}"
        super().__init__(f"label: {label!r} is not one of the {len(LABELS)} known labels; {hint}")
        self.label = label


def check(labels: Iterable[str]) -> None:
    """Raises ``UnknownLabel`` for the first of ``labels`` that the tree does not have."""
    for label in labels:
        if label not in LABELS:
            raise UnknownLabel(label)


@cache
def expand(label: str) -> frozenset[str]:
    """``label`` and everything below it. Raises ``UnknownLabel``.

    >>> sorted(expand("bag"))
    ['backpack', 'bag', 'handbag', 'suitcase']
    """
    check([label])
    return frozenset({label}).union(*(expand(child) for child in _CHILDREN.get(label, ())))


def is_a(label: str, ancestor: str) -> bool:
    """Whether ``label`` is ``ancestor`` or below it. Raises ``UnknownLabel`` for either.

    >>> is_a("truck", "vehicle"), is_a("vehicle", "truck")
    (True, False)
    """
    check([label])
    return label in expand(ancestor)


def family(label: str) -> str:
    """The broadest term above ``label``; a label that the tree does not have is a family of its own.

    >>> family("truck"), family("person")
    ('vehicle', 'person')
    """
    while label in _PARENT:
        label = _PARENT[label]
    return label
