"""Absence: nothing of these labels is in the zone for long. Pure.

Only time that was watched counts: blind time and time outside the schedule do not, nor does a hole between pictures. It
fires once; when something was there again, the next absence is another one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar

from msgspec import Meta

from alerts.events import Fact
from alerts.rules.config import EmbeddedZone, Needs, _
from alerts.rules.following import UNKNOWN_S, HoldConfig, InZone, Standing, State, restore
from alerts.rules.logic import Firing, Found, Logic, Seen, Shortfall, elapsed_s, short, tenths


class AbsenceConfig(HoldConfig, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Nothing of these labels is in the zone for ``hold_s``."""

    walks: ClassVar[tuple[str, ...]] = ("source", "gate")

    hold_s: Annotated[
        float, Meta(gt=0, le=604_800, title=_("Empty for (s)"), description=_("How long nothing must be there."))
    ] = 300.0
    leave_s: Annotated[
        float,
        Meta(
            ge=0,
            le=60,
            title=_("Forgive absence (s)"),
            description=_("A shorter step outside, or time out of sight, does not count."),
        ),
    ] = 0.0
    confirm_k: Annotated[
        int, Meta(ge=1, le=50, title=_("Confirmed in"), description=_("Analysed pictures it must be seen in …"))
    ] = 2
    confirm_within_s: Annotated[
        float,
        Meta(gt=0, le=60, title=_("within (s)"), description=_("Confirmation must happen within so many seconds.")),
    ] = 5.0
    min_travel: Annotated[
        float,
        Meta(ge=0, le=2, title=_("Least travel"), description=_("Picture heights it must have moved; 0: none.")),
    ] = 0.0

    def needs(self) -> Needs:
        """One picture a second is enough to see that nothing is there."""
        return Needs(labels=list(self.labels), hz=1.0, width_px=640)

    def build(self, zone: EmbeddedZone, state: Any | None) -> Logic:
        """Logic for one zone."""
        return _Absence(self, zone, restore(state, _State))


class _State(State[Standing]):
    began: tuple[int, int] | None = None
    """The picture with which the absence began: names it."""
    last: tuple[int, int] | None = None
    """The last picture; None: none since the schedule began, and what was before is not known."""
    empty_s: float = 0.0
    told: bool = False
    judged_at_s: float = 0.0


class _Absence(InZone[AbsenceConfig, Standing]):
    stay = Standing
    _state: _State

    def on_detections(self, seen: Seen) -> Sequence[Found]:
        """One more picture was analysed."""
        state = self._state
        self._pass(seen.at_s, known=elapsed_s(state.judged_at_s, seen.at_s) <= UNKNOWN_S)
        state.last = (seen.session, seen.sequence)
        return super().on_detections(seen)

    def on_unchanged(self, until_s: float) -> Sequence[Found]:
        """Until ``until_s`` the zone was as empty."""
        self._pass(until_s, known=True)
        return super().on_unchanged(until_s)

    def on_blind(self, from_s: float, until_s: float) -> None:
        """Somebody may have been there."""
        super().on_blind(from_s, until_s)
        self._state.judged_at_s = max(until_s, self._state.judged_at_s)

    def on_asleep(self, until_s: float) -> Sequence[Found]:
        """The absence begins anew with the schedule's first picture."""
        self._return()
        self._state.last, self._state.judged_at_s = None, until_s
        return super().on_asleep(until_s)

    @property
    def wake_at_s(self) -> float | None:
        """When it will have lasted."""
        state = self._state
        waits = state.began is not None and not state.told and not self._doubtful
        return state.now_s + max(0.0, self._config.hold_s - state.empty_s) if waits else None

    def explain(self, at_s: float) -> list[Shortfall]:
        """Somebody was there, or nobody was for too short a time."""
        state, config = self._state, self._config
        if state.told:
            return []
        if state.began is None:
            return [Shortfall(bound="occupied", wanted="empty", got="occupied"), *self._unready(at_s)]
        lacks = [short("empty", config.hold_s, tenths(state.empty_s), "hold_s")]
        return [*(lacks if state.empty_s < config.hold_s else []), *self._unready(at_s)]

    def _pass(self, at_s: float, *, known: bool) -> None:
        state = self._state
        if known and state.began is not None and at_s > state.judged_at_s and not self._doubtful:
            state.empty_s = round(state.empty_s + elapsed_s(state.judged_at_s, at_s), 3)
        state.judged_at_s = max(at_s, state.judged_at_s)

    @property
    def _doubtful(self) -> bool:
        """Whether the last picture showed somebody who is not confirmed yet: who stands still is on few pictures.

        That time is neither empty nor the end of the absence.
        """
        return any(
            stay.present and stay.inside and stay.confirmed is None and stay.sightings[-1][1]
            for stay in self._state.stays.values()
            if stay.sightings
        )

    def _fire(self, at_s: float) -> Sequence[Found]:
        state = self._state
        self._rearm(at_s)
        if any(self._there(stay, at_s) and self._moved(stay) for stay in state.stays.values()):
            self._return()
            return []
        state.began = state.began or state.last
        if state.told:
            state.occupied_at_s = at_s
        if state.began is None or state.told or not state.armed or state.empty_s < self._config.hold_s:
            return []
        state.told, state.armed, state.fired_at_s, state.occupied_at_s = True, False, at_s, at_s
        return [self._absent(at_s)]

    def _moved(self, stay: Standing) -> bool:
        return stay.travel >= self._config.min_travel

    def _return(self) -> None:
        state = self._state
        state.began, state.empty_s, state.told = None, 0.0, False

    def _absent(self, at_s: float) -> Firing:
        state = self._state
        assert state.began is not None and state.last is not None
        return Firing(
            at_s=at_s,
            session=state.last[0],
            sequence=state.last[1],
            first=state.began,
            n=0,
            track=0,
            label=self._config.labels[0],
            facts=[Fact("empty", round(state.empty_s, 2), ">=", self._config.hold_s, "s")],
            path=[],
        )
