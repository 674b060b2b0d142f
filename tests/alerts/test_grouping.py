"""Which incident takes an event, and what of an event is news: severity, another camera, twice as many, after quiet."""

from __future__ import annotations

from typing import Any

import pytest
from django.utils import timezone

from alerts.events import Fact
from alerts.incidents import acknowledge, change_severity, record, resolve
from alerts.models import Alert, Delivery, Incident, IncidentTransition
from tests.alerts.town import EMAIL, SMS, Town, at, at_once

pytestmark = pytest.mark.django_db


def reasons() -> list[str]:
    return list(Alert.objects.order_by("pk").values_list("reason", flat=True))


def settings_of(town: Town, **config: Any) -> None:
    town.version.embedded = {**town.version.embedded, "config": config}
    town.version.save()


def crowd(town: Town, objects: float, seconds: float) -> Any:
    return town.event(happened_at=at(seconds), facts=[Fact("objects", objects, ">=", 5)])


# One incident for each camera, or for a site


def test_a_rule_makes_one_incident_for_each_camera(town: Town) -> None:
    record([town.event(), town.event(camera=town.yard.uid)], now=at(1))
    assert Incident.objects.count() == 2


def test_a_rule_by_site_makes_one_incident_of_all_its_cameras(town: Town) -> None:
    town.person("Alice", SMS)
    settings_of(town, group_by="site")
    record([town.event(), town.event(camera=town.yard.uid, happened_at=at(2))], now=at(3))
    incident = Incident.objects.get()
    assert (incident.camera, list(incident.cameras.all()), incident.event_count) == (town.gate, [town.yard], 2)
    assert reasons() == ["opened", "spread"]


def test_a_camera_that_sees_it_again_is_no_news(town: Town) -> None:
    town.person("Alice", SMS)
    settings_of(town, group_by="site")
    for seconds in range(0, 40, 10):
        for camera in (town.gate, town.yard):
            record([town.event(camera=camera.uid, happened_at=at(seconds))], now=at(seconds))
    assert reasons() == ["opened", "spread"]
    assert Incident.objects.get().event_count == 8


# After a quiet time


@pytest.mark.parametrize(("quiet_s", "told"), [(1799, ["opened"]), (1801, ["opened", "again"])])
def test_what_happens_after_half_an_hour_of_quiet_is_news(town: Town, quiet_s: float, told: list[str]) -> None:
    town.person("Alice", SMS)
    record([town.event()], now=at(0))
    record([town.event(happened_at=at(quiet_s))], now=at(quiet_s))
    assert Incident.objects.get().event_count == 2
    assert reasons() == told


def test_a_rule_may_call_another_time_quiet(town: Town) -> None:
    town.person("Alice", SMS)
    settings_of(town, news_after_s=60)
    for seconds in (0, 50, 120, 170, 240):
        record([town.event(happened_at=at(seconds))], now=at(seconds))
    assert reasons() == ["opened", "again", "again"]
    assert list(Alert.objects.order_by("pk").values_list("step", flat=True)) == [0, 1, 2]


def test_what_is_known_late_is_no_news_after_quiet(town: Town) -> None:
    town.person("Alice", SMS)
    record([town.event()], now=at(0))
    record([town.event(happened_at=at(4000))], now=at(4200))
    assert reasons() == ["opened"]


def test_it_is_told_again_also_to_those_who_have_it(town: Town) -> None:
    town.person("Alice", SMS)
    record([town.event()], now=at(0))
    acknowledge(Incident.objects.get().uid, by=town.alice, through="screen", now=at(5))
    record([town.event(happened_at=at(4000))], now=at(4001))
    assert list(Delivery.objects.order_by("pk").values_list("state", flat=True)) == ["cancelled", "queued"]


@pytest.mark.django_db(transaction=True)
def test_of_many_that_come_at_once_after_quiet_one_is_news(shared_town: Town) -> None:
    town = shared_town
    town.person("Alice", SMS)
    now = timezone.now()
    record([town.event(happened_at=now)], now=now)
    Incident.objects.update(last_event_at=at(0))
    results = at_once(*(lambda: record([town.event(happened_at=now)], now=now) for _ in range(6)))
    assert results == [None] * 6
    assert reasons() == ["opened", "again"]


# Twice as many


def test_a_crowd_that_doubles_is_news_and_one_that_grows_a_little_is_not(town: Town) -> None:
    town.person("Alice", SMS)
    for seconds, objects in enumerate((6, 9, 11, 12, 20, 24)):
        record([crowd(town, objects, seconds)], now=at(seconds))
    assert reasons() == ["opened", "grown", "grown"]
    assert Incident.objects.get().told_objects == 24


# Severity: what events say, and what people say


def test_it_is_told_of_the_worst_first_fact_of_several(town: Town) -> None:
    town.person("Alice", SMS)
    record([town.event(severity="low")], now=at(0))
    record([town.event(severity="high", happened_at=at(4000))], now=at(4000))
    assert reasons() == ["opened", "worse"]


def judged(town: Town, severity: str, seconds: float = 5, note: str = "Only the gardener.") -> Incident:
    uid = Incident.objects.get().uid
    return change_severity(uid, severity=severity, note=note, by=town.alice, through="screen", now=at(seconds))


def test_what_a_person_made_of_it_stands_against_repeats(town: Town) -> None:
    town.person("Alice", SMS)
    record([town.event()], now=at(0))
    judged(town, "low")
    record([town.event(happened_at=at(10))], now=at(10))
    assert Incident.objects.get().severity == "low"
    assert reasons() == ["opened"]


def test_a_worse_event_than_any_before_raises_it_all_the_same(town: Town) -> None:
    town.person("Alice", SMS)
    record([town.event()], now=at(0))
    judged(town, "low")
    record([town.event(severity="critical", happened_at=at(10))], now=at(10))
    assert Incident.objects.get().severity == "critical"
    assert reasons() == ["opened", "worse"]


def test_raised_by_a_person_it_is_told_and_lowered_it_is_not(town: Town) -> None:
    town.person("Alice", SMS, EMAIL)
    record([town.event()], now=at(0))
    assert judged(town, "critical", 5, "He has a knife.").severity == "critical"
    judged(town, "medium", 6)
    judged(town, "critical", 7, "He has, after all.")
    assert reasons() == ["opened", "worse", "worse"]
    lines = IncidentTransition.objects.filter(action="severity").values_list("before", "after", "note", "by__username")
    assert list(lines) == [
        ("high", "critical", "He has a knife.", "alice"),
        ("critical", "medium", "Only the gardener.", "alice"),
        ("medium", "critical", "He has, after all.", "alice"),
    ]


@pytest.mark.parametrize(("severity", "note"), [("dire", "Why not."), ("low", " ")])
def test_a_change_of_severity_needs_a_severity_and_a_reason(town: Town, severity: str, note: str) -> None:
    record([town.event()], now=at(0))
    with pytest.raises(ValueError, match="expected"):
        judged(town, severity, note=note)
    assert Incident.objects.get().severity == "high"


def test_the_same_severity_is_no_change(town: Town) -> None:
    record([town.event()], now=at(0))
    judged(town, "high")
    assert not IncidentTransition.objects.filter(action="severity").exists()


def test_a_resolved_incident_keeps_its_severity(town: Town) -> None:
    record([town.event()], now=at(0))
    resolve(Incident.objects.get().uid, by=None, disposition="test", note="", through="api", now=at(1))
    with pytest.raises(ValueError, match="it is resolved"):
        judged(town, "low")
