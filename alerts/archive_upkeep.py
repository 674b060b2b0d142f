"""The archive's upkeep: parts become one file a camera and hour, what is too old or too much goes, oldest first.

Every step may be cut short anywhere. A merge is complete when its ticks are written, which is last; until then its
parts count, and afterwards they count no more, whether they are deleted yet or not.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa

from alerts.archive_files import TICKS, Folder, Run, hour_of, start_of, write_whole
from alerts.archive_rows import TICK, Part, to_parquet

HALF_WRITTEN_S = 3600.0
"""What is half written for so long was left by a process that is gone."""


def merge(folder: Folder, partition: int, hour: str, leave_bytes: int = 0) -> None:
    """Put the parts of ``hour`` together, one file a camera. Raises ``OSError``; then the parts stay."""
    parts = folder.parts(partition, hour)
    done = folder.merged_runs(partition, hour)
    for run, pieces in _runs([part for part in parts if not any(part.within(whole) for whole in done)]):
        _write_merged(folder, run, _rows(folder, pieces), leave_bytes)
    _delete(folder, parts)


def compact(folder: Folder, partition: int) -> None:
    """Put the parts of the newest hour into one. Raises ``OSError``; then the parts stay."""
    for hour in folder.part_hours(partition)[-1:]:
        for run, pieces in _runs(folder.parts(partition, hour)):
            others = [piece for piece in pieces if piece != run]
            if len(others) > 1:
                write_whole(folder.part(run), to_parquet(_rows(folder, pieces)))
                _delete(folder, others)


def _runs(parts: list[Run]) -> Iterator[tuple[Run, list[Run]]]:
    """Stretches without a hole, each with its parts in order."""
    together: list[Run] = []
    until = 0
    for part in sorted(parts, key=lambda part: (part.log, part.start, -part.until)):
        if together and (part.log != together[0].log or part.start > until):
            yield _whole(together, until), together
            together, until = [], 0
        together.append(part)
        until = max(until, part.until)
    if together:
        yield _whole(together, until), together


def _whole(parts: list[Run], until: int) -> Run:
    first = parts[0]
    return Run(first.hour, first.partition, first.log, first.start, until)


def _rows(folder: Folder, parts: list[Run]) -> pa.Table:
    """The rows of ``parts`` in log order, each once."""
    table = pa.concat_tables([Part(str(folder.part(part))).table() for part in parts])
    _, first = np.unique(table.column("offset").to_numpy(), return_index=True)
    return table.take(pa.array(first))


def _write_merged(folder: Folder, run: Run, table: pa.Table, leave_bytes: int) -> None:
    ticks = table.column("kind").to_numpy() == TICK
    camera = np.array(table.column("camera").to_pylist(), object)
    for name in sorted(set(camera[~ticks].tolist())):
        rows = table.filter(pa.array(~ticks & (camera == name)))
        write_whole(folder.merged(run, name), to_parquet(rows), leave_bytes)
    # Last: it says that the others are complete.
    write_whole(folder.merged(run, TICKS), to_parquet(table.filter(pa.array(ticks))), leave_bytes)


def _delete(folder: Folder, parts: list[Run]) -> None:
    for part in parts:
        folder.part(part).unlink(missing_ok=True)
    for parent in {folder.part(part).parent for part in parts}:
        _remove_empty(parent)


def _remove_empty(folder: Path) -> None:
    try:
        folder.rmdir()
    except OSError:
        return  # a new part came meanwhile, or it is gone already


@dataclass(frozen=True, slots=True)
class Size:
    """What the archive holds."""

    files: int
    bytes: int
    oldest_hour: str
    newest_hour: str


def size(folder: Folder) -> Size:
    """Of the whole archive. Looks at every file."""
    sizes = {path: length for _, path, length in _sized(folder)}
    hours = sorted(hour for hour, _ in folder.files() if hour)
    return Size(len(sizes), sum(sizes.values()), hours[0] if hours else "", hours[-1] if hours else "")


def by_camera(folder: Folder) -> dict[str, tuple[int, int]]:
    """Bytes and hours of each camera, by its name in the archive; ``ticks`` and ``parts`` belong to all of them."""
    held: dict[str, int] = defaultdict(int)
    hours: dict[str, set[str]] = defaultdict(set)
    for hour, path, length in _sized(folder):
        kind, name = path.relative_to(folder.root).parts[:2]
        whose = kind if kind == "parts" else name
        held[whose] += length
        hours[whose].add(hour)
    return {name: (held[name], len(hours[name])) for name in sorted(held)}


def prune(folder: Folder, now: datetime, *, days: float, most_bytes: int) -> tuple[int, int]:
    """Delete the oldest hours until none is older than ``days`` and all together are at most ``most_bytes``.

    The hour that is being written stays, and so does what is not ours. Returns how many files and bytes went.
    """
    hours: dict[str, list[tuple[Path, int]]] = defaultdict(list)
    for hour, path, length in _sized(folder):
        hours[hour].append((path, length))
    gone = _clear_half_written(hours.pop("", []), time.time())
    total = sum(length for files in hours.values() for _, length in files)
    oldest = hour_of(now - timedelta(days=days))
    for hour in sorted(hours):
        if (hour >= oldest and total <= most_bytes) or start_of(hour) + timedelta(hours=1) > now:
            break
        total -= sum(length for _, length in hours[hour])
        gone += _delete_hour(hours[hour])
    return len(gone), sum(gone)


def _sized(folder: Folder) -> Iterator[tuple[str, Path, int]]:
    for hour, path in folder.files():
        try:
            yield hour, path, path.stat().st_size
        except FileNotFoundError:
            continue  # merged away meanwhile


def _clear_half_written(files: list[tuple[Path, int]], now_s: float) -> list[int]:
    gone: list[int] = []
    for path, length in files:
        try:
            if path.name.startswith(".") and now_s - path.stat().st_mtime > HALF_WRITTEN_S:
                path.unlink()
                gone.append(length)
        except FileNotFoundError:
            continue  # finished meanwhile
    return gone


def _delete_hour(files: list[tuple[Path, int]]) -> list[int]:
    # The ticks first: without them what is left of the hour is nothing that anybody reads.
    for path, _ in sorted(files, key=lambda file: TICKS not in file[0].parts):
        path.unlink(missing_ok=True)
    for parent in {path.parent for path, _ in files}:
        _remove_empty(parent)
    return [length for _, length in files]
