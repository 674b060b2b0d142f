"""A yard that benchmarks of the way from the log to the phone share: cameras that are only observations, and people.

Everything from the log on is real and runs as its own process; what cameras and detectors would say is appended to
``observations`` as ``detect`` appends it.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

from bench.accounting import Alert, Handed
from detectors.detections import Detections
from streams.log import Log, LogError, Producer, open_log
from streams.observations import Detections as Seen
from streams.observations import encode_observation
from streams.topics import OBSERVATIONS, partition_of
from tests.services.installation import Installation
from tests.services.postgres import Postgres, binaries
from tests.services.twilio import Arrived, FakeTwilio

SESSION = 1
NAMED = re.compile(r"\b(k\d\d)\b.*\b(C\d{3})\b", re.DOTALL)
"""A message names the zone and, after it, the camera."""
REMINDS = "Still unacknowledged"
CELERY = ("-m", "celery", "-A", "monitor", "--skip-checks", "worker", "--queues", "critical,ordinary,jobs")
QUIET = ("--without-gossip", "--without-mingle", "--loglevel", "WARNING")

Box = tuple[float, float, float, float]


def worker(pool: str, slots: int, name: str) -> tuple[str, ...]:
    """Python's arguments for a Celery worker."""
    return (*CELERY, "--pool", pool, "--concurrency", str(slots), "--hostname", f"{name}@%h", *QUIET)


class Database:
    """Reads, and one table of its own to write to, beside everybody who works with it."""

    def __init__(self, url: str, path: Path) -> None:
        self._postgres = bool(url)
        if url:
            import psycopg

            self._connection: Any = psycopg.connect(url, autocommit=True)
        else:
            self._connection = sqlite3.connect(path, timeout=20, isolation_level=None, check_same_thread=False)
            self._connection.execute("PRAGMA synchronous=FULL")

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """The answer to ``query``."""
        return list(self._connection.execute(query).fetchall())

    def prepare_writing(self) -> None:
        """Make the table that ``write_s`` writes to."""
        self._connection.execute("CREATE TABLE bench_probe (id INTEGER PRIMARY KEY, n INTEGER NOT NULL)")
        self._connection.execute("INSERT INTO bench_probe VALUES (1, 0)")

    def write_s(self) -> float:
        """How long one small transaction takes: to its turn, and to the disk."""
        began_s = time.monotonic()
        self._connection.execute("BEGIN" if self._postgres else "BEGIN IMMEDIATE")
        self._connection.execute("UPDATE bench_probe SET n = n + 1 WHERE id = 1")
        self._connection.execute("COMMIT")
        return time.monotonic() - began_s

    def close(self) -> None:
        self._connection.close()


class Yard:
    """An installation of its own, seeded, with a loopback Twilio and a producer for what its cameras see."""

    def __init__(self, installation: Installation, twilio: FakeTwilio, where: Place, seed: dict[str, Any]) -> None:
        self.installation, self.twilio, self.server = installation, twilio, where.server
        seeded = installation.seed("yard", **seed)
        self.cameras: list[dict[str, Any]] = seeded["cameras"]
        self.side: int = seed["side"]
        self.database = Database(where.database_url, installation.instance.data / "poliscope.sqlite3")
        self.log: Log = open_log(installation.addresses, name="bench")
        self._deployment = UUID(seeded["deployment"])
        self._producer: Producer = self.log.producer()
        self._sequence = [0] * len(self.cameras)

    def show(self, camera: int, boxes: Sequence[Box]) -> None:
        """Append what ``detect`` says of a picture with a person in each of ``boxes``, taken now."""
        given = self.cameras[camera]
        self._sequence[camera] += 1
        arrays = Detections.of([(box, 0.9, "person") for box in boxes])
        seen = Seen(
            camera=UUID(given["uid"]),
            deployment=self._deployment,
            session=SESSION,
            sequence=self._sequence[camera],
            captured_at=datetime.now(UTC),
            view=UUID(given["view"]),
            model="bench",
            source_wh=(640, 360),
            xyxy=arrays.xyxy.tobytes(),
            score=arrays.score.tobytes(),
            label=list(arrays.label),
        )
        if not self._producer.append(OBSERVATIONS.name, partition_of(given["slot"]), encode_observation(seen)):
            raise LogError("bench: expected room in the producer's queue, got none; give the log's server more time")

    def flush(self) -> None:
        """Wait until the log has everything. Raises ``LogError``."""
        if not self._producer.flush(60):
            raise LogError("bench: the log did not take everything within 60 s")

    def handed(self) -> list[Handed]:
        """Every message that the provider took, but for reminders."""
        return [
            Handed(named(message), message.at.timestamp()) for message in self.twilio.messages if not reminds(message)
        ]

    def close(self) -> None:
        self._producer.close(1.0)
        self.log.close()
        self.database.close()


def named(message: Arrived) -> Alert:
    """Which camera and zone a message is about. Raises ``ValueError``."""
    found = NAMED.search(message.body)
    if found is None:
        raise ValueError(f"a message: expected a zone and a camera of the yard in it, got {message.body!r}")
    return found[2], found[1]


def reminds(message: Arrived) -> bool:
    """Whether it says again what was said."""
    return message.body.startswith(REMINDS)


def seconds(moment: Any) -> float:
    """A database's moment, in UTC, as seconds since 1970."""
    at = datetime.fromisoformat(moment) if isinstance(moment, str) else moment
    return float((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp())


def stand(side: int, place: int, along: float) -> Box:
    """Somebody in one of ``side`` × ``side`` parts of the picture; ``along`` (0–1) from its left to its right."""
    row, column = divmod(place, side)
    cell = 1 / side
    x, feet = (column + 0.3 + 0.4 * along) * cell, (row + 0.8) * cell
    return x - 0.12 * cell, feet - 0.5 * cell, x + 0.12 * cell, feet


@dataclass(frozen=True, slots=True)
class Place:
    """Where a yard's installation is made: a folder, and the database's server (None: SQLite in that folder)."""

    folder: Path
    server: Postgres | None = None

    @property
    def database_url(self) -> str:
        """Empty: SQLite."""
        return self.server.url if self.server else ""


@contextlib.contextmanager
def place(postgres: bool) -> Iterator[Place]:
    """A temporary folder and, if asked for, a PostgreSQL server of its own. Raises ``FileNotFoundError``."""
    folder = Path(tempfile.mkdtemp(prefix="poliscope-bench-"))
    server: Postgres | None = None
    try:
        if postgres:
            programs = binaries()
            if programs is None:
                raise FileNotFoundError("PostgreSQL: expected it in /usr/lib/postgresql; apt-get install postgresql")
            (folder / "postgres").mkdir()
            folder.chmod(0o755)
            server = Postgres(folder / "postgres", programs)
            server.start()
        (folder / "data").mkdir()
        yield Place(folder / "data", server)
    finally:
        if server is not None:
            server.stop()
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def open_yard(postgres: bool, environment: dict[str, str], **seed: Any) -> Iterator[Yard]:
    """A seeded yard, all of which ends with the context."""
    twilio = FakeTwilio()
    with place(postgres) as where:
        more = {**twilio.environment, **environment}
        if where.database_url:
            more["DATABASE_URL"] = where.database_url
        installation = Installation(where.folder, **more)
        try:
            yard = Yard(installation, twilio, where, seed)
            yield yard
            yard.close()
        finally:
            installation.close()
            twilio.stop()
