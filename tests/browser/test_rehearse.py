"""A rule is opened, changed and rehearsed before it is saved: a real worker goes through an archive written here."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from playwright.sync_api import Page, expect

from streams.observations import Observation
from tests.alerts.kept import keep, moved, walks
from tests.browser.conftest import JOBS, Enter, Room, Theatre, beside

pytestmark = [pytest.mark.browser, pytest.mark.valkey, pytest.mark.slow]

YARD = "[[0.1, 0.4], [0.6, 0.4], [0.6, 0.95], [0.1, 0.95]]"
KERB = "[[0.2, 0.1], [0.2, 0.95]]"
HOURS_AGO = (30.0, 20.5, 20.2, 5.0, 0.4)
"""When somebody walks into the yard; at the second and the last time they stand there for a while."""
PATIENCE_MS = 60_000


@pytest.fixture
def room(theatre: Theatre) -> Iterator[Room]:
    """With a camera whose archive has some walks in it, and a worker for the queue of long jobs."""
    with theatre.room() as one:
        keep(one.folder / "archive", _archived(one))
        with beside(one, *JOBS):
            yield one


def _archived(room: Room) -> list[Observation]:
    """The first camera's walks. Its zone becomes the yard, and its model gives labels."""
    with sqlite3.connect(room.folder / "browser.sqlite3", timeout=20) as rows:
        rows.execute("update alerts_zone set points = ?", [YARD])
        rows.execute("update detectors_model set labels = ?", ['["person", "car"]'])
        camera = UUID(rows.execute("select uid from streams_camera where name = 'North gate'").fetchone()[0])
        deployment = UUID(rows.execute("select uid from detectors_deployment").fetchone()[0])
    log: list[Observation] = []
    for number, hours in enumerate(HOURS_AGO, start=1):
        to = datetime.now(UTC) - timedelta(hours=hours)
        stand_s = 30.0 if hours in (20.5, 0.4) else 0.0
        log += moved(walks(stand_s), camera=camera, deployment=deployment, to=to, session=number)
    return log


def open_rule(page: Page, room: Room) -> None:
    page.goto(f"{room.url}/setup/")
    page.click(".card:has-text('North gate') a")
    page.click(".rule a:has-text('Dock lane')")


def test_a_rule_is_rehearsed_before_it_is_saved(room: Room, enter: Enter) -> None:
    page = enter("ada", width=1280, height=800)
    open_rule(page, room)
    page.click(".go.bar button:has-text('Save')")
    page.wait_for_url("**/setup/cameras/*/")
    page.click("[data-do=walked]")
    expect(page.locator("#walked polyline")).to_have_count(1)

    page.click(".rule a:has-text('Dock lane')")
    page.fill("[name=setting_hold_s]", "15")
    page.click("#open-rehearse")
    page.click("[data-do=begin-rehearsal]")
    result = page.locator(".rehearsal")
    expect(result).to_have_attribute("data-state", "done", timeout=PATIENCE_MS)
    expect(result.locator(".big")).to_have_text("2 times")
    expect(result.locator(".key")).to_contain_text("2 as in version 8")
    expect(result.locator(".key")).to_contain_text("3 gone")
    expect(result.locator(".firing.is-gone")).to_have_count(3)
    expect(page.locator("#rehearse-said")).to_have_text("2 times in the last 7 days.")

    page.fill("[name=setting_hold_s]", "-1")
    expect(page.locator("#rehearse-stale")).to_be_visible()
    with sqlite3.connect(room.folder / "browser.sqlite3", timeout=20) as rows:
        assert rows.execute("select count(*) from alerts_ruleversion").fetchone() == (5,)


def test_what_counts_and_what_is_made_of_other_rules_is_rehearsed_too(room: Room, enter: Enter) -> None:
    with sqlite3.connect(room.folder / "browser.sqlite3", timeout=20) as rows:
        line = "insert into alerts_zone (uid, view_id, name, shape, points) select ?, view_id, 'Kerb', 'line', ?"
        rows.execute(f"{line} from alerts_zone where name = 'Dock lane'", [UUID(int=1).hex, KERB])
    page = enter("ada", width=1280, height=800)
    open_rule(page, room)
    page.click(".go.bar button:has-text('Save')")
    page.wait_for_url("**/setup/cameras/*/")
    camera, result = page.url, page.locator(".rehearsal")

    page.goto(f"{camera}rules/add/?kind=counting")
    page.fill("[name=name]", "Over the kerb")
    page.click("label:has-text('Kerb')")
    begin(page)
    # Nothing was seen after the last walk, so its interval gave no number.
    expect(result.locator(".big")).to_have_text("8 times")
    expect(result.locator(".tally tbody tr").first).to_have_text("Kerb with the arrow · person4")
    expect(page.locator("#rehearse-said")).to_have_text("It would have counted 8 times in the last 7 days.")

    page.goto(f"{camera}rules/add/?kind=sequence")
    page.fill("[name=name]", "Twice within the hour")
    page.click("label:has-text('Dock lane')")
    for setting in ("first", "then"):
        page.select_option(f"[name=setting_{setting}]", label="Dock lane")
    page.fill("[name=setting_within_s]", "3600")
    begin(page)
    expect(result.locator(".big")).to_have_text("1 time")
    expect(result.locator(".firing")).to_have_count(1)


def begin(page: Page) -> None:
    page.click("#open-rehearse")
    page.click("[data-do=begin-rehearsal]")
    expect(page.locator(".rehearsal")).to_have_attribute("data-state", "done", timeout=PATIENCE_MS)
