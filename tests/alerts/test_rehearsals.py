"""Rehearsals as rows: run once over a real archive, cancelled between two items, failed when their worker is gone."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.conf import LazySettings
from django.utils import timezone

from alerts import editing, rehearsal_run, rehearsals
from alerts.models import Alert, Event, Incident, Rehearsal, RehearsalRow, RuleVersion
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


def started(town: Town, rule: Any = None, days: int = 1) -> Rehearsal:
    rule = rule or new_rule(town)
    draft = editing.draft_version(rule, zones=[town.zone], now=timezone.now())
    wanted = rehearsals.Wanted(draft, [town.gate.uid], days, timezone.now(), "Asia/Taipei")
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
        if len(notes.found) == 1:
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
