"""A trial message against real servers: what was sent and what the provider said, whatever that is."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from pytest_django import Settings

from alerts.editing import Refused
from alerts.models import Contact, Recipient, TrialMessage
from alerts.notifiers import sms as sms_module
from alerts.trial_message import LIMITS, Trial, send_trial
from frontend.models import User
from tests.alerts.town import Town, at_once
from tests.services.smtp import FakeSmtp
from tests.services.twilio import FakeTwilio

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def trial_to(contact: Contact, by: str = "Ada", seconds: float = 0.0) -> Trial:
    user, _made = User.objects.get_or_create(username=by)
    return send_trial(contact, user, NOW + timedelta(seconds=seconds))


def contact_of(channel: str, address: str, language: str = "en", name: str = "Guard post") -> Contact:
    recipient = Recipient.objects.create(name=name, language=language)
    return Contact.objects.create(recipient=recipient, channel=channel, address=address, confirmed_at=NOW)


def test_it_is_sent_in_the_recipients_language_and_shows_the_receipt(settings: Settings, twilio: FakeTwilio) -> None:
    settings.TWILIO = twilio.settings
    trial = trial_to(contact_of("sms", "+886912345678", "zh-hant"))
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
    trial = trial_to(contact_of("sms", "+886912345678"))
    assert trial.outcome == outcome and says in trial.answer
    assert len(twilio.requests) == 1, "a trial is never repeated"


def test_an_e_mail_has_its_subject(settings: Settings, smtp: FakeSmtp) -> None:
    settings.POLISCOPE_SMTP_URL = smtp.url
    trial = trial_to(contact_of("email", "guard@example.org"))
    assert (trial.outcome, trial.notifier) == ("sent", "smtp")
    assert trial.subject == "Trial message from Poliscope"


def test_without_a_provider_nothing_leaves(settings: Settings) -> None:
    trial = trial_to(contact_of("sms", "+886912345678"))
    assert trial.sandbox and trial.outcome == "sent"
    assert trial.text == "Trial from Poliscope by Ada: Guard post will be told here. Nothing has happened."


def test_half_a_provider_is_said_instead_of_the_sandbox_taking_it(settings: Settings, twilio: FakeTwilio) -> None:
    settings.TWILIO = {**twilio.settings, "token": ""}
    trial = trial_to(contact_of("sms", "+886912345678"))
    assert trial.outcome == "definite" and "TWILIO_AUTH_TOKEN not set" in trial.answer and not trial.sandbox


# How many


def refusal(contact: Contact, by: str = "Ada", seconds: float = 0.0) -> str:
    with pytest.raises(Refused) as refused:
        trial_to(contact, by, seconds)
    return str(refused.value)


def numbers(count: int) -> list[Contact]:
    return [contact_of("sms", f"+88691234{number:04}", name=f"Guard {number}") for number in range(count)]


def test_a_number_gets_three_in_a_minute_and_it_is_said_when_the_next_one_can_go(twilio: FakeTwilio) -> None:
    [one] = numbers(1)
    for second in (0, 10, 20):
        trial_to(one, seconds=second)
    said = "3 were sent there within a minute. The next one can go at 12:01:01."
    assert refusal(one, "Ada", 59) == refusal(one, "Bob", 59) == said
    assert trial_to(one, seconds=60).outcome == "sent"


def test_a_number_gets_ten_in_an_hour(twilio: FakeTwilio) -> None:
    [one] = numbers(1)
    for number in range(10):
        trial_to(one, f"Person {number}", number * 60)
    assert refusal(one, "Bob", 700) == "10 were sent there within an hour. The next one can go at 13:00:01."


def test_one_person_cannot_send_what_all_may(twilio: FakeTwilio) -> None:
    guards = numbers(21)
    for number, guard in enumerate(guards[:20]):
        trial_to(guard, seconds=number * 10)
    assert refusal(guards[20], seconds=200) == "You have sent 20 within an hour. The next one can go at 13:00:01."
    assert trial_to(guards[20], "Bob", 200).outcome == "sent"


def test_all_together_send_ten_in_a_minute_and_thirty_in_an_hour(twilio: FakeTwilio) -> None:
    guards = numbers(31)
    for number, guard in enumerate(guards[:10]):
        trial_to(guard, f"Person {number}", number)
    assert refusal(guards[10], "Zoe", 10) == (
        "10 were sent within a minute, by all together. The next one can go at 12:01:01."
    )
    for number, guard in enumerate(guards[10:30], start=10):
        trial_to(guard, f"Person {number}", number * 10)
    assert refusal(guards[30], "Zoe", 600) == (
        "30 were sent within an hour, by all together. The next one can go at 13:00:01."
    )
    trial_to(guards[30], "Zoe", 3601)


def test_what_is_refused_does_not_count(settings: Settings, twilio: FakeTwilio) -> None:
    settings.TWILIO = twilio.settings
    [one] = numbers(1)
    for second in range(60):
        if second < 3:
            trial_to(one, seconds=second)
        else:
            refusal(one, seconds=second)
    assert (len(twilio.messages), TrialMessage.objects.count()) == (3, 3)
    trial_to(one, seconds=60)


def test_rows_that_count_no_more_go(twilio: FakeTwilio) -> None:
    [one] = numbers(1)
    trial_to(one)
    trial_to(one, seconds=3600)
    assert TrialMessage.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_many_at_once_send_no_more_than_allowed(shared_town: Town, settings: Settings, twilio: FakeTwilio) -> None:
    settings.TWILIO = twilio.settings
    [one] = numbers(1)
    User.objects.create(username="Ada")
    results = at_once(*(lambda: trial_to(one) for _ in range(8)))
    assert len(twilio.messages) == sum(isinstance(result, Trial) for result in results) == LIMITS.there[0].amount
    assert all(isinstance(result, Trial | Refused) for result in results)
