"""How a delivery moves when its provider says something later, and when it is asked. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from alerts.notifiers.base import Standing

FIRST_ASK_S, LONGEST_PAUSE_S = 5.0, 1800.0

MOVES: Mapping[tuple[str, Standing], str] = {
    ("unknown", "accepted"): "sent",
    ("unknown", "delivered"): "delivered",
    ("unknown", "failed"): "failed",
    ("sent", "delivered"): "delivered",
    ("sent", "failed"): "failed",
}
"""Every step that a provider's word makes. Of anything else it says nothing new: it is old, repeated, or not ours."""


def after(state: str, standing: Standing) -> str | None:
    """The state after a provider's word; None when it changes nothing.

    >>> after("sent", "delivered"), after("delivered", "failed"), after("delivered", "accepted")
    ('delivered', None, None)
    """
    return MOVES.get((state, standing))


def due_to_ask(since: datetime, asked_at: datetime | None, now: datetime) -> bool:
    """Whether to ask about a message that was given at ``since``: soon, and then after twice as long each time."""
    last = asked_at if asked_at is not None and asked_at > since else since
    pause_s = min(LONGEST_PAUSE_S, max(FIRST_ASK_S, (last - since).total_seconds()))
    return now - last >= timedelta(seconds=pause_s)
