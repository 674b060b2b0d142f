"""Each notifier against a real server: what it sends, and that the three failures are told apart."""

from __future__ import annotations

import logging
import smtplib
import socket
import subprocess
import sys
import time
from datetime import UTC, datetime

import pytest
from django.core.mail import BadHeaderError
from pytest_django import Settings

from alerts.notifiers import deadline
from alerts.notifiers import email as email_module
from alerts.notifiers import sms as sms_module
from alerts.notifiers.base import DeliveryError, Message
from alerts.notifiers.chat import failure as chat_failure
from alerts.notifiers.email import Smtp, compose
from alerts.notifiers.registry import NOTIFIERS, notifier_for
from alerts.notifiers.sandbox import Sandbox
from alerts.notifiers.sms import Twilio
from tests.services.drip import dripping
from tests.services.smtp import FakeSmtp
from tests.services.twilio import ACCOUNT, SENDER, TOKEN, FakeTwilio

SMS = Message(to="+15005550010", text='High: Person in "Dock lane".', reference="r1")
MAIL = Message(
    to="alice@example.org",
    subject="High: Person in “Dock lane”",
    text="Person in “Dock lane”\n",
    html='<p>Person</p><img src="cid:picture">',
    picture=b"\xff\xd8\xff\xe0jpeg",
    reference="0190-r2",
)


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sms_module, "TIMEOUT_S", 0.4)
    monkeypatch.setattr(email_module, "TIMEOUT_S", 1)


def through(server: FakeTwilio) -> Twilio:
    return Twilio(ACCOUNT, TOKEN, SENDER, server.url)


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


# Twilio


def test_it_sends_an_sms_through_the_real_client(twilio: FakeTwilio) -> None:
    receipt = through(twilio).send(SMS)

    [arrived] = twilio.messages
    assert arrived.form == {"To": SMS.to, "From": SENDER, "Body": SMS.text}
    assert receipt.provider_id.startswith("SM")


def test_it_gives_an_urgent_sms_five_minutes(twilio: FakeTwilio) -> None:
    through(twilio).send(Message(to="+15005550010", text="Critical", reference="r", urgent=True))

    assert twilio.messages[0].form["ValidityPeriod"] == "300"


@pytest.mark.parametrize(
    ("mode", "outcome", "taken"),
    [
        ("429", "definite", 0),
        ("401", "definite", 0),
        ("21211", "rejected", 0),
        ("21610", "rejected", 0),
        ("21614", "rejected", 0),
        ("503", "unknown", 1),
        ("hang", "unknown", 1),
        ("cut", "unknown", 1),
    ],
)
def test_it_tells_twilios_failures_apart(twilio: FakeTwilio, mode: str, outcome: str, taken: int) -> None:
    twilio.mode = mode

    with pytest.raises(DeliveryError) as caught:
        through(twilio).send(SMS)

    assert caught.value.outcome == outcome
    assert len(twilio.messages) == taken
    assert len(twilio.requests) == 1, "a notifier never tries again by itself"


@pytest.mark.parametrize(
    "base_url", ["http://127.0.0.1:{port}", "http://no-such-host.invalid", "nonsense://x", "http://"]
)
def test_it_knows_that_nothing_left_without_a_connection(base_url: str) -> None:
    with pytest.raises(DeliveryError) as caught:
        Twilio(ACCOUNT, TOKEN, SENDER, base_url.format(port=closed_port())).send(SMS)

    assert caught.value.outcome == "definite"


def test_it_never_says_the_token(twilio: FakeTwilio) -> None:
    twilio.mode = "401"

    with pytest.raises(DeliveryError) as caught:
        through(twilio).send(SMS)

    assert TOKEN not in caught.value.text
    assert TOKEN not in repr(through(twilio))


def test_it_says_nobodys_number_in_the_log(twilio: FakeTwilio, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    through(twilio).send(SMS)
    through(twilio).find(SMS, datetime.now(UTC), frozenset())

    assert SMS.to not in caplog.text


# SMTP


@pytest.mark.parametrize(
    ("code", "text", "outcome"),
    [
        (550, b"5.1.1 user unknown", "rejected"),
        (550, b"5.1.10 null MX", "rejected"),
        (550, b"5.2.1 mailbox disabled", "rejected"),
        (550, b"No such user here", "rejected"),
        (553, b"mailbox name not allowed", "rejected"),
        (552, b"5.2.2 mailbox full", "definite"),
        (552, b"mailbox full", "definite"),
        (550, b"relay not permitted", "definite"),
        (550, b"Refused by local POLICY", "definite"),
        (550, b"5.7.1 not today", "definite"),
        (550, b"5.1.8 bad sender", "definite"),
        (554, b"transaction failed", "definite"),
        (450, b"4.2.1 try later", "definite"),
    ],
)
def test_an_address_is_given_up_only_where_the_server_says_that_it_is_none(
    code: int, text: bytes, outcome: str
) -> None:
    refused = smtplib.SMTPRecipientsRefused({"alice@example.org": (code, text)})
    assert email_module.failure(refused, data_begun=False).outcome == outcome


@pytest.mark.parametrize(
    ("said", "outcome"),
    [
        (["Failed to send Slack notification: error=403."], "definite"),
        (["Failed to send Slack notification: error=429."], "definite"),
        (["Failed to send Slack notification: error=503."], "unknown"),
        (["error=403.", "error=502."], "unknown"),
        (["A Connection error occurred sending Slack"], "unknown"),
        ([], "unknown"),
    ],
)
def test_what_a_chat_may_have_taken_is_not_sent_again_and_again(said: list[str], outcome: str) -> None:
    assert chat_failure(said).outcome == outcome


def test_it_sends_an_email_with_its_picture_inside(smtp: FakeSmtp) -> None:
    receipt = Smtp.from_url(smtp.url).send(MAIL)

    [(to, message)] = smtp.received
    parts = {part.get_content_type(): part for part in message.walk()}
    assert to == "alice@example.org"
    assert message["Subject"] == MAIL.subject
    assert parts["text/plain"].get_content().strip() == MAIL.text.strip()
    assert 'src="cid:picture"' in parts["text/html"].get_content()
    assert parts["image/jpeg"]["Content-ID"] == "<picture>"
    assert parts["image/jpeg"].get_content() == MAIL.picture
    assert message["Message-ID"] == receipt.provider_id == "<0190-r2@localhost>"


@pytest.mark.parametrize(
    ("mode", "outcome", "taken"),
    [
        ("451", "definite", 0),
        ("451-data", "definite", 1),
        ("550", "rejected", 0),
        ("550-policy", "definite", 0),
        ("silent", "unknown", 1),
        ("cut", "unknown", 1),
    ],
)
def test_it_tells_the_servers_failures_apart(smtp: FakeSmtp, mode: str, outcome: str, taken: int) -> None:
    smtp.mode = mode

    with pytest.raises(DeliveryError) as caught:
        Smtp.from_url(smtp.url).send(MAIL)

    assert caught.value.outcome == outcome
    assert len(smtp.received) == taken


def test_it_knows_that_nothing_left_without_a_session() -> None:
    with pytest.raises(DeliveryError) as caught:
        Smtp("127.0.0.1", closed_port()).send(MAIL)

    assert caught.value.outcome == "definite"


def test_it_does_not_wait_for_a_server_that_never_greets() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(DeliveryError) as caught:
        Smtp("127.0.0.1", silent.getsockname()[1]).send(MAIL)

    assert caught.value.outcome == "definite"


def test_a_mail_server_that_sends_a_byte_now_and_then_is_left(smtp: FakeSmtp, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deadline, "WHOLE_S", 1.0)
    smtp.mode, started = "drip", time.monotonic()
    with pytest.raises(DeliveryError, match="no answer after the message left") as caught:
        Smtp.from_url(smtp.url).send(MAIL)
    with dripping(b"220-") as pair, pytest.raises(DeliveryError, match="no session") as greeted:
        Smtp.from_url(f"smtp://{pair}").send(MAIL)

    assert (caught.value.outcome, greeted.value.outcome) == ("unknown", "definite")
    assert time.monotonic() - started < 6


def test_it_refuses_a_header_that_would_carry_another() -> None:
    with pytest.raises(BadHeaderError):
        compose(Message(to="a@example.org", subject="x\nBcc: b@example.org", text="", reference="r")).message()


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("smtp://mail", Smtp("mail", 25)),
        ("smtp://mail?tls=1", Smtp("mail", 587, tls=True)),
        ("smtps://mail", Smtp("mail", 465, ssl=True)),
        ("smtp://ann%40x:p%3Aw@mail:2525?tls=0", Smtp("mail", 2525, "ann@x", "p:w")),
    ],
)
def test_it_reads_the_address_of_a_server(url: str, expected: Smtp) -> None:
    assert Smtp.from_url(url) == expected


@pytest.mark.parametrize("url", ["mail.example.org", "http://mail", "smtp://", "smtp://user:secret@mail:many"])
def test_it_refuses_what_is_no_address_of_a_server(url: str) -> None:
    with pytest.raises(DeliveryError, match="POLISCOPE_SMTP_URL: expected smtp://") as caught:
        Smtp.from_url(url)

    assert "secret" not in caught.value.text


# Choosing


def test_it_falls_back_to_the_sandbox_where_nothing_is_configured() -> None:
    assert notifier_for("sms") == notifier_for("email") == Sandbox()


def test_it_chooses_the_configured_provider(settings: Settings, twilio: FakeTwilio, smtp: FakeSmtp) -> None:
    settings.TWILIO = twilio.settings
    settings.POLISCOPE_SMTP_URL = smtp.url

    assert (notifier_for("sms").key, notifier_for("email").key) == ("twilio", "smtp")


def test_it_does_not_sandbox_what_is_half_configured(settings: Settings) -> None:
    settings.TWILIO = {"account": "AC1", "token": "", "sender": "", "base_url": ""}

    with pytest.raises(DeliveryError, match="TWILIO_AUTH_TOKEN, TWILIO_FROM not set") as caught:
        notifier_for("sms")

    assert caught.value.outcome == "definite"


def test_it_registers_every_notifier_under_its_own_key() -> None:
    for key, kind in NOTIFIERS.items():
        module, _, attribute = kind.path.partition(":")
        config = getattr(__import__(module, fromlist=[attribute]), attribute)
        assert config.key == key
        assert callable(config.configured)
        assert callable(config.send)


def test_it_loads_no_provider_that_is_not_used() -> None:
    code = "import alerts.notifiers.registry, sys; print('twilio' in sys.modules)"

    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "False"
