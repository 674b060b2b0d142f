"""Time of which nothing is known makes nothing fire: pictures that were dropped, a source that begins anew much later.

A scene in which the kind fires is cut: what lies between two of its pictures is not seen, for a long time. Two pictures
later nothing may have fired that the same scene would not have fired by two pictures after the cut.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import pytest

from alerts.engine import Engine
from streams.observations import Detections, Observation
from tests.alerts.actors import line, of
from tests.alerts.histories import GATE, GENERAL, START, at, dropped, fold, nobody, seen, walk, walker
from tests.alerts.kept import moved
from tests.alerts.test_rehearsal_kinds import SCENES

PICTURES = ("presence", "crossing", "dwell", "crowd", "stopped", "wrong_way", "absence", "person_down", "left")
LASTING: dict[str, dict[str, Any]] = {"presence": {"hold_s": 3.0}, "crowd": {"hold_s": 3.0}, "absence": {"hold_s": 3.0}}
Hole = Callable[[Sequence[Detections], Sequence[Detections], float], list[Observation]]


def lost(first: Sequence[Detections], then: Sequence[Detections], hole_s: float) -> list[Observation]:
    """Pictures were dropped in between."""
    ends_s = (first[-1].captured_at - START).total_seconds()
    begins_s = ends_s + hole_s
    late = [
        msgspec.structs.replace(one, captured_at=at(begins_s + 0.2 * i), sequence=round(begins_s * 10) + 2 * i)
        for i, one in enumerate(then)
    ]
    return [*first, dropped(begins_s - 0.2), *late]


def begun_anew(first: Sequence[Detections], then: Sequence[Detections], hole_s: float) -> list[Observation]:
    """The source began a new session, and its clock is further on."""
    ends_s = (first[-1].captured_at - START).total_seconds()
    by = at(ends_s + hole_s) - (then[0].captured_at - START)
    return [*first, *moved(then, camera=GATE, deployment=GENERAL, to=by, session=2)]


def fired(kind: str, history: Sequence[Observation]) -> int:
    return len(fold(Engine([of(kind, **{**SCENES[kind][0], **LASTING.get(kind, {})})]), history).events)


@pytest.mark.parametrize("kind", PICTURES)
@pytest.mark.parametrize("hole", [lost, begun_anew])
@pytest.mark.parametrize("hole_s", [60.0, 3600.0])
def test_a_hole_fires_nothing(kind: str, hole: Hole, hole_s: float) -> None:
    scene = [one for one in SCENES[kind][1] if isinstance(one, Detections)]
    assert fired(kind, [*scene, *nobody(30, 60)]) or kind == "left"
    for cut in range(3, len(scene) - 3, max(1, len(scene) // 12)):
        at_most = fired(kind, scene[: cut + 2])
        for on in range(cut, len(scene) - 2, max(1, len(scene) // 6)):
            history = hole(scene[:cut], scene[on : on + 2], hole_s)
            assert fired(kind, history) <= at_most, (cut, on)


def test_who_was_on_the_other_side_before_a_hole_has_crossed_nothing() -> None:
    here, there = walk(0, 2, 0.8, 0.52), walk(2.2, 5, 0.49, 0.2)
    draft = of("crossing", zones=[line()], **SCENES["crossing"][0])
    assert fold(Engine([draft]), [*here, *there]).events
    assert not fold(Engine([draft]), begun_anew(here, there, 60.0)).events
    assert not fold(Engine([draft]), lost(here, there, 60.0)).events


def test_the_word_of_a_later_hole_is_not_lost_with_an_earlier_one() -> None:
    here, between, there = walk(0, 2, 0.8, 0.52), seen(10.0, walker(0.52)), walk(62, 65, 0.49, 0.2)
    draft = of("crossing", zones=[line()], **SCENES["crossing"][0])
    # Capture's word overtakes the pictures: both holes are told before the picture between them.
    words: list[Observation] = [msgspec.structs.replace(dropped(seconds), deployment=None) for seconds in (9.0, 60.0)]
    history: list[Observation] = [*here, *words, between, *there]
    assert not fold(Engine([draft]), history).events
    assert fold(Engine([draft]), [one for one in history if isinstance(one, Detections)]).events
