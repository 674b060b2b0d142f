"""A trial message against real servers: what was sent and what the provider said, whatever that is."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from pytest_django import Settings

from alerts.models import Contact, Recipient
from alerts.notifiers import sms as sms_module
from alerts.trial_message import MOST, send_trial, too_many
from tests.services.smtp import FakeSmtp
from tests.services.twilio import FakeTwilio

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def contact_of(channel: str, address: str, language: str = "en") -> Contact:
    recipient = Recipient.objects.create(name="Guard post", language=language)
    return Contact.objects.create(recipient=recipient, channel=channel, address=address, confirmed_at=NOW)


def test_it_is_sent_in_the_recipients_language_and_shows_the_receipt(settings: Settings, twilio: FakeTwilio) -> None:
    settings.TWILIO = twilio.settings
    trial = send_trial(contact_of("sms", "+886912345678", "zh-hant"), "Ada")
    [arrived] = twilio.messages
    assert arrived.to == "+886912345678" and arrived.body == trial.text
    assert "Guard post" in trial.text and "Nothing has happened" not in trial.text
    assert (trial.outcome, trial.notifier, trial.answer[:2]) == ("sent", "twilio", "SM")


@pytest.mark.parametrize(
    "mode, outcome, says",
    [
        ("21211", "rejected", "not a valid phone number"),
        ("401", "definite", "Authenticate"),
        ("429", "definite", "Too Many Requests"),
        ("503", "unknown", "Service unavailable"),
        ("hang", "unknown", "no answer after the request left"),
    ],
)
def test_whatever_the_provider_says_is_shown(
    settings: Settings, twilio: FakeTwilio, monkeypatch: pytest.MonkeyPatch, mode: str, outcome: str, says: str
) -> None:
    monkeypatch.setattr(sms_module, "TIMEOUT_S", 0.4)
    settings.TWILIO, twilio.mode = twilio.settings, mode
    trial = send_trial(contact_of("sms", "+886912345678"), "Ada")
    assert trial.outcome == outcome and says in trial.answer
    assert len(twilio.requests) == 1, "a trial is never repeated"


def test_an_e_mail_has_its_subject(settings: Settings, smtp: FakeSmtp) -> None:
    settings.POLISCOPE_SMTP_URL = smtp.url
    trial = send_trial(contact_of("email", "guard@example.org"), "Ada")
    assert (trial.outcome, trial.notifier) == ("sent", "smtp")
    assert trial.subject == "Trial message from Poliscope"


def test_without_a_provider_nothing_leaves(settings: Settings) -> None:
    trial = send_trial(contact_of("sms", "+886912345678"), "Ada")
    assert trial.sandbox and trial.outcome == "sent"
    assert trial.text == "Trial from Poliscope by Ada: Guard post will be told here. Nothing has happened."


def test_half_a_provider_is_said_instead_of_the_sandbox_taking_it(settings: Settings, twilio: FakeTwilio) -> None:
    settings.TWILIO = {**twilio.settings, "token": ""}
    trial = send_trial(contact_of("sms", "+886912345678"), "Ada")
    assert trial.outcome == "definite" and "TWILIO_AUTH_TOKEN not set" in trial.answer and not trial.sandbox


@pytest.mark.parametrize("ages_s, refused", [([], False), ([1, 2], False), ([1, 2, 3], True), ([1, 2, 90], False)])
def test_it_counts_the_trials_of_the_last_minute(ages_s: list[float], refused: bool) -> None:
    assert MOST == 3
    assert too_many([NOW - timedelta(seconds=age_s) for age_s in ages_s], NOW) is refused
