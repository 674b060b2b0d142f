"""Camera health: the camera is offline, or its pictures are frozen, dark, covered, blurred or moved. Pure.

Capture says what is wrong (``SourceState``), having seen it last for a while itself. This kind fires when it has lasted
for ``for_s`` by the log's own time, once until the camera has been well again.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

import msgspec
from msgspec import Meta

from alerts.events import Fact
from alerts.rules.config import OF_OBJECTS, CommonConfig, EmbeddedZone, Needs, NoLabels, _
from alerts.rules.logic import NO_TRACK, Firing, Logic, Seen, Shortfall, elapsed_s, short, tenths
from streams.observations import SourceState
from streams.problems import Trouble

OFFLINE = "offline"
SILENT_S = 30.0
"""Capture says every state again after 10 s; what it has not repeated for so long is no longer known."""
PICTURE_TROUBLES = frozenset(one.value for one in Trouble)
OWN_TROUBLES = frozenset({"connecting"})
"""Not the camera's: capture has only just begun."""


class HealthConfig(CommonConfig, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One of the wanted troubles lasts for ``for_s``."""

    unused: ClassVar[frozenset[str]] = OF_OBJECTS | {"rearm"}
    walks: ClassVar[tuple[str, ...]] = ()
    listens: ClassVar[Literal["pictures", "source"]] = "source"

    labels: NoLabels = msgspec.field(default_factory=list)
    offline: Annotated[
        bool, Meta(title=_("Offline"), description=_("No picture comes: no answer, a wrong password, damage."))
    ] = True
    frozen: Annotated[bool, Meta(title=_("Frozen"), description=_("The same picture again and again."))] = True
    dark: Annotated[
        bool, Meta(title=_("Dark"), description=_("Nothing can be made out. Off where nights are dark."))
    ] = True
    covered: Annotated[
        bool, Meta(title=_("Covered"), description=_("Something hides nearly the whole view, and stays."))
    ] = True
    blurred: Annotated[bool, Meta(title=_("Blurred"), description=_("Out of focus, a dirty lens, fog."))] = True
    moved: Annotated[
        bool,
        Meta(title=_("Moved off its view"), description=_("It looks elsewhere. Off for cameras that turn or fly.")),
    ] = True
    for_s: Annotated[
        float, Meta(ge=0, le=86_400, title=_("For (s)"), description=_("How long it must last; a blip is no alarm."))
    ] = 30.0
    rearm_s: Annotated[
        float,
        Meta(
            ge=0,
            le=86_400,
            title=_("Ready again after (s)"),
            description=_("Well for so long before it may fire anew."),
        ),
    ] = 60.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.wanted:
            raise ValueError("offline: expected at least one trouble that is wanted, got none; switch one on")

    @property
    def wanted(self) -> frozenset[str]:
        """The troubles that fire."""
        return frozenset(name for name in (OFFLINE, *PICTURE_TROUBLES) if getattr(self, name))

    def needs(self) -> Needs:
        """Pictures are judged in capture; a few are kept, to show what it looked like."""
        return Needs(labels=[], hz=0.2, width_px=640)

    def build(self, zone: EmbeddedZone, state: Any | None) -> Logic:
        """Logic for one camera."""
        return _Health(self, _State() if state is None else msgspec.convert(state, _State))


class _State(msgspec.Struct):
    trouble: str = ""
    """The wanted trouble that lasts; empty: none."""
    said: str = ""
    """What capture said last, wanted or not."""
    began_us: int = 0
    said_s: float = 0.0
    """When capture last said it; on the log's clock, which may differ from capture's."""
    well_s: float | None = None
    """Since when it has been well; None: it is not, or nothing is known."""
    fired: bool = False
    now_s: float = 0.0
    last_seen: tuple[int, int] = (0, 0)


class _Health:
    def __init__(self, config: HealthConfig, state: _State) -> None:
        self._config, self._state, self._wanted = config, state, config.wanted

    def on_source(self, source: SourceState) -> list[Firing]:
        state, trouble = self._state, trouble_of(source)
        state.said = trouble
        state.now_s = state.said_s = max(state.now_s, source.at.timestamp())
        if trouble not in self._wanted:
            state.trouble, state.well_s = "", state.now_s if state.well_s is None else state.well_s
            self._rearm()
            return []
        self._rearm()
        if trouble != state.trouble:
            state.trouble, state.began_us = trouble, round(source.since_at.timestamp() * 1e6)
        state.well_s = None
        return self._fire()

    def on_time(self, now_s: float) -> list[Firing]:
        """A tick. A trouble lasts on while capture keeps saying so."""
        self._state.now_s = max(self._state.now_s, now_s)
        self._rearm()
        return self._fire()

    def on_detections(self, seen: Seen) -> list[Firing]:
        self._state.last_seen = (seen.session, seen.sequence)
        return []

    def on_unchanged(self, until_s: float) -> list[Firing]:
        return []

    def on_blind(self, from_s: float, until_s: float) -> None:
        """That is what this kind is about; ``on_source`` says it."""

    @property
    def wake_at_s(self) -> float | None:
        return None

    def snapshot(self) -> Any:
        return msgspec.to_builtins(self._state)

    def explain(self, at_s: float) -> list[Shortfall]:
        """Nothing was wrong, something that is not wanted was, or it was for too short a time."""
        state, config = self._state, self._config
        if elapsed_s(state.said_s, at_s) > SILENT_S:
            return [Shortfall(bound="said", wanted=SILENT_S, got="")]
        if not state.trouble:
            return [Shortfall(bound="trouble", wanted="", got=state.said, **self._switch(state.said))]
        lasted_s = tenths(elapsed_s(state.began_us / 1e6, at_s))
        if state.fired:
            # Well again, and not for long enough: this trouble belongs to the one before.
            return []
        return [short("held", config.for_s, lasted_s, "for_s")] if lasted_s < config.for_s else []

    def _switch(self, trouble: str) -> dict[str, Any]:
        return {"setting": trouble, "proposed": True} if trouble in (OFFLINE, *PICTURE_TROUBLES) else {}

    def _rearm(self) -> None:
        state = self._state
        if state.well_s is not None and elapsed_s(state.well_s, state.now_s) >= self._config.rearm_s:
            state.fired = False

    def _fire(self) -> list[Firing]:
        state, config = self._state, self._config
        if not state.trouble or state.fired or elapsed_s(state.said_s, state.now_s) > SILENT_S:
            return []
        lasted_s = elapsed_s(state.began_us / 1e6, state.now_s)
        if lasted_s < config.for_s:
            return []
        state.fired = True
        return [
            Firing(
                at_s=state.now_s,
                session=state.last_seen[0],
                sequence=state.last_seen[1],
                first=(0, state.began_us),
                n=0,
                track=NO_TRACK,
                label=f"camera-{state.trouble}",
                facts=[Fact("held", round(lasted_s, 2), ">=", config.for_s, "s")],
                path=[],
            )
        ]


def trouble_of(source: SourceState) -> str:
    """What ``source`` says is wrong: a trouble's name, ``offline``, or nothing."""
    if source.reason in PICTURE_TROUBLES:
        return source.reason
    if source.state == "blind" and source.reason not in OWN_TROUBLES:
        return OFFLINE
    return ""
