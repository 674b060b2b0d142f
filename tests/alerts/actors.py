"""Actors on a picture: who is where at which second. Scenes of the rule kinds' tests are made of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise
from typing import Any, cast
from uuid import UUID

from alerts.engine import Engine, Outcome
from alerts.events import Event
from alerts.rules.config import EmbeddedRule, EmbeddedZone, Point
from alerts.rules.logic import Buildable, Found, Seen
from alerts.rules.registry import read_config, rule_kind
from detectors.tracking import Track
from streams import observations as wire
from streams.observations import Observation
from tests.alerts.histories import GATE, LANE, LANE_CORNERS, START, VIEW, Box, fold, rule, seen

Actor = Callable[[float], Box | None]
Key = tuple[float, float, float]

DOWN_THE_MIDDLE: list[Point] = [(0.5, 0.2), (0.5, 0.9)]
"""A line from top to bottom; its arrow points to the left."""


def goes(
    *keys: Key,
    size: tuple[float, float] = (0.06, 0.2),
    label: str = "person",
    score: float = 0.8,
    jitter: float = 0.0,
    hidden: Iterable[tuple[float, float]] = (),
) -> Actor:
    """Feet at (x, y) at second t for each key, straight and even between them, and on no picture before and after.

    ``size``: width and height of the box; ``jitter``: it trembles by so much; ``hidden``: spans of no sight.
    """
    holes = list(hidden)

    def box(t: float) -> Box | None:
        if not keys[0][0] <= t <= keys[-1][0] or any(start <= t < end for start, end in holes):
            return None
        (t1, x1, y1), (t2, x2, y2) = next(
            (pair for pair in pairwise(keys) if pair[0][0] <= t <= pair[1][0]), (keys[0], keys[0])
        )
        part = (t - t1) / (t2 - t1) if t2 > t1 else 0.0
        shake = jitter * (-1) ** round(t * 5)
        x, y = x1 + part * (x2 - x1) + shake, y1 + part * (y2 - y1) + shake / 2
        return (x - size[0] / 2, y - size[1], x + size[0] / 2, y), score, label

    return box


def film(until_s: float, *actors: Actor, start_s: float = 0.0, step_s: float = 0.2) -> list[wire.Detections]:
    """Analysed pictures from ``start_s`` to ``until_s`` with whoever is on them."""
    times = [round(start_s + i * step_s, 3) for i in range(round((until_s - start_s) / step_s))]
    return [seen(t, *(box for actor in actors if (box := actor(t)) is not None)) for t in times]


def zone(points: list[Point] = LANE_CORNERS, shape: Any = "polygon", uid: UUID = LANE) -> EmbeddedZone:
    return EmbeddedZone(uid=uid, camera=GATE, view=VIEW, name="Lane", shape=shape, points=points)


def line(points: list[Point] = DOWN_THE_MIDDLE) -> EmbeddedZone:
    return zone(points, "line")


def fitting(kind: str) -> EmbeddedZone:
    """A zone as ``kind`` takes it."""
    return zone() if "polygon" in getattr(rule_kind(kind), "shapes", ("polygon",)) else line()


def told(kind: str, history: Iterable[Observation], **changes: Any) -> list[Event]:
    """The events of a rule of ``kind`` over ``history``."""
    return outcome(kind, history, **changes).events


def outcome(kind: str, history: Iterable[Observation], **changes: Any) -> Outcome:
    """All that a rule of ``kind`` leads to over ``history``."""
    return fold(Engine([of(kind, **changes)]), history)


def of(kind: str, **changes: Any) -> EmbeddedRule:
    """A rule of ``kind`` on a fitting zone."""
    return rule(**{"kind": kind, "zones": [fitting(kind)], **changes})


# Logic alone: tracks with numbers of our choosing, where the tracker would not lose anybody.

Step = tuple[int, int, int, float, float]
"""A track's number, the pictures it is on (from, until), and x at the first and the last of them."""


def walks(*steps: Step) -> list[Seen]:
    """Pictures, five a second, with tracks that walk level at y = 0.6."""
    return [picture(i, *_walking(i, steps)) for i in range(max(step[2] for step in steps))]


def _walking(i: int, steps: Iterable[Step]) -> Iterator[Track]:
    for number, first, last, x1, x2 in steps:
        if first <= i < last:
            yield track(number, x1 + (x2 - x1) * (i - first) / (last - 1 - first))


def picture(i: int, *tracks: Track) -> Seen:
    """The ``i``-th picture, five a second."""
    return Seen(at_s=START.timestamp() + i / 5, session=1, sequence=i, tracks=list(tracks), aspect=4 / 3)


def track(number: int, x: float, y: float = 0.6, *, label: str = "person", score: float = 0.8) -> Track:
    """A track whose feet are at (x, y)."""
    return Track(number, (x - 0.03, y - 0.2, x + 0.03, y), score, label, (1, 0), START, 1)


def fired(kind: str, *pictures: Seen, **settings: Any) -> list[Found]:
    """What the logic of ``kind`` alone says to ``pictures``."""
    logic = cast(Buildable, read_config(kind, settings)).build(fitting(kind), None)
    return [found for seen in pictures for found in logic.on_detections(seen)]
