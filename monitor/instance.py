"""One installation's folder: its secrets, ports and the environment of its processes. No Django in here."""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import IO

BASE_DIR = Path(__file__).resolve().parent.parent


UNSEEN = "logins.unseen"
"""In the folder of the data while there are accounts whose passwords nobody has been shown: their names, one a line."""


class InstanceBusy(Exception):
    """Another ``up`` runs on the same folder."""


def free_port() -> int:
    """A loopback port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def port_is_free(port: int) -> bool:
    """Whether a server may listen on 127.0.0.1:``port``."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def write_private(path: Path, text: str) -> None:
    """Write ``text`` where only we can read it, whole or not at all."""
    fresh = path.with_name(f".{path.name}.new")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    fresh.replace(path)


@dataclass(frozen=True, slots=True)
class Instance:
    """What lives in ``data``: database, media, logs, and secrets readable by their owner alone."""

    data: Path

    @classmethod
    def open(cls, data: Path) -> Instance:
        """Create what is missing."""
        for folder in (data, data / "logs", data / "media", data / "run"):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return cls(data.resolve())

    def lock(self) -> IO[str]:
        """Hold the folder until the file is closed or the process ends. Raises ``InstanceBusy``."""
        file = (self.data / "run" / "lock").open("a+")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise InstanceBusy(
                f"{self.data}: expected a folder that no other Poliscope uses, but one runs on it; "
                "stop that one, or give this one its own with --data DIR --port N"
            ) from None
        return file

    def secret(self, name: str) -> str:
        """The secret called ``name``, made on first use."""
        path = self.data / f"{name}.secret"
        if not path.exists():
            write_private(path, secrets.token_urlsafe(50))
        return path.read_text().strip()

    def cookie(self) -> str:
        """A cookie name of its own: browsers share cookies between the ports of a host."""
        return f"poliscope_{self.secret('cookie')[:6].lower().replace('-', '0').replace('_', '0')}"

    def environment(self) -> dict[str, str]:
        """What every process of this installation needs to find its own; ours win over the caller's environment."""
        ours = {
            "DJANGO_SETTINGS_MODULE": "monitor.settings",
            "POLISCOPE_DATA": str(self.data),
            "POLISCOPE_SECRET_KEY": self.secret("key"),
            "POLISCOPE_COOKIE": self.cookie(),
            "PYTHONUNBUFFERED": "1",
        }
        stored = self.data / "run" / "environment.json"
        return {**os.environ, **(json.loads(stored.read_text()) if stored.exists() else {}), **ours}

    def store_environment(self, values: dict[str, str]) -> None:
        """Keep the addresses of the running parts, so that ``./poliscope manage`` finds them."""
        write_private(self.data / "run" / "environment.json", json.dumps(values))
