"""The four demo cameras' scenes: four minutes each, with one event."""

from __future__ import annotations

from streams.scenes.script import Point, Scene, SceneZone, Walk, Waypoint


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
