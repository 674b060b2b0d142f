"""Rehearsing a sequence: what its rules would have fired, folded as live into what it would have made of that. Pure.

The rules that it waits for run as they are now, each camera through its own engine; what they fire goes through the
second fold in the order in which it happened. Of every camera whose events can complete one another all must have been
read before anything comes out: of one camera, or of all at a site.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from uuid import UUID

import msgspec

from alerts.engine import Engine
from alerts.events import Event
from alerts.rehearsal import Camera, overall
from alerts.rehearsal_items import WARM_UP_S, Broken, Found, Item, Reader, Rehearsal, Version
from alerts.rehearsal_ledger import Ledgers, ledger_of
from alerts.rehearsal_summary import Gathered
from alerts.rules.config import EmbeddedRule
from alerts.rules.sequence import followed, sequence_of
from alerts.sequences import KIND, Sequences
from alerts.why import settling_s
from detectors.tracking import Track

NO_TRACK: tuple[int, Track | None] = (-1, None)


def rehearse_sequence(what: Rehearsal, read: Reader) -> Iterator[Item]:
    """Everything that the sequence ``what.draft`` would have fired, and the ``Summary`` last."""
    if what.warm_up_s is None:
        what = replace(what, warm_up_s=warm_up_s(what))
    gathered = Gathered()
    for item in _items(what, read):
        gathered.take(item)
        yield item
    yield gathered.summary(what)


def warm_up_s(what: Rehearsal) -> float:
    """So long before the span its rules must run: settled themselves, and then for as long as a sequence waits."""
    sources = {rule.rule: rule for rule in what.sources}
    return max(_reach_s(rule, sources, frozenset()) for rule in (what.draft, what.in_force) if rule is not None)


def _reach_s(rule: EmbeddedRule, sources: Mapping[UUID, EmbeddedRule], above: frozenset[UUID]) -> float:
    config, above = sequence_of(rule), above | {rule.rule}
    if config is None:
        return max(WARM_UP_S, settling_s(rule))
    behind = (_reach_s(sources[uid], sources, above) for uid in followed(rule) if uid in sources and uid not in above)
    return settling_s(rule) + max(behind, default=0.0)


def _items(what: Rehearsal, read: Reader) -> Iterator[Item]:
    watching, place = _watching(what), 0
    yield from _broken(what, watching)
    for cameras in _scopes(what):
        scope = _Scope(what, what.sites.get(cameras[0]))
        for camera in cameras:
            for item in _camera(what, camera, watching).run(read):
                if isinstance(item, Found):
                    scope.take(item)
                elif not isinstance(item, Broken):
                    yield overall(item, place, what)
            place += 1
        yield from scope.made()


def _broken(what: Rehearsal, watching: Mapping[UUID, tuple[Version, EmbeddedRule]]) -> Iterator[Broken]:
    """What cannot run: a version of the sequence, or by its name a rule that it waits for."""
    rules = what.rules()
    for version, reason in Sequences(rule for _, rule in rules.values()).broken.items():
        yield Broken(version=rules[version][0], reason=reason)
    for version, reason in Engine(rule for _, rule in watching.values()).broken.items():
        whose, rule = watching[version]
        yield Broken(version=whose, reason=f"“{rule.name}”: {reason}")


def _scopes(what: Rehearsal) -> list[list[UUID]]:
    """The cameras in groups; no sequence is made of events of two of these."""
    configs = [config for rule in _running(what) if (config := sequence_of(rule)) is not None]
    if all(config.scope == "camera" for config in configs):
        return [[camera] for camera in what.cameras]
    groups: dict[int | None, list[UUID]] = {}
    for camera in what.cameras:
        groups.setdefault(what.sites.get(camera), []).append(camera)
    return list(groups.values())


def _running(what: Rehearsal) -> list[EmbeddedRule]:
    return [*(rule for _, rule in what.rules().values()), *what.sources]


def _watching(what: Rehearsal) -> dict[UUID, tuple[Version, EmbeddedRule]]:
    """The versions that look at pictures, in force over the whole span, and for whose sake each runs."""
    sources = {rule.rule: rule for rule in what.sources}
    needed, todo = set[UUID](), [*followed(what.draft)]
    while todo:
        if (uid := todo.pop()) in sources and uid not in needed:
            needed.add(uid)
            todo += followed(sources[uid])
    return {
        rule.version: ("draft" if rule.rule in needed else "in_force", _wide(rule, what))
        for rule in what.sources
        if rule.kind != KIND
    }


def _wide(rule: EmbeddedRule, what: Rehearsal) -> EmbeddedRule:
    return msgspec.structs.replace(rule, active_from_at=what.first_at, active_until_at=None)


def _camera(what: Rehearsal, camera: UUID, watching: Mapping[UUID, tuple[Version, EmbeddedRule]]) -> Camera:
    """Its engine with the rules that watch it; what one of them cannot tell, the sequence cannot either."""
    here = {version: pair for version, pair in watching.items() if camera in pair[1].cameras}
    ledgers = Ledgers(ledger_of(rule, camera, what) for _, rule in here.values())
    return Camera(what, camera, here, ledgers, since=what.first_at)


class _Scope:
    """What was fired on cameras whose events can complete one another, and what both versions make of it."""

    def __init__(self, what: Rehearsal, site: int | None) -> None:
        self._what = what
        sources = [_wide(rule, what) for rule in what.sources if _stands_at(rule, site, what)]
        self._folds = {
            version: (whose, Sequences([rule, *sources]))
            for version, (whose, rule) in what.rules().items()
            if _stands_at(rule, site, what)
        }
        self._fired: list[Found] = []
        self._tracks: dict[UUID, tuple[int, Track | None]] = {}

    def take(self, found: Found) -> None:
        """A rule that may be waited for fired."""
        self._fired.append(found)
        self._tracks[found.event.uid] = found.number, found.track

    def made(self) -> Iterator[Found]:
        """All of it has been taken: the sequences, each with the track of what completed it."""
        fired = sorted((found.event for found in self._fired), key=lambda event: (event.happened_at, event.uid))
        for version, (whose, fold) in self._folds.items():
            for event in _folded(fold, fired):
                number, track = self._tracks[event.uid] = self._tracks.get(event.causes[-1], NO_TRACK)
                if event.rule_version == version and self._what.from_at <= event.happened_at < self._what.until_at:
                    yield Found(version=whose, event=event, number=number, track=track)


def _stands_at(rule: EmbeddedRule, site: int | None, what: Rehearsal) -> bool:
    return any(what.sites.get(zone.camera) == site for zone in rule.zones)


def _folded(fold: Sequences, fired: Sequence[Event]) -> Iterator[Event]:
    """The watermark follows each moment, so that none waits beside all the others."""
    for at, events in groupby(fired, key=lambda event: event.happened_at):
        for event in events:
            fold.step(event)
        yield from fold.advance(at)
