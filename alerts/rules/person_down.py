"""Person down: somebody who stood upright lies, and hardly moves, for long. Pure.

A person's box tells: upright it is much taller than wide, lying it is wider than tall and about as long as the person
was tall. Who sits or crouches is lower but not wide; a head above a counter is wide but short. A box that is cut by the
picture's edge tells nothing. Needs a track that was upright first.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from alerts.events import Fact
from alerts.rules.config import EmbeddedZone, Needs, _
from alerts.rules.following import SMOOTHED, State, middle, restore
from alerts.rules.logic import Logic, Seen, Shortfall, short, thousandths
from alerts.rules.stopped import RestConfig, Resting, Still
from detectors.tracking import Track

UPRIGHT = 0.7
"""Width by height of somebody who stands or walks is less; who sits or crouches has more."""
LEAST_LENGTH = 0.55
"""Somebody who lies is at least so long, in heights of the same person upright: less than 1 when seen lengthwise."""
EDGE = 0.004
"""A box that comes so near to the picture's edge is cut by it."""


class PersonDownConfig(RestConfig, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A person who was upright lies in the zone for ``hold_s``."""

    hold_s: Annotated[
        float, Meta(gt=0, le=3600, title=_("Lying for (s)"), description=_("How long the person must lie."))
    ] = 10.0
    wide: Annotated[
        float,
        Meta(
            ge=1,
            le=5,
            title=_("Lying from"),
            description=_("Width by height of the box from which a person lies; who crouches has about 1."),
        ),
    ] = 1.2
    drift: Annotated[
        float,
        Meta(gt=0, le=1, title=_("Still within"), description=_("Picture heights; a smaller movement is none.")),
    ] = 0.08
    min_travel: Annotated[
        float,
        Meta(ge=0, le=2, title=_("Least travel"), description=_("Picture heights it must have moved; 0: none.")),
    ] = 0.0

    def needs(self) -> Needs:
        """Five pictures a second keep somebody who falls one track."""
        return Needs(labels=list(self.labels), hz=5.0, width_px=640)

    def build(self, zone: EmbeddedZone, state: Any | None) -> Logic:
        """Logic for one zone."""
        return _PersonDown(self, zone, restore(state, State[_Fallen]))


class _Fallen(Resting):
    shapes: list[tuple[float, float]] = msgspec.field(default_factory=list)
    """Width and height of the last boxes, in picture heights."""
    upright: int = 0
    """Pictures in which it was upright."""
    tall: float = 0.0
    """The most height it had upright."""
    ratio: float = 0.0
    width: float = 0.0


class _PersonDown(Still[PersonDownConfig, _Fallen]):
    stay = _Fallen
    lasting = "lying"

    def _away(self, stay: _Fallen) -> Shortfall:
        config = self._config
        if stay.upright < config.confirm_k:
            return Shortfall(bound="upright", wanted=config.confirm_k, got=stay.upright)
        if stay.ratio < config.wide:
            return short("width_by_height", config.wide, thousandths(stay.ratio), "wide")
        return super()._away(stay)

    def _judge(self, stay: _Fallen, seen: Seen, track: Track) -> bool:
        x1, y1, x2, y2 = track.xyxy
        if min(x1, y1) > EDGE and max(x2, y2) < 1 - EDGE:
            self._look(stay, (x2 - x1) * seen.aspect, y2 - y1)
        return self._lies(stay) and super()._judge(stay, seen, track)

    def _look(self, stay: _Fallen, width: float, height: float) -> None:
        stay.shapes = [*stay.shapes[1 - SMOOTHED :], (width, height)]
        stay.width, usual = middle(stay.shapes)
        stay.ratio = stay.width / usual if usual > 0 else 0.0
        if width <= UPRIGHT * height:
            stay.upright += 1
            stay.tall = max(stay.tall, usual)

    def _lies(self, stay: _Fallen) -> bool:
        if stay.upright < self._config.confirm_k or stay.ratio < self._config.wide:
            return False
        return stay.width >= LEAST_LENGTH * stay.tall

    def _facts(self, stay: _Fallen) -> list[Fact]:
        return [
            Fact("width_by_height", round(stay.ratio, 2), ">=", self._config.wide),
            *self._still_facts(stay, "lying"),
        ]
