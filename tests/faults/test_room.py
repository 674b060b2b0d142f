"""The control room's server: hints that are lost, a browser that does not read, a stranger who sends too much."""

from __future__ import annotations

import itertools
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from uuid import UUID

import psutil
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Origin

from frontend.messages import decode_picture_frame
from streams.live import LivePicture, encode_live, picture_channel
from tests.faults.way import Way
from tests.services.installation import wait_for

pytestmark = [
    pytest.mark.valkey,
    pytest.mark.slow,
    pytest.mark.timeout(300),
    pytest.mark.parametrize("_open_way", ["sqlite"], indirect=True),
]

HEALED_S, ANSWERED_S = 5.0, 3.0
PICTURE_BYTES, PICTURES, PACE_S = 200_000, 1000, 0.005
MOST_MIB = 20.0
NEWEST_S = 2.0
UPLOAD_MB = 30


@contextmanager
def socket(way: Way, path: str) -> Iterator[ClientConnection]:
    """A browser's socket, logged in."""
    origin = Origin(f"http://127.0.0.1:{way.port}")
    headers = {"Cookie": way.door["cookie"]}
    with connect(f"ws://127.0.0.1:{way.port}{path}", additional_headers=headers, origin=origin) as browser:
        yield browser


class Screen:
    """What a browser would show: the newest change it has heard of."""

    def __init__(self, browser: ClientConnection) -> None:
        self.change, self._browser = -1, browser
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        try:
            for text in self._browser:
                self.change = max(self.change, json.loads(text).get("change", -1))
        except ConnectionClosed:
            return


@pytest.mark.parametrize("how", ["killed", "frozen"])
def test_the_screen_equals_the_database_within_five_seconds_while_the_hints_server_is_gone_and_after(
    way: Way, how: str
) -> None:
    camera = way.walk(8)
    way.wait_sent(camera, [8], 20)
    [incident] = way.incidents(camera)
    valkey = way.installation.valkey
    with socket(way, "/ws/room/") as browser:
        screen = Screen(browser)
        wait_for("the screen is there", lambda: screen.change == way.change_number(), HEALED_S)
        if how == "killed":
            valkey.kill9("rest")
        else:
            valkey.pause("rest")
        for action in ("acknowledge", "resolve"):
            before = way.change_number()
            body = json.dumps({"disposition": "confirmed"}).encode() if action == "resolve" else None
            status, told, took_s = way.ask("POST", f"/api/v1/incidents/{incident}/{action}", body)
            assert (status, told["state"]) == (200, f"{action}d"), told
            assert took_s <= ANSWERED_S
            assert way.change_number() > before
            wait_for("the screen shows it", lambda: screen.change == way.change_number(), HEALED_S)
            valkey.heal()


def test_a_browser_that_does_not_read_costs_little_and_sees_the_newest_picture_at_once(way: Way) -> None:
    camera = UUID(way.yard.cameras[0]["uid"])
    web = psutil.Process(way.installation.pid("web"))
    with socket(way, "/ws/wall/") as reader:
        watch(reader, camera)
        # So that what the first picture costs is not counted.
        assert newest_s(way, reader, camera, 1) < 10
    with socket(way, "/ws/wall/") as browser:
        watch(browser, camera)
        before = web.memory_info().rss
        for sequence in range(100, 100 + PICTURES):
            publish(way, camera, sequence)
            time.sleep(PACE_S)
        assert (web.memory_info().rss - before) / 2**20 <= MOST_MIB
        assert newest_s(way, browser, camera, 10_000) <= NEWEST_S


def publish(way: Way, camera: UUID, sequence: int) -> None:
    """What capture does with each picture of a camera that somebody watches."""
    picture = LivePicture(
        camera=camera,
        session=1,
        sequence=sequence,
        captured_at=datetime.now(UTC),
        width_px=640,
        height_px=360,
        jpeg=bytes(PICTURE_BYTES),
    )
    way.frames.publish(picture_channel(camera), encode_live(picture))


def newest_s(way: Way, browser: ClientConnection, camera: UUID, sequence: int) -> float:
    """How long a browser that begins to read needs for a picture of now; the camera goes on five times a second."""
    began_s = time.monotonic()
    done = threading.Event()

    def film() -> None:
        for number in itertools.count(sequence):
            publish(way, camera, number)
            if done.wait(0.2):
                return

    filming = threading.Thread(target=film)
    filming.start()
    try:
        while time.monotonic() - began_s < 30:
            frame = browser.recv(10)
            if isinstance(frame, bytes) and int(str(decode_picture_frame(frame)[0]["sequence"])) >= sequence:
                break
        return time.monotonic() - began_s
    finally:
        done.set()
        filming.join(5)


def watch(browser: ClientConnection, camera: UUID) -> None:
    """Ask for a camera, and wait until its pictures are on their way."""
    browser.send(json.dumps({"type": "watch", "cameras": [str(camera)]}))
    while json.loads(browser.recv(5))["type"] != "watching":
        pass
    time.sleep(0.5)


@pytest.mark.parametrize("path", ["/api/v1/incidents", "/login/", "/hooks/twilio/status/"])
def test_a_huge_request_is_refused_and_not_a_byte_of_it_is_stored(way: Way, path: str) -> None:
    web = psutil.Process(way.installation.pid("web"))
    before = written(web)
    chunks = (bytes(100_000) for _ in range(UPLOAD_MB * 10))
    assert way.ask("POST", path, chunks)[0] == 413
    assert written(web) - before < 2_000_000


def written(process: psutil.Process) -> int:
    """Bytes that a process has written, to whatever."""
    return int(process.io_counters().write_chars)
