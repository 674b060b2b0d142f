"""The weeks ahead of a rota, drawn as one strip: who has which part of it, and where nobody would be told."""

from __future__ import annotations

from dataclasses import dataclass

from alerts.duty import Outlook, Shift

SHADES = 4
"""Greys that people are told apart by; the names stand in the list."""


@dataclass(frozen=True, slots=True)
class Part:
    """A shift with its place on a strip that is 100 wide. ``shade``: 0 to ``SHADES`` - 1, the same for one person."""

    shift: Shift
    x: float
    width: float
    shade: int


@dataclass(frozen=True, slots=True)
class Drawn:
    """A rota's outlook with its strip."""

    outlook: Outlook
    parts: tuple[Part, ...]
    weeks: tuple[float, ...]
    """Where a week of the strip begins, the first left out."""


def drawn(outlook: Outlook) -> Drawn:
    """``outlook`` as a strip from now to its end."""
    begin, end = outlook.shifts[0].from_at, outlook.shifts[-1].until_at
    whole_s = (end - begin).total_seconds()
    people = list(dict.fromkeys(one.recipient.pk for one in outlook.shifts if one.recipient))

    def part(shift: Shift) -> Part:
        x = (shift.from_at - begin).total_seconds() / whole_s * 100
        width = (shift.until_at - shift.from_at).total_seconds() / whole_s * 100
        return Part(shift, x, width, people.index(shift.recipient.pk) % SHADES if shift.recipient else 0)

    weeks = int(whole_s // (7 * 86_400))
    marks = tuple(number * 7 * 86_400 / whole_s * 100 for number in range(1, weeks + 1))
    return Drawn(outlook, tuple(map(part, outlook.shifts)), tuple(mark for mark in marks if mark < 100))
