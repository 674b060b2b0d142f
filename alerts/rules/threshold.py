"""Threshold: a measured number is above or below a bound for a time. Pure.

Between two measurements that are both beyond the bound the number counts as beyond it. A longer gap than ``gap_s`` is
unknown: its time counts for nothing, neither as beyond nor as back to normal. After it fired, the number must have come
back past ``clear`` before it can fire again; between ``clear`` and ``bound`` the time so far is kept and does not grow.
"""

from __future__ import annotations

import math
from typing import Annotated, Any, ClassVar, Literal

import msgspec
from msgspec import Meta

from alerts.events import Fact
from alerts.rules.config import OF_OBJECTS, CommonConfig, EmbeddedZone, Needs, NoLabels, _
from alerts.rules.logic import NO_TRACK, Firing, Logic, Seen, Shortfall, elapsed_s, short, tenths
from streams.observations import Measurement


class ThresholdConfig(CommonConfig, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The measured ``quantity`` is beyond ``bound`` for ``hold_s``."""

    unused: ClassVar[frozenset[str]] = OF_OBJECTS
    walks: ClassVar[tuple[str, ...]] = ()

    labels: NoLabels = msgspec.field(default_factory=list)
    quantity: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=60,
            title=_("Quantity"),
            description=_("What is measured here. count: how many go over this line."),
        ),
    ] = "count"
    unit: Annotated[
        str | None, Meta(title=_("Unit"), description=_("As it is measured in, for example µg/m³; empty: any."))
    ] = None
    side: Annotated[
        Literal["above", "below"], Meta(title=_("Which side"), description=_("On which side of the bound it is bad."))
    ] = "above"
    bound: Annotated[
        float, Meta(ge=-1e9, le=1e9, title=_("Bound"), description=_("The bound itself counts as beyond it."))
    ] = 10.0
    clear: Annotated[
        Annotated[float, Meta(ge=-1e9, le=1e9)] | None,
        Meta(title=_("Back to normal at"), description=_("It must come back past this first; empty: the bound.")),
    ] = None
    hold_s: Annotated[
        float, Meta(ge=0, le=86_400, title=_("Beyond it for (s)"), description=_("How long it must last; 0: at once."))
    ] = 30.0
    gap_s: Annotated[
        float,
        Meta(
            gt=0,
            le=86_400,
            title=_("Gap (s)"),
            description=_("Longer without a number is unknown. Of a count: more than its interval."),
        ),
    ] = 120.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.clear is not None and self._sign * (self.bound - self.clear) < 0:
            side = "at most" if self.side == "above" else "at least"
            raise ValueError(f"clear: expected {side} the bound {self.bound:g}, got {self.clear:g}; exchange them")

    @property
    def _sign(self) -> int:
        return 1 if self.side == "above" else -1

    def beyond(self, value: float) -> bool:
        """Whether ``value`` has reached the bound."""
        return self._sign * (value - self.bound) >= 0

    def normal(self, value: float) -> bool:
        """Whether ``value`` has come back past ``clear``."""
        back = self.bound if self.clear is None else self.clear
        return self._sign * (value - back) < 0 or (self.clear is not None and value == back)

    def concerns(self, measured: Measurement) -> bool:
        """Whether ``measured`` is what it is about."""
        named = measured.quantity == self.quantity and self.unit in (None, measured.unit)
        return named and math.isfinite(measured.value)

    def needs(self) -> Needs:
        """A picture every few seconds, to show beside the number."""
        return Needs(labels=[], hz=0.2, width_px=640)

    def build(self, zone: EmbeddedZone, state: Any | None) -> Logic:
        """Logic for one zone."""
        return _Threshold(self, _State() if state is None else msgspec.convert(state, _State))


class _State(msgspec.Struct):
    at_s: float | None = None
    """Of the last measurement."""
    value: float = 0.0
    """What that was."""
    beyond: bool = False
    """Whether that one was."""
    began_us: int = 0
    """Of the first that was, since the number was last normal: names the occurrence."""
    held_s: float = 0.0
    armed: bool = True
    back: bool = False
    """Whether it has been normal since it fired."""
    normal_s: float | None = None
    """Since when it has been normal; None: it is not."""
    fired_s: float | None = None
    last_seen: tuple[int, int] = (0, 0)
    """The picture that is shown beside the number."""


class _Threshold:
    def __init__(self, config: ThresholdConfig, state: _State) -> None:
        self._config, self._state = config, state

    def on_measurement(self, measured: Measurement) -> list[Firing]:
        config, state = self._config, self._state
        at_s = measured.at.timestamp()
        if not config.concerns(measured) or (state.at_s is not None and at_s <= state.at_s):
            return []
        known_s = 0.0 if state.at_s is None else elapsed_s(state.at_s, at_s)
        if known_s > config.gap_s:
            self._pass_unknown(known_s)
            known_s = 0.0
        self._rearm(at_s)
        state.at_s, state.value = at_s, measured.value
        if config.beyond(measured.value):
            self._exceed(at_s, known_s)
        else:
            self._recede(measured.value, at_s)
        return self._fire(measured, at_s)

    def on_detections(self, seen: Seen) -> list[Firing]:
        self._state.last_seen = (seen.session, seen.sequence)
        return []

    def on_unchanged(self, until_s: float) -> list[Firing]:
        return []

    def on_blind(self, from_s: float, until_s: float) -> None:
        """The number has a sensor of its own: what the camera cannot see does not matter."""

    @property
    def wake_at_s(self) -> float | None:
        return None

    def snapshot(self) -> Any:
        return msgspec.to_builtins(self._state)

    def explain(self, at_s: float) -> list[Shortfall]:
        """No number at all, one on the good side, or one beyond the bound for too short a time."""
        config, state = self._config, self._state
        if state.at_s is None or elapsed_s(state.at_s, at_s) > config.gap_s:
            return [Shortfall(bound="unmeasured", wanted=config.gap_s, got=config.quantity)]
        if not state.beyond:
            return [short("measured", config.bound, state.value, "bound"), *self._unready(at_s)]
        if not (state.armed or state.back):
            return []  # it fired for this
        lacks = [short("held", config.hold_s, tenths(state.held_s), "hold_s")]
        return [*(lacks if state.held_s < config.hold_s else []), *self._unready(at_s)]

    def _unready(self, at_s: float) -> list[Shortfall]:
        state, config = self._state, self._config
        if state.armed:
            return []
        if not state.back:
            return [Shortfall(bound="not_back", wanted=config.bound if config.clear is None else config.clear, got="")]
        since_s = state.fired_s if config.rearm == "interval" else state.normal_s
        ready_s = 0.0 if since_s is None else tenths(elapsed_s(since_s, at_s))
        return [short("rearm", config.rearm_s, ready_s, "rearm_s")]

    def _pass_unknown(self, away_s: float) -> None:
        # Unknown time is cut out: a number that was normal before has not been so meanwhile.
        if self._state.normal_s is not None:
            self._state.normal_s += away_s

    def _rearm(self, at_s: float) -> None:
        state, config = self._state, self._config
        if state.armed or not state.back:
            return
        since_s = state.fired_s if config.rearm == "interval" else state.normal_s
        state.armed = since_s is not None and elapsed_s(since_s, at_s) >= config.rearm_s

    def _exceed(self, at_s: float, known_s: float) -> None:
        state = self._state
        if state.beyond:
            state.held_s = round(state.held_s + known_s, 3)
        if not state.began_us:
            state.began_us = round(at_s * 1e6)
        state.beyond, state.normal_s = True, None

    def _recede(self, value: float, at_s: float) -> None:
        state = self._state
        state.beyond = False
        if self._config.normal(value):
            state.held_s, state.began_us, state.back = 0.0, 0, True
            state.normal_s = at_s if state.normal_s is None else state.normal_s
        else:
            state.normal_s = None

    def _fire(self, measured: Measurement, at_s: float) -> list[Firing]:
        state, config = self._state, self._config
        if not (state.beyond and state.armed and state.held_s >= config.hold_s):
            return []
        state.armed, state.back, state.fired_s = False, False, at_s
        return [
            Firing(
                at_s=at_s,
                session=state.last_seen[0],
                sequence=state.last_seen[1],
                first=(0, state.began_us),
                n=0,
                track=NO_TRACK,
                label=config.quantity,
                facts=[
                    Fact(
                        "measured",
                        measured.value,
                        ">=" if config.side == "above" else "<=",
                        config.bound,
                        measured.unit,
                    ),
                    Fact("held", round(state.held_s, 2), ">=", config.hold_s, "s"),
                ],
                path=[],
            )
        ]
