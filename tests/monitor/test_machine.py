"""The administrator's page of this machine: who may see it, how far a look is, and that nobody waits for one."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.conf import LazySettings
from django.test import Client
from django.utils import translation

from frontend import health_tail
from frontend.models import User
from monitor import views
from monitor.findings.finding import Finding, State, to_wire
from monitor.findings.machine import disk
from monitor.machine import Look, Progress, doctor_command
from tests.services.installation import wait_for

pytestmark = pytest.mark.django_db
FULL = disk(0.1, Path("/data"))
NOTE = Finding("kafka", "Apache Kafka", State.NOTE, "Only <b>up --kafka</b> needs it.", remedy="export A=1")
WELL = Finding("cores", "Cores", State.OK, "%(count)s", values={"count": 2})


def says(*rounds: list[Finding], then: str = "") -> Look:
    """A look whose process says these findings, a check a line, and then does something."""
    lines = [
        json.dumps({"done": n, "of": len(rounds), "next": "Disk", "findings": [to_wire(one) for one in found]})
        for n, found in enumerate(rounds, 1)
    ]
    program = "import sys, time\nfor line in %r: print(line, flush=True)\n%s" % (lines, then)  # noqa: UP031
    return Look([sys.executable, "-S", "-c", program], {}, look_s=20)


def finished(look: Look) -> Progress:
    look.begin()
    wait_for("the end of the look", lambda: look.progress.finished, 15, 0.02)
    return look.progress


@pytest.fixture(autouse=True)
def _quiet_room(monkeypatch: pytest.MonkeyPatch, settings: LazySettings) -> None:
    monkeypatch.setattr(health_tail, "parts", lambda now: [])


@pytest.fixture
def administrator(client: Client) -> Iterator[Client]:
    client.force_login(User.objects.create_user("ada", password=None, role=User.Role.ADMINISTRATOR))
    yield client


def test_only_who_configures_learns_of_the_page(client: Client) -> None:
    assert client.get("/setup/machine/").headers["Location"].startswith("/login/")
    client.force_login(User.objects.create_user("bob", password=None, role=User.Role.SUPERVISOR))
    assert client.get("/setup/machine/").status_code == 404
    assert client.get("/setup/machine/?part=findings").status_code == 404
    assert client.post("/setup/machine/again/").status_code == 404


def test_the_page_answers_at_once_and_shows_how_far_the_look_is(
    administrator: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    look = says([WELL], [], then="time.sleep(30)")
    monkeypatch.setattr(views, "_look", look)
    first = administrator.get("/setup/machine/").content.decode()
    assert "<progress" in first and "data-finished" not in first
    wait_for("the first line", lambda: look.progress.done == 2, 10, 0.02)
    assert "Looking at: Disk" in administrator.get("/setup/machine/?part=findings").content.decode()


def test_what_is_wrong_comes_first_with_its_command_and_nothing_unescaped(
    administrator: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    look = says([WELL, NOTE], [FULL])
    finished(look)
    monkeypatch.setattr(views, "_look", look)
    response = administrator.get("/setup/machine/?part=findings")
    page = response.content.decode()
    assert "1 thing is wrong" in page and "data-finished" in page
    assert page.index("is-wrong") < page.index("is-note") < page.index('class="well"')
    assert f"<code>{FULL.remedy}</code>" in page and "&lt;b&gt;up" in page
    assert "unsafe" not in response.headers["Content-Security-Policy"]


def test_a_machine_with_nothing_wrong_says_so(administrator: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    look = says([WELL])
    finished(look)
    monkeypatch.setattr(views, "_look", look)
    assert "Nothing is wrong on this machine." in administrator.get("/setup/machine/").content.decode()


@pytest.mark.parametrize("then", ["sys.exit(3)", "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "print(1)"])
def test_a_doctor_that_dies_is_a_finding_beside_what_it_had_found(then: str) -> None:
    look = says([WELL], then=f"print(lines if False else '', end=''); {then}")
    look._command[-1] = look._command[-1].replace('"of": 1', '"of": 2')
    progress = finished(look)
    assert [one.code for one in progress.findings] == ["cores", "unchecked"]


def test_a_doctor_that_hangs_is_ended() -> None:
    look = says([WELL], [], then="time.sleep(60)")
    look._command[-1] = look._command[-1].replace('"of": 2', '"of": 3')
    look._look_s = 0.5
    start_s = time.monotonic()
    assert finished(look).findings[-1].code == "unchecked" and time.monotonic() - start_s < 15


def test_a_fresh_look_serves_everybody_until_somebody_asks_again(
    administrator: Client, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    look = says([WELL], then=f"open({str(tmp_path / 'looks')!r}, 'a').write('x')")
    monkeypatch.setattr(views, "_look", look)
    finished(look)
    administrator.get("/setup/machine/")
    assert look.progress.finished and (tmp_path / "looks").read_text() == "x"
    assert administrator.post("/setup/machine/again/").headers["Location"] == "/setup/machine/"
    wait_for("the second look", lambda: (tmp_path / "looks").read_text() == "xx", 10, 0.02)


def test_sentences_are_translated_before_they_are_filled() -> None:
    with translation.override("zh-hant"):
        assert views.shown(Finding("x", "Disk", State.NOTE, "%(a)s", values={"a": "Log out"})).text == "Log out"


def test_it_asks_the_real_doctor(tmp_path: Path) -> None:
    assert doctor_command(tmp_path)[1:4] == ["-m", "monitor.doctor", "--follow"]
