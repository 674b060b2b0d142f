"""A whole installation under the tests' control: real log, real database, real processes that can be killed."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from monitor.instance import BASE_DIR, Instance
from streams.log import LogAddresses
from tests.services.valkey import Valkey


def wait_for(what: str, done: Callable[[], Any], timeout_s: float, step_s: float = 0.1) -> Any:
    """The first true answer of ``done``; fails with ``what`` after ``timeout_s``."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if answer := done():
            return answer
        time.sleep(step_s)
    raise AssertionError(f"{what}: not within {timeout_s} s")


class Installation:
    """Valkeys of its own (and the given Kafka), a database (SQLite, or ``DATABASE_URL``), and parts started by name.

    ``tables``: a file to begin the database with, which then needs no migration.
    """

    def __init__(self, folder: Path, *, kafka: str = "", tables: Path | None = None, **environment: str) -> None:
        self.instance = Instance.open(folder)
        if tables is not None:
            shutil.copy(tables, self.instance.data / "poliscope.sqlite3")
        self.valkey = Valkey(folder / "valkey")
        self.valkey.start()
        self.environment = {
            **self.instance.environment(),
            "REDIS_URL": self.valkey.rest_url,
            "POLISCOPE_FRAMES_URL": self.valkey.frames_url,
            "POLISCOPE_KAFKA": kafka,
            **environment,
        }
        self.addresses = LogAddresses.from_environment(self.environment)
        self._parts: dict[str, tuple[Sequence[str], subprocess.Popen[bytes]]] = {}

    def python(self, *arguments: str) -> str:
        """Run a Python program in this installation's environment; its output. Fails with what it printed."""
        command = [sys.executable, *arguments]
        done = subprocess.run(command, cwd=BASE_DIR, env=self.environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{arguments}: {done.stdout}\n{done.stderr}"
        return done.stdout

    def start(self, name: str, *arguments: str) -> None:
        """Start a part: ``arguments`` are Python's. Its output goes to ``logs/<name>.log``."""
        with (self.instance.data / "logs" / f"{name}.log").open("ab") as output:
            process = subprocess.Popen(
                [sys.executable, *arguments],
                cwd=BASE_DIR,
                env=self.environment,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._parts[name] = (arguments, process)

    def kill(self, name: str, number: int = signal.SIGKILL) -> None:
        """Send a signal to the part and everything it started."""
        _, process = self._parts[name]
        os.killpg(process.pid, number)
        if number == signal.SIGKILL:
            process.wait(10)

    def end(self, name: str, within_s: float) -> int:
        """Ask the part to stop (SIGTERM) and wait for it; its exit status."""
        _, process = self._parts[name]
        process.terminate()
        return process.wait(within_s)

    def restart(self, name: str) -> None:
        """Start a killed part again, with the same arguments."""
        self.start(name, *self._parts[name][0])

    def pid(self, name: str) -> int:
        """Of the part's own process, which leads a group of its own."""
        return self._parts[name][1].pid

    def alive(self, name: str) -> bool:
        return self._parts[name][1].poll() is None

    def log_text(self, name: str) -> str:
        return (self.instance.data / "logs" / f"{name}.log").read_text(errors="replace")

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """Read from the database, beside everybody who writes."""
        with self.database() as connection:
            return list(connection.execute(query).fetchall())

    def change(self, statement: str) -> None:
        """Change rows as nobody does in the product: to let time pass, or to clear up."""
        with self.database() as connection:
            connection.execute(statement)

    @contextlib.contextmanager
    def database(self) -> Iterator[Any]:
        """A connection of its own, outside any transaction until one is begun."""
        url = self.environment.get("DATABASE_URL") or f"sqlite:///{self.instance.data / 'poliscope.sqlite3'}"
        if url.startswith("sqlite:///"):
            connection: Any = sqlite3.connect(url.removeprefix("sqlite:///"), timeout=20, isolation_level=None)
        else:
            import psycopg

            connection = psycopg.connect(url, autocommit=True, connect_timeout=5)
        try:
            yield connection
        finally:
            connection.close()

    def seed(self, what: str, **values: Any) -> dict[str, Any]:
        """Migrate and run ``tests/end_to_end/seed.py``'s function ``what``."""
        answer: dict[str, Any] = json.loads(
            self.python("-m", "tests.end_to_end.seed", what, json.dumps(values)).splitlines()[-1]
        )
        return answer

    def close(self) -> None:
        for _, process in self._parts.values():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(10)
        self.valkey.kill9()
