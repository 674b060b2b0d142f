"""``./poliscope bench cost``: CPU milliseconds for each second of each camera, of everything that ``up`` starts.

Eight cameras play one clip over real RTSP, the street's rules watch them, and the processor time of every process under
``up`` is read before and after. The cameras' server is not counted: real cameras bring their own. Beside it runs what
many would write first, Ultralytics' own loop over the same kind of camera, every fifth picture.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

import psutil

from bench.common import report
from monitor.instance import BASE_DIR, Instance, free_port
from streams.log import LogAddresses, open_log
from streams.observations import Detections, Dropped, SourceState, decode_observation
from streams.topics import OBSERVATIONS

SHARED = BASE_DIR.parent / "shared"
CAMERA_SERVER = SHARED / "tools" / "rtsp_cameras.py"
BASELINE = SHARED / "tools" / "baseline_ultralytics.py"
SYSTEM_PYTHON = Path("/usr/bin/python3")
FALLBACK_CLIP = BASE_DIR / "streams" / "footage" / "campus.mp4"
WARM_S = 20.0
"""Let the children load, the model compile and the gate learn the scene before anything is counted."""
LOOP_S = 40.0
"""The clips' length: measured over whole loops, so that each has the same share of motion."""
BASELINE_CAMERAS = (4, 2, 1)
"""The most of these that the machine holds at the full rate: overloaded, it analyses fewer and looks cheaper."""
DEMANDED_HZ = 5.0
GIVEN_UP_SHARE = 0.05
"""More of what was sampled given up, or as much missing from the baseline's rate twice over: overloaded, and the figure
says what the machine had left rather than what the work costs. No ratio is told of such."""
STRIDE = 5
REARM_S = 20.0
"""What a rule has unless somebody changes it."""
OPENING_S = 60.0

USE_CARD = """
from pathlib import Path
from detectors.models import Model
from detectors.registry import load_card
path = Path({path!r})
card = load_card(path.stem, path.parent)
for model in Model.objects.all():
    model.name, model.version, model.card = card.name, card.version, ""
    model.path, model.sha256, model.labels = str(path), "", sorted(set(card.classes))
    model.save()
"""


@dataclass(frozen=True, slots=True)
class Leg:
    """One installation to measure: a clip on some cameras (none: at rest), and which model looks at it."""

    name: str
    clip: str = ""
    model: str = "nanodet"
    figure: str = ""


LEGS = {
    leg.name: leg
    for leg in (
        Leg("nanodet", "mix1080.mp4", figure="nanodet_ms"),
        Leg("yolo11n", "mix1080.mp4", "yolo11n", figure="yolo11n_ms"),
        Leg("sub", "mix360.mp4", figure="sub_stream_ms"),
        Leg("rest"),
    )
}
USUAL = ("nanodet", "yolo11n", "sub", "baseline")


@dataclass(slots=True)
class Measured:
    """What one leg cost, in CPU milliseconds a stream-second (at rest: a second), and how much was looked at."""

    ms: float
    spread: tuple[float, float]
    processes: dict[str, float]
    rss_mib: dict[str, int]
    pss_mib: int
    analysed_per_s: float = 0.0
    given_up_per_s: float = 0.0
    """Sampled and not analysed: more than a few, and the machine was too slow for so many cameras."""
    active_share: float = 0.0
    remarks: list[str] = field(default_factory=list)

    @property
    def kept_up(self) -> bool:
        """Whether nearly all that was sampled was analysed too; what was given up cost nothing."""
        return self.given_up_per_s <= GIVEN_UP_SHARE * (self.analysed_per_s + self.given_up_per_s)


def main(arguments: Sequence[str]) -> int:
    """Options: ``--cameras N`` (8), ``--seconds S`` (80), ``--only LEG …``, ``--gpu``."""
    parser = argparse.ArgumentParser(prog="poliscope bench cost")
    parser.add_argument("--cameras", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=2 * LOOP_S, help="measured in each leg; whole loops of 40 s")
    parser.add_argument("--only", nargs="+", choices=[*LEGS, "baseline"], default=list(USUAL))
    parser.add_argument("--gpu", action="store_true", help="what a picture costs on a graphics card instead")
    given, rest = parser.parse_known_args(arguments)
    if given.gpu:
        from bench import gpu

        code: int = gpu.main(rest) or 0
        return code
    if rest:
        parser.error(f"unknown: {' '.join(rest)}")
    with tempfile.TemporaryDirectory(prefix="poliscope-bench-") as folder:
        found, baseline = _legs(given, Path(folder))
    _print(found, baseline, given)
    return 0


def _legs(given: argparse.Namespace, folder: Path) -> tuple[dict[str, Measured], dict[str, float]]:
    random_model = folder / "random"
    has_random = bool({"yolo11n", "baseline"} & set(given.only)) and _make_random_model(random_model)
    found: dict[str, Measured] = {}
    for name in given.only:
        if name in LEGS and (LEGS[name].model != "yolo11n" or has_random):
            _say(f"{name}: {given.seconds:.0f} s")
            found[name] = _measure(LEGS[name], given, folder / name, random_model / "yolo11n.toml")
    baseline: dict[str, float] = {}
    if "baseline" in given.only and has_random:
        _say(f"baseline: {given.seconds:.0f} s")
        baseline = _measure_baseline(random_model, given.seconds)
    return found, baseline


def _say(text: str) -> None:
    print(f"  {text}", file=sys.stderr, flush=True)


def _make_random_model(folder: Path) -> bool:
    """Whether a YOLO11n of random weights is there now; it needs torch and ultralytics."""
    folder.mkdir()
    made = subprocess.run(
        [sys.executable, "-m", "bench.random_yolo", str(folder)], cwd=BASE_DIR, capture_output=True, text=True
    )
    if made.returncode:
        last = (made.stderr.strip().splitlines() or ["no word"])[-1]
        _say(f"no YOLO11n and no baseline: {last}; both need: ./poliscope install ultralytics")
    return not made.returncode


# Cameras


def _clip(name: str) -> Path:
    """The clip called ``name``, or the one that every checkout has."""
    clip = SHARED / "footage" / name
    return clip if clip.exists() else FALLBACK_CLIP


@contextlib.contextmanager
def _cameras(clip: Path, paths: int) -> Iterator[int]:
    """``paths`` live cameras that play ``clip``; yields the port."""
    port = free_port()
    options = ["--port", str(port), "--paths", str(paths)]
    if _has_gstreamer():
        command = [str(SYSTEM_PYTHON), str(CAMERA_SERVER), *options, "--file", str(clip)]
    else:
        _say("cameras: bench/cameras.py plays, for GStreamer's server is not here")
        command = [sys.executable, "-m", "bench.cameras", *options, str(clip)]
    server = subprocess.Popen(command, cwd=BASE_DIR, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        assert server.stdout is not None
        if not server.stdout.readline().startswith("ready"):
            raise SystemExit(f"bench cost: expected {command[1]} to serve {clip.name}, but it did not start")
        yield port
    finally:
        server.kill()
        server.wait(10)


def _has_gstreamer() -> bool:
    probe = "import gi; gi.require_version('GstRtspServer', '1.0'); from gi.repository import GstRtspServer"
    return (
        CAMERA_SERVER.exists()
        and SYSTEM_PYTHON.exists()
        and subprocess.run([str(SYSTEM_PYTHON), "-c", probe], capture_output=True).returncode == 0
    )


# One installation


def _measure(leg: Leg, given: argparse.Namespace, data: Path, card: Path) -> Measured:
    cameras = given.cameras if leg.clip else 0
    with contextlib.ExitStack() as stack:
        port = stack.enter_context(_cameras(_clip(leg.clip), cameras)) if cameras else 0
        allow = {"POLISCOPE_CAMERA_ALLOW": f"127.0.0.1:{port}"} if port else {}
        up = stack.enter_context(_installation(data, allow))
        if cameras:
            _seed(data, cameras, port, allow, card if leg.model == "yolo11n" else None)
            _wait_for_pictures(data, cameras)
        time.sleep(WARM_S)
        return _watch(up, data, cameras, given.seconds)


@contextlib.contextmanager
def _installation(data: Path, more: Mapping[str, str]) -> Iterator[psutil.Process]:
    options = ["--no-demo", "--json", "--data", str(data), "--port", str(free_port())]
    up = subprocess.Popen(
        [sys.executable, "-m", "monitor.up", *options],
        cwd=BASE_DIR,
        env={**os.environ, **more},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert up.stdout is not None
        if not up.stdout.readline():
            raise SystemExit("bench cost: expected ./poliscope up to become ready, but it ended")
        yield psutil.Process(up.pid)
    finally:
        up.send_signal(signal.SIGINT)
        up.wait(30)


def _seed(data: Path, cameras: int, port: int, more: Mapping[str, str], card: Path | None) -> None:
    environment = {**Instance(data).environment(), **more}
    options = {
        "cameras": cameras,
        "sms": False,
        "rearm_s": REARM_S,
        "address": f"rtsp://127.0.0.1:{port}/cam{{number}}",
    }
    commands = [["-m", "tests.end_to_end.seed", "street", json.dumps(options)]]
    if card is not None:
        commands.append(["manage.py", "shell", "-c", USE_CARD.format(path=str(card.with_suffix(".onnx")))])
    for command in commands:
        subprocess.run([sys.executable, *command], cwd=BASE_DIR, env=environment, stdout=subprocess.DEVNULL, check=True)


def _wait_for_pictures(data: Path, cameras: int) -> None:
    """Until every camera's pictures have been analysed. Ends the program after ``OPENING_S``."""
    deadline = time.monotonic() + OPENING_S
    with _log(data) as log:
        while time.monotonic() < deadline:
            seen = _observed(log, {partition: 0 for partition in range(OBSERVATIONS.partitions)})
            if len({one.camera for one in seen if isinstance(one, Detections)}) >= cameras:
                return
            time.sleep(1.0)
    raise SystemExit(f"bench cost: expected pictures of {cameras} cameras to be analysed within {OPENING_S:.0f} s")


def _watch(up: psutil.Process, data: Path, cameras: int, seconds: float) -> Measured:
    """Processor time of the whole tree over ``seconds``, in rounds of one loop each, so that the spread is known."""
    rounds = max(1, round(seconds / LOOP_S))
    with _log(data) as log:
        ends = {partition: log.end(OBSERVATIONS.name, partition) for partition in range(OBSERVATIONS.partitions)}
        since, began_s = datetime.now(UTC), time.monotonic()
        costs = [_round(up, seconds / rounds) for _ in range(rounds)]
        lasted_s = time.monotonic() - began_s
        observed = _observed(log, ends)
    streams = max(cameras, 1)
    totals = [sum(cost.values()) / streams for cost in costs]
    parts = {part: round(sum(cost.get(part, 0.0) for cost in costs) / rounds / streams, 2) for part in costs[0]}
    rss_mib, pss_mib = _memory(up)
    measured = Measured(median(totals), (min(totals), max(totals)), parts, rss_mib, pss_mib)
    if cameras:
        analysed = sum(isinstance(one, Detections) for one in observed)
        measured.analysed_per_s = analysed / lasted_s / cameras
        given_up = sum(one.count for one in observed if isinstance(one, Dropped))
        measured.given_up_per_s = given_up / lasted_s / cameras
        measured.active_share = _active_share(observed, since, lasted_s, cameras)
    if any(set(cost) != set(costs[0]) for cost in costs):
        measured.remarks.append("a process ended or began meanwhile")
    return measured


def _round(up: psutil.Process, seconds: float) -> dict[str, float]:
    """CPU milliseconds a second of each part."""
    before, began_s = _cpu_s(up), time.monotonic()
    time.sleep(seconds)
    after, lasted_s = _cpu_s(up), time.monotonic() - began_s
    parts: dict[str, float] = defaultdict(float)
    for (pid, part), cpu_s in after.items():
        parts[part] += 1e3 * (cpu_s - before.get((pid, part), 0.0)) / lasted_s
    return dict(parts)


def _cpu_s(up: psutil.Process) -> dict[tuple[int, str], float]:
    """User and system seconds of every process so far, by its number and part."""
    found = {}
    for process in (up, *up.children(recursive=True)):
        with contextlib.suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            found[process.pid, _part(process.cmdline())] = times.user + times.system
    return found


def _part(command: Sequence[str]) -> str:
    """What a process is, from its command line.

    >>> _part(["python", "manage.py", "detect", "--pool", "general"])
    'detect'
    >>> _part(["valkey-server 127.0.0.1:6379"])
    'valkey'
    """
    line = " ".join(command)
    for word, part in (
        ("streams.capture_child", "capture children"),
        ("monitor.up", "up"),
        ("celery", "worker"),
        ("uvicorn", "web"),
        ("valkey", "valkey"),
        ("demo_cameras", "demo"),
    ):
        if word in line:
            return part
    return command[command.index("manage.py") + 1] if "manage.py" in command else Path(command[0]).name


def _memory(up: psutil.Process) -> tuple[dict[str, int], int]:
    """Resident MiB: of each part, and of all with shared pages divided among their users."""
    rss: dict[str, float] = defaultdict(float)
    pss = 0.0
    for process in (up, *up.children(recursive=True)):
        with contextlib.suppress(psutil.Error):
            memory = process.memory_full_info()
            rss[_part(process.cmdline())] += memory.rss / 2**20
            pss += memory.pss / 2**20
    return {part: round(mib) for part, mib in rss.items()}, round(pss)


# What it looked at


@contextlib.contextmanager
def _log(data: Path) -> Iterator[Any]:
    log = open_log(LogAddresses.from_environment(Instance(data).environment()), name="bench")
    try:
        yield log
    finally:
        log.close()


def _observed(log: Any, positions: Mapping[int, int]) -> list[Any]:
    """Every observation from ``positions`` on."""
    found = []
    for partition, position in positions.items():
        while records := log.read(OBSERVATIONS.name, partition, position):
            found += [decode_observation(record.payload) for record in records]
            position = records[-1].offset + 1
    return found


def _active_share(observed: Sequence[Any], since: datetime, lasted_s: float, cameras: int) -> float:
    """The share of time that gates stood open. States are said at least each 10 s; each holds until the next."""
    said: dict[Any, list[SourceState]] = defaultdict(list)
    for one in observed:
        if isinstance(one, SourceState):
            said[one.camera].append(one)
    active_s = 0.0
    for states in said.values():
        # The first record also says what was before it.
        moments = [max(0.0, (state.at - since).total_seconds()) for state in states]
        for state, begin_s, end_s in zip(states, moments, [*moments[1:], lasted_s], strict=True):
            active_s += max(0.0, end_s - begin_s) if state.state == "active" else 0.0
    return active_s / lasted_s / cameras


# What others would do


def _measure_baseline(folder: Path, seconds: float) -> dict[str, float]:
    """Ultralytics' own loop over cameras of the same clip; empty when it is not here."""
    if not BASELINE.exists():
        _say(f"no baseline: it needs {BASELINE}")
        return {}
    measured: dict[str, float] = {}
    for cameras in BASELINE_CAMERAS:
        measured = _run_baseline(folder, cameras, seconds)
        if not measured or _baseline_kept_up(measured):
            break
        _say(f"baseline: {cameras} cameras are too many for it here ({measured['analysed_per_s']} pictures a second)")
    return measured


def _baseline_kept_up(baseline: Mapping[str, float]) -> bool:
    return baseline["analysed_per_s"] >= (1 - 2 * GIVEN_UP_SHARE) * DEMANDED_HZ


def _run_baseline(folder: Path, cameras: int, seconds: float) -> dict[str, float]:
    with _cameras(_clip("mix1080.mp4"), cameras) as port:
        address = f"rtsp://127.0.0.1:{port}/cam{{i}}"
        command = [
            sys.executable,
            "-m",
            "bench.with_ultralytics",
            str(BASELINE),
            str(cameras),
            str(seconds),
            str(STRIDE),
        ]
        command += [str(folder / "yolo11n.pt"), "predict", address]
        ran = subprocess.run(
            command,
            cwd=folder,
            env={
                **os.environ,
                "YOLO_CONFIG_DIR": str(folder),
                "YOLO_AUTOINSTALL": "false",
                "PYTHONPATH": str(BASE_DIR),
            },
            capture_output=True,
            text=True,
        )
    said = re.search(r": ([\d.]+) CPU ms per stream-second, ([\d.]+) analysed fps", ran.stdout)
    if said is None:
        _say(f"no baseline: {(ran.stderr.strip().splitlines() or ['it said nothing'])[-1]}")
        return {}
    return {"ms": float(said[1]), "analysed_per_s": float(said[2]), "cameras": cameras}


# Telling


def _print(found: Mapping[str, Measured], baseline: Mapping[str, float], given: argparse.Namespace) -> None:
    parts = sorted({part for one in found.values() for part in one.processes})
    rows: list[Sequence[object]] = [("CPU ms a stream-second", *found, *(["baseline"] if baseline else []))]
    last = [""] if baseline else []
    rows += [(part, *(one.processes.get(part, 0.0) for one in found.values()), *last) for part in parts]
    rows.append(("all", *(one.ms for one in found.values()), *([baseline["ms"]] if baseline else [])))
    rows.append(("least and most", *("{:.1f}-{:.1f}".format(*one.spread) for one in found.values()), *last))
    analysed = [one.analysed_per_s for one in found.values()]
    rows.append(("pictures analysed a second", *analysed, *([baseline["analysed_per_s"]] if baseline else [])))
    rows.append(("sampled and given up a second", *(one.given_up_per_s for one in found.values()), *last))
    rows.append(("time with the gate open, %", *(100 * one.active_share for one in found.values()), *last))
    rows.append(("resident MiB, all together", *(sum(one.rss_mib.values()) for one in found.values()), *last))
    rows.append(("the same, shared pages once", *(one.pss_mib for one in found.values()), *last))
    overloaded = [name for name, one in found.items() if not one.kept_up]
    if overloaded:
        _say(f"too slow a machine, or a busy one, for {', '.join(overloaded)}: measure again with --cameras fewer")
    clips = sorted({_clip(LEGS[name].clip).name for name in found if LEGS[name].clip})
    command = f"./poliscope bench cost --cameras {given.cameras} --seconds {given.seconds:g}"
    if set(given.only) != set(USUAL):
        command += f" --only {' '.join(given.only)}"
    report(rows, _figures(found, baseline, given), command, footage=", ".join(clips) or "none")


def _figures(found: Mapping[str, Measured], baseline: Mapping[str, float], given: argparse.Namespace) -> dict[str, Any]:
    figures: dict[str, Any] = {LEGS[name].figure: round(one.ms, 1) for name, one in found.items() if LEGS[name].figure}
    if baseline:
        figures["baseline_ms"] = baseline["ms"]
        figures["baseline_analysed_per_s"] = baseline["analysed_per_s"]
    if baseline and "yolo11n" in found:
        fair = found["yolo11n"].kept_up and _baseline_kept_up(baseline)
        figures["ratio"] = round(baseline["ms"] / found["yolo11n"].ms, 2) if fair else None
    overloaded = [name for name, one in found.items() if not one.kept_up]
    overloaded += ["baseline"] if baseline and not _baseline_kept_up(baseline) else []
    figures["overloaded"] = overloaded
    if "rest" in found:
        figures["rest_cpu_percent"] = round(found["rest"].ms / 10, 2)
    for name, one in found.items():
        figures[name] = {
            "processes_ms": one.processes,
            "least_ms": round(one.spread[0], 1),
            "most_ms": round(one.spread[1], 1),
            "analysed_per_s": round(one.analysed_per_s, 2),
            "given_up_per_s": round(one.given_up_per_s, 2),
            "active_share": round(one.active_share, 3),
            "rss_mib": sum(one.rss_mib.values()),
            "rss_by_part_mib": one.rss_mib,
            "pss_mib": one.pss_mib,
            "remarks": one.remarks,
        }
    cameras = {"cameras": given.cameras, "baseline_cameras": baseline.get("cameras", 0)}
    return {**figures, **cameras, "seconds": given.seconds}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
