"""``manage.py detect`` as it runs in production: its own process, database, log, and the shipped model."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import UUID

import psutil
import pytest

from streams.health import Heartbeat, decode_heartbeat
from streams.log import Log, open_log
from streams.observations import Detections, decode_observation
from streams.topics import HEALTH, OBSERVATIONS, frames, standing_topics
from tests.detectors.stage import Stage, frame
from tests.services.valkey import Valkey

pytestmark = [pytest.mark.valkey, pytest.mark.slow]

SEED = """
from detectors import registry
from detectors.models import Deployment, Model
from streams.models import Camera, CameraGroup, Site
site, group = Site.objects.create(name="Harbour"), CameraGroup.objects.create(name="Quay")
model = Model.objects.create(**registry.model_fields())
Deployment.objects.create(name="people", model=model)
print(Camera.objects.create(name="Gate", site=site, group=group).uid)
"""
DISABLE = """
from detectors.models import Deployment
from streams.models import SequenceCounter
Deployment.objects.update(enabled=False)
SequenceCounter.advance("configuration")
"""
BREAK = """
from detectors.models import Model
from streams.models import SequenceCounter
Model.objects.update(path="nowhere.onnx")
SequenceCounter.advance("configuration")
"""
PROBLEM = "from detectors.models import Model; print(Model.objects.get().problem)"


class Installation:
    """A folder with a database, and the log's addresses."""

    def __init__(self, folder: Path, valkey: Valkey, tables: Path) -> None:
        shutil.copy(tables, folder / "test.sqlite3")
        self.environment = {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "monitor.settings",
            "POLISCOPE_SECRET_KEY": "tests-only-" * 6,
            "POLISCOPE_DATA": str(folder),
            "DATABASE_URL": f"sqlite:///{folder / 'test.sqlite3'}",
            "REDIS_URL": valkey.rest_url,
            "POLISCOPE_FRAMES_URL": valkey.frames_url,
        }
        self.camera = UUID(self.shell(SEED))

    def manage(self, *arguments: str) -> str:
        command = [sys.executable, "manage.py", *arguments]
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def shell(self, code: str) -> str:
        return self.manage("shell", "--verbosity", "0", "-c", code)

    def detect(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, "manage.py", "detect", "--member", "one"], env=self.environment)


@pytest.fixture
def log(valkey: Valkey) -> Iterator[Log]:
    made = open_log(valkey.addresses, name="tests")
    made.create([*standing_topics(["general"])])
    yield made
    made.close()


def wait_for(done: Callable[[], object], timeout_s: float = 20.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not done():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.1)


def test_it_runs_edits_and_stops(tmp_path: Path, valkey: Valkey, log: Log, tables: Path) -> None:
    installation = Installation(tmp_path, valkey, tables)
    stage = Stage(log, tmp_path)
    process = installation.detect()
    try:
        _runs(installation, stage, process)
    finally:
        process.send_signal(signal.SIGTERM)
        began = time.monotonic()
        assert process.wait(10) == 0
        assert time.monotonic() - began < 3


def _runs(installation: Installation, stage: Stage, process: subprocess.Popen[bytes]) -> None:
    log, sequence = stage.log, 0

    def beats() -> list[Heartbeat]:
        return [decode_heartbeat(record.payload) for record in log.read(HEALTH.name, 0, 0, 1000)]

    def seen() -> list[Detections]:
        found = [decode_observation(record.payload) for record in log.read(OBSERVATIONS.name, 0, 0, 1000)]
        return [one for one in found if isinstance(one, Detections)]

    def show() -> None:
        nonlocal sequence
        sequence += 1
        stage.put(frame(installation.camera, sequence, 100), partition=0)

    wait_for(beats)
    assert beats()[-1].part == "detect.general" and beats()[-1].problem == ""
    show()
    wait_for(seen)
    assert (seen()[0].camera, seen()[0].model) == (installation.camera, "nanodet-g coco-416")

    # Idle, it costs next to nothing: the model waits, nothing spins.
    busy = psutil.Process(process.pid)
    before = sum(busy.cpu_times()[:2])
    time.sleep(3)
    assert sum(busy.cpu_times()[:2]) - before < 0.45

    installation.shell(BREAK)
    wait_for(lambda: (show(), beats()[-1].problem)[1] == "model_missing", 10)
    wait_for(lambda: "nowhere.onnx" in installation.shell(PROBLEM), 10)
    count = len(seen())
    show()
    wait_for(lambda: len(seen()) > count)  # the old one goes on

    installation.shell(DISABLE)
    wait_for(lambda: (show(), beats()[-1].figures["unplanned"])[1] > 0, 10)
    assert log.lag(frames("general").name, "detect.general") is not None
