"""What is rehearsed, and what comes of it item by item. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal
from uuid import UUID

import msgspec

from alerts.archive_rows import Batch
from alerts.engine import ZoneCount
from alerts.events import Event
from alerts.rules.config import EmbeddedRule
from alerts.rules.logic import Direction
from alerts.why import settling_s
from detectors.tracking import Track, TrackerConfig

WARM_UP_S = 900.0
"""The engine sees at least so much before the span, so that who stands there already is known."""

Version = Literal["draft", "in_force"]


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """It would have fired. ``track`` is the object on the event's picture, as it was tracked; None: of no one track."""

    version: Version
    event: Event
    number: int
    track: Track | None


class Tallied(msgspec.Struct, frozen=True, kw_only=True):
    """It would have counted this: an interval's numbers, line by line."""

    version: Version
    counts: list[ZoneCount]


class Unknown(msgspec.Struct, frozen=True, kw_only=True):
    """A time of which nothing can be told.

    ``reason``: ``blind:…`` or ``dropped:…`` as the ledger has it, ``silent`` (nothing was said about the camera),
    ``unlooked`` (the rule's deployment did not look), ``label`` (its model does not know all that the rule looks for),
    ``unmeasured`` (a gap in the series that it goes by).
    """

    camera: UUID
    from_at: datetime
    until_at: datetime
    reason: str

    @property
    def seconds(self) -> float:
        return (self.until_at - self.from_at).total_seconds()


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """How far it is: ``share`` 0–1 of everything, ``at`` on ``camera``'s own time. It may be stopped here."""

    share: float
    camera: UUID
    at: datetime


class Broken(msgspec.Struct, frozen=True, kw_only=True):
    """A version cannot run, with the reason."""

    version: Version
    reason: str


Course = Direction | Literal["turn"]
"""Over a line one way or the other, or from one line to another."""


class Series(msgspec.Struct, frozen=True, kw_only=True):
    """What both versions counted over one line one way, or of one turn, of one label."""

    zone: UUID
    direction: Course
    to_zone: UUID | None
    """Of a turn: the line that they went out by."""
    label: str
    draft: int
    in_force: int


class Tally(msgspec.Struct, frozen=True, kw_only=True):
    """What a draft that counts has counted. Turns are of the same crossings and are not added to them."""

    draft: int
    in_force: int
    by_hour: list[tuple[int, int]]
    """For each hour of the site's day, 0 to 23: what the draft and the version in force counted."""
    most_in_an_hour: int
    series: list[Series]


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """The whole of it, last of all. Times of day are the site's."""

    fired: int
    by_hour: list[tuple[datetime, int]]
    """Hours (local, aware) in which it fired, in order, with how often."""
    at_night: int
    most_in_an_hour: int
    """In any sixty minutes."""
    new: list[UUID]
    same: list[tuple[UUID, UUID]]
    """Events of the draft, each with that of the version in force."""
    gone: list[UUID]
    unknown_s: dict[str, float]
    """Camera seconds of which nothing can be told, by reason; where two hold, the graver one counts."""
    known_s: float
    tally: Tally | None = None
    """None for a draft that fires."""


Item = Found | Tallied | Unknown | Progress | Broken | Summary
Reader = Callable[[UUID, datetime, datetime, frozenset[str] | None], Iterable[Batch]]
"""(camera, from, until, labels) -> batches in log order; see ``alerts.archive.Archive``."""


@dataclass(frozen=True, kw_only=True)
class Rehearsal:
    """What is rehearsed. ``knows`` gives the labels of a model named as in Detections; None: it is not known."""

    draft: EmbeddedRule
    cameras: Sequence[UUID]
    from_at: datetime
    until_at: datetime
    in_force: EmbeddedRule | None = None
    sources: Sequence[EmbeddedRule] = ()
    """Of a sequence: the versions in force of the rules that it is made of, and of those that these are made of."""
    sites: Mapping[UUID, int] = field(default_factory=dict)
    """Of a sequence: where each camera stands; those that are not named stand at one site."""
    time_zone: str = "UTC"
    tracking: TrackerConfig | None = None
    """Track anew with this; None: the archived tracks are taken."""
    warm_up_s: float | None = None
    """None: ``WARM_UP_S``, and more where a version waits for something that lasts longer."""
    knows: Mapping[str, frozenset[str]] = field(default_factory=dict)

    def rules(self) -> dict[UUID, tuple[Version, EmbeddedRule]]:
        """The versions that run, by name, each in force over the whole span; one and the same runs once."""
        wide = {"active_from_at": self.first_at, "active_until_at": None}
        rules: dict[UUID, tuple[Version, EmbeddedRule]] = {}
        if self.in_force is not None:
            rules[self.in_force.version] = ("in_force", msgspec.structs.replace(self.in_force, **wide))
        rules[self.draft.version] = ("draft", msgspec.structs.replace(self.draft, **wide))
        return rules

    @property
    def first_at(self) -> datetime:
        """Where reading begins: the warm-up's start."""
        versions = [rule for rule in (self.draft, self.in_force) if rule is not None]
        needed_s = max([WARM_UP_S, *map(settling_s, versions)])
        return self.from_at - timedelta(seconds=needed_s if self.warm_up_s is None else self.warm_up_s)
