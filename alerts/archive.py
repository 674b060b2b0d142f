"""The archive as it is read: one camera's observations and tracks in log order, each once.

Opens what the span needs and nothing else: files by camera and hour, row groups by time, and no boxes at all from a
file that has none of the labels.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

import numpy as np
import pyarrow as pa

from alerts.archive_files import TICKS, Folder, Run, hours_between
from alerts.archive_rows import Batch, Kept, Part, Ticks, Wanted, rows_in, ticks_in
from streams.instants import to_us

ROWS_A_BATCH = 4096
ATTEMPTS = 5
"""A file that was merged away while it was to be opened: where its rows are now is looked up again."""


@dataclass(frozen=True, slots=True)
class Query:
    """One camera in [from, until); ``labels`` (as they are in the log, no tree) leaves out what has another."""

    camera: UUID
    from_at: datetime
    until_at: datetime
    labels: frozenset[str] | None = None
    partition: int | None = None
    """Where the camera's log is; None: looked for."""


class _Place(NamedTuple):
    """A run as it can be read: a part with every camera, or the merged files (``merged`` None where there is none)."""

    run: Run
    part: bool


class Archive:
    """Reads ``root``. It holds nothing open between two batches; any number may read while one writes."""

    def __init__(self, root: Path) -> None:
        self.folder = Folder(root)

    def read(self, query: Query) -> Iterator[Batch]:
        """The rows in log order, some thousands at a time, ticks beside them. Blocks on the disk."""
        partition = self._partition(query)
        if partition is None:
            return
        for log in self._logs(query, partition):
            after, attempt = -1, 0
            while True:
                try:
                    for place in self._places(query, partition, log):
                        if place.run.until > after + 1:
                            yield from self._batches(query, place, after)
                            after = max(after, place.run.until - 1)
                    break
                except FileNotFoundError:
                    # Merged meanwhile. What was given out lies below ``after``, or was not given out at all.
                    attempt += 1
                    if attempt >= ATTEMPTS:
                        raise

    def _partition(self, query: Query) -> int | None:
        if query.partition is not None:
            return query.partition
        known = self.folder.partition_of(query.camera)
        return known if known is not None else self._partition_by_parts(query.camera)

    def _partition_by_parts(self, camera: UUID) -> int | None:
        for path in sorted((self.folder.root / "parts").glob("*/*/[!.]*"), reverse=True):
            if camera in Part(str(path)).cameras:
                return int(path.parent.parent.name)
        return None

    def _logs(self, query: Query, partition: int) -> list[str]:
        """The logs of the span, oldest first: an installation changes its log seldom, and never goes back."""
        found: dict[str, None] = {}
        for hour in hours_between(query.from_at, query.until_at):
            runs = [*self.folder.merged_runs(partition, hour), *self.folder.parts(partition, hour)]
            found |= dict.fromkeys(run.log for run in runs)
        return list(found)

    def _places(self, query: Query, partition: int, log: str) -> list[_Place]:
        merged: list[Run] = []
        parts: list[Run] = []
        for hour in hours_between(query.from_at, query.until_at):
            merged += [run for run in self.folder.merged_runs(partition, hour) if run.log == log]
            parts += [run for run in self.folder.parts(partition, hour) if run.log == log]
        fresh = [run for run in parts if not any(run.within(whole) for whole in merged)]
        places = [*(_Place(run, False) for run in merged), *(_Place(run, True) for run in fresh)]
        return sorted(places, key=lambda place: (place.run.start, -place.run.until))

    def _batches(self, query: Query, place: _Place, after: int) -> Iterator[Batch]:
        wanted = Wanted(query.camera, after, to_us(query.from_at), to_us(query.until_at), query.labels)
        tables, ticks = self._open(query, place, wanted)
        rows: list[Kept] = []
        # All rows of a run are here before the first is given out: what is merged away later cannot cut it in two.
        for table in tables:
            rows += rows_in(table, wanted)
        yield from _cut(rows, ticks)

    def _open(self, query: Query, place: _Place, wanted: Wanted) -> tuple[list[pa.Table], Ticks]:
        bounds = wanted.from_at_us, wanted.until_at_us
        if place.part:
            part = Part(str(self.folder.part(place.run)))
            tables = list(part.tables(*bounds, _shows(part, query)))
            return tables, _join([ticks_in(table, wanted) for table in tables])
        ticks = Part(str(self.folder.merged(place.run, TICKS)))
        path = self.folder.merged(place.run, query.camera)
        rows = Part(str(path)) if path.exists() else None
        tables = list(rows.tables(*bounds, _shows(rows, query))) if rows is not None else []
        return tables, _join([ticks_in(table, wanted) for table in ticks.tables(*bounds, False)])


def _shows(part: Part, query: Query) -> bool:
    return query.labels is None or bool(query.labels & part.labels)


def _join(ticks: list[Ticks]) -> Ticks:
    empty = np.empty(0, np.int64)
    offsets, times = [one.offset for one in ticks], [one.at_us for one in ticks]
    return Ticks(np.concatenate([empty, *offsets]), np.concatenate([empty, *times]))


def _cut(rows: list[Kept], ticks: Ticks) -> Iterator[Batch]:
    """Batches of rows, each with the ticks up to its last row; those after the last row come with the last batch."""
    start = 0
    for first in range(0, max(1, len(rows)), ROWS_A_BATCH):
        some = rows[first : first + ROWS_A_BATCH]
        last = first + ROWS_A_BATCH >= len(rows)
        end = len(ticks.offset) if last else int(np.searchsorted(ticks.offset, some[-1].offset))
        yield Batch(some, Ticks(ticks.offset[start:end], ticks.at_us[start:end]))
        start = end
