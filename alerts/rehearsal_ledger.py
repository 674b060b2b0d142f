"""What a rehearsal cannot tell of one camera, as its observations come by. Pure.

A kind goes by pictures, by what capture says of the source, or by a measured series: without that nothing can be told.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Protocol, runtime_checkable
from uuid import UUID

from alerts.archive_rows import time_of
from alerts.engine import WORD_HOLDS_US, BlindChange
from alerts.rehearsal_items import Rehearsal, Unknown
from alerts.rules.config import EmbeddedRule
from alerts.rules.registry import config_of
from detectors.labels import expand
from streams import observations as wire

SILENT = timedelta(microseconds=WORD_HOLDS_US)
"""A longer silence was not watched (or not kept): the engine believes no word for longer either."""
UNSEEN = timedelta(seconds=60)
"""A deployment is given a picture each 10 s even while nothing moves; longer without one, it did not look."""


@runtime_checkable
class OfSeries(Protocol):
    """A config whose kind goes by measurements: longer than ``gap_s`` without one that concerns it nothing is known."""

    gap_s: float

    def concerns(self, measured: wire.Measurement) -> bool:
        """Whether it goes by this one."""


class Ledger(Protocol):
    """What was not known comes out when it is over."""

    def take(self, observation: wire.Observation, blind: Sequence[BlindChange] = ()) -> list[Unknown]:
        """One more observation was folded, with what it said of blind time."""

    def close(self) -> list[Unknown]:
        """The span is over: whatever still lasts ends with it."""


def ledger_of(rule: EmbeddedRule, camera: UUID, what: Rehearsal) -> Ledger:
    """The one that the kind of ``rule`` wants on ``camera``."""
    config = config_of(rule)
    if isinstance(config, OfSeries):
        return SeriesLedger(camera, what.from_at, what.until_at, config)
    if config is not None and config.listens == "source":
        return SourceLedger(camera, what.from_at, what.until_at)
    return PictureLedger(camera, what.from_at, what.until_at, rule.deployment, watch(rule, what.knows))


def watch(rule: EmbeddedRule, knows: Mapping[str, frozenset[str]]) -> Callable[[str], bool]:
    """Whether a model (as named in Detections) knows all that ``rule`` looks for; one that nobody names is trusted.

    Of a family one member is enough, as where a rule is saved. With one label unknown it may have fired for that one,
    so nothing can be told; what it would have fired for the others is found all the same.
    """
    config = config_of(rule)
    sought = {} if config is None else config.sought
    wanted = [expand(label) for labels in sought.values() for label in labels]
    return lambda model: model not in knows or all(knows[model] & terms for terms in wanted)


_SEEN = (wire.Detections, wire.Dropped)


class SourceLedger:
    """Of what is said of a source: only silence is unknown."""

    def __init__(self, camera: UUID, from_at: datetime, until_at: datetime) -> None:
        self._camera, self._from_at, self._until_at = camera, from_at, until_at
        self._heard_at = from_at

    def take(self, observation: wire.Observation, blind: Sequence[BlindChange] = ()) -> list[Unknown]:
        over: list[Unknown] = []
        at = time_of(observation)
        if at > self._heard_at:
            if at - self._heard_at > SILENT:
                over += self._span(self._heard_at, at, "silent")
            self._heard_at = at
        return over

    def close(self) -> list[Unknown]:
        silent = self._until_at - self._heard_at > SILENT
        return self._span(self._heard_at, self._until_at, "silent") if silent else []

    def _span(self, from_at: datetime, until_at: datetime, reason: str) -> list[Unknown]:
        from_at, until_at = max(from_at, self._from_at), min(until_at, self._until_at)
        if until_at <= from_at:
            return []
        return [Unknown(camera=self._camera, from_at=from_at, until_at=until_at, reason=reason)]


class PictureLedger(SourceLedger):
    """Of what a deployment sees: blind and dropped time, silence, and time in which nobody looked for it is unknown.

    ``watches`` says of a model, by its name in Detections, whether it knows what the rule looks for.
    """

    def __init__(
        self, camera: UUID, from_at: datetime, until_at: datetime, deployment: UUID, watches: Callable[[str], bool]
    ) -> None:
        super().__init__(camera, from_at, until_at)
        self._deployment, self._watches = deployment, watches
        self._looked_at = from_at
        self._unfit_at: datetime | None = None
        self._model = ""
        self._blind: BlindChange | None = None

    def take(self, observation: wire.Observation, blind: Sequence[BlindChange] = ()) -> list[Unknown]:
        over = [found for change in blind for found in self._on_blind(change)] if blind else []
        over += super().take(observation)
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
        over = super().close()
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


class SeriesLedger(SourceLedger):
    """Of a measured series: a gap in it is unknown, whatever the camera saw meanwhile."""

    def __init__(self, camera: UUID, from_at: datetime, until_at: datetime, config: OfSeries) -> None:
        super().__init__(camera, from_at, until_at)
        self._config, self._gap = config, timedelta(seconds=config.gap_s)
        self._measured_at = from_at

    def take(self, observation: wire.Observation, blind: Sequence[BlindChange] = ()) -> list[Unknown]:
        if not isinstance(observation, wire.Measurement) or not self._config.concerns(observation):
            return []
        over = self._gap_until(observation.at)
        self._measured_at = max(self._measured_at, observation.at)
        return over

    def close(self) -> list[Unknown]:
        return self._gap_until(self._until_at)

    def _gap_until(self, at: datetime) -> list[Unknown]:
        return self._span(self._measured_at, at, "unmeasured") if at - self._measured_at > self._gap else []


class Ledgers:
    """The ledgers of several rules on one camera, as one; a time that two of them cannot tell comes twice."""

    def __init__(self, ledgers: Iterable[Ledger]) -> None:
        self._ledgers = list(ledgers)

    def take(self, observation: wire.Observation, blind: Sequence[BlindChange] = ()) -> list[Unknown]:
        return [over for ledger in self._ledgers for over in ledger.take(observation, blind)]

    def close(self) -> list[Unknown]:
        return [over for ledger in self._ledgers for over in ledger.close()]
