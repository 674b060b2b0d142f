"""How a stream goes, from its packets alone: pictures a second, groups of pictures, kilobits a second. Pure."""

from __future__ import annotations

import itertools

AHEAD_S = 5.0
"""Presentation times that run this much longer than the arrivals have jumped; a backlog sent at once is shorter."""


class Pace:
    """Packets in, figures out. One packet is one picture. Times in seconds."""

    def __init__(self) -> None:
        self._sizes: list[int] = []
        self._keys: list[int] = []
        self._pts: list[float] = []
        self._first_s = self._last_s = 0.0

    def add(self, *, key: bool, size: int, pts_s: float | None, arrived_s: float) -> None:
        """One packet of ``size`` bytes that arrived at monotonic ``arrived_s``."""
        if not self._sizes:
            self._first_s = arrived_s
        self._last_s = arrived_s
        if key:
            self._keys.append(len(self._sizes))
        self._sizes.append(size)
        if pts_s is not None:
            self._pts.append(pts_s)

    @property
    def packets(self) -> int:
        """How many came."""
        return len(self._sizes)

    @property
    def keys(self) -> int:
        """How many of them a picture could begin with."""
        return len(self._keys)

    @property
    def heard_s(self) -> float:
        """From the first arrival to the last."""
        return self._last_s - self._first_s

    @property
    def fps(self) -> float:
        """Pictures a second by the stream's own times, by arrival where those make no sense; 0 while unknown."""
        pictures, span_s = self._steps()
        return pictures / span_s if span_s > 0 else 0.0

    @property
    def gop_frames(self) -> int | None:
        """The longest whole group of pictures; None while fewer than two key frames came."""
        return max((later - first for first, later in itertools.pairwise(self._keys)), default=None)

    @property
    def gop_s(self) -> float | None:
        """Its length in time."""
        frames, fps = self.gop_frames, self.fps
        return None if frames is None or fps <= 0 else frames / fps

    @property
    def gop_at_least_s(self) -> float:
        """What the longest group has, counting those whose end or beginning was not seen."""
        marks = [0, *self._keys, len(self._sizes)]
        longest = max(later - first for first, later in itertools.pairwise(marks))
        return longest / self.fps if self.fps > 0 else 0.0

    @property
    def kbps(self) -> float:
        """Kilobits a second: over whole groups of pictures where there are any, since key frames are the most of it."""
        first, last = (self._keys[0], self._keys[-1]) if self.keys > 1 else (0, len(self._sizes) - 1)
        return sum(self._sizes[first:last]) * 8 / 1000 * self.fps / (last - first) if last > first else 0.0

    def _steps(self) -> tuple[int, float]:
        """How many steps from picture to picture, and the seconds they took."""
        if len(self._pts) >= 2:
            span_s = max(self._pts) - min(self._pts)
            if self.heard_s / 2 <= span_s <= self.heard_s + AHEAD_S:
                return len(self._pts) - 1, span_s
        return max(0, len(self._sizes) - 1), self.heard_s
