"""The demo site: what ``up`` puts into an empty installation, and keeps in step with the demo cameras' port."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from django.db import transaction
from django.utils import timezone

from alerts.editing import save_rule, touch
from alerts.models import Contact, Recipient, Rule, Severity, Zone
from detectors.defaults import default_deployment
from detectors.models import Deployment
from streams.models import Camera, CameraGroup, Site, Source, View
from streams.scenes import Scene, scene

SITE, TIME_ZONE = "Harbour City", "Asia/Taipei"
NOBODY = 0
"""The port of a camera that ``retire`` switched off: its owner did not, so ``seed`` may switch it on again."""


@dataclass(frozen=True, slots=True)
class Place:
    """One demo camera with the rule on its zone."""

    key: str
    name: str
    group: str
    rule: str
    severity: Severity
    why: str
    procedure: tuple[str, ...]
    carrier: str = Camera.Carrier.FIXED
    config: dict[str, Any] = field(default_factory=dict)


PLACES = (
    Place(
        "campus",
        "Campus path, library side",
        "Campus",
        "Person on the lawn",
        Severity.MEDIUM,
        "The new lawn is closed until spring.",
        ("Look whether the person leaves on their own.", "If not, ask the campus guard to speak to them."),
    ),
    Place(
        "gate",
        "North gate, service road",
        "Harbour",
        "Person in the forbidden lane",
        Severity.CRITICAL,
        "Container trucks use this lane without warning.",
        (
            "Stop traffic at the gate.",
            "Call the gate guard by radio, channel 3.",
            "Release the lane when it is empty.",
        ),
    ),
    Place(
        "yard",
        "Depot yard, east lawn",
        "Harbour",
        "Person in the yard at night",
        Severity.HIGH,
        "Nobody works in the yard after hours.",
        ("Look at the live picture: is it a guard on his round?", "If not, send the patrol."),
    ),
    Place(
        "drone",
        "Drone 1, harbour square",
        "Harbour",
        "Person in the closed square",
        Severity.MEDIUM,
        "The square is closed while the quay is being repaired.",
        ("Tell the drone's pilot to stay over the person.", "Send the nearest guard."),
        carrier=Camera.Carrier.DRONE,
    ),
)

# Numbers and names that belong to nobody: +1 555 01xx and example.org are kept for such use.
RECIPIENTS = (
    ("Duty officer", "en", (("sms", "+15550100142"), ("email", "duty.officer@example.org"))),
    ("林雅婷", "zh-hant", (("sms", "+886900000123"), ("email", "yating.lin@example.org"))),
)


def seed(rtsp_port: int) -> None:
    """Make the demo site in an installation that never had it, else point its cameras at ``rtsp_port``.

    One transaction. Whatever somebody changed or deleted stays so: only addresses are written again, and cameras that
    ``retire`` had switched off are switched on. Raises ``alerts.editing.Refused``.
    """
    with transaction.atomic():
        sources = _sources()
        if not sources and not Site.objects.filter(name=SITE).exists():
            _build_site(rtsp_port)
        elif sources and _point(sources, rtsp_port):
            touch()


def retire() -> None:
    """Switch the demo cameras off, where there are any: nobody plays them, so they would only be reported as lost."""
    with transaction.atomic():
        sources = [source for source in _sources() if source.camera.enabled]
        if sources:
            Camera.objects.filter(sources__in=sources).update(enabled=False)
            _point(sources, NOBODY)
            touch()


def _address(key: str, port: int) -> str:
    return f"rtsp://127.0.0.1:{port}/{key}"


def _sources() -> list[Source]:
    """The demo cameras' sources, known by their address: cameras, sites and rules may have been renamed."""
    keys = "|".join(place.key for place in PLACES)
    pattern = rf"^rtsp://127\.0\.0\.1:[0-9]+/({keys})$"
    return list(Source.objects.filter(role=Source.Role.DETECT, address__regex=pattern).select_related("camera"))


def _point(sources: list[Source], port: int) -> bool:
    """Whether an address had to be changed."""
    changed = False
    for source in sources:
        address = _address(source.address.rpartition("/")[2], port)
        if address == source.address:
            continue
        if source.address.startswith(_address("", NOBODY)):
            Camera.objects.filter(pk=source.camera_id).update(enabled=True)
        Source.objects.filter(pk=source.pk).update(address=address)
        changed = True
    return changed


def _build_site(port: int) -> None:
    site = Site.objects.create(name=SITE, time_zone=TIME_ZONE, latitude=25.155, longitude=121.755)
    deployment, recipients = default_deployment(), demo_recipients()
    for place in PLACES:
        _build(place, site, deployment, recipients, port)
    touch()


def demo_recipients() -> list[Recipient]:
    """The people whom the demo tells, who are nobody; made where they are missing."""
    return [_recipient(*one) for one in RECIPIENTS]


def _recipient(name: str, language: str, contacts: tuple[tuple[str, str], ...]) -> Recipient:
    recipient, _ = Recipient.objects.get_or_create(name=name, defaults={"language": language, "time_zone": TIME_ZONE})
    for order, (channel, address) in enumerate(contacts):
        # Nobody has these numbers, and without a provider nothing leaves: there is no owner to ask.
        first = {"order": order, "confirmed_at": timezone.now()}
        Contact.objects.get_or_create(recipient=recipient, channel=channel, address=address, defaults=first)
    return recipient


def _build(place: Place, site: Site, deployment: Deployment, recipients: list[Recipient], port: int) -> None:
    group, _ = CameraGroup.objects.get_or_create(name=place.group)
    camera = Camera.objects.create(name=place.name, site=site, group=group, carrier=place.carrier)
    Source.objects.create(camera=camera, role=Source.Role.DETECT, address=_address(place.key, port))
    zones = _zones(View.objects.create(camera=camera), scene(place.key))
    rule = Rule(
        name=place.rule,
        kind="presence",
        severity=place.severity,
        deployment=deployment,
        config=dict(place.config),
        why_it_matters=place.why,
        procedure="\n".join(place.procedure),
    )
    save_rule(rule, zones=zones, author=None, now=timezone.now())
    rule.recipients.set(recipients)


def _zones(view: View, shown: Scene) -> list[Zone]:
    return [
        Zone.objects.create(
            view=view,
            name=zone.name,
            shape=Zone.Shape.POLYGON,
            points=[[round(x, 4), round(y, 4)] for x, y in zone.points],
        )
        for zone in shown.zones
    ]
