"""A real Valkey pair, started by the tests, that can be killed, restarted, frozen and thawed."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest
import redis

from monitor.instance import free_port
from monitor.valkey import ValkeyServer
from streams.log import LogAddresses

Role = Literal["frames", "rest"]


class Valkey:
    """A frames server and a rest server. Fault methods take the role, by default both."""

    def __init__(self, folder: Path, frames_mib: int = 0) -> None:
        self._servers: dict[Role, ValkeyServer] = {
            "frames": ValkeyServer("frames", folder / "frames", free_port(), memory_mib=frames_mib),
            "rest": ValkeyServer("rest", folder / "rest", free_port()),
        }
        self._processes: dict[Role, subprocess.Popen[bytes]] = {}

    @property
    def frames_url(self) -> str:
        return self._servers["frames"].url

    @property
    def rest_url(self) -> str:
        return self._servers["rest"].url

    @property
    def addresses(self) -> LogAddresses:
        return LogAddresses(kafka="", frames_url=self.frames_url, rest_url=self.rest_url)

    def client(self, role: Role = "rest") -> redis.Redis:
        """A plain client, for looking inside."""
        return redis.Redis.from_url(self._servers[role].url, protocol=2, socket_timeout=10)

    def process(self, role: Role) -> subprocess.Popen[bytes]:
        return self._processes[role]

    def start(self, *roles: Role) -> None:
        """Start and wait until they answer."""
        for role in roles or ("frames", "rest"):
            server = self._servers[role]
            server.prepare()
            self._processes[role] = subprocess.Popen(server.command(), stdout=subprocess.DEVNULL)
        for role in roles or ("frames", "rest"):
            self._servers[role].wait_ready(15)

    def kill9(self, *roles: Role) -> None:
        for role in roles or ("frames", "rest"):
            self._processes[role].kill()
            self._processes[role].wait(10)

    def restart(self, *roles: Role) -> None:
        """``kill -9`` (when it still runs) and start again on the same port and folder."""
        self.kill9(*roles)
        self.start(*roles)

    def pause(self, *roles: Role) -> None:
        """SIGSTOP: connections stay, answers do not come."""
        for role in roles or ("frames", "rest"):
            self._processes[role].send_signal(signal.SIGSTOP)

    def resume(self, *roles: Role) -> None:
        for role in roles or ("frames", "rest"):
            self._processes[role].send_signal(signal.SIGCONT)

    def heal(self) -> None:
        """After a test: whatever it broke runs again."""
        for role, process in self._processes.items():
            if process.poll() is not None:
                self.start(role)
            else:
                process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        for process in self._processes.values():
            if process.poll() is None:
                process.kill()
                process.wait(10)


@pytest.fixture(scope="session")
def _valkey_pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    pair = Valkey(tmp_path_factory.mktemp("valkey"))
    pair.start()
    yield pair
    pair.stop()


@pytest.fixture
def valkey(_valkey_pair: Valkey) -> Iterator[Valkey]:
    """The session's pair, empty."""
    _valkey_pair.heal()
    for role in ("frames", "rest"):
        client = _valkey_pair.client(role)
        client.flushall()
        client.close()
    yield _valkey_pair
    _valkey_pair.heal()


@pytest.fixture
def log_addresses(valkey: Valkey) -> LogAddresses:
    """Where an empty log is, on the Redis engine."""
    return valkey.addresses
