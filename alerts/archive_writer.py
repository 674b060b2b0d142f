"""What ``evaluate`` keeps of what it folds: parts, written before the fold's position is.

So the archive is never behind the fold: after a crash the fold replays from its last position, and rows that lie below
the archive's own end are there already and are not taken again. Whatever fails here, evaluation goes on.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from alerts.archive_files import Folder, Run, hour_of, log_name, write_whole
from alerts.archive_rows import Kept, time_of, to_parquet, to_table
from alerts.archive_upkeep import compact, merge, prune
from detectors.tracking import Track
from streams import observations as wire

logger = logging.getLogger(__name__)

MAX_WAITING = 50_000
"""Rows of one partition that wait for a disk that does not take them; with more, they are let go."""
PARTS_AN_HOUR = 24
"""With more, what one hour has so far is put together, so that a reader opens few files."""


@dataclass(frozen=True, slots=True)
class Retention:
    """What is kept: so many days, and at most so many bytes."""

    days: float
    bytes: int


class Watcher(Protocol):
    """Sees each picture that is kept (``alerts.track_pictures``)."""

    def see(self, seen: wire.Detections, tracks: list[Track]) -> None: ...

    def close(self) -> None: ...


@dataclass(slots=True)
class _Stretch:
    """Rows of one hour in log order: offsets [start, until), until None while it grows."""

    hour: str
    start: int
    rows: list[Kept] = field(default_factory=list)
    until: int | None = None


@dataclass(slots=True)
class _Spool:
    """What one partition has consumed and not stored."""

    log: str
    end: int
    """What lies below is in the archive."""
    stretches: list[_Stretch] = field(default_factory=list)
    parts: int = 0

    @property
    def waiting(self) -> int:
        return sum(len(stretch.rows) for stretch in self.stretches)


class ArchiveWriter:
    """The hook of ``evaluate``. Its calls come from one thread; merging goes on in another.

    ``leave_bytes`` of the disk are left to the others. ``stopped`` says why nothing is kept now; empty: all is well.
    """

    def __init__(self, root: Path, *, leave_bytes: int = 0, retention: Retention | None = None) -> None:
        self.folder = Folder(root)
        self.stopped = ""
        self.let_go = 0
        """Rows that no disk took; a rehearsal shows their time as unknown."""
        self.pictures: Watcher | None = None
        self._leave_bytes, self._retention = leave_bytes, retention
        self._spools: dict[int, _Spool] = {}
        self._upkeep = ThreadPoolExecutor(max_workers=1, thread_name_prefix="archive")

    def begin(self, partition: int, position: int, identity: str) -> None:
        """``partition`` is ours from ``position`` on, in the log called ``identity``."""
        log = log_name(identity)
        try:
            end, hours = self._end(partition, log), self.folder.part_hours(partition)
        except OSError as error:
            logger.error("archive: what there is of partition %s cannot be read: %s", partition, error)
            self.stopped, end, hours = str(error), 0, []
        if end < position and end:
            logger.warning("archive: partition %s has nothing of offsets %s to %s", partition, end, position)
        self._spools[partition] = _Spool(log, max(end, position))
        for newest in hours[-1:]:
            self._later(self._merge_all_but, partition, newest)
        self._later(self._prune)

    def keep(
        self, partition: int, offset: int, observation: wire.Observation, tracks: list[Track] | None = None
    ) -> None:
        """One more was folded, in log order. A picture without ``tracks`` was a repeated one, and is not kept."""
        spool = self._spools.get(partition)
        if spool is None or offset < spool.end:
            return
        if isinstance(observation, wire.Detections) and tracks is None:
            return
        self._stretch(spool, offset, observation).rows.append(Kept(offset, observation, tracks))
        if self.pictures is not None and isinstance(observation, wire.Detections) and tracks is not None:
            self.pictures.see(observation, tracks)

    def store(self, partition: int, position: int) -> None:
        """Put what was kept up to ``position`` on the disk. Never raises for the disk: it says so and tries again."""
        spool = self._spools.get(partition)
        if spool is None or not spool.waiting:
            return
        if spool.stretches[-1].until is None:
            spool.stretches[-1].until = position
        try:
            self._write(partition, spool)
        except OSError as error:
            self._on_failure(partition, spool, position, error)
            return
        except Exception as error:
            # A row that no column holds would be the same at every try; evaluation must not stand still for it.
            logger.exception("archive: partition %s, offsets %s to %s are let go", partition, spool.end, position)
            self.stopped, self.let_go = f"{type(error).__name__}: {error}", self.let_go + spool.waiting
            spool.stretches, spool.end = [], position
            return
        if self.stopped:
            logger.warning("archive: goes on from partition %s, offset %s", partition, spool.end)
        self.stopped = ""
        if spool.parts > PARTS_AN_HOUR:
            spool.parts = 0
            self._later(compact, self.folder, partition)

    def drop(self, partition: int) -> None:
        """``partition`` is no longer ours: what was not stored is somebody else's to keep."""
        self._spools.pop(partition, None)

    def close(self) -> None:
        """Wait for the merge that runs, if one does."""
        if self.pictures is not None:
            self.pictures.close()
        self._upkeep.shutdown(wait=True, cancel_futures=True)

    def _end(self, partition: int, log: str) -> int:
        """Up to where the archive has this partition of this log."""
        runs = [run for hour in self.folder.part_hours(partition) for run in self.folder.parts(partition, hour)]
        for hour in reversed(self.folder.merged_hours()):
            merged = [run for run in self.folder.merged_runs(partition, hour) if run.log == log]
            runs += merged
            if merged:
                break
        return max((run.until for run in runs if run.log == log), default=0)

    def _stretch(self, spool: _Spool, offset: int, observation: wire.Observation) -> _Stretch:
        """Where it belongs. A tick of another hour ends the stretch: a part lies in one hour."""
        if not spool.stretches or spool.stretches[-1].until is not None:
            start = spool.stretches[-1].until if spool.stretches else spool.end
            assert start is not None
            spool.stretches.append(_Stretch(hour_of(time_of(observation)), start))
        last = spool.stretches[-1]
        if isinstance(observation, wire.Tick) and (hour := hour_of(observation.at)) != last.hour:
            last.until = offset
            spool.stretches.append(_Stretch(hour, offset))
        return spool.stretches[-1]

    def _write(self, partition: int, spool: _Spool) -> None:
        while spool.stretches:
            stretch = spool.stretches[0]
            assert stretch.until is not None
            if stretch.rows:
                run = Run(stretch.hour, partition, spool.log, stretch.start, stretch.until)
                write_whole(self.folder.part(run), to_parquet(to_table(stretch.rows)), self._leave_bytes)
                spool.parts += 1
            spool.stretches.pop(0)
            spool.end = stretch.until
            if spool.stretches:
                self._later(self._merge_all_but, partition, spool.stretches[0].hour)
                self._later(self._prune)

    def _on_failure(self, partition: int, spool: _Spool, position: int, error: OSError) -> None:
        if not self.stopped:
            logger.error("archive: stopped, the rules go on: %s", error)
        self.stopped = str(error)
        if spool.waiting > MAX_WAITING:
            self.let_go += spool.waiting
            logger.error("archive: partition %s, offsets %s to %s are let go", partition, spool.end, position)
            spool.stretches, spool.end = [], position

    def _merge_all_but(self, partition: int, hour: str) -> None:
        for other in self.folder.part_hours(partition):
            if other != hour:
                merge(self.folder, partition, other, self._leave_bytes)

    def _prune(self) -> None:
        if self._retention is not None:
            kept = self._retention
            files, length = prune(self.folder, datetime.now(UTC), days=kept.days, most_bytes=kept.bytes)
            if files:
                logger.info("archive: %s files of %.1f MB went, the oldest", files, length / 1e6)

    def _later(self, work: Callable[..., None], *arguments: object) -> None:
        self._upkeep.submit(_quietly, work, *arguments)


def _quietly(work: Callable[..., None], *arguments: object) -> None:
    try:
        work(*arguments)
    except OSError as error:
        logger.error("archive: parts could not be put together; they stay as they are: %s", error)
    except Exception:
        logger.exception("archive: parts could not be put together; they stay as they are")
