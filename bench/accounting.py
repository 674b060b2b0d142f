"""What became of each alert, told from what the provider was given and who was killed when. Pure.

An alert is *lost* when the provider never got it. A second message about it is a *duplicate*: *ambiguous* when nobody
can have known that the first one arrived (whoever sent it was killed before it could record the answer, or no answer
came), *definite* otherwise; and every one beyond the second is definite, as a doubt excuses one repetition. Times are
seconds since 1970.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

Alert = tuple[str, str]
"""Camera and zone, as appended to the log; each makes one incident."""


@dataclass(frozen=True, slots=True)
class Handed:
    """One message that the provider took, at the moment of its first byte."""

    alert: Alert
    at_s: float


@dataclass(frozen=True, slots=True)
class Attempt:
    """One delivery row that was sent once more: which process had it, and whether it says that no answer came."""

    alert: Alert
    owner: int
    unanswered: bool


@dataclass(frozen=True, slots=True)
class Kill:
    """One kill: which part, and the numbers of all processes that ended with it."""

    part: str
    at_s: float
    pids: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Outage:
    """From a kill until every part has beaten since."""

    from_s: float
    until_s: float


def lost(expected: Iterable[Alert], handed: Iterable[Handed]) -> list[Alert]:
    """Those that the provider never got, in order."""
    return sorted(set(expected) - {message.alert for message in handed})


def first_at(handed: Iterable[Handed]) -> dict[Alert, float]:
    """When the provider first got each."""
    first: dict[Alert, float] = {}
    for message in handed:
        first[message.alert] = min(message.at_s, first.get(message.alert, message.at_s))
    return first


def duplicates(
    handed: Iterable[Handed], repeated: Iterable[Attempt], kills: Collection[Kill]
) -> tuple[list[Alert], list[Alert]]:
    """The definite and the ambiguous ones: an alert once for each message too many."""
    times: dict[Alert, list[float]] = defaultdict(list)
    for message in handed:
        times[message.alert].append(message.at_s)
    doubtful = {
        attempt.alert for attempt in repeated if _in_doubt(attempt, min(times[attempt.alert], default=0), kills)
    }
    definite: list[Alert] = []
    ambiguous: list[Alert] = []
    for alert, moments in sorted(times.items()):
        surplus = len(moments) - 1
        excused = min(surplus, 1) if alert in doubtful else 0
        ambiguous += [alert] * excused
        definite += [alert] * (surplus - excused)
    return definite, ambiguous


def _in_doubt(attempt: Attempt, arrived_s: float, kills: Iterable[Kill]) -> bool:
    return attempt.unanswered or any(attempt.owner in kill.pids and kill.at_s >= arrived_s for kill in kills)


def delays(happened: Mapping[Alert, float], handed: Iterable[Handed]) -> dict[Alert, tuple[float, float]]:
    """From when to when each alert was on its way: the picture that fired, and the provider's first byte."""
    first = first_at(handed)
    return {alert: (at_s, first[alert]) for alert, at_s in happened.items() if alert in first}


def undisturbed(ways: Iterable[tuple[float, float]], outages: Sequence[Outage]) -> list[float]:
    """Seconds of each that was on its way in no outage, sorted."""
    return sorted(
        until_s - from_s
        for from_s, until_s in ways
        if not any(outage.from_s <= until_s and from_s <= outage.until_s for outage in outages)
    )


def most_within(moments: Iterable[float], span_s: float) -> int:
    """The most of ``moments`` that lie within any ``span_s``, its end not counted.

    >>> most_within([0.0, 59.9, 60.0, 61.0], 60.0)
    3
    """
    ordered = sorted(moments)
    most, begin = 0, 0
    for end, moment in enumerate(ordered):
        while moment - ordered[begin] >= span_s:
            begin += 1
        most = max(most, end - begin + 1)
    return most
