"""The wire forms of the ordered log's records."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.frame import UnknownVersion
from streams.observations import (
    Detections,
    Dropped,
    LogPosition,
    Measurement,
    Observation,
    SourceState,
    Tick,
    decode_observation,
    encode_observation,
)

UID = UUID("01890000-0000-7000-8000-000000000001")
AT = datetime(2026, 5, 1, 12, 0, 0, 123456, tzinfo=UTC)

EVERY: list[Observation] = [
    Detections(
        camera=UID, deployment=UID, session=1, sequence=2, captured_at=AT, view=UID, model="nanodet 1",
        source_wh=(640, 360), xyxy=b"\x00" * 16, score=b"\x00" * 4, label=["person"],
        frame=LogPosition("frames.general", 3, 77),
    ),
    Detections(
        camera=UID, deployment=UID, session=1, sequence=3, captured_at=AT, view=UID, model="nanodet 1",
        source_wh=(640, 360), xyxy=b"", score=b"", label=[],
    ),
    Dropped(camera=UID, session=1, sequence=9, captured_at=AT, count=4, reason="log"),
    Dropped(camera=UID, deployment=UID, session=1, sequence=9, captured_at=AT, reason="behind"),
    SourceState(camera=UID, session=1, sequence=2, at=AT, state="quiet", since_at=AT),
    SourceState(camera=UID, session=1, sequence=2, at=AT, state="blind", since_at=AT, reason="stalled"),
    Measurement(camera=UID, at=AT, quantity="opacity", value=0.2, unit="1", uncertainty=0.05, zone=UID),
    Tick(at=AT),
]  # fmt: skip


@pytest.mark.parametrize("observation", EVERY, ids=lambda one: type(one).__name__)
def test_every_kind_survives(observation: Observation) -> None:
    assert decode_observation(encode_observation(observation)) == observation


@pytest.mark.parametrize("observation", EVERY, ids=lambda one: type(one).__name__)
def test_another_version_of_every_kind_is_named(observation: Observation) -> None:
    fields = {**msgspec.msgpack.decode(encode_observation(observation)), "v": 2}
    with pytest.raises(UnknownVersion, match="observation: expected version 1, got 2"):
        decode_observation(msgspec.msgpack.encode(fields))


def test_another_version_is_named_even_of_a_kind_nobody_knows() -> None:
    with pytest.raises(UnknownVersion):
        decode_observation(msgspec.msgpack.encode({"v": 2, "kind": "dream"}))


@pytest.mark.parametrize(
    "fields",
    [
        {"v": 1, "kind": "dream"},
        {"v": 1},
        {"v": 1, "kind": "tick"},
        {"v": 1, "kind": "tick", "at": "soon"},
        {"v": 1, "kind": "source", "camera": str(UID), "session": 1, "sequence": 1, "at": AT, "state": "asleep"},
        {"v": "1", "kind": "tick", "at": AT},
    ],
)
def test_what_is_no_observation_is_refused(fields: dict[str, object]) -> None:
    with pytest.raises(msgspec.DecodeError):
        decode_observation(msgspec.msgpack.encode(fields))


@given(st.binary(max_size=200))
def test_garbage_raises_and_never_crashes(data: bytes) -> None:
    with pytest.raises((msgspec.DecodeError, UnknownVersion)):
        decode_observation(data)


@given(st.sampled_from(EVERY), st.data())
def test_a_torn_record_is_refused(observation: Observation, data: st.DataObject) -> None:
    whole = encode_observation(observation)
    cut = data.draw(st.integers(0, len(whole) - 1))
    with pytest.raises((msgspec.DecodeError, UnknownVersion)):
        decode_observation(whole[:cut])
