"""A batch of events in the database: the same rows as one by one, few statements, and all of it or nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction
from django.test.utils import CaptureQueriesContext
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from alerts import recording
from alerts.events import SEVERITIES, Event, Fact
from alerts.models import Alert, Delivery, Incident, IncidentTransition
from alerts.models import Event as EventRow
from alerts.recording import record
from alerts.silences import make_silence
from streams.models import SequenceCounter
from tests.alerts.town import EMAIL, SMS, Town, at

pytestmark = pytest.mark.django_db

NOW_S = 6000.0

INCIDENT = (
    *("group_key", "state", "severity", "event_severity", "kind", "label", "site", "camera", "rule", "rule_version"),
    *("zone_name", "happened_at", "opened_at", "last_event_at", "event_count", "late", "news", "told_objects"),
    *("muted_by", "untold", "steps_taken", "next_step_at", "cameras"),
)

EVENT = ("uid", "incident__group_key", "camera", "rule_version", "happened_at", "known_at", "content", "picture")


def everything() -> list[Any]:
    """What the database says of incidents, without keys and random names."""
    return [
        list(Incident.objects.order_by("pk", "cameras").values_list(*INCIDENT)),
        list(
            EventRow.objects.order_by("pk").values_list("uid", "incident__group_key", "camera", "known_at", "picture")
        ),
        list(
            IncidentTransition.objects.order_by("incident", "pk").values_list(
                "incident__group_key", "action", "before", "after", "at", "by", "through", "note"
            )
        ),
        list(
            Alert.objects.order_by("pk").values_list("incident__group_key", "recipient", "reason", "step", "created_at")
        ),
        list(Delivery.objects.order_by("pk").values_list("alert__reason", "alert__step", "contact", "not_before_at")),
    ]


def undone(do: Callable[[], object]) -> list[Any]:
    """What the database says after ``do``, which is then undone."""
    with transaction.atomic():
        do()
        found = everything()
        transaction.set_rollback(True)
    return found


def pieces(events: Sequence[Event], cuts: Sequence[int]) -> list[Sequence[Event]]:
    edges = [0, *sorted(min(cut, len(events)) for cut in cuts), len(events)]
    return [events[begin:end] for begin, end in pairwise(edges)]


HAPPENED = st.tuples(
    st.booleans(),
    st.sampled_from(SEVERITIES),
    st.sampled_from([0, 10, 4000, 5850, 5900, 5990, 6000]),
    st.none() | st.sampled_from([2.0, 4.0, 9.0]),
    st.booleans(),
)


def event_of(town: Town, one: tuple[bool, Any, float, float | None, bool]) -> Event:
    gate, severity, seconds, objects, pictured = one
    given: dict[str, Any] = {} if pictured else {"frame": None}
    if objects is not None:
        given["facts"] = [Fact("objects", objects, ">=", 1)]
    camera = town.gate if gate else town.yard
    return town.event(camera=camera.uid, severity=severity, happened_at=at(seconds), **given)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    happened=st.lists(HAPPENED, min_size=1, max_size=8),
    cuts=st.lists(st.integers(0, 8), max_size=3),
    repeated=st.integers(0, 7),
    by_site=st.booleans(),
    muted=st.none() | st.sampled_from(SEVERITIES),
)
def test_a_batch_gives_the_same_rows_as_its_events_one_by_one(
    town: Town, happened: list[Any], cuts: list[int], repeated: int, by_site: bool, muted: Any
) -> None:
    if not town.rule.recipients.exists():
        town.person("Alice", SMS, EMAIL)
        town.person("Bob", ("sms", "+15005550011"))
    town.version.embedded = {**town.version.embedded, "config": {"group_by": "site" if by_site else "camera"}}
    town.version.save()
    events = [event_of(town, one) for one in happened]
    events.append(events[repeated % len(events)])
    now = at(NOW_S)

    def with_batches(batches: Sequence[Sequence[Event]]) -> None:
        if muted is not None:
            span = {"from_at": now, "until_at": now + timedelta(hours=1)}
            make_silence({"severities": [muted]}, author=town.alice, reason="Works", now=now, **span)
        for batch in batches:
            record(batch, now=now)

    one_by_one = undone(lambda: with_batches([[event] for event in events]))
    assert undone(lambda: with_batches([events])) == one_by_one
    assert undone(lambda: with_batches(pieces(events, cuts))) == one_by_one
    assert undone(lambda: with_batches([*pieces(events, cuts), events])) == one_by_one, "replayed"


def statements(do: Callable[[], object]) -> int:
    with CaptureQueriesContext(connection) as asked:
        do()
    return len(asked)


def test_repeats_cost_as_few_statements_however_many_they_are(town: Town) -> None:
    town.person("Alice", SMS)
    record([town.event(), town.event(camera=town.yard.uid)], now=at(1))

    def repeats(count: int) -> list[Event]:
        return [town.event(camera=(town.gate, town.yard)[n % 2].uid, happened_at=at(2)) for n in range(count)]

    few = statements(lambda: record(repeats(4), now=at(3)))
    # PostgreSQL's statements take so many values, SQLite's fewer: a hundred events are one INSERT or two.
    many = statements(lambda: record(repeats(100), now=at(3)))
    assert few <= 16
    assert many <= few + 1
    assert sorted(Incident.objects.values_list("event_count", flat=True)) == [53, 53]


def test_a_batch_of_known_events_changes_nothing_and_announces_nothing(town: Town) -> None:
    events = [town.event(), town.event(happened_at=at(5))]
    record(events, now=at(6))
    before = SequenceCounter.current(SequenceCounter.CHANGES), everything()
    record(events, now=at(7))
    assert (SequenceCounter.current(SequenceCounter.CHANGES), everything()) == before


def test_an_incident_that_spreads_in_the_batch_that_opens_it_knows_both_cameras(town: Town) -> None:
    town.version.embedded = {**town.version.embedded, "config": {"group_by": "site"}}
    town.version.save()
    record([town.event(), town.event(camera=town.yard.uid)], now=at(1))
    incident = Incident.objects.get()
    assert (incident.camera, list(incident.cameras.all()), incident.news) == (town.gate, [town.yard], 1)


def test_whoever_is_overtaken_looks_again(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    insert, refusals = recording.opening.insert, [IntegrityError("UNIQUE constraint failed: alerts_incident.group_key")]

    def overtaken(*given: Any) -> None:
        insert(*given)
        if refusals:
            raise refusals.pop()

    monkeypatch.setattr(recording.opening, "insert", overtaken)
    town.person("Alice", SMS)
    record([town.event()], now=at(3))
    assert Incident.objects.get().event_count == 1
    assert Delivery.objects.count() == IncidentTransition.objects.count() == 1


def test_nothing_of_a_batch_is_left_that_cannot_be_stored(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: Any) -> None:
        raise IntegrityError("refused")

    monkeypatch.setattr(recording, "_insert", refused)
    with pytest.raises(IntegrityError, match="refused"):
        record([town.event()], now=at(1))
    assert not Incident.objects.exists()
    assert not IncidentTransition.objects.exists()
