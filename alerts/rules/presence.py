"""Zone presence: an object of these labels is in the zone. Pure.

Fires once per stay: the object is confirmed (k of n analysed pictures within a time), has stood in the zone for
``hold_s`` (short steps outside are forgiven), and has moved at least ``min_travel``, so a parked car or a poster never
fires. With a least speed it must also be so fast, in the zone. Then the zone is ready again only after a fixed interval
or after it was empty for a while.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from msgspec import Meta

from alerts.events import Fact
from alerts.ground import speed_kmh
from alerts.rules.config import EmbeddedZone, Needs, _
from alerts.rules.following import HoldConfig, Inside, MinSpeed, Standing, State, fast_enough, restore
from alerts.rules.logic import Logic, Shortfall, short


class PresenceConfig(HoldConfig, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An object of these labels stays in the zone for ``hold_s``."""

    metric: ClassVar[tuple[str, ...]] = ("min_speed_kmh",)

    hold_s: Annotated[
        float, Meta(ge=0, le=3600, title=_("In the zone for (s)"), description=_("How long it must stay; 0: at once."))
    ] = 1.0
    leave_s: Annotated[
        float,
        Meta(ge=0, le=60, title=_("Forgive absence (s)"), description=_("A shorter step outside does not count.")),
    ] = 1.0
    min_speed_kmh: MinSpeed = None

    def needs(self) -> Needs:
        """Five pictures a second are enough to see a person walk."""
        return Needs(labels=list(self.labels), hz=5.0, width_px=640)

    def build(self, zone: EmbeddedZone, state: Any | None) -> Logic:
        """Logic for one zone."""
        return _Presence(self, zone, restore(state, State[Standing]))


class _Presence(Inside[PresenceConfig, Standing]):
    stay = Standing
    clocks_speed = True

    @property
    def wake_at_s(self) -> float | None:
        """Nothing that does not move is fast."""
        return None if self._config.min_speed_kmh else super().wake_at_s

    def _due(self, stay: Standing) -> bool:
        least_kmh = self._config.min_speed_kmh
        return super()._due(stay) and (least_kmh is None or fast_enough(speed_kmh(stay.steps), least_kmh))

    def _lacks(self, stay: Standing, at_s: float) -> list[Shortfall]:
        lacks, least_kmh, speed = super()._lacks(stay, at_s), self._config.min_speed_kmh, speed_kmh(stay.steps)
        if least_kmh is not None and not fast_enough(speed, least_kmh):
            # Who stands has no speed that could be asked for.
            lacks.append(short("speed", least_kmh, speed or 0.0, "min_speed_kmh" if speed else ""))
        return lacks

    def _number(self, stay: Standing) -> int:
        # Names that are on record follow from the stay alone.
        return stay.n

    def _facts(self, stay: Standing) -> list[Fact]:
        return [
            Fact("in_zone", round(stay.held_s, 2), ">=", self._config.hold_s, "s"),
            *self._ground_facts(stay, speed_kmh(stay.steps), self._config.min_speed_kmh),
            *super()._facts(stay),
        ]
