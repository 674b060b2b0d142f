"""The rows that ``bench trust`` writes and reads, through the product's own functions. Import it once the
environment of a running installation is set.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "monitor.settings")
django.setup()

from django.db import transaction  # noqa: E402
from django.utils import timezone  # noqa: E402

from alerts.editing import save_rule, touch  # noqa: E402
from alerts.models import Count, Event, Rule, RuleVersion, Zone  # noqa: E402
from bench.trust_plays import Play  # noqa: E402
from detectors.defaults import default_deployment  # noqa: E402
from detectors.models import Deployment  # noqa: E402
from streams.models import Camera, CameraGroup, Site, Source, View  # noqa: E402
from streams.scenes.trials import WHOLE, Watching  # noqa: E402


@dataclass(slots=True)
class Posted:
    """One play's camera and its rules, in the order in which the play has them."""

    play: Play
    camera: Camera
    rules: list[Rule] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Told:
    """A rule fired: when it happened on the camera's clock, and when it was known."""

    happened_at: datetime
    known_at: datetime


class Room:
    """What an administrator does: cameras put up, rules made, cameras switched off again; and what is on record."""

    def __init__(self) -> None:
        self._site = Site.objects.create(name="Trust", time_zone="Asia/Taipei", latitude=25.03, longitude=121.56)
        self._group = CameraGroup.objects.create(name="Trust")
        self._usual = default_deployment()
        self._standing = Deployment.objects.create(
            name="left or taken",
            model=self._usual.model,
            pool=self._usual.pool,
            all_cameras=False,
            static_regions=True,
        )
        Deployment.objects.filter(pk=self._usual.pk).update(all_cameras=False)
        self._usual.refresh_from_db()

    def post(self, plays: Sequence[Play], port: int) -> list[Posted]:
        """Put up a camera for each of ``plays``, as ``/cam0`` on, with its rules. They are still switched off."""
        with transaction.atomic():
            return [self._post(play, f"rtsp://127.0.0.1:{port}/cam{number}") for number, play in enumerate(plays)]

    def _post(self, play: Play, address: str) -> Posted:
        camera = Camera.objects.create(name=play.key, site=self._site, group=self._group, enabled=False)
        Source.objects.create(camera=camera, role=Source.Role.DETECT, address=address)
        deployment = self._standing if play.static_regions else self._usual
        deployment.cameras.add(camera)
        view = View.objects.create(camera=camera)
        zones = {
            zone.name: Zone.objects.create(
                view=view,
                name=zone.name,
                shape=Zone.Shape.LINE if len(zone.points) == 2 else Zone.Shape.POLYGON,
                points=[[min(1.0, max(0.0, x)), min(1.0, max(0.0, y))] for x, y in zone.points],
            )
            for zone in (*play.zones, WHOLE)
        }
        posted, named = Posted(play, camera), dict[str, Rule]()
        for number, watching in enumerate(play.rules):
            rule = Rule(
                name=f"{play.key} {number + 1}",
                kind=watching.kind,
                severity="low",
                deployment=deployment,
                config=self._config(watching, named),
            )
            save_rule(rule, zones=[zones[watching.zone]], author=None, now=timezone.now())
            named[watching.name] = rule
            posted.rules.append(rule)
        return posted

    @staticmethod
    def _config(watching: Watching, named: dict[str, Rule]) -> dict[str, object]:
        follows = zip(("first", "then"), watching.follows or (), strict=False)
        return {**watching.config, **{key: str(named[name].uid) for key, name in follows}}

    @staticmethod
    def switch(posted: Sequence[Posted], on: bool) -> None:
        """The films of these begin, or are over."""
        with transaction.atomic():
            Camera.objects.filter(pk__in=[one.camera.pk for one in posted]).update(enabled=on)
            touch()

    @staticmethod
    def told(rule: Rule) -> list[Told]:
        """Every event of ``rule``, in the order in which they happened."""
        return [Told(one.happened_at, one.known_at) for one in Event.objects.filter(rule_version__rule=rule)]

    @staticmethod
    def counted(rule: Rule) -> tuple[int, int]:
        """How many went over its line, forward and backward."""
        versions = RuleVersion.objects.filter(rule=rule).values_list("uid", flat=True)
        rows = Count.objects.filter(rule_version__in=list(versions))
        forward, backward = (
            sum(rows.filter(direction=one).values_list("count", flat=True)) for one in ("forward", "backward")
        )
        return forward, backward
