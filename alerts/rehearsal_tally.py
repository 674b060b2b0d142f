"""Rehearsing a rule that counts: its numbers, added up beside those of the version in force. Pure."""

from __future__ import annotations

import zoneinfo
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from uuid import UUID

import msgspec

from alerts.engine import ZoneCount
from alerts.rehearsal_items import Rehearsal, Series, Tallied, Tally, Version
from alerts.rules.config import EmbeddedRule
from alerts.rules.counting import CountingConfig
from alerts.rules.registry import BadConfig, read_config
from detectors.labels import expand

COUNTING = "counting"
PART_S = 900
"""Of what counts by longer intervals each is counted in parts of at most this: a day's number says no hour."""
LEAST_PART_S = 10
HOUR_S = 3600
HOURS = 24
WAYS = ("forward", "backward", "turn")

_Key = tuple[UUID, str, UUID | None, str]


def in_parts(rule: EmbeddedRule) -> EmbeddedRule:
    """``rule``, which if it counts by long intervals does so by parts of them: their sum is the interval's number."""
    try:
        config = read_config(rule.kind, rule.config)
    except BadConfig:
        return rule  # the engine says so itself
    if not isinstance(config, CountingConfig):
        return rule
    part_s = _part_s(config.interval_s)
    return msgspec.structs.replace(rule, config=msgspec.to_builtins(msgspec.structs.replace(config, interval_s=part_s)))


def _part_s(interval_s: int) -> int:
    """The longest part of which ``interval_s`` is a multiple; where none is, the whole of it.

    >>> _part_s(600), _part_s(86_400), _part_s(1000), _part_s(3607)
    (600, 900, 500, 3607)
    """
    parts = (part_s for part_s in range(PART_S, LEAST_PART_S - 1, -1) if interval_s % part_s == 0)
    return next(parts, interval_s)


def tallied(
    counts: Iterable[ZoneCount], what: Rehearsal, rules: Mapping[UUID, tuple[Version, EmbeddedRule]]
) -> Iterator[Tallied]:
    """The numbers of intervals that lie within the span, by version."""
    from_s, until_s = what.from_at.timestamp(), what.until_at.timestamp()
    by_version: dict[Version, list[ZoneCount]] = {}
    for one in counts:
        if from_s <= one.counted.from_s and one.counted.until_s <= until_s:
            by_version.setdefault(rules[one.rule_version][0], []).append(one)
    for version, inside in by_version.items():
        yield Tallied(version=version, counts=inside)


def tally(what: Rehearsal, found: Sequence[Tallied]) -> Tally:
    """All the numbers of both versions."""
    draft = [count for one in found if one.version == "draft" for count in one.counts]
    force = [count for one in found if one.version == "in_force" for count in one.counts]
    if what.in_force is not None and what.in_force.version == what.draft.version:
        force = draft
    clock = zoneinfo.ZoneInfo(what.time_zone)
    return Tally(
        draft=sum(one.counted.count for one in _crossings(draft)),
        in_force=sum(one.counted.count for one in _crossings(force)),
        by_hour=list(zip(_by_hour(draft, clock), _by_hour(force, clock), strict=True)),
        most_in_an_hour=most_in_an_hour(
            [(_begins(one), one.counted.count) for one in draft if not one.counted.to_zone]
        ),
        series=_series(what, draft, force),
    )


def _crossings(counts: Iterable[ZoneCount]) -> Iterator[ZoneCount]:
    return (one for one in counts if one.counted.to_zone is None)


def _by_hour(counts: Iterable[ZoneCount], clock: zoneinfo.ZoneInfo) -> list[int]:
    hours = [0] * HOURS
    for one in _crossings(counts):
        hours[_begins(one).astimezone(clock).hour] += one.counted.count
    return hours


def _begins(one: ZoneCount) -> datetime:
    return datetime.fromtimestamp(one.counted.from_s, UTC)


def _series(what: Rehearsal, draft: Iterable[ZoneCount], force: Iterable[ZoneCount]) -> list[Series]:
    """In the order of the lines, with the arrow before against it; turns stand after all lines."""
    ours, theirs = _by_key(draft), _by_key(force)
    zones = [zone.uid for rule in (what.draft, what.in_force) if rule is not None for zone in rule.zones]

    def order(key: _Key) -> tuple[bool, int, int, int, str]:
        zone, way, to_zone, label = key
        goes_to = 0 if to_zone is None else zones.index(to_zone)
        return to_zone is not None, zones.index(zone), WAYS.index(way), goes_to, label

    keys = sorted({*ours, *theirs}, key=order)
    return [
        Series(zone=zone, direction=way, to_zone=to_zone, label=label, draft=ours[key], in_force=theirs[key])  # type: ignore[arg-type]
        for key in keys
        for zone, way, to_zone, label in [key]
        if ours[key] or theirs[key] or not _told_apart(key, keys)
    ]


def _told_apart(key: _Key, keys: Sequence[_Key]) -> bool:
    """Whether ``key`` is the zero of a family of labels, of which members have come at other times."""
    family = expand(key[3])
    return any(other != key and other[:3] == key[:3] and other[3] in family for other in keys)


def _by_key(counts: Iterable[ZoneCount]) -> Counter[_Key]:
    found: Counter[_Key] = Counter()
    for one in counts:
        counted = one.counted
        found[one.zone, counted.direction, counted.to_zone, counted.label] += counted.count
    return found


def most_in_an_hour(counted: Iterable[tuple[datetime, int]]) -> int:
    """The most of ``counted``, (when, how many), within any sixty minutes.

    >>> most_in_an_hour([(datetime(2026, 1, 1, 10 + m // 60, m % 60, tzinfo=UTC), 1) for m in (0, 30, 59, 60)])
    3
    """
    ordered = sorted(counted)
    first, now, most = 0, 0, 0
    for at, count in ordered:
        now += count
        while (at - ordered[first][0]).total_seconds() >= HOUR_S:
            now -= ordered[first][1]
            first += 1
        most = max(most, now)
    return most
