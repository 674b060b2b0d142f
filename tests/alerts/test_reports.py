"""Incidents that people and other systems open."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from alerts.incidents import resolve
from alerts.models import Alert, Event, Incident, IncidentTransition
from alerts.reports import Report, open_by_hand, report_from_outside
from alerts.silences import make_silence
from alerts.sweep import publish_events
from alerts.texts import headline
from streams.models import Site
from tests.alerts.town import NOON, SMS, Town, at

pytestmark = pytest.mark.django_db


def report(town: Town, **changes: Any) -> Report:
    given: dict[str, Any] = {"title": "Water in the lobby", "severity": "medium", "site": town.site}
    return Report(**given | {"happened_at": NOON} | changes)


def by_hand(town: Town, **changes: Any) -> Incident:
    return open_by_hand(report(town, **changes), by=town.alice, through="screen", now=at(5))


def from_outside(town: Town, seconds: float = 5, **changes: Any) -> Incident:
    return report_from_outside(report(town, kind="fire-panel", **changes), by=town.alice, now=at(seconds))


def test_a_person_opens_one_about_a_site_and_those_they_name_are_told(town: Town) -> None:
    guard = town.person("Guard", SMS)
    town.person("Chief", SMS)
    incident = by_hand(town, note="Seen by the cleaner.", recipients=[guard])
    assert (incident.state, incident.severity, incident.title) == ("open", "medium", "Water in the lobby")
    assert (incident.site, incident.camera, incident.rule, incident.event_count) == (town.site, None, None, 1)
    assert set(incident.cameras.all()) == {town.gate, town.yard}
    assert [alert.recipient for alert in Alert.objects.all()] == [guard]
    line = IncidentTransition.objects.get()
    assert (line.after, line.by, line.through, line.note) == ("open", town.alice, "screen", "Seen by the cleaner.")
    assert headline(incident) == "Water in the lobby"
    event = Event.objects.get()
    assert (event.source, event.camera, event.picture) == ("manual", None, "none")


def test_a_person_opens_one_about_a_camera(town: Town) -> None:
    incident = by_hand(town, camera=town.gate)
    assert (incident.camera, list(incident.cameras.all())) == (town.gate, [])


def test_each_that_a_person_opens_is_one_of_its_own(town: Town) -> None:
    assert by_hand(town).uid != by_hand(town).uid


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"title": " \n"}, "title: expected 1 to 200 characters, got 0"),
        ({"title": "x" * 201}, "got 201"),
        ({"severity": "dire"}, "severity: expected one of low"),
        ({"happened_at": at(1000)}, "happened_at: expected no later than now"),
    ],
)
def test_it_refuses_what_says_nothing(town: Town, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        by_hand(town, **changes)
    assert not Incident.objects.exists()


def test_it_refuses_a_camera_of_another_site(town: Town) -> None:
    with pytest.raises(ValueError, match="camera: expected one of Airport, got Gate"):
        by_hand(town, site=Site.objects.create(name="Airport"), camera=town.gate)


def test_another_system_s_reports_of_one_thing_are_one_incident(town: Town) -> None:
    first, again = from_outside(town, group="zone 4"), from_outside(town, 9, group="zone 4", title="Zone 4, detector 2")
    assert (first.uid, again.event_count) == (again.uid, 2)
    assert from_outside(town, 9, group="zone 5").uid != first.uid
    assert from_outside(town, 9, group="zone 4", camera=town.gate).uid != first.uid


def test_the_same_report_sent_twice_changes_nothing(town: Town) -> None:
    first, again = from_outside(town, key="77"), from_outside(town, 9, key="77")
    assert (first.uid, again.event_count) == (again.uid, 1)
    resolve(first.uid, by=None, disposition="test", note="", through="api", now=at(10))
    assert from_outside(town, 11, key="77").state == "resolved"
    assert Incident.objects.count() == 1


def test_a_worse_report_is_told(town: Town) -> None:
    guard = town.person("Guard", SMS)
    from_outside(town, recipients=[guard])
    from_outside(town, 9, severity="critical")
    assert list(Alert.objects.values_list("reason", flat=True)) == ["opened", "worse"]


def test_it_is_muted_like_any_other(town: Town) -> None:
    guard = town.person("Guard", SMS)
    span = {"from_at": NOON, "until_at": NOON + timedelta(hours=1)}
    make_silence({"sites": [str(town.site.uid)]}, author=town.alice, reason="Drill", now=NOON, **span)
    assert by_hand(town, recipients=[guard]).muted_by == "silence"
    assert not Alert.objects.exists()


class Kept:
    """A producer that takes everything."""

    def __init__(self) -> None:
        self.values: list[bytes] = []

    def append(self, topic: str, partition: int, value: bytes, done: Any) -> bool:
        self.values.append(value)
        done(len(self.values), None)
        return True

    def flush(self, timeout_s: float) -> bool:
        return True


def test_only_what_belongs_to_a_camera_goes_into_the_log(town: Town) -> None:
    by_hand(town)
    by_hand(town, camera=town.gate)
    producer: Any = Kept()
    assert publish_events(producer, at(10)) == 1
    assert publish_events(producer, at(11)) == 0
