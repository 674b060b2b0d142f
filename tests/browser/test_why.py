"""Somebody walked through the yard and nothing fired: asked, answered, the rule opened with the change filled in."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from playwright.sync_api import Page, expect

from tests.alerts.kept import keep, moved
from tests.alerts.test_why import MOMENT_S, standing
from tests.browser.conftest import Enter, Room, Theatre

pytestmark = [pytest.mark.browser, pytest.mark.valkey, pytest.mark.slow]

YARD = "[[0.1, 0.4], [0.7, 0.4], [0.7, 0.95], [0.1, 0.95]]"
PATIENCE_MS = 20_000


@pytest.fixture
def moment() -> datetime:
    """When it ought to have fired."""
    return datetime.now(UTC) - timedelta(minutes=2)


@pytest.fixture
def room(theatre: Theatre, moment: datetime) -> Iterator[Room]:
    """At the moment somebody stood in the first camera's yard, seen with a doubtful score."""
    with theatre.room() as one:
        camera, deployment = _gate(one)
        to = moment - timedelta(seconds=MOMENT_S)
        log = moved(standing(0.5, 0.415, until_s=90), camera=camera, deployment=deployment, to=to)
        keep(one.folder / "archive", log)
        yield one


def _gate(room: Room) -> tuple[UUID, UUID]:
    """The first camera and its deployment. Its zone becomes the yard, and its model gives labels."""
    with sqlite3.connect(room.folder / "browser.sqlite3", timeout=20) as rows:
        rows.execute("update alerts_zone set points = ?", [YARD])
        rows.execute("update detectors_model set labels = ?", ['["person", "car"]'])
        camera = rows.execute("select uid from streams_camera where name = 'North gate'").fetchone()[0]
        deployment = rows.execute("select uid from detectors_deployment").fetchone()[0]
        return UUID(camera), UUID(deployment)


def _saved_yesterday(page: Page, room: Room) -> None:
    """The rule in force is written as the form writes it, and then made a day old."""
    page.goto(f"{room.url}/setup/")
    page.click(".card:has-text('North gate') a")
    page.click(".rule a:has-text('Dock lane')")
    page.click(".go.bar button:has-text('Save')")
    page.wait_for_url("**/setup/cameras/*/")
    yesterday = f"{datetime.now(UTC) - timedelta(days=1):%Y-%m-%d %H:%M:%S}"
    with sqlite3.connect(room.folder / "browser.sqlite3", timeout=20) as rows:
        rows.execute("update alerts_ruleversion set active_from_at = ?", [yesterday])


def test_from_a_missed_moment_to_the_changed_rule(room: Room, enter: Enter, moment: datetime) -> None:
    page = enter("ada", width=1280, height=800)
    _saved_yesterday(page, room)
    page.click("a:has-text('Why did it not fire?')")
    expect(page.locator("#why-camera option:checked")).to_contain_text("North gate")
    expect(page.locator("[name=at]")).not_to_have_value("")
    page.fill("[name=at]", f"{moment.astimezone(ZoneInfo('Asia/Taipei')):%Y-%m-%dT%H:%M:%S}")
    page.select_option("[name=rule]", label="Dock lane")
    page.click("button:has-text('Ask')")

    walk = page.locator(".walk-card")
    expect(walk).to_have_count(1, timeout=PATIENCE_MS)
    expect(walk.locator("h3")).to_have_text("Dock lane")
    expect(walk.locator(".firing-picture rect")).to_have_count(1)
    expect(walk.locator(".walk .passed")).to_have_count(4)
    expect(walk.locator(".walk .stopped")).to_contain_text("the rule asks for 0.45")
    expect(walk.locator(".change")).to_contain_text("Confidence 0.45 → 0.41")

    page.click("text=Open the rule with this filled in")
    expect(page.locator("[name=setting_confidence]")).to_have_value("0.41")
    expect(page.locator(".advice")).to_contain_text("Nothing is changed until you save.")
    expect(page.locator("#open-rehearse")).to_be_visible()
    page.click(".go.bar button:has-text('Save')")
    page.wait_for_url("**/setup/cameras/*/")
    with sqlite3.connect(room.folder / "browser.sqlite3", timeout=20) as rows:
        newest = rows.execute("select embedded from alerts_ruleversion order by id desc limit 1").fetchone()[0]
    assert json.loads(newest)["config"]["confidence"] == 0.41


def test_another_camera_brings_its_own_rules(room: Room, enter: Enter) -> None:
    page = enter("ada", width=390, height=844, touch=True)
    page.goto(f"{room.url}/setup/why/")
    page.select_option("#why-camera", label="Main entrance · Harbour City")
    page.wait_for_url("**/setup/why/?camera=*")
    expect(page.locator("#why-camera option:checked")).to_contain_text("Main entrance")
    expect(page.locator(".walk-card")).to_have_count(0)
    wide = page.evaluate("document.documentElement.scrollWidth")
    assert wide <= 390
