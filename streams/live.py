"""Live pictures and their boxes, for people's screens: pub/sub on the frames server, only while someone watches.

A watcher sets ``watch_key(camera)`` with ``WATCH_TTL_S`` every second; capture publishes ``LivePicture`` on
``picture_channel(camera)`` and evaluate ``LiveBoxes`` on ``boxes_channel(camera)`` while the key is there. The browser
joins them by session and sequence. Nothing here is kept, and nothing depends on its arrival. Pure.
"""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import msgspec

WATCH_TTL_S = 5


class LivePicture(msgspec.Struct, frozen=True, kw_only=True):
    """One picture as people may see it: masks burned in, JPEG."""

    v: int = 1
    camera: UUID
    session: int
    sequence: int
    captured_at: datetime
    width_px: int
    height_px: int
    jpeg: bytes


class LiveBox(msgspec.Struct, frozen=True):
    """One tracked object: xyxy in fractions of the picture, and how long it has been followed."""

    xyxy: tuple[float, float, float, float]
    label: str
    score: float
    track: int
    hot: bool = False
    """Whether a rule is firing about it."""


class LiveBoxes(msgspec.Struct, frozen=True, kw_only=True):
    """The boxes of one analysed picture (possibly none)."""

    v: int = 1
    camera: UUID
    session: int
    sequence: int
    captured_at: datetime
    boxes: list[LiveBox]


def watch_key(camera: UUID) -> str:
    """Exists while someone watches ``camera``."""
    return f"watch:{camera}"


def picture_channel(camera: UUID) -> str:
    """Where ``LivePicture`` of ``camera`` is published."""
    return f"live:{camera}"


def boxes_channel(camera: UUID) -> str:
    """Where ``LiveBoxes`` of ``camera`` are published."""
    return f"boxes:{camera}"


def encode_live(value: LivePicture | LiveBoxes) -> bytes:
    """MessagePack, map-encoded."""
    return msgspec.msgpack.encode(value)


def decode_picture(data: bytes) -> LivePicture:
    """Raises ``msgspec.DecodeError``."""
    return msgspec.msgpack.decode(data, type=LivePicture)


def decode_boxes(data: bytes) -> LiveBoxes:
    """Raises ``msgspec.DecodeError``."""
    return msgspec.msgpack.decode(data, type=LiveBoxes)
