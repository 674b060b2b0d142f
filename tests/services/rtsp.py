"""A real RTSP camera server (GStreamer), started by the tests on loopback: it can hang, die, and ask for a password."""

from __future__ import annotations

import contextlib
import os
import selectors
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from monitor.instance import free_port

pytest_plugins = ["tests.services.capture"]

PYTHON = "/usr/bin/python3"
READY_S = 20.0


class RtspServer:
    """One server process with ``paths`` looping cameras, cam0, cam1 …"""

    def __init__(self, tool: Path, clip: Path, *, paths: int = 1, user: str = "", password: str = "") -> None:
        self._tool, self._clip, self._paths = tool, clip, paths
        self.user, self.password = user, password
        self.port = free_port()
        self._process: subprocess.Popen[str] | None = None
        self._frozen = False

    @property
    def pair(self) -> tuple[str, int]:
        """Host and port, as ``check_address(allow=…)`` takes them."""
        return "127.0.0.1", self.port

    def url(self, index: int = 0) -> str:
        """The address of camera ``index``, without credentials."""
        return f"rtsp://127.0.0.1:{self.port}/cam{index}"

    def start(self) -> RtspServer:
        """Start and wait until it listens. A second start uses the same port."""
        login = ["--user", self.user, "--password", self.password, "--auth", "digest"] if self.user else []
        command = [PYTHON, str(self._tool), "--port", str(self.port), "--file", str(self._clip)]
        command += ["--paths", str(self._paths), *login]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        assert self._process.stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            ready = selector.select(READY_S) and self._process.stdout.readline().startswith("ready")
        if not ready:
            self.stop()
            pytest.skip(
                "the RTSP server of the development tools does not start; are Debian's GStreamer packages here?"
            )
        return self

    def freeze(self) -> None:
        """The camera hangs: connections stay open, nothing comes any more."""
        self._signal(signal.SIGSTOP)
        self._frozen = True

    def thaw(self) -> None:
        """The camera goes on."""
        self._signal(signal.SIGCONT)
        self._frozen = False

    def stop(self) -> None:
        """The camera dies at once."""
        if self._process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        self._process.wait(5)
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._process = None

    def _signal(self, number: int) -> None:
        assert self._process is not None, "the server is not running"
        os.kill(self._process.pid, number)


RtspServers = Callable[..., RtspServer]


@pytest.fixture(scope="session")
def rtsp_tool(shared: Path) -> Path:
    """The program of ``RtspServer``; skips where it cannot run."""
    tool = shared / "tools" / "rtsp_cameras.py"
    if not Path(PYTHON).exists() or shutil.which("ffmpeg") is None or not tool.exists():
        pytest.skip(f"needs {tool}, {PYTHON} and ffmpeg")
    probe = "import gi; gi.require_version('GstRtspServer', '1.0'); from gi.repository import GstRtspServer"
    if subprocess.run([PYTHON, "-c", probe], capture_output=True).returncode:
        pytest.skip("needs Debian's python3-gi and gir1.2-gst-rtsp-server-1.0")
    return tool


@pytest.fixture
def rtsp_servers(shared: Path, rtsp_tool: Path) -> Iterator[RtspServers]:
    """Makes started servers: ``rtsp_servers(paths=2, user=…, password=…, clip=…)``; all of them end with the test."""
    started: list[RtspServer] = []

    def make(*, paths: int = 1, user: str = "", password: str = "", clip: Path | None = None) -> RtspServer:
        footage = clip or shared / "footage" / "mix360.mp4"
        server = RtspServer(rtsp_tool, footage, paths=paths, user=user, password=password)
        started.append(server)
        return server.start()

    yield make
    for server in started:
        server.stop()


def eventually(condition: Callable[[], bool], within_s: float, every_s: float = 0.05) -> bool:
    """Whether ``condition`` came true within ``within_s``: for waiting on real processes."""
    until = time.monotonic() + within_s
    while time.monotonic() < until:
        if condition():
            return True
        time.sleep(every_s)
    return condition()
