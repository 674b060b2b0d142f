"""Play one video as many live RTSP cameras, ``/cam0`` on: ``python -m bench.cameras --port N --paths 8 FILE``."""

from __future__ import annotations

import argparse
import asyncio
import signal
import tempfile
from pathlib import Path

from streams.demo_cameras import Movie, Server
from streams.videos import examine, make_playable


def playable(file: Path, folder: Path) -> Path:
    """``file``, or its playable form in ``folder``: whoever connects waits for a key frame, and gives up after 3 s."""
    if examine(file).as_it_is:
        return file
    make_playable(file, folder / "playable.mp4", lambda share: None)
    return folder / "playable.mp4"


async def play(file: Path, port: int, paths: int) -> None:
    """Until SIGTERM or SIGINT."""
    quit = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, quit.set)
    movies = {f"cam{number}": Movie.open(file, f"Camera {number}") for number in range(paths)}
    async with Server(movies, port):
        print("ready", flush=True)
        await quit.wait()


def main() -> None:
    """The process."""
    parser = argparse.ArgumentParser(prog="python -m bench.cameras")
    parser.add_argument("file", type=Path)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--paths", type=int, default=8)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="poliscope-cameras-") as folder:
        asyncio.run(play(playable(given.file, Path(folder)), given.port, given.paths))


if __name__ == "__main__":
    main()
