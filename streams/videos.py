"""The user's own video files: what is in one, and how it becomes one that the demo cameras' server can play.

Files are strangers, and some end the process that decodes them: so each is looked at and made playable in a process of
its own, ``python -m streams.videos``. Only containers that hold their own pictures are opened; a playlist, which could
name any other file or address, is none.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import itertools
import os
import statistics
import sys
from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import av.filter
import msgspec

from streams.ids import new_uid

CONTAINERS = (
    *("mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm", "avi", "mpegts", "mpeg", "mpegvideo", "flv", "asf", "ogg", "mxf"),
    *("dv", "wtv", "rm", "ivf", "nut", "h264", "hevc", "m4v", "mjpeg", "gif", "yuv4mpegpipe"),
)
"""ffmpeg's names of what is opened."""
OPTIONS = {"protocol_whitelist": "file", "format_whitelist": ",".join(CONTAINERS)}
LONG_PX, SHORT_PX = 1920, 1080
FPS_MOST, PLAYED_FPS_MOST = 25, 30
KEY_S = 2.0
GAP_MOST_S = 2.5
"""Between two key frames of a file that is played as it is: whoever connects waits so long, and gives up after 3 s."""
MADE_MOST_S = 600.0
"""So much of a film is made playable: its loop. A file that is played as it is has no such bound."""
SAMPLED = 300
"""Packets that are looked at for their order."""
HASHED_MOST_BYTES = 2**30
"""A larger file's playable form is not looked for while everybody waits."""
RECIPE = "1"
"""Names how files are made playable; another one means making them anew."""

Progress = Callable[[float], None]


class NotPlayable(ValueError):
    """A file cannot be played; the text says what was expected and what was got."""


class Film(msgspec.Struct, frozen=True):
    """What is in a file. ``as_it_is``: the server can send it without another encoding."""

    codec: str
    width_px: int
    height_px: int
    fps: float
    length_s: float
    as_it_is: bool
    made: str = ""
    """Its playable form, where there is one already."""


def examine(path: Path) -> Film:
    """Look into ``path`` and decode its first picture. Raises ``NotPlayable``; may end the process."""
    with _opened(path) as (container, stream):
        try:
            as_it_is = _sends_as_it_is(container, stream)
            container.seek(0)
            picture = next(_pictures(container, stream))
        except (av.FFmpegError, StopIteration) as problem:
            raise NotPlayable(f"expected pictures that can be decoded, got none ({_words(problem)})") from None
        return Film(
            stream.codec_context.name,
            picture.width,
            picture.height,
            float(stream.average_rate or 0),
            _length_s(container, stream),
            as_it_is and not picture.rotation and picture.format.name in ("yuv420p", "yuvj420p"),
        )


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[tuple[Any, Any]]:
    """The container and its best video stream; a cover picture is none."""
    if not path.is_file():
        raise NotPlayable("expected a file, got " + ("a folder" if path.is_dir() else "nothing of that name"))
    try:
        container = av.open(str(path), options=dict(OPTIONS))
    except PermissionError:
        raise NotPlayable("expected a file that this user can read; change its permissions") from None
    except (av.FFmpegError, OSError, ValueError):
        raise NotPlayable(f"expected a video such as MP4, Matroska, AVI or MPEG-TS, got {_instead(path)}") from None
    with container:
        covers = av.stream.Disposition.attached_pic
        found = [stream for stream in container.streams.video if not stream.disposition & covers]
        if not found:
            raise NotPlayable("expected a video, got a file without moving pictures")
        found[0].thread_count = 1
        yield container, found[0]


def _instead(path: Path) -> str:
    """What a file is that nothing opens. An MP4's index stands at its end, so of a part of one nothing can be read."""
    with path.open("rb") as file:
        begin = file.read(8)
    if not begin:
        return "an empty file"
    # ISO/IEC 14496-12, 4.3: such a file begins with the box ftyp, after its length.
    return "the beginning of an MP4 alone: it is cut off, copy it again" if begin[4:] == b"ftyp" else "something else"


def _words(problem: BaseException) -> str:
    return getattr(problem, "strerror", "") or type(problem).__name__


def _length_s(container: Any, stream: Any) -> float:
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    return float(container.duration or 0) / av.time_base


def _pictures(container: Any, stream: Any) -> Iterator[Any]:
    """Every picture that can be decoded; a damaged packet costs its own pictures only."""
    for packet in container.demux(stream):
        try:
            yield from packet.decode()
        except av.error.InvalidDataError:
            continue


# --- Played as it is --------------------------------------------------------------------------------------------------


def _sends_as_it_is(container: Any, stream: Any) -> bool:
    """Whether RTP can carry these very packets: H.264 in MP4, in the order of its pictures, evenly, often joinable."""
    context = stream.codec_context
    record = bytes(context.extradata or b"")
    return (
        container.format.name == CONTAINERS[0]
        and context.name == "h264"
        and plain_record(record)
        and min(context.width, context.height) <= SHORT_PX
        and max(context.width, context.height) <= LONG_PX
        and even(stream.index_entries, stream.time_base, stream.average_rate)
        and _in_order(container, stream)
    )


def plain_record(record: bytes) -> bool:
    """Whether an ``avcC`` record has lengths of four bytes and one parameter set of each kind (ISO/IEC 14496-15)."""
    if len(record) < 9 or record[0] != 1 or record[4] & 3 != 3 or record[5] & 31 != 1:
        return False
    at = 8 + int.from_bytes(record[6:8], "big")
    return at < len(record) and record[at] == 1


def even(entries: Any, time_base: Any, rate: Any) -> bool:
    """Whether pictures follow one another at one whole rate, and a key frame comes often."""
    times = [float(entry.timestamp * time_base) for entry in entries]
    keys = [time for time, entry in zip(times, entries, strict=True) if entry.is_keyframe]
    steps = [after - before for before, after in itertools.pairwise(times)]
    fps = float(rate or 0)
    if not steps or not keys or not 1 <= fps <= PLAYED_FPS_MOST or abs(fps - round(fps)) > 0.05:
        return False
    gaps = [after - before for before, after in itertools.pairwise([*keys, times[-1]])]
    typical = statistics.median(steps)
    return typical > 0 and max(steps) < 2 * typical and max(gaps) <= GAP_MOST_S and keys[0] == times[0]


def _in_order(container: Any, stream: Any) -> bool:
    """Whether the first packets come in the order in which they are shown: no B-frames."""
    if stream.codec_context.has_b_frames:
        return False
    packets = itertools.islice((one for one in container.demux(stream) if one.size), SAMPLED)
    shown = [packet.pts for packet in packets]
    return None not in shown and shown == sorted(shown)


@dataclass(frozen=True, slots=True)
class PacketIndex:
    """Where the packets of an ``as_it_is`` file stand, in the order of its pictures."""

    fps: int
    record: bytes
    """The ``avcC`` record."""
    positions: array[int]
    sizes: array[int]
    begins: list[bool]


def packet_index(path: Path) -> PacketIndex:
    """The index of a file that ``examine`` found ``as_it_is``, or that was made playable. Raises ``NotPlayable``."""
    with _opened(path) as (_container, stream):
        entries = stream.index_entries
        return PacketIndex(
            round(float(stream.average_rate or 0)),
            bytes(stream.codec_context.extradata or b""),
            array("q", (entry.pos for entry in entries)),
            array("l", (entry.size for entry in entries)),
            [entry.is_keyframe for entry in entries],
        )


# --- Made playable ----------------------------------------------------------------------------------------------------


def made_path(path: Path, folder: Path, alive: Callable[[], None] = lambda: None) -> Path:
    """Where the playable form of ``path`` is or will be: named by what is in the file.

    Reads it whole; ``alive`` is called now and then. Raises ``OSError``.
    """
    digest = hashlib.sha256(RECIPE.encode())
    with path.open("rb") as file:
        while block := file.read(1 << 25):
            digest.update(block)
            alive()
    return folder / f"{digest.hexdigest()[:24]}.mp4"


def make_playable(path: Path, target: Path, progress: Progress) -> None:
    """Write the first ten minutes of ``path`` as H.264 without B-frames to ``target``, complete or not at all.

    At most 1920 × 1080 and 25 pictures a second, a key frame each 2 s, no sound. ``progress`` is called with
    the share done, 0–1, each second of the film. Raises ``NotPlayable`` and ``OSError``; may end the process.
    """
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    unfinished = target.with_name(f".{target.stem}.{new_uid().hex}.mp4")
    try:
        with _opened(path) as (container, stream):
            count = _encode(container, stream, unfinished, progress)
        if not count:
            raise NotPlayable("expected pictures that can be decoded, got none")
        os.replace(unfinished, target)
    except av.FFmpegError as problem:
        raise NotPlayable(f"expected pictures that can be encoded, got a failure ({_words(problem)})") from None
    finally:
        unfinished.unlink(missing_ok=True)


def target_size(width_px: int, height_px: int) -> tuple[int, int]:
    """The size that a picture is brought to: as large as allowed, never enlarged, even.

    >>> target_size(3840, 2160), target_size(1080, 1920), target_size(47, 48)
    ((1920, 1080), (1080, 1920), (46, 48))
    """
    long_px, short_px = max(width_px, height_px), min(width_px, height_px)
    scale = min(1.0, LONG_PX / long_px, SHORT_PX / short_px)
    width, height = (max(16, int(side * scale) // 2 * 2) for side in (width_px, height_px))
    return width, height


def _encode(container: Any, stream: Any, target: Path, progress: Progress) -> int:
    """Pictures written."""
    fps = max(1, min(FPS_MOST, round(float(stream.average_rate or FPS_MOST))))
    most = round(min(_length_s(container, stream) or MADE_MOST_S, MADE_MOST_S) * fps)
    written = 0
    with av.open(str(target), "w") as output:
        encoder: Any = None
        for picture in itertools.islice(_filtered(container, stream, fps), round(MADE_MOST_S * fps)):
            if encoder is None:
                encoder = _encoder(output, fps, picture.width, picture.height)
            picture.pts, picture.time_base = written, Fraction(1, fps)
            picture.pict_type = av.video.frame.PictureType.NONE
            output.mux(encoder.encode(picture))
            written += 1
            if written % fps == 0:
                progress(min(1.0, written / max(1, most)))
        if encoder is not None:
            output.mux(encoder.encode())
    return written


def _encoder(output: Any, fps: int, width_px: int, height_px: int) -> Any:
    frames = str(round(KEY_S * fps))
    options = {
        "preset": "veryfast",
        "tune": "zerolatency",
        "crf": "24",
        "g": frames,
        "keyint_min": frames,
        "sc_threshold": "0",
        "threads": "1",
    }
    stream = output.add_stream("libx264", rate=fps, options=options)
    stream.width, stream.height, stream.pix_fmt = width_px, height_px, "yuv420p"
    return stream


TURNS = {90: ["transpose=2"], 180: ["hflip", "vflip"], 270: ["transpose=1"]}
"""By the degrees, counterclockwise, that a picture is to be turned before it is shown."""


def _filtered(container: Any, stream: Any, fps: int) -> Iterator[Any]:
    """Pictures at one rate, the right way up, all in the size of the first. Another size within begins a new chain."""
    chain: Any = None
    size: tuple[int, int] | None = None
    shape: tuple[int, int, str] | None = None
    for picture in _pictures(container, stream):
        if (picture.width, picture.height, picture.format.name) != shape:
            yield from _drained(chain)
            shape = picture.width, picture.height, picture.format.name
            size = size or _shown_size(stream, picture)
            chain = _chain(picture, fps, size)
        chain.push(picture)
        yield from _pulled(chain)
    yield from _drained(chain)


def _shown_size(stream: Any, picture: Any) -> tuple[int, int]:
    """The size that ``picture`` is brought to: square pixels, the right way up."""
    aspect = float(stream.sample_aspect_ratio or 1)
    width, height = round(picture.width * (aspect if 0.2 < aspect < 5 else 1)), picture.height
    return target_size(height, width) if int(picture.rotation) % 180 else target_size(width, height)


def _chain(picture: Any, fps: int, size: tuple[int, int]) -> Any:
    graph = av.filter.Graph()
    node = graph.add_buffer(
        width=picture.width, height=picture.height, format=picture.format, time_base=picture.time_base
    )
    turn = TURNS.get(int(picture.rotation) % 360, [])
    for one in [f"fps={fps}", *turn, f"scale={size[0]}:{size[1]}", "setsar=1", "format=yuv420p", "buffersink"]:
        name, _equals, given = one.partition("=")
        following = graph.add(name, given or None)
        node.link_to(following)
        node = following
    graph.configure()
    return graph


def _pulled(chain: Any) -> Iterator[Any]:
    while True:
        try:
            yield chain.pull()
        except (av.BlockingIOError, av.EOFError):
            return


def _drained(chain: Any) -> Iterator[Any]:
    if chain is not None:
        chain.push(None)
        yield from _pulled(chain)


# --- The process ------------------------------------------------------------------------------------------------------


def main(arguments: Sequence[str]) -> int:
    """``examine FILE`` prints a ``Film``; ``make FILE`` shares of the work, then the path in ``--to`` that it made."""
    parser = argparse.ArgumentParser(prog="python -m streams.videos")
    parser.add_argument("what", choices=("examine", "make"))
    parser.add_argument("file", type=Path)
    parser.add_argument("--to", type=Path, required=True, metavar="FOLDER")
    given = parser.parse_args(arguments)
    try:
        if given.what == "examine":
            print(msgspec.json.encode(_known(examine(given.file), given.file, given.to)).decode())
        else:
            print(_make(given.file, given.to), flush=True)
    except (NotPlayable, OSError) as problem:
        print(problem, file=sys.stderr)
        return 1
    return 0


def _known(film: Film, path: Path, folder: Path) -> Film:
    """With its playable form, if that is there and finding it is quick."""
    if film.as_it_is or path.stat().st_size > HASHED_MOST_BYTES:
        return film
    made = made_path(path, folder)
    return msgspec.structs.replace(film, made=str(made) if made.exists() else "")


def _make(path: Path, folder: Path) -> Path:
    os.nice(10)

    def tell(share: float) -> None:
        print(f"{share:.2f}", flush=True)

    target = made_path(path, folder, lambda: tell(0.0))
    if not target.exists():
        make_playable(path, target, tell)
    return target


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
