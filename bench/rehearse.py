"""``./poliscope bench rehearse``: a week of one camera through a changed rule, and what the archive of it weighs.

The camera is analysed five times a second for a tenth of the time, in bursts of half a minute: people who come, walk
and go, doubtful boxes beside them, some cars that stand there always. Between them it is quiet, with the picture and
the word that come each 10 s. All of it is folded as live and archived by the very writer of ``evaluate``.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec

from alerts.archive import Archive, Query
from alerts.archive_rows import Batch
from alerts.archive_upkeep import size
from alerts.archive_writer import ArchiveWriter
from alerts.engine import Engine
from alerts.rehearsal import rehearse
from alerts.rehearsal_items import Found, Rehearsal, Summary
from alerts.rules.config import EmbeddedRule, EmbeddedZone
from bench.common import report
from detectors.detections import Detections
from detectors.tracking import TrackerConfig
from streams.observations import Detections as Wire
from streams.observations import LogPosition, Observation, SourceState, Tick

CAMERA, DEPLOYMENT, VIEW, ZONE = UUID(int=1), UUID(int=2), UUID(int=3), UUID(int=4)
START = datetime(2026, 11, 16, tzinfo=UTC)
HZ = 5.0
BURST_S, CYCLE_S = 30.0, 300.0
STORE_S = 20.0
Box = tuple[tuple[float, float, float, float], float, str]


def rule(version: int, **config: object) -> EmbeddedRule:
    """A lane in the middle of the picture."""
    points = [(0.35, 0.3), (0.7, 0.3), (0.75, 1.0), (0.3, 1.0)]
    return EmbeddedRule(
        rule=UUID(int=5),
        version=UUID(int=version),
        name="Lane",
        kind="presence",
        severity="high",
        deployment=DEPLOYMENT,
        zones=[EmbeddedZone(uid=ZONE, camera=CAMERA, view=VIEW, name="Lane", points=points)],
        active_from_at=START - timedelta(days=1),
        config=dict(config),
    )


class Street:
    """What the detector says of a made-up street, picture after picture; the same at every run."""

    def __init__(self) -> None:
        self._dice = random.Random(7)
        self._walkers: list[tuple[float, float, float, float]] = []
        self._parked = [(0.05 + 0.11 * i, 0.25 + 0.02 * i) for i in range(3)]

    def burst(self, at_s: float) -> None:
        """One to three people set out."""
        self._walkers = [
            (at_s, self._dice.uniform(-0.1, 0.3), self._dice.uniform(0.5, 0.95), self._dice.uniform(0.02, 0.06))
            for _ in range(self._dice.randint(1, 3))
        ]

    def boxes(self, at_s: float) -> list[Box]:
        """At POSIX-like ``at_s``: those who walk, the cars, and what a detector doubts."""
        dice = self._dice
        found = [self._box(x, y, 0.03, 0.05, dice.uniform(0.5, 0.7), "car") for x, y in self._parked]
        for since_s, x, y, speed in self._walkers:
            if 0 <= (here := x + speed * (at_s - since_s)) <= 1:
                found.append(self._box(here, y, 0.02, 0.1, dice.uniform(0.45, 0.9), "person"))
        for _ in range(dice.randint(0, 3)):
            found.append(self._box(dice.random(), dice.random(), 0.03, 0.06, dice.uniform(0.1, 0.3), "person"))
        return found

    def _box(self, x: float, y: float, width: float, height: float, score: float, label: str) -> Box:
        x, y = x + self._dice.gauss(0, 0.001), y + self._dice.gauss(0, 0.001)
        corners = (x - width, y - height, x + width, y + height)
        x1, y1, x2, y2 = (min(1.0, max(0.0, value)) for value in corners)
        return (x1, y1, x2, y2), score, label


def week(days: float) -> Iterator[Observation]:
    """The log of one camera, ticks included."""
    street, now_s, sequence = Street(), 0.0, 0
    dice = random.Random(8)
    while now_s < days * 86_400:
        street.burst(now_s)
        yield _source("active", now_s, now_s, sequence)
        for step in range(round(BURST_S * HZ)):
            at_s = now_s + step / HZ
            sequence += 5
            yield _picture(street, at_s + dice.uniform(0, 0.01), sequence)
            if step % 5 == 4:
                yield Tick(at=_at(at_s + dice.uniform(0, 0.02)))
        quiet_s = now_s + BURST_S
        for second in range(round(CYCLE_S - BURST_S)):
            if second % 10 == 0:
                sequence += 250
                yield _picture(street, quiet_s + second, sequence)
                yield _source("quiet", quiet_s + second + 0.1, quiet_s, sequence)
            yield Tick(at=_at(quiet_s + second + 0.5 + dice.uniform(0, 0.02)))
        now_s += CYCLE_S


def _at(at_s: float) -> datetime:
    return START + timedelta(seconds=round(at_s, 6))


def _picture(street: Street, at_s: float, sequence: int) -> Wire:
    found = Detections.of(street.boxes(at_s))
    return Wire(
        camera=CAMERA,
        deployment=DEPLOYMENT,
        session=1,
        sequence=sequence,
        captured_at=_at(at_s),
        view=VIEW,
        model="nanodet 1",
        source_wh=(1920, 1080),
        xyxy=found.wire_xyxy(),
        score=found.wire_score(),
        label=list(found.label),
        frame=LogPosition("frames.general", 0, sequence),
    )


def _source(state: str, at_s: float, since_s: float, sequence: int) -> SourceState:
    fields = {"camera": CAMERA, "session": 1, "sequence": sequence, "at": _at(at_s), "since_at": _at(since_s)}
    return msgspec.convert({**fields, "kind": "source", "state": state}, SourceState)


def archive(folder: Path, days: float, live: EmbeddedRule) -> tuple[int, float]:
    """Fold and archive; returns the observations, and the CPU seconds of the writer alone."""
    writer, engine = ArchiveWriter(folder), Engine([live])
    writer.begin(0, 0, "bench")
    count, stored_s, cpu_s = 0, 0.0, 0.0
    for offset, observation in enumerate(week(days)):
        outcome = engine.step(observation)
        began = time.thread_time()
        writer.keep(0, offset, observation, outcome.tracks)
        if isinstance(observation, Tick) and (now_s := observation.at.timestamp()) - stored_s >= STORE_S:
            writer.store(0, offset + 1)
            if now_s // 86_400 > stored_s // 86_400:
                _say(f"a day of the street is folded as live and archived: {observation.at:%a}")
            stored_s = now_s
        cpu_s += time.thread_time() - began
        count = offset + 1
    writer.store(0, count)
    writer.close()
    return count, cpu_s


def rehearsed(folder: Path, what: Rehearsal, name: str) -> tuple[Summary, float, float]:
    """The summary, and the wall and CPU seconds until it was there."""
    _say(f"rehearsing: {name}")
    reading = Archive(folder)

    def read(camera: UUID, from_at: datetime, until_at: datetime, labels: frozenset[str] | None) -> Iterator[Batch]:
        return reading.read(Query(camera, from_at, until_at, labels))

    wall, cpu = time.perf_counter(), time.process_time()
    items = [item for item in rehearse(what, read) if isinstance(item, Found | Summary)]
    assert isinstance(items[-1], Summary)
    return items[-1], time.perf_counter() - wall, time.process_time() - cpu


def _say(text: str) -> None:
    print(f"  {text}", file=sys.stderr, flush=True)


def main(arguments: Sequence[str] = ()) -> int:
    """Print the table and the JSON line."""
    parser = argparse.ArgumentParser(prog="bench rehearse")
    parser.add_argument("--days", type=float, default=7.0, help="of the camera; figures are scaled to a week")
    options = parser.parse_args(list(arguments))
    live, draft = rule(6, hold_s=1.0), rule(7, hold_s=3.0)
    span: dict[str, Any] = {"cameras": [CAMERA], "from_at": START, "until_at": START + timedelta(days=options.days)}
    with tempfile.TemporaryDirectory(prefix="poliscope-bench-") as temporary:
        folder = Path(temporary)
        count, writer_s = archive(folder, options.days, live)
        held = size(Archive(folder).folder)
        ways: dict[str, dict[str, Any]] = {
            "a draft, archived tracks": {},
            "beside the version in force": {"in_force": live},
            "tracked anew": {"tracking": TrackerConfig()},
        }
        found = {name: rehearsed(folder, Rehearsal(draft=draft, **span, **way), name) for name, way in ways.items()}
    to_week = 7 / options.days
    rows: list[Sequence[object]] = [("a week of one camera", "wall s", "CPU s", "fired")]
    rows += [(name, wall * to_week, cpu * to_week, summary.fired) for name, (summary, wall, cpu) in found.items()]
    alone, beside, anew = found.values()
    figures = {
        "week_s": round(alone[2] * to_week, 2),
        "archive_mb_per_camera_day": round(held.bytes / 1e6 / options.days, 2),
        "compared_week_s": round(beside[2] * to_week, 2),
        "tracked_anew_week_s": round(anew[2] * to_week, 2),
        "observations": count,
        "writer_cpu_s_per_partition_day": round(writer_s / options.days, 2),
    }
    report(rows, figures, f"./poliscope bench rehearse --days {options.days:g}", footage="generated, 10 % active")
    return 0
