"""Rehearsal: what a rule would have done, by the very engine that runs it. Pure over what a reader gives.

Results stream: whoever asks takes one item at a time and may stop between any two. Two speeds: with the archived
tracks a week of one camera takes seconds; with a tracker of its own (``tracking``) the detections are tracked anew.
Nothing is stored or sent. Time in which nothing can be told is named, and never counts as "would not have fired".
A sequence is another fold: ``alerts.rehearsal_sequence``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from uuid import UUID

import msgspec
import numpy as np

from alerts.archive_rows import Batch, Kept, Ticks, time_of
from alerts.engine import Engine, Outcome
from alerts.rehearsal_items import Broken, Found, Item, Progress, Reader, Rehearsal, Version
from alerts.rehearsal_ledger import Ledger, ledger_of
from alerts.rehearsal_summary import Gathered
from alerts.rehearsal_tally import in_parts, tallied
from alerts.rules.config import CommonConfig, EmbeddedRule
from alerts.rules.registry import config_of
from detectors.labels import expand
from detectors.tracking import Track
from streams import observations as wire
from streams.instants import to_utc


def rehearse(what: Rehearsal, read: Reader) -> Iterator[Item]:
    """Everything that would have happened, camera after camera, and the ``Summary`` last."""
    gathered = Gathered()
    rules = {version: (whose, in_parts(rule)) for version, (whose, rule) in what.rules().items()}
    for place, camera in enumerate(what.cameras):
        ledger = ledger_of(what.draft, camera, what)
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
        ledger: Ledger,
        *,
        since: datetime,
    ) -> None:
        self._what, self._camera, self._rules, self._since = what, camera, rules, since
        self._deployments = {rule.deployment for _, rule in rules.values()}
        self._engine = Engine([rule for _, rule in rules.values()], tracking=what.tracking, screens=False)
        self._ledger = ledger
        self._latest: UUID | None = None
        self._tracks: dict[UUID | None, list[Track]] = {}
        """Each deployment numbers its tracks by itself."""

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
        at = time_of(row.observation)
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
            picture = observation if isinstance(observation, wire.Detections) else None
            if picture is not None and not self._reads(picture.deployment):
                ledger.take(observation)
                continue
            outcome = engine.step(observation, None if retrack else tracks)
            if picture is not None and outcome.tracks is not None:
                self._tracks[picture.deployment] = outcome.tracks
            if over := ledger.take(observation, outcome.blind):
                yield from over
            if outcome.events or outcome.counts:
                yield from self._found(outcome)
        yield from self._pass(ticks, done, len(ticks.offset))

    def _reads(self, deployment: UUID) -> bool:
        """Whether a version that is rehearsed reads its pictures; mostly it is the same object again."""
        if deployment is not self._latest:
            if deployment not in self._deployments:
                return False
            self._latest = deployment
        return True

    def _pass(self, ticks: Ticks, start: int, end: int) -> Iterator[Item]:
        """Step the ticks that can fire. The others change nothing, and there is one a second."""
        while start < end and (wake_us := self._engine.wake_us()) is not None:
            due = np.flatnonzero(ticks.at_us[start:end] >= wake_us)
            if not len(due):
                return
            start += int(due[0])
            yield from self._found(self._engine.step(wire.Tick(at=to_utc(int(ticks.at_us[start])))))
            start += 1

    def _found(self, outcome: Outcome) -> Iterator[Item]:
        if outcome.counts:
            yield from tallied(outcome.counts, self._what, self._rules)
        for event, number in zip(outcome.events, outcome.fired, strict=True):
            if event.rule_version is None or not self._since <= event.happened_at < self._what.until_at:
                continue
            tracks = self._tracks.get(event.deployment, [])
            track = next((track for track in tracks if track.number == number), None)
            version = self._rules[event.rule_version][0]
            yield Found(version=version, event=event, number=number, track=track)


def _labels(rules: Iterable[EmbeddedRule]) -> frozenset[str]:
    """What these rules look at, with all that lies below each label."""
    return frozenset().union(*(_needed(config) for rule in rules if (config := config_of(rule)) is not None))


def _needed(config: CommonConfig) -> frozenset[str]:
    needs = getattr(config, "needs", None)
    labels = {*config.labels, *(needs().labels if needs is not None else ())}
    return frozenset().union(*(expand(label) for label in labels))
