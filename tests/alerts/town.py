"""A small town for tests: one site, two cameras, one rule, and people who are told. Time stands where it is put."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from django.db import close_old_connections, connection, connections

from alerts.events import Event, Fact, Severity
from alerts.models import Contact, Recipient, Rule, RuleVersion
from detectors.models import Deployment, Model
from frontend.models import User
from streams.models import Camera, CameraGroup, Site
from streams.observations import LogPosition

NOON = datetime(2026, 3, 1, 4, 0, tzinfo=UTC)
"""Noon in Taipei."""


SMS, EMAIL = ("sms", "+15005550010"), ("email", "alice@example.org")


def at(seconds: float) -> datetime:
    """So many seconds after noon."""
    return NOON + timedelta(seconds=seconds)


@dataclass
class Town:
    """What stands in the database."""

    site: Site
    gate: Camera
    yard: Camera
    rule: Rule
    version: RuleVersion
    zone: UUID
    alice: User

    def event(self, **changes: Any) -> Event:
        """A person in the dock lane at noon, by the gate's camera."""
        severity: Severity = "high"
        given: dict[str, Any] = {
            "uid": uuid4(),
            "kind": "presence",
            "severity": severity,
            "camera": self.gate.uid,
            "rule_version": self.version.uid,
            "deployment": uuid4(),
            "zone": self.zone,
            "label": "person",
            "session": 1,
            "sequence": 10,
            "happened_at": NOON,
            "facts": [Fact("confidence", 0.87, ">=", 0.45), Fact("in_zone", 2.4, ">=", 2.0, "s")],
            "boxes": [],
            "path": [],
            "zone_polygon": [(0.1, 0.1), (0.9, 0.1), (0.9, 0.9)],
            "frame": LogPosition("frames.general", self.gate.partition, 5),
        }
        return Event(**(given | changes))

    def person(self, name: str, *contacts: tuple[str, str], language: str = "en", active: bool = True) -> Recipient:
        """A recipient of the rule with contacts (channel, address), in order."""
        recipient = Recipient.objects.create(name=name, language=language, active=active)
        for order, (channel, address) in enumerate(contacts):
            Contact.objects.create(
                recipient=recipient, channel=channel, address=address, order=order, confirmed_at=NOON
            )
        self.rule.recipients.add(recipient)
        return recipient


def build_town() -> Town:
    """A fresh one, with nobody who is told."""
    site = Site.objects.create(name="Harbour City", time_zone="Asia/Taipei")
    group = CameraGroup.objects.create(name="Docks")
    gate = Camera.objects.create(name="Gate", site=site, group=group)
    yard = Camera.objects.create(name="Yard", site=site, group=group)
    model = Model.objects.create(name="nanodet", version="1", backend="openvino")
    deployment = Deployment.objects.create(name="general", model=model)
    rule = Rule.objects.create(
        name="Dock lane", deployment=deployment, severity="high", procedure="Look.\nCall the guard."
    )
    zone, uid = uuid4(), uuid4()
    version = RuleVersion.objects.create(
        uid=uid,
        rule=rule,
        number=1,
        kind="presence",
        severity="high",
        deployment=deployment.uid,
        embedded={"version": str(uid), "zones": [{"uid": str(zone), "name": "Dock lane"}]},
        active_from_at=NOON - timedelta(days=1),
    )
    alice = User.objects.create_user("alice", password="not-a-secret")
    return Town(site, gate, yard, rule, version, zone, alice)


def at_once(*calls: Callable[[], Any]) -> list[Any]:
    """Run ``calls`` on threads that start together; exceptions come back as values."""
    barrier = threading.Barrier(len(calls))
    results: list[Any] = [None] * len(calls)

    def run(n: int) -> None:
        try:
            barrier.wait(10)
            results[n] = calls[n]()
        except Exception as error:
            results[n] = error
        finally:
            connections.close_all()

    threads = [threading.Thread(target=run, args=(n,)) for n in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    close_old_connections()
    return results


def examples(most: int) -> int:
    """How many runs of a machine there is time for: on PostgreSQL a third.

    All of them are in one transaction, which cannot clear away what its earlier runs deleted: each takes longer.
    """
    return most // 3 if connection.vendor == "postgresql" else most
