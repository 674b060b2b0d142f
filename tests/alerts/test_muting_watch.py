"""What mutes is looked at when something can have changed, in time, and not at rest; the clock is ours."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from alerts.incidents import record
from alerts.models import Alert, Delivery, Incident, MaintenanceWindow, Silence
from alerts.muting_watch import LOOK_AGAIN, SETTLE, MutingWatch
from alerts.silences import change_silence
from alerts.sweep import MUTES_S, REST_S, Lane, Sweeper
from streams.log import Log
from streams.models import SequenceCounter, Site
from tests.alerts.test_silences import HOUR, blind, health_rule, silence, window
from tests.alerts.test_sweep import Clock
from tests.alerts.test_sweep import log as log
from tests.alerts.town import SMS, Town, at

pytestmark = pytest.mark.django_db
SETTLED_S = SETTLE.total_seconds()


@pytest.fixture
def watch(town: Town) -> MutingWatch:
    """One that has looked at noon, and to which nothing has happened since."""
    watch = MutingWatch()
    assert watch.turn(at(0)) and not watch.turn(at(SETTLED_S))
    return watch


def looks(watch: MutingWatch, from_s: float, until_s: float) -> list[int]:
    """The seconds in which it looks, of those between the two."""
    return [second for second in range(round(from_s), round(until_s)) if watch.turn(at(second))]


def test_at_rest_it_looks_once_a_minute_and_asks_one_question_in_between(
    watch: MutingWatch, django_assert_num_queries: Any
) -> None:
    again_s = LOOK_AGAIN.total_seconds()
    assert looks(watch, SETTLED_S + 1, 2 * again_s) == [again_s]
    with django_assert_num_queries(1):
        watch.turn(at(2 * again_s - 1))
    with django_assert_num_queries(0):
        watch.passed(at(2 * again_s - 1))


@pytest.mark.parametrize(
    "name", [SequenceCounter.CHANGES, SequenceCounter.CONFIGURATION, SequenceCounter.MUTING], ids=str
)
def test_after_a_change_of_any_sort_it_looks_until_that_has_settled(watch: MutingWatch, name: str) -> None:
    SequenceCounter.advance(name)
    assert looks(watch, 30, 60) == list(range(30, 30 + round(SETTLED_S)))


def test_a_silence_that_begins_and_ends_by_the_clock_is_met_to_the_second(town: Town, watch: MutingWatch) -> None:
    silence(town, from_s=200, until_s=300)
    found = looks(watch, 20, 400)
    assert {200, 300} < set(found)
    assert not [second for second in found if 200 < second < 260 or 300 < second < 360]


def test_a_window_that_closes_by_its_sites_clock_is_met_to_the_second(town: Town, watch: MutingWatch) -> None:
    window(town)  # until 13:00
    looks(watch, 20, 60)
    watch.turn(at(HOUR - 30))
    assert looks(watch, HOUR - 29, HOUR + 29) == [HOUR]


def test_one_that_is_made_longer_is_met_at_its_new_end(town: Town, watch: MutingWatch) -> None:
    made = silence(town, until_s=100)
    watch.turn(at(20))
    change_silence(made, reason="Painters", until_at=at(200), now=at(30))
    watch.turn(at(30))
    assert not watch.passed(at(150)) and watch.passed(at(200))


def test_a_window_that_moves_with_its_sites_clock_is_met_there(town: Town, watch: MutingWatch) -> None:
    made = window(town)
    looks(watch, 20, 60)
    assert not watch.passed(at(HOUR - 1))
    site = Site.objects.get(pk=made.site_id)
    site.time_zone = "Asia/Tokyo"  # 13:00 there is noon here
    site.save()
    assert watch.turn(at(61)) and watch.passed(at(HOUR)) is False


def test_a_site_that_goes_out_is_an_incident_though_nothing_more_changes(town: Town, watch: MutingWatch) -> None:
    health_rule(town, town.gate, town.yard)
    blind(town.gate, 30), blind(town.yard, 30)
    SequenceCounter.advance(SequenceCounter.CHANGES)
    looks(watch, 31, 46)
    assert Incident.objects.get().kind == "site-outage"


def test_what_failed_is_looked_at_again(town: Town, watch: MutingWatch, monkeypatch: pytest.MonkeyPatch) -> None:
    SequenceCounter.advance(SequenceCounter.CHANGES)
    with monkeypatch.context() as broken:
        broken.setattr("alerts.outages.open_outages", lambda now: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            watch.turn(at(100))
    assert watch.turn(at(101))


# In the sweep


@pytest.fixture
def sweeper(log: Log, monkeypatch: pytest.MonkeyPatch) -> tuple[Sweeper, Clock]:
    """It sends nothing: who is told is decided in the rows."""
    monkeypatch.setattr(Lane, "give", lambda self, item: None)
    clock = Clock()
    return Sweeper(log, "one", now=clock.now, monotonic=clock.monotonic), clock


def sweep(sweeper: tuple[Sweeper, Clock], from_s: int, until_s: int) -> int | None:
    """Turn each second; the first one after which somebody was told."""
    for second in range(from_s, until_s):
        sweeper[1].s = second
        sweeper[0].turn()
        if Alert.objects.exists():
            return second
    return None


def test_at_rest_the_sweep_tells_what_a_silence_withheld_within_its_look(
    town: Town, sweeper: tuple[Sweeper, Clock]
) -> None:
    town.person("Alice", SMS)
    silence(town, until_s=100)
    record([town.event()], now=at(1))
    assert (Incident.objects.get().muted_by, Delivery.objects.count()) == ("silence", 0)
    told_s = sweep(sweeper, 2, 120)
    assert told_s is not None and 100 <= told_s <= 100 + MUTES_S < 100 + REST_S


def test_at_rest_the_sweep_reads_no_silence_and_no_window(town: Town, sweeper: tuple[Sweeper, Clock]) -> None:
    silence(town, until_s=HOUR)
    window(town)
    sweep(sweeper, 0, 40)
    with CaptureQueriesContext(connection) as made:
        sweep(sweeper, 40, 58)
    tables = (Silence._meta.db_table, MaintenanceWindow._meta.db_table)
    assert not [query for query in made.captured_queries if any(f'FROM "{table}"' in query["sql"] for table in tables)]
