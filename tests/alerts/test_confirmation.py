"""Confirming a number or address: by the code that went there, a few times an hour, and by nothing else."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from pytest_django import Settings

from alerts.confirmation import (
    GOOD_FOR,
    LIMITS,
    TRIES,
    confirm,
    opt_in,
    opt_out,
    send_code,
)
from alerts.contacts import TAKEN_OUT, clean_address
from alerts.editing import Refused
from alerts.incidents import record
from alerts.models import Contact, ContactCode, Delivery, Recipient
from frontend.models import User
from tests.alerts.town import NOON, SMS, Town, at, at_once
from tests.services.twilio import FakeTwilio

pytestmark = pytest.mark.django_db

MOST_PER_ADDRESS, MOST_PER_PERSON, MOST_IN_ALL = (
    budgets[0].amount for budgets in (LIMITS.there, LIMITS.person, LIMITS.in_all)
)
WITHIN = timedelta(hours=1)


@pytest.fixture
def phone(settings: Settings, twilio: FakeTwilio) -> FakeTwilio:
    """What arrives at the numbers."""
    settings.TWILIO = twilio.settings
    return twilio


def new_contact(number: int = 10, name: str = "Guard", language: str = "en") -> Contact:
    recipient, _ = Recipient.objects.get_or_create(name=name, defaults={"language": language})
    return Contact.objects.create(recipient=recipient, channel="sms", address=f"+150055500{number}")


def last_code(phone: FakeTwilio) -> str:
    found = re.search(r"\d{6}", phone.messages[-1].body)
    assert found is not None
    return found[0]


def wrong(code: str) -> str:
    return f"{(int(code) + 1) % 10**6:06d}"


def is_confirmed(contact: Contact) -> bool:
    contact.refresh_from_db()
    return contact.usable


def test_the_code_that_arrived_confirms_it(phone: FakeTwilio) -> None:
    contact = new_contact()
    sent = send_code(contact, NOON)
    assert (sent.outcome, sent.text) == ("sent", "")
    confirm(contact, f" {last_code(phone)} ", at(30))
    assert is_confirmed(contact)


def test_the_code_comes_in_the_recipients_language(phone: FakeTwilio) -> None:
    english, other = new_contact(10), new_contact(11, "警衛", "zh-hant")
    send_code(english, NOON)
    send_code(other, NOON)
    first, second = (re.sub(r"\d{6}|Guard|警衛", "", one.body) for one in phone.messages)
    assert "is the code by which" in first
    assert "警衛" in phone.messages[1].body
    assert second


def test_what_is_kept_is_not_the_code(phone: FakeTwilio) -> None:
    send_code(new_contact(), NOON)
    [row] = ContactCode.objects.values()
    assert last_code(phone) not in str(row)


def test_a_code_is_good_for_ten_minutes_and_once(phone: FakeTwilio) -> None:
    contact = new_contact()
    send_code(contact, NOON)
    with pytest.raises(Refused, match="no code that is still good"):
        confirm(contact, last_code(phone), NOON + GOOD_FOR)
    confirm(contact, last_code(phone), NOON + GOOD_FOR - timedelta(seconds=1))
    Contact.objects.update(confirmed_at=None)
    with pytest.raises(Refused, match="no code that is still good"):
        confirm(contact, last_code(phone), at(10))


def test_five_wrong_codes_are_enough(phone: FakeTwilio) -> None:
    contact = new_contact()
    send_code(contact, NOON)
    for _ in range(TRIES):
        with pytest.raises(Refused, match="That is not the code"):
            confirm(contact, wrong(last_code(phone)), at(1))
    with pytest.raises(Refused, match="5 wrong codes"):
        confirm(contact, last_code(phone), at(2))
    assert not is_confirmed(contact)


def test_only_the_newest_code_counts(phone: FakeTwilio) -> None:
    contact = new_contact()
    send_code(contact, NOON)
    first = last_code(phone)
    send_code(contact, at(1))
    if first != last_code(phone):
        with pytest.raises(Refused):
            confirm(contact, first, at(2))
    confirm(contact, last_code(phone), at(2))
    assert is_confirmed(contact)


def test_a_code_for_one_address_does_not_confirm_another(phone: FakeTwilio) -> None:
    contact = new_contact()
    send_code(contact, NOON)
    contact.address = "+15005550099"
    contact.save()
    with pytest.raises(Refused, match="no code that is still good"):
        confirm(contact, last_code(phone), at(1))


def test_an_address_gets_so_many_codes_an_hour_also_when_it_is_entered_anew(phone: FakeTwilio) -> None:
    for number in range(MOST_PER_ADDRESS):
        contact = new_contact()
        send_code(contact, at(number))
        contact.delete()
    contact = new_contact()
    with pytest.raises(Refused, match="3 were sent there within an hour"):
        send_code(contact, at(60))
    assert len(phone.messages) == MOST_PER_ADDRESS
    send_code(contact, NOON + WITHIN + timedelta(seconds=5))
    assert len(phone.messages) == MOST_PER_ADDRESS + 1


def test_all_addresses_together_get_so_many_codes_an_hour(phone: FakeTwilio) -> None:
    for number in range(MOST_IN_ALL):
        send_code(new_contact(10 + number), at(number))
    with pytest.raises(Refused, match="30 were sent within an hour, by all together"):
        send_code(new_contact(99), at(100))
    assert len(phone.messages) == MOST_IN_ALL


def test_one_person_has_so_many_codes_sent_an_hour_and_another_still_can(town: Town, phone: FakeTwilio) -> None:
    for number in range(MOST_PER_PERSON):
        send_code(new_contact(10 + number), at(number), asked_by=town.alice)
    contact = new_contact(99)
    with pytest.raises(Refused, match="You have sent 20 within an hour"):
        send_code(contact, at(100), asked_by=town.alice)
    send_code(contact, at(100), asked_by=User.objects.create(username="bob"))
    assert len(phone.messages) == MOST_PER_PERSON + 1


def test_a_code_that_the_provider_did_not_take_counts_as_well(phone: FakeTwilio) -> None:
    phone.mode = "429"
    contact = new_contact()
    outcomes = [send_code(contact, at(number)).outcome for number in range(MOST_PER_ADDRESS)]
    assert set(outcomes) == {"definite"}
    with pytest.raises(Refused):
        send_code(contact, at(60))


def test_what_is_confirmed_is_sent_no_code(phone: FakeTwilio) -> None:
    contact = new_contact()
    Contact.objects.update(confirmed_at=NOON)
    contact.refresh_from_db()
    with pytest.raises(Refused, match="confirmed already"):
        send_code(contact, NOON)
    assert not phone.messages


# Telling


def test_an_incident_goes_to_nobody_who_has_not_confirmed(town: Town) -> None:
    alice = town.person("Alice", SMS, ("sms", "+15005550012"))
    alice.contacts.filter(order=0).update(confirmed_at=None)
    record([town.event()], now=at(1))
    assert [one.contact.address for one in Delivery.objects.all()] == ["+15005550012"]


def test_whoever_unsubscribes_is_told_nothing_more_under_any_name_until_they_take_it_back(town: Town) -> None:
    alice, bob = town.person("Alice", SMS), town.person("Bob", SMS)
    assert opt_out(alice.contacts.get(), at(0)) == 2
    record([town.event()], now=at(1))
    assert not Delivery.objects.exists()

    with pytest.raises(Refused, match="has unsubscribed"):
        send_code(new_contact(10, "Charlie"), at(2))
    assert opt_in(bob.contacts.get()) == 2
    assert alice.contacts.get().usable


@pytest.mark.parametrize(
    ("before", "usable"),
    [
        ({}, True),
        ({"confirmed_at": None}, False),
        ({"disabled_at": NOON, "disabled_reason": TAKEN_OUT}, False),
        ({"disabled_at": NOON, "disabled_reason": "Twilio: 400/21211: The 'To' number is not valid"}, False),
        ({"disabled_at": NOON, "disabled_reason": "Twilio: 400/21610: Attempt to send to unsubscribed"}, True),
    ],
)
def test_start_takes_back_what_unsubscribing_did_and_nothing_else(
    town: Town, before: dict[str, object], usable: bool
) -> None:
    contact = town.person("Alice", SMS).contacts.get()
    Contact.objects.update(**before)
    opt_out(contact, at(1))

    assert opt_in(contact) == 1
    assert Contact.objects.get().usable == usable


def test_a_number_is_one_however_it_is_typed() -> None:
    assert clean_address("sms", "+1 (500) 555-0010") == SMS[1]


# Many at once


@pytest.mark.django_db(transaction=True)
def test_many_at_once_send_no_more_codes_than_allowed(shared_town: Town, phone: FakeTwilio) -> None:
    contact = new_contact()
    results = at_once(*(lambda: send_code(contact, NOON) for _ in range(8)))
    assert len(phone.messages) == sum(not isinstance(one, Exception) for one in results)
    assert 1 <= len(phone.messages) <= MOST_PER_ADDRESS
    assert all(isinstance(one, Refused) for one in results if isinstance(one, Exception))


@pytest.mark.django_db(transaction=True)
def test_many_at_once_try_no_more_than_five_codes(shared_town: Town, phone: FakeTwilio) -> None:
    contact = new_contact()
    send_code(contact, NOON)
    right = last_code(phone)
    guesses = [wrong(right)] * 10
    results = at_once(*(lambda guess=guess: confirm(contact, guess, at(1)) for guess in guesses))
    assert all(isinstance(one, Refused) for one in results)
    assert ContactCode.objects.get().tries == TRIES
