"""Cameras made from one real clip, with known events: four for the demo, and two or more for every kind of rule.

The clip's median is its empty place. What differs from it, within the known path of one walker, is cut out with soft
edges and put back at chosen times: same light, same shadows, real gait. A crop, a mirror and a grade make many places
of one. A scene's script is at once what is drawn and the ground truth: who is where, when, and what must fire.
"""

from streams.scenes.cutouts import Footage, load_footage
from streams.scenes.demo import CAMPUS, DRONE, GATE, SCENES, YARD, scene
from streams.scenes.files import GOP_FRAMES, Recorded, prepare, recorded, render
from streams.scenes.script import (
    Box,
    Fault,
    Prop,
    Scene,
    SceneZone,
    ScriptedEvent,
    Seen,
    Stand,
    Walk,
    Waypoint,
    corner,
    inside,
    label,
    scripted_events,
    truth,
    walkers,
)
from streams.scenes.stage import Stage

__all__ = [
    "CAMPUS",
    "DRONE",
    "GATE",
    "GOP_FRAMES",
    "SCENES",
    "YARD",
    "Box",
    "Fault",
    "Footage",
    "Prop",
    "Recorded",
    "Scene",
    "SceneZone",
    "ScriptedEvent",
    "Seen",
    "Stage",
    "Stand",
    "Walk",
    "Waypoint",
    "corner",
    "inside",
    "label",
    "load_footage",
    "prepare",
    "recorded",
    "render",
    "scene",
    "scripted_events",
    "truth",
    "walkers",
]
