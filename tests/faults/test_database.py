"""The database is away, or somebody holds its rows: nothing is lost, nothing happens twice, nobody waits for ever."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.faults.way import PARTS, Way
from tests.services.installation import wait_for

pytestmark = [pytest.mark.valkey, pytest.mark.slow, pytest.mark.timeout(300)]

DOWN_S, LOCKED_S = 60.0, 8.0
"""The locks last longer than any time-out of ours."""
SAID_S = 10.0
STUCK_S = 5.0
DRAINED_S = 30.0
PLACES = (0, 2, 8)


def pids(way: Way) -> dict[str, int]:
    return {name: way.installation.pid(name) for name in PARTS}


@pytest.mark.parametrize("_open_way", ["postgres"], indirect=True)
def test_nothing_is_lost_or_told_twice_while_the_server_is_down_for_a_minute(way: Way) -> None:
    before = pids(way)
    assert way.yard.server is not None
    way.yard.server.stop()
    down_s, down_at = time.monotonic(), time.time()
    camera = way.walk(*PLACES)
    wait_for("evaluate says why", lambda: way.says("evaluate", "database", down_at), SAID_S)
    wait_for("the sweep says why", lambda: way.says("sweep", "database", down_at), SAID_S)
    time.sleep(max(0.0, DOWN_S - (time.monotonic() - down_s)))
    assert way.phones(camera) == {}

    way.yard.server.start()
    way.wait_sent(camera, PLACES, DRAINED_S)

    assert way.phones(camera) == {f"k{place:02d}": 1 for place in PLACES}
    assert [row.repeats for row in way.told(camera)] == [None] * len(PLACES)
    assert pids(way) == before and all(way.installation.alive(name) for name in PARTS)


def test_nobody_is_stuck_for_more_than_five_seconds_while_rows_are_locked(way: Way) -> None:
    """One message is with its provider when the rows are locked, others are decided and cannot be stored."""
    way.twilio.modes = {"+886912000008": "slow"}
    sent, before = len(way.twilio.requests), pids(way)
    first = way.walk(8)
    way.twilio.wait_for(sent + 1, 20)
    [incident] = way.incidents(first)
    seen: list[str] = []
    walking = threading.Thread(target=lambda: seen.append(way.walk(*PLACES)))
    with locked(way) as waits:
        locked_at = time.time()
        walking.start()
        status, told, took_s = way.ask("POST", f"/api/v1/incidents/{incident}/acknowledge")
        walking.join()
        time.sleep(max(0.0, LOCKED_S - (time.time() - locked_at)))
    assert (status, told["error"]["code"]) == (503, "busy")
    assert took_s <= STUCK_S + 1.5
    # PostgreSQL tells how long each statement has waited.
    assert max(waits, default=0.0) <= STUCK_S + 0.5

    way.wait_sent(first, [8], DRAINED_S)
    way.wait_sent(seen[0], PLACES, DRAINED_S)
    assert way.phones(first) == {"k08": 1}, "what was taken is remembered"
    assert way.phones(seen[0]) == {f"k{place:02d}": 1 for place in PLACES}
    assert way.says("evaluate", "database", locked_at)
    assert way.ask("POST", f"/api/v1/incidents/{incident}/acknowledge")[0] == 200
    assert pids(way) == before and all(way.installation.alive(name) for name in PARTS)


@contextmanager
def locked(way: Way) -> Iterator[list[float]]:
    """Somebody writes and does not end; yields for how long each statement that waits for it had waited."""
    waits: list[float] = []
    done = threading.Event()
    watching = threading.Thread(target=lambda: waits.extend(waited(way, done)))
    with way.installation.database() as holder:
        if way.yard.server is None:
            holder.execute("BEGIN IMMEDIATE")
        else:
            holder.execute("BEGIN")
            holder.execute("LOCK TABLE alerts_delivery, alerts_incident IN EXCLUSIVE MODE")
        watching.start()
        try:
            yield waits
        finally:
            holder.execute("ROLLBACK")
            done.set()
            watching.join(10)


def waited(way: Way, done: threading.Event) -> Iterator[float]:
    """For how long each statement has waited for a lock, each 50 ms; of SQLite nobody can say."""
    query = """
    SELECT EXTRACT(EPOCH FROM clock_timestamp() - query_start) FROM pg_stat_activity WHERE wait_event_type = 'Lock'
    """
    while way.yard.server is not None and not done.wait(0.05):
        for (seconds,) in way.installation.rows(query):
            yield float(seconds)
