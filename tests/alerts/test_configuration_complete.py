"""Nothing that an administrator configures is missing in the text.

Every model and every field of ours is either brought back by a text or named here with why it is not, so that a new one
fails until somebody has decided. What is brought back is compared as rows, by names in place of keys.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.apps import apps
from django.db import models

from alerts.configuration.bring_in import bring_in
from alerts.configuration.export import full_config, read_rows
from alerts.configuration.text import write
from alerts.editing import save_rule
from alerts.models import (
    Contact,
    EscalationPolicy,
    MaintenanceWindow,
    Recipient,
    Rota,
    RotaMember,
    RotaOverride,
    Rule,
    RuleTemplate,
    Silence,
    TemplateOverride,
    Zone,
)
from alerts.muting_watch import MutingWatch
from alerts.rule_templates import apply_template
from alerts.silences import make_silence, save_window
from detectors.models import Deployment
from streams.models import Camera, SequenceCounter, Site, View
from tests.alerts.test_configuration import bring, empty_but_for_the_model, furnish, told
from tests.town import NOW, SQUARE, Town, build_town, new_incident, new_rule

OURS = ("streams", "detectors", "alerts", "decide", "frontend")

LEFT_OUT = {
    "streams.SequenceCounter": "counts changes",
    "streams.CameraLease": "who reads a camera just now",
    "streams.Demand": "follows from rules",
    "streams.BlindSpan": "what happened",
    "detectors.Model": "its file is not in the text; deployments name it by name and version",
    "detectors.Candidate": "what happened to a model on its way in",
    "alerts.ContactCode": "a secret, and good for minutes",
    "alerts.OtherSms": "what was sent within a month",
    "alerts.TrialMessage": "what happened within an hour",
    "alerts.RuleVersion": "the past of a rule; the newest is the rule",
    "alerts.Incident": "what happened",
    "alerts.IncidentTransition": "what happened",
    "alerts.Event": "what happened",
    "alerts.Alert": "what happened",
    "alerts.Delivery": "what happened",
    "alerts.ReplyCode": "given out as incidents come",
    "alerts.InboundMessage": "what happened",
    "alerts.ProcessLease": "who works just now",
    "alerts.FoldPosition": "how far the fold has come",
    "alerts.Count": "what happened",
    "alerts.Rehearsal": "tried and forgotten",
    "alerts.RehearsalRow": "tried and forgotten",
    "frontend.User": "people's accounts are each installation's own",
    "frontend.ApiToken": "a secret",
    "frontend.ViewAudit": "what happened",
}
FIELDS_LEFT_OUT = {
    "streams.Camera.slot": "where its frames go on this installation",
    "streams.Source.credentials": "a secret",
    "streams.Source.found": "what it gave when it was tried",
    "streams.Source.found_at": "when that was",
    "streams.View.reference": "a picture",
    "alerts.Contact.sealed": "a secret",
    "alerts.Contact.confirmed_at": "a text confirms nobody",
    "alerts.Contact.opted_out_at": "only its owner says so",
    "alerts.Contact.disabled_at": "what a provider said",
    "alerts.Contact.disabled_reason": "what a provider said",
    "alerts.Rota.feed_digest": "of a secret",
    "alerts.RotaOverride.author": "whoever brings it in",
    "alerts.RotaOverride.created_at": "when it was brought in",
    "alerts.MaintenanceWindow.author": "whoever brings it in",
    "alerts.MaintenanceWindow.created_at": "when it was brought in",
    "alerts.Silence.author": "whoever brings it in",
    "alerts.Silence.created_at": "when it was brought in",
    "alerts.Silence.ends_with": "an incident; such a silence belongs to it",
    "alerts.Silence.ended_by": "of what is over",
}


def models_of_ours() -> dict[str, type[models.Model]]:
    return {model._meta.label: model for model in apps.get_models() if model._meta.app_label in OURS}


def in_the_text() -> list[type[models.Model]]:
    return [model for name, model in models_of_ours().items() if name not in LEFT_OUT]


def fields(model: type[models.Model]) -> Iterator[Any]:
    """What a text has to bring back of ``model``."""
    for field in [*model._meta.concrete_fields, *model._meta.many_to_many]:
        if not field.primary_key and field.name != "uid" and f"{model._meta.label}.{field.name}" not in FIELDS_LEFT_OUT:
            yield field


def called() -> dict[str, str]:
    """Uid → what is called so, for every row of ours."""
    named = [model for model in models_of_ours().values() if any(field.name == "uid" for field in model._meta.fields)]
    return {str(row.uid): name_of(row) for model in named for row in model._default_manager.all()}  # type: ignore[attr-defined]


def name_of(row: models.Model | None) -> str | None:
    """Without keys: a row that has no name is known by what it belongs to."""
    if isinstance(row, View | Zone | Camera | Site | MaintenanceWindow | Recipient | Rota | Deployment | Rule):
        return f"{type(row).__name__} {row}, {getattr(row, 'site', '')}"
    return None if row is None else f"{type(row).__name__} {row}"


def value(row: models.Model, field: Any, names: dict[str, str]) -> Any:
    found = getattr(row, field.name)
    if isinstance(field, models.ManyToManyField):
        return sorted(str(name_of(one)) for one in found.all())
    if isinstance(field, models.ForeignKey):
        return name_of(found)
    # A text has no whole corners: 0 and 0.0 are the same place.
    plain = json.dumps(json.loads(json.dumps(found, default=str), parse_int=float), sort_keys=True)
    return re.sub(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", lambda uid: names[uid[0]], plain)


def snapshot() -> dict[str, list[Any]]:
    """Every row that a text brings back, without keys."""
    names = called()
    return {
        model._meta.label: sorted(
            json.dumps({field.name: value(row, field, names) for field in fields(model)}, sort_keys=True)
            for row in model._default_manager.all()
        )
        for model in in_the_text()
    }


def furnish_with_everything(town: Town) -> None:
    """One of everything at least, and in each field something else than it has by itself."""
    furnish(town)
    bob = Recipient.objects.get(name="Bob")
    Recipient.objects.create(name="Away", active=False)
    Contact.objects.create(recipient=bob, channel="email", address="duty@example.org", order=2)
    town.site.latitude, town.site.longitude, town.site.contact = 24.15, 120.68, "Control room"
    town.site.save()
    drone = Camera.objects.create(
        name="Drone", site=town.site, group=town.gate.group, carrier="drone", enabled=False,
        evidence_px=640, gated=False, rests=False,
    )  # fmt: skip
    View.objects.create(camera=drone, name="Over the pier")
    night = Deployment.objects.create(
        name="Night", model=town.deployment.model, pool="night", enabled=False, all_cameras=False,
        condition={"kind": "always"}, hz=2.0, static_regions=True,
    )  # fmt: skip
    night.cameras.set([town.yard])
    rota = Rota.objects.get()
    rota.time_zone = "Asia/Taipei"
    rota.save()
    RotaMember.objects.create(rota=rota, recipient=Recipient.objects.get(name="Away"), order=1)
    for hours in (-30, 30):
        from_at = NOW + timedelta(hours=hours)
        RotaOverride.objects.create(
            rota=rota, recipient=bob, from_at=from_at, until_at=from_at + timedelta(hours=8), author=town.ada,
            created_at=NOW,
        )  # fmt: skip
    rules_and_templates(town, bob)
    what_mutes(town)


def rules_and_templates(town: Town, bob: Recipient) -> None:
    Zone.objects.create(view=town.yard.views.get(), name="Lane", points=SQUARE)
    policy = EscalationPolicy.objects.get()
    template = RuleTemplate.objects.get()
    template.severity, template.why_it_matters, template.procedure = "low", "It is dark there.", "Look.\nCall."
    template.schedule = {"spans": [{"days": [5]}], "holidays": ["2026-10-10"], "on_holidays": "as_sunday"}
    template.config = full_config("presence", template.config)
    template.save()
    quiet = RuleTemplate.objects.create(
        name="Quiet", kind="dwell", enabled=False, zone_name="Lane", deployment=town.deployment,
        config=full_config("dwell", {"labels": ["person"]}),
    )  # fmt: skip
    TemplateOverride.objects.create(template=quiet, group=town.gate.group, changes={"policy": str(policy.uid)})
    TemplateOverride.objects.create(template=template, camera=town.yard, changes={"policy": ""})
    assert apply_template(template, author=town.ada, now=NOW).doable
    lane = Rule.objects.get(name="Person in the lane")
    holidays = {"spans": [{"days": [0]}], "holidays": ["2026-12-25", "2027-01-01"], "on_holidays": "always"}
    car = new_rule(town, name="Car", severity="critical", enabled=False, schedule=holidays)
    save_rule(car, zones=[town.zone], author=town.ada, now=NOW)
    # By name it comes before the rules that it waits for.
    both = {"first": str(car.uid), "then": str(lane.uid)}
    waits = new_rule(town, name="Both", kind="sequence", enabled=False, config=both)
    save_rule(waits, zones=[town.zone], author=town.ada, now=NOW)


def what_mutes(town: Town) -> None:
    rule = Rule.objects.get(name="Both")
    when = {"spans": [{"days": [6], "from": "02:00", "until": "04:00"}], "holidays": ["2026-12-25"], "on_holidays": "always"}  # fmt: skip  # noqa: E501
    some = {"cameras": [str(town.gate.uid)], "rules": [str(rule.uid)], "labels": ["person"], "severities": ["low"]}
    for name, matchers, enabled in (("Cleaning", some, True), ("Inventory", {}, False)):
        window = MaintenanceWindow(name=name, site=town.site, matchers=matchers, schedule=when, enabled=enabled)
        save_window(window, now=NOW - timedelta(days=1))
    for means in ({"sites": [str(town.site.uid)]}, some):
        make_silence(
            means, author=town.ada, reason="Crane works", from_at=NOW - timedelta(hours=2),
            until_at=NOW + timedelta(days=2), now=NOW - timedelta(hours=2),
        )  # fmt: skip


def everything_gone() -> None:
    MaintenanceWindow.objects.all().delete()
    Silence.objects.all().delete()
    empty_but_for_the_model()


@pytest.fixture
def town(db: None) -> Town:
    return build_town()


def test_every_model_is_in_the_text_or_left_out_for_a_reason() -> None:
    assert not LEFT_OUT.keys() - models_of_ours().keys() - {"decide"}, "a model that is gone needs no reason"
    known = {f"{model._meta.label}.{field.name}" for model in in_the_text() for field in model._meta.get_fields()}
    assert not FIELDS_LEFT_OUT.keys() - known, "a field that is gone needs no reason"


def test_an_empty_installation_becomes_the_same_with_one_of_everything(town: Town) -> None:
    furnish_with_everything(town)
    before, rows = write(read_rows(NOW)), snapshot()
    everything_gone()
    assert not any(snapshot().values())

    outcome = bring(before)

    assert told(outcome) == []
    assert write(read_rows(NOW)) == before
    over = [row for row in rows["alerts.RotaOverride"] if "2026-02-28" in row]
    assert len(over) == 1
    rows["alerts.RotaOverride"].remove(over[0])
    after = snapshot()
    assert {name: after[name] for name in rows if after[name] != rows[name]} == {}
    assert {one.what for one in bring(before).differences} == {"same"}


def test_the_one_of_everything_leaves_no_field_as_it_is_by_itself(town: Town) -> None:
    """Else a field that a text forgets would come back right by luck."""
    furnish_with_everything(town)
    dull = [
        f"{model._meta.label}.{field.name}"
        for model in in_the_text()
        for field in fields(model)
        if not any(differs(row, field) for row in model._default_manager.all())
    ]
    assert dull == []


def differs(row: models.Model, field: Any) -> bool:
    if isinstance(field, models.ManyToManyField):
        return bool(getattr(row, field.name).exists())
    usual = field.get_default() if field.has_default() else None if field.null else ""
    return bool(getattr(row, field.name) != usual)


def test_holidays_come_back_wherever_they_stand(town: Town) -> None:
    furnish_with_everything(town)
    text = write(read_rows(NOW))
    everything_gone()
    bring(text)
    assert Rota.objects.get().holidays == ["2026-12-25"] and Rota.objects.get().on_holidays.name == "Bob"  # type: ignore[union-attr]
    rule = Rule.objects.get(name="Car")
    assert rule.schedule["holidays"] == ["2026-12-25", "2027-01-01"] and rule.schedule["on_holidays"] == "always"
    acts = rule.versions.get().embedded["schedule"]
    assert acts["holidays"] == ["2026-12-25", "2027-01-01"] and acts["on_holidays"] == "always"
    assert RuleTemplate.objects.get(name="Lanes").schedule["on_holidays"] == "as_sunday"
    assert {one.schedule["on_holidays"] for one in MaintenanceWindow.objects.all()} == {"always"}


def test_a_sequence_waits_for_the_new_rules_of_these_names(town: Town) -> None:
    furnish_with_everything(town)
    text = write(read_rows(NOW))
    assert '\nfirst = "Car"\n' in text
    everything_gone()
    bring(text)
    both = Rule.objects.get(name="Both")
    assert both.config["first"] == str(Rule.objects.get(name="Car").uid)
    assert both.versions.get().embedded["config"]["then"] == str(Rule.objects.get(name="Person in the lane").uid)


def test_a_text_from_before_names_stood_there_is_understood(town: Town) -> None:
    furnish_with_everything(town)
    text, first = write(read_rows(NOW)), Rule.objects.get(name="Both").config["first"]
    assert told(bring(text.replace('first = "Car"', f'first = "{first}"'))) == []
    assert write(read_rows(NOW)) == text


def test_a_rule_that_is_named_and_nowhere_is_told(town: Town) -> None:
    furnish_with_everything(town)
    text = write(read_rows(NOW))
    said = told(bring(text.replace('first = "Car"', 'first = "Cart"')))
    assert len(said) == 1 and "no rule named “Cart”" in said[0]
    assert "config.first" not in told(bring(text.replace("within_s = 60.0", "within_s = -1.0")))[0]


# What mutes


def test_a_silence_is_lengthened_where_its_text_says_so_and_keeps_who_made_it(town: Town) -> None:
    furnish_with_everything(town)
    text = write(read_rows(NOW))
    outcome = bring(text.replace('until_at = "2026-03-03T12:00:00Z"', 'until_at = "2026-03-04T20:00:00+08:00"'))
    assert told(outcome) == []
    assert [(one.kind, one.key[:3]) for one in outcome.having("changed")] == [
        ("silence", ("Crane works", "2026-03-01T10:00:00+00:00", "Gate, Harbour")),
        ("silence", ("Crane works", "2026-03-01T10:00:00+00:00", "Harbour")),
    ]
    assert {(one.until_at, one.author) for one in Silence.objects.all()} == {(NOW + timedelta(days=3), town.ada)}


def test_what_is_over_by_now_is_neither_written_nor_brought_back(town: Town) -> None:
    furnish_with_everything(town)
    text = write(read_rows(NOW))
    later = NOW + timedelta(days=3)
    everything_gone()
    assert told(bring_in(text, author=None, now=later)) == []
    assert not Silence.objects.exists() and not RotaOverride.objects.exists()
    assert "[[silence]]" not in write(read_rows(later)) and "taken_over" not in write(read_rows(later))


def test_a_silence_that_ends_with_an_incident_is_that_incidents(town: Town) -> None:
    incident = new_incident(town.gate, town.site)
    make_silence(
        {"cameras": [str(town.gate.uid)]}, author=town.ada, reason="Known", from_at=NOW,
        until_at=NOW + timedelta(hours=5), now=NOW, ends_with=incident,
    )  # fmt: skip
    text = write(read_rows(NOW))
    assert "Known" not in text
    bring(text, remove=True)
    assert Silence.objects.get().until_at > NOW


def test_one_that_has_lost_all_it_meant_does_not_come_to_mean_everything(town: Town) -> None:
    extra = Camera.objects.create(name="Extra", site=town.site, group=town.gate.group)
    make_silence(
        {"cameras": [str(extra.uid)], "severities": ["low"]}, author=town.ada, reason="Paint", from_at=NOW,
        until_at=NOW + timedelta(hours=5), now=NOW,
    )  # fmt: skip
    extra.delete()
    assert "Paint" not in write(read_rows(NOW))


def test_what_mutes_and_is_not_in_the_text_ends_when_it_is_to_go(town: Town) -> None:
    furnish_with_everything(town)
    watch = MutingWatch()
    watch.turn(NOW)
    incident = new_incident(town.gate, town.site, rule=Rule.objects.get(name="Both"), severity="low")
    assert watch.turn(NOW + timedelta(seconds=1))
    incident.refresh_from_db()
    assert incident.muted_by == "silence"
    text = write(read_rows(NOW)).partition("[[window]]")[0]
    later = NOW + timedelta(seconds=30)
    outcome = bring_in(text, author=town.ada, now=later, remove=True)
    assert told(outcome) == []
    assert {one.ended_by for one in Silence.objects.all()} == {town.ada}
    # Not in the text's own transaction, which would hold incidents up: the sweep sees to it.
    assert watch.turn(NOW + timedelta(seconds=31))
    incident.refresh_from_db()
    assert incident.muted_by == ""
    assert not MaintenanceWindow.objects.exists() and not Silence.objects.filter(until_at__gt=later).exists()


def test_a_silence_since_it_was_shown_has_it_shown_again(town: Town) -> None:
    text = write(read_rows(NOW))
    seen = bring(text, try_only=True).state
    before = SequenceCounter.current(SequenceCounter.CONFIGURATION)
    make_silence(
        {"cameras": [str(town.gate.uid)]}, author=town.ada, reason="Paint", from_at=NOW,
        until_at=NOW + timedelta(hours=5), now=NOW,
    )  # fmt: skip
    assert SequenceCounter.current(SequenceCounter.CONFIGURATION) == before, "processes need not reload for it"
    assert "since this was shown" in told(bring(text, expected=seen))[0]


WRONG = {
    "a silence that means nothing": ('sites = ["Harbour"]\ncameras = []', "sites = []\ncameras = []", "what is to be"),
    "a silence backwards": ('until_at = "2026-03-03T12:00:00Z"', 'until_at = "2026-02-28T12:00:00Z"', "end after"),
    "a silence without end": ('until_at = "2026-03-03T12:00:00Z"', 'until_at = "2027-03-03T12:00:00Z"', "at most 30"),
    "a moment without a zone": ('until_at = "2026-03-03T12:00:00Z"', 'until_at = "2026-03-03T12:00:00"', "timezone"),
    "a window that never opens": ("schedule = [{days = [6]", "schedule = [{days = []", "could never fire"),
    "a camera that is not there": ('cameras = [["Harbour", "Gate"]]', 'cameras = [["Harbour", "Gtae"]]', "“Gtae”"),
    "a take-over by nobody": ('recipient = "Bob"', 'recipient = "Rob"', "no recipient named “Rob”"),
}


@pytest.mark.parametrize(("was", "becomes", "words"), WRONG.values(), ids=WRONG.keys())
def test_what_is_wrong_about_it_is_told_and_nothing_changes(town: Town, was: str, becomes: str, words: str) -> None:
    furnish_with_everything(town)
    text = write(read_rows(NOW))
    assert was in text
    said = told(bring(text.replace(was, becomes)))
    assert said and any(words in line for line in said), said
    assert write(read_rows(NOW)) == text
