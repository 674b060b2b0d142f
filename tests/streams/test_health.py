"""Health is made of heartbeats, judged against a given now."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from streams.health import FORGET_S, STALE_S, Health, Heartbeat, decode_heartbeat, encode_heartbeat

NOW = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)


def beat(part: str = "capture", instance: str = "a-1", age_s: float = 0.0, **given: object) -> Heartbeat:
    return Heartbeat(part=part, instance=instance, at=NOW - timedelta(seconds=age_s), **given)  # type: ignore[arg-type]


def states(*beats: Heartbeat, expected: tuple[str, ...] = ()) -> list[tuple[str, str]]:
    health = Health(expected)
    for one in beats:
        health.record(one)
    return [(part.part, part.state) for part in health.parts(NOW)]


@pytest.mark.parametrize(
    ("beats", "expected", "found"),
    [
        ([], (), []),
        ([], ("capture",), [("capture", "missing")]),
        ([beat()], ("capture",), [("capture", "ok")]),
        ([beat(age_s=STALE_S)], (), [("capture", "ok")]),
        ([beat(age_s=STALE_S + 0.1)], (), [("capture", "silent")]),
        ([beat(problem="database")], (), [("capture", "troubled")]),
        ([beat(age_s=9.0, problem="database")], (), [("capture", "silent")]),
        ([beat(), beat(instance="b-2", age_s=9.0)], (), [("capture", "ok"), ("capture", "silent")]),
        ([beat(), beat(instance="b-2", age_s=FORGET_S + 1)], (), [("capture", "ok")]),
        ([beat(age_s=FORGET_S + 1)], (), [("capture", "silent")]),
        ([beat("web"), beat("capture")], ("sweep",), [("capture", "ok"), ("sweep", "missing"), ("web", "ok")]),
        ([beat(age_s=-3.0)], (), [("capture", "ok")]),
    ],
)
def test_each_part_is_judged_by_its_latest_beat(
    beats: list[Heartbeat], expected: tuple[str, ...], found: list[tuple[str, str]]
) -> None:
    assert states(*beats, expected=expected) == found


def test_an_older_beat_that_comes_late_changes_nothing() -> None:
    assert states(beat(), beat(age_s=30.0)) == [("capture", "ok")]


def test_a_beat_survives_its_wire_form() -> None:
    one = beat(lag=7, problem="capacity", figures={"cameras": 4.0})
    assert decode_heartbeat(encode_heartbeat(one)) == one


@pytest.mark.parametrize("data", [b"", b"\xc1", b"nonsense", msgspec.msgpack.encode({"part": 1})])
def test_garbage_is_not_a_beat(data: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        decode_heartbeat(data)
