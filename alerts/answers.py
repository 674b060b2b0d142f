"""What somebody means who answers an SMS, and what follows from it. Pure.

The number that an answer comes from can be forged by anybody, so an answer can acknowledge, and say whether more is to
come to that number, and nothing else.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Generic, TypeVar

T = TypeVar("T")

CODES = tuple(str(number) for number in range(10, 100))

KEPT = timedelta(days=1)
"""So long a code goes on standing for what it was last said of: as a link, a message can be answered for a day."""


class Outcome(StrEnum):
    """What an answer leads to."""

    ACKNOWLEDGED = "acknowledged"
    NO_SUCH_CODE = "no_such_code"
    WHICH = "which"
    """More than one alert is open, and the answer does not say which."""
    NOTHING_OPEN = "nothing_open"
    UNCLEAR = "unclear"
    STRANGER = "stranger"
    """The number is nobody's contact: it is told nothing."""
    UNSUBSCRIBED = "unsubscribed"
    SUBSCRIBED = "subscribed"
    """Nothing more is to go to this number, or again. The provider heeds it too, and answers."""


@dataclass(frozen=True, slots=True)
class Meant(Generic[T]):
    """What follows from one answer. ``alert``: what is acknowledged by it; ``codes``: those that would have counted."""

    outcome: Outcome
    alert: T | None = None
    codes: tuple[str, ...] = ()


# Source: https://help.twilio.com/articles/223134027
_STOP = frozenset({"stop", "stopall", "unsubscribe", "cancel", "end", "quit", "revoke", "optout"})
_START = frozenset({"start", "unstop"})
_AGREED = frozenset({"ok", "okay", "ack", "acknowledged", "yes", "收到", "好", "好的", "了解", "知道了"})
"""What may stand beside a code. Any other word says something else: “back in 15” acknowledges nothing."""


def meaning(text: str, open_alerts: Mapping[str, Sequence[T]], *, others: bool = False) -> Meant[T]:
    """What ``text`` means to somebody for whom ``open_alerts`` (code → what it stands for) are open.

    ``others``: alerts without a code are open too.

    >>> meaning("４７ ok", {"47": ["dock"], "48": ["gate"]}).alert
    'dock'
    >>> meaning("1", {"47": ["dock"], "48": ["gate"]}).outcome.value
    'which'
    """
    plain = unicodedata.normalize("NFKC", text).strip().lower()
    if plain.strip(" .!") in _STOP:
        return Meant(Outcome.UNSUBSCRIBED)
    if plain.strip(" .!") in _START:
        return Meant(Outcome.SUBSCRIBED)
    codes = tuple(sorted(open_alerts))
    words = re.findall(r"\d+|[^\W\d_]+", plain)
    said = {word for word in words if word.isdecimal() and len(word) == 2}
    alone = all(word in said or word in _AGREED for word in words)
    if alone and len(said) == 1:
        return _named(said.pop(), open_alerts, codes)
    if not codes:
        return Meant(Outcome.NOTHING_OPEN)
    if alone and said:
        return Meant(Outcome.WHICH, codes=codes)
    if plain.strip(" .!") != "1":
        return Meant(Outcome.UNCLEAR, codes=codes)
    everything = [alert for alerts in open_alerts.values() for alert in alerts]
    if others or len(everything) > 1:
        return Meant(Outcome.WHICH, codes=codes)
    return Meant(Outcome.ACKNOWLEDGED, everything[0], codes)


def _named(code: str, open_alerts: Mapping[str, Sequence[T]], codes: tuple[str, ...]) -> Meant[T]:
    alerts = open_alerts.get(code, ())
    if len(alerts) == 1:
        return Meant(Outcome.ACKNOWLEDGED, alerts[0], codes)
    # Two people who share a telephone may have the same code for different things.
    return Meant(Outcome.WHICH if alerts else Outcome.NO_SUCH_CODE if codes else Outcome.NOTHING_OPEN, codes=codes)


def free_code(standing: Mapping[str, datetime | None], now: datetime) -> str:
    """A code for the next incident of somebody; empty: none may be given, and the message carries its link only.

    ``standing``: codes that stand for something, with when they were last said of it; None: it is open still. First
    one that stands for nothing, then the one that nobody was shown for longest, if that is a day ago at least: an
    answer to an older message must not acknowledge something else.

    >>> free_code({"10": None, "12": None}, datetime(2026, 3, 1)), free_code(dict.fromkeys(CODES), datetime(2026, 3, 1))
    ('11', '')
    """
    unused = next((code for code in CODES if code not in standing), "")
    if unused:
        return unused
    over = {code: said_at for code, said_at in standing.items() if said_at is not None and now - said_at >= KEPT}
    return min(over, key=lambda code: over[code], default="")
