"""What can be wrong with a camera, in few words: the codes that travel, and the sentence a person reads. Pure."""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar


def _(text: str) -> str:
    """Marks a sentence for translation; its language is chosen when it is shown."""
    return text


class Trouble(StrEnum):
    """What is wrong; the value travels as ``SourceState.reason``."""

    DARK = "dark"
    FROZEN = "frozen"
    COVERED = "covered"
    BLURRED = "blurred"
    MOVED = "moved"


class StreamProblem(Exception):
    """Why there is no picture.

    ``code`` travels as ``SourceState.reason``; the text names host and port, never a credential.
    """

    code: ClassVar[str] = "failed"
    sentence: ClassVar[str] = _("The camera's stream could not be read.")
    until_edited: ClassVar[bool] = False
    """Whether only somebody's edit (here or in the camera) can help, so that trying often is of no use."""

    detail: str = ""
    """What this camera adds to the sentence, such as the name of its codec; in no language."""

    def __init__(self, where: str = "", detail: str = "") -> None:
        self.detail = detail
        super().__init__(": ".join(part for part in (where, self.sentence, detail) if part))


class Unreachable(StreamProblem):
    code = "unreachable"
    sentence = _("The camera does not answer. Check its power, its network and its address.")


class Refused(StreamProblem):
    code = "refused"
    sentence = _("The camera's host refuses the connection. Check the port, and that the stream is switched on.")


class WrongPassword(StreamProblem):
    code = "wrong-password"
    sentence = _("The camera does not accept the user name or password.")
    until_edited = True


class NotFound(StreamProblem):
    code = "not-found"
    sentence = _("The camera knows no stream of this path. Check the part of the address after the port.")
    until_edited = True


class NotRtsp(StreamProblem):
    code = "not-rtsp"
    sentence = _("Something answers at this address, but it does not speak RTSP. Check the port.")
    until_edited = True


class NoVideo(StreamProblem):
    code = "no-video"
    sentence = _("The stream carries no video that can be decoded.")
    until_edited = True


class UnknownCodec(StreamProblem):
    """``detail`` is the codec's name as the camera announces it."""

    code = "codec"
    sentence = _("The camera sends video that cannot be decoded here. Set its video to H.264.")
    until_edited = True


class Redirected(StreamProblem):
    code = "redirected"
    sentence = _("The camera points to another address, which is not followed. Enter that address if you trust it.")
    until_edited = True


class Stalled(StreamProblem):
    code = "stalled"
    sentence = _("The camera is connected but has stopped sending.")


class Ended(StreamProblem):
    code = "ended"
    sentence = _("The camera closed the connection.")


class Corrupt(StreamProblem):
    code = "corrupt"
    sentence = _("The stream arrives damaged, so that no picture can be decoded.")


class NoKeyFrame(StreamProblem):
    code = "no-key-frame"
    sentence = _(
        "Video arrives, but no complete picture began. Set the camera's key-frame (I-frame) interval to 2 seconds."
    )


class Crashed(StreamProblem):
    code = "crashed"
    sentence = _("The stream brings the decoder down. Update the camera's firmware, or set its video to plain H.264.")


class AddressRefused(StreamProblem, ValueError):
    """An address that is not opened at all. ``msgid`` and ``params`` are the sentence before translation."""

    code = "address-refused"
    sentence = _("This address is not allowed for a camera.")
    until_edited = True

    def __init__(self, msgid: str, **params: object) -> None:
        self.msgid, self.params = msgid, params
        ValueError.__init__(self, msgid % params)


class UnknownHost(AddressRefused):
    """The name cannot be resolved now; name servers come back by themselves."""

    code = "unknown-host"
    sentence = _("The camera's name is not known to the network. Check its spelling and the name server.")
    until_edited = False


CONNECTING = "connecting"
"""No picture yet, and nothing known to be wrong."""
NO_DEMAND = "no-demand"
"""Connected, and nobody wants pictures: carried by *quiet*, for nothing is lost that anybody asked for."""

_PROBLEMS: tuple[type[StreamProblem], ...] = (
    StreamProblem, Unreachable, Refused, WrongPassword, NotFound, NotRtsp, NoVideo, UnknownCodec, Redirected, Stalled,
    Ended, Corrupt, NoKeyFrame, Crashed, AddressRefused, UnknownHost,
)  # fmt: skip

SENTENCES: dict[str, str] = {
    **{problem.code: problem.sentence for problem in _PROBLEMS},
    CONNECTING: _("Connecting to the camera."),
    Trouble.DARK: _("The picture is dark. Check the lens cap, the light and the camera's night mode."),
    Trouble.FROZEN: _("The camera repeats the same picture. Restart the camera."),
    Trouble.COVERED: _("Something covers the lens. Clear the view."),
    Trouble.BLURRED: _("The picture is blurred. Clean the lens and check the focus, unless there is fog."),
    Trouble.MOVED: _("The camera looks elsewhere than it used to. Turn it back, or draw its zones anew."),
    NO_DEMAND: _("Connected. No rule asks for pictures of this camera."),
}
"""Every code that capture (as ``SourceState.reason``) or a probe gives, with its sentence (a msgid)."""
