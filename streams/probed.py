"""What one look at an address gave. Pure."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from streams.problems import SENTENCES, UnknownCodec


class Probed(msgspec.Struct, frozen=True, kw_only=True):
    """A picture and how the stream goes, or why there is none.

    ``reason``: empty when there is a picture, else a code of ``streams.problems.SENTENCES``; ``detail``: what this
    camera adds to it, such as the name of its codec, in no language. An address that is not allowed has a sentence of
    its own: ``msgid`` with ``params``. ``width_px`` and ``height_px`` are the stream's, not those of ``jpeg``.
    ``gop_frames`` and ``gop_s`` are None while no whole group of pictures was seen; it is then at least
    ``gop_at_least_s`` long. ``has_sound`` is None where the description could not be read. No text holds a credential.
    """

    reason: str = ""
    detail: str = ""
    msgid: str = ""
    params: dict[str, str | int] = msgspec.field(default_factory=dict)
    codec: str = ""
    profile: str = ""
    width_px: int = 0
    height_px: int = 0
    fps: float = 0.0
    gop_frames: int | None = None
    gop_s: float | None = None
    gop_at_least_s: float = 0.0
    kbps: float = 0.0
    has_sound: bool | None = None
    jpeg: bytes = b""
    took_s: float = 0.0

    def __repr__(self) -> str:
        """Without the picture."""
        return f"Probed(reason={self.reason!r}, codec={self.codec!r}, {self.width_px}×{self.height_px})"


def sentence(probed: Probed, translate: Callable[[str], str] = str) -> str:
    """Why there is no picture and what helps, in the words of ``translate``; empty when there is one."""
    if not probed.reason:
        return ""
    if probed.msgid:
        return translate(probed.msgid) % probed.params
    text = translate(SENTENCES[probed.reason])
    return f"{text} ({probed.detail})" if probed.reason == UnknownCodec.code and probed.detail else text
