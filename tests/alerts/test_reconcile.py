"""What becomes of a message later: asked for at a real loopback Twilio, never called back."""

from __future__ import annotations

from datetime import datetime

import pytest
from pytest_django import Settings

from alerts.delivery import deliver, resend_unknown
from alerts.incidents import acknowledge, record
from alerts.models import Contact, Delivery, Incident
from alerts.notifiers import sms as sms_module
from alerts.outcomes import MOVES, after, due_to_ask
from alerts.reconcile import follow_up
from tests.alerts.town import EMAIL, SMS, Town, at
from tests.services.twilio import FakeTwilio

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _provider(settings: Settings, twilio: FakeTwilio, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.TWILIO = twilio.settings
    monkeypatch.setattr(sms_module, "TIMEOUT_S", 0.4)


def send(row: Delivery, moment: datetime) -> str | None:
    return deliver(row.uid, clock=lambda: moment)


def sent(town: Town, *contacts: tuple[str, str], mode: str = "accept", twilio: FakeTwilio | None = None) -> Delivery:
    """Alice was told of an event; her first delivery."""
    town.person("Alice", *contacts)
    record([town.event()], now=at(0))
    row = Delivery.objects.order_by("pk")[0]
    if twilio is not None:
        twilio.script = [mode]
    send(row, at(1))
    row.refresh_from_db()
    return row


def state(row: Delivery) -> str:
    row.refresh_from_db()
    return row.state


def test_it_learns_that_a_message_was_delivered(town: Town, twilio: FakeTwilio) -> None:
    row = sent(town, SMS)
    twilio.moves_on(SMS[1], "sent")
    assert (follow_up(at(6)), state(row)) == (0, "sent")

    twilio.moves_on(SMS[1], "delivered")

    assert (follow_up(at(30)), state(row)) == (1, "delivered")
    assert (row.delivered_at, row.sent_at) == (at(30), at(1))
    assert follow_up(at(90)) == 0


def test_a_message_that_was_not_delivered_goes_to_the_next_contact(town: Town, twilio: FakeTwilio) -> None:
    row = sent(town, SMS, ("sms", "+15005550012"))
    twilio.moves_on(SMS[1], "undelivered", 30005)

    assert (follow_up(at(6)), state(row)) == (1, "failed")

    assert row.problem == "Twilio: undelivered/30005"
    assert Contact.objects.get(address=SMS[1]).disabled_at == at(6)
    assert Delivery.objects.get(state="queued").contact.address == "+15005550012"


def test_somebody_who_unsubscribed_meanwhile_is_sent_nothing_more(town: Town, twilio: FakeTwilio) -> None:
    row = sent(town, SMS, EMAIL)
    twilio.moves_on(SMS[1], "undelivered", 21610)

    assert (follow_up(at(6)), state(row)) == (1, "failed")

    row.contact.refresh_from_db()
    assert (row.contact.opted_out_at, row.contact.usable) == (at(6), False)


def test_a_telephone_that_is_off_is_not_switched_off(town: Town, twilio: FakeTwilio) -> None:
    sent(town, SMS, EMAIL)
    twilio.moves_on(SMS[1], "undelivered", 30003)

    follow_up(at(6))

    assert Contact.objects.get(address=SMS[1]).disabled_at is None


def test_nobody_is_told_elsewhere_of_what_somebody_has_by_now(town: Town, twilio: FakeTwilio) -> None:
    row = sent(town, SMS, ("sms", "+15005550012"))
    acknowledge(Incident.objects.get().uid, by=None, through="screen", now=at(3))
    twilio.moves_on(SMS[1], "undelivered", 30003)

    follow_up(at(6))

    assert state(row) == "failed"
    assert Delivery.objects.count() == 1


@pytest.mark.parametrize("mode", ["503", "hang", "cut"])
def test_what_may_have_arrived_is_looked_for_and_not_sent_again(town: Town, twilio: FakeTwilio, mode: str) -> None:
    row = sent(town, SMS, mode=mode, twilio=twilio)
    assert row.state == "unknown"

    assert (follow_up(at(20)), state(row)) == (1, "sent")

    assert row.provider_id == twilio.kept[0].sid
    assert resend_unknown(at(100)) == 0
    assert len(twilio.messages) == 1


def test_what_the_provider_does_not_know_is_sent_once_more(town: Town, twilio: FakeTwilio) -> None:
    row = sent(town, SMS, mode="503", twilio=twilio)
    twilio.kept.clear()

    assert follow_up(at(20)) == 0
    assert resend_unknown(at(61)) == 1
    assert send(Delivery.objects.get(resends=row), at(62)) == "sent"


@pytest.mark.parametrize("asking", ["503", "hang", "cut", "401"])
def test_a_provider_that_cannot_be_asked_changes_nothing(town: Town, twilio: FakeTwilio, asking: str) -> None:
    row = sent(town, SMS, mode="503", twilio=twilio)
    twilio.asking = asking

    assert follow_up(at(20)) == 0
    assert state(row) == "unknown"
    assert resend_unknown(at(61)) == 1


def test_another_message_to_the_same_number_is_not_taken_for_it(town: Town, twilio: FakeTwilio) -> None:
    first = sent(town, SMS)
    record([town.event(camera=town.yard.uid)], now=at(10))
    twilio.script = ["503"]
    second = Delivery.objects.exclude(pk=first.pk).get()
    send(second, at(11))
    twilio.kept = twilio.kept[:1]

    follow_up(at(30))

    assert state(second) == "unknown"


def test_it_asks_less_and_less_often(town: Town, twilio: FakeTwilio) -> None:
    sent(town, SMS)
    for second in range(1, 3600):
        if second % 10 == 0:
            follow_up(at(second))

    assert 5 <= len(twilio.asked) <= 12


@pytest.mark.parametrize("state", ["queued", "sending", "delivered", "failed", "cancelled"])
def test_a_providers_word_never_moves_anything_back(state: str) -> None:
    assert [after(state, standing) for standing in ("accepted", "delivered", "failed")] == [None] * 3
    assert all(order.index(before) < order.index(next_) for (before, _), next_ in MOVES.items() for order in [ORDER])


ORDER = ["queued", "sending", "unknown", "sent", "delivered", "failed", "cancelled"]


def test_it_waits_longer_each_time_and_never_longer_than_half_an_hour() -> None:
    assert not due_to_ask(at(0), None, at(4))
    assert due_to_ask(at(0), None, at(5))
    assert not due_to_ask(at(0), at(100), at(199))
    assert due_to_ask(at(0), at(100), at(200))
    assert due_to_ask(at(0), at(20_000), at(21_800))
