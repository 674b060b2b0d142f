"""Rehearsals as rows: run once over a real archive, cancelled between two items, failed when their worker is gone."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from django.conf import LazySettings
from django.utils import timezone

from alerts import editing, rehearsal_run, rehearsals
from alerts.models import Alert, Count, Event, Incident, Rehearsal, RehearsalRow, Rule, RuleVersion, Zone
from streams.models import Camera, View
from tests.alerts.histories import nobody, source
from tests.alerts.kept import ago, blind, keep, moved, walks
from tests.town import Town, build_town, new_rule

pytestmark = pytest.mark.django_db


@pytest.fixture
def town(settings: LazySettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Town:
    settings.ARCHIVE = {**settings.ARCHIVE, "folder": tmp_path / "archive"}
    monkeypatch.setattr(rehearsals, "_publish_soon", lambda uid: None)
    return build_town()


def archived(town: Town, log: Any, **span: float) -> None:
    gate, general = town.gate.uid, town.deployment.uid
    keep(rehearsals.archive_root(), moved(log, camera=gate, deployment=general, to=ago(**span)))


def started(
    town: Town, rule: Any = None, days: int = 1, *, zones: Any = None, cameras: Sequence[UUID] | None = None
) -> Rehearsal:
    rule = rule or new_rule(town)
    draft = editing.draft_version(rule, zones=zones or [town.zone], now=timezone.now())
    on = [town.gate.uid] if cameras is None else cameras
    wanted = rehearsals.Wanted(draft, on, days, timezone.now(), "Asia/Taipei")
    return rehearsals.start(wanted, author=town.ada)


def ran(rehearsal: Rehearsal) -> Rehearsal:
    rehearsal_run.run(rehearsal.uid)
    rehearsal.refresh_from_db()
    return rehearsal


def test_a_draft_fires_over_the_archive_and_nothing_else_happens(town: Town) -> None:
    archived(town, walks(0, 0, 0), hours=2)
    rehearsal = ran(started(town))
    assert (rehearsal.state, rehearsal.share, rehearsal.summary["fired"]) == ("done", 1.0, 3)
    firings = [row.content for row in rehearsal.rows.filter(kind="firing")]
    assert [one["label"] for one in firings] == ["person"] * 3 and all(one["path"] for one in firings)
    assert sum(rehearsal.summary["hours"]["new"]) == 3
    assert not (Event.objects.exists() or Incident.objects.exists() or Alert.objects.exists())
    assert not RuleVersion.objects.exists()


def test_a_mask_of_the_view_takes_out_what_stands_in_it(town: Town) -> None:
    archived(town, walks(0, 0, 0), hours=2)
    mask = Zone.objects.create(view=town.zone.view, name="Tree", shape="exclusion", points=town.zone.points)
    assert ran(started(town)).summary["fired"] == 3
    assert ran(started(town, zones=[town.zone, mask])).summary["fired"] == 0


def test_it_is_compared_with_the_version_in_force(town: Town) -> None:
    archived(town, walks(0, 0, 20), hours=2)
    rule = new_rule(town)
    editing.save_rule(rule, zones=[town.zone], author=None, now=timezone.now())
    rule.config = {**rule.config, "hold_s": 12.0}
    rehearsal = ran(started(town, rule))
    assert rehearsal.in_force_number == 1
    figures = rehearsal.summary
    assert (figures["fired"], figures["same"], len(figures["new"]), len(figures["gone"])) == (1, 1, 0, 2)
    assert rule.versions.count() == 1


def laned(town: Town, name: str, camera: Camera, **changes: Any) -> Rule:
    """A saved rule on ``camera``, which fires for who stands in the lane there."""
    view = camera.views.first() or View.objects.create(camera=camera)
    zone = Zone.objects.create(view=view, name=f"{name}'s", points=town.zone.points)
    rule = new_rule(town, name=name, **changes)
    editing.save_rule(rule, zones=[zone], author=None, now=timezone.now())
    return rule


def switched_off(rule: Rule) -> None:
    rule.enabled = False
    editing.save_rule(rule, zones=list(rule.zones.all()), author=None, now=timezone.now())


def made_counting(rule: Rule) -> None:
    Rule.objects.filter(pk=rule.pk).update(kind="counting")
    version = rule.versions.get()
    rule.versions.update(embedded={**version.embedded, "kind": "counting"})


def sequence_of(town: Town, first: Rule, then: Rule, **settings: Any) -> Rule:
    waits = {"first": str(first.uid), "then": str(then.uid), "within_s": 600.0, **settings}
    return new_rule(town, name="From gate to yard", kind="sequence", config=waits)


def test_a_sequence_is_rehearsed_from_the_rules_that_it_waits_for(town: Town) -> None:
    gate, yard = laned(town, "At the gate", town.gate), laned(town, "At the yard", town.yard)
    elsewhere = moved(walks(0, 0), camera=town.yard.uid, deployment=town.deployment.uid, to=ago(hours=2, minutes=-5))
    at_gate = moved(walks(0), camera=town.gate.uid, deployment=town.deployment.uid, to=ago(hours=2))
    keep(rehearsals.archive_root(), [*at_gate, *elsewhere])
    rehearsal = started(town, sequence_of(town, gate, yard), cameras=[])
    assert [source["name"] for source in rehearsal.sources] == ["At the gate", "At the yard"]
    assert rehearsal.cameras == [str(town.gate.uid), str(town.yard.uid)]
    # It is rehearsed as it was asked for, whatever becomes of the rules meanwhile.
    switched_off(gate)
    assert (ran(rehearsal).state, rehearsal.summary["fired"]) == ("done", 1)
    [firing] = [row.content for row in rehearsal.rows.filter(kind="firing")]
    assert firing["camera"] == str(town.yard.uid) and firing["track"] is not None and firing["path"]
    assert not (Event.objects.exists() or Incident.objects.exists())


def test_a_sequence_is_compared_with_its_version_in_force_which_may_wait_for_others(town: Town) -> None:
    gate, yard, lane = (laned(town, name, town.gate) for name in ("At the gate", "At the yard", "In the lane"))
    archived(town, walks(0, 0), hours=2)
    sequence = sequence_of(town, gate, lane)
    editing.save_rule(sequence, zones=[town.zone], author=None, now=timezone.now())
    sequence.config = {**sequence.config, "first": str(yard.uid), "then": str(yard.uid)}
    rehearsal = ran(started(town, sequence))
    assert {source["name"] for source in rehearsal.sources} == {"At the gate", "At the yard", "In the lane"}
    figures = rehearsal.summary
    # Twice in the lane is once after the other; gate and lane fire at the same moment, which is not after.
    assert (figures["fired"], figures["same"], len(figures["gone"])) == (1, 1, 0)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (switched_off, "“At the gate”, which the sequence waits for, is switched off"),
        (lambda rule: rule.delete(), "has been deleted"),
        (made_counting, "“At the gate”, which the sequence waits for, counts and fires nothing"),
        (lambda rule: rule.versions.update(embedded={}), "“At the gate”, which the sequence waits for, cannot run"),
    ],
)
def test_a_sequence_whose_rules_cannot_fire_is_refused_with_the_reason(town: Town, spoil: Any, said: str) -> None:
    gate, yard = laned(town, "At the gate", town.gate), laned(town, "At the yard", town.yard)
    draft = editing.draft_version(sequence_of(town, gate, yard), zones=[town.zone], now=timezone.now())
    spoil(gate)
    with pytest.raises(rehearsals.CannotRehearse, match=said):
        rehearsals.start(rehearsals.Wanted(draft, [], 1, timezone.now(), "UTC"), author=town.ada)
    assert not Rehearsal.objects.exists()


def test_cameras_that_one_of_a_sequences_rules_never_sees_are_refused(town: Town) -> None:
    gate, yard = laned(town, "At the gate", town.gate), laned(town, "At the yard", town.yard)
    with pytest.raises(rehearsals.CannotRehearse, match="“At the yard” watches none of these cameras"):
        started(town, sequence_of(town, gate, yard), cameras=[town.gate.uid])


def test_cameras_on_none_of_which_it_can_be_made_are_refused(town: Town) -> None:
    dock = Camera.objects.create(name="Dock", site=town.site, group=town.gate.group)
    gate, yard = laned(town, "At the gate", town.gate), laned(town, "At the yard", town.yard)
    lanes = [zone for rule in (gate, yard) for zone in rule.zones.select_related("view__camera__site")]
    editing.save_rule(gate, zones=lanes, author=None, now=timezone.now())
    there = Zone.objects.create(view=View.objects.create(camera=dock), name="Dock", points=town.zone.points)
    editing.save_rule(yard, zones=[lanes[1], there], author=None, now=timezone.now())
    sequence = sequence_of(town, gate, yard, scope="camera")
    with pytest.raises(rehearsals.CannotRehearse, match="“At the gate” and “At the yard” watch none of these cameras"):
        started(town, sequence, cameras=[town.gate.uid, dock.uid])
    assert started(town, sequence, cameras=[town.gate.uid, town.yard.uid]).cameras == [
        str(town.gate.uid),
        str(town.yard.uid),
    ]


def test_a_counting_draft_is_added_up_beside_the_version_in_force(town: Town) -> None:
    line = Zone.objects.create(view=town.zone.view, name="Kerb", shape="line", points=[[0.2, 0.1], [0.2, 0.95]])
    rule = new_rule(town, name="Over the kerb", kind="counting", config={"labels": ["person"], "interval_s": 60})
    editing.save_rule(rule, zones=[line], author=None, now=timezone.now())
    archived(town, [*walks(0, 0), *nobody(136, 300, 1.0)], hours=2)
    rule.config = {**rule.config, "interval_s": 86_400, "least_way": 0.3}
    rehearsal = ran(started(town, rule, zones=[line]))
    tally = rehearsal.summary["tally"]
    assert (rehearsal.state, tally["draft"], tally["in_force"]) == ("done", 0, 4)
    assert sorted((one["direction"], one["draft"], one["in_force"]) for one in tally["series"]) == [
        ("backward", 0, 2),
        ("forward", 0, 2),
    ]
    hours = rehearsal.summary["hours"]
    assert (sum(hours["same"]), sum(hours["new"]), sum(hours["gone"])) == (0, 0, 4)
    assert not rehearsal.rows.filter(kind="firing").exists() and not Count.objects.exists()


def test_blind_time_is_told_by_the_hour_and_not_counted_as_known(town: Town) -> None:
    archived(town, [*walks(0), *blind(80, 680), source(680, "active"), *nobody(681, 800, 1.0)], hours=2)
    figures = ran(started(town)).summary
    assert figures["unknown_s"]["blind:stalled"] == pytest.approx(600, abs=40)
    assert sum(figures["hours"]["unknown_s"]) == pytest.approx(sum(figures["unknown_s"].values()))
    assert sum(figures["hours"]["whole_s"]) == pytest.approx(86_400)
    assert figures["known_s"] == pytest.approx(200, abs=40)


def test_without_an_archive_nothing_is_known(town: Town) -> None:
    rehearsal = ran(started(town))
    assert rehearsal.state == "done"
    assert rehearsal.summary["unknown_s"] == {"silent": 86_400.0} and rehearsal.summary["known_s"] == 0


def test_handed_over_twice_it_runs_once(town: Town) -> None:
    archived(town, walks(0), hours=2)
    rehearsal = ran(started(town))
    rows = rehearsal.rows.count()
    assert ran(rehearsal).rows.count() == rows


def test_a_cancelled_one_stops_between_two_items(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    archived(town, walks(0, 0, 0), hours=2)
    monkeypatch.setattr(rehearsal_run, "FLUSH_S", 0.0)
    rehearsal, taken = started(town), []
    take = rehearsal_run._Notes.take

    def cancelling(notes: Any, item: Any) -> None:
        take(notes, item)
        taken.append(item)
        if len(notes.gathered.found) == 1:
            rehearsals.cancel(rehearsal)

    monkeypatch.setattr(rehearsal_run._Notes, "take", cancelling)
    assert ran(rehearsal).state == "cancelled"
    assert not [item for item in taken if type(item).__name__ == "Summary"]
    assert rehearsal.rows.filter(kind="firing").count() == 0  # what came with the cancellation is not written after it


def test_one_that_its_worker_left_has_failed_and_is_not_run_again(town: Town) -> None:
    rehearsal = started(town)
    gone_at = timezone.now() - timedelta(seconds=rehearsals.STALE_S + 1)
    Rehearsal.objects.filter(pk=rehearsal.pk).update(state="running", beat_at=gone_at)
    assert ran(rehearsal).state == "failed" and rehearsal.problem == "worker"


def test_one_that_no_worker_took_has_failed(town: Town) -> None:
    rehearsal = started(town)
    rehearsals.tidy(timezone.now() + timedelta(seconds=rehearsals.WAIT_S + 1))
    rehearsal.refresh_from_db()
    assert (rehearsal.state, rehearsal.problem) == ("failed", "waited")


def test_a_broken_archive_fails_it_with_a_reason(town: Town) -> None:
    archived(town, walks(0), hours=2)
    for file in rehearsals.archive_root().rglob("*.parquet"):
        file.write_bytes(b"not a file of rows")
    assert ran(started(town)).state == "failed"


def test_a_person_has_one_at_a_time_and_others_wait(town: Town) -> None:
    first, second = started(town), started(town)
    first.refresh_from_db()
    assert (first.state, second.state) == ("cancelled", "waiting")
    Rehearsal.objects.filter(pk=second.pk).update(author=town.alice)
    Rehearsal.objects.filter(pk=first.pk).update(author=town.bob, state="running", beat_at=timezone.now())
    with pytest.raises(rehearsals.CannotRehearse):
        started(town)


def test_twenty_are_kept_and_none_for_longer_than_a_day(town: Town) -> None:
    made = [started(town) for _ in range(rehearsals.KEPT_EACH + 3)]
    assert Rehearsal.objects.count() == rehearsals.KEPT_EACH
    assert not Rehearsal.objects.filter(pk=made[0].pk).exists()
    rehearsals.tidy(timezone.now() + rehearsals.KEPT + timedelta(minutes=1))
    assert not Rehearsal.objects.exists() and not RehearsalRow.objects.exists()


def test_a_broker_that_is_away_is_said(town: Town, settings: LazySettings, monkeypatch: pytest.MonkeyPatch) -> None:
    rehearsal = started(town)

    def refuse(*_: object, **__: object) -> None:
        raise ConnectionError("refused")

    monkeypatch.setattr(rehearsals.current_app, "send_task", refuse)
    rehearsals.publish(rehearsal.uid)
    rehearsal.refresh_from_db()
    assert (rehearsal.state, rehearsal.problem) == ("failed", "broker")
