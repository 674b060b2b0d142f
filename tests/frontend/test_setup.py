"""The set-up screens over HTTP: what is typed runs, what cannot work is refused with the reason, nothing leaks."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.core.files.storage import default_storage
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse
from django.utils import timezone, translation

from alerts.editing import save_rule
from alerts.models import Contact, EscalationPolicy, Event, Incident, Recipient, Rule, TrialMessage, Zone
from alerts.policies import StepDraft, save_policy
from frontend import tried
from frontend.models import ViewAudit
from streams.cameras import keep_reference, main_view
from streams.credentials import unseal
from streams.models import Camera, CameraGroup, Demand, SequenceCounter, Site, Source
from streams.probed import Probed
from streams.problems import SENTENCES
from tests.frontend import seeding
from tests.town import SQUARE, Town, new_rule

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("quiet")]

USER, PASSWORD = "kanarie-user", "kanarie-p@ss/word"
GOOD = Probed(codec="h264", width_px=640, height_px=360, fps=5.0, gop_s=2.0, kbps=300, jpeg=seeding.drawn_picture())


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[str, str, str]]]:
    """Every address that is tried answers with a good picture; what was asked is noted."""
    seen: list[tuple[str, str, str]] = []

    def probe(address: str, user: str = "", password: str = "", **_: Any) -> Probed:
        seen.append((address, user, password))
        return GOOD

    monkeypatch.setattr(tried, "probe", probe)
    yield seen


def typed(town: Town, **changes: Any) -> dict[str, Any]:
    form = {
        "name": "Dock", "site": town.site.pk, "group": town.gate.group.pk, "carrier": "fixed",
        "address_0": "rtsp://10.1.2.3:554/live", "role_0": "detect", "user_name": USER, "password": PASSWORD,
    }  # fmt: skip
    return {**form, **changes}


def text(response: Any) -> str:
    body: str = response.content.decode()
    return body


# whose it is


def pages(town: Town) -> list[str]:
    uid = town.gate.uid
    return [
        "/setup/",
        "/setup/cameras/add/",
        "/setup/list/",
        "/setup/configuration/",
        "/setup/configuration/download/",
        *(f"/setup/cameras/{uid}/{part}" for part in ("", "edit/", "delete/", "rules/add/")),
    ]


def actions(town: Town) -> list[str]:
    uid = town.gate.uid
    parts = ("try/", "switch/", "delete/", "zones/", "zones/delete/", "ground/", f"rules/{uuid4()}/switch/")
    texts = ("/setup/configuration/compare/", "/setup/configuration/apply/")
    return [*texts, "/setup/try/", "/setup/list/preview/", "/setup/list/apply/", f"/setup/contacts/{uuid4()}/test/"] + [
        f"/setup/cameras/{uid}/{part}" for part in parts
    ]


def test_every_page_opens_for_an_administrator(ada: Client, town: Town) -> None:
    for path in pages(town):
        assert ada.get(path).status_code == 200, path


@pytest.mark.parametrize("name", ["alice", "bob", "olive", "charlie"])
def test_nobody_else_finds_anything_here(town: Town, name: str) -> None:
    client = Client()
    client.force_login(getattr(town, name))
    for path in pages(town):
        assert client.get(path).status_code == 404, path
    for path in actions(town):
        assert client.post(path).status_code == 404, path


def test_a_stranger_is_sent_to_the_door(town: Town) -> None:
    for path in pages(town):
        assert Client().get(path).url.startswith("/login/"), path


def test_both_languages_are_spoken(ada: Client, town: Town) -> None:
    town.ada.language = "zh-hant"
    town.ada.save()
    with translation.override("zh-hant"):
        assert "新增攝影機" in text(ada.get("/setup/"))


# a camera


def test_a_camera_is_added_with_its_log_in_sealed(ada: Client, town: Town) -> None:
    before = SequenceCounter.current(SequenceCounter.CONFIGURATION)
    response = ada.post("/setup/cameras/add/", typed(town))
    camera = Camera.objects.get(name="Dock")
    assert response.url == f"/setup/cameras/{camera.uid}/"
    source = camera.sources.get()
    assert (source.role, source.address) == ("detect", "rtsp://10.1.2.3:554/live")
    assert unseal(source.credentials) == (USER, PASSWORD)
    assert PASSWORD.encode() not in bytes(source.credentials)
    assert camera.views.count() == 1
    assert SequenceCounter.current(SequenceCounter.CONFIGURATION) > before


def test_each_address_has_its_use_and_all_have_the_log_in(ada: Client, town: Town) -> None:
    ada.post("/setup/cameras/add/", typed(town, role_0="record", address_1="rtsp://10.1.2.3/sub", role_1="detect"))
    sources = {source.role: source for source in Camera.objects.get(name="Dock").sources.all()}
    assert {role: source.address for role, source in sources.items()} == {
        "record": "rtsp://10.1.2.3:554/live", "detect": "rtsp://10.1.2.3/sub",
    }  # fmt: skip
    assert {unseal(source.credentials) for source in sources.values()} == {(USER, PASSWORD)}


def test_a_new_site_and_group_are_made_with_the_people_who_see_it(ada: Client, town: Town) -> None:
    form = typed(town, site="", group="", new_site="Quay", time_zone="Asia/Tokyo", new_group="Quay side",
                 people=[town.alice.pk])  # fmt: skip
    ada.post("/setup/cameras/add/", form)
    camera = Camera.objects.select_related("site", "group").get(name="Dock")
    assert (camera.site.name, camera.site.time_zone, camera.group.name) == ("Quay", "Asia/Tokyo", "Quay side")
    assert list(camera.group.people.all()) == [town.alice]


@pytest.mark.parametrize(
    "changes, says",
    [
        ({"name": ""}, "This field is required."),
        ({"name": "Gate"}, "This site has a camera of this name already."),
        ({"address_0": ""}, "Enter the camera’s address"),
        ({"address_0": "http://10.1.2.3/"}, "Only rtsp:// and rtsps:// addresses can be cameras."),
        ({"address_0": "rtsp://127.0.0.1/x"}, "This address is this machine itself"),
        ({"address_0": "rtsp://169.254.169.254/x"}, "link-local or a cloud’s metadata service"),
        ({"address_0": "rtsp://10.1.2.3/x?password=hush-hush"}, "This address contains a password."),
        ({"address_0": "rtsp://u:hush-hush@10.1.2.3/x"}, "Write user name and password in their own fields"),
        ({"address_0": "rtsp://no-such-host.invalid/x"}, "No machine of the name no-such-host.invalid"),
        ({"address_1": "rtsp://10.1.2.4/x", "role_1": "detect"}, "Two addresses have the same use."),
        ({"site": "", "new_site": ""}, "Choose a site, or give the new one a name."),
        ({"site": "", "new_site": "harbour", "time_zone": "UTC"}, "There is a site of this name already."),
        ({"site": "", "new_site": "Quay", "time_zone": ""}, "Choose the clock that this site lives by."),
        ({"group": "", "new_group": ""}, "Choose a camera group, or give the new one a name."),
        ({"group": "", "new_group": "harbour"}, "There is a camera group of this name already."),
    ],
)
def test_a_camera_that_cannot_work_is_refused_with_the_reason(
    ada: Client, town: Town, changes: dict[str, Any], says: str
) -> None:
    before = Camera.objects.count(), Site.objects.count(), CameraGroup.objects.count()
    page = text(ada.post("/setup/cameras/add/", typed(town, **changes)))
    assert says in page.replace("&#x27;", "’").replace("'", "’")
    assert "hush-hush" not in page and PASSWORD not in page
    assert (Camera.objects.count(), Site.objects.count(), CameraGroup.objects.count()) == before


def test_an_edit_keeps_the_log_in_unless_another_is_typed_or_it_is_forgotten(ada: Client, town: Town) -> None:
    ada.post("/setup/cameras/add/", typed(town))
    camera = Camera.objects.get(name="Dock")
    edit = f"/setup/cameras/{camera.uid}/edit/"
    assert PASSWORD not in text(ada.get(edit)) and USER not in text(ada.get(edit))
    ada.post(edit, typed(town, address_0="rtsp://10.1.2.9/live", user_name="", password=""))
    assert unseal(camera.sources.get().credentials) == (USER, PASSWORD)
    ada.post(edit, typed(town, user_name="", password="another"))
    assert unseal(camera.sources.get().credentials) == (USER, "another")
    ada.post(edit, typed(town, user_name="", password="", forget_login="1"))
    assert unseal(camera.sources.get().credentials) is None


def test_an_address_that_is_taken_out_is_gone(ada: Client, town: Town) -> None:
    ada.post("/setup/cameras/add/", typed(town, address_1="rtsp://10.1.2.3/full", role_1="record"))
    camera = Camera.objects.get(name="Dock")
    ada.post(f"/setup/cameras/{camera.uid}/edit/", typed(town, user_name="", password=""))
    assert [source.role for source in camera.sources.all()] == ["detect"]


def test_a_camera_is_switched_off_and_on(ada: Client, town: Town) -> None:
    for on in ("0", "1"):
        ada.post(f"/setup/cameras/{town.gate.uid}/switch/", {"on": on})
        town.gate.refresh_from_db()
        assert town.gate.enabled is (on == "1")


# trying it


def test_trying_shows_the_picture_and_what_it_costs(ada: Client, town: Town, asked: list[Any]) -> None:
    shown = text(ada.post("/setup/try/", typed(town)))
    assert asked == [("rtsp://10.1.2.3:554/live", USER, PASSWORD)]
    assert "data:image/jpeg;base64," in shown
    for words in ("640×360", "H.264", "of a core"):
        assert words in shown
    assert PASSWORD not in shown and USER not in shown


def test_what_was_tried_is_there_once_it_is_saved(ada: Client, town: Town, asked: list[Any]) -> None:
    name = re.search(r'data-name="(\w+)"', text(ada.post("/setup/try/", typed(town))))
    assert name is not None
    ada.post("/setup/cameras/add/", typed(town, tried=name[1]))
    camera = Camera.objects.get(name="Dock")
    source = camera.sources.get()
    assert (source.found["width_px"], source.found["fps"]) == (640, 5.0) and source.found_at
    assert ada.get(f"/setup/cameras/{camera.uid}/snapshot.jpg").content == GOOD.jpeg
    assert default_storage.listdir(tried.FOLDER)[1] == []


def test_what_was_tried_and_never_saved_is_forgotten(
    ada: Client, town: Town, asked: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    ada.post("/setup/try/", typed(town))
    assert len(default_storage.listdir(tried.FOLDER)[1]) == 2
    monkeypatch.setattr(tried, "KEPT_FOR", timedelta(seconds=-1))
    ada.post("/setup/try/", typed(town))
    assert len(default_storage.listdir(tried.FOLDER)[1]) == 2


@pytest.mark.parametrize("name", ["../../poliscope", "x", "a" * 32])
def test_a_made_up_name_of_a_trial_takes_nothing_up(ada: Client, town: Town, name: str) -> None:
    ada.post("/setup/cameras/add/", typed(town, tried=name))
    assert Camera.objects.get(name="Dock").sources.get().found is None


@pytest.mark.parametrize("reason", sorted(SENTENCES))
def test_every_reason_is_a_plain_sentence_on_the_screen(
    ada: Client, town: Town, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tried, "probe", lambda *_args, **_more: Probed(reason=reason))
    shown = text(ada.post("/setup/try/", typed(town)))
    assert f'data-reason="{reason}"' in shown
    assert SENTENCES[reason].replace("'", "&#x27;") in shown
    assert "data:image/jpeg" not in shown


def test_an_address_that_is_refused_says_so_in_its_own_words(ada: Client, town: Town) -> None:
    shown = text(ada.post("/setup/try/", typed(town, address_0=f"rtsp://{USER}:{PASSWORD}@10.1.2.3/x")))
    assert "Write user name and password in their own fields" in shown
    assert USER not in shown and PASSWORD not in shown


def test_a_saved_camera_is_tried_with_the_log_in_that_is_kept(ada: Client, town: Town, asked: list[Any]) -> None:
    ada.post("/setup/cameras/add/", typed(town))
    camera = Camera.objects.get(name="Dock")
    before = SequenceCounter.current(SequenceCounter.CONFIGURATION)
    shown = text(ada.post(f"/setup/cameras/{camera.uid}/try/"))
    assert asked[-1] == ("rtsp://10.1.2.3:554/live", USER, PASSWORD) and PASSWORD not in shown
    assert camera.sources.get().found["codec"] == "h264"
    # What was found is no edit: no process reloads for it.
    assert SequenceCounter.current(SequenceCounter.CONFIGURATION) == before
    ada.post("/setup/try/", typed(town, camera=str(camera.uid), user_name="", password=""))
    assert asked[-1] == ("rtsp://10.1.2.3:554/live", USER, PASSWORD)


def test_a_new_picture_takes_the_place_of_the_old_one(ada: Client, town: Town) -> None:
    view = main_view(town.gate)
    for _ in range(2):
        keep_reference(view, GOOD.jpeg)
    assert len(default_storage.listdir("references")[1]) == 1


def test_looking_at_a_snapshot_is_written_down(ada: Client, town: Town) -> None:
    keep_reference(main_view(town.gate), GOOD.jpeg)
    assert ada.get(f"/setup/cameras/{town.gate.uid}/snapshot.jpg").status_code == 200
    assert ViewAudit.objects.filter(action="snapshot", user=town.ada, camera=town.gate).count() == 1
    alice = Client()
    alice.force_login(town.alice)
    assert alice.get(f"/setup/cameras/{town.gate.uid}/snapshot.jpg").status_code == 404


# many at once

LIST = f"""name,address,sub-stream,user,password,site,group
Gate,rtsp://10.1.9.1/main,rtsp://10.1.9.1/sub,{USER},{PASSWORD},Harbour,Harbour
Crane,rtsp://{USER}:another-secret@10.1.9.2/main,,,,Quay,Quay side
Mast,rtsp://127.0.0.1/main,,,,Quay,Quay side
Pier,http://10.1.9.4/,,,,Quay,Quay side
"""


def test_a_list_says_what_will_happen_and_writes_nothing(ada: Client, town: Town) -> None:
    before = Camera.objects.count(), Source.objects.count(), Site.objects.count()
    shown = text(ada.post("/setup/list/preview/", {"list": LIST, "time_zone": "Asia/Taipei"}))
    words = ("1 new camera", "1 changed", "2 lines refused", "New site: Quay (Asia/Taipei)", "Quay side")
    for said in (*words, "this machine itself", "Only rtsp:// and rtsps:// addresses can be cameras."):
        assert said in shown, said
    for secret in (USER, PASSWORD, "another-secret"):
        assert secret not in shown
    assert (Camera.objects.count(), Source.objects.count(), Site.objects.count()) == before


def test_a_list_is_done_but_for_what_is_refused(ada: Client, town: Town) -> None:
    posted = {"list": LIST, "time_zone": "Asia/Taipei", "people": [town.alice.pk]}
    assert ada.post("/setup/list/apply/", posted).json()["address"] == "/setup/"
    gate = {source.role: source for source in Camera.objects.get(name="Gate").sources.all()}
    assert gate["detect"].address == "rtsp://10.1.9.1/sub" and gate["record"].address == "rtsp://10.1.9.1/main"
    crane = Camera.objects.select_related("site", "group").get(name="Crane")
    assert (crane.site.time_zone, crane.group.name) == ("Asia/Taipei", "Quay side")
    assert unseal(crane.sources.get().credentials) == (USER, "another-secret")
    assert town.alice in crane.group.people.all()
    assert not Camera.objects.filter(name__in=("Mast", "Pier")).exists()
    again = text(ada.post("/setup/list/preview/", posted))
    assert "2 as they are" in again
    assert ada.post("/setup/list/apply/", posted).status_code == 422


def test_a_list_that_is_none_says_so(ada: Client, town: Town) -> None:
    assert "The list is empty. Paste one camera a line." in text(ada.post("/setup/list/preview/", {"list": ""}))
    assert ada.post("/setup/list/apply/", {"list": ""}).status_code == 422


# zones


def zone_of(town: Town, **changes: Any) -> dict[str, Any]:
    return {"zone": "", "name": "Dock lane", "shape": "polygon", "points": json.dumps(SQUARE), **changes}


def test_a_mask_is_made_and_what_a_rule_takes_with_it_runs(ada: Client, town: Town) -> None:
    corners = [[0.2, 0.2], [0.3, 0.2], [0.3, 0.4], [0.2, 0.4]]
    drawn = zone_of(town, name="Tree", shape="exclusion", points=json.dumps(corners))
    made = ada.post(f"/setup/cameras/{town.gate.uid}/zones/", drawn).json()
    mask = Zone.objects.get(uid=made["uid"])
    assert (mask.shape, mask.points, made["shape"]) == ("exclusion", corners, "exclusion")
    rule = add_rule(ada, town, zones=[town.zone.pk, mask.pk])
    [runs] = [zone for zone in rule.versions.get().embedded["zones"] if zone["shape"] == "exclusion"]
    assert (runs["name"], runs["points"]) == ("Tree", corners)
    alone = ada.post(f"/setup/cameras/{town.gate.uid}/rules/add/", rule_typed(town, name="Alone", zones=[mask.pk]))
    assert "The rule has nothing but masks, so it could never fire." in text(alone)


def test_a_zone_is_made_and_changed(ada: Client, town: Town) -> None:
    address = f"/setup/cameras/{town.yard.uid}/zones/"
    made = ada.post(address, zone_of(town)).json()
    zone = Zone.objects.get(uid=made["uid"])
    assert (zone.view.camera, zone.points) == (town.yard, [list(point) for point in SQUARE])
    ada.post(address, zone_of(town, zone=made["uid"], name="Dock", shape="line", points="[[0.1, 0.5], [0.9, 0.5]]"))
    zone.refresh_from_db()
    assert (zone.name, zone.shape, zone.points) == ("Dock", "line", [[0.1, 0.5], [0.9, 0.5]])


@pytest.mark.parametrize(
    "changes, says",
    [
        ({"name": "  "}, "Give the zone a name"),
        ({"points": "[[0.1, 0.1], [1.2, 0.1], [0.5, 0.9]]"}, "it lies outside the picture, move it inside"),
        ({"points": "[[0.1, 0.1], [0.9, 0.9], [0.9, 0.1], [0.1, 0.9]]"}, "edge 1 crosses edge 3"),
        ({"points": "[[0.1, 0.1], [0.9, 0.9]]"}, "expected 3 to 64 corners for a polygon, got 2"),
        ({"points": "[[0.1, 0.1], [0.5, 0.5], [0.9, 0.9]]"}, "expected an area"),
        ({"shape": "line"}, "expected exactly 2 corners for a line, got 4"),
        ({"shape": "circle"}, "The shape must be a polygon, a directed line or a mask."),
        ({"points": "[[NaN, 0.1], [0.5, 0.5], [0.9, 0.1]]"}, "The corners could not be read."),
        ({"points": "[[1e999, 0.1], [0.5, 0.5], [0.9, 0.1]]"}, "The corners could not be read."),
        ({"points": "[" * 5000}, "The corners could not be read."),
        ({"points": ""}, "The corners could not be read."),
    ],
)
def test_a_zone_that_is_none_is_refused_with_the_reason(
    ada: Client, town: Town, changes: dict[str, Any], says: str
) -> None:
    before = Zone.objects.count()
    response = ada.post(f"/setup/cameras/{town.yard.uid}/zones/", zone_of(town, **changes))
    assert response.status_code == 422 and says in response.json()["sentence"]
    assert Zone.objects.count() == before


def test_two_zones_of_one_name_are_refused(ada: Client, town: Town) -> None:
    response = ada.post(f"/setup/cameras/{town.gate.uid}/zones/", zone_of(town, name="Lane"))
    assert (response.status_code, response.json()["field"]) == (422, "name")


def test_a_zone_of_another_camera_is_not_there(ada: Client, town: Town) -> None:
    address = f"/setup/cameras/{town.yard.uid}/zones/"
    assert ada.post(address, zone_of(town, zone=str(town.zone.uid))).status_code == 404
    assert ada.post(f"{address}delete/", {"zone": str(town.zone.uid)}).status_code == 404


def test_deleting_a_rules_last_zone_switches_it_off(ada: Client, town: Town) -> None:
    rule = add_rule(ada, town)
    assert ada.post(f"/setup/cameras/{town.gate.uid}/zones/delete/", {"zone": str(town.zone.uid)}).status_code == 204
    rule.refresh_from_db()
    assert not rule.enabled and not Demand.objects.exists()


def test_a_rule_whose_last_zone_was_deleted_is_found_and_goes_back(ada: Client, town: Town) -> None:
    rule = add_rule(ada, town)
    version, camera = rule.versions.get(), f"/setup/cameras/{town.gate.uid}/"
    ada.post(f"{camera}zones/delete/", {"zone": str(town.zone.uid)})
    assert f"{camera}rules/{rule.uid}/" in text(page := ada.get(camera)) and "Its zone was deleted." in text(page)
    assert str(rule.uid) not in text(ada.get(f"/setup/cameras/{town.yard.uid}/"))
    assert ada.get(f"/setup/cameras/{town.yard.uid}/rules/{rule.uid}/").status_code == 404
    assert ada.get(f"{camera}rules/{rule.uid}/").status_code == 200
    assert ada.post(f"{camera}rules/{rule.uid}/versions/{version.uid}/").status_code == 302
    rule.refresh_from_db()
    assert rule.enabled and [zone.uid for zone in rule.zones.all()] == [town.zone.uid]


def test_a_rule_without_a_zone_is_not_switched_on(ada: Client, town: Town) -> None:
    rule = add_rule(ada, town)
    ada.post(f"/setup/cameras/{town.gate.uid}/zones/delete/", {"zone": str(town.zone.uid)})
    ada.post(f"/setup/cameras/{town.gate.uid}/rules/{rule.uid}/switch/", {"on": "1"})
    rule.refresh_from_db()
    assert not rule.enabled


# the ground


GROUND = {"points": [[0.1, 0.9], [0.9, 0.9], [0.7, 0.2], [0.3, 0.2]], "width_m": 6.0, "depth_m": 20.5}


def test_the_ground_is_calibrated_and_the_calibration_taken_away(ada: Client, town: Town) -> None:
    page, address = f"/setup/cameras/{town.gate.uid}/", f"/setup/cameras/{town.gate.uid}/ground/"
    assert "Not calibrated: distances are in picture heights" in text(ada.get(page))
    answer = ada.post(address, {"ground": json.dumps(GROUND)}).json()
    assert answer == {"ground": GROUND, "size": "Calibrated by 6 × 20.5 m"}
    assert main_view(town.gate).ground == GROUND
    assert "Calibrated by 6 × 20.5 m" in text(ada.get(page))
    assert ada.post(address, {"ground": ""}).json()["ground"] is None
    assert main_view(town.gate).ground is None
    assert list(ViewAudit.objects.filter(action__startswith="ground-").values_list("action", flat=True)) == [
        "ground-saved", "ground-cleared",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "ground, field, says",
    [
        (json.dumps(GROUND | {"width_m": 0}), "width_m", "from 0.1 to 1000 m, got 0"),
        (json.dumps(GROUND | {"points": GROUND["points"][:3]}), "points", "four corners, got 3"),  # type: ignore[index]
        ("[" * 5000, "points", "could not be read"),
        ('{"points": [[NaN, 0.9]], "width_m": 1, "depth_m": 1}', "points", "could not be read"),
        ("{}", "points", "could not be read"),
    ],
)
def test_a_ground_that_measures_nothing_is_refused(ada: Client, town: Town, ground: str, field: str, says: str) -> None:
    response = ada.post(f"/setup/cameras/{town.gate.uid}/ground/", {"ground": ground})
    assert (response.status_code, response.json()["field"]) == (422, field)
    assert says in response.json()["sentence"]
    assert main_view(town.gate).ground is None


def test_only_who_configures_calibrates(town: Town) -> None:
    bob = Client()
    bob.force_login(town.bob)
    assert bob.post(f"/setup/cameras/{town.gate.uid}/ground/", {"ground": json.dumps(GROUND)}).status_code == 404
    assert main_view(town.gate).ground is None


def test_a_rule_in_metres_is_refused_beside_its_field_until_the_ground_is_calibrated(ada: Client, town: Town) -> None:
    address, fast = f"/setup/cameras/{town.gate.uid}/rules/add/", rule_typed(town, setting_min_speed_kmh="30")
    assert "is not calibrated, so metres and km/h are not known there" in text(ada.post(address, fast))
    ada.post(f"/setup/cameras/{town.gate.uid}/ground/", {"ground": json.dumps(GROUND)})
    assert ada.post(address, fast).status_code == 302
    refused = ada.post(f"/setup/cameras/{town.gate.uid}/ground/", {"ground": ""})
    assert refused.status_code == 422 and "“Person in the lane” depends on it" in refused.json()["sentence"]


# rules and who is told


def rule_typed(town: Town, **changes: Any) -> dict[str, Any]:
    form = {
        "name": "Person in the lane", "severity": "high", "enabled": "on", "zones": [town.zone.pk],
        "deployment": town.deployment.pk, "setting_labels": ["person"], "setting_confidence": "0.5",
        "setting_confirm_k": "3", "setting_confirm_n": "5", "setting_confirm_within_s": "3", "setting_min_travel": "0",
        "setting_rearm": "quiet", "setting_rearm_s": "20", "setting_stale_s": "120",
        "setting_group_by": "camera", "setting_news_after_s": "1800", "setting_hold_s": "2",
        "setting_leave_s": "1", "setting_anchor": "bottom",
    }  # fmt: skip
    return {**form, **changes}


def add_rule(ada: Client, town: Town, **changes: Any) -> Rule:
    ada.post(f"/setup/cameras/{town.gate.uid}/rules/add/", rule_typed(town, **changes))
    return Rule.objects.get(name="Person in the lane")


def test_a_confidence_for_a_label_that_is_not_looked_for_is_refused_beside_its_field(ada: Client, town: Town) -> None:
    page = f"/setup/cameras/{town.gate.uid}/rules/add/?kind=appearance"
    form = rule_typed(
        town, setting_night_from="20:00", setting_night_until="06:00", setting_confidences="person 0.6, car 0.5"
    )
    refused = text(ada.post(page, form))
    said = re.search(r'name="setting_confidences"[^>]*aria-invalid="true".*?<em class="error">([^<]*)', refused)
    assert said is not None and "expected labels that are looked for (person), got car" in said[1]
    assert ada.post(page, form | {"setting_confidences": "person 0.6"}).status_code == 302


def test_a_rule_is_live_with_its_demand_and_somebody_new_to_tell(ada: Client, town: Town) -> None:
    rule = add_rule(
        ada, town, recipient_name="Guard post", recipient_sms="+886 912-345-678", recipient_language="zh-hant"
    )
    assert rule.enabled and rule.config["hold_s"] == 2.0 and rule.versions.get().author == town.ada
    assert Demand.objects.get(camera=town.gate).pool == "general"
    guard = rule.recipients.get()
    assert (guard.name, guard.language, guard.time_zone) == ("Guard post", "zh-hant", "Asia/Taipei")
    assert [(one.channel, one.address) for one in guard.contacts.all()] == [("sms", "+886912345678")]


@pytest.mark.parametrize(
    "changes, says",
    [
        ({"zones": []}, "This field is required."),
        ({"setting_labels": []}, "This field is required."),
        ({"setting_labels": ["fork"]}, "fork is not one of the available choices"),
        ({"setting_confidence": "nan"}, "Enter a number."),
        ({"setting_confirm_k": "9"}, "It cannot be seen in 9 of the last 5 pictures."),
        ({"recipient_name": "Guard"}, "Enter a mobile number or an e-mail address."),
        ({"recipient_sms": "+886912345678"}, "Give this person or team a name."),
        ({"recipient_name": "Guard", "recipient_sms": "0912"}, "Write the number with + and the country code"),
        ({"recipient_name": "Guard", "recipient_email": "guard"}, "Write an e-mail address"),
    ],
)
def test_a_rule_that_could_never_fire_is_refused_with_the_reason(
    ada: Client, town: Town, changes: dict[str, Any], says: str
) -> None:
    page = text(ada.post(f"/setup/cameras/{town.gate.uid}/rules/add/", rule_typed(town, **changes)))
    assert says in page
    assert not Rule.objects.exists() and not Recipient.objects.exists()


def test_a_setting_that_is_shown_nowhere_is_asked_for_nowhere_and_kept(ada: Client, town: Town) -> None:
    rule = add_rule(ada, town)
    Rule.objects.filter(pk=rule.pk).update(config={**rule.config, "why": "As it was."})
    address = f"/setup/cameras/{town.gate.uid}/rules/{rule.uid}/"
    for page in (address, f"/admin/alerts/rule/{rule.pk}/change/"):
        assert "setting_hold_s" in text(shown := ada.get(page)) and "setting_why" not in text(shown)
    assert ada.post(address, rule_typed(town, setting_hold_s="4")).status_code == 302
    rule.refresh_from_db()
    assert (rule.config["hold_s"], rule.config["why"]) == (4.0, "As it was.")


def test_an_edit_makes_a_new_version_and_keeps_who_is_told(ada: Client, town: Town) -> None:
    rule = add_rule(ada, town, recipient_name="Guard post", recipient_email="guard@example.org")
    address = f"/setup/cameras/{town.gate.uid}/rules/{rule.uid}/"
    assert 'value="2.0"' in text(ada.get(address))
    ada.post(address, rule_typed(town, setting_hold_s="5", recipients=[rule.recipients.get().pk]))
    rule.refresh_from_db()
    assert rule.config["hold_s"] == 5.0 and rule.versions.count() == 2 and rule.recipients.count() == 1


def test_a_rule_is_switched_off_and_on_and_its_demand_with_it(ada: Client, town: Town) -> None:
    rule = add_rule(ada, town)
    address = f"/setup/cameras/{town.gate.uid}/rules/{rule.uid}/switch/"
    ada.post(address, {"on": "0"})
    assert not Demand.objects.exists()
    ada.post(address, {"on": "1"})
    assert Demand.objects.count() == 1


def test_a_rule_that_cannot_run_stays_off_and_says_why(ada: Client, town: Town) -> None:
    rule = add_rule(ada, town)
    address = f"/setup/cameras/{town.gate.uid}/rules/{rule.uid}/switch/"
    ada.post(address, {"on": "0"})
    town.deployment.enabled = False
    town.deployment.save()
    page = text(ada.post(address, {"on": "1"}, follow=True))
    assert "is switched off, so the rule could never fire" in page
    rule.refresh_from_db()
    assert not rule.enabled


def contact_of(channel: str, address: str) -> Contact:
    recipient = Recipient.objects.create(name="Guard post", language="zh-hant")
    return Contact.objects.create(recipient=recipient, channel=channel, address=address, confirmed_at=timezone.now())


def test_a_trial_message_shows_what_would_have_been_sent(ada: Client, town: Town) -> None:
    contact = contact_of("sms", "+886912345678")
    shown = text(ada.post(reverse("setup-test", args=[contact.uid])))
    assert "Nothing left this machine" in shown and "+886912345678" in shown
    with translation.override("zh-hant"):
        assert "Guard post" in shown and "測試" in shown  # in the recipient's language, not the administrator's
    assert ViewAudit.objects.get(action="trial-message").subject == contact.uid


def test_a_fourth_trial_within_a_minute_is_refused_until_a_moment_that_is_told(ada: Client, town: Town) -> None:
    address = reverse("setup-test", args=[contact_of("sms", "+886912345678").uid])
    assert [ada.post(address).status_code for _ in range(3)] == [200, 200, 200]
    refused = ada.post(address)
    assert refused.status_code == 422
    assert re.fullmatch(
        r"3 were sent there within a minute. The next one can go at \d\d:\d\d:\d\d\.", refused.json()["sentence"]
    )
    TrialMessage.objects.update(sent_at=timezone.now() - timedelta(minutes=2))
    assert ada.post(address).status_code == 200


# deleting


def test_deleting_says_first_what_goes_and_takes_it(ada: Client, town: Town) -> None:
    now = timezone.now()
    rule = add_rule(ada, town)
    incident = Incident.objects.create(
        group_key="x", severity="high", kind="presence", site=town.site, camera=town.gate, rule=rule, happened_at=now,
        opened_at=now, last_event_at=now,
    )  # fmt: skip
    path = default_storage.save("events/x.jpg", __import__("django").core.files.base.ContentFile(b"jpeg"))
    Event.objects.create(
        uid=uuid4(), kind="presence", severity="high", camera=town.gate, incident=incident, happened_at=now,
        known_at=now, content={}, picture="kept", picture_path=path,
    )  # fmt: skip
    address = f"/setup/cameras/{town.gate.uid}/delete/"
    page = text(ada.get(address))
    for words in ("1 zone", "Person in the lane", "1 incident", "1 of them not resolved", "1 picture kept as evidence"):
        assert words in page
    assert Camera.objects.filter(pk=town.gate.pk).exists()
    ada.post(address)
    assert Camera.objects.filter(pk=town.gate.pk).exists(), "asked once: without the answer nothing goes"
    from django.test import TestCase

    with TestCase.captureOnCommitCallbacks(execute=True):
        ada.post(address, {"sure": "1"})
    assert not Camera.objects.filter(pk=town.gate.pk).exists()
    assert not Event.objects.exists() and not Incident.objects.exists() and not default_storage.exists(path)
    rule.refresh_from_db()
    assert not rule.enabled and not Demand.objects.exists()
    assert ViewAudit.objects.filter(action="camera-deleted", user=town.ada).count() == 1


def test_a_rule_with_another_zone_goes_on_without_this_one(ada: Client, town: Town) -> None:
    other = Zone.objects.create(view=main_view(town.yard), name="Yard", points=[list(point) for point in SQUARE])
    rule = add_rule(ada, town)
    rule.zones.add(other)
    assert "which goes on elsewhere" in text(ada.get(f"/setup/cameras/{town.gate.uid}/delete/"))
    ada.post(f"/setup/cameras/{town.gate.uid}/delete/", {"sure": "1"})
    rule.refresh_from_db()
    assert rule.enabled and [zone.name for zone in rule.zones.all()] == ["Yard"]
    assert rule.versions.get(active_until_at__isnull=True).author == town.ada


def test_a_source_is_on_the_cameras_page_without_its_log_in(ada: Client, town: Town) -> None:
    ada.post("/setup/cameras/add/", typed(town))
    camera = Camera.objects.get(name="Dock")
    page = text(ada.get(f"/setup/cameras/{camera.uid}/"))
    assert "rtsp://10.1.2.3:554/live" in page
    assert USER not in page and PASSWORD not in page
    assert Source.objects.get(camera=camera).found is None


# what a rule was


def history_of(ada: Client, town: Town, rule: Rule) -> str:
    page = text(ada.get(f"/setup/cameras/{town.gate.uid}/rules/{rule.uid}/"))
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page.partition('id="history"')[2]))


def back_address(town: Town, rule: Rule, number: int) -> str:
    version = rule.versions.get(number=number)
    return reverse("setup-rule-back", args=[town.gate.uid, rule.uid, version.uid])


def test_the_history_says_who_changed_what(ada: Client, town: Town) -> None:
    rule = add_rule(ada, town)
    address = f"/setup/cameras/{town.gate.uid}/rules/{rule.uid}/"
    ada.post(address, rule_typed(town, setting_hold_s="5", days_1=["0", "1"], from_1="22:00", until_1="06:00"))
    zone = zone_of(town, zone=str(town.zone.uid), name="Lane", points=json.dumps([*SQUARE, [0.05, 0.5], [0.02, 0.3]]))
    ada.post(f"/setup/cameras/{town.gate.uid}/zones/", zone)
    said = history_of(ada, town, rule)
    for words in (
        "In the zone for (s) 2 → 5",
        "When it acts always → Mon, Tue 22:00–06:00",
        "Zone “Lane” 2 corners more",
        "The first version.",
    ):
        assert words in said, words
    assert said.count("· ada") == 3


def test_one_click_goes_back(ada: Client, town: Town) -> None:
    rule = add_rule(ada, town)
    ada.post(f"/setup/cameras/{town.gate.uid}/rules/{rule.uid}/", rule_typed(town, severity="critical"))
    said = text(ada.post(back_address(town, rule, 1), follow=True))
    assert "is as it was in version 1. This is version 3." in said
    rule.refresh_from_db()
    assert (rule.severity, rule.versions.count()) == ("high", 3)
    assert ViewAudit.objects.filter(action="rule-back", user=town.ada, subject=rule.uid).count() == 1


def test_going_back_to_what_cannot_run_says_why(ada: Client, town: Town) -> None:
    rule = add_rule(ada, town)
    ada.post(f"/setup/cameras/{town.gate.uid}/rules/{rule.uid}/", rule_typed(town, setting_labels=["car"]))
    town.deployment.model.labels = ["car"]
    town.deployment.model.save()
    assert "never reports “person”" in text(ada.post(back_address(town, rule, 1), follow=True))
    assert rule.versions.count() == 2


def test_going_back_is_for_administrators_and_of_this_rule(ada: Client, town: Town) -> None:
    rule = add_rule(ada, town)
    alice = Client()
    alice.force_login(town.alice)
    assert alice.post(back_address(town, rule, 1)).status_code == 404
    assert ada.get(back_address(town, rule, 1)).status_code == 405
    assert ada.post(reverse("setup-rule-back", args=[town.gate.uid, rule.uid, uuid4()])).status_code == 404


# all of it as one text


def taken(ada: Client) -> str:
    response = ada.get("/setup/configuration/download/")
    assert re.fullmatch(r'attachment; filename="poliscope-\d{4}-\d\d-\d\d\.toml"', response["Content-Disposition"])
    return text(response)


def compared(ada: Client, text_: str, **more: Any) -> str:
    sent = text_.replace("\n", "\r\n")  # as a browser sends it
    page = text(ada.post("/setup/configuration/compare/", {"text": sent, **more}))
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page))


def state_in(ada: Client, text_: str) -> str:
    found = re.search(r'name="state" value="(\d+)"', text(ada.post("/setup/configuration/compare/", {"text": text_})))
    assert found is not None
    return found[1]


def test_the_configuration_is_taken_away_without_a_log_in(ada: Client, town: Town) -> None:
    ada.post("/setup/cameras/add/", typed(town))
    assert USER not in taken(ada) and PASSWORD not in taken(ada)
    assert ViewAudit.objects.filter(action="configuration-taken", user=town.ada).count() == 2


def test_a_policy_that_reaches_nobody_yet_is_said_before_it_is_done(ada: Client, town: Town) -> None:
    bob = Recipient.objects.create(name="Bob")
    Contact.objects.create(recipient=bob, channel="email", address="bob@example.org", confirmed_at=timezone.now())
    save_policy(EscalationPolicy(name="At night", repeats=1), [StepDraft(recipients=[bob])])
    after = taken(ada).replace("repeats = 1", "repeats = 2")
    assert "This would reach nobody" not in compared(ada, after)
    Contact.objects.update(confirmed_at=None)
    said = compared(ada, after)
    assert "Escalation policy At night : This would reach nobody" in said and "Do it" in said


def test_the_difference_is_shown_before_it_is_done(ada: Client, town: Town) -> None:
    rule = add_rule(ada, town)
    before = taken(ada)
    after = before.replace("hold_s = 2.0", "hold_s = 9.0").replace('name = "Elsewhere"', 'name = "Pier"')
    after = after.replace('group = "Elsewhere"', 'group = "Pier"')
    said = compared(ada, after)
    for words in (
        "1 added · 2 changed · 1 not in the text, stays",
        "Rule Person in the lane In the zone for (s) 2 → 9",
        "Camera Harbour / Yard Camera group Elsewhere → Pier",
    ):
        assert words in said, words
    rule.refresh_from_db()
    assert rule.config["hold_s"] == 2.0
    state = state_in(ada, after)
    response = ada.post("/setup/configuration/apply/", {"text": after, "state": state}, follow=True)
    assert "Done: 3 entries added or changed." in text(response)
    rule.refresh_from_db()
    assert rule.config["hold_s"] == 9.0 and rule.versions.order_by("-number")[0].author == town.ada
    assert "Nothing would change." in compared(ada, after)
    # The text that was shown is not what would happen any more.
    assert "since this was shown" in text(ada.post("/setup/configuration/apply/", {"text": before, "state": state}))
    rule.refresh_from_db()
    assert rule.config["hold_s"] == 9.0


def test_the_difference_names_rules_windows_and_silences_as_people_do(ada: Client, town: Town) -> None:
    lane = add_rule(ada, town)
    waits = {"first": str(lane.uid), "then": str(lane.uid)}
    both = new_rule(town, name="Both", kind="sequence", config=waits)
    save_rule(both, zones=[town.zone], author=town.ada, now=timezone.now())
    car = new_rule(town, name="Car")
    save_rule(car, zones=[town.zone], author=town.ada, now=timezone.now())
    more = """
[[window]]
site = "Harbour"
name = "Cleaning"
schedule = [{days = [6], from = "02:00", until = "04:00"}]

[[silence]]
reason = "Crane works"
from_at = "%(from)s"
until_at = "%(until)s"
cameras = [["Harbour", "Gate"]]
"""
    day = {"from": timezone.now().isoformat(), "until": (timezone.now() + timedelta(days=1)).isoformat()}
    said = compared(ada, taken(ada).replace('first = "Person in the lane"', 'first = "Car"') + more % day)
    assert "Rule Both First this rule Person in the lane → Car" in said
    assert "Maintenance window Harbour / Cleaning is added" in said
    assert re.search(r"Silence Crane works / \S+ / Gate, Harbour is added", said)


def test_a_wrong_text_says_every_reason_with_its_line_and_comes_back(ada: Client, town: Town) -> None:
    hurt = taken(ada).replace("hz = 5.0", "hz = nan")
    line = hurt[: hurt.index("hz = nan")].count("\n") + 1
    assert f" {line} – Expected an ordinary number, got nan." in compared(ada, hurt)
    assert f" {line} Deployment General hz: Expected" in compared(ada, hurt.replace("hz = nan", "hz = -1.0"))
    page = text(ada.post("/setup/configuration/compare/", {"text": hurt.replace("hz = nan", "hz = -1.0")}))
    assert "Deployment <b>General</b>" in page and "hz = -1.0" in page
    assert "Choose a file, or paste a text." in compared(ada, " ")
    file = SimpleUploadedFile("x.toml", b"\xff\xfe\x00")
    assert "no text in UTF-8" in text(ada.post("/setup/configuration/compare/", {"file": file}))
    file = SimpleUploadedFile("x.toml", taken(ada).encode())
    assert "Nothing would change." in text(ada.post("/setup/configuration/compare/", {"file": file}))


def test_a_rule_follows_the_sun_and_keeps_holidays_also_when_it_goes_back(ada: Client, town: Town) -> None:
    rule = add_rule(ada, town)
    address = f"/setup/cameras/{town.gate.uid}/rules/{rule.uid}/"
    night = rule_typed(
        town,
        days_1=["0", "6"],
        from_1="sunset-00:30",
        until_1="sunrise",
        holidays="2027-02-17, 2027-01-01",
        on_holidays="as_sunday",
    )
    assert "sunset" in text(ada.post(address, night)), "where the sun sets at a site without a place nobody knows"
    town.gate.site.latitude, town.gate.site.longitude = 25.04, 121.56
    town.gate.site.save()
    assert ada.post(address, night).status_code == 302
    kept = rule.versions.get(number=2).embedded["schedule"]
    assert kept["spans"] == [{"days": [0, 6], "from": "sunset-00:30", "until": "sunrise"}]
    assert (kept["holidays"], kept["on_holidays"]) == (["2027-01-01", "2027-02-17"], "as_sunday")
    shown = ada.get(address).content.decode()
    assert 'value="sunset-00:30"' in shown and "2027-01-01 2027-02-17" in shown
    ada.post(address, rule_typed(town))
    assert rule.versions.get(number=3).embedded["schedule"]["holidays"] == []
    assert "Holidays 2027-01-01, 2027-02-17 → –" in history_of(ada, town, rule)
    ada.post(back_address(town, rule, 2), follow=True)
    assert rule.versions.get(number=4).embedded["schedule"] == kept
