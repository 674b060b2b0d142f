"""What the set-up screens ask of the database."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from django.core.files.storage import default_storage
from django.db.models import Exists, OuterRef, Prefetch, Q, QuerySet
from django.utils.translation import gettext as _

from alerts.awaited import starved_without
from alerts.history import newest_version
from alerts.models import Contact, EscalationPolicy, Event, Recipient, Rule, Zone
from frontend.queries import CameraState
from streams.models import Camera, Site, Source, View


@dataclass(frozen=True, slots=True)
class Overview:
    """One camera on the list. ``next_step``: what it still needs, the first thing first; empty: nothing."""

    camera: Camera
    zones: int
    rules: int
    told: int
    state: CameraState | None
    has_picture: bool

    @property
    def next_step(self) -> str:
        """``zone``, ``rule``, ``recipient`` or nothing."""
        if not self.zones:
            return "zone"
        if not self.rules:
            return "rule"
        return "" if self.told else "recipient"


POLICY_PEOPLE = (
    "policy__steps__recipients",
    "policy__steps__teams__members",
    "policy__steps__rotas__places__recipient",
)
"""What ``told_by`` needs beside a rule's own recipients."""


def overview(states: Mapping[int, CameraState]) -> list[Overview]:
    """Every camera, by name, in a fixed number of queries."""
    rules = Rule.objects.filter(enabled=True).prefetch_related("recipients", *POLICY_PEOPLE)
    zones = Prefetch("zones", Zone.objects.prefetch_related(Prefetch("rules", rules)))
    views = Prefetch("views", View.objects.order_by("pk").prefetch_related(zones))
    kept = Event.objects.filter(camera=OuterRef("pk"), picture=Event.Picture.KEPT)
    cameras = Camera.objects.select_related("site", "group").prefetch_related(views).annotate(seen=Exists(kept))
    return [_overview(camera, states.get(camera.pk)) for camera in cameras.order_by("site__name", "name")]


def _overview(camera: Camera, state: CameraState | None) -> Overview:
    views = list(camera.views.all())
    zones = [zone for view in views for zone in view.zones.all()]
    rules = {rule.pk: rule for zone in zones for rule in zone.rules.all()}
    told = {recipient.pk for rule in rules.values() for recipient in told_by(rule) if recipient.active}
    has_picture = camera.seen or any(view.reference for view in views)  # type: ignore[attr-defined]
    return Overview(camera, len(zones), len(rules), len(told), state, has_picture)


def told_by(rule: Rule) -> set[Recipient]:
    """Everybody whom ``rule`` may tell, of itself or by its policy; fetched with ``POLICY_PEOPLE``."""
    found = set(rule.recipients.all())
    for step in rule.policy.steps.all() if rule.policy else ():
        found |= set(step.recipients.all())
        found |= {one for team in step.teams.all() for one in team.members.all()}
        found |= {place.recipient for rota in step.rotas.all() for place in rota.places.all()}
    return found


def last_picture(camera: Camera) -> bytes | None:
    """The newest picture that an incident of ``camera`` keeps; None where there is none."""
    event = Event.objects.filter(camera=camera, picture=Event.Picture.KEPT).order_by("-happened_at").first()
    if event is None:
        return None
    try:
        with default_storage.open(event.picture_path) as file:
            return bytes(file.read())
    except (OSError, ValueError):
        return None


def rules_on(camera: Camera) -> QuerySet[Rule]:
    """Rules with a zone of ``camera``, and those whose last zones were deleted there: their page is the way back."""
    bare = [rule.pk for rule in Rule.objects.filter(zones=None) if str(camera.uid) in _cameras_last_watched(rule)]
    return Rule.objects.filter(Q(zones__view__camera=camera) | Q(pk__in=bare)).distinct()


def _cameras_last_watched(rule: Rule) -> set[str]:
    version = newest_version(rule)
    return {str(zone.get("camera")) for zone in version.embedded.get("zones", [])} if version else set()


def rules_of(camera: Camera) -> list[Rule]:
    """Every rule that is shown with ``camera``, on or off, with whom it tells."""
    contacts = Prefetch("contacts", Contact.objects.usable())
    recipients = Prefetch("recipients", Recipient.objects.prefetch_related(contacts))
    found = rules_on(camera).select_related("deployment", "policy")
    return list(found.prefetch_related("zones", recipients))


def policies_of(rules: Iterable[Rule]) -> list[EscalationPolicy]:
    """The policies by which the enabled ones of ``rules`` go, each once."""
    found = {rule.policy.pk: rule.policy for rule in rules if rule.enabled and rule.policy}
    return sorted(found.values(), key=lambda policy: policy.name)


def zones_of(camera: Camera) -> list[Zone]:
    """The zones of ``camera``, each with its rules."""
    return list(
        Zone.objects.filter(view__camera=camera).select_related("view").prefetch_related("rules").order_by("pk")
    )


def cameras_of(zones: QuerySet[Zone]) -> list[Camera]:
    """The cameras on which ``zones`` are, by name."""
    return list(Camera.objects.filter(views__zones__in=zones).distinct().order_by("name"))


def watched_at(site: Site) -> list[Camera]:
    """The cameras there on which any rule has a zone, by name."""
    return list(site.cameras.filter(views__zones__rules__isnull=False).distinct().order_by("name"))


def sources_of(camera: Camera) -> list[Source]:
    """Its addresses, the one that is analysed first."""
    return sorted(camera.sources.all(), key=lambda source: Source.Role.values.index(source.role))


def zone_for_script(zone: Zone) -> dict[str, Any]:
    """A zone as the drawing script takes it."""
    plain = {"uid": str(zone.uid), "name": zone.name, "shape": zone.shape, "points": zone.points}
    rules = zone.rules.all()
    # So that it can be said before: sequences that will not fire any more without it.
    starves = _(", ").join(rule.name for rule in starved_without([zone])) if rules else ""
    return plain | {"rules": len(rules), "starves": starves}


@dataclass(frozen=True, slots=True)
class Reach:
    """Somebody who may be told, and by what."""

    recipient: Recipient
    contacts: list[Contact] = field(default_factory=list)

    @property
    def is_reached(self) -> bool:
        """Whether one of them may be sent something."""
        return any(contact.usable for contact in self.contacts)


def reachable() -> list[Reach]:
    """Every active recipient with the contacts that are not refused, confirmed or not."""
    contacts = Prefetch("contacts", Contact.objects.filter(disabled_at__isnull=True), to_attr="working")
    found = Recipient.objects.filter(active=True).prefetch_related(contacts)
    return [Reach(recipient, recipient.working) for recipient in found]
