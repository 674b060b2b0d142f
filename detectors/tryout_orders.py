"""What a model's trial is told and answers. Apart from it, so that whoever orders one loads no runtime."""

from __future__ import annotations

import msgspec

from detectors.backends.base import Card
from detectors.bounded import Bounds
from detectors.registry import AUTO


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """What to try, and within which bounds."""

    weights: str
    card: str = ""
    """A card file that came with it; empty: the model is recognised from its own file."""
    name: str
    what: str = ""
    """What people call the file, which has another name here."""
    labels: tuple[str, ...] = ()
    """As ``detectors.recognise`` takes them; with a card of its own, a label for each class, ``-`` for none."""
    backend: str = AUTO
    device: str = "auto"
    bounds: Bounds = Bounds()


class ClassName(msgspec.Struct, frozen=True):
    """One class of a model: its own name, and our label or nothing."""

    name: str
    label: str


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What the trial found; ``problem`` says why the model is refused, and then nothing else counts."""

    problem: str = ""
    card: Card | None = None
    classes: tuple[ClassName, ...] = ()
    latency_ms: float = 0.0
    """Wall time of one picture of 1280×720, the middle of several."""
    cpu_ms: float = 0.0
    measured_on: str = ""
