"""Observations: the records of the ordered log. Wire forms only; see ``docs/messages.md`` for examples.

They hold nothing that could lead back to them, so the garbage collector need not look at them (``gc=False``): a week of
one camera is half a million.
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal
from uuid import UUID

import msgspec

from streams.frame import UnknownVersion

OBSERVATION_VERSION = 1


class LogPosition(msgspec.Struct, frozen=True, gc=False):
    """One record of the log."""

    topic: str
    partition: int
    offset: int


class Detections(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="detections", gc=False):
    """All boxes of one Frame by one deployment, as parallel arrays of length n (n may be 0).

    ``xyxy``: n×4 little-endian float32, fractions of the picture (0–1); ``score``: n little-endian float32, 0–1;
    ``label``: n names of our label tree. ``frame`` is where the picture itself stands in the log.
    """

    v: int = OBSERVATION_VERSION
    camera: UUID
    deployment: UUID
    session: int
    sequence: int
    captured_at: datetime
    view: UUID
    model: str
    source_wh: tuple[int, int]
    xyxy: bytes
    score: bytes
    label: list[str]
    frame: LogPosition | None = None


class Dropped(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="dropped", gc=False):
    """Frames of one camera that were sampled and never analysed, up to and including ``sequence``.

    ``deployment`` is None when every deployment missed them (they never reached the log).
    """

    v: int = OBSERVATION_VERSION
    camera: UUID
    deployment: UUID | None = None
    session: int
    sequence: int
    captured_at: datetime
    count: int = 1
    reason: Literal["behind", "log", "poison", "overload", "model"]


class SourceState(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="source", gc=False):
    """What the absence of frames means, on every change and every 10 s.

    *quiet*: nothing has changed since ``sequence``; *active*: frames flow; *blind*: unknown, for ``reason``.
    ``sequence`` is that of the last frame written before this record; it speaks about what came after it.
    ``since_at`` is when the state began.
    """

    v: int = OBSERVATION_VERSION
    camera: UUID
    session: int
    sequence: int
    at: datetime
    state: Literal["quiet", "active", "blind"]
    since_at: datetime
    reason: str = ""


class Measurement(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="measurement", gc=False):
    """A number with unit and uncertainty about a camera, zone or sensor."""

    v: int = OBSERVATION_VERSION
    camera: UUID
    deployment: UUID | None = None
    at: datetime
    quantity: str
    value: float
    unit: str
    uncertainty: float = 0.0
    zone: UUID | None = None


class Tick(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="tick", gc=False):
    """The partition's clock: appended each second by its owner, so that timers fire on logged time."""

    v: int = OBSERVATION_VERSION
    at: datetime


Observation = Detections | Dropped | SourceState | Measurement | Tick


class _Versioned(msgspec.Struct):
    v: int = 0


_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[Observation] = msgspec.msgpack.Decoder(Observation)
_version = msgspec.msgpack.Decoder(_Versioned)


def encode_observation(observation: Observation) -> bytes:
    """MessagePack, map-encoded."""
    return _encoder.encode(observation)


def decode_observation(data: bytes) -> Observation:
    """The observation in ``data``.

    Raises ``UnknownVersion`` (the partition must stop: skipping would lose events) or ``msgspec.DecodeError``.
    """
    version = _version.decode(data).v
    if version != OBSERVATION_VERSION:
        raise UnknownVersion("observation", version, OBSERVATION_VERSION)
    return _decoder.decode(data)
