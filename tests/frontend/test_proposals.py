"""From a false alarm to the rule's form with a change filled in: who is offered it, what it says, what saving does."""

from __future__ import annotations

import re
from html import unescape
from pathlib import Path
from typing import Any

import msgspec
import pytest
from django.conf import LazySettings
from django.core import signing
from django.test import Client
from django.utils import timezone

from alerts import editing
from alerts.events import Event
from alerts.incidents import record, resolve
from alerts.models import Incident, Rule, RuleVersion, Zone
from alerts.rules.config import EmbeddedRule
from detectors.models import Deployment
from frontend import drafts, health_tail, queries
from frontend.models import User
from streams.models import Camera
from tests.alerts.histories import GATE, GENERAL, LANE_CORNERS, at, seen, walk
from tests.alerts.sequenced import sequences_of
from tests.alerts.test_proposing import walks
from tests.alerts.test_rehearsal import fold_and_keep
from tests.town import Town, build_town, new_rule

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _quiet(monkeypatch: pytest.MonkeyPatch, settings: LazySettings, tmp_path: Path) -> None:
    """No log runs here, and the archive lies in a folder of the test's own."""
    monkeypatch.setattr(health_tail, "parts", lambda now: [])
    monkeypatch.setattr(health_tail, "starting", lambda now: False)
    settings.ARCHIVE = {**settings.ARCHIVE, "folder": tmp_path / "archive"}
    settings.MEDIA_ROOT, settings.STATIC_ROOT = tmp_path / "media", tmp_path / "static"
    settings.STATIC_ROOT.mkdir()
    queries.forget()


@pytest.fixture
def town() -> Town:
    town = build_town()
    Camera.objects.filter(pk=town.gate.pk).update(uid=GATE)
    Deployment.objects.filter(pk=town.deployment.pk).update(uid=GENERAL)
    Zone.objects.filter(pk=town.zone.pk).update(points=[list(point) for point in LANE_CORNERS])
    for row in (town.gate, town.deployment, town.zone):
        row.refresh_from_db()
    return town


@pytest.fixture
def version(town: Town) -> RuleVersion:
    zone = Zone.objects.select_related("view__camera__site").get(pk=town.zone.pk)
    return editing.save_rule(new_rule(town), zones=[zone], author=None, now=at(-86_400))


def false_alarms(version: RuleVersion, root: Path, *scores: float) -> list[Incident]:
    """An alarm for each score, archived; the unsure ones were false, the others confirmed."""
    embedded = msgspec.convert(version.embedded, EmbeddedRule)
    log = [one for n, score in enumerate(scores) for one in walks(n, score=score)]
    found = []
    for event, score in zip(fold_and_keep(root / "archive", log, [embedded]), scores, strict=True):
        found.append(judged(event, "false" if score < 0.6 else "confirmed"))
    return found


def judged(event: Event, disposition: str) -> Incident:
    record([event], now=event.happened_at)
    uid = Incident.objects.get(events__uid=event.uid).uid
    resolve(uid, by=None, disposition=disposition, note="", through="api", now=event.happened_at)
    return Incident.objects.get(uid=uid)


def client_of(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def text_of(client: Client, path: str) -> str:
    response = client.get(path)
    assert response.status_code == 200, path
    return unescape(response.content.decode())


def draft_address(page: str) -> str:
    found = re.search(r'href="(/setup/cameras/[^"]+draft=[^"]+)"', page)
    assert found is not None
    return found[1]


def test_only_who_configures_is_offered_a_change(town: Town, version: RuleVersion, tmp_path: Path) -> None:
    [false, confirmed] = false_alarms(version, tmp_path, 0.5, 0.8)
    offered = "Poliscope can look for a change"
    assert offered in text_of(client_of(town.ada), f"/incidents/{false.uid}/pane/")
    assert offered not in text_of(client_of(town.ada), f"/incidents/{confirmed.uid}/pane/")
    assert offered not in text_of(client_of(town.bob), f"/incidents/{false.uid}/pane/")


@pytest.mark.parametrize("part", ["", "part/"])
def test_nobody_else_gets_one(town: Town, version: RuleVersion, tmp_path: Path, part: str) -> None:
    [false, confirmed] = false_alarms(version, tmp_path, 0.5, 0.8)
    for person in (town.alice, town.bob, town.charlie, town.olive):
        assert client_of(person).get(f"/incidents/{false.uid}/proposal/{part}").status_code == 404
    assert Client().get(f"/incidents/{false.uid}/proposal/{part}").status_code == 302
    assert client_of(town.ada).get(f"/incidents/{confirmed.uid}/proposal/{part}").status_code == 404


def test_it_says_what_would_change_and_what_that_would_have_done(
    town: Town, version: RuleVersion, tmp_path: Path
) -> None:
    alarms = false_alarms(version, tmp_path, 0.5, 0.8, 0.51, 0.9)
    page = text_of(client_of(town.ada), f"/incidents/{alarms[0].uid}/proposal/part/")
    assert "<span>Confidence</span> <b>0.45 → 0.57</b>" in page
    assert "It would have removed 2 of 2 false alarms and none of the 2 confirmed." in page
    assert "<html" not in page
    assert "<html" in text_of(client_of(town.ada), f"/incidents/{alarms[0].uid}/proposal/")


def test_alarms_that_are_archived_no_more_are_named(town: Town, version: RuleVersion, tmp_path: Path) -> None:
    [false, confirmed] = false_alarms(version, tmp_path / "whole", 0.5, 0.8)
    fold_and_keep(tmp_path / "archive", walks(0, score=0.5), [msgspec.convert(version.embedded, EmbeddedRule)])
    page = text_of(client_of(town.ada), f"/incidents/{false.uid}/proposal/part/")
    assert "Cannot tell of 1: no longer archived" in page and f"/incidents/{confirmed.uid}/" in page
    assert "No confirmed one can be told of, so nobody knows what it would miss." in page


def test_where_nothing_is_archived_it_says_so(town: Town, version: RuleVersion, tmp_path: Path) -> None:
    [false] = false_alarms(version, tmp_path / "elsewhere", 0.5)
    page = text_of(client_of(town.ada), f"/incidents/{false.uid}/proposal/part/")
    assert "The archive no longer holds what the cameras saw then" in page
    assert "draft=" not in page


def test_the_form_comes_filled_in_and_changes_nothing_until_it_is_saved(
    town: Town, version: RuleVersion, tmp_path: Path
) -> None:
    alarms = false_alarms(version, tmp_path, 0.5, 0.8)
    ada = client_of(town.ada)
    address = draft_address(text_of(ada, f"/incidents/{alarms[0].uid}/proposal/part/"))
    form = text_of(ada, address)
    assert posted(form)["setting_confidence"] == ["0.56"]
    assert "Nothing is changed until you save." in form
    assert RuleVersion.objects.count() == 1 and "confidence" in Rule.objects.get().config
    assert Rule.objects.get().config["confidence"] == 0.45
    response = ada.post(address, posted(form))
    assert response.status_code == 302, response.content.decode()
    assert Rule.objects.get().config["confidence"] == 0.56
    assert version.rule.versions.get(number=2).embedded["config"]["confidence"] == 0.56


def lane_twice(version: RuleVersion, root: Path, *after_s: float) -> tuple[Rule, list[Incident]]:
    """A sequence of somebody in the lane and then somebody again; an incident for each, the slow ones false."""
    zone = Zone.objects.select_related("view__camera__site").get()
    waits = {"first": str(version.rule.uid), "then": str(version.rule.uid), "within_s": 60.0}
    rule = Rule(name="Two in the lane", kind="sequence", deployment=Deployment.objects.get(), config=waits)
    row = editing.save_rule(rule, zones=[zone], author=None, now=at(-86_400))
    rules = [msgspec.convert(one.embedded, EmbeddedRule) for one in (version, row)]
    starts = [n * 300.0 + then_s for n, gap_s in enumerate(after_s) for then_s in (20.0, 20.0 + gap_s)]
    walking = [one for start in starts for one in walk(start, start + 8, 0.3, 0.8)]
    empty = [seen(s) for s in range(round(starts[-1]) + 60) if not any(start <= s <= start + 8 for start in starts)]
    log = sorted([*walking, *empty], key=lambda one: one.captured_at)
    made = sequences_of(fold_and_keep(root / "archive", log, rules), rules)
    both = zip(made, after_s, strict=True)
    return rule, [judged(event, "false" if gap_s > 30 else "confirmed") for event, gap_s in both]


def test_for_a_sequence_it_proposes_a_shorter_time_and_fills_in_its_form(town: Town, tmp_path: Path) -> None:
    zone = Zone.objects.select_related("view__camera__site").get(pk=town.zone.pk)
    lane = new_rule(town, config={"labels": ["person"], "rearm_s": 5.0})
    version = editing.save_rule(lane, zones=[zone], author=None, now=at(-86_400))
    rule, found = lane_twice(version, tmp_path, 15.0, 45.0, 15.0)
    ada = client_of(town.ada)
    page = text_of(ada, f"/incidents/{found[1].uid}/proposal/part/")
    assert "It would have removed 1 of 1 false alarms and none of the 2 confirmed." in page
    assert re.search(r"Within \(s\)</span> <b>60 → 35<", page), page
    address = draft_address(page)
    response = ada.post(address, posted(text_of(ada, address)))
    assert response.status_code == 302, response.content.decode()
    assert Rule.objects.get(pk=rule.pk).config["within_s"] == 35


def posted(form: str) -> dict[str, Any]:
    """What a browser would send of the rule's form."""
    values: dict[str, Any] = {}
    for field in re.findall(r"<input[^>]*>", form.split('class="two rule-form"')[1]):
        name = re.search(r'name="([^"]+)"', field)
        if name is None or ('type="checkbox"' in field and " checked" not in field):
            continue
        value = re.search(r'value="([^"]*)"', field)
        values.setdefault(name[1], []).append(value[1] if value else "on")
    for name, options in re.findall(r'<select name="([^"]+)"[^>]*>(.*?)</select>', form, re.DOTALL):
        chosen = re.search(r'value="([^"]*)" selected', options)
        values[name] = chosen[1] if chosen else ""
    return values


def mask_of(version: RuleVersion) -> drafts.Draft:
    mask = drafts.Mask(view=version.rule.zones.get().view.uid, points=[(0.5, 0.5), (0.6, 0.5), (0.6, 0.6)])
    return drafts.Draft(rule=version.rule.uid, base=version.uid, mask=mask)


def test_a_mask_is_drawn_on_the_form_and_may_be_left_out(town: Town, version: RuleVersion) -> None:
    ada, address = client_of(town.ada), f"/setup/cameras/{GATE}/rules/{version.rule.uid}/"
    form = text_of(ada, f"{address}?draft={drafts.signed(mask_of(version))}")
    assert 'class="mask-shape" points="0.5000,0.5000 0.6000,0.5000 0.6000,0.6000"' in form
    values = {name: value for name, value in posted(form).items() if name != "draft_mask"}
    assert ada.post(f"{address}?draft={drafts.signed(mask_of(version))}", values).status_code == 302
    assert Zone.objects.count() == 1


def test_saving_makes_the_mask_a_zone_of_the_rule(town: Town, version: RuleVersion) -> None:
    address = f"/setup/cameras/{GATE}/rules/{version.rule.uid}/?draft={drafts.signed(mask_of(version))}"
    ada = client_of(town.ada)
    assert ada.post(address, posted(text_of(ada, address))).status_code == 302
    zones = version.rule.versions.get(number=2).embedded["zones"]
    assert sorted(zone["shape"] for zone in zones) == ["exclusion", "polygon"]


def test_a_mask_whose_view_is_gone_is_refused_whole(town: Town, version: RuleVersion) -> None:
    draft = mask_of(version)
    assert draft.mask is not None
    gone = msgspec.structs.replace(draft, mask=msgspec.structs.replace(draft.mask, view=version.uid))
    address = f"/setup/cameras/{GATE}/rules/{version.rule.uid}/?draft={drafts.signed(gone)}"
    ada = client_of(town.ada)
    response = ada.post(address, posted(text_of(ada, address)) | {"name": "Renamed"})
    assert "The view that the mask was proposed for is gone." in unescape(response.content.decode())
    assert Rule.objects.get().name != "Renamed" and Zone.objects.count() == 1


def test_a_draft_that_cannot_be_taken_is_said(
    town: Town, version: RuleVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = drafts.Draft(rule=version.rule.uid, base=version.uid, config={"confidence": 0.9})
    other = msgspec.structs.replace(good, rule=town.zone.uid)
    older = msgspec.structs.replace(good, base=town.zone.uid)
    for text, sentence in (
        (drafts.signed(good)[:-2] + "xx", "This is no draft of ours."),
        (signing.dumps({"rule": 1}, salt=drafts.SALT), "This is no draft of ours."),
        (drafts.signed(other), "This is a draft of another rule."),
        (drafts.signed(older), "The rule was changed since."),
    ):
        page = text_of(client_of(town.ada), f"/setup/cameras/{GATE}/rules/{version.rule.uid}/?draft={text}")
        assert sentence in page and "Nothing is changed until you save." not in page
    late = timezone.now().timestamp() + 3700
    old = drafts.signed(good)
    monkeypatch.setattr(signing.time, "time", lambda: late)
    with pytest.raises(drafts.BadDraft, match="more than an hour old"):
        drafts.read(old, version.rule)
    assert drafts.read(old, version.rule, fresh=False) == good
