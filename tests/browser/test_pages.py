"""Every page of an installation in full use, in both languages, on a telephone: it fits, it is labelled, it speaks one
language, and what is pressed most is large enough for a thumb.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import pytest
from django.urls import URLPattern
from playwright.sync_api import Page

from frontend.urls import urlpatterns
from monitor.urls import urlpatterns as outer
from tests.browser.conftest import Console, Enter, Room, beside

pytestmark = [pytest.mark.browser, pytest.mark.valkey, pytest.mark.slow]

FURNISHED_S = 120.0
PARTS = {
    "queue", "strip", "incident-pane", "proposal-part", "picture", "thumbnail", "wall-states", "outbox-html",
    "setup-snapshot", "setup-walked", "rehearsal-picture", "rehearsal-ground", "rehearsal", "rota-feed",
    "setup-configuration-download",
}  # fmt: skip
"""What a page fetches, and what is read by other programs."""
ACTS = {
    "acknowledge", "resolve", "reopen", "assign", "note", "severity", "silence-incident", "twilio-status",
    "twilio-answer", "silence-end", "window-delete", "setup-try", "setup-list-preview", "setup-list-apply",
    "setup-template-override-drop", "setup-template-apply", "setup-template-delete", "setup-template-rehearse-new",
    "setup-template-rehearse", "setup-configuration-compare", "setup-configuration-apply", "setup-try-camera",
    "setup-switch", "setup-zone", "setup-ground", "setup-zone-delete", "setup-rule-switch", "setup-rule-back",
    "setup-rehearse-new", "setup-rehearse", "rehearsal-cancel", "setup-test", "setup-contact-add",
    "setup-team-delete", "setup-rota-override", "setup-rota-override-drop", "setup-rota-feed", "setup-rota-delete",
    "setup-policy-delete", "take-duty", "give-duty-back", "contact-send", "contact-code", "contact-unsubscribe",
    "contact-remove", "logout", "language", "theme", "machine-again",
}  # fmt: skip
"""What only takes a form."""

OUTSIDE = """() => [...document.querySelectorAll("body *")].filter((element) => {
    const box = element.getBoundingClientRect();
    if (!box.width || !box.height || box.right <= innerWidth + 1) return false;
    if (element.closest("svg, dialog, .skip, .off-screen, [hidden]")) return false;
    for (let outer = element.parentElement; outer; outer = outer.parentElement) {
        if (["auto", "scroll"].includes(getComputedStyle(outer).overflowX) && !outer.matches("main, body, html")
            && outer.getBoundingClientRect().right <= innerWidth + 1) return false;
    }
    return true;
}).map((element) => `outside: ${element.tagName}.${element.className}: ${element.textContent.trim().slice(0, 60)}`)"""
"""What hangs over the right edge, unless it lies in a box that scrolls by itself."""

UNNAMED = """() => [...document.querySelectorAll("button, a[href], input, select, textarea")].filter((element) => {
    if (element.type === "hidden" || !element.getClientRects().length) return false;
    const said = [element.getAttribute("aria-label"), element.title, element.textContent,
        ...[...(element.labels ?? [])].map((label) => label.textContent),
        ...[...element.querySelectorAll("img[alt]")].map((image) => image.alt)];
    return !said.some((words) => words?.trim());
}).map((element) => `without a name: ${element.outerHTML.slice(0, 120)}`)"""

SMALL = """() => [...document.querySelectorAll(".primary, .second, .danger-button, .rail a")].filter((element) => {
    const box = element.getBoundingClientRect();
    return box.height && box.height < 43.5;
}).map((element) => `too low for a thumb: ${element.innerText.trim()} ${element.getBoundingClientRect().height}`)"""

ENGLISH = """() => {
    const said = [];
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) {
        const within = walker.currentNode.parentElement;
        if (!within.closest("script, style, code, pre, option, [lang=en]")) said.push(walker.currentNode.data);
    }
    for (const element of document.querySelectorAll("[placeholder], [aria-label], [title], img[alt]"))
        for (const name of ["placeholder", "aria-label", "title", "alt"])
            if (element.getAttribute(name)) said.push(element.getAttribute(name));
    return said.flatMap((words) => words.match(/[A-Za-z]{2,}(?:,? [A-Za-z]{2,})+/g) ?? [])
        .filter((words) => !/^(Apache Kafka|ONNX Runtime|poliscope doctor)$/.test(words))
        .map((words) => `English: ${words}`);
}"""
"""Two words and more; names of programs apart."""


@pytest.fixture(params=["en", "zh-hant"])
def language(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def pages(room: Room, language: str) -> dict[str, list[str]]:
    """The room in full use; the addresses of its pages by the names of their routes."""
    written = room.folder / "pages.json"
    with beside(room, "tests.browser.furnished", language):
        deadline = time.monotonic() + FURNISHED_S
        while not written.exists():
            assert time.monotonic() < deadline, f"it was not furnished within {FURNISHED_S} s"
            time.sleep(0.2)
    found: dict[str, list[str]] = json.loads(written.read_text())
    return found


def test_every_page_fits_a_telephone_and_speaks_one_language(
    room: Room, enter: Enter, console: Console, pages: dict[str, list[str]], language: str
) -> None:
    console.expected.append("410 (Gone)")  # what a link that has expired answers
    names = {route.name for route in (*urlpatterns, *outer) if isinstance(route, URLPattern) and route.name}
    assert names - PARTS - ACTS == set(pages), "each address is a page that is looked at here, or known to be none"
    phone = enter("ada", width=390, height=844, touch=True)
    phone.click("#menu summary")
    phone.click(f"button[name=language][value={language}]")
    phone.wait_for_load_state()
    checks = [OUTSIDE, UNNAMED, SMALL, *([ENGLISH] if language == "zh-hant" else [])]
    paths = [path for each in pages.values() for path in each]
    assert [fault for path in paths for fault in faults(phone, room.url, path, checks)] == []


def faults(phone: Page, room: str, path: str, checks: list[str]) -> Iterator[str]:
    """What is wrong with the page at ``path``."""
    answer = phone.goto(room + path)
    if answer is None or answer.status not in (200, 410):  # 410: a link that has expired
        yield f"{path}: {answer and answer.status}"
    for check in checks:
        yield from (f"{path}: {fault}" for fault in phone.evaluate(check))
    if phone.evaluate("document.documentElement.scrollWidth") > 390:
        yield f"{path}: scrolls sideways"
