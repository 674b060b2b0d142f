"""``./poliscope bench trust``: does every kind of rule fire when it must, and only then?

Every scene and every shared clip is played in real time over RTSP to an installation of its own: capture, log,
detector, evaluation, the rules set as an administrator would. A few at a time, so that no picture need be given up.
What must fire and when, each scene says by its script; of clips it was seen by eye.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np

from bench.cameras import playable
from bench.common import report
from bench.trust_plays import FOOTAGE, Play, footage_plays, scene_plays
from monitor.instance import BASE_DIR, Instance, free_port
from streams import scenes
from streams.log import Log, LogAddresses, open_log
from streams.observations import Detections, Dropped, Measurement, decode_observation, encode_observation
from streams.scenes.trials import LEAD_S, Watching
from streams.topics import OBSERVATIONS, frames

AT_ONCE = 6.0
"""Cameras at a time (see ``Play.weight``): what two cores follow without giving up a picture."""
EARLY_S = 1.0
"""A rule may be so much quicker than its scene's author thought: a foot that a box shows sooner."""
SETTLE_S = 8.0
"""After the last picture: the fold's timers run two seconds behind the log, sequences behind all cameras."""
OPENING_S = 60.0
CONNECTED_S = 5.0
"""A clip has no quiet beginning: what is told of its first seconds hangs on how soon the camera is connected."""
POOL = "general"
"""Of the deployment that an installation begins with."""
GRACE_S = LEAD_S - 2.0
"""On a busy machine a film's last pictures may wait for the detector for so long after its end."""


@dataclass(slots=True)
class Verdict:
    """How one play went. Moments are seconds of its film; delays run from when it was due until it was known."""

    play: Play
    expected: int = 0
    found: int = 0
    false: int = 0
    delays_s: list[float] = field(default_factory=list)
    decided_s: list[float] = field(default_factory=list)
    """From the picture that fired until it was known."""
    remarks: list[str] = field(default_factory=list)

    @property
    def missed(self) -> int:
        """What was due and never came."""
        return self.expected - self.found


def main(arguments: Sequence[str]) -> int:
    """Options: ``--scene NAME …``, ``--kind KIND …``, ``--only scenes|footage``, ``--at-once N``, ``--films DIR``."""
    parser = argparse.ArgumentParser(prog="poliscope bench trust")
    parser.add_argument("--scene", nargs="+", default=[], help="these scenes or clips")
    parser.add_argument("--kind", nargs="+", default=[], help="what has a rule of one of these kinds")
    parser.add_argument("--only", choices=["scenes", "footage"])
    parser.add_argument("--at-once", type=float, default=AT_ONCE, help="cameras that play together")
    parser.add_argument("--films", type=Path, help="keep what is drawn in this folder for the next time")
    given = parser.parse_args(arguments)
    plays = _chosen(given)
    if not plays:
        parser.error("no scene and no clip is called so")
    with tempfile.TemporaryDirectory(prefix="poliscope-bench-") as folder:
        verdicts = measure(plays, given.at_once, Path(folder), given.films or Path(folder) / "films")
    _print(verdicts, "./poliscope bench trust" + "".join(f" {one}" for one in arguments))
    return 0


def _chosen(given: argparse.Namespace) -> list[Play]:
    plays = [] if given.only == "footage" else scene_plays()
    if given.only != "scenes":
        clips = footage_plays()
        plays += clips
        if not clips:
            _say(f"no footage: {FOOTAGE} is not here; scenes only")
    return [
        play
        for play in plays
        if (not given.scene or play.key in given.scene) and (not given.kind or play.kinds & set(given.kind))
    ]


def batches(plays: Sequence[Play], at_once: float) -> list[list[Play]]:
    """Which play together: those of like length, so that none waits long for another; a clip with clips."""
    made: list[list[Play]] = []
    for play in sorted(plays, key=lambda one: (one.scene is None, one.weight < 1, -one.length_s)):
        fits = [
            some
            for some in made
            if (some[0].scene is None) == (play.scene is None)
            and sum(one.weight for one in some) + play.weight <= at_once
            and some[0].length_s >= play.length_s
        ]
        if fits:
            fits[0].append(play)
        else:
            made.append([play])
    return made


# One installation


def measure(plays: Sequence[Play], at_once: float, folder: Path, films_folder: Path) -> list[Verdict]:
    """Play all of ``plays`` and judge them."""
    films = _films(plays, films_folder)
    port = free_port()
    with _installation(folder / "data", port):
        room = _room(folder / "data")
        log = open_log(LogAddresses.from_environment(), name="bench")
        _warm(room, log, films[plays[0].key], port)
        shown: list[tuple[Any, datetime]] = []
        for some in (parts := batches(plays, at_once)):
            names = ", ".join(play.key for play in some)
            _say(f"{parts.index(some) + 1} of {len(parts)}, {max(play.length_s for play in some):.0f} s: {names}")
            shown += _play(room, log, some, [films[play.key] for play in some], port)
        time.sleep(SETTLE_S)
        seen = _watched(log)
        log.close()
        return [_judged(room, posted, epoch, seen) for posted, epoch in shown]


def _films(plays: Sequence[Play], folder: Path) -> dict[str, Path]:
    drawn = [play.scene for play in plays if play.scene is not None]
    if drawn:
        _say(f"drawing {len(drawn)} scenes")
    folder.mkdir(parents=True, exist_ok=True)
    films = scenes.prepare(folder, drawn)
    return films | {play.key: playable(play.film, folder) for play in plays if play.film is not None}


@contextlib.contextmanager
def _installation(data: Path, port: int) -> Iterator[None]:
    options = ["--no-demo", "--json", "--data", str(data), "--port", str(free_port())]
    os.environ["POLISCOPE_CAMERA_ALLOW"] = f"127.0.0.1:{port}"
    up = subprocess.Popen(
        [sys.executable, "-m", "monitor.up", *options],
        cwd=BASE_DIR,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert up.stdout is not None
        if not up.stdout.readline():
            raise SystemExit("bench trust: expected ./poliscope up to become ready, but it ended")
        yield
    finally:
        up.send_signal(signal.SIGINT)
        up.wait(30)


def _room(data: Path) -> Any:
    """The installation's rows: this process takes its environment first."""
    os.environ.update(Instance(data).environment())
    return importlib.import_module("bench.trust_room").Room()


def _warm(room: Any, log: Log, film: Path, port: int) -> None:
    """Let the detector load its model: nobody's first seconds are to be lost to that."""
    posted = room.post([Play("warm-up", 0.0, (), (Watching("appearance", config={"labels": ["person"]}),))], port)
    with _cameras([film], port):
        room.switch(posted, on=True)
        deadline = time.monotonic() + OPENING_S
        while not _watched(log).analysed:
            if time.monotonic() > deadline:
                raise SystemExit(f"bench trust: expected a picture to be analysed within {OPENING_S:.0f} s, got none")
            time.sleep(0.5)
        room.switch(posted, on=False)


@contextlib.contextmanager
def _cameras(films: Sequence[Path], port: int) -> Iterator[datetime]:
    """Each of ``films`` as a camera; yields when all of them began."""
    command = [sys.executable, "-m", "bench.cameras", "--port", str(port), "--paths", "1", *map(str, films)]
    cameras = subprocess.Popen(command, cwd=BASE_DIR, stdout=subprocess.PIPE, text=True)
    try:
        assert cameras.stdout is not None
        word, _, began = cameras.stdout.readline().strip().partition(" ")
        if word != "ready":
            raise SystemExit(f"bench trust: expected the cameras to play, got {word!r} from bench/cameras.py")
        yield datetime.fromisoformat(began)
    finally:
        cameras.terminate()
        cameras.wait(10)


def _play(room: Any, log: Log, plays: Sequence[Play], films: Sequence[Path], port: int) -> list[tuple[Any, datetime]]:
    """Each of ``plays`` once, from its beginning; returns what was posted and when the films began."""
    posted = room.post(plays, port)
    with _cameras(films, port) as epoch:
        room.switch(posted, on=True)
        _follow(room, log, posted, epoch)
        return [(one, epoch) for one in posted]


def _follow(room: Any, log: Log, posted: Sequence[Any], epoch: datetime) -> None:
    """Until every film is over: sensors measure meanwhile, and each camera is switched off at its film's end."""
    sensors = [(at_s, one, what, value) for one in posted for at_s, what, value in one.play.measured]
    waiting, playing = sorted(sensors, key=lambda one: one[0], reverse=True), list(posted)
    producer = log.producer()
    while playing:
        now_s = (datetime.now(UTC) - epoch).total_seconds()
        while waiting and waiting[-1][0] <= now_s:
            at_s, one, what, value = waiting.pop()
            measured = Measurement(
                camera=one.camera.uid, at=epoch + timedelta(seconds=at_s), quantity=what, value=value, unit="µg/m³"
            )
            producer.append(OBSERVATIONS.name, one.camera.partition, encode_observation(measured))
        over = [one for one in playing if one.play.length_s <= now_s]
        # A camera that is switched off is no longer analysed, not even what it has already sent. Its film begins anew
        # meanwhile, with what has always been so.
        late = over and now_s < min(one.play.length_s for one in over) + GRACE_S and _waiting(log)
        if over and not late:
            room.switch(over, on=False)
            playing = [one for one in playing if one not in over]
        time.sleep(0.1)
    producer.close()


def _waiting(log: Log) -> int:
    """Pictures that no detector has taken yet."""
    return sum(log.lag(frames(POOL).name, f"detect.{POOL}").values())


# Judging


@dataclass(slots=True)
class Seen:
    """What the log has of the cameras: when the first picture of each was analysed, and how many were given up."""

    first_at: dict[UUID, datetime] = field(default_factory=dict)
    analysed: Counter[UUID] = field(default_factory=Counter)
    given_up: Counter[UUID] = field(default_factory=Counter)


def _watched(log: Log) -> Seen:
    seen = Seen()
    for partition in range(OBSERVATIONS.partitions):
        position = log.start(OBSERVATIONS.name, partition)
        while records := log.read(OBSERVATIONS.name, partition, position):
            for one in (decode_observation(record.payload) for record in records):
                if isinstance(one, Detections):
                    seen.first_at.setdefault(one.camera, one.captured_at)
                    seen.analysed[one.camera] += 1
                elif isinstance(one, Dropped):
                    seen.given_up[one.camera] += one.count
            position = records[-1].offset + 1
    return seen


def _judged(room: Any, posted: Any, epoch: datetime, seen: Seen) -> Verdict:
    verdict, camera = Verdict(posted.play), posted.camera.uid
    first_s = (seen.first_at[camera] - epoch).total_seconds() if camera in seen.first_at else None
    if first_s is None or first_s > LEAD_S:
        verdict.remarks.append("never seen" if first_s is None else f"first seen at {first_s:.0f} s")
    if seen.given_up[camera]:
        verdict.remarks.append(f"{seen.given_up[camera]} of {seen.analysed[camera]} pictures given up")
    for watching, rule in zip(posted.play.rules, posted.rules, strict=True):
        if watching.counts is not None:
            judge_counts(verdict, watching.counts, room.counted(rule))
        else:
            told = room.told(rule)
            moments = [((one.happened_at - epoch).total_seconds(), one.known_at) for one in told]
            asked_s = -EARLY_S if posted.play.scene is not None else CONNECTED_S
            asked = [(at_s, (known - epoch).total_seconds()) for at_s, known in moments if at_s >= asked_s]
            judge(verdict, watching, asked)
    return verdict


def judge(verdict: Verdict, watching: Watching, told: Sequence[tuple[float, float]]) -> None:
    """Match what was ``told`` (happened, known) with what was due: each due moment takes the first in its time."""
    left = list(told)
    for due_s in watching.due:
        verdict.expected += 1
        fits = [one for one in left if due_s - EARLY_S <= one[0] <= due_s + watching.late_s]
        if not fits:
            verdict.remarks.append(f"{watching.kind}: missed at {due_s:.1f} s")
            continue
        happened_s, known_s = fits[0]
        left.remove(fits[0])
        verdict.found += 1
        verdict.delays_s.append(max(0.0, known_s - due_s))
        verdict.decided_s.append(known_s - happened_s)
    verdict.false += len(left)
    verdict.remarks += [f"{watching.kind}: false at {happened_s:.1f} s" for happened_s, _ in left]


def judge_counts(verdict: Verdict, wanted: tuple[int, int], got: tuple[int, int]) -> None:
    """Each that should have been counted is expected; each beyond is false."""
    verdict.expected += sum(wanted)
    verdict.found += sum(map(min, wanted, got))
    verdict.false += sum(max(0, had - want) for want, had in zip(wanted, got, strict=True))
    if wanted != got:
        verdict.remarks.append(f"counting: expected {wanted}, got {got}")


# Telling


def _say(text: str) -> None:
    print(f"  {text}", file=sys.stderr, flush=True)


def _print(verdicts: Sequence[Verdict], command: str) -> None:
    rows: list[Sequence[object]] = [("scene or clip", "expected", "found", "missed", "false", "delay s", "remarks")]
    for one in verdicts:
        delay = f"{max(one.delays_s):.1f}" if one.delays_s else ""
        remarks = "; ".join(one.remarks)
        rows.append((one.play.key, one.expected, one.found, one.missed, one.false, delay, remarks))
    drawn = [one for one in verdicts if one.play.scene is not None]
    filmed = [one for one in verdicts if one.play.scene is None]
    figures = {
        "scenes": summed(drawn) if drawn else None,
        "footage": summed(filmed) if filmed else None,
        "clips": [one.play.key for one in filmed],
    }
    report(rows, figures, command)


def summed(verdicts: Sequence[Verdict]) -> dict[str, Any]:
    """The figures of all of them; a delay is None where nothing was found that has one."""
    delays = [delay for one in verdicts for delay in one.delays_s]
    decided = [delay for one in verdicts for delay in one.decided_s]
    return {
        "expected": sum(one.expected for one in verdicts),
        "found": sum(one.found for one in verdicts),
        "missed": sum(one.missed for one in verdicts),
        "false": sum(one.false for one in verdicts),
        "delay_p99_s": _p99(delays),
        "decided_p99_s": _p99(decided),
        "remarks": {one.play.key: one.remarks for one in verdicts if one.remarks},
    }


def _p99(values: Sequence[float]) -> float | None:
    return round(float(np.percentile(values, 99)), 2) if values else None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
