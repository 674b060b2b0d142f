"""A small town for tests: two camera groups, a camera in each, a model, and Alice, Bob and Charlie."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from alerts.models import Incident, Rule, Zone
from detectors.models import Deployment, Model
from frontend.models import User
from streams.models import Camera, CameraGroup, Site, View

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
SQUARE = [[0.1, 0.1], [0.6, 0.1], [0.6, 0.9], [0.1, 0.9]]


@dataclass(frozen=True)
class Town:
    """What every test here begins with. The gate is Alice's and Bob's; the yard is Charlie's."""

    site: Site
    gate: Camera
    yard: Camera
    zone: Zone
    deployment: Deployment
    alice: User
    """Operator of the gate's group."""
    bob: User
    """Its supervisor."""
    charlie: User
    """An operator, but of other cameras."""
    olive: User
    """Observer of the gate's group."""
    ada: User
    """Administrator."""


def build_town() -> Town:
    """Rows in an empty database."""
    site = Site.objects.create(name="Harbour", time_zone="Asia/Taipei")
    ours, theirs = CameraGroup.objects.create(name="Harbour"), CameraGroup.objects.create(name="Elsewhere")
    gate = Camera.objects.create(name="Gate", site=site, group=ours)
    yard = Camera.objects.create(name="Yard", site=site, group=theirs)
    zone = Zone.objects.create(view=View.objects.create(camera=gate), name="Lane", points=SQUARE)
    View.objects.create(camera=yard)
    model = Model.objects.create(name="General", version="1", backend="openvino", labels=["person", "car", "truck"])
    deployment = Deployment.objects.create(name="General", model=model, pool="general")
    people = {
        "alice": _person("alice", User.Role.OPERATOR, ours),
        "bob": _person("bob", User.Role.SUPERVISOR, ours),
        "charlie": _person("charlie", User.Role.OPERATOR, theirs),
        "olive": _person("olive", User.Role.OBSERVER, ours),
        "ada": _person("ada", User.Role.ADMINISTRATOR),
    }
    return Town(site, gate, yard, zone, deployment, **people)


def _person(name: str, role: str, *groups: CameraGroup) -> User:
    user = User.objects.create_user(name, password="long-enough-for-anybody", role=role)
    user.camera_groups.set(groups)
    return user


def new_rule(town: Town, **changes: Any) -> Rule:
    """An unsaved rule that would be accepted, with ``changes``."""
    values: dict[str, Any] = {"name": "Person in the lane", "kind": "presence", "deployment": town.deployment}
    return Rule(**values | {"config": {"labels": ["person"]}} | changes)


def new_incident(camera: Camera | None, site: Site, **changes: Any) -> Incident:
    """A stored, open incident, with ``changes``."""
    values: dict[str, Any] = {
        "group_key": f"test {Incident.objects.count()}",
        "severity": "high",
        "kind": "presence",
        "label": "person",
        "site": site,
        "camera": camera,
        "happened_at": NOW,
        "opened_at": NOW,
        "last_event_at": NOW,
        "event_count": 1,
    }
    return Incident.objects.create(**values | changes)
