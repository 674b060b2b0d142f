"""``./poliscope bench chaos``: thousands of alerts while the processes that carry them are killed at random moments.

Real processes: two Celery workers (threads; processes), ``evaluate``, ``sweep``, the embedded Valkey with its
append-only file, and a loopback Twilio where lost and doubled messages are counted. One person after another walks into
one zone after another; each makes one incident and one critical SMS. Meanwhile processes are killed with SIGKILL, whole
groups or one child of a worker, and started again at once, as ``up`` does; Valkey is started again from its file.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import signal
import socket
import sys
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import psutil

from bench import accounting
from bench.accounting import Alert, Attempt, Kill, Outage
from bench.common import report
from bench.log import quantile
from bench.yard import Yard, open_yard, seconds, stand, worker
from streams.health import decode_heartbeat
from streams.log import LogError, open_log
from streams.topics import HEALTH

SIDE = 5
STEP_S, STEPS = 0.4, 8
"""Somebody stays for 3.2 s: longer than the second that a killed log may lose."""
CONFIG = {"confidence": 0.4, "hold_s": 0.5, "min_travel": 0.01, "stale_s": 3600}
ACKNOWLEDGE_AFTER_S = 100
"""Later than a message of unknown outcome is repeated, sooner than everybody is reminded."""
SETTLE_S = 240.0
PARTS = {
    "evaluate": ("manage.py", "evaluate", "--member", "evaluate-1"),
    "sweep": ("manage.py", "sweep"),
    "worker-threads": worker("threads", 4, "threads"),
    "worker-processes": worker("prefork", 2, "processes"),
}
WEIGHTS = {"evaluate": 3, "sweep": 2, "worker-threads": 3, "worker-processes": 2, "worker-child": 2, "valkey": 3}
BOUNDLESS = {"POLISCOPE_SMS_PER_MINUTE": "60000", "POLISCOPE_SMS_PER_MONTH": "0"}
"""What one sender may pass on in a minute is measured by ``bench storm``."""
UNFINISHED = """
SELECT COUNT(*) FROM alerts_delivery d WHERE d.state IN ('queued', 'sending') OR (d.state = 'unknown'
AND d.resends_id IS NULL AND NOT EXISTS (SELECT 1 FROM alerts_delivery r WHERE r.resends_id = d.id))
"""
HAPPENED = """
SELECT c.name, z.name, MIN(e.happened_at) FROM alerts_event e
JOIN alerts_incident i ON i.id = e.incident_id JOIN streams_camera c ON c.id = i.camera_id
JOIN streams_view v ON v.camera_id = c.id JOIN alerts_zone z ON z.view_id = v.id AND z.name = i.zone_name
GROUP BY c.name, z.name
"""
REPEATED = """
SELECT c.name, i.zone_name, d.lease_owner, d.problem FROM alerts_delivery d
JOIN alerts_delivery r ON r.resends_id = d.id JOIN alerts_alert a ON a.id = d.alert_id
JOIN alerts_incident i ON i.id = a.incident_id JOIN streams_camera c ON c.id = i.camera_id
WHERE a.reason <> 'reminder'
"""
TOLD = """
SELECT i.opened_at, a.reason, d.state, d.attempts, d.lease_owner, d.problem FROM alerts_incident i
JOIN streams_camera c ON c.id = i.camera_id LEFT JOIN alerts_alert a ON a.incident_id = i.id
LEFT JOIN alerts_delivery d ON d.alert_id = a.id
"""
SHOWN = 20
NO_ANSWER = "no answer after the request left"


@dataclass(frozen=True, slots=True)
class Visit:
    """Somebody in one zone of one camera, from one step on."""

    camera: int
    place: int
    step: int

    @property
    def alert(self) -> Alert:
        return f"C{self.camera:03d}", f"k{self.place:02d}"


def visits(alerts: int, cameras: int, per_s: float, chance: random.Random) -> list[Visit]:
    """Each zone is visited once at most; cameras take turns."""
    places = [chance.sample(range(SIDE * SIDE), SIDE * SIDE) for _ in range(cameras)]
    return [Visit(n % cameras, places[n % cameras][n // cameras], int(n / per_s / STEP_S)) for n in range(alerts)]


def kill_moments(kills: int, span_s: float, chance: random.Random) -> list[tuple[float, str]]:
    """When what is killed, in order: seconds from the beginning."""
    names = chance.choices(list(WEIGHTS), list(WEIGHTS.values()), k=kills)
    return sorted((chance.uniform(5.0, span_s), name) for name in names)


@dataclass
class Watch:
    """Follows heartbeats; an outage lasts until every part that runs has beaten since the kill."""

    yard: Yard
    outages: list[Outage] = field(default_factory=list)
    _beats: dict[str, float] = field(default_factory=dict)
    _killed: list[float] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def begin(self, killed_s: float) -> None:
        """Something was killed."""
        with self._lock:
            self._killed.append(killed_s)

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Watches meanwhile; what has not ended by then ends then."""
        thread = threading.Thread(target=self._run, daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._stop.set()
            thread.join(10)
            self._end(time.time())

    def ready(self) -> bool:
        """Whether every part has beaten."""
        return self._all_beat_since() is not None

    def _run(self) -> None:
        log = open_log(self.yard.installation.addresses, name="bench-watch")
        position = 0
        while not self._stop.wait(0.3):
            with contextlib.suppress(LogError):
                for record in log.read(HEALTH.name, 0, position):
                    position = record.offset + 1
                    beat = decode_heartbeat(record.payload)
                    self._beats[beat.instance] = beat.at.timestamp()
                self._end(self._all_beat_since() or 0.0)
        log.close()

    def _all_beat_since(self) -> float | None:
        instances = [f"{socket.gethostname()}-{self.yard.installation.pid(name)}" for name in PARTS]
        beats = [self._beats.get(instance) for instance in instances]
        known = [beat for beat in beats if beat is not None]
        return min(known) if len(known) == len(beats) else None

    def _end(self, since_s: float) -> None:
        with self._lock:
            self.outages += [Outage(killed_s, time.time()) for killed_s in self._killed if killed_s < since_s]
            self._killed = [killed_s for killed_s in self._killed if killed_s >= since_s]


class Killer:
    """Kills at its moments, on a thread of its own, and starts again what it killed and what ended by itself."""

    def __init__(self, yard: Yard, watch: Watch, moments: Sequence[tuple[float, str]], chance: random.Random) -> None:
        self._yard, self._watch, self._moments, self._chance = yard, watch, list(moments), chance
        self.kills: list[Kill] = []
        self._done, self._stop = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def wait(self) -> None:
        """Until the last one was killed."""
        self._done.wait()

    def stop(self) -> None:
        """Look after nothing any more."""
        self._stop.set()
        self._thread.join(30)

    def _run(self) -> None:
        began_s = time.monotonic()
        while not self._stop.wait(0.1):
            while self._moments and self._moments[0][0] <= time.monotonic() - began_s:
                self._kill(self._moments.pop(0)[1])
            if not self._moments:
                self._done.set()
            self._supervise()

    def _supervise(self) -> None:
        # A part that finds no log when it begins says so and ends; ``up`` starts it again.
        for name in PARTS:
            if not self._yard.installation.alive(name):
                self._yard.installation.restart(name)

    def _kill(self, name: str) -> None:
        # Asked before: afterwards there are none.
        pids = self._child() if name == "worker-child" else self._pids(name)
        if not pids:
            # A worker that only just begins has no child yet.
            name, pids = "worker-processes", self._pids("worker-processes")
        self._watch.begin(time.time())
        if name == "valkey":
            self._yard.installation.valkey.restart("rest")
        elif name == "worker-child":
            os.kill(pids[0], signal.SIGKILL)
        else:
            self._yard.installation.kill(name)
            self._yard.installation.restart(name)
        self.kills.append(Kill(name, time.time(), frozenset(pids)))

    def _pids(self, name: str) -> list[int]:
        """Of all that will end."""
        installation = self._yard.installation
        if name == "valkey":
            return [installation.valkey.process("rest").pid]
        return [installation.pid(name), *self._children(name)]

    def _child(self) -> list[int]:
        children = self._children("worker-processes")
        return self._chance.sample(children, 1) if children else []

    def _children(self, name: str) -> list[int]:
        process = psutil.Process(self._yard.installation.pid(name))
        return [child.pid for child in process.children(recursive=True)]


def film(yard: Yard, planned: Sequence[Visit], say: Any) -> None:
    """Append what the cameras see, step by step, in real time."""
    begun_s = time.monotonic()
    waiting, here = list(reversed(planned)), list[Visit]()
    step = 0
    while waiting or here:
        time.sleep(max(0.0, begun_s + step * STEP_S - time.monotonic()))
        while waiting and waiting[-1].step <= step:
            here.append(waiting.pop())
        here = [visit for visit in here if step - visit.step < STEPS]
        seen: dict[int, list[Visit]] = defaultdict(list)
        for visit in here:
            seen[visit.camera].append(visit)
        for camera, some in seen.items():
            yard.show(camera, [stand(SIDE, visit.place, (step - visit.step) / STEPS) for visit in some])
        if step % 25 == 0:
            say(f"{len(planned) - len(waiting)} of {len(planned)} appended")
        step += 1


def settle(yard: Yard, expected: set[Alert], say: Any) -> None:
    """Until everything was handed over and every delivery has an end; at most ``SETTLE_S``."""
    deadline_s = time.monotonic() + SETTLE_S
    while time.monotonic() < deadline_s:
        unfinished = yard.database.rows(UNFINISHED)[0][0]
        missing = len(accounting.lost(expected, yard.handed()))
        if not unfinished and not missing:
            return
        say(f"all appended; {missing} not handed over, {unfinished} unfinished")
        time.sleep(5)


def repeated(yard: Yard) -> list[Attempt]:
    """Deliveries that were sent once more, with the process that had them first."""
    return [
        Attempt((camera, zone), int(owner.split("-")[-2]), NO_ANSWER in problem)
        for camera, zone, owner, problem in yard.database.rows(REPEATED)
    ]


def explain(yard: Yard, what: str, alerts: Sequence[Alert]) -> None:
    """Print what the database says of the first few of ``alerts``."""
    for camera, zone in alerts[:SHOWN]:
        rows = yard.database.rows(f"{TOLD} WHERE c.name = '{camera}' AND i.zone_name = '{zone}' ORDER BY d.id")
        print(f"  {what}: {camera} {zone}: {rows or 'no incident'}", file=sys.stderr, flush=True)


def figures(yard: Yard, planned: Sequence[Visit], kills: Sequence[Kill], outages: Sequence[Outage]) -> dict[str, Any]:
    """All that is told of a run."""
    handed = yard.handed()
    missing = accounting.lost([visit.alert for visit in planned], handed)
    definite, ambiguous = accounting.duplicates(handed, repeated(yard), kills)
    happened = {(camera, zone): seconds(at) for camera, zone, at in yard.database.rows(HAPPENED)}
    ways = accounting.delays(happened, handed)
    every = sorted(until_s - from_s for from_s, until_s in ways.values())
    clear = accounting.undisturbed(ways.values(), outages)
    last_s = max((outage.until_s for outage in outages), default=0.0)
    for name, some in (("lost", missing), ("definite", definite), ("ambiguous", ambiguous)):
        explain(yard, name, some)
    return {
        "alerts": len(planned),
        "kills": len(kills),
        "lost": len(missing),
        "duplicate_definite": len(definite),
        "duplicate_ambiguous": len(ambiguous),
        "handoff_p50_s": round(quantile(every, 0.5), 3),
        "handoff_p99_s": round(quantile(clear, 0.99), 3) if clear else None,
        "handoff_max_s": round(every[-1], 3),
        "outside_outages": len(clear),
        "handoff_all_p99_s": round(quantile(every, 0.99), 3),
        "over_30_s": sum(delay_s > 30 for delay_s in every),
        "repeated": len(repeated(yard)),
        "after_last_outage_s": round(max(0.0, max(until_s for _, until_s in ways.values()) - last_s), 3),
        "outage_p50_s": round(quantile(sorted(one.until_s - one.from_s for one in outages), 0.5), 1),
        "killed": dict(sorted(Counter(kill.part for kill in kills).items())),
    }


def run(yard: Yard, planned: Sequence[Visit], kills: int, seed: int) -> dict[str, Any]:
    """One run: start, film and kill, settle, count."""
    for name, arguments in PARTS.items():
        yard.installation.start(name, *arguments)
    yard.installation.start("room", "-m", "bench.room", str(ACKNOWLEDGE_AFTER_S))
    watch = Watch(yard)
    span_s = planned[-1].step * STEP_S + STEPS * STEP_S
    chance = random.Random(seed + 1)
    killer = Killer(yard, watch, kill_moments(kills, span_s, chance), chance)
    with watch.running():
        while not watch.ready():
            time.sleep(0.5)
        begun_s = time.monotonic()

        def say(text: str) -> None:
            told = f"  {time.monotonic() - begun_s:4.0f} s: {text}; {len(yard.twilio.requests)} at the provider"
            print(f"{told}, {len(killer.kills)} kills", file=sys.stderr, flush=True)

        killer.start()
        film(yard, planned, say)
        killer.wait()
        yard.flush()
        settle(yard, {visit.alert for visit in planned}, say)
        killer.stop()
    return figures(yard, planned, killer.kills, watch.outages)


def main(arguments: Sequence[str]) -> int:
    """Print the table and the JSON line; 1 when something was lost or doubled without a doubt."""
    parser = argparse.ArgumentParser(prog="poliscope bench chaos")
    parser.add_argument("--alerts", type=int, default=10_000)
    parser.add_argument("--kills", type=int, default=0, help="one for each hundred alerts, at least 12, unless given")
    parser.add_argument("--per-second", type=float, default=6.0, help="alerts a second")
    parser.add_argument("--seed", type=int, default=2026)
    parser.add_argument("--postgres", action="store_true", help="on a PostgreSQL server of its own instead of SQLite")
    given = parser.parse_args(list(arguments))
    kills = given.kills or max(12, given.alerts // 100)
    cameras = max(8, -(-given.alerts // (SIDE * SIDE)))
    planned = visits(given.alerts, cameras, given.per_second, random.Random(given.seed))
    seed = {"side": SIDE, "guards": SIDE * SIDE, "config": CONFIG, "critical": SIDE * SIDE}
    print(
        f"  seed {given.seed}: {given.alerts} alerts on {cameras} cameras, {kills} kills", file=sys.stderr, flush=True
    )
    with open_yard(given.postgres, BOUNDLESS, cameras=cameras, **seed) as yard:
        found = run(yard, planned, kills, given.seed)
    found |= {"seed": given.seed, "database": "postgresql" if given.postgres else "sqlite"}
    command = " ".join(["./poliscope bench chaos", *arguments])
    report([["figure", "value"], *([name, str(value)] for name, value in found.items())], found, command)
    return 1 if found["lost"] or found["duplicate_definite"] else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
