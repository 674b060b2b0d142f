"""One look of the doctor from within the web server: in a process of its own, so that no request waits for it."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from monitor.doctor import unchecked
from monitor.findings.finding import Finding, _, from_wire
from monitor.instance import BASE_DIR

logger = logging.getLogger(__name__)

LOOK_S = 180.0
"""A look that takes longer is ended; what it had found by then is shown."""
FRESH_S = 20.0
"""Whoever opens the page so soon after a look is shown that one."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a look is: checks done, how many there are (0: not begun), what is looked at now, what was found."""

    done: int = 0
    of: int = 0
    following: str = ""
    findings: tuple[Finding, ...] = field(default=())
    finished: bool = False


class Look:
    """The newest look, shared by everybody who opens the page. Thread-safe; nothing in here waits."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], look_s: float = LOOK_S) -> None:
        self._command, self._environment, self._look_s = list(command), dict(environment), look_s
        self._lock = threading.Lock()
        self._progress = Progress(finished=True)
        self._ended_s = float("-inf")

    @property
    def progress(self) -> Progress:
        """As it stands now."""
        with self._lock:
            return self._progress

    def begin(self, *, again: bool = False) -> None:
        """Look, unless somebody looks already, or (without ``again``) the last look is fresh."""
        with self._lock:
            fresh = time.monotonic() - self._ended_s < FRESH_S and not again
            if fresh or not self._progress.finished:
                return
            self._progress = Progress()
        threading.Thread(target=self._run, name="doctor", daemon=True).start()

    def _run(self) -> None:
        problem = "OSError"
        try:
            problem = self._follow()
        except (OSError, ValueError, KeyError, TypeError) as error:
            logger.exception("the doctor could not be asked")
            problem = type(error).__name__
        finally:
            self._end(problem)

    def _follow(self) -> str:
        """Read what the process says until it ends; what went wrong with it, if anything."""
        process = subprocess.Popen(
            self._command,
            cwd=BASE_DIR,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        timer = threading.Timer(self._look_s, process.kill)
        timer.daemon = True
        timer.start()
        with process:
            assert process.stdout is not None
            for line in process.stdout:
                self._take(json.loads(line))
        timer.cancel()
        if self.progress.of and self.progress.done == self.progress.of:
            return ""
        killed = process.returncode < 0
        return f"no answer within {self._look_s:.0f} s" if killed else f"it ended with {process.returncode}"

    def _take(self, told: Mapping[str, Any]) -> None:
        found = tuple(map(from_wire, told["findings"]))
        with self._lock:
            self._progress = Progress(told["done"], told["of"], told["next"], (*self._progress.findings, *found))

    def _end(self, problem: str) -> None:
        with self._lock:
            now = self._progress
            lost = (unchecked(now.following or _("This machine"), problem),) if problem else ()
            self._progress = Progress(now.done, now.of, "", (*now.findings, *lost), finished=True)
            self._ended_s = time.monotonic()


def doctor_command(data: Path) -> list[str]:
    """The doctor for the installation in ``data``, a line a check; no port is wanted, for the asking server has it."""
    return [sys.executable, "-m", "monitor.doctor", "--follow", "--data", str(data), "--port", "0"]
