"""The control room in a real Chromium: what a person sees, presses and hears. Any console error fails the test."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from playwright.sync_api import Page, Route, expect

from tests.browser.conftest import Console, Enter, Room

pytestmark = [pytest.mark.browser, pytest.mark.valkey, pytest.mark.slow]

SOON_MS = 5000
"""The screen equals the database within this."""


def until(told: Callable[[], bool], seconds: float = 10.0) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if told():
            return True
        time.sleep(0.1)
    return told()


def test_a_key_acknowledges_and_a_second_browser_sees_it(enter: Enter) -> None:
    alice, bob = enter("alice"), enter("bob")
    for page in (alice, bob):
        expect(page.locator(".row").first).to_contain_text("Person in “Dock lane”")
        expect(page.locator(".incident .state.open")).to_be_visible()
    alice.keyboard.press("a")
    expect(bob.locator(".incident .state.acknowledged")).to_have_text("Alice Chen has it", timeout=SOON_MS)
    expect(alice.locator(".incident .state.acknowledged")).to_be_visible(timeout=SOON_MS)
    expect(alice.locator("form[data-act=acknowledge]")).to_have_count(0)


def test_it_resolves_by_keys_and_asks_once(enter: Enter) -> None:
    page = enter("alice")
    page.keyboard.press("r")
    expect(page.locator("dialog[data-dialog=resolve]")).to_be_visible()
    page.keyboard.press("2")
    page.keyboard.press("Enter")
    expect(page.locator("dialog[data-dialog=resolve]")).not_to_be_visible()
    expect(page.locator(".incident[data-state=resolved]")).to_be_visible(timeout=SOON_MS)
    expect(page.locator(".closed")).to_contain_text("Resolved: false alarm")


def test_a_false_alarm_takes_its_cause_by_one_more_key(enter: Enter) -> None:
    page = enter("alice")
    page.keyboard.press("r")
    expect(page.locator("[data-for=false]")).not_to_be_visible()
    page.keyboard.press("2")
    expect(page.locator("[data-for=false]")).to_be_visible()
    page.keyboard.press("3")
    expect(page.get_by_role("radio", name="shadow")).to_be_checked()
    page.keyboard.press("Enter")
    expect(page.locator("dialog[data-dialog=resolve]")).not_to_be_visible()
    expect(page.locator(".log")).to_contain_text("False alarm: shadow", timeout=SOON_MS)


def test_new_rows_wait_while_the_list_is_in_use(enter: Enter, room: Room, console: Console) -> None:
    page = enter("alice")
    first = page.locator(".row").first
    first.hover()
    before = first.bounding_box()
    news(room)
    pill = page.locator(".pill")
    expect(pill).to_have_text("1 new", timeout=SOON_MS)
    assert first.bounding_box() == before
    pill.click()
    expect(page.locator(".row")).to_have_count(4)
    expect(page.locator(".row.new")).to_have_count(1)


def test_a_new_incident_sounds_and_appears(enter: Enter, room: Room) -> None:
    page = enter("alice")
    page.mouse.move(700, 400)
    news(room)
    expect(page.locator(".row")).to_have_count(4, timeout=SOON_MS)
    expect(page.locator("body")).to_have_attribute("data-chimes", "1")


def news(room: Room) -> None:
    """One more incident, from another process, announced to nobody: only the poll can find it."""
    import sqlite3

    with sqlite3.connect(room.folder / "browser.sqlite3", timeout=20) as rows:
        columns = [row[1] for row in rows.execute("pragma table_info(alerts_incident)") if row[1] != "id"]
        source = ", ".join(columns)
        changed = {
            "uid": "?",
            "group_key": "?",
            "state": "'open'",
            "acknowledged_by_id": "null",
            "acknowledged_at": "null",
        }
        values = ", ".join(changed.get(column, column) for column in columns)
        uid = "f" * 32
        rows.execute(
            f"insert into alerts_incident ({source}) select {values} from alerts_incident order by id limit 1",
            [value for column, value in (("uid", uid), ("group_key", uid)) if column in columns],
        )
        rows.execute("update streams_sequencecounter set value = value + 1 where name = 'changes'")


def write(room: Room, *statements: str) -> None:
    """Changes rows from another process; announced to nobody: only the poll can find it."""
    import sqlite3

    with sqlite3.connect(room.folder / "browser.sqlite3", timeout=20) as rows:
        for statement in statements:
            rows.execute(statement)
        rows.execute("update streams_sequencecounter set value = value + 1 where name = 'changes'")


def copies(room: Room, table: str, changed: dict[str, str], count: int = 1) -> None:
    """As many rows more, like the first one but for a new uid and what is ``changed`` (SQL by column)."""
    import sqlite3

    with sqlite3.connect(room.folder / "browser.sqlite3", timeout=20) as rows:
        columns = [row[1] for row in rows.execute(f"pragma table_info({table})") if row[1] != "id"]
    # Like a UUIDv7 of the far future: the newest, whatever the clock says.
    fresh = {"uid": "'ffffffffffff7' || lower(hex(randomblob(9))) || 'f'", **changed}
    values = ", ".join(fresh.get(column, column) for column in columns)
    insert = f"insert into {table} ({', '.join(columns)}) select {values} from {table} order by id limit 1"
    write(room, *[insert] * count)


TOKENS = "[...document.querySelectorAll('input[name=csrfmiddlewaretoken]')].map((field) => field.value)"


def test_a_hint_leaves_a_button_and_its_focus_alone_and_renews_the_tokens(enter: Enter, room: Room) -> None:
    page = enter("alice")
    page.mouse.move(700, 400)
    button = page.locator("form[data-act=acknowledge] button")
    button.evaluate("button => { button.known = true; button.focus(); }")
    before = page.evaluate(TOKENS)
    news(room)
    expect(page.locator(".row")).to_have_count(4, timeout=SOON_MS)
    assert until(lambda: page.evaluate(TOKENS) != before)
    assert len(set(page.evaluate(TOKENS))) == 1
    assert button.evaluate("button => button.known && button === document.activeElement")


def test_a_part_that_vanished_goes_and_one_that_is_new_comes_to_its_place(enter: Enter, room: Room) -> None:
    page = enter("alice")
    write(room, "update alerts_rule set procedure = ''")
    expect(page.locator("[data-part=procedure]")).to_have_count(0, timeout=SOON_MS)
    write(room, "update alerts_rule set procedure = 'Look'")
    expect(page.locator("[data-part=matters] + [data-part=procedure]")).to_contain_text("Look", timeout=SOON_MS)


def test_what_could_not_be_fetched_is_fetched_again(enter: Enter, room: Room, console: Console) -> None:
    console.expected += ["Failed to load resource"]
    page = enter("alice")
    page.mouse.move(700, 400)
    failed: list[str] = []

    def fail_twice(route: Route) -> None:
        failed.append(route.request.url)
        if len(failed) <= 2:
            route.fulfill(status=503)
        else:
            route.continue_()

    expect(page.locator("body")).to_have_attribute("data-socket", "up")
    page.wait_for_load_state("networkidle")  # what the socket's beginning asked for has come
    page.route("**/room/queue/**", fail_twice)
    news(room)
    expect(page.locator(".row")).to_have_count(4, timeout=12_000)
    assert len(failed) >= 3
    expect(page.locator("body")).to_have_attribute("data-socket", "up")


SLOW_PANE = """(uid) => {
    const quick = window.fetch;
    window.fetch = async (address, more) => {
        const answer = await quick(address, more);
        if (String(address).includes(uid)) await new Promise((done) => setTimeout(done, 1500));
        return answer;
    };
}"""


def test_a_key_means_the_incident_chosen_last_whatever_answers_first(enter: Enter) -> None:
    page = enter("alice")
    rows = page.locator(".row")
    slow, quick = (rows.nth(number).get_attribute("data-uid") for number in (1, 2))
    page.evaluate(SLOW_PANE, slow)
    rows.nth(1).click()
    rows.nth(2).click()
    page.keyboard.press("a")
    expect(page.locator(f".incident[data-uid='{quick}'][data-state=acknowledged]")).to_be_visible(timeout=SOON_MS)
    page.wait_for_timeout(2000)
    assert page.locator(".incident").get_attribute("data-uid") == quick
    page.goto(f"{page.url.split('/incidents/')[0]}/incidents/{slow}/")
    expect(page.locator(".incident")).to_have_attribute("data-state", "open")


def test_a_key_waits_for_the_incident_that_is_on_its_way(enter: Enter) -> None:
    page = enter("alice")
    slow = page.locator(".row").nth(1).get_attribute("data-uid")
    page.evaluate(SLOW_PANE, slow)
    page.locator(".row").nth(1).click()
    page.keyboard.press("a")
    expect(page.locator(f".incident[data-uid='{slow}'][data-state=acknowledged]")).to_be_visible(timeout=8000)


def test_a_filter_listens_to_space_and_keeps_the_focus(enter: Enter) -> None:
    page = enter("alice")
    page.locator(".chip[data-show=resolved]").focus()
    page.keyboard.press("Space")
    expect(page.locator(".chip[data-show=resolved]")).to_have_attribute("aria-pressed", "true")
    expect(page.locator(".chip[data-show=resolved]")).to_be_focused()
    expect(page.locator(".row")).to_have_count(1)


def test_a_click_long_ago_does_not_hold_the_list(enter: Enter, room: Room) -> None:
    page = enter("alice")
    page.locator(".row").first.click()
    page.mouse.move(700, 400)
    news(room)
    expect(page.locator(".row")).to_have_count(4, timeout=16_000)


def test_the_picture_that_came_while_it_was_live_is_shown_after(enter: Enter, room: Room) -> None:
    page = enter("alice")
    write(room, "update alerts_event set picture = 'pending'")
    expect(page.locator(".stage .nothing")).to_contain_text("being fetched", timeout=SOON_MS)
    page.keyboard.press("l")
    expect(page.locator(".stage.is-live")).to_be_visible()
    write(room, "update alerts_event set picture = 'kept'")
    page.wait_for_timeout(3500)
    page.keyboard.press("l")
    expect(page.locator(".stage .evidence")).to_be_visible(timeout=SOON_MS)


def test_new_messages_wait_while_the_outbox_is_in_use(enter: Enter, room: Room) -> None:
    page = enter("alice")
    page.click("a[href='/outbox/']")
    page.wait_for_selector("body[data-socket=up]")
    first = page.locator(".message").first
    count = page.locator(".message").count()
    first.hover()
    before = first.bounding_box()
    copies(
        room,
        "alerts_delivery",
        {"created_at": "'2099-01-01'", "resends_id": "(select max(id) from alerts_delivery)"},
        2,
    )
    expect(page.locator(".pill")).to_have_text("2 new", timeout=SOON_MS)
    assert first.bounding_box() == before
    keep(page, "outbox-pill")
    page.click(".pill")
    expect(page.locator(".message")).to_have_count(count + 2)
    write(room, "delete from alerts_delivery where created_at like '2099%'")
    page.mouse.move(5, 5)
    expect(page.locator(".message")).to_have_count(count, timeout=SOON_MS)


def test_no_sound_is_tried_before_a_touch(enter: Enter, room: Room) -> None:
    page = enter("alice")
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.reload()
    page.wait_for_selector("body[data-socket=up]")
    page.wait_for_timeout(1000)
    assert said == []


def test_logging_out_in_one_tab_closes_the_other(enter: Enter) -> None:
    page = enter("alice")
    other = page.context.new_page()
    other.goto(page.url)
    other.click("#menu summary")
    other.click("form[action='/logout/'] button")
    page.wait_for_selector(".door-card", timeout=12_000)


def test_the_wall_follows_its_cameras_and_asks_for_those_that_are_seen(enter: Enter, room: Room) -> None:
    page = enter("alice")
    asked: list[list[str]] = []

    def heard(payload: str | bytes) -> None:
        asked.append(json.loads(payload)["cameras"])

    page.on("websocket", lambda socket: socket.on("framesent", heard))
    page.click("a[href='/wall/']")
    tiles = page.locator(".tile")
    expect(tiles).to_have_count(4)
    asked.clear()
    copies(room, "streams_camera", {"name": "'Zeta ' || lower(hex(randomblob(3)))"}, 66)
    expect(tiles).to_have_count(70, timeout=10_000)
    page.wait_for_selector("body[data-socket=up]")
    north = page.locator(".tile").filter(has_text="North gate")
    north.scroll_into_view_if_needed()
    expect(north).to_have_attribute("data-pictures", re.compile("[1-9]"), timeout=10_000)
    last = tiles.last.get_attribute("data-camera")
    tiles.last.scroll_into_view_if_needed()
    deadline = time.monotonic() + 10
    while last not in asked[-1] and time.monotonic() < deadline:
        page.wait_for_timeout(100)
    assert last in asked[-1]
    assert max(map(len, asked)) <= 64
    write(room, "delete from streams_camera where name like 'Zeta %'")
    expect(tiles).to_have_count(4, timeout=10_000)


def test_a_lost_connection_says_so_and_heals(enter: Enter, room: Room, console: Console) -> None:
    console.expected += ["WebSocket", "ERR_", "Failed to load resource"]
    page = enter("alice")
    expect(page.locator("body")).to_have_attribute("data-socket", "up")
    page.context.set_offline(True)
    bar = page.locator("#lost")
    expect(bar).to_be_visible(timeout=15_000)
    expect(bar).to_have_text(re.compile(r"Connection lost. What you see was true at \d\d:\d\d:\d\d"), timeout=10_000)
    expect(page.locator(".row").first).to_be_visible()
    page.context.set_offline(False)
    expect(bar).not_to_be_visible(timeout=15_000)


def test_a_frozen_server_is_noticed(enter: Enter, room: Room, console: Console) -> None:
    import signal

    console.expected += ["WebSocket", "ERR_", "Failed to load resource"]
    page = enter("alice")
    expect(page.locator("body")).to_have_attribute("data-socket", "up")
    room.process.send_signal(signal.SIGSTOP)
    try:
        expect(page.locator("body")).to_have_attribute("data-socket", "down", timeout=10_000)
    finally:
        room.process.send_signal(signal.SIGCONT)
    expect(page.locator("body")).to_have_attribute("data-socket", "up", timeout=15_000)


def test_the_wall_is_live_and_its_boxes_belong_to_its_pictures(enter: Enter) -> None:
    page = enter("alice")
    page.click("a[href='/wall/']")
    tile = page.locator(".tile").filter(has_text="North gate")
    expect(tile).not_to_have_attribute("data-pictures", "0")
    seen: dict[str, float] = {}
    joined = 0
    deadline = time.monotonic() + 3
    while time.monotonic() < deadline:
        data = tile.evaluate("tile => ({...tile.dataset})")
        taken = datetime.fromisoformat(data["capturedAt"])
        seen[data["sequence"]] = (datetime.now(UTC) - taken).total_seconds()
        joined += data["boxesSequence"] == data["sequence"]
        time.sleep(0.1)
    assert len(seen) >= 5
    assert max(seen.values()) <= 2
    assert joined > 0
    assert data["session"] == str(2**60 + 1)
    assert json.loads(data["boxes"])[0]["hot"] is True


def test_an_offline_tile_is_hatched_and_says_since_when(enter: Enter) -> None:
    page = enter("alice")
    page.click("a[href='/wall/']")
    note = page.locator(".tile.off .blind-note")
    expect(note).to_contain_text(re.compile(r"Offline since .*\d\d:\d\d \(Asia/Taipei\)"))
    expect(note).to_contain_text("The camera does not answer")


def test_a_quiet_tile_says_so(enter: Enter) -> None:
    page = enter("alice")
    page.click("a[href='/wall/']")
    expect(page.locator(".tile").nth(1).locator(".say")).to_have_text("Quiet: nothing moves", timeout=15_000)


def test_the_live_picture_replaces_what_fired_and_comes_back(enter: Enter) -> None:
    page = enter("alice")
    page.keyboard.press("l")
    expect(page.locator(".stage.is-live canvas")).to_be_visible()
    expect(page.locator(".stage")).to_have_attribute("data-pictures", re.compile("[2-9]"))
    page.keyboard.press("l")
    expect(page.locator(".stage canvas")).to_have_count(0)
    expect(page.locator(".stage .evidence")).to_be_visible()


def test_an_outsider_hears_nothing_of_a_camera_that_is_not_theirs(enter: Enter) -> None:
    camera = enter("alice").locator(".stage").get_attribute("data-camera")
    charlie = enter("charlie")
    answer = charlie.evaluate(
        """(camera) => new Promise((done) => {
            const socket = new WebSocket(`ws://${location.host}/ws/wall/`);
            socket.onopen = () => socket.send(JSON.stringify({type: "watch", cameras: [camera]}));
            socket.onmessage = ({data}) => { if (JSON.parse(data).type === "watching") done(JSON.parse(data)); };
        })""",
        camera,
    )
    assert answer == {"type": "watching", "cameras": [], "refused": [camera]}


def test_boxes_lie_over_the_picture_whatever_the_window(enter: Enter, room: Room) -> None:
    page = enter("alice")
    incident = f"{room.url}{page.locator('.row a').first.get_attribute('href')}"
    for width, height in ((1440, 900), (1280, 720), (390, 844)):
        page.set_viewport_size({"width": width, "height": height})
        page.goto(incident)
        page.wait_for_selector(".overlay.ready", state="attached")
        assert page.evaluate(OFFSET_OF_BOX) < 1.5, (width, height)


OFFSET_OF_BOX = """() => {
    const picture = document.querySelector(".evidence"), box = document.querySelector(".box.fired");
    const frame = picture.getBoundingClientRect(), drawn = box.getBoundingClientRect();
    const scale = Math.min(frame.width / picture.naturalWidth, frame.height / picture.naturalHeight);
    const left = frame.left + (frame.width - picture.naturalWidth * scale) / 2;
    const top = frame.top + (frame.height - picture.naturalHeight * scale) / 2;
    const x = left + Number(box.getAttribute("x")) * picture.naturalWidth * scale;
    const y = top + Number(box.getAttribute("y")) * picture.naturalHeight * scale;
    return Math.max(Math.abs(drawn.left - x), Math.abs(drawn.top - y)) - 3;
}"""

SIZES = ((390, 844), (1280, 800), (1440, 900), (1680, 1050), (2560, 1440))
OVERFLOW = """() => [...document.querySelectorAll("body *")].filter((element) => {
    const style = getComputedStyle(element), box = element.getBoundingClientRect();
    if (style.position === "fixed" || !box.width || element.closest("svg, .rows, dialog, .skip, .sheet")) return false;
    return box.right > innerWidth + 1 || (element.scrollWidth > element.clientWidth + 1 && style.overflowX === "visible"
        && element.clientWidth > 0 && style.display !== "inline");
}).map((element) => `${element.tagName}.${element.className}: ${element.textContent.trim().slice(0, 60)}`)"""


@pytest.mark.parametrize("language", ["en", "zh-hant"])
@pytest.mark.parametrize("theme", ["dark", "light"])
def test_every_screen_fits_every_room(enter: Enter, room: Room, language: str, theme: str) -> None:
    """With ``POLISCOPE_SCREENSHOTS`` set to a folder, each screen is kept there for people to judge."""
    page = enter("alice")
    choose(page, "language", language)
    choose(page, "theme", theme)
    page.wait_for_selector(".incident")
    incident = page.locator(".row a").first.get_attribute("href") or ""
    for width, height in SIZES:
        page.set_viewport_size({"width": width, "height": height})
        for name, path in (("room", "/"), ("incident", incident), ("wall", "/wall/"), ("outbox", "/outbox/")):
            page.goto(f"{room.url}{path}")
            page.wait_for_selector(".reading")
            if name == "wall":
                expect(page.locator(".tile").first).not_to_have_attribute("data-pictures", "0")
            page.wait_for_timeout(250)
            keep(page, f"{name}-{width}-{language}-{theme}")
            assert page.evaluate(OVERFLOW) == [], (name, width)


def choose(page: Page, what: str, value: str) -> None:
    page.click("#menu summary")
    page.click(f"button[name={what}][value={value}]")
    page.wait_for_load_state()


def keep(page: Page, name: str) -> None:
    if folder := os.environ.get("POLISCOPE_SCREENSHOTS"):
        Path(folder).mkdir(parents=True, exist_ok=True)
        page.screenshot(path=f"{folder}/{name}.png")


def test_the_whole_of_an_incident_needs_no_scrolling(enter: Enter) -> None:
    page = enter("alice", 1440, 900)
    for selector in (".title", ".stage", ".why", ".actions", ".told", ".steps"):
        box = page.locator(selector).bounding_box()
        assert box is not None
        assert box["y"] + box["height"] <= 900, selector


def test_the_thumb_finds_acknowledge_at_the_bottom_edge(enter: Enter) -> None:
    page = enter("alice", 390, 844)
    page.click(".row a >> nth=0")
    thumb = page.locator("form[data-act=acknowledge] button")
    expect(thumb).to_be_visible()
    box = thumb.bounding_box()
    assert box is not None
    assert box["height"] >= 44
    assert box["y"] + box["height"] > 844 - 24


def test_a_silent_part_shows_within_ten_seconds(room: Room, enter: Enter) -> None:
    page = enter("alice")
    expect(page.locator(".reading b").first).to_have_text("3 of 4 cameras seeing.", timeout=10_000)
    # A part that was never heard of is starting, not silent, for the web's first 20 s.
    expect(page.locator(".reading")).not_to_contain_text("starting", timeout=10_000)
    room.valkey.pause("rest")
    try:
        expect(page.locator(".reading .alarm").first).to_be_visible(timeout=10_000)
    finally:
        room.valkey.resume("rest")


def test_the_door_opens_and_closes(room: Room, enter: Enter, console: Console) -> None:
    page = enter("alice")
    page.click("#menu summary")
    page.click("form[action='/logout/'] button")
    page.wait_for_selector(".door-card")
    for width, height in ((390, 844), (1280, 800)):
        page.set_viewport_size({"width": width, "height": height})
        keep(page, f"door-{width}")
    console.expected.append("404")
    page.goto(f"{room.url}/nowhere-at-all/")
    expect(page.locator("h1")).to_have_text("There is nothing here")
