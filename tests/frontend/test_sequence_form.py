"""The form of a sequence: its two rules are chosen by name from those of the site, and stored by uid as before."""

from __future__ import annotations

import re
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from django.conf import LazySettings
from django.test import Client
from django.utils import timezone

from alerts import editing, rehearsal_run, rehearsals
from alerts.models import Rehearsal, Rule, Zone
from detectors.models import Deployment
from frontend.change_words import value_word
from streams.cameras import main_view
from streams.models import Camera, Site
from tests.alerts.kept import ago, keep, moved, walks
from tests.town import Town, new_rule

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("quiet")]


def rule_named(town: Town, name: str, zone: Zone | None = None) -> Rule:
    rule = new_rule(town)
    rule.name = name
    editing.save_rule(rule, zones=[zone or town.zone], author=None, now=timezone.now())
    return rule


def elsewhere(town: Town) -> Rule:
    """A rule at another site."""
    site = Site.objects.create(name="Airport", time_zone="Asia/Taipei")
    camera = Camera.objects.create(name="Runway", site=site, group=town.gate.group)
    for deployment in Deployment.objects.all():
        deployment.cameras.add(camera)
    return rule_named(
        town, "On the runway", Zone.objects.create(view=main_view(camera), name="R", points=town.zone.points)
    )


def address(town: Town, rule: Rule | None = None) -> str:
    rules = f"/setup/cameras/{town.gate.uid}/rules/"
    return f"{rules}{rule.uid}/" if rule else f"{rules}add/?kind=sequence"


def offered(page: str, field: str) -> list[str]:
    select = re.search(rf'<select name="{field}".*?</select>', page, re.DOTALL)
    assert select is not None
    return re.findall(r"<option[^>]*>([^<]+)</option>", select[0])


def typed(town: Town, first: str, then: str) -> dict[str, Any]:
    return {
        "name": "First the door, then the vault", "severity": "high", "enabled": "on", "zones": [town.zone.pk],
        "deployment": town.deployment.pk, "setting_first": first, "setting_then": then, "setting_within_s": "60",
        "setting_scope": "site", "setting_rearm": "quiet", "setting_rearm_s": "20", "setting_stale_s": "120",
        "setting_group_by": "camera", "setting_news_after_s": "1800",
        "why_it_matters": "", "procedure": "",
    }  # fmt: skip


def test_rules_are_offered_by_name_and_only_those_of_the_site(town: Town, ada: Client) -> None:
    rule_named(town, "At the vault")
    rule_named(town, "At the door")
    elsewhere(town)
    page = unescape(ada.get(address(town)).content.decode())
    for field in ("setting_first", "setting_then"):
        assert offered(page, field)[1:] == ["At the door", "At the vault"]


def test_what_was_chosen_is_stored_by_its_uid_and_shown_again_by_its_name(town: Town, ada: Client) -> None:
    door, vault = rule_named(town, "At the door"), rule_named(town, "At the vault")
    response = ada.post(address(town), typed(town, str(door.uid), str(vault.uid)))
    assert response.status_code == 302, response.content.decode()
    made = Rule.objects.get(kind="sequence")
    assert (made.config["first"], made.config["then"]) == (str(door.uid), str(vault.uid))
    assert made.versions.get().embedded["config"]["first"] == str(door.uid)
    page = unescape(ada.get(address(town, made)).content.decode())
    assert f'<option value="{vault.uid}" selected>At the vault</option>' in page
    assert made.name not in offered(page, "setting_first")


def test_a_rule_of_another_site_or_none_is_refused_beside_its_field(town: Town, ada: Client) -> None:
    door, far = rule_named(town, "At the door"), elsewhere(town)
    for wrong in (str(far.uid), "", "door"):
        response = ada.post(address(town), typed(town, str(door.uid), wrong))
        assert response.status_code == 200 and 'class="error"' in response.content.decode()
    assert not Rule.objects.filter(kind="sequence").exists()


def test_the_administrators_form_offers_names_too(town: Town, ada: Client) -> None:
    rule_named(town, "At the door")
    page = unescape(ada.get("/admin/alerts/rule/add/?kind=sequence").content.decode())
    assert ">At the door</option>" in page


def test_a_history_names_the_rule(town: Town) -> None:
    door = rule_named(town, "At the door")
    assert value_word("config.first", str(door.uid)) == "At the door"
    gone = "00000000-0000-0000-0000-000000000001"
    assert value_word("config.then", gone) == gone


def rehearsed(town: Town, ada: Client, first: Rule, then: Rule, **changes: Any) -> Any:
    form = {**typed(town, str(first.uid), str(then.uid)), "rehearse_days": "1", **changes}
    return ada.post(f"/setup/cameras/{town.gate.uid}/rules/rehearse/?kind=sequence", form)


@pytest.fixture
def two(town: Town, settings: LazySettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Rule, Rule]:
    """A rule at the gate and one at the yard, where somebody walks a few minutes later."""
    settings.ARCHIVE = {**settings.ARCHIVE, "folder": tmp_path / "archive"}
    monkeypatch.setattr(rehearsals, "_publish_soon", lambda uid: None)
    yard = Zone.objects.create(view=main_view(town.yard), name="Gap", points=town.zone.points)
    log = [
        *moved(walks(0), camera=town.gate.uid, deployment=town.deployment.uid, to=ago(hours=2)),
        *moved(walks(0), camera=town.yard.uid, deployment=town.deployment.uid, to=ago(hours=2, seconds=-30)),
    ]
    keep(rehearsals.archive_root(), log)
    return rule_named(town, "At the gate"), rule_named(town, "At the yard", yard)


def test_it_is_rehearsed_on_every_camera_that_its_rules_watch(town: Town, ada: Client, two: tuple[Rule, Rule]) -> None:
    assert rehearsed(town, ada, *two).status_code == 200
    rehearsal = Rehearsal.objects.get()
    rehearsal_run.run(rehearsal.uid)
    page = unescape(ada.get(f"/setup/rehearsals/{rehearsal.uid}/").content.decode())
    assert "Made of what “At the gate”, “At the yard” would have fired on Gate, Yard" in page
    assert "1 time<" in page and "· Yard" in page and "no version is in force" in page


def test_a_choice_of_cameras_that_it_cannot_be_made_of_is_refused(
    town: Town, ada: Client, two: tuple[Rule, Rule]
) -> None:
    refused = rehearsed(town, ada, *two, rehearse_cameras=[str(town.gate.uid)])
    assert refused.status_code == 422
    assert "“At the yard” watches none of these cameras" in refused.json()["sentence"]


def test_a_rule_that_is_switched_off_is_named(town: Town, ada: Client, two: tuple[Rule, Rule]) -> None:
    two[0].enabled = False
    editing.save_rule(two[0], zones=[town.zone], author=None, now=timezone.now())
    refused = rehearsed(town, ada, *two)
    assert refused.status_code == 422 and "“At the gate”, which the sequence" in refused.json()["sentence"]


def test_its_cameras_are_offered_and_none_is_chosen(town: Town, ada: Client, two: tuple[Rule, Rule]) -> None:
    page = ada.get(address(town)).content.decode()
    boxes = re.findall(r'<input type="checkbox" name="rehearse_cameras"[^>]*>', page)
    assert len(boxes) == 2 and not [box for box in boxes if "checked" in box]
    assert "None chosen: every camera that its rules watch" in page


# what could never be complete, and what a sequence waits for


def counting(town: Town) -> Rule:
    line = Zone.objects.create(view=town.zone.view, name="Kerb", shape="line", points=[[0.5, 0.1], [0.5, 0.9]])
    rule = new_rule(town, name="Over the kerb", kind="counting")
    editing.save_rule(rule, zones=[line], author=None, now=timezone.now())
    return rule


def sequence(town: Town, first: Rule, then: Rule) -> Rule:
    waits = {"first": str(first.uid), "then": str(then.uid)}
    rule = new_rule(town, name="First the door, then the vault", kind="sequence", config=waits)
    editing.save_rule(rule, zones=[town.zone], author=None, now=timezone.now())
    return rule


def test_what_only_counts_is_not_offered(town: Town, ada: Client) -> None:
    door, kerb = rule_named(town, "At the door"), counting(town)
    for page in (address(town), "/admin/alerts/rule/add/?kind=sequence"):
        assert offered(unescape(ada.get(page).content.decode()), "setting_then")[1:] == ["At the door"]
    assert ada.post(address(town), typed(town, str(door.uid), str(kerb.uid))).status_code == 200
    assert not Rule.objects.filter(kind="sequence").exists()


def test_a_sequence_that_could_never_be_complete_is_refused_beside_its_field(town: Town, ada: Client) -> None:
    yard = Zone.objects.create(view=main_view(town.yard), name="Gap", points=town.zone.points)
    door, vault = rule_named(town, "At the door"), rule_named(town, "At the vault", yard)
    page = ada.post(address(town), typed(town, str(door.uid), str(vault.uid)) | {"setting_scope": "camera"})
    assert "“At the door” and “At the vault” watch no camera in common" in unescape(page.content.decode())
    door.enabled = False
    editing.save_rule(door, zones=[town.zone], author=None, now=timezone.now())
    page = ada.post(address(town), typed(town, str(door.uid), str(vault.uid)))
    assert "“At the door”, which the sequence waits for, is switched off." in unescape(page.content.decode())
    assert not Rule.objects.filter(kind="sequence").exists()


def test_a_rule_that_is_waited_for_stays_on_in_form_list_and_administration(town: Town, ada: Client) -> None:
    door, vault = rule_named(town, "At the door"), rule_named(town, "At the vault")
    sequence(town, door, vault)
    rule = {
        "name": door.name, "severity": "medium", "zones": [town.zone.pk], "deployment": town.deployment.pk,
        **{f"setting_{name}": value for name, value in door.config.items() if value is not None},
    }  # fmt: skip
    switch = f"/setup/cameras/{town.gate.uid}/rules/{door.uid}/switch/"
    answers = [
        ada.post(address(town, door), rule),
        ada.post(switch, {"on": "0"}, follow=True),
        ada.post(f"/admin/alerts/rule/{door.pk}/change/", rule),
    ]
    for answer in answers:
        said = unescape(answer.content.decode())
        assert "The sequence “First the door, then the vault” waits for “At the door”" in said
        assert "Change the sequence or switch it off first." in said
    door.refresh_from_db()
    assert door.enabled


def test_what_goes_with_a_camera_or_a_zone_is_said_before_and_stands_on_the_page_after(town: Town, ada: Client) -> None:
    yard = Zone.objects.create(view=main_view(town.yard), name="Gap", points=town.zone.points)
    made = sequence(town, rule_named(town, "At the door"), rule_named(town, "At the vault", yard))
    gone = "hat the sequence “First the door, then the vault” waits for: it stays and will not fire any more"
    said = [f"/setup/cameras/{town.yard.uid}/delete/", f"/admin/alerts/zone/{yard.pk}/delete/"]
    said += [f"/admin/streams/camera/{town.yard.pk}/delete/", f"/admin/streams/view/{yard.view_id}/delete/"]
    for page in said:
        assert gone in unescape(ada.get(page).content.decode()), page
    assert gone not in unescape(ada.get(f"/admin/alerts/zone/{town.zone.pk}/delete/").content.decode())
    page = ada.get(f"/setup/cameras/{town.yard.uid}/").content.decode()
    assert '"starves": "First the door, then the vault"' in page
    listed = f"/setup/cameras/{town.gate.uid}/"
    assert "Cannot fire" not in ada.get(listed).content.decode()
    ada.post(f"/setup/cameras/{town.yard.uid}/zones/delete/", {"zone": str(yard.uid)})
    made.refresh_from_db()
    assert made.enabled
    cannot = "Cannot fire: “At the vault”, which the sequence waits for, is switched off."
    assert cannot in unescape(ada.get(listed).content.decode())
