"""Sequences over stored events: recorded once, whoever sweeps, however often it begins anew."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.db import OperationalError

from alerts import incidents
from alerts.editing import save_rule
from alerts.events import Event, Fact
from alerts.models import Event as EventRow
from alerts.models import Incident, RuleVersion
from alerts.sequence_shell import LATENESS, SequenceShell
from alerts.sequences import KIND
from streams.models import Camera
from tests.town import NOW, Town, build_town, new_rule

pytestmark = pytest.mark.django_db


@pytest.fixture
def town() -> Town:
    return build_town()


@pytest.fixture
def fence(town: Town) -> RuleVersion:
    return save_rule(new_rule(town, name="Fence"), zones=[town.zone], author=None, now=NOW - timedelta(days=1))


@pytest.fixture
def door(town: Town) -> RuleVersion:
    return save_rule(new_rule(town, name="Door"), zones=[town.zone], author=None, now=NOW - timedelta(days=1))


@pytest.fixture
def sequence(town: Town, fence: RuleVersion, door: RuleVersion) -> RuleVersion:
    """The door within a minute after the fence."""
    config = {"first": str(fence.rule.uid), "then": str(door.rule.uid), "within_s": 60, "rearm_s": 0}
    rule = new_rule(town, name="Break-in", kind=KIND, config=config, severity="critical")
    return save_rule(rule, zones=[town.zone], author=None, now=NOW - timedelta(hours=6))


def happens(version: RuleVersion, camera: Camera, seconds: float, *, known_s: float = 1.0) -> Event:
    """The rule fires on ``camera`` so long after NOW, and it is known ``known_s`` later."""
    values: dict[str, Any] = {
        "boxes": [],
        "path": [],
        "zone_polygon": [],
        "frame": None,
        "zone": None,
    }
    event = Event(
        uid=uuid4(),
        kind="presence",
        severity="low",
        camera=camera.uid,
        rule_version=version.uid,
        deployment=version.deployment,
        label="person",
        session=1,
        sequence=1,
        happened_at=NOW + timedelta(seconds=seconds),
        facts=[Fact("confidence", 0.9, ">=", 0.45)],
        **values,
    )
    incidents.record([event], now=event.happened_at + timedelta(seconds=known_s))
    return event


def found() -> list[EventRow]:
    return list(EventRow.objects.filter(kind=KIND))


def turn(shell: SequenceShell, seconds: float) -> int:
    return shell.turn(NOW + timedelta(seconds=seconds))


def test_two_cameras_make_one_incident(
    town: Town, sequence: RuleVersion, fence: RuleVersion, door: RuleVersion
) -> None:
    shell = SequenceShell()
    turn(shell, -1)
    first = happens(fence, town.gate, 0)
    second = happens(door, town.yard, 20)
    assert turn(shell, 22) == 0
    assert turn(shell, 20 + LATENESS.total_seconds()) == 1
    assert turn(shell, 40) == 0
    [row] = found()
    assert row.content["causes"] == [str(first.uid), str(second.uid)]
    incident = Incident.objects.get(kind=KIND)
    assert (incident.severity, incident.camera, incident.rule) == ("critical", town.yard, sequence.rule)


def test_the_order_in_which_they_are_stored_does_not_matter(
    town: Town, sequence: RuleVersion, fence: RuleVersion, door: RuleVersion
) -> None:
    shell = SequenceShell()
    turn(shell, 0)
    happens(door, town.yard, 20)
    turn(shell, 22)
    happens(fence, town.gate, 18, known_s=5)
    turn(shell, 24)
    assert turn(shell, 30) == 1


def test_another_who_sweeps_goes_on_and_repeats_nothing(
    town: Town, sequence: RuleVersion, fence: RuleVersion, door: RuleVersion
) -> None:
    first = SequenceShell()
    turn(first, 0)
    happens(fence, town.gate, 0)
    turn(first, 5)
    happens(door, town.yard, 20)
    assert turn(SequenceShell(), 60) == 1
    before = found()
    turn(SequenceShell(), 90)
    turn(first, 200)
    assert found() == before


def test_what_happened_while_nobody_swept_is_made_up_for(
    town: Town, sequence: RuleVersion, fence: RuleVersion, door: RuleVersion
) -> None:
    happens(fence, town.gate, 0)
    happens(door, town.yard, 20)
    assert turn(SequenceShell(), 300) == 1
    assert Incident.objects.get(kind=KIND).late


@pytest.mark.parametrize("again", [False, True], ids=["the same who sweeps", "another"])
@pytest.mark.parametrize("late", ["first", "second"])
def test_what_is_known_too_late_for_the_watermark_is_part_of_a_sequence_all_the_same(
    town: Town, sequence: RuleVersion, fence: RuleVersion, door: RuleVersion, late: str, again: bool
) -> None:
    events = {"first": (fence, town.gate, 1), "second": (door, town.yard, 20)}
    shell = SequenceShell()
    turn(shell, 0)
    happens(*next(event for name, event in events.items() if name != late))
    assert sum(turn(shell, second) for second in range(5, 35)) == 0
    happens(*events[late], known_s=35 - events[late][2])
    assert turn(SequenceShell() if again else shell, 36) == 1
    made = found()
    assert len(made) == 1
    for second in range(37, 60):
        turn(shell, second)
    assert found() == made


def test_late_news_of_a_rule_that_no_sequence_waits_for_costs_nothing(
    town: Town, sequence: RuleVersion, django_assert_max_num_queries: Any
) -> None:
    other = save_rule(new_rule(town, name="Yard"), zones=[town.zone], author=None, now=NOW - timedelta(days=1))
    shell = SequenceShell()
    for second in range(30):
        turn(shell, second)
    happens(other, town.gate, 1, known_s=29)
    with django_assert_max_num_queries(2):
        assert turn(shell, 31) == 0


def test_long_ago_is_left_alone(town: Town, sequence: RuleVersion, fence: RuleVersion, door: RuleVersion) -> None:
    happens(fence, town.gate, 0)
    happens(door, town.yard, 20)
    assert turn(SequenceShell(), 3600) == 0


def test_a_sequence_that_is_edited_goes_on_from_then(
    town: Town, sequence: RuleVersion, fence: RuleVersion, door: RuleVersion
) -> None:
    shell = SequenceShell()
    turn(shell, 0)
    rule = sequence.rule
    rule.config = {**rule.config, "within_s": 10}
    save_rule(rule, zones=[town.zone], author=None, now=NOW)
    happens(fence, town.gate, 1)
    happens(door, town.yard, 20)
    assert turn(shell, 40) == 0


def test_without_a_sequence_nothing_is_read(town: Town, fence: RuleVersion, django_assert_num_queries: Any) -> None:
    shell = SequenceShell()
    turn(shell, 0)
    with django_assert_num_queries(1):
        assert turn(shell, 1) == 0


def test_a_record_that_fails_is_made_up_for_at_the_next_turn(
    town: Town, sequence: RuleVersion, fence: RuleVersion, door: RuleVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    shell = SequenceShell()
    turn(shell, -1)
    happens(fence, town.gate, 0)
    happens(door, town.yard, 20)

    def fails(*_: object, **__: object) -> None:
        raise OperationalError("database is locked")

    with monkeypatch.context() as broken, pytest.raises(OperationalError):
        broken.setattr(incidents, "record", fails)
        turn(shell, 30)
    assert found() == []
    assert turn(shell, 31) == 1 and len(found()) == 1


def test_an_event_that_cannot_be_read_hides_no_sequence(
    town: Town, sequence: RuleVersion, fence: RuleVersion, door: RuleVersion
) -> None:
    shell = SequenceShell()
    turn(shell, -1)
    spoiled = happens(fence, town.gate, -5)
    EventRow.objects.filter(uid=spoiled.uid).update(content={"nothing": 1})
    happens(fence, town.gate, 0)
    happens(door, town.yard, 20)
    assert turn(shell, 30) == 1
