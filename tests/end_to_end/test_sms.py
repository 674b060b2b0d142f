"""From a camera to a phone: real RTSP in, a loopback Twilio and a loopback mail server out, one ``up`` between.

All of it follows the demo's first incident. Time that would have to pass is taken from its rows instead.
"""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from tests.services.installation import wait_for
from tests.services.running import Running, aged
from tests.services.smtp import FakeSmtp
from tests.services.twilio import SENDER, FakeTwilio

pytestmark = [pytest.mark.slow, pytest.mark.valkey, pytest.mark.rtsp, pytest.mark.timeout(300)]

PHONES = {"+15550100142": 1, "+886900000123": 1}
MAILBOXES = {"duty.officer@example.org": 1, "yating.lin@example.org": 1}
"""What the demo's two recipients are reached by; each is told once."""
REMINDED_AFTER_S = 120.0


@dataclass(frozen=True, slots=True)
class Town:
    """The installation and its providers."""

    running: Running
    twilio: FakeTwilio
    smtp: FakeSmtp

    def incident(self, zone: str) -> dict[str, Any]:
        """The one that the zone's rule opened, from the API."""

        def found() -> str:
            return next((item["uid"] for item in self.running.get("incidents")["items"] if item["zone"] == zone), "")

        answer: dict[str, Any] = self.running.get(f"incidents/{wait_for(zone, found, 150, 0.3)}")
        return answer

    def phones(self, incident: str) -> Counter[str]:
        """How many messages about this incident each phone got."""
        rows = self.running.rows(
            "select d.text from alerts_delivery d join alerts_alert a on a.id = d.alert_id "
            "join alerts_incident i on i.id = a.incident_id where i.uid = ?",
            incident.replace("-", ""),
        )
        texts = {text for (text,) in rows}
        return Counter(message.to for message in self.twilio.messages if message.body in texts)

    def mail(self, incident: str) -> list[tuple[str, EmailMessage]]:
        """Every e-mail with this incident's address."""
        return [(to, mail) for to, mail in self.smtp.received if incident in text_of(mail)]

    def mailboxes(self, incident: str) -> Counter[str]:
        """How many of them each mailbox got."""
        return Counter(to for to, _ in self.mail(incident))

    def told(self, incident: str) -> tuple[Counter[str], Counter[str]]:
        """All of it."""
        return self.phones(incident), self.mailboxes(incident)

    def let_pass(self, incident: str, by_s: float) -> None:
        """As if everything about this incident had been decided ``by_s`` earlier."""
        rows = self.running.rows(
            "select a.id, a.created_at from alerts_alert a join alerts_incident i on i.id = a.incident_id "
            "where i.uid = ?",
            incident.replace("-", ""),
        )
        assert rows
        for key, at in rows:
            self.running.change("update alerts_alert set created_at = ? where id = ?", aged(at, by_s), key)
        due = "select id, next_step_at from alerts_incident where uid = ? and next_step_at is not null"
        for key, at in self.running.rows(due, incident.replace("-", "")):
            self.running.change("update alerts_incident set next_step_at = ? where id = ?", aged(at, by_s), key)


def text_of(mail: EmailMessage) -> str:
    """The plain text of an e-mail."""
    body = mail.get_body(("plain",))
    assert body is not None
    return str(body.get_content())


def twice(each: dict[str, int]) -> dict[str, int]:
    return {to: 2 for to in each}


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory, drawn_scenes: Path, tables: Path) -> Iterator[Town]:
    twilio, smtp = FakeTwilio(), FakeSmtp()
    environment = {**twilio.environment, "POLISCOPE_SMTP_URL": smtp.url}
    data = tmp_path_factory.mktemp("sms") / "data"
    running = Running(data, drawn=drawn_scenes, tables=tables, environment=environment)
    try:
        yield Town(running, twilio, smtp)
    finally:
        running.stop()
        running.close()
        twilio.stop()
        smtp.stop()


def test_each_phone_and_each_mailbox_is_told_once(town: Town) -> None:
    incident = town.incident("Lawn")["uid"]
    wait_for("everybody is told", lambda: town.told(incident) == (PHONES, MAILBOXES), 20)
    [english] = [message for message in town.twilio.messages if message.to == "+15550100142"]
    assert english.form["From"] == SENDER
    assert "Person in “Lawn”" in english.body or 'Person in "Lawn"' in english.body
    assert f"{town.running.url}/a/" in english.body
    assert re.search(r"Answer \d\d = I have it\.", english.body)
    [chinese] = [message for message in town.twilio.messages if message.to == "+886900000123"]
    assert "Lawn" in chinese.body and "Person" not in chinese.body


def test_the_mail_shows_the_picture_that_made_the_rule_fire(town: Town) -> None:
    incident = town.incident("Lawn")["uid"]
    wait_for("the e-mails", lambda: town.mailboxes(incident) == MAILBOXES, 20)
    kept = [path.read_bytes() for path in (town.running.data / "media").rglob("*.jpg")]
    for to, mail in town.mail(incident):
        html = mail.get_body(("html",))
        assert html is not None and "cid:picture" in html.get_content(), to
        [picture] = [part for part in mail.walk() if part.get("Content-ID") == "<picture>"]
        assert picture.get_content_disposition() == "inline"
        shown = picture.get_content()
        assert shown in kept
        decoded = cv2.imdecode(np.frombuffer(shown, np.uint8), cv2.IMREAD_COLOR)
        assert decoded is not None and decoded.shape == (480, 640, 3)


def test_acknowledged_nothing_more_is_sent(town: Town) -> None:
    incident = town.incident("Lawn")["uid"]
    assert town.running.post(f"incidents/{incident}/acknowledge")["state"] == "acknowledged"
    town.let_pass(incident, REMINDED_AFTER_S + 5)
    time.sleep(4)
    assert town.told(incident) == (PHONES, MAILBOXES)


def test_unacknowledged_it_is_sent_once_more_and_never_again(town: Town) -> None:
    """The same incident as if nobody had taken it: then it is long due."""
    incident = town.incident("Lawn")["uid"]
    town.running.change("update alerts_incident set state = 'open' where uid = ?", incident.replace("-", ""))
    wait_for("everybody is reminded", lambda: town.told(incident) == (twice(PHONES), twice(MAILBOXES)), 20)
    assert any("Still unacknowledged" in message.body for message in town.twilio.messages)
    assert any("Still unacknowledged" in mail["Subject"] for _, mail in town.mail(incident))
    town.let_pass(incident, 3600)
    time.sleep(4)
    assert town.told(incident) == (twice(PHONES), twice(MAILBOXES))
