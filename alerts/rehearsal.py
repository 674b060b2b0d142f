"""Rehearsal: what a rule would have done, by the very engine that runs it. Pure over what a reader gives.

Results stream: whoever asks takes one item at a time and may stop between any two. Two speeds: with the archived
tracks a week of one camera takes seconds; with a tracker of its own (``tracking``) the detections are tracked anew.
Nothing is stored or sent. Time in which nothing can be told is named, and never counts as "would not have fired".
A sequence is another fold: ``alerts.rehearsal_sequence``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
import numpy as np

from alerts.archive_rows import Batch, Kept, Ticks, from_us
from alerts.engine import WORD_HOLDS_US, BlindChange, Engine, Outcome
from alerts.rehearsal_items import Broken, Found, Item, Progress, Reader, Rehearsal, Unknown, Version
from alerts.rehearsal_summary import Gathered
from alerts.rehearsal_tally import in_parts, tallied
from alerts.rules.config import CommonConfig, EmbeddedRule
from alerts.rules.registry import read_config
from detectors.labels import expand
from detectors.tracking import Track
from streams import observations as wire

SILENT = timedelta(microseconds=WORD_HOLDS_US)
"""A longer silence was not watched (or not kept): the engine believes no word for longer either."""
UNSEEN = timedelta(seconds=60)
"""A deployment is given a picture each 10 s even while nothing moves; longer without one, it did not look."""


def rehearse(what: Rehearsal, read: Reader) -> Iterator[Item]:
    """Everything that would have happened, camera after camera, and the ``Summary`` last."""
    gathered = Gathered()
    rules = {version: (whose, in_parts(rule)) for version, (whose, rule) in what.rules().items()}
    for place, camera in enumerate(what.cameras):
        ledger = Ledger(camera, what.draft.deployment, what.from_at, what.until_at, watch(what.draft, what.knows))
        for item in Camera(what, camera, rules, ledger, since=what.from_at).run(read):
            gathered.take(item)
            yield overall(item, place, what)
    yield gathered.summary(what)


def overall(item: Item, place: int, what: Rehearsal) -> Item:
    """``item`` of the camera at ``place``; how far that one is, as a share of them all."""
    if not isinstance(item, Progress):
        return item
    return msgspec.structs.replace(item, share=(place + item.share) / len(what.cameras))


class Camera:
    """One camera of a rehearsal: the engine of ``rules``, and what is not known of it.

    ``rules`` names each version, and for which of the two it runs. What fires before ``since`` is not told.
    """

    def __init__(
        self,
        what: Rehearsal,
        camera: UUID,
        rules: Mapping[UUID, tuple[Version, EmbeddedRule]],
        ledger: Ledger | Ledgers,
        *,
        since: datetime,
    ) -> None:
        self._what, self._camera, self._rules, self._since = what, camera, rules, since
        self._deployments = {rule.deployment for _, rule in rules.values()}
        self._engine = Engine([rule for _, rule in rules.values()], tracking=what.tracking, screens=False)
        self._ledger = ledger
        self._several = len(self._deployments) > 1
        self._tracks: list[Track] = []
        self._latest: UUID | None = None
        self._tracks_of: dict[UUID | None, list[Track]] = {}
        """Only where there are several deployments: each numbers its tracks by itself."""

    def run(self, read: Reader) -> Iterator[Item]:
        for version, reason in self._engine.broken.items():
            yield Broken(version=self._rules[version][0], reason=reason)
        labels = None if self._what.tracking is not None else _labels(rule for _, rule in self._rules.values())
        for batch in read(self._camera, self._what.first_at, self._what.until_at, labels):
            yield from self._batch(batch)
            if batch.rows:
                yield self._progress(batch.rows[-1])
        yield from self._ledger.close()

    def _progress(self, row: Kept) -> Progress:
        at = _time(row.observation)
        whole = (self._what.until_at - self._what.first_at).total_seconds()
        share = (at - self._what.first_at).total_seconds() / whole
        return Progress(share=min(1.0, max(0.0, share)), camera=self._camera, at=at)

    def _batch(self, batch: Batch) -> Iterator[Item]:
        ticks, engine, ledger = batch.ticks, self._engine, self._ledger
        before = np.searchsorted(ticks.offset, [row.offset for row in batch.rows]).tolist()
        latest_us = np.maximum.accumulate(ticks.at_us).tolist()
        done, retrack = 0, self._what.tracking is not None
        for row, upto in zip(batch.rows, before, strict=True):
            observation, tracks = row.observation, row.tracks
            if upto > done:
                if (wake_us := engine.wake_us()) is not None and latest_us[upto - 1] >= wake_us:
                    yield from self._pass(ticks, done, upto)
                done = upto
            if tracks is not None and not self._analyses(observation):
                ledger.take(observation)
                continue
            outcome = engine.step(observation, None if retrack else tracks)
            if outcome.tracks is not None:
                self._tracks = outcome.tracks
                if self._several and isinstance(observation, wire.Detections):
                    self._tracks_of[observation.deployment] = outcome.tracks
            if over := ledger.take(observation, outcome.blind):
                yield from over
            if outcome.events or outcome.counts:
                yield from self._found(outcome)
        yield from self._pass(ticks, done, len(ticks.offset))

    def _analyses(self, picture: Any) -> bool:
        """Whether a version that is rehearsed reads this deployment's pictures; mostly it is the same object again."""
        if picture.deployment is not self._latest:
            if picture.deployment not in self._deployments:
                return False
            self._latest = picture.deployment
        return True

    def _pass(self, ticks: Ticks, start: int, end: int) -> Iterator[Item]:
        """Step the ticks that can fire. The others change nothing, and there is one a second."""
        while start < end and (wake_us := self._engine.wake_us()) is not None:
            due = np.flatnonzero(ticks.at_us[start:end] >= wake_us)
            if not len(due):
                return
            start += int(due[0])
            yield from self._found(self._engine.step(wire.Tick(at=from_us(int(ticks.at_us[start])))))
            start += 1

    def _found(self, outcome: Outcome) -> Iterator[Item]:
        if outcome.counts:
            yield from tallied(outcome.counts, self._what, self._rules)
        for event, number in zip(outcome.events, outcome.fired, strict=True):
            if event.rule_version is None or not self._since <= event.happened_at < self._what.until_at:
                continue
            tracks = self._tracks_of.get(event.deployment, self._tracks)
            track = next((track for track in tracks if track.number == number), None)
            version = self._rules[event.rule_version][0]
            yield Found(version=version, event=event, number=number, track=track)


_SEEN = (wire.Detections, wire.Dropped)


def _time(observation: wire.Observation) -> datetime:
    return observation.captured_at if isinstance(observation, _SEEN) else observation.at


def _config(rule: EmbeddedRule) -> CommonConfig | None:
    try:
        return read_config(rule.kind, rule.config)
    except ValueError:
        return None  # the engine says so itself, as Broken


def _labels(rules: Iterable[EmbeddedRule]) -> frozenset[str]:
    """What these rules look at, with all that lies below each label."""
    return frozenset().union(*(_needed(config) for rule in rules if (config := _config(rule)) is not None))


def _needed(config: CommonConfig) -> frozenset[str]:
    needs = getattr(config, "needs", None)
    labels = {*config.labels, *(needs().labels if needs is not None else ())}
    return frozenset().union(*(expand(label) for label in labels))


def watch(rule: EmbeddedRule, knows: Mapping[str, frozenset[str]]) -> Callable[[str], bool]:
    """Whether a model (as named in Detections) knows all that ``rule`` looks for; one that nobody names is trusted.

    Of a family one member is enough, as where a rule is saved. With one label unknown it may have fired for that one,
    so nothing can be told; what it would have fired for the others is found all the same.
    """
    config = _config(rule)
    sought = {} if config is None else config.sought
    wanted = [expand(label) for labels in sought.values() for label in labels]
    return lambda model: model not in knows or all(knows[model] & terms for terms in wanted)


class Ledger:
    """What cannot be told of one camera within [from, until), as the observations come by. Pure.

    ``watches`` says of a model, by its name in Detections, whether it knows what the rule looks for.
    """

    def __init__(
        self, camera: UUID, deployment: UUID, from_at: datetime, until_at: datetime, watches: Callable[[str], bool]
    ) -> None:
        self._camera, self._deployment, self._watches = camera, deployment, watches
        self._from_at, self._until_at = from_at, until_at
        self._heard_at = self._looked_at = from_at
        self._unfit_at: datetime | None = None
        self._model = ""
        self._blind: BlindChange | None = None

    def take(self, observation: wire.Observation, blind: Sequence[BlindChange] = ()) -> list[Unknown]:
        """One more observation was folded; returns what was not known and is over."""
        over: list[Unknown] = []
        if blind:
            over += [found for change in blind for found in self._on_blind(change)]
        at = _time(observation)
        if at > self._heard_at:
            if at - self._heard_at > SILENT:
                over += self._span(self._heard_at, at, "silent")
            self._heard_at = at
        if isinstance(observation, _SEEN) and observation.deployment == self._deployment:
            over += self._look(observation)
        return over

    def _look(self, seen: wire.Detections | wire.Dropped) -> list[Unknown]:
        over: list[Unknown] = []
        if seen.captured_at - self._looked_at > UNSEEN:
            over += self._span(self._looked_at, seen.captured_at, "unlooked")
        self._looked_at = max(self._looked_at, seen.captured_at)
        if isinstance(seen, wire.Detections) and seen.model != self._model:
            over += self._on_model(seen)
        return over

    def close(self) -> list[Unknown]:
        """The span is over: whatever still lasts ends with it."""
        over: list[Unknown] = []
        if self._until_at - self._heard_at > SILENT:
            over += self._span(self._heard_at, self._until_at, "silent")
        if self._until_at - self._looked_at > UNSEEN:
            over += self._span(self._looked_at, self._until_at, "unlooked")
        if self._unfit_at is not None:
            over += self._span(self._unfit_at, self._until_at, "label")
        if self._blind is not None:
            over += self._span(self._blind.from_at, self._until_at, f"blind:{self._blind.reason}")
        return over

    def _on_blind(self, change: BlindChange) -> list[Unknown]:
        if change.deployment not in (None, self._deployment):
            return []
        if change.until_at is None:
            self._blind = change
            return []
        if change.deployment is None:
            self._blind = None
        prefix = "" if change.reason.startswith("dropped:") else "blind:"
        return self._span(change.from_at, change.until_at, f"{prefix}{change.reason}")

    def _on_model(self, seen: wire.Detections) -> list[Unknown]:
        self._model = seen.model
        began, self._unfit_at = self._unfit_at, None if self._watches(seen.model) else seen.captured_at
        return [] if began is None else self._span(began, seen.captured_at, "label")

    def _span(self, from_at: datetime, until_at: datetime, reason: str) -> list[Unknown]:
        from_at, until_at = max(from_at, self._from_at), min(until_at, self._until_at)
        if until_at <= from_at:
            return []
        return [Unknown(camera=self._camera, from_at=from_at, until_at=until_at, reason=reason)]


class Ledgers:
    """The ledgers of several rules on one camera, as one."""

    def __init__(self, ledgers: Iterable[Ledger]) -> None:
        self._ledgers = list(ledgers)

    def take(self, observation: wire.Observation, blind: Sequence[BlindChange] = ()) -> list[Unknown]:
        """As a ``Ledger``'s; a time that two of them cannot tell comes twice."""
        return [over for ledger in self._ledgers for over in ledger.take(observation, blind)]

    def close(self) -> list[Unknown]:
        """The span is over."""
        return [over for ledger in self._ledgers for over in ledger.close()]
