"""What changed between two versions, in the form's titles; and the way back."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

import msgspec
import pytest

from alerts.editing import Refused, retire_rule, save_ground, save_rule, save_zone
from alerts.evaluate import load_configuration
from alerts.events import Event, Fact
from alerts.history import go_back, history
from alerts.incidents import record
from alerts.models import EscalationPolicy, Incident, Recipient, Rule, RuleVersion, Zone
from alerts.versions import changes, content, zone_moved
from streams.ids import new_uid
from streams.models import View
from tests.town import NOW, SQUARE, Town, build_town, new_rule

BEFORE: dict[str, Any] = {
    "name": "Lane", "kind": "presence", "severity": "high", "enabled": True, "schedule": [], "time_zone": None,
    "config": {"labels": ["person"], "hold_s": 2.0},
    "zones": [{"uid": "a", "name": "Lane", "shape": "polygon", "points": SQUARE}],
}  # fmt: skip


def zones(*points: list[float], **more: Any) -> dict[str, Any]:
    return {"zones": [{"uid": "a", "name": "Lane", "shape": "polygon", "points": list(points)} | more]}


A, B, C, D = SQUARE

CHANGES: dict[str, tuple[dict[str, Any], list[str]]] = {
    "nothing": ({}, []),
    "a column": ({"severity": "critical"}, ["Severity: high → critical"]),
    "a setting": ({"config": {"labels": ["person"], "hold_s": 5.0}}, ["In the zone for (s): 2.0 → 5.0"]),
    "a setting that is gone": ({"config": {"labels": ["person"]}}, ["In the zone for (s): 2.0 → None"]),
    "a setting nobody knows": (
        {"config": {"labels": ["person"], "hold_s": 2.0, "old": 1}}, ["old: None → 1"]),
    "a schedule": ({"schedule": [{"days": [0]}]}, ["When it acts: [] → [{'days': [0]}]"]),
    "corners more": (zones(A, B, C, D, [0.0, 0.5], [0.05, 0.3]), ["Lane: 2 corners more"]),
    "a corner fewer": (zones(A, B, C), ["Lane: 1 corner fewer"]),
    "a corner moved": (zones(A, B, C, [0.2, 0.9]), ["Lane: 1 corner moved"]),
    "moved": (zones(*[[x + 0.1, y] for x, y in SQUARE]), ["Lane: moved"]),
    "renamed": (zones(*SQUARE, name="Dock"), ["Dock: was called “Lane”"]),
    "calibrated": (
        zones(*SQUARE, ground={"points": SQUARE, "width_m": 4.0, "depth_m": 9.0}), ["Lane: its ground is calibrated"]),
    "a line now": (zones(A, B, shape="line"), ["Lane: is a directed line now"]),
    "taken out": ({"zones": []}, ["Lane: taken out"]),
}  # fmt: skip


def told(found: dict[str, Any]) -> list[str]:
    """As English would say it."""
    lines = []
    for one in changes(BEFORE, BEFORE | found):
        words = [w.plural % w.params if w.plural and w.params["n"] != 1 else w.msgid % w.params for w in one.words]
        lines.append(f"{one.title}: {', '.join(words) or f'{one.before} → {one.after}'}")
    return lines


@pytest.mark.parametrize(("change", "lines"), CHANGES.values(), ids=CHANGES.keys())
def test_it_says_what_changed(change: dict[str, Any], lines: list[str]) -> None:
    assert told(change) == lines


def test_a_line_that_was_turned_round_says_so() -> None:
    moved = zone_moved([[0.1, 0.5], [0.9, 0.5]], [[0.9, 0.5], [0.1, 0.5]], line=True)
    assert moved is not None and moved.msgid == "turned round"


def test_what_an_older_version_did_not_keep_is_no_change() -> None:
    old = content({"name": "Lane", "zones": []}, {})
    new = content(
        {"name": "Lane", "zones": []}, {"name": "Lane", "procedure": "Call.", "told": [{"name": "Bob", "uid": ""}]}
    )
    assert changes(old, new) == []


@pytest.fixture
def town() -> Town:
    return build_town()


@pytest.fixture
def rule(town: Town) -> Rule:
    rule = new_rule(town, procedure="Call the gate.", why_it_matters="The crane swings here.")
    save_rule(rule, zones=[town.zone], author=town.ada, now=NOW)
    return rule


def later(minutes: int) -> Any:
    return NOW + timedelta(minutes=minutes)


def edit(rule: Rule, town: Town, minutes: int, **columns: Any) -> RuleVersion:
    for name, value in columns.items():
        setattr(rule, name, value)
    return save_rule(rule, zones=list(rule.zones.all()), author=town.bob, now=later(minutes))


def titles(rule: Rule) -> list[list[str]]:
    return [[change.title for change in step.changes] for step in history(rule)]


@pytest.mark.django_db
def test_every_save_is_a_version_with_its_author_and_what_changed(town: Town, rule: Rule) -> None:
    edit(rule, town, 1, severity="critical")
    edit(rule, town, 2, procedure="Call the dock.")
    bob = Recipient.objects.create(name="Bob")
    save_rule(rule, zones=[town.zone], author=town.ada, now=later(3), recipients=[bob])
    edit(rule, town, 4)  # nothing changed: no version
    assert titles(rule) == [["Who is told"], ["Procedure"], ["Severity"], []]
    assert [step.version.author for step in history(rule)] == [town.ada, town.bob, town.bob, town.ada]


@pytest.mark.django_db
def test_another_policy_is_a_version_and_the_way_back_brings_the_old_one(town: Town, rule: Rule) -> None:
    night = EscalationPolicy.objects.create(name="Night")
    edit(rule, town, 1, policy=night)
    edit(rule, town, 2, policy=None)
    assert titles(rule)[:2] == [["Escalation policy"], ["Escalation policy"]]
    go_back(rule.versions.get(number=2), author=town.ada, now=later(3))
    rule.refresh_from_db()
    assert rule.policy == night


@pytest.mark.django_db
def test_a_version_from_before_policies_is_not_taken_for_another(town: Town, rule: Rule) -> None:
    version = rule.versions.get()
    del version.beside["policy"]
    version.save()
    assert edit(rule, town, 1) == version


@pytest.mark.django_db
def test_words_alone_leave_the_engine_what_it_knows(town: Town, rule: Rule) -> None:
    edit(rule, town, 1, procedure="Call the dock.")
    old, new = rule.versions.order_by("number")
    assert new.uid != old.uid and new.embedded == old.embedded
    (running,) = load_configuration(later(2)).rules[town.gate.partition]
    assert (running.version, running.active_until_at) == (old.uid, None)


@pytest.mark.django_db
def test_a_moved_zone_is_told_with_who_moved_it(town: Town, rule: Rule) -> None:
    town.zone.points = [*SQUARE, [0.05, 0.5]]
    save_zone(town.zone, author=town.bob)
    step = history(rule)[0]
    assert step.version.author == town.bob
    assert [words.params for change in step.changes for words in change.words] == [{"n": 1}]


def fired(town: Town, version: RuleVersion, minutes: int) -> Event:
    return Event(
        uid=new_uid(), kind="presence", severity="medium", camera=town.gate.uid, deployment=town.deployment.uid,
        rule_version=UUID(version.embedded["version"]), zone=town.zone.uid, label="person", session=1, sequence=1,
        happened_at=later(minutes), facts=[Fact("confidence", 0.9, ">=", 0.45)], boxes=[], path=[], zone_polygon=[],
        frame=None,
    )  # fmt: skip


@pytest.mark.django_db
def test_an_edit_does_not_change_the_incident_that_is_open(town: Town, rule: Rule) -> None:
    version = rule.versions.get()
    record([fired(town, version, 1)], now=later(1))
    edit(
        rule,
        town,
        2,
        name="Renamed",
        severity="low",
        procedure="Sit down.",
        why_it_matters="",
        config={"labels": ["car"]},
    )
    town.zone.name = "Elsewhere"
    save_zone(town.zone)
    retire_rule(rule)
    incident = Incident.objects.get()
    assert (incident.state, incident.severity, incident.zone_name, incident.label) == (
        "open",
        "medium",
        "Lane",
        "person",
    )
    assert (incident.rule_name, incident.rule_version) == ("Person in the lane", version)
    assert (incident.procedure, incident.why_it_matters) == ("Call the gate.", "The crane swings here.")


@pytest.mark.django_db
def test_what_the_edited_rule_fires_is_counted_by_the_open_incident_and_changes_nothing_else(
    town: Town, rule: Rule
) -> None:
    rule.severity = "low"
    first = save_rule(rule, zones=[town.zone], author=None, now=later(1))
    record([msgspec.structs.replace(fired(town, first, 2), severity="low")], now=later(2))
    rule.procedure = "Stand up."
    save_rule(rule, zones=[town.zone], author=None, now=later(3))
    rule.severity = "critical"
    second = save_rule(rule, zones=[town.zone], author=None, now=later(4))
    record([msgspec.structs.replace(fired(town, second, 5), severity="critical")], now=later(5))
    incident = Incident.objects.get()
    assert (incident.severity, incident.news, incident.event_count) == ("low", 0, 2)
    assert incident.rule_version == first


@pytest.mark.django_db
def test_an_incident_says_the_words_of_the_moment_it_opened(town: Town, rule: Rule) -> None:
    first = rule.versions.get()
    edit(rule, town, 1, procedure="Call the dock.")
    record([fired(town, first, 2)], now=later(2))  # the engine goes on under the first version's name
    edit(rule, town, 3, procedure="Call nobody.")
    assert Incident.objects.get().procedure == "Call the dock."


@pytest.mark.django_db
def test_going_back_is_a_new_version_with_the_old_content(town: Town, rule: Rule) -> None:
    first = rule.versions.get()
    edit(rule, town, 1, severity="critical", name="Other", config={"labels": ["car"]}, procedure="Sit down.")
    made = go_back(first, author=town.bob, now=later(2))
    made.refresh_from_db()
    assert (made.number, made.author) == (3, town.bob)
    said = [content(one.embedded, one.beside) for one in (first, made)]
    assert said[0] == said[1]
    assert [one.active_until_at is None for one in rule.versions.order_by("number")] == [False, False, True]
    first.refresh_from_db()
    assert first.active_until_at == later(1), "what was stays as it was"


@pytest.mark.django_db
def test_going_back_moves_the_zone_back_for_every_rule_on_it(town: Town, rule: Rule) -> None:
    first = rule.versions.get()
    other = new_rule(town, name="Car in the lane", config={"labels": ["car"]})
    save_rule(other, zones=[town.zone], author=None, now=NOW)
    town.zone.points = [[0.2, 0.2], [0.5, 0.2], [0.5, 0.8]]
    save_zone(town.zone)
    go_back(first, author=town.ada, now=later(9))
    for one in (rule, other):
        newest = one.versions.order_by("-number")[0]
        assert (newest.number, newest.author, newest.embedded["zones"][0]["points"]) == (3, town.ada, SQUARE)


@pytest.mark.django_db
def test_a_deleted_zone_comes_back_with_its_name(town: Town, rule: Rule) -> None:
    first, uid = rule.versions.get(), town.zone.uid
    Zone.objects.get(uid=uid).delete()
    rule.refresh_from_db()
    assert not rule.enabled
    made = go_back(first, author=town.ada, now=later(1))
    assert made.active_until_at is None and Zone.objects.get(uid=uid).points == SQUARE


@pytest.mark.django_db
def test_going_back_leaves_the_calibration_and_is_refused_where_metres_need_another(town: Town, rule: Rule) -> None:
    view, ground = town.zone.view, {"points": SQUARE, "width_m": 4.0, "depth_m": 9.0}
    save_ground(view, ground)
    rule.config = {"labels": ["person"], "min_speed_kmh": 20.0}
    fast = save_rule(rule, zones=[town.zone], author=town.ada, now=NOW)
    rule.config = {"labels": ["person"]}
    save_rule(rule, zones=[town.zone], author=town.ada, now=NOW)
    save_ground(View.objects.get(pk=view.pk), ground | {"depth_m": 10.0})
    again = go_back(fast, author=town.ada, now=NOW)
    assert again.embedded["config"]["min_speed_kmh"] == 20.0
    assert again.embedded["zones"][0]["ground"]["depth_m"] == 10.0
    rule.refresh_from_db()
    rule.config = {"labels": ["person"]}
    save_rule(rule, zones=[Zone.objects.get(pk=town.zone.pk)], author=town.ada, now=NOW)
    save_ground(View.objects.get(pk=view.pk), None)
    with pytest.raises(Refused, match="is not calibrated"):
        go_back(again, author=town.ada, now=NOW)


@pytest.mark.django_db
def test_a_version_that_cannot_run_any_more_is_refused_and_nothing_changes(town: Town, rule: Rule) -> None:
    first = rule.versions.get()
    edit(rule, town, 1, config={"labels": ["car"]})
    town.deployment.model.labels = ["car"]
    town.deployment.model.save()
    with pytest.raises(Refused, match="never reports “person”"):
        go_back(first, author=town.ada, now=later(2))
    assert rule.versions.count() == 2
    town.gate.delete()
    with pytest.raises(Refused, match="camera of the zone “Lane” is gone"):
        go_back(first, author=town.ada, now=later(3))
