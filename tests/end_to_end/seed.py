"""Rows for end-to-end tests, written by the product's own functions: ``python -m tests.end_to_end.seed WHAT JSON``."""

from __future__ import annotations

import json
import os
import sys
from typing import Any
from uuid import UUID

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "monitor.settings")
django.setup()

from django.conf import settings  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.test import Client  # noqa: E402
from django.utils import timezone  # noqa: E402

from alerts import editing  # noqa: E402
from alerts.models import Contact, Recipient, Rule, RuleVersion, Zone  # noqa: E402
from detectors.models import Deployment, Model  # noqa: E402
from detectors.registry import load_card  # noqa: E402
from frontend import tokens  # noqa: E402
from frontend.models import User  # noqa: E402
from streams.log import LogAddresses, open_log  # noqa: E402
from streams.models import Camera, CameraGroup, Site, Source, View  # noqa: E402
from streams.topics import standing_topics  # noqa: E402


def uid(number: int) -> UUID:
    """Names that are the same in every run, so that events can be compared between runs."""
    return UUID(int=number, version=4)


ZONES = {"left": (0.05, 0.35), "middle": (0.35, 0.65), "right": (0.65, 0.95)}


def street(
    cameras: int = 4,
    sms: bool = True,
    rearm_s: float = 5.0,
    address: str = "",
    hold_s: float = 0.6,
    severity: str = "high",
) -> dict[str, Any]:
    """``cameras`` cameras that each watch three zones across the picture, one deployment, one recipient each."""
    site, group, deployment = _ground("Street")
    guards = [_guard(number, sms) for number in range(cameras)]
    made = [_camera(n, site, group, deployment, guards[n], address, rearm_s, hold_s, severity) for n in range(cameras)]
    return {"cameras": made, "deployment": str(deployment.uid)}


def _guard(number: int, sms: bool) -> Recipient:
    """A recipient whose number is the camera's."""
    guard = Recipient.objects.create(name=f"Guard {number + 1}", language="en")
    if sms:
        Contact.objects.create(
            recipient=guard, channel="sms", address=f"+8869120000{number:02d}", confirmed_at=timezone.now()
        )
    return guard


def _camera(
    number: int,
    site: Site,
    group: CameraGroup,
    deployment: Deployment,
    recipient: Recipient,
    address: str,
    rearm_s: float,
    hold_s: float,
    severity: str,
) -> dict[str, Any]:
    camera = Camera.objects.create(uid=uid(100 + number), name=f"Camera {number + 1}", site=site, group=group)
    if address:
        Source.objects.create(camera=camera, role="detect", address=address.format(number=number))
    view = View.objects.create(uid=uid(200 + number), camera=camera)
    for place, (name, (left, right)) in enumerate(ZONES.items()):
        zone = Zone.objects.create(
            uid=uid(300 + number * 10 + place),
            view=view,
            name=name,
            points=[[left, 0.2], [right, 0.2], [right, 0.98], [left, 0.98]],
        )
        config = {"rearm": "interval", "rearm_s": rearm_s, "hold_s": hold_s, "confidence": 0.4}
        _rule(400 + number * 10 + place, f"{camera.name}, {name}", zone, deployment, recipient, config, severity)
    return {"uid": str(camera.uid), "slot": camera.slot, "view": str(view.uid)}


def _rule(
    number: int,
    name: str,
    zone: Zone,
    deployment: Deployment,
    recipient: Recipient,
    config: dict[str, Any],
    severity: str,
) -> None:
    rule = Rule(uid=uid(number), name=name, kind="presence", severity=severity, deployment=deployment, config=config)
    version = editing.save_rule(rule, zones=[zone], author=None, now=timezone.now())
    rule.recipients.add(recipient)
    # The version's name goes into the events' names: the same in every run.
    named = uid(number + 500)
    RuleVersion.objects.filter(pk=version.pk).update(uid=named, embedded={**version.embedded, "version": str(named)})


def _ground(name: str) -> tuple[Site, CameraGroup, Deployment]:
    """An empty site with a log and one deployment, in a fresh database."""
    call_command("migrate", verbosity=0, interactive=False)
    log = open_log(LogAddresses.from_environment())
    log.create(standing_topics(["general"]))
    log.close()
    site = Site.objects.create(name=name, time_zone="Asia/Taipei")
    group = CameraGroup.objects.create(name="All")
    # An installation begins with a deployment; here it has a name that is the same in every run.
    Deployment.objects.all().delete()
    Model.objects.all().delete()
    card = load_card("nanodet_g")
    model = Model.objects.create(
        name=card.name, version=card.version, backend="openvino", card="nanodet_g", labels=["person", "vehicle"]
    )
    deployment = Deployment.objects.create(uid=uid(2), name="general", model=model, pool="general")
    return site, group, deployment


def yard(
    cameras: int, side: int, guards: int, config: dict[str, Any], critical: int, rule_of: str = "zone"
) -> dict[str, Any]:
    """``cameras`` cameras, each with ``side`` × ``side`` zones side by side and no source.

    ``rule_of`` *zone*: one rule for each place in the picture, on all cameras, with a guard of its own; *camera*: one
    for each camera, on all its zones, with all guards. The first ``critical`` rules are critical, the others high.
    """
    site, group, deployment = _ground("Yard")
    made = [Camera.objects.create(name=f"C{number:03d}", site=site, group=group) for number in range(cameras)]
    views = [View.objects.create(camera=camera) for camera in made]
    cells = [[_cell(view, place, side) for place in range(side * side)] for view in views]
    people = [_guard(number, sms=True) for number in range(guards)]
    watched = list(zip(*cells, strict=True)) if rule_of == "zone" else cells
    for number, zones in enumerate(watched):
        severity = "critical" if number < critical else "high"
        rule = Rule(
            name=f"Rule {number}", kind="presence", severity=severity, deployment=deployment, config=dict(config)
        )
        told = [people[number % guards]] if rule_of == "zone" else people
        editing.save_rule(rule, zones=list(zones), author=None, now=timezone.now(), recipients=told)
    kept = [
        {"uid": str(camera.uid), "slot": camera.slot, "view": str(view.uid)}
        for camera, view in zip(made, views, strict=True)
    ]
    return {"cameras": kept, "deployment": str(deployment.uid)}


def ways(contacts: dict[str, list[list[str]]]) -> dict[str, Any]:
    """In place of their number: the guards (by number) are reached by these channels and addresses, in order."""
    for number, ways in contacts.items():
        guard = Recipient.objects.get(name=f"Guard {int(number) + 1}")
        guard.contacts.all().delete()
        for order, (channel, address) in enumerate(ways):
            given = {"channel": channel, "address": address, "order": order, "confirmed_at": timezone.now()}
            Contact.objects.create(recipient=guard, **given)
    return {}


def door() -> dict[str, Any]:
    """An administrator with a token for the API and the cookie of a browser that is logged in."""
    ada = User.objects.create_user("ada", role=User.Role.ADMINISTRATOR)
    browser = Client()
    browser.force_login(ada)
    cookie = f"{settings.SESSION_COOKIE_NAME}={browser.cookies[settings.SESSION_COOKIE_NAME].value}"
    return {"token": tokens.create(ada, "tests")[1], "cookie": cookie}


def _cell(view: View, place: int, side: int) -> Zone:
    """One of ``side`` × ``side`` equal parts of the picture, named by its place."""
    row, column = divmod(place, side)
    left, right, top, bottom = (round(edge / side, 4) for edge in (column, column + 1, row, row + 1))
    points = [[left, top], [right, top], [right, bottom], [left, bottom]]
    return Zone.objects.create(view=view, name=f"k{place:02d}", points=points)


if __name__ == "__main__":
    print(json.dumps(globals()[sys.argv[1]](**json.loads(sys.argv[2]))))
