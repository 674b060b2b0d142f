"""Escalation: in order, each step once, and no further once somebody has it; the arithmetic and the rows."""

from __future__ import annotations

import importlib
import random
from datetime import datetime, time, timedelta
from itertools import pairwise

import pytest
from django.apps import apps
from django.db import connection
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from alerts import telling
from alerts.auditor import audit
from alerts.duty import outlooks
from alerts.escalation import IMPLICIT, Plan, next_at, told_otherwise
from alerts.incidents import acknowledge, record, resolve
from alerts.models import (
    Alert,
    Contact,
    Delivery,
    EscalationPolicy,
    Incident,
    Recipient,
    Rota,
    RotaMember,
    Team,
)
from alerts.policies import StepDraft, save_policy
from alerts.telling import take_due_steps, upcoming
from tests.alerts.town import EMAIL, NOON, SMS, Town, at, at_once

# The arithmetic


def test_it_waits_after_each_step_and_ends_after_the_last() -> None:
    plan = Plan((60.0, 30.0))
    assert next_at(plan, 1, NOON) == at(60)
    assert next_at(plan, 2, NOON) is None


def test_it_begins_again_as_often_as_asked() -> None:
    plan, now, waits_s = Plan((60.0, 30.0), repeats=1), NOON, []
    for taken in range(1, plan.count):
        due_at = next_at(plan, taken, now)
        assert due_at is not None
        waits_s.append((due_at - now).total_seconds())
        now = due_at
    assert waits_s == [60.0, 30.0, 60.0]
    assert next_at(plan, plan.count, now) is None


def test_it_does_not_wait_for_a_step_that_reached_nobody() -> None:
    assert next_at(Plan((600.0, 30.0)), 1, NOON, reached=False) == NOON


def test_news_puts_off_only_those_who_would_hear_it_twice() -> None:
    assert told_otherwise(IMPLICIT, 1, at(120), at(60)) == at(180)
    assert told_otherwise(Plan((60.0, 30.0)), 1, at(60), at(50)) == at(60)
    assert told_otherwise(IMPLICIT, 2, None, at(60)) is None


@given(
    st.lists(st.floats(30, 3600), min_size=1, max_size=5), st.integers(0, 3), st.lists(st.floats(0.1, 900), max_size=60)
)
def test_whenever_somebody_looks_the_steps_come_in_order_and_once(
    waits_s: list[float], repeats: int, looks_s: list[float]
) -> None:
    plan = Plan(tuple(waits_s), repeats)
    now, taken, due_at, done = NOON, 1, next_at(plan, 1, NOON), [(0, NOON)]
    for pause_s in looks_s:
        now += timedelta(seconds=pause_s)
        if due_at is not None and due_at <= now:
            done.append((taken, now))
            taken += 1
            due_at = next_at(plan, taken, now)
    assert [number for number, _ in done] == list(range(len(done)))
    assert len(done) <= plan.count
    for (number, before), (_, after) in pairwise(done):
        assert (after - before).total_seconds() >= plan.waits_s[plan.index(number)] - 1e-3


# The rows


def policy_of(town: Town, *steps: StepDraft, repeats: int = 0) -> EscalationPolicy:
    """A policy that the town's rule follows from now on."""
    policy = save_policy(EscalationPolicy(name="Night", repeats=repeats), steps)
    town.rule.policy = policy
    town.rule.save()
    return policy


def somebody(name: str, *contacts: tuple[str, str], town: Town) -> Recipient:
    """A person who is not one of the rule's own recipients."""
    person = town.person(name, *contacts)
    town.rule.recipients.remove(person)
    return person


def told() -> list[tuple[str, int]]:
    return list(Alert.objects.order_by("pk").values_list("recipient__name", "step"))


def sent_all() -> None:
    Delivery.objects.update(state="sent")


@pytest.mark.django_db
def test_it_tells_one_step_after_the_other(town: Town) -> None:
    guard, chief = somebody("Guard", SMS, town=town), somebody("Chief", EMAIL, town=town)
    policy_of(town, StepDraft([guard], wait_s=60), StepDraft([chief], wait_s=300))

    record([town.event()], now=at(0))
    assert told() == [("Guard", 0)]
    sent_all()
    take_due_steps(at(59))
    assert told() == [("Guard", 0)]
    take_due_steps(at(60))
    assert told() == [("Guard", 0), ("Chief", 1)]
    take_due_steps(at(9000))
    assert len(told()) == 2


@pytest.mark.django_db
def test_it_goes_through_the_steps_again(town: Town) -> None:
    guard, chief = somebody("Guard", SMS, town=town), somebody("Chief", EMAIL, town=town)
    policy_of(town, StepDraft([guard], wait_s=60), StepDraft([chief], wait_s=60), repeats=1)
    record([town.event()], now=at(0))
    for second in range(1, 400):
        sent_all()
        take_due_steps(at(second))
    assert told() == [("Guard", 0), ("Chief", 1), ("Guard", 2), ("Chief", 3)]


@pytest.mark.django_db
def test_it_tells_the_rules_own_recipients_with_the_first_step(town: Town) -> None:
    town.person("Alice", SMS)
    chief = somebody("Chief", EMAIL, town=town)
    policy_of(town, StepDraft([chief], wait_s=60))

    record([town.event()], now=at(0))

    assert sorted(told()) == [("Alice", 0), ("Chief", 0)]


@pytest.mark.django_db
def test_it_uses_only_the_ways_that_the_step_names(town: Town) -> None:
    guard = somebody("Guard", SMS, EMAIL, town=town)
    policy_of(town, StepDraft([guard], channels=["email"]))

    record([town.event()], now=at(0))

    assert [one.contact.channel for one in Delivery.objects.all()] == ["email"]


@pytest.mark.django_db
def test_it_tells_a_team_and_whoever_is_on_duty_then(town: Town) -> None:
    alice, bob, chief = (somebody(name, ("sms", f"+1500555001{n}"), town=town) for n, name in enumerate("ABC"))
    rota = Rota.objects.create(name="Night", weekday=6, hand_over_at=time(4, 1), starts_on=(NOON - timedelta(7)).date())
    for order, person in enumerate((alice, bob)):
        RotaMember.objects.create(rota=rota, recipient=person, order=order)
    team = Team.objects.create(name="Chiefs")
    team.members.add(chief)
    policy_of(town, StepDraft(rotas=[rota], wait_s=60), StepDraft(rotas=[rota], teams=[team]))

    record([town.event()], now=at(0))
    assert told() == [("A", 0)]
    sent_all()
    # At noon and a minute the duty was handed over: the second step tells whoever has it by then.
    coming = upcoming(Incident.objects.get())
    assert coming is not None
    assert (coming.duties, coming.names) == ((("Night", "B"),), ("Chiefs",))
    take_due_steps(at(61))
    assert sorted(told()) == [("A", 0), ("B", 1), ("C", 1)]


@pytest.mark.django_db
def test_where_nobody_is_on_duty_the_next_step_does_not_wait(town: Town) -> None:
    alice, chief = somebody("Alice", SMS, town=town), somebody("Chief", EMAIL, town=town)
    rota = Rota.objects.create(name="Night", starts_on=(NOON + timedelta(30)).date())
    RotaMember.objects.create(rota=rota, recipient=alice, order=0)
    policy_of(town, StepDraft(rotas=[rota], wait_s=3600), StepDraft([chief]))

    record([town.event()], now=at(0))
    assert told() == []
    take_due_steps(at(1))
    assert told() == [("Chief", 1)]
    [seen] = outlooks(NOON, timedelta(days=60))
    assert seen.now.recipient is None
    assert seen.now.gap
    assert seen.next is not None
    assert seen.next.recipient == alice


@pytest.mark.django_db
@pytest.mark.parametrize("how", ["acknowledge", "resolve", "silence"])
def test_it_stops_when_somebody_has_it(town: Town, how: str) -> None:
    guard, chief = somebody("Guard", SMS, town=town), somebody("Chief", EMAIL, town=town)
    policy_of(town, StepDraft([guard], wait_s=60), StepDraft([chief], wait_s=60))
    record([town.event()], now=at(0))
    incident = Incident.objects.get()

    stop(how, incident)

    assert take_due_steps(at(9000)) == 0
    assert told() == [("Guard", 0)]
    incident.refresh_from_db()
    assert upcoming(incident) is None


def stop(how: str, incident: Incident) -> None:
    match how:
        case "acknowledge":
            acknowledge(incident.uid, by=None, through="api", now=at(5))
        case "resolve":
            resolve(incident.uid, by=None, disposition="test", note="", through="api", now=at(5))
        case _:
            telling.stop(incident)


@pytest.mark.django_db
def test_it_takes_no_step_that_was_found_due_before_a_silence(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    guard, chief = somebody("Guard", SMS, town=town), somebody("Chief", EMAIL, town=town)
    policy_of(town, StepDraft([guard], wait_s=60), StepDraft([chief], wait_s=60))
    record([town.event()], now=at(0))
    take_due = telling._take_due

    def after_a_silence(incident: Incident, now: datetime) -> bool:
        telling.stop(Incident.objects.get())
        return take_due(incident, now)

    monkeypatch.setattr(telling, "_take_due", after_a_silence)
    assert take_due_steps(at(61)) == 0
    assert told() == [("Guard", 0)]


@pytest.mark.django_db
def test_after_a_silence_the_steps_that_are_left_are_taken(town: Town) -> None:
    guard, chief = somebody("Guard", SMS, town=town), somebody("Chief", EMAIL, town=town)
    policy_of(town, StepDraft([guard], wait_s=60), StepDraft([chief], wait_s=60))
    record([town.event()], now=at(0))
    sent_all()
    incident = Incident.objects.get()
    telling.stop(incident)
    incident.refresh_from_db()

    assert telling.go_on(incident, at(500))
    take_due_steps(at(500))
    assert told() == [("Guard", 0), ("Chief", 1)]
    incident.refresh_from_db()
    assert not telling.go_on(incident, at(600))


@pytest.mark.django_db
def test_one_whose_step_cannot_be_taken_holds_no_other_up_and_is_found(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    guard = somebody("Guard", SMS, town=town)
    rota = Rota.objects.create(name="Night", starts_on=(NOON - timedelta(7)).date())
    policy_of(town, StepDraft([guard], wait_s=60), StepDraft([guard], rotas=[rota], wait_s=60))
    record([town.event(), town.event(camera=town.yard.uid)], now=at(0))
    sent_all()

    def broken(*_: object) -> None:
        raise RuntimeError("broken")

    # Of the two the first one due is told by it.
    monkeypatch.setattr("alerts.duty.on_duty", broken)
    yard = Incident.objects.get(camera=town.yard)
    Incident.objects.filter(pk=yard.pk).update(rule=None, next_step_at=at(61))

    assert take_due_steps(at(62)) == 1
    assert Alert.objects.filter(incident=yard, reason="reminder").count() == 1
    assert "stopped" in [finding.code for finding in audit(at(200))]


@pytest.mark.django_db
def test_an_edit_holds_from_the_next_step_on(town: Town) -> None:
    guard, chief, mayor = (somebody(name, ("email", f"{name}@example.org"), town=town) for name in "GCM")
    policy = policy_of(town, StepDraft([guard], wait_s=60), StepDraft([chief], wait_s=60))
    record([town.event()], now=at(0))
    sent_all()

    save_policy(policy, [StepDraft([guard], wait_s=60), StepDraft([mayor], wait_s=60)])
    take_due_steps(at(60))

    assert told() == [("G", 0), ("M", 1)]


@pytest.mark.django_db
def test_a_policy_that_became_shorter_ends(town: Town) -> None:
    guard, chief = somebody("Guard", SMS, town=town), somebody("Chief", EMAIL, town=town)
    policy = policy_of(town, StepDraft([guard], wait_s=60), StepDraft([chief], wait_s=60))
    record([town.event()], now=at(0))

    save_policy(policy, [StepDraft([guard], wait_s=60)])
    take_due_steps(at(60))

    assert told() == [("Guard", 0)]
    assert Incident.objects.get().next_step_at is None


@pytest.mark.django_db
def test_when_it_gets_worse_those_hear_of_it_who_were_told(town: Town) -> None:
    guard, chief = somebody("Guard", SMS, town=town), somebody("Chief", EMAIL, town=town)
    policy_of(town, StepDraft([guard], wait_s=60), StepDraft([chief], wait_s=60))
    record([town.event(severity="low")], now=at(0))
    record([town.event(severity="high")], now=at(50))

    assert list(Alert.objects.values_list("recipient__name", "reason")) == [("Guard", "opened"), ("Guard", "worse")]
    # Somebody else is not kept waiting for that.
    assert Incident.objects.get().next_step_at == at(60)


# Quiet hours


def sleeper(town: Town, *contacts: tuple[str, str]) -> Recipient:
    """Alice sleeps from eleven to one at noon, by the clock of the site."""
    alice = town.person("Alice", *contacts)
    alice.quiet_from, alice.quiet_until = time(11), time(13)
    alice.save()
    return alice


@pytest.mark.django_db
@pytest.mark.parametrize(("severity", "channels"), [("high", ["email"]), ("critical", ["email", "sms"])])
def test_only_what_is_critical_wakes_somebody(town: Town, severity: str, channels: list[str]) -> None:
    sleeper(town, SMS, EMAIL)
    record([town.event(severity=severity)], now=at(0))
    assert sorted(Delivery.objects.values_list("contact__channel", flat=True)) == channels


@pytest.mark.django_db
def test_whoever_has_a_number_only_is_woken_when_it_gets_critical_and_by_nothing_before(town: Town) -> None:
    sleeper(town, SMS)
    record([town.event(severity="high")], now=at(0))
    take_due_steps(at(130))
    record([town.event(severity="high", camera=town.yard.uid)], now=at(140))
    assert set(Delivery.objects.values_list("held", "not_before_at")) == {("quiet", at(3600))}

    record([town.event(severity="critical", happened_at=at(200))], now=at(200))

    told = Delivery.objects.exclude(held="quiet").values_list("alert__reason", "not_before_at")
    assert list(told) == [("worse", at(200))]


@pytest.mark.django_db
@pytest.mark.parametrize("channel", ["webhook", "apprise"])
def test_what_rings_no_telephone_comes_in_quiet_hours_too(town: Town, channel: str) -> None:
    sleeper(town, SMS, (channel, "https://hooks.example.org/x"))
    record([town.event()], now=at(0))
    assert list(Delivery.objects.values_list("contact__channel", flat=True)) == [channel]


@pytest.mark.django_db
def test_somebody_who_sleeps_and_has_no_address_is_told_later_and_not_waited_for(town: Town) -> None:
    alice = sleeper(town, SMS)
    chief = somebody("Chief", EMAIL, town=town)
    policy_of(town, StepDraft([alice], wait_s=3600), StepDraft([chief]))
    town.rule.recipients.clear()

    record([town.event()], now=at(0))
    take_due_steps(at(1))

    told = Delivery.objects.values_list("contact__recipient__name", "held", "not_before_at")
    assert list(told) == [("Alice", "quiet", at(3600)), ("Chief", "", at(1))]


# Coming from a version without any of this


@pytest.mark.django_db
def test_whoever_was_told_before_goes_on_being_told_and_is_reminded_where_that_was_due(town: Town) -> None:
    town.person("Alice", SMS)
    record([town.event()], now=at(0))
    record([town.event(camera=town.yard.uid)], now=at(0))
    sent_all()
    yard = Incident.objects.get(camera=town.yard)
    Alert.objects.create(incident=yard, recipient=Recipient.objects.get(), reason="reminder", step=1, created_at=at(1))
    Contact.objects.update(confirmed_at=None)
    Incident.objects.update(steps_taken=0, next_step_at=None)

    migration = importlib.import_module("alerts.migrations.0009_people")
    migration.confirm_contacts(apps, connection.schema_editor())
    migration.number_steps(apps, connection.schema_editor())

    assert Contact.objects.usable().count() == 1
    steps = dict(Incident.objects.values_list("camera__name", "steps_taken"))
    assert steps == {"Gate": 1, "Yard": 2}
    assert take_due_steps(at(120)) == 1
    assert Alert.objects.filter(incident__camera=town.gate, reason="reminder").count() == 1


# Many at once, and restarts


@pytest.mark.django_db
# The town stays the same from one example to the next, its incidents do not.
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    pauses_s=st.lists(st.integers(1, 200), min_size=1, max_size=12),
    how=st.sampled_from(["acknowledge", "resolve", "silence"]),
    stopped_after=st.integers(0, 12),
)
def test_whatever_the_moments_of_the_sweeps_no_step_is_skipped_or_run_twice_and_none_after_the_end(
    town: Town, pauses_s: list[int], how: str, stopped_after: int
) -> None:
    Incident.objects.all().delete()
    people = [town_person(town, n) for n in range(3)]
    policy = EscalationPolicy.objects.filter(name="Night").first()
    town.rule.policy = policy or policy_of(town, *(StepDraft([one], wait_s=60) for one in people), repeats=1)
    record([town.event()], now=at(0))
    seconds, steps_at_the_end = 0, None
    for turn, pause_s in enumerate(pauses_s):
        if turn == stopped_after:
            stop(how, Incident.objects.get())
            steps_at_the_end = len(told())
        seconds += pause_s
        Delivery.objects.filter(state="queued").update(state="sent")
        for _sweep in range(random.Random(pause_s).randint(1, 3)):  # a restart looks again at the same moment
            take_due_steps(at(seconds))
    steps = [step for _name, step in told()]
    assert steps == list(range(len(steps)))
    assert len(steps) <= 6
    assert steps_at_the_end is None or len(steps) == steps_at_the_end


def town_person(town: Town, number: int) -> Recipient:
    found = Recipient.objects.filter(name=f"P{number}").first()
    return found or somebody(f"P{number}", ("sms", f"+1500555002{number}"), town=town)


@pytest.mark.django_db(transaction=True)
def test_many_sweeps_at_once_take_a_step_once(shared_town: Town) -> None:
    guard, chief = somebody("Guard", SMS, town=shared_town), somebody("Chief", EMAIL, town=shared_town)
    policy_of(shared_town, StepDraft([guard], wait_s=60), StepDraft([chief], wait_s=60))
    record([shared_town.event()], now=at(0))
    sent_all()

    results = at_once(*(lambda: take_due_steps(at(61)) for _ in range(6)))

    assert sum(results) == 1
    assert told() == [("Guard", 0), ("Chief", 1)]
    assert Delivery.objects.count() == 2


@pytest.mark.django_db(transaction=True)
def test_an_acknowledgement_and_a_step_at_the_same_moment_are_one_before_the_other(shared_town: Town) -> None:
    guard, chief = somebody("Guard", SMS, town=shared_town), somebody("Chief", EMAIL, town=shared_town)
    policy_of(shared_town, StepDraft([guard], wait_s=60), StepDraft([chief], wait_s=60))
    record([shared_town.event()], now=at(0))
    sent_all()
    uid = Incident.objects.get().uid

    at_once(
        lambda: acknowledge(uid, by=None, through="api", now=at(61)),
        *(lambda: take_due_steps(at(61)) for _ in range(3)),
    )

    assert Incident.objects.get().state == "acknowledged"
    # Either the step came first, and its message was taken back, or it never came.
    assert not Delivery.objects.filter(state="queued").exists()
    assert len(told()) <= 2
