"""Stopped vehicle: something that moved stands still in the zone for long. Pure.

Its position is the median of its last boxes, so that a trembling box is still; it rests while that stays within
``drift`` of where it came to rest. It must have been seen moving (``min_travel``), so what was parked already never
fires.
"""

from __future__ import annotations

import math
from typing import Annotated, Any, ClassVar, TypeVar

import msgspec
from msgspec import Meta

from alerts.events import Fact
from alerts.rules.config import EmbeddedZone, Needs, Point, _
from alerts.rules.following import SMOOTHED, HoldConfig, InZone, Standing, State, distance, middle, restore
from alerts.rules.logic import Logic, Seen, Shortfall
from alerts.zones import bottom_centre
from detectors.tracking import Track


class RestConfig(HoldConfig, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What kinds carry that look for stillness."""

    metric: ClassVar[tuple[str, ...]] = ("drift_m",)

    drift: Annotated[
        float,
        Meta(gt=0, le=1, title=_("Still within"), description=_("Picture heights; a smaller movement is none.")),
    ] = 0.03
    drift_m: Annotated[
        Annotated[float, Meta(gt=0, le=100)] | None,
        Meta(
            title=_("Still within (m)"),
            description=_("Instead, in metres; the ground of the view must be calibrated. Empty: picture heights."),
        ),
    ] = None


class StoppedConfig(RestConfig, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An object of these labels came and stands still in the zone for ``hold_s``."""

    labels: Annotated[
        list[str],
        Meta(min_length=1, title=_("Labels"), description=_("What is looked for, for example person or vehicle.")),
    ] = msgspec.field(default_factory=lambda: ["vehicle"])
    hold_s: Annotated[
        float, Meta(gt=0, le=86_400, title=_("Still for (s)"), description=_("How long it must stand still."))
    ] = 30.0
    min_travel: Annotated[
        float,
        Meta(
            gt=0,
            le=2,
            title=_("Least travel"),
            description=_("Picture heights it must have been seen moving before it stopped."),
        ),
    ] = 0.1

    def needs(self) -> Needs:
        """Five pictures a second keep a moving car one track."""
        return Needs(labels=list(self.labels), hz=5.0, width_px=640)

    def build(self, zone: EmbeddedZone, state: Any | None) -> Logic:
        """Logic for one zone."""
        return _Stopped(self, zone, restore(state, State[Resting]))


class Resting(Standing):
    """A stay that counts only while it rests: ``inside`` is inside and still."""

    recent: list[Point] = msgspec.field(default_factory=list)
    rest: Point | None = None
    moved: float = 0.0
    """The farthest it was from ``rest`` while it rested."""


R = TypeVar("R", bound=RestConfig)
Q = TypeVar("Q", bound=Resting)


class Still(InZone[R, Q]):
    """``InZone`` for stays that rest; a kind may ask for more (``_judge``)."""

    lasting = "still_for"

    def _away(self, stay: Q) -> Shortfall:
        return Shortfall(bound="resting", wanted="still in the zone", got="moving, or outside")

    def _judge(self, stay: Q, seen: Seen, track: Track) -> bool:
        return self._contains(track, seen)

    def _place(self, stay: Q, seen: Seen, track: Track) -> None:
        wanted = self._judge(stay, seen, track)
        if not wanted and not stay.inside:
            stay.recent, stay.rest = [], None
            return
        stay.recent = [*stay.recent[1 - SMOOTHED :], bottom_centre(track.xyxy)]
        here = middle(stay.recent)
        moved = self._moved(stay.rest or here, here, seen.aspect)
        good = wanted and moved <= self._bound
        self._move(stay, seen.at_s, good)
        if not stay.inside or stay.rest is None:
            stay.rest, stay.moved = here, 0.0
        elif good:
            stay.moved = max(stay.moved, moved)

    @property
    def _bound(self) -> float:
        return self._config.drift_m or self._config.drift

    def _moved(self, rest: Point, here: Point, aspect: float) -> float:
        """In the unit of ``_bound``; what cannot be measured does not rest."""
        if self._config.drift_m is None or self._ground is None:
            return distance(rest, here, aspect)
        metres = self._ground.distance_m(rest, here)
        return math.inf if metres is None else metres

    def _still_facts(self, stay: Q, name: str) -> list[Fact]:
        config = self._config
        return [
            Fact(name, round(stay.held_s, 2), ">=", config.hold_s, "s"),
            Fact("drift", round(stay.moved, 3), "<=", self._bound, "m" if config.drift_m else "heights"),
            *super()._facts(stay),
        ]


class _Stopped(Still[StoppedConfig, Resting]):
    stay = Resting

    def _facts(self, stay: Resting) -> list[Fact]:
        return self._still_facts(stay, "still")
