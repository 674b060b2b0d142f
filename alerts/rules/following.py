"""What every kind that follows tracks has in common. Pure.

``Following`` keeps one ``Stay`` a track: sightings and confirmation (k of n pictures within a time), travel, path, and
forgetting. It cuts blind time out of every clock, and is ready again after a fixed interval or after what it fires on
has been quiet. ``Inside`` adds how long the track has been in a polygon; ``Fresh`` starts anew after the schedule
slept. A kind says what else it looks at (``_place``), which stays keep it from being quiet (``_occupies``) and which
fire (``_due``).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Any, Generic, Literal, TypeVar

import msgspec
from msgspec import Meta

from alerts.events import Fact
from alerts.ground import Plane, Step, recent
from alerts.rules.config import CommonConfig, EmbeddedZone, Point, _
from alerts.rules.logic import (
    Firing,
    Found,
    Seen,
    Shortfall,
    elapsed_s,
    hundredths,
    is_over,
    lasted,
    short,
    tenths,
    thousandths,
)
from alerts.zones import around, at_edge, holds, overlap
from detectors.labels import expand, family
from detectors.tracking import Track

FORGET_S = 30.0
"""A track that has not been seen for so long (quiet and blind time not counted) is forgotten."""
PATH_POINTS = 24
SMOOTHED = 5
"""A position is the median of so many sightings: two bad boxes in a row move nothing."""
UNKNOWN_S = 5.0
"""Of a longer time between two pictures nothing is known, though the camera was not called blind."""


class ZoneConfig(CommonConfig, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What all kinds that look into a polygon carry."""

    leave_s: Annotated[
        float,
        Meta(
            ge=0,
            le=60,
            title=_("Forgive absence (s)"),
            description=_("A shorter step outside, or time out of sight, does not count."),
        ),
    ] = 2.0
    anchor: Annotated[
        Literal["bottom", "overlap"],
        Meta(title=_("What must be inside"), description=_("bottom: the feet; overlap: half of the box.")),
    ] = "bottom"


MinSpeed = Annotated[
    Annotated[float, Meta(gt=0, le=300)] | None,
    Meta(
        title=_("At least (km/h)"),
        description=_("Slower objects do not count. The ground of the view must be calibrated. Empty: any speed."),
    ),
]


class HoldConfig(ZoneConfig, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What all kinds carry that wait for something to last."""

    hold_s: Annotated[float, Meta(ge=0, le=3600, title=_("Lasts for (s)"), description=_("How long; 0: at once."))] = (
        0.0
    )


class Stay(msgspec.Struct):
    """What is known of one track with regard to the zone. Points are fractions of the picture."""

    start: Point
    origin: Point | None = None
    """Where its present track began; None: at ``start``."""
    sightings: list[tuple[float, bool]] = msgspec.field(default_factory=list)
    confirmed: tuple[int, int] | None = None
    confirmed_count: int = 0
    travel: float = 0.0
    seen_at_s: float = 0.0
    last_seen: tuple[int, int] = (0, 0)
    present: bool = False
    """Whether the last analysed picture showed it."""
    fired: bool = False
    n: int = 0
    score: float = 0.0
    label: str = ""
    height: float = 0.0
    path: list[Point] = msgspec.field(default_factory=list)
    best: float = 0.0
    """The best score so far, enough or not."""
    most: int = 0
    """The most good sightings that stood at one time before it was confirmed."""
    steps: list[Step] = msgspec.field(default_factory=list)
    """Where it lately was on the ground, where that is calibrated."""
    at_edge: bool = False
    """Whether its last box touched the picture's edge; told only where one stay may go on as another."""


class Standing(Stay):
    """A stay that may be in a polygon."""

    inside: bool = False
    held_s: float = 0.0
    inside_at_s: float = 0.0


C = TypeVar("C", bound=CommonConfig)
S = TypeVar("S", bound=Stay)


class State(msgspec.Struct, Generic[S]):
    """All that a logic knows; plain types but for its stays."""

    stays: dict[int, S] = msgspec.field(default_factory=dict)
    armed: bool = True
    """Latched: once it was quiet for long enough it stays ready while the next one comes."""
    occupied_at_s: float = 0.0
    fired_at_s: float | None = None
    now_s: float = 0.0
    numbers: dict[str, int] = msgspec.field(default_factory=dict)
    """Events so far about each first confirmed frame: two objects may have been confirmed in the same one."""


T = TypeVar("T")


def restore(state: Any | None, kind: type[T]) -> T:
    """``kind`` as its snapshot ``state`` says (through MessagePack or JSON), or a fresh one."""
    return kind() if state is None else msgspec.convert(state, kind, str_keys=True)


def distance(a: Point, b: Point, aspect: float) -> float:
    """Between two points in fractions of the picture, in picture heights."""
    return math.hypot((b[0] - a[0]) * aspect, b[1] - a[1])


def middle(points: Sequence[Point]) -> Point:
    """The median of ``points``, each coordinate for itself.

    >>> middle([(0.1, 0.5), (0.9, 0.5), (0.2, 0.6)])
    (0.2, 0.5)
    """
    half = len(points) // 2
    xs, ys = zip(*points, strict=True)
    return sorted(xs)[half], sorted(ys)[half]


def rounded(path: Sequence[Point]) -> list[Point]:
    """``path`` as an event carries it."""
    return [(round(x, 4), round(y, 4)) for x, y in path]


def fast_enough(speed: float | None, least_kmh: float | None) -> bool:
    """Whether ``speed`` (km/h; None: not known) reaches the least one, where there is one."""
    return least_kmh is None or (speed is not None and speed >= least_kmh)


class Following(Generic[C, S]):
    """Follows the wanted tracks of one camera; a kind derives from it."""

    stay: type[S]
    takes_over_s = 0.0
    """A track that appears near where another vanished within so long is the same object."""
    clocks_speed = False
    """Whether the kind wants to know how fast an object is."""

    def __init__(self, config: C, zone: EmbeddedZone, state: State[S]) -> None:
        self._config, self._zone, self._state = config, zone, state
        self._labels = frozenset().union(*(expand(label) for label in config.labels))
        self._least_height, self._most_height = config.heights
        self._ground = None if zone.ground is None else Plane.of(zone.ground)
        if self._ground is None and config.on_ground:
            raise ValueError(
                f"zone {zone.name!r}: expected a view with a calibrated ground for {', '.join(config.on_ground)}, got "
                "none; calibrate it, or leave the setting empty"
            )

    # What the engine calls.

    def on_detections(self, seen: Seen) -> Sequence[Found]:
        """One more picture was analysed."""
        state = self._state
        state.now_s = seen.at_s
        wanted = self._wanted(seen.tracks) if seen.tracks else []
        shown = {track.number for track in wanted}
        for track in wanted:
            self._sight(seen, track, shown)
        if len(state.stays) > len(shown):
            for number in [number for number in state.stays if number not in shown]:
                self._miss(number, seen.at_s)
        for number in seen.excluded:
            if number in state.stays:
                self._break(state.stays[number])
        return self._fire(seen.at_s)

    def on_unchanged(self, until_s: float) -> Sequence[Found]:
        """Until ``until_s`` what was last seen is still so."""
        if until_s <= self._state.now_s:
            return []
        for stay in self._state.stays.values():
            if stay.present:
                self._extend(stay, until_s)
        self._state.now_s = until_s
        return self._fire(until_s)

    def on_blind(self, from_s: float, until_s: float) -> None:
        """Unknown time is cut out: every clock of ours moves on by it."""
        away_s = until_s - max(from_s, self._state.now_s)
        if away_s <= 0:
            return
        for stay in self._state.stays.values():
            self._shift(stay, away_s)
        self._state.occupied_at_s += away_s
        self._state.now_s = until_s

    @property
    def wake_at_s(self) -> float | None:
        """Nothing fires before the next picture."""
        return None

    def snapshot(self) -> Any:
        """The whole state as plain types."""
        return msgspec.to_builtins(self._state)

    def explain(self, at_s: float) -> list[Shortfall]:
        """What is missing of whom it misses least."""
        lacks = [self._lacks(stay, at_s) for stay in self._state.stays.values() if not stay.fired]
        return min(lacks, key=len, default=[])

    # What a kind may say.

    def _lacks(self, stay: S, at_s: float) -> list[Shortfall]:
        """Each bound that ``stay`` falls short of."""
        config = self._config
        lacks = [self._unconfirmed(stay, at_s)] if stay.confirmed is None else []
        if stay.travel < config.min_travel:
            lacks.append(short("travel", config.min_travel, thousandths(stay.travel), "min_travel"))
        return [*lacks, *self._unready(at_s)]

    def _unready(self, at_s: float) -> list[Shortfall]:
        """How long it still has to wait before it may fire again."""
        config, state = self._config, self._state
        if state.armed:
            return []
        since_s = state.fired_at_s if config.rearm == "interval" else state.occupied_at_s
        return [short("rearm", config.rearm_s, tenths(elapsed_s(since_s or at_s, at_s)), "rearm_s")]

    def _unconfirmed(self, stay: S, at_s: float) -> Shortfall:
        """Too doubtful where the best score was short, else in too few pictures."""
        config, (least, setting, term) = self._config, self._asked_of(stay, at_s)
        if stay.best < least:
            lack = short("confidence", least, round(stay.best, 3), setting)
            return msgspec.structs.replace(lack, proposed=hundredths(stay.best), term=term)
        lack = short("confirmed", config.confirm_k, stay.most, "confirm_k")
        return msgspec.structs.replace(lack, proposed=max(1, stay.most))

    def _place(self, stay: S, seen: Seen, track: Track) -> None:
        """The track has a box in this picture: whatever else the kind looks at."""

    def _lose(self, stay: S, at_s: float) -> None:
        """The track has no box in this picture."""

    def _remain(self, stay: S, until_s: float) -> None:
        """Nothing has changed until then."""

    def _break(self, stay: S) -> None:
        """What it did since it was last seen is not to be counted."""

    def _go_on(self, stay: S, at: Point) -> None:
        """It goes on ``at`` another place under another number. Nobody saw it come there: that is no travel."""
        stay.origin = at

    def _least(self, track: Track, at_s: float) -> float:
        """The score that counts for ``track``."""
        return self._config.confidence

    def _asked_of(self, stay: S, at_s: float) -> tuple[float, str, str]:
        """The score that ``stay`` would have needed, the setting that says so, and of a table the term."""
        return self._config.confidence, "confidence", ""

    def _occupies(self, stay: S) -> bool:
        """Whether ``stay`` keeps the zone from being quiet; only such a stay can fire."""
        return stay.confirmed is not None

    def _due(self, stay: S) -> bool:
        """Whether ``stay`` is what the rule is about."""
        return stay.travel >= self._config.min_travel

    def _facts(self, stay: S) -> list[Fact]:
        """The numbers that made ``stay`` fire."""
        config = self._config
        return [
            Fact("confirmed", stay.confirmed_count, "of", config.confirm_n, "pictures"),
            Fact("confidence", round(stay.score, 3), ">=", config.confidence),
            Fact("travel", round(stay.travel, 3), ">=", config.min_travel, "heights"),
        ]

    def _ground_facts(self, stay: S, speed: float | None, least_kmh: float | None = None) -> list[Fact]:
        """``speed`` (km/h), and how far ``stay`` came, where the ground is calibrated."""
        moved_m = None if self._ground is None else self._ground.distance_m(stay.start, stay.path[-1])
        facts = [] if moved_m is None else [Fact("moved", round(moved_m, 1), "=", round(moved_m, 1), "m")]
        if speed is None:
            return facts
        return [Fact("speed", speed, ">=" if least_kmh else "=", least_kmh or speed, "km/h"), *facts]

    # What is the same for all.

    def _wanted(self, tracks: Sequence[Track]) -> list[Track]:
        labels, low, high = self._labels, self._least_height, self._most_height
        return [track for track in tracks if track.label in labels and low <= track.xyxy[3] - track.xyxy[1] <= high]

    def _sight(self, seen: Seen, track: Track, shown: set[int]) -> None:
        x1, y1, x2, y = track.xyxy
        x, at_s, score = (x1 + x2) / 2, seen.at_s, track.score
        stay = self._state.stays.get(track.number)
        if stay is None:
            stay = self._begin(seen, track, shown, (x, y))
        good = score >= self._least(track, at_s)
        if good:
            stay.score, stay.label = score, track.label
        if score > stay.best:
            stay.best = score
        if stay.confirmed is None or stay.confirmed_count < self._config.confirm_n:
            self._count(stay, at_s, good)
            self._confirm(stay, seen)
        left, top = stay.origin or stay.start
        travel = math.hypot((x - left) * seen.aspect, y - top)
        if travel > stay.travel:
            stay.travel = travel
        path = stay.path
        path.append((x, y))
        if len(path) > PATH_POINTS:
            del path[0]
        if self._ground is not None and self.clocks_speed:
            self._step(stay, self._ground.at((x, y)), at_s)
        self._place(stay, seen, track)
        stay.height, stay.seen_at_s, stay.present = y - y1, at_s, True
        if self.takes_over_s:
            stay.at_edge = at_edge(track.xyxy)
        stay.last_seen = (seen.session, seen.sequence)

    @staticmethod
    def _step(stay: S, place: Point | None, at_s: float) -> None:
        here = [] if place is None else [(at_s, *place)]
        stay.steps = [*recent(stay.steps, at_s), *here]

    def _begin(self, seen: Seen, track: Track, shown: set[int], at: Point) -> S:
        stays = self._state.stays
        old = self._vanished(seen, track, shown, at) if self.takes_over_s else None
        if old is None:
            stay = self.stay(start=at, seen_at_s=seen.at_s)
        else:
            stay = stays.pop(old)
            self._go_on(stay, at)
        stays[track.number] = stay
        return stay

    def _vanished(self, seen: Seen, track: Track, shown: set[int], at: Point) -> int | None:
        """The number of the track that ``track`` goes on: gone a moment ago, and nearer than it could have walked.

        What vanished at the picture's edge has left: far from there it is another, who comes as the first one goes.
        """
        found: tuple[float, int] | None = None
        for number, stay in self._state.stays.items():
            gone_s = elapsed_s(stay.seen_at_s, seen.at_s)
            if number in shown or number in seen.excluded or gone_s > self.takes_over_s or not stay.path:
                continue
            if stay.label and family(stay.label) != family(track.label):
                continue
            apart = distance(stay.path[-1], at, seen.aspect)
            walked_s = 0.0 if stay.at_edge else gone_s
            if apart <= max(stay.height, track.xyxy[3] - track.xyxy[1]) * (0.5 + walked_s):
                found = min(found or (apart, number), (apart, number))
        return None if found is None else found[1]

    def _count(self, stay: S, at_s: float, good: bool) -> None:
        sightings = stay.sightings
        sightings.append((at_s, good))
        within_s, most = self._config.confirm_within_s, self._config.confirm_n
        # In the order of time, so that only the first ones can be too many or too old.
        while len(sightings) > most or is_over(sightings[0][0], at_s, within_s):
            del sightings[0]

    def _confirm(self, stay: S, seen: Seen) -> None:
        count = sum([good for _, good in stay.sightings])
        if stay.confirmed is None:
            stay.confirmed_count = count
            if count > stay.most:
                stay.most = count
            if count >= self._config.confirm_k:
                stay.confirmed = (seen.session, seen.sequence)
        elif count > stay.confirmed_count:
            stay.confirmed_count = count

    def _extend(self, stay: S, until_s: float) -> None:
        stay.seen_at_s = until_s
        # What does not change does not move: its speed begins anew.
        stay.steps = []
        stay.sightings = [(until_s, good) for _, good in stay.sightings[-1:]]
        self._remain(stay, until_s)

    def _shift(self, stay: S, away_s: float) -> None:
        stay.seen_at_s += away_s
        stay.steps = []
        stay.sightings = [(at_s + away_s, good) for at_s, good in stay.sightings]

    def _miss(self, number: int, at_s: float) -> None:
        stay = self._state.stays[number]
        stay.present = False
        self._count(stay, at_s, False)
        self._lose(stay, at_s)
        if is_over(stay.seen_at_s, at_s, FORGET_S):
            self._forget(number)

    def _forget(self, number: int) -> None:
        state = self._state
        del state.stays[number]
        known = {_key(stay.confirmed) for stay in state.stays.values() if stay.confirmed}
        state.numbers = {key: n for key, n in state.numbers.items() if key in known}

    def _rearm(self, at_s: float) -> None:
        state = self._state
        if state.armed or state.fired_at_s is None:
            return
        since_s = state.fired_at_s if self._config.rearm == "interval" else state.occupied_at_s
        state.armed = lasted(since_s, at_s, self._config.rearm_s)

    def _fire(self, at_s: float) -> Sequence[Found]:
        self._rearm(at_s)
        due: list[tuple[int, S]] = []
        for number, stay in self._state.stays.items():
            if not self._occupies(stay):
                continue
            self._state.occupied_at_s = at_s
            if self._state.armed and not stay.fired and self._due(stay):
                due.append((number, stay))
        if not due:
            return []
        firings = [self._firing(number, stay, at_s) for number, stay in due]
        for _number, stay in due:
            self._tell(stay)
        self._state.armed, self._state.fired_at_s = False, at_s
        return firings

    def _tell(self, stay: S) -> None:
        stay.fired = True
        assert stay.confirmed is not None
        self._state.numbers[_key(stay.confirmed)] = self._number(stay) + 1

    def _number(self, stay: S) -> int:
        """Which event it is about this stay's first confirmed frame."""
        assert stay.confirmed is not None
        return max(stay.n, self._state.numbers.get(_key(stay.confirmed), 0))

    def _firing(self, number: int, stay: S, at_s: float) -> Firing:
        assert stay.confirmed is not None
        return Firing(
            at_s=at_s,
            session=stay.last_seen[0],
            sequence=stay.last_seen[1],
            first=stay.confirmed,
            n=self._number(stay),
            track=number,
            label=stay.label,
            facts=self._facts(stay),
            path=rounded(stay.path),
        )


class Fresh(Following[C, S]):
    """Following that starts anew when its schedule begins: what happened outside it is nobody's business."""

    def on_asleep(self, until_s: float) -> Sequence[Found]:
        """The schedule does not cover the time up to ``until_s``."""
        state = self._state
        state.stays.clear()
        state.numbers.clear()
        state.now_s = until_s
        if self._config.rearm == "quiet":
            state.armed = True
        return []


Z = TypeVar("Z", bound=ZoneConfig)
P = TypeVar("P", bound=Standing)


class Inside(Following[Z, P]):
    """Following that knows how long each track has been in the polygon, and goes on over a lost one for ``leave_s``."""

    lasting = "in_zone"
    """What its ``held_s`` is called."""

    def __init__(self, config: Z, zone: EmbeddedZone, state: State[P]) -> None:
        super().__init__(config, zone, state)
        self.takes_over_s = config.leave_s
        self._hold_s = config.hold_s if isinstance(config, HoldConfig) else 0.0
        self._gap_s = max(config.leave_s, 1.0)
        self._by_overlap = config.anchor == "overlap"
        self._near = around(zone.points)

    @property
    def wake_at_s(self) -> float | None:
        """When the first stay will have lasted."""
        waits = [
            self._state.now_s + max(0.0, self._hold_s - stay.held_s)
            for stay in self._state.stays.values()
            if stay.present and stay.inside and stay.confirmed and not stay.fired
        ]
        return min(waits, default=None)

    def _occupies(self, stay: P) -> bool:
        return stay.inside and stay.confirmed is not None

    def _lacks(self, stay: P, at_s: float) -> list[Shortfall]:
        away = [] if stay.inside else [self._away(stay)]
        lacks = [*away, *super()._lacks(stay, at_s)]
        if stay.inside and stay.held_s < self._hold_s:
            lacks.append(short(self.lasting, self._hold_s, tenths(stay.held_s), "hold_s"))
        return lacks

    def _away(self, stay: P) -> Shortfall:
        """Why it does not count as inside."""
        return Shortfall(bound="inside", wanted="in the zone", got="outside")

    def _due(self, stay: P) -> bool:
        return stay.held_s >= self._hold_s and stay.travel >= self._config.min_travel

    def _place(self, stay: P, seen: Seen, track: Track) -> None:
        self._move(stay, seen.at_s, self._contains(track, seen))

    def _contains(self, track: Track, seen: Seen) -> bool:
        if self._by_overlap:
            return overlap(self._zone.points, track.xyxy) >= 0.5
        x1, _, x2, y = track.xyxy
        x, (left, top, right, bottom) = (x1 + x2) / 2, self._near
        return left <= x <= right and top <= y <= bottom and holds(self._zone.points, x, y)

    def _move(self, stay: P, at_s: float, inside: bool) -> None:
        if inside:
            if stay.inside:
                gap_s = elapsed_s(stay.inside_at_s, at_s)
                if gap_s <= self._gap_s:
                    stay.held_s = round(stay.held_s + gap_s, 3)
            stay.inside, stay.inside_at_s = True, at_s
        else:
            self._lose(stay, at_s)

    def _lose(self, stay: P, at_s: float) -> None:
        if stay.inside and is_over(stay.inside_at_s, at_s, self._config.leave_s):
            self._leave(stay)

    def _leave(self, stay: P) -> None:
        self._release(stay)
        stay.inside, stay.held_s = False, 0.0

    def _release(self, stay: P) -> None:
        """What it fired for is over; the next time is another event."""
        if stay.fired:
            stay.n += 1
        stay.fired = False

    def _remain(self, stay: P, until_s: float) -> None:
        if stay.inside:
            stay.held_s = round(stay.held_s + elapsed_s(stay.inside_at_s, until_s), 3)
            stay.inside_at_s = until_s

    def _shift(self, stay: P, away_s: float) -> None:
        super()._shift(stay, away_s)
        stay.inside_at_s += away_s


class InZone(Inside[Z, P], Fresh[Z, P]):
    """``Inside`` that starts anew with its schedule.

    Only what the rule is about keeps the zone from being quiet: a busy street is never empty.
    """

    def _occupies(self, stay: P) -> bool:
        return super()._occupies(stay) and self._due(stay)

    def _there(self, stay: P, at_s: float) -> bool:
        """Whether a confirmed object is in the zone, or was so a moment ago."""
        if not stay.inside or stay.confirmed is None:
            return False
        return stay.present or not is_over(stay.inside_at_s, at_s, self._config.leave_s)


def _key(first: tuple[int, int]) -> str:
    return f"{first[0]}/{first[1]}"
