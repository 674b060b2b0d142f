"""What every rule has in common, and a whole rule as the engine takes it. Pure.

A kind's config is a frozen ``msgspec.Struct`` that extends ``CommonConfig``; bounds, titles and help stand beside each
field in ``msgspec.Meta``, and forms, validation and the API's errors derive from them.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
from msgspec import Meta

from alerts.events import Severity


def _(text: str) -> str:
    """Marks a title or help for translation; its words are chosen when it is shown."""
    return text


Point = tuple[float, float]


class EmbeddedZone(msgspec.Struct, frozen=True, kw_only=True):
    """A zone's geometry as it was when the version was made; points in fractions of the picture (0–1)."""

    uid: UUID
    camera: UUID
    view: UUID
    name: str
    shape: Literal["polygon", "line", "exclusion"] = "polygon"
    points: list[Point]


class ScheduleSpan(msgspec.Struct, frozen=True, kw_only=True):
    """A daily span on some weekdays, in the site's clock. ``until`` before ``from_`` passes midnight.

    ``from_`` and ``until`` are ``HH:MM``; both equal means the whole day.
    """

    days: list[Annotated[int, Meta(ge=0, le=6)]] = msgspec.field(default_factory=lambda: [0, 1, 2, 3, 4, 5, 6])
    from_: Annotated[str, Meta(pattern=r"^([01]\d|2[0-3]):[0-5]\d$")] = msgspec.field(default="00:00", name="from")
    until: Annotated[str, Meta(pattern=r"^([01]\d|2[0-3]):[0-5]\d$")] = "00:00"


class Schedule(msgspec.Struct, frozen=True, kw_only=True):
    """When a rule acts. No spans: always."""

    time_zone: str = "UTC"
    spans: list[ScheduleSpan] = msgspec.field(default_factory=list)


class CommonConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What all kinds carry. Distances are in picture heights, times in seconds."""

    labels: Annotated[
        list[str],
        Meta(min_length=1, title=_("Labels"), description=_("What is looked for, for example person or vehicle.")),
    ] = msgspec.field(default_factory=lambda: ["person"])
    confidence: Annotated[
        float, Meta(ge=0.1, le=1.0, title=_("Confidence"), description=_("The least score that counts, 0.1 to 1."))
    ] = 0.45
    confirm_k: Annotated[
        int, Meta(ge=1, le=50, title=_("Confirmed in"), description=_("Analysed pictures it must be seen in …"))
    ] = 3
    confirm_n: Annotated[
        int, Meta(ge=1, le=50, title=_("of the last"), description=_("… of this many analysed pictures."))
    ] = 5
    confirm_within_s: Annotated[
        float,
        Meta(gt=0, le=60, title=_("within (s)"), description=_("Confirmation must happen within so many seconds.")),
    ] = 3.0
    min_travel: Annotated[
        float,
        Meta(ge=0, le=2, title=_("Least travel"), description=_("Picture heights it must have moved; 0: none.")),
    ] = 0.03
    rearm: Annotated[
        Literal["quiet", "interval"],
        Meta(
            title=_("Ready again after"), description=_("quiet: nobody seen for so long; interval: so long after it.")
        ),
    ] = "quiet"
    rearm_s: Annotated[float, Meta(ge=0, le=86_400, title=_("Ready again after (s)"), description=_("Seconds."))] = 20.0
    stale_s: Annotated[
        float,
        Meta(gt=0, le=86_400, title=_("Late after (s)"), description=_("Known later than this, it is told as late.")),
    ] = 120.0


class EmbeddedRule(msgspec.Struct, frozen=True, kw_only=True):
    """One immutable rule version, complete: what ``RuleVersion.embedded`` holds and the engine builds from."""

    rule: UUID
    version: UUID
    name: str
    kind: str
    severity: Severity
    deployment: UUID
    zones: list[EmbeddedZone]
    schedule: Schedule = msgspec.field(default_factory=Schedule)
    active_from_at: datetime
    active_until_at: datetime | None = None
    config: dict[str, Any]


class Needs(msgspec.Struct, frozen=True, kw_only=True):
    """What a rule asks of the layers below; Demand follows from it."""

    labels: list[str]
    hz: float
    width_px: int
    every_frame: bool = False
