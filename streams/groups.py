"""What a stream's packets tell without being decoded: how far apart key frames are, and when packets grow. Pure.

A camera whose key frames come often enough can rest: only they are decoded while nothing moves. A jump in packet size
may end the rest early, and never more: of small movers it sees none (measured recall 0 to 0.04).
"""

from __future__ import annotations

import math
from collections import deque

GROUP_LEAST_S, GROUP_MOST_S = 0.5, 4.0
"""Of a group that a camera can rest on: a shorter one saves little, within a longer one too much happens."""
GROUP_MOST_BYTES = 4 * 1024 * 1024
"""A group is kept in memory for as long as it may still have to be decoded."""
PROVEN = 3
"""Groups of a fitting length, one after the other, before the next one is relied on."""
JUMP = 4.0
"""So many times the usual size of a packet is a jump; two in a row, for one alone is the encoder's whim."""
JUMP_LEAST_BYTES = 2000
IN_A_ROW = 2
USUAL_OF = 50
"""Packets over which the usual size is a mean."""
DEAF_S = 30.0
"""After a jump at nothing, no other for so long: a camera that often does it would be decoded whole for it."""


class Groups:
    """Told of every packet in order; times in monotonic seconds."""

    def __init__(self) -> None:
        self._began_s: float | None = None
        self._bytes = 0
        self._fit: deque[bool] = deque(maxlen=PROVEN)
        self._usual, self._of = 0.0, 0
        self._large = 0
        self._deaf_until_s = -math.inf

    def packet(self, at_s: float, size: int, *, key: bool) -> bool:
        """One packet of ``size`` bytes arrived at ``at_s``. Returns whether packets have just become large."""
        if key:
            if self._began_s is not None:
                fits = GROUP_LEAST_S <= at_s - self._began_s <= GROUP_MOST_S and self._bytes <= GROUP_MOST_BYTES
                self._fit.append(fits)
            self._began_s, self._bytes = at_s, size
            return False
        self._bytes += size
        return self._jumps(at_s, size)

    def restful(self, at_s: float) -> bool:
        """Whether key frames come, and have come, often enough to look at nothing else."""
        proven = len(self._fit) == PROVEN and all(self._fit)
        return proven and at_s - (self._began_s or 0.0) <= GROUP_MOST_S and self._bytes <= GROUP_MOST_BYTES

    def mistrust(self, at_s: float) -> None:
        """Nothing moved when packets last grew: hear of no other growth for a while."""
        self._deaf_until_s = at_s + DEAF_S

    def _jumps(self, at_s: float, size: int) -> bool:
        large = self._of >= USUAL_OF and size > max(JUMP * self._usual, JUMP_LEAST_BYTES)
        self._large = self._large + 1 if large else 0
        if not large:  # what is large would soon be the usual
            self._of = min(self._of + 1, USUAL_OF)
            self._usual += (size - self._usual) / self._of
        return self._large == IN_A_ROW and at_s >= self._deaf_until_s
