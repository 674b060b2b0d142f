"""Counting: how many objects of each label go over a directed line, in each direction and interval. Pure.

It raises no incident; it yields ``Counted`` at each interval's end. Intervals lie on whole multiples since 1970, so
that series of many cameras stand under each other. Zero is a number; an interval of which nothing was seen gives none,
and one that was seen in part, or that an edit cut in two, says how much (``seen_s``). With several lines on a camera it
can also count turns: which line an object came in by and which one it went out by (``alerts.rules.turns``).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar
from uuid import UUID

import msgspec
from msgspec import Meta

from alerts.rules.config import EmbeddedZone, Needs, _
from alerts.rules.following import UNKNOWN_S, State, restore
from alerts.rules.lines import LineConfig, OverLine
from alerts.rules.logic import Counted, Direction, Found, Logic, Seen, Shortfall, elapsed_s
from alerts.rules.turns import Turning, Turns
from alerts.zones import bottom_centre
from detectors.labels import expand
from detectors.tracking import Track

KIND = "counting"
"""It fires nothing."""
DIRECTIONS: tuple[Direction, ...] = ("forward", "backward")


class CountingConfig(LineConfig, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Counts objects of these labels over the line."""

    unused: ClassVar[frozenset[str]] = frozenset({"rearm", "rearm_s", "stale_s", "group_by", "news_after_s"})
    # A rehearsal tells only whole intervals.
    afterwards: ClassVar[frozenset[str]] = LineConfig.afterwards | {"interval_s"}

    interval_s: Annotated[
        int,
        Meta(ge=10, le=86_400, title=_("Interval (s)"), description=_("A number for each so many seconds.")),
    ] = 900
    turns: Annotated[
        bool,
        Meta(
            title=_("Turns"),
            description=_("Also count from which line to which; needs two lines or more on the camera."),
        ),
    ] = False

    def needs(self) -> Needs:
        """Five pictures a second show a person or a car on both sides of a line, however short a time it is there."""
        return Needs(labels=list(self.labels), hz=5.0, width_px=640, unbroken=True)

    def build(self, zone: EmbeddedZone, state: Any | None) -> Logic:
        """Logic for one line. Raises ``ValueError`` for a zone that is none."""
        return self.build_beside(zone, [], state)

    def build_beside(self, zone: EmbeddedZone, others: Sequence[EmbeddedZone], state: Any | None) -> Logic:
        """Logic for one line that counts the turns from it to the ``others``, too, if these are wanted."""
        turns = Turns(zone, others, self) if self.turns else None
        return _Counting(self, zone, restore(state, _State), turns)


class _State(State[Turning]):
    from_s: float | None = None
    """When the interval began that is being counted."""
    seen_s: float = 0.0
    judged_at_s: float = 0.0
    counts: dict[str, int] = msgspec.field(default_factory=dict)
    """``direction label`` → so far."""
    turns: dict[str, int] = msgspec.field(default_factory=dict)
    """``line label`` → so far, by the line that they went out by."""
    closed: list[Counted] = msgspec.field(default_factory=list)
    """Intervals that ended in blind time: yielded with the next picture."""


class _Counting(OverLine[CountingConfig, Turning]):
    stay = Turning
    _state: _State

    def __init__(self, config: CountingConfig, zone: EmbeddedZone, state: _State, turns: Turns | None) -> None:
        super().__init__(config, zone, state)
        self._turns = turns

    def on_detections(self, seen: Seen) -> Sequence[Found]:
        """One more picture was analysed."""
        known_s = elapsed_s(self._state.judged_at_s, seen.at_s)
        self._pass(seen.at_s, known=known_s <= UNKNOWN_S)
        return super().on_detections(seen)

    def on_unchanged(self, until_s: float) -> Sequence[Found]:
        """Until ``until_s`` nothing has crossed."""
        self._pass(until_s, known=True)
        return super().on_unchanged(until_s) or self._closed()

    def on_blind(self, from_s: float, until_s: float) -> None:
        """Nobody counted meanwhile, and movements that had begun have no end."""
        super().on_blind(from_s, until_s)
        self._pass(until_s, known=False)

    def on_asleep(self, until_s: float) -> Sequence[Found]:
        """Nobody was asked to count."""
        super().on_asleep(until_s)
        self._pass(until_s, known=False)
        return self._closed()

    def on_ended(self) -> Sequence[Found]:
        """The interval that was being counted is not seen to its end: it says how much of it was."""
        state = self._state
        if state.from_s is None or not state.seen_s:
            return []
        numbers = self._numbers(state.judged_at_s, state.from_s + self._config.interval_s)
        state.seen_s, state.counts, state.turns = 0.0, {}, {}
        return numbers

    def explain(self, at_s: float) -> list[Shortfall]:
        """It never fires."""
        return [Shortfall(bound="counts", wanted="", got="")]

    @property
    def wake_at_s(self) -> float | None:
        """When the interval ends."""
        from_s = self._state.from_s
        return None if from_s is None else from_s + self._config.interval_s

    def _break(self, stay: Turning) -> None:
        super()._break(stay)
        Turns.forget(stay)

    def _place(self, stay: Turning, seen: Seen, track: Track) -> None:
        here = bottom_centre(track.xyxy)
        way = self._line.advance(stay, here, seen.aspect)
        if way is not None:
            self._cross(stay, way)
        if self._turns is not None:
            self._turns.advance(stay, way, here, seen.aspect)

    def _fire(self, at_s: float) -> Sequence[Found]:
        counts, turns = self._state.counts, self._state.turns
        for _number, stay, way in self._crossings():
            key = f"{way.direction} {stay.label}"
            counts[key] = counts.get(key, 0) + 1
        for stay in self._state.stays.values():
            if stay.turned and self._occupies(stay) and self._due(stay):
                for line in stay.turned:
                    turns[f"{line} {stay.label}"] = turns.get(f"{line} {stay.label}", 0) + 1
                stay.turned = []
        return self._closed()

    def _closed(self) -> list[Found]:
        closed, self._state.closed = self._state.closed, []
        return list(closed)

    def _pass(self, until_s: float, *, known: bool) -> None:
        """Let time go by, closing each interval that ends on the way."""
        state, interval_s = self._state, self._config.interval_s
        if state.from_s is None:
            state.from_s, state.judged_at_s = until_s // interval_s * interval_s, until_s
            return
        while until_s >= (end_s := state.from_s + interval_s):
            self._see(end_s, known)
            if state.seen_s > 0:
                state.closed = [*state.closed, *self._numbers(until_s, end_s)]
            state.seen_s, state.counts, state.turns = 0.0, {}, {}
            # Unknown time may be long: no step for each interval of it.
            state.from_s = end_s if known else until_s // interval_s * interval_s
        self._see(until_s, known)

    def _see(self, until_s: float, known: bool) -> None:
        state = self._state
        if known and until_s > state.judged_at_s:
            state.seen_s = round(state.seen_s + elapsed_s(state.judged_at_s, until_s), 3)
        state.judged_at_s = max(until_s, state.judged_at_s)

    def _numbers(self, at_s: float, end_s: float) -> list[Counted]:
        state = self._state
        assert state.from_s is not None
        interval = Counted(
            at_s=at_s, from_s=state.from_s, until_s=end_s, seen_s=state.seen_s, direction="forward", label="", count=0
        )
        crossed = [
            msgspec.structs.replace(interval, direction=direction, label=label, count=count)
            for direction in DIRECTIONS
            for label, count in self._by_label(state.counts, direction)
        ]
        return crossed + [
            msgspec.structs.replace(interval, direction="turn", to_zone=UUID(line), label=label, count=count)
            for line in (self._turns.exits if self._turns else ())
            for label, count in self._by_label(state.turns, line)
        ]

    def _by_label(self, counts: dict[str, int], way: str) -> list[tuple[str, int]]:
        """The exact labels that were counted that way; of a label of the rule none of which came, itself with zero."""
        found = {
            label: count for key, count in sorted(counts.items()) for to, _s, label in [key.partition(" ")] if to == way
        }
        return [*found.items(), *((label, 0) for label in self._config.labels if not expand(label) & set(found))]
