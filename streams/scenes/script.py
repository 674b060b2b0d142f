"""What a scene's script says: who is where, when, and what must fire. Arithmetic; no picture is looked at.

Coordinates of scripts are pixels of the clip (768×576); truth and zones are fractions of the scene's picture (0–1).
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import cv2
import msgspec
import numpy as np
import numpy.typing as npt

FOLDER = Path(__file__).parent.parent / "footage"
CLIP_WH = (768, 576)
LENGTH_S = 240.0
FPS = 10
FALL_S = 0.6
"""Who falls lies after so long, and stands again as soon."""
WIDTH_BY_HEIGHT = {"van": 1.29, "bag": 1.25, "box": 1.0}
"""Of each prop."""
KNOWN_PROPS = {"van": "car"}
"""Props that a detector knows, and what it takes them for."""

Point = tuple[float, float]
Box = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Walk:
    """One walker of the clip, put in at ``at_s``, moved by (``dx``, ``dy``) px, scaled about the feet.

    Having come to the box ``stand_at`` he stands there for ``stand_s`` (or falls and lies, if he ``lies``), and then
    goes on, or turns round if he ``returns``. ``back``: he goes his whole way from its end to its beginning.
    """

    who: str
    at_s: float
    dx: int = 0
    dy: int = 0
    scale: float = 1.0
    stand_at: int | None = None
    stand_s: float = 0.0
    lies: bool = False
    returns: bool = False
    back: bool = False


class Pose(NamedTuple):
    """How a walker is shown: which of his boxes, flipped or not, and how far he has fallen (0 upright, 1 lies)."""

    box: int
    flipped: bool = False
    fallen: float = 0.0


class Stand(NamedTuple):
    """A prop stands with the middle of its base at (``x``, ``y``), ``height`` px high, at ``at_s``."""

    at_s: float
    x: float
    y: float
    height: float


@dataclass(frozen=True, slots=True)
class Prop:
    """A thing that is put in. It moves evenly from each of its places to the next; before and after it is not there."""

    what: Literal["van", "bag", "box"]
    path: tuple[Stand, ...]


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with the camera's pictures in [``at_s``, ``until_s``), or passes close before the lens (lorry)."""

    kind: Literal["dark", "covered", "blurred", "frozen", "lorry"]
    at_s: float
    until_s: float


@dataclass(frozen=True, slots=True)
class Waypoint:
    """From ``at_s`` on the crop's corner glides to (``x``, ``y``), where it is at ``until_s``, and hovers there."""

    at_s: float
    until_s: float
    x: float
    y: float


class SceneZone(msgspec.Struct, frozen=True):
    """A polygon of the scene's picture, in fractions; two points are a directed line."""

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
    props: tuple[Prop, ...] = ()
    faults: tuple[Fault, ...] = ()
    fresh_grain: bool = False
    """The sensor's noise never comes again; else it does with every sixth picture, which is quicker to draw."""
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


def pose(walk: Walk, frame: int, fps: int) -> Pose | None:
    """How ``walk`` is shown in the scene's ``frame``; None when he is not in the clip's picture then."""
    count, step = len(walkers()[walk.who].boxes), frame - round(walk.at_s * fps)
    stand, pause = count if walk.stand_at is None else walk.stand_at, round(walk.stand_s * fps)
    since, flipped, fallen = step - stand, walk.back, 0.0
    if 0 <= since <= pause:
        step = stand
        fallen = min(1.0, since / fps / FALL_S, (pause - since) / fps / FALL_S) if walk.lies else 0.0
    elif since > pause:
        step = stand - (since - pause) if walk.returns else step - pause
        flipped ^= walk.returns
    if not 0 <= step < count:
        return None
    return Pose(count - 1 - step if walk.back else step, flipped, fallen)


def figure(walk: Walk, shown: Pose) -> Box:
    """Where ``walk`` is seen in the clip, px; lying he is as wide as he was tall, and his feet stay where they were."""
    x1, y1, x2, y2 = placed(walk, walkers()[walk.who].boxes[shown.box])
    if not shown.fallen:
        return x1, y1, x2, y2
    width, height, turn = x2 - x1, y2 - y1, math.radians(90 * shown.fallen)
    wide, tall = width * math.cos(turn) + height * math.sin(turn), height * math.cos(turn) + width * math.sin(turn)
    middle = (x1 + x2) / 2 + height / 2 * math.sin(turn)
    return middle - wide / 2, y2 - tall, middle + wide / 2, y2


def on_stage(scene: Scene, frame: int) -> Iterator[tuple[Walk, Pose]]:
    """The walks that show a walker in the scene's ``frame``, each with how; far ones first."""
    shown = []
    for walk in scene.script:
        how = pose(walk, frame, scene.fps)
        if how is not None:
            shown.append((walkers()[walk.who].boxes[how.box][3] + walk.dy, walk, how))
    return ((walk, how) for _, walk, how in sorted(shown, key=lambda one: one[0]))


def stands(prop: Prop, t_s: float) -> Stand | None:
    """Where ``prop`` is at ``t_s``."""
    for one, other in itertools.pairwise(prop.path):
        if one.at_s <= t_s < other.at_s:
            u = (t_s - one.at_s) / (other.at_s - one.at_s)
            return Stand(t_s, *(a + u * (b - a) for a, b in zip(one[1:], other[1:], strict=True)))
    return None


def label(who: str) -> str:
    """What a detector calls whoever or whatever ``Seen.who`` names.

    >>> label("van@8"), label("red@12.5")
    ('car', 'person')
    """
    return KNOWN_PROPS.get(who.partition("@")[0], "person")


def truth(scene: Scene) -> list[Seen]:
    """Everybody who can be seen, and every prop that a detector knows, picture by picture, in the order of time."""
    seen = []
    for frame in range(scene.frames):
        t_s = frame / scene.fps
        found = [(f"{walk.who}@{walk.at_s:g}", figure(walk, how)) for walk, how in on_stage(scene, frame)]
        for prop in scene.props:
            stand = stands(prop, t_s)
            if stand is not None and prop.what in KNOWN_PROPS:
                found.append((f"{prop.what}@{prop.path[0].at_s:g}", prop_box(prop, stand)))
        for who, box in found:
            visible = _visible(_to_picture(scene, t_s, box))
            if visible is not None:
                seen.append(Seen(t_s, visible, who))
    return seen


def prop_box(prop: Prop, stand: Stand) -> Box:
    """What ``prop`` covers where it stands, px of the clip."""
    half = stand.height * WIDTH_BY_HEIGHT[prop.what] / 2
    return stand.x - half, stand.y - stand.height, stand.x + half, stand.y


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
