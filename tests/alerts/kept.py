"""A small archive of a town's gate, as ``evaluate`` would have kept it: people who walk through the lane."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from uuid import UUID

import msgspec

from alerts.archive_writer import ArchiveWriter
from alerts.engine import Engine
from alerts.rules.config import EmbeddedRule
from streams.observations import Detections, Observation
from tests.alerts.histories import START, nobody, rule, seen, source, tick, walker

PARTITION = 3
WALK_S, GAP_S = 8.0, 60.0


def walks(*stands_s: float) -> list[Observation]:
    """For each of ``stands_s`` a minute of nobody, then somebody who walks into the lane, stops so long, and leaves."""
    log: list[Observation] = [tick(0)]  # the archive's files go by the hour of the log's own ticks
    begin_s = 0.0
    for stand_s in stands_s:
        log += nobody(begin_s, begin_s + GAP_S, 1.0)
        log += _walk(begin_s + GAP_S, stand_s)
        begin_s += GAP_S + WALK_S + stand_s
    return log


def _walk(start_s: float, stand_s: float) -> list[Observation]:
    """From the left edge to the middle, a stop there, and back."""
    steps, stops = round(WALK_S * 2.5), round(stand_s * 5)
    way = [0.05 + 0.3 * step / steps for step in range(steps)]
    way = [*way, *(0.35 + 0.002 * (step % 2) for step in range(stops)), *reversed(way)]
    return [seen(round(start_s + number / 5, 3), walker(x, 0.8)) for number, x in enumerate(way)]


def moved(
    log: Sequence[Observation], *, camera: UUID, deployment: UUID, to: datetime, session: int = 1
) -> list[Observation]:
    """``log`` of another camera, begun at ``to``; what comes after another log needs a higher ``session``."""
    by = to - START
    moved = []
    for one in log:
        times = {name: getattr(one, name) + by for name in ("captured_at", "at", "since_at") if hasattr(one, name)}
        other = {"camera": camera, "deployment": deployment, "session": session}
        own = {name: value for name, value in other.items() if hasattr(one, name)}
        moved.append(msgspec.structs.replace(one, **times, **own))
    return moved


def keep(root: Path, log: Sequence[Observation], rules: Sequence[EmbeddedRule] = ()) -> None:
    """Fold ``log`` and store it below ``root`` with its tracks."""
    writer = ArchiveWriter(root)
    writer.begin(PARTITION, 0, "the log of the test")
    engine = Engine(rules or [rule()])
    for offset, observation in enumerate(log):
        writer.keep(PARTITION, offset, observation, engine.step(observation).tracks)
    writer.store(PARTITION, len(log))
    writer.close()


def keep_untracked(root: Path, log: Sequence[Observation]) -> None:
    """Store ``log`` as a tracker would leave it that follows nobody."""
    writer = ArchiveWriter(root)
    writer.begin(PARTITION, 0, "the log of the test")
    for offset, observation in enumerate(log):
        writer.keep(PARTITION, offset, observation, [] if isinstance(observation, Detections) else None)
    writer.store(PARTITION, len(log))
    writer.close()


def blind(from_s: float, until_s: float) -> list[Observation]:
    """The camera says each ten seconds that it does not see."""
    return [source(from_s + 10 * n, "blind", since=from_s) for n in range(round((until_s - from_s) / 10))]


def ago(**span: float) -> datetime:
    from django.utils import timezone

    return timezone.now() - timedelta(**span)
