"""``./poliscope bench storm``: ten thousand events a minute into fifty incidents.

Fifty cameras show four people each, everybody somewhere else on each picture, so that each is an event of its own; a
camera's events make one incident. ``evaluate``, a Celery worker and ``sweep`` run as ``up`` runs them, with a loopback
Twilio. Every fifth camera's rule is critical; those cameras begin one after another, into the storm. How long the
database takes is measured by a writer beside all others: to its turn, and to the disk.
"""

from __future__ import annotations

import argparse
import os
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import psutil

from bench import accounting
from bench.common import report
from bench.log import quantile
from bench.yard import Yard, open_yard, reminds, seconds, stand, worker

CAMERAS, CRITICAL, GUARDS = 50, 10, 2
SIDE = 2
PLACES = SIDE * SIDE
WITHIN = 3
"""Each zone has so many times so many places to stand in; when one's turn comes again the tracker has forgotten it."""
PER_MINUTE = 10_000
CONFIG = {
    **{"confidence": 0.4, "confirm_k": 1, "confirm_n": 1, "min_travel": 0.0, "hold_s": 0.0, "leave_s": 0.0},
    **{"rearm": "interval", "rearm_s": 0.0},
}
PROBE_S, IDLE_S, SETTLE_S = 0.1, 5.0, 120.0
PARTS = {
    "evaluate": ("manage.py", "evaluate", "--member", "evaluate-1"),
    "sweep": ("manage.py", "sweep"),
    "worker": worker("threads", 8, "worker"),
}
KNOWN = """
SELECT e.happened_at, e.known_at, i.severity, i.id FROM alerts_event e JOIN alerts_incident i ON i.id = e.incident_id
"""
# When it was recorded: a little later than the provider's first byte, never sooner.
SENT = """
SELECT i.id, d.sent_at FROM alerts_delivery d JOIN alerts_alert a ON a.id = d.alert_id
JOIN alerts_incident i ON i.id = a.incident_id WHERE i.severity = 'critical' AND a.reason <> 'reminder'
"""


class Probe:
    """Writes one small transaction after another, and keeps how long each took."""

    def __init__(self, write_s: Callable[[], float]) -> None:
        self._write_s = write_s
        self.took_s: list[float] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> list[float]:
        """All of them, sorted."""
        self._stop.set()
        self._thread.join(30)
        return sorted(self.took_s)

    def _run(self) -> None:
        while not self._stop.wait(PROBE_S):
            self.took_s.append(self._write_s())


def begins_s(camera: int, seconds_long: float) -> float:
    """When a camera begins: the ordinary ones at once, the critical ones (the first) spread over nine tenths."""
    return 0.9 * seconds_long * camera / CRITICAL if camera < CRITICAL else 0.0


def people(number: int) -> list[tuple[float, float, float, float]]:
    """Four people on a camera's picture ``number``, one in each zone, away from where the last ones stood."""
    down, across = divmod(number % (WITHIN * WITHIN), WITHIN)
    boxes = []
    for place in range(PLACES):
        row, column = divmod(place, SIDE)
        fine = (row * WITHIN + down) * SIDE * WITHIN + column * WITHIN + across
        boxes.append(stand(SIDE * WITHIN, fine, 0.5))
    return boxes


def storm(yard: Yard, seconds_long: float) -> int:
    """Append pictures at the storm's pace; returns how many people they showed.

    The cameras that have begun share the whole pace, so that there are as many events a minute at the end as at the
    beginning.
    """
    begun_s, shown, number = time.monotonic(), 0, [0] * CAMERAS
    camera = CAMERAS - 1
    while (now_s := time.monotonic() - begun_s) < seconds_long:
        camera = (camera + 1) % CAMERAS
        if begins_s(camera, seconds_long) > now_s:
            continue
        yard.show(camera, people(number[camera]))
        number[camera] += 1
        shown += PLACES
        if shown % (PER_MINUTE // 10) < PLACES:
            print(f"  {now_s:4.0f} s: {shown} events; {len(yard.twilio.requests)} SMS", file=sys.stderr, flush=True)
        time.sleep(max(0.0, begun_s + shown * 60.0 / PER_MINUTE - time.monotonic()))
    yard.flush()
    return shown


def settle(yard: Yard, shown: int) -> None:
    """Until every event is stored; at most ``SETTLE_S``."""
    deadline_s = time.monotonic() + SETTLE_S
    while time.monotonic() < deadline_s:
        if yard.database.rows("SELECT COUNT(*) FROM alerts_event")[0][0] >= shown:
            return
        time.sleep(1)


def figures(yard: Yard, shown: int, idle_s: Sequence[float], busy_s: Sequence[float], cpu_s: float) -> dict[str, Any]:
    """All that is told of a run."""
    known = [(seconds(row[0]), seconds(row[1]), row[2], row[3]) for row in yard.database.rows(KNOWN)]
    lags_s = sorted(known_s - happened_s for happened_s, known_s, _, _ in known)
    first_s: dict[int, float] = {}
    for happened_s, _, _, incident in known:
        first_s[incident] = min(happened_s, first_s.get(incident, happened_s))
    waits_s = sorted(
        seconds(sent_at) - first_s[incident] for incident, sent_at in yard.database.rows(SENT) if sent_at is not None
    )
    unsent = sum(sent_at is None for _, sent_at in yard.database.rows(SENT))
    messages = yard.twilio.messages
    return {
        "events": len(known),
        "lag_max_s": round(lags_s[-1], 3),
        "db_p99_ms": round(1000 * quantile(list(busy_s), 0.99), 1),
        "sms_per_min_max": accounting.most_within([message.at.timestamp() for message in messages], 60.0),
        "critical_p99_s": round(quantile(waits_s, 0.99), 3),
        "people_shown": shown,
        "incidents": len(first_s),
        "lag_p99_s": round(quantile(lags_s, 0.99), 3),
        "db_p50_ms": round(1000 * quantile(list(busy_s), 0.5), 1),
        "db_idle_p99_ms": round(1000 * quantile(list(idle_s), 0.99), 1),
        "sms": len(messages),
        "sms_reminders": sum(reminds(message) for message in messages),
        "critical": len(waits_s),
        "critical_unsent": unsent,
        "evaluate_cpu_ms": round(1000 * cpu_s / max(1, len(known)), 2),
        "load": round(os.getloadavg()[0], 1),
    }


def probed(yard: Yard, meanwhile: Callable[[], int | None]) -> tuple[list[float], int]:
    """How long transactions took while something else happened, and what that returned."""
    probe = Probe(yard.database.write_s)
    probe.start()
    answer = meanwhile()
    return probe.stop(), answer or 0


def run(yard: Yard, seconds_long: float) -> dict[str, Any]:
    """One run: start, idle for a moment, storm, settle, count."""
    yard.database.prepare_writing()
    for name, arguments in PARTS.items():
        yard.installation.start(name, *arguments)
    time.sleep(15)
    idle_s, _ = probed(yard, lambda: time.sleep(IDLE_S))
    evaluate = psutil.Process(yard.installation.pid("evaluate"))
    before_s = sum(evaluate.cpu_times()[:2])
    busy_s, shown = probed(yard, lambda: storm(yard, seconds_long))
    settle(yard, shown)
    return figures(yard, shown, idle_s, busy_s, sum(evaluate.cpu_times()[:2]) - before_s)


def main(arguments: Sequence[str]) -> int:
    """Print the table and the JSON line; 1 when an event is missing."""
    parser = argparse.ArgumentParser(prog="poliscope bench storm")
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--postgres", action="store_true", help="on a PostgreSQL server of its own instead of SQLite")
    given = parser.parse_args(list(arguments))
    seed = {"side": SIDE, "guards": GUARDS, "config": CONFIG, "critical": CRITICAL, "rule_of": "camera"}
    with open_yard(given.postgres, {}, cameras=CAMERAS, **seed) as yard:
        found = run(yard, 60.0 * given.minutes)
    found["database"] = "postgresql" if given.postgres else "sqlite"
    command = " ".join(["./poliscope bench storm", *arguments])
    report([["figure", "value"], *([name, str(value)] for name, value in found.items())], found, command)
    return 0 if found["events"] == found["people_shown"] else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
