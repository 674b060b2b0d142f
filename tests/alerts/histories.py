"""Made-up histories of one camera: the vocabulary of the engine's tests."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from alerts.engine import Engine, Outcome
from alerts.events import Event
from alerts.rules.config import EmbeddedRule, EmbeddedZone, Schedule
from detectors.detections import Detections
from streams import observations as wire
from streams.observations import Dropped, Observation, SourceState, Tick

GATE = UUID(int=1)
GENERAL = UUID(int=2)
LANE = UUID(int=3)
VIEW = UUID(int=4)
RULE = UUID(int=5)
VERSION = UUID(int=6)
START = datetime(2026, 11, 21, 6, 0, tzinfo=UTC)

LANE_CORNERS = [(0.4, 0.0), (0.8, 0.0), (0.8, 1.0), (0.4, 1.0)]

Box = tuple[tuple[float, float, float, float], float, str]


def at(seconds: float) -> datetime:
    """``seconds`` after the history's start."""
    return START + timedelta(seconds=seconds)


def rule(**changes: Any) -> EmbeddedRule:
    """The lane's rule; ``changes`` of its settings, or of the rule itself where it has such a field."""
    fields: dict[str, Any] = {
        "rule": RULE,
        "version": VERSION,
        "name": "Lane",
        "kind": "presence",
        "severity": "high",
        "deployment": GENERAL,
        "zones": [EmbeddedZone(uid=LANE, camera=GATE, view=VIEW, name="Lane", points=LANE_CORNERS)],
        "schedule": Schedule(),
        "active_from_at": START - timedelta(days=1),
    }
    own = {name: changes.pop(name) for name in list(changes) if name in EmbeddedRule.__struct_fields__}
    return EmbeddedRule(**{**fields, "config": json.loads(json.dumps(changes)), **own})


def walker(x: float, y: float = 0.6, *, score: float = 0.8, label: str = "person") -> Box:
    """A person whose feet are at (x, y)."""
    return (x - 0.02, y - 0.2, x + 0.02, y), score, label


def seen(seconds: float, *boxes: Box, session: int = 1, sequence: int | None = None) -> wire.Detections:
    """One analysed picture at ``seconds``; sequences follow the time unless given."""
    found = Detections.of(boxes)
    return wire.Detections(
        camera=GATE,
        deployment=GENERAL,
        session=session,
        sequence=round(seconds * 10) if sequence is None else sequence,
        captured_at=at(seconds),
        view=VIEW,
        model="test 1",
        source_wh=(640, 480),
        xyxy=found.wire_xyxy(),
        score=found.wire_score(),
        label=list(found.label),
    )


def source(seconds: float, state: str, *, since: float | None = None, sequence: int | None = None) -> SourceState:
    """The camera says so at ``seconds``."""
    return SourceState(
        camera=GATE,
        session=1,
        sequence=round(seconds * 10) if sequence is None else sequence,
        at=at(seconds),
        state=state,  # type: ignore[arg-type]
        since_at=at(seconds if since is None else since),
        reason="stalled" if state == "blind" else "",
    )


def dropped(seconds: float, count: int = 1) -> Dropped:
    """Pictures up to ``seconds`` were never analysed."""
    return Dropped(
        camera=GATE,
        deployment=GENERAL,
        session=1,
        sequence=round(seconds * 10),
        captured_at=at(seconds),
        count=count,
        reason="behind",
    )


def tick(seconds: float) -> Tick:
    return Tick(at=at(seconds))


def stays(state: str, start_s: float, until_s: float, *, sequence: int | None = None) -> list[Observation]:
    """The camera says so at ``start_s`` and again each 10 s, as capture does; a tick each second."""
    last = round(start_s * 10) if sequence is None else sequence
    log: list[tuple[float, Observation]] = [
        (start_s + i * 10, source(start_s + i * 10, state, since=start_s, sequence=last))
        for i in range(int((until_s - start_s) // 10) + 1)
    ]
    log += [(second, tick(second)) for second in range(math.ceil(start_s), math.ceil(until_s))]
    return [observation for _, observation in sorted(log, key=lambda one: one[0])]


def walk(start_s: float, until_s: float, x_from: float, x_to: float, step_s: float = 0.2) -> list[wire.Detections]:
    """A person walks from ``x_from`` to ``x_to``, five pictures a second."""
    steps = round((until_s - start_s) / step_s)
    return [
        seen(round(start_s + i * step_s, 3), walker(x_from + (x_to - x_from) * i / max(1, steps - 1)))
        for i in range(steps)
    ]


def nobody(start_s: float, until_s: float, step_s: float = 0.2) -> list[wire.Detections]:
    """Analysed pictures with nobody on them."""
    return [seen(round(start_s + i * step_s, 3)) for i in range(round((until_s - start_s) / step_s))]


def run(history: Iterable[Observation], *rules: EmbeddedRule) -> list[Event]:
    """Fold the whole history in one go."""
    return fold(Engine(rules or [rule()]), history).events


def fold(engine: Engine, history: Iterable[Observation]) -> Outcome:
    """Fold ``history`` into ``engine`` and add up what it led to."""
    total = Outcome()
    for observation in history:
        total += engine.step(observation)
    return total
