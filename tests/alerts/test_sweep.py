"""The sweep on a real log and a real (or absent) broker; its clock is ours."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from uuid import UUID, uuid4

import pytest
from django.utils import timezone
from pytest_django import Settings

from alerts import delivery, handover
from alerts.events import decode_event
from alerts.handover import Handover
from alerts.incidents import record
from alerts.models import Delivery, Event, ProcessLease
from alerts.sweep import (
    AGAIN_S,
    BROKER_AWAY_S,
    OVERDUE_S,
    Lane,
    Sweeper,
    fetch_pictures,
    give_back_lease,
    publish_events,
    take_lease,
)
from streams.log import Log
from streams.log_redis import RedisLog
from streams.models import Camera
from streams.topics import standing_topics
from tests.alerts.town import NOON, SMS, Town, at
from tests.services.twilio import FakeTwilio
from tests.services.valkey import Valkey


class Broker:
    """Remembers what was published, or is away."""

    def __init__(self) -> None:
        self.published: list[tuple[str, str]] = []
        self.away = False

    def publish(self, uid: str, queue_name: str) -> None:
        if self.away:
            raise ConnectionError("refused")
        self.published.append((uid, queue_name))


class Clock:
    def __init__(self) -> None:
        self.s = 0.0

    def now(self) -> datetime:
        return at(self.s)

    def monotonic(self) -> float:
        return self.s


class AtOnce(Handover):
    """Publishes on the caller's thread, so that a test sees it at once."""

    def give(self, uid: UUID, severity: str) -> None:
        self.try_once(str(uid), handover.queue_of(severity))


@pytest.fixture
def broker() -> Broker:
    return Broker()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(autouse=True)
def _handover(monkeypatch: pytest.MonkeyPatch, broker: Broker, clock: Clock) -> None:
    monkeypatch.setattr(handover, "_handover", AtOnce(broker.publish, clock.monotonic))


@pytest.fixture
def log(valkey: Valkey) -> Iterator[Log]:
    log = RedisLog(valkey.addresses, name="sweep")
    log.create(standing_topics(["general"]))
    yield log
    log.close()


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[UUID]:
    """What a sweep decided to send itself; sending is the delivery's own test."""
    chosen: list[UUID] = []
    monkeypatch.setattr(Lane, "give", lambda self, item: chosen.append(item))
    return chosen


@pytest.fixture
def sweeper(log: Log, clock: Clock, sent: list[UUID]) -> Sweeper:
    return Sweeper(log, "one", now=clock.now, monotonic=clock.monotonic)


def queued(town: Town, **changes: object) -> Delivery:
    town.person("Alice", SMS)
    record([town.event(frame=None, **changes)], now=NOON)
    return Delivery.objects.get()


def deliveries(chosen: list[UUID]) -> list[UUID]:
    return [uid for uid in chosen if uid.int]


# Who sweeps


@pytest.mark.django_db
def test_it_lets_one_sweep_and_another_take_over() -> None:
    assert take_lease("sweep", "one", at(0), 10)
    assert not take_lease("sweep", "two", at(5), 10)
    assert take_lease("sweep", "one", at(9), 10)
    assert not take_lease("sweep", "two", at(15), 10)
    assert take_lease("sweep", "two", at(20), 10)
    assert not take_lease("sweep", "one", at(21), 10)


@pytest.mark.django_db
def test_it_takes_over_at_once_from_one_that_left() -> None:
    take_lease("sweep", "one", at(0), 10)
    give_back_lease("sweep", "two", at(1))
    assert not take_lease("sweep", "two", at(1), 10)

    give_back_lease("sweep", "one", at(1))

    assert take_lease("sweep", "two", at(1), 10)


@pytest.mark.django_db
@pytest.mark.valkey
def test_it_does_nothing_while_another_leads(town: Town, sweeper: Sweeper, clock: Clock, broker: Broker) -> None:
    queued(town)
    take_lease("sweep", "another", at(0), 100)
    clock.s = 50

    sweeper.turn()

    assert not sweeper.leading
    assert not broker.published


# Handing over


@pytest.mark.django_db
@pytest.mark.valkey
def test_it_hands_over_what_nobody_took(town: Town, sweeper: Sweeper, clock: Clock, broker: Broker) -> None:
    row = queued(town, severity="critical")

    clock.s = 1
    sweeper.turn()
    assert broker.published == [], "whoever committed it hands it over; that takes a moment"
    clock.s = 2
    sweeper.turn()
    clock.s = 3
    sweeper.turn()
    assert broker.published == [(str(row.uid), "critical")]
    clock.s = 2 + AGAIN_S
    sweeper.turn()
    assert len(broker.published) == 2


@pytest.mark.django_db
@pytest.mark.valkey
def test_it_sends_by_itself_when_the_broker_is_away(
    town: Town, sweeper: Sweeper, clock: Clock, broker: Broker, sent: list[UUID]
) -> None:
    row = queued(town)
    broker.away = True

    for clock.s in (2, 5, 8):
        sweeper.turn()
    assert deliveries(sent) == []
    assert sweeper.pulse().problem == ""
    clock.s = 2 + BROKER_AWAY_S
    sweeper.turn()

    assert deliveries(sent) == [row.uid]
    assert sweeper.pulse().problem == "broker"
    broker.away = False
    clock.s += AGAIN_S
    sweeper.turn()
    assert broker.published == [(str(row.uid), "ordinary")]
    assert delivery.broker_away_s() == 0


@pytest.mark.django_db
@pytest.mark.valkey
def test_it_sends_by_itself_what_the_broker_took_and_nobody_works_on(
    town: Town, sweeper: Sweeper, clock: Clock, sent: list[UUID]
) -> None:
    row = queued(town)

    clock.s = OVERDUE_S - 1
    sweeper.turn()
    assert deliveries(sent) == []
    clock.s = OVERDUE_S + 1
    sweeper.turn()

    assert deliveries(sent) == [row.uid]
    assert sweeper.pulse().lag == 1


@pytest.mark.django_db
@pytest.mark.valkey
def test_it_reminds_expires_and_resends(town: Town, sweeper: Sweeper, clock: Clock) -> None:
    row = queued(town)
    delivery.claim(row.pk, "killed", at(1))
    Delivery.objects.filter(pk=row.pk).update(notifier="twilio")  # its request may have left

    clock.s = 32
    sweeper.turn()
    assert Delivery.objects.get(pk=row.pk).state == "unknown"
    clock.s = 93
    sweeper.turn()
    assert Delivery.objects.filter(resends=row.pk).count() == 1
    Delivery.objects.filter(resends=row.pk).update(state="sent")
    clock.s = 121
    sweeper.turn()
    assert Delivery.objects.filter(alert__reason="reminder").count() == 1


@pytest.mark.django_db
@pytest.mark.valkey
def test_it_goes_on_when_a_step_fails(
    town: Town, sweeper: Sweeper, clock: Clock, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    queued(town)

    def fails(now: datetime) -> int:
        raise RuntimeError("a bug")

    monkeypatch.setattr(delivery, "expire_leases", fails)
    clock.s = 5
    sweeper.turn()

    assert len(broker.published) == 1
    assert sweeper.pulse().problem == "sweep"


@pytest.mark.django_db
@pytest.mark.valkey
def test_its_figures_say_how_loaded_people_are_and_what_was_spent(town: Town, sweeper: Sweeper, clock: Clock) -> None:
    row = queued(town)
    Delivery.objects.filter(pk=row.pk).update(state="sent", attempted_at=NOON, segments=2)
    for number in range(10):
        camera = Camera.objects.create(name=f"Dock {number}", site=town.site, group=town.gate.group)
        record([town.event(frame=None, camera=camera.uid)], now=NOON)
    clock.s = 5

    sweeper.turn()

    figures = sweeper.pulse().figures
    assert figures == {"leading": 1.0, "alerts_10min_most": 11.0, "in_flood": 1.0, "sms_month": 2.0}


# The broker


def test_it_knows_for_how_long_the_broker_has_been_away(broker: Broker, clock: Clock) -> None:
    line = Handover(broker.publish, clock.monotonic)
    broker.away = True
    assert line.away_s() == 0

    assert not line.try_once("a", "ordinary")
    clock.s = 7
    line.try_once("a", "ordinary")
    clock.s = 12
    assert line.away_s() == 12
    broker.away = False
    assert line.try_once("a", "ordinary")
    assert line.away_s() == 0


def test_a_failure_of_long_ago_says_nothing_of_the_broker(broker: Broker, clock: Clock) -> None:
    line = Handover(broker.publish, clock.monotonic)
    broker.away = True
    line.try_once("a", "ordinary")
    clock.s = 14
    assert line.away_s() == 14
    clock.s = 16
    assert line.away_s() == 0, "nothing was due since, so nobody knows"
    clock.s = 100
    line.try_once("b", "ordinary")
    clock.s = 103
    assert line.away_s() == 3, "the absence before is another one"


def test_it_hands_over_from_a_thread_of_its_own_in_order() -> None:
    broker = Broker()
    line = Handover(broker.publish)
    uids = [uuid4() for _ in range(20)]

    for uid in uids:
        line.give(uid, "critical")

    _until(lambda: len(broker.published) == 20)
    assert broker.published == [(str(uid), "critical") for uid in uids]


def test_it_never_blocks_whoever_hands_over_to_a_frozen_broker() -> None:
    import threading

    frozen = threading.Event()
    line = Handover(lambda uid, queue_name: frozen.wait(30) and None)
    for _ in range(handover.WAITING + 50):
        line.give(uuid4(), "high")
    frozen.set()


def _until(condition: Callable[[], bool], timeout_s: float = 10.0) -> None:
    until_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < until_s, "it did not happen in time"
        time.sleep(0.01)


# Lanes


def test_it_works_on_a_thing_once_at_a_time_and_survives_its_failures() -> None:
    import threading

    go, worked = threading.Event(), []

    def work(item: UUID) -> None:
        worked.append(item)
        go.wait(10)
        raise RuntimeError("a bug")

    lane, item = Lane("test", 2, work), uuid4()
    for _ in range(5):
        lane.give(item)
    _until(lambda: len(worked) == 1)
    assert lane.busy
    go.set()
    _until(lambda: not lane.busy)
    lane.give(item)
    _until(lambda: len(worked) == 2)


@pytest.mark.django_db(transaction=True)
@pytest.mark.valkey
def test_it_really_sends_by_itself(
    shared_town: Town, log: Log, broker: Broker, twilio: FakeTwilio, settings: Settings
) -> None:
    settings.TWILIO = twilio.settings
    broker.away = True
    shared_town.person("Alice", SMS)
    then = timezone.now() - timedelta(seconds=OVERDUE_S + 5)
    record([shared_town.event(frame=None, happened_at=then)], now=then)
    sweeper = Sweeper(log, "one")

    sweeper.turn()
    sweeper.turn()
    twilio.wait_for(1)
    sweeper.close()

    assert Delivery.objects.get().state == "sent"
    assert len(twilio.requests) == 1
    assert ProcessLease.objects.get().owner == ""


# Events and pictures


@pytest.mark.django_db
@pytest.mark.valkey
def test_it_publishes_every_event_with_its_content(town: Town, log: Log) -> None:
    events = [town.event(frame=None), town.event(frame=None, camera=town.yard.uid)]
    record(events, now=at(1))
    producer = log.producer()

    assert publish_events(producer, at(2)) == 2
    assert publish_events(producer, at(3)) == 0

    for event, camera in zip(events, (town.gate, town.yard), strict=True):
        [published] = log.read("events", camera.partition, log.start("events", camera.partition))
        assert decode_event(published.payload) == event
    producer.close()


@pytest.mark.django_db
@pytest.mark.valkey
def test_it_publishes_again_what_was_not_acknowledged(town: Town, log: Log) -> None:
    record([town.event(frame=None)], now=at(1))
    closed = log.producer()
    closed.close()

    assert publish_events(closed, at(2)) == 0
    assert Event.objects.filter(published_at__isnull=True).count() == 1


@pytest.mark.django_db
@pytest.mark.valkey
def test_it_settles_pictures_that_evaluate_did_not(town: Town, log: Log) -> None:
    record([town.event()], now=at(1))

    assert fetch_pictures(log, at(1.5)) == 0
    assert fetch_pictures(log, at(3)) == 1
    assert Event.objects.get().picture == "gone"
