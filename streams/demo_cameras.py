"""The demo cameras: live, looping, over RTSP/TCP. ``python -m streams.demo_cameras --data DIR --port N``.

A camera does not rewind. One pump a camera sends each picture when its time has come, to whoever watches then, and all
four count from one epoch; who connects again goes on with the present. (The server of ``aio-rtsp-toolkit`` plays the
file from its beginning to each client, so it cannot play a camera that reconnects.) Loopback and TCP only.

Source: RFC 2326 (RTSP), RFC 3550 (RTP), RFC 6184 (H.264 over RTP).
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import contextlib
import logging
import os
import secrets
import signal
import struct
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import av
import msgspec

from streams import films
from streams.whole_json import write_json

logger = logging.getLogger(__name__)

HOST = "127.0.0.1"
CLOCK_HZ = 90_000
PAYLOAD_TYPE = 96
PAYLOAD_BYTES = 1400
"""Most of a NAL unit in one RTP packet: what fits an Ethernet frame, as real cameras do it."""
REQUEST_BYTES = 16 * 1024
"""A longer request is refused: nobody needs it, and it would be memory for a stranger."""
UNSENT_BYTES = 2 * 2**20
"""A client that is so far behind (about a minute) is cut off, so that it costs no more memory."""
LATE_S = 1.0
"""After a longer pause of this process the cameras go on with the present."""
METHODS = "OPTIONS, DESCRIBE, SETUP, PLAY, PAUSE, GET_PARAMETER, SET_PARAMETER, TEARDOWN"


# --- Wire: no sockets here --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Request:
    """One RTSP request; header names in lower case."""

    method: str
    url: str
    headers: dict[str, str]


class BadRequest(ValueError):
    """What came is no RTSP; the connection is of no more use."""


class Inbox:
    """Bytes in, whole requests out. Interleaved packets of the client (its reports) are skipped."""

    def __init__(self) -> None:
        self._bytes = bytearray()

    def feed(self, data: bytes) -> Iterator[Request]:
        """The requests that are complete with ``data``. Raises ``BadRequest``."""
        self._bytes += data
        while self._bytes:
            if self._bytes[0] == 0x24:
                if not self._skip_packet():
                    return
                continue
            request = self._take_request()
            if request is None:
                return
            yield request

    def _skip_packet(self) -> bool:
        # RFC 2326, 10.12: '$', channel, length in two bytes.
        if len(self._bytes) < 4:
            return False
        end = 4 + int.from_bytes(self._bytes[2:4], "big")
        if len(self._bytes) < end:
            return False
        del self._bytes[:end]
        return True

    def _take_request(self) -> Request | None:
        end = self._bytes.find(b"\r\n\r\n")
        if end < 0:
            if len(self._bytes) > REQUEST_BYTES:
                raise BadRequest(f"request: expected at most {REQUEST_BYTES} bytes, got more")
            return None
        request = _parse(bytes(self._bytes[:end]))
        whole = end + 4 + _length(request)
        if len(self._bytes) < whole:
            return None
        del self._bytes[:whole]
        return request


def _parse(head: bytes) -> Request:
    first, *lines = head.decode("latin-1").split("\r\n")
    words = first.split()
    if len(words) != 3 or not words[2].startswith("RTSP/"):
        raise BadRequest(f"request: expected METHOD URL RTSP/1.0, got {first[:60]!r}")
    pairs = (line.partition(":") for line in lines)
    return Request(words[0], words[1], {name.strip().lower(): value.strip() for name, _, value in pairs})


def _length(request: Request) -> int:
    text = request.headers.get("content-length", "0")
    if not text.isascii() or not text.isdigit() or int(text) > REQUEST_BYTES:
        raise BadRequest(f"request: expected a Content-Length up to {REQUEST_BYTES}, got {text[:20]!r}")
    return int(text)


def reply(request: Request, status: str, headers: dict[str, str] | None = None, body: bytes = b"") -> bytes:
    """An answer to ``request``, with its number."""
    lines = [f"RTSP/1.0 {status}", f"CSeq: {request.headers.get('cseq', '0')}"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode() + body


def channel_of(transport: str) -> int | None:
    """The RTP channel that the client asks for in its ``Transport`` header; None when it wants something else than TCP.

    >>> channel_of("RTP/AVP/TCP;unicast;interleaved=2-3")
    2
    """
    if "RTP/AVP/TCP" not in transport.upper():
        return None
    for part in transport.split(";"):
        name, _, value = part.strip().partition("=")
        if name.lower() == "interleaved":
            low = value.partition("-")[0]
            return int(low) if low.isdigit() and int(low) < 255 else None
    return 0


def payloads(unit: bytes) -> list[bytes]:
    """A NAL unit as RTP payloads: whole when it fits, else in fragments (FU-A, RFC 6184, 5.8)."""
    if len(unit) <= PAYLOAD_BYTES:
        return [unit]
    indicator, kind, step = (unit[0] & 0xE0) | 28, unit[0] & 0x1F, PAYLOAD_BYTES - 2
    starts = range(1, len(unit), step)
    return [
        bytes((indicator, kind | (0x80 if at == 1 else 0) | (0x40 if at + step >= len(unit) else 0)))
        + unit[at : at + step]
        for at in starts
    ]


def units(packet: bytes, length_bytes: int = 4) -> list[bytes]:
    """The NAL units of an MP4 packet, where each stands behind its length (ISO/IEC 14496-15)."""
    found, at = [], 0
    while at + length_bytes <= len(packet):
        size = int.from_bytes(packet[at : at + length_bytes], "big")
        at += length_bytes
        found.append(packet[at : at + size])
        at += size
    return found


def parameter_sets(record: bytes) -> tuple[bytes, bytes]:
    """Sequence and picture parameter set of an ``avcC`` record (ISO/IEC 14496-15, 5.3.3.1). Raises ``ValueError``."""
    if len(record) < 8 or record[0] != 1:
        raise ValueError("video: expected H.264 in MP4 with its parameter sets, got something else; draw it again")
    size = int.from_bytes(record[6:8], "big")
    sequence = record[8 : 8 + size]
    at = 8 + size + 1
    size = int.from_bytes(record[at : at + 2], "big")
    return sequence, record[at + 2 : at + 2 + size]


# --- Cameras ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Movie:
    """A video cut into pictures: for each the RTP payloads, and whether a client may begin there."""

    title: str
    fps: int
    pictures: Sequence[list[bytes]]
    begins: list[bool]
    sets: tuple[bytes, bytes]

    @classmethod
    def open(cls, path: Path, title: str) -> Movie:
        """Read ``path`` (H.264 without B-frames in MP4) whole. Raises ``ValueError``."""
        pictures: list[list[bytes]] = []
        begins: list[bool] = []
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            sets = parameter_sets(bytes(stream.codec_context.extradata or b""))
            fps = round(float(stream.average_rate or 0))
            for packet in container.demux(stream):
                if packet.size:
                    # In band too, so that a client needs nothing but the stream.
                    whole = [*(sets if packet.is_keyframe else ()), *units(bytes(packet))]
                    pictures.append([payload for unit in whole for payload in payloads(unit)])
                    begins.append(packet.is_keyframe)
        if not pictures or fps < 1:
            raise ValueError(f"video {path.name}: expected pictures, got none; delete it and start again")
        return cls(title, fps, pictures, begins, sets)

    def description(self) -> bytes:
        """SDP (RFC 4566) of the stream."""
        sets = ",".join(base64.b64encode(one).decode() for one in self.sets)
        profile = self.sets[0][1:4].hex().upper()
        lines = [
            "v=0",
            f"o=- 1 1 IN IP4 {HOST}",
            f"s={self.title}",
            f"c=IN IP4 {HOST}",
            "t=0 0",
            "a=control:*",
            f"m=video 0 RTP/AVP {PAYLOAD_TYPE}",
            f"a=rtpmap:{PAYLOAD_TYPE} H264/{CLOCK_HZ}",
            f"a=fmtp:{PAYLOAD_TYPE} packetization-mode=1;profile-level-id={profile};sprop-parameter-sets={sets}",
            f"a=framerate:{self.fps}",
            "a=control:track",
            "",
        ]
        return "\r\n".join(lines).encode()


class Camera:
    """One looping camera: everybody who watches gets the same packets at the same time."""

    def __init__(self, movie: Movie) -> None:
        self.movie = movie
        self.watchers: set[Watcher] = set()
        self._number = 0
        self._sequence = secrets.randbelow(2**16)
        self._source = secrets.randbits(32)
        self._offset = secrets.randbits(32)

    async def play(self, epoch_s: float) -> None:
        """Send picture ``n`` at ``epoch_s + n / fps`` of the loop's clock, for ever."""
        loop, movie = asyncio.get_running_loop(), self.movie
        while True:
            wait_s = epoch_s + self._number / movie.fps - loop.time()
            if wait_s > 0:
                await asyncio.sleep(wait_s)
            elif wait_s < -LATE_S:
                self._number = int((loop.time() - epoch_s) * movie.fps)
                for watcher in self.watchers:
                    watcher.waiting = True
            self._send(self._number)
            self._number += 1

    def _send(self, number: int) -> None:
        at = number % len(self.movie.pictures)
        begins = self.movie.begins[at]
        ready = [watcher for watcher in self.watchers if begins or not watcher.waiting]
        payloads = self.movie.pictures[at]
        if ready:
            stamp = self._stamp(number)
            for channel in {watcher.channel for watcher in ready}:
                blob = self._packets(payloads, stamp, channel)
                for watcher in ready:
                    if watcher.channel == channel:
                        watcher.take(blob)
        self._sequence = (self._sequence + len(payloads)) % 2**16

    def next_begin(self) -> tuple[int, int]:
        """RTP sequence number and time stamp of the next picture that a client can begin with."""
        number, sequence, count = self._number, self._sequence, len(self.movie.pictures)
        while not self.movie.begins[number % count]:
            sequence += len(self.movie.pictures[number % count])
            number += 1
        return sequence % 2**16, self._stamp(number)

    def _stamp(self, number: int) -> int:
        return (self._offset + number * CLOCK_HZ // self.movie.fps) % 2**32

    def _packets(self, payloads: Sequence[bytes], stamp: int, channel: int) -> bytes:
        parts = []
        for index, payload in enumerate(payloads):
            last = index == len(payloads) - 1
            parts.append(
                struct.pack(
                    "!BBHBBHII",
                    0x24,
                    channel,
                    len(payload) + 12,
                    0x80,
                    PAYLOAD_TYPE | (0x80 if last else 0),
                    (self._sequence + index) % 2**16,
                    stamp,
                    self._source,
                )
            )
            parts.append(payload)
        return b"".join(parts)


class Watcher(asyncio.Protocol):
    """One connection."""

    def __init__(self, cameras: dict[str, Camera]) -> None:
        self._cameras = cameras
        self._inbox = Inbox()
        self._session = secrets.token_hex(8)
        self._camera: Camera | None = None
        self._transport: asyncio.Transport | None = None
        self.channel = 0
        self.waiting = True
        """For a picture that it can begin with."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop()

    def data_received(self, data: bytes) -> None:
        assert self._transport is not None
        try:
            for request in self._inbox.feed(data):
                self._transport.write(self._answer(request))
                if request.method == "TEARDOWN":
                    self._transport.close()
        except BadRequest as problem:
            logger.info("a client was refused: %s", problem)
            self._transport.write(b"RTSP/1.0 400 Bad Request\r\n\r\n")
            self._transport.close()

    def take(self, blob: bytes) -> None:
        """Send, or cut off a client that does not read."""
        assert self._transport is not None
        if self._transport.get_write_buffer_size() > UNSENT_BYTES:
            logger.warning("a client does not read; it is cut off")
            self._stop()
            self._transport.abort()
            return
        self.waiting = False
        self._transport.write(blob)

    def _stop(self) -> None:
        if self._camera is not None:
            self._camera.watchers.discard(self)

    def _answer(self, request: Request) -> bytes:
        session = {"Session": f"{self._session};timeout=60"}
        match request.method:
            case "OPTIONS":
                return reply(request, "200 OK", {"Public": METHODS})
            case "GET_PARAMETER" | "SET_PARAMETER":
                return reply(request, "200 OK", session)
            case "DESCRIBE":
                return self._describe(request)
            case "SETUP":
                return self._set_up(request, session)
            case "PLAY" | "PAUSE" | "TEARDOWN" if self._camera is None:
                return reply(request, "455 Method Not Valid in This State")
            case "PLAY":
                return self._play(request, session)
            case "PAUSE" | "TEARDOWN":
                self._stop()
                return reply(request, "200 OK", session)
            case _:
                return reply(request, "501 Not Implemented", {"Public": METHODS})

    def _find(self, url: str) -> Camera | None:
        return self._cameras.get(urlsplit(url).path.strip("/").removesuffix("/track"))

    def _describe(self, request: Request) -> bytes:
        camera = self._find(request.url)
        if camera is None:
            return reply(request, "404 Not Found")
        headers = {"Content-Base": request.url.rstrip("/") + "/", "Content-Type": "application/sdp"}
        return reply(request, "200 OK", headers, camera.movie.description())

    def _set_up(self, request: Request, session: dict[str, str]) -> bytes:
        camera, channel = self._find(request.url), channel_of(request.headers.get("transport", ""))
        if camera is None:
            return reply(request, "404 Not Found")
        if channel is None:
            return reply(request, "461 Unsupported Transport")
        self._stop()
        self._camera, self.channel = camera, channel
        transport = f"RTP/AVP/TCP;unicast;interleaved={channel}-{channel + 1}"
        return reply(request, "200 OK", {"Transport": transport, **session})

    def _play(self, request: Request, session: dict[str, str]) -> bytes:
        assert self._camera is not None
        self.waiting = True
        self._camera.watchers.add(self)
        sequence, stamp = self._camera.next_begin()
        url = f"{request.url.rstrip('/').removesuffix('/track')}/track"
        return reply(request, "200 OK", {**session, "RTP-Info": f"url={url};seq={sequence};rtptime={stamp}"})


# --- The process ------------------------------------------------------------------------------------------------------


class Station(msgspec.Struct, frozen=True):
    """One camera as ``demo.json`` has it: its address, and where its truth stands."""

    key: str
    url: str
    truth: str
    length_s: float


class Broadcast(msgspec.Struct, frozen=True):
    """``demo.json``: the wall time at which every camera began its first round."""

    epoch_at: datetime
    port: int
    pid: int
    cameras: list[Station]


class Server:
    """All cameras of one process. ``async with Server(movies, port)``; ``port`` 0 takes a free one."""

    def __init__(self, movies: dict[str, Movie], port: int = 0) -> None:
        self.cameras = {key: Camera(movie) for key, movie in movies.items()}
        self.port = port
        self.epoch_at = datetime.now(UTC)
        self._epoch_s = 0.0
        self._pumps: list[asyncio.Task[None]] = []
        self._listener: asyncio.Server | None = None

    async def __aenter__(self) -> Server:
        loop = asyncio.get_running_loop()
        self._listener = await loop.create_server(lambda: Watcher(self.cameras), HOST, self.port)
        self.port = self._listener.sockets[0].getsockname()[1]
        self.epoch_at, self._epoch_s = datetime.now(UTC), loop.time()
        self._pumps = [asyncio.create_task(camera.play(self._epoch_s)) for camera in self.cameras.values()]
        return self

    def add(self, key: str, movie: Movie) -> asyncio.Task[None]:
        """One more camera while the others play; its task ends only with what goes wrong."""
        self.cameras[key] = Camera(movie)
        pump = asyncio.create_task(self.cameras[key].play(self._epoch_s))
        self._pumps.append(pump)
        return pump

    async def __aexit__(self, *_: object) -> None:
        assert self._listener is not None
        self._listener.close()
        for pump in self._pumps:
            pump.cancel()
        await asyncio.gather(*self._pumps, return_exceptions=True)
        for camera in self.cameras.values():
            for watcher in list(camera.watchers):
                if watcher._transport is not None:
                    watcher._transport.abort()

    def url(self, key: str) -> str:
        """Where the camera called ``key`` is."""
        return f"rtsp://{HOST}:{self.port}/{key}"


def write_broadcast(server: Server, shown: Sequence[films.Film], folder: Path) -> Path:
    """``demo.json`` in ``folder``, complete or not at all."""
    stations = [Station(film.key, server.url(film.key), str(film.truth), film.length_s) for film in shown]
    path = folder / "demo.json"
    write_json(path, Broadcast(server.epoch_at, server.port, os.getpid(), stations))
    return path


async def serve(folder: Path, port: int) -> None:
    """Draw what is missing in ``folder``, then play until SIGTERM or SIGINT. Raises ``OSError`` for a taken port."""
    quit = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, quit.set)
    drawing, stopping = asyncio.create_task(films.draw(folder)), asyncio.create_task(quit.wait())
    await asyncio.wait({drawing, stopping}, return_when=asyncio.FIRST_COMPLETED)
    if quit.is_set():
        drawing.cancel()
        await asyncio.wait({drawing})
        return
    shown = drawing.result()
    movies = {film.key: Movie.open(Path(film.path), film.title) for film in shown}
    async with Server(movies, port) as server:
        write_broadcast(server, shown, folder)
        print(f"cameras: {' '.join(server.url(key) for key in movies)}", flush=True)
        await quit.wait()


def main(arguments: Sequence[str]) -> int:
    """The process; returns its exit status."""
    parser = argparse.ArgumentParser(prog="python -m streams.demo_cameras", description="Four demo cameras over RTSP.")
    parser.add_argument("--data", type=Path, required=True, help="folder for the videos and demo.json")
    parser.add_argument("--port", type=int, default=0, help="port on 127.0.0.1; 0 takes a free one")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
    try:
        options.data.mkdir(parents=True, exist_ok=True)
        asyncio.run(serve(options.data, options.port))
    except (OSError, ValueError) as problem:
        print(f"demo cameras: {problem}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        sys.exit(main(sys.argv[1:]))
