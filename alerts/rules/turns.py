"""Turns: by which line a track came in and by which one it went out. Pure.

Each crossing of a track is the beginning or the end of a movement, in turn: the first line that it crosses is where it
came in, the next where it went out, the one after that another beginning. The same line both times is a U-turn, where
the second crossing goes the other way. Which way a line's arrow points does not matter.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from alerts.rules.config import EmbeddedZone, Point
from alerts.rules.following import distance
from alerts.rules.lines import Line, LineConfig, Mark, Walk, Way
from alerts.rules.logic import Direction


class Turning(Walk):
    """A walk with regard to all lines of the rule."""

    marks: dict[str, Mark] = msgspec.field(default_factory=dict)
    """By the other lines' uid."""
    entry: tuple[str, Direction] | None = None
    """The line by which it came in, and which way; None: its next crossing is a beginning."""
    turned: list[str] = msgspec.field(default_factory=list)
    """Lines by which it went out, having come in by ours; not counted, because it is not confirmed yet."""


class Turns:
    """Notices the movements that begin at one line."""

    def __init__(self, zone: EmbeddedZone, others: Iterable[EmbeddedZone], config: LineConfig) -> None:
        self._own = str(zone.uid)
        self._others = {str(other.uid): Line(other, config) for other in others}
        if not self._others:
            raise ValueError(
                f"zone {zone.name!r}: expected another line to turn to, got none; choose two lines or more"
            )

    @property
    def exits(self) -> list[str]:
        """Where a movement that began here may end, ourselves last."""
        return [*self._others, self._own]

    @staticmethod
    def forget(stay: Turning) -> None:
        """Whatever it crossed meanwhile was not seen: its movement has no end."""
        stay.entry = None
        for mark in stay.marks.values():
            Line.forget(mark)

    def advance(self, stay: Turning, own: Way | None, here: Point, aspect: float) -> None:
        """``stay`` is ``here`` now, and ``own`` is its crossing of our line that this completed."""
        crossed = [] if own is None else [(_since(stay, here, aspect), self._own, own.direction)]
        for uid, line in self._others.items():
            mark = stay.marks.setdefault(uid, Mark())
            if way := line.advance(mark, here, aspect):
                crossed.append((_since(mark, here, aspect), uid, way.direction))
        # Of two lines in one step it crossed the farther one first.
        for _far, uid, direction in sorted(crossed, reverse=True):
            self._pass(stay, uid, direction)

    def _pass(self, stay: Turning, uid: str, direction: Direction) -> None:
        came, crossing = stay.entry, (uid, direction)
        if came is None or came == crossing:
            # The same line the same way twice: nobody saw how it came back.
            stay.entry = crossing
            return
        stay.entry = None
        if came[0] == self._own:
            stay.turned = [*stay.turned, uid]


def _since(mark: Mark | Turning, here: Point, aspect: float) -> float:
    return 0.0 if mark.cut is None else distance(mark.cut, here, aspect)
