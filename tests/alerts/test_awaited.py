"""Sequences that could never be complete are refused, and so is whatever would make one so, by its name."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.base_user import AbstractBaseUser
from django.utils import timezone

from alerts import editing, rehearsals, rule_templates
from alerts.awaited import incomplete, starved_without
from alerts.configuration.bring_in import Outcome, bring_in
from alerts.configuration.export import read_rows
from alerts.configuration.said import sentence
from alerts.configuration.text import write
from alerts.editing import Refused, save_rule
from alerts.history import go_back
from alerts.models import Rule, RuleTemplate, Zone
from alerts.removal import consequences, remove_camera
from streams.models import Camera, Site, View
from tests.town import NOW, SQUARE, Town, build_town, new_rule

pytestmark = pytest.mark.django_db
LATER = NOW + timedelta(minutes=1)


@pytest.fixture
def town() -> Town:
    return build_town()


def zone_on(camera: Camera, name: str = "Lane", shape: str = "polygon") -> Zone:
    view = camera.views.first() or View.objects.create(camera=camera)
    points = [[0.5, 0.1], [0.5, 0.9]] if shape == "line" else SQUARE
    return Zone.objects.create(view=view, name=name, shape=shape, points=points)


def saved(town: Town, name: str, *zones: Zone, **changes: Any) -> Rule:
    rule = new_rule(town, name=name, **changes)
    save_rule(rule, zones=zones or [town.zone], author=None, now=NOW)
    return rule


def waiting(town: Town, first: Rule, then: Rule, name: str = "Break-in", enabled: bool = True, **config: Any) -> Rule:
    """Not saved yet."""
    waits = {"first": str(first.uid), "then": str(then.uid), **config}
    return new_rule(town, name=name, kind="sequence", enabled=enabled, config=waits)


def keep(town: Town, rule: Rule, *zones: Zone) -> None:
    save_rule(rule, zones=zones or [town.zone], author=None, now=NOW)


def refused(work: Callable[[], object]) -> Refused:
    with pytest.raises(Refused) as problem:
        work()
    return problem.value


@pytest.fixture
def fence(town: Town) -> Rule:
    return saved(town, "Fence")


@pytest.fixture
def door(town: Town) -> Rule:
    return saved(town, "Door", zone_on(town.yard))


@pytest.fixture
def both(town: Town, fence: Rule, door: Rule) -> Rule:
    """The fence at the gate, then the door in the yard."""
    rule = waiting(town, fence, door)
    keep(town, rule)
    return rule


def again(rule: Rule, **columns: Any) -> Callable[[], object]:
    """Saves ``rule`` with ``columns``."""
    rule = Rule.objects.get(pk=rule.pk)
    for name, value in columns.items():
        setattr(rule, name, value)
    zones = list(rule.zones.select_related("view__camera__site"))
    return lambda: save_rule(rule, zones=zones, author=None, now=LATER)


# what a sequence cannot wait for


def test_a_rule_that_only_counts_is_nothing_to_wait_for(town: Town, fence: Rule) -> None:
    counts = saved(town, "Kerb", zone_on(town.gate, "Kerb", "line"), kind="counting")
    for enabled in (True, False):
        rule = waiting(town, fence, counts, enabled=enabled)
        problem = refused(lambda rule=rule: keep(town, rule))  # type: ignore[misc]
        assert problem.field == "then" and "“Kerb”, which the sequence waits for, counts" in str(problem)


def test_a_rule_that_is_off_may_be_waited_for_while_the_sequence_is_off(town: Town, fence: Rule, door: Rule) -> None:
    again(door, enabled=False)()
    rule = waiting(town, fence, door, enabled=False)
    keep(town, rule)
    problem = refused(again(rule, enabled=True))
    assert problem.field == "then" and "“Door”, which the sequence waits for, is switched off" in str(problem)
    again(door, enabled=True)()
    again(rule, enabled=True)()


def test_one_whose_version_cannot_run_is_nothing_to_wait_for(town: Town, fence: Rule, door: Rule) -> None:
    fence.versions.update(embedded={})
    problem = refused(lambda: keep(town, waiting(town, fence, door)))
    assert problem.field == "first" and "cannot run. Save it again" in str(problem)


def test_on_one_camera_both_rules_watch_one(town: Town, fence: Rule, door: Rule) -> None:
    problem = refused(lambda: keep(town, waiting(town, fence, door, scope="camera")))
    assert problem.field == "scope" and "“Fence” and “Door” watch no camera in common" in str(problem)
    wide = saved(town, "Wide", town.zone, zone_on(town.yard, "Wide"))
    keep(town, waiting(town, fence, wide, scope="camera"))


def test_a_mask_watches_no_camera(town: Town, door: Rule) -> None:
    masked = saved(town, "Masked", zone_on(town.yard, "Square"), zone_on(town.gate, "Tree", "exclusion"))
    fence = saved(town, "Fence")
    assert refused(lambda: keep(town, waiting(town, fence, masked, scope="camera"))).field == "scope"


def far_away(town: Town) -> Camera:
    return Camera.objects.create(
        name="Runway", site=Site.objects.create(name="Airport", time_zone="Asia/Taipei"), group=town.gate.group
    )


def test_both_rules_watch_the_same_site(town: Town, fence: Rule) -> None:
    there = zone_on(far_away(town))
    runway = saved(town, "Runway", there)
    problem = refused(lambda: keep(town, waiting(town, fence, runway)))
    assert problem.field == "then" and "There is no rule “Runway” at the site of the zones" in str(problem)
    problem = refused(lambda: keep(town, waiting(town, fence, runway), town.zone, there))
    assert problem.field == "then" and "“Fence” and “Runway” watch different sites" in str(problem)


def test_nothing_waits_for_itself(town: Town, both: Rule, fence: Rule) -> None:
    alone = waiting(town, fence, fence, name="Alone")
    alone.config["then"] = str(alone.uid)
    assert "“Alone” would wait for itself" in str(refused(lambda: keep(town, alone)))
    above = waiting(town, both, fence, name="Above")
    keep(town, above)
    assert "“Break-in” would wait for itself" in str(
        refused(again(both, config=both.config | {"then": str(above.uid)}))
    )


def test_a_sequence_of_a_sequence_is_made_where_that_one_is_complete(town: Town, both: Rule, fence: Rule) -> None:
    # Break-in is complete at the yard, where the fence is not.
    problem = refused(lambda: keep(town, waiting(town, both, fence, name="Above", scope="camera")))
    assert "“Break-in” and “Fence” watch no camera in common" in str(problem)
    above = waiting(town, both, fence, name="Above")
    keep(town, above)
    assert refused(again(both, enabled=False)).args[0].startswith("The sequence “Above” waits for “Break-in”")


@pytest.mark.parametrize("enabled", [True, False])
def test_what_is_saved_switched_on_is_rehearsed(town: Town, both: Rule, enabled: bool, monkeypatch: Any) -> None:
    monkeypatch.setattr(rehearsals, "_publish_soon", lambda uid: None)
    draft = editing.draft_version(both, zones=[town.zone], now=LATER)
    wanted = rehearsals.Wanted(draft, [], 1, timezone.now(), "UTC")
    if not enabled:
        Rule.objects.filter(name="Door").update(enabled=False)
        Rule.objects.get(name="Door").versions.update(active_until_at=LATER)
        with pytest.raises(rehearsals.CannotRehearse) as not_rehearsed:
            rehearsals.start(wanted, author=town.ada)
        assert str(not_rehearsed.value) == str(refused(lambda: keep(town, both)))
        return
    assert len(rehearsals.start(wanted, author=town.ada).sources) == 2


# what a sequence waits for stays

NEEDED = "The sequence “Break-in” waits for “Door” and could never be complete any more"


def test_a_rule_that_is_waited_for_is_not_switched_off(both: Rule, door: Rule) -> None:
    problem = refused(again(door, enabled=False))
    assert str(problem) == f"{NEEDED}. Change the sequence or switch it off first."
    assert Rule.objects.get(pk=door.pk).enabled and not incomplete()
    again(both, enabled=False)()
    again(door, enabled=False)()


def test_a_rule_that_is_waited_for_does_not_turn_into_one_that_counts(town: Town, both: Rule, door: Rule) -> None:
    line = zone_on(town.yard, "Kerb", "line")
    counts = Rule.objects.get(pk=door.pk)
    counts.kind, counts.config = "counting", {"labels": ["person"]}
    problem = refused(lambda: save_rule(counts, zones=[line], author=None, now=LATER))
    assert str(problem).startswith(NEEDED)


def test_going_back_to_a_version_that_was_off_is_refused(town: Town, fence: Rule) -> None:
    door = saved(town, "Door", enabled=False)
    off = door.versions.get()
    again(door, enabled=True)()
    keep(town, waiting(town, fence, door))
    assert str(refused(lambda: go_back(off, author=None, now=LATER))).startswith(NEEDED)


def test_a_rule_that_is_waited_for_is_not_taken_to_another_site(town: Town, both: Rule, door: Rule) -> None:
    there = zone_on(far_away(town))
    moved = Rule.objects.get(pk=door.pk)
    assert str(refused(lambda: save_rule(moved, zones=[there], author=None, now=LATER))).startswith(NEEDED)
    zone = Zone.objects.select_related("view").get(rules=door)
    zone.view = there.view
    zone.name = "Door"
    assert str(refused(lambda: editing.save_zone(zone))).startswith(NEEDED)
    town.yard.site = there.view.camera.site
    assert str(refused(lambda: editing.check_place(town.yard))).startswith(NEEDED)


def test_a_camera_moves_with_the_sequence_and_all_that_it_waits_for(town: Town) -> None:
    fence, door = saved(town, "Fence"), saved(town, "Door")
    keep(town, waiting(town, fence, door))
    town.gate.site = far_away(town).site
    editing.check_place(town.gate)


def test_what_could_not_be_complete_before_keeps_nobody_from_an_edit(town: Town, both: Rule, fence: Rule) -> None:
    town.yard.delete()
    [(sequence, problem)] = incomplete()
    assert sequence == both and "“Door”, which the sequence waits for, is switched off" in problem.text
    town.zone.points = [[0.2, 0.2], [0.5, 0.2], [0.5, 0.8]]
    editing.save_zone(town.zone)
    town.site.time_zone = "Europe/Berlin"
    town.site.save()
    again(fence, enabled=False)()
    assert both.versions.get(active_until_at__isnull=True).embedded["schedule"]["time_zone"] == "Europe/Berlin"


def test_a_template_that_would_end_it_is_refused(town: Town, fence: Rule) -> None:
    zone_on(town.yard)
    template = RuleTemplate.objects.create(
        name="Doors", kind="presence", zone_name="Lane", deployment=town.deployment, config={"labels": ["person"]}
    )
    template.cameras.set([town.yard])
    assert rule_templates.apply_template(template, author=None, now=NOW).doable
    keep(town, waiting(town, fence, Rule.objects.get(template=template)))
    template.cameras.set([town.gate])
    applied = rule_templates.apply_template(template, author=None, now=LATER)
    assert "The sequence “Break-in” waits for" in applied.having("refused")[0].reason
    assert Rule.objects.get(template=template).enabled


# what follows from something bigger is said before


def test_a_camera_says_which_sequences_it_starves(town: Town, both: Rule, door: Rule) -> None:
    assert consequences(town.yard).starved == ("Break-in",)
    remove_camera(town.yard, author=town.ada)
    assert not Rule.objects.get(pk=door.pk).enabled and Rule.objects.get(pk=both.pk).enabled
    assert [sequence for sequence, _problem in incomplete()] == [both]


def test_a_sequence_that_goes_with_the_camera_is_not_starved_by_it(town: Town) -> None:
    keep(town, waiting(town, saved(town, "Fence"), saved(town, "Door")))
    assert consequences(town.gate).starved == () and "Break-in" in consequences(town.gate).ending


def test_a_sequence_with_a_zone_on_the_camera_goes_on_at_the_others(town: Town, fence: Rule, door: Rule) -> None:
    rule = waiting(town, fence, door)
    keep(town, rule, town.zone, Zone.objects.get(rules=door))
    assert consequences(town.yard).starved == ("Break-in",) and consequences(town.yard).shrinking == ("Break-in",)
    remove_camera(town.yard, author=town.ada)
    assert [zone["name"] for zone in rule.versions.get(active_until_at__isnull=True).embedded["zones"]] == ["Lane"]


def test_a_zone_beside_another_starves_nobody(town: Town, both: Rule, door: Rule) -> None:
    last = Zone.objects.get(rules=door)
    assert starved_without([last]) == [both]
    save_rule(door, zones=[last, zone_on(town.yard, "Other")], author=None, now=LATER)
    assert starved_without([last]) == []


def test_a_rule_that_has_nothing_but_a_mask_left_is_retired(town: Town, both: Rule, door: Rule) -> None:
    last = Zone.objects.get(rules=door)
    save_rule(door, zones=[last, zone_on(town.yard, "Tree", "exclusion")], author=None, now=LATER)
    assert starved_without([last]) == [both]
    last.delete()
    assert not Rule.objects.get(pk=door.pk).enabled


# the text is looked at as a whole


def bring(text: str, author: AbstractBaseUser | None = None, remove: bool = False) -> Outcome:
    return bring_in(text, author=author, now=LATER, remove=remove)


def told(outcome: Outcome) -> list[str]:
    return [f"{problem.key}: {sentence(problem.words)}" for problem in outcome.problems]


def exported() -> str:
    return write(read_rows(NOW))


def test_sequences_of_sequences_come_back_in_any_order(town: Town, both: Rule, fence: Rule) -> None:
    keep(town, waiting(town, both, fence, name="Above"))
    text = exported()
    assert text.index('name = "Above"') < text.index('name = "Break-in"') < text.index('name = "Door"')
    Rule.objects.all().delete()
    assert told(bring(text)) == []
    assert Rule.objects.filter(kind="sequence", enabled=True).count() == 2 and not incomplete()


def switched(text: str, *names: str) -> str:
    """The text with these rules off."""
    for name in names:
        head, tail = text[: text.index(f'name = "{name}"\n')], text[text.index(f'name = "{name}"\n') :]
        text = head + tail.replace("enabled = true", "enabled = false", 1)
    return text


def test_a_text_that_switches_off_a_sequence_with_its_rules_is_taken(both: Rule) -> None:
    text = exported()
    off = switched(text, "Door", "Break-in")
    assert told(bring(off)) == [] and Rule.objects.filter(enabled=True).count() == 1
    assert told(bring(text)) == [] and Rule.objects.filter(enabled=True).count() == 3


@pytest.mark.parametrize("whole", [True, False])
def test_a_text_that_starves_a_sequence_is_refused_by_its_name(both: Rule, whole: bool) -> None:
    text = switched(exported(), "Door")
    if not whole:  # without the sequence, which stays as it is
        head, tail = text[: text.rindex("[[rule]]", 0, text.index('name = "Break-in"'))], text
        tail = tail[tail.index("[[rule]]", text.index('name = "Break-in"')) :]
        text = head + tail
    [said] = told(bring(text))
    assert "Break-in" in said and "“Door”, which the sequence waits for, is switched off" in said
    assert Rule.objects.filter(enabled=True).count() == 3


def test_a_sequence_that_could_not_be_complete_keeps_no_text_out(town: Town, both: Rule) -> None:
    town.yard.delete()
    text = exported().replace("hz = 5.0", "hz = 4.0")
    assert told(bring(text)) == [] and type(town.deployment).objects.get().hz == 4.0
