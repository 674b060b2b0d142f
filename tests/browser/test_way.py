"""The whole way of an administrator: a zone is drawn, its rule rehearsed, switched on, and what it saw comes in.

The archive of the last days is written here; what happens now is appended to the log, picture by picture, and the real
``evaluate`` makes the incident of it.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

import msgspec
import pytest
from playwright.sync_api import Page, expect

from streams.frame import Frame, Jpeg, encode_frame
from streams.log import LogAddresses, Producer, open_log
from streams.observations import Detections, LogPosition, Observation, encode_observation
from streams.topics import OBSERVATIONS, frames, partition_of
from tests.alerts.histories import seen, walker
from tests.alerts.kept import keep, moved, walks
from tests.browser.conftest import JOBS, Enter, Room, Theatre, beside
from tests.browser.test_setup import click, drawable, save_as
from tests.frontend.seeding import drawn_picture

pytestmark = [pytest.mark.browser, pytest.mark.valkey, pytest.mark.slow]

YARD = [(0.12, 0.45), (0.55, 0.45), (0.55, 0.92), (0.12, 0.92)]
HOURS_AGO = (26.0, 9.0, 2.0)
"""When somebody walked through the yard."""
PATIENCE_MS = 60_000


@dataclass(frozen=True, slots=True)
class Rows:
    """What the log names the first camera by."""

    camera: UUID
    deployment: UUID
    view: UUID
    partition: int


@pytest.fixture
def rows(room: Room) -> Rows:
    with sqlite3.connect(room.folder / "browser.sqlite3", timeout=20) as database:
        camera = database.execute("select id, uid, slot from streams_camera where name = 'North gate'").fetchone()
        view = database.execute("select uid from streams_view where camera_id = ?", camera[:1]).fetchone()
        deployment = database.execute("select uid from detectors_deployment").fetchone()
    return Rows(UUID(camera[1]), UUID(deployment[0]), UUID(view[0]), partition_of(camera[2]))


@pytest.fixture
def room(theatre: Theatre) -> Iterator[Room]:
    """With the worker that rehearses, and ``evaluate``."""
    with theatre.room() as one, beside(one, *JOBS), beside(one, "django", "evaluate"):
        yield one


def _archived(rows: Rows) -> list[Observation]:
    log: list[Observation] = []
    for number, hours in enumerate(HOURS_AGO, start=1):
        to = datetime.now(UTC) - timedelta(hours=hours)
        log += moved(walks(0.0), camera=rows.camera, deployment=rows.deployment, to=to, session=number)
    return log


def walk_now(room: Room, rows: Rows, *, session: int) -> None:
    """Somebody walks through the yard, now: five pictures a second with what a detector would say of them."""
    log = open_log(LogAddresses("", room.valkey.frames_url, room.valkey.rest_url))
    producer, jpeg = log.producer(), drawn_picture()
    count = 30
    for number in range(count):
        box = walker(0.05 + 0.5 * number / count, 0.8)
        found = moved([seen(number / 5, box)], camera=rows.camera, deployment=rows.deployment, to=datetime.now(UTC))
        [picture] = [one for one in found if isinstance(one, Detections)]
        picture = msgspec.structs.replace(
            picture, session=session, captured_at=datetime.now(UTC), view=rows.view, source_wh=(960, 540)
        )
        picture = msgspec.structs.replace(picture, frame=_append_frame(producer, rows, picture, jpeg))
        assert producer.append(OBSERVATIONS.name, rows.partition, encode_observation(picture))
        time.sleep(0.2)
    producer.close()
    log.close()


def _append_frame(producer: Producer, rows: Rows, seen: Detections, jpeg: bytes) -> LogPosition:
    frame = Frame(
        camera=rows.camera, session=seen.session, sequence=seen.sequence, captured_at=seen.captured_at, view=rows.view,
        why="motion", width_px=960, height_px=540, source_wh=(960, 540), payload=Jpeg(jpeg),
    )  # fmt: skip
    at: list[int] = []
    topic = frames("general").name
    assert producer.append(topic, rows.partition, encode_frame(frame), lambda offset, _error: at.append(offset or 0))
    assert producer.flush(5)
    return LogPosition(topic, rows.partition, at[0])


def draw(page: Page, room: Room) -> None:
    page.goto(f"{room.url}/setup/")
    page.click(".card:has-text('North gate') a")
    drawable(page)
    page.keyboard.press("z")
    click(page, [*YARD, YARD[0]])
    save_as(page, "Crane yard")


def make_draft(page: Page) -> None:
    page.click("#zones li:has-text('Crane yard') a:has-text('Make a rule')")
    expect(page.locator("[name=name]")).to_have_value("Person in Crane yard")
    page.uncheck("[name=enabled]")
    page.click(".go.bar button:has-text('Save')")
    expect(page.locator(".rule.is-off:has-text('Person in Crane yard')")).to_have_count(1)


def rehearse(page: Page) -> None:
    page.click(".rule a:has-text('Person in Crane yard')")
    page.click("#open-rehearse")
    page.click("[data-do=begin-rehearsal]")
    result = page.locator(".rehearsal")
    expect(result).to_have_attribute("data-state", "done", timeout=PATIENCE_MS)
    expect(result.locator(".big")).to_have_text("3 times")
    expect(page.locator(".firing")).to_have_count(3)
    page.click("text=Cancel >> nth=-1")


def test_from_a_drawn_zone_to_its_first_incident(room: Room, rows: Rows, enter: Enter) -> None:
    keep(room.folder / "archive", _archived(rows))
    page = enter("ada", width=1280, height=800)
    draw(page, room)
    make_draft(page)
    rehearse(page)

    walk_now(room, rows, session=8)  # switched off: nobody is told
    page.locator(".rule:has-text('Person in Crane yard') .toggle").click()
    expect(page.locator(".rule:has-text('Person in Crane yard')")).not_to_have_class("rule is-off")

    page.goto(f"{room.url}/")
    expect(page.locator(".row").first).to_be_visible()
    expect(page.locator(".row:has-text('“Crane yard”')")).to_have_count(0)
    walk_now(room, rows, session=9)
    came = page.locator(".row:has-text('Person in “Crane yard”')")
    expect(came).to_have_count(1, timeout=PATIENCE_MS)
    came.locator("a").click()
    incident = page.locator("article.incident")
    expect(incident.locator("h2")).to_have_text("Person in “Crane yard”")
    expect(incident.locator(".why")).to_contain_text("In the zone for")
    expect(incident.locator("img.evidence")).to_have_js_property("naturalWidth", 960, timeout=PATIENCE_MS)
    expect(incident.locator("polygon.zone")).to_have_count(1)
    assert fired(room) == 1


def fired(room: Room) -> int:
    """Events of the yard's rule."""
    with sqlite3.connect(room.folder / "browser.sqlite3", timeout=20) as database:
        [(count,)] = database.execute(
            "select count(*) from alerts_event e join alerts_ruleversion v on v.id = e.rule_version_id "
            "join alerts_rule r on r.id = v.rule_id where r.name = 'Person in Crane yard'"
        )
    return int(count)
