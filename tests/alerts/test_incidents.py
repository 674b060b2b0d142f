"""Incidents: grouping, telling, acknowledging, reminding; and that it all holds with many writers at once."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
from django.utils import timezone

from alerts import transitions
from alerts.incidents import (
    AnotherUnresolved,
    IllegalTransition,
    acknowledge,
    add_note,
    assign,
    record,
    reopen,
    resolve,
)
from alerts.models import Alert, Delivery, Event, Incident, IncidentTransition
from alerts.telling import take_due_steps, upcoming
from streams.models import SequenceCounter
from tests.alerts.town import EMAIL, NOON, SMS, Town, at, at_once

pytestmark = pytest.mark.django_db


def reasons() -> list[str]:
    return list(Alert.objects.order_by("pk").values_list("reason", flat=True))


def channels() -> list[str]:
    return sorted(Delivery.objects.values_list("contact__channel", flat=True))


def states() -> list[str]:
    return list(Delivery.objects.order_by("pk").values_list("state", flat=True))


# Grouping


def test_it_opens_an_incident_and_tells_everybody_by_sms_and_email(town: Town) -> None:
    town.person("Alice", SMS, EMAIL)
    town.person("Bob", ("sms", "+15005550011"))

    record([town.event()], now=at(1))

    incident = Incident.objects.get()
    assert (incident.state, incident.severity, incident.zone_name, incident.event_count) == (
        "open",
        "high",
        "Dock lane",
        1,
    )
    assert (incident.camera, incident.rule, incident.late) == (town.gate, town.rule, False)
    assert reasons() == ["opened", "opened"]
    assert channels() == ["email", "sms", "sms"]
    assert set(states()) == {"queued"}


def test_it_stores_an_event_once_however_often_it_comes(town: Town) -> None:
    town.person("Alice", SMS)
    event = town.event()

    record([event], now=at(1))
    record([event, event], now=at(2))

    assert Event.objects.count() == 1
    assert Incident.objects.get().event_count == 1
    assert Delivery.objects.count() == 1


def test_it_does_not_tell_of_a_repeat(town: Town) -> None:
    town.person("Alice", SMS)

    record([town.event()], now=at(1))
    record([town.event(happened_at=at(30))], now=at(31))

    incident = Incident.objects.get()
    assert (incident.event_count, incident.happened_at, incident.last_event_at) == (2, NOON, at(30))
    assert reasons() == ["opened"]


def test_it_keeps_places_apart(town: Town) -> None:
    record([town.event(), town.event(camera=town.yard.uid)], now=at(1))

    assert Incident.objects.count() == 2


def test_it_opens_another_after_the_first_was_resolved(town: Town) -> None:
    record([town.event()], now=at(1))
    resolve(Incident.objects.get().uid, by=town.alice, disposition="confirmed", note="", through="screen", now=at(2))

    record([town.event(happened_at=at(60))], now=at(61))

    assert sorted(Incident.objects.values_list("state", flat=True)) == ["open", "resolved"]


def test_it_does_nothing_for_a_known_event_of_a_resolved_incident(town: Town) -> None:
    event = town.event()
    record([event], now=at(1))
    resolve(Incident.objects.get().uid, by=town.alice, disposition="false", note="", through="screen", now=at(2))

    record([event], now=at(3))

    assert Incident.objects.count() == 1


def test_it_tells_again_when_it_gets_worse(town: Town) -> None:
    town.person("Alice", SMS)

    record([town.event(severity="low")], now=at(1))
    record([town.event(severity="critical", happened_at=at(5))], now=at(6))
    record([town.event(severity="medium", happened_at=at(7))], now=at(8))

    assert Incident.objects.get().severity == "critical"
    assert reasons() == ["opened", "worse"]


def test_it_tells_nobody_who_is_not_active_and_uses_no_contact_that_is_off(town: Town) -> None:
    town.person("Alice", SMS, active=False)
    bob = town.person("Bob", SMS, ("sms", "+15005550012"))
    bob.contacts.filter(order=0).update(disabled_at=NOON)

    record([town.event()], now=at(1))

    assert [delivery.contact.address for delivery in Delivery.objects.all()] == ["+15005550012"]


def test_it_sends_one_message_a_channel_and_keeps_the_other_numbers_in_reserve(town: Town) -> None:
    town.person("Alice", SMS, ("sms", "+15005550012"), EMAIL)

    record([town.event()], now=at(1))

    assert channels() == ["email", "sms"]


def test_it_sets_aside_an_event_of_a_camera_that_is_gone(town: Town) -> None:
    record([town.event(camera=town.version.uid), town.event()], now=at(1))

    assert Event.objects.count() == 1


def test_it_needs_no_rule(town: Town) -> None:
    record([town.event(source="device", kind="tamper", rule_version=None)], now=at(1))

    incident = Incident.objects.get()
    assert (incident.rule, incident.zone_name, incident.kind) == (None, "", "tamper")


# Late


def test_it_tells_of_what_is_long_past_by_email_only(town: Town) -> None:
    town.person("Alice", SMS, EMAIL)

    record([town.event()], now=at(121))

    assert Incident.objects.get().late
    assert (reasons(), channels()) == (["late"], ["email"])


def test_it_tells_of_what_is_long_past_and_critical_by_every_channel(town: Town) -> None:
    town.person("Alice", SMS, EMAIL)

    record([town.event(severity="critical")], now=at(121))

    assert (reasons(), channels()) == (["late"], ["email", "sms"])


def test_it_tells_properly_when_something_long_past_happens_again_now(town: Town) -> None:
    town.person("Alice", SMS, EMAIL)
    record([town.event()], now=at(500))

    record([town.event(happened_at=at(600))], now=at(601))

    incident = Incident.objects.get()
    assert (incident.late, incident.happened_at) == (False, at(600))
    assert reasons() == ["late", "opened"]
    assert channels() == ["email", "email", "sms"]


# What people decide


def test_it_sends_nothing_more_once_acknowledged(town: Town) -> None:
    town.person("Alice", SMS, EMAIL)
    record([town.event()], now=at(1))
    uid = Incident.objects.get().uid

    incident = acknowledge(uid, by=town.alice, through="screen", now=at(5))

    assert (incident.state, incident.acknowledged_by, incident.acknowledged_at) == ("acknowledged", town.alice, at(5))
    assert set(states()) == {"cancelled"}
    assert take_due_steps(at(500)) == 0


def test_it_writes_down_every_step(town: Town) -> None:
    record([town.event()], now=at(1))
    uid = Incident.objects.get().uid
    acknowledge(uid, by=town.alice, through="api", now=at(5))
    resolve(uid, by=town.alice, disposition="confirmed", note="Escorted out.", through="screen", now=at(9))

    steps = IncidentTransition.objects.values_list("before", "after", "through", "note", "by__username")
    assert list(steps) == [
        ("", "open", "engine", "", None),
        ("open", "acknowledged", "api", "", "alice"),
        ("acknowledged", "resolved", "screen", "Escorted out.", "alice"),
    ]
    incident = Incident.objects.get()
    assert (incident.disposition, incident.resolved_by, incident.resolved_at) == ("confirmed", town.alice, at(9))


@pytest.mark.parametrize("before", ["open", "acknowledged", "resolved"])
@pytest.mark.parametrize("action", list(transitions.STEPS))
def test_it_allows_the_steps_of_the_table_and_no_other(town: Town, before: str, action: transitions.Action) -> None:
    record([town.event()], now=at(1))
    uid = Incident.objects.get().uid
    Incident.objects.update(state=before)
    step = transitions.STEPS[action]

    if before in step.before:
        assert take(action, uid).state == step.after
    else:
        with pytest.raises(IllegalTransition, match=f"it is {before}"):
            take(action, uid)
        assert Incident.objects.get().state == before


def take(action: transitions.Action, uid: UUID) -> Incident:
    """One step with everything that it needs."""
    given: dict[str, Any] = {"by": None, "through": "api", "now": at(2)}
    match action:
        case "acknowledge":
            return acknowledge(uid, **given)
        case "resolve":
            return resolve(uid, disposition="test", note="", **given)
        case "reopen":
            return reopen(uid, note="It burns again.", **given)


@pytest.mark.parametrize(("disposition", "reason"), [("confirmed", "rain"), ("false", "boredom")])
def test_it_refuses_a_cause_that_does_not_belong(town: Town, disposition: str, reason: str) -> None:
    record([town.event()], now=at(1))
    uid = Incident.objects.get().uid
    given = {"disposition": disposition, "false_reason": reason, "note": "", "through": "api"}
    with pytest.raises(ValueError, match=f"false_reason: expected .*{reason}"):
        resolve(uid, by=None, now=at(2), **given)  # type: ignore[arg-type]
    assert Incident.objects.get().state == "open"


@pytest.mark.parametrize(("disposition", "to"), [("confirmed", "police"), ("handed_over", "the mayor")])
def test_it_refuses_to_hand_over_to_nobody_it_knows(town: Town, disposition: str, to: str) -> None:
    record([town.event()], now=at(1))
    given = {"disposition": disposition, "handed_to": to, "note": "", "through": "api"}
    with pytest.raises(ValueError, match=f"handed_to: expected .*{to}"):
        resolve(Incident.objects.get().uid, by=None, now=at(2), **given)  # type: ignore[arg-type]


def test_it_refuses_a_disposition_that_there_is_not(town: Town) -> None:
    record([town.event()], now=at(1))

    with pytest.raises(ValueError, match="expected one of confirmed, false"):
        resolve(Incident.objects.get().uid, by=None, disposition="whatever", note="", through="api", now=at(2))


def test_it_does_not_know_every_uid(town: Town) -> None:
    with pytest.raises(Incident.DoesNotExist):
        acknowledge(town.zone, by=None, through="api", now=at(2))


def test_it_numbers_changes_in_the_order_of_commits(town: Town) -> None:
    record([town.event()], now=at(1))
    first = Incident.objects.get()
    record([town.event(camera=town.yard.uid)], now=at(2))
    acknowledge(first.uid, by=town.alice, through="screen", now=at(3))

    changes = dict(Incident.objects.values_list("camera__name", "change"))
    assert changes["Gate"] > changes["Yard"] > first.change > 0
    assert SequenceCounter.current(SequenceCounter.CHANGES) == changes["Gate"]


# Going back


def resolved(town: Town) -> Incident:
    record([town.event()], now=at(1))
    uid = Incident.objects.get().uid
    acknowledge(uid, by=town.alice, through="screen", now=at(5))
    given: dict[str, Any] = {"disposition": "handed_over", "handed_to": "police", "note": "Gone."}
    return resolve(uid, by=town.alice, through="screen", now=at(9), **given)


def test_it_opens_again_as_if_nobody_had_it_and_is_told_again(town: Town) -> None:
    town.person("Alice", SMS)
    incident = reopen(resolved(town).uid, by=town.alice, note="He is back.", through="screen", now=at(20))

    assert (incident.state, incident.reopened_at) == ("open", at(20))
    for column in ("acknowledged_by", "acknowledged_at", "owner", "resolved_by", "resolved_at"):
        assert getattr(incident, column) is None, column
    assert (incident.disposition, incident.handed_to) == ("", "")
    assert reasons() == ["opened", "reopened"]
    assert states() == ["cancelled", "queued"]
    last = IncidentTransition.objects.last()
    assert last is not None
    assert (last.before, last.after, last.note, last.by) == ("resolved", "open", "He is back.", town.alice)


def test_it_opens_again_and_again_and_tells_each_time(town: Town) -> None:
    town.person("Alice", SMS)
    incident = resolved(town)
    for seconds in (20, 30):
        reopen(incident.uid, by=town.alice, note="Back.", through="screen", now=at(seconds))
        resolve(incident.uid, by=town.alice, disposition="test", note="", through="screen", now=at(seconds + 1))
    assert list(Alert.objects.values_list("reason", "step")) == [("opened", 0), ("reopened", 1), ("reopened", 2)]


def test_it_is_refused_while_the_same_rule_has_another_there(town: Town) -> None:
    first = resolved(town)
    record([town.event(happened_at=at(30))], now=at(31))
    other = Incident.objects.exclude(pk=first.pk).get()

    with pytest.raises(AnotherUnresolved, match=f"got {other.uid}; go on with that one") as refused:
        reopen(first.uid, by=town.alice, note="Back.", through="screen", now=at(40))

    assert refused.value.other == other.uid
    first.refresh_from_db()
    assert (first.state, first.disposition) == ("resolved", "handed_over")
    assert not IncidentTransition.objects.filter(incident=first, before="resolved").exists()


def test_it_needs_the_reason(town: Town) -> None:
    with pytest.raises(ValueError, match="reopen: expected note"):
        reopen(resolved(town).uid, by=town.alice, note="  ", through="screen", now=at(20))
    assert Incident.objects.get().state == "resolved"


def test_its_events_go_to_it_once_it_is_open_again(town: Town) -> None:
    incident = resolved(town)
    reopen(incident.uid, by=town.alice, note="Back.", through="screen", now=at(20))
    record([town.event(happened_at=at(30))], now=at(31))
    assert Incident.objects.get().event_count == 2


# Whose it is, and notes


def test_one_that_is_given_to_somebody_stays_open(town: Town) -> None:
    town.person("Alice", SMS)
    record([town.event()], now=at(0))
    incident = assign(Incident.objects.get().uid, to=town.alice, by=None, through="api", now=at(5))
    assert (incident.state, incident.owner, incident.acknowledged_by) == ("open", town.alice, None)
    assert states() == ["queued"]
    line = IncidentTransition.objects.get(action="assign")
    assert (line.to, line.by, line.through, line.at) == (town.alice, None, "api", at(5))


def test_whoever_acknowledges_it_has_it(town: Town) -> None:
    record([town.event()], now=at(0))
    uid = Incident.objects.get().uid
    bob = type(town.alice).objects.create_user("bob")
    assign(uid, to=bob, by=None, through="api", now=at(5))
    assert acknowledge(uid, by=town.alice, through="screen", now=at(6)).owner == town.alice
    given = assign(uid, to=bob, by=town.alice, through="screen", now=at(7))
    assert (given.state, given.owner, given.acknowledged_by) == ("acknowledged", bob, town.alice)


def test_nobody_is_given_what_is_over(town: Town) -> None:
    incident = resolved(town)
    with pytest.raises(IllegalTransition, match="it is resolved"):
        assign(incident.uid, to=town.alice, by=None, through="api", now=at(20))


def test_notes_are_added_and_stay_whatever_the_state(town: Town) -> None:
    incident = resolved(town)
    add_note(incident.uid, text="Police ref. 77\0", by=town.alice, through="screen", now=at(20))
    add_note(incident.uid, text="Closed there.", by=town.alice, through="api", now=at(30))
    notes = IncidentTransition.objects.filter(action="note").values_list("note", "through")
    assert list(notes) == [("Police ref. 77", "screen"), ("Closed there.", "api")]
    with pytest.raises(ValueError, match="note: expected some words"):
        add_note(incident.uid, text=" ", by=town.alice, through="screen", now=at(40))
    with pytest.raises(Incident.DoesNotExist):
        add_note(town.zone, text="x", by=None, through="api", now=at(40))


# Reminding


def sent_all() -> None:
    Delivery.objects.update(state="sent")


def test_it_reminds_once_after_two_minutes(town: Town) -> None:
    town.person("Alice", SMS, EMAIL)
    record([town.event()], now=at(0))
    sent_all()

    assert take_due_steps(at(119)) == 0
    assert take_due_steps(at(120)) == 1
    sent_all()
    assert take_due_steps(at(1000)) == 0
    assert reasons() == ["opened", "reminder"]
    assert Delivery.objects.count() == 4


def test_it_says_when_it_will_remind(town: Town) -> None:
    town.person("Alice", SMS)
    record([town.event()], now=at(0))
    coming = upcoming(Incident.objects.get())

    assert coming is not None
    assert coming.at == at(120)
    sent_all()
    take_due_steps(at(120))
    assert upcoming(Incident.objects.get()) is None


def test_it_counts_the_two_minutes_from_the_last_alert(town: Town) -> None:
    town.person("Alice", SMS)
    record([town.event(severity="low")], now=at(0))
    record([town.event(severity="high")], now=at(60))
    sent_all()

    assert take_due_steps(at(130)) == 0
    assert take_due_steps(at(180)) == 1


def test_it_does_not_remind_where_the_first_message_still_waits(town: Town) -> None:
    town.person("Alice", SMS, EMAIL)
    record([town.event()], now=at(0))
    Delivery.objects.filter(contact__channel="sms").update(state="sent")

    take_due_steps(at(120))

    reminders = Delivery.objects.filter(alert__reason="reminder")
    assert [delivery.contact.channel for delivery in reminders] == ["sms"]


# Many at once


@pytest.mark.django_db(transaction=True)
def test_it_opens_one_incident_for_many_writers(shared_town: Town) -> None:
    shared_town.person("Alice", SMS)
    events = [shared_town.event(happened_at=timezone.now()) for _ in range(12)]

    results = at_once(*(lambda event=event: record([event], now=timezone.now()) for event in events))

    assert results == [None] * 12
    incident = Incident.objects.get()
    assert incident.event_count == 12
    assert Delivery.objects.count() == 1
    assert Event.objects.filter(incident=incident).count() == 12


@pytest.mark.django_db(transaction=True)
def test_it_stores_the_same_event_once_for_many_writers(shared_town: Town) -> None:
    event = shared_town.event(happened_at=timezone.now())

    results = at_once(*(lambda: record([event], now=timezone.now()) for _ in range(8)))

    assert results == [None] * 8
    assert (Event.objects.count(), Incident.objects.get().event_count) == (1, 1)


@pytest.mark.django_db(transaction=True)
def test_it_lets_one_of_many_acknowledge(shared_town: Town) -> None:
    record([shared_town.event()], now=at(1))
    uid = Incident.objects.get().uid

    results = at_once(*(lambda: acknowledge(uid, by=None, through="api", now=at(5)) for _ in range(8)))

    assert sum(isinstance(result, Incident) for result in results) == 1
    assert sum(isinstance(result, IllegalTransition) for result in results) == 7
    assert IncidentTransition.objects.filter(after="acknowledged").count() == 1


@pytest.mark.django_db(transaction=True)
def test_it_loses_no_event_that_races_with_a_resolution(shared_town: Town) -> None:
    record([shared_town.event()], now=at(1))
    uid = Incident.objects.get().uid

    at_once(
        lambda: resolve(uid, by=None, disposition="test", note="", through="api", now=at(2)),
        *(lambda: record([shared_town.event(happened_at=at(3))], now=at(3)) for _ in range(4)),
    )

    assert Event.objects.filter(incident__isnull=False).count() == 5
    assert sum(Incident.objects.values_list("event_count", flat=True)) == 5
    assert Incident.objects.exclude(state="resolved").count() <= 1
