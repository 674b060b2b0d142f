"""The fold: ``(state, observation) -> (state, events)`` over one partition of the log, timers included. Pure.

It sees nothing but its partition of ``observations``, in log order. Input is monotone in (session, sequence) per camera
and deployment: older or equal is counted and skipped, and that is the whole deduplication. A ``SourceState`` speaks
about what follows its sequence, so it waits here until that frame's detections have come through the slower way.
The same code runs live, after a crash, and in rehearsal.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast
from uuid import UUID

import msgspec

from alerts.events import Event, SeenBox, event_uid, occurrence_id
from alerts.rules.config import CommonConfig, EmbeddedRule, EmbeddedZone
from alerts.rules.logic import (
    Buildable,
    BuildableBeside,
    Counted,
    Counts,
    Ender,
    Firing,
    Found,
    Logic,
    Measures,
    Seen,
    Sleeper,
    Watches,
)
from alerts.rules.registry import BadConfig, read_config
from alerts.schedule import follows_sun, is_active
from alerts.zones import bottom_centre, holds
from detectors.detections import Detections
from detectors.labels import expand
from detectors.tracking import Track, Tracker, TrackerConfig
from streams import observations as wire
from streams.instants import to_us, to_utc
from streams.live import LiveBox, LiveBoxes

ENGINE_VERSION = 1
SECOND_US, MINUTE_US = 1_000_000, 60_000_000
TICK_MARGIN_US = 2_000_000
"""A quiet camera's timers run this far behind the ticks: its next frame may still be on the way."""
SHOWN_SCORE = 0.45
"""Without a rule that says otherwise, less certain boxes would only clutter a person's picture."""
HOT_US = 10_000_000
"""A box stays marked on people's screens for so long after its rule fired."""
CLOCK_STEP_US = 5_000_000
"""A new session (or a tick) that is earlier by more than this follows a clock that was put right."""
MAX_WAITING = 64
"""Source states that wait for a frame; the oldest is applied when there are more, so that nothing waits for ever."""
WORD_HOLDS_US = 30_000_000
"""Of an enabled camera something is heard each 10 s. What it was is believed for so long, and after that unknown."""
HOLE_US = 5_000_000
"""Between two pictures, where some were dropped or the source began anew: of a longer time nothing is known. A shorter
one is forgiven by the rules' own inertia."""
SILENCE_US = 90_000_000
"""The same where nothing says why: the slowest deployment is given a picture a minute."""
FORGET_VERSION_S = 900.0
"""Logic of a version that ended is dropped after so long."""


@dataclass(frozen=True, slots=True)
class BlindChange:
    """A camera (for one deployment, or with None for all) went blind (``until_at`` None), or sees again."""

    camera: UUID
    deployment: UUID | None
    from_at: datetime
    until_at: datetime | None
    reason: str


@dataclass(frozen=True, slots=True)
class ZoneCount:
    """One number of the series of a rule version on one zone. The same log gives the same numbers again."""

    camera: UUID
    deployment: UUID
    rule_version: UUID
    zone: UUID
    counted: Counted


class Outcome(msgspec.Struct):
    """What one observation led to."""

    events: list[Event] = []
    blind: list[BlindChange] = []
    boxes: list[LiveBoxes] = []
    counts: list[ZoneCount] = []
    fired: list[int] = []
    """The track of each of ``events``, in their order; it means something only beside the tracks of the same fold."""
    tracks: list[Track] | None = None
    """Of the picture just analysed; None where there was none or it was a repeated one. Not added up."""

    def __iadd__(self, other: Outcome) -> Outcome:
        self.events += other.events
        self.fired += other.fired
        self.blind += other.blind
        self.boxes += other.boxes
        self.counts += other.counts
        return self


@dataclass(slots=True)
class Counters:
    """What the fold met; for the screen and the tests."""

    analysed: int = 0
    repeated: int = 0
    dropped: int = 0


class _Key(msgspec.Struct, frozen=True, order=True):
    camera: UUID
    deployment: UUID


class _StreamState(msgspec.Struct):
    """One camera seen by one deployment."""

    session: int = -1
    sequence: int = -1
    at_us: int = 0
    source: str = "active"
    source_since_us: int = 0
    heard_us: int = 0
    """The last moment of which the camera itself said something, by a word or by a picture."""
    still_us: int = 0
    """Quiet time so far: cut out of the tracker's time, because it keeps what it last saw."""
    last: wire.Detections | None = None
    missed: list[tuple[int, int]] = []
    """What was dropped and lies after the last picture, as (session, sequence): the word of it comes the faster way."""
    waiting: list[wire.SourceState] = []
    tracker: Any = None
    logics: dict[str, Any] = {}
    fired: dict[int, int] = {}


class _CameraState(msgspec.Struct):
    blind_from_us: int | None = None
    reason: str = ""
    session: int = -1
    at_us: int = 0


class _Snapshot(msgspec.Struct):
    version: int
    tick_us: int
    streams: list[tuple[_Key, _StreamState]]
    cameras: dict[UUID, _CameraState]


class _Running:
    """One rule version on one zone with its settings and its logic."""

    def __init__(self, rule: EmbeddedRule, zone: EmbeddedZone, config: CommonConfig, logic: Logic) -> None:
        self.rule, self.zone, self.config, self.logic = rule, zone, config, logic
        # Few kinds want more than pictures; each is asked for only once.
        self.measures = logic if isinstance(logic, Measures) else None
        self.watches = logic if isinstance(logic, Watches) else None
        self.counts = logic if isinstance(logic, Counts) else None
        self._sleeper = logic if isinstance(logic, Sleeper) else None
        self._ender = logic if isinstance(logic, Ender) else None
        self._exclusions = [
            other.points for other in rule.zones if other.shape == "exclusion" and other.camera == zone.camera
        ]

    def on_detections(self, picture: Seen, at: datetime) -> Sequence[Found]:
        if not self.acts(at):
            return self.sleep(picture.at_s)
        return self.logic.on_detections(self._without_excluded(picture) if self._exclusions else picture)

    def sleep(self, until_s: float) -> Sequence[Found]:
        found = [] if self._sleeper is None else self._sleeper.on_asleep(until_s)
        ended_at = self.rule.active_until_at
        if self._ender is None or ended_at is None or until_s < to_us(ended_at) / 1e6:
            return found
        return [*found, *self._ender.on_ended()]

    @property
    def turn_step_us(self) -> int:
        schedule = self.rule.schedule
        if self._sleeper is None or not (schedule.spans or schedule.holidays):
            return 0
        return SECOND_US if follows_sun(schedule) else MINUTE_US

    def turns(self, from_us: int, until_us: int) -> bool:
        """Whether the logic must hear that its schedule began or ended in between."""
        return self._sleeper is not None and self.acts(to_utc(from_us)) != self.acts(to_utc(until_us))

    def _without_excluded(self, picture: Seen) -> Seen:
        excluded = frozenset(
            track.number
            for track in picture.tracks
            if any(holds(points, *bottom_centre(track.xyxy)) for points in self._exclusions)
        )
        kept = [track for track in picture.tracks if track.number not in excluded]
        return msgspec.structs.replace(picture, tracks=kept, excluded=excluded)

    def acts(self, at: datetime) -> bool:
        rule = self.rule
        if at < rule.active_from_at or (rule.active_until_at is not None and at >= rule.active_until_at):
            return False
        return is_active(rule.schedule, at)


class _Stream:
    """Tracker and logics of one camera and deployment."""

    def __init__(self, key: _Key, state: _StreamState | None = None, tracking: TrackerConfig | None = None) -> None:
        self.key, self.tracking = key, tracking
        self.state = state or _StreamState()
        kept = self.state.tracker
        self.tracker = Tracker(tracking) if kept is None else Tracker.restore(kept, tracking)
        self.running: dict[str, _Running] = {}
        self.counts = False
        """Whether some logic counts the log's own time."""
        self.labels: frozenset[str] = frozenset()
        """What the rules here look for: people's screens show nothing else."""
        self.shown_score = SHOWN_SCORE
        """The least score that a person is shown: that of the least demanding rule here."""

    def configure(self, rules: Iterable[EmbeddedRule]) -> None:
        wanted: dict[str, _Running] = {}
        for rule in rules:
            for zone in _firing_zones(rule):
                if zone.camera != self.key.camera or rule.deployment != self.key.deployment:
                    continue
                key = f"{rule.version}/{zone.uid}"
                known = self.running.get(key)
                wanted[key] = _Running(rule, zone, known.config, known.logic) if known else self._build(rule, zone, key)
        self.running = wanted
        self.counts = any(running.counts is not None for running in wanted.values())
        configs = [running.config for running in wanted.values()]
        self.labels = frozenset().union(*(expand(label) for config in configs for label in config.labels))
        self.shown_score = min((config.confidence for config in configs), default=SHOWN_SCORE)

    def _build(self, rule: EmbeddedRule, zone: EmbeddedZone, key: str) -> _Running:
        config = read_config(rule.kind, rule.config)
        logic = _build(rule, zone, config, self.state.logics.pop(key, None))
        return _Running(rule, zone, config, logic)

    def snapshot(self) -> _StreamState:
        state = self.state
        logics = {key: running.logic.snapshot() for key, running in self.running.items()}
        return msgspec.structs.replace(state, tracker=self.tracker.snapshot(), logics={**state.logics, **logics})

    def begin_anew(self, at_us: int) -> None:
        """Our own clock was ahead and has been put right: what is known lies in the future, so it is let go.

        Otherwise nothing here would move for as long as the clock was wrong, which may be hours.
        """
        self.state.at_us = self.state.source_since_us = self.state.heard_us = at_us
        self.state.still_us, self.state.fired, self.state.logics = 0, {}, {}
        self.tracker = Tracker(self.tracking)
        self.running = {key: self._build(one.rule, one.zone, key) for key, one in self.running.items()}

    def settle(self, done: tuple[int, int]) -> list[wire.SourceState]:
        """The waiting source states that speak about what follows frame ``done``, taken out, oldest first."""
        ready = [state for state in self.state.waiting if (state.session, state.sequence) <= done]
        waiting = [state for state in self.state.waiting if (state.session, state.sequence) > done]
        surplus = max(0, len(waiting) - MAX_WAITING)
        self.state.waiting = waiting[surplus:]
        return ready + waiting[:surplus]

    def pass_still_time(self, until_us: int) -> list[tuple[_Running, Found]]:
        """Let quiet or blind time go by up to ``until_us``; quiet time may fire.

        Quiet is believed for ``WORD_HOLDS_US`` after the camera was last heard: whoever has lost power says nothing.
        """
        state = self.state
        fired: list[tuple[_Running, Found]] = []
        if state.source == "quiet":
            fired += self._pass(min(until_us, state.heard_us + WORD_HOLDS_US), known=True)
        if state.source != "active":
            fired += self._pass(until_us, known=False)
        return fired

    def _pass(self, until_us: int, *, known: bool) -> list[tuple[_Running, Found]]:
        state = self.state
        from_us = max(state.source_since_us, state.at_us)
        if until_us <= from_us:
            return []
        fired: list[tuple[_Running, Found]] = []
        for running in self.running.values():
            if not running.acts(to_utc(until_us)) or running.turns(from_us, until_us):
                # Where its schedule began on the way, a tick tells to the second when (see ``_on_tick``).
                fired += [(running, found) for found in running.sleep(until_us / 1e6)]
            elif known:
                fired += [(running, found) for found in running.logic.on_unchanged(until_us / 1e6)]
            else:
                running.logic.on_blind(from_us / 1e6, until_us / 1e6)
        if known:
            state.still_us += until_us - from_us
        state.at_us = until_us
        return fired

    def pass_hole(self, seen: wire.Detections, until_us: int) -> None:
        """Nothing is known of the time between the last picture and ``seen``, if that is too long."""
        state, from_us = self.state, self.state.at_us
        missed = any(one <= (seen.session, seen.sequence) for one in state.missed)
        if until_us - from_us <= (HOLE_US if missed or seen.session != state.session else SILENCE_US):
            return
        for running in self.running.values():
            if running.acts(to_utc(until_us)):
                running.logic.on_blind(from_us / 1e6, until_us / 1e6)

    def pass_logged_time(self, at: datetime) -> list[tuple[_Running, Firing]]:
        """Tell those who count the log's own time, whatever the camera sees, how late it is."""
        return [
            (running, firing)
            for running in self.running.values()
            if running.counts is not None and running.acts(at)
            for firing in running.counts.on_time(to_us(at) / 1e6)
        ]

    def wake_at_s(self) -> float | None:
        wakes = [running.logic.wake_at_s for running in self.running.values()]
        return min((wake for wake in wakes if wake is not None), default=None)

    @property
    def turn_step_us(self) -> int:
        """Of what a schedule begins and ends on whole multiples, where some logic must hear of it; 0: none must."""
        return min((step_us for running in self.running.values() if (step_us := running.turn_step_us)), default=0)

    def turns(self, until_us: int) -> bool:
        """Whether a schedule that some logic must hear of began or ended since the last moment that was passed."""
        return any(running.turns(self.state.at_us, until_us) for running in self.running.values())


class Engine:
    """The fold of one partition. ``step`` each observation in log order; ``snapshot`` at any point between two."""

    def __init__(
        self,
        rules: Iterable[EmbeddedRule] = (),
        snapshot: bytes | None = None,
        *,
        tracking: TrackerConfig | None = None,
        screens: bool = True,
    ) -> None:
        """``tracking``: how to track, where not as usual. ``screens``: whether people watch, so that boxes are made."""
        self.counters = Counters()
        self.broken: dict[UUID, str] = {}
        """Versions that cannot run, with the reason; the others do."""
        self._tick_us = 0
        self._tracking, self._screens = tracking, screens
        self._streams: dict[_Key, _Stream] = {}
        self._of_camera: dict[UUID, list[_Stream]] = {}
        self._latest: tuple[UUID | None, UUID | None, _Stream | None] = (None, None, None)
        self._cameras: dict[UUID, _CameraState] = {}
        self._rules: list[EmbeddedRule] = []
        if snapshot:
            self._restore(snapshot)
        self.configure(rules)

    @property
    def now(self) -> datetime | None:
        """The last tick's time; None before the first."""
        return to_utc(self._tick_us) if self._tick_us else None

    def configure(self, rules: Iterable[EmbeddedRule]) -> None:
        """Take these versions from now on; each acts on ``captured_at`` within its bounds, so give ended ones too."""
        self.broken = {}
        self._rules = [rule for rule in rules if self._sound(rule)]
        for rule in self._rules:
            for zone in rule.zones:
                self._stream(_Key(zone.camera, rule.deployment))
        for stream in self._streams.values():
            stream.configure(self._rules)

    def _sound(self, rule: EmbeddedRule) -> bool:
        ended = rule.active_until_at
        if ended is not None and self._tick_us and self._tick_us - to_us(ended) > FORGET_VERSION_S * 1e6:
            return False
        try:
            config = read_config(rule.kind, rule.config)
            for zone in _firing_zones(rule):
                _build(rule, zone, config, None)
            # An unknown clock, or the sun of a place that nobody knows.
            is_active(rule.schedule, rule.active_from_at)
        except (BadConfig, ValueError, KeyError) as error:
            self.broken[rule.version] = str(error)
            return False
        return True

    def step(self, observation: wire.Observation, tracks: list[Track] | None = None) -> Outcome:
        """Fold one observation in. ``tracks``: what the tracker said of this picture before; it is not asked again."""
        match observation:
            case wire.Detections():
                return self._on_detections(observation, tracks)
            case wire.Dropped():
                return self._on_dropped(observation)
            case wire.SourceState():
                return self._on_source(observation)
            case wire.Tick():
                return self._on_tick(observation)
            case wire.Measurement():
                return self._on_measurement(observation)

    def snapshot(self) -> bytes:
        """The whole state; an Engine made from it goes on exactly as this one would."""
        streams = [(key, stream.snapshot()) for key, stream in sorted(self._streams.items())]
        return msgspec.msgpack.encode(_Snapshot(ENGINE_VERSION, self._tick_us, streams, self._cameras))

    def _restore(self, data: bytes) -> None:
        snapshot = msgspec.msgpack.decode(data, type=_Snapshot)
        if snapshot.version != ENGINE_VERSION:
            raise ValueError(
                f"snapshot: expected engine version {ENGINE_VERSION}, got {snapshot.version}; it needs an upcaster"
            )
        self._tick_us, self._cameras = snapshot.tick_us, snapshot.cameras
        for key, state in snapshot.streams:
            self._keep(_Stream(key, state, self._tracking))

    def _stream_of(self, seen: wire.Detections) -> _Stream:
        """The stream of ``seen``; of the same two objects as last time without asking their 128 bits again."""
        camera, deployment, stream = self._latest
        if stream is None or camera is not seen.camera or deployment is not seen.deployment:
            stream = self._stream(_Key(seen.camera, seen.deployment))
            self._latest = seen.camera, seen.deployment, stream
        return stream

    def _stream(self, key: _Key) -> _Stream:
        stream = self._streams.get(key)
        if stream is None:
            stream = self._keep(_Stream(key, tracking=self._tracking))
            stream.configure(self._rules)
        return stream

    def _keep(self, stream: _Stream) -> _Stream:
        self._streams[stream.key] = stream
        self._of_camera.setdefault(stream.key.camera, []).append(stream)
        return stream

    def wake_us(self) -> int | None:
        """The earliest tick (POSIX microseconds) that could fire, as things are; None: ticks change nothing now."""
        wakes: list[int] = []
        for stream in self._streams.values():
            if stream.counts:
                wakes.append(self._tick_us)  # it reads every tick
            if stream.state.source == "quiet" and not stream.state.waiting:
                wakes += self._wakes(stream)
        return min(wakes, default=None)

    def _wakes(self, stream: _Stream) -> Iterator[int]:
        if (wake_s := stream.wake_at_s()) is not None:
            yield round(wake_s * 1e6) + TICK_MARGIN_US
        if step_us := stream.turn_step_us:
            yield (max(self._tick_us, stream.state.at_us) // step_us + 1) * step_us + TICK_MARGIN_US

    def logics(self, camera: UUID) -> list[tuple[EmbeddedRule, EmbeddedZone, Logic]]:
        """What runs on ``camera``, to be asked and not to be fed."""
        return [
            (running.rule, running.zone, running.logic)
            for stream in self._streams_of(camera)
            for running in stream.running.values()
        ]

    def _on_detections(self, seen: wire.Detections, tracks: list[Track] | None = None) -> Outcome:
        stream = self._stream_of(seen)
        state = stream.state
        if (seen.session, seen.sequence) <= (state.session, state.sequence):
            self.counters.repeated += 1
            return Outcome()
        self.counters.analysed += 1
        at_us = to_us(seen.captured_at)
        if seen.session > state.session and at_us < state.at_us - CLOCK_STEP_US:
            stream.begin_anew(at_us)
        # What was said about the time before this picture holds, even where the frame it named never came.
        outcome = self._settle(stream, (seen.session, seen.sequence - 1)) if state.waiting else Outcome()
        if state.source != "active":
            outcome += self._events(stream, stream.pass_still_time(at_us))
        elif state.at_us and at_us - state.at_us > HOLE_US:
            stream.pass_hole(seen, at_us)
        if state.missed:
            state.missed = [one for one in state.missed if one > (seen.session, seen.sequence)]
        # Within a session, and by small steps between two, time here never goes back.
        at = seen.captured_at
        if at_us < state.at_us:
            at_us, at = state.at_us, to_utc(state.at_us)
        state.at_us = at_us
        state.heard_us = max(at_us, state.heard_us)
        if state.source != "active":
            state.source_since_us = at_us
        state.session, state.sequence, state.last = seen.session, seen.sequence, seen
        if tracks is None:
            tracks = stream.tracker.update(
                Detections.from_wire(seen),
                session=seen.session,
                sequence=seen.sequence,
                at=to_utc(at_us - state.still_us),
            )
        outcome.tracks = tracks
        if fired := self._show(stream, seen, tracks, at_us / 1e6, at):
            outcome += self._events(stream, fired)
        if self._screens:
            outcome.boxes.append(self._boxes(stream, seen, tracks))
        if state.waiting:
            outcome += self._settle(stream)
        return outcome

    def _show(
        self, stream: _Stream, seen: wire.Detections, tracks: list[Track], at_s: float, at: datetime
    ) -> list[tuple[_Running, Found]]:
        width, height = seen.source_wh
        picture = Seen(
            at_s=at_s,
            session=seen.session,
            sequence=seen.sequence,
            tracks=tracks,
            aspect=width / height if height else 1.0,
        )
        return [(running, found) for running in stream.running.values() for found in running.on_detections(picture, at)]

    def _events(self, stream: _Stream, fired: Sequence[tuple[_Running, Found]]) -> Outcome:
        outcome = Outcome()
        for running, found in fired:
            if isinstance(found, Counted):
                key = stream.key
                count = ZoneCount(key.camera, key.deployment, running.rule.version, running.zone.uid, found)
                outcome.counts.append(count)
                continue
            stream.state.fired[found.track] = stream.state.at_us
            outcome.events.append(self._event(stream, running, found))
            outcome.fired.append(found.track)
        return outcome

    def _event(self, stream: _Stream, running: _Running, firing: Firing) -> Event:
        rule, zone, last = running.rule, running.zone, stream.state.last
        occurrence = occurrence_id(stream.key.camera, stream.key.deployment, *firing.first, zone.uid)
        return Event(
            uid=event_uid(rule.version, occurrence, firing.n),
            kind=rule.kind,
            severity=rule.severity,
            camera=stream.key.camera,
            rule_version=rule.version,
            deployment=stream.key.deployment,
            zone=zone.uid,
            label=firing.label,
            session=firing.session,
            sequence=firing.sequence,
            happened_at=to_utc(round(firing.at_s * 1e6)),
            facts=firing.facts,
            boxes=_seen_boxes(last, firing, stream.labels, stream.shown_score) if last is not None else [],
            path=firing.path,
            zone_polygon=list(zone.points),
            frame=last.frame if last is not None else None,
            stale_s=running.config.stale_s,
        )

    def _boxes(self, stream: _Stream, seen: wire.Detections, tracks: list[Track]) -> LiveBoxes:
        fired = stream.state.fired = {
            number: at_us for number, at_us in stream.state.fired.items() if stream.state.at_us - at_us < HOT_US
        }
        wanted, least = stream.labels, stream.shown_score
        boxes = [
            LiveBox(track.xyxy, track.label, round(track.score, 3), track.number, track.number in fired)
            for track in tracks
            if track.number in fired or (track.hits >= 2 and track.score >= least and track.label in wanted)
        ]
        return LiveBoxes(
            camera=seen.camera,
            session=seen.session,
            sequence=seen.sequence,
            captured_at=seen.captured_at,
            boxes=boxes,
        )

    def _on_dropped(self, dropped: wire.Dropped) -> Outcome:
        self.counters.dropped += dropped.count
        outcome = Outcome()
        for stream in self._streams_of(dropped.camera):
            key, state = stream.key, stream.state
            if dropped.deployment not in (None, key.deployment):
                continue
            if (dropped.session, dropped.sequence) <= (state.session, state.sequence):
                continue
            from_us, until_us = state.at_us, to_us(dropped.captured_at)
            state.missed = [*state.missed, (dropped.session, dropped.sequence)][-MAX_WAITING:]
            if dropped.deployment is not None:
                # Capture's own word (no deployment) overtakes pictures that are still being analysed.
                state.session, state.sequence = dropped.session, dropped.sequence
            if from_us and until_us > from_us:
                outcome.blind.append(
                    BlindChange(
                        key.camera, key.deployment, to_utc(from_us), to_utc(until_us), f"dropped:{dropped.reason}"
                    )
                )
            outcome += self._settle(stream)
        return outcome

    def _on_source(self, source: wire.SourceState) -> Outcome:
        camera = self._cameras.setdefault(source.camera, _CameraState())
        at_us = to_us(source.at)
        outcome = Outcome()
        streams = self._streams_of(source.camera)
        if (source.session, at_us) >= (camera.session, camera.at_us):
            camera.session, camera.at_us = source.session, at_us
            outcome.blind += self._blind_change(camera, source)
            for stream in streams:
                outcome += self._tell_source(stream, source)
        for stream in streams:
            state = stream.state
            if not state.waiting and (source.session, source.sequence) <= (state.session, state.sequence):
                outcome += self._events(stream, self._apply(stream, source))
            else:
                state.waiting = [*state.waiting, source]
                outcome += self._settle(stream)
        return outcome

    def _tell_source(self, stream: _Stream, source: wire.SourceState) -> Outcome:
        outcome = Outcome()
        for running in stream.running.values():
            if running.watches is not None and running.acts(source.at):
                fired = running.watches.on_source(source)
                outcome += self._events(stream, [(running, firing) for firing in fired])
        return outcome

    def _on_measurement(self, measured: wire.Measurement) -> Outcome:
        """Give it to the logics of its camera, deployment and zone; what it leaves open (None) excludes none."""
        outcome = Outcome()
        for stream in self._streams_of(measured.camera):
            if measured.deployment not in (None, stream.key.deployment):
                continue
            for running in stream.running.values():
                if running.measures is None or measured.zone not in (None, running.zone.uid):
                    continue
                if running.acts(measured.at):
                    fired = running.measures.on_measurement(measured)
                    outcome += self._events(stream, [(running, firing) for firing in fired])
        return outcome

    def _streams_of(self, camera: UUID) -> list[_Stream]:
        return self._of_camera.get(camera, [])

    def _blind_change(self, camera: _CameraState, source: wire.SourceState) -> list[BlindChange]:
        was, blind = camera.blind_from_us, source.state == "blind"
        changes: list[BlindChange] = []
        if was is not None and (not blind or camera.reason != source.reason):
            until = max(was, to_us(source.since_at))
            changes.append(BlindChange(source.camera, None, to_utc(was), to_utc(until), camera.reason))
            camera.blind_from_us = was = None
        if blind and was is None:
            camera.blind_from_us, camera.reason = to_us(source.since_at), source.reason
            changes.append(BlindChange(source.camera, None, source.since_at, None, source.reason))
        return changes

    def _settle(self, stream: _Stream, done: tuple[int, int] | None = None) -> Outcome:
        outcome = Outcome()
        for source in stream.settle(done or (stream.state.session, stream.state.sequence)):
            outcome += self._events(stream, self._apply(stream, source))
        return outcome

    def _apply(self, stream: _Stream, source: wire.SourceState) -> list[tuple[_Running, Found]]:
        """What was said is now about ``stream``; what the time before it led to."""
        state, since_us = stream.state, to_us(source.since_at)
        fired = stream.pass_still_time(since_us) if state.source != "active" else []
        state.heard_us = max(to_us(source.at), state.heard_us)
        if source.state != state.source:
            state.source, state.source_since_us = source.state, max(since_us, state.at_us)
        return fired

    def _on_tick(self, tick: wire.Tick) -> Outcome:
        at_us = to_us(tick.at)
        outcome = Outcome()
        if self._tick_us - CLOCK_STEP_US <= at_us <= self._tick_us:
            return outcome
        self._tick_us = at_us
        until_us = at_us - TICK_MARGIN_US
        for stream in self._streams.values():
            wake_s = stream.wake_at_s()
            due = wake_s is not None and round(wake_s * 1e6) <= until_us
            still = stream.state.source == "quiet" and not stream.state.waiting
            if still and (due or stream.turns(until_us)):
                outcome += self._events(stream, stream.pass_still_time(until_us))
            outcome += self._events(stream, stream.pass_logged_time(tick.at))
        return outcome


def _firing_zones(rule: EmbeddedRule) -> list[EmbeddedZone]:
    return [zone for zone in rule.zones if zone.shape != "exclusion"]


def _build(rule: EmbeddedRule, zone: EmbeddedZone, config: CommonConfig, state: Any | None) -> Logic:
    if not zone.time_zone:
        zone = msgspec.structs.replace(zone, time_zone=rule.schedule.time_zone)
    if isinstance(config, BuildableBeside):
        others = [one for one in _firing_zones(rule) if one.camera == zone.camera and one.uid != zone.uid]
        return config.build_beside(zone, others, state)
    return cast(Buildable, config).build(zone, state)


def _seen_boxes(last: wire.Detections, firing: Firing, wanted: frozenset[str], least: float) -> list[SeenBox]:
    """What the picture shows of what the rules look for; the box nearest to the path's end is what fired, and first."""
    detections = Detections.from_wire(last)
    rows = [
        SeenBox((float(box[0]), float(box[1]), float(box[2]), float(box[3])), label, round(float(score), 3))
        for box, score, label in zip(detections.xyxy, detections.score, detections.label, strict=True)
        if label in wanted
    ]
    if not rows or not firing.path:
        return [row for row in rows if row.score >= least]
    x, y = firing.path[-1]

    def distance(row: SeenBox) -> float:
        x1, _, x2, y2 = row.xyxy
        return (row.label != firing.label) * 10 + abs((x1 + x2) / 2 - x) + abs(y2 - y)

    nearest = min(rows, key=distance)
    others = [row for row in rows if row is not nearest and row.score >= least]
    return [msgspec.structs.replace(nearest, fired=True), *others]
