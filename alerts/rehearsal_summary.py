"""Adding a rehearsal up: how often, when, and beside the version in force. Pure."""

from __future__ import annotations

import zoneinfo
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import pairwise
from uuid import UUID

from alerts.rehearsal_items import Found, Item, Rehearsal, Summary, Tallied, Unknown
from alerts.rehearsal_tally import Tallies, most_in_an_hour
from alerts.rules.counting import KIND as COUNTING

SAME_S = 10.0
"""Firings of two versions on one camera are the same when they are of one track, or at most this far apart."""
NIGHT = (22, 6)
"""Hours of the site's own clock that count as night: from the first up to, and without, the second."""


@dataclass
class Gathered:
    """What has come so far."""

    found: list[Found] = field(default_factory=list)
    tallies: Tallies = field(default_factory=Tallies)
    unknown: list[Unknown] = field(default_factory=list)

    def take(self, item: Item) -> None:
        """One more; those that are only for the moment are let go."""
        match item:
            case Found():
                self.found.append(item)
            case Tallied():
                self.tallies.take(item)
            case Unknown():
                self.unknown.append(item)

    def summary(self, what: Rehearsal) -> Summary:
        """Counts, the comparison, and how much is known at all."""
        draft, force = _by_version(what, self.found)
        same = compare(draft, force)
        kept, met = {one for one, _ in same}, {other for _, other in same}
        clock = zoneinfo.ZoneInfo(what.time_zone)
        local = sorted(one.event.happened_at.astimezone(clock) for one in draft)
        unknown_s = unknown_by_reason(self.unknown)
        whole_s = (what.until_at - what.from_at).total_seconds() * len(what.cameras)
        return Summary(
            fired=len(draft),
            by_hour=sorted(Counter(at.replace(minute=0, second=0, microsecond=0) for at in local).items()),
            at_night=sum(is_night(at) for at in local),
            most_in_an_hour=most_in_an_hour([(one.event.happened_at, 1) for one in draft]),
            new=[one.event.uid for one in draft if one.event.uid not in kept],
            same=same,
            gone=[one.event.uid for one in force if one.event.uid not in met],
            unknown_s=unknown_s,
            known_s=whole_s - sum(unknown_s.values()),
            tally=self.tallies.tally(what) if what.draft.kind == COUNTING else None,
        )


def _by_version(what: Rehearsal, found: Sequence[Found]) -> tuple[list[Found], list[Found]]:
    """Those of the draft and those of the version in force; one and the same ran once."""
    draft = [one for one in found if one.version == "draft"]
    same_version = what.in_force is not None and what.in_force.version == what.draft.version
    return draft, draft if same_version else [one for one in found if one.version == "in_force"]


def is_night(local: datetime) -> bool:
    """Whether a time of the site's clock counts as night."""
    return local.hour >= NIGHT[0] or local.hour < NIGHT[1]


def compare(draft: Sequence[Found], in_force: Sequence[Found]) -> list[tuple[UUID, UUID]]:
    """Which firings of the two are the same, nearest in time first; each is in one pair at most."""
    near = _Near(in_force)
    pairs: dict[int, int] = {}
    taken: set[int] = set()
    for _, i, j in sorted((apart_s, i, j) for i, one in enumerate(draft) for apart_s, j in near.to(one)):
        if i not in pairs and j not in taken:
            pairs[i] = j
            taken.add(j)
    return [(draft[i].event.uid, in_force[j].event.uid) for i, j in sorted(pairs.items())]


class _Near:
    """Finds what is of the same track or close in time, without looking at everything."""

    def __init__(self, found: Sequence[Found]) -> None:
        self._by_track: dict[tuple[UUID, int, tuple[int, int]], list[tuple[datetime, int]]] = {}
        self._by_time: dict[UUID, list[tuple[datetime, int]]] = {}
        for number, one in enumerate(found):
            place = (one.event.happened_at, number)
            self._by_time.setdefault(one.event.camera, []).append(place)
            if one.track is not None:
                self._by_track.setdefault((one.event.camera, one.number, one.track.first), []).append(place)
        for places in self._by_time.values():
            places.sort()

    def to(self, one: Found) -> set[tuple[float, int]]:
        """(seconds apart, index) of each that may be the same as ``one``."""
        camera, at = one.event.camera, one.event.happened_at
        by_time = self._by_time.get(camera, [])
        span = timedelta(seconds=SAME_S)
        places = by_time[bisect_left(by_time, (at - span, -1)) : bisect_right(by_time, (at + span, len(by_time)))]
        if one.track is not None:
            places = places + self._by_track.get((camera, one.number, one.track.first), [])
        return {(abs((at - other_at).total_seconds()), number) for other_at, number in places}


def unknown_by_reason(unknown: Iterable[Unknown]) -> dict[str, float]:
    """Seconds by reason, camera by camera, no second twice: where two reasons hold, the graver one counts."""
    edges = sorted(
        edge
        for span in unknown
        for edge in (
            (str(span.camera), span.from_at, 1, _gravity(span.reason)),
            (str(span.camera), span.until_at, -1, _gravity(span.reason)),
        )
    )
    seconds: dict[str, float] = {}
    holds: Counter[tuple[int, str]] = Counter()
    for (camera, from_at, change, reason), (next_camera, until_at, _, _) in pairwise([*edges, *edges[-1:]]):
        holds[reason] += change
        if camera == next_camera and until_at > from_at and (now := [one for one, count in holds.items() if count]):
            worst = min(now)[1]
            seconds[worst] = seconds.get(worst, 0.0) + (until_at - from_at).total_seconds()
    return seconds


_GRAVITY = ("blind", "dropped", "silent", "label", "unlooked", "unmeasured")


def _gravity(reason: str) -> tuple[int, str]:
    return _GRAVITY.index(reason.partition(":")[0]), reason
