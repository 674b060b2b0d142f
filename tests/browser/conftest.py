"""A served control room and a Chromium that tolerates nothing on its console."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from monitor.instance import free_port
from tests.frontend.seeding import PASSWORD
from tests.services.valkey import Valkey

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or ""
START_S = 40.0


@dataclass(frozen=True, slots=True)
class Room:
    """A served control room."""

    url: str
    folder: Path
    process: psutil.Process
    valkey: Valkey


def wait_for(url: str, process: psutil.Process) -> None:
    """Until it answers, or ``START_S`` passed."""
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        assert process.is_running(), "the server has ended; its error is above"
        try:
            with urllib.request.urlopen(f"{url}/login/", timeout=2):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.05)
    raise AssertionError(f"{url} did not answer within {START_S} s")


class Theatre:
    """The loaded application, from which rooms are forked one after the other; a folder, a port and Valkeys."""

    def __init__(self, folder: Path, tables: Path) -> None:
        self.folder, self._blank, self._port = folder / "data", folder / "blank.sqlite3", free_port()
        self.folder.mkdir()
        shutil.copy(tables, self.folder / "browser.sqlite3")
        self.valkey = Valkey(folder / "valkey")
        self.valkey.start()
        environment = {
            **os.environ, "REDIS_URL": self.valkey.rest_url, "POLISCOPE_FRAMES_URL": self.valkey.frames_url,
            "POLISCOPE_KAFKA": "",
        }  # fmt: skip
        command = [sys.executable, "-m", "tests.browser.server", str(self.folder), str(self._port)]
        self._loaded = subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._heard() == "ready"
        shutil.copy(self.folder / "browser.sqlite3", self._blank)

    def _heard(self) -> str:
        assert self._loaded.stdout is not None
        return self._loaded.stdout.readline().strip()

    def _sweep(self) -> None:
        """Nothing is left of the last room but tables and static files."""
        for path in self.folder.iterdir():
            if path.is_dir() and path.name != "static":
                shutil.rmtree(path)
            elif path.is_file():
                path.unlink()
        shutil.copy(self._blank, self.folder / "browser.sqlite3")
        self.valkey.heal()
        for role in ("frames", "rest"):
            client = self.valkey.client(role)
            client.flushall()
            client.close()

    @contextlib.contextmanager
    def room(self) -> Iterator[Room]:
        """The next room."""
        self._sweep()
        assert self._loaded.stdin is not None
        self._loaded.stdin.write("\n")
        self._loaded.stdin.flush()
        process = psutil.Process(int(self._heard()))
        try:
            url = f"http://127.0.0.1:{self._port}"
            wait_for(url, process)
            yield Room(url, self.folder, process, self.valkey)
        finally:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
                process.wait(10)

    def close(self) -> None:
        """No room any more."""
        self._loaded.kill()
        self._loaded.communicate()
        self.valkey.stop()


@pytest.fixture(scope="session")
def theatre(tmp_path_factory: pytest.TempPathFactory, tables: Path) -> Iterator[Theatre]:
    """The application, loaded once."""
    theatre = Theatre(tmp_path_factory.mktemp("theatre"), tables)
    yield theatre
    theatre.close()


@pytest.fixture
def room(theatre: Theatre) -> Iterator[Room]:
    """The real application over fresh rows, with real Valkeys; one test each, so that none sees another's clicks."""
    with theatre.room() as one:
        yield one


JOBS = ("celery", "-A", "monitor", "worker", "--pool", "solo", "--queues", "jobs", "--without-gossip",
        "--without-mingle", "--loglevel", "WARNING")  # fmt: skip
"""The worker that rehearses."""


@contextlib.contextmanager
def beside(room: Room, *module: str) -> Iterator[None]:
    """``python -m`` a module of ours over the room's rows, log and folder."""
    own = {
        "POLISCOPE_DATA": str(room.folder), "POLISCOPE_URL": room.url, "POLISCOPE_SECRET_KEY": "tests-only-" * 6,
        "DATABASE_URL": f"sqlite:///{room.folder / 'browser.sqlite3'}", "REDIS_URL": room.valkey.rest_url,
        "POLISCOPE_FRAMES_URL": room.valkey.frames_url, "POLISCOPE_KAFKA": "",
        "DJANGO_SETTINGS_MODULE": "monitor.settings",
    }  # fmt: skip
    process = subprocess.Popen([sys.executable, "-m", *module], env={**os.environ, **own})
    try:
        yield
    finally:
        process.kill()
        process.wait(10)


@pytest.fixture(scope="package")
def chromium() -> Iterator[Browser]:
    if not CHROMIUM:
        pytest.skip("needs Chromium: apt install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


@dataclass
class Console:
    """What the browser complained about; ``expected`` are fragments that a test brings about on purpose."""

    errors: list[str]
    expected: list[str]

    def unexpected(self) -> list[str]:
        return [error for error in self.errors if not any(part in error for part in self.expected)]


Enter = Callable[..., Page]


@pytest.fixture
def console() -> Iterator[Console]:
    """Fails the test for any console error or uncaught exception, Content-Security-Policy's included."""
    seen = Console([], [])
    yield seen
    assert seen.unexpected() == []


def listen(page: Page, console: Console) -> None:
    page.on("console", lambda said: console.errors.append(said.text) if said.type == "error" else None)
    page.on("pageerror", lambda error: console.errors.append(str(error)))


@pytest.fixture
def enter(room: Room, chromium: Browser, console: Console) -> Iterator[Enter]:
    """``enter("alice", width=…)``: a person logs in through the door, in a browser of their own."""
    contexts: list[BrowserContext] = []

    def through_the_door(name: str = "alice", width: int = 1440, height: int = 900, touch: bool = False) -> Page:
        context = chromium.new_context(viewport={"width": width, "height": height}, locale="en-GB", has_touch=touch)
        contexts.append(context)
        page = context.new_page()
        listen(page, console)
        page.goto(f"{room.url}/")
        page.fill("input[name=username]", name)
        page.fill("input[name=password]", PASSWORD)
        page.click("button.primary")
        page.wait_for_selector("body[data-socket=up]")
        return page

    yield through_the_door
    for context in contexts:
        context.close()
