"""Acknowledging by SMS through a real loopback Twilio that is asked for what people wrote."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from django.utils import timezone
from pytest_django import Settings

from alerts.answering import REPLIES_MOST, poll
from alerts.answers import CODES, KEPT
from alerts.delivery import deliver
from alerts.incidents import acknowledge, record, resolve
from alerts.models import Alert, Contact, Delivery, InboundMessage, Incident, Recipient, ReplyCode
from alerts.notifiers import sms as sms_module
from alerts.texts import segments
from alerts.wording import way_back
from streams.models import Camera
from tests.alerts.town import SMS, Town
from tests.services.twilio import FakeTwilio

pytestmark = pytest.mark.django_db

ALICE = SMS[1]


@pytest.fixture(autouse=True)
def _provider(settings: Settings, twilio: FakeTwilio, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.TWILIO = twilio.settings
    monkeypatch.setattr(sms_module, "TIMEOUT_S", 0.4)


@pytest.fixture
def now() -> datetime:
    return timezone.now()


def told(town: Town, now: datetime, *cameras: object) -> list[str]:
    """An event at each camera; everybody is told. The codes in the order in which they were given."""
    for camera in cameras or [town.gate]:
        record([town.event(camera=camera.uid, happened_at=now, frame=None)], now=now)  # type: ignore[attr-defined]
    for row in Delivery.objects.filter(state="queued").order_by("pk"):
        deliver(row.uid)
    return list(ReplyCode.objects.order_by("pk").values_list("code", flat=True))


def replies(twilio: FakeTwilio, to: str = ALICE) -> list[str]:
    """What was said to somebody after the alerts themselves."""
    return [
        kept.body for kept in twilio.kept if kept.to == to and "/a/" not in kept.body and kept.direction != "inbound"
    ]


def test_the_code_in_the_message_acknowledges_its_incident(town: Town, twilio: FakeTwilio, now: datetime) -> None:
    alice = town.person("Alice", SMS)
    alice.user = town.alice
    alice.save()
    [code] = told(town, now)
    assert f"Answer {code} = I have it." in twilio.messages[0].body
    twilio.text_in(ALICE, code)

    assert poll(timezone.now()) == 1

    incident = Incident.objects.get()
    step = incident.transitions.last()
    assert (incident.state, incident.acknowledged_by) == ("acknowledged", town.alice)
    assert (step.through, step.by) == ("sms", town.alice)
    assert Alert.objects.get().answered_through == "sms"
    [reply] = replies(twilio)
    assert reply.startswith("You have it: Person in") and segments(reply) == 1


def test_whoever_has_no_account_is_named_all_the_same(town: Town, twilio: FakeTwilio, now: datetime) -> None:
    town.person("Alice", SMS)
    [code] = told(town, now)
    twilio.text_in(ALICE, code)
    poll(timezone.now())

    step = Incident.objects.get().transitions.last()
    assert (step.by, step.note, step.through) == (None, "Alice", "sms")


def test_an_answer_is_taken_once_however_often_it_is_fetched(town: Town, twilio: FakeTwilio, now: datetime) -> None:
    town.person("Alice", SMS)
    [code] = told(town, now)
    twilio.text_in(ALICE, code)

    assert [poll(timezone.now()) for _ in range(3)] == [1, 0, 0]
    assert len(replies(twilio)) == 1


def test_what_was_written_is_kept_for_ninety_days(town: Town, twilio: FakeTwilio, now: datetime) -> None:
    for days in (91, 89):
        InboundMessage.objects.create(
            provider_id=f"SM{days}", sender=ALICE, text="1", at=now - timedelta(days=days),
            taken_at=now - timedelta(days=days), outcome="unclear",
        )  # fmt: skip
    twilio.text_in("+15005550042", "Hello")

    assert poll(timezone.now()) == 1

    assert [row.outcome for row in InboundMessage.objects.all()] == ["stranger", "unclear"]


def test_a_bare_1_counts_when_one_alert_is_open(town: Town, twilio: FakeTwilio, now: datetime) -> None:
    town.person("Alice", SMS)
    told(town, now)
    twilio.text_in(ALICE, "1")

    poll(timezone.now())

    assert Incident.objects.get().state == "acknowledged"


def test_a_bare_1_does_not_count_when_one_without_a_code_is_open_too(
    town: Town, twilio: FakeTwilio, now: datetime
) -> None:
    town.person("Alice", SMS)
    told(town, now, town.gate, town.yard)
    ReplyCode.objects.filter(incident__camera=town.yard).delete()
    twilio.text_in(ALICE, "1")

    poll(timezone.now())

    assert set(Incident.objects.values_list("state", flat=True)) == {"open"}


def test_a_bare_1_does_not_count_when_two_are_open(town: Town, twilio: FakeTwilio, now: datetime) -> None:
    town.person("Alice", SMS)
    codes = told(town, now, town.gate, town.yard)
    twilio.text_in(ALICE, "1")

    poll(timezone.now())

    assert set(Incident.objects.values_list("state", flat=True)) == {"open"}
    assert replies(twilio) == [f"More than one alert is open for you. Answer one of these numbers: {', '.join(codes)}."]


def test_a_code_acknowledges_its_own_incident_and_no_other(town: Town, twilio: FakeTwilio, now: datetime) -> None:
    town.person("Alice", SMS)
    codes = told(town, now, town.gate, town.yard)
    twilio.text_in(ALICE, codes[1])

    poll(timezone.now())

    assert Incident.objects.get(camera=town.yard).state == "acknowledged"
    assert Incident.objects.get(camera=town.gate).state == "open"


# Ninety codes, and no more


def many(town: Town, count: int) -> list[Camera]:
    return [
        Camera.objects.get_or_create(name=f"Camera {n}", defaults={"site": town.site, "group": town.gate.group})[0]
        for n in range(count)
    ]


def coded(town: Town, person: Recipient, now: datetime, count: int) -> list[Incident]:
    """So many open incidents that ``person`` was told of, each with its code, as so many messages would have left."""
    cameras = many(town, count)
    record([town.event(camera=camera.uid, happened_at=now, frame=None) for camera in cameras], now=now)
    alerts = Alert.objects.filter(recipient=person, incident__camera__in=cameras).order_by("incident")
    for alert in alerts.select_related("incident"):
        way_back(alert, now)
    return list(Incident.objects.filter(camera__in=cameras).order_by("pk"))


def test_the_ninety_first_open_alert_has_no_code_and_no_answer_is_taken_for_another(
    town: Town, twilio: FakeTwilio, now: datetime
) -> None:
    alice = town.person("Alice", SMS)
    incidents = coded(town, alice, now, len(CODES))
    record([town.event(happened_at=now, frame=None)], now=now)
    alert = Alert.objects.select_related("incident").get(incident__camera=town.gate)

    back = way_back(alert, now)
    assert back.code == "" and back.link
    twilio.text_in(ALICE, CODES[0])
    twilio.text_in(ALICE, CODES[-1])
    poll(timezone.now())

    taken = Incident.objects.filter(state="acknowledged")
    assert set(taken) == {incidents[0], incidents[-1]}


def test_a_code_is_not_given_to_something_else_while_its_message_may_be_answered(
    town: Town, twilio: FakeTwilio, now: datetime
) -> None:
    alice = town.person("Alice", SMS)
    [first, *_others] = coded(town, alice, now, len(CODES))
    acknowledge(first.uid, by=town.alice, through="screen", now=now)
    record([town.event(happened_at=now, frame=None)], now=now)
    alert = Alert.objects.select_related("incident").get(incident__camera=town.gate)

    assert way_back(alert, now).code == ""
    twilio.text_in(ALICE, CODES[0])
    poll(timezone.now())
    assert Incident.objects.get(camera=town.gate).state == "open"

    # A day after that message its code stands for the next one.
    assert way_back(alert, now + KEPT).code == CODES[0]


def test_people_who_share_a_telephone_have_different_codes_for_different_things(
    town: Town, twilio: FakeTwilio, now: datetime
) -> None:
    town.person("Alice", SMS)
    told(town, now)
    town.rule.recipients.clear()
    town.person("Bob", SMS)
    told(town, now, town.yard)
    alices, bobs = ReplyCode.objects.order_by("pk")
    assert alices.code != bobs.code
    twilio.text_in(ALICE, bobs.code)

    poll(timezone.now())

    assert dict(Incident.objects.values_list("camera__name", "state")) == {"Gate": "open", "Yard": "acknowledged"}


def test_where_they_have_the_same_all_the_same_an_answer_to_what_is_over_takes_nothing_else(
    town: Town, twilio: FakeTwilio, now: datetime
) -> None:
    town.person("Alice", SMS)
    [code] = told(town, now)
    town.rule.recipients.clear()
    town.person("Bob", SMS)
    told(town, now, town.yard)
    ReplyCode.objects.update(code=code)
    acknowledge(Incident.objects.get(camera=town.gate).uid, by=town.alice, through="screen", now=now)
    twilio.text_in(ALICE, code)

    poll(timezone.now())

    assert Incident.objects.get(camera=town.yard).state == "open"
    assert InboundMessage.objects.get().outcome == "which"


@pytest.mark.parametrize("text", ["hello?", "resolve", "99 bottles of 88", "2"])
def test_what_cannot_be_understood_changes_nothing_and_is_answered(
    town: Town, twilio: FakeTwilio, now: datetime, text: str
) -> None:
    town.person("Alice", SMS)
    told(town, now)
    twilio.text_in(ALICE, text)

    poll(timezone.now())

    assert Incident.objects.get().state == "open"
    [reply] = replies(twilio)
    assert "Answer one of" in reply


def test_a_number_that_is_nobodys_gets_no_reply(town: Town, twilio: FakeTwilio, now: datetime) -> None:
    town.person("Alice", SMS)
    [code] = told(town, now)
    twilio.text_in("+15005559999", code)

    poll(timezone.now())

    assert Incident.objects.get().state == "open"
    assert replies(twilio, "+15005559999") == []
    assert InboundMessage.objects.get().outcome == "stranger"


def test_somebody_elses_code_means_nothing(town: Town, twilio: FakeTwilio, now: datetime) -> None:
    town.person("Alice", SMS)
    told(town, now)
    town.person("Bob", ("sms", "+15005550077"))
    twilio.text_in("+15005550077", ReplyCode.objects.get().code)

    poll(timezone.now())

    assert Incident.objects.get().state == "open"
    assert replies(twilio, "+15005550077") == ["Nothing is open for you; nothing was changed."]


def test_an_answer_never_resolves(town: Town, twilio: FakeTwilio, now: datetime) -> None:
    town.person("Alice", SMS)
    [code] = told(town, now)
    acknowledge(Incident.objects.get().uid, by=town.alice, through="screen", now=now)
    for _ in range(3):
        twilio.text_in(ALICE, code)

    poll(timezone.now())

    assert Incident.objects.get().state == "acknowledged"


def test_an_answer_after_it_is_over_says_so(town: Town, twilio: FakeTwilio, now: datetime) -> None:
    town.person("Alice", SMS)
    [code] = told(town, now)
    resolve(Incident.objects.get().uid, by=town.alice, disposition="false", note="", through="screen", now=now)
    twilio.text_in(ALICE, code)

    poll(timezone.now())

    assert replies(twilio) == ["Nothing is open for you; nothing was changed."]


def test_an_answer_that_was_written_before_its_code_was_given_means_nothing(
    town: Town, twilio: FakeTwilio, now: datetime
) -> None:
    town.person("Alice", SMS)
    [code] = told(town, now)
    twilio.text_in(ALICE, code, at=now - timedelta(minutes=10))

    poll(timezone.now())

    assert Incident.objects.get().state == "open"


def test_a_machine_that_answers_every_reply_is_not_answered_for_ever(
    town: Town, twilio: FakeTwilio, now: datetime
) -> None:
    town.person("Alice", SMS)
    told(town, now)
    for _ in range(REPLIES_MOST + 10):
        twilio.text_in(ALICE, "I am out of office")

    poll(timezone.now())

    assert len(replies(twilio)) == REPLIES_MOST


def test_a_reminder_carries_the_same_code(town: Town, twilio: FakeTwilio, now: datetime) -> None:
    town.person("Alice", SMS)
    [code] = told(town, now)
    record([town.event(camera=town.gate.uid, happened_at=now, severity="critical", frame=None)], now=now)
    for row in Delivery.objects.filter(state="queued"):
        deliver(row.uid)

    assert [f"Answer {code} = " in message.body for message in twilio.messages] == [True, True]


def test_a_provider_that_hangs_changes_nothing(town: Town, twilio: FakeTwilio, now: datetime) -> None:
    town.person("Alice", SMS)
    told(town, now)
    twilio.text_in(ALICE, "1")
    twilio.asking = "hang"

    assert poll(timezone.now()) == 0
    twilio.asking = "accept"
    assert poll(timezone.now()) == 1


def test_an_answer_in_chinese_digits_gets_a_reply_in_chinese(town: Town, twilio: FakeTwilio, now: datetime) -> None:
    town.person("Alice", SMS, language="zh-hant")
    [code] = told(town, now)
    twilio.text_in(ALICE, code.translate(str.maketrans("0123456789", "０１２３４５６７８９")))

    poll(timezone.now())

    assert Incident.objects.get().state == "acknowledged"
    assert Contact.objects.get().disabled_at is None


# Whether more is to come


def test_stop_stops_every_contact_with_that_number_and_start_takes_it_back(
    town: Town, twilio: FakeTwilio, now: datetime
) -> None:
    town.person("Alice", SMS)
    town.person("Bob", SMS)
    twilio.text_in(ALICE, "STOP")
    poll(timezone.now())
    assert [contact.usable for contact in Contact.objects.all()] == [False, False]
    told(town, now)
    assert (Delivery.objects.count(), replies(twilio)) == (0, [])

    twilio.text_in(ALICE, "START")
    poll(timezone.now())

    assert [contact.usable for contact in Contact.objects.all()] == [True, True]
    assert list(InboundMessage.objects.order_by("pk").values_list("outcome", flat=True)) == [
        "unsubscribed",
        "subscribed",
    ]
    assert replies(twilio) == []


def test_a_message_that_waits_does_not_go_where_nothing_more_is_wanted(
    town: Town, twilio: FakeTwilio, now: datetime
) -> None:
    town.person("Alice", SMS)
    record([town.event(happened_at=now, frame=None)], now=now)
    twilio.text_in(ALICE, "stop")
    poll(timezone.now())

    assert deliver(Delivery.objects.get().uid) == "failed"
    assert twilio.messages == []


@pytest.mark.parametrize("changes", [{"confirmed_at": None}, {"opted_out_at": timezone.now()}])
def test_a_number_that_is_not_confirmed_or_wants_nothing_cannot_answer(
    town: Town, twilio: FakeTwilio, now: datetime, changes: dict[str, datetime | None]
) -> None:
    town.person("Alice", SMS)
    [code] = told(town, now)
    Contact.objects.update(**changes)
    twilio.text_in(ALICE, code)

    poll(timezone.now())

    assert (Incident.objects.get().state, InboundMessage.objects.get().outcome) == ("open", "stranger")
    assert replies(twilio) == []


def test_an_unconfirmed_number_can_say_that_it_wants_nothing(town: Town, twilio: FakeTwilio, now: datetime) -> None:
    town.person("Alice", SMS)
    Contact.objects.update(confirmed_at=None)
    twilio.text_in(ALICE, "STOP")

    poll(timezone.now())

    assert Contact.objects.get().opted_out_at is not None


def test_start_from_a_number_that_never_stopped_confirms_nothing(town: Town, twilio: FakeTwilio, now: datetime) -> None:
    town.person("Alice", SMS)
    Contact.objects.update(confirmed_at=None)
    twilio.text_in(ALICE, "START")

    poll(timezone.now())

    assert not Contact.objects.get().usable
