"""What stands in a configuration's text: one frozen struct for each kind of table, known by its names. Pure.

Names are what things are known by, here as in the text: another name is another thing. A camera is named by its site
and its own name, a view and a zone by those and theirs. Nothing in here is a secret.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar, Literal

import msgspec
from msgspec import Meta

from alerts.events import Severity
from alerts.ground import Ground

Key = tuple[str, ...]
Name = Annotated[str, Meta(min_length=1, max_length=100, pattern=r"^[^\x00-\x1f\x7f]+$")]
Line = Annotated[str, Meta(max_length=300, pattern=r"^[^\x00-\x1f\x7f]*$")]
CameraRef = tuple[Name, Name]
"""Site and camera."""
ZoneRef = tuple[Name, Name, Name, Name]
"""Site, camera, view and zone."""
Points = list[tuple[float, float]]
Span = dict[str, Any]
"""``alerts.rules.config.ScheduleSpan`` as plain values."""
Clock = Annotated[str, Meta(pattern=r"^([01]\d|2[0-3]):[0-5]\d$")]
Day = Annotated[str, Meta(pattern=r"^\d{4}-\d{2}-\d{2}$")]
Moment = Annotated[datetime, Meta(tz=True)]
Holidays = Literal["never", "always", "as_sunday"]


class Entry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One table of the text."""

    named_by: ClassVar[tuple[str, ...]] = ("name",)

    @property
    def key(self) -> Key:
        """What it is known by among those of its kind."""
        return tuple(getattr(self, name) for name in self.named_by)


class SiteEntry(Entry, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A place with its clock."""

    name: Name
    time_zone: str = "UTC"
    latitude: Annotated[float, Meta(ge=-90, le=90)] | None = None
    longitude: Annotated[float, Meta(ge=-180, le=180)] | None = None
    contact: Annotated[str, Meta(max_length=200)] = ""


class GroupEntry(Entry, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A camera group. Who belongs to it is no configuration: people are given their groups on each installation."""

    name: Name


class CameraEntry(Entry, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A camera with its addresses by role; log-ins stay where they are."""

    named_by: ClassVar[tuple[str, ...]] = ("site", "name")

    site: Name
    name: Name
    group: Name
    carrier: Literal["fixed", "drone"] = "fixed"
    enabled: bool = True
    evidence_px: Annotated[int, Meta(ge=1, le=100_000)] = 960
    gated: bool = True
    rests: bool = True
    sources: dict[Literal["detect", "record", "view"], Annotated[str, Meta(min_length=1, max_length=500)]] = (
        msgspec.field(default_factory=dict)
    )


class ViewEntry(Entry, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a camera looks at, with its privacy masks and its calibrated ground."""

    named_by: ClassVar[tuple[str, ...]] = ("site", "camera", "name")

    site: Name
    camera: Name
    name: Name
    masks: list[Points] = msgspec.field(default_factory=list)
    ground: Ground | None = None


class ZoneEntry(Entry, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A polygon, a directed line or a mask of a view."""

    named_by: ClassVar[tuple[str, ...]] = ("site", "camera", "view", "name")

    site: Name
    camera: Name
    view: Name
    name: Name
    shape: Literal["polygon", "line", "exclusion"] = "polygon"
    points: Points


class DeploymentEntry(Entry, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where a model runs. The model itself is not in the text: it is known by name and version."""

    name: Name
    model: Name
    model_version: Name
    pool: Annotated[str, Meta(max_length=40, pattern=r"^[-\w]+$")] = "general"
    enabled: bool = True
    all_cameras: bool = True
    cameras: list[CameraRef] = msgspec.field(default_factory=list)
    condition: dict[str, Any] = msgspec.field(default_factory=dict)
    hz: Annotated[float, Meta(gt=0, le=1000)] = 5.0
    static_regions: bool = False


Channel = Literal["sms", "email", "webhook", "apprise"]
"""Those of ``alerts.notifiers.registry``."""


class ContactEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A number or an address; the first of the list is tried first.

    Of an address that is a credential an export holds only what may be shown: where it is known already it stays, and
    anywhere else it has to be written out.
    """

    channel: Channel
    address: Annotated[str, Meta(min_length=1, max_length=500)]


class RecipientEntry(Entry, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Somebody who is told. ``user``: the log-in name of the person that it is."""

    name: Name
    user: Annotated[str, Meta(max_length=150)] = ""
    language: Annotated[str, Meta(max_length=10)] = "en"
    time_zone: str = ""
    active: bool = True
    quiet_from: Clock | None = None
    quiet_until: Clock | None = None
    contacts: list[ContactEntry] = msgspec.field(default_factory=list)


class TeamEntry(Entry, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """People who are told together."""

    name: Name
    members: list[Name] = msgspec.field(default_factory=list)


class TakeOverEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Somebody takes a rota over for a time that is not over yet; of two the later in the list holds."""

    recipient: Name
    from_at: Moment
    until_at: Moment


class RotaEntry(Entry, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A rota. The address of its calendar is a secret, and not in the text."""

    name: Name
    time_zone: str = "UTC"
    weekday: Literal["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"] = "monday"
    hand_over_at: Clock = "08:00"
    starts_on: Day
    members: list[Name]
    holidays: list[Day] = msgspec.field(default_factory=list)
    on_holidays: Name | None = None
    taken_over: list[TakeOverEntry] = msgspec.field(default_factory=list)


class StepEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One step of a policy."""

    recipients: list[Name] = msgspec.field(default_factory=list)
    teams: list[Name] = msgspec.field(default_factory=list)
    rotas: list[Name] = msgspec.field(default_factory=list)
    channels: list[Channel] = msgspec.field(default_factory=list)
    wait_s: Annotated[int, Meta(ge=30, le=86_400)] = 120


class PolicyEntry(Entry, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An escalation policy with its steps in order."""

    name: Name
    repeats: Annotated[int, Meta(ge=0, le=10)] = 0
    steps: list[StepEntry]


class OverrideEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What of a template differs at one place: a site, a camera group or a camera."""

    site: Name | None = None
    group: Name | None = None
    camera: CameraRef | None = None
    changes: dict[str, Any] = msgspec.field(default_factory=dict)


class TemplateEntry(Entry, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One rule for many cameras."""

    name: Annotated[str, Meta(min_length=1, max_length=60, pattern=r"^[^\x00-\x1f\x7f]+$")]
    kind: str
    enabled: bool = True
    severity: Severity = "medium"
    zone_name: Name
    deployment: Name
    cameras: list[CameraRef] = msgspec.field(default_factory=list)
    schedule: list[Span] = msgspec.field(default_factory=list)
    holidays: list[Day] = msgspec.field(default_factory=list)
    on_holidays: Holidays = "never"
    recipients: list[Name] = msgspec.field(default_factory=list)
    policy: Name | None = None
    why_it_matters: Line = ""
    procedure: Annotated[str, Meta(max_length=10_000)] = ""
    config: dict[str, Any] = msgspec.field(default_factory=dict)
    overrides: list[OverrideEntry] = msgspec.field(default_factory=list)


class RuleEntry(Entry, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A rule as its newest version has it."""

    name: Name
    kind: str
    enabled: bool = True
    severity: Severity = "medium"
    deployment: Name
    zones: list[ZoneRef]
    schedule: list[Span] = msgspec.field(default_factory=list)
    holidays: list[Day] = msgspec.field(default_factory=list)
    on_holidays: Holidays = "never"
    recipients: list[Name] = msgspec.field(default_factory=list)
    policy: Name | None = None
    why_it_matters: Line = ""
    procedure: Annotated[str, Meta(max_length=10_000)] = ""
    template: Name | None = None
    template_camera: CameraRef | None = None
    config: dict[str, Any] = msgspec.field(default_factory=dict)


class MutingEntry(Entry, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What of the incidents nobody is told of: of each list that is not empty, one must fit."""

    sites: list[Name] = msgspec.field(default_factory=list)
    cameras: list[CameraRef] = msgspec.field(default_factory=list)
    rules: list[Name] = msgspec.field(default_factory=list)
    labels: list[Annotated[str, Meta(min_length=1, max_length=60)]] = msgspec.field(default_factory=list)
    severities: list[Severity] = msgspec.field(default_factory=list)


class WindowEntry(MutingEntry, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A maintenance window, in the clock of its site."""

    named_by: ClassVar[tuple[str, ...]] = ("site", "name")

    site: Name
    name: Name
    enabled: bool = True
    schedule: list[Span]
    holidays: list[Day] = msgspec.field(default_factory=list)
    on_holidays: Holidays = "never"


class SilenceEntry(MutingEntry, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A silence that is not over yet.

    It has no name: it is known by its reason, by when it begins and by what it means, which nobody can change. Of two
    that have all this in common only the one that lasts longer means anything.
    """

    named_by: ClassVar[tuple[str, ...]] = ("reason", "from_at")

    reason: Annotated[str, Meta(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$")]
    from_at: Moment
    until_at: Moment

    @property
    def key(self) -> Key:
        """With the moment as UTC, however it was written."""
        return self.reason, self.from_at.astimezone(UTC).isoformat(), *self._meant()

    def _meant(self) -> Iterator[str]:
        yield from sorted(self.sites)
        yield from sorted(f"{name}, {site}" for site, name in self.cameras)
        yield from sorted(self.rules)
        yield from sorted([*self.labels, *self.severities])


KINDS: dict[str, type[Entry]] = {
    "site": SiteEntry,
    "camera_group": GroupEntry,
    "camera": CameraEntry,
    "view": ViewEntry,
    "zone": ZoneEntry,
    "deployment": DeploymentEntry,
    "recipient": RecipientEntry,
    "team": TeamEntry,
    "rota": RotaEntry,
    "policy": PolicyEntry,
    "template": TemplateEntry,
    "rule": RuleEntry,
    "window": WindowEntry,
    "silence": SilenceEntry,
}
"""Name of the table → what it holds, in the order of the text: what is named stands before whoever names it."""

Entries = dict[str, dict[Key, Any]]
"""Kind → key → entry."""


def nothing() -> Entries:
    """A configuration with nothing in it."""
    return {kind: {} for kind in KINDS}


def drop_what_is_over(entries: Entries, now: datetime) -> None:
    """Silences and take-overs of days that have passed by ``now``: a text may be older than what it says."""
    entries["silence"] = {key: one for key, one in entries["silence"].items() if one.until_at > now}
    for key, rota in entries["rota"].items():
        still = [one for one in rota.taken_over if one.until_at > now]
        entries["rota"][key] = msgspec.structs.replace(rota, taken_over=still)
