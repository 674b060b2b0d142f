"""Faults between the outbox and the phone, with real processes: Celery worker, sweep, Valkey, a loopback Twilio.

The processes share the test's own database. What would take minutes (leases, the pause before a repetition) is made to
have passed by moving the rows' times, never by waiting.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import pytest
from celery import current_app
from django.conf import settings
from django.db import connection
from django.db.models import F
from django.utils import timezone
from kombu import Connection

from alerts.delivery import at_once
from alerts.handover import TASK
from alerts.incidents import record
from alerts.models import Delivery, Incident, ReplyCode
from alerts.notifiers.base import SLOTS
from streams.health import decode_heartbeat
from streams.log import Log
from streams.log_redis import RedisLog
from streams.models import Camera
from streams.topics import HEALTH, standing_topics
from tests.alerts.town import SMS, Town, build_town
from tests.services.smtp import FakeSmtp
from tests.services.smtp import smtp as smtp
from tests.services.twilio import FakeTwilio
from tests.services.twilio import twilio as twilio
from tests.services.valkey import Valkey

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.valkey, pytest.mark.slow]

ROOT = Path(__file__).resolve().parents[2]
BURST, FROZEN_S, STORM = 6, 3.0, 10
WORKER = ["-m", "celery", "-A", "monitor", "worker", "--pool", "threads", "--concurrency", str(SLOTS)]
QUIET = ["--queues", "critical,ordinary,jobs", "--without-gossip", "--without-mingle", "--loglevel", "WARNING"]


def database_url() -> str:
    """The test's own database, for another process."""
    given = connection.settings_dict
    if connection.vendor == "sqlite":
        return f"sqlite:///{given['NAME']}"
    return f"postgres://{given['USER']}:{given['PASSWORD']}@{given['HOST']}:{given['PORT']}/{given['NAME']}"


class Parts:
    """Worker and sweep processes on the test's services. Everything started here is killed at the end."""

    def __init__(self, valkey: Valkey, twilio: FakeTwilio, smtp: FakeSmtp, folder: Path) -> None:
        self._folder = folder
        self._running: list[subprocess.Popen[bytes]] = []
        self._environment = os.environ | {
            "DJANGO_SETTINGS_MODULE": "monitor.settings",
            "DATABASE_URL": database_url(),
            "REDIS_URL": valkey.rest_url,
            "POLISCOPE_FRAMES_URL": valkey.frames_url,
            "POLISCOPE_SMTP_URL": smtp.url,
            "POLISCOPE_DATA": str(settings.DATA_DIR),
            "POLISCOPE_SECRET_KEY": settings.SECRET_KEY,
            # How fast a number sends is another matter; here a hundred leave at once.
            "POLISCOPE_SMS_PER_MINUTE": "60000",
            **twilio.environment,
        }

    def worker(self) -> subprocess.Popen[bytes]:
        return self._start("worker", [sys.executable, *WORKER, *QUIET])

    def sweep(self) -> subprocess.Popen[bytes]:
        return self._start("sweep", [sys.executable, "manage.py", "sweep"])

    def _start(self, name: str, command: list[str]) -> subprocess.Popen[bytes]:
        with (self._folder / f"{name}.txt").open("ab") as output:
            process = subprocess.Popen(
                command, cwd=ROOT, env=self._environment, stdout=output, stderr=output, start_new_session=True
            )
        self._running.append(process)
        return process

    def output(self, name: str) -> str:
        path = self._folder / f"{name}.txt"
        return path.read_text() if path.exists() else ""

    def stop(self) -> None:
        for process in self._running:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait(10)


@pytest.fixture
def log(valkey: Valkey) -> Iterator[Log]:
    log = RedisLog(valkey.addresses, name="faults")
    log.create(standing_topics(["general"]))
    yield log
    log.close()


@pytest.fixture
def parts(log: Log, valkey: Valkey, twilio: FakeTwilio, smtp: FakeSmtp, tmp_path: Path) -> Iterator[Parts]:
    parts = Parts(valkey, twilio, smtp, tmp_path)
    yield parts
    parts.stop()
    for name in ("worker", "sweep"):
        # Shown by pytest when the test fails.
        print(f"--- {name}\n{parts.output(name)[-4000:]}")


@pytest.fixture
def town(transactional_db: None) -> Town:
    return build_town()


def until(condition: Callable[[], bool], what: str, timeout_s: float = 45.0) -> None:
    until_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < until_s, f"not within {timeout_s} s: {what}; {Counter(states())}"
        time.sleep(0.1)


def happens(town: Town, **changes: object) -> None:
    record([town.event(frame=None, happened_at=timezone.now(), **changes)], now=timezone.now())


def states() -> list[str]:
    return sorted(Delivery.objects.values_list("state", flat=True))


def publish(valkey: Valkey, uid: UUID, times: int = 1) -> None:
    with Connection(valkey.rest_url) as broker:
        for _ in range(times):
            current_app.send_task(TASK, args=[str(uid)], queue="ordinary", connection=broker, ignore_result=True)


def beats(log: Log, part: str) -> int:
    records = log.read(HEALTH.name, 0, log.start(HEALTH.name, 0), 5000)
    return sum(decode_heartbeat(record.payload).part == part for record in records)


def test_it_sends_once_more_after_the_worker_was_killed_while_sending(
    town: Town, parts: Parts, twilio: FakeTwilio, valkey: Valkey
) -> None:
    town.person("Alice", SMS)
    twilio.script = ["hang"]
    worker = parts.worker()
    parts.sweep()
    happens(town)
    twilio.wait_for(1, 45)

    os.killpg(worker.pid, signal.SIGKILL)
    worker.wait(10)
    # Its lease is not waited for: the sweep sees that the process is gone.
    until(lambda: states() == ["unknown"], "it is known to be gone", 15)
    first = Delivery.objects.get()
    parts.worker()
    publish(valkey, first.uid, times=5)
    Delivery.objects.update(finished_at=F("finished_at") - timedelta(seconds=60))
    until(lambda: states() == ["sent", "unknown"], "it is sent once more")

    assert len(twilio.messages) == 2
    assert Delivery.objects.get(state="sent").resends == first


def test_it_sends_without_a_broker(town: Town, parts: Parts, twilio: FakeTwilio, valkey: Valkey, log: Log) -> None:
    town.person("Alice", SMS)
    parts.sweep()
    until(lambda: beats(log, "sweep") > 0, "the sweep runs")
    valkey.kill9("rest")

    happens(town)

    twilio.wait_for(1, 45)
    until(lambda: states() == ["sent"], "it is recorded")
    assert len(twilio.requests) == 1


def test_it_sends_with_a_broker_that_is_frozen(town: Town, parts: Parts, twilio: FakeTwilio, valkey: Valkey) -> None:
    town.person("Alice", SMS)
    parts.sweep()
    until(lambda: "sweeps" in parts.output("sweep"), "the sweep runs")
    valkey.pause("rest")

    happens(town)

    twilio.wait_for(1, 60)
    until(lambda: states() == ["sent"], "it is recorded")
    valkey.resume("rest")
    assert len(twilio.requests) == 1


def test_it_loses_nothing_when_the_broker_loses_everything(
    town: Town, parts: Parts, twilio: FakeTwilio, valkey: Valkey
) -> None:
    for n in range(10):
        town.person(f"Person {n}", ("sms", f"+1500555{n:04}"))
    parts.sweep()
    happens(town)
    broker = valkey.client()
    until(lambda: bool(broker.exists("ordinary")), "they are handed over")
    broker.flushall()

    parts.worker()

    twilio.wait_for(10, 60)
    until(lambda: states() == ["sent"] * 10, "all are recorded")
    assert len({request.to for request in twilio.requests}) == len(twilio.requests) == 10


def test_no_commit_waits_for_a_frozen_broker_and_all_is_handed_over_soon_after_its_return(
    town: Town, parts: Parts, twilio: FakeTwilio, valkey: Valkey, log: Log
) -> None:
    for n in range(BURST):
        town.person(f"Person {n}", ("sms", f"+1500555{n:04}"))
    parts.worker()
    parts.sweep()
    until(lambda: beats(log, "worker") > 0 and beats(log, "sweep") > 0, "both run")
    valkey.pause("rest")

    began_s = time.monotonic()
    happens(town)
    committed_s = time.monotonic() - began_s
    time.sleep(FROZEN_S)
    frozen = len(twilio.requests)
    valkey.resume("rest")

    twilio.wait_for(BURST, 5)
    assert (frozen, committed_s < 2.0) == (0, True)
    until(lambda: states() == ["sent"] * BURST, "all are recorded")
    assert len(twilio.requests) == BURST


def test_a_storm_loses_nothing_and_doubles_nothing_while_the_broker_is_emptied_again_and_again(
    town: Town, parts: Parts, twilio: FakeTwilio, valkey: Valkey
) -> None:
    for n in range(10):
        town.person(f"Person {n}", ("sms", f"+1500555{n:04}"))
    parts.worker()
    parts.sweep()
    until(lambda: "sweeps" in parts.output("sweep"), "the sweep runs")
    broker = valkey.client()
    for n in range(STORM):
        camera = Camera.objects.create(name=f"Dock {n}", site=town.site, group=town.gate.group)
        happens(town, severity="critical", camera=camera.uid)
        time.sleep(0.2)
        broker.flushall()

    until(lambda: states() == ["sent"] * 10 * STORM, "all are recorded", 60)
    assert len(twilio.requests) == len({(one.to, one.body) for one in twilio.requests}) == 10 * STORM


def test_it_is_sent_by_one_of_two_workers_however_often_it_is_handed_over(
    town: Town, parts: Parts, twilio: FakeTwilio, valkey: Valkey
) -> None:
    town.person("Alice", SMS)
    happens(town)
    publish(valkey, Delivery.objects.get().uid, times=40)

    parts.worker()
    parts.worker()

    twilio.wait_for(1, 45)
    broker = valkey.client()
    until(lambda: not broker.llen("ordinary") and not broker.hlen("unacked"), "every copy is done with")
    assert (states(), len(twilio.requests)) == (["sent"], 1)


def test_it_sends_sms_while_the_mail_server_hangs(town: Town, parts: Parts, twilio: FakeTwilio, smtp: FakeSmtp) -> None:
    smtp.mode = "silent"
    for n in range(12):
        town.person(f"Person {n}", ("email", f"person{n}@example.org"))
    parts.worker()
    parts.sweep()
    happens(town)
    until(lambda: states().count("sending") >= at_once(SLOTS), "e-mails hang")

    town.person("Alice", SMS)
    happens(town, camera=town.yard.uid)

    until(lambda: Delivery.objects.filter(contact__channel="sms", state="sent").exists(), "the SMS leaves")
    assert Delivery.objects.filter(contact__channel="email", state="sending").exists()
    assert len(twilio.requests) == 1


def test_it_learns_what_became_of_a_message_and_takes_its_answer_without_any_way_in(
    town: Town, parts: Parts, twilio: FakeTwilio
) -> None:
    town.person("Alice", SMS)
    parts.worker()
    parts.sweep()
    happens(town)
    twilio.wait_for(1, 60)
    twilio.moves_on(SMS[1], "delivered")
    until(lambda: states() == ["delivered"], "it is asked", 60)

    twilio.text_in(SMS[1], ReplyCode.objects.get().code)

    until(lambda: Incident.objects.get().state == "acknowledged", "the answer is fetched", 60)
    until(lambda: len(twilio.messages) == 2, "it is replied to")


def test_its_heartbeat_stops_with_the_worker_and_comes_back(town: Town, parts: Parts, log: Log) -> None:
    worker = parts.worker()
    until(lambda: beats(log, "worker") >= 2, "it beats")

    os.killpg(worker.pid, signal.SIGSTOP)
    time.sleep(0.5)
    seen = beats(log, "worker")
    time.sleep(2.5)
    assert beats(log, "worker") == seen
    os.killpg(worker.pid, signal.SIGCONT)
    until(lambda: beats(log, "worker") > seen, "it beats again")


def test_a_second_sweep_stands_by_and_takes_over(town: Town, parts: Parts, twilio: FakeTwilio, log: Log) -> None:
    town.person("Alice", SMS)
    first = parts.sweep()
    until(lambda: "sweeps" in parts.output("sweep"), "the first leads")
    parts.sweep()
    until(lambda: beats(log, "sweep") > 3, "both run")
    assert parts.output("sweep").count("sweeps") == 1

    os.killpg(first.pid, signal.SIGTERM)
    assert first.wait(10) == 0
    until(lambda: parts.output("sweep").count("sweeps") == 2, "the second leads")


def test_the_sweep_refuses_to_start_without_its_topics(parts: Parts, valkey: Valkey) -> None:
    valkey.client().flushall()

    process = parts.sweep()

    assert process.wait(30) == 1
    assert "sweep: " in parts.output("sweep")
    assert "Traceback" not in parts.output("sweep")
