"""``./poliscope up`` as its own processes, the demo's known truth, and a Chromium that people log in with."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import psutil
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from monitor.instance import BASE_DIR, Instance, free_port
from streams import scenes
from streams.demo_cameras import Broadcast
from streams.scenes import Recorded, Seen
from tests.services.installation import wait_for

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or ""
CHROMIUM_ARGUMENTS = ("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run")


class Running:
    """One ``./poliscope up --json``.

    ``drawn``: a folder with the demo's videos, which then need no drawing; ``tables``: a file to begin the database
    with, which then needs no migration.
    """

    def __init__(
        self,
        data: Path,
        *options: str,
        drawn: Path | None = None,
        tables: Path | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.data, self.port = data, free_port()
        if drawn is not None:
            (data / "scenes").mkdir(mode=0o700, parents=True)
            for video in drawn.iterdir():
                os.link(video, data / "scenes" / video.name)
        if tables is not None:
            data.mkdir(mode=0o700, parents=True, exist_ok=True)
            shutil.copy(tables, data / "poliscope.sqlite3")
        command = ["./poliscope", "up", "--json", "--data", str(data), "--port", str(self.port), *options]
        self.started = time.monotonic()
        self.process = subprocess.Popen(
            command,
            cwd=BASE_DIR,
            env={**os.environ, **(environment or {})},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        self.ready_s = time.monotonic() - self.started
        if not line:
            assert self.process.stderr is not None
            raise AssertionError(self.process.stderr.read())
        self.ready: dict[str, Any] = json.loads(line)
        self.url: str = self.ready["url"]
        self.children = psutil.Process(self.process.pid).children(recursive=True)

    def get(self, path: str, token: str | None = None) -> Any:
        """The API's answer. Raises ``urllib.error.HTTPError``."""
        return self._ask(path, token)

    def post(self, path: str, content: Mapping[str, Any] | None = None) -> Any:
        """The API's answer. Raises ``urllib.error.HTTPError``."""
        return self._ask(path, None, json.dumps(content or {}).encode())

    def _ask(self, path: str, token: str | None, body: bytes | None = None) -> Any:
        headers = {"Authorization": f"Bearer {token or self.ready['token']}", "Content-Type": "application/json"}
        request = urllib.request.Request(f"{self.url}/api/v1/{path}", data=body, headers=headers)
        with urllib.request.urlopen(request, timeout=10) as response:
            return json.load(response)

    def python(self, program: str) -> str:
        """Run ``program`` with Django set up in this installation's environment; what it printed."""
        command = [sys.executable, "manage.py", "shell", "--no-imports", "-c", program]
        environment = {**os.environ, **Instance.open(self.data).environment()}
        done = subprocess.run(command, cwd=BASE_DIR, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def rows(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        """Read from the database, beside everybody who writes."""
        connection = sqlite3.connect(f"file:{self.data / 'poliscope.sqlite3'}?mode=ro", uri=True, timeout=10)
        try:
            return connection.execute(query, values).fetchall()
        finally:
            connection.close()

    def change(self, query: str, *values: Any) -> None:
        """Change rows as nobody does in the product: to let time pass."""
        connection = sqlite3.connect(self.data / "poliscope.sqlite3", timeout=20)
        try:
            with connection:
                connection.execute(query, values)
        finally:
            connection.close()

    def log_text(self, part: str) -> str:
        """What the part has written so far."""
        return (self.data / "logs" / f"{part}.log").read_text(errors="replace")

    @functools.cached_property
    def broadcast(self) -> Broadcast:
        """Where the demo cameras are and when they began."""
        return msgspec.json.decode((self.data / "scenes" / "demo.json").read_bytes(), type=Broadcast)

    @functools.cached_property
    def truths(self) -> dict[str, Recorded]:
        """What each scene shows, by its key."""
        return {
            station.key: msgspec.json.decode(Path(station.truth).read_bytes(), type=Recorded)
            for station in self.broadcast.cameras
        }

    @functools.cached_property
    def camera_uids(self) -> dict[str, str]:
        """The uid of each demo camera, by its scene's key; whoever plays a scene once more comes later."""
        query = (
            "select c.uid, s.address from streams_camera c join streams_source s on s.camera_id = c.id order by c.id"
        )
        found: dict[str, str] = {}
        for uid, address in self.rows(query):
            found.setdefault(address.rpartition("/")[2], str(UUID(uid)))
        return {key: found[key] for key in self.truths}

    def seen_at(self, key: str, at: datetime) -> list[Seen]:
        """Everybody in the picture that the scene ``key`` showed at ``at``."""
        truth = self.truths[key]
        frame = int((at - self.broadcast.epoch_at).total_seconds() * truth.fps) % round(truth.length_s * truth.fps)
        return [seen for seen in truth.seen if round(seen.t_s * truth.fps) == frame]

    def stop(self, number: int = signal.SIGINT) -> float:
        """Seconds until it was gone."""
        self.children = psutil.Process(self.process.pid).children(recursive=True)
        start = time.monotonic()
        self.process.send_signal(number)
        self.process.wait(30)
        return time.monotonic() - start

    def left(self) -> list[str]:
        """Command lines of what still runs."""
        found = []
        for child in self.children:
            try:
                if child.is_running() and child.status() != psutil.STATUS_ZOMBIE:
                    found.append(" ".join(child.cmdline()))
            except psutil.NoSuchProcess:
                continue
        return found

    def close(self) -> None:
        """Stop it if it runs; what it started ends with it."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(10)
        for stream in (self.process.stdout, self.process.stderr):
            if stream is not None:
                stream.close()


def settled(running: Running) -> None:
    """Wait until every part reports and every camera is seeing. Fails after 30 s."""

    def well() -> bool:
        health = running.get("health")
        return bool(health["ok"]) and all(camera["state"] == "seeing" for camera in health["cameras"])

    wait_for("all cameras are seeing", well, 30, 0.3)


@pytest.fixture(scope="session")
def kept_scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a test may leave the demo's videos that it had drawn: it takes a minute of a core."""
    return tmp_path_factory.mktemp("drawn")


def keep_scenes(drawn: Path, kept: Path) -> None:
    """Leave them for the others."""
    for video in drawn.glob("*-*.mp4"):
        for path in (video, video.with_suffix(".json")):
            with contextlib.suppress(FileExistsError):
                os.link(path, kept / path.name)


@pytest.fixture(scope="session")
def drawn_scenes(kept_scenes: Path) -> Path:
    """The demo's videos, drawn once for all installations of the session, unless somebody left them."""
    scenes.prepare(kept_scenes)
    return kept_scenes


# --- People before screens --------------------------------------------------------------------------------------------


@dataclass
class Console:
    """What the browser complained about; ``expected`` are fragments that a test brings about on purpose."""

    errors: list[str] = field(default_factory=list)
    expected: Sequence[str] = ()

    def unexpected(self) -> list[str]:
        return [error for error in self.errors if not any(part in error for part in self.expected)]

    def listen(self, page: Page) -> None:
        """Hear of console errors (Content-Security-Policy's are among them) and of uncaught exceptions."""
        page.on("console", lambda said: self.errors.append(said.text) if said.type == "error" else None)
        page.on("pageerror", lambda error: self.errors.append(str(error)))


class Browsers:
    """People who log in through the door of one installation, each in a browser of their own."""

    def __init__(self, chromium: Browser, url: str) -> None:
        self._chromium, self._url = chromium, url
        self._contexts: list[BrowserContext] = []
        self.console = Console()

    def open(self, width: int = 1440, height: int = 900) -> Page:
        """A page that nobody has logged in on."""
        context = self._chromium.new_context(viewport={"width": width, "height": height}, locale="en-GB")
        self._contexts.append(context)
        context.on("page", self.console.listen)
        return context.new_page()

    def enter(self, user: str, password: str, width: int = 1440, height: int = 900) -> Page:
        """A person in the room, connected."""
        page = self.open(width, height)
        page.goto(f"{self._url}/")
        page.fill("input[name=username]", user)
        page.fill("input[name=password]", password)
        page.click("button.primary")
        page.wait_for_selector("body[data-socket=up]")
        return page

    def close(self) -> None:
        for context in self._contexts:
            context.close()


@pytest.fixture(scope="module")
def chromium_of_module() -> Iterator[Browser]:
    """Chromium, gone with the module: Playwright allows one at a time."""
    if not CHROMIUM:
        pytest.skip("needs Chromium: apt install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(CHROMIUM_ARGUMENTS))
        yield browser
        browser.close()


def as_time(iso: str) -> datetime:
    """A moment as the screens and the API write it."""
    return datetime.fromisoformat(iso.replace("Z", "+00:00"))


def aged(at: str, by_s: float) -> str:
    """A moment of a SQLite row, ``by_s`` earlier."""
    return (datetime.fromisoformat(at) - timedelta(seconds=by_s)).isoformat(sep=" ")
