"""Why did it not fire? From the source to the rule, the first stage that stopped it, and what was short of which bound.

Pure over the archived observations around the moment. Where one setting was short, the changed setting is tried on the
same minutes before it is offered: what is offered would have fired.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal, Protocol, runtime_checkable
from uuid import UUID

import msgspec

from alerts.archive_rows import Batch, Kept, from_us, to_us
from alerts.engine import TICK_MARGIN_US, Engine
from alerts.events import Event
from alerts.rules.config import CommonConfig, EmbeddedRule
from alerts.rules.logic import Shortfall
from alerts.rules.registry import read_config
from alerts.schedule import is_active
from detectors.detections import Detections
from detectors.labels import expand
from detectors.tracking import Track, TrackerConfig
from streams import observations as wire

AROUND_S = 5.0
"""People remember a moment so exactly."""
WARM_UP_S = 120.0
RESTLESS_S = 60.0
"""A quiet camera is looked at each 10 s; with nothing for so long its gate is not what kept pictures away."""

Stage = Literal["source", "gate", "detections", "track", "rule", "silence", "delivery"]


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One stage on the way, and whether it let the matter pass.

    ``bound`` is a key; its words are chosen when it is shown. ``wanted`` and ``got`` are numbers or words, as the bound
    has them. ``setting`` and ``proposed`` name the one change that would have let it pass here, where there is one.
    """

    stage: Stage
    passed: bool
    bound: str = ""
    wanted: float | str = ""
    got: float | str = ""
    setting: str = ""
    proposed: Any = None


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """The walk of one rule up to where it was stopped. ``fired``: it did fire; ``change``: settings that would have.

    ``change`` is a whole config of the rule's kind, ready to rehearse; None where no single change is known to do.
    """

    rule: UUID
    version: UUID
    steps: list[Step]
    fired: list[Event] = msgspec.field(default_factory=list)
    change: dict[str, Any] | None = None

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
    """One camera at one moment. ``after`` are the steps behind the rule (silence, delivery): the caller knows them."""

    camera: UUID
    at: datetime
    rules: Sequence[EmbeddedRule]
    after: Sequence[Step] = ()
    tracking: TrackerConfig = field(default_factory=TrackerConfig)

    @property
    def from_at(self) -> datetime:
        """The earliest observation that is asked for."""
        return self.at - timedelta(seconds=WARM_UP_S)

    @property
    def until_at(self) -> datetime:
        """The latest one, not included."""
        return self.at + timedelta(seconds=AROUND_S)


def why_not(question: Question, batches: Iterable[Batch]) -> list[Answer]:
    """An answer for each rule. ``batches`` are the camera's, all labels, from ``from_at`` to ``until_at``."""
    minutes = _Minutes(question, list(batches))
    return [_answer(question, rule, minutes) for rule in question.rules]


def _answer(question: Question, rule: EmbeddedRule, minutes: _Minutes) -> Answer:
    try:
        config = read_config(rule.kind, rule.config)
    except ValueError as error:
        broken = Step(stage="rule", passed=False, bound="config", got=str(error))
        return Answer(rule=rule.rule, version=rule.version, steps=[broken])
    labels = frozenset().union(*(expand(label) for label in config.labels))
    steps: list[Step] = []
    for look in (_source, _gate, _detections, _track):
        steps.append(look(minutes, rule.deployment, labels, question.tracking))
        if not steps[-1].passed:
            return Answer(rule=rule.rule, version=rule.version, steps=steps)
    if outside := _outside(rule, question.at):
        return Answer(rule=rule.rule, version=rule.version, steps=[*steps, outside])
    fired, short = minutes.run(rule)
    if fired:
        done = [*steps, Step(stage="rule", passed=True), *question.after]
        return Answer(rule=rule.rule, version=rule.version, steps=done, fired=fired)
    steps += short or [Step(stage="rule", passed=False, bound="unexplained")]
    return Answer(rule=rule.rule, version=rule.version, steps=steps, change=_change(rule, config, short, minutes))


def _outside(rule: EmbeddedRule, at: datetime) -> Step | None:
    if at < rule.active_from_at or (rule.active_until_at is not None and at >= rule.active_until_at):
        return Step(stage="rule", passed=False, bound="in_force", wanted=rule.active_from_at.isoformat())
    if not is_active(rule.schedule, at):
        return Step(stage="rule", passed=False, bound="schedule", setting="schedule")
    return None


def _change(
    rule: EmbeddedRule, config: CommonConfig, short: Sequence[Step], minutes: _Minutes
) -> dict[str, Any] | None:
    """The config with one setting changed that fires on the same minutes, found by trying it."""
    for step in short:
        if not step.setting:
            continue
        changed = {**msgspec.to_builtins(config), step.setting: step.proposed}
        if minutes.run(msgspec.structs.replace(rule, config=changed))[0]:
            return changed
    return None


class _Minutes:
    """What was observed around the moment, in log order with its ticks."""

    def __init__(self, question: Question, batches: Sequence[Batch]) -> None:
        self.camera, self.at = question.camera, question.at
        self.rows: list[Kept] = [row for batch in batches for row in batch.rows]
        ticks = [
            Kept(offset, wire.Tick(at=from_us(at_us)))
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

    def state(self) -> wire.SourceState | None:
        """The last word about the camera at the moment."""
        states = [row.observation for row in self.rows if isinstance(row.observation, wire.SourceState)]
        return next((state for state in reversed(states) if state.at <= self.at + timedelta(seconds=AROUND_S)), None)

    def run(self, rule: EmbeddedRule) -> tuple[list[Event], list[Step]]:
        """What it fires around the moment, and what it lacked when it came nearest."""
        early = self.at - timedelta(days=1)
        engine = Engine([msgspec.structs.replace(rule, active_from_at=early, active_until_at=None)], screens=False)
        fired: list[Event] = []
        nearest: list[Step] = []
        for row in self.log:
            outcome = engine.step(row.observation, row.tracks)
            fired += [event for event in outcome.events if self.near(event.happened_at)]
            now = _now(row.observation)
            if not fired and self.near(now):
                nearest = _nearer(nearest, _explain(engine, self.camera, now))
        return fired, nearest


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
    )


def _nearer(one: list[Step], other: list[Step]) -> list[Step]:
    """The shorter list of lacks; of two as long, the later one, in which counts have grown."""
    if not one or not other:
        return one or other
    return other if len(other) <= len(one) else one


# Before the rule.


def _source(minutes: _Minutes, deployment: UUID, labels: frozenset[str], tracking: TrackerConfig) -> Step:
    state = minutes.state()
    if state is None and not minutes.rows:
        return Step(stage="source", passed=False, bound="heard", wanted="word each 10 s", got="none")
    if state is not None and state.state == "blind" and state.since_at <= minutes.at:
        return Step(stage="source", passed=False, bound="sees", wanted="active", got=f"blind:{state.reason}")
    return Step(stage="source", passed=True, got=state.state if state is not None else "active")


def _gate(minutes: _Minutes, deployment: UUID, labels: frozenset[str], tracking: TrackerConfig) -> Step:
    """Whether a picture of the moment was analysed; a quiet camera's last one holds for as long as nothing changes."""
    lost = [
        row.observation
        for row in minutes.rows
        if isinstance(row.observation, wire.Dropped)
        and row.observation.deployment in (None, deployment)
        and minutes.near(row.observation.captured_at)
    ]
    pictures = minutes.near_pictures(deployment)
    last_s = (minutes.at - pictures[-1][0].captured_at).total_seconds() if pictures else RESTLESS_S
    if pictures and last_s < RESTLESS_S:
        return Step(stage="gate", passed=True, got=float(len(pictures)))
    if lost:
        return Step(stage="gate", passed=False, bound="dropped", got=lost[-1].reason)
    return Step(stage="gate", passed=False, bound="pictures", wanted=1.0, got=0.0)


def _detections(minutes: _Minutes, deployment: UUID, labels: frozenset[str], tracking: TrackerConfig) -> Step:
    """Whether anything of these labels was found, doubtful boxes counted; the best score says how nearly."""
    best = best_score((seen for seen, _ in minutes.near_pictures(deployment)), labels)
    if best <= 0:
        return Step(stage="detections", passed=False, bound="found", wanted=tracking.high, got=0.0)
    return Step(stage="detections", passed=True, got=round(best, 3))


def _track(minutes: _Minutes, deployment: UUID, labels: frozenset[str], tracking: TrackerConfig) -> Step:
    """Whether it was followed: only a box of ``tracking.high`` or more begins a track."""
    pictures = minutes.near_pictures(deployment)
    followed = {track.number for _, tracks in pictures for track in tracks if track.label in labels}
    if followed:
        return Step(stage="track", passed=True, got=float(len(followed)))
    best = round(best_score((seen for seen, _ in pictures), labels), 3)
    if best < tracking.high:
        return Step(stage="track", passed=False, bound="tracked_from", wanted=tracking.high, got=best)
    return Step(stage="track", passed=False, bound="tracked_as", wanted=", ".join(sorted(labels)), got="another label")


def best_score(pictures: Iterable[wire.Detections], labels: frozenset[str]) -> float:
    """The best score of any box of ``labels``; 0 when there is none."""
    scores = [
        float(score)
        for seen in pictures
        for score, label in zip(Detections.from_wire(seen).score, seen.label, strict=True)
        if label in labels
    ]
    return max(scores, default=0.0)
