"""Other people's class names in our labels. Pure.

COCO says "airplane", Pascal VOC "aeroplane", somebody's data set "Aircraft_01": a rule that asks for ``aircraft`` means
all of them. What is not certain is left to a person: "no-helmet" is no helmet.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from detectors.labels import LABELS

IGNORED = ""
"""In place of a label: the class is never told."""
REST = "*"
"""In place of a class name: every class that has no label otherwise."""

_ALSO: dict[str, str] = {
    "person": "people pedestrian human man woman boy girl child adult worker rider cyclist passenger",
    "vehicle": "automotive land-vehicle",
    "car": "automobile sedan suv taxi cab hatchback",
    "van": "minivan",
    "truck": "lorry pickup pickup-truck dump-truck trailer",
    "bus": "minibus coach",
    "motorcycle": "motorbike motor moped scooter",
    "bicycle": "bike cycle",
    "tricycle": "awning-tricycle rickshaw",
    "train": "tram",
    "boat": "ship vessel ferry yacht canoe kayak",
    "aircraft": "airplane aeroplane plane helicopter",
    "drone": "uav quadcopter",
    "cow": "cattle",
    "bag": "luggage-and-bags",
    "suitcase": "luggage",
    "backpack": "rucksack",
    "handbag": "purse",
    "traffic-light": "traffic-signal",
    "fire-hydrant": "hydrant",
    "ball": "sports-ball football soccer-ball basketball",
    "wine-glass": "wineglass",
    "donut": "doughnut",
    "couch": "sofa",
    "potted-plant": "pottedplant houseplant",
    "dining-table": "diningtable table",
    "tv": "tvmonitor tv-monitor television monitor",
    "phone": "cell-phone cellphone mobile-phone mobile smartphone telephone",
    "remote": "remote-control",
    "keyboard": "computer-keyboard",
    "mouse": "computer-mouse",
    "microwave": "microwave-oven",
    "refrigerator": "fridge",
    "hair-drier": "hair-dryer",
    "fire": "flame wildfire",
    "smoke": "smoking-chimney",
    "plume": "smoke-plume exhaust-plume",
    "haze": "fog smog mist",
    "spill": "oil-spill leak leakage",
    "flood": "flooding",
    "litter": "garbage trash rubbish waste-bag garbage-bag",
    "helmet": "hardhat hard-hat safety-helmet",
    "vest": "safety-vest reflective-vest hi-vis-vest high-visibility-vest",
    "mask": "face-mask",
    "gun": "pistol handgun rifle firearm shotgun",
    "face": "human-face",
    "licence-plate": "plate license-plate number-plate numberplate licenseplate vehicle-registration-plate",
}
_OURS = {name: label for label, names in _ALSO.items() for name in names.split()}


@dataclass(frozen=True, slots=True)
class LabelMap:
    """``labels``: one for each class, in order, ``IGNORED`` where there is none; ``unknown``: each class name without a
    label, with those that come near it.
    """

    labels: tuple[str, ...]
    unknown: Mapping[str, tuple[str, ...]]


def map_labels(names: Sequence[str], given: Mapping[str, str] | None = None) -> LabelMap:
    """Our label of each class name. ``given`` overrides by class name, or for the ``REST``; its labels may be ``-`` for
    ``IGNORED``.

    >>> map_labels(["airplane", "Traffic_Light", "no-helmet"]).labels
    ('aircraft', 'traffic-light', '')
    """
    wanted = {plain(name): label for name, label in (given or {}).items()}
    labels = tuple(_label(name, wanted) for name in names)
    unknown = {name: near(name) for name, label in zip(names, labels, strict=True) if label is None}
    return LabelMap(tuple(label or IGNORED for label in labels), unknown)


def plain(name: str) -> str:
    """A class name as our labels are written.

    >>> plain(" Cell_Phone "), plain("TrafficLight")
    ('cell-phone', 'traffic-light')
    """
    if name == REST:
        return name
    apart = re.sub(r"(?<=[a-z])(?=[A-Z])", "-", name.strip())
    return re.sub(r"[^0-9a-z]+", "-", apart.lower()).strip("-")


def ours(name: str) -> str | None:
    """Our label of one class name; None: not certain.

    >>> ours("Motorbikes"), ours("crane")
    ('motorcycle', None)
    """
    word = plain(name)
    for form in (word, word.removesuffix("s"), word.removesuffix("es")):
        label = form if form in LABELS else _OURS.get(form)
        if label:
            return label
    return None


def near(name: str) -> tuple[str, ...]:
    """At most three labels whose own or other names are spelt alike, the nearest first."""
    known = sorted(LABELS | set(_OURS))
    found = difflib.get_close_matches(plain(name), known, n=6, cutoff=0.7)
    labels = [word if word in LABELS else _OURS[word] for word in found]
    return tuple(dict.fromkeys(labels))[:3]


def _label(name: str, given: Mapping[str, str]) -> str | None:
    label = given.get(plain(name))
    if label is None:
        label = ours(name)
    if label is None:
        label = given.get(REST)
    if label is None:
        return None
    return IGNORED if label in ("-", IGNORED) else ours(label)
