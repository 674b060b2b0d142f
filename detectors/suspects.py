"""Which records a worker had in hand when it died: the next one under its name takes them one at a time.

Some pictures do not raise, they kill the process (a broken decoder, a driver). So what is in hand is written down
before it is touched, and struck out after. A record that was in hand *alone* at ``FATAL`` deaths is put aside
untouched. A worker that is killed from outside leaves the same note; its frames are merely taken alone once.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Sequence
from pathlib import Path

from detectors.batching import Entry

logger = logging.getLogger(__name__)

FATAL = 2
Place = tuple[int, int]
"""Partition and offset."""


class Suspects:
    """The note. Without a file (``path`` None) it remembers nothing. A write costs some microseconds: no fsync, for the
    operating system outlives the process."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._alone: dict[Place, int] = {} if path is None else _read(path)
        self._file: int | None = None
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)

    def suspected(self, entry: Entry) -> bool:
        """Whether ``entry`` was in hand when the last worker died, so that it is to be taken alone."""
        return (entry.partition, entry.offset) in self._alone

    def fatal(self, entry: Entry) -> bool:
        """Whether ``entry`` has killed often enough."""
        return self._alone.get((entry.partition, entry.offset), 0) >= FATAL

    def take(self, entries: Sequence[Entry]) -> None:
        """These are in hand now."""
        places = [(entry.partition, entry.offset) for entry in entries]
        alone = int(len(places) == 1)
        self._write({**self._alone, **{place: alone + self._alone.get(place, 0) for place in places}})

    def done(self, entries: Sequence[Entry]) -> None:
        """They did no harm."""
        for entry in entries if self._alone else ():
            # Offsets only grow: an earlier one of the partition never comes again.
            self._alone = {
                (partition, offset): deaths
                for (partition, offset), deaths in self._alone.items()
                if partition != entry.partition or offset > entry.offset
            }
        self._write(self._alone)

    def close(self) -> None:
        """Let go of the file."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _write(self, places: dict[Place, int]) -> None:
        if self._file is None:
            return
        text = json.dumps([[*place, deaths] for place, deaths in places.items()]).encode()
        os.pwrite(self._file, text, 0)
        os.ftruncate(self._file, len(text))


def _read(path: Path) -> dict[Place, int]:
    try:
        return {(int(p), int(o)): int(deaths) for p, o, deaths in json.loads(path.read_text() or "[]")}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError) as error:
        logger.warning("%s: unreadable (%s); nothing is taken alone", path, error)
        return {}
