"""Processes are killed or told to stop while people are told: nothing is lost, nothing definite comes twice."""

from __future__ import annotations

import os
import signal
import threading
import time

import pytest

from bench.yard import worker
from tests.faults.way import PARTS, Way

pytestmark = [pytest.mark.valkey, pytest.mark.slow, pytest.mark.timeout(300)]

RESOLVED_S = 20.0
STOPS_S = 10.0
"""What ``up`` gives all parts together before it kills them."""
PHONES = (0, 2, 3, 4, 8)


def number(place: int) -> str:
    return f"+8869120000{place:02d}"


def test_a_child_that_is_killed_while_sending_and_then_its_whole_group_lose_nothing(way: Way) -> None:
    """Two children of a worker with processes each wait for Twilio, which took the message and does not answer."""
    way.installation.kill("worker")
    way.installation.start("processes", *worker("prefork", 2, "processes"))
    try:
        way.twilio.modes = {number(place): ["hang", "accept"] for place in (0, 2)}
        before = len(way.twilio.requests)
        camera = way.walk(0, 2)
        way.twilio.wait_for(before + 2, 45)
        sending = {row.zone: row.pid for row in way.told(camera)}
        assert len(set(sending.values())) == 2 and way.installation.pid("processes") not in sending.values()

        os.kill(sending["k00"], signal.SIGKILL)
        way.wait_sent(camera, [0], RESOLVED_S)
        assert way.installation.alive("processes")

        way.installation.kill("processes")
        way.wait_sent(camera, [2], RESOLVED_S)
        assert way.phones(camera) == {"k00": 1, "k02": 1}
    finally:
        if way.installation.alive("processes"):
            way.installation.kill("processes")


def test_a_rolling_restart_loses_nothing_and_tells_nothing_twice(way: Way) -> None:
    """Twilio takes two seconds for each message, so whoever is told to stop is in the middle of some."""
    way.twilio.modes = {number(place): "slow" for place in PHONES}
    seen: list[str] = []
    walking = threading.Thread(target=lambda: seen.extend(way.walk(*PHONES) for _ in range(2)))
    walking.start()
    time.sleep(2.0)
    for name in PARTS:
        assert way.installation.end(name, STOPS_S) == 0
        way.installation.restart(name)
    # Uvicorn hands the signal on to itself when it is done.
    assert way.installation.end("web", STOPS_S) in (0, -signal.SIGTERM)
    way.installation.restart("web")
    walking.join()
    for camera in seen:
        way.wait_sent(camera, PHONES, 45)
        assert way.phones(camera) == {f"k{place:02d}": 1 for place in PHONES}
        assert [(row.repeats, row.attempts) for row in way.told(camera)] == [(None, 1)] * len(PHONES)
