"""Four demo cameras made from one real clip, with known events.

The clip's median is its empty place. What differs from it, within the known path of one walker, is cut out with soft
edges and put back at chosen times: same light, same shadows, real gait. A crop, a mirror and a grade make four places
of one. The script below is at once what is drawn and the ground truth: who is where, when, and what must fire.

Coordinates of scripts are pixels of the clip (768×576); truth and zones are fractions of the scene's picture (0–1).
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import cv2
import msgspec
import numpy as np
import numpy.typing as npt

from streams.ids import new_uid

FOLDER = Path(__file__).parent / "footage"
CLIP_WH = (768, 576)
LENGTH_S = 240.0
FPS = 10
POST_FOOT_PX = 392
"""Who has his feet above this line of the clip walks behind the lamp post."""
UNFINISHED_S = 600.0
"""A half drawn video of this age belongs to nobody any more."""
GOP_FRAMES = 20
"""A viewer who joins waits for at most this many pictures."""

Image = npt.NDArray[np.uint8]
Plane = npt.NDArray[np.float32]
Array = npt.NDArray[Any]
Box = tuple[float, float, float, float]
Point = tuple[float, float]
Progress = Callable[[float], None]


@dataclass(frozen=True, slots=True)
class Walk:
    """One walker of the clip, put in at ``at_s``, moved by (``dx``, ``dy``) px, scaled about the feet."""

    who: str
    at_s: float
    dx: int = 0
    dy: int = 0
    scale: float = 1.0


@dataclass(frozen=True, slots=True)
class Waypoint:
    """From ``at_s`` on the crop's corner glides to (``x``, ``y``), where it is at ``until_s``, and hovers there."""

    at_s: float
    until_s: float
    x: float
    y: float


class SceneZone(msgspec.Struct, frozen=True):
    """A polygon of the scene's picture, in fractions."""

    name: str
    points: list[Point]


class ScriptedEvent(msgspec.Struct, frozen=True):
    """``who`` has his feet in ``zone`` from ``at_s`` until ``until_s`` of every round of the scene."""

    at_s: float
    until_s: float
    kind: str
    label: str
    zone: str
    who: str


@dataclass(frozen=True, slots=True)
class Scene:
    """A camera that loops after ``length_s``. ``crop`` is x, y, width, height in px of the clip; it may move."""

    key: str
    title: str
    crop: tuple[float, float, float, float]
    script: tuple[Walk, ...]
    zones: tuple[SceneZone, ...]
    look: str = "day"
    mirror: bool = False
    path: tuple[Waypoint, ...] = ()
    size: tuple[int, int] = (640, 480)
    fps: int = FPS
    length_s: float = LENGTH_S

    @property
    def frames(self) -> int:
        """Pictures in one round."""
        return round(self.length_s * self.fps)


class Seen(msgspec.Struct, frozen=True):
    """Where ``who`` is at ``t_s``: ``xyxy`` in fractions of the picture, cut at its edges."""

    t_s: float
    xyxy: Box
    who: str


class Walker(msgspec.Struct, frozen=True):
    """``boxes[i]`` (x1 y1 x2 y2, px of the clip) is where the walker is in the clip's frame ``first + i``.

    ``borrow``: (from, to, by): while somebody else is in the way, his picture is the one ``by`` frames away, half a
    step or a whole one.
    """

    first: int
    boxes: list[tuple[int, int, int, int]]
    borrow: list[tuple[int, int, int]] = []

    def shown(self, index: int) -> int:
        """The index whose picture stands for ``index``."""
        return index + next((by for first, last, by in self.borrow if first <= index <= last), 0)


def _lane(*points: Point) -> list[Point]:
    return list(points)


LANE_PX: tuple[Point, ...] = ((484, 201), (484, 238), (561, 259), (651, 285), (704, 297), (704, 262), (600, 226))
"""The gate's forbidden lane, px of the clip: drawn on the road, and the zone."""


def _gate_lane() -> list[Point]:
    return [((x - 470) / 298, (y - 118) / 223.5) for x, y in LANE_PX]


def _drone_square() -> list[Point]:
    points = ((745, 397), (650, 379), (574, 354), (420, 320), (430, 352), (560, 410), (745, 480))
    return [(1 - (x - 168) / 600, (y - 126) / 450) for x, y in points]


CAMPUS = Scene(
    key="campus",
    title="Campus path",
    crop=(100, 96, 640, 480),
    script=(
        Walk("blue", 4.0),
        Walk("coat", 20.0),
        Walk("red", 72.0),
        Walk("blue", 121.0),
        Walk("red", 129.0),
        Walk("red", 188.0),
    ),
    zones=(SceneZone("Lawn", _lane((0.03, 0.54), (0.20, 0.60), (0.47, 0.76), (0.60, 0.97), (0.03, 0.97))),),
)
GATE = Scene(
    key="gate",
    title="Gate",
    crop=(470, 118, 298, 223.5),
    script=(
        Walk("hat", 12.0),
        Walk("black", 44.0, dy=16),
        Walk("red", 82.0, dy=-95, scale=0.92),
        Walk("grey", 131.0, dy=16),
        Walk("blue", 163.0),
        Walk("black", 214.0, dy=16),
    ),
    zones=(SceneZone("Forbidden lane", _gate_lane()),),
    look="gate",
)
YARD = Scene(
    key="yard",
    title="Yard at night",
    crop=(0, 150, 400, 300),
    mirror=True,
    script=(
        Walk("blue", 31.0),
        Walk("red", 78.0),
        Walk("red", 136.0, dy=120, scale=1.3),
        Walk("blue", 197.0),
    ),
    zones=(SceneZone("Yard", _lane((0.04, 0.68), (0.45, 0.62), (0.97, 0.62), (0.97, 0.98), (0.04, 0.98))),),
    look="night",
)
DRONE = Scene(
    key="drone",
    title="Drone, harbour square",
    crop=(168, 126, 600, 450),
    mirror=True,
    script=(
        Walk("red", 14.0, dy=-12),
        Walk("coat", 50.0),
        Walk("coat", 115.0),
        Walk("red", 176.0, dy=-12),
        Walk("blue", 203.5),
    ),
    zones=(SceneZone("Closed square", _drone_square()),),
    look="dry",
    path=(Waypoint(84.0, 104.0, 128, 60), Waypoint(148.0, 168.0, 168, 126)),
)
SCENES = (CAMPUS, GATE, YARD, DRONE)


def scene(key: str) -> Scene:
    """The scene called ``key``. Raises ``ValueError`` naming those there are."""
    for known in SCENES:
        if known.key == key:
            return known
    raise ValueError(f"scene: expected one of {', '.join(one.key for one in SCENES)}, got {key!r}")


# --- The truth: arithmetic on the script, no picture is looked at -----------------------------------------------------


@functools.cache
def walkers() -> dict[str, Walker]:
    """The clip's walkers by name."""
    return msgspec.json.decode((FOLDER / "walkers.json").read_bytes(), type=dict[str, Walker])


def corner(scene: Scene, t_s: float) -> tuple[float, float]:
    """The crop's left upper corner at ``t_s``, in px of the clip; it starts and stops gently."""
    x, y = scene.crop[:2]
    for leg in scene.path:
        if t_s <= leg.at_s:
            break
        u = min(1.0, (t_s - leg.at_s) / (leg.until_s - leg.at_s))
        u = u * u * (3 - 2 * u)
        x, y = x + u * (leg.x - x), y + u * (leg.y - y)
    return x, y


def transform(scene: Scene, t_s: float) -> npt.NDArray[np.float64]:
    """The ``(2, 3)`` matrix from px of the clip to px of the picture at ``t_s``."""
    x, y = corner(scene, t_s)
    width, height = scene.size
    sx, sy = width / scene.crop[2], height / scene.crop[3]
    if scene.mirror:
        return np.array([[-sx, 0, width - 1 + x * sx], [0, sy, -y * sy]], np.float64)
    return np.array([[sx, 0, -x * sx], [0, sy, -y * sy]], np.float64)


def placed(walk: Walk, box: Sequence[float]) -> Box:
    """The clip's ``box`` where the walk puts it, px of the clip."""
    x1, y1, x2, y2 = box
    half, middle, feet = (x2 - x1) / 2 * walk.scale, (x1 + x2) / 2 + walk.dx, y2 + walk.dy
    return middle - half, feet - (y2 - y1) * walk.scale, middle + half, feet


def _to_picture(scene: Scene, t_s: float, box: Box) -> Box:
    matrix, (width, height) = transform(scene, t_s), scene.size
    xs = sorted((matrix[0, 0] * box[0] + matrix[0, 2], matrix[0, 0] * box[2] + matrix[0, 2]))
    ys = (matrix[1, 1] * box[1] + matrix[1, 2], matrix[1, 1] * box[3] + matrix[1, 2])
    return float(xs[0] / width), float(ys[0] / height), float(xs[1] / width), float(ys[1] / height)


def _visible(box: Box) -> Box | None:
    x1, y1, x2, y2 = (min(1.0, max(0.0, value)) for value in box)
    return (x1, y1, x2, y2) if x2 > x1 and y2 > y1 else None


def on_stage(scene: Scene, frame: int) -> Iterator[tuple[Walk, int]]:
    """The walks that show a walker in the scene's ``frame``, each with the index into his boxes; far ones first."""
    shown = []
    for walk in scene.script:
        index = frame - round(walk.at_s * scene.fps)
        if 0 <= index < len(walkers()[walk.who].boxes):
            shown.append((walkers()[walk.who].boxes[index][3] + walk.dy, walk, index))
    return ((walk, index) for _, walk, index in sorted(shown, key=lambda one: one[0]))


def truth(scene: Scene) -> list[Seen]:
    """Everybody who can be seen, picture by picture, in the order of time."""
    seen = []
    for frame in range(scene.frames):
        t_s = frame / scene.fps
        for walk, index in on_stage(scene, frame):
            box = _visible(_to_picture(scene, t_s, placed(walk, walkers()[walk.who].boxes[index])))
            if box is not None:
                seen.append(Seen(t_s, box, f"{walk.who}@{walk.at_s:g}"))
    return seen


def inside(points: Sequence[Point], at: Point) -> bool:
    """Whether ``at`` lies in the polygon."""
    return cv2.pointPolygonTest(np.array(points, np.float32), at, False) >= 0


def scripted_events(scene: Scene) -> list[ScriptedEvent]:
    """What must fire: each stay of a walker's feet in a zone, longer than a second. Nothing else may."""
    stays: dict[tuple[str, str], list[float]] = {}
    for one in truth(scene):
        feet = ((one.xyxy[0] + one.xyxy[2]) / 2, one.xyxy[3])
        for zone in scene.zones:
            if inside(zone.points, feet):
                stays.setdefault((one.who, zone.name), []).append(one.t_s)
    return sorted(
        (
            ScriptedEvent(times[0], times[-1], "presence", "person", zone, who)
            for (who, zone), times in stays.items()
            if times[-1] - times[0] > 1.0
        ),
        key=lambda event: event.at_s,
    )


# --- The pictures -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Cutout:
    """A walker in one picture: ``colour (h, w, 3)``, at (``x``, ``y``) of the clip.

    ``soft`` and ``solid`` are ``(h, w) float32`` 0–1: with his shadow, for his own place; without, for another.
    """

    x: int
    y: int
    colour: Image
    soft: Plane
    solid: Plane


@dataclass(frozen=True, slots=True)
class Footage:
    """The empty place and everybody cut out of it."""

    empty: Image
    cutouts: dict[str, list[Cutout]]


def _margin(box: Sequence[int]) -> tuple[int, int, int, int]:
    x1, y1, x2, y2 = box
    side, top = max(6, (x2 - x1) // 4), max(6, (y2 - y1) // 12)
    return max(0, x1 - side), max(0, y1 - top), min(CLIP_WH[0], x2 + side), min(CLIP_WH[1], y2 + top)


def load_footage(clip: Path = FOLDER / "campus.mp4") -> Footage:
    """Decode the clip once, find its empty place and cut the walkers out. About 3 s and 150 MB."""
    wanted: dict[int, list[tuple[str, int]]] = {}
    for who, walker in walkers().items():
        for index in range(len(walker.boxes)):
            wanted.setdefault(walker.first + index, []).append((who, index))
    samples: list[Image] = []
    patches: dict[tuple[str, int], Image] = {}
    with av.open(str(clip)) as container:
        for number, frame in enumerate(container.decode(video=0)):
            if number not in wanted and number % 16:
                continue
            picture = np.asarray(frame.to_ndarray(format="bgr24"), np.uint8)
            if number % 16 == 0:
                samples.append(picture)
            for who, index in wanted.get(number, ()):
                x1, y1, x2, y2 = _margin(walkers()[who].boxes[index])
                patches[who, index] = picture[y1:y2, x1:x2].copy()
    empty = _median(samples)
    cutouts = {}
    for who, walker in walkers().items():
        own = [_cut(empty, patches[who, index], box) for index, box in enumerate(walker.boxes)]
        cutouts[who] = [_lent(walker, own, index) for index in range(len(own))]
    return Footage(empty, cutouts)


def _lent(walker: Walker, own: list[Cutout], index: int) -> Cutout:
    """The cut-out for ``index``, moved to where the walker is then."""
    other = walker.shown(index)
    if other == index:
        return own[index]
    here, there, cutout = walker.boxes[index], walker.boxes[other], own[other]
    return _resized(cutout, (here[3] - here[1]) / (there[3] - there[1]), (there, here))


def _resized(cutout: Cutout, scale: float, feet: tuple[Sequence[float], Sequence[float]]) -> Cutout:
    """The cut-out at another size, moved so that the feet of the first box come to those of the second."""
    height, width = cutout.soft.shape
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    colour = np.asarray(cv2.resize(cutout.colour, size, interpolation=cv2.INTER_CUBIC), np.uint8)
    soft, solid = (np.asarray(cv2.resize(alpha, size), np.float32) for alpha in (cutout.soft, cutout.solid))
    before, after = (((box[0] + box[2]) / 2, box[3]) for box in feet)
    x, y = (at + (corner - was) * scale for at, corner, was in zip(after, (cutout.x, cutout.y), before, strict=True))
    return Cutout(round(x), round(y), colour, soft, solid)


def _median(samples: list[Image]) -> Image:
    stack = np.stack(samples)
    middle = len(samples) // 2
    # Rows at a time: a partition of the whole stack would need it all in memory twice.
    rows = [np.partition(stack[:, y : y + 32], middle, axis=0)[middle] for y in range(0, stack.shape[1], 32)]
    return np.concatenate(rows)


def _cut(empty: Image, patch: Image, box: Sequence[int]) -> Cutout:
    x, y, x2, y2 = _margin(box)
    behind = empty[y:y2, x:x2]
    differs = cv2.absdiff(patch, behind).max(axis=2).astype(np.float32)
    far = np.asarray(cv2.GaussianBlur(differs, (0, 0), 0.8), np.float32)
    tight = (box[0] - x, box[1] - y, box[2] - x, box[3] - y)
    at_edge = box[0] <= 2 or box[2] >= CLIP_WH[0] - 2
    near = np.ones_like(far) if at_edge else _window(far.shape, tight)
    body = _body(far > 22, tight)
    filled = cv2.erode(cv2.morphologyEx(body, cv2.MORPH_CLOSE, _square(7)), _square(7))
    soft: Array = np.maximum(np.clip((far - 8) / 14, 0, 1) * body, filled).astype(np.float32)
    # A shadow belongs to its ground and an edge to what was behind it: elsewhere both would show as a halo.
    far = np.asarray(cv2.morphologyEx(far, cv2.MORPH_OPEN, _square(3)), np.float32)
    solid: Array = cv2.morphologyEx(
        np.clip((far - 30) / 24, 0, 1) * _body(far > 38, tight), cv2.MORPH_CLOSE, _square(3)
    )
    solid = cv2.erode(solid.astype(np.float32), _square(2))
    soft, solid = (cv2.GaussianBlur(alpha, (0, 0), 0.9) * near for alpha in (soft, solid))
    return Cutout(x, y, _unmixed(patch, behind, soft), soft, solid)


def _window(shape: tuple[int, ...], box: tuple[int, int, int, int]) -> Plane:
    """1 where a person in ``box`` can be, narrower at the head than at the feet; who walks beside him is left out."""
    x1, y1, x2, y2 = box
    height = max(1, y2 - y1)
    y, x = np.mgrid[0 : shape[0], 0 : shape[1]].astype(np.float32)
    down = np.clip((y - y1) / height, 0, 1)
    half = np.maximum(height * (0.13 + 0.15 * down), 0.62 * (x2 - x1) * down)
    beside = np.abs(x - (x1 + x2 - 1) / 2) - half
    beyond = np.maximum(y1 - 1 - y, y - y2 - 3)
    return np.asarray(np.clip(1 - np.maximum(beside, beyond) / 3, 0, 1), np.float32)


def _square(side: int) -> Image:
    return np.ones((side, side), np.uint8)


def _body(differs: npt.NDArray[np.bool_], box: tuple[int, int, int, int]) -> Image:
    """Which pixels are the walker's, slightly grown: the largest part that differs, and what is over or under it."""
    core = cv2.morphologyEx(differs.astype(np.uint8), cv2.MORPH_CLOSE, _square(5))
    count, parts, stats, _ = cv2.connectedComponentsWithStats(core)
    x1, y1, x2, y2 = box
    within = np.bincount(parts[max(0, y1) : y2 + 1, max(0, x1) : x2 + 1].ravel(), minlength=count)
    within[0] = 0
    main = int(within.argmax())
    left, width, area = (stats[:, kind] for kind in (cv2.CC_STAT_LEFT, cv2.CC_STAT_WIDTH, cv2.CC_STAT_AREA))
    shared = np.minimum(left + width, left[main] + width[main]) - np.maximum(left, left[main])
    keep = (within > 0.6 * area) & (area > 12) & (shared > 0.5 * width)
    keep[main], keep[0] = main > 0, False
    return np.asarray(cv2.dilate(keep[parts].astype(np.uint8), _square(5)), np.uint8)


def _unmixed(patch: Image, behind: Image, alpha: Plane) -> Image:
    """The walker's own colour where his edge is mixed with the place, so that he may stand elsewhere without a halo."""
    a = np.maximum(alpha, 0.35)[..., None]
    return np.clip((patch - (1 - a) * behind) / a, 0, 255).astype(np.uint8)


class Look:
    """How a place looks: ``grade`` turns a part of the clip's picture, at (x, y), into the scene's colours."""

    def __init__(self, name: str, empty: Image) -> None:
        self.empty = _DRESSED.get(name, _as_is)(empty)
        self._matrix, self._curve, self._light = _GRADES[name]()
        self.grain = 1.6 if name == "night" else 0.9

    def grade(self, part: Image, x: int, y: int) -> Image:
        """``part`` is ``(h, w, 3)`` BGR whose corner lies at (``x``, ``y``) of the clip."""
        graded: Array = part if self._matrix is None else cv2.transform(part, self._matrix)
        graded = cv2.LUT(graded, self._curve)
        if self._light is not None:
            light = self._light[y : y + part.shape[0], x : x + part.shape[1]]
            graded = cv2.convertScaleAbs(cv2.multiply(graded, light, dtype=cv2.CV_32F))
        return np.asarray(graded, np.uint8)


Grade = tuple[Plane | None, Image, Plane | None]


def _curve(gamma: float, gain: tuple[float, float, float], lift: float = 0.0) -> Image:
    """A look-up table ``(1, 256, 3)`` BGR."""
    x = np.linspace(0, 1, 256)[:, None] ** gamma
    return np.asarray(np.clip(255 * (lift + x * np.array(gain)), 0, 255), np.uint8).reshape(1, 256, 3)


def _day() -> Grade:
    return None, _curve(1.0, (1.0, 1.0, 1.0)), None


def _gate() -> Grade:
    return None, _curve(0.92, (1.02, 0.96, 0.93), 0.01), None


def _dry() -> Grade:
    """Late summer: the green of the grass leans to straw, the light is warm."""
    matrix = np.array([[0.95, 0.02, 0.0], [0.0, 0.80, 0.16], [-0.10, 0.55, 0.58]], np.float32)
    return matrix, _curve(0.86, (0.90, 1.0, 1.04), 0.01), None


def _night() -> Grade:
    """Two lamps: everything is dark and a little blue but under them."""
    matrix = np.array([[0.62, 0.28, 0.10], [0.15, 0.62, 0.20], [0.10, 0.30, 0.56]], np.float32)
    y, x = np.mgrid[0 : CLIP_WH[1], 0 : CLIP_WH[0]].astype(np.float32)
    pools = [(300, 330, 150, 110, 1.0), (70, 300, 130, 120, 0.8)]
    glow = sum(p * np.exp(-(((x - cx) / w) ** 2 + ((y - cy) / h) ** 2)) for cx, cy, w, h, p in pools)
    warm = np.array([0.42, 0.72, 0.90], np.float32)
    cold = np.array([0.34, 0.26, 0.22], np.float32)
    light = cold + np.asarray(glow)[..., None] * warm
    return matrix, _curve(1.45, (0.92, 0.90, 0.90), 0.01), light.astype(np.float32)


_GRADES: dict[str, Callable[[], Grade]] = {"day": _day, "gate": _gate, "dry": _dry, "night": _night}


def _as_is(empty: Image) -> Image:
    return empty


def _blank_sign(empty: Image) -> Image:
    """The place with nothing written on its sign: a mirror would show the words the wrong way round."""
    blank = empty.copy()
    blank[208:240, 418:443] = np.median(empty[208:240, 418:443].reshape(-1, 3), axis=0)
    return blank


def _with_gate(empty: Image) -> Image:
    """The place with a lane hatched in worn yellow paint and a raised boom beside it."""
    boom = _hatched(empty)
    foot, tip = np.array([724.0, 250.0]), np.array([664.0, 150.0])
    steps = 11
    for step in range(steps):
        a, b = (foot + (tip - foot) * part / steps for part in (step, step + 1))
        cv2.line(boom, _px(a), _px(b), (52, 48, 168) if step % 2 else (205, 208, 210), 2, cv2.LINE_AA, 4)
    cv2.rectangle(boom, (719, 244), (729, 272), (74, 76, 78), -1, cv2.LINE_AA)
    cv2.rectangle(boom, (719, 244), (729, 248), (60, 150, 190), -1, cv2.LINE_AA)
    return boom


def _px(point: Sequence[float] | npt.NDArray[np.float64]) -> tuple[int, int]:
    """In sixteenths of a pixel, as ``shift=4`` has it."""
    return round(float(point[0]) * 16), round(float(point[1]) * 16)


def _hatched(empty: Image) -> Image:
    corners = np.array([_px(point) for point in LANE_PX], np.int32)
    area = np.zeros(empty.shape[:2], np.uint8)
    cv2.fillPoly(area, [corners], 255, cv2.LINE_AA, 4)
    stripes = np.zeros_like(area)
    for x in range(420, 760, 20):
        cv2.line(stripes, (x, 310), (x + 90, 190), 255, 2, cv2.LINE_AA)
    paint: Array = cv2.min(area, stripes)
    cv2.polylines(paint, [corners], True, 255, 2, cv2.LINE_AA, 4)
    share = (cv2.GaussianBlur(paint, (0, 0), 0.7).astype(np.float32) / 255 * 0.55)[..., None]
    # Worn paint keeps the tarmac's own texture.
    texture = empty.mean(axis=2, keepdims=True) / 128
    return np.asarray(np.clip(empty * (1 - share) + share * texture * np.array([70, 180, 210]), 0, 255), np.uint8)


_DRESSED: dict[str, Callable[[Image], Image]] = {"gate": _with_gate, "dry": _blank_sign, "night": _blank_sign}


def _behind_post() -> Plane:
    """0 where the lamp post and its sign hide whoever walks behind them, else 1; ``(576, 768)``."""
    front = np.zeros((CLIP_WH[1], CLIP_WH[0]), np.float32)
    front[202:245, 413:447] = 1
    front[90:392, 426:438] = 1
    return 1 - np.asarray(cv2.GaussianBlur(front, (0, 0), 0.7), np.float32)


class Stage:
    """Draws one scene, picture by picture. Deterministic: the same picture for the same number, every time."""

    def __init__(self, scene: Scene, footage: Footage) -> None:
        self._scene, self._footage = scene, footage
        self._look = Look(scene.look, footage.empty)
        self._graded = self._look.grade(self._look.empty, 0, 0)
        self._empty_at: tuple[float, float] | None = None
        self._empty = self._graded
        self._behind = _behind_post()
        random = np.random.default_rng(20090617)
        shape = (scene.size[1], scene.size[0])
        self._grains = [np.rint(random.normal(0, self._look.grain, shape)).astype(np.int8) for _ in range(5)]

    def picture(self, frame: int) -> Image:
        """Frame ``frame`` as I420, ``(h·3/2, w) uint8``."""
        scene, t_s = self._scene, frame / self._scene.fps
        if self._empty_at != corner(scene, t_s):
            self._empty_at = corner(scene, t_s)
            self._empty = self._warp(self._graded, transform(scene, t_s), scene.size)
        shown = list(on_stage(scene, frame))
        picture = self._empty.copy() if shown else self._empty
        for walk, index in shown:
            self._draw(picture, t_s, walk, index)
        return self._noisy(np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2YUV_I420), np.uint8), frame)

    @staticmethod
    def _warp(source: Image, matrix: npt.NDArray[np.float64], size: tuple[int, int]) -> Image:
        warped = cv2.warpAffine(source, matrix, size, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
        return np.asarray(warped, np.uint8)

    def _noisy(self, yuv: Image, frame: int) -> Image:
        luma = yuv[: self._scene.size[1]]
        grain = self._grains[frame % len(self._grains)]
        cv2.add(luma, grain, dst=luma, dtype=cv2.CV_8U)
        return yuv

    def _draw(self, picture: Image, t_s: float, walk: Walk, index: int) -> None:
        """Composite in the clip's pixels, grade, then warp only the part that changed."""
        box = walkers()[walk.who].boxes[index]
        cutout, alpha = self._moved(walk, self._footage.cutouts[walk.who][index], box)
        x, y, (height, width) = cutout.x, cutout.y, alpha.shape
        x1, y1, x2, y2 = max(0, x - 3), max(0, y - 3), min(CLIP_WH[0], x + width + 3), min(CLIP_WH[1], y + height + 3)
        left, top, right, bottom = max(0, x), max(0, y), min(CLIP_WH[0], x + width), min(CLIP_WH[1], y + height)
        if right <= left or bottom <= top:
            return
        ground = self._look.empty[y1:y2, x1:x2].astype(np.float32)
        over = ground[top - y1 : bottom - y1, left - x1 : right - x1]
        share = alpha[top - y : bottom - y, left - x : right - x, None]
        if box[3] + walk.dy < POST_FOOT_PX:
            share = share * self._behind[top:bottom, left:right, None]
        over += share * (cutout.colour[top - y : bottom - y, left - x : right - x] - over)
        self._paste(picture, t_s, self._look.grade(ground.astype(np.uint8), x1, y1), x1, y1)

    @staticmethod
    def _moved(walk: Walk, cutout: Cutout, box: Sequence[float]) -> tuple[Cutout, Plane]:
        if walk.scale == 1.0 and not walk.dx and not walk.dy:
            return cutout, cutout.soft
        x1, y1, x2, y2 = placed(walk, box)
        moved = _resized(cutout, walk.scale, (box, (x1, y1, x2, y2)))
        return moved, moved.solid

    def _paste(self, picture: Image, t_s: float, part: Image, x: int, y: int) -> None:
        matrix, (width, height) = transform(self._scene, t_s), self._scene.size
        part_height, part_width = part.shape[:2]
        ends = sorted(matrix[0, 0] * (x + end) + matrix[0, 2] for end in (2, part_width - 3))
        left, right = max(0, int(np.ceil(ends[0]))), min(width, int(ends[1]) + 1)
        top = max(0, int(np.ceil(matrix[1, 1] * (y + (2 if y else 0)) + matrix[1, 2])))
        bottom = min(height, int(matrix[1, 1] * (y + part_height - 3) + matrix[1, 2]) + 1)
        if right <= left or bottom <= top:
            return
        local = matrix.copy()
        local[:, 2] += matrix[:, :2] @ (x, y) - (left, top)
        picture[top:bottom, left:right] = self._warp(part, local, (right - left, bottom - top))


# --- Files ------------------------------------------------------------------------------------------------------------


class Recorded(msgspec.Struct, frozen=True):
    """What stands beside each video: the scene's truth, for tests and the canary."""

    key: str
    title: str
    fps: int
    size: tuple[int, int]
    length_s: float
    zones: list[SceneZone]
    events: list[ScriptedEvent]
    seen: list[Seen]


def version() -> str:
    """Names everything that decides what the videos look like; another one means drawing them anew."""
    digest = hashlib.sha256()
    for path in (Path(__file__), FOLDER / "walkers.json", FOLDER / "campus.mp4"):
        digest.update(path.read_bytes())
    digest.update(av.__version__.encode() + cv2.__version__.encode())
    return digest.hexdigest()[:16]


def recorded(scene: Scene) -> Recorded:
    """The scene's truth as it is written beside its video."""
    return Recorded(
        scene.key,
        scene.title,
        scene.fps,
        scene.size,
        scene.length_s,
        list(scene.zones),
        scripted_events(scene),
        truth(scene),
    )


def render(scene: Scene, path: Path, progress: Progress | None = None, footage: Footage | None = None) -> None:
    """Write the scene as H.264 in MP4 to ``path``, complete or not at all, and its truth beside it (``.json``).

    ``progress`` is called about 20 times with the share done, 0–1. Takes 6 s on one core. Raises ``OSError``.
    """
    stage = Stage(scene, footage or load_footage())
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.stem}.{new_uid().hex}.mp4")
    try:
        _encode(scene, stage, unfinished, progress or (lambda share: None))
        truth_path = unfinished.with_suffix(".json")
        truth_path.write_bytes(msgspec.json.encode(recorded(scene)))
        os.replace(truth_path, path.with_suffix(".json"))
        os.replace(unfinished, path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            unfinished.unlink()


def _encode(scene: Scene, stage: Stage, path: Path, progress: Progress) -> None:
    # No B-frames: a camera sends pictures in the order in which it took them, and RTP carries no other.
    options = {
        "preset": "veryfast",
        "tune": "zerolatency",
        "crf": "24",
        "g": str(GOP_FRAMES),
        "keyint_min": str(GOP_FRAMES),
        "sc_threshold": "0",
        "threads": "1",
    }
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=scene.fps, options=options)
        stream.width, stream.height = scene.size
        stream.pix_fmt = "yuv420p"
        for number in range(scene.frames):
            picture = av.VideoFrame.from_ndarray(stage.picture(number), format="yuv420p")
            picture.pts = number
            container.mux(stream.encode(picture))
            if number % max(1, scene.frames // 20) == 0:
                progress(number / scene.frames)
        container.mux(stream.encode())
    progress(1.0)


def prepare(
    folder: Path, scenes: Sequence[Scene] = SCENES, progress: Callable[[str, float], None] | None = None
) -> dict[str, Path]:
    """The videos of ``scenes`` by key, drawn where this version of them is not yet in ``folder``.

    ``progress`` is called with the scene's title and the share of it that is done.
    """
    tell = progress or (lambda title, share: None)
    name = version()
    paths = {one.key: folder / f"{one.key}-{name}.mp4" for one in scenes}
    missing = [one for one in scenes if not paths[one.key].exists() or not paths[one.key].with_suffix(".json").exists()]
    footage = load_footage() if missing else None
    for one in missing:
        render(one, paths[one.key], functools.partial(tell, one.title), footage)
        _tidy(folder, paths[one.key])
    return paths


def _tidy(folder: Path, keep: Path) -> None:
    """Delete what other versions of one scene left behind, and what a stopped process did not finish."""
    key = keep.stem.partition("-")[0]
    for path in [*folder.glob(f"{key}-*"), *folder.glob(f".{key}-*")]:
        if path.stem != keep.stem and (path.name[0] != "." or time.time() - path.stat().st_mtime > UNFINISHED_S):
            path.unlink(missing_ok=True)
