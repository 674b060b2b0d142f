"""Switching a camera's model while it is watched: rows change, and what the log says changes with them."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.db import connection

from detectors.loading import Loader
from detectors.models import Deployment, Model
from detectors.registry import load_card
from detectors.stored import StoredPlan
from detectors.worker import Worker
from streams.log import LogAddresses, open_log
from streams.models import Camera, CameraGroup, SequenceCounter, Site
from streams.observations import Detections
from tests.detectors.stage import POOL, Stage, frame
from tests.detectors.tiny import tiny_model

pytestmark = [pytest.mark.valkey, pytest.mark.django_db(transaction=True)]

LIVE_S = 5.0


@pytest.fixture
def stage(log_addresses: LogAddresses, tmp_path: Path) -> Iterator[Stage]:
    made = Stage(open_log(log_addresses, name="tests"), tmp_path)
    yield made
    made.close()


class Watched:
    """One camera, a deployment, a real worker in a thread with the plan from the database; and ten frames a second."""

    def __init__(self, stage: Stage) -> None:
        group = CameraGroup.objects.create(name="Quay")
        self.camera = Camera.objects.create(name="Gate", site=Site.objects.create(name="Quay"), group=group)
        self.models = {name: self._model(stage, name) for name in ("north", "south")}
        self.deployment = Deployment.objects.create(name="People", model=self.models["north"], pool=POOL)
        self._stage, self._sequence = stage, 0
        loader = Loader(stage.folder)
        self._stored = StoredPlan(POOL)
        self._worker = Worker(stage.log, POOL, "tester", lambda: self._stored.current, loader)
        self._stored.start(loader.problems)
        self._thread = threading.Thread(target=self._worker.run)
        self._thread.start()

    def _model(self, stage: Stage, name: str) -> Model:
        path = tiny_model(stage.folder / name)
        card = path.with_suffix(".toml")
        card.write_text(card.read_text().replace('name = "tiny"', f'name = "{name}"'))
        assert load_card("tiny", path.parent).name == name
        return Model.objects.create(name=name, version="1", backend="openvino", path=f"{name}/{path.name}")

    def switch(self, model: Model) -> None:
        self.deployment.model = model
        self.deployment.save()  # the signal advances CONFIGURATION, as any edit does

    def seen_by(self, version: str, within_s: float = LIVE_S) -> bool:
        """Whether a frame that is put from now on is analysed by ``version`` before the time is up."""
        deadline = time.monotonic() + within_s
        while time.monotonic() < deadline:
            if self.next_model() == version:
                return True
        return False

    def next_model(self) -> str:
        """Which model analyses a frame that is put now."""
        self._sequence += 1
        self._stage.put(frame(self.camera.uid, self._sequence, 204))
        deadline = time.monotonic() + LIVE_S
        while time.monotonic() < deadline:
            for one in self._stage.observations(self.camera.uid):
                if one.sequence == self._sequence:  # type: ignore[union-attr]
                    assert isinstance(one, Detections), one
                    return one.model
            time.sleep(0.02)
        raise AssertionError(f"frame {self._sequence} was not analysed within {LIVE_S} s")

    def close(self) -> None:
        self._worker.stop()
        self._thread.join(10)
        self._stored.stop()


def test_a_cameras_model_is_switched_both_ways_and_a_broken_one_stops_nothing(stage: Stage) -> None:
    watched = Watched(stage)
    try:
        assert watched.seen_by("north 1")
        watched.switch(watched.models["south"])
        assert watched.seen_by("south 1")
        watched.switch(watched.models["north"])
        assert watched.seen_by("north 1")

        (stage.folder / "torn.onnx").write_bytes(b"\x08\x08 torn")
        (stage.folder / "torn.toml").write_text((stage.folder / "north" / "tiny.toml").read_text())
        torn = Model.objects.create(name="torn", version="1", backend="openvino", path="torn.onnx")
        watched.switch(torn)
        deadline = time.monotonic() + LIVE_S
        while not (problem := Model.objects.get(pk=torn.pk).problem):
            assert time.monotonic() < deadline, "its row says what is wrong"
            assert watched.next_model() == "north 1", "the one before goes on"
        assert "torn.onnx" in problem and watched.next_model() == "north 1"
        watched.switch(watched.models["south"])
        assert watched.seen_by("south 1")
    finally:
        watched.close()
        connection.close()


def test_a_measurement_is_no_edit() -> None:
    before = SequenceCounter.current(SequenceCounter.CONFIGURATION)
    model = Model.objects.create(name="a", version="1", backend="openvino")
    assert SequenceCounter.current(SequenceCounter.CONFIGURATION) > before
    before = SequenceCounter.current(SequenceCounter.CONFIGURATION)
    model.latency_ms = 3.0
    model.save(update_fields=["latency_ms", "cpu_ms", "measured_on"])
    assert SequenceCounter.current(SequenceCounter.CONFIGURATION) == before
