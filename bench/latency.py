"""``./poliscope bench latency``: from ``captured_at`` of the picture that fired to the first byte at the provider.

Eight cameras play the campus clip over real RTSP, everything that ``up`` starts is running, and every incident is
resolved as soon as it is seen, so that the next event tells somebody again. The provider is a loopback Twilio that
notes the moment of each request's first byte; a delivery's own event gives ``captured_at``.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from bench.common import report
from monitor.instance import BASE_DIR, Instance, free_port
from tests.services.twilio import FakeTwilio

CAMERAS = 8
TOLD = timedelta(seconds=5)
"""An incident is left open for so long: resolved earlier, its message would rightly not be sent any more."""
CLIP = BASE_DIR / "streams" / "footage" / "campus.mp4"
QUERY = """
SELECT contact.address, event.happened_at, event.known_at
FROM alerts_delivery delivery
JOIN alerts_contact contact ON contact.id = delivery.contact_id
JOIN alerts_alert alert ON alert.id = delivery.alert_id
JOIN alerts_event event ON event.incident_id = alert.incident_id
WHERE alert.reason = 'opened' AND delivery.sent_at IS NOT NULL AND event.id = (
    SELECT MIN(id) FROM alerts_event WHERE incident_id = alert.incident_id)
ORDER BY delivery.id
"""


def main(arguments: Sequence[str]) -> int:
    """Options: ``--alerts N`` (100), ``--kafka``."""
    parser = argparse.ArgumentParser(prog="poliscope bench latency")
    parser.add_argument("--alerts", type=int, default=100)
    parser.add_argument("--kafka", action="store_true")
    given = parser.parse_args(arguments)
    twilio = FakeTwilio()
    with tempfile.TemporaryDirectory(prefix="poliscope-bench-") as folder:
        data = Path(folder) / "data"
        delays = _measure(data, twilio, given.alerts, given.kafka)
    twilio.stop()
    known, told = np.array(delays).T
    figures = {
        "p50_s": round(float(np.percentile(told, 50)), 3),
        "p99_s": round(float(np.percentile(told, 99)), 3),
        "max_s": round(float(told.max()), 3),
        "decided_p50_s": round(float(np.percentile(known, 50)), 3),
        "decided_p99_s": round(float(np.percentile(known, 99)), 3),
        "n": len(told),
        "cameras": CAMERAS,
        "engine": "kafka" if given.kafka else "valkey",
    }
    rows = [["figure", "value"], *([name, value] for name, value in figures.items())]
    command = "./poliscope bench latency" + (" --kafka" if given.kafka else "")
    report(rows, figures, command, footage=f"{CLIP.name} on {CAMERAS} RTSP cameras")
    return 0


def _measure(data: Path, twilio: FakeTwilio, alerts: int, kafka: bool) -> list[tuple[float, float]]:
    rtsp = free_port()
    cameras = subprocess.Popen(
        [sys.executable, "-m", "bench.cameras", "--port", str(rtsp), "--paths", str(CAMERAS), str(CLIP)], cwd=BASE_DIR
    )
    environment = {**os.environ, **twilio.environment, "POLISCOPE_CAMERA_ALLOW": f"127.0.0.1:{rtsp}"}
    options = ["--no-demo", "--json", "--data", str(data), "--port", str(free_port()), *(["--kafka"] if kafka else [])]
    up = subprocess.Popen(
        [sys.executable, "-m", "monitor.up", *options], cwd=BASE_DIR, env=environment, stdout=subprocess.PIPE, text=True
    )
    try:
        assert up.stdout is not None
        ready = json.loads(up.stdout.readline())
        # Critical: so many of anything else for one person would rightly be gathered in one message.
        seed = {
            "cameras": CAMERAS,
            "rearm_s": 3.0,
            "severity": "critical",
            "address": f"rtsp://127.0.0.1:{rtsp}/cam{{number}}",
        }
        subprocess.run(
            [sys.executable, "-m", "tests.end_to_end.seed", "street", json.dumps(seed)],
            cwd=BASE_DIR,
            env={**Instance(data).environment(), "POLISCOPE_CAMERA_ALLOW": f"127.0.0.1:{rtsp}"},
            stdout=subprocess.DEVNULL,
            check=True,
        )
        _resolve_until(ready, twilio, alerts)
        time.sleep(2)
        return _delays(data, twilio)
    finally:
        up.send_signal(signal.SIGINT)
        up.wait(30)
        cameras.terminate()
        cameras.wait(10)


def _resolve_until(ready: dict[str, Any], twilio: FakeTwilio, alerts: int) -> None:
    """Keep resolving what opens until the provider has had ``alerts`` requests; at most ten minutes."""
    deadline = time.monotonic() + 600
    shown = -1
    while len(twilio.requests) < alerts and time.monotonic() < deadline:
        settled = datetime.now(UTC) - TOLD
        for incident in _api(ready, "incidents?state=open&limit=100")["items"]:
            if datetime.fromisoformat(incident["opened_at"]) > settled:
                continue
            _api(ready, f"incidents/{incident['uid']}/resolve", {"disposition": "test"})
        if len(twilio.requests) // 10 != shown:
            shown = len(twilio.requests) // 10
            print(f"  {len(twilio.requests)} of {alerts} alerts", file=sys.stderr, flush=True)
        time.sleep(1.0)


def _api(ready: dict[str, Any], path: str, body: dict[str, Any] | None = None) -> Any:
    request = urllib.request.Request(
        f"{ready['url']}/api/v1/{path}",
        data=None if body is None else json.dumps(body).encode(),
        headers={"Authorization": f"Bearer {ready['token']}", "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=10) as response:
        return json.load(response)


def _delays(data: Path, twilio: FakeTwilio) -> list[tuple[float, float]]:
    """For each request, matched with its delivery by number and order: seconds to the decision, and to the request."""
    connection = sqlite3.connect(f"file:{data / 'poliscope.sqlite3'}?mode=ro", uri=True)
    told: dict[str, list[tuple[datetime, datetime]]] = {}
    for address, *moments in connection.execute(QUERY):
        happened, known = (datetime.fromisoformat(moment).replace(tzinfo=UTC) for moment in moments)
        told.setdefault(address, []).append((happened, known))
    connection.close()
    delays: list[tuple[float, float]] = []
    for number, moments_of in told.items():
        arrived = [request.at for request in twilio.requests if request.to == number]
        for (happened, known), there in zip(moments_of, arrived, strict=False):
            delays.append(((known - happened).total_seconds(), (there - happened).total_seconds()))
    return delays


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
