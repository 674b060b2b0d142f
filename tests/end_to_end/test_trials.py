"""Every trial's script, told to the engine by a perfect detector: its event fires once, in its time, and else nothing.

No camera and no model: whoever is on the stage is a box. Pictures are drawn only where pictures decide: what was left,
and what is wrong with the camera. ``./poliscope bench trust`` plays the same trials through the whole installation.
"""

from __future__ import annotations

import bisect
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid5

import cv2
import numpy as np
import pytest

from alerts.engine import Engine
from alerts.events import Event
from alerts.rules.config import EmbeddedRule, EmbeddedZone
from alerts.rules.registry import RULES
from alerts.sequences import Sequences
from detectors.analytics.static_regions import StaticRegionsConfig
from streams import observations as wire
from streams import scenes
from streams.health_picture import BLIND, PictureHealth
from streams.ladder import PLANE_WH
from streams.scenes.trials import LEAD_S, TRIALS, WHOLE, Trial, Watching

START = datetime(2026, 1, 5, tzinfo=UTC)
CAMERA, VIEW, DEPLOYMENT = (UUID(int=number) for number in range(1, 4))
HZ = 5
EARLY_S = 0.5
PICTURED = [pytest.param(one, id=one.key, marks=pytest.mark.slow) for one in TRIALS if one.static_regions]
IDS = {one.key: one for one in TRIALS}


@pytest.fixture(scope="module")
def footage() -> scenes.Footage:
    return scenes.load_footage()


def uid(*words: object) -> UUID:
    """A name that follows from ``words``."""
    return uuid5(CAMERA, " ".join(map(str, words)))


def zone_of(trial: Trial, watching: Watching) -> EmbeddedZone:
    (zone,) = [zone for zone in (*trial.scene.zones, WHOLE) if zone.name == watching.zone]
    shape = "line" if len(zone.points) == 2 else "polygon"
    return EmbeddedZone(uid=uid(zone.name), camera=CAMERA, view=VIEW, name=zone.name, shape=shape, points=zone.points)


def rules_of(trial: Trial) -> list[EmbeddedRule]:
    """The trial's rules in their order."""
    made = []
    for number, watching in enumerate(trial.rules):
        config = dict(watching.config)
        if watching.follows:
            config |= dict(zip(("first", "then"), (str(uid(name)) for name in watching.follows), strict=True))
        made.append(
            EmbeddedRule(
                rule=uid(watching.name or number),
                version=uid("version", number),
                name=watching.kind,
                kind=watching.kind,
                severity="high",
                deployment=DEPLOYMENT,
                zones=[zone_of(trial, watching)],
                active_from_at=START,
                config=config,
            )
        )
    return made


def at(t_s: float) -> datetime:
    return START + timedelta(seconds=t_s)


class Watch:
    """What an installation with a perfect detector would log of one trial."""

    def __init__(self, trial: Trial, footage: scenes.Footage) -> None:
        self._trial, self._scene = trial, trial.scene
        self._stage = scenes.Stage(trial.scene, footage)
        self._regions = StaticRegionsConfig().build() if trial.static_regions else None
        self._health = PictureHealth()
        self._seen: dict[int, list[scenes.Seen]] = {}
        for one in scenes.truth(trial.scene):
            self._seen.setdefault(round(one.t_s * trial.scene.fps), []).append(one)

    def observations(self) -> Iterator[wire.Observation]:
        step = self._scene.fps // HZ
        for frame in range(0, self._scene.frames, step):
            t_s = frame / self._scene.fps
            if self._trial.kind == "health" and self._health.due(t_s):
                yield self._look(frame, t_s)
            if self._health.trouble not in BLIND:
                yield self._detections(frame, t_s)
            if frame % self._scene.fps == 0:
                yield wire.Tick(at=at(t_s))
                yield from self._measured(t_s)

    def _luma(self, frame: int, size: tuple[int, int]) -> np.ndarray:
        luma = self._stage.picture(frame)[: self._scene.size[1]]
        return np.asarray(cv2.resize(luma, size, interpolation=cv2.INTER_AREA), np.uint8)

    def _look(self, frame: int, t_s: float) -> wire.SourceState:
        self._health.look(self._luma(frame, PLANE_WH), t_s)
        trouble = self._health.trouble
        since_s = self._health.since_s if trouble else 0.0
        state = "blind" if trouble in BLIND else "active"
        named = {"camera": CAMERA, "session": 1, "sequence": frame, "at": at(t_s), "since_at": at(since_s)}
        return wire.SourceState(**named, state=state, reason=trouble or "")

    def _detections(self, frame: int, t_s: float) -> wire.Detections:
        found = [(one.xyxy, 0.8, scenes.label(one.who)) for one in self._seen.get(frame, ())]
        if self._regions is not None:
            people = [box for box, _, label in found if label == "person"]
            regions = self._regions.update(self._luma(frame, self._regions.config.plane_wh), t_s, people)
            found += [(region.xyxy, region.score, region.label) for region in regions]
        return wire.Detections(
            camera=CAMERA,
            deployment=DEPLOYMENT,
            session=1,
            sequence=frame + 1,
            captured_at=at(t_s),
            view=VIEW,
            model="perfect",
            source_wh=self._scene.size,
            xyxy=np.array([box for box, _, _ in found], "<f4").reshape(-1, 4).tobytes(),
            score=np.array([score for _, score, _ in found], "<f4").tobytes(),
            label=[label for _, _, label in found],
        )

    def _measured(self, t_s: float) -> Iterator[wire.Measurement]:
        measured = self._trial.measured
        for at_s, quantity, value in measured[bisect.bisect_left(measured, (t_s, "", 0.0)) :]:
            if at_s >= t_s + 1:
                return
            yield wire.Measurement(camera=CAMERA, at=at(at_s), quantity=quantity, value=value, unit="µg/m³")


def played(trial: Trial, footage: scenes.Footage) -> tuple[list[Event], Counter[str]]:
    """The events of all rules in the order of time, and the counts of each direction."""
    rules = rules_of(trial)
    engine, second, events, counts = Engine(rules), Sequences(rules), [], Counter[str]()
    assert not engine.broken and not second.broken
    for observation in Watch(trial, footage).observations():
        outcome = engine.step(observation)
        events += outcome.events
        for one in outcome.counts:
            counts[one.counted.direction] += one.counted.count
    for event in events:
        second.step(event)
    events += second.advance(at(trial.scene.length_s))
    return sorted(events, key=lambda event: event.happened_at), counts


def told(trial: Trial, events: list[Event], number: int) -> list[float]:
    """When the trial's rule ``number`` fired, in seconds of the scene."""
    return [(one.happened_at - START).total_seconds() for one in events if one.rule_version == uid("version", number)]


def check(trial: Trial, footage: scenes.Footage) -> None:
    events, counts = played(trial, footage)
    for number, watching in enumerate(trial.rules):
        fired = told(trial, events, number)
        assert len(fired) == len(watching.due), f"{trial.key}, {watching.kind}: due {watching.due}, fired at {fired}"
        for due_s, at_s in zip(watching.due, fired, strict=True):
            assert due_s - EARLY_S <= at_s <= due_s + watching.late_s, f"{trial.key}: due at {due_s}, fired at {at_s}"
        if watching.counts is not None:
            assert (counts["forward"], counts["backward"]) == watching.counts


@pytest.mark.parametrize("trial", [one for one in TRIALS if not one.static_regions], ids=lambda one: one.key)
def test_what_is_scripted_fires_once_in_its_time_and_nothing_else(trial: Trial, footage: scenes.Footage) -> None:
    check(trial, footage)


@pytest.mark.parametrize("trial", PICTURED)
def test_what_stands_is_told_by_its_pictures(trial: Trial, footage: scenes.Footage) -> None:
    check(trial, footage)


def test_every_kind_has_a_scene_with_its_event_and_one_without() -> None:
    def happens(trial: Trial) -> bool:
        last = trial.rules[-1]
        return bool(last.due) or any(last.counts or ())

    assert {one.kind for one in TRIALS if happens(one)} == set(RULES)
    assert {one.kind for one in TRIALS if not happens(one)} == set(RULES)


def test_a_camera_that_is_just_being_connected_to_misses_nothing() -> None:
    for trial in TRIALS:
        assert all(due_s > LEAD_S for watching in trial.rules for due_s in watching.due), trial.key
        assert all(at_s >= LEAD_S for at_s, _, _ in trial.measured), trial.key


def test_scenes_have_names_of_their_own() -> None:
    keys = [one.key for one in TRIALS] + [scene.key for scene in scenes.SCENES]
    assert len(set(keys)) == len(keys)
