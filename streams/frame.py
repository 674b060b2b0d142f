"""A Frame: one sampled picture of one camera, as it travels on ``frames.<pool>``."""

from __future__ import annotations

from datetime import datetime
from typing import Literal
from uuid import UUID

import msgspec

FRAME_VERSION = 1

Why = Literal["motion", "heartbeat", "every", "first"]


class UnknownVersion(ValueError):
    """A record of a version that this program cannot read."""

    def __init__(self, kind: str, got: object, known: int) -> None:
        super().__init__(
            f"{kind}: expected version {known}, got {got!r}; update this process before the one that writes"
        )
        self.got = got


class Jpeg(msgspec.Struct, frozen=True, tag_field="kind", tag="jpeg"):
    """A whole picture, JPEG-encoded, masks already burned in."""

    data: bytes


class Gop(msgspec.Struct, frozen=True, tag_field="kind", tag="gop"):
    """A compressed group of pictures; ``index`` names the picture meant. Not produced yet."""

    data: bytes
    codec: str
    index: int


class Ref(msgspec.Struct, frozen=True, tag_field="kind", tag="ref"):
    """A place in the recording ring. Not produced yet."""

    path: str
    offset_s: float


Payload = Jpeg | Gop | Ref


class Frame(msgspec.Struct, frozen=True, kw_only=True):
    """One sampled picture.

    ``session`` grows by one with every reconnect of the camera (lease number first, so it never goes back);
    ``sequence`` counts decoded pictures within a session, so sampled frames leave gaps.
    ``captured_at`` is aware UTC and never goes back within a session; ``uncertainty_s`` is its half-width.
    ``width_px`` and ``height_px`` are those of the payload, ``source_wh`` those of the camera's stream.
    """

    v: int = FRAME_VERSION
    camera: UUID
    session: int
    sequence: int
    captured_at: datetime
    uncertainty_s: float = 0.0
    view: UUID
    why: Why
    width_px: int
    height_px: int
    source_wh: tuple[int, int]
    payload: Payload


class _Versioned(msgspec.Struct):
    v: int = 0


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Frame)
_version = msgspec.msgpack.Decoder(_Versioned)


def encode_frame(frame: Frame) -> bytes:
    """MessagePack, map-encoded."""
    return _encoder.encode(frame)


def decode_frame(data: bytes) -> Frame:
    """The frame in ``data``.

    Raises ``UnknownVersion`` for another version, ``msgspec.DecodeError`` for anything that is not a frame.
    """
    version = _version.decode(data).v
    if version != FRAME_VERSION:
        raise UnknownVersion("frame", version, FRAME_VERSION)
    return _decoder.decode(data)
