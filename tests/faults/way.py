"""The whole way from the log to the phone, for tests that break a piece of it while people walk through the picture.

``evaluate``, ``sweep``, a Celery worker and the web server run as ``up`` runs them, on a database, two Valkeys, a
Twilio and a mail server of their own. Cameras are only what ``detect`` would say of them.
"""

from __future__ import annotations

import contextlib
import errno
import http.client
import itertools
import json
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.yard import Yard, named, open_yard, seconds, stand, worker
from monitor.instance import free_port
from streams.health import Heartbeat, decode_heartbeat
from streams.topics import HEALTH
from tests.services.installation import Installation, wait_for
from tests.services.smtp import FakeSmtp
from tests.services.twilio import FakeTwilio

SIDE, CAMERAS = 3, 24
STEP_S, STEPS = 0.3, 8
"""Somebody stays for 2.4 s."""
CONFIG = {"confidence": 0.4, "hold_s": 0.5, "min_travel": 0.01, "stale_s": 3600}
BOUNDLESS = {"POLISCOPE_SMS_PER_MINUTE": "60000", "POLISCOPE_SMS_PER_MONTH": "0"}
PARTS = {
    "evaluate": ("manage.py", "evaluate", "--member", "evaluate-1"),
    "sweep": ("manage.py", "sweep"),
    "worker": worker("threads", 12, "threads"),
}
WEB = ("-m", "uvicorn", "monitor.asgi:application", "--host", "127.0.0.1", "--no-access-log", "--log-level", "warning")
DRAIN = ("--timeout-graceful-shutdown", "2")
START_S = 60.0
DISK = "64m"

GREYLISTED, NO_SUCH, SILENT = "greylisted@example.org", "no-such-user@example.org", "silent@example.org"
RESERVE = "+886912000099"
WAYS = {
    "1": [["sms", "+886912000001"], ["sms", RESERVE]],
    "5": [["email", GREYLISTED]],
    "6": [["email", NO_SUCH], ["email", "reserve@example.org"]],
    "7": [["email", SILENT]],
}
"""Guards (by the place that they are told of) who are reached otherwise than by one number."""

TOLD = """
SELECT i.zone_name, t.channel, t.address, d.state, d.attempts, d.problem, d.lease_owner, d.resends_id, a.created_at,
d.attempted_at, d.sent_at, d.finished_at, d.delivered_at
FROM alerts_delivery d JOIN alerts_contact t ON t.id = d.contact_id JOIN alerts_alert a ON a.id = d.alert_id
JOIN alerts_incident i ON i.id = a.incident_id JOIN streams_camera c ON c.id = i.camera_id
WHERE c.name = '{camera}' ORDER BY d.id
"""
ENDED = frozenset({"sent", "delivered", "failed", "cancelled"})


@dataclass(frozen=True, slots=True)
class Told:
    """One delivery; moments are seconds since 1970, None where there is none."""

    zone: str
    channel: str
    address: str
    state: str
    attempts: int
    problem: str
    owner: str
    repeats: int | None
    decided_s: float
    attempted_s: float | None
    sent_s: float | None
    finished_s: float | None
    delivered_s: float | None

    @classmethod
    def of(cls, row: Sequence[Any]) -> Told:
        """From a row of the query above."""
        return cls(*row[:8], seconds(row[8]), *(seconds(at) if at else None for at in row[9:]))

    @property
    def pid(self) -> int:
        """Of the process that sent it last."""
        return int(self.owner.split("-")[-2])


class Way:
    """One installation. Whatever a test breaks is mended before the next one (``heal``)."""

    def __init__(self, yard: Yard, smtp: FakeSmtp, port: int, disk: Path | None) -> None:
        self.yard, self.smtp, self.port, self.disk = yard, smtp, port, disk
        self.installation: Installation = yard.installation
        self.twilio: FakeTwilio = yard.twilio
        self.installation.seed("ways", contacts=WAYS)
        self.door = self.installation.seed("door")
        self.frames = self.installation.valkey.client("frames")
        self._fresh = itertools.count()
        for name, arguments in {**PARTS, "web": (*WEB, *DRAIN, "--port", str(port))}.items():
            self.installation.start(name, *arguments)

    # What happens

    def walk(self, *places: int) -> str:
        """Somebody walks through each of ``places``, seen by a camera that saw nobody yet. Returns its name."""
        number = next(self._fresh)
        for step in range(STEPS):
            self.yard.show(number, [stand(SIDE, place, step / STEPS) for place in places])
            time.sleep(STEP_S)
        return f"C{number:03d}"

    # What became of it

    def told(self, camera: str) -> list[Told]:
        """Every delivery about a camera, in order."""
        return [Told.of(row) for row in self.installation.rows(TOLD.format(camera=camera))]

    def by_zone(self, camera: str) -> dict[str, list[Told]]:
        """The same, by the zone that it is about."""
        rows = self.told(camera)
        return {zone: [row for row in rows if row.zone == zone] for zone in sorted({row.zone for row in rows})}

    def phones(self, camera: str) -> Counter[str]:
        """How many messages about each zone of a camera telephones got."""
        return Counter(zone for seen, zone in map(named, self.twilio.messages) if seen == camera)

    def wait_sent(self, camera: str, places: Sequence[int], timeout_s: float) -> None:
        """Until each of ``places`` has been told of and every delivery about it has an end."""
        zones = {f"k{place:02d}" for place in places}

        def all_sent() -> bool:
            rows = [row for row in self.told(camera) if row.zone in zones]
            good = {row.zone for row in rows if row.state in ("sent", "delivered")}
            return good == zones and all(row.state in ENDED for row in rows)

        try:
            wait_for(f"{camera} is told", all_sent, timeout_s)
        except AssertionError as late:
            raise AssertionError(f"{late}; {self.told(camera)}") from None

    def incidents(self, camera: str) -> list[str]:
        """Names of a camera's incidents, as the API takes them."""
        query = "SELECT i.uid FROM alerts_incident i JOIN streams_camera c ON c.id = i.camera_id WHERE c.name = '{}'"
        return [str(uid) for (uid,) in self.installation.rows(query.format(camera))]

    def change_number(self) -> int:
        """How far ``changes`` has come in the database."""
        [(value,)] = self.installation.rows("SELECT value FROM streams_sequencecounter WHERE name = 'changes'")
        return int(value)

    def beats(self, part: str, since_s: float = 0.0) -> list[Heartbeat]:
        """The heartbeats of a part since then, in order."""
        records = self.yard.log.read(HEALTH.name, 0, self.yard.log.start(HEALTH.name, 0), 5000)
        found = [decode_heartbeat(record.payload) for record in records]
        return [beat for beat in found if beat.part == part and beat.at.timestamp() >= since_s]

    def ask(self, method: str, path: str, body: bytes | Iterator[bytes] | None = None) -> tuple[int, Any, float]:
        """One request of the web server: status, content, and how long it took. Nobody waits for more than 60 s."""
        client = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        headers = {"Authorization": f"Bearer {self.door['token']}", "Content-Type": "application/json"}
        began_s = time.monotonic()
        with contextlib.closing(client):
            client.connect()
            with contextlib.suppress(ConnectionError):
                # Whoever has heard enough answers and closes.
                client.request(method, path, body, headers, encode_chunked=isinstance(body, Iterator))
            answer = client.getresponse()
            content = answer.read()
        told = json.loads(content) if answer.headers.get_content_type() == "application/json" else content
        return answer.status, told, time.monotonic() - began_s

    # Between two tests

    def heal(self) -> None:
        """Whatever was broken runs again, and nothing of the test before is still going on."""
        self.installation.valkey.heal()
        if self.yard.server is not None and not self.yard.server.running:
            self.yard.server.start()
        for name in (*PARTS, "web"):
            if not self.installation.alive(name):
                self.installation.restart(name)
        self.twilio.modes, self.twilio.asking, self.smtp.modes = {}, "accept", {}
        self.installation.change("UPDATE alerts_incident SET state = 'resolved' WHERE state <> 'resolved'")
        self.installation.change("UPDATE alerts_delivery SET state = 'cancelled' WHERE state IN ('queued', 'unknown')")
        since_s = time.time()
        wait_for("every part is well", lambda: all(self.is_well(part, since_s) for part in PARTS), START_S, 0.3)
        wait_for("the room answers", self._answers, START_S, 0.3)

    def says(self, part: str, problem: str, since_s: float) -> bool:
        """Whether a part has said since then that this ails it."""
        return any(beat.problem == problem for beat in self.beats(part, since_s))

    def is_well(self, part: str, since_s: float) -> bool:
        """Whether a part has beaten since then, and says that nothing ails it."""
        beats = self.beats(part, since_s)
        return bool(beats) and not beats[-1].problem

    def _answers(self) -> bool:
        try:
            return self.ask("GET", "/api/v1/incidents")[0] == 200
        except (OSError, http.client.HTTPException):
            return False

    def said(self) -> str:
        """The end of what each part has written: shown by pytest when a test fails."""
        texts = {name: self.installation.log_text(name)[-3000:] for name in (*PARTS, "web")}
        return "\n".join(f"--- {name}\n{text}" for name, text in texts.items())


@contextlib.contextmanager
def open_way(postgres: bool) -> Iterator[Way]:
    """A way, all of which ends with the context."""
    port, smtp = free_port(), FakeSmtp()
    environment = {
        **BOUNDLESS,
        "POLISCOPE_SMTP_URL": smtp.url,
        "POLISCOPE_URL": f"http://127.0.0.1:{port}",
        "TWILIO_CALLBACKS": "1",
    }
    seed = {"cameras": CAMERAS, "side": SIDE, "guards": SIDE**2, "config": CONFIG, "critical": SIDE**2}
    with contextlib.ExitStack() as stack:
        stack.callback(smtp.stop)
        disk = None if postgres else stack.enter_context(small_disk())
        if disk is not None:
            environment["DATABASE_URL"] = f"sqlite:///{disk / 'poliscope.sqlite3'}"
        way = Way(stack.enter_context(open_yard(postgres, environment, **seed)), smtp, port, disk)
        stack.callback(way.frames.close)
        yield way


@contextlib.contextmanager
def small_disk() -> Iterator[Path | None]:
    """A disk of its own for the database, so that it can be filled; None without the right to mount one."""
    with tempfile.TemporaryDirectory(prefix="poliscope-disk-") as folder:
        if not mounted(Path(folder), DISK):
            yield None
            return
        try:
            yield Path(folder)
        finally:
            unmount(Path(folder))


def mounted(folder: Path, size: str) -> bool:
    """Whether a tmpfs of this size lies over ``folder`` now."""
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def unmount(folder: Path) -> None:
    """Whoever has a file open there keeps it."""
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(disk: Path) -> Path:
    """A file that leaves no room for a byte; remove it to have room again."""
    filler = disk / "filler"
    try:
        with filler.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(4096))
    except OSError as error:
        assert error.errno == errno.ENOSPC
    return filler
