"""“Why did it not fire?” as its page shows it: what was asked, and each rule's walk with the change that it offers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from django.conf import settings
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from alerts.models import Alert, Delivery, Incident, Rule
from alerts.texts import label_name, local_time
from frontend import drafts, proposal_words, why_words
from frontend.setup_queries import rules_of
from frontend.templatetags.words import svg_points
from streams.models import Camera

if TYPE_CHECKING:
    from alerts.asking import Walk
    from alerts.why import Sighted

USUALLY = timedelta(minutes=2)
"""Somebody who saw it happen asks about so long ago; by then it is archived."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What the form holds. ``problem``: why this cannot be asked; ``at`` is None with it."""

    cameras: Sequence[Camera]
    camera: Camera | None
    rules: Sequence[Rule]
    rule: Rule | None
    at: datetime | None
    problem: str = ""

    @property
    def typed(self) -> str:
        """The moment as the form's field takes it, on the site's clock."""
        if self.at is None or self.camera is None:
            return ""
        return f"{self.at.astimezone(ZoneInfo(self.camera.site.time_zone)):%Y-%m-%dT%H:%M:%S}"

    @property
    def when(self) -> str:
        """The moment in words, with the clock's name."""
        return local_time(self.at, self.camera.site.time_zone) if self.at and self.camera else ""

    @property
    def wanted(self) -> Sequence[Rule]:
        """The rules that it is about."""
        return self.rules if self.rule is None else [self.rule]


def read(given: Mapping[str, str], cameras: Sequence[Camera], now: datetime) -> Asked:
    """What an address asks: camera, moment (on the camera's clock, or with its offset) and perhaps one rule."""
    named = (camera for camera in cameras if str(camera.uid) == given.get("camera", ""))
    chosen = next(named, cameras[0] if cameras else None)
    if chosen is None:
        return Asked(cameras, None, [], None, None)
    rules = rules_of(chosen)
    rule = next((rule for rule in rules if str(rule.uid) == given.get("rule", "")), None)
    text = given.get("at", "")
    try:
        at = _moment(text, ZoneInfo(chosen.site.time_zone)) if text else now - USUALLY
    except (ValueError, OverflowError):
        return Asked(cameras, chosen, rules, rule, None, _("Give the moment as a date and a time of day."))
    return Asked(cameras, chosen, rules, rule, at, _problem(at, now))


def _moment(text: str, zone: ZoneInfo) -> datetime:
    at = datetime.fromisoformat(text)
    return (at if at.tzinfo else at.replace(tzinfo=zone)).astimezone(UTC)


def _problem(at: datetime, now: datetime) -> str:
    days: int = settings.ARCHIVE["days"]
    if not days:
        return _("Nothing is archived here: POLISCOPE_ARCHIVE_DAYS is 0. Set it, and ask about what comes later.")
    if at > now:
        return _("This moment is still to come.")
    if at < now - timedelta(days=days):
        return ngettext(
            "Nobody can tell any more: the archive goes back %(n)d day.",
            "Nobody can tell any more: the archive goes back %(n)d days.",
            days,
        ) % {"n": days}
    return ""


@dataclass(frozen=True, slots=True)
class Told:
    """One message that was decided, or nobody's address to send it to."""

    alert: Alert
    delivery: Delivery | None


@dataclass(frozen=True, slots=True)
class Drawing:
    """What came nearest on the camera's picture: corners as SVG takes them."""

    zones: Sequence[str]
    box: tuple[str, str, str, str]
    path: str


@dataclass(frozen=True, slots=True)
class Shown:
    """One rule's walk in words. ``look``: ``fired``, ``stopped`` or ``untold``; ``offer``: what would have fired."""

    rule: Rule
    look: str
    verdict: str
    lines: Sequence[why_words.Line]
    found: Sequence[tuple[str, str, bool]]
    drawing: Drawing | None
    told: Sequence[Told]
    incident: Incident | None
    offer: str
    changes: Sequence[proposal_words.Line]
    form_address: str


def shown(walks: Sequence[Walk], asked: Asked) -> list[Shown]:
    """Those that fired first, then those that came nearest."""
    assert asked.camera is not None and asked.at is not None
    names = {str(uid): name for uid, name in Rule.objects.values_list("uid", "name")}
    place = why_words.Place(asked.at, asked.camera.site.time_zone, names)
    ordered = sorted(walks, key=lambda walk: (not walk.fired, -_reached(walk), walk.rule.name))
    return [_shown(walk, asked.camera, place) for walk in ordered]


def _reached(walk: Walk) -> int:
    return sum(step.passed for step in walk.answer.steps)


def _shown(walk: Walk, camera: Camera, place: why_words.Place) -> Shown:
    stopped = walk.answer.stopped
    untold = stopped is not None and stopped.untold
    differences = proposal_words.differences(walk.before, walk.changed) if walk.before and walk.changed else []
    return Shown(
        rule=walk.rule,
        look="fired" if walk.fired else "untold" if untold else "stopped",
        verdict=why_words.verdict(walk, place),
        lines=why_words.lines(walk, place),
        found=[_found(one) for one in walk.answer.found],
        drawing=_drawing(walk, camera),
        told=[Told(alert, delivery) for alert in walk.alerts for delivery in (alert.deliveries.all() or [None])],
        incident=walk.incident,
        offer=_offer(walk),
        changes=differences,
        form_address=_form_address(walk, camera),
    )


def _drawing(walk: Walk, camera: Camera) -> Drawing | None:
    sketch = walk.answer.sketch
    if sketch is None or walk.then is None:
        return None
    x1, y1, x2, y2 = sketch.xyxy
    zones = [svg_points(zone.points) for zone in walk.then.zones if zone.camera == camera.uid]
    box = f"{x1:.4f}", f"{y1:.4f}", f"{x2 - x1:.4f}", f"{y2 - y1:.4f}"
    return Drawing(zones, box, svg_points(sketch.path))


def _found(one: Sighted) -> tuple[str, str, bool]:
    return label_name(one.label), f"{one.best:.2f}", one.wanted


def _offer(walk: Walk) -> str:
    if walk.fires_now:
        return _("The rule as it is now would have fired.")
    return _("This would have fired:") if walk.changed is not None else ""


def _form_address(walk: Walk, camera: Camera) -> str:
    """The rule's form with the change filled in; empty where there is none to offer."""
    if walk.before is None or walk.changed is None:
        return ""
    draft = drafts.signed(drafts.draft_of(walk.before, walk.changed))
    return f"{reverse('setup-rule', args=[camera.uid, walk.rule.uid])}?{urlencode({'draft': draft})}"
