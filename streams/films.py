"""Films of scenes, as their player needs them. They are drawn by a process of its own, whose memory goes with it."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec

from streams.whole_json import write_json

LIST = "films.json"


class Film(msgspec.Struct, frozen=True):
    """One drawn scene; its truth stands beside ``path`` as JSON."""

    key: str
    title: str
    path: str
    length_s: float

    @property
    def truth(self) -> Path:
        return Path(self.path).with_suffix(".json")


def write(films: Sequence[Film], folder: Path) -> None:
    """The list of ``films`` in ``folder``, complete or not at all."""
    write_json(folder / LIST, films)


async def draw(folder: Path) -> list[Film]:
    """The demo's films, drawn into ``folder`` where they are missing; progress goes to the standard output.

    Cancelled, it stops drawing. Raises ``OSError`` when they could not be drawn.
    """
    command = [sys.executable, "-m", "streams.scenes.draw", "--data", str(folder)]
    drawing = await asyncio.create_subprocess_exec(*command)
    try:
        status = await drawing.wait()
    finally:
        if drawing.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                drawing.kill()
    if status:
        raise OSError(f"the scenes could not be drawn into {folder} (status {status}); the reason stands above")
    return msgspec.json.decode((folder / LIST).read_bytes(), type=list[Film])
