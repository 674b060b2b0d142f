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
    process: subprocess.Popen[bytes]
    valkey: Valkey


def wait_for(url: str, process: subprocess.Popen[bytes]) -> None:
    """Until it answers, or ``START_S`` passed."""
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        assert process.poll() is None, f"the server ended with {process.returncode}"
        try:
            with urllib.request.urlopen(f"{url}/login/", timeout=2):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    raise AssertionError(f"{url} did not answer within {START_S} s")


@pytest.fixture(scope="session")
def blank(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with tables and static files, to be copied."""
    folder = tmp_path_factory.mktemp("blank")
    subprocess.run([sys.executable, "-m", "tests.browser.server", str(folder), "0"], check=True, timeout=120)
    return folder


@pytest.fixture
def room(tmp_path: Path, blank: Path) -> Iterator[Room]:
    """The real application over fresh rows, with real Valkeys; one test each, so that none sees another's clicks."""
    with served(tmp_path, blank) as one:
        yield one


@contextlib.contextmanager
def served(tmp_path: Path, blank: Path) -> Iterator[Room]:
    """A control room of its own in ``tmp_path``, begun as a copy of ``blank``."""
    valkey = Valkey(tmp_path / "valkey")
    valkey.start()
    port = free_port()
    folder = tmp_path / "data"
    shutil.copytree(blank, folder)
    environment = {
        **os.environ, "REDIS_URL": valkey.rest_url, "POLISCOPE_FRAMES_URL": valkey.frames_url, "POLISCOPE_KAFKA": "",
    }  # fmt: skip
    process = subprocess.Popen([sys.executable, "-m", "tests.browser.server", str(folder), str(port)], env=environment)
    try:
        url = f"http://127.0.0.1:{port}"
        wait_for(url, process)
        yield Room(url, folder, process, valkey)
    finally:
        process.kill()
        process.wait(10)
        valkey.stop()


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
