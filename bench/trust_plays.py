"""What ``bench trust`` plays: every scene, and real clips whose truth was established by looking at their pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from monitor.instance import BASE_DIR
from streams import scenes
from streams.scenes import Scene, SceneZone
from streams.scenes.trials import TRIALS, Trial, Watching

FOOTAGE = BASE_DIR.parent / "shared" / "footage"
DEMO_LATE_S = 3.0
DEMO_HOLD_S = 1.0
"""What presence asks for unless somebody changes it."""


@dataclass(frozen=True, slots=True)
class Play:
    """A film of ``length_s``, the rules that watch it, and what its sensor measures. ``scene``: it is drawn first."""

    key: str
    length_s: float
    zones: tuple[SceneZone, ...]
    rules: tuple[Watching, ...]
    measured: tuple[tuple[float, str, float], ...] = ()
    static_regions: bool = False
    scene: Scene | None = None
    film: Path | None = None

    @property
    def kinds(self) -> set[str]:
        """Of its rules."""
        return {watching.kind for watching in self.rules}

    @property
    def weight(self) -> float:
        """What it costs to watch, beside one on which people are followed."""
        return 0.25 if self.kinds <= {"health", "threshold"} else 1.0


def scene_plays() -> list[Play]:
    """The demo's four scenes and every trial."""
    return [_demo(scene) for scene in scenes.SCENES] + [_trial(trial) for trial in TRIALS]


def _demo(scene: Scene) -> Play:
    due = tuple(event.at_s + DEMO_HOLD_S for event in scenes.scripted_events(scene))
    (zone,) = scene.zones
    rules = (Watching("presence", zone.name, due=due, late_s=DEMO_LATE_S),)
    return Play(scene.key, scene.length_s, scene.zones, rules, scene=scene)


def _trial(trial: Trial) -> Play:
    scene = trial.scene
    return Play(scene.key, scene.length_s, scene.zones, trial.rules, trial.measured, trial.static_regions, scene=scene)


LAWN = SceneZone("Lawn", [(0.02, 0.62), (0.3, 0.66), (0.5, 0.8), (0.62, 0.98), (0.02, 0.98)])
TABLE = SceneZone("Table", [(0.42, 0.72), (0.8, 0.72), (0.8, 1.0), (0.42, 1.0)])
LOWER = SceneZone("Lower half", [(0.0, 0.35), (1.0, 0.35), (1.0, 1.0), (0.0, 1.0)])
NOTHING_LEFT = Watching("left", config={"hold_s": 10.0, "away_s": 5.0})
NOTHING_TAKEN = Watching("left", config={"hold_s": 10.0, "away_s": 5.0, "labels": ["vanished-object"], "owner": "any"})
WELL = Watching("health", config={"for_s": 5.0})
SHORT_QUIET = {"rearm_s": 3.0}


def footage_plays(folder: Path = FOOTAGE) -> list[Play]:
    """The shared clips that are there. What happens in a clip's first seconds is not asked for: the camera connects."""
    always = (NOTHING_LEFT, NOTHING_TAKEN, WELL)
    known: Sequence[tuple[str, float, tuple[SceneZone, ...], tuple[Watching, ...]]] = [
        (
            "pets_vtest.avi",
            79.0,
            (LAWN,),
            (
                # Presence tells once until the lawn is empty again, whoever joins the first one.
                Watching("presence", "Lawn", due=(53.5,)),
                Watching("crowd", "Lawn", {"count": 2, "hold_s": 1.0}, due=(54.5,)),
            ),
        ),
        (
            "intel_one-by-one-person.mp4",
            139.0,
            (TABLE,),
            (
                Watching("presence", "Table", SHORT_QUIET, due=(8.0, 24.0, 52.5, 76.5, 94.0, 125.5)),
                # Three stay for 18 s and more. The others, for 10 to 13 s, are far enough from these 15.
                Watching("dwell", "Table", {"hold_s": 15.0, **SHORT_QUIET}, due=(38.5, 66.0, 107.5)),
                Watching("crowd", "Table", {"count": 2, "hold_s": 1.0}),
                Watching("person_down", "Table", {"hold_s": 3.0}),
            ),
        ),
        (
            "intel_person-bicycle-car.mp4",
            38.0,
            (LOWER,),
            (
                Watching("presence", "Lower half", {"labels": ["vehicle"], "confidence": 0.35}, due=(29.5,)),
                Watching("crowd", config={"count": 5, "hold_s": 1.0}),
                Watching("stopped", config={"hold_s": 8.0}),
            ),
        ),
        ("furg_house6.mp4", 30.0, (), (Watching("appearance", config={"labels": ["person"]}),)),
        ("mix360.mp4", 40.0, (), (Watching("person_down"), Watching("stopped", config={"hold_s": 8.0}))),
    ]
    return [
        Play(name, length_s, zones, (*rules, *always), static_regions=True, film=folder / name)
        for name, length_s, zones, rules in known
        if (folder / name).exists()
    ]
