"""The user's own video files as looping cameras: ``python -m streams.video_cameras --data DIR --port N FILE …``.

Each file is looked at, and where necessary made playable, by a process of its own (``streams.videos``), one at a time;
it plays as soon as it can, whatever becomes of the others. ``DIR/videos.json`` says how far each is.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import hashlib
import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal, overload

import msgspec

from streams.demo_cameras import Movie, Server, parameter_sets, payloads, units
from streams.videos import Film, NotPlayable, PacketIndex, packet_index
from streams.whole_json import write_json

logger = logging.getLogger(__name__)

EXAMINE_S = 30.0
SILENT_S = 120.0
"""A process that makes a file playable and says nothing for so long is ended."""
FORGET_S = 30 * 24 * 3600.0
"""A playable form that nobody asked for during so long is deleted."""
BOARD = "videos.json"


class Shown(msgspec.Struct, frozen=True):
    """How far one file is. ``why`` says why it is refused; ``share`` how much of the work is done, 0–1."""

    key: str
    path: str
    state: Literal["waiting", "making", "ready", "refused"] = "waiting"
    share: float = 0.0
    why: str = ""


class Board(msgspec.Struct, frozen=True):
    """``videos.json``. ``examined``: each file has been looked at, so what is refused is known."""

    port: int
    examined: bool
    films: list[Shown]


def key_of(path: Path) -> str:
    """The camera of a file, the same at every start: named by where the file is.

    >>> key_of(Path("/films/a.mp4"))
    'video-11258b8dd718'
    """
    return f"video-{hashlib.sha256(os.fsencode(path)).hexdigest()[:12]}"


class Packets(Sequence[list[bytes]]):
    """The pictures of a file as RTP payloads, read when they are sent: a film of hours takes no memory."""

    def __init__(self, path: Path, index: PacketIndex, sets: tuple[bytes, bytes]) -> None:
        self._index, self._sets = index, sets
        self._file = path.open("rb")

    def __len__(self) -> int:
        return len(self._index.sizes)

    @overload
    def __getitem__(self, at: int) -> list[bytes]: ...
    @overload
    def __getitem__(self, at: slice) -> list[list[bytes]]: ...
    def __getitem__(self, at: int | slice) -> list[bytes] | list[list[bytes]]:
        """Raises ``OSError`` when the file is no longer what it was."""
        if isinstance(at, slice):
            return [self[one] for one in range(*at.indices(len(self)))]
        size = self._index.sizes[at]
        packet = os.pread(self._file.fileno(), size, self._index.positions[at])
        if len(packet) != size:
            raise OSError(f"expected {size} bytes of picture {at}, got {len(packet)}: the file was cut short")
        whole = [*(self._sets if self._index.begins[at] else ()), *units(packet)]
        return [payload for unit in whole for payload in payloads(unit)]


def open_film(path: Path, title: str) -> Movie:
    """A playable file as the server takes it. Raises ``NotPlayable``, ``ValueError`` or ``OSError``."""
    index = packet_index(path)
    sets = parameter_sets(index.record)
    if not index.sizes or index.fps < 1:
        raise NotPlayable("expected pictures, got none")
    return Movie(title, index.fps, Packets(path, index, sets), index.begins, sets)


class Screening:
    """Looks at files, makes them playable one by one, and plays them on ``server``."""

    def __init__(self, files: Sequence[Path], folder: Path, server: Server) -> None:
        self._folder, self._server = folder, server
        self._films = {key_of(path): Shown(key_of(path), str(path)) for path in files}
        self._examined = False

    async def run(self) -> None:
        """Until every file plays or is refused."""
        self._write()
        to_make = [key for key in self._films if not await self._play_at_once(key)]
        self._examined = True
        self._write()
        for key in to_make:
            if self._films[key].state != "refused":
                await self._make(key)
        _forget(self._folder)

    async def _play_at_once(self, key: str) -> bool:
        """Look at the file; play it when nothing is to be made any more."""
        path = self._films[key].path
        try:
            said = await run_child(["examine", path, "--to", str(self._folder)], EXAMINE_S)
            film = msgspec.json.decode(said.splitlines()[-1], type=Film)
        except (NotPlayable, msgspec.DecodeError, IndexError) as problem:
            self._refuse(key, str(problem))
            return False
        if film.as_it_is or film.made:
            self._play(key, Path(film.made or path))
        return film.as_it_is or bool(film.made)

    async def _make(self, key: str) -> None:
        self._set(key, state="making")

        def progress(line: str) -> None:
            with contextlib.suppress(ValueError):
                self._set(key, share=float(line))

        try:
            said = await run_child(["make", self._films[key].path, "--to", str(self._folder)], SILENT_S, progress)
        except NotPlayable as problem:
            self._refuse(key, str(problem))
            return
        self._play(key, Path(said.splitlines()[-1]))

    def _play(self, key: str, path: Path) -> None:
        try:
            pump = self._server.add(key, open_film(path, Path(self._films[key].path).stem))
        except (ValueError, OSError) as problem:
            self._refuse(key, str(problem))
            return
        pump.add_done_callback(lambda task: self._ended(key, task))
        if path.parent == self._folder:
            path.touch()
        self._set(key, state="ready", share=1.0)

    def _ended(self, key: str, pump: asyncio.Task[None]) -> None:
        if not pump.cancelled() and (problem := pump.exception()):
            self._server.cameras.pop(key, None)
            self._refuse(key, str(problem))

    def _refuse(self, key: str, why: str) -> None:
        logger.warning("%s: %s", self._films[key].path, why)
        self._set(key, state="refused", why=why)

    def _set(self, key: str, **changes: object) -> None:
        self._films[key] = msgspec.structs.replace(self._films[key], **changes)
        self._write()

    def _write(self) -> None:
        """Complete or not at all."""
        write_json(self._folder / BOARD, Board(self._server.port, self._examined, list(self._films.values())))


async def run_child(arguments: list[str], silent_s: float, progress: Callable[[str], None] | None = None) -> str:
    """What ``python -m streams.videos`` wrote, each line told to ``progress`` as it comes.

    Raises ``NotPlayable`` with its own word, or with how it ended; it is killed when it is silent for ``silent_s``.
    """
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "streams.videos", *arguments),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None and process.stderr is not None
    complaint = asyncio.create_task(process.stderr.read())
    lines: list[str] = []
    try:
        while line := (await asyncio.wait_for(process.stdout.readline(), silent_s)).decode(errors="replace").strip():
            lines.append(line)
            if progress is not None:
                progress(line)
        status = await asyncio.wait_for(process.wait(), silent_s)
    except TimeoutError:
        raise NotPlayable(f"expected a sign of life from its decoder within {silent_s:.0f} s, got none") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if status:
        raise NotPlayable(_last_word(status, (await complaint).decode(errors="replace")))
    return "\n".join(lines)


def _last_word(status: int, complaint: str) -> str:
    if status < 0:
        return f"expected a whole file, got one that ends its decoder ({signal.Signals(-status).name})"
    lines = complaint.strip().splitlines()
    return lines[-1] if lines else f"its decoder ended with {status}"


def _forget(folder: Path) -> None:
    """Delete what was made playable long ago, and what a stopped process did not finish."""
    for path in folder.glob("*.mp4"):
        if path.name.startswith(".") or time.time() - path.stat().st_mtime > FORGET_S:
            path.unlink(missing_ok=True)


async def serve(files: Sequence[Path], folder: Path, port: int) -> None:
    """Play until SIGTERM or SIGINT. Raises ``OSError`` for a taken port."""
    quit = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, quit.set)
    async with Server({}, port) as server:
        screening = asyncio.create_task(Screening(files, folder, server).run())
        stopping = asyncio.create_task(quit.wait())
        await asyncio.wait({screening, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if screening.done():
            screening.result()
            await quit.wait()
        screening.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await screening


def main(arguments: Sequence[str]) -> int:
    """The process; returns its exit status."""
    parser = argparse.ArgumentParser(prog="python -m streams.video_cameras")
    parser.add_argument("--data", type=Path, required=True, help="folder for playable forms and videos.json")
    parser.add_argument("--port", type=int, required=True, help="port on 127.0.0.1")
    parser.add_argument("files", type=Path, nargs="+")
    given = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
    try:
        given.data.mkdir(mode=0o700, parents=True, exist_ok=True)
        asyncio.run(serve(given.files, given.data, given.port))
    except (OSError, ValueError) as problem:
        print(f"video cameras: {problem}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        sys.exit(main(sys.argv[1:]))
