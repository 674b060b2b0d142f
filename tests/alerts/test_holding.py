"""What waits and why: floods, late news and budgets, over the real outbox and real loopback providers."""

from __future__ import annotations

import json
from datetime import datetime, timedelta

import pytest
from pytest_django import Settings

from alerts import holding, spending
from alerts.answering import take
from alerts.confirmation import send_code
from alerts.delivery import (
    cancel_unwanted,
    count_overdue,
    deliver,
    expire_leases,
    resend_unknown,
    to_hand_over,
)
from alerts.incidents import acknowledge, record
from alerts.models import Alert, Contact, Delivery, Incident, Recipient
from alerts.notifiers import sms as sms_module
from alerts.notifiers.base import Answer
from alerts.reconcile import follow_up
from alerts.texts import segments
from alerts.trial_message import send_trial
from streams.models import Camera
from tests.alerts.town import EMAIL, SMS, Town, at
from tests.services.receiver import Receiver
from tests.services.receiver import receiver as receiver
from tests.services.smtp import FakeSmtp
from tests.services.twilio import FakeTwilio

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _providers(settings: Settings, twilio: FakeTwilio, smtp: FakeSmtp, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.TWILIO = twilio.settings
    settings.POLISCOPE_SMTP_URL = smtp.url
    monkeypatch.setattr(sms_module, "TIMEOUT_S", 0.4)


def cameras(town: Town, n: int) -> list[Camera]:
    return [
        Camera.objects.get_or_create(name=f"Camera {i}", defaults={"site": town.site, "group": town.gate.group})[0]
        for i in range(n)
    ]


def alarms(town: Town, n: int, second: float, every_s: float = 1.0, **changes: object) -> None:
    """So many incidents, one every ``every_s``, each at a camera of its own."""
    for i, camera in enumerate(cameras(town, n)):
        moment = at(second + i * every_s)
        given = {"camera": camera.uid, "happened_at": moment, "frame": None, **changes}
        record([town.event(**given)], now=moment)


def turn(moment: datetime) -> None:
    """What the sweep and the workers do at one moment."""
    for step in (cancel_unwanted, expire_leases, resend_unknown):
        step(moment)
    for row in list(Delivery.objects.filter(state="queued", not_before_at__lte=moment).order_by("pk")):
        deliver(row.uid, clock=lambda: moment)


def run(first: int, last: int, step: int = 5) -> None:
    for second in range(first, last + 1, step):
        turn(at(second))


def states() -> set[str]:
    return set(Delivery.objects.values_list("state", flat=True))


# Floods


def test_a_flood_becomes_one_message_and_nothing_is_lost(town: Town, twilio: FakeTwilio) -> None:
    town.person("Alice", SMS)
    alarms(town, 9, 0, every_s=20)
    run(0, 175)
    assert len(twilio.messages) == 9
    alarms(town, 25, 180, every_s=0.1)

    turn(at(184))
    held = Delivery.objects.filter(state="queued")
    assert len(held) >= 15 and set(held.values_list("held", flat=True)) == {"flood"}
    assert count_overdue(at(184), since_s=0) == 0 and to_hand_over(at(184), grace_s=0) == []
    sent = len(twilio.messages)
    run(185, 370)

    assert states() == {"sent"}
    assert len(twilio.messages) == sent + 1
    text = twilio.messages[-1].body
    assert f"{len(held)} messages, gathered. The worst: High: Person in" in text and segments(text) == 1
    assert Delivery.objects.filter(carried_by__isnull=False).count() == len(held) - 1


def test_a_critical_one_is_never_held(town: Town, twilio: FakeTwilio) -> None:
    town.person("Alice", SMS)
    alarms(town, 30, 0, every_s=0.1, severity="medium")
    turn(at(4))
    sent = len(twilio.messages)

    record([town.event(severity="critical", happened_at=at(5), frame=None)], now=at(5))
    turn(at(5))

    assert len(twilio.messages) == sent + 1
    assert twilio.messages[-1].body.startswith("Critical: ")


def test_a_flood_ends_and_single_messages_come_again(town: Town, twilio: FakeTwilio) -> None:
    town.person("Alice", SMS)
    alarms(town, 12, 0)
    run(12, 240)
    record([town.event(happened_at=at(900), frame=None)], now=at(900))

    turn(at(900))

    assert "gathered" not in twilio.messages[-1].body
    assert states() == {"sent"}


def test_one_persons_flood_is_not_anothers(town: Town, twilio: FakeTwilio) -> None:
    town.person("Alice", SMS)
    alarms(town, 12, 0)
    turn(at(12))
    town.rule.recipients.clear()
    town.person("Bob", ("sms", "+15005550077"))
    record([town.event(happened_at=at(13), frame=None)], now=at(13))

    turn(at(23))

    assert [message.to for message in twilio.messages].count("+15005550077") == 1


def test_what_was_acknowledged_meanwhile_is_not_in_the_message(town: Town, smtp: FakeSmtp) -> None:
    town.person("Alice", EMAIL)
    alarms(town, 14, 0)
    turn(at(14))
    gone = Incident.objects.filter(alerts__deliveries__held="flood").order_by("pk").first()
    assert gone is not None
    acknowledge(gone.uid, by=None, through="screen", now=at(20))

    run(30, 240)

    [digest] = [message for _, message in smtp.received if "gathered" in message["Subject"]]
    assert str(gone.uid) not in digest.as_string()
    assert states() == {"sent", "cancelled"}


@pytest.mark.parametrize("mode", ["429", "503", "cut"])
def test_a_message_of_several_that_fails_is_sent_again_with_all(town: Town, twilio: FakeTwilio, mode: str) -> None:
    town.person("Alice", SMS)
    alarms(town, 14, 0)
    turn(at(14))
    before, held = len(twilio.messages), Delivery.objects.filter(held="flood").count()
    twilio.script = [mode]

    run(15, 330)

    texts = [message.body for message in twilio.messages[before:]]
    assert len(texts) == (1 if mode == "429" else 2)
    assert all(f"{held} messages, gathered" in text for text in texts)
    assert states() == ({"sent"} if mode == "429" else {"sent", "unknown"})


def test_a_message_of_several_is_found_at_the_provider(town: Town, twilio: FakeTwilio) -> None:
    town.person("Alice", SMS)
    alarms(town, 14, 0)
    turn(at(14))
    before = len(twilio.messages)
    twilio.script = ["503"]
    run(15, 200)
    assert Delivery.objects.filter(state="unknown").count() > 1

    follow_up(at(205))
    run(206, 330)

    assert states() == {"sent"}
    assert len(twilio.messages) == before + 1


def test_everything_a_refused_message_said_goes_to_the_next_contact(town: Town, twilio: FakeTwilio) -> None:
    town.person("Alice", SMS, ("sms", "+15005550012"))
    alarms(town, 14, 0)
    turn(at(14))
    twilio.modes = {SMS[1]: "21610"}

    run(15, 600)

    assert not Delivery.objects.filter(state="queued").exists()
    heard = Delivery.objects.filter(state="sent").values("alert")
    assert not Alert.objects.exclude(pk__in=heard).exists(), "each alert got out"


def test_programs_are_not_spared(town: Town, receiver: Receiver, settings: Settings) -> None:
    settings.WEBHOOK_ALLOW = [receiver.pair]
    town.person("Machine", ("webhook", f"{receiver.url}/in"))
    alarms(town, 14, 0)

    run(14, 20)

    assert len(receiver.received) == 14
    assert len({json.loads(posted.content)["alerts"][0]["incident"] for posted in receiver.received}) == 14


def test_what_goes_together_stays_together_when_a_budget_is_used_up(
    town: Town, twilio: FakeTwilio, settings: Settings
) -> None:
    settings.SMS_PER_MINUTE = 1
    town.person("Alice", SMS)
    town.person("Bob", ("sms", "+15005550077"))
    alarms(town, 14, 0)

    run(14, 400)

    assert states() == {"sent"}
    gathered = [message.to for message in twilio.messages if "gathered" in message.body]
    assert sorted(gathered) == sorted({SMS[1], "+15005550077"})


# Known late


def test_late_news_comes_in_one_message_with_both_times(town: Town, smtp: FakeSmtp) -> None:
    town.person("Alice", EMAIL)
    for i, camera in enumerate(cameras(town, 20)):
        late = town.event(camera=camera.uid, happened_at=at(-3600 + i), frame=None)
        record([late], now=at(i / 10))

    run(2, 60)

    [(_, message)] = smtp.received
    assert message["Subject"].strip().startswith("20 messages, known late: Person in")
    text = message.get_body("plain").get_content()
    assert text.count("Happened: 2026-03-01 11:00:") == text.count("Known only at: 2026-03-01 12:00:") == 20
    assert states() == {"sent"}


def test_what_is_learnt_late_of_incidents_that_were_told_in_time_comes_in_one_message_with_both_times(
    town: Town, twilio: FakeTwilio, smtp: FakeSmtp
) -> None:
    """Nothing was read for an hour, and what happened meanwhile becomes known within seconds."""
    town.person("Alice", SMS, EMAIL)
    alarms(town, 3, 0, severity="medium")
    turn(at(5))
    told = len(twilio.messages), len(smtp.received)
    acknowledge(Incident.objects.order_by("pk")[0].uid, by=None, through="screen", now=at(6))
    for i, camera in enumerate(cameras(town, 3)):
        worse = town.event(camera=camera.uid, happened_at=at(600 + i), severity="high", frame=None)
        record([worse], now=at(4200 + i / 10))

    run(4201, 4260)

    assert (len(twilio.messages), len(smtp.received)) == (told[0], told[1] + 1)
    _, message = smtp.received[-1]
    text = message.get_body("plain").get_content()
    assert message["Subject"].strip().startswith("3 messages, known late: Person in")
    assert text.count("Happened: 2026-03-01 12:10:0") == text.count("Known only at: 2026-03-01 13:10:00") == 3
    assert not Incident.objects.filter(late=True).exists()


def test_one_that_got_critical_meanwhile_comes_at_once_with_both_times(town: Town, twilio: FakeTwilio) -> None:
    town.person("Alice", SMS)
    alarms(town, 1, 0, severity="medium")
    turn(at(1))
    [camera] = cameras(town, 1)
    worse = town.event(camera=camera.uid, happened_at=at(600), severity="critical", frame=None)
    record([worse], now=at(4200))

    turn(at(4200))

    said = 'Now Critical: Person in "Dock lane", 12:10:00, known 13:10:00 (Asia/Taipei). '
    assert [message.body.startswith(said) for message in twilio.messages] == [False, True]


def test_it_wakes_nobody_by_sms_about_the_past_in_place_of_an_email_that_was_refused(
    town: Town, twilio: FakeTwilio, smtp: FakeSmtp
) -> None:
    town.person("Alice", EMAIL, SMS)
    alarms(town, 1, 0, severity="medium")
    turn(at(5))
    told, smtp.mode = len(twilio.messages), "550"
    [camera] = cameras(town, 1)
    record([town.event(camera=camera.uid, happened_at=at(600), severity="high", frame=None)], now=at(4200))

    run(4200, 4300)

    assert len(twilio.messages) == told
    assert Delivery.objects.get(state="failed").contact.channel == "email"


# Budgets


def test_one_person_gets_six_sms_a_minute(town: Town, twilio: FakeTwilio, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(holding, "is_flooded", lambda *_: False)
    town.person("Alice", SMS)
    alarms(town, 9, 0, every_s=0.1)

    turn(at(1))
    waiting = Delivery.objects.filter(state="queued")
    assert (len(twilio.messages), set(waiting.values_list("held", flat=True))) == (6, {"recipient"})
    assert waiting.order_by("pk")[0].not_before_at == at(61)
    run(2, 70)

    assert (len(twilio.messages), states()) == (9, {"sent"})


def test_one_number_sends_a_segment_a_second(town: Town, twilio: FakeTwilio) -> None:
    for n in range(40):
        town.person(f"Person {n}", ("sms", f"+1500555{n:04}"))
    record([town.event(frame=None)], now=at(0))

    turn(at(1))
    assert len(twilio.messages) == 7
    assert set(Delivery.objects.filter(state="queued").values_list("held", flat=True)) == {"sender"}
    run(2, 55, step=1)

    assert (len(twilio.messages), states()) == (40, {"sent"})


def test_a_critical_one_finds_the_number_free_among_many_ordinary_ones(town: Town, twilio: FakeTwilio) -> None:
    for n in range(20):
        town.person(f"Person {n}", ("sms", f"+1500555{n:04}"))
    record([town.event(frame=None)], now=at(0))
    turn(at(1))
    town.rule.recipients.set(Recipient.objects.filter(name__in=("Person 1", "Person 2", "Person 3")))
    record([town.event(frame=None, camera=town.yard.uid, severity="critical", happened_at=at(2))], now=at(2))

    turn(at(2))

    assert [message.body.partition(":")[0] for message in twilio.messages] == ["High"] * 7 + ["Critical"] * 3


def test_not_even_critical_ones_are_sent_faster_than_the_number_sends(town: Town, twilio: FakeTwilio) -> None:
    for n in range(40):
        town.person(f"Person {n}", ("sms", f"+1500555{n:04}"))
    record([town.event(frame=None, severity="critical")], now=at(0))

    turn(at(1))
    assert len(twilio.messages) == 10
    acknowledge(Incident.objects.get().uid, by=None, through="screen", now=at(2))
    turn(at(11))

    # What waited here is not sent any more; at the provider it could not have been stopped.
    assert (len(twilio.messages), states()) == (10, {"sent", "cancelled"})


@pytest.mark.parametrize("state", ["", "21211"])
def test_codes_trials_and_replies_count_where_they_left(town: Town, twilio: FakeTwilio, state: str) -> None:
    alice = town.person("Alice", SMS)
    [contact] = alice.contacts.all()
    twilio.mode = state or twilio.mode
    send_trial(contact, town.alice, at(0))
    Contact.objects.filter(pk=contact.pk).update(confirmed_at=None)
    send_code(Contact.objects.get(), at(1))
    Contact.objects.filter(pk=contact.pk).update(confirmed_at=at(1))
    take(Answer("SM1", contact.address, "what?", at(2)), at(2))

    assert spending.month_used(at(3)) == (0 if state else 3)
    assert spending.month_used(at(3) + timedelta(days=31)) == 0


def test_what_certainly_did_not_leave_costs_nothing(town: Town, twilio: FakeTwilio) -> None:
    town.person("Alice", SMS)
    record([town.event(frame=None)], now=at(0))
    twilio.mode = "429"
    run(1, 60, step=1)

    assert spending.month_used(at(60)) == 0


def test_above_the_months_ceiling_people_are_told_another_way(
    town: Town, twilio: FakeTwilio, smtp: FakeSmtp, settings: Settings
) -> None:
    settings.SMS_PER_MONTH = 2
    alice = town.person("Alice", SMS)
    record([town.event(frame=None)], now=at(0))
    record([town.event(frame=None, camera=town.yard.uid)], now=at(1))
    run(2, 4)
    assert spending.month_used(at(5)) == 2
    Contact.objects.create(recipient=alice, channel="email", address="alice@example.org", order=1, confirmed_at=at(0))
    town.rule.recipients.set([alice])
    [third] = cameras(town, 1)
    record([town.event(frame=None, camera=third.uid, happened_at=at(10))], now=at(10))

    run(10, 20)

    assert len(twilio.messages) == 2
    row = Delivery.objects.get(state="failed")
    assert row.problem == "budget: this month's SMS are used up"
    assert {to for to, _ in smtp.received} == {"alice@example.org"}
    assert Contact.objects.get(channel="sms").disabled_at is None


def test_a_critical_one_leaves_above_the_ceiling(town: Town, twilio: FakeTwilio, settings: Settings) -> None:
    settings.SMS_PER_MONTH = 1
    town.person("Alice", SMS)
    record([town.event(frame=None)], now=at(0))
    turn(at(1))
    record([town.event(frame=None, camera=town.yard.uid, severity="critical")], now=at(2))

    turn(at(3))

    assert len(twilio.messages) == 2


def test_a_new_month_begins_with_nothing_used(town: Town, twilio: FakeTwilio) -> None:
    town.person("Alice", SMS)
    record([town.event(frame=None)], now=at(0))
    turn(at(1))

    assert spending.month_used(at(2)) == 1
    assert spending.month_used(at(2) + timedelta(days=31)) == 0


def test_the_load_of_everybody_is_known(town: Town) -> None:
    town.person("Alice", SMS)
    alarms(town, 12, 0)
    town.rule.recipients.clear()
    town.person("Bob", EMAIL)
    alarms(town, 3, 100, severity="critical")

    [alice, *others] = holding.loads(at(120))

    assert (alice.name, alice.alerts, alice.flooded) == ("Alice", 12, True)
    assert all(not load.flooded for load in others)
    assert holding.loads(at(3000)) == []
