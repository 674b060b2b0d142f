"""Scenes that try every kind of rule: for each one in which its event happens, and one in which it must stay silent.

Each begins with ``LEAD_S`` of what has always been so, in which a camera that is just being connected to loses nothing.
A trial says which rules watch it, set as somebody would set them on a screen, and when each must fire.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from streams.scenes.script import Fault, Point, Prop, Scene, SceneZone, Stand, Walk, Waypoint

LEAD_S = 8.0
"""Nothing that matters happens before."""
LATE_S = 3.0
"""So long after it was due a rule may fire: the gate's, the confirmation's and the detector's pictures."""

Crop = tuple[float, float, float, float]
ROAD: Crop = (318, 126, 450, 337.5)
JUNCTION: Crop = (168, 126, 600, 450)
WHOLE = SceneZone("Picture", [(0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0)])


@dataclass(frozen=True, slots=True)
class Watching:
    """A rule of ``kind`` on one of the scene's zones. ``due``: when, by the script, it has what it waits for.

    It must fire once for each, at most ``late_s`` later, and never else. A kind that counts must come to ``counts``
    (forward, backward) instead.
    """

    kind: str
    zone: str = WHOLE.name
    config: dict[str, Any] = field(default_factory=dict)
    due: tuple[float, ...] = ()
    late_s: float = LATE_S
    counts: tuple[int, int] | None = None
    name: str = ""
    follows: tuple[str, str] | None = None
    """A sequence: the names of its two rules."""


@dataclass(frozen=True, slots=True)
class Trial:
    """A scene, what watches it, and which numbers a sensor beside the camera measures (at_s, quantity, value)."""

    scene: Scene
    rules: tuple[Watching, ...]
    measured: tuple[tuple[float, str, float], ...] = ()
    static_regions: bool = False

    @property
    def key(self) -> str:
        """The scene's."""
        return self.scene.key

    @property
    def kind(self) -> str:
        """Of the rule it is about: the last."""
        return self.rules[-1].kind


def _zone(name: str, crop: Crop, *points: Point) -> SceneZone:
    """``points`` of the clip, px, as fractions of ``crop``."""
    x, y, width, height = crop
    return SceneZone(name, [((px - x) / width, (py - y) / height) for px, py in points])


BAY = _zone("Bay", ROAD, (440, 282), (620, 338), (620, 352), (440, 306))
"""A strip of the road that only the walker in red walks along."""
FORECOURT = _zone("Forecourt", ROAD, (400, 240), (640, 240), (640, 400), (400, 400))
NEAR_HALF = _zone("Near half", ROAD, (560, 240), (700, 240), (700, 400), (560, 400))
FAR_HALF = _zone("Far half", ROAD, (340, 220), (500, 220), (500, 400), (340, 400))
KERB = _zone("Kerb line", ROAD, (500, 225), (500, 400))
"""Its arrow points to the left."""
SHORT_LINE = _zone("Short line", ROAD, (500, 345), (500, 420))
"""Only who walks nearest goes over it; the others go around its end."""
STOPPING = _zone("No stopping", JUNCTION, (380, 230), (660, 230), (660, 420), (380, 420))
LEFTWARDS = _zone("One way", JUNCTION, (620, 300), (240, 250))
RIGHTWARDS = _zone("One way", JUNCTION, (240, 250), (620, 300))

DRIVE_IN = (Stand(LEAD_S, 120, 250, 56), Stand(LEAD_S + 4, 520, 296, 60))
HALT_AT_S = LEAD_S + 4


def _scene(key: str, title: str, length_s: float, *zones: SceneZone, crop: Crop = ROAD, **more: Any) -> Scene:
    return Scene(key=key, title=title, crop=crop, zones=zones, length_s=length_s, script=more.pop("script", ()), **more)


# --- Who is where -----------------------------------------------------------------------------------------------------

PASSERS = (Walk("blue", 9.0), Walk("hat", 13.0), Walk("jeans", 17.0), Walk("black", 20.0), Walk("grey", 24.0))
PRESENCE = (
    Trial(
        _scene("presence", "Somebody steps into the bay", 20.0, BAY, script=(Walk("red", 9.0),)),
        (Watching("presence", "Bay", due=(12.0,)),),
    ),
    Trial(
        _scene("presence_silent", "Five pass beside the bay", 31.0, BAY, script=PASSERS),
        (Watching("presence", "Bay"),),
    ),
)
CROSSING = (
    Trial(
        _scene("crossing", "Somebody goes over the line", 20.0, KERB, script=(Walk("red", 9.0),)),
        (Watching("crossing", "Kerb line", {"direction": "forward"}, due=(13.6,)),),
    ),
    Trial(
        _scene(
            "crossing_silent",
            "One turns back before it, one goes the other way, one goes around its end",
            36.0,
            KERB,
            SHORT_LINE,
            script=(Walk("red", 9.0, stand_at=36, stand_s=2.0, returns=True), Walk("hat", 20.0, back=True)),
        ),
        (
            Watching("crossing", "Short line", {"direction": "both"}),
            Watching("crossing", "Kerb line", {"direction": "forward"}),
        ),
    ),
)
COUNTING = (
    Trial(
        _scene(
            "counting",
            "Three go in, one comes out",
            42.0,
            KERB,
            script=(Walk("red", 9.0), Walk("hat", 14.0), Walk("blue", 20.0), Walk("grey", 24.5)),
        ),
        (Watching("counting", "Kerb line", {"interval_s": 10}, counts=(3, 1)),),
    ),
    Trial(
        _scene(
            "counting_silent",
            "Two go around the line's end, one turns back before it",
            42.0,
            SHORT_LINE,
            script=(Walk("red", 9.0), Walk("black", 13.0), Walk("blue", 18.0, stand_at=16, stand_s=2.0, returns=True)),
        ),
        (Watching("counting", "Short line", {"interval_s": 10}, counts=(0, 0)),),
    ),
)
DWELL = (
    Trial(
        _scene("dwell", "Somebody waits", 33.0, FORECOURT, script=(Walk("red", 9.0, stand_at=38, stand_s=14.0),)),
        (Watching("dwell", "Forecourt", {"hold_s": 10.0}, due=(21.0,)),),
    ),
    Trial(
        _scene(
            "dwell_silent",
            "Three pass one after the other, one waits outside",
            33.0,
            FORECOURT,
            script=(
                Walk("red", 9.0),
                Walk("hat", 15.0),
                Walk("black", 21.0),
                Walk("blue", 9.0, stand_at=8, stand_s=14.0, returns=True),
            ),
        ),
        (Watching("dwell", "Forecourt", {"hold_s": 10.0}),),
    ),
)
CROWD = (
    Trial(
        _scene(
            "crowd",
            "Three meet",
            32.0,
            FORECOURT,
            script=(
                Walk("red", 9.0, stand_at=52, stand_s=9.0),
                Walk("hat", 11.0, stand_at=26, stand_s=8.0),
                Walk("blue", 12.5, stand_at=16, stand_s=7.0),
            ),
        ),
        (Watching("crowd", "Forecourt", {"count": 3, "hold_s": 3.0}, due=(16.5,)),),
    ),
    Trial(
        _scene(
            "crowd_silent",
            "Two meet, and one after the other passes outside",
            32.0,
            FORECOURT,
            script=(
                Walk("red", 9.0, stand_at=52, stand_s=9.0),
                Walk("hat", 11.0, stand_at=26, stand_s=8.0),
                Walk("blue", 12.0, stand_at=6, stand_s=8.0, returns=True),
            ),
        ),
        (Watching("crowd", "Forecourt", {"count": 3, "hold_s": 3.0}),),
    ),
)

# --- How it moves -----------------------------------------------------------------------------------------------------

VEHICLES = {"labels": ["vehicle"], "confidence": 0.35}
DRIVE_ON = (Stand(LEAD_S, 120, 250, 56), Stand(LEAD_S + 7, 820, 330, 62))
STOPPED = (
    Trial(
        _scene(
            "stopped",
            "A van stops where it must not",
            32.0,
            STOPPING,
            crop=JUNCTION,
            props=(Prop("van", (*DRIVE_IN, Stand(HALT_AT_S + 14, 520, 296, 60), Stand(HALT_AT_S + 17, 830, 334, 63))),),
        ),
        (Watching("stopped", "No stopping", {**VEHICLES, "hold_s": 8.0}, due=(HALT_AT_S + 8.0,)),),
    ),
    Trial(
        _scene(
            "stopped_silent",
            "One van has been parked all along, another halts for a moment",
            32.0,
            STOPPING,
            crop=JUNCTION,
            props=(
                Prop("van", (*DRIVE_IN, Stand(HALT_AT_S + 4, 520, 296, 60), Stand(HALT_AT_S + 7, 830, 334, 63))),
                Prop("van", (Stand(0.0, 600, 410, 66), Stand(32.0, 600, 410, 66))),
            ),
        ),
        (Watching("stopped", "No stopping", {**VEHICLES, "hold_s": 8.0}),),
    ),
)
WRONG_WAY = (
    Trial(
        _scene(
            "wrong_way", "A van goes against the arrow", 22.0, LEFTWARDS, crop=JUNCTION, props=(Prop("van", DRIVE_ON),)
        ),
        (Watching("wrong_way", "One way", VEHICLES, due=(9.5,)),),
    ),
    Trial(
        _scene(
            "wrong_way_silent",
            "A van goes with the arrow, somebody walks against it",
            32.0,
            RIGHTWARDS,
            crop=JUNCTION,
            props=(Prop("van", DRIVE_ON),),
            script=(Walk("red", 14.0),),
        ),
        (Watching("wrong_way", "One way", VEHICLES),),
    ),
)
PERSON_DOWN = (
    Trial(
        _scene(
            "person_down",
            "Somebody falls and lies",
            34.0,
            FORECOURT,
            script=(Walk("red", 9.0, stand_at=38, stand_s=14.0, lies=True),),
        ),
        # The shipped detector is unsure of who lies: a model that learned it needs no such score.
        (Watching("person_down", "Forecourt", {"hold_s": 6.0, "confidence": 0.25}, due=(19.4,)),),
    ),
    Trial(
        _scene(
            "person_down_silent",
            "One stands still, one trips and gets up",
            34.0,
            FORECOURT,
            script=(
                Walk("hat", 9.0, stand_at=26, stand_s=14.0),
                Walk("red", 15.0, stand_at=44, stand_s=2.5, lies=True),
            ),
        ),
        (Watching("person_down", "Forecourt", {"hold_s": 6.0, "confidence": 0.25}),),
    ),
)

# --- What is there, and what is not -----------------------------------------------------------------------------------

APPEARANCE = (
    Trial(
        _scene("appearance", "Somebody comes into a closed yard", 20.0, script=(Walk("jeans", 9.0),)),
        (Watching("appearance", config={"labels": ["person"]}, due=(9.3,)),),
    ),
    Trial(
        _scene(
            "appearance_silent",
            "The wind drives a box across it",
            24.0,
            props=(Prop("box", (Stand(9.0, 790, 400, 34), Stand(15.0, 560, 350, 30), Stand(21.0, 300, 260, 24))),),
        ),
        (Watching("appearance", config={"labels": ["person"]}),),
    ),
)
GUARD = {"hold_s": 10.0}
ABSENCE = (
    Trial(
        _scene(
            "absence",
            "The guard walks off",
            32.0,
            FORECOURT,
            script=(Walk("hat", -4.0, stand_at=26, stand_s=14.0),),
        ),
        (Watching("absence", "Forecourt", GUARD, due=(25.6,)),),
    ),
    Trial(
        _scene(
            "absence_silent",
            "Another comes in time",
            32.0,
            FORECOURT,
            script=(Walk("hat", -4.0, stand_at=26, stand_s=14.0), Walk("red", 15.0, stand_at=38, stand_s=14.0)),
        ),
        (Watching("absence", "Forecourt", GUARD),),
    ),
)
LEFT_RULE = {"hold_s": 8.0, "away_s": 6.0}
PUT_DOWN_S = 42.0
LEFT = (
    Trial(
        _scene(
            "left",
            "Somebody puts a bag down and goes",
            78.0,
            FORECOURT,
            script=(Walk("red", 38.0, stand_at=38, stand_s=2.0),),
            props=(Prop("bag", (Stand(PUT_DOWN_S, 548, 330, 26), Stand(78.0, 548, 330, 26))),),
        ),
        (Watching("left", "Forecourt", LEFT_RULE, due=(60.0,), late_s=14.0),),
        static_regions=True,
    ),
    Trial(
        _scene(
            "left_silent",
            "One waits, another stays beside his bag",
            78.0,
            FORECOURT,
            script=(
                Walk("hat", 36.0, stand_at=27, stand_s=32.0),
                Walk("red", 38.0, stand_at=57, stand_s=28.0),
            ),
            props=(Prop("bag", (Stand(44.5, 446, 296, 24), Stand(71.7, 446, 296, 24))),),
        ),
        (Watching("left", "Forecourt", LEFT_RULE),),
        static_regions=True,
    ),
)

# --- Other rules' events, numbers, the camera itself ------------------------------------------------------------------

QUICK = {"hold_s": 0.6}
PATH = {"within_s": 20.0, "scope": "camera"}
SEQUENCE = (
    Trial(
        _scene(
            "sequence", "First the near half, then the far one", 22.0, NEAR_HALF, FAR_HALF, script=(Walk("red", 9.0),)
        ),
        (
            Watching("presence", "Near half", QUICK, due=(10.5,), name="near"),
            Watching("presence", "Far half", QUICK, due=(14.5,), name="far"),
            Watching("sequence", "Far half", PATH, due=(14.5,), follows=("near", "far")),
        ),
    ),
    Trial(
        _scene(
            "sequence_silent",
            "First the far half, then the near one",
            30.0,
            NEAR_HALF,
            FAR_HALF,
            script=(Walk("red", 2.0, back=True),),
        ),
        (
            Watching("presence", "Near half", QUICK, due=(14.5,), name="near"),
            Watching("presence", "Far half", QUICK, due=(10.5,), name="far"),
            Watching("sequence", "Near half", PATH, follows=("near", "far")),
        ),
    ),
)


def _measured(*steps: tuple[float, float, float]) -> tuple[tuple[float, str, float], ...]:
    """One number a second: of each step (from_s, until_s, value)."""
    return tuple((float(at), "pm2.5", value) for first, last, value in steps for at in range(int(first), int(last)))


DUST = {"quantity": "pm2.5", "bound": 50.0, "clear": 40.0, "hold_s": 6.0}
THRESHOLD = (
    Trial(
        _scene("threshold", "Dust rises and stays", 26.0),
        (Watching("threshold", config=DUST, due=(18.0,)),),
        measured=_measured((8, 12, 22.0), (12, 22, 71.0), (22, 26, 30.0)),
    ),
    Trial(
        _scene("threshold_silent", "Dust rises for moments", 26.0),
        (Watching("threshold", config=DUST),),
        measured=_measured((8, 11, 22.0), (11, 15, 71.0), (15, 18, 30.0), (18, 22, 64.0), (22, 26, 44.0)),
    ),
)
LEARNED_S = 75.0
"""A camera's health knows what it usually shows."""
HEALTH_RULE = {"for_s": 2.0}


def _faulty(key: str, title: str, fault: Fault, due_s: float, length_s: float, late_s: float = 13.0) -> Trial:
    """Due when capture says it, having seen it last for a while; its looks are three seconds apart."""
    return Trial(
        _scene(key, title, length_s, crop=JUNCTION, faults=(fault,), fresh_grain=True, script=(Walk("red", 30.0),)),
        (Watching("health", config=HEALTH_RULE, due=(due_s,), late_s=late_s),),
    )


HEALTH = (
    _faulty("dark", "The light fails", Fault("dark", 20.0, 40.0), 30.0, 50.0),
    _faulty("covered", "A cloth hangs before the lens", Fault("covered", LEARNED_S, 108.0), LEARNED_S + 20.0, 116.0),
    _faulty("blurred", "The lens loses its focus", Fault("blurred", LEARNED_S, 120.0), LEARNED_S + 30.0, 126.0),
    _faulty("frozen", "The same picture again and again", Fault("frozen", 50.0, 136.0), 110.0, 140.0, 20.0),
    Trial(
        _scene(
            "moved",
            "The camera is knocked off its view",
            124.0,
            crop=JUNCTION,
            fresh_grain=True,
            path=(Waypoint(LEARNED_S, LEARNED_S + 0.4, 60, 90),),
            script=(Walk("red", 30.0),),
        ),
        (Watching("health", config=HEALTH_RULE, due=(LEARNED_S + 30.0,), late_s=13.0),),
    ),
    Trial(
        _scene(
            "lorry_silent",
            "A lorry stands close before the lens for a moment",
            116.0,
            crop=JUNCTION,
            fresh_grain=True,
            faults=(Fault("lorry", LEARNED_S, LEARNED_S + 15.0),),
            script=(Walk("red", 30.0),),
        ),
        (Watching("health", config=HEALTH_RULE),),
    ),
    Trial(
        _scene(
            "shaken_silent",
            "The wind shakes the mast, people pass",
            116.0,
            crop=JUNCTION,
            fresh_grain=True,
            path=tuple(
                Waypoint(LEARNED_S + 0.5 * step, LEARNED_S + 0.5 * step + 0.5, 168 + (step % 2) * 5, 126)
                for step in range(1, 41)
            ),
            script=(Walk("red", 30.0), Walk("hat", LEARNED_S), Walk("blue", LEARNED_S + 8.0)),
        ),
        (Watching("health", config=HEALTH_RULE),),
    ),
)
TRIALS = (
    *PRESENCE,
    *CROSSING,
    *COUNTING,
    *DWELL,
    *CROWD,
    *STOPPED,
    *WRONG_WAY,
    *PERSON_DOWN,
    *APPEARANCE,
    *ABSENCE,
    *LEFT,
    *SEQUENCE,
    *THRESHOLD,
    *HEALTH,
)
