"""Half an hour of the demo's scenes, faster than real time, through the code that runs live.

Encoded pictures go through capture's gate and JPEG, the shipped detector and the engine. Every scripted event fires
once, in its time and place, and nothing else does: what is quiet, who only passes by, and the drone's own movement stay
silent.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

import av
import cv2
import numpy as np
import pytest

from alerts.engine import Engine
from alerts.events import Event
from alerts.rules.config import EmbeddedRule, EmbeddedZone
from detectors import registry
from detectors.backends.base import Backend
from detectors.detections import Detections
from streams import observations as wire
from streams import scenes
from streams.ladder import Ladder
from streams.picture import Planes, gate_plane, jpeg
from streams.scenes import SCENES, Scene

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

ROUNDS = 2
"""Two rounds of four scenes of four minutes: 32 minutes."""
HZ = 5.0
START = datetime(2026, 1, 5, tzinfo=UTC)
CAMERA, VIEW, DEPLOYMENT, ZONE = (UUID(int=number) for number in range(1, 5))
LATEST_S = 2.5
"""A stay is told at most so long after it began: a second in the zone, the gate's and the confirmation's pictures."""


@pytest.fixture(scope="module")
def videos(drawn_scenes: Path) -> dict[str, Path]:
    return scenes.prepare(drawn_scenes)


@pytest.fixture(scope="module")
def detector() -> Backend:
    card = registry.load_card(registry.DEFAULT_CARD)
    backend = registry.make_backend(card.backend)
    backend.load(registry.model_path(card), card)
    return backend


def rule_of(scene: Scene) -> EmbeddedRule:
    """The demo's rule: presence with the settings that a new rule has."""
    (zone,) = scene.zones
    return EmbeddedRule(
        rule=uuid4(),
        version=uuid4(),
        name=scene.title,
        kind="presence",
        severity="high",
        deployment=DEPLOYMENT,
        zones=[EmbeddedZone(uid=ZONE, camera=CAMERA, view=VIEW, name=zone.name, points=zone.points)],
        active_from_at=START,
        config={},
    )


def planes_of(frame: av.VideoFrame) -> Planes:
    y, u, v = (
        np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size)[:, : plane.width]
        for plane in frame.planes
    )
    return Planes(y, u, v)


class Eye:
    """Capture and detection of one camera: pictures in, observations out."""

    def __init__(self, scene: Scene, detector: Backend) -> None:
        self._scene, self._detector = scene, detector
        self._ladder = Ladder(HZ)
        self._state = ""
        self._known: dict[int, Detections] = {}
        self.analysed = 0

    def see(self, number: int, frame: av.VideoFrame) -> Iterator[wire.Observation]:
        at_s = number / self._scene.fps
        at = START + timedelta(seconds=at_s)
        verdict = self._ladder.look(gate_plane(planes_of(frame)), at_s)
        if verdict.sample is not None:
            yield self._analyse(number, at, frame)
        if verdict.state != self._state:
            self._state = verdict.state
            sequence = number + 1 if verdict.sample is not None else number
            yield wire.SourceState(camera=CAMERA, session=1, sequence=sequence, at=at, state=verdict.state, since_at=at)
        if number % self._scene.fps == 0:
            yield wire.Tick(at=at)

    def _analyse(self, number: int, at: datetime, frame: av.VideoFrame) -> wire.Detections:
        self.analysed += 1
        # The second round shows the very same pictures: the same bytes need no second look.
        at_round = number % self._scene.frames
        if at_round not in self._known:
            coded = np.frombuffer(jpeg(planes_of(frame), self._scene.size), np.uint8)
            (self._known[at_round],) = self._detector.infer([cv2.imdecode(coded, cv2.IMREAD_COLOR)])
        boxes = self._known[at_round]
        return wire.Detections(
            camera=CAMERA,
            deployment=DEPLOYMENT,
            session=1,
            sequence=number + 1,
            captured_at=at,
            view=VIEW,
            model="nanodet-g",
            source_wh=self._scene.size,
            xyxy=boxes.wire_xyxy(),
            score=boxes.wire_score(),
            label=list(boxes.label),
        )


def play(video: Path, rounds: int) -> Iterator[av.VideoFrame]:
    for _ in range(rounds):
        with av.open(str(video)) as container:
            yield from container.decode(video=0)


def watch(scene: Scene, video: Path, detector: Backend) -> tuple[list[Event], Eye]:
    engine, eye, events = Engine([rule_of(scene)]), Eye(scene, detector), []
    for number, frame in enumerate(play(video, ROUNDS)):
        for observation in eye.see(number, frame):
            events += engine.step(observation).events
    return events, eye


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.key)
def test_every_scripted_event_fires_once_and_nothing_else(
    scene: Scene, videos: dict[str, Path], detector: Backend
) -> None:
    started_s = time.monotonic()
    events, eye = watch(scene, videos[scene.key], detector)
    took_s = time.monotonic() - started_s

    expected = [
        (round_ * scene.length_s + event.at_s, round_ * scene.length_s + event.until_s, event)
        for round_ in range(ROUNDS)
        for event in scenes.scripted_events(scene)
    ]
    told = [(event.happened_at - START).total_seconds() for event in events]
    assert len(told) == len(expected), f"{scene.key}: expected {[one[:2] for one in expected]}, fired at {told}"
    for at_s, (from_s, until_s, scripted), event in zip(told, expected, events, strict=True):
        assert from_s < at_s <= min(from_s + LATEST_S, until_s + 1.0)
        assert (event.kind, event.label, event.zone) == (scripted.kind, scripted.label, ZONE)
        assert scenes.inside(scene.zones[0].points, event.path[-1])
    assert took_s < ROUNDS * scene.length_s, "slower than real time"
    assert eye.analysed < scene.frames * ROUNDS / 2, "the gate was open all the time"
