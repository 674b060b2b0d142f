"""Event: the immutable fact that something happened, as the engine makes it and as it travels on ``events``. Pure."""

from __future__ import annotations

import hashlib
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

import msgspec

from streams.observations import LogPosition

EVENT_VERSION = 1
STALE_S = 120.0
"""What becomes known longer after it happened is known late, where its rule says nothing else."""

EventSource = Literal["rule", "device", "external", "manual", "canary"]
Severity = Literal["low", "medium", "high", "critical"]
SEVERITIES: tuple[Severity, ...] = ("low", "medium", "high", "critical")


class Fact(msgspec.Struct, frozen=True):
    """One number that made a rule fire, beside its bound: ``value`` ``relation`` ``bound`` in ``unit``.

    ``name`` is a key (``confidence``, ``confirmed``, ``travel``, ``in_zone``); its words are chosen when it is shown.
    """

    name: str
    value: float
    relation: Literal[">=", "<=", "of", "="]
    bound: float
    unit: str = ""


class SeenBox(msgspec.Struct, frozen=True):
    """A box on the event's picture; ``fired`` marks the one the event is about."""

    xyxy: tuple[float, float, float, float]
    label: str
    score: float
    fired: bool = False


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """What happened, where, when, and why. Kind and parameters, never a sentence.

    ``happened_at`` is the picture's ``captured_at``. ``path`` holds the object's recent bottom centres (x, y),
    fractions of the picture; ``zone_polygon`` the zone as it was. ``frame`` is where the picture stands in the log.
    """

    v: int = EVENT_VERSION
    uid: UUID
    source: EventSource = "rule"
    kind: str
    severity: Severity
    camera: UUID
    rule_version: UUID | None
    deployment: UUID | None
    zone: UUID | None
    label: str
    session: int
    sequence: int
    happened_at: datetime
    facts: list[Fact]
    boxes: list[SeenBox]
    path: list[tuple[float, float]]
    zone_polygon: list[tuple[float, float]]
    frame: LogPosition | None
    stale_s: float = STALE_S
    causes: list[UUID] = []
    """The events that this one follows from, where it does."""


def occurrence_id(camera: UUID, deployment: UUID, session: int, sequence: int, zone: UUID) -> bytes:
    """Names one object's stay in one zone by the track's first confirmed frame: no counters, no track numbers."""
    text = f"{camera}|{deployment}|{session}|{sequence}|{zone}"
    return hashlib.sha256(text.encode()).digest()


def event_uid(rule_version: UUID, occurrence: bytes, n: int) -> UUID:
    """The name of the ``n``-th event of a rule version about one occurrence; the same input gives the same name."""
    return hashed_uid(rule_version.bytes + occurrence + n.to_bytes(4, "big"))


def hashed_uid(content: bytes) -> UUID:
    """A name that follows from ``content``."""
    digest = bytearray(hashlib.sha256(content).digest()[:16])
    # RFC 9562, section 5.8: version 8, our own content (Python 3.11's UUID() knows versions to 5 only).
    digest[6] = digest[6] & 0x0F | 0x80
    digest[8] = digest[8] & 0x3F | 0x80
    return UUID(bytes=bytes(digest))


def bare_event(
    *, uid: UUID, source: EventSource, kind: str, severity: Severity, camera: UUID, label: str, happened_at: datetime
) -> Event:
    """An event that no rule fired and that has no picture."""
    return Event(
        uid=uid,
        source=source,
        kind=kind,
        severity=severity,
        camera=camera,
        rule_version=None,
        deployment=None,
        zone=None,
        label=label,
        session=0,
        sequence=0,
        happened_at=happened_at,
        facts=[],
        boxes=[],
        path=[],
        zone_polygon=[],
        frame=None,
    )


def encode_event(event: Event) -> bytes:
    """MessagePack, map-encoded."""
    return msgspec.msgpack.encode(event)


def decode_event(data: bytes) -> Event:
    """Raises ``msgspec.DecodeError`` for anything that is not an event."""
    return msgspec.msgpack.decode(data, type=Event)


def to_json(value: Any) -> Any:
    """``value`` (structs included) as plain JSON types, for a database column."""
    return msgspec.to_builtins(value)
