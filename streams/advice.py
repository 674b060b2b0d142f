"""What to say of a stream that was looked at: what it costs, and what to change in the camera. Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Callable

import msgspec

from streams.probed import Probed

SUB_LONG_PX, SUB_FPS = 640, 5.0
"""The sub-stream that is advised: whole persons at usual distances, never blind, and next to nothing to decode."""
LONG_GOP_S = 4.0
LOW_FPS = 3.0
"""At 2 m/s a walker crosses a picture of 4 m in six pictures, and confirmation wants several of them."""
SMALL_LONG_PX = 640
PERSON_M, PERSON_PX = 1.7, 40
"""A standing person, and the height in the picture from which the shipped models find one reliably."""
RTSP_MS = 2.0
CODECS = {"hevc": 1.7, "mjpeg": 2.5}
"""Decoding against H.264 of the same scene (mix1080 by ``x264`` and ``x265`` medium: 3.9 and 6.5 ms a picture)."""
WORTH = 3.0
"""A sub-stream is advised where the stream costs so many times as much."""


def _(text: str) -> str:
    """Marks a sentence for translation; its language is chosen when it is shown."""
    return text


class Advice(msgspec.Struct, frozen=True):
    """One thing to know of a stream: ``code`` is a key of ``SENTENCES``, ``params`` its numbers, rounded for people."""

    code: str
    params: dict[str, int | float] = msgspec.field(default_factory=dict)


SENTENCES: dict[str, str] = {
    "low-fps": _(
        "Only %(fps)g pictures a second arrive: whoever walks fast may be missed. Set the camera to 5 a second or more."
    ),
    "small-picture": _(
        "This stream is only %(width)d×%(height)d. With a usual lens a person farther away than about %(metres)d m is "
        "too small to be recognised. Choose a stream that is at least 640 wide."
    ),
    "long-gop": _(
        "A complete picture begins only every %(seconds)g s, so that every picture must be decoded, and after a "
        "break it takes so long until the camera sees again. Set its key-frame (I-frame) interval to 1–2 s."
    ),
    "long-gop-at-least": _(
        "No second complete picture began within %(seconds)g s, so that every picture must be decoded, and after a "
        "break it takes longer than that until the camera sees again. Set its key-frame (I-frame) interval to 1–2 s."
    ),
    "big-stream": _(
        "This stream is %(width)d×%(height)d at %(fps)g a second. The camera's sub-stream, "
        "%(sub_width)d×%(sub_height)d at %(sub_fps)g a second, would cost about %(percent)d %% of it: give it as the "
        "detect source."
    ),
    "hevc": _("This stream is H.265, which costs nearly twice as much to decode as H.264. Set this stream to H.264."),
    "mjpeg": _("This stream is MJPEG, which costs two to three times as much as H.264. Set this stream to H.264."),
    "sound": _("The stream carries sound. It is never asked for, listened to or kept."),
    "fine": _("All is well: about %(cost)g ms of one processor core a second."),
}
"""Every advice, with its sentence (a msgid). Numbers are written with %g, so 5.0 reads 5."""


def cost_ms(width: int, height: int, fps: float, codec: str = "h264") -> float:
    """CPU-milliseconds a second of stream: RTSP, decoding whole, and the gate, of a scene with little going on.

    A power law through the measured rows (within 10 %): pictures that come more often differ less. A busy scene costs
    up to three times as much.

    >>> round(cost_ms(640, 360, 5), 1), round(cost_ms(1920, 1080, 25), 1)
    (4.3, 39.0)
    """
    if width <= 0 or height <= 0 or fps <= 0:
        return RTSP_MS
    megapixels = width * height / 1e6
    return RTSP_MS + 5.0 * math.pow(megapixels, 0.97) * math.pow(fps, 0.4) * CODECS.get(codec, 1.0)


def advice(probed: Probed, *, has_sub_stream: bool) -> list[Advice]:
    """What to say of ``probed``, the stream that pictures are to be analysed from; most important first, never empty.

    ``has_sub_stream``: whether this is the detect source beside a bigger one, so that none need be advised. Where there
    is no picture there is nothing to say; ``streams.probed.sentence`` has the reason.
    """
    if probed.reason:
        return []
    checks = (_low_fps, _small_picture, _long_gop, *(() if has_sub_stream else (_big_stream,)), _codec)
    found = [said for check in checks if (said := check(probed)) is not None]
    well = [] if found else [Advice("fine", {"cost": round(_cost(probed), 0 if _cost(probed) >= 10 else 1)})]
    sound = [Advice("sound")] if probed.has_sound else []
    return [*found, *well, *sound]


def sentence(advice: Advice, translate: Callable[[str], str] = str) -> str:
    """``advice`` in the words of ``translate``."""
    return translate(SENTENCES[advice.code]) % advice.params


def _cost(probed: Probed) -> float:
    return cost_ms(probed.width_px, probed.height_px, probed.fps, probed.codec)


def _low_fps(probed: Probed) -> Advice | None:
    return Advice("low-fps", {"fps": round(probed.fps, 1)}) if 0 < probed.fps < LOW_FPS else None


def _small_picture(probed: Probed) -> Advice | None:
    width, height = probed.width_px, probed.height_px
    if max(width, height) >= SMALL_LONG_PX:
        return None
    # A lens that sees 90 degrees shows as many metres across as twice the distance.
    metres = max(1, round(PERSON_M * width / PERSON_PX / 2))
    return Advice("small-picture", {"width": width, "height": height, "metres": metres})


def _long_gop(probed: Probed) -> Advice | None:
    if probed.gop_s is not None:
        seconds, code = max(probed.gop_s, probed.gop_at_least_s), "long-gop"
    else:
        seconds, code = probed.gop_at_least_s, "long-gop-at-least"
    return Advice(code, {"seconds": round(seconds, 1)}) if seconds > LONG_GOP_S else None


def _big_stream(probed: Probed) -> Advice | None:
    width, height = probed.width_px, probed.height_px
    scale = SUB_LONG_PX / max(width, height)
    sub_width, sub_height = round(width * scale / 2) * 2, round(height * scale / 2) * 2
    share = cost_ms(sub_width, sub_height, SUB_FPS) / _cost(probed)
    if scale >= 1 or share * WORTH > 1:
        return None
    return Advice(
        "big-stream",
        {
            "width": width,
            "height": height,
            "fps": _rounded(probed.fps),
            "sub_width": sub_width,
            "sub_height": sub_height,
            "sub_fps": SUB_FPS,
            "percent": _percent(share),
        },
    )


def _codec(probed: Probed) -> Advice | None:
    return Advice(probed.codec) if probed.codec in CODECS else None


def _rounded(fps: float) -> float:
    return round(fps) if fps >= 10 else round(fps, 1)


def _percent(share: float) -> int:
    """Of a fit that is good to a fifth, nobody needs the last digit."""
    percent = share * 100
    return max(1, round(percent)) if percent < 10 else round(percent / 5) * 5


_GUESSES: tuple[tuple[str, str], ...] = (
    # Hikvision: channel times 100, plus 1 for the main stream and 2 for the sub-stream.
    (r"(?i)(/Streaming/Channels/\d+0)1(?=$|[/?])", r"\g<1>2"),
    (r"(?i)(/h26[45]/ch\d+)/main/(?=av_stream)", r"\1/sub/"),
    # Dahua, Amcrest and those who build on them.
    (r"(?i)(/cam/realmonitor\?(?:[^#]*&)?subtype=)0(?=$|&)", r"\g<1>1"),
    # Reolink: its sub-stream is H.264 even where the main one is H.265.
    (r"(?i)/h26[45]Preview_(\d+)_main$", r"/h264Preview_\1_sub"),
    (r"(?i)/Preview_(\d+)_main$", r"/Preview_\1_sub"),
    # Uniview.
    (r"(?i)(/media/video)1(?=$|[/?])", r"\g<1>2"),
    (r"(?i)(/unicast/c\d+)/s0/(?=live)", r"\1/s1/"),
    # Hanwha.
    (r"(?i)(/profile)1(?=/media\.smp)", r"\g<1>2"),
    # TP-Link.
    (r"(?i)(:\d+|//[^/]+)/stream1$", r"\1/stream2"),
    # Foscam.
    (r"(?i)/videoMain$", "/videoSub"),
)
_AXIS = re.compile(r"(?i)/axis-media/media\.amp(?=$|\?)")


def sub_stream_guess(address: str) -> str | None:
    """Where the camera at ``address`` usually has its sub-stream, by its maker's habit; None where none is known.

    A guess: look at it before it is used.

    >>> sub_stream_guess("rtsp://10.0.0.5/Streaming/Channels/101")
    'rtsp://10.0.0.5/Streaming/Channels/102'
    """
    if _AXIS.search(address):
        return _axis(address)
    for pattern, replacement in _GUESSES:
        guess, found = re.subn(pattern, replacement, address)
        if found:
            return guess
    return None


def _axis(address: str) -> str | None:
    """The same address with a smaller picture: Axis makes streams as they are asked for."""
    base, _question, query = address.partition("?")
    wanted = {"resolution": f"{SUB_LONG_PX}x360", "fps": f"{SUB_FPS:g}"}
    kept = [part for part in query.split("&") if part and part.partition("=")[0].lower() not in wanted]
    guess = base + "?" + "&".join([*kept, *(f"{name}={value}" for name, value in wanted.items())])
    return guess if guess != address else None
