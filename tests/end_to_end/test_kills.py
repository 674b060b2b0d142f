"""Processes are killed at seeded moments; the events are those of a run in which nothing was killed.

The same real pictures go into ``frames.general`` in every run, as capture would append them. ``detect`` and
``evaluate`` are killed with SIGKILL again and again and started again, as ``up`` does. In the end every event of the
undisturbed run is there once, and the provider was asked once for each message, or once more only where the outcome
of the first request was unknown. POLISCOPE_KILLS sets how often each is killed (5 in CI, 20 on demand).
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from streams.log import open_log
from tests.end_to_end.street import HZ, TOPIC, sampled
from tests.services.installation import Installation, wait_for
from tests.services.kafka import Kafka
from tests.services.twilio import FakeTwilio

KILLS = int(os.environ.get("POLISCOPE_KILLS", "5"))
FASTER = 10.0 / max(KILLS, 5)
"""The street plays so many times faster than it was; with more kills slower, so that something is done between them."""
# Pictures that wait for a killed worker are not given up here: that is another policy, tested elsewhere.
DETECT = ("manage.py", "detect", "--pool", "general", "--member", "detect-1", "--max-age", "3600", "--catch-up", "3600")
EVALUATE = ("manage.py", "evaluate", "--member", "evaluate-1")
WORKER = (
    *("-m", "celery", "-A", "monitor", "worker", "--pool", "threads", "--concurrency", "4"),
    *("--queues", "critical,ordinary,jobs", "--without-gossip", "--without-mingle", "--loglevel", "WARNING"),
)


def play(folder: Path, tables: Path, kafka: str = "", kills: int = 0, seed: int = 1) -> Outcome:
    """One run over the whole street; returns what it led to."""
    twilio = FakeTwilio()
    installation = Installation(folder, kafka=kafka, tables=tables, **twilio.environment)
    try:
        seeded = installation.seed("street", cameras=4, rearm_s=5.0)
        for name, arguments in (("detect", DETECT), ("evaluate", EVALUATE), ("worker", WORKER)):
            installation.start(name, *arguments)
        installation.start("sweep", "manage.py", "sweep")
        log = open_log(installation.addresses)
        producer = log.producer()
        moments = kill_moments(kills, seed)
        begun = time.monotonic()
        for step, row in enumerate(sampled(seeded["cameras"], datetime.now(UTC))):
            for frame in row:
                assert producer.append(TOPIC, frame.partition, frame.payload)
            while moments and moments[0][0] <= time.monotonic() - begun:
                name = moments.pop(0)[1]
                installation.kill(name, signal.SIGKILL)
                installation.restart(name)
            time.sleep(max(0.0, begun + step / HZ / FASTER - time.monotonic()))
        for _, name in moments:
            time.sleep(1.5)
            installation.kill(name, signal.SIGKILL)
            installation.restart(name)
        assert producer.flush(20)
        settle(installation, log, seeded["cameras"])
        log.close()
        return Outcome(installation, twilio)
    finally:
        installation.close()
        twilio.stop()


class Outcome:
    """Events, deliveries and requests at the end of a run."""

    def __init__(self, installation: Installation, twilio: FakeTwilio) -> None:
        self.events = sorted(row[0] for row in installation.rows("SELECT uid FROM alerts_event"))
        self.open_incidents = installation.rows("SELECT COUNT(*) FROM alerts_incident")[0][0]
        self.states = Counter(row[0] for row in installation.rows("SELECT state FROM alerts_delivery"))
        self.resends = installation.rows("SELECT COUNT(*) FROM alerts_delivery WHERE resends_id IS NOT NULL")[0][0]
        self.deliveries = installation.rows("SELECT COUNT(*) FROM alerts_delivery")[0][0]
        self.requests = len(twilio.messages)


def kill_moments(kills: int, seed: int) -> list[tuple[float, str]]:
    """When which process is killed, in order, spread over the street's time."""
    chance = random.Random(seed)
    span_s = 40.0 / FASTER
    return sorted((chance.uniform(1.0, span_s), name) for name in ("detect", "evaluate") for _ in range(kills))


def settle(installation: Installation, log: object, cameras: list[dict[str, object]]) -> None:
    """Wait until everything that was appended has been folded and every delivery has an end."""
    partitions = {int(str(camera["slot"])) % 16 for camera in cameras}

    def folded() -> bool:
        behind = log.lag(TOPIC, "detect.general")  # type: ignore[attr-defined]
        if any(behind.get(partition, 1) for partition in partitions):
            return False
        waiting = log.lag("observations", "evaluate")  # type: ignore[attr-defined]
        return all(waiting.get(partition, 99) <= 15 for partition in partitions)

    wait_for("every frame is analysed and folded", folded, 150, 0.5)
    time.sleep(3)
    finished = "SELECT COUNT(*) FROM alerts_delivery WHERE state IN ('queued', 'sending', 'unknown')"
    wait_for("every delivery has an end", lambda: installation.rows(finished)[0][0] == 0, 90, 0.5)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, tables: Path) -> Iterator[Outcome]:
    yield play(tmp_path_factory.mktemp("undisturbed"), tables)


@pytest.mark.slow
@pytest.mark.valkey
@pytest.mark.timeout(300)
def test_an_undisturbed_run_has_events_and_tells_once(undisturbed: Outcome) -> None:
    assert len(undisturbed.events) >= 10
    assert undisturbed.requests == undisturbed.deliveries == undisturbed.open_incidents


def check(outcome: Outcome, undisturbed: Outcome) -> None:
    assert outcome.events == undisturbed.events
    assert outcome.requests <= outcome.deliveries
    assert outcome.deliveries - outcome.resends == undisturbed.deliveries


@pytest.mark.slow
@pytest.mark.valkey
@pytest.mark.timeout(400)
def test_kills_change_nothing_on_valkey(undisturbed: Outcome, tmp_path: Path, tables: Path) -> None:
    check(play(tmp_path, tables, kills=KILLS, seed=2026), undisturbed)


@pytest.mark.slow
@pytest.mark.kafka
@pytest.mark.timeout(400)
def test_kills_change_nothing_on_kafka(undisturbed: Outcome, tmp_path: Path, tables: Path, kafka: Kafka) -> None:
    check(play(tmp_path, tables, kafka=kafka.addresses.kafka, kills=KILLS, seed=1121), undisturbed)
