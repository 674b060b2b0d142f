"""``./poliscope bench start``: from a fresh clone to the first incident, and what it all takes.

A clone of this repository makes its own ``.venv`` (``install_s``, with whatever pip has in its cache), draws the scenes
and starts (``first_ready_s``, ``first_incident_s``), runs the demo for ten minutes (``rss_mib``), starts once more
(``ready_s``), and rests without a camera (``idle_cpu_percent``, of one core).
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil

from bench.common import report
from monitor.instance import BASE_DIR, free_port

AIMS = {"ready_s": 15, "first_incident_s": 120, "rss_mib": 1500, "idle_cpu_percent": 3}
INCIDENT_MOST_S = 300.0
SETTLE_S, IDLE_S = 20.0, 60.0
MIB = 2**20


@dataclass(frozen=True, slots=True)
class Started:
    """One ``up`` that is ready."""

    process: subprocess.Popen[str]
    data: Path
    ready_s: float
    told: dict[str, Any]

    def incidents(self) -> list[Any]:
        """What has happened so far."""
        request = urllib.request.Request(
            f"{self.told['url']}/api/v1/incidents", headers={"Authorization": f"Bearer {self.told['token']}"}
        )
        with urllib.request.urlopen(request, timeout=10) as response:
            items: list[Any] = json.load(response)["items"]
            return items

    def parts(self) -> dict[str, list[psutil.Process]]:
        """The processes of each part by its name: the one that ``up`` started, and what that started."""
        up = psutil.Process(self.process.pid)
        found = {"up": [up]}
        for child in up.children():
            found.setdefault(self._name(child), []).extend([child, *child.children(recursive=True)])
        return found

    def _name(self, process: psutil.Process) -> str:
        words = process.cmdline()
        return part_name(words, self._ports())

    def _ports(self) -> dict[str, str]:
        kept = json.loads((self.data / "run" / "environment.json").read_text())
        urls = {"valkey.frames": kept["POLISCOPE_FRAMES_URL"], "valkey.rest": kept["REDIS_URL"]}
        return {str(urlsplit(url).port): name for name, url in urls.items()}


def part_name(words: Sequence[str], ports: dict[str, str]) -> str:
    """A part's name from its command line; ``ports`` names the Valkey servers, which show theirs.

    >>> part_name(["python", "manage.py", "detect", "--pool", "general"], {})
    'detect'
    >>> part_name(["python", "-m", "uvicorn", "monitor.asgi:application"], {})
    'web'
    """
    line = " ".join(words)
    if "valkey-server" in line:
        return next((name for port, name in ports.items() if f":{port}" in line), "valkey")
    known = {"uvicorn": "web", "celery": "worker", "streams.demo_cameras": "demo", "kafka.Kafka": "kafka"}
    for word in words:
        if word in known:
            return known[word]
    after = [following for word, following in itertools.pairwise(words) if word.endswith("manage.py")]
    return after[0] if after else line[:40]


@contextlib.contextmanager
def started(checkout: Path, data: Path, environment: dict[str, str], *options: str) -> Iterator[Started]:
    """``up`` until it is ready; stopped afterwards."""
    begun_s = time.monotonic()
    process = subprocess.Popen(
        ["./poliscope", "up", "--json", "--data", str(data), "--port", str(free_port()), *options],
        cwd=checkout,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise SystemExit("bench start: expected up to be ready, but it ended; its words are above")
        yield Started(process, data, time.monotonic() - begun_s, json.loads(line))
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(60)


def main(arguments: Sequence[str]) -> int:
    """Options: ``--minutes N`` (10) of the demo before memory is read; ``--here``: no clone, no install."""
    parser = argparse.ArgumentParser(prog="poliscope bench start")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--here", action="store_true", help="this checkout with its packages, nothing installed")
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="poliscope-bench-") as folder:
        figures = measure(Path(folder), given.minutes, given.here)
    rows = [["figure", "value", "aim"]]
    rows += [
        [name, str(value), str(AIMS.get(name, ""))] for name, value in figures.items() if not isinstance(value, dict)
    ]
    rows += [[f"  {part}, MiB", str(value), ""] for part, value in figures["rss_by_part"].items()]
    rows += [[f"  {part}, % of a core at rest", str(value), ""] for part, value in figures["idle_cpu_by_part"].items()]
    command = f"./poliscope bench start --minutes {given.minutes:g}" + (" --here" if given.here else "")
    report(rows, figures, command, footage="the demo's four scenes")
    return 0


def measure(folder: Path, minutes: float, here: bool) -> dict[str, Any]:
    """Every figure, in the order in which a person would meet them."""
    environment = dict(os.environ)
    figures: dict[str, Any] = {}
    checkout = BASE_DIR
    if not here:
        environment.pop("POLISCOPE_VENV", None)
        checkout = folder / "clone"
        figures |= {"install_s": install(checkout, environment)}
    figures |= first_start(checkout, folder / "data", environment, minutes)
    _say("starting once more")
    with started(checkout, folder / "data", environment) as again:
        figures["ready_s"] = round(again.ready_s, 1)
    return figures | at_rest(checkout, folder / "rest", environment)


def install(checkout: Path, environment: dict[str, str]) -> float:
    """Seconds until a fresh clone has its own packages."""
    _say("cloning and installing")
    subprocess.run(["git", "clone", "--quiet", str(BASE_DIR), str(checkout)], check=True)
    begun_s = time.monotonic()
    # The quickest command that installs: it finds no installation, says so and ends.
    command = ["./poliscope", "manage", "check", "--data", str(checkout / "none")]
    subprocess.run(command, cwd=checkout, env=environment, stderr=subprocess.DEVNULL, check=False)
    if not (checkout / ".venv" / ".base.txt").exists():
        raise SystemExit(f"bench start: expected packages in {checkout / '.venv'}, got none; is there a way to PyPI?")
    return round(time.monotonic() - begun_s, 1)


def first_start(checkout: Path, data: Path, environment: dict[str, str], minutes: float) -> dict[str, Any]:
    """To ready, to the first incident, and memory after ``minutes``."""
    _say("starting for the first time, with the scenes drawn")
    with started(checkout, data, environment) as first:
        ready_at_s = time.monotonic()
        while not first.incidents() and time.monotonic() - ready_at_s < INCIDENT_MOST_S:
            time.sleep(0.5)
        incident_s = time.monotonic() - ready_at_s
        _say(f"first incident after {incident_s:.0f} s; memory is read after {minutes:g} minutes")
        time.sleep(max(0.0, minutes * 60 - incident_s))
        resident, shared_once = memory(first.parts())
    return {
        "first_ready_s": round(first.ready_s, 1),
        "first_incident_s": round(incident_s, 1),
        "rss_mib": round(sum(resident.values())),
        "pss_mib": round(shared_once),
        "rss_minutes": minutes,
        "rss_by_part": resident,
    }


def memory(parts: dict[str, list[psutil.Process]]) -> tuple[dict[str, int], float]:
    """Resident memory of each part, MiB; and of all with shared pages counted once."""
    resident: dict[str, int] = {}
    shared_once = 0.0
    for name, processes in parts.items():
        told = [process.memory_full_info() for process in processes]
        resident[name] = round(sum(one.rss for one in told) / MIB)
        shared_once += sum(one.pss for one in told) / MIB
    return dict(sorted(resident.items(), key=lambda entry: -entry[1])), shared_once


def at_rest(checkout: Path, data: Path, environment: dict[str, str]) -> dict[str, Any]:
    """Processor time of each part during a minute in which there is nothing to watch, percent of one core."""
    _say(f"at rest without a camera: {SETTLE_S:.0f} s to settle, then {IDLE_S:.0f} s")
    with started(checkout, data, environment, "--no-demo") as resting:
        time.sleep(SETTLE_S)
        parts = resting.parts()
        before, begun_s = _spent(parts), time.monotonic()
        time.sleep(IDLE_S)
        after, passed_s = _spent(parts), time.monotonic() - begun_s
        resident, _shared = memory(parts)
    percent = {name: round(100 * (after[name] - before[name]) / passed_s, 2) for name in parts}
    return {
        "idle_cpu_percent": round(sum(percent.values()), 2),
        "idle_cpu_by_part": dict(sorted(percent.items(), key=lambda entry: -entry[1])),
        "idle_rss_mib": sum(resident.values()),
    }


def _spent(parts: dict[str, list[psutil.Process]]) -> dict[str, float]:
    return {
        name: sum(sum(process.cpu_times()[:2]) for process in processes if process.is_running())
        for name, processes in parts.items()
    }


def _say(what: str) -> None:
    print(f"  {what}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
