"""Edits: what runs, what is wanted, and what is refused with which words."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from alerts import editing
from alerts.editing import Refused, retire_rule, save_rule, save_zone
from alerts.models import Rule, RuleVersion, Zone
from alerts.rules.config import EmbeddedRule
from detectors.models import Deployment, Model
from streams.models import Camera, Demand, SequenceCounter, Site, View
from tests.town import NOW, SQUARE, Town, build_town, new_rule

pytestmark = pytest.mark.django_db


@pytest.fixture
def town() -> Town:
    return build_town()


@pytest.fixture
def rule(town: Town) -> Rule:
    rule = new_rule(town)
    save_rule(rule, zones=[town.zone], author=town.ada, now=NOW)
    return rule


def configuration() -> int:
    return SequenceCounter.current(SequenceCounter.CONFIGURATION)


def in_force(rule: Rule) -> RuleVersion:
    return rule.versions.get(active_until_at__isnull=True)


def test_it_makes_a_version_that_the_engine_can_read(town: Town, rule: Rule) -> None:
    version = in_force(rule)
    embedded = msgspec.convert(version.embedded, EmbeddedRule)
    assert (embedded.version, embedded.rule, embedded.deployment) == (version.uid, rule.uid, town.deployment.uid)
    assert [zone.points for zone in embedded.zones] == [[tuple(corner) for corner in SQUARE]]
    assert embedded.zones[0].camera == town.gate.uid
    assert embedded.schedule.time_zone == "Asia/Taipei"
    assert (version.number, version.author, version.active_from_at) == (1, town.ada, NOW)


def test_it_writes_the_demand_of_the_version(town: Town, rule: Rule) -> None:
    demand = Demand.objects.get()
    assert (demand.camera, demand.wanted_by, demand.pool) == (town.gate, in_force(rule).uid, "general")
    assert (demand.hz, demand.width_px, demand.severity) == (5.0, 640, 1)


def test_it_never_wants_more_than_the_deployment_gives(town: Town, rule: Rule) -> None:
    town.deployment.hz = 2.0
    town.deployment.save()
    assert Demand.objects.get().hz == 2.0


def test_it_advances_the_configuration_with_each_edit(town: Town) -> None:
    before = configuration()
    save_rule(new_rule(town), zones=[town.zone], author=None, now=NOW)
    assert configuration() > before


def test_it_ends_the_version_before(town: Town, rule: Rule) -> None:
    first = in_force(rule)
    later = NOW + timedelta(minutes=1)
    rule.severity = "critical"
    second = save_rule(rule, zones=[town.zone], author=town.ada, now=later)
    first.refresh_from_db()
    assert first.active_until_at == later == second.active_from_at
    assert second.number == 2
    assert [demand.wanted_by for demand in Demand.objects.all()] == [second.uid]


def test_it_keeps_the_version_when_nothing_changed(town: Town, rule: Rule) -> None:
    first = in_force(rule)
    assert save_rule(rule, zones=[town.zone], author=town.ada, now=NOW + timedelta(hours=1)) == first


def test_changed_words_are_a_version_that_embeds_the_same(town: Town, rule: Rule) -> None:
    first = in_force(rule)
    rule.procedure = "Call the gate."
    second = save_rule(rule, zones=[town.zone], author=town.ada, now=NOW + timedelta(hours=1))
    assert (second.number, second.embedded) == (2, first.embedded)
    assert Demand.objects.get().wanted_by == second.uid


def test_a_disabled_rule_acts_in_no_time_at_all(town: Town, rule: Rule) -> None:
    rule.enabled = False
    version = save_rule(rule, zones=[town.zone], author=town.ada, now=NOW + timedelta(minutes=1))
    assert version.active_from_at == version.active_until_at
    assert not Demand.objects.exists()
    rule.enabled = True
    assert save_rule(rule, zones=[town.zone], author=None, now=NOW + timedelta(minutes=2)).active_until_at is None
    assert Demand.objects.count() == 1


def test_a_retired_rule_wants_nothing(rule: Rule) -> None:
    retire_rule(rule)
    assert not Demand.objects.exists()
    assert not rule.versions.filter(active_until_at__isnull=True).exists()
    assert not Rule.objects.get().enabled


def test_a_moved_zone_makes_new_versions_of_its_rules(town: Town, rule: Rule) -> None:
    first = in_force(rule)
    town.zone.points = [[0.2, 0.2], [0.5, 0.2], [0.5, 0.8]]
    save_zone(town.zone)
    second = in_force(rule)
    assert second.pk != first.pk
    assert second.embedded["zones"][0]["points"] == [[0.2, 0.2], [0.5, 0.2], [0.5, 0.8]]
    assert Demand.objects.get().wanted_by == second.uid


def test_a_deleted_zone_leaves_the_rule_with_the_others(town: Town, rule: Rule) -> None:
    other = Zone.objects.create(view=town.zone.view, name="Door", points=SQUARE)
    save_rule(rule, zones=[town.zone, other], author=None, now=NOW)
    town.zone.delete()
    assert [zone["name"] for zone in in_force(rule).embedded["zones"]] == ["Door"]


def test_a_rule_without_any_zone_left_is_retired(town: Town, rule: Rule) -> None:
    town.zone.delete()
    assert not Rule.objects.get().enabled
    assert not Demand.objects.exists()


def test_a_camera_can_be_deleted_with_its_zones_and_rules(town: Town, rule: Rule) -> None:
    Zone.objects.create(view=town.zone.view, name="Door", points=SQUARE)
    town.gate.delete()
    assert not Demand.objects.exists()
    assert not Rule.objects.get().enabled


def test_a_site_that_changes_its_clock_takes_its_rules_along(town: Town, rule: Rule) -> None:
    town.site.time_zone = "Europe/Berlin"
    town.site.save()
    assert in_force(rule).embedded["schedule"]["time_zone"] == "Europe/Berlin"


def test_a_rule_by_the_sun_embeds_the_sites_place_and_moves_with_it(town: Town) -> None:
    Site.objects.filter(pk=town.site.pk).update(latitude=25.0, longitude=121.5)
    town.site.refresh_from_db()
    rule = new_rule(town, schedule=[{"from": "sunset-00:30", "until": "sunrise"}])
    zone = Zone.objects.get(pk=town.zone.pk)
    save_rule(rule, zones=[zone], author=None, now=NOW)
    assert in_force(rule).embedded["schedule"]["latitude"] == 25.0
    town.site.latitude = 24.0
    town.site.save()
    assert in_force(rule).embedded["schedule"]["latitude"] == 24.0


def test_a_version_embeds_holidays(town: Town) -> None:
    schedule = {"spans": [], "holidays": ["2026-05-01"], "on_holidays": "never"}
    version = save_rule(new_rule(town, schedule=schedule), zones=[town.zone], author=None, now=NOW)
    assert version.embedded["schedule"]["holidays"] == ["2026-05-01"]


def test_a_version_of_before_is_the_same_where_only_later_settings_differ(town: Town, rule: Rule) -> None:
    version = in_force(rule)
    for name in ("latitude", "longitude", "holidays", "on_holidays"):
        del version.embedded["schedule"][name]
    for name in ("min_height", "max_height", "why"):
        del version.embedded["config"][name]
    version.save()
    assert save_rule(rule, zones=[town.zone], author=None, now=NOW + timedelta(minutes=1)) == version


def test_a_deployment_takes_its_demand_to_another_pool(town: Town, rule: Rule) -> None:
    town.deployment.pool = "fast"
    town.deployment.save()
    assert Demand.objects.get().pool == "fast"
    town.deployment.enabled = False
    town.deployment.save()
    assert not Demand.objects.exists()


EDITS: dict[str, Callable[[Town], object]] = {
    "site": lambda town: town.site.save(),
    "camera": lambda town: town.gate.save(),
    "new source": lambda town: town.gate.sources.create(address="rtsp://10.0.0.5/live"),
    "view": lambda town: town.zone.view.save(),
    "zone": lambda town: town.zone.save(),
    "model": lambda town: town.deployment.model.save(),
    "deployment": lambda town: town.deployment.save(),
    "cameras of a deployment": lambda town: town.deployment.cameras.add(town.gate),
    "camera deleted": lambda town: town.yard.delete(),
}


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS.keys())
def test_every_edit_advances_the_configuration(town: Town, edit: Callable[[Town], object]) -> None:
    before = configuration()
    edit(town)
    assert configuration() > before


def test_what_a_process_found_is_no_edit(town: Town) -> None:
    before = configuration()
    town.deployment.model.problem = "the file is damaged"
    town.deployment.model.save(update_fields=["problem"])
    assert configuration() == before


def zone(points: Any, shape: str = "polygon") -> Callable[[Town, Rule], list[Zone]]:
    def made(town: Town, rule: Rule) -> list[Zone]:
        return [Zone.objects.create(view=town.zone.view, name="Bad", shape=shape, points=points)]

    return made


def config(**values: Any) -> Callable[[Town, Rule], None]:
    def changed(town: Town, rule: Rule) -> None:
        rule.config |= values

    return changed


def column(**values: Any) -> Callable[[Town, Rule], None]:
    def changed(town: Town, rule: Rule) -> None:
        for name, value in values.items():
            setattr(rule, name, value)

    return changed


def two_clocks(town: Town, rule: Rule) -> list[Zone]:
    rule.schedule = [{"days": [0], "from": "22:00", "until": "06:00"}]
    camera = Camera.objects.create(
        name="Far", site=Site.objects.create(name="Far", time_zone="Asia/Tokyo"), group=town.gate.group
    )
    view = View.objects.create(camera=camera)
    return [town.zone, Zone.objects.create(view=view, name="Far", points=SQUARE)]


def switched_off(town: Town, rule: Rule) -> None:
    Deployment.objects.update(enabled=False)
    town.deployment.enabled = False


def elsewhere(town: Town, rule: Rule) -> None:
    town.deployment.all_cameras = False
    town.deployment.cameras.set([town.yard])


def taken(town: Town, rule: Rule) -> None:
    save_rule(new_rule(town), zones=[town.zone], author=None, now=NOW)
    rule.name = "person in the LANE"


REFUSALS = {
    "no name": (column(name="  "), "name", "needs a name"),
    "a name that is taken": (taken, "name", "named “person in the LANE” already"),
    "unknown severity": (column(severity="awful"), "severity", "low, medium, high, critical"),
    "wrong kind": (column(kind="telepathy"), "", "expected one of"),
    "unknown setting": (config(speed=3), "", "speed"),
    "not a number": (config(hold_s="soon"), "hold_s", "hold_s"),
    "NaN": (config(hold_s=math.nan), "hold_s", "ordinary number, not nan"),
    "infinity": (config(min_travel=math.inf), "min_travel", "ordinary number, not inf"),
    "huge": (config(rearm_s=10**30), "rearm_s", "ordinary number"),
    "beyond its bound": (config(confidence=1.5), "confidence", "<= 1.0"),
    "7 of the last 5": (config(confirm_k=7), "confirm_k", "7 of the last 5"),
    "a least height above the most": (config(min_height=0.5, max_height=0.2), "min_height", "less than max_height"),
    "no label": (config(labels=[]), "labels", "labels"),
    "a label nobody knows": (config(labels=["unicorn"]), "", "unicorn"),
    "a label the model never gives": (config(labels=["dog"]), "labels", "never reports “dog”"),
    "no zone": (lambda town, rule: [], "zones", "at least one zone"),
    "a zone outside the picture": (zone([[0.1, 0.1], [1.4, 0.1], [0.5, 0.5]]), "points", "outside the picture"),
    "a line outside the picture": (zone([[0.1, 0.5], [1.01, 0.5]], "line"), "points", "outside the picture"),
    "a negative number": (config(rearm_s=-1), "rearm_s", ">= 0"),
    "a nested setting": (config(hold_s=[[1e12]]), "hold_s", "ordinary number"),
    "a self-crossing zone": (zone([[0, 0], [1, 1], [1, 0], [0, 1]]), "points", "crosses edge"),
    "a zone of two corners": (zone([[0, 0], [1, 1]]), "points", "3 to 64 corners"),
    "a line for presence": (zone([[0, 0], [1, 1]], "line"), "zones", "cannot use"),
    "a deployment that is off": (switched_off, "deployment", "switched off"),
    "a deployment elsewhere": (elsewhere, "deployment", "does not run on camera “Gate”"),
    "a malformed schedule": (column(schedule=[{"from": "25:00"}]), "schedule", "Schedule"),
    "a schedule without days": (column(schedule=[{"days": []}]), "schedule", "never fire"),
    "a schedule that is no schedule": (column(schedule="nights"), "schedule", "Schedule"),
    "sunset at a site without a place": (column(schedule=[{"from": "sunset"}]), "schedule", "latitude and longitude"),
    "two clocks": (two_clocks, "zones", "Asia/Taipei, Asia/Tokyo"),
}


@pytest.mark.parametrize(("change", "field", "words"), REFUSALS.values(), ids=REFUSALS.keys())
def test_it_refuses(town: Town, change: Callable[[Town, Rule], Any], field: str, words: str) -> None:
    rule = new_rule(town)
    zones = change(town, rule)
    versions, before = RuleVersion.objects.count(), configuration()
    with pytest.raises(Refused) as refused:
        save_rule(rule, zones=[town.zone] if zones is None else zones, author=None, now=NOW)
    assert words in str(refused.value)
    assert refused.value.field == field or not field
    assert (RuleVersion.objects.count(), configuration()) == (versions, before)
    assert rule.pk is None


def test_a_refused_edit_leaves_the_last_good_version_running(town: Town, rule: Rule) -> None:
    rule.config = {"labels": ["person"], "hold_s": -1}
    with pytest.raises(Refused):
        save_rule(rule, zones=[town.zone], author=None, now=NOW + timedelta(minutes=1))
    assert in_force(rule).number == 1
    assert Demand.objects.count() == 1


def test_a_family_is_given_when_one_of_it_is(town: Town) -> None:
    rule = new_rule(town, config={"labels": ["vehicle"]})
    assert save_rule(rule, zones=[town.zone], author=None, now=NOW).number == 1


def test_what_is_left_can_be_asked_for_where_it_is_looked_for(town: Town) -> None:
    rule = new_rule(town, kind="left", config={})
    with pytest.raises(Refused, match="never reports “appeared-object”"):
        save_rule(rule, zones=[town.zone], author=None, now=NOW)
    town.deployment.static_regions = True
    town.deployment.save()
    rule.deployment.refresh_from_db()
    assert save_rule(rule, zones=[town.zone], author=None, now=NOW).kind == "left"


def test_a_sequence_follows_rules_of_its_own_site(town: Town, rule: Rule) -> None:
    config = {"first": str(rule.uid), "then": str(rule.uid)}
    save_rule(new_rule(town, name="Twice", kind="sequence", config=config), zones=[town.zone], author=None, now=NOW)
    nobody = {**config, "then": "0192f5c1-7a00-7c11-9d3a-5a3f0c6f1b99"}
    with pytest.raises(Refused, match="has been deleted") as refused:
        save_rule(new_rule(town, name="Odd", kind="sequence", config=nobody), zones=[town.zone], author=None, now=NOW)
    assert refused.value.field == "then"


@pytest.mark.parametrize("kind, config", [("health", {}), ("threshold", {"quantity": "opacity"})])
def test_kinds_that_look_at_no_objects_need_no_label(town: Town, kind: str, config: dict[str, Any]) -> None:
    save_rule(new_rule(town, kind=kind, config=config), zones=[town.zone], author=None, now=NOW)
    assert Demand.objects.get().hz == 0.2


def test_turns_need_two_lines_on_a_camera(town: Town) -> None:
    lines = [
        Zone.objects.create(view=town.zone.view, name=name, shape="line", points=[[x, 0.1], [x, 0.9]])
        for name, x in (("North", 0.2), ("East", 0.8))
    ]
    rule = new_rule(town, kind="counting", config={"labels": ["person"], "turns": True})
    with pytest.raises(Refused, match="one line on “Gate”, and a turn needs two") as refused:
        save_rule(rule, zones=lines[:1], author=None, now=NOW)
    assert refused.value.field == "turns"
    save_rule(rule, zones=lines, author=None, now=NOW)


GROUND = {"points": [[0.1, 0.9], [0.9, 0.9], [0.7, 0.2], [0.3, 0.2]], "width_m": 6.0, "depth_m": 20.0}


def test_a_version_embeds_the_ground_and_a_calibration_makes_a_new_one(town: Town, rule: Rule) -> None:
    assert in_force(rule).embedded["zones"][0]["ground"] is None
    editing.save_ground(town.zone.view, GROUND, author=town.bob)
    version = in_force(rule)
    assert (version.number, version.author) == (2, town.bob)
    assert version.embedded["zones"][0]["ground"] == GROUND
    ground = msgspec.convert(version.embedded, EmbeddedRule).zones[0].ground
    assert ground is not None and ground.depth_m == 20.0
    editing.save_ground(View.objects.get(pk=town.zone.view_id), GROUND, author=town.bob)
    assert in_force(rule) == version
    draft = editing.draft_version(rule, zones=list(rule.zones.all()), now=NOW)
    assert draft.zones[0].ground == ground  # so a rehearsal measures as the live rule does
    editing.save_ground(View.objects.get(pk=town.zone.view_id), None)
    assert in_force(rule).embedded["zones"][0]["ground"] is None


@pytest.mark.parametrize(
    ("changes", "field", "words"),
    [
        ({"depth_m": -1}, "depth_m", "from 0.1 to 1000 m, got -1"),
        ({"points": [[0.1, 0.9]]}, "points", "four corners, got 1"),
    ],
)
def test_a_wrong_calibration_is_refused_and_changes_nothing(
    town: Town, changes: dict[str, Any], field: str, words: str
) -> None:
    with pytest.raises(Refused, match=words) as refused:
        editing.save_ground(town.zone.view, GROUND | changes)
    assert refused.value.field == field
    assert View.objects.get(pk=town.zone.view_id).ground is None


@pytest.mark.parametrize(
    ("kind", "setting"),
    [
        ("presence", {"min_speed_kmh": 30.0}),
        ("stopped", {"drift_m": 1.0}),
        ("wrong_way", {"against_m": 10.0}),
        ("crowd", {"per_m2": 2.0}),
    ],
)
def test_metres_need_a_calibrated_view(town: Town, kind: str, setting: dict[str, Any]) -> None:
    rule = new_rule(town, kind=kind, config={"labels": ["person"], **setting})
    with pytest.raises(Refused, match="ground of “Gate: main” is not calibrated") as refused:
        save_rule(rule, zones=[town.zone], author=None, now=NOW)
    assert refused.value.field == next(iter(setting))
    editing.save_ground(town.zone.view, GROUND)
    save_rule(rule, zones=[town.zone], author=None, now=NOW)
    with pytest.raises(Refused, match="depends on it: The ground"):
        editing.save_ground(View.objects.get(pk=town.zone.view_id), None)
    assert View.objects.get(pk=town.zone.view_id).ground == GROUND


def test_a_zone_beyond_what_the_ground_measures_has_no_metres(town: Town) -> None:
    editing.save_ground(town.zone.view, GROUND | {"points": [[0.1, 0.9], [0.9, 0.9], [0.6, 0.6], [0.4, 0.6]]})
    rule = new_rule(town, kind="crowd", config={"labels": ["person"], "per_m2": 2.0})
    with pytest.raises(Refused, match="“Lane” reaches farther"):
        save_rule(rule, zones=[town.zone], author=None, now=NOW)


def test_a_zone_change_that_would_blind_a_rule_is_refused(town: Town, rule: Rule) -> None:
    town.zone.shape, town.zone.points = "line", [[0, 0], [1, 1]]
    with pytest.raises(Refused, match="cannot use"):
        save_zone(town.zone)


def test_a_deployment_change_that_would_starve_a_rule_is_refused(town: Town, rule: Rule) -> None:
    town.deployment.all_cameras = False
    with pytest.raises(Refused, match="“Person in the lane” depends on it"):
        editing.check_starved(town.deployment, covered=[town.yard.pk])
    editing.check_starved(town.deployment, covered=[town.gate.pk])
    town.deployment.model = Model.objects.create(name="Dogs", version="1", backend="x", labels=["dog"])
    with pytest.raises(Refused, match="never reports “person”"):
        editing.check_starved(town.deployment, covered=[town.gate.pk])


@pytest.mark.parametrize("owner", ["seen", "any"])
def test_owners_whom_the_model_never_reports_leave_nothing(town: Town, owner: str) -> None:
    town.deployment.static_regions = True
    town.deployment.save()
    rule = new_rule(town, kind="left", config={"owners": ["dog"], "owner": owner})
    if owner == "any":  # then nobody needs to be seen bringing it
        assert save_rule(rule, zones=[town.zone], author=None, now=NOW).kind == "left"
        return
    with pytest.raises(Refused, match=r"never reports “dog”\. Choose one that it gives: .*person") as refused:
        save_rule(rule, zones=[town.zone], author=None, now=NOW)
    assert refused.value.field == "owners"


def test_a_deployment_change_that_would_hide_the_owners_is_refused(town: Town) -> None:
    town.deployment.static_regions = True
    town.deployment.save()
    save_rule(new_rule(town, kind="left", config={}), zones=[town.zone], author=None, now=NOW)
    town.deployment.model = Model.objects.create(name="Cars", version="1", backend="x", labels=["car"])
    with pytest.raises(Refused, match="never reports “person”"):
        editing.check_starved(town.deployment)


@pytest.mark.parametrize(
    ("points", "band"),
    [
        ([[0.1, 0.0], [0.9, 0.0]], 0.0),
        ([[0.0, 0.2], [0.0, 0.8]], 0.0),
        ([[1.0, 1.0], [1.0, 0.0]], 0.02),
        ([[0.1, 0.99], [0.9, 0.99]], 0.02),
        ([[0.1, 0.6], [0.9, 0.6]], 0.45),
    ],
)
@pytest.mark.parametrize("kind", ["crossing", "counting"])
def test_a_line_with_nothing_beyond_its_band_on_one_side_is_refused(
    town: Town, kind: str, points: list[list[float]], band: float
) -> None:
    line = Zone.objects.create(view=town.zone.view, name="Kerb", shape="line", points=points)
    rule = new_rule(town, kind=kind, config={"band": band})
    with pytest.raises(Refused, match=r"Line “Kerb” lies at the edge of the picture.*Draw it farther in") as refused:
        save_rule(rule, zones=[line], author=None, now=NOW)
    assert refused.value.field == "zones"
    line.points = [[0.1, 0.5], [0.9, 0.5]]
    save_zone(line)
    assert save_rule(rule, zones=[line], author=None, now=NOW).kind == kind
    line.points = points
    with pytest.raises(Refused, match="lies at the edge"):
        save_zone(line)
