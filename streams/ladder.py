"""Which pictures of a camera are worth looking at: each rung pays for the next, dearer one. Pure.

The rungs, from the cheapest: *packets* (nothing is decoded), *key frames* (of a quiet camera that rests, only they are
decoded; one that shows news is decoded together with the group before it), *active* (every picture decoded, sampled at
the demanded rate until quiet) and the *heartbeat* (one picture at a slow rate whatever happens).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Literal

import numpy as np
import numpy.typing as npt

from streams.frame import Why

PLANE_WH = (160, 90)
"""Size of the luma plane that is compared. A walker of 24×54 px in 1080p covers 2×4.5 px of it."""
CELL_PX = 5
"""Changes are counted in overlapping windows of 2×2 cells, so that no mover hides on a border between two."""
CHANGED_PX = 3
"""So many changed pixels within one window are a mover."""
LEVELS_MIN = 10.0
"""A change of fewer grey levels is never one: compression alone moves a still picture by as much."""
NOISES = 6.0
"""A change must exceed the plane's own noise (its median deviation) so many times; night pictures are noisy."""
LEVELS_MAX = 30.0
"""However noisy the plane looks, this much is a change: a lamp that lights half of it must not pass for noise."""
LIGHT_SHARE = 0.5
"""When more of the plane changed at once, the light did."""
LIGHT_LEVELS = 25.0
"""Likewise when the whole plane became brighter or darker by more than this."""
FORGET_S = 8.0
"""Time constant of the background."""
SETTLED_S = 12.0
"""What has kept still for so long is background at once, however much it differs: a parked lorry would otherwise hold
the gate open for half a minute."""
HANG_OVER_S = 2.0
"""The gate stays open so long after the last change: a walker behind a pillar is one walker."""
STEADY_S = 1.0
"""Pictures come at the demanded rate for so long after the last movement: rules confirm in several pictures, and see in
several that somebody has left."""
STILL_S = 0.9
"""Thereafter, while every picture shows what the last sampled one showed, they come this far apart, and each time twice
as far, up to the heartbeat: the same picture again tells a detector little. Rules take a stay for unbroken for 1 s."""
QUIET_AFTER_S = 2.0
"""So long after the last movement a camera is quiet, for nothing has changed since the last sampled picture, however
much it still differs from the background: trackers and rules keep what they saw there, and their timers go on."""
HEARTBEAT_S = 10.0
"""One picture at least this often, and every state said again: slow changes are seen, silence is never news."""
LIGHT_HEARTBEAT_S = 1.0
"""After a change of light the heartbeat comes early, for "nothing changed" would not be true, yet not more often."""
COMPARE_HZ = 5.0
"""Pictures compared a second, at least the demanded rate: who is there for less is seen by no rule, and comparing twice
as often cost a twentieth of all that capture does."""
BLIND_AFTER_S = 6.0
"""Without a picture for so long a camera is blind; a shorter gap is a blip and no alarm."""
CLOCK_STEP = timedelta(seconds=1)
"""The wall clock against the monotonic one: NTP slews by less, and steps by more."""

Plane = npt.NDArray[np.uint8]
State = Literal["quiet", "active", "blind"]


class Rung(StrEnum):
    """Where on the ladder a camera stands."""

    PACKETS = "packets"
    KEY_FRAMES = "key-frames"
    HEARTBEAT = "heartbeat"
    ACTIVE = "active"


class Change(StrEnum):
    """What a plane is against the background."""

    NONE = "none"
    LOCAL = "local"
    LIGHT = "light"


class Background:
    """What a camera usually sees, as it slowly becomes something else."""

    def __init__(self) -> None:
        self._usual: npt.NDArray[np.float32] | None = None
        self._last: Plane = np.zeros(PLANE_WH[::-1], np.uint8)
        self._unsettled_s: npt.NDArray[np.float64] = np.zeros(PLANE_WH[::-1], np.float64)
        self._at_s = self._settled_at_s = 0.0

    def compare(self, plane: Plane, at_s: float) -> Change:
        """What changed in ``plane`` (``(90, 160) uint8``, luma) at ``at_s``; takes it into the background afterwards.

        Raises ``ValueError`` for another shape or type.
        """
        if plane.shape != PLANE_WH[::-1] or plane.dtype != np.uint8:
            raise ValueError(
                f"gate: expected a plane of {PLANE_WH[::-1]} uint8, got {plane.shape} {plane.dtype}; resize the luma"
            )
        if self._usual is None:
            self._rebase(plane, at_s)
            return Change.NONE
        difference = plane - self._usual
        change = _judge(difference)
        if change is Change.LIGHT:
            self._rebase(plane, at_s)
        else:
            self._absorb(plane, difference, at_s)
        return change

    def judge(self, plane: Plane) -> Change:
        """What changed in ``plane``; takes nothing in."""
        return Change.NONE if self._usual is None else _judge(plane - self._usual)

    def _absorb(self, plane: Plane, difference: npt.NDArray[np.float32], at_s: float) -> None:
        assert self._usual is not None
        elapsed_s = max(0.0, at_s - self._at_s)
        self._usual += difference * np.float32(1.0 - math.exp(-elapsed_s / FORGET_S))
        self._at_s = at_s
        # Once a second: it costs three times what the comparison does.
        if at_s - self._settled_at_s >= 1.0:
            self._settled_at_s = at_s
            self._settle(plane, difference, at_s)

    def _settle(self, plane: Plane, difference: npt.NDArray[np.float32], at_s: float) -> None:
        """Take in at once what differs from the background and has kept still for long enough."""
        assert self._usual is not None
        # In 8 bits, where a difference wraps round: after the shift, a step within ±LEVELS_MIN is at most twice that.
        moved = plane - self._last + np.uint8(LEVELS_MIN) > 2 * LEVELS_MIN
        np.copyto(self._unsettled_s, at_s, where=moved | (np.abs(difference) <= LEVELS_MIN))
        np.copyto(self._usual, plane, where=self._unsettled_s < at_s - SETTLED_S)
        self._last = plane

    def _rebase(self, plane: Plane, at_s: float) -> None:
        self._usual, self._last = plane.astype(np.float32), plane
        self._at_s = self._settled_at_s = at_s
        self._unsettled_s.fill(at_s)


def _judge(difference: npt.NDArray[np.float32]) -> Change:
    # A ninth of the pixels gives the same median for a ninth of the cost.
    sparse = difference[::3, ::3]
    shift = _median(sparse)
    noise = float(_median(np.abs(sparse - shift)))
    # An even brightening is taken off: a cloud that passes moves no object.
    changed = np.abs(difference - shift) > min(max(LEVELS_MIN, NOISES * noise), LEVELS_MAX)
    total = int(np.count_nonzero(changed))
    if total > LIGHT_SHARE * changed.size or abs(shift) > LIGHT_LEVELS:
        return Change.LIGHT
    if total < CHANGED_PX:
        return Change.NONE
    return Change.LOCAL if _fullest_window(changed) >= CHANGED_PX else Change.NONE


def _median(values: npt.NDArray[np.float32]) -> np.float32:
    """As ``np.median``, whose care for NaN and axes costs four times the work itself."""
    half = values.size // 2
    low, high = np.partition(values, (half - 1, half), axis=None)[half - 1 : half + 1]
    return np.float32((low + high) / 2)


def _fullest_window(changed: npt.NDArray[np.bool_]) -> int:
    """The most changed pixels in any 2×2 cells."""
    rows, columns = changed.shape[0] // CELL_PX, changed.shape[1] // CELL_PX
    cells = changed.reshape(rows, CELL_PX, columns, CELL_PX).sum(axis=(1, 3), dtype=np.int32)
    windows = cells[:-1, :-1] + cells[1:, :-1] + cells[:-1, 1:] + cells[1:, 1:]
    return int(windows.max())


class Rate:
    """Lets through ``hz`` of the moments it is asked about, evenly, without drifting from the mean."""

    def __init__(self, hz: float) -> None:
        self.hz = hz
        self._due_s = -math.inf

    def due(self, at_s: float) -> bool:
        """Whether ``at_s`` is let through. A tenth of a period early counts: cameras jitter."""
        if self.hz <= 0:
            return False
        period_s = 1.0 / self.hz
        if at_s < self._due_s - 0.1 * period_s:
            return False
        late_s = at_s - self._due_s
        self._due_s = self._due_s + period_s if late_s < period_s else at_s + period_s
        return True


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is to be done with one picture (``sample`` None: nothing), and what the source is doing."""

    sample: Why | None
    state: Literal["quiet", "active"]


class Ladder:
    """Judges the decoded pictures of one session, in order. Times are seconds of the session's clock."""

    def __init__(self, hz: float, *, gated: bool = True) -> None:
        self._background = Background()
        self._rate = Rate(hz)
        self._compare = Rate(max(hz, COMPARE_HZ))
        self._gated = gated
        self._changed_s = self._moved_s = -math.inf
        self._sampled_s = -math.inf
        self._pause_s = HEARTBEAT_S
        self._shown: npt.NDArray[np.float32] = np.zeros(PLANE_WH[::-1], np.float32)
        self._lit = False
        self.rung = Rung.HEARTBEAT

    def want(self, hz: float, *, gated: bool) -> None:
        """The demand changed; what was learnt of the scene stays."""
        if hz != self._rate.hz:
            self._rate, self._compare = Rate(hz), Rate(max(hz, COMPARE_HZ))
        self._gated = gated

    @property
    def moved_s(self) -> float:
        """When something last moved."""
        return self._moved_s

    @property
    def quiet(self) -> bool:
        """Whether nothing moved for long enough to look at key frames only."""
        return self._gated and self.rung is Rung.HEARTBEAT and self._sampled_s > -math.inf

    def is_news(self, plane: Plane) -> bool:
        """Whether a key frame's ``plane`` shows what neither the background nor the last sampled picture did.

        Takes nothing in: what led to it is looked at first.
        """
        return self._background.judge(plane) is Change.LOCAL and _judge(plane - self._shown) is not Change.NONE

    def due(self, at_s: float) -> bool:
        """Whether the picture at ``at_s`` is to be looked at; the others cost nothing but their decoding."""
        return self._compare.due(at_s)

    def look(self, plane: Plane, at_s: float) -> Verdict:
        """The verdict on the picture whose luma plane is ``plane`` (``(90, 160) uint8``)."""
        change = self._background.compare(plane, at_s)
        if change is Change.LOCAL:
            self._changed_s = at_s
        self._lit = self._lit or change is Change.LIGHT
        if self._gated and at_s - self._changed_s <= HANG_OVER_S:
            self._follow(plane, at_s)
        active = not self._gated or at_s - self._moved_s <= QUIET_AFTER_S
        self.rung = Rung.ACTIVE if active else Rung.HEARTBEAT
        why = self._why(at_s, active)
        if why is not None:
            self._sampled_s, self._lit = at_s, False
            self._shown = plane.astype(np.float32)
        return Verdict(why, "active" if active else "quiet")

    def _follow(self, plane: Plane, at_s: float) -> None:
        """Note whether ``plane`` shows more than the last sampled one did.

        Against that one, not the one before: slow movement adds up until it shows.
        """
        if self._sampled_s == -math.inf or _judge(plane - self._shown) is not Change.NONE:
            self._moved_s, self._pause_s = at_s, STILL_S

    def _why(self, at_s: float, active: bool) -> Why | None:
        if self._sampled_s == -math.inf:
            self._rate.due(at_s)
            return "first"
        if not self._gated:
            return "every" if self._rate.due(at_s) else self._heartbeat(at_s, active)
        if at_s - self._moved_s <= STEADY_S:
            return "motion" if self._rate.due(at_s) else None
        return self._heartbeat(at_s, active)

    def _heartbeat(self, at_s: float, active: bool) -> Why | None:
        since_s = at_s - self._sampled_s
        if since_s >= self._pause_s:
            self._pause_s = min(HEARTBEAT_S, 2 * self._pause_s)
            return "motion" if active and self._gated else "heartbeat"
        return "heartbeat" if self._lit and since_s >= LIGHT_HEARTBEAT_S else None


@dataclass(frozen=True, slots=True)
class Fact:
    """What is to be said about a source now: a ``SourceState`` without its names."""

    state: State
    reason: str
    at: datetime
    since_at: datetime


class Facts:
    """Decides when a source's state is said: on every change and every ``HEARTBEAT_S``; *blind* only when it lasts.

    *Quiet* and *active* are claimed up to the last picture, never to the present: a stream that has just stalled may
    already be hiding something. *Blind* begins where the last picture ended.
    """

    def __init__(self, at: datetime, now_s: float) -> None:
        self._seen_at, self._seen_s = at, now_s
        self._current: tuple[State, str] | None = None
        self._since_at = at
        self._said_s = -math.inf

    @property
    def current(self) -> tuple[State, str] | None:
        """State and reason as last said; None before the first."""
        return self._current

    def seen(
        self, state: State, at: datetime, now_s: float, reason: str = "", since_at: datetime | None = None
    ) -> Fact | None:
        """A picture taken at ``at`` was judged. Returns what is to be said, if anything.

        *Blind* says that it shows nothing; that may have been so for a while (``since_at``) before it was certain.
        """
        at = max(at, self._seen_at)
        self._seen_at, self._seen_s = at, now_s
        return self._say(state, reason, at, since_at or at, now_s)

    def unseen(self, reason: str, at: datetime, now_s: float) -> Fact | None:
        """No picture came. Returns what is to be said, if anything; ask about once a second."""
        if not self.is_blind(now_s):
            return None
        return self._say("blind", reason, max(at, self._seen_at), self._seen_at, now_s)

    def is_blind(self, now_s: float) -> bool:
        """Whether the last picture is long enough ago."""
        return now_s - self._seen_s >= BLIND_AFTER_S

    def clock_set_back(self, at: datetime, now_s: float) -> bool:
        """Whether the wall clock, which says ``at`` now, has been set back since the last picture.

        What was seen then moves back with it. Ask only where a session begins: within one, times do not go back.
        """
        seen_at = at - timedelta(seconds=max(0.0, now_s - self._seen_s))
        if seen_at >= self._seen_at - CLOCK_STEP:
            return False
        self._seen_at, self._since_at = seen_at, min(self._since_at, seen_at)
        self.unsaid()
        return True

    def unsaid(self) -> None:
        """What was last returned could not be written down: say it again at the next occasion."""
        self._said_s = -math.inf

    def _say(self, state: State, reason: str, at: datetime, since_at: datetime, now_s: float) -> Fact | None:
        before = self._current
        if before is None or before[0] != state:
            self._since_at = since_at
        if before == (state, reason) and now_s - self._said_s < HEARTBEAT_S:
            return None
        self._current, self._said_s = (state, reason), now_s
        return Fact(state, reason, at, self._since_at)
