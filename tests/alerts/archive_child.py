"""Folds a made-up log into an archive, as ``evaluate`` does, until somebody ends it; started by ``test_archive.py``.

The fold's position and snapshot are a file here, replaced after each store: what the database's transaction is there.
"""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec

from alerts.archive_writer import ArchiveWriter
from alerts.engine import Engine
from streams.observations import Observation
from tests.alerts.histories import nobody, rule, seen, tick, walker

PARTITION = 5
LOG = "the log of the child"
COMMIT_EACH = 7


def history() -> list[Observation]:
    """Forty hours of which each has a handful of pictures, so that hours end, and are merged, all the time."""
    log: list[Observation] = []
    for hour in range(40):
        start = hour * 3600.0
        log.append(tick(start))
        log += [seen(start + 1 + i / 5, walker(0.1 + 0.04 * i)) for i in range(20)]
        log += nobody(start + 6, start + 8)
        log.append(tick(start + 9))
    return log


def main(root: Path, kept: Path) -> None:
    """Go on from the position in ``kept``; a line on stdout after each commit."""
    position, snapshot = msgspec.msgpack.decode(kept.read_bytes()) if kept.exists() else (0, b"")
    engine, writer = Engine([rule()], snapshot), ArchiveWriter(root)
    writer.begin(PARTITION, position, LOG)
    log = history()
    for offset in range(position, len(log)):
        writer.keep(PARTITION, offset, log[offset], engine.step(log[offset]).tracks)
        if offset % COMMIT_EACH == 0 or offset + 1 == len(log):
            writer.store(PARTITION, offset + 1)
            fresh = kept.with_suffix(".new")
            fresh.write_bytes(msgspec.msgpack.encode((offset + 1, engine.snapshot())))
            fresh.replace(kept)
            print(offset + 1, flush=True)
    writer.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
