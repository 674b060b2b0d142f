"""An installation in full use: rows of every kind that a screen can show, and the addresses of all pages over them.

``python -m tests.browser.furnished LANGUAGE`` fills what ``tests.browser.server`` seeded, and writes the addresses to
``pages.json`` in the data folder. For ``zh-hant`` the rows have Chinese words in place of the seed's, so that whatever
English is left on a Chinese page is ours.
"""
# ruff: noqa: E402

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import django

django.setup()

from django.conf import settings
from django.db.models import Model
from django.urls import reverse
from django.utils import timezone

from alerts import editing, incidents, rehearsals, reports, silences
from alerts.links import Link, make
from alerts.models import (
    Alert,
    Contact,
    ContactCode,
    Delivery,
    EscalationPolicy,
    Event,
    Incident,
    IncidentTransition,
    MaintenanceWindow,
    Recipient,
    Rota,
    RotaMember,
    RotaOverride,
    Rule,
    RuleTemplate,
    Silence,
    Team,
    TemplateOverride,
    Zone,
)
from alerts.policies import StepDraft, save_policy
from alerts.rules.registry import RULES
from detectors.models import Deployment
from detectors.models import Model as DetectorModel
from frontend.models import User
from streams.models import Camera, CameraGroup, Site
from tests.alerts.histories import tick
from tests.alerts.kept import keep, moved, walks
from tests.alerts.test_why import MOMENT_S, standing
from tests.frontend import seeding

YARD = [[0.1, 0.4], [0.7, 0.4], [0.7, 0.95], [0.1, 0.95]]
MISSED = timedelta(minutes=50)
"""How long ago somebody stood in the yard and nothing fired."""

CHINESE = {
    "Harbour City": "港灣園區", "Harbour": "港區", "North gate": "北門", "Main entrance": "大門",
    "Car park": "停車場", "Roof west": "西側屋頂", "Dock lane": "裝卸道", "Turnstiles": "閘門", "Bay 6": "六號車位",
    "Roof edge": "屋頂邊緣", "Guard post": "警衛室", "Bob Lin": "林柏宏", "General": "一般偵測", "NanoDet": "通用模型",
    "Alice Chen": "陳雅莉", "Olga Ho": "何歐佳", "Ada Lin": "林愛達", "Night shift": "夜班", "Nights": "夜間輪值",
    "At night": "夜間通報", "Nobody there": "待補人員", "Cleaning": "清潔", "Crane test": "吊車測試",
    "Painters on the roof": "屋頂油漆作業", "Fire drill": "消防演習", "Smell of gas": "聞到瓦斯味", "Lanes": "車道",
    "The crane swings over this lane.": "吊車會從這條車道上方旋過。", "A cat.": "一隻貓。",
    "He is back.": "他又回來了。",
    "Look at the live picture\nCall the gate post (ext. 204)\nStop the crane if the person stays\n":
        "查看即時畫面\n致電門衛（分機 204）\n若人員未離開，請停止吊車\n",
    seeding.SMS: "「裝卸道」有人。北門，港灣園區，14:02:31。緊急。http://127.0.0.1:8000/i/1",
    "Critical: person in “Dock lane”": "緊急：「裝卸道」有人", "The guard is on the way.": "警衛已前往。",
    "Scaffolding until Friday.": "鷹架搭設至週五。",
}  # fmt: skip
"""The words of the seed and of this file, as an installation in Taiwan would have written them."""


def furnish(language: str) -> dict[str, list[str]]:
    """Fill what is seeded. Returns the addresses of all pages by the names of their routes."""
    now = timezone.now()
    place = _place()
    said = CHINESE if language == "zh-hant" else {}
    _say(said)
    _make_rules(place, now)
    _archive(place, now)
    _tell_people(place, now)
    _rotas_and_policies(place, now)
    _templates(place)
    _mute(place, now)
    _more_incidents(place, now)
    _say(said)
    return {**_room_pages(place, now), **_setup_pages(place, now), **_people_pages()}


@dataclass(frozen=True, slots=True)
class Place:
    """The seed's rows that the others hang on."""

    site: Site
    cameras: Sequence[Camera]
    rules: Sequence[Rule]
    deployment: Deployment
    ada: User
    alice: User
    bob: User


def _place() -> Place:
    people = {user.username: user for user in User.objects.all()}
    return Place(
        Site.objects.get(), list(Camera.objects.order_by("pk")), list(Rule.objects.order_by("pk")),
        Deployment.objects.get(), people["ada"], people["alice"], people["bob"],
    )  # fmt: skip


def _make_rules(place: Place, now: datetime) -> None:
    """The seed's rules as the form writes them, the first with a history."""
    Site.objects.update(latitude=25.13, longitude=121.74)  # a window follows the sun
    place.deployment.model.labels = ["person", "bicycle", "car", "truck"]
    place.deployment.model.save()
    Zone.objects.filter(rules=place.rules[0]).update(points=YARD)
    for rule in place.rules:
        zones = list(rule.zones.all())
        editing.save_rule(rule, zones=zones, author=place.ada, now=now - timedelta(days=1))
    first, zones = place.rules[0], list(place.rules[0].zones.all())
    first.config = {**first.config, "hold_s": 4.0, "labels": ["person", "bicycle"]}
    first.severity = "high"
    first.schedule = [{"days": [0, 1, 2, 3, 4], "from": "18:00", "until": "06:00"}]
    editing.save_rule(first, zones=zones, author=place.ada, now=now - timedelta(hours=23))
    first.schedule, first.severity = [], "critical"
    editing.save_rule(first, zones=zones, author=place.ada, now=now - timedelta(hours=22), recipients=[])


def _archive(place: Place, now: datetime) -> None:
    """Walks over the first camera's yard, and one moment at which somebody was seen too doubtfully."""
    gate, deployment = place.cameras[0].uid, place.deployment.uid
    log = moved(walks(30.0, 0.0, 30.0), camera=gate, deployment=deployment, to=now - timedelta(hours=5))
    to = now - MISSED - timedelta(seconds=MOMENT_S)
    log += moved([tick(0), *standing(0.5, 0.415, until_s=90)], camera=gate, deployment=deployment, to=to, session=2)
    keep(rehearsals.archive_root(), log)


def _tell_people(place: Place, now: datetime) -> None:
    """A contact in each state; Ada is told too, and has just been sent a code."""
    alice = Recipient.objects.create(name="Alice Chen", user=place.alice, time_zone="Asia/Taipei")
    Contact.objects.create(recipient=alice, channel="sms", address="+886912000111", confirmed_at=now)
    ada = Recipient.objects.create(name="Ada Lin", user=place.ada, quiet_from=time(22), quiet_until=time(6))
    waits = Contact.objects.create(recipient=ada, channel="sms", address="+886912000222")
    ContactCode.objects.create(
        contact=waits, address=waits.address, number=1, digest="0" * 64, sent_at=now,
        expires_at=now + timedelta(days=1),
    )  # fmt: skip
    Contact.objects.create(recipient=ada, channel="email", address="ada.lin@example.org", order=1, confirmed_at=now)
    olga = Recipient.objects.create(name="Olga Ho", active=False)
    Contact.objects.create(recipient=olga, channel="sms", address="+886912000333", opted_out_at=now)
    Contact.objects.create(
        recipient=olga, channel="email", address="olga@example.org", order=1, confirmed_at=now, disabled_at=now
    )
    Recipient.objects.create(name="Nobody there")
    team = Team.objects.create(name="Night shift")
    team.members.set([alice, ada])
    place.rules[0].recipients.set([alice, Recipient.objects.order_by("pk")[0]])


def _rotas_and_policies(place: Place, now: datetime) -> None:
    """A rota with somebody who cannot be reached, somebody who takes it over, and a policy that tells whoever it is."""
    alice, nobody = (Recipient.objects.get(name=name) for name in ("Alice Chen", "Nobody there"))
    bob = Recipient.objects.get(contacts__address="bob@example.org")
    rota = Rota.objects.create(
        name="Nights", time_zone="Asia/Taipei", starts_on=(now - timedelta(weeks=2)).date(), on_holidays=bob,
        holidays=[(now + timedelta(days=9)).date().isoformat()],
    )  # fmt: skip
    for order, person in enumerate((alice, nobody, bob)):
        RotaMember.objects.create(rota=rota, recipient=person, order=order)
    RotaOverride.objects.create(
        rota=rota, recipient=alice, from_at=now + timedelta(days=1), until_at=now + timedelta(days=2),
        author=place.ada, created_at=now,
    )  # fmt: skip
    steps = [StepDraft([alice], wait_s=60), StepDraft([], list(Team.objects.all()), [rota], ["sms"], 300)]
    place.rules[1].policy = save_policy(EscalationPolicy(name="At night", repeats=1), steps)
    place.rules[1].save()


def _templates(place: Place) -> None:
    """One that differs on a camera, and that a camera has no zone for."""
    template = RuleTemplate.objects.create(
        name="Lanes", kind="dwell", severity="high", zone_name=place.rules[1].zones.get().name,
        deployment=place.deployment, config={"labels": ["person"]},
    )  # fmt: skip
    template.cameras.set(place.cameras)
    changes = {"severity": "medium", "config": {"confidence": 0.6}}
    TemplateOverride.objects.create(template=template, camera=place.cameras[1], changes=changes)


def _mute(place: Place, now: datetime) -> None:
    """A silence now, one later, one that is over, and a window each week."""
    on = {"cameras": [str(place.cameras[2].uid)]}
    said = {"author": place.bob, "now": now}
    silences.make_silence(
        on, reason="Painters on the roof", from_at=now, until_at=now + timedelta(hours=3, minutes=20), **said
    )
    silences.make_silence(
        {"sites": [str(place.site.uid)]}, reason="Fire drill", from_at=now + timedelta(days=1),
        until_at=now + timedelta(days=1, hours=1), **said,
    )  # fmt: skip
    over = silences.make_silence(
        {"severities": ["low"]}, reason="Crane test", from_at=now, until_at=now + timedelta(hours=1), **said
    )
    silences.end_silence(over, by=place.bob, now=now)
    MaintenanceWindow.objects.create(
        name="Cleaning", site=place.site, created_at=now,
        schedule=[{"days": [0, 3], "from": "22:00", "until": "sunrise-00:30"}],
    )  # fmt: skip


def _more_incidents(place: Place, now: datetime) -> None:
    """One that a person opened, one that was opened again and given to somebody, one late and without a picture."""
    by = {"by": place.alice, "through": "screen", "now": now}
    reports.open_by_hand(
        reports.Report(
            title="Smell of gas", severity="high", site=place.site, happened_at=now, note="The guard is on the way."
        ),
        **by,
    )  # fmt: skip
    again = Incident.objects.filter(state="resolved").latest("pk")
    Incident.objects.filter(rule=again.rule, state="open").update(group_key="another")
    incidents.reopen(again.uid, note="He is back.", **by)
    incidents.assign(again.uid, to=place.bob, note="Scaffolding until Friday.", **by)
    late = Incident.objects.filter(state="open", camera=place.cameras[3]).latest("pk")
    Incident.objects.filter(pk=late.pk).update(late=True)
    Event.objects.filter(incident=late).update(picture="gone", known_at=now)
    closed = Incident.objects.filter(state="acknowledged").latest("pk")
    incidents.add_note(closed.uid, text="The guard is on the way.", **by)
    for said in (
        {"disposition": "handed_over", "handed_to": "police"},
        {"disposition": "false", "false_reason": "rain"},
    ):
        incidents.resolve(_another(place, closed, now).uid, note="", **said, **by)
    for state, delivery in zip(("queued", "failed", "unknown", "delivered"), Delivery.objects.all(), strict=False):
        Delivery.objects.filter(pk=delivery.pk).update(
            state=state, problem="30003" if state == "failed" else "", not_before_at=now + timedelta(hours=1)
        )


def _another(place: Place, like: Incident, now: datetime) -> Incident:
    """Another incident of the same camera, without a rule's event."""
    return Incident.objects.create(
        group_key=f"{like.group_key}-2", severity="medium", kind="presence", label="bicycle", site=place.site,
        camera=like.camera, rule=like.rule, rule_version=like.rule_version, zone_name=like.zone_name,
        happened_at=now - timedelta(hours=2), opened_at=now - timedelta(hours=2), last_event_at=now,
    )  # fmt: skip


NAMED: tuple[tuple[type[Model], Sequence[str]], ...] = (
    (Site, ["name"]), (CameraGroup, ["name"]), (Camera, ["name"]), (Zone, ["name"]), (Recipient, ["name"]),
    (Team, ["name"]), (Rota, ["name"]), (EscalationPolicy, ["name"]), (Rule, ["name", "why_it_matters", "procedure"]),
    (RuleTemplate, ["name", "zone_name"]), (Silence, ["reason"]), (MaintenanceWindow, ["name"]),
    (Deployment, ["name"]), (DetectorModel, ["name"]), (Incident, ["title", "zone_name"]),
    (Delivery, ["subject", "text"]), (IncidentTransition, ["note"]),
)  # fmt: skip


def _say(words: Mapping[str, str]) -> None:
    """Every row that says one of ``words`` says it in the other language."""
    for rows, columns in NAMED:
        for column in columns:
            for english, said in words.items():
                rows._default_manager.filter(**{column: english}).update(**{column: said})
    if words:
        Recipient.objects.update(language="zh-hant")
        for username, (last, first) in {"alice": ("陳", "雅莉"), "bob": ("林", "柏宏"), "ada": ("林", "愛達")}.items():
            User.objects.filter(username=username).update(first_name=first, last_name=last)


def _room_pages(place: Place, now: datetime) -> dict[str, list[str]]:
    """What an operator opens, and the page behind a message's link."""
    every = [reverse("incident", args=[uid]) for uid in Incident.objects.values_list("uid", flat=True)]
    alert = Alert.objects.filter(incident__state="open").first()
    assert alert is not None
    links = [make(Link(alert.pk, now + timedelta(hours=hours)), settings.SECRET_KEY) for hours in (1, -1)]
    silence, window = Silence.objects.filter(until_at__gt=now).first(), MaintenanceWindow.objects.get()
    assert silence is not None
    false = Incident.objects.get(disposition="false")
    return {
        "room": ["/", *(f"/?show={show}" for show in ("mine", "open", "resolved"))],
        "incident": every, "proposal": [reverse("proposal", args=[false.uid])], "incident-new": ["/incidents/new/"],
        "answer": [f"/a/{link}" for link in links], "wall": ["/wall/"], "outbox": ["/outbox/"],
        "silences": ["/silences/"], "silence-new": ["/silences/new/"], "silence": [f"/silences/{silence.uid}/"],
        "window-new": ["/silences/windows/new/"], "window": [f"/silences/windows/{window.uid}/"],
    }  # fmt: skip


def _setup_pages(place: Place, now: datetime) -> dict[str, list[str]]:
    """What an administrator opens for cameras and rules."""
    gate = f"/setup/cameras/{place.cameras[0].uid}/"
    template = RuleTemplate.objects.get()
    at = f"{(now - MISSED).astimezone(ZoneInfo(place.site.time_zone)):%Y-%m-%dT%H:%M:%S}"
    why = f"/setup/why/?camera={place.cameras[0].uid}&rule=&ask=1&at={at}"
    return {
        "setup": ["/setup/"], "setup-list": ["/setup/list/"], "setup-add": ["/setup/cameras/add/"],
        "setup-camera": [f"/setup/cameras/{camera.uid}/" for camera in place.cameras],
        "setup-edit": [f"{gate}edit/"], "setup-delete": [f"{gate}delete/"],
        "setup-rule-add": [f"{gate}rules/add/?kind={kind}" for kind in sorted(RULES)],
        "setup-rule": [f"{gate}rules/{place.rules[0].uid}/"],
        "setup-templates": ["/setup/templates/"], "setup-template-add": ["/setup/templates/add/"],
        "setup-template": [f"/setup/templates/{template.uid}/"],
        "setup-template-override": [f"/setup/templates/{template.uid}/override/?camera={place.cameras[1].pk}"],
        "setup-template-preview": [f"/setup/templates/{template.uid}/preview/"],
        "setup-configuration": ["/setup/configuration/"],
        "setup-why": ["/setup/why/", why],
        "machine": ["/setup/machine/"],
    }  # fmt: skip


def _people_pages() -> dict[str, list[str]]:
    """Who is told and who is on duty."""
    people = [f"/setup/people/{uid}/" for uid in Recipient.objects.values_list("uid", flat=True)]
    contacts = [f"/contacts/{uid}/" for uid in Contact.objects.values_list("uid", flat=True)]
    return {
        "setup-people": ["/setup/people/"], "setup-person-add": ["/setup/people/add/"], "setup-person": people,
        "setup-team-add": ["/setup/teams/add/"], "setup-team": [f"/setup/teams/{Team.objects.get().uid}/"],
        "setup-rotas": ["/setup/rotas/"], "setup-rota-add": ["/setup/rotas/add/"],
        "setup-rota": [f"/setup/rotas/{Rota.objects.get().uid}/"],
        "setup-policies": ["/setup/policies/"], "setup-policy-add": ["/setup/policies/add/"],
        "setup-policy": [f"/setup/policies/{EscalationPolicy.objects.get().uid}/"],
        "contacts": ["/contacts/"], "contact": contacts, "login": ["/login/"],
    }  # fmt: skip


if __name__ == "__main__":
    Path(settings.DATA_DIR, "pages.json").write_text(json.dumps(furnish(sys.argv[1])))
