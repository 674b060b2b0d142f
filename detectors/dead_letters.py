"""What is put aside on ``dead-letters``: a record that could not be dealt with, with the reason. Pure."""

from __future__ import annotations

from datetime import datetime

import msgspec

from streams.observations import LogPosition
from streams.topics import MAX_RECORD_BYTES


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True):
    """One record as it came. ``payload`` is empty when it would not fit; ``source`` says where it stood."""

    v: int = 1
    source: LogPosition
    at: datetime
    reason: str
    payload: bytes


def encode_dead_letter(letter: DeadLetter) -> bytes:
    """MessagePack, map-encoded, within the log's largest record."""
    if len(letter.payload) > MAX_RECORD_BYTES - 16_384:
        letter = msgspec.structs.replace(letter, payload=b"")
    return msgspec.msgpack.encode(letter)


def decode_dead_letter(data: bytes) -> DeadLetter:
    """Raises ``msgspec.DecodeError`` for anything that is not one."""
    return msgspec.msgpack.decode(data, type=DeadLetter)
