"""The auditor and the sign of life: what was forgotten is found, and told by another way."""

from __future__ import annotations

from datetime import time, timedelta

import pytest
from django.utils import timezone
from pytest_django import Settings

from alerts import heartbeat, http
from alerts.auditor import CHECKS, HARMLESS, audit
from alerts.delivery import deliver
from alerts.incidents import acknowledge, record, reopen, resolve
from alerts.models import Alert, Contact, Delivery, EscalationPolicy, Incident, Recipient, Rota, RotaMember, Team
from alerts.policies import StepDraft, save_policy
from alerts.telling import take_due_steps
from frontend.models import User
from streams.health import Heartbeat, encode_heartbeat
from streams.log import Log
from streams.log_redis import RedisLog
from streams.models import Camera
from streams.topics import HEALTH, standing_topics
from tests.alerts.town import EMAIL, NOON, SMS, Town, at
from tests.services.receiver import Receiver
from tests.services.receiver import receiver as receiver
from tests.services.twilio import FakeTwilio
from tests.services.valkey import Valkey

pytestmark = pytest.mark.django_db


@pytest.fixture
def ada(town: Town) -> Recipient:
    """An administrator who can be told by SMS and by e-mail."""
    user = User.objects.create_user("ada", password="not-a-secret", role=User.Role.ADMINISTRATOR)
    person = Recipient.objects.create(name="Ada", user=user)
    Contact.objects.create(recipient=person, channel="sms", address="+15005550090", confirmed_at=at(0))
    Contact.objects.create(recipient=person, channel="email", address="ada@example.org", order=1, confirmed_at=at(0))
    return person


def found(second: float) -> list[str]:
    return [finding.code for finding in audit(at(second))]


def system() -> list[Incident]:
    return list(Incident.objects.filter(kind="system").order_by("pk"))


def test_nothing_is_found_where_all_is_well(town: Town, ada: Recipient) -> None:
    town.person("Alice", SMS)
    record([town.event(frame=None)], now=at(0))
    deliver(Delivery.objects.get().uid, clock=lambda: at(1))

    assert (found(61), system()) == ([], [])


def test_an_alert_that_reached_nobody_is_told_to_administrators_by_another_way(
    town: Town, ada: Recipient, twilio: FakeTwilio, settings: Settings
) -> None:
    settings.TWILIO, twilio.mode = twilio.settings, "21610"
    town.person("Alice", SMS)
    record([town.event(frame=None)], now=at(0))
    deliver(Delivery.objects.get().uid, clock=lambda: at(1))
    assert found(30) == []

    assert found(61) == ["unheard"]

    [incident] = system()
    row = Delivery.objects.get(alert__incident=incident)
    assert (row.contact.channel, row.alert.recipient, incident.severity) == ("email", ada, "critical")
    assert deliver(row.uid, clock=lambda: at(62)) == "sent"
    row.refresh_from_db()
    assert row.subject == "Critical: Nobody could be told of Gate, Harbour City"


def test_somebody_without_any_contact_is_noticed(town: Town, ada: Recipient) -> None:
    town.person("Alice")
    record([town.event(frame=None)], now=at(0))
    take_due_steps(at(1))

    assert found(61) == ["unheard"]


def test_an_incident_that_nobody_is_told_of_is_found(town: Town, ada: Recipient) -> None:
    town.person("Alice", SMS, active=False)
    record([town.event(frame=None)], now=at(0))
    take_due_steps(at(1))

    assert (found(59), found(61)) == ([], ["unheard"])
    assert (Alert.objects.exclude(incident__kind="system").count(), system()[0].zone_name) == (0, "Gate")


def test_a_policy_of_an_empty_team_is_found_when_it_should_tell(town: Town, ada: Recipient) -> None:
    team = Team.objects.create(name="Night")
    town.rule.policy = EscalationPolicy.objects.create(name="Night")
    town.rule.policy.steps.create(order=0).teams.add(team)
    town.rule.save()
    record([town.event(frame=None)], now=at(0))
    take_due_steps(at(1))

    assert found(61) == ["unheard"]


def by_sms_only(town: Town, *people: Recipient) -> None:
    """The town's rule tells one after the other, each by SMS and nothing else."""
    steps = [StepDraft([person], channels=["sms"], wait_s=60) for person in people]
    town.rule.policy = save_policy(EscalationPolicy(name="Night"), steps)
    town.rule.save()
    town.rule.recipients.clear()


def test_a_policy_whose_ways_nobody_has_any_more_is_found_when_it_should_tell(town: Town, ada: Recipient) -> None:
    by_sms_only(town, town.person("Alice", SMS, EMAIL), town.person("Bob", ("sms", "+15005550077"), EMAIL))
    Contact.objects.filter(channel="sms").exclude(recipient=ada).update(disabled_at=at(-1))
    record([town.event(frame=None)], now=at(0))
    for second in (1, 2, 3):
        take_due_steps(at(second))

    assert (Delivery.objects.count(), found(61)) == (0, ["unheard"])
    assert {row.contact.recipient for row in Delivery.objects.all()} == {ada}


def test_whoever_a_step_leaves_out_was_not_forgotten_where_another_one_was_told(town: Town, ada: Recipient) -> None:
    by_sms_only(town, town.person("Alice", EMAIL), town.person("Bob", SMS))
    record([town.event(frame=None)], now=at(0))
    take_due_steps(at(1))
    deliver(Delivery.objects.get().uid, clock=lambda: at(2))

    assert found(61) == []


def test_what_was_known_late_wakes_nobody_who_has_a_number_only(town: Town, ada: Recipient) -> None:
    town.person("Alice", SMS)
    record([town.event(frame=None, happened_at=at(-3600))], now=at(0))
    take_due_steps(at(1))

    assert (Delivery.objects.count(), found(61)) == (0, [])


@pytest.mark.parametrize("changes", [{"muted_by": "window"}, {"state": "acknowledged"}, {"kind": "system"}])
def test_an_incident_that_nobody_need_be_told_of_is_none(town: Town, ada: Recipient, changes: dict[str, str]) -> None:
    town.person("Alice", SMS, active=False)
    record([town.event(frame=None)], now=at(0))
    Incident.objects.update(**changes)

    assert found(61) == []


def test_a_rule_that_names_nobody_is_meant_so(town: Town, ada: Recipient) -> None:
    record([town.event(frame=None)], now=at(0))

    assert (found(61), Incident.objects.count()) == ([], 1)


def test_what_was_not_needed_before_a_reopening_is_not_unheard_after_it(town: Town, ada: Recipient) -> None:
    alice = town.person("Alice", SMS)
    record([town.event(frame=None)], now=at(0))
    incident = Incident.objects.get()
    acknowledge(incident.uid, by=alice.user, through="screen", now=at(1))
    resolve(incident.uid, by=alice.user, disposition="confirmed", note="", through="screen", now=at(2))
    reopen(incident.uid, by=alice.user, note="It was not over.", through="screen", now=at(90))
    assert deliver(Delivery.objects.get(state="queued").uid, clock=lambda: at(91)) == "sent"

    assert (found(100), found(151)) == ([], [])


def test_it_tells_once_and_not_again_over_what_somebody_closed(town: Town, ada: Recipient) -> None:
    town.person("Alice")
    record([town.event(frame=None)], now=at(0))
    for second in (61, 121, 181):
        assert found(second)[:1] == ["unheard"]
    assert len([one for one in system() if one.label == "unheard"]) == 1
    incident = next(one for one in system() if one.label == "unheard")
    resolve(incident.uid, by=None, disposition="confirmed", note="", through="screen", now=at(200))

    found(241)
    assert len([one for one in system() if one.label == "unheard"]) == 1
    record([town.event(frame=None, camera=town.yard.uid, happened_at=at(250))], now=at(250))
    found(311)
    assert len([one for one in system() if one.label == "unheard"]) == 2


def test_what_is_newly_forgotten_is_told_to_whoever_has_the_first_of_it(town: Town, ada: Recipient) -> None:
    town.person("Alice")
    record([town.event(frame=None)], now=at(0))
    found(61)
    [incident] = [one for one in system() if one.label == "unheard"]
    acknowledge(incident.uid, by=ada.user, through="screen", now=at(100))
    record([town.event(frame=None, camera=town.yard.uid, happened_at=at(110))], now=at(110))

    found(200)
    incident.refresh_from_db()
    assert (incident.event_count, incident.zone_name) == (2, "Yard, Gate")
    assert incident.alerts.filter(reason="again").count() == 0  # told of it a moment ago

    quay = Camera.objects.create(name="Quay", site=town.site, group=town.gate.group)
    record([town.event(frame=None, camera=quay.uid, happened_at=at(4000))], now=at(4000))
    for second in (4061, 4121):
        found(second)
    [again] = incident.alerts.filter(reason="again")
    assert (again.recipient, again.created_at) == (ada, at(4061))
    assert {deliver(row.uid, clock=lambda: at(4062)) for row in again.deliveries.all()} == {"sent"}


def test_a_reminder_that_never_came_is_found(town: Town, ada: Recipient) -> None:
    town.person("Alice", SMS)
    record([town.event(frame=None)], now=at(0))
    deliver(Delivery.objects.get().uid, clock=lambda: at(1))

    assert found(179) == []
    assert found(181) == ["stopped"]
    take_due_steps(at(182))
    deliver(Delivery.objects.filter(state="queued").order_by("-pk")[0].uid, clock=lambda: at(183))
    assert "stopped" not in found(190)


def test_somebody_in_quiet_hours_was_not_forgotten(town: Town, ada: Recipient) -> None:
    alice = town.person("Alice", SMS)
    alice.quiet_from, alice.quiet_until = time(11), time(13)
    alice.save()
    record([town.event(frame=None)], now=at(0))
    take_due_steps(at(1))

    row = Delivery.objects.get()
    assert (alice.alerts.count(), row.held, row.not_before_at) == (1, "quiet", at(3600))
    assert (found(61), found(3601), found(3631)) == ([], [], ["unsent"])


def test_somebody_with_a_number_only_is_told_when_their_quiet_hours_are_over(
    town: Town, ada: Recipient, twilio: FakeTwilio, settings: Settings
) -> None:
    settings.TWILIO = twilio.settings
    alice = town.person("Alice", SMS)
    alice.quiet_from, alice.quiet_until = time(11), time(13)
    alice.save()
    record([town.event(frame=None), town.event(frame=None, camera=town.yard.uid)], now=at(0))
    take_due_steps(at(120))
    incident = Incident.objects.get(camera=town.yard)
    acknowledge(incident.uid, by=alice.user, through="screen", now=at(200))
    rows = list(Delivery.objects.order_by("alert__incident__camera__name"))

    assert [deliver(row.uid, clock=lambda: at(3599)) for row in rows] == [None, None]
    assert [deliver(row.uid, clock=lambda: at(3600)) for row in rows] == ["sent", None]
    assert len(twilio.messages) == 1


def test_nothing_is_told_to_an_administrators_number_that_is_not_confirmed(town: Town, ada: Recipient) -> None:
    Contact.objects.filter(channel="email").update(confirmed_at=None)
    town.person("Alice")
    record([town.event(frame=None)], now=at(0))

    found(61)

    rows = Delivery.objects.filter(alert__recipient=ada)
    assert set(rows.values_list("contact__channel", flat=True)) == {"sms"}


def broken_rotas() -> list[Incident]:
    return [one for one in system() if one.label == "rota"]


def night_rota(town: Town, person: Recipient) -> Rota:
    """A rota that the town's rule tells by, with one person in it."""
    rota = Rota.objects.create(name="Night", starts_on=(NOON - timedelta(30)).date())
    RotaMember.objects.create(rota=rota, recipient=person, order=0)
    town.rule.policy = save_policy(EscalationPolicy(name="Night"), [StepDraft(rotas=[rota])])
    town.rule.save()
    return rota


def test_a_rota_that_tells_nobody_is_found_once(town: Town, ada: Recipient) -> None:
    alice = town.person("Alice", SMS)
    night_rota(town, alice)
    assert found(0) == []
    Contact.objects.filter(recipient=alice).update(disabled_at=at(1))

    assert found(60) == ["rota"]
    found(120)

    [incident] = broken_rotas()
    assert incident.zone_name == "Night"
    resolve(incident.uid, by=None, disposition="confirmed", note="", through="screen", now=at(130))
    found(180)
    assert len(broken_rotas()) == 1
    # A day later it is still so: that is said again.
    found(86600)
    assert len(broken_rotas()) == 2


def test_a_rota_by_which_nothing_is_told_may_be_empty(town: Town, ada: Recipient) -> None:
    rota = night_rota(town, town.person("Alice", SMS))
    rota.places.all().delete()
    town.rule.enabled = False
    town.rule.save()

    assert found(0) == []


def test_a_message_that_waits_too_long_is_found_and_told_by_another_channel(town: Town, ada: Recipient) -> None:
    town.person("Alice", SMS)
    record([town.event(frame=None)], now=at(0))

    assert found(29) == []
    assert found(31) == ["unsent"]
    [incident] = system()
    assert incident.zone_name == "1 (sms)"
    assert list(incident.alerts.values_list("deliveries__contact__channel", flat=True)) == ["email"]


def test_a_provider_that_is_down_is_found_while_its_messages_are_tried_again(
    town: Town, ada: Recipient, twilio: FakeTwilio, settings: Settings
) -> None:
    settings.TWILIO, twilio.mode = twilio.settings, "401"
    town.person("Alice", SMS)
    record([town.event(frame=None)], now=at(0))
    row = Delivery.objects.get()
    for second in (1, 6, 16):
        assert deliver(row.uid, clock=lambda second=second: at(second)) == "queued"
    Delivery.objects.filter(pk=row.pk).update(not_before_at=at(300))

    assert (found(29), found(31)) == ([], ["unsent"])


def test_what_is_held_for_a_shown_reason_is_not_forgotten(town: Town, ada: Recipient) -> None:
    town.person("Alice", SMS)
    record([town.event(frame=None)], now=at(0))
    Delivery.objects.update(held="flood", not_before_at=at(180))

    assert found(100) == []


def test_a_month_that_runs_low_is_told_once(town: Town, ada: Recipient, settings: Settings) -> None:
    settings.SMS_PER_MONTH = 5
    town.person("Alice", SMS)
    record([town.event(frame=None)], now=at(0))
    Delivery.objects.update(state="sent", attempted_at=at(0), segments=4)

    assert found(5) == ["sms-month"]
    resolve(system()[0].uid, by=None, disposition="confirmed", note="", through="screen", now=at(6))
    assert (found(20), len(system())) == (["sms-month"], 1)


def test_an_administrator_with_one_way_only_is_told_by_it(town: Town, ada: Recipient) -> None:
    Contact.objects.filter(channel="email").delete()
    town.person("Alice", SMS)
    record([town.event(frame=None)], now=at(0))

    found(31)

    assert Delivery.objects.get(alert__recipient=ada).contact.channel == "sms"


def test_a_check_that_fails_is_found_and_does_not_stop_the_others(
    town: Town, ada: Recipient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(now: object) -> list[object]:
        raise RuntimeError("broken")

    monkeypatch.setattr("alerts.auditor.CHECKS", (broken, *CHECKS))
    town.person("Alice", SMS, EMAIL)
    record([town.event(frame=None)], now=at(0))

    assert found(31) == ["unchecked", "unsent"]
    assert not {"unchecked"} & HARMLESS
    row = Delivery.objects.filter(alert__incident__label="unchecked").first()
    assert row is not None and deliver(row.uid, clock=lambda: at(32)) == "sent"
    row.refresh_from_db()
    assert row.text.startswith("Critical: Whether anybody was forgotten cannot be")


# The sign of life


def test_it_calls_any_address(receiver: Receiver, settings: Settings) -> None:
    settings.HEARTBEAT_URL = f"{receiver.url}/ping/abc"

    assert heartbeat.call()
    assert [(posted.method, posted.path) for posted in receiver.received] == [("GET", "/ping/abc")]


@pytest.mark.parametrize("status", [500, "hang", "cut"])
def test_a_call_that_fails_harms_nobody(
    receiver: Receiver, settings: Settings, monkeypatch: pytest.MonkeyPatch, status: int | str
) -> None:
    monkeypatch.setattr(http, "TIMEOUT_S", 0.3)
    settings.HEARTBEAT_URL, receiver.status = receiver.url, status

    assert not heartbeat.call()


@pytest.fixture
def log(valkey: Valkey) -> Log:
    log = RedisLog(valkey.addresses, name="auditor")
    log.create(standing_topics([]))
    return log


@pytest.mark.valkey
def test_life_is_shown_only_while_every_part_beats(town: Town, log: Log) -> None:
    now = timezone.now()
    expected = heartbeat.expected_parts()
    producer = log.producer()
    for part in expected:
        beat = Heartbeat(part=part, instance="one", at=now - timedelta(seconds=1))
        producer.append(HEALTH.name, 0, encode_heartbeat(beat))
    producer.flush(5)

    assert heartbeat.unwell(log, now) == []
    assert heartbeat.unwell(log, now + timedelta(seconds=9)) == sorted(expected)
    troubled = Heartbeat(part="evaluate", instance="one", at=now, problem="broken_rule")
    producer.append(HEALTH.name, 0, encode_heartbeat(troubled))
    producer.flush(5)
    assert heartbeat.unwell(log, now) == ["evaluate"]
    producer.close()
    log.close()
