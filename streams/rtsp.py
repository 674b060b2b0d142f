"""RTSP over TCP through PyAV: the one place that opens a camera, and what can go wrong there in few words.

Before PyAV connects, a conversation of our own (OPTIONS, DESCRIBE) with the pinned number finds out what is wrong in
plain words, and refuses redirects: FFmpeg follows them to any host, whatever its options say. A server that redirects
only the second time is a known remainder; a firewall for outgoing connections closes it.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import re
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import TypeAlias, cast

import av
import av.logging
import numpy as np
import numpy.typing as npt
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from streams.addresses import Address
from streams.groups import Groups
from streams.picture import Bytes2d, Planes
from streams.problems import (
    Ended,
    NotFound,
    NotRtsp,
    NoVideo,
    Redirected,
    Refused,
    Stalled,
    StreamProblem,
    UnknownCodec,
    Unreachable,
    WrongPassword,
)

PREFLIGHT_S = 4.0
"""For the whole of our own conversation; a healthy camera needs a few hundredths."""
OPEN_S, READ_S = 5.0, 3.0
"""PyAV's own limits. A read that hangs raises after twice ``READ_S``: a stall shows after 6 s."""
LARGE_PX = 1280 * 720
"""From this size on pictures are decoded without the codec's loop filter: a third less work. Until the next key frame
they drift from what the camera meant, to 37 to 47 dB, and are then halved for the detector, which finds the same; see
``docs/topics/cost.md``. Smaller ones cost little and are not halved."""
HEAD_MAX, BODY_MAX = 16 * 1024, 64 * 1024

# FFmpeg's own log lines carry whole addresses, log-ins included.
av.logging.set_level(None)

_OPTIONS = {
    "rtsp_transport": "tcp",
    # Without it FFmpeg opens file:, concat: and http: addresses wherever a stream mentions one.
    "protocol_whitelist": "rtsp,rtsps,rtp,udp,tcp,tls",
    "timeout": str(int(OPEN_S * 1_000_000)),
    # Sound and metadata are not even asked for: while they flowed, a read that waits for pictures would never time out.
    "allowed_media_types": "video",
    # The stream's description names the codec; looking at seconds of pictures first would only delay them.
    "analyzeduration": "0",
    "probesize": "32",
}


@dataclass(frozen=True, slots=True)
class Reply:
    """One RTSP reply. Header names in lower case; repeated ones in order."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: str = ""

    def all(self, name: str) -> list[str]:
        """Every value of header ``name`` (lower case)."""
        return [value for key, value in self.headers if key == name]


@dataclass(frozen=True, slots=True)
class Announced:
    """What a stream's description says of it. ``codec`` is its RTP name, such as H264; empty where none is given."""

    codec: str = ""
    sound: bool = False


_STATIC = {"26": "JPEG", "31": "H261", "32": "MPV", "33": "MP2T", "34": "H263"}
"""Payload types that need no name in the description (RFC 3551, section 6)."""


def announced(description: str) -> Announced:
    """The first video of an SDP (RFC 4566). Raises ``NoVideo``.

    >>> announced("m=video 0 RTP/AVP 96\\r\\na=rtpmap:96 H265/90000")
    Announced(codec='H265', sound=False)
    """
    video = re.search(r"^m=video \S+ \S+ (\d*)", description, re.MULTILINE)
    if video is None:
        raise NoVideo
    # Letters and digits only: it is shown to people, and a camera may write anything.
    names = re.findall(rf"^a=rtpmap:{video[1]} ([\w.+-]{{1,20}})/", description, re.MULTILINE | re.ASCII)
    sound = re.search(r"^m=audio ", description, re.MULTILINE) is not None
    return Announced(names[0] if names else _STATIC.get(video[1], ""), sound)


def parse_head(head: bytes) -> Reply:
    """The status and headers of a reply (RFC 2326, section 7). Raises ``NotRtsp``."""
    lines = head.decode("latin-1").split("\r\n")
    found = re.fullmatch(r"RTSP/\d\.\d (\d{3})(?: .*)?", lines[0])
    if found is None:
        raise NotRtsp
    pairs = (line.partition(":") for line in lines[1:] if line)
    return Reply(int(found[1]), tuple((name.strip().lower(), value.strip()) for name, _, value in pairs))


def authorization(challenges: list[str], user: str, password: str, method: str, url: str) -> str | None:
    """The header that answers the strongest of ``challenges`` we know (digest by MD5, basic); None for no known one.

    Source: RFC 2617, sections 2 and 3.2.2; FFmpeg, which logs in afterwards, knows the same two.
    """
    for challenge in challenges:
        scheme, _space, rest = challenge.partition(" ")
        given = {name.lower(): quoted or bare for name, quoted, bare in _PARAMETER.findall(rest)}
        if scheme.lower() == "digest" and given.get("algorithm", "MD5").upper() == "MD5":
            return _digest(given, user, password, method, url)
    if any(challenge.lower().startswith("basic") for challenge in challenges):
        return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
    return None


_PARAMETER = re.compile(r'(\w+)=(?:"([^"]*)"|([^\s,]+))')


def _digest(given: dict[str, str], user: str, password: str, method: str, url: str) -> str:
    def md5(*parts: str) -> str:
        return hashlib.md5(":".join(parts).encode(), usedforsecurity=False).hexdigest()

    realm, nonce = given.get("realm", ""), given.get("nonce", "")
    secret, asked = md5(user, realm, password), md5(method, url)
    fields = {"username": user, "realm": realm, "nonce": nonce, "uri": url}
    plain = ""
    if "auth" in [word.strip() for word in given.get("qop", "").split(",")]:
        plain = f", qop=auth, nc=00000001, cnonce={nonce[:8]!r}".replace("'", '"')
        fields["response"] = md5(secret, nonce, "00000001", nonce[:8], "auth", asked)
    else:
        fields["response"] = md5(secret, nonce, asked)
    if "opaque" in given:
        fields["opaque"] = given["opaque"]
    return "Digest " + ", ".join(f'{name}="{value}"' for name, value in fields.items()) + plain


class _Conversation:
    """Requests and replies over one connection, within one deadline."""

    def __init__(self, connection: socket.socket, until_s: float) -> None:
        self._connection, self._until_s, self._number, self._rest = connection, until_s, 0, b""

    def ask(self, method: str, url: str, *headers: str) -> Reply:
        self._number += 1
        lines = [f"{method} {url} RTSP/1.0", f"CSeq: {self._number}", "User-Agent: Poliscope", *headers, "", ""]
        self._connection.sendall("\r\n".join(lines).encode())
        while b"\r\n\r\n" not in self._rest:
            # Whoever speaks another protocol shows it in its first bytes; waiting for a whole head may take for ever.
            if not b"RTSP/".startswith(self._rest[:5]) or len(self._rest) > HEAD_MAX:
                raise NotRtsp
            self._receive()
        head, _end, self._rest = self._rest.partition(b"\r\n\r\n")
        reply = parse_head(head)
        length = next((int(text) for text in reply.all("content-length") if text.isdigit()), 0)
        if length > BODY_MAX:
            raise NotRtsp
        while len(self._rest) < length:
            self._receive()
        body, self._rest = self._rest[:length], self._rest[length:]
        return Reply(reply.status, reply.headers, body.decode("utf-8", "replace"))

    def _receive(self) -> None:
        left_s = self._until_s - time.monotonic()
        if left_s <= 0:
            raise TimeoutError
        self._connection.settimeout(left_s)
        data = self._connection.recv(4096)
        if not data:
            raise NotRtsp
        self._rest += data


def preflight(address: Address, user: str = "", password: str = "", *, timeout_s: float = PREFLIGHT_S) -> Announced:
    """Ask the pinned number what it has to offer. Returns when a video stream can be had; raises ``StreamProblem``."""
    until_s = time.monotonic() + timeout_s
    with _plainly(address), _connected(address, timeout_s) as connection:
        conversation, url = _Conversation(connection, until_s), address.url()
        _judge(conversation.ask("OPTIONS", url), either=(401,))
        reply = conversation.ask("DESCRIBE", url, "Accept: application/sdp")
        if reply.status == 401 and (user or password):
            answer = authorization(reply.all("www-authenticate"), user, password, "DESCRIBE", url)
            if answer is None:
                return Announced()  # A kind of log-in that only FFmpeg may know; it finds out.
            reply = conversation.ask("DESCRIBE", url, "Accept: application/sdp", f"Authorization: {answer}")
        _judge(reply)
        return announced(reply.body)


@contextlib.contextmanager
def _connected(address: Address, timeout_s: float) -> Iterator[socket.socket]:
    with socket.create_connection((address.ip, address.port), timeout_s) as plain:
        if address.scheme != "rtsps":
            yield plain
            return
        # Cameras sign their own certificates: this encrypts, it does not prove who answers. FFmpeg does the same.
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        with context.wrap_socket(plain, server_hostname=address.host) as sealed:
            yield sealed


@contextlib.contextmanager
def _plainly(address: Address) -> Iterator[None]:
    """Turns what sockets raise into our words, with host and port."""
    try:
        yield
    except StreamProblem as problem:
        raise type(problem)(address.where) from None
    except ConnectionRefusedError:
        raise Refused(address.where) from None
    except (ssl.SSLError, ConnectionResetError, BrokenPipeError):
        raise NotRtsp(address.where) from None
    except TimeoutError:
        raise Unreachable(address.where) from None
    except OSError as error:
        raise Unreachable(address.where, error.strerror or "") from None


def _judge(reply: Reply, either: tuple[int, ...] = ()) -> None:
    """Raises unless ``reply`` is a success or one of ``either``."""
    status = reply.status
    if 300 <= status < 400:
        raise Redirected
    if status < 300 or status in either:
        return
    if status in {401, 403}:
        raise WrongPassword
    if status in {404, 410, 454}:
        raise NotFound
    # An unusual refusal of OPTIONS means little; of DESCRIBE, that there is no stream now (503: too many viewers).
    if either:
        return
    raise StreamProblem


@dataclass(frozen=True, slots=True)
class Arrival:
    """One packet that came, and the pictures it completed (none while nothing is decoded).

    ``key``: a picture can begin with it; ``jumped``: packets have just become larger than usual; ``pts_s``: its
    presentation time, which the first ones may lack.
    """

    arrived_s: float
    size: int
    frames: tuple[VideoFrame, ...] = ()
    key: bool = False
    jumped: bool = False
    pts_s: float | None = None


_Packet: TypeAlias = "av.Packet[VideoStream]"


class Stream:
    """An open camera. ``decoding`` may be switched at any time; pictures then begin at the next key frame.

    At *rest* (``rest``) only key frames are decoded, each by itself, and what came since the one before is kept, so
    that ``wake`` gives the pictures between as well. ``keeping``: whether it can come to that; it costs memory.

    ``corrupt`` counts what could not be decoded. After damage nothing is given out until the next key frame: the
    pictures between would show smears that a detector may take for somebody.
    """

    def __init__(
        self,
        container: InputContainer,
        address: Address,
        monotonic: Callable[[], float],
        announced: Announced = Announced(),
    ) -> None:
        self._container, self._address, self._monotonic = container, address, monotonic
        self.announced = announced
        self._video: VideoStream = container.streams.video[0]
        self._whole = False
        self._groups = Groups()
        self._before: list[tuple[float, _Packet]] = []
        self._kept: list[tuple[float, _Packet]] = []
        """What came since the last key frame, and, until the next packet comes, the group before it."""
        self.resting = False
        self.decoding = True
        self.keeping = False
        self.corrupt = 0

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Hang up. Safe to repeat."""
        with contextlib.suppress(av.FFmpegError):
            self._container.close()

    @property
    def codec(self) -> str:
        """The codec's usual name: h264, hevc, mjpeg …"""
        return str(self._video.codec_context.codec.canonical_name)

    @property
    def profile(self) -> str:
        """The codec's profile, once a picture was decoded; empty where it has none."""
        return self._video.codec_context.profile or ""

    @property
    def announced_fps(self) -> float:
        """Pictures a second as the stream claims; 0 where it claims nothing."""
        return float(self._video.average_rate or 0)

    def read(self) -> Iterator[Arrival]:
        """Everything that comes, until it ends. Blocks up to about 6 s. Raises ``StreamProblem``, always."""
        packets = self._container.demux(self._video)
        while True:
            try:
                packet = next(packets)
            except StopIteration:
                raise Ended(self._address.where) from None
            except (av.error.ExitError, av.error.TimeoutError):
                raise Stalled(self._address.where) from None
            except av.FFmpegError:
                # Its text holds the whole address, log-in included.
                raise Ended(self._address.where) from None
            arrived_s = self._monotonic()
            if packet.size:
                pts_s = None if packet.pts is None else float(packet.pts * packet.time_base)
                jumped = self._groups.packet(arrived_s, packet.size, key=packet.is_keyframe)
                self._keep(packet, arrived_s)
                frames = self._alone(packet) if self.resting else self._decoded(packet)
                yield Arrival(arrived_s, packet.size, frames, packet.is_keyframe, jumped, pts_s)

    # Rest

    @property
    def restful(self) -> bool:
        """Whether it can rest: its last groups are kept, whole and short enough."""
        return bool(self._kept) and self._whole and self._groups.restful(self._kept[-1][0])

    def rest(self, *, in_vain: bool = False) -> None:
        """From the next packet on decode key frames only. ``in_vain``: packets that grew for nothing had woken it."""
        self.resting = True
        if in_vain:
            self._groups.mistrust(self._kept[-1][0])

    def wake(self, after_s: float) -> Iterator[Arrival]:
        """Decode everything again, from the start of the kept group: what came since the picture of time ``after_s``.

        Right after a key frame that is the group before it, and then the key frame itself.
        """
        self.resting = self._whole = False
        led, news = (self._before, self._kept) if self._before else (self._kept, [])
        for arrived_s, packet in led:
            frames = (frame for frame in self._decoded(packet) if frame.time is None or frame.time > after_s)
            yield Arrival(arrived_s, packet.size, tuple(frames), packet.is_keyframe)
        for arrived_s, packet in news:
            yield Arrival(arrived_s, packet.size, self._decoded(packet), packet.is_keyframe)

    def _keep(self, packet: _Packet, arrived_s: float) -> None:
        if not self.keeping:
            self._before, self._kept = [], []
        elif packet.is_keyframe:
            self._before, self._kept = self._kept, [(arrived_s, packet)]
        elif self._kept:
            self._before = []
            self._kept.append((arrived_s, packet))

    def _alone(self, packet: _Packet) -> tuple[VideoFrame, ...]:
        """The picture of a key frame at once, and nothing of any other packet."""
        if not packet.is_keyframe or packet.is_corrupt:
            return ()
        context = self._video.codec_context
        context.flush_buffers()
        try:
            frames = [*packet.decode(), *context.decode(None)]
        except av.FFmpegError:
            self._damaged()
            return ()
        finally:
            # A decoder that was drained takes nothing more until it is emptied.
            context.flush_buffers()
        return tuple(frame for frame in frames if not frame.is_corrupt)

    def _decoded(self, packet: _Packet) -> tuple[VideoFrame, ...]:
        if not self.decoding:
            self._whole = False
            return ()
        if packet.is_keyframe and not packet.is_corrupt:
            if not self._whole:
                self._video.codec_context.flush_buffers()
            self._whole = True
        if packet.is_corrupt:
            self._damaged()
        if not self._whole:
            return ()
        try:
            frames = packet.decode()
        except av.FFmpegError:
            self._damaged()
            return ()
        if any(frame.is_corrupt for frame in frames):
            self._damaged()
            return ()
        return tuple(frames)

    def _damaged(self) -> None:
        self.corrupt += 1
        self._whole = False


def open_stream(
    address: Address,
    user: str = "",
    password: str = "",
    *,
    on_progress: Callable[[], None] = lambda: None,
    monotonic: Callable[[], float] = time.monotonic,
) -> Stream:
    """The camera's video, opened over TCP at the pinned number. Blocks up to ``PREFLIGHT_S`` + ``OPEN_S``.

    ``on_progress`` is called between the two. Raises ``StreamProblem``; no text of it holds a credential.
    """
    announced = preflight(address, user, password)
    on_progress()
    try:
        container = av.open(
            address.url(user, password), format="rtsp", options=dict(_OPTIONS), timeout=(OPEN_S, READ_S)
        )
    except (av.error.HTTPUnauthorizedError, av.error.HTTPForbiddenError):
        raise WrongPassword(address.where) from None
    except av.error.HTTPNotFoundError:
        raise NotFound(address.where) from None
    except (av.error.ExitError, av.error.TimeoutError):
        raise Stalled(address.where) from None
    except av.error.ConnectionRefusedError:
        raise Refused(address.where) from None
    except (av.FFmpegError, OSError, ValueError):
        raise StreamProblem(address.where) from None
    if not container.streams.video:
        container.close()
        raise NoVideo(address.where)
    # Without a decoder there is no context, whatever PyAV's stub says.
    if cast(object, container.streams.video[0].codec_context) is None:
        container.close()
        raise UnknownCodec(address.where, announced.codec)
    prepare(container.streams.video[0])
    return Stream(container, address, monotonic, announced)


def prepare(video: VideoStream) -> None:
    """Set the decoder up, before its first packet."""
    context = video.codec_context
    # One thread a camera: measured cheapest, and the cameras themselves are what runs in parallel.
    context.thread_count = 1
    context.thread_type = "NONE"
    # Damage is reported rather than painted over.
    context.options = {"err_detect": "explode"}
    if context.width * context.height >= LARGE_PX:
        context.options = {**context.options, "skip_loop_filter": "all"}


def planes_of(frame: VideoFrame) -> Planes:
    """The picture as yuv420p, converted only where the camera sends something else. Views of the decoder's memory."""
    full_range = frame.format.name.startswith("yuvj") or int(frame.color_range) == 2
    if frame.format.name not in {"yuv420p", "yuvj420p"}:
        frame = frame.reformat(format="yuv420p")
        full_range = False
    height, width = frame.height, frame.width
    half = ((height + 1) // 2, (width + 1) // 2)
    y, u, v = (_plane(frame, index, size) for index, size in enumerate(((height, width), half, half)))
    return Planes(y, u, v, full_range)


def _plane(frame: VideoFrame, index: int, shape: tuple[int, int]) -> Bytes2d:
    plane = frame.planes[index]
    # A plane has Python's buffer protocol, which its type stub does not say.
    flat: npt.NDArray[np.uint8] = np.frombuffer(cast(bytes, plane), np.uint8)
    return flat.reshape(-1, plane.line_size)[: shape[0], : shape[1]]
