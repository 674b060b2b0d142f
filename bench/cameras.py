"""Play videos as live RTSP cameras, ``/cam0`` on: ``python -m bench.cameras --port N --paths 8 FILE``.

One file is played on all paths; of several each is one camera. It says ``ready`` and when every film began.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import tempfile
from collections.abc import Sequence
from pathlib import Path

from streams.demo_cameras import Movie, Server
from streams.videos import examine, make_playable


def playable(file: Path, folder: Path) -> Path:
    """``file``, or its playable form in ``folder``: whoever connects waits for a key frame, and gives up after 3 s."""
    made = folder / f"{file.stem}.playable.mp4"
    if not made.exists():
        if examine(file).as_it_is:
            return file
        make_playable(file, made, lambda share: None)
    return made


async def play(files: Sequence[Path], port: int) -> None:
    """Each of ``files`` on a path of its own, until SIGTERM or SIGINT."""
    quit = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, quit.set)
    opened = {file: Movie.open(file, file.stem) for file in dict.fromkeys(files)}
    movies = {f"cam{number}": opened[file] for number, file in enumerate(files)}
    async with Server(movies, port) as server:
        print(f"ready {server.epoch_at.isoformat()}", flush=True)
        await quit.wait()


def main() -> None:
    """The process."""
    parser = argparse.ArgumentParser(prog="python -m bench.cameras")
    parser.add_argument("files", type=Path, nargs="+", metavar="FILE")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--paths", type=int, default=8, help="of one file")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="poliscope-cameras-") as folder:
        files = [playable(file, Path(folder)) for file in given.files]
        asyncio.run(play(files * given.paths if len(files) == 1 else files, given.port))


if __name__ == "__main__":
    main()
