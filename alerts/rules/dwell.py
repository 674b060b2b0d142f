"""Dwell (loitering): somebody stays in the zone for long. Pure.

As presence, but the stay outlives short occlusions and a lost track: a new track that appears near where the old one
vanished, within ``leave_s``, goes on with its stay. One that vanished at the picture's edge has left; only what appears
at that very place goes on with it.
"""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta

from alerts.events import Fact
from alerts.rules.config import EmbeddedZone, Needs, _
from alerts.rules.following import HoldConfig, InZone, Standing, State, restore
from alerts.rules.logic import Logic


class DwellConfig(HoldConfig, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An object of these labels stays in the zone for ``hold_s``."""

    hold_s: Annotated[
        float, Meta(gt=0, le=86_400, title=_("In the zone for (s)"), description=_("How long it must stay."))
    ] = 60.0
    leave_s: Annotated[
        float,
        Meta(
            ge=0,
            le=60,
            title=_("Forgive absence (s)"),
            description=_("A shorter step outside, or time out of sight, does not count."),
        ),
    ] = 5.0

    def needs(self) -> Needs:
        """Five pictures a second keep a walking person one track."""
        return Needs(labels=list(self.labels), hz=5.0, width_px=640)

    def build(self, zone: EmbeddedZone, state: Any | None) -> Logic:
        """Logic for one zone."""
        return _Dwell(self, zone, restore(state, State[Standing]))


class _Dwell(InZone[DwellConfig, Standing]):
    stay = Standing

    def _facts(self, stay: Standing) -> list[Fact]:
        return [Fact("in_zone", round(stay.held_s, 2), ">=", self._config.hold_s, "s"), *super()._facts(stay)]
