"""What a rule's logic is to the engine: a state machine that never sleeps and asks to be woken. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal, Protocol, runtime_checkable
from uuid import UUID

import msgspec

from alerts.events import Fact
from alerts.rules.config import EmbeddedZone, Point
from detectors.tracking import Track
from streams.observations import Measurement, SourceState

NO_TRACK = -1
"""``Firing.track`` of what no object did."""


def elapsed_s(from_s: float, until_s: float) -> float:
    """The time between two POSIX times, to the millisecond.

    A float of POSIX seconds is good to a quarter of a microsecond, and differently from hour to hour; compared with a
    bound it would make the same history fire at noon and not at one. No camera's clock is better than a millisecond.
    """
    return round(until_s - from_s, 3)


def is_over(from_s: float, until_s: float, bound_s: float) -> bool:
    """``elapsed_s`` is more than ``bound_s``; the rounding, which is slow, is done only where it could matter."""
    passed_s = until_s - from_s
    return passed_s > bound_s - 0.001 and elapsed_s(from_s, until_s) > bound_s


def lasted(from_s: float, until_s: float, bound_s: float) -> bool:
    """``elapsed_s`` is ``bound_s`` or more."""
    passed_s = until_s - from_s
    return passed_s > bound_s - 0.001 and elapsed_s(from_s, until_s) >= bound_s


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """One analysed picture of one camera, tracked. ``at_s`` is ``captured_at`` as POSIX seconds.

    ``aspect`` is width / height of the source, so that distances come out in picture heights. ``excluded`` are the
    numbers of tracks that are on the picture but stand in an exclusion zone; they are not in ``tracks``.
    """

    at_s: float
    session: int
    sequence: int
    tracks: list[Track]
    aspect: float
    excluded: frozenset[int] = frozenset()


class Firing(msgspec.Struct, frozen=True, kw_only=True):
    """The logic says: it happened. ``first`` names the track's first confirmed frame, ``n`` counts within it."""

    at_s: float
    session: int
    sequence: int
    first: tuple[int, int]
    n: int
    track: int
    label: str
    facts: list[Fact]
    path: list[Point]


Direction = Literal["forward", "backward"]
"""Over a directed line: with its arrow, or against it."""


class Counted(msgspec.Struct, frozen=True, kw_only=True):
    """One number of a series: ``count`` objects of ``label`` went over the line within [from_s, until_s).

    Of a turn: they came in by this line and went out by ``to_zone``, which is this one again of a U-turn.

    ``seen_s`` is how much of that time was watched; an interval in which nothing was seen gives no number at all.
    ``at_s`` is when the interval was closed.
    """

    at_s: float
    from_s: float
    until_s: float
    seen_s: float
    direction: Direction | Literal["turn"]
    label: str
    count: int
    to_zone: UUID | None = None


Found = Firing | Counted


class Shortfall(msgspec.Struct, frozen=True, kw_only=True):
    """What a logic lacks to fire: of ``bound`` (a key, as a Fact's name) it wants ``wanted`` and has got ``got``.

    ``setting`` is the one field of the config that would have to be ``proposed`` for this to be enough; empty: none.
    Of a field that is a table only what stands at ``term`` would.
    A kind that can say so has ``explain(at_s: float) -> list[Shortfall]``: of what came nearest, empty when nothing is
    there at all. It changes nothing.
    """

    bound: str
    wanted: float | str
    got: float | str
    setting: str = ""
    proposed: Any = None
    term: str = ""


def short(bound: str, wanted: float, got: float, setting: str) -> Shortfall:
    """``got`` was less than ``wanted``; with ``setting`` lowered to it, it would have been enough."""
    return Shortfall(bound=bound, wanted=wanted, got=got, setting=setting, proposed=got)


def tenths(value: float) -> float:
    """A time rounded down, so that a setting lowered to it is reached."""
    return math.floor(value * 10) / 10


def hundredths(value: float) -> float:
    """The same for scores."""
    return math.floor(value * 100) / 100


def thousandths(value: float) -> float:
    """The same for lengths."""
    return math.floor(value * 1000) / 1000


class Logic(Protocol):
    """One rule version on one zone. All calls come in the order of time; none blocks or looks at a clock.

    Logic may have more methods, which the engine calls where they are there (``Measures``, ``Watches``, ``Counts``).
    """

    def on_detections(self, seen: Seen) -> Sequence[Found]:
        """One more picture was analysed."""

    def on_unchanged(self, until_s: float) -> Sequence[Found]:
        """Until ``until_s`` the camera saw that nothing changed: what was last seen is still so."""

    def on_blind(self, from_s: float, until_s: float) -> None:
        """Between the two nothing is known: it neither fires nor counts."""

    @property
    def wake_at_s(self) -> float | None:
        """The earliest time at which ``on_unchanged`` could fire; None: not before the next picture."""

    def snapshot(self) -> Any:
        """The whole state as plain types; ``build(zone, snapshot)`` goes on from it exactly."""


@runtime_checkable
class Sleeper(Protocol):
    """Logic that wants to be told of time outside its schedule; other logic is simply not called then."""

    def on_asleep(self, until_s: float) -> Sequence[Found]:
        """Up to ``until_s`` nothing was asked of it: that time neither fires nor counts, and it starts anew.

        What it returns is about the time before.
        """


@runtime_checkable
class Ender(Protocol):
    """Logic that has begun something which must not be lost when its version ends."""

    def on_ended(self) -> Sequence[Found]:
        """Nothing will be asked of it any more; may be called again. What it returns is about the time before."""


@runtime_checkable
class Measures(Protocol):
    """Logic that also reads numbers."""

    def on_measurement(self, measured: Measurement) -> list[Firing]:
        """A number about the camera or this zone. One may come again, and late: by its ``at`` they are told apart."""


@runtime_checkable
class Watches(Protocol):
    """Logic that also listens to what capture says of the source."""

    def on_source(self, source: SourceState) -> list[Firing]:
        """Said on every change and every 10 s; never older than the one before."""


@runtime_checkable
class Counts(Protocol):
    """Logic that counts the log's own time, whatever the camera sees."""

    def on_time(self, now_s: float) -> list[Firing]:
        """A tick, about once a second."""


class Buildable(Protocol):
    """A kind's config as the engine uses it."""

    def build(self, zone: EmbeddedZone, state: Any | None) -> Logic:
        """Fresh logic, or the logic that gave the snapshot ``state``."""


@runtime_checkable
class BuildableBeside(Protocol):
    """A kind's config whose logic for one zone also looks at the rule's other zones on that camera."""

    def build_beside(self, zone: EmbeddedZone, others: Sequence[EmbeddedZone], state: Any | None) -> Logic:
        """As ``build``."""
