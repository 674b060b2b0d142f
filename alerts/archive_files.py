"""Where the archive's files are, and how one comes to be: whole under its name, or not at all.

    parts/PARTITION/HOUR/LOG-FROM-UNTIL.parquet        what was stored lately, every camera of the partition
    hours/ticks/HOUR/PARTITION-LOG-FROM-UNTIL.parquet  the ticks; written last, so it says that its run is complete
    hours/CAMERA/HOUR/PARTITION-LOG-FROM-UNTIL.parquet one camera of that run
    pictures/CAMERA/HOUR.sqlite                        a small picture of each track

HOUR is that of the partition's own ticks (UTC), LOG names the log (offsets of another mean nothing), and [FROM, UNTIL)
are offsets. The same row may lie in two files for a while; whoever reads goes by offset, and takes it once.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

SUFFIX = ".parquet"
TICKS = "ticks"
_HOUR = "%Y-%m-%dT%H"


class ArchiveFull(OSError):
    """The disk has less room left than the archive must leave to the others."""


def hour_of(at: datetime) -> str:
    """The UTC hour of ``at`` as it is written in names.

    >>> hour_of(datetime(2026, 11, 21, 6, 59, tzinfo=UTC))
    '2026-11-21T06'
    """
    return at.astimezone(UTC).strftime(_HOUR)


def start_of(hour: str) -> datetime:
    """When ``hour`` began. Raises ``ValueError`` for what is no hour."""
    return datetime.strptime(hour, _HOUR).replace(tzinfo=UTC)


def log_name(identity: str) -> str:
    """A short name for the log called ``identity``."""
    return hashlib.sha256(identity.encode()).hexdigest()[:8]


@dataclass(frozen=True, slots=True)
class Run:
    """A stretch of one partition's log in one hour: offsets ``start`` to ``until``, this one not included."""

    hour: str
    partition: int
    log: str
    start: int
    until: int

    @property
    def part_name(self) -> str:
        """File name under ``parts/PARTITION/HOUR``."""
        return f"{self.log}-{self.start}-{self.until}{SUFFIX}"

    @property
    def hour_name(self) -> str:
        """File name under ``hours/CAMERA/HOUR``."""
        return f"{self.partition:02}-{self.part_name}"

    def within(self, other: Run) -> bool:
        """Whether every offset of ours is in ``other``."""
        same = (self.log, self.partition) == (other.log, other.partition)
        return same and other.start <= self.start and self.until <= other.until


@dataclass(frozen=True, slots=True)
class Folder:
    """The archive's folder."""

    root: Path

    def part(self, run: Run) -> Path:
        """Where the part of ``run`` is."""
        return self.root / "parts" / f"{run.partition:02}" / run.hour / run.part_name

    def merged(self, run: Run, camera: UUID | str) -> Path:
        """Where one camera's rows (or the ticks) of the merged ``run`` are."""
        return self.root / "hours" / str(camera) / run.hour / run.hour_name

    def pictures(self, camera: UUID, hour: str) -> Path:
        """Where the pictures of the camera's tracks of that hour are."""
        return self.root / "pictures" / str(camera) / f"{hour}.sqlite"

    def part_hours(self, partition: int) -> list[str]:
        """Hours in which ``partition`` has parts, in order."""
        return _names(self.root / "parts" / f"{partition:02}")

    def parts(self, partition: int, hour: str) -> list[Run]:
        """The parts of one hour."""
        names = _names(self.root / "parts" / f"{partition:02}" / hour)
        return [run for name in names if (run := _read(hour, partition, name)) is not None]

    def merged_hours(self) -> list[str]:
        """Hours of which something is merged, in order."""
        return _names(self.root / "hours" / TICKS)

    def merged_runs(self, partition: int, hour: str) -> list[Run]:
        """The runs of one hour that are merged completely."""
        mine = f"{partition:02}-"
        names = _names(self.root / "hours" / TICKS / hour)
        ours = (_read(hour, partition, name.removeprefix(mine)) for name in names if name.startswith(mine))
        return [run for run in ours if run is not None]

    def cameras(self) -> list[UUID]:
        """Cameras with a merged hour."""
        return [UUID(name) for name in _names(self.root / "hours") if name != TICKS]

    def partition_of(self, camera: UUID) -> int | None:
        """The partition of the camera's newest merged hour; None where it has none."""
        for hour in reversed(_names(self.root / "hours" / str(camera))):
            for name in _names(self.root / "hours" / str(camera) / hour):
                return int(name.partition("-")[0])
        return None

    def files(self) -> Iterator[tuple[str, Path]]:
        """Every file with its hour; what is half written, or not ours, has no hour (an empty text)."""
        for path in self.root.glob("*/**/*"):
            if path.is_file():
                yield _hour_in(path), path


def _names(folder: Path) -> list[str]:
    try:
        return sorted(entry.name for entry in os.scandir(folder) if not entry.name.startswith("."))
    except FileNotFoundError:
        return []


def _read(hour: str, partition: int, name: str) -> Run | None:
    log, _, rest = name.removesuffix(SUFFIX).partition("-")
    start, _, until = rest.partition("-")
    if not name.endswith(SUFFIX) or not (start.isdecimal() and until.isdecimal()):
        return None
    return Run(hour, partition, log, int(start), int(until))


def _hour_in(path: Path) -> str:
    if path.name.startswith("."):
        return ""
    # What SQLite leaves beside a file when it is killed (HOUR.sqlite-journal) goes with its hour.
    name, of_pictures, _ = path.name.partition(".sqlite")
    hour = name if of_pictures else path.parent.name
    try:
        start_of(hour)
    except ValueError:
        return ""
    return hour


def write_whole(path: Path, content: bytes, leave_bytes: int = 0) -> None:
    """Write ``content`` under its name when it is on the disk, whole. Raises ``OSError``, and leaves nothing then.

    ``leave_bytes`` of the disk stay free for others: ``ArchiveFull`` is raised before that.
    """
    _make(path.parent)
    free = shutil.disk_usage(path.parent).free
    if free - len(content) < leave_bytes:
        raise ArchiveFull(
            f"archive: expected {leave_bytes / 1e6:.0f} MB left free on the disk, got {free / 1e6:.0f} MB; "
            "make room, or keep fewer days"
        )
    half = path.with_name(f".{path.name}.{os.getpid()}-{os.urandom(4).hex()}")
    try:
        with half.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if half.stat().st_size != len(content):
            raise OSError(f"{path.name}: expected {len(content)} bytes on disk, got {half.stat().st_size}")
        half.replace(path)
    finally:
        half.unlink(missing_ok=True)
    sync(path.parent)


def _make(folder: Path) -> None:
    if not folder.is_dir():
        _make(folder.parent)
        folder.mkdir(exist_ok=True)
        sync(folder.parent)


def sync(folder: Path) -> None:
    """Make the names in ``folder`` as durable as their files."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def hours_between(from_at: datetime, until_at: datetime) -> list[str]:
    """The hours that may hold what was taken in [from, until): pictures come late, clocks are a little off."""
    hour = start_of(hour_of(from_at)) - timedelta(hours=1)
    found: list[str] = []
    while hour < until_at + timedelta(hours=1):
        found.append(hour_of(hour))
        hour += timedelta(hours=1)
    return found
