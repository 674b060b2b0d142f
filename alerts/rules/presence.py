"""Zone presence: an object of these labels is in the zone. Pure.

Fires once per stay: the object is confirmed (k of n analysed pictures within a time), has stood in the zone for
``hold_s`` (short steps outside are forgiven), and has moved at least ``min_travel``, so a parked car or a poster never
fires. Then the zone is ready again only after a fixed interval or after it was empty for a while.
"""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from alerts.events import Fact
from alerts.rules.config import CommonConfig, EmbeddedZone, Needs, Point, _
from alerts.rules.logic import Firing, Logic, Seen, Shortfall, elapsed_s
from alerts.zones import bottom_centre, holds, overlap
from detectors.labels import expand
from detectors.tracking import Track

FORGET_S = 30.0
"""A track that has not been seen for so long (quiet and blind time not counted) is forgotten."""
PATH_POINTS = 24


class PresenceConfig(CommonConfig, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An object of these labels stays in the zone for ``hold_s``."""

    hold_s: Annotated[
        float, Meta(ge=0, le=3600, title=_("In the zone for (s)"), description=_("How long it must stay; 0: at once."))
    ] = 1.0
    leave_s: Annotated[
        float,
        Meta(ge=0, le=60, title=_("Forgive absence (s)"), description=_("A shorter step outside does not count.")),
    ] = 1.0
    anchor: Annotated[
        Literal["bottom", "overlap"],
        Meta(title=_("What must be inside"), description=_("bottom: the feet; overlap: half of the box.")),
    ] = "bottom"

    def needs(self) -> Needs:
        """Five pictures a second are enough to see a person walk."""
        return Needs(labels=list(self.labels), hz=5.0, width_px=640)

    def build(self, zone: EmbeddedZone, state: Any | None) -> Logic:
        """Logic for one zone."""
        return _Presence(self, zone, _State() if state is None else msgspec.convert(state, _State))


class _Stay(msgspec.Struct):
    """What is known of one track with regard to the zone."""

    start: Point
    sightings: list[tuple[float, bool]] = msgspec.field(default_factory=list)
    confirmed: tuple[int, int] | None = None
    confirmed_count: int = 0
    travel: float = 0.0
    inside: bool = False
    held_s: float = 0.0
    seen_at_s: float = 0.0
    inside_at_s: float = 0.0
    last_seen: tuple[int, int] = (0, 0)
    present: bool = False
    """Whether the last analysed picture showed it."""
    fired: bool = False
    n: int = 0
    score: float = 0.0
    label: str = ""
    path: list[Point] = msgspec.field(default_factory=list)
    best: float = 0.0
    """The best score so far, enough or not."""
    most: int = 0
    """The most good sightings that stood at one time."""


class _State(msgspec.Struct):
    stays: dict[int, _Stay] = msgspec.field(default_factory=dict)
    armed: bool = True
    """Latched: once the zone was empty for long enough it stays ready while the next one walks in."""
    occupied_at_s: float = 0.0
    fired_at_s: float | None = None
    now_s: float = 0.0


class _Presence:
    def __init__(self, config: PresenceConfig, zone: EmbeddedZone, state: _State) -> None:
        self._config, self._zone, self._state = config, zone, state
        self._labels = frozenset().union(*(expand(label) for label in config.labels))

    def on_detections(self, seen: Seen) -> list[Firing]:
        state = self._state
        state.now_s = seen.at_s
        wanted = [track for track in seen.tracks if track.label in self._labels]
        for track in wanted:
            self._sight(seen, track)
        if len(state.stays) > len(wanted):
            shown = {track.number for track in wanted}
            for number in [number for number in state.stays if number not in shown]:
                self._miss(number, seen.at_s)
        return self._fire(seen.at_s) if state.stays else []

    def on_unchanged(self, until_s: float) -> list[Firing]:
        if until_s <= self._state.now_s:
            return []
        for stay in self._state.stays.values():
            if stay.present:
                self._extend(stay, until_s)
        self._state.now_s = until_s
        return self._fire(until_s)

    def on_blind(self, from_s: float, until_s: float) -> None:
        away_s = until_s - max(from_s, self._state.now_s)
        if away_s <= 0:
            return
        # Unknown time is cut out: every clock of ours moves on by it.
        for stay in self._state.stays.values():
            stay.seen_at_s += away_s
            stay.inside_at_s += away_s
            stay.sightings = [(at_s + away_s, good) for at_s, good in stay.sightings]
        self._state.occupied_at_s += away_s
        self._state.now_s = until_s

    @property
    def wake_at_s(self) -> float | None:
        waits = [
            self._state.now_s + max(0.0, self._config.hold_s - stay.held_s)
            for stay in self._state.stays.values()
            if stay.present and stay.inside and stay.confirmed and not stay.fired
        ]
        return min(waits, default=None)

    def snapshot(self) -> Any:
        return msgspec.to_builtins(self._state)

    def explain(self, at_s: float) -> list[Shortfall]:
        """What is missing of whom it misses least."""
        lacks = [self._lacks(stay, at_s) for stay in self._state.stays.values() if not stay.fired]
        return min(lacks, key=len, default=[])

    def _lacks(self, stay: _Stay, at_s: float) -> list[Shortfall]:
        config, state = self._config, self._state
        lacks: list[Shortfall] = []
        if not stay.inside:
            lacks.append(Shortfall(bound="inside", wanted="in the zone", got="outside"))
        if stay.confirmed is None:
            lacks.append(self._unconfirmed(stay))
        if stay.travel < config.min_travel:
            low = math.floor(stay.travel * 1000) / 1000
            lacks.append(
                Shortfall(bound="travel", wanted=config.min_travel, got=low, setting="min_travel", proposed=low)
            )
        if stay.inside and stay.held_s < config.hold_s:
            held_s = math.floor(stay.held_s * 10) / 10
            lacks.append(
                Shortfall(bound="in_zone", wanted=config.hold_s, got=held_s, setting="hold_s", proposed=held_s)
            )
        if not state.armed:
            since_s = state.fired_at_s if config.rearm == "interval" else state.occupied_at_s
            ready_s = math.floor(elapsed_s(since_s or at_s, at_s) * 10) / 10
            lacks.append(
                Shortfall(bound="rearm", wanted=config.rearm_s, got=ready_s, setting="rearm_s", proposed=ready_s)
            )
        return lacks

    def _unconfirmed(self, stay: _Stay) -> Shortfall:
        """Too doubtful where the best score was short, else in too few pictures."""
        config = self._config
        if stay.best < config.confidence:
            low = math.floor(stay.best * 100) / 100
            return Shortfall(
                bound="confidence",
                wanted=config.confidence,
                got=round(stay.best, 3),
                setting="confidence",
                proposed=low,
            )
        most = max(1, stay.most)
        return Shortfall(bound="confirmed", wanted=config.confirm_k, got=stay.most, setting="confirm_k", proposed=most)

    def _inside(self, track: Track, feet: Point) -> bool:
        if self._config.anchor == "overlap":
            return overlap(self._zone.points, track.xyxy) >= 0.5
        return holds(self._zone.points, *feet)

    def _sight(self, seen: Seen, track: Track) -> None:
        at_s, feet = seen.at_s, bottom_centre(track.xyxy)
        stay = self._state.stays.get(track.number)
        if stay is None:
            stay = self._state.stays[track.number] = _Stay(start=feet, seen_at_s=at_s)
        good = track.score >= self._config.confidence
        self._count(stay, at_s, good)
        if good:
            stay.score, stay.label = track.score, track.label
        if track.score > stay.best:
            stay.best = track.score
        self._confirm(stay, seen)
        travel = math.hypot((feet[0] - stay.start[0]) * seen.aspect, feet[1] - stay.start[1])
        if travel > stay.travel:
            stay.travel = travel
        stay.path.append(feet)
        if len(stay.path) >= 2 * PATH_POINTS:
            del stay.path[:-PATH_POINTS]
        self._move(stay, at_s, self._inside(track, feet))
        stay.seen_at_s, stay.last_seen, stay.present = at_s, (seen.session, seen.sequence), True

    def _count(self, stay: _Stay, at_s: float, good: bool) -> None:
        sightings, config = stay.sightings, self._config
        sightings.append((at_s, good))
        # In the order of time, so that only the first ones can be too many or too old.
        while len(sightings) > config.confirm_n or _is_over(sightings[0][0], at_s, config.confirm_within_s):
            del sightings[0]

    def _confirm(self, stay: _Stay, seen: Seen) -> None:
        if stay.confirmed is not None and stay.confirmed_count >= self._config.confirm_n:
            return  # it was seen in every picture once: there is nothing more to count
        count = [good for _, good in stay.sightings].count(True)
        if count > stay.most:
            stay.most = count
        if stay.confirmed is None and count >= self._config.confirm_k:
            stay.confirmed = (seen.session, seen.sequence)
        stay.confirmed_count = max(count, stay.confirmed_count if stay.confirmed else 0)

    def _move(self, stay: _Stay, at_s: float, inside: bool) -> None:
        if inside:
            if stay.inside and (passed_s := elapsed_s(stay.inside_at_s, at_s)) <= max(self._config.leave_s, 1.0):
                stay.held_s = round(stay.held_s + passed_s, 3)
            stay.inside, stay.inside_at_s = True, at_s
        elif stay.inside and elapsed_s(stay.inside_at_s, at_s) > self._config.leave_s:
            self._leave(stay)

    def _extend(self, stay: _Stay, until_s: float) -> None:
        stay.seen_at_s = until_s
        stay.sightings = [(until_s, good) for _, good in stay.sightings[-1:]]
        if stay.inside:
            stay.held_s = round(stay.held_s + elapsed_s(stay.inside_at_s, until_s), 3)
            stay.inside_at_s = until_s

    def _miss(self, number: int, at_s: float) -> None:
        stay = self._state.stays[number]
        stay.present = False
        self._count(stay, at_s, False)
        if stay.inside and elapsed_s(stay.inside_at_s, at_s) > self._config.leave_s:
            self._leave(stay)
        if _is_over(stay.seen_at_s, at_s, FORGET_S):
            del self._state.stays[number]

    def _leave(self, stay: _Stay) -> None:
        if stay.fired:
            stay.n += 1
        stay.inside, stay.held_s, stay.fired = False, 0.0, False

    def _rearm(self, at_s: float) -> None:
        state = self._state
        if state.armed or state.fired_at_s is None:
            return
        since_s = state.fired_at_s if self._config.rearm == "interval" else state.occupied_at_s
        state.armed = elapsed_s(since_s, at_s) >= self._config.rearm_s

    def _fire(self, at_s: float) -> list[Firing]:
        self._rearm(at_s)
        firings: list[Firing] = []
        for number, stay in self._state.stays.items():
            if not (stay.inside and stay.confirmed):
                continue
            self._state.occupied_at_s = at_s
            if self._state.armed and self._due(stay):
                stay.fired = True
                firings.append(self._firing(number, stay, at_s))
        if firings:
            self._state.armed, self._state.fired_at_s = False, at_s
        return firings

    def _due(self, stay: _Stay) -> bool:
        config = self._config
        return not stay.fired and stay.held_s >= config.hold_s and stay.travel >= config.min_travel

    def _firing(self, number: int, stay: _Stay, at_s: float) -> Firing:
        config = self._config
        assert stay.confirmed is not None
        return Firing(
            at_s=at_s,
            session=stay.last_seen[0],
            sequence=stay.last_seen[1],
            first=stay.confirmed,
            n=stay.n,
            track=number,
            label=stay.label,
            facts=[
                Fact("in_zone", round(stay.held_s, 2), ">=", config.hold_s, "s"),
                Fact("confirmed", stay.confirmed_count, "of", config.confirm_n, "pictures"),
                Fact("confidence", round(stay.score, 3), ">=", config.confidence),
                Fact("travel", round(stay.travel, 3), ">=", config.min_travel, "heights"),
            ],
            path=[(round(x, 4), round(y, 4)) for x, y in stay.path[-PATH_POINTS:]],
        )


def _is_over(from_s: float, until_s: float, bound_s: float) -> bool:
    """``elapsed_s`` is more than ``bound_s``; the rounding is done only where it could matter."""
    passed_s = until_s - from_s
    return passed_s > bound_s - 0.001 and elapsed_s(from_s, until_s) > bound_s
