"""Line crossing: an object goes over a directed line. Pure.

Fires for each crossing that ``alerts.rules.lines`` finds, in the directions that are asked for. By default it is ready
again at once; with a time in ``rearm_s``, those who cross meanwhile are not told.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal

import msgspec
from msgspec import Meta

from alerts.rules.config import EmbeddedZone, Needs, _
from alerts.rules.following import MinSpeed, State, fast_enough, restore
from alerts.rules.lines import LineConfig, OverLine, Walk, Way
from alerts.rules.logic import Firing, Found, Logic, Shortfall, short, tenths


class CrossingConfig(LineConfig, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An object of these labels goes over the line."""

    metric: ClassVar[tuple[str, ...]] = ("min_speed_kmh",)

    direction: Annotated[
        Literal["both", "forward", "backward"],
        Meta(title=_("Direction"), description=_("forward: with the line's arrow; backward: against it.")),
    ] = "both"
    rearm_s: Annotated[
        float, Meta(ge=0, le=86_400, title=_("Ready again after (s)"), description=_("Seconds; 0: every crossing."))
    ] = 0.0
    min_speed_kmh: MinSpeed = None

    def needs(self) -> Needs:
        """Five pictures a second show a person or a car on both sides of a line, however short a time it is there."""
        return Needs(labels=list(self.labels), hz=5.0, width_px=640, unbroken=True)

    def build(self, zone: EmbeddedZone, state: Any | None) -> Logic:
        """Logic for one line. Raises ``ValueError`` for a zone that is none."""
        return _Crossing(self, zone, restore(state, State[Walk]))


class _Crossing(OverLine[CrossingConfig, Walk]):
    stay = Walk
    clocks_speed = True

    def _lacks(self, stay: Walk, at_s: float) -> list[Shortfall]:
        lacks, wanted = super()._lacks(stay, at_s), self._config.direction
        if stay.went is None:
            return lacks
        if wanted not in ("both", stay.went):
            other = Shortfall(bound="direction", wanted=wanted, got=stay.went, setting="direction", proposed="both")
            lacks = [other, *lacks]
        least_kmh, speed = self._config.min_speed_kmh, stay.speed
        if least_kmh is not None and not fast_enough(speed, least_kmh):
            lacks = [*lacks, short("speed", least_kmh, tenths(speed or 0.0), "min_speed_kmh" if speed else "")]
        return lacks

    def _fire(self, at_s: float) -> Sequence[Found]:
        self._rearm(at_s)
        wanted = [each for each in self._crossings() if self._wants(each[1], each[2])]
        if not wanted:
            return []
        self._state.occupied_at_s = at_s
        if not self._state.armed:
            return []
        firings = [self._crossing(number, stay, way, at_s) for number, stay, way in wanted]
        self._state.armed, self._state.fired_at_s = False, at_s
        return firings

    def _wants(self, stay: Walk, way: Way) -> bool:
        config = self._config
        return config.direction in ("both", way.direction) and fast_enough(stay.speed, config.min_speed_kmh)

    def _crossing(self, number: int, stay: Walk, way: Way, at_s: float) -> Firing:
        ground = self._ground_facts(stay, stay.speed, self._config.min_speed_kmh)
        facts = [*self._way_facts(stay, way), *ground]
        firing = msgspec.structs.replace(self._firing(number, stay, at_s), facts=facts)
        self._tell(stay)
        return firing
