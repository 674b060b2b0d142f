"""A signed link as the telephone of somebody without a log-in opens it."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime, timedelta

import pytest
from playwright.sync_api import Browser, expect

from alerts.links import Link, make
from tests.browser.conftest import Console, Enter, Room, listen

pytestmark = [pytest.mark.browser, pytest.mark.valkey, pytest.mark.slow]

SECRET = "tests-only-" * 6


def link_of(room: Room) -> str:
    """A link to the newest alert of an open incident."""
    with sqlite3.connect(room.folder / "browser.sqlite3") as rows:
        query = (
            "select a.id from alerts_alert a join alerts_incident i on i.id = a.incident_id "
            "where i.state = 'open' order by i.opened_at desc"
        )
        key = rows.execute(query).fetchone()[0]
    return f"{room.url}/a/{make(Link(key, datetime.now(UTC) + timedelta(hours=1)), SECRET)}"


def test_one_thumb_acknowledges_and_the_room_sees_it(
    room: Room, chromium: Browser, console: Console, enter: Enter
) -> None:
    alice = enter("alice")
    telephone = chromium.new_context(viewport={"width": 390, "height": 844}, java_script_enabled=False).new_page()
    listen(telephone, console)
    telephone.goto(link_of(room))
    button = telephone.locator("button.primary")
    expect(button).to_have_text("I have it")
    box = button.bounding_box()
    assert box is not None and box["height"] >= 40 and box["x"] + box["width"] <= 390
    expect(alice.locator(".incident .state.open")).to_be_visible()

    button.click()

    expect(telephone.locator(".answered")).to_contain_text("You have it.")
    expect(telephone.locator("button")).to_have_count(0)
    expect(alice.locator(".incident .state.acknowledged")).to_be_visible(timeout=5000)
    expect(alice.locator(".told .answered")).to_contain_text("by the link in the message", timeout=5000)
    telephone.context.close()
