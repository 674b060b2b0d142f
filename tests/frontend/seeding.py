"""A small harbour for tests and for looking at the screens: sites, cameras, rules, people, incidents with pictures.

Alice is an operator of the harbour, Bob its supervisor, Charlie an outsider with no camera group, Olga only looks.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import cv2
import msgspec
import numpy as np
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.utils import timezone

from alerts.events import Event as Fired
from alerts.events import Fact, SeenBox, event_uid, occurrence_id
from alerts.models import (
    Alert,
    Contact,
    Delivery,
    Event,
    Incident,
    IncidentTransition,
    Recipient,
    Rule,
    RuleVersion,
    Zone,
)
from detectors.models import Deployment, Model
from frontend.models import User
from streams.ids import new_uid
from streams.models import BlindSpan, Camera, CameraGroup, SequenceCounter, Site, Source, View

PASSWORD = "a-long-enough-password-1"
LANE = [(0.73, 0.52), (0.995, 0.575), (0.995, 0.9), (0.68, 0.73)]


def drawn_picture(width_px: int = 960, height_px: int = 540) -> bytes:
    """A JPEG of a yard with one person in it, made of plain shapes."""
    picture = np.full((height_px, width_px, 3), (96, 104, 108), np.uint8)
    cv2.rectangle(picture, (0, 0), (width_px, height_px // 3), (150, 140, 120), -1)
    cv2.line(picture, (0, height_px), (width_px, height_px // 3), (180, 186, 190), 6)
    x, y = int(width_px * 0.87), int(height_px * 0.6)
    cv2.ellipse(picture, (x, y), (16, 54), 0, 0, 360, (40, 36, 46), -1)
    cv2.circle(picture, (x, y - 64), 13, (110, 130, 170), -1)
    done, encoded = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 80])
    assert done
    return encoded.tobytes()


@dataclass
class Harbour:
    """Everything that was made."""

    site: Site
    group: CameraGroup
    cameras: list[Camera]
    rules: list[Rule]
    alice: User
    bob: User
    charlie: User
    olga: User
    recipients: list[Recipient]
    incidents: list[Incident] = field(default_factory=list)


def make_person(name: str, role: str, full: tuple[str, str], groups: list[CameraGroup], **more: Any) -> User:
    user = User.objects.create_user(name, password=PASSWORD, role=role, first_name=full[0], last_name=full[1], **more)
    user.camera_groups.set(groups)
    return user


def make_rule(camera: Camera, deployment: Deployment, name: str, severity: str, label: str, now: datetime) -> Rule:
    view = View.objects.get_or_create(camera=camera)[0]
    zone = Zone.objects.create(view=view, name=name, points=[list(point) for point in LANE])
    rule = Rule.objects.create(
        name=name,
        severity=severity,
        deployment=deployment,
        config={"labels": [label]},
        why_it_matters="The crane swings over this lane.",
        procedure="Look at the live picture\nCall the gate post (ext. 204)\nStop the crane if the person stays\n",
    )
    rule.zones.add(zone)
    RuleVersion.objects.create(
        rule=rule,
        number=7,
        kind="presence",
        severity=severity,
        deployment=deployment.uid,
        embedded={},
        active_from_at=now - timedelta(days=1),
    )
    return rule


CAMERAS = (("North gate", "Dock lane", "critical", "person"), ("Main entrance", "Turnstiles", "medium", "person"),
           ("Car park", "Bay 6", "medium", "bicycle"), ("Roof west", "Roof edge", "high", "person"))  # fmt: skip


def make_harbour(now: datetime) -> Harbour:
    """Site, cameras, rules and people; no incident yet."""
    site = Site.objects.create(name="Harbour City", time_zone="Asia/Taipei")
    group = CameraGroup.objects.create(name="Harbour")
    labels = sorted({label for _name, _lane, _severity, label in CAMERAS})
    model = Model.objects.create(name="NanoDet", version="g-416", backend="openvino", labels=labels)
    deployment = Deployment.objects.create(name="General", model=model)
    cameras, rules = [], []
    for name, lane, severity, label in CAMERAS:
        camera = Camera.objects.create(name=name, site=site, group=group)
        Source.objects.create(camera=camera, address="rtsp://192.0.2.1/live")
        cameras.append(camera)
        rules.append(make_rule(camera, deployment, lane, severity, label, now))
    recipients = [
        make_recipient("Guard post", "sms", "+886912345417"),
        make_recipient("Bob Lin", "email", "bob@example.org"),
    ]
    for rule in rules:
        rule.recipients.set(recipients)
    return Harbour(
        site=site,
        group=group,
        cameras=cameras,
        rules=rules,
        alice=make_person("alice", "operator", ("Alice", "Chen"), [group]),
        bob=make_person("bob", "supervisor", ("Bob", "Lin"), [group]),
        charlie=make_person("charlie", "operator", ("Charlie", "Wu"), []),
        olga=make_person("olga", "observer", ("Olga", "Ho"), [group]),
        recipients=recipients,
    )


def make_recipient(name: str, channel: str, address: str) -> Recipient:
    recipient = Recipient.objects.create(name=name)
    Contact.objects.create(recipient=recipient, channel=channel, address=address, confirmed_at=timezone.now())
    return recipient


def make_event(incident: Incident, at: datetime, known_at: datetime, picture: bytes | None) -> Event:
    """The event of an incident, with the numbers that made the rule fire and, if given, its picture."""
    assert incident.camera is not None and incident.rule_version is not None
    uid = event_uid(incident.rule_version.uid, occurrence_id(incident.camera.uid, new_uid(), 1, 1, new_uid()), 0)
    fired = Fired(
        uid=uid, kind="presence", severity=incident.severity, camera=incident.camera.uid,
        rule_version=incident.rule_version.uid, deployment=None, zone=None, label=incident.label, session=1,
        sequence=42,
        happened_at=at, stale_s=120.0, frame=None, zone_polygon=LANE,
        facts=[Fact("in_zone", 3.2, ">=", 2.0, "s"), Fact("confirmed", 5, "of", 6, "pictures"),
               Fact("confidence", 0.812, ">=", 0.5), Fact("travel", 0.31, ">=", 0.03, "heights")],
        boxes=[SeenBox((0.887, 0.516, 0.97, 0.717), incident.label, 0.81, fired=True),
               SeenBox((0.367, 0.344, 0.411, 0.503), "person", 0.74)],
        path=[(0.999, 0.64), (0.97, 0.69), (0.93, 0.715)],
    )  # fmt: skip
    path = ""
    if picture is not None:
        path = default_storage.save(f"events/{uid}.jpg", ContentFile(picture))
    return Event.objects.create(
        uid=uid, kind="presence", severity=incident.severity, camera=incident.camera,
        rule_version=incident.rule_version, incident=incident, happened_at=at, known_at=known_at,
        content=msgspec.to_builtins(fired),
        picture=Event.Picture.KEPT if path else Event.Picture.GONE, picture_path=path,
    )  # fmt: skip


def make_incident(
    harbour: Harbour,
    which: int,
    at: datetime,
    *,
    known_at: datetime | None = None,
    picture: bytes | None = None,
    sent: bool = True,
) -> Incident:
    """An open incident of the ``which``-th camera, told to both recipients."""
    camera, rule = harbour.cameras[which], harbour.rules[which]
    known_at = known_at or at + timedelta(seconds=1)
    version = rule.versions.get()
    incident = Incident.objects.create(
        group_key=str(new_uid()), severity=rule.severity, kind="presence", label=rule.config["labels"][0],
        site=harbour.site, camera=camera, rule=rule, rule_version=version, zone_name=rule.name, happened_at=at,
        opened_at=known_at, last_event_at=at, event_count=1, late=(known_at - at).total_seconds() > 120,
        steps_taken=1, next_step_at=known_at + timedelta(seconds=120),
    )  # fmt: skip
    make_event(incident, at, known_at, picture)
    IncidentTransition.objects.create(incident=incident, at=known_at, after="open", through="engine")
    if sent:
        for recipient in harbour.recipients:
            tell(incident, recipient, known_at)
    incident.change = SequenceCounter.advance(SequenceCounter.CHANGES)
    incident.save()
    harbour.incidents.append(incident)
    return incident


SMS = "Person in “Dock lane”. North gate, Harbour City, 14:02:31 (Asia/Taipei). Critical. http://127.0.0.1:8000/i/1"


def tell(incident: Incident, recipient: Recipient, at: datetime, **more: Any) -> Delivery:
    """One message that was sent, unless ``more`` says otherwise."""
    reason = more.pop("reason", "opened")
    alert = Alert.objects.get_or_create(
        incident=incident, recipient=recipient, reason=reason, step=0, defaults={"created_at": at}
    )[0]
    contact = recipient.contacts.get()
    mail = contact.channel == "email"
    values: dict[str, Any] = {
        "state": "sent", "notifier": "sandbox", "not_before_at": at, "created_at": at,
        "sent_at": at + timedelta(seconds=1), "text": SMS,
        "subject": "Critical: person in “Dock lane”" if mail else "",
        "html": f"<html><body style='color:#222'><h2>Dock lane</h2><p>{SMS}</p></body></html>" if mail else "",
    }  # fmt: skip
    return Delivery.objects.create(alert=alert, contact=contact, **{**values, **more})


def make_blind(camera: Camera, since_at: datetime, reason: str = "unreachable") -> BlindSpan:
    """The camera has not been seen since ``since_at``."""
    return BlindSpan.objects.create(camera=camera, from_at=since_at, reason=reason)
