"""A camera that loses power says nothing more: what it said last is believed for a moment, then its time is unknown."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from alerts.engine import WORD_HOLDS_US
from streams.observations import Observation
from tests.alerts.actors import film, goes, told
from tests.alerts.histories import seen, source, stays, tick, walker

IN_AND_STAY = film(5, goes((0, 0.2, 0.6), (3, 0.6, 0.6), (5, 0.6, 0.6)))
CROWD = film(5, *(goes((0, 0.42 + 0.09 * i, 0.4), (5, 0.42 + 0.09 * i, 0.4), size=(0.04, 0.15)) for i in range(4)))
CAR = film(8, goes((0, 0.1, 0.6), (5, 0.6, 0.6), (8, 0.6, 0.6), label="car", size=(0.12, 0.1)))
BAG = ((0.58, 0.55, 0.62, 0.6), 0.8, "appeared-object")
OWNER = [seen(i / 2, walker(0.2 + 0.065 * i)) for i in range(12)] + [seen(6 + i / 2) for i in range(28)]
LEFT = [*OWNER, *(seen(20 + i / 2, BAG) for i in range(4))]
HOUR_S = 3600

TIMED: list[tuple[str, list[Any], dict[str, Any]]] = [
    ("absence", film(5), {"hold_s": 60.0}),
    ("presence", IN_AND_STAY, {"hold_s": 60.0}),
    ("dwell", IN_AND_STAY, {"hold_s": 60.0}),
    ("crowd", CROWD, {"count": 4, "hold_s": 60.0}),
    ("stopped", CAR, {"hold_s": 60.0}),
    ("left", LEFT, {"hold_s": 60, "away_s": 10}),
]
KINDS = pytest.mark.parametrize(("kind", "begin", "settings"), TIMED, ids=[kind for kind, _, _ in TIMED])


def end_of(begin: list[Any]) -> float:
    """Its last picture's second."""
    return (begin[-1].sequence) / 10


def after_the_cut() -> list[Observation]:
    """An hour later capture is connected anew."""
    word = msgspec.structs.replace(source(HOUR_S, "active", sequence=0), session=2)
    return [word, *(msgspec.structs.replace(one, session=2) for one in film(HOUR_S + 5, start_s=HOUR_S))]


@KINDS
def test_what_is_quiet_for_long_enough_fires(kind: str, begin: list[Any], settings: dict[str, Any]) -> None:
    assert len(told(kind, [*begin, *stays("quiet", end_of(begin), 100)], **settings)) == 1


@KINDS
@pytest.mark.parametrize("ticks", [False, True], ids=["without the evaluator", "with it"])
def test_an_hour_without_a_word_fires_nothing(
    kind: str, begin: list[Any], settings: dict[str, Any], ticks: bool
) -> None:
    end_s = end_of(begin)
    hour = [tick(second) for second in range(int(end_s) + 1, HOUR_S, 5)] if ticks else []
    history = [*begin, source(end_s, "quiet", since=end_s), *hour, *after_the_cut()]
    assert told(kind, history, **settings) == []


def test_a_word_is_believed_for_a_moment_and_no_longer() -> None:
    believed_s = WORD_HOLDS_US / 1e6
    begin = [*film(5), source(4.8, "quiet", since=4.8), *(tick(second) for second in range(5, 400))]
    [event] = told("absence", begin, hold_s=believed_s)
    assert {fact.name: fact.value for fact in event.facts}["empty"] == pytest.approx(believed_s, abs=1.0)
    assert told("absence", begin, hold_s=believed_s + 6) == []


def test_minutes_before_and_after_a_silence_add_up_without_it() -> None:
    before, after = stays("quiet", 4.8, 40), stays("quiet", 504.8, 560, sequence=48)
    silence = [tick(second) for second in range(40, 500)]
    [event] = told("absence", [*film(5), *before, *silence, seen(504.8), *after], hold_s=90.0)
    assert {fact.name: fact.value for fact in event.facts}["empty"] == pytest.approx(90.0, abs=1.0)
    assert event.happened_at > seen(520).captured_at
