"""Where people walked: the archived tracks of one camera as lines, thinned for a drawing."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from uuid import UUID

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


def walked(camera: UUID, until_at: datetime, span: timedelta, *, family_of: str = "person") -> list[Line]:
    """Bottom centres of ``family_of``'s tracks, fractions of the picture, oldest first. Raises ``OSError``."""
    return lines(Archive(archive_root()).read(Query(camera, until_at - span, until_at)), family_of)


def lines(batches: Iterable[Batch], family_of: str) -> list[Line]:
    """The lines of those tracks in ``batches``; one that only stood is left out. Pure."""
    found: dict[tuple[object, ...], Line] = {}
    for batch in batches:
        for row in batch.rows:
            for track in row.tracks or ():
                if family(track.label) == family_of:
                    key = (getattr(row.observation, "deployment", None), track.number, track.first)
                    _add(found.setdefault(key, []), bottom_centre(track.xyxy))
    return [line for line in found.values() if len(line) > 1][-MOST_LINES:]


def _add(line: Line, point: tuple[float, float]) -> None:
    x, y = point
    if not line or abs(x - line[-1][0]) + abs(y - line[-1][1]) >= APART:
        line.append((round(x, 4), round(y, 4)))
