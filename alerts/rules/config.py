"""What every rule has in common, and a whole rule as the engine takes it. Pure.

A kind's config is a frozen ``msgspec.Struct`` that extends ``CommonConfig``; bounds, titles and help stand beside each
field in ``msgspec.Meta``, and forms, validation and the API's errors derive from them.
"""

from __future__ import annotations

import math
from datetime import date, datetime
from typing import Annotated, Any, ClassVar, Literal
from uuid import UUID

import msgspec
from msgspec import Meta

from alerts.events import Severity
from alerts.ground import Ground


def _(text: str) -> str:
    """Marks a title or help for translation; its words are chosen when it is shown."""
    return text


Point = tuple[float, float]


class EmbeddedZone(msgspec.Struct, frozen=True, kw_only=True):
    """A zone's geometry as it was when the version was made; points in fractions of the picture (0–1).

    A line's arrow points to the right-hand side of the way from its first to its second point: that is *forward*.
    An exclusion fires nothing: what stands in it counts for none of the rule's other zones on its camera.
    """

    uid: UUID
    camera: UUID
    view: UUID
    name: str
    shape: Literal["polygon", "line", "exclusion"] = "polygon"
    points: list[Point]
    time_zone: str = ""
    """The clock of the site; empty: that of the rule's schedule, which is the same."""
    ground: Ground | None = None
    """The calibration of the view; None: its lengths are known in picture heights only."""


TIME = r"^(([01]\d|2[0-3]):[0-5]\d|(sunrise|sunset)([+-]0[0-5]:[0-5]\d)?)$"
"""``HH:MM`` on the site's clock, or the sun's: ``sunset``, ``sunset-00:30``, ``sunrise+01:15``."""
ClockOrSun = Annotated[str, Meta(pattern=TIME)]


class ScheduleSpan(msgspec.Struct, frozen=True, kw_only=True):
    """A daily span on some weekdays, in the site's clock. ``until`` before ``from_`` passes midnight.

    Both equal means the whole day. The sun rises in the morning half and sets in the other: a span passes midnight
    when it begins in the second half and ends in the first, so ``19:00`` until ``sunset`` is empty in winter.
    """

    days: list[Annotated[int, Meta(ge=0, le=6)]] = msgspec.field(default_factory=lambda: [0, 1, 2, 3, 4, 5, 6])
    from_: ClockOrSun = msgspec.field(default="00:00", name="from")
    until: ClockOrSun = "00:00"


class Schedule(msgspec.Struct, frozen=True, kw_only=True):
    """When a rule acts. No spans: always. ``latitude`` and ``longitude`` (degrees) are for spans that name the sun.

    ``holidays`` are days of the site's calendar. ``on_holidays``: *never*: no span begins on them; *always*: the rule
    acts from midnight to midnight; *as_sunday*: they are Sundays.
    """

    time_zone: str = "UTC"
    spans: list[ScheduleSpan] = msgspec.field(default_factory=list)
    latitude: float | None = None
    longitude: float | None = None
    holidays: Annotated[list[date], Meta(max_length=1000)] = msgspec.field(default_factory=list)
    on_holidays: Literal["never", "always", "as_sunday"] = "never"


CONFIDENCE_HELP = _(
    "The least score that counts, 0.1 to 1. What never scores 0.35 is not followed, whatever stands here."
)
"""It names ``TrackerConfig.high``: a lower bound only lets more pictures of what is followed already count."""


class CommonConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What all kinds carry. Distances are in picture heights, times in seconds."""

    unused: ClassVar[frozenset[str]] = frozenset()
    """Those of the common settings that mean nothing to this kind, so that no form need ask for them."""
    walks: ClassVar[tuple[str, ...]] = ("source", "gate", "detections", "track")
    """The stages of ``alerts.why`` that must let a matter pass before this kind decides."""
    listens: ClassVar[Literal["pictures", "source"]] = "pictures"
    """Without what it cannot be told whether it would have fired; see ``alerts.rehearsal_ledger``."""
    metric: ClassVar[tuple[str, ...]] = ()
    """Settings in metres or km/h; without a value they are not used."""
    afterwards: ClassVar[frozenset[str]] = frozenset({"stale_s", "news_after_s"})
    """Settings in seconds that it does not wait for: they are about what has been told."""
    memory_s: ClassVar[float] = 0.0
    """What it remembers for so long, whatever its settings, may decide."""

    labels: Annotated[
        list[str],
        Meta(min_length=1, title=_("Labels"), description=_("What is looked for, for example person or vehicle.")),
    ] = msgspec.field(default_factory=lambda: ["person"])
    confidence: Annotated[float, Meta(ge=0.1, le=1.0, title=_("Confidence"), description=CONFIDENCE_HELP)] = 0.45
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
    group_by: Annotated[
        Literal["camera", "site"],
        Meta(
            title=_("One incident for each"),
            description=_("site: what several cameras of a place see at the same time is one incident."),
        ),
    ] = "camera"
    news_after_s: Annotated[
        float,
        Meta(
            ge=0,
            le=604_800,
            title=_("Told again after quiet (s)"),
            description=_("Nothing for so long, then it happens again while the incident is open: that is news."),
        ),
    ] = 1800.0
    min_height: Annotated[
        Annotated[float, Meta(ge=0, le=1)] | None,
        Meta(
            title=_("Least height"),
            description=_("Picture heights, for example 0.05; smaller boxes are not looked at. Empty: no limit."),
        ),
    ] = None
    max_height: Annotated[
        Annotated[float, Meta(gt=0, le=1)] | None,
        Meta(
            title=_("Most height"),
            description=_("Picture heights, for example 0.8; larger boxes are not looked at. Empty: no limit."),
        ),
    ] = None
    # Not asked for any more: what people are shown is the rule's own "Why it matters".
    why: Annotated[
        Annotated[str, Meta(max_length=200)] | None,
        Meta(title=_("Why it matters"), description=_("One sentence, shown with the incident.")),
    ] = None

    @classmethod
    def asked(cls) -> list[str]:
        """The settings that a form asks for, in their order."""
        return [name for name in cls.__struct_fields__ if name not in cls.unused and name not in RETIRED]

    @property
    def sought(self) -> dict[str, list[str]]:
        """By setting, the labels that the model must give, every one of them, for this to fire as it is meant to."""
        return {"labels": self.labels}

    def check_effect(self) -> None:
        """Raises ``ValueError`` for a setting without any effect. Asked of what is saved; what is stored goes on."""

    @property
    def heights(self) -> tuple[float, float]:
        """The least and the most height, in picture heights, of a box that is looked at."""
        return self.min_height or 0.0, math.inf if self.max_height is None else self.max_height

    @property
    def looks_back_s(self) -> float:
        """How long ago something may have begun that decides now: as if it waited for one after the other.

        Every setting in seconds counts, that of a kind to come too.
        """
        waits = [name for name in self.__struct_fields__ if name.endswith("_s") and name not in self.afterwards]
        return self.memory_s + sum(float(getattr(self, name)) for name in waits)

    @property
    def on_ground(self) -> list[str]:
        """The settings in use that a view without a calibrated ground cannot serve."""
        return [name for name in self.metric if getattr(self, name)]

    def __post_init__(self) -> None:
        least, most = self.min_height, self.max_height
        if least is not None and most is not None and least >= most:
            raise ValueError(
                f"min_height: expected less than max_height {most:g}, got {least:g}; no box could ever count, lower it"
            )


RETIRED = frozenset({"why"})
"""Settings that older rules may have: read and kept, and shown nowhere."""
OF_OBJECTS = frozenset({"labels", "confidence", "confirm_k", "confirm_n", "confirm_within_s", "min_travel"}) | {
    "min_height",
    "max_height",
}
"""The common settings about detected objects, for the ``unused`` of kinds that look at none."""
NoLabels = Annotated[list[str], Meta(max_length=0, title=_("Labels"), description=_("This kind looks at no objects."))]


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

    @property
    def cameras(self) -> set[UUID]:
        """Those it watches: a mask alone watches none."""
        return {zone.camera for zone in self.zones if zone.shape != "exclusion"}


class Needs(msgspec.Struct, frozen=True, kw_only=True):
    """What a rule asks of the layers below; Demand follows from it."""

    labels: list[str]
    hz: float
    width_px: int
    every_frame: bool = False
    unbroken: bool = False
    """What it looks for may begin and end between two key frames: the camera does not rest."""
