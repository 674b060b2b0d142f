"""When a picture was taken: the stream's own time, held to its arrival, never the camera's wall clock. Pure.

A session is anchored once, to a pair of wall-clock and monotonic time. From then on only the stream's presentation
times and the monotonic clock count, so that a step of the host's or the camera's clock changes nothing within it.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from datetime import datetime, timedelta

WINDOW_S = 30.0
"""How long a fast packet speaks for the delay of those after it. A camera whose clock runs 1 % wrong is off by .3 s."""
AHEAD_S = 5.0
"""Presentation time further ahead of arrival than this is a jump (a damaged stream jumped to 42.9 s in a 4 s clip)."""
BEHIND_S = 10.0
"""Presentation time this far behind is no delay: the watchdog would have replaced a connection silent for so long."""
FLOOR_S = 0.02
"""What remains unknown however long one listens: exposure and encoding in the camera, a few milliseconds of network."""
FIRST_SPREAD_S = 0.25
"""The jitter assumed of a connection before it has shown its own."""


@dataclass(frozen=True, slots=True)
class Stamp:
    """When a picture was taken: aware UTC, and the half-width of what is not known of it."""

    captured_at: datetime
    uncertainty_s: float


@dataclass(frozen=True, slots=True)
class Break:
    """The stream's time broke off: begin a new session. ``reason`` is for the log line."""

    reason: str


class SessionClock:
    """Stamps the decoded pictures of one session, in order.

    Promises: stamps never go back, are never later than the arrival, and follow the stream's own differences. The
    delay of the fastest packet within ``WINDOW_S`` (a minimum-delay filter) ties the two clocks, so that a late packet
    is stamped with when it was taken rather than with when it came.
    """

    def __init__(self, anchor_at: datetime, anchor_s: float) -> None:
        """``anchor_s`` is the monotonic time at which the wall clock said ``anchor_at`` (aware)."""
        self._anchor_at, self._anchor_s = anchor_at, anchor_s
        self._fastest: deque[tuple[float, float]] = deque()  # (arrived_s, offset_s), offsets rising: a running minimum
        self._slowest_s = -math.inf
        self._seen = 0
        self._last_pts_s: float | None = None
        self._last_s = -math.inf

    def stamp(self, pts_s: float | None, arrived_s: float) -> Stamp | Break:
        """The stamp of the picture with presentation time ``pts_s`` that arrived at monotonic ``arrived_s``.

        Without a presentation time (some cameras send none) the arrival is all there is. After a ``Break`` the clock
        is spent: make another.
        """
        if pts_s is None or not math.isfinite(pts_s):
            return self._at(arrived_s, FLOOR_S + FIRST_SPREAD_S)
        if broken := self._broken(pts_s, arrived_s):
            return broken
        self._last_pts_s = pts_s
        offset_s = self._observe(arrived_s - pts_s, arrived_s)
        spread_s = max(self._slowest_s - offset_s, FIRST_SPREAD_S)
        # The smallest of n delays exceeds the true minimum by about one n-th of their spread.
        return self._at(pts_s + offset_s, FLOOR_S + spread_s / self._seen)

    def _broken(self, pts_s: float, arrived_s: float) -> Break | None:
        if self._last_pts_s is None:
            return None
        if pts_s < self._last_pts_s:
            return Break(f"presentation time went back from {self._last_pts_s:.3f} s to {pts_s:.3f} s")
        lead_s = self._fastest[0][1] - (arrived_s - pts_s)
        if lead_s > AHEAD_S:
            return Break(f"presentation time jumped {lead_s:.1f} s ahead of arrival")
        if lead_s < -BEHIND_S:
            return Break(f"presentation time fell {-lead_s:.1f} s behind arrival")
        return None

    def _observe(self, offset_s: float, arrived_s: float) -> float:
        """Take in one offset between the clocks; returns the smallest of the window."""
        while self._fastest and self._fastest[-1][1] >= offset_s:
            self._fastest.pop()
        self._fastest.append((arrived_s, offset_s))
        while self._fastest[0][0] < arrived_s - WINDOW_S:
            self._fastest.popleft()
        self._seen += 1
        # The slowest is let go of at a rate that forgets a single hiccup within a window.
        smallest = self._fastest[0][1]
        faded = smallest + (self._slowest_s - smallest) * 0.98 if self._seen > 1 else offset_s
        self._slowest_s = max(offset_s, faded)
        return smallest

    def _at(self, taken_s: float, uncertainty_s: float) -> Stamp:
        held_s = max(taken_s, self._last_s)
        self._last_s = held_s
        captured_at = self._anchor_at + timedelta(seconds=held_s - self._anchor_s)
        return Stamp(captured_at, uncertainty_s + (held_s - taken_s))
