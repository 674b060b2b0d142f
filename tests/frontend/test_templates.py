"""The templates' screens over HTTP: one form for many cameras, overrides, what will change, and then it does."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from django.conf import LazySettings
from django.test import Client
from django.utils import timezone

from alerts import editing, rehearsal_run, rehearsals
from alerts.models import Contact, EscalationPolicy, Recipient, Rehearsal, Rule, RuleTemplate, TemplateOverride, Zone
from alerts.policies import StepDraft, save_policy
from frontend.models import ViewAudit
from streams.cameras import main_view
from tests.alerts.kept import ago, keep, moved, walks
from tests.frontend.test_setup import rule_typed
from tests.town import NOW, SQUARE, Town, new_rule

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("quiet")]


def typed(town: Town, **changes: Any) -> dict[str, Any]:
    form = rule_typed(town, name="Lanes", zone_name="Lane", cameras=[town.gate.pk, town.yard.pk])
    del form["zones"]
    return {**form, **changes}


def words(response: Any) -> str:
    assert response.status_code == 200
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", response.content.decode())).replace("&#x27;", "'")


def made(ada: Client, town: Town, **changes: Any) -> RuleTemplate:
    ada.post("/setup/templates/add/", typed(town, **changes))
    return RuleTemplate.objects.get(name="Lanes")


def base(template: RuleTemplate) -> str:
    return f"/setup/templates/{template.uid}/"


def state_in(response: Any) -> str:
    found = re.search(r'name="state" value="(\d+)"', response.content.decode())
    assert found is not None
    return found[1]


def applied(ada: Client, template: RuleTemplate) -> Any:
    state = state_in(ada.get(f"{base(template)}preview/"))
    return ada.post(f"{base(template)}apply/", {"state": state}, follow=True)


def test_a_template_is_made_looked_at_and_applied(ada: Client, town: Town) -> None:
    response = ada.post("/setup/templates/add/", typed(town), follow=True)
    said = words(response)
    assert "Gate Harbour a new rule" in said
    assert "needs a zone It has no zone named “Lane”. Draw it" in said
    assert not Rule.objects.exists()
    template = RuleTemplate.objects.get()
    assert template.config["hold_s"] == 2.0 and template.cameras.count() == 2
    assert "Done: 1 rule written." in words(applied(ada, template))
    rule = Rule.objects.get()
    assert (rule.name, rule.config["hold_s"], rule.severity) == ("Lanes · Gate", 2.0, "high")
    assert rule.versions.get().author == town.ada
    listed = words(ada.get("/setup/templates/"))
    assert "Lanes Presence · 2 cameras · 1 rule on" in listed
    assert "made from the template “Lanes”" in words(ada.get(f"/setup/cameras/{town.gate.uid}/rules/{rule.uid}/"))
    assert ViewAudit.objects.filter(action="template-applied", user=town.ada).count() == 1


def test_what_differs_at_a_place_is_kept_as_that_alone(ada: Client, town: Town) -> None:
    template = made(ada, town)
    applied(ada, template)
    address = f"{base(template)}override/?camera={town.gate.pk}"
    assert 'value="2.0"' in ada.get(address).content.decode()
    typed_there = typed(town, setting_hold_s="7", severity="critical")
    said = words(ada.post(address, typed_there, follow=True))
    assert "1 override changes Severity High → Critical In the zone for (s) 2 → 7" in said, said[-400:]
    override = TemplateOverride.objects.get()
    assert override.changes == {"severity": "critical", "config": {"hold_s": 7.0}}
    applied(ada, template)
    rule = Rule.objects.get()
    assert (rule.config["hold_s"], rule.severity, rule.versions.count()) == (7.0, "critical", 2)
    assert "Camera Gate Change Remove Severity High → Critical" in words(ada.get(base(template)))
    ada.post(address, typed(town))  # as the template says: nothing differs any more
    assert not TemplateOverride.objects.exists()


def test_a_cameras_override_stands_on_its_sites(ada: Client, town: Town) -> None:
    template = made(ada, town)
    ada.post(f"{base(template)}override/?site={town.site.pk}", typed(town, setting_hold_s="5"))
    page = ada.get(f"{base(template)}override/?camera={town.gate.pk}").content.decode()
    assert 'name="setting_hold_s"' in page and 'value="5.0"' in page
    ada.post(f"{base(template)}override/?camera={town.gate.pk}", typed(town, setting_hold_s="5", severity="low"))
    assert TemplateOverride.objects.get(camera=town.gate).changes == {"severity": "low"}
    override = TemplateOverride.objects.get(site=town.site)
    ada.post(f"{base(template)}override/{override.pk}/drop/")
    assert TemplateOverride.objects.count() == 1


def test_at_a_place_another_policy_may_tell_or_none(ada: Client, town: Town) -> None:
    guard = Recipient.objects.create(name="Guard")
    Contact.objects.create(recipient=guard, channel="sms", address="+886912345678", confirmed_at=NOW)
    night = save_policy(EscalationPolicy(name="Night"), [StepDraft(recipients=[guard])])
    harbour = save_policy(EscalationPolicy(name="At the harbour"), [StepDraft(recipients=[guard])])
    template = made(ada, town, policy=night.pk)
    address = f"{base(template)}override/?camera={town.gate.pk}"
    assert f'<option value="{night.pk}" selected>' in ada.get(address).content.decode()
    said = words(ada.post(address, typed(town, policy=harbour.pk), follow=True))
    assert TemplateOverride.objects.get().changes == {"policy": str(harbour.uid)}
    applied(ada, template)
    assert Rule.objects.get().policy == harbour
    assert "Escalation policy Night → At the harbour" in words(ada.get(base(template))), said
    ada.post(address, typed(town, policy=""))
    assert TemplateOverride.objects.get().changes == {"policy": ""}
    applied(ada, template)
    assert Rule.objects.get().policy is None
    assert "Escalation policy Night → –" in words(ada.get(base(template)))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"name": ""}, "This field is required."),
        ({"zone_name": ""}, "This field is required."),
        ({"setting_labels": []}, "This field is required."),
        ({"setting_confidence": "nan"}, "Enter a number."),
        ({"setting_confirm_k": "9"}, "It cannot be seen in 9 of the last 5 pictures."),
        ({"setting_labels": ["fork"]}, "fork is not one of the available choices"),
    ],
)
def test_a_template_that_could_never_fire_is_refused_with_the_reason(
    ada: Client, town: Town, changes: dict[str, Any], says: str
) -> None:
    assert says in words(ada.post("/setup/templates/add/", typed(town, **changes)))
    assert not RuleTemplate.objects.exists()


def test_a_camera_where_it_cannot_run_stops_all_and_says_why(ada: Client, town: Town) -> None:
    Zone.objects.create(view=town.yard.views.get(), name="Lane", points=SQUARE)
    town.deployment.all_cameras = False
    town.deployment.save()
    town.deployment.cameras.set([town.gate])
    template = made(ada, town)
    said = words(ada.get(f"{base(template)}preview/"))
    assert "cannot run" in said and "does not run on camera “Yard”" in said and "Nothing can be applied now." in said
    applied(ada, template)
    assert not Rule.objects.exists()


def test_what_is_applied_is_what_was_shown(ada: Client, town: Town) -> None:
    template = made(ada, town)
    state = state_in(ada.get(f"{base(template)}preview/"))
    town.gate.save()
    said = words(ada.post(f"{base(template)}apply/", {"state": state}, follow=True))
    assert "since this was shown" in said and not Rule.objects.exists()


def test_a_deleted_template_leaves_its_rules(ada: Client, town: Town) -> None:
    template = made(ada, town)
    applied(ada, template)
    assert "Its rules go on." in words(ada.post(f"{base(template)}delete/", follow=True))
    rule = Rule.objects.get()
    assert rule.enabled and rule.template is None


def test_nobody_else_finds_anything_here(ada: Client, town: Town) -> None:
    template = made(ada, town)
    alice = Client()
    alice.force_login(town.alice)
    for path in ("/setup/templates/", "/setup/templates/add/", base(template), f"{base(template)}preview/"):
        assert ada.get(path).status_code == 200, path
        assert alice.get(path).status_code == 404, path
    for path in ("apply/", "delete/", "override/?site=1", "override/1/drop/"):
        assert alice.post(f"{base(template)}{path}").status_code == 404, path
    assert ada.get(f"/setup/templates/{uuid4()}/").status_code == 404
    assert "Choose one place" in words(ada.get(f"{base(template)}override/", follow=True))


def rehearse(ada: Client, template: RuleTemplate, camera: Any, form: dict[str, Any]) -> Any:
    return ada.post(f"{base(template)}rehearse/", {**form, "rehearse_camera": str(camera.uid), "rehearse_days": "1"})


def test_a_draft_is_rehearsed_as_the_rule_that_it_would_be_on_a_camera(
    ada: Client, town: Town, monkeypatch: pytest.MonkeyPatch, settings: LazySettings, tmp_path: Path
) -> None:
    settings.ARCHIVE = {**settings.ARCHIVE, "folder": tmp_path / "archive"}
    monkeypatch.setattr(rehearsals, "_publish_soon", lambda uid: None)
    log = moved(walks(0, 0, 20), camera=town.gate.uid, deployment=town.deployment.uid, to=ago(hours=2))
    keep(rehearsals.archive_root(), log)
    template = made(ada, town)
    TemplateOverride.objects.create(template=template, camera=town.gate, changes={"config": {"hold_s": 12.0}})
    response = rehearse(ada, template, town.gate, typed(town, setting_hold_s="1", severity="low"))
    assert response.status_code == 200, response.content
    rehearsal = Rehearsal.objects.get()
    assert rehearsal.draft["config"]["hold_s"] == 12.0 and rehearsal.draft["severity"] == "low"
    assert (rehearsal.draft["name"], rehearsal.cameras) == ("Lanes · Gate", [str(town.gate.uid)])
    rehearsal_run.run(rehearsal.uid)
    rehearsal.refresh_from_db()
    assert (rehearsal.state, rehearsal.summary["fired"]) == ("done", 1)
    template.refresh_from_db()
    assert template.config["hold_s"] == 2.0 and not Rule.objects.exists()


def test_a_template_of_a_sequence_is_rehearsed_on_every_camera_that_its_rules_watch(
    ada: Client, town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rehearsals, "_publish_soon", lambda uid: None)
    yard = Zone.objects.create(view=main_view(town.yard), name="Gap", points=SQUARE)
    rules = [new_rule(town, name="At the gate"), new_rule(town, name="At the yard")]
    for rule, zone in zip(rules, (town.zone, yard), strict=True):
        editing.save_rule(rule, zones=[zone], author=None, now=timezone.now())
    waits = {"setting_first": str(rules[0].uid), "setting_then": str(rules[1].uid), "setting_within_s": "60"}
    form = typed(town, **waits, setting_scope="site", rehearse_camera=str(town.gate.uid))
    response = ada.post("/setup/templates/rehearse/?kind=sequence", form)
    assert response.status_code == 200, response.content
    rehearsal = Rehearsal.objects.get()
    assert rehearsal.cameras == [str(town.gate.uid), str(town.yard.uid)]
    assert [source["name"] for source in rehearsal.sources] == ["At the gate", "At the yard"]


def test_a_new_template_is_rehearsed_before_it_is_saved(
    ada: Client, town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rehearsals, "_publish_soon", lambda uid: None)
    form = typed(town, rehearse_camera=str(town.gate.uid))
    assert ada.post("/setup/templates/rehearse/?kind=presence", form).status_code == 200
    assert Rehearsal.objects.get().in_force is None and not RuleTemplate.objects.exists()


def test_a_template_is_rehearsed_beside_what_it_runs_on_the_camera(
    ada: Client, town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rehearsals, "_publish_soon", lambda uid: None)
    template = made(ada, town)
    applied(ada, template)
    assert rehearse(ada, template, town.gate, typed(town, setting_hold_s="9")).status_code == 200
    rehearsal = Rehearsal.objects.get()
    assert rehearsal.in_force is not None and rehearsal.in_force["config"]["hold_s"] == 2.0
    assert rehearsal.draft["config"]["hold_s"] == 9.0 and Rule.objects.get().config["hold_s"] == 2.0


def test_a_camera_on_which_a_template_could_not_run_is_no_rehearsal(ada: Client, town: Town) -> None:
    template = made(ada, town)
    response = rehearse(ada, template, town.yard, typed(town))
    assert response.status_code == 422 and "“Yard” has no zone named “Lane”" in response.json()["sentence"]
    assert rehearse(ada, template, town.gate, typed(town, setting_confirm_k="9")).status_code == 422
    assert ada.post(f"{base(template)}rehearse/", typed(town)).status_code == 404
    assert not Rehearsal.objects.exists()


def test_the_form_offers_the_templates_own_cameras_first(ada: Client, town: Town) -> None:
    template = made(ada, town, cameras=[town.yard.pk])
    page = ada.get(base(template)).content.decode()
    assert f'data-begin="{base(template)}rehearse/"' in page
    offered = re.findall(r'<option value="([^"]+)">(?:Yard|Gate) · Harbour', page.split('name="rehearse_camera"')[1])
    assert offered == [str(town.yard.uid), str(town.gate.uid)]
