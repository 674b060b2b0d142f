"""The screens of people, rotas and policies over HTTP: what is typed holds, and nobody is told who has not agreed."""

from __future__ import annotations

import re
from datetime import date, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.conf import LazySettings
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from icalendar import Calendar

from alerts import confirmation
from alerts.delivery import queue
from alerts.models import (
    Alert,
    Contact,
    ContactCode,
    EscalationPolicy,
    Recipient,
    Rota,
    RotaMember,
    RotaOverride,
    Team,
)
from alerts.policies import StepDraft, save_policy
from frontend import health_tail, queries
from frontend.models import User, ViewAudit
from tests.services.twilio import FakeTwilio, twilio
from tests.town import Town, build_town, new_incident, new_rule

__all__ = ("twilio",)

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _quiet(monkeypatch: pytest.MonkeyPatch, settings: LazySettings, tmp_path: Path) -> None:
    """No log runs here."""
    monkeypatch.setattr(health_tail, "parts", lambda now: [])
    monkeypatch.setattr(health_tail, "starting", lambda now: False)
    settings.STATIC_ROOT = tmp_path / "static"
    settings.STATIC_ROOT.mkdir()
    queries.forget()


@pytest.fixture
def town() -> Town:
    return build_town()


@pytest.fixture
def ada(town: Town) -> Client:
    return client_of(town.ada)


@pytest.fixture
def provider(settings: LazySettings, twilio: FakeTwilio) -> FakeTwilio:
    """SMS leave this machine, to a provider of ours."""
    settings.TWILIO = twilio.settings
    return twilio


def client_of(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def text(response: Any) -> str:
    body: str = response.content.decode()
    return body


def make_person(name: str, *, confirmed: bool = True, user: User | None = None) -> Recipient:
    person = Recipient.objects.create(name=name, user=user)
    number = f"+88691234{Recipient.objects.count():04d}"
    Contact.objects.create(
        recipient=person, channel="sms", address=number, confirmed_at=timezone.now() if confirmed else None
    )
    return person


def code_in(words: str) -> str:
    found = re.search(r"\b\d{6}\b", words)
    assert found is not None
    return found[0]


# confirming


def test_a_webhook_is_kept_sealed_and_taken_once(ada: Client) -> None:
    person = Recipient.objects.create(name="Control room")
    typed = {"channel": "webhook", "address": "https://hooks.example.org/secret-path"}

    assert ada.post(f"/setup/people/{person.uid}/contacts/", typed).status_code == 302

    contact = person.contacts.get()
    assert (contact.reach, contact.usable) == (typed["address"], False)
    again = text(ada.post(f"/setup/people/{person.uid}/contacts/", typed))
    assert "It is there already." in again
    assert "secret-path" not in text(ada.get(f"/contacts/{contact.uid}/"))


def test_a_new_number_is_sent_nothing_but_its_code_until_it_is_confirmed(ada: Client, provider: FakeTwilio) -> None:
    person = Recipient.objects.create(name="Guard")
    added = ada.post(f"/setup/people/{person.uid}/contacts/", {"channel": "sms", "address": "+886 912 345 678"})
    contact = person.contacts.get()
    assert added.headers["Location"] == f"/contacts/{contact.uid}/"
    assert not contact.usable
    refused = ada.post(f"/setup/contacts/{contact.uid}/test/")
    assert (refused.status_code, provider.messages) == (422, [])

    sent = text(ada.post(f"/contacts/{contact.uid}/send/"))
    [message] = provider.messages
    code = code_in(message.body)
    assert code not in sent

    wrong = f"{(int(code) + 1) % 10**6:06d}"
    assert "That is not the code; 4 tries are left." in text(
        ada.post(f"/contacts/{contact.uid}/code/", {"code": wrong})
    )
    ada.post(f"/contacts/{contact.uid}/code/", {"code": code})
    contact.refresh_from_db()
    assert contact.usable
    ada.post(f"/setup/contacts/{contact.uid}/test/")
    assert len(provider.messages) == 2


def test_where_nothing_leaves_this_machine_the_code_is_shown(ada: Client) -> None:
    contact = make_person("Guard", confirmed=False).contacts.get()
    shown = text(ada.post(f"/contacts/{contact.uid}/send/"))
    ada.post(f"/contacts/{contact.uid}/code/", {"code": code_in(shown.partition("trial-text")[2])})
    contact.refresh_from_db()
    assert contact.usable


def test_somebody_confirms_their_own_number_and_nobody_elses(town: Town) -> None:
    mine = make_person("Bob", confirmed=False, user=town.bob).contacts.get()
    other = make_person("Guard", confirmed=False).contacts.get()
    bob = client_of(town.bob)
    assert mine.address in text(bob.get("/contacts/"))
    assert "Send the code" in text(bob.get(f"/contacts/{mine.uid}/"))
    for what in ("", "send/", "code/", "unsubscribe/", "remove/"):
        ask = bob.post if what else bob.get
        assert ask(f"/contacts/{other.uid}/{what}").status_code == 404
    assert not ContactCode.objects.exists()


def test_its_owner_unsubscribes_and_no_code_goes_there_any_more(town: Town) -> None:
    contact = make_person("Bob", user=town.bob).contacts.get()
    bob = client_of(town.bob)
    bob.post(f"/contacts/{contact.uid}/unsubscribe/")
    contact.refresh_from_db()
    assert not contact.usable
    again = Recipient.objects.create(name="Guard").contacts.create(channel="sms", address=contact.address)
    assert "has unsubscribed" in text(client_of(town.ada).post(f"/contacts/{again.uid}/send/"))


def test_what_is_done_with_a_contact_is_written_down(ada: Client) -> None:
    contact = make_person("Guard", confirmed=False).contacts.get()
    ada.post(f"/contacts/{contact.uid}/send/")
    assert ViewAudit.objects.filter(action="code-sent", subject=contact.uid).exists()


def test_a_number_that_messages_went_to_is_taken_out_and_stays_for_their_sake(ada: Client, town: Town) -> None:
    used, unused = make_person("Guard").contacts.get(), make_person("Alice").contacts.get()
    incident = new_incident(town.gate, town.site)
    alert = Alert.objects.create(
        incident=incident, recipient=used.recipient, reason="opened", created_at=timezone.now()
    )
    queue(alert, used, timezone.now())
    for contact in (used, unused):
        ada.post(f"/contacts/{contact.uid}/remove/")
    assert list(Contact.objects.all()) == [used]
    used.refresh_from_db()
    assert not used.usable
    assert used.address not in text(ada.get(f"/setup/people/{used.recipient.uid}/"))


# people and teams


def test_quiet_hours_have_both_ends_or_none(ada: Client) -> None:
    typed = {"name": "Alice", "language": "en", "active": "on", "quiet_from": "22:00"}
    assert "Enter both ends" in text(ada.post("/setup/people/add/", typed))
    ada.post("/setup/people/add/", typed | {"quiet_until": "07:00"})
    person = Recipient.objects.get(name="Alice")
    assert 'value="22:00"' in text(ada.get(f"/setup/people/{person.uid}/"))


def test_a_team_that_a_policy_tells_is_not_deleted(ada: Client) -> None:
    guard = make_person("Guard")
    ada.post("/setup/teams/add/", {"name": "Night shift", "members": [guard.pk]})
    team = Team.objects.get()
    ada.post("/setup/policies/add/", policy_typed(f"team:{team.pk}"))
    refused = ada.post(f"/setup/teams/{team.uid}/delete/", follow=True)
    assert "The policy “Night” tells it." in text(refused)
    assert Team.objects.exists()


@pytest.mark.parametrize("path", ["people/", "people/add/", "teams/add/", "rotas/", "rotas/add/", "policies/"])
def test_these_pages_are_there_for_people_who_may_configure_only(town: Town, path: str) -> None:
    make_person("Guard")
    assert client_of(town.ada).get(f"/setup/{path}").status_code == 200
    assert client_of(town.bob).get(f"/setup/{path}").status_code == 404


# rotas


def rota_typed(*people: Recipient, **changes: Any) -> dict[str, Any]:
    places = {f"place_{number}": person.pk for number, person in enumerate(people)}
    begin = (timezone.now() - timedelta(days=14)).date().isoformat()
    return {
        "name": "Night", "time_zone": "Asia/Taipei", "weekday": 0, "hand_over_at": "08:00", "starts_on": begin,
        **places, **changes,
    }  # fmt: skip


def make_rota(*people: Recipient, weeks_ago: int = 2) -> Rota:
    rota = Rota.objects.create(
        name="Night", time_zone="UTC", starts_on=timezone.localdate() - timedelta(weeks=weeks_ago)
    )
    for order, person in enumerate(people):
        RotaMember.objects.create(rota=rota, recipient=person, order=order)
    return rota


def test_a_rota_is_made_and_says_who_is_on_duty(ada: Client) -> None:
    alice, bob = make_person("Alice"), make_person("Bob")
    ada.post("/setup/rotas/add/", rota_typed(alice, bob))
    rota = Rota.objects.get()
    assert [place.recipient for place in rota.places.all()] == [alice, bob]
    shown = text(ada.get("/setup/rotas/"))
    assert re.search(r"Now <b>(Alice|Bob)</b>", shown)
    assert "alarm" not in shown.partition('<main id="main"')[2]


def test_a_rota_without_anybody_is_refused(ada: Client) -> None:
    assert "nobody would have the duty" in text(ada.post("/setup/rotas/add/", rota_typed()))
    assert not Rota.objects.exists()


def test_a_gap_stands_on_the_screen_before_it_comes_with_the_remedy(ada: Client) -> None:
    make_rota(make_person("Alice"), make_person("Bob", confirmed=False))
    shown = text(ada.get("/setup/rotas/"))
    assert re.search(r"Bob has the duty from .* and no confirmed number or address", shown)
    assert "is-gap" in shown


def test_nobody_on_duty_is_said_in_the_strip_of_every_page(ada: Client, town: Town) -> None:
    alice = make_person("Alice")
    rota = make_rota(alice, weeks_ago=-2)
    ada.post("/setup/policies/add/", policy_typed(f"rota:{rota.pk}"))
    rule = new_rule(town, policy=EscalationPolicy.objects.get())
    rule.save()
    queries.forget()
    assert "Nobody is on duty (Night): let somebody take it over" in text(ada.get("/"))
    rule.policy = None
    rule.save()
    queries.forget()
    assert "Nobody is on duty" not in text(ada.get("/"))


def test_a_gap_of_tomorrow_is_said_in_the_strip_today_and_one_of_next_week_is_not(ada: Client, town: Town) -> None:
    alice, bob = make_person("Alice"), make_person("Bob", confirmed=False)
    rota = make_rota(alice)
    rule = new_rule(town, policy=save_policy(EscalationPolicy(name="Night"), [StepDraft(rotas=[rota])]))
    rule.save()
    for ahead, said in ((timedelta(days=7), False), (timedelta(hours=20), True)):
        RotaOverride.objects.all().delete()
        begins_at = timezone.now() + ahead
        rota.overrides.create(
            recipient=bob, from_at=begins_at, until_at=begins_at + timedelta(hours=8), created_at=timezone.now()
        )
        queries.forget()
        shown = text(ada.get("/"))
        assert ("nobody can be told who is on duty (Night)" in shown) is said
    assert "Nobody is on duty" not in shown


def test_the_load_of_each_operator_is_a_figure_on_the_screen(ada: Client, town: Town) -> None:
    alice, bob = make_person("Alice"), make_person("Bob")
    now = timezone.now()
    for person, count in ((alice, 10), (bob, 1)):
        for _ in range(count):
            incident = new_incident(town.gate, town.site, opened_at=now)
            Alert.objects.create(incident=incident, recipient=person, reason="opened", created_at=now)
    queries.forget()

    outbox, strip = text(ada.get("/outbox/")), text(ada.get("/room/strip/"))

    assert "<b>Alice: 10 alerts in ten minutes</b>" in outbox
    assert "Bob: 1 alert in ten minutes" in outbox
    assert "Alice: 10 alerts in ten minutes; ordinary ones go out together." in strip
    assert "Bob: 1" not in strip


def test_somebody_takes_a_night_by_the_rotas_own_clock_and_gives_it_back(ada: Client) -> None:
    alice, bob = make_person("Alice"), make_person("Bob")
    rota = make_rota(alice)
    Rota.objects.update(time_zone="Asia/Taipei")
    night = {"recipient": bob.pk, "from_at": "2030-01-01T22:00", "until_at": "2030-01-02T06:00"}
    assert "must end after it begins" in text(
        ada.post(f"/setup/rotas/{rota.uid}/overrides/", night | {"until_at": "2030-01-01T22:00"})
    )
    ada.post(f"/setup/rotas/{rota.uid}/overrides/", night)
    override = RotaOverride.objects.get()
    assert override.from_at == datetime(2030, 1, 1, 22, tzinfo=ZoneInfo("Asia/Taipei"))
    ada.post(f"/setup/rotas/{rota.uid}/overrides/{override.pk}/drop/")
    assert not RotaOverride.objects.exists()


def test_the_calendar_opens_by_its_address_alone_until_that_is_closed(ada: Client) -> None:
    rota = make_rota(make_person("Alice"), make_person("Bob"))
    shown = text(ada.post(f"/setup/rotas/{rota.uid}/feed/", {"on": "1"}))
    address = re.search(r"<code>http://testserver(/rotas/[^<]+\.ics)</code>", shown)
    assert address is not None

    calendar = Calendar.from_ical(Client().get(address[1]).content)
    events = sorted(calendar.walk("VEVENT"), key=lambda event: event["DTSTART"].dt)
    assert {str(event["SUMMARY"]) for event in events} >= {"Night: Alice", "Night: Bob"}
    assert all(one["DTEND"].dt == other["DTSTART"].dt for one, other in pairwise(events))

    again = text(ada.post(f"/setup/rotas/{rota.uid}/feed/", {"on": "1"}))
    assert address[1] not in again
    assert Client().get(address[1]).status_code == 404
    assert address[1] not in text(ada.get(f"/setup/rotas/{rota.uid}/"))
    ada.post(f"/setup/rotas/{rota.uid}/feed/", {})
    rota.refresh_from_db()
    assert rota.feed_digest == ""


def test_no_address_opens_a_rota_that_has_no_calendar(ada: Client) -> None:
    make_rota(make_person("Alice"))
    assert Client().get("/rotas/x.ics").status_code == 404


def test_somebody_takes_a_night_themselves_and_for_nobody_else(town: Town) -> None:
    mine, other = make_person("Bob", user=town.bob), make_person("Guard")
    rota, theirs = make_rota(mine, other), Rota.objects.create(name="Elsewhere", starts_on=timezone.localdate())
    RotaMember.objects.create(rota=theirs, recipient=other, order=0)
    bob = client_of(town.bob)
    assert "My duties" in text(bob.get("/contacts/"))

    night = {"recipient": mine.pk, "from_at": "2030-01-01T22:00", "until_at": "2030-01-02T06:00"}
    bob.post(f"/contacts/duties/{rota.uid}/", night | {"recipient": other.pk})
    assert bob.post(f"/contacts/duties/{theirs.uid}/", night).status_code == 404
    assert not RotaOverride.objects.exists()
    bob.post(f"/contacts/duties/{rota.uid}/", night)
    override = RotaOverride.objects.get()
    assert (override.recipient, override.author) == (mine, town.bob)

    assert client_of(town.alice).post(f"/contacts/duties/{override.pk}/drop/").status_code == 404
    assert "You take it over" in text(bob.get("/contacts/"))
    bob.post(f"/contacts/duties/{override.pk}/drop/")
    assert not RotaOverride.objects.exists()


# policies


def policy_typed(*who: str, **changes: Any) -> dict[str, Any]:
    steps: dict[str, Any] = {f"who_{number}": [one] for number, one in enumerate(who)}
    return {"name": "Night", "repeats": 0, "wait_0": 60, "wait_1": 120, "wait_2": 120, **steps, **changes}


def test_a_policy_has_its_steps_in_order(ada: Client) -> None:
    alice, bob = make_person("Alice"), make_person("Bob")
    ada.post("/setup/policies/add/", policy_typed(f"person:{alice.pk}", f"person:{bob.pk}", channels_1=["sms"]))
    policy = EscalationPolicy.objects.get()
    steps = [([one.name for one in step.recipients.all()], step.channels, step.wait_s) for step in policy.steps.all()]
    assert steps == [(["Alice"], [], 60), (["Bob"], ["sms"], 120)]
    shown = text(ada.get("/setup/policies/"))
    assert shown.index("Alice") < shown.index("Bob")
    assert "then waits 1 min" in shown


def test_a_policy_that_would_reach_nobody_is_refused_with_the_reason(ada: Client) -> None:
    bob = make_person("Bob", confirmed=False)
    refused = text(ada.post("/setup/policies/add/", policy_typed(f"person:{bob.pk}")))
    assert "This would reach nobody" in refused
    alice = make_person("Alice")
    wrong_way = policy_typed(f"person:{alice.pk}", channels_0=["email"])
    assert "This would reach nobody" in text(ada.post("/setup/policies/add/", wrong_way))
    assert "A policy has 1 to 10 steps." in text(ada.post("/setup/policies/add/", policy_typed()))
    assert not EscalationPolicy.objects.exists()


def test_one_that_reaches_nobody_any_more_says_so(ada: Client) -> None:
    alice = make_person("Alice")
    ada.post("/setup/policies/add/", policy_typed(f"person:{alice.pk}"))
    Contact.objects.update(confirmed_at=None)
    assert "reaches nobody now" in text(ada.get("/setup/policies/"))
    policy = EscalationPolicy.objects.get()
    assert "It reaches nobody now" in text(ada.get(reverse("setup-policy", args=[policy.uid])))


def rule_address(town: Town) -> str:
    return f"/setup/cameras/{town.gate.uid}/rules/add/"


def rule_typed(town: Town, policy: EscalationPolicy) -> dict[str, Any]:
    return {
        "name": "Person in the lane", "severity": "high", "enabled": "on", "zones": [town.zone.pk],
        "deployment": town.deployment.pk, "policy": policy.pk, "setting_labels": ["person"],
        "setting_confidence": "0.5", "setting_confirm_k": "3", "setting_confirm_n": "5",
        "setting_confirm_within_s": "3", "setting_min_travel": "0", "setting_rearm": "quiet", "setting_rearm_s": "20",
        "setting_group_by": "camera", "setting_news_after_s": "1800",
        "setting_stale_s": "120", "setting_hold_s": "2", "setting_leave_s": "1", "setting_anchor": "bottom",
    }  # fmt: skip


def test_each_rule_that_reaches_nobody_is_named_and_one_that_names_nobody_is_meant_so(town: Town) -> None:
    lane, lost = new_rule(town, name="Lane"), new_rule(town, name="Yard at night")
    lane.save()
    lost.save()
    lane.recipients.add(make_person("Alice"))
    assert queries.nobody_told() == ()
    lost.recipients.add(Recipient.objects.create(name="Bob", active=False))
    assert queries.nobody_told() == ("Yard at night",)
    Contact.objects.update(confirmed_at=None)
    assert queries.nobody_told() == ("Lane", "Yard at night")


def test_a_rule_whose_policy_has_only_ways_that_its_people_lost_is_named(town: Town) -> None:
    alice, bob = make_person("Alice"), make_person("Bob")
    rota = Rota.objects.create(name="Night", starts_on=date(2026, 1, 5), on_holidays=bob)
    rule = new_rule(town, name="Lane")
    policy = save_policy(EscalationPolicy(name="Night"), [StepDraft([alice], rotas=[rota], channels=["sms"])])
    rule.policy = policy
    rule.save()
    assert queries.nobody_told() == ()
    # Both still have an address, which the policy does not use.
    for person in (alice, bob):
        Contact.objects.create(
            recipient=person, channel="email", address=f"{person.name}@example.org", confirmed_at=timezone.now()
        )
    Contact.objects.filter(channel="sms", recipient=alice).update(opted_out_at=timezone.now())
    assert queries.nobody_told() == ()
    Contact.objects.filter(channel="sms", recipient=bob).delete()
    assert queries.nobody_told() == ("Lane",)


def test_a_rule_goes_by_a_policy_unless_that_reaches_nobody(ada: Client, town: Town) -> None:
    alice = make_person("Alice")
    ada.post("/setup/policies/add/", policy_typed(f"person:{alice.pk}"))
    policy = EscalationPolicy.objects.get()
    Contact.objects.update(confirmed_at=None)
    assert "“Night” would reach nobody" in text(ada.post(rule_address(town), rule_typed(town, policy)))
    Contact.objects.update(confirmed_at=timezone.now())
    ada.post(rule_address(town), rule_typed(town, policy))
    assert policy.rules.get().name == "Person in the lane"
    queries.forget()
    assert not queries.nobody_told()
    refused = ada.post(f"/setup/policies/{policy.uid}/delete/", follow=True)
    assert "Rules or templates go by it." in text(refused)


def test_somebody_new_on_the_rules_form_is_asked_to_confirm_next(ada: Client, town: Town) -> None:
    alice = make_person("Alice")
    ada.post("/setup/policies/add/", policy_typed(f"person:{alice.pk}"))
    new = {"recipient_name": "Guard", "recipient_sms": "+886912000999", "recipient_language": "en"}
    saved = ada.post(rule_address(town), rule_typed(town, EscalationPolicy.objects.get()) | new)
    guard = Recipient.objects.get(name="Guard")
    assert saved.headers["Location"] == f"/setup/people/{guard.uid}/"
    assert "not confirmed yet" in text(ada.get(f"/setup/people/{guard.uid}/"))


def test_the_incident_counts_down_to_the_next_step_and_says_whom_it_tells(ada: Client, town: Town) -> None:
    alice, bob = make_person("Alice"), make_person("Bob")
    rota = make_rota(bob)
    ada.post("/setup/policies/add/", policy_typed(f"person:{alice.pk}", f"rota:{rota.pk}", channels_1=["sms"]))
    rule = new_rule(town, policy=EscalationPolicy.objects.get())
    rule.save()
    soon = timezone.now() + timedelta(seconds=54)
    incident = new_incident(town.gate, town.site, rule=rule, steps_taken=1, next_step_at=soon)
    shown = text(ada.get(f"/incidents/{incident.uid}/"))
    assert "next step in" in shown
    assert re.search(r"unless acknowledged: Night \(Bob\), SMS", shown)


def test_codes_run_out(ada: Client, provider: FakeTwilio) -> None:
    contact = make_person("Guard", confirmed=False).contacts.get()
    for _ in range(confirmation.LIMITS.there[0].amount):
        ada.post(f"/contacts/{contact.uid}/send/")
    refused = ada.post(f"/contacts/{contact.uid}/send/")
    assert refused.status_code == 422
    assert "3 were sent there within an hour. The next one can go at" in text(refused)
    assert len(provider.messages) == confirmation.LIMITS.there[0].amount
