"""``./poliscope`` itself, on machines that lack something. Run from a copy, with a path of our own making."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from monitor.instance import BASE_DIR


def run(folder: Path, *arguments: str, programs: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """The script in ``folder`` with ``programs`` (name → shell script) before the system's on the path."""
    shutil.copy(BASE_DIR / "poliscope", folder)
    shutil.copytree(BASE_DIR / "requirements", folder / "requirements", dirs_exist_ok=True)
    bin_ = folder / "bin"
    bin_.mkdir(exist_ok=True)
    for name, script in (programs or {}).items():
        (bin_ / name).write_text(f"#!/bin/sh\n{script}\n")
        (bin_ / name).chmod(0o755)
    environment = {**os.environ, "PATH": f"{bin_}:/usr/bin:/bin", "PYTHON": ""}
    environment.pop("POLISCOPE_VENV", None)
    command = ["sh", "poliscope", *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=60)


OLD = 'case "$*" in *version_info*) exit 1;; esac'
WITHOUT_VENV = 'case "$*" in *ensurepip*) exit 1;; *) exit 0;; esac'
PYTHONS = ("python3", "python3.13", "python3.12", "python3.11")


def test_an_old_python_is_named_with_the_remedy(tmp_path: Path) -> None:
    done = run(tmp_path, "up", programs={name: OLD for name in PYTHONS})
    assert done.returncode == 1
    assert "expected Python 3.11 or newer" in done.stderr and "apt-get install python3" in done.stderr


def test_a_python_without_venv_names_the_package(tmp_path: Path) -> None:
    programs = {**{name: WITHOUT_VENV for name in PYTHONS}, "id": "echo 1000"}
    done = run(tmp_path, "up", programs=programs)
    assert done.returncode == 1
    assert "install Debian's package python3-venv" in done.stderr


def test_as_root_it_installs_the_package(tmp_path: Path) -> None:
    apt = f'echo "$@" >> {tmp_path}/asked'
    programs = {**{name: WITHOUT_VENV for name in PYTHONS}, "id": "echo 0", "apt-get": apt}
    run(tmp_path, "up", programs=programs)
    assert "install" in (tmp_path / "asked").read_text() and "python3-venv" in (tmp_path / "asked").read_text()


@pytest.mark.parametrize("libraries, package", [("libGL.so.1", "opencv-python"), ("", "opencv-python-headless")])
def test_opencv_is_the_build_that_the_system_can_load(tmp_path: Path, libraries: str, package: str) -> None:
    # The fake Python makes a venv whose pip writes down what it was asked for.
    pip = f'case "$*" in *install*) for last; do :; done; cat "$last" > {tmp_path}/asked; exit 1;; esac'
    venv = f"mkdir -p .venv/bin; printf '%s\\n' '#!/bin/sh' '{pip}' > .venv/bin/python; chmod +x .venv/bin/python"
    python = f'case "$*" in "-m venv .venv") {venv};; *) exit 0;; esac'
    programs = {**{name: python for name in PYTHONS}, "ldconfig": f"echo {libraries}"}
    done = run(tmp_path, "up", programs=programs)
    assert done.returncode == 1 and "pip could not install requirements/base.txt" in done.stderr
    asked = [line.partition("==")[0] for line in (tmp_path / "asked").read_text().splitlines()]
    assert [name for name in asked if name.startswith("opencv")] == [package]


@pytest.mark.parametrize("asked, got", [(("abacus",), "got 'abacus'"), ((), "got nothing")])
def test_what_cannot_be_installed_is_said(tmp_path: Path, asked: tuple[str, ...], got: str) -> None:
    done = run(tmp_path, "install", *asked)
    assert done.returncode == 2
    assert " base, dev, " in done.stderr and "ultralytics" in done.stderr and got in done.stderr


def test_a_folder_that_was_forgotten_is_said(tmp_path: Path) -> None:
    done = run(tmp_path, "install", "--find-links")
    assert done.returncode == 2 and "--find-links: expected a folder and names after it, got nothing" in done.stderr


def test_an_unknown_benchmark_is_refused_before_anything_is_installed(tmp_path: Path) -> None:
    (tmp_path / "bench").mkdir()
    shutil.copy(BASE_DIR / "bench" / "run.py", tmp_path / "bench")
    programs = {"python3": f'exec {sys.executable} "$@"'}
    done = run(tmp_path, "bench", "nosuch", programs=programs)
    assert done.returncode == 2 and "bench: expected one of latency, " in done.stderr
    assert run(tmp_path, "bench", programs=programs).returncode == 0
    assert not (tmp_path / ".venv").exists()


def test_a_venv_that_is_broken_off_says_so_in_a_sentence(tmp_path: Path) -> None:
    # As a terminal does, Ctrl-C reaches the script and the Python that it waits for.
    broken_off = 'case "$*" in *"-m venv"*) echo Traceback >&2; kill -INT $PPID; exit 1;; *) exit 0;; esac'
    done = run(tmp_path, "up", programs={name: broken_off for name in PYTHONS})
    assert done.returncode == 130
    assert done.stderr.splitlines()[1:] == ["poliscope: broken off; the same command goes on from here"]


def test_an_installation_that_is_broken_off_is_none_that_failed(tmp_path: Path) -> None:
    pip = 'case "$*" in *" install "*) kill -INT $PPID; exit 2;; esac'
    venv = f"mkdir -p .venv/bin; printf '%s\\n' '#!/bin/sh' '{pip}' > .venv/bin/python; chmod +x .venv/bin/python"
    python = f'case "$*" in "-m venv .venv") {venv};; *) exit 0;; esac'
    done = run(tmp_path, "up", programs={name: python for name in PYTHONS})
    assert done.returncode == 130
    assert done.stderr.splitlines()[-1] == "poliscope: broken off; the same command goes on from here"
    assert "could not install" not in done.stderr and not list((tmp_path / ".venv").glob(".*.txt*"))


@pytest.mark.parametrize(
    ("name", "words"), [("base", "270 MB, about half a minute"), ("ultralytics", "torch alone is 190 MB")]
)
def test_what_is_large_is_said_with_its_size(tmp_path: Path, name: str, words: str) -> None:
    venv = "mkdir -p .venv/bin; printf '%s\\n' '#!/bin/sh' 'exit 0' > .venv/bin/python; chmod +x .venv/bin/python"
    python = f'case "$*" in "-m venv .venv") {venv};; *) exit 0;; esac'
    done = run(tmp_path, "install", name, programs={one: python for one in PYTHONS})
    assert f"installing requirements/{name}.txt ({words}" in done.stderr


def test_an_unknown_command_lists_those_there_are(tmp_path: Path) -> None:
    done = run(tmp_path, "fly")
    assert done.returncode == 2 and "there are: up, password, manage, test, bench, install, doctor" in done.stderr


def test_help_shows_the_commands(tmp_path: Path) -> None:
    said = run(tmp_path, "help").stdout
    assert "./poliscope up" in said and "./poliscope manage COMMAND … [--data DIR]" in said


def test_the_doctor_speaks_without_any_python(tmp_path: Path) -> None:
    programs = {name: OLD for name in PYTHONS}
    done = run(tmp_path, "doctor", programs=programs)
    assert done.returncode == 1 and "wrong  Python" in done.stdout and "→ apt-get install python3" in done.stdout
    told = json.loads(run(tmp_path, "doctor", "--json", programs=programs).stdout)
    assert told["wrong"] == 1 and told["findings"][0]["code"] == "python"


def test_the_doctor_goes_on_where_pip_failed(tmp_path: Path) -> None:
    venv = "mkdir -p .venv/bin; printf '%s\\n' '#!/bin/sh' 'case \"$*\" in *install*) exit 1;; esac' > .venv/bin/python"
    python = f'case "$*" in "-m venv .venv") {venv}; chmod +x .venv/bin/python;; *monitor*) echo "run: $*";; esac'
    done = run(tmp_path, "doctor", "--json", programs={name: python for name in PYTHONS})
    assert done.stdout == "run: -m monitor.doctor --pip-failed --json\n"
    assert "pip could not install" in done.stderr
