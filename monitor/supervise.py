"""Children of ``up``: started so that none outlives it, watched, replaced, and stopped in order. No Django in here."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from monitor.instance import BASE_DIR

RESTARTS = 5
RESTARTS_WITHIN_S = 60.0
SLOW_RESTART_S = 15.0
LOG_BYTES = 5_000_000
_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)


def _die_with_parent() -> None:
    # The kernel ends the child when `up` is gone, however it went. (Cleared by exec of set-uid programs only.)
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


@dataclass(slots=True)
class Part:
    """One child: its command, and what became of it."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    log: Path
    stop_s: float = 5.0
    process: subprocess.Popen[bytes] | None = None
    ended_at: deque[float] = field(default_factory=lambda: deque(maxlen=RESTARTS))
    restart_at: float = 0.0

    def start(self) -> None:
        """Spawn it, in a session of its own: Ctrl-C reaches ``up`` alone, which stops the parts in order."""
        if self.log.exists() and self.log.stat().st_size > LOG_BYTES:
            self.log.replace(self.log.with_suffix(".old"))
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                self.command,
                cwd=BASE_DIR,
                env=dict(self.environment),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=_die_with_parent,
            )

    @property
    def running(self) -> bool:
        """Whether it lives."""
        return self.process is not None and self.process.poll() is None

    def signal(self, number: int) -> None:
        """Send a signal to its whole session; one that is gone already is fine."""
        if self.process is not None and self.running:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, number)

    def last_lines(self, count: int = 8) -> str:
        """The end of its log, for a person to read."""
        try:
            return "\n".join(self.log.read_text(errors="replace").splitlines()[-count:])
        except OSError:
            return ""


class Supervisor:
    """Keeps parts running until ``stop``."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self.parts: list[Part] = []

    def add(self, part: Part) -> Part:
        """Start ``part`` and keep it running."""
        self.parts.append(part)
        part.start()
        return part

    def look(self, now_s: float) -> None:
        """Restart what ended: at once, but after five times in a minute only each quarter of a minute."""
        for part in self.parts:
            if part.running:
                continue
            if not part.restart_at:
                code = part.process.returncode if part.process else None
                part.ended_at.append(now_s)
                flood = len(part.ended_at) == RESTARTS and now_s - part.ended_at[0] < RESTARTS_WITHIN_S
                part.restart_at = now_s + (SLOW_RESTART_S if flood else 0.5)
                again = f"again in {SLOW_RESTART_S:.0f} s" if flood else "starting it again"
                self._say(f"{part.name} ended ({code}); {again}. Its log: {part.log}")
                if flood:
                    self._say(part.last_lines())
            elif now_s >= part.restart_at:
                part.restart_at = 0.0
                part.start()

    def stop(self, groups: Sequence[Sequence[str]]) -> None:
        """Stop the parts named in each group together, group after group: SIGTERM, patience, SIGKILL.

        The patience of a group is that of its most patient part, however many of them do not end.
        """
        for group in groups:
            chosen = [part for part in self.parts if part.name.split(".")[0] in group]
            for part in chosen:
                part.signal(signal.SIGTERM)
            told_s = time.monotonic()
            for part in chosen:
                self._wait(part, told_s + part.stop_s)

    @staticmethod
    def _wait(part: Part, until_s: float) -> None:
        if part.process is None:
            return
        with contextlib.suppress(subprocess.TimeoutExpired):
            part.process.wait(max(0.0, until_s - time.monotonic()))
        # Whatever a part left in its session ends with it.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(part.process.pid, signal.SIGKILL)
        part.process.wait(2)


def wait_until(done: Callable[[], bool], timeout_s: float, step_s: float = 0.1) -> bool:
    """Poll ``done`` until it is true; False when ``timeout_s`` passed first."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if done():
            return True
        time.sleep(step_s)
    return done()
