"""The life of an incident as one table: from where, by what, to where, and what must be given with it. Pure.

Nothing moves an incident but a row of this table, and no row is the engine's: it opens incidents, people move them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal
from uuid import UUID

State = Literal["open", "acknowledged", "resolved"]
Action = Literal["acknowledge", "resolve", "reopen"]

OPEN: State = "open"
ACKNOWLEDGED: State = "acknowledged"
RESOLVED: State = "resolved"

PEOPLE = frozenset({"screen", "api", "link", "sms"})
"""Through what people, and programs in their name, reach an incident."""
ENGINE = "engine"
"""What happened by itself: opened by an event, muted, told."""
THROUGH = PEOPLE | {ENGINE}


@dataclass(frozen=True, slots=True)
class Step:
    """One way on. ``needs`` names what must be given with it."""

    action: Action
    before: frozenset[State]
    after: State
    needs: frozenset[str] = frozenset()


TABLE: tuple[Step, ...] = (
    Step("acknowledge", frozenset({OPEN}), ACKNOWLEDGED),
    Step("resolve", frozenset({OPEN, ACKNOWLEDGED}), RESOLVED, needs=frozenset({"disposition"})),
    Step("reopen", frozenset({RESOLVED}), OPEN, needs=frozenset({"note"})),
)
"""Every transition there is, after the opening."""

STEPS: Mapping[Action, Step] = {step.action: step for step in TABLE}

UNRESOLVED: frozenset[State] = frozenset({OPEN, ACKNOWLEDGED})
"""In which owner and severity may still change. A note may be added in any."""


class IllegalTransition(ValueError):
    """An incident cannot go from where it is to where it was asked to."""

    def __init__(self, uid: UUID, before: str, after: str) -> None:
        allowed = ", ".join(sorted(following(before))) or "nothing"
        super().__init__(
            f"incident {uid}: it is {before}, from where it can become {allowed}, not {after}; reload it first"
        )
        self.before, self.after = before, after


def following(before: str) -> frozenset[State]:
    """The states that can follow ``before``.

    >>> sorted(following("open")), sorted(following("resolved"))
    (['acknowledged', 'resolved'], ['open'])
    """
    return frozenset(step.after for step in TABLE if before in step.before)


def check_given(step: Step, given: Iterable[str], through: str) -> None:
    """Raises ``ValueError`` when something that ``step`` needs is missing, or when no person takes it."""
    missing = sorted(step.needs - set(given))
    if missing:
        raise ValueError(f"{step.action}: expected {' and '.join(missing)}, got none; give it")
    if through not in PEOPLE:
        raise ValueError(
            f"{step.action}: expected one of {', '.join(sorted(PEOPLE))} as through, got {through!r}; "
            f"no incident moves by itself"
        )
