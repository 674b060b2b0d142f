"""What is said of streams, and what they cost: tables."""

from __future__ import annotations

import re

import pytest

from streams.advice import SENTENCES, Advice, advice, cost_ms, sentence, sub_stream_guess
from streams.probed import Probed
from streams.probed import sentence as reason_of
from streams.problems import SENTENCES as REASONS


def probed(**changes: object) -> Probed:
    """A sub-stream that is as it should be, but for ``changes``."""
    good: dict[str, object] = {
        "codec": "h264", "width_px": 640, "height_px": 360, "fps": 5.0, "gop_frames": 10, "gop_s": 2.0,
        "gop_at_least_s": 2.0, "has_sound": False, "jpeg": b"x",
    }  # fmt: skip
    return Probed(**{**good, **changes})  # type: ignore[arg-type]


BIG = {"width_px": 1920, "height_px": 1080, "fps": 25.02}


@pytest.mark.parametrize(
    ("width", "height", "fps", "measured_ms"),
    [(640, 360, 5, 4.5), (640, 360, 25, 6.2), (854, 480, 5, 6.1), (1280, 720, 5, 10.1), (1920, 1080, 25, 41)],
)
def test_the_model_follows_what_was_measured(width: int, height: int, fps: float, measured_ms: float) -> None:
    assert cost_ms(width, height, fps) == pytest.approx(measured_ms, rel=0.1)


def test_codecs_cost_differently_and_nothing_costs_its_connection() -> None:
    cost = [cost_ms(1920, 1080, 25, codec) for codec in ("h264", "hevc", "mjpeg")]
    assert cost == sorted(cost)
    assert cost[1] / cost[0] == pytest.approx(1.7, abs=0.1)
    assert cost_ms(0, 0, 0) == cost_ms(640, 360, 0) == 2.0


@pytest.mark.parametrize(
    ("changes", "has_sub_stream", "codes"),
    [
        ({}, True, ["fine"]),
        ({}, False, ["fine"]),
        (BIG, False, ["big-stream"]),
        (BIG, True, ["fine"]),
        ({"fps": 25.0}, False, ["fine"]),
        ({"width_px": 1280, "height_px": 720}, False, ["fine"]),
        ({"width_px": 1280, "height_px": 720, "fps": 15.0}, False, ["big-stream"]),
        ({"gop_s": 4.0, "gop_at_least_s": 4.0}, True, ["fine"]),
        ({"gop_s": 4.1, "gop_at_least_s": 4.1}, True, ["long-gop"]),
        ({"gop_s": None, "gop_at_least_s": 6.0}, True, ["long-gop-at-least"]),
        ({"gop_s": None, "gop_at_least_s": 2.0}, True, ["fine"]),
        ({"codec": "hevc"}, True, ["hevc"]),
        ({"codec": "mjpeg"}, True, ["mjpeg"]),
        ({"codec": "av1"}, True, ["fine"]),
        ({"fps": 2.9}, True, ["low-fps"]),
        ({"fps": 3.0}, True, ["fine"]),
        ({"fps": 0.0}, True, ["fine"]),
        ({"has_sound": True}, True, ["fine", "sound"]),
        ({"has_sound": None}, True, ["fine"]),
        ({"width_px": 352, "height_px": 288}, True, ["small-picture"]),
        ({"width_px": 360, "height_px": 640}, True, ["fine"]),
        (
            {"width_px": 3840, "height_px": 2160, "fps": 2.0, "gop_s": 9.0, "codec": "hevc", "has_sound": True},
            False,
            ["low-fps", "long-gop", "big-stream", "hevc", "sound"],
        ),
        ({"reason": "refused"}, False, []),
    ],
)
def test_it_says_what_matters_most_first(changes: dict[str, object], has_sub_stream: bool, codes: list[str]) -> None:
    said = advice(probed(**changes), has_sub_stream=has_sub_stream)
    assert [one.code for one in said] == codes
    assert all(sentence(one).endswith(".") for one in said)


@pytest.mark.parametrize(
    ("changes", "begins"),
    [
        (
            BIG,
            "This stream is 1920×1080 at 25 a second. The camera's sub-stream, 640×360 at 5 a second, would cost about "
            "10 % of it",
        ),
        (
            {"width_px": 1600, "height_px": 1200, "fps": 12.5},
            "This stream is 1600×1200 at 12 a second. The camera's sub-stream, 640×480 at 5",
        ),
        ({"gop_s": 10.04}, "A complete picture begins only every 10 s"),
        ({"width_px": 352, "height_px": 288}, "This stream is only 352×288. With a usual lens a person farther away "
         "than about 7 m"),
        ({"fps": 1.5}, "Only 1.5 pictures a second arrive"),
        ({}, "All is well: about 4.3 ms"),
    ],
)  # fmt: skip
def test_numbers_are_rounded_for_people(changes: dict[str, object], begins: str) -> None:
    assert sentence(advice(probed(**changes), has_sub_stream=False)[0]).startswith(begins)


def test_sentences_are_translated_before_numbers_are_filled_in() -> None:
    assert sentence(Advice("low-fps", {"fps": 2.0}), {SENTENCES["low-fps"]: "%(fps)g 張"}.__getitem__) == "2 張"


def test_every_sentence_uses_parameters_of_known_names_only() -> None:
    names = {name for text in SENTENCES.values() for name in re.findall(r"%\((\w+)\)", text)}
    assert names == {
        "fps", "width", "height", "metres", "seconds", "sub_width", "sub_height", "sub_fps", "percent", "cost",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("one", "text"),
    [
        (Probed(), ""),
        (Probed(reason="refused", detail="x"), REASONS["refused"]),
        (Probed(reason="codec", detail="JPEG2000"), f"{REASONS['codec']} (JPEG2000)"),
        (Probed(reason="codec"), REASONS["codec"]),
        (Probed(reason="unknown-host", msgid="No %(host)s.", params={"host": "cam"}), "No cam."),
    ],
)
def test_a_reason_is_a_sentence(one: Probed, text: str) -> None:
    assert reason_of(one) == text


@pytest.mark.parametrize(
    ("main", "sub"),
    [
        ("rtsp://10.0.0.5/Streaming/Channels/101", "rtsp://10.0.0.5/Streaming/Channels/102"),
        ("rtsp://10.0.0.5:554/Streaming/channels/1601/", "rtsp://10.0.0.5:554/Streaming/channels/1602/"),
        ("rtsp://10.0.0.5/ISAPI/Streaming/Channels/201?x=1", "rtsp://10.0.0.5/ISAPI/Streaming/Channels/202?x=1"),
        ("rtsp://10.0.0.5/Streaming/Channels/102", None),
        ("rtsp://10.0.0.5/h264/ch1/main/av_stream", "rtsp://10.0.0.5/h264/ch1/sub/av_stream"),
        ("rtsp://h/cam/realmonitor?channel=1&subtype=0", "rtsp://h/cam/realmonitor?channel=1&subtype=1"),
        ("rtsp://h/cam/realmonitor?subtype=0&unicast=true", "rtsp://h/cam/realmonitor?subtype=1&unicast=true"),
        ("rtsp://h/cam/realmonitor?channel=1&subtype=1", None),
        ("rtsp://h/cam/realmonitor?channel=1&subtype=00", None),
        ("rtsp://h/axis-media/media.amp", "rtsp://h/axis-media/media.amp?resolution=640x360&fps=5"),
        (
            "rtsp://h/axis-media/media.amp?videocodec=h264&resolution=1920x1080",
            "rtsp://h/axis-media/media.amp?videocodec=h264&resolution=640x360&fps=5",
        ),
        ("rtsp://h/axis-media/media.amp?resolution=640x360&fps=5", None),
        ("rtsp://h:554/h264Preview_01_main", "rtsp://h:554/h264Preview_01_sub"),
        ("rtsp://h:554/h265Preview_02_main", "rtsp://h:554/h264Preview_02_sub"),
        ("rtsp://h/Preview_01_main", "rtsp://h/Preview_01_sub"),
        ("rtsp://h/media/video1", "rtsp://h/media/video2"),
        ("rtsp://h/media/video12", None),
        ("rtsp://h/unicast/c1/s0/live", "rtsp://h/unicast/c1/s1/live"),
        ("rtsp://h/profile1/media.smp", "rtsp://h/profile2/media.smp"),
        ("rtsp://h:554/stream1", "rtsp://h:554/stream2"),
        ("rtsp://h/stream1", "rtsp://h/stream2"),
        ("rtsp://h/videoMain", "rtsp://h/videoSub"),
        ("rtsps://h:7441/aBcDeFgH", None),
        ("rtsp://h/", None),
        ("", None),
    ],
)
def test_a_maker_s_habit_gives_the_sub_stream_and_nothing_else_does(main: str, sub: str | None) -> None:
    assert sub_stream_guess(main) == sub
