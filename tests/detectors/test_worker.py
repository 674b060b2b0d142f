"""The worker over a real log: what goes in as frames comes out as observations, whatever breaks on the way."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from uuid import UUID

import msgspec
import pytest

from detectors import detections, registry
from detectors.backends.base import Picture
from detectors.batching import BatchConfig
from detectors.plan import DeploymentSpec, ModelSpec, pool_plan
from detectors.worker import Worker
from streams import log_queue
from streams.frame import Gop, encode_frame
from streams.log import LogAddresses, open_log
from streams.observations import Detections, Dropped, Observation
from tests.detectors.stage import CAMERAS, DEPLOYMENT, MODEL, NOT_THERE, POOL, TOPIC, Grumpy, Stage, frame, jpeg, until
from tests.detectors.test_standing import picture_with
from tests.detectors.tiny import tiny_model
from tests.services.valkey import Valkey

pytestmark = pytest.mark.valkey

GATE, YARD = CAMERAS[:2]


@pytest.fixture
def stage(log_addresses: LogAddresses, tmp_path: Path) -> Iterator[Stage]:
    tiny_model(tmp_path)
    made = Stage(open_log(log_addresses, name="tests"), tmp_path)
    yield made
    made.close()


@pytest.fixture
def worker(stage: Stage) -> Iterator[Worker]:
    made = stage.worker()
    yield made
    made.close()


def told(observations: list[Observation]) -> list[tuple[str, int]]:
    """Kind (or the reason of a drop) and sequence."""
    return [
        (one.reason if isinstance(one, Dropped) else "seen", one.sequence)
        for one in observations
        if isinstance(one, Dropped | Detections)
    ]


def test_a_frame_becomes_detections(stage: Stage, worker: Worker) -> None:
    given = frame(GATE, 7, 204)
    stage.put(given)
    until(worker, lambda: bool(stage.committed()) and not stage.left())
    [seen] = stage.observations(GATE)
    assert isinstance(seen, Detections)
    assert (seen.camera, seen.deployment, seen.session, seen.sequence) == (GATE, DEPLOYMENT.uid, 1, 7)
    assert (seen.captured_at, seen.view, seen.source_wh) == (given.captured_at, given.view, given.source_wh)
    assert (seen.label, seen.model) == (["person"], "tiny 1")
    assert seen.frame is not None
    kept = stage.log.read_one(seen.frame.topic, seen.frame.partition, seen.frame.offset)
    assert kept is not None and kept.payload == encode_frame(given)


def test_a_frame_with_nothing_in_it_is_told_too(stage: Stage, worker: Worker) -> None:
    stage.make_backend = registry.make_backend
    stage.put(frame(GATE, 1, 0))
    real = stage.worker()
    until(real, lambda: bool(stage.observations(GATE)))
    assert stage.observations(GATE)[0].label == []  # type: ignore[union-attr]
    real.close()


def test_the_real_backend_runs_in_it(stage: Stage) -> None:
    stage.make_backend = registry.make_backend
    worker = stage.worker()
    stage.put(*(frame(camera, sequence, 204) for sequence in (1, 2, 3) for camera in CAMERAS))
    until(worker, lambda: not stage.left())
    for camera in CAMERAS:
        assert told(stage.observations(camera)) == [("seen", 1), ("seen", 2), ("seen", 3)]
    worker.close()


def test_every_deployment_of_the_camera_is_told_and_each_model_runs_once(stage: Stage) -> None:
    backends: list[Grumpy] = []
    stage.make_backend = lambda _: backends.append(Grumpy()) or backends[-1]  # type: ignore[func-returns-value]
    second = DeploymentSpec(UUID(int=801), "again", POOL, MODEL, frozenset({GATE}))
    stage.plan = pool_plan(POOL, [DEPLOYMENT, second], CAMERAS)
    worker = stage.worker()
    stage.put(frame(GATE, 1), frame(YARD, 1))
    until(worker, lambda: not stage.left())
    assert [one.deployment.int for one in stage.observations(GATE)] == [800, 801]  # type: ignore[union-attr]
    assert [one.deployment.int for one in stage.observations(YARD)] == [800]  # type: ignore[union-attr]
    assert len(backends) == 1 and sum(backends[0].batches) == 2
    worker.close()


def test_what_is_put_down_is_told_beside_what_the_model_knows(stage: Stage) -> None:
    looked_for = replace(DEPLOYMENT, static_regions=True)
    stage.plan = pool_plan(POOL, [looked_for, replace(DEPLOYMENT, uid=UUID(int=801))], CAMERAS)
    worker = stage.worker()
    for number in range(16):
        data = picture_with(bag=number >= 10, at=(1, 34))  # beside whom the model finds
        stage.put(frame(GATE, number + 1, data=data, age_s=100.0 - 5 * number))
        until(worker, lambda: not stage.left())
    last: dict[int, Detections] = {one.deployment.int: one for one in stage.observations(GATE)}  # type: ignore[union-attr,misc]
    assert last[800].label[1:] == ["appeared-object"] and last[801].label == ["person"]
    worker.close()


def test_a_camera_that_nobody_looks_at_is_skipped_and_counted(stage: Stage, worker: Worker) -> None:
    stage.put(frame(NOT_THERE, 1))
    until(worker, lambda: not stage.left())
    assert worker.counters.unplanned == 1
    assert stage.observations(NOT_THERE) == []


def test_no_model_is_in_memory_before_a_frame_needs_it(stage: Stage, worker: Worker) -> None:
    worker.step()
    assert worker.pulse().figures["models"] == 0
    stage.put(frame(GATE, 1))
    until(worker, lambda: not stage.left())
    assert worker.pulse().figures["models"] == 1


@pytest.mark.parametrize(
    "payload",
    [
        msgspec.msgpack.encode({**msgspec.to_builtins(frame(GATE, 1), enc_hook=str), "v": 2}),
        encode_frame(msgspec.structs.replace(frame(GATE, 1), payload=Gop(b"", "h264", 0))),
    ],
    ids=["version", "payload"],
)
def test_a_frame_of_a_later_program_is_counted_and_skipped(stage: Stage, worker: Worker, payload: bytes) -> None:
    stage.put(payload, partition=1)
    stage.put(frame(GATE, 2))
    until(worker, lambda: not stage.left())
    assert worker.counters.unknown == 1
    assert told(stage.observations(GATE)) == [("seen", 2)] and stage.dead_letters() == []


@pytest.mark.parametrize(
    "data, reason",
    [
        (b"\xff\xd8 not a picture \xff\xd9", "JPEG: "),
        (jpeg(200)[:-60], "JPEG: expected a whole picture"),
        (jpeg(13), "tiny 1: RuntimeError: unlucky"),
    ],
    ids=["noise", "truncated", "raises"],
)
def test_a_poison_frame_is_put_aside_and_its_neighbours_are_seen(
    stage: Stage, worker: Worker, data: bytes, reason: str
) -> None:
    bad = frame(GATE, 2, data=data)
    stage.put(frame(GATE, 1), bad, frame(GATE, 3), frame(YARD, 1))
    until(worker, lambda: not stage.left())
    assert told(stage.observations(GATE)) == [("seen", 1), ("poison", 2), ("seen", 3)]
    assert told(stage.observations(YARD)) == [("seen", 1)]
    [letter] = stage.dead_letters()
    assert reason in letter.reason
    assert letter.payload == encode_frame(bad)
    assert letter.source.topic == TOPIC.name
    assert worker.counters.poison == 1


class Full(Grumpy):
    """A model that finds no memory, whatever it is shown."""

    def infer(self, pictures: Sequence[Picture]) -> list[detections.Detections]:
        raise MemoryError("64 MiB asked for")


def test_without_memory_it_ends_and_a_fresh_one_loses_nothing(stage: Stage) -> None:
    stage.put(frame(GATE, 1), frame(GATE, 2), frame(YARD, 1))
    stage.make_backend = lambda _: Full()
    full = stage.worker()
    with pytest.raises(MemoryError):
        until(full, lambda: False)
    full.close()
    stage.make_backend = lambda _: Grumpy()
    fresh = stage.worker()
    until(fresh, lambda: not stage.left())
    fresh.close()
    assert told(stage.observations(GATE)) == [("seen", 1), ("seen", 2)]
    assert stage.dead_letters() == []


def test_what_is_no_frame_at_all_is_put_aside(stage: Stage, worker: Worker) -> None:
    stage.put(b"\x93nonsense", b"", partition=1)
    stage.put(frame(GATE, 1))
    until(worker, lambda: not stage.left())
    assert [letter.reason[:11] for letter in stage.dead_letters()] == ["not a frame", "not a frame"]
    assert told(stage.observations(GATE)) == [("seen", 1)]


def test_behind_the_oldest_of_the_same_camera_are_given_up(stage: Stage) -> None:
    worker = stage.worker(batches=BatchConfig(max_age_s=15))
    stage.put(*(frame(GATE, sequence, age_s=100 - sequence) for sequence in (1, 2, 3)), frame(GATE, 4))
    stage.put(frame(YARD, 1, age_s=99))
    until(worker, lambda: not stage.left())
    gone, seen = stage.observations(GATE)
    assert isinstance(gone, Dropped) and (gone.reason, gone.sequence, gone.count) == ("behind", 3, 3)
    assert gone.deployment == DEPLOYMENT.uid
    assert told([seen]) == [("seen", 4)]
    assert told(stage.observations(YARD)) == [("seen", 1)]  # the only one there is
    worker.close()


@pytest.mark.parametrize(
    "model, code",
    [
        (replace(MODEL, path="nowhere.xml"), "model_missing"),
        (replace(MODEL, card="nowhere"), "model_missing"),
        (replace(MODEL, sha256="0" * 64), "model_broken"),
        (replace(MODEL, backend="abacus"), "runtime_missing"),
    ],
    ids=["file", "card", "checksum", "runtime"],
)
def test_a_model_that_cannot_be_used_is_told_and_holds_up_nobody(stage: Stage, model: ModelSpec, code: str) -> None:
    stage.make_backend = registry.make_backend
    other = DeploymentSpec(UUID(int=801), "broken", POOL, replace(model, uid=UUID(int=901)))
    stage.plan = pool_plan(POOL, [DEPLOYMENT, other], CAMERAS)
    worker = stage.worker()
    stage.put(frame(GATE, 1))
    until(worker, lambda: not stage.left())
    assert told(stage.observations(GATE)) == [("seen", 1), ("model", 1)]
    assert worker.pulse().problem == code
    worker.close()


def test_a_corrupt_model_is_told(stage: Stage) -> None:
    stage.make_backend = registry.make_backend
    (stage.folder / "tiny.xml").write_text("<net")
    worker = stage.worker()
    stage.put(frame(GATE, 1))
    until(worker, lambda: not stage.left())
    assert told(stage.observations(GATE)) == [("model", 1)]
    assert worker.pulse().problem == "model_broken"
    worker.close()


def test_a_broken_new_model_leaves_the_old_one_running(stage: Stage) -> None:
    stage.make_backend = registry.make_backend
    worker = stage.worker()
    stage.put(frame(GATE, 1))
    until(worker, lambda: not stage.left())
    newer = replace(DEPLOYMENT, model=replace(MODEL, uid=UUID(int=901), version="2", path="nowhere.xml"))
    stage.plan = pool_plan(POOL, [newer], CAMERAS)
    worker._housekeep()
    stage.put(frame(GATE, 2))
    until(worker, lambda: not stage.left())
    assert told(stage.observations(GATE)) == [("seen", 1), ("seen", 2)]
    assert worker.pulse().problem == "model_missing"
    tiny_model(stage.folder, name="nowhere")
    worker._housekeep()
    stage.plan = pool_plan(POOL, [replace(newer)], CAMERAS)
    worker._housekeep()
    stage.put(frame(GATE, 3))
    until(worker, lambda: not stage.left())
    assert worker.pulse().problem == ""
    worker.close()


def test_an_edit_reaches_a_running_worker(stage: Stage, worker: Worker) -> None:
    stage.plan = pool_plan(POOL, [], CAMERAS)
    worker._housekeep()
    stage.put(frame(GATE, 1))
    until(worker, lambda: not stage.left())
    assert worker.counters.unplanned == 1


def test_observations_that_the_log_lost_are_made_again(stage: Stage, valkey: Valkey) -> None:
    worker = stage.worker()
    until(worker, lambda: bool(worker._consumer.assignment))
    stage.put(frame(GATE, 1))
    valkey.kill9("rest")
    began = time.monotonic()
    while time.monotonic() < began + 1.0:
        worker.step()
    assert not worker.counters.rewound
    valkey.start("rest")
    until(worker, lambda: ("seen", 1) in told(stage.observations(GATE)) and not stage.left())
    worker.close()


def test_an_absence_of_the_log_neither_loses_nor_reorders_observations(
    stage: Stage, valkey: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_queue, "FRAMES_S", 1.0)
    worker = stage.worker()
    until(worker, lambda: bool(worker._consumer.assignment))
    valkey.pause("rest")
    began = time.monotonic()
    for sequence in range(1, 7):
        stage.put(frame(GATE, sequence))
        # Some observations become older than a frame may be, and some do not, before it is back.
        until(worker, lambda due_s=began + 0.6 * sequence: time.monotonic() >= due_s)  # type: ignore[misc]
    valkey.resume("rest")
    until(worker, lambda: ("seen", 6) in told(stage.observations(GATE)) and not stage.left())
    assert worker.counters.rewound == 0
    # Appended twice perhaps; a reader goes by the first time of each.
    assert list(dict.fromkeys(told(stage.observations(GATE)))) == [("seen", sequence) for sequence in range(1, 7)]
    worker.close()


def test_it_says_how_it_is_doing(stage: Stage, worker: Worker) -> None:
    stage.put(*(frame(camera, sequence) for sequence in range(5) for camera in CAMERAS))
    until(worker, lambda: not stage.left())
    pulse = worker.pulse()
    assert pulse.problem == ""
    assert pulse.figures["frames_per_s"] > 0 and pulse.figures["ms_per_frame"] > 0 and pulse.figures["batch"] >= 1
    until(worker, lambda: worker.pulse().lag == 0)


# Processes that die.


def start(stage: Stage, valkey: Valkey, slow_s: float = 0.0) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.detectors.stage", valkey.frames_url, valkey.rest_url]
    process = subprocess.Popen([*command, str(stage.folder), str(slow_s)], stdout=subprocess.PIPE, text=True)
    assert process.stdout and process.stdout.readline()
    return process


def wait_for(done: object, timeout_s: float = 30.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not done():  # type: ignore[operator]
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


def test_killed_at_any_moment_it_loses_no_frame(stage: Stage, valkey: Valkey) -> None:
    each = 60
    stage.put(*(frame(camera, sequence) for sequence in range(1, each + 1) for camera in CAMERAS))
    dice = random.Random(7)
    for _ in range(4):
        process = start(stage, valkey, slow_s=0.004)
        time.sleep(dice.uniform(0.05, 0.4))
        process.kill()
        process.communicate()
    process = start(stage, valkey)
    wait_for(lambda: stage.left() == 0)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=3)
    assert process.returncode == 0
    for camera in CAMERAS:
        # Repeats are allowed, gaps are not: the fold takes a frame only when it is newer than the last.
        newest, first_seen = 0, []
        for kind, sequence in told(stage.observations(camera)):
            assert kind == "seen"
            if sequence > newest:
                newest = sequence
                first_seen.append(sequence)
        assert first_seen == list(range(1, each + 1))
    assert stage.dead_letters() == []


def test_a_frame_that_kills_the_process_is_put_aside(stage: Stage, valkey: Valkey) -> None:
    stage.put(frame(GATE, 1), frame(GATE, 2, 66), frame(GATE, 3), frame(YARD, 1))
    for _ in range(6):
        process = start(stage, valkey)
        wait_for(lambda p=process: p.poll() is not None or stage.left() == 0)
        if process.poll() is None:
            break
        process.communicate()
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=3)
    assert [letter.reason for letter in stage.dead_letters()] == ["killed the worker each time"]
    assert ("poison", 2) in told(stage.observations(GATE)) and ("seen", 3) in told(stage.observations(GATE))
    assert told(stage.observations(YARD))[-1] == ("seen", 1)


def test_told_to_stop_it_is_gone_within_three_seconds_and_leaves_the_group(stage: Stage, valkey: Valkey) -> None:
    process = start(stage, valkey, slow_s=0.01)
    stage.put(*(frame(GATE, sequence) for sequence in range(1, 100)))
    wait_for(lambda: bool(stage.observations(GATE)))
    began = time.monotonic()
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=5)
    assert process.returncode == 0 and time.monotonic() - began < 3
    # What it told is committed, so that the next one does not tell it again.
    told_last = max(sequence for _, sequence in told(stage.observations(GATE)))
    assert stage.left() == 99 - told_last
