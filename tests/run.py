"""``./poliscope test``: what CI runs, in CI's order: lint, types, all tests, then every Django test on PostgreSQL.

./poliscope test                 everything
./poliscope test tests/streams   only these tests, with pytest's own options, and no lint
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

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


def in_background(command: Sequence[str], output: Path, **environment: str) -> subprocess.Popen[bytes]:
    """Start one step beside the next; what it prints goes to ``output``."""
    with output.open("wb") as file:
        return subprocess.Popen(
            command, cwd=ROOT, env={**os.environ, **environment}, stdout=file, stderr=subprocess.STDOUT
        )


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


def everything(options: Sequence[str]) -> int:
    """All of it, as CI does."""
    python = sys.executable
    install_packages()
    codes = [
        step("format", [python, "-m", "ruff", "format", "--check", "."]),
        step("lint", [python, "-m", "ruff", "check", "."]),
        step("types", [python, "-m", "mypy"]),
    ]
    counts: Counter[str] = Counter()
    with tempfile.TemporaryDirectory(prefix="poliscope-test-") as folder:
        pytest = [python, "-m", "pytest", "-q", *options]
        slow, quick, again = (Path(folder) / f"{name}.xml" for name in ("slow", "quick", "postgres"))
        said = Path(folder) / "slow.txt"
        # The slow ones mostly wait for real processes, so the others fill the time between.
        beside = in_background([*pytest, "-m", "slow and not demand", f"--junitxml={slow}"], said)
        code = step("tests", [*pytest, "-m", "not slow and not demand", f"--junitxml={quick}"])
        django = [*pytest, "-m", "django_db and not demand and not browser", f"--junitxml={again}"]
        code_again = step("Django tests on PostgreSQL", django, POLISCOPE_TEST_POSTGRES="1")
        say("\n== slow tests (beside the others)")
        code_beside = beside.wait()
        say(said.read_text(errors="replace"))
        for status, report in ((code, quick), (code_beside, slow)):
            status, found = once_more(status, report)
            codes.append(status)
            counts += found
        status, found = once_more(code_again, again, POLISCOPE_TEST_POSTGRES="1")
        codes.append(status)
        counts["passed:postgres_again"] = found["passed"]
        for name in ("passed", "failed", "skipped"):
            counts[name] += found[name]
    return verdict(codes, counts)


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
    return 1 if any(codes) or short else 0


if __name__ == "__main__":
    given = sys.argv[1:]
    if any(not option.startswith("-") for option in given):
        sys.exit(subprocess.run([sys.executable, "-m", "pytest", *given], cwd=ROOT, check=False).returncode)
    sys.exit(everything(given))
