"""``./poliscope up`` as a person runs it: ready, an incident, Ctrl-C, again; and what is left behind (nothing)."""

from __future__ import annotations

import os
import signal
import subprocess
import time
import urllib.error
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from monitor.instance import BASE_DIR, free_port
from tests.services.installation import wait_for
from tests.services.running import Running, keep_scenes

pytestmark = [pytest.mark.slow, pytest.mark.valkey, pytest.mark.rtsp, pytest.mark.timeout(300)]


@pytest.fixture
def data(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "data"


@pytest.fixture(scope="module")
def idle(tmp_path_factory: pytest.TempPathFactory, tables: Path) -> Iterator[Running]:
    """One without cameras, for tests that leave it as it was."""
    running = Running(tmp_path_factory.mktemp("idle") / "data", "--no-demo", tables=tables)
    yield running
    running.stop()
    running.close()


def test_from_nothing_to_an_incident_and_back_to_nothing(data: Path, kept_scenes: Path) -> None:
    first = Running(data)
    try:
        keep_scenes(data / "scenes", kept_scenes)
        assert first.ready["admin"]["password"] and first.ready["operator"]["password"]
        health = first.get("health")
        assert health["ok"] and {"capture", "evaluate", "worker", "sweep"} <= {part["part"] for part in health["parts"]}
        incident = wait_for("an incident", lambda: first.get("incidents")["items"], 120, 1.0)[0]
        assert incident["state"] == "open"
        assert first.stop() <= 10
        assert wait_for("no process is left", lambda: not first.left(), 3)
    finally:
        first.close()
    second = Running(data)
    try:
        assert second.ready["admin"]["password"] is None
        kept = {item["uid"] for item in second.get("incidents")["items"]}
        assert incident["uid"] in kept
        second.stop(signal.SIGKILL)
        wait_for("no process outlives a killed up", lambda: not second.left(), 5)
    finally:
        second.close()


def test_two_run_side_by_side(idle: Running, tmp_path: Path, tables: Path) -> None:
    other = Running(tmp_path / "other", "--no-demo", tables=tables)
    try:
        assert idle.get("health")["ok"] and other.get("health")["ok"]
        with pytest.raises(urllib.error.HTTPError):
            other.get("incidents", token=idle.ready["token"])
        assert idle.get("incidents") == {"items": [], "next": None}
    finally:
        other.stop()
        other.close()


@pytest.mark.kafka
def test_it_runs_on_a_real_kafka(
    data: Path, shared: Path, drawn_scenes: Path, tables: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KAFKA_HOME", os.environ.get("KAFKA_HOME", str(shared / "kafka")))
    running = Running(data, "--kafka", drawn=drawn_scenes, tables=tables)
    try:
        assert any("kafka.Kafka" in " ".join(child.cmdline()) for child in running.children)
        wait_for("an incident", lambda: running.get("incidents")["items"], 120, 1.0)
        assert running.stop() <= 10
        assert wait_for("no process is left", lambda: not running.left(), 3)
    finally:
        running.close()


@pytest.mark.parametrize("part", ["capture", "detect.general", "evaluate", "sweep", "worker"])
def test_a_frozen_part_shows_within_ten_seconds(idle: Running, part: str) -> None:
    wait_for("all is well", lambda: idle.get("health")["ok"], 20)
    words = {"worker": "celery", "detect.general": "detect"}.get(part, part)
    [frozen] = [
        child
        for child in psutil.Process(idle.process.pid).children()
        if words in child.cmdline() or (part == "worker" and "celery" in " ".join(child.cmdline()))
    ]
    frozen.suspend()
    try:
        start = time.monotonic()
        wait_for(f"{part} shows", lambda: not idle.get("health")["ok"], 10, 0.3)
        states = {row["part"]: row["state"] for row in idle.get("health")["parts"]}
        assert states[part] == "silent"
        assert time.monotonic() - start <= 10
    finally:
        frozen.resume()


@pytest.mark.parametrize(
    "options, said",
    [
        (["--port", "0"], "--port: expected 1 to 65535, got 0"),
        (["--port", "many"], "invalid int value"),
        (["--cameras", "9"], "unrecognized arguments"),
    ],
)
def test_a_wrong_option_is_named(options: list[str], said: str) -> None:
    done = subprocess.run(["./poliscope", "up", *options], cwd=BASE_DIR, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and said in done.stderr


def test_a_taken_port_is_named(tmp_path: Path) -> None:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        command = ["./poliscope", "up", "--data", str(tmp_path), "--port", str(port)]
        done = subprocess.run(command, cwd=BASE_DIR, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert f"port {port}: expected a free port" in done.stderr and "--port N" in done.stderr


def test_kafka_without_kafka_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KAFKA_HOME", raising=False)
    command = ["./poliscope", "up", "--kafka", "--data", str(tmp_path), "--port", str(free_port())]
    done = subprocess.run(command, cwd=BASE_DIR, capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "KAFKA_HOME" in done.stderr and "Traceback" not in done.stderr
