"""``./poliscope test``: what CI runs: lint, types, all tests, and every Django test once more on PostgreSQL.

./poliscope test                 everything
./poliscope test tests/streams   only these tests, with pytest's own options, and no lint

Tests run in a few processes of their own (``JOBS``), one more at a time than there are cores, and three at least: what
mostly waits for cameras and deadlines leaves no core idle beside what computes.
"""

from __future__ import annotations

import json
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

from tests.services import tables

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared"
PACKAGES = {
    "chromium": "chromium",
    "pg_config": "postgresql",
    "java": "openjdk-17-jre-headless",
    "ffmpeg": "ffmpeg",
}
CAMERA_PACKAGES = [
    "python3-gi",
    "gir1.2-gst-rtsp-server-1.0",
    "gstreamer1.0-rtsp",
    "gstreamer1.0-plugins-base",
    "gstreamer1.0-plugins-good",
    "gstreamer1.0-plugins-bad",
    "gstreamer1.0-plugins-ugly",
    "gstreamer1.0-libav",
    "fonts-noto-cjk",
]

MOST_RETRIED = 8
"""More failures than this are no accident of timing."""
APART = ("tests/end_to_end", "tests/browser")
"""Folders whose slow tests are jobs of their own."""
WAITING = ("tests/streams", "tests/detectors", "tests/contracts", "tests/faults", "tests/monitor")
"""Folders whose quick tests mostly wait: for cameras, servers and processes."""


@dataclass(frozen=True, slots=True)
class Job:
    """One pytest process: which tests, and whether their database is PostgreSQL."""

    name: str
    chosen: tuple[str, ...]
    postgres: bool = False

    @property
    def environment(self) -> dict[str, str]:
        return {"POLISCOPE_TEST_POSTGRES": "1"} if self.postgres else {}

    def report(self, folder: Path) -> Path:
        """Where its JUnit report goes."""
        return folder / f"{self.name.replace(' ', '-')}.xml"


JOBS = (
    # Begun in this order: the longest first, and what waits most beside what computes.
    Job("whole installations", (APART[0], "-m", "slow and not demand")),
    Job("Django tests on PostgreSQL", ("-m", "django_db and not demand and not browser"), postgres=True),
    Job("other slow tests", ("-m", "slow and not demand", *(f"--ignore={folder}" for folder in APART))),
    Job("cameras, logs and processes", (*WAITING, "-m", "not slow and not demand")),
    Job("quick tests", ("-m", "not slow and not demand", *(f"--ignore={folder}" for folder in WAITING))),
    Job("screens in a browser", (APART[1], "-m", "slow and not demand")),
)
"""Every test is in one of them, and every Django test in one more."""


def say(text: str) -> None:
    print(text, flush=True)


def missing_packages() -> list[str]:
    """Debian packages that the real services of the tests need and this machine lacks."""
    missing = [package for program, package in PACKAGES.items() if not shutil.which(program)]
    if not list(Path("/usr/lib/postgresql").glob("*/bin/initdb")) and "postgresql" not in missing:
        missing.append("postgresql")
    probe = "import gi; gi.require_version('GstRtspServer', '1.0')"
    python = Path("/usr/bin/python3")
    if not python.exists() or subprocess.run([python, "-c", probe], capture_output=True, check=False).returncode:
        missing += CAMERA_PACKAGES
    return missing


def install_packages() -> None:
    """Install them when we may; otherwise say what will be skipped."""
    missing = missing_packages()
    if not missing:
        return
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        say(f"Some tests will be skipped; for all of them: apt-get install {' '.join(missing)}")
        return
    say(f"Installing for the tests: {' '.join(missing)}")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    subprocess.run(["apt-get", "update", "-qq"], env=environment, stdout=subprocess.DEVNULL, check=False)
    subprocess.run(
        ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *missing],
        env=environment,
        stdout=subprocess.DEVNULL,
        check=True,
    )


def step(what: str, command: Sequence[str], **environment: str) -> int:
    """Run one step, print how long it took, return its exit status."""
    say(f"\n== {what}")
    start = time.monotonic()
    code = subprocess.run(command, cwd=ROOT, env={**os.environ, **environment}, check=False).returncode
    say(f"== {what}: {'ok' if code == 0 else f'failed ({code})'}, {time.monotonic() - start:.0f} s")
    return code


def run(job: Job, folder: Path, options: Sequence[str]) -> tuple[int, str]:
    """Run one job; its exit status and everything it printed, with how long it took."""
    say(f"\n== {job.name}: begun")
    start = time.monotonic()
    command = [sys.executable, "-m", "pytest", "-q", *options, *job.chosen, f"--junitxml={job.report(folder)}"]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, **job.environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    how = "ok" if done.returncode == 0 else f"failed ({done.returncode})"
    said = done.stdout.decode(errors="replace")
    return done.returncode, f"{said}== {job.name}: {how}, {time.monotonic() - start:.0f} s"


def counted(report: Path) -> Counter[str]:
    """Passed, failed and skipped tests of one JUnit report, the passed ones also by marker."""
    counts: Counter[str] = Counter()
    for case in ElementTree.parse(report).getroot().iter("testcase"):
        if case.find("failure") is not None or case.find("error") is not None:
            counts["failed"] += 1
        elif case.find("skipped") is not None:
            counts["skipped"] += 1
        else:
            counts["passed"] += 1
            for named in case.iter("property"):
                if named.get("name") == "marker":
                    counts[f"passed:{named.get('value')}"] += 1
    return counts


def failed_tests(report: Path) -> list[str]:
    """The node ids of what failed in one JUnit report."""
    names = []
    for case in ElementTree.parse(report).getroot().iter("testcase"):
        if case.find("failure") is not None or case.find("error") is not None:
            file = case.get("file") or ""
            inner = (case.get("classname") or "").removeprefix(file.removesuffix(".py").replace("/", ".")).strip(".")
            names.append("::".join(part for part in (file, *inner.split("."), case.get("name") or "") if part))
    return sorted(set(names))


def once_more(code: int, report: Path, **environment: str) -> tuple[int, Counter[str]]:
    """Run the few tests that failed once more, alone. Returns the exit status and the counts of both runs together.

    Tests with real processes and deadlines share two cores with whatever else runs there. What passes alone is counted
    as passed and named; what fails again has failed.
    """
    if not report.exists():
        return code or 1, Counter()
    counts = counted(report)
    names = failed_tests(report)
    if code != 1 or not 0 < len(names) <= MOST_RETRIED:
        return code, counts
    for name in names:
        say(f"FAILED AT FIRST {name}")
    again = report.with_suffix(".again.xml")
    command = [sys.executable, "-m", "pytest", "-q", f"--junitxml={again}", *names]
    second = step("the tests that failed, once more and alone", command, **environment)
    if again.exists():
        counts["failed"] = 0
        counts += counted(again)
    return second, counts


def below_floor(counts: Counter[str], floor: dict[str, int]) -> list[str]:
    """Sentences for each marker of which fewer tests passed than recorded."""
    return [
        f"{name}: expected at least {least} passed, got {counts[name]}"
        for name, least in sorted(floor.items())
        if counts[name] < least
    ]


def cores() -> int:
    """Of the machine, as many as we may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def run_all(folder: Path, options: Sequence[str]) -> dict[Job, int]:
    """Run every job beside others; each one's exit status. What a job printed is shown when it ends."""
    codes: dict[Job, int] = {}
    with ThreadPoolExecutor(max(2, cores()) + 1) as beside:
        started = {beside.submit(run, job, folder, options): job for job in JOBS}
        for done in as_completed(started):
            job = started[done]
            codes[job], said = done.result()
            say(f"\n== {job.name}\n{said}")
    return codes


def checks() -> list[int]:
    """The exit statuses of all that needs no test to run."""
    python = sys.executable
    return [
        step("format", [python, "-m", "ruff", "format", "--check", "."]),
        step("lint", [python, "-m", "ruff", "check", "."]),
        step("types", [python, "-m", "mypy"]),
    ]


def everything(options: Sequence[str]) -> int:
    """All of it, as CI does."""
    install_packages()
    counts: Counter[str] = Counter()
    with tempfile.TemporaryDirectory(prefix="poliscope-test-") as name:
        folder = Path(name)
        file = folder / "tables.sqlite3"
        made = tables.make(file)
        codes = checks()
        if made.wait() == 0:
            os.environ[tables.VARIABLE] = str(file)
        for job, code in run_all(folder, options).items():
            code, found = once_more(code, job.report(folder), **job.environment)
            codes.append(code)
            counts += summed(job, found)
    return verdict(codes, counts)


def summed(job: Job, found: Counter[str]) -> Counter[str]:
    """What a job adds to the counts: of a repetition on PostgreSQL no marker counts twice."""
    if not job.postgres:
        return found
    counts = Counter({name: found[name] for name in ("passed", "failed", "skipped")})
    counts["passed:postgres_again"] = found["passed"]
    return counts


def verdict(codes: Sequence[int], counts: Counter[str]) -> int:
    """Compare with the floor, print the closing lines."""
    floor = json.loads((ROOT / "tests" / "expected.json").read_text())
    if not SHARED.is_dir():
        say(f"\nThe development folder {SHARED.name}/ is not beside the checkout: its tests were skipped.")
        floor = {}
    short = below_floor(counts, floor)
    for line in short:
        say(f"FLOOR {line}")
    markers = {name: counts[name] for name in sorted(counts) if name.startswith("passed:")}
    say("\n" + re.sub(r'["{}]', "", json.dumps(markers)))
    say(f"{counts['passed']} passed, {counts['failed']} failed, {counts['skipped']} skipped")
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    say(f"{used.ru_utime + used.ru_stime:.0f} CPU seconds")
    return 1 if any(codes) or short else 0


if __name__ == "__main__":
    # The tests start hundreds of processes of ours; each would compile all of it again.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    given = sys.argv[1:]
    if any(not option.startswith("-") for option in given):
        sys.exit(subprocess.run([sys.executable, "-m", "pytest", *given], cwd=ROOT, check=False).returncode)
    sys.exit(everything(given))
