"""“Why did it not fire?” over HTTP: who may ask, what each stage says, and the way to the rule's form."""

from __future__ import annotations

import re
from datetime import timedelta
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import msgspec
import pytest
from django.conf import LazySettings
from django.test import Client
from django.utils import timezone

from alerts import editing
from alerts.incidents import record
from alerts.models import Contact, Delivery, Incident, Recipient, Rule, RuleVersion, Zone
from alerts.rules.config import EmbeddedRule
from alerts.silences import make_silence
from detectors.models import Deployment, Model
from frontend.models import User, ViewAudit
from streams.models import Camera
from streams.observations import Observation
from tests.alerts.histories import GATE, GENERAL, LANE_CORNERS, START, at, nobody, source, walk
from tests.alerts.test_rehearsal import fold_and_keep
from tests.alerts.test_why import MOMENT_S, standing
from tests.town import Town, new_rule

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _archive(quiet: None, settings: LazySettings, tmp_path: Path) -> None:
    """The archive lies in a folder of the test's own, and goes back far enough for the histories."""
    settings.ARCHIVE = {"days": 3650, "folder": tmp_path / "archive"}


@pytest.fixture
def town(town: Town) -> Town:
    """Whose gate is the camera of the histories."""
    Camera.objects.filter(pk=town.gate.pk).update(uid=GATE)
    Deployment.objects.filter(pk=town.deployment.pk).update(uid=GENERAL)
    Zone.objects.filter(pk=town.zone.pk).update(points=[list(point) for point in LANE_CORNERS])
    for row in (town.gate, town.deployment, town.zone):
        row.refresh_from_db()
    return town


def client_of(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def made(town: Town, *, since_s: float = -86_400, **config: Any) -> RuleVersion:
    """The lane's rule, in force since then."""
    rule = new_rule(town)
    rule.config = {**rule.config, **config}
    rule.save()
    told = Recipient.objects.create(name="Harbour desk", language="en")
    told.contacts.create(channel="email", address="desk@harbour.test", confirmed_at=timezone.now())
    rule.recipients.add(told)
    zone = Zone.objects.select_related("view__camera__site").get(pk=town.zone.pk)
    return editing.save_rule(rule, zones=[zone], author=None, now=at(since_s))


def archived(root: Path, log: list[Observation], version: RuleVersion) -> list[Any]:
    return fold_and_keep(root / "archive", log, [msgspec.convert(version.embedded, EmbeddedRule)])


def asked(client: Client, **more: str) -> str:
    address = {"camera": str(GATE), "at": at(MOMENT_S).isoformat(), "ask": "1", **more}
    response = client.get(f"/setup/why/?{urlencode(address)}")
    assert response.status_code == 200
    return unescape(response.content.decode())


def stages(page: str) -> dict[str, str]:
    """Each stage with its look."""
    return {name: look for look, name in re.findall(r'<li class="(\w+)"><i aria-hidden="true"></i><div><b>(\w+)', page)}


def test_only_who_configures_may_ask(town: Town) -> None:
    for person in (town.alice, town.bob, town.charlie, town.olive):
        assert client_of(person).get("/setup/why/").status_code == 404
    assert Client().get("/setup/why/").status_code == 302
    assert client_of(town.ada).get("/setup/why/").status_code == 200


def test_the_number_that_was_short_is_named_and_the_change_leads_into_the_form(
    town: Town, ada: Client, tmp_path: Path
) -> None:
    version = made(town)
    archived(tmp_path, standing(0.5, 0.41), version)
    page = asked(ada)
    assert "The score was 0.41; the rule asks for 0.45." in page
    assert "<span>Confidence</span> <b>0.45 → 0.4</b>" in page and "This would have fired:" in page
    assert 'person <b class="num">0.41</b>' in page
    assert stages(page) == {
        "Camera": "passed", "Pictures": "passed", "Found": "passed", "Followed": "passed", "Rule": "stopped",
        "Incident": "open", "Messages": "open",
    }  # fmt: skip
    address = re.search(r'href="(/setup/cameras/[^"]+draft=[^"]+)"', page)
    assert address is not None
    form = unescape(ada.get(address[1]).content.decode())
    assert (
        re.search(r'name="setting_confidence"[^>]*value="0.4"', form) and "Nothing is changed until you save." in form
    )
    assert Rule.objects.get().config["confidence"] == 0.45


def test_asking_leaves_a_trace_and_opening_the_form_does_not(town: Town, ada: Client) -> None:
    version = made(town)
    ada.get(f"/setup/why/?camera={GATE}")
    assert not ViewAudit.objects.exists()
    asked(ada, rule=str(version.rule.uid))
    row = ViewAudit.objects.get()
    assert (row.action, row.camera, row.subject, row.user) == ("why-asked", town.gate, version.rule.uid, town.ada)


def test_where_nothing_is_archived_nobody_can_tell(town: Town, ada: Client) -> None:
    made(town)
    page = asked(ada)
    assert "Nothing of this camera is archived for that time, so nobody can tell." in page
    assert stages(page)["Camera"] == "untold" and stages(page)["Rule"] == "open"


def test_a_blind_camera_is_said_with_its_reason(town: Town, ada: Client, tmp_path: Path) -> None:
    archived(tmp_path, [source(50, "blind", since=40)], made(town))
    page = asked(ada)
    assert "The camera saw nothing." in page and stages(page)["Camera"] == "stopped"


def test_a_label_that_the_model_does_not_know_cannot_be_told(town: Town, ada: Client, tmp_path: Path) -> None:
    archived(tmp_path, standing(0.5, label="car"), made(town))
    Model.objects.filter(pk=town.deployment.model_id).update(name="test", version="1", labels=["car"])
    page = asked(ada)
    assert "The model of that time (test 1) does not know person, so nobody can tell." in page
    assert stages(page)["Found"] == "untold"


def test_a_rule_that_was_made_later_is_said_to_and_what_it_would_do_now(
    town: Town, ada: Client, tmp_path: Path
) -> None:
    archived(tmp_path, standing(0.5), made(town, since_s=600))
    page = asked(ada)
    assert "The rule was not there yet: it began at 14:10:00." in page
    assert "The rule as it is now would have fired." in page


def test_a_rule_that_was_off_is_said_to_have_been(town: Town, ada: Client, tmp_path: Path) -> None:
    version = made(town)
    archived(tmp_path, standing(0.5, 0.41), version)
    rule = version.rule
    zones = list(Zone.objects.select_related("view__camera__site"))
    for enabled, second in ((False, 30), (True, 300)):
        rule.enabled = enabled
        editing.save_rule(rule, zones=zones, author=None, now=at(second))
    page = asked(ada)
    assert "The rule was switched off, since 14:00:30." in page
    assert "<span>Confidence</span> <b>0.45 → 0.4</b>" in page


def test_when_it_did_fire_it_says_so_with_its_incident_and_who_was_told(
    town: Town, ada: Client, tmp_path: Path
) -> None:
    [event] = archived(tmp_path, standing(0.5), made(town))
    record([event], now=event.happened_at + timedelta(seconds=1))
    page = asked(ada)
    incident = Incident.objects.get()
    assert "It did fire." in page and f'href="/incidents/{incident.uid}/"' in page
    assert "The message is waiting to be sent." in page and stages(page)["Messages"] == "untold"
    assert Delivery.objects.exists() and "draft=" not in page
    Delivery.objects.update(state=Delivery.State.FAILED)
    assert "No message could be sent." in asked(ada)
    Delivery.objects.update(state=Delivery.State.SENT)
    assert stages(asked(ada))["Messages"] == "passed"


def test_a_recipient_without_an_address_that_works_is_named(town: Town, ada: Client, tmp_path: Path) -> None:
    [event] = archived(tmp_path, standing(0.5), made(town))
    Contact.objects.update(disabled_at=timezone.now())
    record([event], now=event.happened_at)
    page = asked(ada)
    assert "address that works, of Harbour desk" in page and stages(page)["Messages"] == "stopped"


def test_a_repeat_that_told_nobody_is_said_to(town: Town, ada: Client, tmp_path: Path) -> None:
    again = [msgspec.structs.replace(one, session=2) for one in standing(0.5) if getattr(one, "sequence", 0) >= 610]
    between = nobody(10.2, 60, 1.0)  # time that nobody saw would not count as quiet
    events = archived(tmp_path, [*walk(2, 10, 0.1, 0.95), *between, *again], made(town, rearm_s=5.0))
    assert len(events) == 2
    for event in events:
        record([event], now=event.happened_at)
    page = asked(ada)
    assert "An incident of this rule was open already, since 14:00:0" in page
    assert stages(page)["Incident"] == "stopped" and stages(page)["Messages"] == "open"


def test_a_silence_that_held_it_back_is_named(town: Town, ada: Client, tmp_path: Path) -> None:
    events = archived(tmp_path, standing(0.5), made(town))
    began = events[0].happened_at
    span = {"from_at": began - timedelta(minutes=1), "until_at": began + timedelta(hours=1)}
    make_silence({"cameras": [str(GATE)]}, author=town.ada, reason="Painters", now=span["from_at"], **span)
    for event in events:
        record([event], now=event.happened_at)
    page = asked(ada)
    assert "It was muted (Painters, since 14:0" in page
    assert stages(page)["Incident"] == "stopped" and stages(page)["Messages"] == "open"


def test_what_fires_by_the_archive_and_is_not_on_record_is_said_to(town: Town, ada: Client, tmp_path: Path) -> None:
    archived(tmp_path, standing(0.5), made(town))
    page = asked(ada)
    assert "By the archive it fires, and yet no incident is on record" in page and "It did fire." not in page


@pytest.mark.parametrize(
    ("moment", "said"),
    [
        ("2999-01-01T00:00:00", "This moment is still to come."),
        ("1999-01-01T00:00:00", "the archive goes back"),
        ("noon", "Give the moment as a date and a time of day."),
        ("0001-01-01T00:00:00", "Give the moment as a date and a time of day."),
    ],
)
def test_a_moment_that_cannot_be_asked_about_is_refused(town: Town, ada: Client, moment: str, said: str) -> None:
    made(town)
    assert said in asked(ada, at=moment)


def test_the_moment_is_read_on_the_sites_clock(town: Town, ada: Client, tmp_path: Path) -> None:
    archived(tmp_path, standing(0.5, 0.41), made(town))
    assert START.isoformat().startswith("2026-11-21T06:00")
    page = asked(ada, at="2026-11-21T14:01:04")
    assert "The score was 0.41" in page and "2026-11-21 14:01:04 (Asia/Taipei)" in page


def test_a_camera_without_a_rule_and_an_installation_without_a_camera(town: Town, ada: Client) -> None:
    assert "This camera has no rule, so nothing can fire." in asked(ada)
    Zone.objects.all().delete()
    Camera.objects.all().delete()
    assert "Add a camera and a rule first" in asked(ada)


def test_the_ways_to_the_question(town: Town, ada: Client, tmp_path: Path) -> None:
    version = made(town)
    [event] = archived(tmp_path, standing(0.5), version)
    record([event], now=event.happened_at)
    camera = f"/setup/why/?camera={GATE}"
    assert camera in unescape(ada.get(f"/setup/cameras/{GATE}/").content.decode())
    rule = unescape(ada.get(f"/setup/cameras/{GATE}/rules/{version.rule.uid}/").content.decode())
    assert f"{camera}&rule={version.rule.uid}" in rule
    pane = f"/incidents/{Incident.objects.get().uid}/pane/"
    link = re.search(r'href="(/setup/why/[^"]+)"', unescape(ada.get(pane).content.decode()))
    assert link is not None and 'value="2026-11-21T14:01:' in ada.get(link[1]).content.decode()
    assert "/setup/why/" not in client_of(town.alice).get(pane).content.decode()
