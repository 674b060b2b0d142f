"""Why nobody is told of an incident for now: a silence, a maintenance window, or the camera or site that is out. Pure.

To be muted is a fact about telling. It hides no incident, and nothing that people do with one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
from msgspec import Meta

from alerts.events import Severity
from alerts.rules.config import Schedule
from alerts.schedule import is_active

By = Literal["silence", "window", "site", "camera"]

_Some = Meta(max_length=500)


class Matchers(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which incidents are meant: of each list that is not empty, one must fit."""

    sites: Annotated[list[UUID], _Some] = []
    cameras: Annotated[list[UUID], _Some] = []
    rules: Annotated[list[UUID], _Some] = []
    labels: Annotated[list[Annotated[str, Meta(max_length=60)]], _Some] = []
    severities: list[Severity] = []

    def __bool__(self) -> bool:
        """Whether it says anything at all: without a matcher everything would be meant."""
        return any(getattr(self, name) for name in self.__struct_fields__)


@dataclass(frozen=True, slots=True)
class Subject:
    """What of an incident decides whether it is muted."""

    site: UUID
    camera: UUID | None
    rule: UUID | None
    label: str
    severity: Severity
    happened_at: datetime
    """When it was last seen to happen."""
    analytic: bool
    """A rule about what a camera sees, not about the camera itself."""
    of_camera_health: bool = False


@dataclass(frozen=True, slots=True)
class Silence:
    """One that may apply: [``from_at``, ``until_at``)."""

    key: int
    matchers: Matchers
    from_at: datetime
    until_at: datetime

    def applies(self, at: datetime) -> bool:
        """Whether it is in force at ``at``."""
        return self.from_at <= at < self.until_at


@dataclass(frozen=True, slots=True)
class Window:
    """A maintenance window of one site, in its clock."""

    key: int
    site: UUID
    matchers: Matchers
    schedule: Schedule


@dataclass(frozen=True, slots=True)
class Mutes:
    """Everything that may mute at the moment ``at``."""

    at: datetime
    silences: Sequence[Silence] = ()
    windows: Sequence[Window] = ()
    cameras_out: Mapping[UUID, datetime] = field(default_factory=dict)
    sites_out: Mapping[UUID, datetime] = field(default_factory=dict)
    """Those that do not answer, and since when."""


@dataclass(frozen=True, slots=True)
class Muted:
    """What mutes; ``key`` names the silence or the window."""

    by: By
    key: int | None = None


def in_force(silences: Iterable[Silence], windows: Iterable[Window], at: datetime) -> frozenset[tuple[By, int]]:
    """Those that mute at ``at``, whatever they mean."""
    silent: set[tuple[By, int]] = {("silence", one.key) for one in silences if one.applies(at)}
    planned: set[tuple[By, int]] = {("window", one.key) for one in windows if is_active(one.schedule, at)}
    return frozenset(silent | planned)


def read_matchers(given: Any) -> Matchers:
    """Matchers from plain values. Raises ``ValueError`` naming the field, and for none at all."""
    try:
        matchers = msgspec.convert(given, type=Matchers)
    except msgspec.ValidationError as error:
        raise ValueError(f"matchers: {error}; mend it") from None
    if not matchers:
        raise ValueError("matchers: expected at least one site, camera, rule, label or severity, got none; name one")
    return matchers


def matches(matchers: Matchers, subject: Subject) -> bool:
    """Whether ``subject`` is meant."""
    return (
        (not matchers.sites or subject.site in matchers.sites)
        and (not matchers.cameras or subject.camera in matchers.cameras)
        and (not matchers.rules or subject.rule in matchers.rules)
        and (not matchers.labels or subject.label in matchers.labels)
        and (not matchers.severities or subject.severity in matchers.severities)
    )


def silenced(subject: Subject, mutes: Mutes) -> Muted | None:
    """The silence that mutes ``subject``, the one that lasts longest; None: none does."""
    found = [one for one in mutes.silences if one.applies(mutes.at) and matches(one.matchers, subject)]
    longest = max(found, key=lambda one: (one.until_at, one.key), default=None)
    return Muted("silence", longest.key) if longest else None


def why_muted(subject: Subject, mutes: Mutes) -> Muted | None:
    """What mutes ``subject``; what a person said comes before what was planned, and that before what is out."""
    return silenced(subject, mutes) or _planned(subject, mutes) or _inhibited(subject, mutes)


def _planned(subject: Subject, mutes: Mutes) -> Muted | None:
    for window in mutes.windows:
        meant = window.site == subject.site and matches(window.matchers, subject)
        if meant and is_active(window.schedule, mutes.at):
            return Muted("window", window.key)
    return None


def _inhibited(subject: Subject, mutes: Mutes) -> Muted | None:
    """A site that is out explains what is said of its cameras; a camera that is out, what is said to be seen by it."""
    if subject.camera is None:
        return None
    if (subject.analytic or subject.of_camera_health) and _is_since(mutes.sites_out.get(subject.site), subject):
        return Muted("site")
    if subject.analytic and _is_since(mutes.cameras_out.get(subject.camera), subject):
        return Muted("camera")
    return None


def _is_since(out_at: datetime | None, subject: Subject) -> bool:
    """What was seen before the camera went is no consequence of it: it may be the cause."""
    return out_at is not None and subject.happened_at >= out_at
