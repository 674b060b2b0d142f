"""The wire form of a Frame."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.frame import Frame, Gop, Jpeg, Payload, Ref, UnknownVersion, decode_frame, encode_frame

CAMERA = UUID("01890000-0000-7000-8000-000000000001")


def frame(payload: Payload = Jpeg(b"\xff\xd8"), **changes: object) -> Frame:  # noqa: B008 (it is frozen)
    given: dict[str, object] = {
        "camera": CAMERA, "session": 2**20 + 1, "sequence": 7, "captured_at": datetime(2026, 5, 1, 12, tzinfo=UTC),
        "uncertainty_s": 0.02, "view": CAMERA, "why": "motion", "width_px": 960, "height_px": 540,
        "source_wh": (1920, 1080), "payload": payload,
    }  # fmt: skip
    return Frame(**{**given, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize("payload", [Jpeg(b"\x00" * 40_000), Gop(b"\x00\x01", "h264", 3), Ref("cam/12.mp4", 1.5)])
def test_every_payload_survives(payload: Payload) -> None:
    assert decode_frame(encode_frame(frame(payload))) == frame(payload)


@given(st.integers(0, 2**62), st.integers(0, 2**62), st.datetimes(timezones=st.just(UTC)))
def test_numbers_and_times_survive_to_the_microsecond(session: int, sequence: int, captured_at: datetime) -> None:
    sent = frame(session=session, sequence=sequence, captured_at=captured_at)
    assert decode_frame(encode_frame(sent)) == sent


@pytest.mark.parametrize("version", [0, 2, 99, -1])
def test_another_version_is_named(version: int) -> None:
    fields = {**msgspec.msgpack.decode(encode_frame(frame())), "v": version}
    with pytest.raises(UnknownVersion, match=f"frame: expected version 1, got {version}") as raised:
        decode_frame(msgspec.msgpack.encode(fields))
    assert raised.value.got == version


def test_fields_of_a_later_version_are_ignored() -> None:
    fields = {**msgspec.msgpack.decode(encode_frame(frame())), "later": [1, {"x": None}]}
    assert decode_frame(msgspec.msgpack.encode(fields)) == frame()


@pytest.mark.parametrize("missing", ["camera", "session", "sequence", "captured_at", "view", "why", "payload"])
def test_a_frame_without_what_it_needs_is_refused(missing: str) -> None:
    fields = msgspec.msgpack.decode(encode_frame(frame()))
    del fields[missing]
    with pytest.raises(msgspec.ValidationError, match=missing):
        decode_frame(msgspec.msgpack.encode(fields))


@pytest.mark.parametrize(
    "change", [{"why": "boredom"}, {"session": "1"}, {"camera": "x"}, {"payload": {"kind": "raw"}}, {"source_wh": [1]}]
)
def test_a_frame_of_wrong_types_is_refused(change: dict[str, object]) -> None:
    fields = {**msgspec.msgpack.decode(encode_frame(frame())), **change}
    with pytest.raises(msgspec.ValidationError):
        decode_frame(msgspec.msgpack.encode(fields))


@given(st.binary(max_size=200))
def test_garbage_raises_and_never_crashes(data: bytes) -> None:
    with pytest.raises((msgspec.DecodeError, UnknownVersion)):
        decode_frame(data)


@given(st.integers(0, 300))
def test_a_torn_frame_is_refused(cut: int) -> None:
    whole = encode_frame(frame())
    if cut < len(whole):
        with pytest.raises((msgspec.DecodeError, UnknownVersion)):
            decode_frame(whole[:cut])
