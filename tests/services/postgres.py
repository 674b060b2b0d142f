"""A real PostgreSQL (Debian's), started once a session in a folder of its own and stopped at its end."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

READY_S = 20.0
ROOM_BYTES = 1_000_000_000
"""What a folder in memory must have free: the cluster, its write-ahead log, and what the tests write."""
UNSAFE = ("fsync=off", "synchronous_commit=off", "full_page_writes=off", "wal_level=minimal", "max_wal_senders=0",
          "max_wal_size=128MB", "autovacuum=off")  # fmt: skip
"""Nothing here must outlive the machine: a killed server still finds everything that was committed."""


def quick_folder() -> str:
    """Memory where the machine has room for a cluster there, else the folder for temporary files."""
    memory = Path("/dev/shm")
    roomy = os.access(memory, os.W_OK) and shutil.disk_usage(memory).free > ROOM_BYTES
    return str(memory) if roomy else "/tmp"


def binaries() -> Path | None:
    """The newest ``/usr/lib/postgresql/*/bin``, or None where PostgreSQL is not installed."""
    found = [path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/postgres")]
    return max(found, key=lambda path: float(path.parent.name), default=None)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Postgres:
    """One server on loopback, with ``settings`` beside its defaults.

    It refuses to run as root, so root's tests run it as ``postgres``.
    """

    def __init__(self, folder: Path, programs: Path, settings: Sequence[str] = ()) -> None:
        self._folder, self._programs, self._port = folder, programs, _free_port()
        self._settings = settings
        self._user = "postgres" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name
        self._process: subprocess.Popen[bytes] | None = None
        if os.geteuid() == 0:
            shutil.chown(folder, "postgres")

    @property
    def url(self) -> str:
        """What ``DATABASE_URL`` takes."""
        return f"postgres://{self._user}@127.0.0.1:{self._port}/postgres"

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def _run(self, program: str, *arguments: str) -> subprocess.Popen[bytes]:
        switched = {"user": "postgres", "group": "postgres", "extra_groups": []} if os.geteuid() == 0 else {}
        with (self._folder / f"{program}.txt").open("ab") as output:
            return subprocess.Popen(
                [str(self._programs / program), *arguments],
                stdout=output,
                stderr=output,
                cwd=self._folder,
                start_new_session=True,
                **switched,  # type: ignore[call-overload]
            )

    def start(self) -> None:
        """Make the cluster where there is none, start, and wait until it answers."""
        cluster = self._folder / "cluster"
        if not cluster.exists():
            made = self._run("initdb", "-D", str(cluster), "-A", "trust", "-U", self._user, "-E", "UTF8", "--no-sync")
            if made.wait(60):
                raise RuntimeError(f"initdb: {(self._folder / 'initdb.txt').read_text()[-500:]}")
        options = ["-c", "listen_addresses=127.0.0.1", "-c", f"unix_socket_directories={self._folder}"]
        options += ["-c", "max_connections=60", "-c", "shared_buffers=16MB"]
        options += [word for setting in self._settings for word in ("-c", setting)]
        self._process = self._run("postgres", "-D", str(cluster), "-p", str(self._port), *options)
        self._wait()

    def _wait(self) -> None:
        until = time.monotonic() + READY_S
        while time.monotonic() < until:
            asked = self._run("pg_isready", "-q", "-h", "127.0.0.1", "-p", str(self._port))
            if asked.wait(10) == 0:
                return
            time.sleep(0.1)
        raise RuntimeError(f"postgres: not ready in {READY_S} s: {(self._folder / 'postgres.txt').read_text()[-500:]}")

    def stop(self) -> None:
        """Stop at once: clients are disconnected, the cluster stays."""
        if self._process is not None and self.running:
            self._process.send_signal(signal.SIGINT)
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait(10)
        self._process = None


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Postgres]:
    """The server itself, for tests that stop it."""
    programs = binaries()
    if programs is None:
        pytest.skip("needs PostgreSQL: apt-get install postgresql")
    # Not under pytest's own folder: that one is closed to the user that the server runs as.
    folder = Path(tempfile.mkdtemp(prefix="poliscope-postgres-", dir=quick_folder()))
    server = Postgres(folder, programs, UNSAFE)
    try:
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres(postgres_server: Postgres) -> str:
    """Its address, as ``DATABASE_URL`` takes it."""
    return postgres_server.url
