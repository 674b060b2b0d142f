"""What ``up`` knows of the part that plays the user's own films: its command, how far it is, what is new. No Django."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

TOLD_EACH_S = 10.0
"""How often the terminal is told how far a long job is."""


@dataclass(slots=True)
class VideoPart:
    """The films of one start. ``board`` is where the part writes how far each is."""

    files: Sequence[Path]
    folder: Path
    port: int
    _playing: frozenset[str] = frozenset()
    _refused: set[str] = field(default_factory=set)
    _told_s: float = float("-inf")
    _said: str = ""

    @property
    def board(self) -> Path:
        """``videos.json``."""
        return self.folder / "videos.json"

    def prepare(self) -> None:
        """Forget the last start's board."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.board.unlink(missing_ok=True)

    def command(self) -> list[str]:
        """The command line; it runs in the foreground until SIGTERM."""
        files = map(str, self.files)
        return [
            *(sys.executable, "-m", "streams.video_cameras"),
            "--data",
            str(self.folder),
            "--port",
            str(self.port),
            *files,
        ]

    def _read(self) -> dict[str, Any]:
        try:
            read: dict[str, Any] = json.loads(self.board.read_bytes())
        except (OSError, ValueError):
            return {"examined": False, "films": []}
        return read

    @property
    def examined(self) -> bool:
        """Whether every file has been looked at."""
        return bool(self._read()["examined"])

    def looked_at(self) -> str:
        """How many files have been looked at, for progress."""
        films = self._read()["films"]
        return f"{sum(film['state'] != 'waiting' for film in films)} of {len(self.files)}"

    def refusals(self) -> list[str]:
        """A sentence for each file that has been refused since the last call."""
        refused = [film for film in self._read()["films"] if film["state"] == "refused"]
        new = [film for film in refused if film["key"] not in self._refused]
        self._refused |= {film["key"] for film in new}
        return [f"  {film['path']} is left out: {film['why']}; name another file" for film in new]

    def newly_playing(self) -> bool:
        """Whether a film plays, or plays no more, that did not at the last call."""
        playing = frozenset(film["key"] for film in self._read()["films"] if film["state"] == "ready")
        changed, self._playing = playing != self._playing, playing
        return changed

    def progress(self, now_s: float) -> list[str]:
        """A line for the film that is just being made playable, at most each ``TOLD_EACH_S``."""
        making = [film for film in self._read()["films"] if film["state"] == "making"]
        if not making or now_s - self._told_s < TOLD_EACH_S:
            return []
        self._told_s = now_s
        return [f"  making {Path(film['path']).name} playable: {film['share']:.0%}" for film in making]

    def new_summary(self) -> list[str]:
        """``summary``, unless that was said already."""
        said, self._said = self._said, self.summary()
        return [f"  {self._said}"] if said != self._said else []

    def summary(self) -> str:
        """What plays now, and what is still coming, in one line."""
        states = [film["state"] for film in self._read()["films"]]
        plays, comes = states.count("ready"), states.count("making") + states.count("waiting")
        first = (
            f"{plays} of your videos {'plays' if plays == 1 else 'play'} as {'a camera' if plays == 1 else 'cameras'}."
        )
        return first + (f" {comes} more will, once made playable; progress stands below." if comes else "")
