"""Events that come again, as after every crash and every replay, count once."""

from __future__ import annotations

import random
from functools import partial

import pytest

from alerts import events
from alerts.incidents import record
from alerts.models import Event, Incident
from tests.alerts.town import at, at_once, build_town

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]

EVENTS, AGAIN, WRITERS, A_TIME = 900, 100, 4, 20


def write(lot: list[events.Event]) -> None:
    for start in range(0, len(lot), A_TIME):
        record(lot[start : start + A_TIME], now=at(EVENTS))


def test_of_a_thousand_events_a_hundred_are_replayed_by_other_writers_and_nine_hundred_are_counted(
    transactional_db: None,
) -> None:
    town = build_town()
    first = [town.event(frame=None, happened_at=at(number)) for number in range(EVENTS)]
    chance = random.Random(2026)
    every = [*first, *chance.sample(first, AGAIN)]
    chance.shuffle(every)

    failures = at_once(*(partial(write, every[start::WRITERS]) for start in range(WRITERS)))

    assert failures == [None] * WRITERS
    assert Event.objects.count() == EVENTS
    assert sum(Incident.objects.values_list("event_count", flat=True)) == EVENTS
