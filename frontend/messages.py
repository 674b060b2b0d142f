"""The wire between our sockets and the browser. Pure; ``docs/reference/sockets.md`` shows every message.

Text frames are one JSON object with a ``type``; the one binary frame is a live picture: four bytes (big-endian) giving
the header's length, the header as JSON, the JPEG. ``session`` travels as text: it may not fit a browser's number.
"""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import msgspec

from streams.live import LiveBoxes, LivePicture

MAX_CAMERAS = 64
"""Cameras one socket may watch at a time."""


class Hello(msgspec.Struct, frozen=True, tag_field="type", tag="hello"):
    """The first message of ``/ws/room/``: the sequence as it stands, and the server's clock."""

    change: int
    now: datetime


class Changed(msgspec.Struct, frozen=True, tag_field="type", tag="changed"):
    """A hint: something changed, up to and including ``change``. The browser fetches what it shows."""

    change: int


class HealthChanged(msgspec.Struct, frozen=True, tag_field="type", tag="health"):
    """A hint: the health strip reads differently now. ``digest`` names the new reading."""

    digest: str


class Alive(msgspec.Struct, frozen=True, tag_field="type", tag="alive"):
    """Sent every two seconds: the state shown is known to be right at ``now``."""

    now: datetime


class Watching(msgspec.Struct, frozen=True, tag_field="type", tag="watching"):
    """Answer to ``watch``: whose pictures will come, and which cameras are not there for this person."""

    cameras: list[UUID]
    refused: list[str]


class Boxes(msgspec.Struct, frozen=True, tag_field="type", tag="boxes"):
    """The boxes of one analysed picture, to be joined with it by session and sequence."""

    camera: UUID
    session: str
    sequence: int
    captured_at: datetime
    boxes: list[dict[str, object]]


class Problem(msgspec.Struct, frozen=True, tag_field="type", tag="problem"):
    """The one shape of refusal: a code for programs."""

    code: str


class Watch(msgspec.Struct, frozen=True, tag_field="type", tag="watch"):
    """From the browser: from now on exactly these cameras, by uid."""

    cameras: list[str]


FromServer = Hello | Changed | HealthChanged | Alive | Watching | Boxes | Problem


class _PictureHeader(msgspec.Struct, frozen=True):
    camera: UUID
    session: str
    sequence: int
    captured_at: datetime
    width_px: int
    height_px: int


class BadMessage(ValueError):
    """What the browser sent is not a message of ours."""


_watch = msgspec.json.Decoder(Watch)


def encode(message: FromServer) -> str:
    """One JSON object."""
    return msgspec.json.encode(message).decode()


def decode_watch(text: str) -> Watch:
    """The browser's wish. Raises ``BadMessage``."""
    try:
        watch = _watch.decode(text)
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError) as error:
        raise BadMessage(f"socket: expected a watch message, got something else ({error})") from None
    if len(watch.cameras) > MAX_CAMERAS:
        raise BadMessage(f"socket: expected at most {MAX_CAMERAS} cameras, got {len(watch.cameras)}; watch fewer")
    return watch


def boxes_message(live: LiveBoxes) -> Boxes:
    """``live`` as the browser gets it."""
    boxes: list[dict[str, object]] = [msgspec.to_builtins(box) for box in live.boxes]
    return Boxes(live.camera, str(live.session), live.sequence, live.captured_at, boxes)


def encode_picture(picture: LivePicture) -> bytes:
    """The binary frame of one live picture."""
    header = msgspec.json.encode(
        _PictureHeader(
            picture.camera,
            str(picture.session),
            picture.sequence,
            picture.captured_at,
            picture.width_px,
            picture.height_px,
        )
    )
    return len(header).to_bytes(4, "big") + header + picture.jpeg


def decode_picture_frame(data: bytes) -> tuple[dict[str, object], bytes]:
    """Header and JPEG of a binary frame, as the browser reads them. Raises ``BadMessage``."""
    length = int.from_bytes(data[:4], "big")
    if len(data) < 4 + length:
        raise BadMessage(f"picture frame: expected a header of {length} bytes, got {len(data) - 4}")
    header: dict[str, object] = msgspec.json.decode(data[4 : 4 + length])
    return header, data[4 + length :]
