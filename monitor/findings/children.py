"""Ask a question in a process of its own: an import that crashes or hangs is a finding, not the end of the doctor."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence

ANSWER_S = 25.0


class NoAnswer(Exception):
    """The process did not answer; the text says how it ended."""


def ask(
    command: Sequence[str],
    *,
    environment: Mapping[str, str] | None = None,
    cwd: str | None = None,
    timeout_s: float = ANSWER_S,
) -> str:
    """What ``command`` wrote to standard output. Raises ``NoAnswer``."""
    try:
        done = subprocess.run(
            command,
            env=None if environment is None else dict(environment),
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout_s,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise NoAnswer(f"no answer within {timeout_s:.0f} s") from None
    except OSError as error:
        raise NoAnswer(f"{command[0]}: {error.strerror}") from None
    if done.returncode:
        raise NoAnswer(how_it_ended(done.returncode, done.stderr))
    return done.stdout


def ask_python(program: str, timeout_s: float = ANSWER_S) -> str:
    """What ``program`` printed, run by this very Python. Raises ``NoAnswer``."""
    return ask([sys.executable, "-c", program], timeout_s=timeout_s)


def how_it_ended(status: int, said: str) -> str:
    """The end of a process in words: its signal, else the last line that it wrote.

    >>> how_it_ended(-11, "")
    'it crashed (SIGSEGV)'
    >>> how_it_ended(1, "Traceback\\nImportError: libGL.so.1: cannot open\\n")
    'ImportError: libGL.so.1: cannot open'
    """
    if status < 0:
        try:
            name = signal.Signals(-status).name
        except ValueError:
            name = f"signal {-status}"
        return f"it crashed ({name})"
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    return lines[-1][:300] if lines else f"it ended with {status}"
