"""The detector worker: frames of one pool in, observations out. The shell around batching, plan and backends.

Delivery: at least once. A frame counts as done when every observation about it is acknowledged, and only then is its
position committed; after a crash frames are analysed again, and the fold skips what it has seen.

One thread reads, decodes and runs the models; the producer's threads report acknowledgements through a queue.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass, field
from datetime import UTC, datetime
from queue import Empty, SimpleQueue
from typing import Literal
from uuid import UUID

import cv2
import msgspec

from detectors.backends.base import Backend, Picture
from detectors.batching import BatchConfig, Batcher, Entry, Item, Ledger, Run, runs
from detectors.dead_letters import DeadLetter, encode_dead_letter
from detectors.detections import Detections
from detectors.loading import Loader
from detectors.pictures import BadPicture, decode_jpeg
from detectors.plan import DeploymentSpec, ModelSpec, PoolPlan
from detectors.standing import Standing
from detectors.suspects import Suspects
from streams import observations as wire
from streams.beat import Pulse
from streams.frame import Jpeg, UnknownVersion, decode_frame
from streams.log import Consumer, Log, Producer, Record
from streams.observations import LogPosition, Observation, encode_observation
from streams.topics import DEAD_LETTERS, OBSERVATIONS, frames

logger = logging.getLogger(__name__)

POLL_S = 1.0
"""How long an idle worker waits in one go; it also bounds how late it sees a signal."""
COMMIT_S = 0.2
HOUSEKEEPING_S = 1.0
IN_HAND_MOST = 256
"""Records read ahead: enough to see that a camera has newer pictures, little enough memory (25 MB of pictures)."""
REFUSED_S = 0.02
"""Between attempts while the producer's queue is full."""

Why = Literal["behind", "poison", "model"]


@dataclass(slots=True)
class Counters:
    """What has happened since the start. Written by the worker's thread, read by the heartbeat's."""

    frames: int = 0
    batches: int = 0
    busy_s: float = 0.0
    behind: int = 0
    poison: int = 0
    unplanned: int = 0
    """Frames of a camera that no deployment of the pool looks at."""
    unknown: int = 0
    """Frames of a version, or with a payload, that this program cannot read."""
    rewound: int = 0
    """Times that observations failed and their frames were read again."""


@dataclass(slots=True)
class _Work:
    """One frame's way through a batch."""

    item: Item
    deployments: tuple[DeploymentSpec, ...]
    poison: str = ""
    picture: Picture | None = None
    found: dict[ModelSpec, Detections] = field(default_factory=dict)


Running = dict[UUID, tuple[ModelSpec, Backend] | None]
"""What each deployment (by uid) runs now; None: its model cannot be used."""


class Worker:
    """A member of the pool's group. ``step`` does one round; ``run`` goes round until told to stop."""

    def __init__(
        self,
        log: Log,
        pool: str,
        member: str,
        plan: Callable[[], PoolPlan],
        loader: Loader,
        *,
        suspects: Suspects | None = None,
        batches: BatchConfig | None = None,
        session_timeout_s: float = 10.0,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """``plan`` gives the plan in force and must not block."""
        cv2.setNumThreads(1)  # its pool would fight the model's for the same cores
        self.counters = Counters()
        self._topic = frames(pool).name
        self._plan_now, self._plan = plan, plan()
        self._loader, self._suspects = loader, suspects or Suspects(None)
        self._batcher, self._ledger = Batcher(batches), Ledger()
        self._standing = Standing()
        self._now, self._monotonic = now, monotonic
        self.alive: Callable[[], None] = lambda: None
        """Called at least every ``POLL_S``, but for the time that a model takes to load."""
        self._answers: SimpleQueue[tuple[Entry, Exception | None]] = SimpleQueue()
        self._stop = threading.Event()
        self._producer: Producer = log.producer()
        self._consumer: Consumer = log.consumer(
            self._topic,
            f"detect.{pool}",
            member,
            on_revoked=self._on_revoked,
            session_timeout_s=session_timeout_s,
        )
        self._lag = 0
        self._healthy = True
        self._commit_at_s = self._housekeep_at_s = 0.0
        self._pulse_before = (monotonic(), Counters())

    def run(self) -> None:
        """Work until ``stop``; then finish the batch in hand, commit, and leave the group."""
        try:
            while not self._stop.is_set():
                self.step()
        finally:
            self.close()

    def stop(self) -> None:
        """Ask ``run`` to end. Safe from a signal handler."""
        self._stop.set()

    def close(self) -> None:
        """Wait for what is on its way (2 s at most), commit it, leave the group, give the models' memory back."""
        self._producer.flush(2.0)
        self._settle()
        self._commit()
        self._consumer.close()
        self._producer.close(0.5)
        self._loader.close()
        self._suspects.close()

    def step(self) -> None:
        """Read what is there, analyse one batch when it is due, commit what is done. Blocks ``POLL_S`` at most."""
        self.alive()
        self._read()
        if self._batcher.wait_s(self._monotonic()) == 0.0:
            self._give_up(self._batcher.shed(self._now()))
            self._analyse(self._next_batch())
        self._settle()
        if self._monotonic() >= self._commit_at_s:
            self._commit()
            self._commit_at_s = self._monotonic() + COMMIT_S
        if self._monotonic() >= self._housekeep_at_s:
            self._housekeep()
            self._housekeep_at_s = self._monotonic() + HOUSEKEEPING_S

    def pulse(self) -> Pulse:
        """What the heartbeat says: figures since the last call. Called from one thread, which may be another."""
        (before_s, before), now_s, now = self._pulse_before, self._monotonic(), copy(self.counters)
        self._pulse_before = (now_s, now)
        done, batches, busy_s = now.frames - before.frames, now.batches - before.batches, now.busy_s - before.busy_s
        problem = next((one.code for one in self._loader.problems().values()), "" if self._healthy else "log")
        figures = {
            "frames_per_s": done / max(now_s - before_s, 1e-3),
            "ms_per_frame": 1000 * busy_s / done if done else 0.0,
            "batch": done / batches if batches else 0.0,
            "models": float(len(self._loader)),
            **{name: float(getattr(now, name)) for name in ("behind", "poison", "unplanned", "unknown", "rewound")},
        }
        return Pulse(lag=self._lag, problem=problem, figures=figures)

    # Reading

    def _read(self) -> None:
        room = IN_HAND_MOST - len(self._batcher)
        wait_s = self._batcher.wait_s(self._monotonic())
        if room <= 0:
            return
        for record in self._consumer.poll(POLL_S if wait_s is None else wait_s, room):
            self._take_in(record)

    def _take_in(self, record: Record) -> None:
        entry = self._ledger.took(record.partition, record.offset)
        try:
            frame = decode_frame(record.payload)
        except UnknownVersion as error:
            self._skip(entry, "unknown", str(error))
            return
        except msgspec.DecodeError as error:
            self.counters.poison += 1
            self._bury(entry, record.payload, f"not a frame: {error}")
            self._ledger.settle(entry)
            return
        if not isinstance(frame.payload, Jpeg):
            self._skip(entry, "unknown", f"frame: expected a jpeg payload, got {type(frame.payload).__name__}")
        elif not self._plan.deployments(frame.camera):
            self._skip(entry, "unplanned")
        else:
            self._batcher.add(Item(entry, frame, record.payload), self._monotonic())

    def _skip(self, entry: Entry, counter: Literal["unknown", "unplanned"], why: str = "") -> None:
        if why and not getattr(self.counters, counter):
            logger.warning("%s/%s@%s: skipped: %s", self._topic, entry.partition, entry.offset, why)
        setattr(self.counters, counter, getattr(self.counters, counter) + 1)
        self._ledger.settle(entry)

    def _next_batch(self) -> list[Item]:
        """A batch, or one frame alone when it was in hand as the last worker died."""
        items = self._batcher.take()
        suspected = [index for index, item in enumerate(items) if self._suspects.suspected(item.entry)]
        if not suspected:
            return items
        cut = max(1, suspected[0])
        self._batcher.put_back(items[cut:], self._monotonic())
        return items[:cut]

    # Analysing

    def _analyse(self, items: Sequence[Item]) -> None:
        if not items:
            return
        began_s = self._monotonic()
        entries = [item.entry for item in items]
        batch = [self._work(item) for item in items]
        running = self._running(batch)
        self._suspects.take(entries)
        for work in batch:
            self._decode(work, running)
        for (model, backend), works in _by_model(batch, running).items():
            _infer(model, backend, works)
        for work in batch:
            self._tell(work, running)
        self._suspects.done(entries)
        self.counters.frames += len(batch)
        self.counters.batches += 1
        self.counters.busy_s += self._monotonic() - began_s

    def _work(self, item: Item) -> _Work:
        fatal = self._suspects.fatal(item.entry)
        return _Work(item, self._plan.deployments(item.frame.camera), "killed the worker each time" if fatal else "")

    def _running(self, batch: Sequence[_Work]) -> Running:
        wanted = {one.uid: one for work in batch for one in work.deployments}
        return {uid: self._loader.backend(one, self._monotonic()) for uid, one in wanted.items()}

    def _decode(self, work: _Work, running: Running) -> None:
        """One decode for all of the camera's deployments, as large as the one that needs most."""
        inputs_wh = [found[1].input_wh for one in work.deployments if (found := running[one.uid])]
        if work.poison or not inputs_wh:
            return
        frame, payload = work.item.frame, work.item.frame.payload
        assert isinstance(payload, Jpeg)
        try:
            work.picture = decode_jpeg(payload.data, (frame.width_px, frame.height_px), inputs_wh)
        except BadPicture as error:
            work.poison = str(error)

    # Telling

    def _tell(self, work: _Work, running: Running) -> None:
        for deployment in work.deployments:
            found = running[deployment.uid]
            if found is None:
                self._drop(Run(work.item, 1), deployment, "model")
            elif found[0] in work.found:
                self._observe(work.item, self._seen(work, deployment, *found))
            else:
                self._drop(Run(work.item, 1), deployment, "poison")
        if work.poison:
            self.counters.poison += 1
            self._bury(work.item.entry, work.item.payload, work.poison)
        self._ledger.settle(work.item.entry)

    def _seen(self, work: _Work, deployment: DeploymentSpec, model: ModelSpec, backend: Backend) -> wire.Detections:
        found = work.found[model]
        if deployment.static_regions and work.picture is not None:
            found = self._standing.beside(found, deployment.uid, work.item.frame, work.picture)
        return _detections(work.item, deployment, found, backend, self._topic)

    def _give_up(self, dropped: Sequence[Item]) -> None:
        for run in runs(dropped):
            for deployment in self._plan.deployments(run.last.frame.camera):
                self._drop(run, deployment, "behind")
        for item in dropped:
            self._ledger.settle(item.entry)
        self.counters.behind += len(dropped)

    def _drop(self, run: Run, deployment: DeploymentSpec, reason: Why) -> None:
        frame = run.last.frame
        dropped = wire.Dropped(
            camera=frame.camera,
            deployment=deployment.uid,
            session=frame.session,
            sequence=frame.sequence,
            captured_at=frame.captured_at,
            count=run.count,
            reason=reason,
        )
        self._observe(run.last, dropped)

    def _observe(self, item: Item, observation: Observation) -> None:
        self._append(OBSERVATIONS.name, item.entry.partition, encode_observation(observation), item.entry)

    def _bury(self, entry: Entry, payload: bytes, reason: str) -> None:
        logger.error("%s/%s@%s: put aside: %s", self._topic, entry.partition, entry.offset, reason)
        source = LogPosition(self._topic, entry.partition, entry.offset)
        letter = DeadLetter(source=source, at=self._now(), reason=reason[:500], payload=payload)
        self._append(DEAD_LETTERS.name, 0, encode_dead_letter(letter), entry)

    def _append(self, topic: str, partition: int, payload: bytes, entry: Entry) -> None:
        """Append, waiting while the producer's queue is full; told to stop, give up, and the frame is not committed."""
        entry.left += 1

        def answered(_offset: int | None, error: Exception | None) -> None:
            self._answers.put((entry, error))

        while not self._producer.append(topic, partition, payload, answered):
            self.alive()
            if self._stop.wait(REFUSED_S):
                return

    # Settling

    def _settle(self) -> None:
        """Take note of what was acknowledged; what failed is read again, with all that followed it in its partition."""
        while True:
            try:
                entry, error = self._answers.get_nowait()
            except Empty:
                return
            if error is None:
                self._ledger.settle(entry)
            elif self._ledger.holds(entry):
                self._rewind(entry.partition, error)

    def _rewind(self, partition: int, error: Exception) -> None:
        position = self._ledger.first(partition)
        logger.warning(
            "%s/%s: observations failed (%s); reading again from %s", self._topic, partition, error, position
        )
        self.counters.rewound += 1
        self._batcher.forget({partition})
        self._ledger.forget({partition})
        if position is not None and partition in self._consumer.assignment:
            self._consumer.seek(partition, position)

    def _commit(self) -> None:
        ours = self._consumer.assignment
        positions = {
            partition: position for partition, position in self._ledger.positions().items() if partition in ours
        }
        if positions and self._consumer.commit(positions):
            self._ledger.committed(positions)

    def _on_revoked(self, partitions: frozenset[int]) -> None:
        self._producer.flush(2.0)
        self._settle()
        self._commit()
        self._batcher.forget(partitions)
        self._ledger.forget(partitions)

    def _housekeep(self) -> None:
        plan = self._plan_now()
        if plan is not self._plan:
            self._plan = plan
            self._loader.keep(plan.everyone)
        self._loader.release_idle(self._monotonic())
        self._lag = self._consumer.lag() + len(self._batcher)
        self._healthy = self._consumer.healthy


def _by_model(batch: Sequence[_Work], running: Running) -> dict[tuple[ModelSpec, Backend], list[_Work]]:
    """The decoded frames that each model is to see, each frame once."""
    found: dict[tuple[ModelSpec, Backend], list[_Work]] = defaultdict(list)
    for work in batch:
        if work.picture is not None:
            for pair in dict.fromkeys(running[one.uid] for one in work.deployments):
                if pair is not None:
                    found[pair].append(work)
    return found


def _infer(model: ModelSpec, backend: Backend, works: Sequence[_Work]) -> None:
    """Run the model over a batch; when that raises, over each frame once more alone, to find the one that is bad."""
    pictures = [work.picture for work in works if work.picture is not None]
    try:
        for work, detections in zip(works, backend.infer(pictures), strict=True):
            work.found[model] = detections
        return
    except Exception as error:
        logger.warning("%s: a batch of %s failed (%s); each frame is tried alone", model, len(works), error)
    for work, picture in zip(works, pictures, strict=True):
        try:
            work.found[model] = backend.infer([picture])[0]
        except MemoryError:
            # Not the picture's fault: a fresh process has the memory, and reads the frame again.
            raise
        except Exception as error:
            work.poison = f"{model}: {type(error).__name__}: {error}"


def _detections(
    item: Item, deployment: DeploymentSpec, found: Detections, backend: Backend, topic: str
) -> wire.Detections:
    frame, entry = item.frame, item.entry
    return wire.Detections(
        camera=frame.camera,
        deployment=deployment.uid,
        session=frame.session,
        sequence=frame.sequence,
        captured_at=frame.captured_at,
        view=frame.view,
        model=backend.model_version,
        source_wh=frame.source_wh,
        xyxy=found.wire_xyxy(),
        score=found.wire_score(),
        label=list(found.label),
        frame=LogPosition(topic, entry.partition, entry.offset),
    )
