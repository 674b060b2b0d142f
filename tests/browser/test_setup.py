"""Drawing on a camera's picture in a real Chromium: mouse, finger, keyboard, undo, and what is refused."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Console, Enter, Room, Theatre

pytestmark = [pytest.mark.browser, pytest.mark.valkey, pytest.mark.slow]

CORNERS = [(0.1, 0.2), (0.5, 0.2), (0.5, 0.8), (0.1, 0.8)]
FREE = 0.02
"""A pixel more or less of a page of this size."""


@pytest.fixture(scope="module")
def room(theatre: Theatre) -> Iterator[Room]:
    """One for all tests here: each draws zones of its own."""
    with theatre.room() as one:
        yield one


@pytest.fixture
def bench(room: Room, enter: Enter) -> Page:
    """The first camera's page, before an administrator."""
    page = enter("ada")
    page.goto(f"{room.url}/setup/")
    page.click(".card:has-text('Main entrance') a")
    drawable(page)
    return page


def drawable(page: Page) -> None:
    """Waits until the page of a camera takes corners: its picture is there, and its script has loaded."""
    expect(page.locator("#snapshot")).to_have_js_property("naturalWidth", 960)
    expect(page.locator("#hint")).not_to_be_empty()


def spot(page: Page, x: float, y: float) -> tuple[float, float]:
    box = page.locator("#canvas").bounding_box()
    assert box is not None
    return box["x"] + x * box["width"], box["y"] + y * box["height"]


def click(page: Page, corners: list[tuple[float, float]]) -> None:
    for corner in corners:
        page.mouse.click(*spot(page, *corner))


def zones(room: Room) -> dict[str, list[list[float]]]:
    with sqlite3.connect(room.folder / "browser.sqlite3", timeout=20) as rows:
        return {name: json.loads(points) for name, points in rows.execute("select name, points from alerts_zone")}


def near(points: list[list[float]], wanted: list[tuple[float, float]]) -> bool:
    pairs = zip(points, wanted, strict=True)
    return all(abs(a - c) < FREE and abs(b - d) < FREE for (a, b), (c, d) in pairs)


def save_as(page: Page, name: str) -> None:
    page.fill("#zone-name", name)
    page.click("[data-do=save]")
    expect(page.locator("#zones")).to_contain_text(name)
    expect(page.locator("#draft")).to_be_hidden()


def drag(page: Page, start: tuple[float, float], end: tuple[float, float]) -> None:
    page.mouse.move(*spot(page, *start))
    page.mouse.down()
    page.mouse.move(*spot(page, *end), steps=4)
    page.mouse.up()


def agreed(page: Page) -> list[str]:
    """What it asks from now on, each answered with yes."""
    asked: list[str] = []

    def answer(dialog: Any) -> None:
        asked.append(dialog.message)
        dialog.accept()

    page.on("dialog", answer)
    return asked


def test_a_zone_is_drawn_changed_and_undone(bench: Page, room: Room) -> None:
    bench.keyboard.press("z")
    click(bench, [*CORNERS, CORNERS[0]])  # the first corner again closes it
    drag(bench, (0.5, 0.8), (0.7, 0.9))
    drag(bench, (0.3, 0.2), (0.3, 0.1))  # a point between two corners
    bench.click("[data-do=undo]")
    bench.click("[data-do=undo]")
    bench.click("[data-do=undo]")
    bench.click("[data-do=redo]")
    save_as(bench, "Yard")
    assert near(zones(room)["Yard"], [(0.1, 0.2), (0.5, 0.2), (0.7, 0.9), (0.1, 0.8)])
    expect(bench.locator("#zones li:has-text('Yard') a")).to_have_text("Make a rule")


def test_a_corner_outside_the_picture_stays_at_its_edge(bench: Page, room: Room) -> None:
    bench.keyboard.press("z")
    click(bench, [*CORNERS, CORNERS[0]])
    drag(bench, (0.1, 0.2), (-0.3, -0.3))
    save_as(bench, "Corner")
    assert zones(room)["Corner"][0] == [0, 0]


def test_a_zone_that_crosses_itself_is_refused_where_it_is_drawn(bench: Page, room: Room) -> None:
    before = zones(room)
    bench.keyboard.press("z")
    click(bench, [(0.1, 0.2), (0.5, 0.8), (0.5, 0.2), (0.1, 0.8)])
    bench.keyboard.press("Enter")
    expect(bench.locator(".shape.wrong")).to_have_count(1)
    bench.click("[data-do=save]")
    expect(bench.locator("#draft-error")).to_have_text("The zone crosses itself. Put the corners in order around it.")
    bench.keyboard.press("Escape")
    expect(bench.locator("#draft")).to_be_hidden()
    assert zones(room) == before


def test_the_server_has_the_last_word(bench: Page, console: Console) -> None:
    console.expected.append("422")
    bench.keyboard.press("z")
    click(bench, [*CORNERS, CORNERS[0]])
    bench.fill("#zone-name", "Turnstiles")
    bench.click("[data-do=save]")
    expect(bench.locator("#draft-error")).to_have_text(
        "This camera has a zone of this name already. Choose another name."
    )


def test_a_lines_arrow_turns_round(bench: Page, room: Room) -> None:
    bench.keyboard.press("g")
    click(bench, [(0.2, 0.5), (0.8, 0.5)])
    arrow = bench.locator(".arrow.draft").first
    down = arrow.get_attribute("points")
    bench.click("[data-do=turn]")
    up = arrow.get_attribute("points")

    def tip(points: str | None) -> float:
        return float((points or "").split()[1].split(",")[1]) - float((points or "").split()[0].split(",")[1])

    # Drawn from left to right it points down, to the right-hand side; turned round, up.
    assert tip(up) < 0 < tip(down)
    save_as(bench, "Kerb")
    assert near(zones(room)["Kerb"], [(0.8, 0.5), (0.2, 0.5)])


def test_corners_are_reached_and_removed_by_keyboard(bench: Page, room: Room) -> None:
    bench.keyboard.press("z")
    click(bench, [*CORNERS, CORNERS[0]])
    bench.locator(".corner").nth(2).focus()
    for _ in range(4):
        bench.keyboard.press("Shift+ArrowRight")
    bench.locator(".corner").nth(3).focus()
    bench.keyboard.press("Delete")
    save_as(bench, "Three")
    assert near(zones(room)["Three"], [(0.1, 0.2), (0.5, 0.2), (0.7, 0.8)])


def test_a_finger_draws_on_a_telephone(room: Room, enter: Enter) -> None:
    page = enter("ada", width=390, height=844, touch=True)
    page.goto(f"{room.url}/setup/")
    page.tap(".card:has-text('Main entrance') a")
    drawable(page)
    page.tap("[data-tool=polygon]")
    for corner in [*CORNERS, CORNERS[0]]:
        page.touchscreen.tap(*spot(page, *corner))
    page.fill("#zone-name", "By finger")
    page.tap("[data-do=save]")
    expect(page.locator("#zones")).to_contain_text("By finger")
    assert near(zones(room)["By finger"], CORNERS)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def in_force(room: Room, rule: str) -> list[dict[str, Any]]:
    """The zones of the version of ``rule`` that runs."""
    with sqlite3.connect(room.folder / "browser.sqlite3", timeout=20) as rows:
        [(embedded,)] = rows.execute(
            "select v.embedded from alerts_ruleversion v join alerts_rule r on r.id = v.rule_id "
            "where r.name = ? and v.active_until_at is null",
            [rule],
        )
    found: list[dict[str, Any]] = json.loads(embedded)["zones"]
    return found


def test_a_mask_is_drawn_and_a_rule_runs_with_it(room: Room, enter: Enter) -> None:
    page = enter("ada")
    page.goto(f"{room.url}/setup/")
    page.click(".card:has-text('North gate') a")
    drawable(page)
    page.keyboard.press("z")
    click(page, [*CORNERS, CORNERS[0]])
    save_as(page, "Court")
    page.click("[data-tool=exclusion]")
    expect(page.locator("[data-tool=exclusion]")).to_have_attribute("aria-pressed", "true")
    page.keyboard.press("Escape")
    tree = [(0.2, 0.4), (0.3, 0.4), (0.3, 0.6), (0.2, 0.6)]
    page.keyboard.press("x")
    click(page, tree)
    page.keyboard.press("Enter")
    expect(page.locator("#draft-title")).to_have_text("New mask")
    expect(page.locator(".shape.exclusion.draft")).to_have_count(1)
    save_as(page, "Tree")
    expect(page.locator("#zones li:has-text('Tree')")).to_contain_text("mask")
    assert near(zones(room)["Tree"], tree)
    page.click("#zones li:has-text('Court') a:has-text('Make a rule')")
    page.click(".pick label:has-text('Tree')")
    page.click(".go.bar button:has-text('Save')")
    expect(page.locator(".rule:has-text('Person in Court')")).to_contain_text("Tree")
    shapes = {zone["name"]: (zone["shape"], zone["points"]) for zone in in_force(room, "Person in Court")}
    assert shapes["Court"][0] == "polygon" and shapes["Tree"] == ("exclusion", zones(room)["Tree"])


def test_deleting_a_zone_says_which_sequence_will_not_fire_any_more(room: Room, enter: Enter) -> None:
    page = enter("ada")
    page.goto(f"{room.url}/setup/")
    page.click(".card:has-text('North gate') a")
    expect(page.locator("#hint")).not_to_be_empty()
    for name in ("Ramp", "Roof"):
        page.keyboard.press("z")
        click(page, [*CORNERS, CORNERS[0]])
        save_as(page, name)
    camera = page.url
    page.click("#zones li:has-text('Ramp') a:has-text('Make a rule')")
    page.click(".go.bar button:has-text('Save')")
    expect(page.locator(".rule:has-text('Person in Ramp')")).to_have_count(1)
    page.goto(f"{camera}rules/add/?kind=sequence")
    page.fill("[name=name]", "Up the ramp twice")
    page.click(".pick label:has-text('Roof')")
    for field in ("setting_first", "setting_then"):
        page.select_option(f"[name={field}]", label="Person in Ramp")
    page.click(".go.bar button:has-text('Save')")
    expect(page.locator(".rule:has-text('Up the ramp twice')")).to_have_count(1)
    asked = agreed(page)
    page.click("#zones .line:has-text('Ramp')")
    page.click("[data-do=delete]")
    line = page.locator(".rule:has-text('Up the ramp twice')")
    expect(line).to_contain_text("Cannot fire: “Person in Ramp”, which the sequence waits for, is switched off.")
    assert asked == [
        "Delete “Ramp”? Rules that have no other zone are switched off. These sequences wait for them and will not "
        "fire any more: Up the ramp twice."
    ]


def test_a_zone_is_deleted_when_asked_twice(bench: Page, room: Room) -> None:
    asked = agreed(bench)
    bench.click("#zones .line:has-text('Turnstiles')")
    bench.click("[data-do=delete]")
    expect(bench.locator("#zones")).not_to_contain_text("Turnstiles")
    assert asked == ["Delete “Turnstiles”? Rules that have no other zone are switched off."]
    assert "Turnstiles" not in zones(room)
    expect(bench.locator(".rule .toggle")).to_have_count(0)


def test_a_pasted_log_in_goes_to_its_own_fields(room: Room, enter: Enter) -> None:
    page = enter("ada")
    for pasted, address, user, password in (
        ("rtsp://10.0.0.5:554/live@main", "rtsp://10.0.0.5:554/live@main", "", ""),
        ("rtsp://guard@10.0.0.5/live", "rtsp://10.0.0.5/live", "guard", ""),
        ("rtsp://guard:p@ss@10.0.0.5/live", "rtsp://10.0.0.5/live", "guard", "p@ss"),
        ("rtsp://guard:p%40ss:w/rd@10.0.0.5:554/live", "rtsp://10.0.0.5:554/live", "guard", "p@ss:w/rd"),
    ):
        page.goto(f"{room.url}/setup/cameras/add/")
        page.fill("[name=address_0]", pasted)
        page.locator("[name=address_0]").blur()
        expect(page.locator("[name=address_0]")).to_have_value(address)
        expect(page.locator("[name=user_name]")).to_have_value(user)
        expect(page.locator("[name=password]")).to_have_value(password)


def test_a_list_is_shown_before_it_is_done(room: Room, enter: Enter) -> None:
    page = enter("ada")
    page.goto(f"{room.url}/setup/list/")
    page.fill("[name=list]", "name,address,site,group\nPier,rtsp://10.0.0.9/a,Harbour City,Harbour\nMole,ftp://x,,\n")
    expect(page.locator("#do-it")).to_be_hidden()
    page.click("#show-preview")
    expect(page.locator(".what-happens")).to_contain_text("1 new camera · 1 line refused")
    page.click("#do-it")
    page.wait_for_url(f"{room.url}/setup/")
    expect(page.locator(".card:has-text('Pier')")).to_have_count(1)


def test_what_a_rule_was_is_shown_and_one_click_goes_back(room: Room, enter: Enter) -> None:
    page = enter("ada")
    page.goto(f"{room.url}/setup/")
    page.click(".card:has-text('Car park') a")
    for held in ("3", "8"):
        page.click(".rule a.line")
        page.fill("[name=setting_hold_s]", held)
        page.click(".go .primary")
        expect(page.locator(".rule")).to_have_count(1)  # back on the camera's page
    page.click(".rule a.line")
    page.click("text=Version 9: history")
    newest = page.locator(".version").first
    expect(newest).to_contain_text("Ada Lin")
    expect(newest.locator(".changes")).to_have_text("In the zone for (s)3→8")
    back = page.locator(".version:has(b:text-is('8')) button")
    back.focus()
    page.keyboard.press("Enter")
    expect(page.locator(".version").first).to_contain_text("8→3")
    expect(page.locator("[name=setting_hold_s]")).to_have_value("3.0")
    page.set_viewport_size({"width": 390, "height": 844})
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


# Snapping, and the ground


def test_a_corner_near_another_zones_is_put_on_it_unless_alt_is_held(bench: Page, room: Room) -> None:
    bench.keyboard.press("z")
    click(bench, [(0.2, 0.25), (0.6, 0.25), (0.6, 0.75), (0.2, 0.25)])
    save_as(bench, "First")
    first = zones(room)["First"]
    bench.keyboard.press("z")
    near_first = (first[0][0] + 0.005, first[0][1] - 0.005)
    bench.mouse.move(*spot(bench, *near_first))
    expect(bench.locator(".snap")).to_have_count(1)
    expect(bench.locator("#hint")).to_contain_text("On a corner of “First”")
    click(bench, [near_first, (0.9, 0.3)])
    bench.keyboard.down("Alt")
    bench.mouse.move(*spot(bench, first[1][0] + 0.005, first[1][1] + 0.005))
    expect(bench.locator(".snap")).to_have_count(0)
    click(bench, [(first[1][0] + 0.005, first[1][1] + 0.005)])
    bench.keyboard.up("Alt")
    bench.keyboard.press("Enter")
    save_as(bench, "Second")
    second = zones(room)["Second"]
    assert second[0] == first[0]
    assert second[2] != first[1] and near(second[2:], [(first[1][0], first[1][1])])


def test_a_corner_near_the_edge_is_put_on_it_and_an_arrow_key_takes_it_off_again(bench: Page, room: Room) -> None:
    bench.keyboard.press("z")
    click(bench, [(0.3, 0.3), (0.7, 0.3), (0.7, 0.7), (0.3, 0.3)])
    drag(bench, (0.3, 0.3), (0.006, 0.4))
    bench.locator(".corner").nth(2).focus()
    bench.keyboard.press("ArrowRight")
    save_as(bench, "Edge")
    edge = zones(room)["Edge"]
    assert edge[0][0] == 0 and 0.38 < edge[0][1] < 0.42
    bench.click("#zones .line:has-text('Edge')")
    bench.locator(".corner").nth(0).focus()
    bench.keyboard.press("ArrowRight")
    bench.click("[data-do=save]")
    expect(bench.locator("#draft")).to_be_hidden()
    assert zones(room)["Edge"][0][0] == 0.005


ROAD = [(0.2, 0.9), (0.8, 0.9), (0.6, 0.35), (0.4, 0.35)]


def ground(room: Room) -> Any:
    with sqlite3.connect(room.folder / "browser.sqlite3", timeout=20) as rows:
        found = rows.execute(
            "select v.ground from streams_view v join streams_camera c on c.id = v.camera_id "
            "where c.name = 'Main entrance'"
        ).fetchone()
    return json.loads(found[0]) if found[0] else None


def test_the_ground_is_calibrated_changed_by_keyboard_and_cleared(bench: Page, room: Room) -> None:
    bench.keyboard.press("m")
    expect(bench.locator("#hint")).to_contain_text("four corners of a rectangle on the ground")
    click(bench, ROAD[:2])
    bench.keyboard.press("Control+z")
    click(bench, ROAD[1:])  # the fourth closes it
    bench.keyboard.press("Enter")
    expect(bench.locator("#draft-error")).to_have_text(
        "Enter both lengths in metres, measured on the spot or on a map."
    )
    bench.fill("#ground-width", "6")
    expect(bench.locator(".grid")).to_have_count(0)
    bench.fill("#ground-depth", "20")
    assert bench.locator(".grid.inner").count() >= 7 + 21
    bench.keyboard.press("Enter")
    expect(bench.locator("#draft")).to_be_hidden()
    expect(bench.locator("#ground-size")).to_have_text("Calibrated by 6 × 20 m")
    kept = ground(room)
    assert near(kept["points"], ROAD) and (kept["width_m"], kept["depth_m"]) == (6, 20)

    bench.click("[data-do=calibrate]")
    bench.locator(".corner").nth(2).focus()
    bench.keyboard.press("Shift+ArrowUp")
    bench.click("[data-do=save]")
    expect(bench.locator("#draft")).to_be_hidden()
    assert near(ground(room)["points"], [*ROAD[:2], (0.6, 0.3), ROAD[3]])

    bench.on("dialog", lambda dialog: dialog.accept())
    bench.keyboard.press("m")
    bench.click("[data-do=delete]")
    expect(bench.locator("#ground-size")).to_contain_text("Not calibrated")
    assert ground(room) is None


def test_a_rectangle_that_is_none_is_refused_where_it_is_drawn(bench: Page, room: Room) -> None:
    bench.keyboard.press("m")
    click(bench, [*ROAD[:2], (0.45, 0.7), ROAD[3]])
    expect(bench.locator(".shape.wrong")).to_have_count(1)
    bench.fill("#ground-width", "6")
    bench.fill("#ground-depth", "20")
    expect(bench.locator(".grid")).to_have_count(0)
    bench.click("[data-do=save]")
    expect(bench.locator("#draft-error")).to_contain_text("one points inwards")
    assert ground(room) is None


def test_a_finger_calibrates_on_a_telephone(room: Room, enter: Enter) -> None:
    page = enter("ada", width=390, height=844, touch=True)
    page.goto(f"{room.url}/setup/")
    page.tap(".card:has-text('Main entrance') a")
    drawable(page)
    page.tap("[data-tool=ground]")
    for corner in ROAD:
        page.touchscreen.tap(*spot(page, *corner))
    expect(page.locator("#ground-width")).to_be_in_viewport()
    page.fill("#ground-width", "6")
    page.fill("#ground-depth", "20")
    page.tap("[data-do=save]")
    expect(page.locator("#ground-size")).to_have_text("Calibrated by 6 × 20 m")
    assert near(ground(room)["points"], ROAD)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
