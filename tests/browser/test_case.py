"""An incident's life in a real Chromium: by keys, by two clicks, and without losing what somebody writes."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Enter, Room
from tests.browser.test_room import SOON_MS

pytestmark = [pytest.mark.browser, pytest.mark.valkey, pytest.mark.slow]


def test_a_camera_is_silenced_for_an_hour_with_two_clicks_and_heard_again_with_one(enter: Enter) -> None:
    page = enter("alice")
    page.get_by_role("button", name="Silence …").click()
    page.locator("dialog[data-dialog=silence] button.primary").click()
    expect(page.locator("[data-part=muted]")).to_contain_text("Silenced by Alice Chen", timeout=SOON_MS)
    expect(page.locator(".row.is-muted")).to_have_count(1)
    page.get_by_role("button", name="End it now").click()
    expect(page.locator("[data-part=muted]")).to_have_count(0)
    expect(page.locator(".log")).to_contain_text("No longer muted")


def test_it_is_resolved_and_opened_again_by_keys(enter: Enter) -> None:
    page = enter("alice")
    for key in ("r", "5", "2", "Enter"):
        page.keyboard.press(key)
    expect(page.locator(".incident[data-state=resolved]")).to_be_visible(timeout=SOON_MS)
    expect(page.locator(".log")).to_contain_text("Handed over: fire brigade")
    page.keyboard.press("r")
    page.keyboard.type("1 more column of smoke")
    page.locator("dialog[data-dialog=reopen] button.primary").click()
    expect(page.locator(".incident[data-state=open]")).to_be_visible(timeout=SOON_MS)
    expect(page.locator(".log")).to_contain_text("1 more column of smoke")


def test_it_is_given_away_by_keys_and_a_colleague_sees_it(enter: Enter) -> None:
    alice, bob = enter("alice"), enter("bob")
    alice.keyboard.press("g")
    alice.get_by_role("radio", name="Bob Lin").check(force=True)
    alice.locator("dialog[data-dialog=assign] button.primary").click()
    expect(bob.locator(".row").first).to_contain_text("for you", timeout=SOON_MS)
    expect(bob.locator(".incident .state.open")).to_contain_text("given to Bob Lin")


def test_a_note_that_is_being_written_survives_the_news(enter: Enter) -> None:
    alice, bob = enter("alice"), enter("bob")
    alice.keyboard.press("n")
    alice.keyboard.type("Two men, r and a")
    bob.keyboard.press("a")
    expect(alice.locator(".incident[data-state=acknowledged]")).to_be_visible(timeout=SOON_MS)
    expect(alice.locator(".note-form textarea")).to_have_value("Two men, r and a")
    alice.get_by_role("button", name="Save the note").click()
    expect(bob.locator(".log")).to_contain_text("Two men, r and a", timeout=SOON_MS)
    expect(alice.locator(".note-form textarea")).to_have_value("")


@pytest.mark.parametrize("path", ["/silences/", "/silences/new/", "/incidents/new/"])
def test_the_pages_fit_a_phone(enter: Enter, room: Room, path: str) -> None:
    page = enter("alice", width=390, height=844, touch=True)
    page.goto(f"{room.url}{path}")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    expect(page.locator("h1")).to_be_visible()
