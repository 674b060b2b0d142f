"""A new user before an empty installation: a camera by its address, a zone, a rule, somebody to tell, the incident.

With ``POLISCOPE_SCREENSHOTS`` set to a folder, each step is kept there: the pictures of docs/howto/first-camera.md.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from monitor.instance import BASE_DIR, free_port
from tests.services.installation import wait_for
from tests.services.running import Browsers, Running

pytestmark = [
    pytest.mark.slow,
    pytest.mark.browser,
    pytest.mark.valkey,
    pytest.mark.rtsp,
    pytest.mark.timeout(240),
]

CLIP = BASE_DIR / "streams" / "footage" / "campus.mp4"
PICTURE_MS = 15_000
"""A snapshot or the reason why not comes within ten seconds; the page needs a moment beside it."""
INCIDENT_S = 60.0


@pytest.fixture(scope="module")
def camera_port() -> Iterator[int]:
    """One camera that plays the campus clip over RTSP, for ever."""
    port = free_port()
    command = [sys.executable, "-m", "bench.cameras", "--port", str(port), "--paths", "1", str(CLIP)]
    process = subprocess.Popen(command, cwd=BASE_DIR, stdout=subprocess.PIPE)
    assert process.stdout is not None and process.stdout.readline()
    yield port
    process.terminate()
    process.wait(10)


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory, tables: Path, camera_port: int) -> Iterator[Running]:
    """An installation without anything in it."""
    allow = {"POLISCOPE_CAMERA_ALLOW": f"127.0.0.1:{camera_port}"}
    running = Running(tmp_path_factory.mktemp("empty") / "data", "--no-demo", tables=tables, environment=allow)
    yield running
    running.stop()
    running.close()


@pytest.fixture
def browsers(empty: Running, chromium_of_module: Browser) -> Iterator[Browsers]:
    """People at this installation. No page of anybody may complain."""
    people = Browsers(chromium_of_module, empty.url)
    yield people
    people.close()
    assert people.console.unexpected() == []


def keep(page: Page, name: str) -> None:
    """The screen as it is now, for the page in docs/."""
    if folder := os.environ.get("POLISCOPE_SCREENSHOTS"):
        page.wait_for_timeout(400)
        page.screenshot(path=Path(folder) / f"{name}.png")


def draw(page: Page, corners: list[tuple[float, float]]) -> None:
    """Click the corners and close the zone."""
    box = page.locator("#canvas").bounding_box()
    assert box is not None
    page.click("[data-tool=polygon]")
    for x, y in corners:
        page.mouse.click(box["x"] + x * box["width"], box["y"] + y * box["height"])
    page.keyboard.press("Enter")


def test_a_new_user_sees_the_incident_of_a_camera_they_added(
    empty: Running, browsers: Browsers, camera_port: int
) -> None:
    admin = empty.ready["admin"]
    page = browsers.enter(admin["user"], admin["password"])
    expect(page.locator("h2")).to_have_text("No camera yet")
    keep(page, "setup-0-empty")
    page.click("text=Add a camera")

    page.fill("[name=address_0]", f"rtsp://127.0.0.1:{camera_port}/cam0")
    page.click("#try")
    expect(page.locator(".tried-one img")).to_be_visible(timeout=PICTURE_MS)
    expect(page.locator(".tried-one .facts")).to_contain_text("768×576")
    page.fill("[name=name]", "Campus path")
    page.fill("[name=new_site]", "Campus")
    page.select_option("[name=time_zone]", "Asia/Taipei")
    page.fill("[name=new_group]", "Guards")
    keep(page, "setup-1-camera")
    page.click(".go .primary")

    expect(page.locator("#snapshot")).to_be_visible(timeout=PICTURE_MS)
    draw(page, [(0.02, 0.15), (0.98, 0.15), (0.98, 0.98), (0.02, 0.98)])
    page.fill("#zone-name", "Lawn and path")
    keep(page, "setup-2-zone")
    page.click("[data-do=save]")
    expect(page.locator("#zones .line")).to_contain_text("Lawn and path")

    camera = page.url
    page.click("text=Make a rule")
    expect(page.locator("[name=name]")).to_have_value("Person in Lawn and path")
    page.fill("[name=why_it_matters]", "Nobody walks here after ten.")
    if not page.locator("[name=recipient_name]").is_visible():
        page.click("text=Somebody new")
    page.fill("[name=recipient_name]", "Guard post")
    page.fill("[name=recipient_sms]", "+886 912 345 678")
    keep(page, "setup-3-rule")
    page.click(".go .primary")

    page.click("text=not confirmed yet")
    page.click("text=Send the code")
    code = re.search(r"\d{6}", page.locator(".trial-text").inner_text())
    assert code is not None
    page.fill("[name=code]", code[0])
    page.click("button:text-is('Confirm')")
    expect(page.locator(".state-confirmed")).to_have_text("confirmed")

    page.goto(camera)
    expect(page.locator(".rule .toggle")).to_have_attribute("aria-checked", "true")
    page.click("text=Send test")
    expect(page.locator(".trial")).to_contain_text("Nothing left this machine")
    keep(page, "setup-4-told")

    wait_for("an incident", lambda: empty.get("incidents")["items"], INCIDENT_S, 0.5)
    page.goto(f"{empty.url}/")
    expect(page.locator(".incident h2")).to_contain_text("Person in “Lawn and path”", timeout=10_000)
    expect(page.locator(".evidence")).to_be_visible(timeout=10_000)
    expect(page.locator(".told")).to_contain_text("Guard post")
    keep(page, "setup-5-incident")


def test_the_operator_of_the_new_group_sees_it_too(empty: Running, browsers: Browsers) -> None:
    operator = empty.ready["operator"]
    page = browsers.enter(operator["user"], operator["password"])
    expect(page.locator(".row").first).to_contain_text("Campus path")
    expect(page.locator("text=Set-up")).to_have_count(0)


def test_an_edit_of_the_zone_is_live_and_the_keyboard_can_draw(empty: Running, browsers: Browsers) -> None:
    admin = empty.ready["admin"]
    page = browsers.enter(admin["user"], admin["password"])
    page.goto(f"{empty.url}/setup/")
    page.click(".card a")
    before = empty.rows("select max(number) from alerts_ruleversion")
    page.click("#zones .line")
    page.locator(".corner").first.focus()
    page.keyboard.press("Shift+ArrowRight")
    page.keyboard.press("Shift+ArrowDown")
    page.keyboard.press("Control+z")
    page.keyboard.press("Enter")
    expect(page.locator("#draft")).to_be_hidden()
    assert empty.rows("select max(number) from alerts_ruleversion") > before
    page.keyboard.press("g")
    for key in ("Shift+ArrowLeft", "Space", "Shift+ArrowRight", "Shift+ArrowRight", "Space"):
        page.keyboard.press(key)
    page.fill("#zone-name", "Kerb")
    page.keyboard.press("Enter")
    expect(page.locator("#zones .line")).to_have_count(2)
    [(points,)] = empty.rows("select points from alerts_zone where shape = 'line'")
    assert points.replace(" ", "") == "[[0.45,0.5],[0.55,0.5]]"


@pytest.mark.parametrize(
    "address, says",
    [
        ("rtsp://127.0.0.1:{port}/nowhere", "The camera knows no stream of this path."),
        ("rtsp://127.0.0.1:1/x", "This address is this machine itself"),
        ("http://127.0.0.1/", "Only rtsp:// and rtsps:// addresses can be cameras."),
    ],
)
def test_a_camera_that_gives_no_picture_says_why(
    empty: Running, browsers: Browsers, camera_port: int, address: str, says: str
) -> None:
    admin = empty.ready["admin"]
    page = browsers.enter(admin["user"], admin["password"])
    page.goto(f"{empty.url}/setup/cameras/add/")
    page.fill("[name=address_0]", address.format(port=camera_port))
    page.click("#try")
    expect(page.locator(".tried-one [role=alert]")).to_contain_text(says, timeout=PICTURE_MS)
