"""Programs that touch what strangers made: in a process of their own, bounded in time, CPU, memory and disk.

The child gets no secret of ours: its environment is made of the few names below. It sets the bounds upon itself before
it touches anything (``bind``), because code between fork and exec is not safe in a process with threads.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import msgspec

BASE_DIR = Path(__file__).resolve().parent.parent
PASSED_ON = (
    "PATH",
    "LD_LIBRARY_PATH",
    "LANG",
    "LC_ALL",
    "VIRTUAL_ENV",
    "CUDA_VISIBLE_DEVICES",
    "COVERAGE_PROCESS_START",
)
SAFE = {
    "ULTRALYTICS_SAFE_LOAD": "1",
    # Ultralytics otherwise runs pip for modules that a checkpoint names.
    "YOLO_AUTOINSTALL": "false",
    "YOLO_OFFLINE": "true",
    "MALLOC_ARENA_MAX": "2",  # each further one reserves 64 MiB of the address space that is counted
}
PR_SET_PDEATHSIG = 1
GRACE_CPU_S = 2
"""Between SIGXCPU, which a program may catch, and SIGKILL."""


class Bounds(msgspec.Struct, frozen=True, kw_only=True):
    """What one child may use."""

    wall_s: float = 120.0
    cpu_s: int = 120
    memory_bytes: int = 8 << 30
    """Of address space, which the runtimes reserve more of than they use: 1.1 GB (OpenVINO) to 1.7 GB (torch)."""
    written_bytes: int = 2 << 30
    """Of any one file."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How a child ended."""

    answer: bytes
    """Its standard output."""
    code: int
    """Exit status; minus the signal that ended it."""
    last_words: str
    """The end of its standard error."""
    too_long: bool
    """It was ended at its wall clock bound."""


def run_bounded(module: str, order: bytes, folder: Path, bounds: Bounds) -> Ended:
    """Run ``python -m module`` with ``order`` on its standard input; ``folder`` is its home. Blocks ``wall_s`` at most.

    The module must call ``bind`` first. One that is still there then is ended with all that it started.
    """
    with tempfile.TemporaryFile(dir=folder) as said:
        process = subprocess.Popen(
            [sys.executable, "-m", module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=said,
            cwd=BASE_DIR,
            env=_environment(folder),
            start_new_session=True,
        )
        try:
            answer, too_long = process.communicate(order, timeout=bounds.wall_s)[0], False
        except BaseException as error:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            if not isinstance(error, subprocess.TimeoutExpired):
                raise
            answer, too_long = b"", True
        return Ended(answer, process.returncode, _tail(said), too_long)


def _tail(said: IO[bytes], most: int = 2000) -> str:
    said.seek(max(0, said.seek(0, os.SEEK_END) - most))
    return said.read().decode(errors="replace").strip()


def _environment(folder: Path) -> Mapping[str, str]:
    kept = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    return {**kept, **SAFE, "HOME": str(folder), "TMPDIR": str(folder), "YOLO_CONFIG_DIR": str(folder)}


def bind(bounds: Bounds, *, address_space: bool = True) -> int:
    """Set ``bounds`` upon this process, for good. Returns the descriptor for the answer.

    Standard output then is standard error: what runtimes print must not stand between us and the answer.
    ``address_space`` is False where a graphics card's driver maps more than there is.
    """
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")  # when memory runs out, this goes and not the room
    _limit(resource.RLIMIT_CORE, 0, 0)
    _limit(resource.RLIMIT_CPU, bounds.cpu_s, bounds.cpu_s + GRACE_CPU_S)
    _limit(resource.RLIMIT_FSIZE, bounds.written_bytes, bounds.written_bytes)
    if address_space:
        _limit(resource.RLIMIT_AS, bounds.memory_bytes, bounds.memory_bytes)
    answer = os.dup(1)
    os.dup2(2, 1)
    return answer


def _limit(what: int, soft: int, hard: int) -> None:
    most = resource.getrlimit(what)[1]
    if most != resource.RLIM_INFINITY:
        soft, hard = min(soft, most), min(hard, most)
    resource.setrlimit(what, (soft, hard))


def ending(ended: Ended, bounds: Bounds) -> str:
    """Why a child gave no answer, in words that follow "got".

    >>> ending(Ended(b"", -11, "", False), Bounds())
    'a crash of the runtime (SIGSEGV)'
    """
    if ended.too_long:
        return f"none within {bounds.wall_s:g} s: it computes for ever, or is far too slow for this machine"
    if ended.code == -signal.SIGXCPU:
        return f"none within {bounds.cpu_s} s of CPU: it computes for ever, or is far too slow for this machine"
    if ended.code == -signal.SIGKILL:
        return "an end by the system (SIGKILL), which most often means that memory ran out"
    if ended.code < 0:
        return f"a crash of the runtime ({signal.Signals(-ended.code).name})"
    return f"exit status {ended.code} ({ended.last_words.splitlines()[-1] if ended.last_words else 'no words'})"
