"""Muting through the database: nobody is told, nothing is lost, and what is still news is told once afterwards."""

from __future__ import annotations

from datetime import datetime, time, timedelta
from typing import Any

import pytest
from django.db.models import F
from django.utils import timezone
from pytest_django import Settings

from alerts.auditor import audit
from alerts.delivery import claim, deliver, unclaim
from alerts.incidents import (
    acknowledge,
    keep_mutes,
    record,
    reopen,
    resolve,
)
from alerts.models import (
    Alert,
    Delivery,
    Incident,
    IncidentTransition,
    MaintenanceWindow,
    Recipient,
    Rule,
    RuleVersion,
    Silence,
    Zone,
)
from alerts.models import Event as EventRow
from alerts.outages import open_outages
from alerts.silences import (
    by_phase,
    change_silence,
    end_silence,
    make_silence,
    phase,
    remove_window,
    save_window,
)
from alerts.telling import take_due_steps, upcoming
from streams.models import BlindSpan, Camera, SequenceCounter, Source, View
from tests.alerts.town import EMAIL, NOON, SMS, Town, at, at_once
from tests.services.twilio import FakeTwilio

pytestmark = pytest.mark.django_db
HOUR = 3600.0


def silence(town: Town, from_s: float = 0, until_s: float = HOUR, now: datetime = NOON, **more: Any) -> Silence:
    given: dict[str, Any] = {"author": town.alice, "reason": "Painters", "now": now}
    matchers = more.pop("matchers", {"cameras": [str(town.gate.uid)]})
    return make_silence(matchers, from_at=at(from_s), until_at=at(until_s), **given | more)


def test_a_message_that_is_queued_waits_until_nothing_mutes_its_incident(
    town: Town, twilio: FakeTwilio, settings: Settings
) -> None:
    settings.TWILIO = twilio.settings
    town.person("Alice", SMS)
    record([town.event(frame=None, severity="critical")], now=at(0))
    row = Delivery.objects.get()
    made = silence(town, from_s=1, now=at(1))

    assert [deliver(row.uid, clock=lambda s=s: at(s)) for s in (2, 70, 200)] == [None] * 3
    row.refresh_from_db()
    assert (row.state, row.held, len(twilio.messages)) == ("queued", "muted", 0)

    end_silence(made, by=town.alice, now=at(300))
    assert deliver(row.uid, clock=lambda: at(300)) == "sent"


def recorded_in_quiet_hours(town: Town) -> None:
    """In those of the only one who is told, from eleven to thirteen o'clock."""
    alice = town.person("Alice", SMS)
    alice.quiet_from, alice.quiet_until = time(11), time(13)
    alice.save()
    record([town.event(frame=None)], now=at(0))


def test_what_waits_for_the_end_of_quiet_hours_waits_on_when_a_silence_ends_before(
    town: Town, twilio: FakeTwilio, settings: Settings
) -> None:
    settings.TWILIO = twilio.settings
    recorded_in_quiet_hours(town)
    made = silence(town, from_s=1, now=at(1))
    end_silence(made, by=town.alice, now=at(300))
    row = Delivery.objects.get()

    assert [deliver(row.uid, clock=lambda s=s: at(s)) for s in (300, HOUR - 1)] == [None] * 2
    assert (Delivery.objects.get().held, twilio.messages) == ("quiet", [])
    assert deliver(row.uid, clock=lambda: at(HOUR)) == "sent"


def test_one_that_is_silenced_when_quiet_hours_end_waits_for_both(
    town: Town, twilio: FakeTwilio, settings: Settings
) -> None:
    settings.TWILIO = twilio.settings
    recorded_in_quiet_hours(town)
    made = silence(town, from_s=1, until_s=3 * HOUR, now=at(1))
    row = Delivery.objects.get()

    assert deliver(row.uid, clock=lambda: at(HOUR)) is None
    end_silence(made, by=town.alice, now=at(2 * HOUR))
    assert deliver(row.uid, clock=lambda: at(2 * HOUR)) == "sent"


def test_a_message_that_failed_is_not_tried_again_while_its_incident_is_muted(
    town: Town, twilio: FakeTwilio, settings: Settings
) -> None:
    settings.TWILIO, twilio.mode = twilio.settings, "429"
    town.person("Alice", SMS)
    record([town.event(frame=None)], now=at(0))
    row = Delivery.objects.get()
    claim(row.pk, "somebody", at(0))
    silence(town, from_s=1, now=at(1))
    row.refresh_from_db()
    assert row.state == "sending"

    unclaim(row.pk, "somebody", at(2))
    assert deliver(row.uid, clock=lambda: at(9)) is None
    assert (Delivery.objects.get().held, twilio.requests, audit(at(50))) == ("muted", [], [])


def test_what_is_muted_is_left_out_of_a_message_about_several(town: Town) -> None:
    town.person("Alice", SMS)
    record([town.event(frame=None), town.event(frame=None, camera=town.yard.uid)], now=at(0))
    Incident.objects.filter(camera=town.yard).update(muted_by="window")
    Delivery.objects.update(held="flood")
    row = Delivery.objects.get(alert__incident__camera=town.gate)

    assert deliver(row.uid, clock=lambda: at(1)) == "sent"
    other = Delivery.objects.exclude(pk=row.pk).get()
    assert (other.state, other.carried_by) == ("queued", None)


def window(town: Town, **more: Any) -> MaintenanceWindow:
    """Each Sunday around noon, by Taipei's clock."""
    schedule = [{"days": [6], "from": "11:00", "until": "13:00"}]
    given = {"name": "Fire drill", "site": town.site, "schedule": schedule, "author": town.alice}
    return save_window(MaintenanceWindow(**given | more), now=NOON)


def incident() -> Incident:
    return Incident.objects.get()


def reasons() -> list[str]:
    return list(Alert.objects.order_by("pk").values_list("reason", flat=True))


def history() -> list[str]:
    return list(IncidentTransition.objects.order_by("pk").values_list("action", flat=True))


# Silences


def test_a_silenced_incident_is_there_and_tells_nobody(town: Town) -> None:
    town.person("Alice", SMS, EMAIL)
    made = silence(town)
    record([town.event()], now=at(1))
    assert (incident().state, incident().muted_by, incident().muted_silence) == ("open", "silence", made)
    assert incident().untold == "opened"
    assert reasons() == []
    assert history() == ["step", "mute"]
    line = IncidentTransition.objects.get(action="mute")
    assert (line.after, line.by, line.note, line.through) == ("silence", town.alice, "Painters", "engine")


def test_what_it_does_not_mean_is_told(town: Town) -> None:
    town.person("Alice", SMS)
    silence(town, matchers={"cameras": [str(town.yard.uid)]})
    record([town.event()], now=at(1))
    assert (incident().muted_by, reasons()) == ("", ["opened"])


def test_when_it_ends_what_is_still_open_is_told_once(town: Town) -> None:
    town.person("Alice", SMS)
    silence(town)
    record([town.event()], now=at(1))

    assert keep_mutes(at(HOUR - 1)) == 0
    assert keep_mutes(at(HOUR)) == 1
    assert keep_mutes(at(HOUR + 1)) == 0
    assert (incident().muted_by, incident().untold) == ("", "")
    assert reasons() == ["opened"]
    assert Delivery.objects.count() == 1
    assert history() == ["step", "mute", "unmute"]


def test_ended_early_it_is_told_at_once(town: Town) -> None:
    town.person("Alice", SMS)
    made = silence(town)
    record([town.event()], now=at(1))
    end_silence(made, by=town.alice, now=at(5))
    assert (made.until_at, made.ended_by) == (at(5), town.alice)
    assert reasons() == ["opened"]


def test_repeats_while_it_lasts_are_counted_and_make_no_second_message(town: Town) -> None:
    town.person("Alice", SMS)
    silence(town)
    for seconds in range(1, 9):
        record([town.event(happened_at=at(seconds), severity="low" if seconds == 1 else "high")], now=at(seconds))
    keep_mutes(at(HOUR))
    assert incident().event_count == 8
    assert reasons() == ["opened"]


def test_news_about_what_was_told_before_waits_too(town: Town) -> None:
    town.person("Alice", SMS)
    record([town.event(severity="low")], now=at(0))
    silence(town, now=at(1))
    record([town.event(severity="critical", happened_at=at(2))], now=at(2))
    assert (incident().severity, reasons()) == ("critical", ["opened"])
    keep_mutes(at(HOUR))
    assert reasons() == ["opened", "worse"]


def test_an_event_right_after_its_end_and_before_the_sweep_tells_both_at_once(town: Town) -> None:
    town.person("Alice", SMS)
    silence(town)
    record([town.event(severity="low")], now=at(1))
    record([town.event(severity="high", happened_at=at(HOUR + 1))], now=at(HOUR + 1))
    keep_mutes(at(HOUR + 2))
    assert (incident().muted_by, reasons()) == ("", ["opened"])


def test_it_stops_reminders_of_what_is_there_and_they_go_on_after_it(town: Town) -> None:
    town.person("Alice", SMS)
    record([town.event()], now=at(0))
    Delivery.objects.update(state="sent")
    made = silence(town, now=at(10))
    assert incident().muted_by == "silence"
    assert upcoming(incident()) is None
    assert take_due_steps(at(500)) == 0
    end_silence(made, by=town.alice, now=at(600))
    assert reasons() == ["opened"], "it was told before"
    assert take_due_steps(at(601)) == 1


def test_it_mutes_no_acknowledgement_and_no_resolution(town: Town) -> None:
    town.person("Alice", SMS)
    silence(town)
    record([town.event()], now=at(1))
    assert acknowledge(incident().uid, by=town.alice, through="screen", now=at(5)).state == "acknowledged"
    keep_mutes(at(HOUR))
    assert reasons() == [], "somebody has it"
    made = silence(town, HOUR + 1, 2 * HOUR, now=at(HOUR + 1))
    resolved = resolve(incident().uid, by=town.alice, disposition="test", note="", through="screen", now=at(HOUR + 2))
    assert (resolved.state, resolved.muted_by, resolved.untold) == ("resolved", "", "")
    end_silence(made, by=town.alice, now=at(HOUR + 3))
    assert reasons() == []
    assert [step for step in history() if step == "step"] == ["step"] * 3


def test_a_reopened_incident_is_muted_like_any_other(town: Town) -> None:
    town.person("Alice", SMS)
    record([town.event()], now=at(0))
    resolve(incident().uid, by=None, disposition="test", note="", through="api", now=at(1))
    silence(town, now=at(2))
    reopen(incident().uid, by=town.alice, note="Again.", through="screen", now=at(3))
    assert (incident().muted_by, incident().untold, reasons()) == ("silence", "reopened", ["opened"])
    keep_mutes(at(HOUR))
    assert reasons() == ["opened", "reopened"]


def test_one_that_ends_with_an_incident_ends_when_that_is_resolved(town: Town) -> None:
    town.person("Alice", SMS)
    record([town.event()], now=at(0))
    first = incident()
    made = silence(town, ends_with=first, now=at(1))
    record([town.event(rule_version=None, kind="tamper", source="device")], now=at(2))
    other = Incident.objects.exclude(pk=first.pk).get()
    assert other.muted_by == "silence"
    resolve(first.uid, by=town.alice, disposition="confirmed", note="", through="screen", now=at(3))
    made.refresh_from_db()
    other.refresh_from_db()
    assert (made.until_at, made.ended_by, other.muted_by) == (at(3), town.alice, "")


def test_one_for_later_mutes_from_then_on(town: Town) -> None:
    town.person("Alice", SMS)
    made = silence(town, HOUR, 2 * HOUR)
    assert phase(made, at(0)) == "upcoming"
    record([town.event()], now=at(0))
    assert (incident().muted_by, reasons()) == ("", ["opened"])
    keep_mutes(at(HOUR))
    assert incident().muted_by == "silence"
    assert phase(made, at(HOUR)) == "active"
    assert phase(made, at(2 * HOUR)) == "ended"


def test_one_for_later_may_be_called_off(town: Town) -> None:
    made = silence(town, HOUR, 2 * HOUR)
    end_silence(made, by=town.alice, now=at(5))
    assert phase(made, at(HOUR)) == "ended"


def test_it_lasts_longer_or_shorter_as_people_say(town: Town) -> None:
    town.person("Alice", SMS)
    made = silence(town)
    record([town.event()], now=at(1))
    change_silence(made, reason="Painters, floor 2", until_at=at(2 * HOUR), now=at(2))
    assert keep_mutes(at(HOUR)) == 0
    change_silence(made, reason="Painters, floor 2", until_at=at(HOUR + 10), now=at(HOUR + 5))
    assert keep_mutes(at(HOUR + 10)) == 1
    with pytest.raises(ValueError, match="expected one that lasts"):
        change_silence(made, reason="x", until_at=at(3 * HOUR), now=at(HOUR + 11))


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"until_s": 0}, "until_at: expected later than"),
        ({"until_s": 40 * 24 * HOUR}, "expected at most 30 days"),
        ({"reason": "  "}, "reason: expected why"),
        ({"matchers": {}}, "matchers: expected at least one"),
    ],
)
def test_it_refuses_what_is_no_silence(town: Town, given: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        silence(town, **given)
    assert not Silence.objects.exists()


def test_it_refuses_to_end_with_what_is_over(town: Town) -> None:
    record([town.event()], now=at(0))
    resolve(incident().uid, by=None, disposition="test", note="", through="api", now=at(1))
    with pytest.raises(ValueError, match="expected an unresolved incident"):
        silence(town, ends_with=incident(), now=at(2))


def test_they_are_listed_by_what_they_do_now(town: Town) -> None:
    lasting, coming = silence(town), silence(town, HOUR, 2 * HOUR)
    over = silence(town, 0, 60)
    found = by_phase(at(120))
    assert (found["active"], found["upcoming"], found["ended"]) == ([lasting], [coming], [over])


def test_screens_learn_of_it(town: Town) -> None:
    before = SequenceCounter.current(SequenceCounter.CHANGES)
    silence(town)
    assert SequenceCounter.current(SequenceCounter.CHANGES) > before


@pytest.mark.django_db(transaction=True)
def test_it_is_told_once_by_many_sweeps(shared_town: Town) -> None:
    shared_town.person("Alice", SMS)
    silence(shared_town)
    record([shared_town.event()], now=at(1))
    results = at_once(*(lambda: keep_mutes(at(HOUR)) for _ in range(6)))
    assert sum(results) == 1
    assert reasons() == ["opened"]
    assert Delivery.objects.count() == 1


# Maintenance windows


def test_a_window_mutes_what_happens_in_it_and_tells_it_when_it_closes(town: Town) -> None:
    town.person("Alice", SMS)
    made = window(town)
    record([town.event()], now=at(1))
    assert (incident().muted_by, incident().muted_window) == ("window", made)
    assert keep_mutes(at(HOUR - 1)) == 0
    assert keep_mutes(at(HOUR)) == 1
    assert reasons() == ["opened"]


def test_a_window_leaves_what_came_before_it_alone(town: Town) -> None:
    town.person("Alice", SMS)
    record([town.event()], now=at(0))
    Delivery.objects.update(state="sent")
    window(town)
    assert incident().muted_by == ""
    assert take_due_steps(at(500)) == 1


def test_without_the_window_it_is_told(town: Town) -> None:
    town.person("Alice", SMS)
    made = window(town)
    record([town.event()], now=at(1))
    remove_window(made, now=at(2))
    assert (incident().muted_by, reasons()) == ("", ["opened"])


def test_a_window_that_is_off_mutes_nothing(town: Town) -> None:
    town.person("Alice", SMS)
    window(town, enabled=False)
    record([town.event()], now=at(1))
    assert reasons() == ["opened"]


def test_a_silence_takes_over_from_a_window_without_a_word(town: Town) -> None:
    town.person("Alice", SMS)
    window(town)
    record([town.event()], now=at(1))
    silence(town, now=at(2), until_s=2 * HOUR)
    assert incident().muted_by == "silence"
    keep_mutes(at(HOUR + 1))
    assert reasons() == []
    assert history() == ["step", "mute"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"schedule": []}, "expected at least one span"),
        ({"name": ""}, "name: expected what is done"),
        ({"schedule": [{"days": [], "from": "01:00", "until": "02:00"}]}, "expected at least one weekday"),
    ],
)
def test_it_refuses_a_window_that_never_or_always_opens(town: Town, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        window(town, **changes)


# What is out


def blind(camera: Camera, since_s: float = 0, reason: str = "unreachable") -> BlindSpan:
    Source.objects.get_or_create(camera=camera, defaults={"address": "rtsp://192.0.2.1/live"})
    return BlindSpan.objects.create(camera=camera, from_at=at(since_s), reason=reason)


def health_rule(town: Town, *cameras: Camera) -> Rule:
    """A rule of camera health, with a version, that tells Bob."""
    rule = Rule.objects.create(
        name="Cameras", kind="health", severity="medium", deployment=town.rule.deployment, config={"offline": True}
    )
    for camera in cameras:
        view = View.objects.get_or_create(camera=camera)[0]
        rule.zones.add(Zone.objects.create(view=view, name="All", points=[[0, 0], [1, 0], [1, 1]]))
    RuleVersion.objects.create(
        rule=rule, number=1, kind="health", severity="medium", deployment=rule.deployment.uid,
        embedded={}, active_from_at=NOON - timedelta(days=1),
    )  # fmt: skip
    rule.recipients.add(town.person("Bob", ("sms", "+15005550011")))
    return rule


def of_health(town: Town, rule: Rule, camera: Camera, seconds: float) -> Any:
    return town.event(
        kind="health", camera=camera.uid, rule_version=rule.versions.get().uid, label="camera-offline",
        severity="medium", happened_at=at(seconds), frame=None,
    )  # fmt: skip


def test_a_camera_that_is_offline_mutes_its_analytic_rules_until_it_is_back(town: Town) -> None:
    town.person("Alice", SMS)
    span = blind(town.gate)
    record([town.event(happened_at=at(1))], now=at(1))
    assert (incident().muted_by, reasons()) == ("camera", [])
    BlindSpan.objects.filter(pk=span.pk).update(to_at=at(60))
    keep_mutes(at(60))
    assert (incident().muted_by, reasons()) == ("", ["opened"])


@pytest.mark.parametrize("reason", ["connecting", "silent", "dark"])
def test_a_camera_that_is_blind_for_another_reason_mutes_nothing(town: Town, reason: str) -> None:
    town.person("Alice", SMS)
    blind(town.gate, reason=reason)
    record([town.event()], now=at(1))
    assert reasons() == ["opened"]


def test_a_camera_that_goes_later_does_not_mute_what_it_saw(town: Town) -> None:
    town.person("Alice", SMS)
    record([town.event()], now=at(0))
    Delivery.objects.update(state="sent")
    blind(town.gate, 10)
    keep_mutes(at(11))
    assert incident().muted_by == ""
    assert take_due_steps(at(500)) == 1, "whoever cuts the camera's cable is not helped by it"


def test_that_a_camera_is_offline_is_told(town: Town) -> None:
    rule = health_rule(town, town.gate)
    blind(town.gate)
    record([of_health(town, rule, town.gate, 30)], now=at(31))
    assert reasons() == ["opened"]


def test_a_site_that_is_out_is_one_incident_that_is_told_and_mutes_its_cameras(town: Town) -> None:
    rule = health_rule(town, town.gate, town.yard)
    spans = [blind(town.gate, 0), blind(town.yard, 3)]
    assert open_outages(at(12)) == 0, "it may be a blip"
    assert open_outages(at(13)) == 1
    assert open_outages(at(14)) == 0
    outage = incident()
    assert (outage.kind, outage.camera, outage.site, outage.severity) == ("site-outage", None, town.site, "medium")
    assert set(outage.cameras.all()) == {town.gate, town.yard}
    assert [alert.recipient.name for alert in Alert.objects.all()] == ["Bob"]

    record([of_health(town, rule, camera, 30) for camera in (town.gate, town.yard)], now=at(31))
    muted = Incident.objects.exclude(pk=outage.pk)
    assert set(muted.values_list("muted_by", flat=True)) == {"site"}
    assert Alert.objects.count() == 1

    spans[0].to_at = at(90)
    spans[0].save()
    keep_mutes(at(91))
    assert Alert.objects.filter(incident__muted_by="").count() == 3, "each that is still open is told, once"
    assert keep_mutes(at(92)) == 0


def test_an_outage_that_people_resolved_is_not_opened_again(town: Town) -> None:
    health_rule(town, town.gate, town.yard)
    blind(town.gate), blind(town.yard)
    open_outages(at(20))
    resolve(incident().uid, by=town.alice, disposition="handed_over", note="", through="screen", now=at(30))
    assert open_outages(at(40)) == 0
    assert Incident.objects.count() == 1


def test_nobody_who_asked_for_nothing_is_told_of_an_outage(town: Town) -> None:
    blind(town.gate), blind(town.yard)
    assert open_outages(at(60)) == 0
    assert not EventRow.objects.exists()


def test_a_site_of_which_one_camera_answers_is_not_out(town: Town) -> None:
    health_rule(town, town.gate, town.yard)
    blind(town.gate)
    Source.objects.create(camera=town.yard, address="rtsp://192.0.2.2/live")
    assert open_outages(at(60)) == 0


def test_the_sweep_costs_little_where_nothing_mutes(town: Town, django_assert_max_num_queries: Any) -> None:
    record([town.event(), town.event(camera=town.yard.uid)], now=at(0))
    with django_assert_max_num_queries(5):
        keep_mutes(timezone.now())
        open_outages(timezone.now())


def test_recipients_of_a_rule_are_told_once_though_they_are_named_too(town: Town) -> None:
    town.person("Alice", SMS)
    silence(town)
    record([town.event()], now=at(1))
    incident().recipients.set(Recipient.objects.all())
    Silence.objects.update(until_at=F("from_at"))
    keep_mutes(at(2))
    assert Alert.objects.count() == 1
