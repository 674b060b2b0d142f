"""The user's own films: what is played as it is, what is made playable, what is refused, and how they are served."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import msgspec
import numpy as np
import pytest

from streams import video_cameras, videos
from streams.demo_cameras import Movie, Server
from streams.video_cameras import Board, Screening, key_of, open_film
from streams.videos import NotPlayable, examine, made_path, make_playable, plain_record

pytestmark = pytest.mark.timeout(60)


def film(
    path: Path,
    codec: str = "libx264",
    *,
    size: tuple[int, int] = (160, 96),
    fps: Fraction | int = 10,
    pictures: int = 15,
    audio: bool = False,
    **options: str,
) -> Path:
    """A film of a bright bar that moves from left to right."""
    with av.open(str(path), "w") as output:
        stream = output.add_stream(codec, rate=fps, options=options)
        stream.width, stream.height = size
        stream.pix_fmt = {"gif": "rgb8", "mjpeg": "yuvj420p"}.get(codec, "yuv420p")
        if audio:
            output.add_stream("aac", rate=48_000)
        for number in range(pictures):
            picture = np.full((size[1], size[0], 3), 40, np.uint8)
            left = number * size[0] // (pictures + 1)
            picture[:, left : left + 12] = 220
            output.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="bgr24")))
        output.mux(stream.encode())
    return path


PLAIN = {"bf": "0", "g": "10"}


def decoded(path: Path) -> list[av.VideoFrame]:
    with av.open(str(path)) as container:
        return list(container.decode(video=0))


# --- What is in a file ------------------------------------------------------------------------------------------------


def test_h264_in_mp4_without_b_frames_is_played_as_it_is(tmp_path: Path) -> None:
    found = examine(film(tmp_path / "a.mp4", **PLAIN))
    assert found.as_it_is and (found.codec, found.width_px, found.height_px) == ("h264", 160, 96)
    assert found.length_s == pytest.approx(1.5) and found.fps == 10


@pytest.mark.parametrize(
    ("name", "codec", "more"),
    [
        ("b-frames.mp4", "libx264", {"bf": "2", "b_adapt": "0", "pictures": 40}),
        ("rare-keys.mp4", "libx264", {"bf": "0", "g": "200", "sc_threshold": "0", "pictures": 40}),
        ("broken-rate.mp4", "libx264", {**PLAIN, "fps": Fraction(25, 2)}),
        ("too-fast.mp4", "libx264", {**PLAIN, "fps": 50}),
        ("matroska.mkv", "libx264", PLAIN),
        ("mpeg4.avi", "mpeg4", {}),
        ("picture.gif", "gif", {}),
        ("raw.mjpeg", "mjpeg", {}),
    ],
)
def test_all_else_is_made_playable(tmp_path: Path, name: str, codec: str, more: dict[str, str]) -> None:
    path = film(tmp_path / name, codec, **more)  # type: ignore[arg-type]
    assert not examine(path).as_it_is
    target = made_path(path, tmp_path / "made")
    shares: list[float] = []
    make_playable(path, target, shares.append)
    assert examine(target).as_it_is
    assert shares == sorted(shares) and all(share <= 1.0 for share in shares)
    assert [entry.name for entry in target.parent.iterdir()] == [target.name]


def test_what_is_made_keeps_its_pictures_and_loses_size_and_rate_above_the_bounds(tmp_path: Path) -> None:
    path = film(tmp_path / "big.mkv", "mpeg4", size=(2000, 64), fps=50, pictures=50, audio=True)
    shares: list[float] = []
    make_playable(path, tmp_path / "made.mp4", shares.append)
    assert shares[-1:] == [1.0]
    pictures = decoded(tmp_path / "made.mp4")
    assert (pictures[0].width, pictures[0].height) == (1920, 60) and 24 <= len(pictures) <= 26
    middle = pictures[12].to_ndarray(format="gray")
    assert abs(int(middle[30].argmax()) - 12 * 2 * 1920 // 51) < 60


def test_only_the_first_ten_minutes_are_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(videos, "MADE_MOST_S", 1.0)
    make_playable(film(tmp_path / "long.mkv", pictures=30), tmp_path / "made.mp4", lambda share: None)
    assert len(decoded(tmp_path / "made.mp4")) == 10


def test_the_same_content_is_made_once_and_other_content_anew(tmp_path: Path) -> None:
    one, two = film(tmp_path / "one.mkv"), film(tmp_path / "two.mkv", pictures=16)
    (tmp_path / "copy.mkv").write_bytes(one.read_bytes())
    assert made_path(one, tmp_path) == made_path(tmp_path / "copy.mkv", tmp_path) != made_path(two, tmp_path)


def playlist(folder: Path) -> bytes:
    inner = film(folder / "inner.mp4", **PLAIN)
    return f"#EXTM3U\n#EXTINF:5,\n{inner}\n#EXT-X-ENDLIST\n".encode()


def cut_short(folder: Path) -> bytes:
    return film(folder / "whole.mp4", **PLAIN).read_bytes()[:600]


def only_sound(folder: Path) -> bytes:
    with av.open(str(folder / "sound.mp4"), "w") as output:
        stream = output.add_stream("aac", rate=48_000)
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        silence.rate = 48_000
        output.mux(stream.encode(silence))
        output.mux(stream.encode())
    return (folder / "sound.mp4").read_bytes()


def one_picture(folder: Path) -> bytes:
    import cv2

    return cv2.imencode(".png", np.zeros((64, 64, 3), np.uint8))[1].tobytes()


@pytest.mark.parametrize(
    "content",
    [lambda folder: b"Minutes of the meeting\n" * 50, lambda folder: b"", playlist, cut_short, only_sound, one_picture],
    ids=["text", "empty", "playlist", "cut short", "only sound", "one picture"],
)
def test_what_is_no_film_is_refused_with_what_was_expected(tmp_path: Path, content: Callable[[Path], bytes]) -> None:
    (tmp_path / "notes.mp4").write_bytes(content(tmp_path))
    with pytest.raises(NotPlayable, match=r"expected .* got"):
        examine(tmp_path / "notes.mp4")


@pytest.mark.parametrize(
    ("content", "words"),
    [(cut_short, r"got the beginning of an MP4 alone: it is cut off"), (lambda folder: b"", r"got an empty file$")],
    ids=["cut short", "empty"],
)
def test_a_film_that_was_not_copied_whole_is_told_from_what_is_none(
    tmp_path: Path, content: Callable[[Path], bytes], words: str
) -> None:
    (tmp_path / "gate.mp4").write_bytes(content(tmp_path))
    with pytest.raises(NotPlayable, match=words):
        examine(tmp_path / "gate.mp4")


def test_a_folder_and_a_missing_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(NotPlayable, match="got a folder"):
        examine(tmp_path)
    with pytest.raises(NotPlayable, match="nothing of that name"):
        examine(tmp_path / "none.mp4")


def test_a_parameter_set_record_that_the_server_cannot_send_is_known() -> None:
    good = bytes([1, 66, 0, 30, 0xFF, 0xE1, 0, 2, 7, 7, 1, 0, 1, 8])
    assert plain_record(good)
    for bad in (b"", b"\0\0\0\1" + good, good[:4] + b"\xfd" + good[5:], good[:5] + b"\xe2" + good[6:]):
        assert not plain_record(bad)


# --- Served -----------------------------------------------------------------------------------------------------------


def test_a_film_is_read_from_its_file_picture_by_picture(tmp_path: Path) -> None:
    path = film(tmp_path / "a.mp4", **PLAIN)
    whole, read = Movie.open(path, "a"), open_film(path, "a")
    assert list(read.pictures) == whole.pictures and read.begins == whole.begins
    assert (read.fps, read.sets) == (whole.fps, whole.sets)
    os.truncate(path, path.stat().st_size // 4)
    with pytest.raises(OSError, match="cut short"):
        list(read.pictures)


def board(folder: Path) -> Board:
    return msgspec.json.decode((folder / "videos.json").read_bytes(), type=Board)


async def test_good_films_play_whatever_the_others_are(tmp_path: Path) -> None:
    folder = tmp_path / "videos"
    folder.mkdir()
    (folder / ".left-over.mp4").touch()
    plain, other = film(tmp_path / "a.mp4", **PLAIN), film(tmp_path / "b.mkv")
    (tmp_path / "notes.mp4").write_text("hello")
    async with Server({}) as server:
        await Screening([plain, other, tmp_path / "notes.mp4"], folder, server).run()
        states = {film.key: film.state for film in board(folder).films}
        assert list(states.values()) == ["ready", "ready", "refused"] and server.cameras.keys() == {*states} - {
            key_of(tmp_path / "notes.mp4")
        }
        url = f"rtsp://127.0.0.1:{server.port}/{key_of(other)}"
        picture = await asyncio.to_thread(first_picture, url)
        assert (picture.width, picture.height) == (160, 96)
    assert not (folder / ".left-over.mp4").exists() and made_path(other, folder).exists()


def first_picture(url: str) -> av.VideoFrame:
    with av.open(
        url, format="rtsp", options={"rtsp_transport": "tcp", "analyzeduration": "300000"}, timeout=10
    ) as container:
        return next(container.decode(video=0))


async def test_a_made_film_is_found_again_while_it_is_looked_at(tmp_path: Path) -> None:
    path = film(tmp_path / "b.mkv")
    make_playable(path, made_path(path, tmp_path), lambda share: None)
    said = await video_cameras.run_child(["examine", str(path), "--to", str(tmp_path)], 20)
    assert msgspec.json.decode(said, type=videos.Film).made == str(made_path(path, tmp_path))


@pytest.mark.parametrize(
    ("program", "said"),
    [
        (f"import os; os.kill(os.getpid(), {int(signal.SIGABRT)})", "one that ends its decoder (SIGABRT)"),
        ("import time; time.sleep(60)", "a sign of life"),
        ("raise SystemExit(4)", "its decoder ended with 4"),
    ],
)
async def test_a_file_that_crashes_or_hangs_its_decoder_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str, said: str
) -> None:
    decoder = tmp_path / "decoder"
    decoder.write_text(f"#!{sys.executable} -S\n{program}\n")
    decoder.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(decoder))
    with pytest.raises(NotPlayable) as refused:
        await video_cameras.run_child(["examine", "/films/a.mp4"], 1.0)
    assert said in str(refused.value)


@pytest.mark.shared
def test_a_file_that_ends_opencv_is_made_playable(tmp_path: Path, shared: Path) -> None:
    make_playable(shared / "footage" / "opencv5_decoder_crash_48x48.avi", tmp_path / "made.mp4", lambda share: None)
    assert examine(tmp_path / "made.mp4").as_it_is
