"""Installs requirements/ultralytics.txt into the environment that runs this: ``python -P monitor/install.py FILE``.

pip alone would fetch 2.8 GB of CUDA on a machine without a GPU, and lay ``opencv-python`` over our headless build. So
torch comes first, in the build that the file's last line names; then the rest; then Ultralytics itself, held to its
hash, without what it asks for. Each step does nothing when its work is done: what was broken off goes on where it was.
Standard library only: nothing else is installed yet.
"""

from __future__ import annotations

import fcntl
import importlib
import importlib.metadata
import json
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import unquote, urlsplit

CPU_INDEX = "https://download.pytorch.org/whl/cpu"
SIZES = {"cpu": "190 MB", "cuda": "2.8 GB: torch 0.5, NVIDIA's libraries 2.3"}
"""Of torch 2.13 for Linux on x86-64."""
PIP = (sys.executable, "-m", "pip", "install", "--disable-pip-version-check", "--prefer-binary")

Build = Literal["cpu", "cuda"]


@dataclass(frozen=True, slots=True)
class Plan:
    """What a requirements file asks for."""

    build: Build
    torch: str
    """Its version."""
    hashed: tuple[str, ...]
    """Requirements with their hashes, as pip reads them."""
    others: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Source:
    """Where torch comes from: pip's arguments, and what is said before."""

    arguments: tuple[str, ...]
    says: str


class Failed(Exception):
    """The installation cannot go on; the text says why and what to do."""


def read_plan(text: str) -> Plan:
    """Raises ``Failed`` without a line for torch."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    wanted = [line for line in lines if not line.startswith("#") and "# pip only" not in line]
    torch = next((line.partition("==")[2].split()[0] for line in wanted if line.startswith("torch==")), None)
    if torch is None:
        raise Failed("requirements: expected a line torch==VERSION, got none; fetch the file again")
    hashed = re.compile(r"(\S+)\s+# (sha256:[0-9a-f]{64})$")
    return Plan(
        build="cuda" if "# build: cuda" in lines else "cpu",
        torch=torch,
        hashed=tuple(f"{found[1]} --hash={found[2]}" for line in wanted if (found := hashed.match(line))),
        others=tuple(line for line in wanted if not hashed.match(line) and not line.startswith("torch==")),
    )


def fits(installed: str | None, plan: Plan, system: str) -> bool:
    """Whether the torch that is ``installed`` is the version and the build wanted."""
    if installed is None or installed.partition("+")[0] != plan.torch:
        return False
    return system != "Linux" or (installed.endswith("+cpu") == (plan.build == "cpu"))


def torch_source(plan: Plan, local: tuple[str, str] | None, system: str, machine: str) -> Source:
    """From where to take torch. ``local``: version and address of the wheel that pip finds without a network."""
    if local is not None and fits(local[0], plan, system):
        version, address = local
        path = Path(unquote(urlsplit(address).path))
        # A CUDA build needs NVIDIA's libraries as well, which may lie elsewhere.
        alone = ("--no-index", "--no-deps") if plan.build == "cpu" else ()
        return Source((*alone, f"torch==={version}"), f"  torch {version} from {path.parent}{_size_of(path)}")
    size = f"about {SIZES[plan.build]}" if (system, machine) == ("Linux", "x86_64") else "of unknown size"
    if system != "Linux":
        return Source((f"torch=={plan.torch}",), f"  downloading torch {plan.torch} ({size}) from PyPI")
    if plan.build == "cuda":
        says = f"  an NVIDIA driver is here: downloading torch {plan.torch} with CUDA ({size}) from PyPI"
        return Source((f"torch==={plan.torch}",), says)
    arguments = ("--no-deps", "--timeout", "30", "--retries", "2", "--index-url", CPU_INDEX)
    says = f"  no NVIDIA driver here: downloading torch {plan.torch} for CPUs ({size}) from {CPU_INDEX}"
    return Source((*arguments, f"torch==={plan.torch}+cpu"), says)


def _size_of(path: Path) -> str:
    try:
        return f" ({path.stat().st_size / 1e6:.0f} MB)"
    except OSError:
        return " (of unknown size)"


def offline_help(plan: Plan) -> str:
    """How to bring torch to a machine that cannot reach its source."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    index = f" --index-url {CPU_INDEX}" if plan.build == "cpu" else ""
    wanted = plan.torch + ("+cpu" if plan.build == "cpu" else "")
    no_deps = "--no-deps " if plan.build == "cpu" else ""
    return (
        "poliscope: torch could not be installed; pip's message is above. Without a connection, on a machine that has "
        f"one and the same kind of processor:\n    pip download {no_deps}--only-binary :all: "
        f"--python-version {version} --platform manylinux_2_28_{platform.machine()} --dest wheels{index} "
        f"torch==={wanted}\n"
        "  copy the folder here and run:\n    ./poliscope install --find-links wheels ultralytics"
    )


def unfinished(site: Path) -> list[Path]:
    """Packages whose installation was broken off: pip writes INSTALLER last, and takes them for whole without it."""
    return [folder for folder in sorted(site.glob("*.dist-info")) if not (folder / "INSTALLER").exists()]


def find_local(torch: str) -> tuple[str, str] | None:
    """Version and address of the wheel of torch that pip, as it is configured, finds without a network."""
    asked = [*PIP, "--quiet", "--dry-run", "--no-index", "--no-deps", "--ignore-installed", "--report", "-"]
    done = subprocess.run([*asked, f"torch=={torch}"], capture_output=True, text=True, check=False)
    try:
        [found] = json.loads(done.stdout)["install"]
    except (ValueError, KeyError):
        return None
    return found["metadata"]["version"], found["download_info"]["url"]


def installed(package: str) -> str | None:
    """Its version; None when it is not installed."""
    importlib.invalidate_caches()
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _quiet() -> tuple[str, ...]:
    """Hundreds of megabytes take minutes: on a terminal pip shows how far it is."""
    return () if sys.stderr.isatty() else ("--quiet", "--quiet")


def install_torch(plan: Plan) -> str:
    """Installs torch unless it fits; returns its version. Raises ``Failed``."""
    system, machine = platform.system(), platform.machine()
    before = installed("torch")
    if before is None or not fits(before, plan, system):
        source = torch_source(plan, find_local(plan.torch), system, machine)
        say(source.says)
        replace = () if before is None else ("--force-reinstall",)
        if subprocess.run([*PIP, *_quiet(), *replace, *source.arguments], check=False).returncode:
            raise Failed(offline_help(plan))
    return installed("torch") or plan.torch


def install_lines(lines: Sequence[str], *arguments: str, constraint: str = "") -> None:
    """pip over ``lines`` as a requirements file. Raises ``Failed``."""
    with tempfile.TemporaryDirectory(prefix="poliscope-install-") as folder:
        wanted, held = Path(folder) / "wanted.txt", Path(folder) / "held.txt"
        wanted.write_text("\n".join(lines) + "\n")
        held.write_text(constraint + "\n")
        held_to = ["--constraint", str(held)] if constraint else []
        command = [*PIP, *_quiet(), *arguments, "--requirement", str(wanted), *held_to]
        if subprocess.run(command, check=False).returncode:
            raise Failed("poliscope: pip could not install what ultralytics needs; its message is above")


@contextmanager
def alone() -> Iterator[None]:
    """Two of us may start at once: the second waits, and then finds all done."""
    with (Path(sys.prefix) / ".install.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main(arguments: Sequence[str]) -> int:
    """0; 1 when it failed, after saying why."""
    try:
        plan = read_plan(Path(arguments[0]).read_text())
        with alone():
            for folder in unfinished(Path(sysconfig.get_path("purelib"))):
                say(f"  {folder.name.removesuffix('.dist-info')}: its installation was broken off; it is done again")
                shutil.rmtree(folder)
            version = install_torch(plan)
            install_lines(plan.others, constraint=f"torch==={version}")
            install_lines(plan.hashed, "--no-deps", "--require-hashes")
    except Failed as error:
        say(str(error))
        return 1
    except KeyboardInterrupt:
        return 130  # whoever called says it
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
