"""Zone presence: an object of these labels is in the zone. Pure.

Fires once per stay: the object is confirmed (k of n analysed pictures within a time), has stood in the zone for
``hold_s`` (short steps outside are forgiven, and so is a lost track that goes on under another number), and has moved
at least ``min_travel``, so a parked car or a poster never fires. With a least speed it must also be so fast, in the
zone. Then the zone is ready again only after a fixed interval or after nothing has moved in it for a while: what is
parked hides nobody who comes later.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from msgspec import Meta

from alerts.events import Fact
from alerts.ground import speed_kmh
from alerts.rules.config import EmbeddedZone, Needs, Point, _
from alerts.rules.following import (
    SMOOTHED,
    HoldConfig,
    Inside,
    MinSpeed,
    Standing,
    State,
    distance,
    fast_enough,
    middle,
    restore,
)
from alerts.rules.logic import Logic, Seen, Shortfall, is_over, short
from detectors.tracking import Track


class PresenceConfig(HoldConfig, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An object of these labels stays in the zone for ``hold_s``."""

    metric: ClassVar[tuple[str, ...]] = ("min_speed_kmh",)

    hold_s: Annotated[
        float, Meta(ge=0, le=3600, title=_("In the zone for (s)"), description=_("How long it must stay; 0: at once."))
    ] = 1.0
    leave_s: Annotated[
        float,
        Meta(
            ge=0,
            le=60,
            title=_("Forgive absence (s)"),
            description=_("A shorter step outside, or time out of sight, does not count."),
        ),
    ] = 1.0
    min_speed_kmh: MinSpeed = None

    def needs(self) -> Needs:
        """Five pictures a second are enough to see a person walk."""
        return Needs(labels=list(self.labels), hz=5.0, width_px=640)

    def build(self, zone: EmbeddedZone, state: Any | None) -> Logic:
        """Logic for one zone."""
        return _Presence(self, zone, restore(state, State[_Visit]))


class _Visit(Standing):
    """A stay that is known to move, or to have come to rest."""

    rest: Point | None = None
    """Where it was when it last had moved by the least travel."""
    moved_at_s: float | None = None
    """When that was; None: not since it began, or since it left the zone after it was told."""
    smoothed: int = SMOOTHED
    """It is at the median of so many of its last places: of those under its present number."""


class _Presence(Inside[PresenceConfig, _Visit]):
    stay = _Visit
    clocks_speed = True

    @property
    def wake_at_s(self) -> float | None:
        """Nothing that does not move is fast."""
        return None if self._config.min_speed_kmh else super().wake_at_s

    def _place(self, stay: _Visit, seen: Seen, track: Track) -> None:
        here = middle(stay.path[-stay.smoothed :])
        stay.smoothed = min(SMOOTHED, stay.smoothed + 1)
        if stay.rest is None:
            stay.rest = here
        elif distance(stay.rest, here, seen.aspect) >= self._config.min_travel:
            stay.rest, stay.moved_at_s = here, seen.at_s
        super()._place(stay, seen, track)

    def _go_on(self, stay: _Visit, at: Point) -> None:
        super()._go_on(stay, at)
        stay.rest, stay.smoothed = None, 1

    def _release(self, stay: _Visit) -> None:
        if stay.fired:
            stay.moved_at_s = None
        super()._release(stay)

    def _shift(self, stay: _Visit, away_s: float) -> None:
        super()._shift(stay, away_s)
        if stay.moved_at_s is not None:
            stay.moved_at_s += away_s

    def _occupies(self, stay: _Visit) -> bool:
        """What never moved is no visit, and one that was told is over when it has come to rest."""
        if not super()._occupies(stay) or stay.travel < self._config.min_travel:
            return False
        if stay.fired:
            at_s, moved_at_s = self._state.now_s, stay.moved_at_s
            return moved_at_s is not None and not is_over(moved_at_s, at_s, self._config.rearm_s)
        return not self._rests(stay)

    @staticmethod
    def _rests(stay: _Visit) -> bool:
        """Whether it was told, has left, and did not move to come back: a box that trembles over the zone's edge."""
        return stay.n > 0 and stay.moved_at_s is None

    def _due(self, stay: _Visit) -> bool:
        least_kmh = self._config.min_speed_kmh
        return super()._due(stay) and (least_kmh is None or fast_enough(speed_kmh(stay.steps), least_kmh))

    def _lacks(self, stay: _Visit, at_s: float) -> list[Shortfall]:
        lacks, least_kmh, speed = super()._lacks(stay, at_s), self._config.min_speed_kmh, speed_kmh(stay.steps)
        if self._rests(stay):
            lacks.append(short("travel", self._config.min_travel, 0.0, ""))
        if least_kmh is not None and not fast_enough(speed, least_kmh):
            # Who stands has no speed that could be asked for.
            lacks.append(short("speed", least_kmh, speed or 0.0, "min_speed_kmh" if speed else ""))
        return lacks

    def _number(self, stay: _Visit) -> int:
        # Names that are on record follow from the stay alone.
        return stay.n

    def _facts(self, stay: _Visit) -> list[Fact]:
        return [
            Fact("in_zone", round(stay.held_s, 2), ">=", self._config.hold_s, "s"),
            *self._ground_facts(stay, speed_kmh(stay.steps), self._config.min_speed_kmh),
            *super()._facts(stay),
        ]
