"""Heartbeats and what they add up to. Health is made of these, never of "process exists". Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

import msgspec

HEARTBEAT_VERSION = 1
STALE_S = 5.0
"""A part is *silent* when its last heartbeat is older: two were missed. Screens show it within 10 s."""
FORGET_S = 120.0
"""A silent instance is forgotten when another instance of its part has beaten for this long."""


class Heartbeat(msgspec.Struct, frozen=True, kw_only=True):
    """One beat of one process, each two seconds, on the ``health`` topic.

    ``part``: capture, detect.<pool>, evaluate, worker, sweep, web. ``lag`` counts waiting work in the part's own unit
    (records, deliveries); ``problem`` is empty when all is well, else a code whose sentence the screens know.
    """

    v: int = HEARTBEAT_VERSION
    part: str
    instance: str
    at: datetime
    lag: int = 0
    problem: str = ""
    figures: dict[str, float] = msgspec.field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PartHealth:
    """What is known of one instance of one part at a moment."""

    part: str
    instance: str
    last_at: datetime | None
    age_s: float | None
    lag: int
    problem: str
    state: str
    """``ok``, ``silent`` (no heartbeat), ``troubled`` (it says so itself), ``missing`` (expected, never seen)."""
    figures: dict[str, float]


class Health:
    """The latest heartbeat of every instance, judged against ``now``. Not thread-safe."""

    def __init__(self, expected: Iterable[str] = ()) -> None:
        self.expected = tuple(expected)
        self._latest: dict[tuple[str, str], Heartbeat] = {}

    def record(self, beat: Heartbeat) -> None:
        """Take in one beat; an older one than the last known changes nothing."""
        known = self._latest.get((beat.part, beat.instance))
        if known is None or beat.at >= known.at:
            self._latest[(beat.part, beat.instance)] = beat

    def parts(self, now: datetime) -> list[PartHealth]:
        """Every instance, sorted by part; expected parts that were never seen come as ``missing``."""
        alive = {beat.part for beat in self._latest.values() if (now - beat.at).total_seconds() <= STALE_S}
        found: list[PartHealth] = []
        for (part, instance), beat in sorted(self._latest.items()):
            age_s = max(0.0, (now - beat.at).total_seconds())
            if age_s > STALE_S and part in alive and age_s > FORGET_S:
                continue
            state = "silent" if age_s > STALE_S else "troubled" if beat.problem else "ok"
            found.append(PartHealth(part, instance, beat.at, age_s, beat.lag, beat.problem, state, beat.figures))
        seen = {part.part for part in found}
        found += [PartHealth(part, "", None, None, 0, "", "missing", {}) for part in self.expected if part not in seen]
        return sorted(found, key=lambda part: (part.part, part.instance))


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Heartbeat)


def encode_heartbeat(beat: Heartbeat) -> bytes:
    """MessagePack, map-encoded."""
    return _encoder.encode(beat)


def decode_heartbeat(data: bytes) -> Heartbeat:
    """Raises ``msgspec.DecodeError`` for anything that is not a heartbeat."""
    return _decoder.decode(data)
