"""Where people walked and vehicles drove: the archived tracks of one camera as lines, thinned for a drawing."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from uuid import UUID

import msgspec

from alerts.archive import Archive, Query
from alerts.archive_rows import Batch
from alerts.rehearsals import archive_root
from alerts.zones import bottom_centre
from detectors.labels import family

Line = list[tuple[float, float]]

APART = 0.01
"""Of the picture: a point nearer to the last one changes no drawing."""
MOST_LINES = 400
"""The newest; with more, nobody sees a line among them."""


class Walked(msgspec.Struct, frozen=True):
    """Bottom centres of tracks, fractions of the picture, oldest first; who only stood has none."""

    people: list[Line] = msgspec.field(default_factory=list)
    others: list[Line] = msgspec.field(default_factory=list)


def walked(camera: UUID, until_at: datetime, span: timedelta) -> Walked:
    """The tracks of ``camera`` in the ``span`` before ``until_at``. Raises ``OSError``."""
    return lines(Archive(archive_root()).read(Query(camera, until_at - span, until_at)))


def lines(batches: Iterable[Batch]) -> Walked:
    """The lines of the tracks in ``batches``. Pure."""
    found: dict[tuple[object, ...], Line] = {}
    people: set[tuple[object, ...]] = set()
    for batch in batches:
        for row in batch.rows:
            for track in row.tracks or ():
                key = (getattr(row.observation, "deployment", None), track.number, track.first)
                _add(found.setdefault(key, []), bottom_centre(track.xyxy))
                if family(track.label) == "person":
                    people.add(key)
    newest = [(key, line) for key, line in found.items() if len(line) > 1][-MOST_LINES:]
    return Walked([line for key, line in newest if key in people], [line for key, line in newest if key not in people])


def _add(line: Line, point: tuple[float, float]) -> None:
    x, y = point
    if not line or abs(x - line[-1][0]) + abs(y - line[-1][1]) >= APART:
        line.append((round(x, 4), round(y, 4)))
