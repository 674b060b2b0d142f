"""What a rehearsal found, as a row and as figures by hour of the day: what the screen shows. Pure."""

from __future__ import annotations

import zoneinfo
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from uuid import UUID

import msgspec

from alerts.rehearsal_items import Found, Rehearsal, Summary, Tally, Unknown, Version
from alerts.rehearsal_summary import Gathered
from detectors.tracking import Track

HOURS = 24


class Firing(msgspec.Struct, frozen=True, kw_only=True):
    """One firing, with what its drawing needs: corners and path in fractions of the picture."""

    uid: UUID
    version: Version
    camera: UUID
    happened_at: datetime
    label: str
    deployment: UUID | None
    track: Track | None
    """Names the archive's picture of it."""
    pictured: bool = False
    """Whether the archive has one."""
    box: tuple[float, float, float, float] | None
    path: list[tuple[float, float]]
    zone: list[tuple[float, float]]


class Hours(msgspec.Struct, kw_only=True):
    """Each list has one number for each hour of the day, 0 to 23, on the site's clock."""

    same: list[int]
    new: list[int]
    gone: list[int]
    unknown_s: list[float]
    """Camera seconds of which nothing can be told, each second once."""
    whole_s: list[float]
    """Camera seconds that the span has."""


class Figures(msgspec.Struct, kw_only=True):
    """The summary as it is stored."""

    fired: int
    at_night: int
    most_in_an_hour: int
    same: int
    new: list[UUID]
    gone: list[UUID]
    unknown_s: dict[str, float]
    known_s: float
    hours: Hours
    tally: Tally | None = None
    """Of a draft that counts; its hours say in which of the two versions the more was counted."""


def firing(found: Found) -> Firing:
    """The row of ``found``."""
    event = found.event
    boxes = [box.xyxy for box in event.boxes if box.fired]
    return Firing(
        uid=event.uid,
        version=found.version,
        camera=event.camera,
        happened_at=event.happened_at,
        label=event.label,
        deployment=event.deployment,
        track=found.track,
        box=boxes[0] if boxes else None,
        path=event.path,
        zone=event.zone_polygon,
    )


def figures(what: Rehearsal, gathered: Gathered, summary: Summary) -> Figures:
    """``summary`` with its hours of the day."""
    return Figures(
        fired=summary.fired,
        at_night=summary.at_night,
        most_in_an_hour=summary.most_in_an_hour,
        same=len(summary.same),
        new=summary.new,
        gone=summary.gone,
        unknown_s=summary.unknown_s,
        known_s=summary.known_s,
        hours=_hours(what, gathered, summary),
        tally=summary.tally,
    )


def _hours(what: Rehearsal, gathered: Gathered, summary: Summary) -> Hours:
    clock = zoneinfo.ZoneInfo(what.time_zone)
    whole = [(what.from_at, what.until_at)] * len(what.cameras)
    same, new, gone = _compared(gathered, summary, clock) if summary.tally is None else _apart(summary.tally)
    return Hours(
        same=same,
        new=new,
        gone=gone,
        unknown_s=_seconds(_merged(gathered.unknown), clock),
        whole_s=_seconds(whole, clock),
    )


_Three = tuple[list[int], list[int], list[int]]


def _compared(gathered: Gathered, summary: Summary, clock: zoneinfo.ZoneInfo) -> _Three:
    """Firings by hour: the same in both versions, new, and gone."""
    hour = {one.event.uid: one.event.happened_at.astimezone(clock).hour for one in gathered.found}
    return (
        _counted(hour[uid] for uid, _ in summary.same),
        _counted(hour[uid] for uid in summary.new),
        _counted(hour[uid] for uid in summary.gone),
    )


def _apart(tally: Tally) -> _Three:
    """Numbers by hour: what both versions counted, what the draft did beyond that, and what the version in force."""
    return (
        [min(both) for both in tally.by_hour],
        [max(0, draft - in_force) for draft, in_force in tally.by_hour],
        [max(0, in_force - draft) for draft, in_force in tally.by_hour],
    )


def _counted(hours: Iterable[int]) -> list[int]:
    counts = [0] * HOURS
    for hour in hours:
        counts[hour] += 1
    return counts


def _merged(unknown: Iterable[Unknown]) -> Iterator[tuple[datetime, datetime]]:
    """Times in which anything is unknown, camera by camera, no moment twice."""
    spans = sorted((str(one.camera), one.from_at, one.until_at) for one in unknown)
    reached: dict[str, datetime] = {}
    for camera, from_at, until_at in spans:
        begins = max(from_at, reached.get(camera, from_at))
        if begins < until_at:
            yield begins, until_at
            reached[camera] = until_at


def _seconds(spans: Iterable[tuple[datetime, datetime]], clock: zoneinfo.ZoneInfo) -> list[float]:
    """Seconds of ``spans`` by the local hour in which they lie."""
    seconds = [0.0] * HOURS
    for from_at, until_at in spans:
        while from_at < until_at:
            local = from_at.astimezone(clock)
            rest = timedelta(hours=1) - timedelta(
                minutes=local.minute, seconds=local.second, microseconds=local.microsecond
            )
            ends = min(until_at, from_at + rest)
            seconds[local.hour] += (ends - from_at).total_seconds()
            from_at = ends
    return seconds
