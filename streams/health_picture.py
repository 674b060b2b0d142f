"""What is wrong with a camera's pictures although they come: dark, frozen, covered, blurred, moved. Pure.

Looks at the gate's small plane once in a few seconds and compares it with a slowly learned reference. A verdict stands
only when it has lasted, each kind for its own time, so that a lorry passing close by is none; it falls with the first
picture that is well again. The reference learns from well pictures only.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from streams.ladder import PLANE_WH, Plane
from streams.problems import Trouble

LOOK_S = 3.0
"""Between two looks: one costs as much as a few comparisons of the gate."""
LEARN_S = 60.0
"""A reference younger than this accuses nobody."""
FORGET_S = 600.0
"""Time constant of the reference: it follows dusk, which takes longer, and not a hand before the lens."""
ADOPT_S = 3600.0
"""A camera that has looked elsewhere for so long was turned on purpose: what it sees now is learned instead."""
RECENT = 10
"""Looks by which a verdict gets its name: people who pass may make a blurred picture look moved for a moment."""
CELL_PX = 10

DARK_LEVEL, DARK_SPREAD = 40.0, 4.0
"""Darker than this on the mean and with less spread nothing could be made out. Black is 16 in most video."""
EDGE_LEVELS = 4.0
"""A cell whose steps exceed the noise by so many grey levels has structure."""
LEAST_CELLS = 10
"""With less structure than this in the reference, a loss of it proves nothing."""
LOST_SHARE = 0.85
"""Of the reference's cells with structure; when more have lost it, the view is gone."""
LOST_EDGES = 0.3
"""A cell with less than this part of its usual structure has lost it."""
BLURRED_EDGES = 0.55
"""All cells together with less than this part of theirs are out of focus."""
SAME_LAYOUT = 0.6
"""Bright and dark places correlate so well while only the sharpness is gone."""
ALIGNED_PART = 0.5
"""Edges that correlate with the reference's by this part of what is usual lie where they did."""
STEADY = 0.4
"""A reference with which pictures usually correlate less is no reference: the camera flies or patrols."""
MOVED_PX = 2
"""Least shift that is a move, in pixels of the plane."""
MOVED_GAIN = 0.25
"""So much better must the edges correlate once they are shifted back …"""
ELSEWHERE = 0.12
"""… unless they correlate as little as this, as two different places do."""
RECODED_MEAN, RECODED_MOST = 0.03, 1
"""A frozen picture that is encoded anew differs by so little from itself, on the mean and anywhere, in grey levels: a
key frame is not coded as the pictures between. Of real cameras' pictures the mean is at least half a level apart."""
VISIBLE_SHARE = 0.1
"""Where privacy masks leave less than this, nothing is judged."""

Float = npt.NDArray[np.float32]


BLIND: frozenset[str] = frozenset({Trouble.DARK, Trouble.FROZEN, Trouble.COVERED})
"""What leaves nothing to be seen. Blurred and moved pictures still show people, so rules go on there."""

HOLD_S: dict[Trouble, float] = {
    Trouble.DARK: 10.0,
    Trouble.FROZEN: 60.0,
    Trouble.COVERED: 20.0,
    Trouble.BLURRED: 30.0,
    Trouble.MOVED: 30.0,
}
"""How long each must last. A bus at its stop before the lens stays for less than a covering hand; pictures of a still
place may be alike for a while where the encoder saves every bit."""


@dataclass(slots=True)
class _Reference:
    """What the camera usually shows. ``plane``: the mean picture; ``cells``: the usual structure of each cell."""

    plane: Float
    cells: Float
    level: float
    aligned: float
    learned_s: float
    looks: int = 1


@dataclass(frozen=True, slots=True)
class _Sight:
    """One look, in numbers."""

    plane: Float
    cells: Float
    edges: Float
    level: float
    spread: float
    hidden: bool


class PictureHealth:
    """Judges one camera's pictures, in order, across its sessions. Times are monotonic seconds. Not thread-safe."""

    def __init__(self) -> None:
        self._due_s = -math.inf
        self._before: Plane | None = None
        self._changed_s = 0.0
        self._reference: _Reference | None = None
        self._recent: deque[Trouble] = deque(maxlen=RECENT)
        self._since_s: dict[Trouble, float] = {}
        self._standing: Trouble | None = None

    @property
    def trouble(self) -> Trouble | None:
        """The verdict that stands."""
        return self._standing

    @property
    def since_s(self) -> float:
        """Since when it has been so; of no meaning without a verdict."""
        return self._since_s[self._standing] if self._standing else 0.0

    def due(self, now_s: float) -> bool:
        """Whether it is time for another look."""
        return now_s >= self._due_s

    def look(self, plane: Plane, now_s: float, *, masked: bool = False) -> None:
        """Take in the luma plane (``(90, 160) uint8``). ``masked``: zeros are privacy masks and hide what they hide."""
        if plane.shape != PLANE_WH[::-1] or plane.dtype != np.uint8:
            raise ValueError(
                f"health: expected a plane of {PLANE_WH[::-1]} uint8, got {plane.shape} {plane.dtype}; resize the luma"
            )
        elapsed_s = 0.0 if self._due_s == -math.inf else now_s - self._due_s + LOOK_S
        self._due_s = now_s + LOOK_S
        sight = _see(plane, masked)
        if sight.hidden:
            self._hold(None, now_s)
            return
        edges = sight.edges if self._reference is None else _edges(self._reference.plane)
        aligned = _correlation(sight.edges, edges)
        found = self._judge(plane, sight, now_s) or self._compare(sight, edges, aligned)
        self._hold(found, now_s)
        if found is None:
            self._learn(sight, aligned, elapsed_s)
        elif found is Trouble.MOVED and now_s - self._since_s[found] >= ADOPT_S:
            self._reference = None

    def _hold(self, found: Trouble | None, now_s: float) -> None:
        if found is None:
            self._recent.clear()
            self._since_s, self._standing = {}, None
            return
        self._recent.append(found)
        # A frozen picture has been so since it last changed.
        self._since_s.setdefault(found, self._changed_s if found is Trouble.FROZEN else now_s)
        usual = max(self._recent, key=self._recent.count)
        if now_s - self._since_s[usual] >= HOLD_S[usual]:
            self._standing = usual

    def _judge(self, plane: Plane, sight: _Sight, now_s: float) -> Trouble | None:
        if self._before is None or not _is_same(plane, self._before):
            self._before, self._changed_s = plane, now_s
        if sight.level < DARK_LEVEL and sight.spread < DARK_SPREAD:
            return Trouble.DARK
        if now_s - self._changed_s >= HOLD_S[Trouble.FROZEN]:
            return Trouble.FROZEN
        return None

    def _compare(self, sight: _Sight, edges: Float, aligned: float) -> Trouble | None:
        reference = self._reference
        if reference is None or reference.learned_s < LEARN_S or reference.aligned < STEADY:
            return None
        lost = _lost(sight, reference)
        if lost is Trouble.COVERED:
            return lost
        # Before blurred: another place may have fewer edges, and its bright and dark parts lie alike by chance.
        if aligned < ALIGNED_PART * reference.aligned and _is_displaced(sight.edges, edges, aligned):
            return Trouble.MOVED
        return lost

    def _learn(self, sight: _Sight, aligned: float, elapsed_s: float) -> None:
        reference = self._reference
        if reference is None:
            self._reference = _Reference(sight.plane, sight.cells, sight.level, 1.0, 0.0)
            return
        reference.looks += 1
        # A plain mean at first, then an ever slower one.
        part = max(1.0 - math.exp(-elapsed_s / FORGET_S), 1.0 / reference.looks)
        part = part if reference.learned_s < FORGET_S else 1.0 - math.exp(-elapsed_s / FORGET_S)
        reference.plane += np.float32(part) * (sight.plane - reference.plane)
        reference.cells += np.float32(part) * (sight.cells - reference.cells)
        reference.level += part * (sight.level - reference.level)
        reference.aligned += part * (aligned - reference.aligned)
        reference.learned_s += elapsed_s


def _is_same(one: Plane, other: Plane) -> bool:
    apart = np.abs(one.astype(np.int16) - other)
    return bool(apart.max() <= RECODED_MOST and apart.mean() <= RECODED_MEAN)


def _see(plane: Plane, masked: bool) -> _Sight:
    pixels = plane[plane > 0] if masked else plane
    hidden = pixels.size < VISIBLE_SHARE * plane.size
    real = plane.astype(np.float32)
    level, spread = (0.0, 0.0) if hidden else (float(pixels.mean()), float(pixels.std()))
    return _Sight(real, _structure(real), _edges(real), level, spread, hidden)


def _structure(plane: Float) -> Float:
    """Of each cell (``(9, 16) float32``): its steps between neighbours, root of the mean square, without the noise.

    Of the square, because blurring leaves the sum of the steps of an edge as it was and only spreads them.
    """
    squares: Float = np.zeros_like(plane)
    squares[:-1, :-1] = np.diff(plane, axis=1)[:-1] ** 2 + np.diff(plane, axis=0)[:, :-1] ** 2
    cells = _cells(squares)
    # The calmest cells show what noise alone does.
    above: Float = np.sqrt(np.maximum(cells - np.float32(np.percentile(cells, 10)), 0))
    return above


def _cells(plane: Float) -> Float:
    rows, columns = plane.shape[0] // CELL_PX, plane.shape[1] // CELL_PX
    means: Float = plane.reshape(rows, CELL_PX, columns, CELL_PX).mean(axis=(1, 3), dtype=np.float32)
    return means


def _edges(plane: Float) -> Float:
    """Steps between neighbours, limited, so that one bright lamp does not outweigh a street."""
    steps = np.abs(plane[:-1, 1:] - plane[:-1, :-1]) + np.abs(plane[1:, :-1] - plane[:-1, :-1])
    limited: Float = np.minimum(steps, np.float32(4.0) * steps.mean() + np.float32(1.0))
    return limited


def _correlation(one: Float, other: Float) -> float:
    """Pearson's, −1 to 1; 0 where either is flat."""
    a, b = one - one.mean(), other - other.mean()
    scale = math.sqrt(float((a * a).sum()) * float((b * b).sum()))
    return float((a * b).sum()) / scale if scale > 1e-6 else 0.0


def _lost(sight: _Sight, reference: _Reference) -> Trouble | None:
    """Blurred or covered: structure that was there is not."""
    usual = reference.cells > EDGE_LEVELS
    if np.count_nonzero(usual) < LEAST_CELLS:
        return None
    # In half the light steps are half as high.
    light = min(1.0, max(0.1, (sight.level - 16.0) / max(1.0, reference.level - 16.0)))
    left = sight.cells[usual] / (reference.cells[usual] * np.float32(light))
    layout = _correlation(_cells(sight.plane), _cells(reference.plane))
    gone = float(np.mean(left < LOST_EDGES))
    bare = np.count_nonzero(sight.cells > EDGE_LEVELS) <= (1 - LOST_SHARE) * np.count_nonzero(usual)
    if layout >= SAME_LAYOUT:
        return Trouble.BLURRED if float(np.median(left)) < BLURRED_EDGES else None
    return Trouble.COVERED if gone >= LOST_SHARE and bare else None


def _is_displaced(edges: Float, usual: Float, aligned: float) -> bool:
    """Whether there is structure that is not where it was: shifted, or of another place altogether."""
    if edges.mean() < LOST_EDGES * usual.mean():
        return False
    dx, dy = _shift(edges, usual)
    if max(abs(dx), abs(dy)) >= MOVED_PX and _correlation(*_overlapping(edges, usual, dx, dy)) >= aligned + MOVED_GAIN:
        return True
    return aligned < ELSEWHERE


def _shift(edges: Float, usual: Float) -> tuple[int, int]:
    """By how many pixels (x, y) ``edges`` lie from ``usual``, by phase correlation.

    Source: Kuglin and Hines, The phase correlation image alignment method, 1975.
    """
    height, width = edges.shape
    spectrum = np.fft.rfft2(edges - edges.mean()) * np.conj(np.fft.rfft2(usual - usual.mean()))
    surface = np.fft.irfft2(spectrum / np.maximum(np.abs(spectrum), 1e-6), s=edges.shape)
    y, x = divmod(int(np.argmax(surface)), width)
    return x - width if x > width // 2 else x, y - height if y > height // 2 else y


def _overlapping(edges: Float, usual: Float, dx: int, dy: int) -> tuple[Float, Float]:
    """The parts of both that show the same once the shift is undone."""
    height, width = edges.shape
    here = edges[max(0, dy) : height + min(0, dy), max(0, dx) : width + min(0, dx)]
    there = usual[max(0, -dy) : height + min(0, -dy), max(0, -dx) : width + min(0, -dx)]
    return here, there
