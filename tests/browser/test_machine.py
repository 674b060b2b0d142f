"""The page of this machine in a real Chromium: it looks by itself, says how far it is, and lets a command be copied."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Enter, Room

pytestmark = [pytest.mark.browser, pytest.mark.valkey, pytest.mark.slow]


def test_an_administrator_sees_what_is_wrong_and_copies_the_command(room: Room, enter: Enter) -> None:
    (room.folder / "token.secret").touch(mode=0o644)
    page = enter("ada")
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.goto(f"{room.url}/setup/machine/")
    expect(page.locator("progress")).to_be_visible()
    expect(page.locator("#again")).to_be_disabled()
    expect(page.locator("[data-finished]")).to_be_visible(timeout=60_000)
    expect(page.locator("#again")).to_be_enabled()
    secrets = page.locator(".find.is-wrong", has_text="token.secret")
    secrets.locator(".copy").click()
    expect(secrets.locator(".copy")).to_have_text("Copied")
    assert page.evaluate("navigator.clipboard.readText()") == f"chmod 600 {room.folder / 'token.secret'}"
    assert page.locator("h2").first.inner_text().endswith("wrong")
    (room.folder / "token.secret").chmod(0o600)
    page.click("#again")
    expect(page.locator("progress")).to_be_visible()
