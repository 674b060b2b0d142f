"""Crowd: at least so many objects are in the zone for long. Pure.

The number is of confirmed objects, so that a flicker adds nobody, and one out of sight for a moment is still there.
It is raised at ``count`` (or at so many a square metre, where the ground is calibrated or the area typed in) and over
only below ``clear_share`` of it; between the two the clock stands.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from msgspec import Meta

from alerts.events import Fact
from alerts.rules.config import EmbeddedZone, Needs, _
from alerts.rules.following import UNKNOWN_S, HoldConfig, InZone, Standing, State, restore, rounded
from alerts.rules.logic import Firing, Found, Logic, Shortfall, elapsed_s, short, tenths


class CrowdConfig(HoldConfig, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """At least ``count`` objects of these labels are in the zone for ``hold_s``."""

    count: Annotated[
        int, Meta(ge=2, le=1000, title=_("At least"), description=_("So many objects in the zone at once."))
    ] = 5
    hold_s: Annotated[
        float, Meta(ge=0, le=3600, title=_("For (s)"), description=_("How long there must be so many; 0: at once."))
    ] = 10.0
    clear_share: Annotated[
        float,
        Meta(
            gt=0,
            le=1,
            title=_("Over below"),
            description=_("It is over when fewer than this share of the number are left, for example 0.8."),
        ),
    ] = 0.8
    per_m2: Annotated[
        float,
        Meta(
            ge=0,
            le=20,
            title=_("Or per m²"),
            description=_("Instead of the number; needs a calibrated ground, or the area. 0: not used."),
        ),
    ] = 0.0
    area_m2: Annotated[
        float,
        Meta(
            ge=0,
            le=1_000_000,
            title=_("Area (m²)"),
            description=_("Of the zone on the ground; 0: as the calibration measures it."),
        ),
    ] = 0.0
    min_travel: Annotated[
        float,
        Meta(ge=0, le=2, title=_("Least travel"), description=_("Picture heights it must have moved; 0: none.")),
    ] = 0.0

    @property
    def on_ground(self) -> list[str]:
        """A density, unless the area was measured by hand."""
        return ["per_m2"] if self.per_m2 > 0 and self.area_m2 <= 0 else []

    def limit(self, area_m2: float | None) -> float:
        """So many raise it in a zone of ``area_m2``."""
        return self.per_m2 * area_m2 if self.per_m2 > 0 and area_m2 else float(self.count)

    def needs(self) -> Needs:
        """Five pictures a second keep walking people apart."""
        return Needs(labels=list(self.labels), hz=5.0, width_px=640)

    def build(self, zone: EmbeddedZone, state: Any | None) -> Logic:
        """Logic for one zone."""
        return _Crowd(self, zone, restore(state, _State))


class _State(State[Standing]):
    began: tuple[int, int] | None = None
    """The picture in which it first were so many: names the crowd."""
    full: bool = False
    held_s: float = 0.0
    told: bool = False
    judged_at_s: float = 0.0


class _Crowd(InZone[CrowdConfig, Standing]):
    stay = Standing
    _state: _State

    def __init__(self, config: CrowdConfig, zone: EmbeddedZone, state: _State) -> None:
        super().__init__(config, zone, state)
        measured = None if self._ground is None else self._ground.area_m2(zone.points)
        if measured is None and config.on_ground:
            raise ValueError(
                f"zone {zone.name!r}: expected one whose area the calibrated ground gives, got corners too far away; "
                "draw it nearer, or type its area in"
            )
        self._area_m2 = config.area_m2 or measured
        self._limit = config.limit(self._area_m2)

    def on_blind(self, from_s: float, until_s: float) -> None:
        """Nobody knows how many there were."""
        super().on_blind(from_s, until_s)
        self._state.judged_at_s = max(self._state.judged_at_s, until_s)

    def on_asleep(self, until_s: float) -> Sequence[Found]:
        """A crowd is another one when the schedule begins again."""
        self._clear()
        return super().on_asleep(until_s)

    @property
    def wake_at_s(self) -> float | None:
        """When it will have lasted."""
        state = self._state
        return state.now_s + max(0.0, self._config.hold_s - state.held_s) if state.full and not state.told else None

    def on_unchanged(self, until_s: float) -> Sequence[Found]:
        """Until ``until_s`` they were as many."""
        self._pass(until_s, known=True)
        return super().on_unchanged(until_s)

    def explain(self, at_s: float) -> list[Shortfall]:
        """There were too few, or so many for too short a time."""
        state, config = self._state, self._config
        if state.told:
            return []
        if not state.full:
            here = self._here(at_s)
            few = short("objects", self._limit, len(here), "count" if config.per_m2 <= 0 else "")
            # Nobody at all is no crowd that was missed by a little.
            return [few, *self._unready(at_s)] if here else []
        lacks = [short("lasted", config.hold_s, tenths(state.held_s), "hold_s")]
        return [*(lacks if state.held_s < config.hold_s else []), *self._unready(at_s)]

    def _here(self, at_s: float) -> list[tuple[int, Standing]]:
        least = self._config.min_travel
        stays = self._state.stays.items()
        return [(number, stay) for number, stay in stays if self._there(stay, at_s) and stay.travel >= least]

    def _pass(self, at_s: float, *, known: bool) -> None:
        state = self._state
        passed_s = elapsed_s(state.judged_at_s, at_s)
        if state.full and passed_s > 0 and (known or passed_s <= UNKNOWN_S):
            state.held_s = round(state.held_s + passed_s, 3)
        state.judged_at_s = max(at_s, state.judged_at_s)

    def _fire(self, at_s: float) -> Sequence[Found]:
        state, config = self._state, self._config
        here = self._here(at_s)
        was_full = state.full
        state.full = len(here) >= self._limit
        if state.full and was_full:
            self._pass(at_s, known=False)
        state.judged_at_s = max(at_s, state.judged_at_s)
        self._rearm(at_s)
        if len(here) < self._limit * config.clear_share:
            self._clear()
            return []
        if state.full or state.told:
            state.occupied_at_s = at_s
        return self._raise(here, at_s) if state.full else []

    def _raise(self, here: list[tuple[int, Standing]], at_s: float) -> list[Firing]:
        state = self._state
        state.began = state.began or max(stay.last_seen for _, stay in here)
        if state.told or not state.armed or state.held_s < self._config.hold_s:
            return []
        state.told, state.armed, state.fired_at_s = True, False, at_s
        return [self._crowd(here, at_s)]

    def _crowd(self, here: list[tuple[int, Standing]], at_s: float) -> Firing:
        config, state = self._config, self._state
        assert state.began is not None
        number, newest = here[-1]
        facts = [
            Fact("objects", len(here), ">=", round(self._limit, 2)),
            *self._density(len(here)),
            Fact("lasted", round(state.held_s, 2), ">=", config.hold_s, "s"),
            Fact("confidence", round(newest.score, 3), ">=", config.confidence),
        ]
        session, sequence = max(stay.last_seen for _, stay in here)
        return Firing(
            at_s=at_s,
            session=session,
            sequence=sequence,
            first=state.began,
            n=0,
            track=number,
            label=newest.label,
            facts=facts,
            path=rounded(newest.path),
        )

    def _density(self, objects: int) -> list[Fact]:
        if self._area_m2 is None:
            return []
        density, least = round(objects / self._area_m2, 2), self._config.per_m2
        return [Fact("density", density, ">=" if least else "=", least or density, "/m²")]

    def _clear(self) -> None:
        state = self._state
        state.began, state.full, state.held_s, state.told = None, False, 0.0, False
