"""Why did it not fire? From the source to the rule, the first stage that stopped it, and what was short of which bound.

Pure over the archived observations around the moment. Where one setting was short, the changed setting is tried on the
same minutes before it is offered: what is offered would have fired. Silence and delivery come after the rule and stand
in the database: ``alerts.asking`` adds them.
"""

from __future__ import annotations

import zoneinfo
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal, Protocol, runtime_checkable
from uuid import UUID

import msgspec

from alerts.archive_rows import Batch, Kept
from alerts.engine import TICK_MARGIN_US, Engine
from alerts.events import Event
from alerts.rules.config import CommonConfig, EmbeddedRule, Point, ScheduleSpan
from alerts.rules.logic import Shortfall, hundredths, thousandths
from alerts.rules.registry import config_of, read_config
from alerts.rules.sequence import SequenceConfig
from alerts.schedule import follows_sun, is_active
from alerts.sequences import KIND as SEQUENCE
from alerts.sequences import Sequences, shortfalls
from alerts.zones import bottom_centre, holds
from detectors.detections import Detections
from detectors.labels import expand
from detectors.tracking import Track, TrackerConfig
from streams import observations as wire
from streams.instants import to_us, to_utc

AROUND_S = 5.0
"""People remember a moment so exactly."""
WARM_UP_S = 120.0
MOST_WARM_UP_S = 1800.0
"""A rule that waits for longer than this is told as having waited for at most so long."""
RESTLESS_S = 60.0
"""A quiet camera is looked at each 10 s; with nothing for so long its gate is not what kept pictures away."""
MOST_FOUND = 6
"""Labels that are named with their best score."""
LOWER = (0.0, 0.02, 0.05, 0.1)
"""A confidence is tried so much below the best score: one picture alone confirms nothing."""

Stage = Literal["source", "gate", "detections", "track", "rule", "silence", "delivery"]
STAGES: tuple[Stage, ...] = ("source", "gate", "detections", "track", "rule", "silence", "delivery")
UNTOLD = frozenset({"heard", "label", "said", "queued", "sending", "unknown"})
"""Bounds that neither let it pass nor stopped it: nobody knows, or not yet."""


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One stage on the way, and whether it let the matter pass.

    ``bound`` is a key; its words are chosen when it is shown. ``wanted`` and ``got`` are numbers or words, as the bound
    has them. ``setting`` and ``proposed`` name the one change that would have let it pass here, where there is one;
    ``term`` is the row of a setting that is a table.
    """

    stage: Stage
    passed: bool
    bound: str = ""
    wanted: float | str = ""
    got: float | str = ""
    setting: str = ""
    proposed: Any = None
    term: str = ""

    @property
    def untold(self) -> bool:
        """Whether it neither let it pass nor stopped it: nobody knows."""
        return not self.passed and self.bound in UNTOLD


class Sighted(msgspec.Struct, frozen=True, kw_only=True):
    """A label that was found around the moment, doubtful boxes counted."""

    label: str
    best: float
    pictures: int
    wanted: bool
    """Whether the rule looks for it."""


class Sketch(msgspec.Struct, frozen=True, kw_only=True):
    """What came nearest, as a drawing takes it: its surest box, and where its feet went around the moment."""

    xyxy: tuple[float, float, float, float]
    path: list[Point] = []


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """The walk of one rule up to where it was stopped. ``fired``: it did fire; ``changed``: the rule that would have.

    ``changed`` is the whole rule with one setting changed, ready to rehearse; None where no single change is known to
    do.
    """

    rule: UUID
    version: UUID
    steps: list[Step]
    fired: list[Event] = msgspec.field(default_factory=list)
    found: list[Sighted] = msgspec.field(default_factory=list)
    sketch: Sketch | None = None
    changed: EmbeddedRule | None = None

    @property
    def stopped(self) -> Step | None:
        """The stage that stopped it; None when nothing did."""
        return next((step for step in self.steps if not step.passed), None)


@runtime_checkable
class Explains(Protocol):
    """Logic that can say what it lacks. Optional for a kind."""

    def explain(self, at_s: float) -> list[Shortfall]: ...


@dataclass(frozen=True, kw_only=True)
class Question:
    """One camera at one moment.

    ``knows`` gives the labels of a model named as in Detections. ``events`` are what the site's rules fired before and
    around the moment, ``makers`` the versions that fired them: a sequence waits for those and not for pictures.
    """

    camera: UUID
    at: datetime
    rules: Sequence[EmbeddedRule]
    knows: Mapping[str, frozenset[str]] = field(default_factory=dict)
    events: Sequence[Event] = ()
    makers: Sequence[EmbeddedRule] = ()
    tracking: TrackerConfig = field(default_factory=TrackerConfig)

    @property
    def from_at(self) -> datetime:
        """The earliest observation that is asked for."""
        # A sequence waits for events.
        waits_s = (warm_up_s(rule) for rule in self.rules if rule.kind != SEQUENCE)
        return self.at - timedelta(seconds=max([WARM_UP_S, *waits_s]))

    @property
    def until_at(self) -> datetime:
        """The latest one, not included."""
        return self.at + timedelta(seconds=AROUND_S)


def warm_up_s(rule: EmbeddedRule) -> float:
    """As much of ``settling_s`` as whoever waits for an answer can wait for."""
    return min(MOST_WARM_UP_S, settling_s(rule))


def settling_s(rule: EmbeddedRule) -> float:
    """Long enough for ``rule`` to be as it was: all that it waits for has lasted, and it is ready again."""
    config = config_of(rule)
    return WARM_UP_S + (0.0 if config is None else config.looks_back_s)


def why_not(question: Question, batches: Iterable[Batch]) -> list[Answer]:
    """An answer for each rule. ``batches`` are the camera's, all labels, from ``from_at`` to ``until_at``."""
    minutes = _Minutes(question, list(batches))
    return [_answer(question, rule, minutes) for rule in question.rules]


@dataclass(frozen=True)
class _Asked:
    """One rule on the way through its stages."""

    rule: EmbeddedRule
    config: CommonConfig
    question: Question
    minutes: _Minutes

    @property
    def labels(self) -> frozenset[str]:
        return frozenset().union(*(expand(label) for label in self.config.labels))

    def near_pictures(self) -> list[tuple[wire.Detections, list[Track]]]:
        return self.minutes.near_pictures(self.rule.deployment)

    def tracks(self) -> list[Track]:
        """Everything of the rule's labels that was followed around the moment."""
        return [track for _, tracks in self.near_pictures() for track in tracks if track.label in self.labels]

    def answer(self, steps: list[Step], **more: Any) -> Answer:
        rule = self.rule
        return Answer(
            rule=rule.rule, version=rule.version, steps=steps, found=self.found(), sketch=self.sketch(), **more
        )

    def sketch(self) -> Sketch | None:
        """Of what was followed, else of what was only found."""
        if tracks := self.tracks():
            surest = max(tracks, key=lambda track: track.score)
            path = [bottom_centre(track.xyxy) for track in tracks if track.number == surest.number]
            return Sketch(xyxy=surest.xyxy, path=path)
        boxes = (
            (float(score), [float(edge) for edge in box])
            for seen, _ in self.near_pictures()
            for found in [Detections.from_wire(seen)]
            for score, label, box in zip(found.score, found.label, found.xyxy, strict=True)
            if label in self.labels
        )
        _, best = max(boxes, default=(0.0, []))
        return Sketch(xyxy=(best[0], best[1], best[2], best[3])) if best else None

    def found(self) -> list[Sighted]:
        """What was found, the best score first; what the rule looks for before everything else."""
        scores: dict[str, list[float]] = {}
        for seen, _ in self.near_pictures() if self.config.labels else []:
            for label, score in _best_by_label(seen).items():
                scores.setdefault(label, []).append(score)
        rows = [
            Sighted(label=label, best=round(max(some), 3), pictures=len(some), wanted=label in self.labels)
            for label, some in scores.items()
        ]
        return sorted(rows, key=lambda row: (not row.wanted, -row.best))[:MOST_FOUND]


def _answer(question: Question, rule: EmbeddedRule, minutes: _Minutes) -> Answer:
    try:
        config = read_config(rule.kind, rule.config)
    except ValueError as error:
        broken = Step(stage="rule", passed=False, bound="config", got=str(error))
        return Answer(rule=rule.rule, version=rule.version, steps=[broken])
    # Nobody asked for pictures before the rule was there: what they show says nothing about it.
    if outside := _not_in_force(rule, question.at):
        return Answer(rule=rule.rule, version=rule.version, steps=[outside])
    asked = _Asked(rule, config, question, minutes)
    steps: list[Step] = []
    for stage in config.walks:
        steps.append(_LOOKS[stage](asked))
        if not steps[-1].passed:
            return asked.answer(steps)
    return _judged(asked, steps)


def _judged(asked: _Asked, steps: list[Step]) -> Answer:
    """Everything before the rule let it pass: what the rule itself says."""
    if not is_active(asked.rule.schedule, asked.question.at):
        asleep = Step(stage="rule", passed=False, bound="schedule")
        return asked.answer([*steps, asleep], changed=_awake(asked))
    ran = asked.minutes.run(asked.rule)
    if ran.fired:
        done = Step(stage="rule", passed=True, got=ran.fired[0].happened_at.isoformat())
        return asked.answer([*steps, done], fired=ran.fired)
    short = [_unseen(asked, ran)] if ran.told or not ran.short else ran.short
    return asked.answer([*steps, *short], changed=_changed(asked, short))


def _not_in_force(rule: EmbeddedRule, at: datetime) -> Step | None:
    if at < rule.active_from_at:
        return Step(stage="rule", passed=False, bound="not_yet", wanted=rule.active_from_at.isoformat())
    if rule.active_until_at is not None and at >= rule.active_until_at:
        return Step(stage="rule", passed=False, bound="off", wanted=rule.active_until_at.isoformat())
    return None


def _unseen(asked: _Asked, ran: _Ran) -> Step:
    """Why the rule's logic has nothing to say: it never got to see what was followed, or it has told it already."""
    tracks = asked.tracks() if asked.config.labels else []
    if (unseen := _masked(asked, tracks) or _sized(asked, tracks)) is not None:
        return unseen
    if ran.earlier is not None:
        return Step(stage="rule", passed=False, bound="already", got=ran.earlier.happened_at.isoformat())
    return Step(stage="rule", passed=False, bound="unexplained")


def _masked(asked: _Asked, tracks: Sequence[Track]) -> Step | None:
    masks = [zone for zone in asked.rule.zones if zone.shape == "exclusion" and zone.camera == asked.question.camera]
    for zone in masks:
        if tracks and all(holds(zone.points, *bottom_centre(track.xyxy)) for track in tracks):
            return Step(stage="rule", passed=False, bound="masked", got=zone.name)
    return None


def _sized(asked: _Asked, tracks: Sequence[Track]) -> Step | None:
    heights = [track.xyxy[3] - track.xyxy[1] for track in tracks]
    least, most = asked.config.min_height, asked.config.max_height
    if heights and least is not None and max(heights) < least:
        got = thousandths(max(heights))
        return Step(
            stage="rule", passed=False, bound="min_height", wanted=least, got=got, setting="min_height", proposed=got
        )
    if heights and most is not None and min(heights) > most:
        got = thousandths(min(heights)) + 0.001
        return Step(
            stage="rule", passed=False, bound="max_height", wanted=most, got=got, setting="max_height", proposed=got
        )
    return None


# A change that would have fired, found by trying it.


def _changed(asked: _Asked, short: Sequence[Step]) -> EmbeddedRule | None:
    """The rule with one setting changed that fires on the same minutes."""
    for step in short:
        for value in _values(step) if step.setting else ():
            changed = msgspec.structs.replace(asked.rule, config=_with(asked.rule.config, step, value))
            if asked.minutes.run(changed).would:
                return changed
    return None


def _with(config: Mapping[str, Any], step: Step, value: Any) -> dict[str, Any]:
    """``config`` with ``value`` for the setting of ``step``, or for its row of that."""
    table = {**config.get(step.setting, {}), step.term: value} if step.term else value
    return {**config, step.setting: table}


def _values(step: Step) -> Iterator[Any]:
    if step.bound != "confidence":
        yield step.proposed
        return
    for lower in LOWER:
        yield max(0.1, hundredths(step.proposed - lower + 1e-9))


def _awake(asked: _Asked) -> EmbeddedRule | None:
    """The rule acting in the hour of the moment as well. Whoever follows the sun or holidays says so in the form."""
    schedule = asked.rule.schedule
    if not schedule.spans or schedule.holidays or follows_sun(schedule):
        return None
    local = asked.question.at.astimezone(zoneinfo.ZoneInfo(schedule.time_zone))
    hour = ScheduleSpan(from_=f"{local.hour:02}:00", until=f"{(local.hour + 1) % 24:02}:00")
    wider = msgspec.structs.replace(schedule, spans=[*schedule.spans, hour])
    changed = msgspec.structs.replace(asked.rule, schedule=wider)
    return changed if asked.minutes.run(changed).would else None


@dataclass(frozen=True)
class _Ran:
    """What a rule did over the minutes: fired around the moment, last before it, lacked when it came nearest."""

    fired: list[Event]
    earlier: Event | None
    short: list[Step]
    told: bool = False
    """Whether what it fired about before was there still."""

    @property
    def would(self) -> bool:
        """Whether it tells of the moment: then, or before of what was there still."""
        return bool(self.fired) or self.told


class _Minutes:
    """What was observed around the moment, in log order with its ticks."""

    def __init__(self, question: Question, batches: Sequence[Batch]) -> None:
        self.camera, self.at, self._question = question.camera, question.at, question
        self.rows: list[Kept] = [row for batch in batches for row in batch.rows]
        ticks = [
            Kept(offset, wire.Tick(at=to_utc(at_us)))
            for batch in batches
            for offset, at_us in zip(batch.ticks.offset.tolist(), batch.ticks.at_us.tolist(), strict=True)
        ]
        self.log = sorted([*self.rows, *ticks], key=lambda row: row.offset)

    def near(self, at: datetime) -> bool:
        return abs((at - self.at).total_seconds()) <= AROUND_S

    def pictures(self, deployment: UUID) -> list[tuple[wire.Detections, list[Track]]]:
        """Those that the deployment analysed."""
        return [
            (row.observation, row.tracks or [])
            for row in self.rows
            if isinstance(row.observation, wire.Detections) and row.observation.deployment == deployment
        ]

    def near_pictures(self, deployment: UUID) -> list[tuple[wire.Detections, list[Track]]]:
        """Those at the moment; with none (the gate was closed) the last one before it, which still held."""
        all_of_them = self.pictures(deployment)
        near = [one for one in all_of_them if self.near(one[0].captured_at)]
        return near or [one for one in all_of_them if one[0].captured_at <= self.at][-1:]

    def near_anything(self) -> bool:
        """Whether anything was said of the camera within a silence that is usual."""
        since = self.at - timedelta(seconds=RESTLESS_S)
        return any(since <= _now(row.observation) for row in self.rows)

    def lost(self, deployment: UUID) -> list[wire.Dropped]:
        """Pictures of the moment that were not analysed."""
        dropped = (row.observation for row in self.rows if isinstance(row.observation, wire.Dropped))
        mine = (one for one in dropped if one.deployment in (None, deployment))
        return [one for one in mine if self.near(one.captured_at)]

    def state(self) -> wire.SourceState | None:
        """The last word about the camera at the moment."""
        states = [row.observation for row in self.rows if isinstance(row.observation, wire.SourceState)]
        return next((state for state in reversed(states) if state.at <= self.at + timedelta(seconds=AROUND_S)), None)

    def run(self, rule: EmbeddedRule) -> _Ran:
        """What it fires around the moment, and what it lacked when it came nearest."""
        early = self.at - timedelta(days=1)
        wide = msgspec.structs.replace(rule, active_from_at=early, active_until_at=None)
        return self._run_sequence(wide) if rule.kind == SEQUENCE else self._run_pictures(wide)

    def _run_pictures(self, rule: EmbeddedRule) -> _Ran:
        engine = Engine([rule], screens=False)
        fired: list[Event] = []
        numbers: list[int] = []
        nearest: list[Step] = []
        since = self.at - timedelta(seconds=warm_up_s(rule))
        for row in self.log:
            if (now := _now(row.observation)) < since:
                continue
            outcome = engine.step(row.observation, row.tracks)
            fired, numbers = fired + outcome.events, numbers + outcome.fired
            if self.near(now) and not (fired and self.near(fired[-1].happened_at)):
                nearest = _nearer(nearest, _explain(engine, self.camera, now))
        here = {track.number for _, tracks in self.near_pictures(rule.deployment) for track in tracks}
        return self._ran(fired, nearest, told=bool(here & set(numbers)) or (bool(fired) and not nearest))

    def _run_sequence(self, rule: EmbeddedRule) -> _Ran:
        asked = self._question
        fold = Sequences([*asked.makers, rule])
        for event in asked.events:
            fold.step(event)
        fired = [event for event in fold.advance(asked.until_at) if event.rule_version == rule.version]
        config, makers = config_of(rule), {one.version: one.rule for one in asked.makers}
        made = [(makers[event.rule_version], event) for event in asked.events if event.rule_version in makers]
        assert isinstance(config, SequenceConfig)
        near_s = timedelta(seconds=AROUND_S)
        earlier = [event.happened_at for event in fired if event.happened_at < self.at - near_s]
        lacks = shortfalls(config, made, self.at - near_s, self.at + near_s, fired_at=max(earlier, default=None))
        return self._ran(fired, [_step(lack) for lack in lacks])

    def _ran(self, fired: Sequence[Event], nearest: list[Step], told: bool = False) -> _Ran:
        near = [event for event in fired if self.near(event.happened_at)]
        earlier = [event for event in fired if not self.near(event.happened_at)]
        return _Ran(near, earlier[-1] if earlier else None, nearest, told)


def _now(observation: wire.Observation) -> datetime:
    if isinstance(observation, wire.Detections | wire.Dropped):
        return observation.captured_at
    margin = timedelta(microseconds=TICK_MARGIN_US) if isinstance(observation, wire.Tick) else timedelta()
    return observation.at - margin


def _explain(engine: Engine, camera: UUID, at: datetime) -> list[Step]:
    """What each zone's logic lacks at ``at``; that of the zone that lacks least."""
    best: list[Step] = []
    for _, _, logic in engine.logics(camera):
        if isinstance(logic, Explains):
            best = _nearer(best, [_step(short) for short in logic.explain(to_us(at) / 1e6)])
    return best


def _step(short: Shortfall) -> Step:
    return Step(
        stage="rule",
        passed=False,
        bound=short.bound,
        wanted=short.wanted,
        got=short.got,
        setting=short.setting,
        proposed=short.proposed,
        term=short.term,
    )


def _nearer(one: list[Step], other: list[Step]) -> list[Step]:
    """The shorter list of lacks; of two as long, the one that lacks less, and the later one, in which counts grew."""
    if not one or not other:
        return one or other
    if len(one) != len(other):
        return one if len(one) < len(other) else other
    return one if 0 <= _gap(one) < _gap(other) else other


def _gap(steps: list[Step]) -> float:
    """How far the first lack is from its bound, as a share of it; -1 where that is no number."""
    wanted, got = steps[0].wanted, steps[0].got
    if isinstance(wanted, str) or isinstance(got, str) or not wanted:
        return -1.0
    return abs(wanted - got) / abs(wanted)


# Before the rule.


def _source(asked: _Asked) -> Step:
    minutes = asked.minutes
    state = minutes.state()
    if not minutes.near_anything():
        return Step(stage="source", passed=False, bound="heard")
    if state is not None and state.state == "blind" and state.since_at <= minutes.at:
        return Step(stage="source", passed=False, bound="sees", got=state.reason)
    return Step(stage="source", passed=True, got=state.state if state is not None else "active")


def _gate(asked: _Asked) -> Step:
    """Whether a picture of the moment was analysed; a quiet camera's last one holds for as long as nothing changes."""
    minutes, deployment = asked.minutes, asked.rule.deployment
    pictures = asked.near_pictures()
    last_s = (minutes.at - pictures[-1][0].captured_at).total_seconds() if pictures else RESTLESS_S
    if pictures and last_s < RESTLESS_S:
        if minutes.near(pictures[-1][0].captured_at):
            return Step(stage="gate", passed=True, got=len(pictures))
        return Step(stage="gate", passed=True, bound="still", got=round(last_s, 1))
    if lost := minutes.lost(deployment):
        return Step(stage="gate", passed=False, bound="dropped", got=lost[-1].reason)
    return Step(stage="gate", passed=False, bound="pictures", wanted=1.0, got=0.0)


def _detections(asked: _Asked) -> Step:
    """Whether anything of these labels was found, doubtful boxes counted; the best score says how nearly."""
    seen = [one for one, _ in asked.near_pictures()]
    best = best_score(seen, asked.labels)
    if best > 0:
        return Step(stage="detections", passed=True, got=round(best, 3))
    knows = asked.question.knows
    models = {one.model for one in seen}
    if all(model in knows and not knows[model] & asked.labels for model in models):
        return Step(stage="detections", passed=False, bound="label", got=", ".join(sorted(models)))
    return Step(stage="detections", passed=False, bound="found", wanted=asked.question.tracking.high, got=0.0)


def _track(asked: _Asked) -> Step:
    """Whether it was followed: only a box of ``tracking.high`` or more begins a track."""
    tracking = asked.question.tracking
    if followed := {track.number for track in asked.tracks()}:
        return Step(stage="track", passed=True, got=len(followed))
    best = round(best_score((seen for seen, _ in asked.near_pictures()), asked.labels), 3)
    if best < tracking.high:
        return Step(stage="track", passed=False, bound="tracked_from", wanted=tracking.high, got=best)
    others = sorted({track.label for _, tracks in asked.near_pictures() for track in tracks})
    return Step(stage="track", passed=False, bound="tracked_as", got=", ".join(others))


_LOOKS: dict[str, Any] = {"source": _source, "gate": _gate, "detections": _detections, "track": _track}


def best_score(pictures: Iterable[wire.Detections], labels: frozenset[str]) -> float:
    """The best score of any box of ``labels``; 0 when there is none."""
    scores = (score for seen in pictures for label, score in _best_by_label(seen).items() if label in labels)
    return max(scores, default=0.0)


def _best_by_label(seen: wire.Detections) -> dict[str, float]:
    best: dict[str, float] = {}
    for score, label in zip(Detections.from_wire(seen).score, seen.label, strict=True):
        best[label] = max(best.get(label, 0.0), float(score))
    return best
