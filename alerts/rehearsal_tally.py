"""Rehearsing a rule that counts: its numbers, added up beside those of the version in force. Pure."""

from __future__ import annotations

import zoneinfo
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from uuid import UUID

import msgspec

from alerts.engine import ZoneCount
from alerts.rehearsal_items import Course, Rehearsal, Series, Tallied, Tally, Version
from alerts.rules.config import EmbeddedRule
from alerts.rules.counting import CountingConfig
from alerts.rules.registry import config_of
from detectors.labels import expand

PART_S = 900
"""Of what counts by longer intervals each is counted in parts of at most this: a day's number says no hour."""
LEAST_PART_S = 10
HOUR_S = 3600
HOURS = 24
COURSES: tuple[Course, ...] = ("forward", "backward", "turn")

_Key = tuple[UUID, Course, UUID | None, str]


def in_parts(rule: EmbeddedRule) -> EmbeddedRule:
    """``rule``, which if it counts by long intervals does so by parts of them: their sum is the interval's number."""
    config = config_of(rule)
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


class Tallies:
    """The numbers as they come, added up: a week of short intervals would be a long list, most of it zeros."""

    def __init__(self) -> None:
        self._by_key: dict[Version, Counter[_Key]] = {"draft": Counter(), "in_force": Counter()}
        self._crossed: dict[Version, Counter[float]] = {"draft": Counter(), "in_force": Counter()}
        """Over all lines, by when the interval began."""

    def take(self, tallied: Tallied) -> None:
        """An interval's numbers."""
        by_key, crossed = self._by_key[tallied.version], self._crossed[tallied.version]
        for one in tallied.counts:
            counted = one.counted
            by_key[one.zone, counted.direction, counted.to_zone, counted.label] += counted.count
            if counted.count and counted.to_zone is None:
                crossed[counted.from_s] += counted.count

    def tally(self, what: Rehearsal) -> Tally:
        """All the numbers of both versions; one and the same has run once."""
        same_version = what.in_force is not None and what.in_force.version == what.draft.version
        beside: Version = "draft" if same_version else "in_force"
        draft, force = self._crossed["draft"], self._crossed[beside]
        clock = zoneinfo.ZoneInfo(what.time_zone)
        return Tally(
            draft=draft.total(),
            in_force=force.total(),
            by_hour=list(zip(_by_hour(draft, clock), _by_hour(force, clock), strict=True)),
            most_in_an_hour=most_in_an_hour((_utc(from_s), count) for from_s, count in draft.items()),
            series=_series(what, self._by_key["draft"], self._by_key[beside]),
        )


def _by_hour(crossed: Mapping[float, int], clock: zoneinfo.ZoneInfo) -> list[int]:
    hours = [0] * HOURS
    for from_s, count in crossed.items():
        hours[_utc(from_s).astimezone(clock).hour] += count
    return hours


def _utc(at_s: float) -> datetime:
    return datetime.fromtimestamp(at_s, UTC)


def _series(what: Rehearsal, ours: Counter[_Key], theirs: Counter[_Key]) -> list[Series]:
    """In the order of the lines, with the arrow before against it; turns stand after all lines."""
    zones = [zone.uid for rule in (what.draft, what.in_force) if rule is not None for zone in rule.zones]

    def order(key: _Key) -> tuple[bool, int, int, int, str]:
        zone, course, to_zone, label = key
        goes_to = 0 if to_zone is None else zones.index(to_zone)
        return to_zone is not None, zones.index(zone), COURSES.index(course), goes_to, label

    keys = sorted({*ours, *theirs}, key=order)
    return [
        Series(zone=zone, direction=course, to_zone=to_zone, label=label, draft=ours[key], in_force=theirs[key])
        for key in keys
        for zone, course, to_zone, label in [key]
        if ours[key] or theirs[key] or not _told_apart(key, keys)
    ]


def _told_apart(key: _Key, keys: Sequence[_Key]) -> bool:
    """Whether ``key`` is the zero of a family of labels, of which members have come at other times."""
    family = expand(key[3])
    return any(other != key and other[:3] == key[:3] and other[3] in family for other in keys)


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
