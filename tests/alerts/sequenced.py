"""Two cameras of one site with a lane on either side of the picture, and an alarm for who goes from left to right."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

from alerts.events import Event
from alerts.rehearsal_items import Item, Rehearsal
from alerts.rehearsal_sequence import rehearse_sequence
from alerts.rules.config import EmbeddedRule, EmbeddedZone, Point
from alerts.sequences import Sequences
from streams.observations import Observation, Tick
from tests.alerts.histories import GATE, GENERAL, START, VIEW, at, rule, tick, walk
from tests.alerts.kept import moved
from tests.alerts.test_rehearsal import reader

YARD = UUID(int=51)
CROSSES = walk(0, 8, 0.1, 0.9)


def lane(number: int, x: tuple[float, float], *cameras: UUID, **changes: Any) -> EmbeddedRule:
    """Somebody between the two ``x``, on each of ``cameras``."""
    corners: list[Point] = [(x[0], 0.0), (x[1], 0.0), (x[1], 1.0), (x[0], 1.0)]
    zones = [
        EmbeddedZone(uid=UUID(int=10 * number + i), camera=camera, view=VIEW, name=f"Lane {number}", points=corners)
        for i, camera in enumerate(cameras)
    ]
    own = {"rule": UUID(int=number), "version": UUID(int=number + 100), "name": f"Lane {number}", "zones": zones}
    return rule(**{"hold_s": 0.4, "rearm_s": 2.0, "min_travel": 0.01, **own, **changes})


LEFT_LANE, RIGHT_LANE = lane(60, (0.0, 0.4), GATE, YARD), lane(70, (0.6, 1.0), GATE, YARD)


def alarm(**changes: Any) -> EmbeddedRule:
    """First the left lane, then the right one."""
    waits = {"first": str(LEFT_LANE.rule), "then": str(RIGHT_LANE.rule), "within_s": 60.0, "rearm_s": 0.0}
    own = {"kind": "sequence", "rule": UUID(int=80), "version": UUID(int=180), "severity": "critical"}
    return rule(**{**waits, **own, "zones": LEFT_LANE.zones, **changes})


def beside(at_gate: Sequence[Observation], at_yard: Sequence[Observation]) -> list[Observation]:
    """One log of both cameras. The second one's ticks are left out: a log has one clock."""
    yard = moved(at_yard, camera=YARD, deployment=GENERAL, to=START)
    both = [*enumerate(at_gate), *((number + 0.5, one) for number, one in enumerate(yard) if not isinstance(one, Tick))]
    log = [one for _, one in sorted(both, key=lambda pair: pair[0])]
    ends_s = (max(map(_time, log)) - START).total_seconds()
    return [*log, *(tick(ends_s + 5 + i) for i in range(3))]


def _time(one: Any) -> datetime:
    at: datetime = one.captured_at if hasattr(one, "captured_at") else one.at
    return at


def sequences_of(fired: Iterable[Event], rules: Sequence[EmbeddedRule]) -> list[Event]:
    """What the second fold makes live of ``fired``, in whatever order it comes."""
    fold = Sequences(rules)
    for event in fired:
        fold.step(event)
    return [event for event in fold.advance(at(100_000)) if event.rule_version == rules[-1].version]


def in_order(event: Event) -> tuple[datetime, UUID]:
    return event.happened_at, event.uid


def rehearsed_sequence(
    root: Path, draft: EmbeddedRule, *, from_s: float = -60, until_s: float = 3600, **more: Any
) -> list[Item]:
    """``draft`` over both cameras' archive, with the two lanes as they are."""
    given = {"sources": [LEFT_LANE, RIGHT_LANE], "cameras": [GATE, YARD], **more}
    what = Rehearsal(draft=draft, from_at=at(from_s), until_at=at(until_s), **given)
    return list(rehearse_sequence(what, reader(root)))
