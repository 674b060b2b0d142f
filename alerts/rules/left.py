"""Left and removed objects: something stands in the zone, still and for long, and whoever was with it has gone. Pure.

What stands there is a static region (``appeared-object``, which needs no detector that knows bags), a removed one
(``vanished-object``), or any label that a detector does know. Its owner is an object of ``owners`` that was within
``reach`` of it when, or shortly before, it was first seen. What a vehicle's box covers is that vehicle, parked.

An owner has gone once he is seen farther off, or was last seen at the picture's edge. One who vanishes beside the thing
may stand behind a pillar, or so still that the detector loses him, and a region may be himself: he is waited for.
"""

from __future__ import annotations

import math
from typing import Annotated, Any, ClassVar, Literal

import msgspec
from msgspec import Meta

from alerts.events import Fact
from alerts.rules.config import CommonConfig, EmbeddedZone, Needs, Point, _
from alerts.rules.following import distance, restore
from alerts.rules.logic import Firing, Logic, Seen, Shortfall, elapsed_s, hundredths, short, tenths
from alerts.zones import at_edge, bottom_centre, overlap
from detectors.labels import check, expand
from detectors.tracking import Track

FORGET_S = 30.0
"""A thing that has not been seen for so long (quiet and blind time not counted) is forgotten."""
REMEMBER_S = 60.0
"""Owners are remembered for so long: a region is known to be still only some time after its owner put it down."""
SAMPLE_S = 0.5
"""Where an owner was is noted this often."""
STILL_HEIGHTS = 0.05
"""A thing that has moved by more is not left: somebody carries it."""
RESUMES_S = 5.0
"""A new track within walking distance of an owner who vanished so short a time ago is that owner."""
COVERED = 0.5
"""So much of a thing within another object's box is that object."""

Box = tuple[float, float, float, float]


class LeftConfig(CommonConfig, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A thing stands in the zone for ``hold_s`` and its owner has been away for ``away_s``."""

    unused: ClassVar[frozenset[str]] = frozenset({"min_travel"})
    memory_s: ClassVar[float] = REMEMBER_S

    labels: Annotated[
        list[str],
        Meta(
            min_length=1,
            title=_("What is left"),
            description=_("appeared-object: anything new; vanished-object: anything taken; or bag and the like."),
        ),
    ] = msgspec.field(default_factory=lambda: ["appeared-object"])
    owners: Annotated[
        list[str], Meta(min_length=1, title=_("Whose"), description=_("Who may leave it, usually person."))
    ] = msgspec.field(default_factory=lambda: ["person"])
    ignore: Annotated[
        list[str], Meta(title=_("Unless it is"), description=_("What stands still and is not left, such as vehicle."))
    ] = msgspec.field(default_factory=lambda: ["vehicle"])
    confirm_k: Annotated[
        int, Meta(ge=1, le=50, title=_("Confirmed in"), description=_("Analysed pictures it must be seen in …"))
    ] = 2
    confirm_n: Annotated[
        int, Meta(ge=1, le=50, title=_("of the last"), description=_("… of this many analysed pictures."))
    ] = 3
    confirm_within_s: Annotated[
        float, Meta(gt=0, le=60, title=_("within (s)"), description=_("Pictures are far apart where nothing moves."))
    ] = 30.0
    hold_s: Annotated[
        float, Meta(ge=0, le=86_400, title=_("Stands for (s)"), description=_("How long it must stand there."))
    ] = 30.0
    away_s: Annotated[
        float, Meta(ge=0, le=86_400, title=_("Owner away for (s)"), description=_("How long nobody is near it."))
    ] = 10.0
    hidden_s: Annotated[
        float,
        Meta(
            ge=0,
            le=86_400,
            title=_("Wait for a hidden owner (s)"),
            description=_("Who vanished beside it, and was not seen going away, may still be there for so long."),
        ),
    ] = 60.0
    reach: Annotated[
        float, Meta(gt=0, le=2, title=_("Near is"), description=_("Picture heights between it and its owner's feet."))
    ] = 0.15
    owner: Annotated[
        Literal["seen", "any"],
        Meta(title=_("Owner"), description=_("seen: somebody was near when it came; any: also if nobody was.")),
    ] = "seen"

    def __post_init__(self) -> None:
        super().__post_init__()
        check([*self.owners, *self.ignore])

    @property
    def sought(self) -> dict[str, list[str]]:
        """Without owners whom the model can see nothing ever has one."""
        return {"labels": self.labels, **({"owners": self.owners} if self.owner == "seen" else {})}

    def needs(self) -> Needs:
        """Its owner must be seen walking away."""
        return Needs(labels=[*self.labels, *self.owners, *self.ignore], hz=5.0, width_px=960)

    def build(self, zone: EmbeddedZone, state: Any | None) -> Logic:
        """Logic for one zone."""
        return _Left(self, zone, restore(state, _State))


class _Thing(msgspec.Struct):
    """One still thing."""

    box: Box
    seen_at_s: float
    near_at_s: float
    """When an owner was last near it; its first sight where none was."""
    sightings: list[tuple[float, bool]] = msgspec.field(default_factory=list)
    confirmed: tuple[int, int] | None = None
    confirmed_count: int = 0
    held_s: float = 0.0
    owned: bool = False
    near: bool = False
    """Whether an owner is near on the last analysed picture."""
    present: bool = False
    fired: bool = False
    label: str = ""
    score: float = 0.0
    last_seen: tuple[int, int] = (0, 0)
    keepers: list[int] = msgspec.field(default_factory=list)
    """The tracks of owners who were there when it came and have not been seen anywhere else since."""


class _Owner(msgspec.Struct):
    """Somebody who may leave things, as he was last seen."""

    box: Box
    seen_at_s: float
    shown: bool = True
    """Whether the last analysed picture showed him."""

    @property
    def is_hidden(self) -> bool:
        """Whether he vanished within the picture."""
        return not self.shown and not at_edge(self.box)


class _Trace(msgspec.Struct):
    """Where an owner was, and when."""

    at_s: float
    number: int
    feet: Point


class _State(msgspec.Struct):
    things: dict[int, _Thing] = msgspec.field(default_factory=dict)
    traces: list[_Trace] = msgspec.field(default_factory=list)
    owners: dict[int, _Owner] = msgspec.field(default_factory=dict)
    armed: bool = True
    standing_at_s: float = 0.0
    """When a thing that has fired last stood here."""
    fired_at_s: float = 0.0
    now_s: float = 0.0


class _Left:
    def __init__(self, config: LeftConfig, zone: EmbeddedZone, state: _State) -> None:
        self._config, self._zone, self._state = config, zone, state
        self._labels, self._owners, self._ignore = (
            frozenset[str]().union(*(expand(label) for label in labels))
            for labels in (config.labels, config.owners, config.ignore)
        )

    def on_detections(self, seen: Seen) -> list[Firing]:
        self._state.now_s = seen.at_s
        owners = [track for track in seen.tracks if track.label in self._owners and self._is_known(track)]
        others = [track.xyxy for track in seen.tracks if track.label in self._ignore and self._is_sure(track)]
        self._trace(owners, seen.at_s)
        self._follow(owners, seen)
        wanted = [track for track in seen.tracks if track.label in self._labels and self._is_thing(track)]
        shown = {track.number for track in wanted}
        for track in wanted:
            self._recall(track, shown)
            self._sight(seen, track, owners, others)
        for number in [number for number in self._state.things if number not in shown]:
            self._miss(number, seen.at_s)
        return self._fire(seen.at_s)

    def on_unchanged(self, until_s: float) -> list[Firing]:
        if until_s <= self._state.now_s:
            return []
        for thing in self._state.things.values():
            if thing.present:
                self._extend(thing, until_s)
        for owner in self._state.owners.values():
            if owner.shown:
                owner.seen_at_s = until_s
        self._state.now_s = until_s
        return self._fire(until_s)

    def on_blind(self, from_s: float, until_s: float) -> None:
        away_s = until_s - max(from_s, self._state.now_s)
        if away_s <= 0:
            return
        # Unknown time is cut out: every clock of ours moves on by it.
        for thing in self._state.things.values():
            thing.seen_at_s += away_s
            thing.near_at_s += away_s
            thing.sightings = [(at_s + away_s, good) for at_s, good in thing.sightings]
        for trace in self._state.traces:
            trace.at_s += away_s
        for owner in self._state.owners.values():
            owner.seen_at_s += away_s
        self._state.standing_at_s += away_s
        self._state.now_s = until_s

    @property
    def wake_at_s(self) -> float | None:
        waits = [
            self._due_at_s(thing)
            for thing in self._state.things.values()
            if thing.present and thing.confirmed and not thing.fired and not thing.near and self._has_owner(thing)
        ]
        return min(waits, default=None)

    def _due_at_s(self, thing: _Thing) -> float:
        """When it will have stood there alone for long enough, as things are."""
        now_s, config = self._state.now_s, self._config
        hidden = (owner.seen_at_s + config.hidden_s for owner in self._hidden(thing))
        return max(now_s + config.hold_s - thing.held_s, thing.near_at_s + config.away_s, now_s, *hidden)

    def snapshot(self) -> Any:
        return msgspec.to_builtins(self._state)

    def explain(self, at_s: float) -> list[Shortfall]:
        """What is missing of the thing that misses least."""
        things = (thing for thing in self._state.things.values() if thing.present and not thing.fired)
        return min((self._lacks(thing, at_s) for thing in things), key=len, default=[])

    def _lacks(self, thing: _Thing, at_s: float) -> list[Shortfall]:
        config = self._config
        lacks = [] if thing.confirmed else [self._unconfirmed(thing)]
        if not self._has_owner(thing):
            lacks.append(Shortfall(bound="owner", wanted="seen", got="", setting="owner", proposed="any"))
        lacks += self._attended(thing, at_s)
        if thing.held_s < config.hold_s:
            lacks.append(short("left_for", config.hold_s, tenths(thing.held_s), "hold_s"))
        return [*lacks, *self._unready(at_s)]

    def _attended(self, thing: _Thing, at_s: float) -> list[Shortfall]:
        """In what its owner is not away, or not for long enough."""
        config = self._config
        if thing.near:
            return [Shortfall(bound="owner_near", wanted=config.reach, got="")]
        away_s = tenths(elapsed_s(thing.near_at_s, at_s))
        lacks = [short("owner_away", config.away_s, away_s, "away_s")] if away_s < config.away_s else []
        unseen_s = min((tenths(elapsed_s(one.seen_at_s, at_s)) for one in self._hidden(thing)), default=math.inf)
        if unseen_s < config.hidden_s:
            lacks.append(short("owner_hidden", config.hidden_s, unseen_s, "hidden_s"))
        return lacks

    def _unconfirmed(self, thing: _Thing) -> Shortfall:
        config = self._config
        if thing.score < config.confidence:
            return short("confidence", config.confidence, hundredths(thing.score), "confidence")
        count = sum(was for _, was in thing.sightings)
        return short("confirmed", config.confirm_k, count, "confirm_k")

    def _unready(self, at_s: float) -> list[Shortfall]:
        state, config = self._state, self._config
        if state.armed:
            return []
        since_s = state.fired_at_s if config.rearm == "interval" else state.standing_at_s
        return [short("rearm", config.rearm_s, tenths(elapsed_s(since_s, at_s)), "rearm_s")]

    def _is_thing(self, track: Track) -> bool:
        """Whether it lies in the zone and is of a size that counts; owners and what hides them may have any size."""
        least, most = self._config.heights
        return least <= track.xyxy[3] - track.xyxy[1] <= most and overlap(self._zone.points, track.xyxy) >= 0.5

    def _is_sure(self, track: Track) -> bool:
        return track.score >= self._config.confidence

    def _is_known(self, track: Track) -> bool:
        """Somebody once sure remains so: who stands still is seen well in one picture and badly in the next."""
        return self._is_sure(track) or track.number in self._state.owners

    def _follow(self, owners: list[Track], seen: Seen) -> None:
        """Note where each owner is now, and who is no longer with which thing."""
        state = self._state
        for owner in state.owners.values():
            owner.shown = False
        new = [track.number for track in owners if track.number not in state.owners]
        state.owners |= {track.number: _Owner(track.xyxy, seen.at_s) for track in owners}
        for number in new:
            self._resume(number, seen)
        remembered_s = max(REMEMBER_S, self._config.hidden_s)
        state.owners = {
            number: owner
            for number, owner in state.owners.items()
            if number not in seen.excluded and elapsed_s(owner.seen_at_s, seen.at_s) <= remembered_s
        }
        for thing in state.things.values():
            thing.keepers = [number for number in thing.keepers if self._keeps(number, thing.box, seen.aspect)]

    def _resume(self, number: int, seen: Seen) -> None:
        """A new track near where an owner vanished is that owner."""
        state = self._state
        new = state.owners[number]
        hidden = [one for one, owner in state.owners.items() if owner.is_hidden and self._could_be(owner, new, seen)]
        if hidden:
            old = max(hidden, key=lambda one: state.owners[one].seen_at_s)
            del state.owners[old]
            for thing in state.things.values():
                thing.keepers = [number if one == old else one for one in thing.keepers]

    def _could_be(self, old: _Owner, new: _Owner, seen: Seen) -> bool:
        """Whether ``old`` may have come to where ``new`` is; who comes in over the picture's edge is another."""
        gone_s = elapsed_s(old.seen_at_s, seen.at_s)
        walked_s = gone_s if gone_s <= RESUMES_S and not at_edge(new.box) else 0.0
        height = max(one.box[3] - one.box[1] for one in (old, new))
        return distance(bottom_centre(old.box), bottom_centre(new.box), seen.aspect) <= height * (0.5 + walked_s)

    def _keeps(self, number: int, thing: Box, aspect: float) -> bool:
        """Whether that owner is with ``thing``, or vanished there."""
        owner = self._state.owners.get(number)
        return owner is not None and (owner.shown or owner.is_hidden) and self._is_with(owner.box, thing, aspect)

    def _hidden(self, thing: _Thing) -> list[_Owner]:
        """Who vanished beside it and may still be there."""
        owners = (self._state.owners.get(number) for number in thing.keepers)
        return [owner for owner in owners if owner is not None and not owner.shown]

    def _trace(self, owners: list[Track], at_s: float) -> None:
        state = self._state
        kept = [trace for trace in state.traces if elapsed_s(trace.at_s, at_s) <= REMEMBER_S]
        recent = {trace.number for trace in kept if elapsed_s(trace.at_s, at_s) < SAMPLE_S}
        new = [_Trace(at_s, one.number, bottom_centre(one.xyxy)) for one in owners if one.number not in recent]
        state.traces = [*kept, *new]

    def _sight(self, seen: Seen, track: Track, owners: list[Track], others: list[Box]) -> None:
        thing = self._state.things.get(track.number)
        if thing is None:
            thing = self._state.things[track.number] = self._first(seen, track)
        elif self._has_moved(thing.box, track.xyxy, seen.aspect) or any(_covers(one, track.xyxy) for one in others):
            # Carried, or a vehicle that stands: it begins anew from here.
            thing.box, thing.held_s, thing.seen_at_s = track.xyxy, 0.0, seen.at_s
        if thing.present:
            thing.held_s = round(thing.held_s + elapsed_s(thing.seen_at_s, seen.at_s), 3)
        self._confirm(thing, seen, self._is_sure(track))
        thing.near = any(self._is_with(one.xyxy, track.xyxy, seen.aspect) for one in owners)
        if thing.near:
            thing.owned, thing.near_at_s = True, seen.at_s
        thing.label, thing.score = track.label, track.score
        thing.seen_at_s, thing.present, thing.last_seen = seen.at_s, True, (seen.session, seen.sequence)

    def _recall(self, track: Track, shown: set[int]) -> None:
        """A new track where a thing stood whose track has ended is that thing."""
        things = self._state.things
        if track.number not in things:
            for number in [one for one in things if one not in shown and _covers(things[one].box, track.xyxy)][:1]:
                things[track.number] = things.pop(number)

    def _first(self, seen: Seen, track: Track) -> _Thing:
        near = [trace.at_s for trace in self._state.traces if self._is_near(trace.feet, track.xyxy, seen.aspect)]
        return _Thing(
            box=track.xyxy,
            seen_at_s=seen.at_s,
            near_at_s=max(near, default=seen.at_s),
            owned=bool(near),
            keepers=[number for number in self._state.owners if self._keeps(number, track.xyxy, seen.aspect)],
        )

    def _confirm(self, thing: _Thing, seen: Seen, good: bool) -> None:
        self._count(thing, seen.at_s, good)
        count = sum(was for _, was in thing.sightings)
        if thing.confirmed is None and count >= self._config.confirm_k:
            thing.confirmed = (seen.session, seen.sequence)
        thing.confirmed_count = max(count, thing.confirmed_count if thing.confirmed else 0)

    def _count(self, thing: _Thing, at_s: float, good: bool) -> None:
        recent = [*thing.sightings, (at_s, good)][-self._config.confirm_n :]
        within_s = self._config.confirm_within_s
        thing.sightings = [(when, was) for when, was in recent if elapsed_s(when, at_s) <= within_s]

    def _extend(self, thing: _Thing, until_s: float) -> None:
        thing.held_s = round(thing.held_s + elapsed_s(thing.seen_at_s, until_s), 3)
        thing.seen_at_s = until_s
        thing.sightings = [(until_s, good) for _, good in thing.sightings[-1:]]
        if thing.near:
            thing.near_at_s = until_s

    def _miss(self, number: int, at_s: float) -> None:
        thing = self._state.things[number]
        thing.present = False
        self._count(thing, at_s, False)
        if elapsed_s(thing.seen_at_s, at_s) > FORGET_S:
            del self._state.things[number]

    def _has_owner(self, thing: _Thing) -> bool:
        return thing.owned or self._config.owner == "any"

    def _has_moved(self, before: Box, now: Box, aspect: float) -> bool:
        dx = (now[0] + now[2] - before[0] - before[2]) / 2 * aspect
        return math.hypot(dx, (now[1] + now[3] - before[1] - before[3]) / 2) > STILL_HEIGHTS

    def _is_with(self, owner: Box, thing: Box, aspect: float) -> bool:
        return self._is_near(bottom_centre(owner), thing, aspect) or _covers(owner, thing)

    def _is_near(self, feet: Point, box: Box, aspect: float) -> bool:
        dx = max(box[0] - feet[0], 0.0, feet[0] - box[2]) * aspect
        return math.hypot(dx, max(box[1] - feet[1], 0.0, feet[1] - box[3])) <= self._config.reach

    def _rearm(self, at_s: float) -> None:
        state = self._state
        if not state.armed:
            since_s = state.fired_at_s if self._config.rearm == "interval" else state.standing_at_s
            state.armed = elapsed_s(since_s, at_s) >= self._config.rearm_s

    def _fire(self, at_s: float) -> list[Firing]:
        self._rearm(at_s)
        firings: list[Firing] = []
        for number, thing in self._state.things.items():
            if thing.fired and thing.present:
                self._state.standing_at_s = at_s
            elif self._state.armed and self._is_due(thing, at_s):
                thing.fired = True
                firings.append(self._firing(number, thing, at_s))
        if firings:
            self._state.armed, self._state.fired_at_s = False, at_s
            self._state.standing_at_s = at_s
        return firings

    def _is_due(self, thing: _Thing, at_s: float) -> bool:
        if not (thing.present and thing.confirmed and self._has_owner(thing)) or thing.near:
            return False
        config = self._config
        if any(elapsed_s(owner.seen_at_s, at_s) < config.hidden_s for owner in self._hidden(thing)):
            return False
        return thing.held_s >= config.hold_s and elapsed_s(thing.near_at_s, at_s) >= config.away_s

    def _firing(self, number: int, thing: _Thing, at_s: float) -> Firing:
        config = self._config
        assert thing.confirmed is not None
        x, y = bottom_centre(thing.box)
        return Firing(
            at_s=at_s,
            session=thing.last_seen[0],
            sequence=thing.last_seen[1],
            first=thing.confirmed,
            n=0,
            track=number,
            label=thing.label,
            facts=[
                Fact("in_zone", round(thing.held_s, 2), ">=", config.hold_s, "s"),
                Fact("owner_away", elapsed_s(thing.near_at_s, at_s), ">=", config.away_s, "s"),
                Fact("confirmed", thing.confirmed_count, "of", config.confirm_n, "pictures"),
                Fact("confidence", round(thing.score, 3), ">=", config.confidence),
            ],
            path=[(round(x, 4), round(y, 4))],
        )


def _covers(box: Box, thing: Box) -> bool:
    """Whether so much of ``thing`` lies in ``box`` (or of ``box`` in ``thing``) that they are one and the same."""
    shared = max(0.0, min(box[2], thing[2]) - max(box[0], thing[0])) * max(
        0.0, min(box[3], thing[3]) - max(box[1], thing[1])
    )
    areas = [(one[2] - one[0]) * (one[3] - one[1]) for one in (box, thing)]
    return any(area > 0 and shared / area >= COVERED for area in areas)
