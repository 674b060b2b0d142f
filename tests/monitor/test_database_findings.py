"""What only Django knows of an installation, each thing made wrong in its rows or settings."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from django.conf import LazySettings
from django.db import OperationalError, connection
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder

from alerts.editing import save_rule
from alerts.models import Contact, Recipient, Zone
from detectors.models import Deployment, Model
from monitor import demo
from monitor.findings import database
from monitor.findings.finding import Finding, State
from tests.town import NOW, SQUARE, build_town, new_rule

pytestmark = pytest.mark.django_db
OK, NOTE, WRONG = State.OK, State.NOTE, State.WRONG


def by_subject(option: str = "") -> dict[str, Finding]:
    return {finding.subject: finding for finding in database.findings(option)}


@pytest.fixture
def _seeded(settings: LazySettings, tmp_path: Path) -> None:
    demo.seed(5541)
    # Of the settings only the folders are the test's: they are checked too.
    settings.DATA_DIR = tmp_path
    settings.MEDIA_ROOT = tmp_path


@pytest.mark.usefixtures("_seeded")
def test_the_demo_is_well_and_its_messages_stay_here() -> None:
    found = by_subject()
    assert {name for name, finding in found.items() if finding.state is WRONG} == set()
    assert found["SMS"].state is found["E-mail"].state is NOTE and "TWILIO" in found["SMS"].advice_sentence
    assert found["Recipients"].values == {"count": 2}


@pytest.mark.usefixtures("_seeded")
def test_messages_that_leave_are_no_note(settings: LazySettings) -> None:
    settings.TWILIO = {"account": "AC1", "token": "t", "sender": "+15550100100", "base_url": ""}
    settings.POLISCOPE_SMTP_URL = "smtp://mail.example.org"
    found = by_subject()
    assert found["SMS"].state is found["E-mail"].state is OK


@pytest.mark.usefixtures("_seeded")
def test_somebody_who_cannot_be_reached_is_named() -> None:
    Contact.objects.filter(recipient__name="Duty officer").update(disabled_at=datetime.now(UTC))
    finding = by_subject()["Recipients"]
    assert finding.state is WRONG and "Duty officer" in finding.sentence and "林雅婷" not in finding.sentence
    Recipient.objects.update(active=False)
    assert "Nobody would be told by: Person in the closed square" in by_subject()["Recipients"].sentence


@pytest.mark.usefixtures("_seeded")
def test_a_model_without_its_runtime_or_file_is_named() -> None:
    Model.objects.update(backend="abacus")
    finding = by_subject()["Deployments"]
    assert finding.state is WRONG and "abacus" in finding.sentence and finding.remedy == "./poliscope install abacus"
    Model.objects.update(backend="openvino", card="nanodet_g", path="gone.onnx")
    assert "got nothing" in by_subject()["Deployments"].sentence and not by_subject()["Deployments"].remedy
    Deployment.objects.update(enabled=False)
    assert by_subject()["Deployments"].state is OK


def test_a_sequence_that_cannot_fire_any_more_is_named() -> None:
    town = build_town()
    assert "Sequences" not in by_subject()
    alone = Zone.objects.create(view=town.zone.view, name="Door", points=SQUARE)
    door = new_rule(town, name="Door")
    save_rule(door, zones=[alone], author=None, now=NOW)
    waits = {"first": str(door.uid), "then": str(door.uid)}
    save_rule(new_rule(town, name="Twice", kind="sequence", config=waits), zones=[town.zone], author=None, now=NOW)
    assert by_subject()["Sequences"].state is OK
    alone.delete()
    finding = by_subject()["Sequences"]
    assert finding.state is WRONG and "Twice" in finding.sentence and finding.advice_sentence


@pytest.mark.usefixtures("_seeded")
def test_http_for_others_is_wrong(settings: LazySettings) -> None:
    settings.PUBLIC_URL = "http://watch.example.org"
    finding = by_subject(" --data /srv/p")["Settings"]
    assert finding.state is WRONG and "poliscope.W001" in finding.sentence and "TLS proxy" in finding.advice_sentence
    assert finding.remedy == "./poliscope manage check --data /srv/p"


def test_tables_of_an_older_version_are_wrong() -> None:
    [newest] = MigrationLoader(connection).graph.leaf_nodes("streams")
    MigrationRecorder(connection).record_unapplied(*newest)
    found = list(database.migrations(" --data /srv/p"))
    assert found[0].state is WRONG and ".".join(newest) in found[0].sentence
    assert found[0].remedy == "./poliscope manage migrate --data /srv/p"


def test_a_database_that_does_not_answer_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    def away(option: str) -> list[Finding]:
        raise OperationalError("connection refused\nIs the server running?")

    monkeypatch.setattr(database, "migrations", away)
    assert by_subject()["Database"].sentence == "It does not answer: connection refused"
