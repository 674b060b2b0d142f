"""Frames in hand: which go into the next batch, which are given up, and how far the group may commit. Pure."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from streams.frame import Frame

GAIN_S = 1.0
"""So much of a backlog has to be made up for within ``BatchConfig.catch_up_s``, or it is cut."""


@dataclass(frozen=True, slots=True)
class BatchConfig:
    """Bounds of a batch and of patience."""

    size: int = 16
    deadline_s: float = 0.02
    """A frame waits at most so long for others to share its batch."""
    max_age_s: float = 15.0
    """A frame captured longer ago is given up when a newer one of its camera is in hand …"""
    overrun_age_s: float = 1.0
    """… and one captured so long ago, where more comes than can be analysed: …"""
    catch_up_s: float = 5.0
    """… where within so long less than ``GAIN_S`` was made up for."""
    most_per_camera: int = 200
    """… and so is the oldest of more than so many frames of one camera."""


@dataclass(eq=False, slots=True)
class Entry:
    """One record taken from the log: done when none of what it caused is still on its way."""

    partition: int
    offset: int
    left: int = 1
    """What must still happen, the work itself included."""


@dataclass(frozen=True, slots=True, eq=False)
class Item:
    """A frame in hand with its place in the log."""

    entry: Entry
    frame: Frame
    payload: bytes = b""
    """The record as it came, for the dead letters."""


class Batcher:
    """Frames in the order in which they came. The caller gives the time: ``now_s`` monotonic, ``now`` aware."""

    def __init__(self, config: BatchConfig | None = None) -> None:
        self.config = BatchConfig() if config is None else config
        self._waiting: deque[tuple[float, Item]] = deque()
        self._behind: tuple[datetime, timedelta] | None = None
        """Since when it is looked whether it catches up, and how far behind it was then."""
        self._overrun = False

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, item: Item, now_s: float) -> None:
        """Take in one frame. Frames of one camera come in the order in which they were captured."""
        self._waiting.append((now_s, item))

    def wait_s(self, now_s: float) -> float | None:
        """How long until ``take`` should be called: 0 at once, None when nothing waits."""
        if not self._waiting:
            return None
        if len(self._waiting) >= self.config.size:
            return 0.0
        return max(0.0, self._waiting[0][0] + self.config.deadline_s - now_s)

    def shed(self, now: datetime) -> list[Item]:
        """Give up what is too old or too much, oldest of each camera first, and return it in order.

        A camera's newest frame in hand is never given up: with a clock that is wrong by a day the pool would otherwise
        go blind, and an old picture is better than none.
        """
        left = Counter(item.frame.camera for _, item in self._waiting)
        oldest = now - timedelta(seconds=self._patience_s(now))
        dropped: list[Item] = []
        kept: deque[tuple[float, Item]] = deque()
        for since_s, item in self._waiting:
            camera = item.frame.camera
            too_old = item.frame.captured_at < oldest and left[camera] > 1
            if too_old or left[camera] > self.config.most_per_camera:
                left[camera] -= 1
                dropped.append(item)
            else:
                kept.append((since_s, item))
        self._waiting = kept
        return dropped

    def _patience_s(self, now: datetime) -> float:
        """Long after a stall, which is made up for; short where more comes than can be analysed.

        There as many frames are lost either way, and what is left is told a second late instead of a quarter minute.
        """
        config = self.config
        age = now - min((item.frame.captured_at for _, item in self._waiting), default=now)
        if age < timedelta(seconds=config.overrun_age_s / 2):
            self._behind, self._overrun = None, False
        elif self._behind is None:
            self._behind = (now, age)
        elif now - self._behind[0] >= timedelta(seconds=config.catch_up_s):
            self._overrun |= age > self._behind[1] - timedelta(seconds=GAIN_S)
            self._behind = (now, age)
        return min(config.overrun_age_s, config.max_age_s) if self._overrun else config.max_age_s

    def take(self, most: int | None = None) -> list[Item]:
        """The next batch, first come first served, of at most ``most`` (by default the configured size)."""
        size = min(len(self._waiting), self.config.size if most is None else most)
        return [self._waiting.popleft()[1] for _ in range(size)]

    def put_back(self, items: Sequence[Item], now_s: float) -> None:
        """``items`` were taken too early; they come first again, and at once."""
        since_s = now_s - self.config.deadline_s
        self._waiting.extendleft((since_s, item) for item in reversed(items))

    def forget(self, partitions: Collection[int]) -> None:
        """Let go of the frames of ``partitions``: they are somebody else's now, or will be read again."""
        self._waiting = deque(
            (since_s, item) for since_s, item in self._waiting if item.entry.partition not in partitions
        )


@dataclass(frozen=True, slots=True)
class Run:
    """Given-up frames of one camera and session that follow one another, as one fact."""

    last: Item
    count: int


def runs(dropped: Iterable[Item]) -> list[Run]:
    """``dropped`` as one ``Run`` for each camera and session, in the order of their last frames."""
    found: dict[tuple[object, int], Run] = {}
    for item in dropped:
        key = (item.frame.camera, item.frame.session)
        before = found.pop(key, None)
        found[key] = Run(item, 1 if before is None else before.count + 1)
    return list(found.values())


@dataclass(slots=True)
class Ledger:
    """Which records are done, so that a commit never passes one that is not."""

    _held: dict[int, deque[Entry]] = field(default_factory=dict)
    _reached: dict[int, int] = field(default_factory=dict)

    def took(self, partition: int, offset: int) -> Entry:
        """A record was read. Within a partition offsets grow."""
        entry = Entry(partition, offset)
        self._held.setdefault(partition, deque()).append(entry)
        return entry

    def settle(self, entry: Entry) -> None:
        """One of the things that ``entry`` waited for has happened."""
        entry.left -= 1
        held = self._held.get(entry.partition)
        while held and held[0].left <= 0:
            self._reached[entry.partition] = held.popleft().offset + 1

    def holds(self, entry: Entry) -> bool:
        """Whether ``entry`` is still waited for."""
        return any(held is entry for held in self._held.get(entry.partition, ()))

    def first(self, partition: int) -> int | None:
        """The first record of ``partition`` that is not done."""
        held = self._held.get(partition)
        return held[0].offset if held else None

    def positions(self) -> dict[int, int]:
        """The next positions to read, for every partition that got further since ``committed``."""
        return dict(self._reached)

    def committed(self, positions: dict[int, int]) -> None:
        """``positions`` are stored."""
        for partition, position in positions.items():
            if self._reached.get(partition) == position:
                del self._reached[partition]

    def forget(self, partitions: Collection[int]) -> None:
        """``partitions`` are somebody else's now, or are read again."""
        for partition in partitions:
            self._held.pop(partition, None)
            self._reached.pop(partition, None)
