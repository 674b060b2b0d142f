"""``./poliscope bench rules``: what the rules cost, beside the tracker that feeds them.

One core folds 50 cameras with 10 rules each, 20 tracks on every picture, five pictures a second. An evaluation is one
rule's logic on one picture; each is timed alone. The tracks are given, so that nothing but rules is measured.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID

from alerts.engine import Engine
from alerts.rules.config import EmbeddedRule, EmbeddedZone
from alerts.rules.logic import Logic, Seen
from bench.common import report
from bench.log import quantile
from detectors.tracking import Track

START = datetime(2026, 11, 16, tzinfo=UTC)
DEPLOYMENT, VIEW = UUID(int=2), UUID(int=3)
HZ = 5.0
TRACKS = 20
LASTING = ("presence", "dwell", "crowd", "stopped", "person_down", "absence", "appearance")
LINES = ("crossing", "counting")
KINDS = (*LASTING, *LINES, "wrong_way")
RULES = len(KINDS)


def rules(camera: UUID) -> list[EmbeddedRule]:
    """Ten rules of all kinds that follow tracks; zones of four or five corners, either anchor, short and long stays."""
    dice = random.Random(camera.int)
    return [
        EmbeddedRule(
            rule=UUID(int=100 + number),
            version=UUID(int=1000 * camera.int + number),
            name=f"Rule {number}",
            kind=kind,
            severity="medium",
            deployment=DEPLOYMENT,
            zones=[_zone(camera, number, dice, line=kind in LINES)],
            active_from_at=START - timedelta(days=1),
            config=_config(kind, number),
        )
        for number, kind in enumerate(KINDS)
    ]


def _config(kind: str, number: int) -> dict[str, object]:
    common: dict[str, object] = {"labels": ["person"] if number % 2 else ["person", "vehicle"], "rearm_s": 5.0}
    if kind not in LINES and number % 5 == 4:
        common["anchor"] = "overlap"
    return common | ({"hold_s": float(number)} if kind in LASTING else {})


def _zone(camera: UUID, number: int, dice: random.Random, *, line: bool) -> EmbeddedZone:
    x, y, half = dice.uniform(0.3, 0.7), dice.uniform(0.4, 0.7), dice.uniform(0.1, 0.3)
    corners = [(x - half, y - half), (x + half, y - half), (x + half, y + half), (x - half, y + half)]
    if number % 2:
        corners = [(x, y - half), (x + half, y - half / 2), (x + half, y + half / 2), (x, y + half), (x - half, y)]
    if line:
        corners = corners[:2]
    uid = UUID(int=1000 * camera.int + 500 + number)
    return EmbeddedZone(
        uid=uid, camera=camera, view=VIEW, name=f"Zone {number}", points=corners, shape="line" if line else "polygon"
    )


class Crowd:
    """Twenty who walk to and fro, as the tracker would give them."""

    def __init__(self, seed: int) -> None:
        self._dice = random.Random(seed)
        self._who = [
            (self._dice.random(), self._dice.uniform(0.3, 0.95), self._dice.uniform(-0.05, 0.05)) for _ in range(TRACKS)
        ]

    def tracks(self, step: int) -> list[Track]:
        """Those of picture ``step``; everybody who leaves on one side comes in on the other as somebody else."""
        found: list[Track] = []
        for number, (x, y, speed) in enumerate(self._who):
            way = x + speed * step / HZ
            here, round_number = way % 1.0, int(way // 1.0)
            score, label = self._dice.uniform(0.3, 0.9), "person" if number % 4 else "car"
            box = (max(0.0, here - 0.02), y - 0.2, min(1.0, here + 0.02), y)
            found.append(Track(number + TRACKS * (round_number + 100), box, score, label, (1, 0), START, 5))
        return found


def measure(cameras: int, pictures: int) -> tuple[list[float], float]:
    """CPU seconds of each evaluation, sorted, and of all of them.

    CPU, not the clock on the wall: what else runs on this machine is not the rules' doing.
    """
    engine = Engine([rule for number in range(cameras) for rule in rules(UUID(int=number + 10))])
    crowds = [Crowd(number) for number in range(cameras)]
    logics: list[list[Logic]] = [
        [logic for _, _, logic in engine.logics(UUID(int=number + 10))] for number in range(cameras)
    ]
    assert all(len(some) == RULES for some in logics)
    times_s: list[float] = []
    cpu_s = 0.0
    for step in range(pictures):
        at_s = START.timestamp() + step / HZ
        for crowd, some in zip(crowds, logics, strict=True):
            seen = Seen(at_s=at_s, session=1, sequence=step, tracks=crowd.tracks(step), aspect=16 / 9)
            cpu = time.process_time()
            for logic in some:
                began = time.thread_time()
                logic.on_detections(seen)
                times_s.append(time.thread_time() - began)
            cpu_s += time.process_time() - cpu
    return sorted(times_s), cpu_s


def main(arguments: Sequence[str] = ()) -> int:
    """Print the table and the JSON line."""
    parser = argparse.ArgumentParser(prog="bench rules")
    parser.add_argument("--cameras", type=int, default=50)
    parser.add_argument("--pictures", type=int, default=60, help="of each camera, five a second")
    options = parser.parse_args(list(arguments))
    times_s, cpu_s = measure(options.cameras, options.pictures)
    per_s = len(times_s) / cpu_s
    p50_ms, p99_ms = 1000 * quantile(times_s, 0.5), 1000 * quantile(times_s, 0.99)
    rows: list[Sequence[object]] = [
        (f"{RULES} rules × {TRACKS} tracks, {options.cameras} cameras", "value"),
        ("evaluations a second, one core", per_s),
        ("one evaluation, median CPU ms", p50_ms),
        ("one evaluation, p99 CPU ms", p99_ms),
        ("cameras at 5 pictures a second, one core", per_s / RULES / HZ),
    ]
    figures = {"evaluations_per_s": round(per_s), "p99_ms": round(p99_ms, 3), "p50_ms": round(p50_ms, 3)}
    command = f"./poliscope bench rules --cameras {options.cameras} --pictures {options.pictures}"
    report(rows, {**figures, "evaluations": len(times_s)}, command, footage="generated tracks")
    return 0
