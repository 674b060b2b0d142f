"""What a rule's logic is to the engine: a state machine that never sleeps and asks to be woken. Pure."""

from __future__ import annotations

from typing import Any, Protocol

import msgspec

from alerts.events import Fact
from alerts.rules.config import EmbeddedZone, Point
from detectors.tracking import Track


def elapsed_s(from_s: float, until_s: float) -> float:
    """The time between two POSIX times, to the millisecond.

    A float of POSIX seconds is good to a quarter of a microsecond, and differently from hour to hour; compared with a
    bound it would make the same history fire at noon and not at one. No camera's clock is better than a millisecond.
    """
    return round(until_s - from_s, 3)


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """One analysed picture of one camera, tracked. ``at_s`` is ``captured_at`` as POSIX seconds.

    ``aspect`` is width / height of the source, so that distances come out in picture heights.
    """

    at_s: float
    session: int
    sequence: int
    tracks: list[Track]
    aspect: float


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


class Shortfall(msgspec.Struct, frozen=True, kw_only=True):
    """What a logic lacks to fire: of ``bound`` (a key, as a Fact's name) it wants ``wanted`` and has got ``got``.

    ``setting`` is the one field of the config that would have to be ``proposed`` for this to be enough; empty: none.
    A kind that can say so has ``explain(at_s: float) -> list[Shortfall]``: of what came nearest, empty when nothing is
    there at all. It changes nothing.
    """

    bound: str
    wanted: float | str
    got: float | str
    setting: str = ""
    proposed: Any = None


class Logic(Protocol):
    """One rule version on one zone. All calls come in the order of time; none blocks or looks at a clock."""

    def on_detections(self, seen: Seen) -> list[Firing]:
        """One more picture was analysed."""

    def on_unchanged(self, until_s: float) -> list[Firing]:
        """Until ``until_s`` the camera saw that nothing changed: what was last seen is still so."""

    def on_blind(self, from_s: float, until_s: float) -> None:
        """Between the two nothing is known: it neither fires nor counts."""

    @property
    def wake_at_s(self) -> float | None:
        """The earliest time at which ``on_unchanged`` could fire; None: not before the next picture."""

    def snapshot(self) -> Any:
        """The whole state as plain types; ``build(zone, snapshot)`` goes on from it exactly."""


class Buildable(Protocol):
    """A kind's config as the engine uses it."""

    def build(self, zone: EmbeddedZone, state: Any | None) -> Logic:
        """Fresh logic, or the logic that gave the snapshot ``state``."""
