"""Deliveries through a real Twilio client and a real SMTP session to loopback servers; time stands where it is put."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from datetime import datetime
from datetime import time as clock_time
from pathlib import Path
from typing import Any

import pytest
from django.db import OperationalError
from django.utils import timezone
from hypothesis import HealthCheck, given
from hypothesis import settings as profile
from hypothesis import strategies as st
from pytest_django import Settings

from alerts import delivery as outbox
from alerts.delivery import (
    GIVE_UP_LEAST,
    backoff_s,
    cancel_unwanted,
    claim,
    deliver,
    expire_leases,
    resend_unknown,
    to_hand_over,
)
from alerts.delivery import at_once as at_once_for
from alerts.incidents import acknowledge, record, resolve
from alerts.models import Contact, Delivery, Event, Incident, Recipient
from alerts.notifiers import sms as sms_module
from alerts.notifiers.base import SLOTS
from tests.alerts.town import EMAIL, SMS, Town, at, at_once
from tests.services.smtp import FakeSmtp
from tests.services.twilio import FakeTwilio

pytestmark = pytest.mark.django_db

AT_ONCE = at_once_for(SLOTS)


@pytest.fixture(autouse=True)
def _providers(settings: Settings, twilio: FakeTwilio, smtp: FakeSmtp, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.TWILIO = twilio.settings
    settings.POLISCOPE_SMTP_URL = smtp.url
    monkeypatch.setattr(sms_module, "TIMEOUT_S", 0.4)
    monkeypatch.setattr("alerts.notifiers.email.TIMEOUT_S", 1)


def send(row: Delivery, moment: datetime) -> str | None:
    return deliver(row.uid, clock=lambda: moment)


def opened(town: Town, *contacts: tuple[str, str], **changes: object) -> list[Delivery]:
    """Alice has these contacts, an event happens; her deliveries."""
    town.person("Alice", *contacts)
    record([town.event(**changes)], now=at(0))
    return list(Delivery.objects.order_by("pk"))


# The plain way


def test_it_sends_an_sms_and_keeps_its_words_and_receipt(town: Town, twilio: FakeTwilio) -> None:
    [row] = opened(town, SMS)

    assert send(row, at(1)) == "sent"

    row.refresh_from_db()
    [message] = twilio.messages
    assert message.to == "+15005550010"
    assert message.body == row.text
    assert row.text.startswith('High: Person in "Dock lane", 12:00:00 (Asia/Taipei). Gate, ')
    assert (row.notifier, row.provider_id, row.sent_at, row.attempts) == ("twilio", f"SM{1:032x}", at(1), 1)


def test_it_keeps_where_it_went_when_the_contact_is_edited(town: Town) -> None:
    [row] = opened(town, SMS)
    assert (row.address, row.to) == ("", "+15005550010")
    send(row, at(1))

    Contact.objects.update(address="+15005550099")

    kept = Delivery.objects.get()
    assert (kept.address, kept.to) == ("+15005550010", "+15005550010")


def test_it_sends_an_email_with_its_words(town: Town, smtp: FakeSmtp) -> None:
    [row] = opened(town, EMAIL, frame=None)

    assert send(row, at(1)) == "sent"

    row.refresh_from_db()
    [(to, message)] = smtp.received
    assert to == "alice@example.org"
    assert message["Subject"] == row.subject == "High: Person in “Dock lane”, Gate"
    assert "1. Look." in row.text
    assert "Person in “Dock lane”" in row.html


def test_it_keeps_the_words_in_the_sandbox_too(town: Town, settings: Settings, twilio: FakeTwilio) -> None:
    settings.TWILIO = dict.fromkeys(settings.TWILIO, "")
    [row] = opened(town, SMS)

    assert send(row, at(1)) == "sent"

    row.refresh_from_db()
    assert (row.notifier, row.provider_id) == ("sandbox", "sandbox")
    assert "Person in" in row.text
    assert not twilio.requests


def test_it_sends_once_however_often_it_is_asked(town: Town, twilio: FakeTwilio) -> None:
    [row] = opened(town, SMS)

    assert [send(row, at(1)), send(row, at(2)), send(row, at(3))] == ["sent", None, None]
    assert len(twilio.requests) == 1


def test_it_remembers_what_was_sent_while_the_database_was_away(
    town: Town, twilio: FakeTwilio, monkeypatch: pytest.MonkeyPatch
) -> None:
    [row] = opened(town, SMS)
    finish, answers = outbox._finish, [OperationalError("terminating connection")] * 3

    def slow(*args: Any, **fields: Any) -> str | None:
        if answers:
            raise answers.pop()
        return finish(*args, **fields)

    monkeypatch.setattr(outbox, "_finish", slow)
    monkeypatch.setattr(outbox, "RECORD_AGAIN_S", 0.0)
    monkeypatch.setattr(outbox, "close_old_connections", lambda: None)  # the test's transaction is on this one

    assert send(row, at(1)) == "sent"

    assert len(twilio.messages) == 1


def test_it_sends_nothing_before_its_time(town: Town, twilio: FakeTwilio) -> None:
    [row] = opened(town, SMS)

    assert send(row, at(-1)) is None
    assert not twilio.requests


def test_it_does_not_know_every_delivery(town: Town) -> None:
    assert deliver(town.zone) is None


# Definite


def test_it_tries_again_later_when_it_certainly_did_not_leave(town: Town, twilio: FakeTwilio) -> None:
    [row] = opened(town, SMS)
    twilio.script = ["429"]

    assert send(row, at(1)) == "queued"
    row.refresh_from_db()
    assert at(2) <= row.not_before_at <= at(4)
    assert row.problem.startswith("Twilio: 429/20429")
    assert send(row, at(1.5)) is None
    assert send(row, at(5)) == "sent"

    row.refresh_from_db()
    assert (row.attempts, row.problem, len(twilio.messages)) == (2, "", 1)


def test_it_gives_up_after_four_hours(town: Town, twilio: FakeTwilio) -> None:
    [row] = opened(town, SMS)
    twilio.mode = "429"

    Delivery.objects.update(attempts=GIVE_UP_LEAST)
    assert send(row, at(4 * 3600 - 1)) == "queued"
    assert send(row, at(4 * 3600 + 500)) == "failed"


def test_what_waited_for_hours_is_tried_more_than_once(town: Town, twilio: FakeTwilio) -> None:
    [row] = opened(town, SMS)
    Delivery.objects.update(not_before_at=at(8 * 3600))
    twilio.mode = "429"

    assert send(row, at(8 * 3600)) == "queued"


def test_it_waits_longer_each_time_and_never_longer_than_five_minutes() -> None:
    waits = [backoff_s(attempts, None, 0.5) for attempts in range(1, 12)]

    assert waits == sorted(waits)
    assert (waits[0], waits[-1]) == (2, 300)


@given(st.integers(1, 30_000), st.none() | st.floats(0, 1000), st.floats(0, 1, exclude_max=True))
def test_it_waits_at_least_as_long_as_the_provider_asks(attempts: int, asked: float | None, jitter: float) -> None:
    assert max(1.0, asked or 0) <= backoff_s(attempts, asked, jitter) <= max(450.0, asked or 0)


# Rejected


def test_it_switches_a_refused_number_off_and_takes_the_nextat_once(town: Town, twilio: FakeTwilio) -> None:
    [row, _] = opened(town, SMS, ("sms", "+15005550012"), EMAIL)
    twilio.modes = {"+15005550010": "21610"}

    assert send(row, at(1)) == "failed"

    refused = Contact.objects.get(address="+15005550010")
    assert (refused.disabled_at, refused.disabled_reason[:18]) == (at(1), "Twilio: 400/21610:")
    following = Delivery.objects.get(contact__address="+15005550012")
    assert (following.state, following.not_before_at) == ("queued", at(1))
    assert send(following, at(1)) == "sent"


def test_it_takes_another_channel_where_there_is_no_other_number(town: Town, twilio: FakeTwilio) -> None:
    [mail, row] = sorted(opened(town, SMS, EMAIL, ("email", "bob@example.org")), key=lambda row: row.contact.channel)
    twilio.mode = "21211"

    send(row, at(1))

    assert Delivery.objects.exclude(pk__in=[row.pk, mail.pk]).get().contact.address == "bob@example.org"


def test_a_number_that_stands_in_at_night_is_told_in_the_morning(
    town: Town, twilio: FakeTwilio, smtp: FakeSmtp
) -> None:
    alice = town.person("Alice", EMAIL, SMS)
    alice.quiet_from, alice.quiet_until = clock_time(11), clock_time(13)
    alice.save()
    smtp.mode = "550"
    record([town.event(frame=None)], now=at(0))

    assert deliver(Delivery.objects.get().uid, clock=lambda: at(1)) == "failed"

    row = Delivery.objects.get(state="queued")
    assert (row.contact.channel, row.held, row.not_before_at) == ("sms", "quiet", at(3600))
    assert [deliver(row.uid, clock=lambda s=s: at(s)) for s in (3599, 3600)] == [None, "sent"]


def test_it_uses_every_contact_once_and_then_stops(town: Town, twilio: FakeTwilio) -> None:
    opened(town, SMS, ("sms", "+15005550012"), ("sms", "+15005550013"))
    twilio.mode = "21614"

    for _ in range(6):
        for row in Delivery.objects.filter(state="queued"):
            send(row, at(1))

    assert [request.to for request in twilio.requests] == ["+15005550010", "+15005550012", "+15005550013"]
    assert set(Delivery.objects.values_list("state", flat=True)) == {"failed"}


def test_it_does_not_try_a_number_that_was_switched_off_meanwhile(town: Town, twilio: FakeTwilio) -> None:
    [row] = opened(town, SMS, ("sms", "+15005550012"))
    Contact.objects.filter(pk=row.contact_id).update(disabled_at=at(0), disabled_reason="opted out")

    assert send(row, at(1)) == "failed"
    assert not twilio.requests
    assert Delivery.objects.filter(state="queued", contact__address="+15005550012").exists()


def test_it_wakes_nobody_by_sms_about_the_past_in_place_of_an_email(town: Town, smtp: FakeSmtp) -> None:
    town.person("Alice", EMAIL, SMS)
    record([town.event(frame=None)], now=at(500))
    smtp.mode = "550"
    [row] = Delivery.objects.all()

    assert send(row, at(501)) is None, "what is known late is gathered for a moment"
    assert send(row, at(531)) == "failed"
    assert Delivery.objects.count() == 1


# Unknown


@pytest.mark.parametrize("mode", ["503", "hang", "cut"])
def test_it_sends_once_more_a_minute_after_an_unknown_outcome(town: Town, twilio: FakeTwilio, mode: str) -> None:
    [row] = opened(town, SMS)
    twilio.script = [mode]

    assert send(row, at(1)) == "unknown"
    assert resend_unknown(at(60.9)) == 0
    assert resend_unknown(at(61)) == 1
    assert resend_unknown(at(200)) == 0

    again = row.resent_as
    assert send(again, at(61)) == "sent"
    assert len(twilio.messages) == 2


def test_it_never_sends_a_third_time(town: Town, twilio: FakeTwilio) -> None:
    [row] = opened(town, SMS)
    twilio.mode = "503"
    send(row, at(1))
    resend_unknown(at(61))

    assert send(row.resent_as, at(62)) == "unknown"
    assert resend_unknown(at(10_000)) == 0
    assert len(twilio.messages) == 2


def test_what_may_not_have_arrived_goes_to_the_next_contact_where_the_first_was_refused_meanwhile(
    town: Town, twilio: FakeTwilio
) -> None:
    [row] = opened(town, SMS, ("sms", "+15005550011"), frame=None)
    twilio.mode = "503"
    assert send(row, at(1)) == "unknown"
    Contact.objects.filter(pk=row.contact_id).update(opted_out_at=at(2))

    for second in (61, 62, 63):
        resend_unknown(at(second))
        twilio.mode = "accept"
        for queued in Delivery.objects.filter(state="queued"):
            send(queued, at(second))

    assert [message.to for message in twilio.messages] == [SMS[1], "+15005550011"]
    assert sorted(Delivery.objects.values_list("state", flat=True)) == ["failed", "sent", "unknown"]


def test_it_sends_nothing_more_of_unknown_outcome_once_acknowledged(town: Town, twilio: FakeTwilio) -> None:
    [row] = opened(town, SMS)
    twilio.mode = "503"
    send(row, at(1))

    acknowledge(Incident.objects.get().uid, by=None, through="screen", now=at(30))

    assert resend_unknown(at(61)) == 0


def test_it_calls_a_repeated_email_by_the_same_name(town: Town, smtp: FakeSmtp) -> None:
    [row] = opened(town, EMAIL, frame=None)
    smtp.mode = "cut"
    send(row, at(1))
    smtp.mode = "accept"
    resend_unknown(at(61))
    send(row.resent_as, at(61))

    first, second = (message["Message-ID"] for _, message in smtp.received)
    assert first == second


def leaves(row: Delivery) -> None:
    """Its words are kept, and the request is about to leave."""
    Delivery.objects.filter(pk=row.pk).update(notifier="twilio")


def test_it_sends_at_once_what_certainly_had_not_left_when_its_lease_ran_out(town: Town, twilio: FakeTwilio) -> None:
    [row] = opened(town, SMS)
    assert claim(row.pk, "a worker that was killed", at(1))

    assert expire_leases(at(32)) == 1

    assert send(row, at(34)) == "sent"
    assert (len(twilio.messages), Delivery.objects.count()) == (1, 1)


def test_it_does_not_wait_for_the_lease_of_a_process_that_has_ended(town: Town, twilio: FakeTwilio) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    [row] = opened(town, SMS)
    assert claim(row.pk, f"{outbox._home()}-{ended.pid}-abcd", at(1))
    leaves(row)

    assert expire_leases(at(2)) == 1
    row.refresh_from_db()
    assert row.state == "unknown"
    assert [resend_unknown(at(21)), resend_unknown(at(22))] == [0, 1]
    assert send(row.resent_as, at(22)) == "sent"


@pytest.mark.parametrize("home", ["another-machine.1", ""])
def test_it_waits_for_whoever_it_cannot_see(town: Town, home: str) -> None:
    [row] = opened(town, SMS)
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    mine = f"{outbox._home()}-{os.getpid()}-abcd"
    assert claim(row.pk, f"{home}-{ended.pid}-abcd" if home else mine, at(1))

    assert expire_leases(at(2)) == 0


def test_it_sends_nothing_once_its_lease_is_somebody_elses(
    town: Town, twilio: FakeTwilio, monkeypatch: pytest.MonkeyPatch
) -> None:
    [row] = opened(town, SMS)
    words = outbox.compose

    def slow(*given: Any) -> Any:
        expire_leases(at(40))
        assert claim(row.pk, "another", at(42))
        return words(*given)

    monkeypatch.setattr(outbox, "compose", slow)

    assert send(row, at(1)) is None
    assert not twilio.requests
    row.refresh_from_db()
    assert (row.state, row.lease_owner) == ("sending", "another")


def test_it_treats_a_lease_that_ran_out_as_unknown(town: Town, twilio: FakeTwilio) -> None:
    [row] = opened(town, SMS)
    assert claim(row.pk, "a worker that was killed", at(1))
    leaves(row)

    assert expire_leases(at(30)) == 0
    assert expire_leases(at(32)) == 1
    row.refresh_from_db()
    assert row.state == "unknown"
    assert resend_unknown(at(93)) == 1
    assert send(row.resent_as, at(93)) == "sent"


def test_it_believes_a_receipt_that_comes_after_the_lease(town: Town, twilio: FakeTwilio) -> None:
    [row] = opened(town, SMS)
    assert claim(row.pk, "slow", at(1))
    leaves(row)
    expire_leases(at(40))
    resend_unknown(at(101))

    assert outbox._finish(row, "slow", "sent", at(102), sent_at=at(102)) == "sent"
    assert row.resent_as.state == "cancelled" or Delivery.objects.get(resends=row).state == "cancelled"


def test_it_takes_a_failure_of_a_kind_nobody_foresaw_for_unknown(
    town: Town, twilio: FakeTwilio, monkeypatch: pytest.MonkeyPatch
) -> None:
    [row] = opened(town, SMS)
    monkeypatch.setattr(sms_module, "Client", lambda *args, **kwargs: object())

    assert send(row, at(1)) == "unknown"


# Not wanted any more


@pytest.mark.parametrize("how", ["acknowledge", "resolve"])
def test_it_sends_nothing_once_somebody_has_it(town: Town, twilio: FakeTwilio, how: str) -> None:
    rows = opened(town, SMS, EMAIL)
    uid = Incident.objects.get().uid
    if how == "acknowledge":
        acknowledge(uid, by=town.alice, through="screen", now=at(1))
    else:
        resolve(uid, by=town.alice, disposition="false", note="", through="screen", now=at(1))

    assert [send(row, at(2)) for row in rows] == [None, None]
    assert not twilio.requests


def test_it_cancels_what_was_queued_again_while_somebody_acknowledged(town: Town, twilio: FakeTwilio) -> None:
    [row] = opened(town, SMS)
    acknowledge(Incident.objects.get().uid, by=None, through="screen", now=at(1))
    Delivery.objects.update(state="queued")

    assert cancel_unwanted(at(2)) == 1
    assert send(row, at(3)) is None


def test_it_looks_at_the_incident_once_more_after_the_claim(
    town: Town, twilio: FakeTwilio, monkeypatch: pytest.MonkeyPatch
) -> None:
    [row] = opened(town, SMS)

    def acknowledged_just_then(key: int, owner: str, now: datetime) -> bool:
        Incident.objects.update(state="acknowledged", acknowledged_at=now)
        return claim(key, owner, now)

    monkeypatch.setattr(outbox, "claim", acknowledged_just_then)

    assert send(row, at(1)) == "cancelled"
    assert not twilio.requests


def test_it_still_tells_that_an_acknowledged_incident_got_worse(town: Town, twilio: FakeTwilio) -> None:
    opened(town, SMS, severity="low")
    acknowledge(Incident.objects.get().uid, by=None, through="screen", now=at(1))

    record([town.event(severity="critical", happened_at=at(5))], now=at(6))

    row = Delivery.objects.get(state="queued")
    assert cancel_unwanted(at(7)) == 0
    assert send(row, at(7)) == "sent"
    assert twilio.messages[0].body.startswith("Now Critical: ")


# Held back


def test_it_gives_an_email_a_moment_for_its_picture(town: Town, smtp: FakeSmtp, settings: Settings) -> None:
    [row] = opened(town, EMAIL)
    event = Event.objects.get()

    assert send(row, at(1)) is None
    folder = Path(settings.MEDIA_ROOT) / "events"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "p.jpg").write_bytes(b"\xff\xd8\xff\xe0picture")
    Event.objects.filter(pk=event.pk).update(picture="kept", picture_path="events/p.jpg")
    assert send(row, at(2.6)) == "sent"

    [(_, message)] = smtp.received
    assert [part.get_content_type() for part in message.walk()][-1] == "image/jpeg"


def test_it_sends_an_email_without_its_picture_when_that_does_not_come(town: Town, smtp: FakeSmtp) -> None:
    [row] = opened(town, EMAIL)

    assert send(row, at(3)) is None
    assert send(row, at(5)) == "sent"
    assert "cid:picture" not in smtp.received[0][1].as_string()


def test_it_lets_no_channel_take_every_slot(town: Town, twilio: FakeTwilio, smtp: FakeSmtp) -> None:
    people = [town.person(f"Person {n}", ("sms", f"+1500555{n:04}")) for n in range(AT_ONCE + 1)]
    town.person("Alice", EMAIL)
    record([town.event(frame=None)], now=at(0))
    texts = list(Delivery.objects.filter(contact__channel="sms"))
    for row in texts[:AT_ONCE]:
        assert claim(row.pk, "hangs", at(1))

    assert send(texts[-1], at(1)) is None
    assert send(Delivery.objects.get(contact__channel="email"), at(1)) == "sent"
    assert len(people) == AT_ONCE + 1
    texts[-1].refresh_from_db()
    assert at(1.5) <= texts[-1].not_before_at <= at(2.5)


def test_it_lists_what_is_to_be_handed_over_with_the_critical_first(town: Town) -> None:
    town.person("Alice", SMS)
    record([town.event(severity="low")], now=at(0))
    record([town.event(severity="critical", camera=town.yard.uid)], now=at(1))

    assert [row[1] for row in to_hand_over(at(5), grace_s=2)] == ["critical", "low"]
    assert to_hand_over(at(5), grace_s=10) == []


def test_a_backlog_of_ordinary_ones_hides_no_critical_one(town: Town) -> None:
    for n in range(6):
        town.person(f"Person {n}", ("sms", f"+1500555{n:04}"))
    record([town.event(frame=None, severity="medium")], now=at(0))
    town.rule.recipients.set(Recipient.objects.filter(name="Person 0"))
    record([town.event(frame=None, severity="critical", camera=town.yard.uid, happened_at=at(60))], now=at(60))

    due = to_hand_over(at(70), grace_s=0, limit=3)

    assert [severity for _uid, severity, _service, _at in due] == ["critical", "medium", "medium"]


def test_it_gives_no_grace_to_what_was_put_off(town: Town, twilio: FakeTwilio) -> None:
    [row] = opened(town, SMS)
    twilio.mode = "429"
    send(row, at(1))
    row.refresh_from_db()

    assert to_hand_over(row.not_before_at, grace_s=100)[0][0] == row.uid
    assert to_hand_over(at(1.5), grace_s=0) == []


# Many at once


@pytest.mark.django_db(transaction=True)
def test_it_is_sent_by_one_of_many(shared_town: Town, twilio: FakeTwilio) -> None:
    shared_town.person("Alice", SMS)
    record([shared_town.event(happened_at=timezone.now())], now=timezone.now())
    uid = Delivery.objects.get().uid

    results = at_once(*(lambda: deliver(uid) for _ in range(8)))

    assert sorted(results, key=str) == [None] * 7 + ["sent"]
    assert len(twilio.requests) == 1


@pytest.mark.django_db(transaction=True)
def test_it_lets_no_channel_take_every_slot_when_all_look_at_once(shared_town: Town, twilio: FakeTwilio) -> None:
    for n in range(AT_ONCE + 4):
        shared_town.person(f"Person {n}", ("sms", f"+1500555{n:04}"))
    record([shared_town.event(happened_at=timezone.now())], now=timezone.now())
    twilio.mode, most = "hang", [0]

    at_once(*(lambda uid=row.uid: deliver(uid) for row in Delivery.objects.all()), lambda: _watch(most))

    assert 0 < max(most) <= AT_ONCE
    assert not Delivery.objects.filter(state="queued", attempts__gt=0).exists()


def _watch(most: list[int]) -> None:
    """Count what is on its way until nothing has been for a while."""
    quiet = 0
    while quiet < 20:
        most.append(Delivery.objects.filter(state="sending").exclude(text="").count())
        quiet = 0 if most[-1] or (not max(most) and len(most) < 200) else quiet + 1
        time.sleep(0.01)


@pytest.mark.django_db(transaction=True)
def test_it_neither_loses_nor_deadlocks_while_somebody_acknowledges(shared_town: Town, twilio: FakeTwilio) -> None:
    for n in range(6):
        shared_town.person(f"Person {n}", ("sms", f"+1500555{n:04}"))
    record([shared_town.event(happened_at=timezone.now())], now=timezone.now())
    incident = Incident.objects.get().uid
    rows = list(Delivery.objects.all())
    twilio.modes = {rows[0].contact.address: "429", rows[1].contact.address: "503"}

    results = at_once(
        *(lambda row=row: deliver(row.uid) for row in rows),
        lambda: acknowledge(incident, by=None, through="api", now=timezone.now()),
    )

    assert [result for result in results if isinstance(result, Exception)] == []
    cancel_unwanted(timezone.now())
    assert set(Delivery.objects.values_list("state", flat=True)) <= {"sent", "cancelled", "unknown"}
    assert len(twilio.requests) == Delivery.objects.filter(attempts=1).exclude(text="").count()


# A provider that does anything, and everything that may happen meanwhile


@profile(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    script=st.lists(st.sampled_from(["accept", "429", "503", "cut", "21610"]), max_size=8),
    steps=st.lists(st.sampled_from(["deliver", "wait", "sweep", "kill", "acknowledge"]), max_size=25),
)
def test_it_loses_nothing_and_repeats_only_the_unknown(
    town: Town, twilio: FakeTwilio, script: list[str], steps: list[str]
) -> None:
    _clear(twilio)
    twilio.script = list(script)
    town.person("Alice", SMS, ("sms", "+15005550012"))
    record([town.event()], now=at(0))
    incident, t, kills = Incident.objects.get(), 1.0, 0
    for step in [*steps, *["sweep", "deliver", "wait"] * 12]:
        if step == "deliver":
            for row in Delivery.objects.filter(state="queued"):
                send(row, at(t))
        elif step == "wait":
            t += 70
        elif step == "kill":
            kills += sum(claim(row.pk, "killed", at(t)) for row in Delivery.objects.filter(state="queued"))
        elif step == "acknowledge" and incident.state == "open":
            incident = acknowledge(incident.uid, by=None, through="api", now=at(t))
        elif step == "sweep":
            cancel_unwanted(at(t))
            expire_leases(at(t))
            resend_unknown(at(t))
    _check(twilio, incident, kills)
    Incident.objects.update(state="resolved")


def _clear(twilio: FakeTwilio) -> None:
    Incident.objects.all().delete()
    Contact.objects.all().delete()
    Recipient.objects.all().delete()
    twilio.requests.clear()


def _check(twilio: FakeTwilio, incident: Incident, kills: int) -> None:
    states = set(Delivery.objects.values_list("state", flat=True))
    assert states <= {"sent", "failed", "unknown", "cancelled"}, "everything comes to an end"
    ambiguous = sum(request.mode in ("503", "cut") for request in twilio.requests)
    for contact in Contact.objects.all():
        got = [request for request in twilio.messages if request.to == contact.address]
        unknown = Delivery.objects.filter(contact=contact, resends__isnull=False).count()
        assert len(got) <= 1 + unknown <= 2
    if incident.state == "open":
        rejected = Contact.objects.filter(disabled_at__isnull=False).count() == 2
        assert twilio.messages or rejected or ambiguous or kills, "nothing is lost"
