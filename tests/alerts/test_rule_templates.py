"""One rule for many cameras: what differs where, what applying changes, and what it leaves alone."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from alerts.editing import Refused
from alerts.models import EscalationPolicy, Recipient, Rule, RuleTemplate, TemplateOverride, Zone
from alerts.overrides import differing, resolve, rule_name
from alerts.rule_templates import Applied, apply_template, override_content, save_override
from streams.models import Camera, Demand, SequenceCounter, View
from tests.town import NOW, SQUARE, Town, build_town

BASE: dict[str, Any] = {"severity": "low", "enabled": True, "config": {"labels": ["person"], "hold_s": 1.0}}


def test_the_narrower_place_wins_setting_by_setting() -> None:
    site = {"severity": "medium", "config": {"hold_s": 2.0, "confidence": 0.6}}
    group = {"severity": "high", "config": {"hold_s": 3.0}}
    camera = {"config": {"hold_s": 4.0}}
    assert resolve(BASE, [site, group, camera]) == {
        "severity": "high", "enabled": True, "config": {"labels": ["person"], "hold_s": 4.0, "confidence": 0.6},
    }  # fmt: skip
    assert resolve(BASE, [{"kind": "line", "name": "x"}]) == BASE, "a kind and a name are the template's own"


@pytest.mark.parametrize("changes", [{}, {"severity": "high"}, {"config": {"hold_s": 2.0}, "enabled": False}])
def test_what_differs_resolves_to_what_it_came_from(changes: dict[str, Any]) -> None:
    assert differing(BASE, resolve(BASE, [changes])) == changes


def test_names_are_told_apart_and_fit() -> None:
    assert rule_name("Lanes", "Gate", "Harbour", []) == "Lanes · Gate"
    assert rule_name("Lanes", "Gate", "Harbour", ["lanes · gate"]) == "Lanes · Gate, Harbour"
    assert len(rule_name("L" * 60, "G" * 100, "H", [])) == 100


pytestmark = pytest.mark.django_db


@pytest.fixture
def town() -> Town:
    town = build_town()
    Zone.objects.create(view=town.yard.views.get(), name="Lane", points=SQUARE)
    Camera.objects.create(name="Pier", site=town.site, group=town.gate.group)
    return town


@pytest.fixture
def template(town: Town) -> RuleTemplate:
    template = RuleTemplate.objects.create(
        name="Lanes", kind="presence", zone_name="Lane", deployment=town.deployment, config={"labels": ["person"]}
    )
    template.cameras.set(Camera.objects.all())
    template.recipients.set([Recipient.objects.create(name="Bob")])
    return template


def apply(template: RuleTemplate, town: Town, minutes: int = 0, **more: Any) -> Applied:
    return apply_template(template, author=town.ada, now=NOW + timedelta(minutes=minutes), **more)


def summary(applied: Applied) -> dict[str, str]:
    return {step.camera.name: step.what for step in applied.steps}


def test_its_rules_go_by_its_policy(town: Town, template: RuleTemplate) -> None:
    template.policy = EscalationPolicy.objects.create(name="Night")
    template.save()
    apply(template, town)
    assert {rule.policy for rule in Rule.objects.all()} == {template.policy}


def test_it_makes_a_rule_a_camera_and_says_which_needs_a_zone(town: Town, template: RuleTemplate) -> None:
    applied = apply(template, town)
    assert summary(applied) == {"Gate": "new", "Yard": "new", "Pier": "needs_zone"}
    assert applied.having("needs_zone")[0].reason == "Lane"
    rules = {rule.name: rule for rule in Rule.objects.all()}
    assert set(rules) == {"Lanes · Gate", "Lanes · Yard"}
    assert [one.name for one in rules["Lanes · Gate"].recipients.all()] == ["Bob"]
    assert rules["Lanes · Gate"].versions.get().author == town.ada
    assert Demand.objects.count() == 2


def test_a_preview_changes_nothing(town: Town, template: RuleTemplate) -> None:
    before = SequenceCounter.current(SequenceCounter.CONFIGURATION)
    assert summary(apply(template, town, try_only=True))["Gate"] == "new"
    assert not Rule.objects.exists() and not Demand.objects.exists()
    assert SequenceCounter.current(SequenceCounter.CONFIGURATION) == before


def test_only_rules_that_change_get_a_version(town: Town, template: RuleTemplate) -> None:
    apply(template, town)
    TemplateOverride.objects.create(template=template, camera=town.gate, changes={"config": {"hold_s": 7.0}})
    applied = apply(template, town, 1)
    assert summary(applied) == {"Gate": "changed", "Yard": "same", "Pier": "needs_zone"}
    (step,) = applied.having("changed")
    assert [(one.field, one.before, one.after) for one in step.changes] == [("config.hold_s", 1.0, 7.0)]
    counts = {rule.name: rule.versions.count() for rule in Rule.objects.all()}
    assert counts == {"Lanes · Gate": 2, "Lanes · Yard": 1}
    template.config = {"labels": ["person"], "hold_s": 5.0}
    template.save()
    assert summary(apply(template, town, 2)) == {"Gate": "same", "Yard": "changed", "Pier": "needs_zone"}


def test_overrides_of_site_group_and_camera_meet_on_a_camera(town: Town, template: RuleTemplate) -> None:
    group = town.gate.group
    TemplateOverride.objects.create(template=template, camera=town.gate, changes={"config": {"hold_s": 4.0}})
    TemplateOverride.objects.create(template=template, group=group, changes={"severity": "high"})
    TemplateOverride.objects.create(
        template=template, site=town.site, changes={"severity": "low", "config": {"hold_s": 2.0, "confidence": 0.6}}
    )
    apply(template, town)
    said = {rule.name: (rule.severity, rule.config["hold_s"], rule.config["confidence"]) for rule in Rule.objects.all()}
    assert said == {"Lanes · Gate": ("high", 4.0, 0.6), "Lanes · Yard": ("low", 2.0, 0.6)}


def test_a_camera_that_is_taken_out_has_its_rule_switched_off_and_gets_it_back(
    town: Town, template: RuleTemplate
) -> None:
    apply(template, town)
    template.cameras.set([town.gate])
    assert summary(apply(template, town, 1)) == {"Gate": "same", "Yard": "ends"}
    assert not Rule.objects.get(name="Lanes · Yard").enabled
    assert summary(apply(template, town, 2)) == {"Gate": "same"}
    template.cameras.add(town.yard)
    assert summary(apply(template, town, 3)) == {"Gate": "same", "Yard": "changed"}
    assert Rule.objects.count() == 2 and Rule.objects.get(name="Lanes · Yard").enabled


def test_one_rule_that_could_not_fire_stops_all(town: Town, template: RuleTemplate) -> None:
    TemplateOverride.objects.create(template=template, camera=town.yard, changes={"config": {"labels": ["dog"]}})
    applied = apply(template, town)
    assert "never reports “dog”" in applied.having("refused")[0].reason and not applied.doable
    assert not Rule.objects.exists()


def test_what_was_looked_at_must_still_be_so(town: Town, template: RuleTemplate) -> None:
    seen = apply(template, town, try_only=True).state
    town.gate.save()
    with pytest.raises(Refused, match="since this was shown"):
        apply(template, town, expected=seen)
    assert not Rule.objects.exists()


def test_a_zone_that_is_drawn_later_completes_it(town: Town, template: RuleTemplate) -> None:
    apply(template, town)
    pier = Camera.objects.get(name="Pier")
    Zone.objects.create(view=View.objects.create(camera=pier), name="Lane", points=SQUARE)
    assert summary(apply(template, town, 1)) == {"Gate": "same", "Yard": "same", "Pier": "new"}


def test_who_is_told_may_differ_by_the_policy_too(town: Town, template: RuleTemplate) -> None:
    night, harbour = (EscalationPolicy.objects.create(name=name) for name in ("Night", "Harbour"))
    template.policy = night
    template.save()
    save_override(template, {"group": town.gate.group}, {"policy": str(harbour.uid)})
    save_override(template, {"camera": town.yard}, {"policy": ""})
    apply(template, town)
    assert {rule.name: rule.policy for rule in Rule.objects.all()} == {"Lanes · Gate": harbour, "Lanes · Yard": None}
    shown = [override_content(one) for one in template.overrides.order_by("id")]
    assert [[(one.title, one.before, one.after) for one in found] for found in shown] == [
        [("Escalation policy", "Night", "Harbour")],
        [("Escalation policy", "Night", None)],
    ]


def test_a_policy_that_went_since_stops_all_where_it_was_to_be_told(town: Town, template: RuleTemplate) -> None:
    harbour = EscalationPolicy.objects.create(name="Harbour")
    save_override(template, {"camera": town.yard}, {"policy": str(harbour.uid)})
    harbour.delete()
    applied = apply(template, town)
    assert [step.reason for step in applied.having("refused")] == [
        "The escalation policy of this override is gone. Choose another one there."
    ]
    assert not Rule.objects.exists()
