"""``./poliscope up``: everything on one machine, started with progress, watched, and stopped without a trace.

This process stays small: it loads no Django and no model; it starts the parts, asks the web for the health they add up
to, and replaces what ends.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from monitor.instance import BASE_DIR, UNSEEN, Instance, InstanceBusy, free_port, port_is_free
from monitor.kafka import KafkaMissing, KafkaServer, find_home, find_java
from monitor.supervise import Part, Supervisor, wait_until
from monitor.valkey import ValkeyError, ValkeyServer
from monitor.video_part import VideoPart
from streams.paths import whole_path

READY_S = 60.0
VIDEO_S = 40.0
"""For looking at one of the user's files; a decoder that hangs is ended after 30 s."""
DEMO_SILENT_S = 60.0
"""Demo cameras that neither answer nor say anything new for so long will not start."""
SERVERS = ("valkey", "kafka")
STOP_ORDER = (
    ("web", "worker", "sweep", "evaluate", "detect", "capture"),
    ("demo", "videos", "kafka"),
    ("valkey",),
)
"""Consumers first, so that nothing is cut off in the middle; the servers they need last."""


class CannotStart(Exception):
    """Something needed is missing or refused to start; the text says what and how to mend it."""


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line asked for."""

    port: int
    data: Path
    kafka: bool
    demo: bool
    json: bool
    videos: tuple[Path, ...] = ()


def read_options(arguments: Sequence[str]) -> Options:
    """Raises ``SystemExit`` with the usage for what it does not know."""
    parser = argparse.ArgumentParser(prog="poliscope up", description="Start everything on this machine.")
    parser.add_argument("--port", type=int, default=8000, help="address of the control room (default 8000)")
    parser.add_argument("--data", type=whole_path, default=BASE_DIR / "data", metavar="DIR", help="folder for all data")
    parser.add_argument("--kafka", action="store_true", help="use a real Apache Kafka from KAFKA_HOME as the log")
    demo = parser.add_mutually_exclusive_group()
    demo.add_argument("--no-demo", action="store_true", help="no demo cameras")
    demo.add_argument("--demo", action="store_true", help="the demo cameras beside those of --video")
    parser.add_argument(
        "--video",
        nargs="+",
        action="extend",
        default=[],
        metavar="FILE",
        help="cameras that play these films in a loop",
    )
    parser.add_argument("--json", action="store_true", help="print one line of JSON when ready, progress to stderr")
    given = parser.parse_args(arguments)
    if not 1 <= given.port <= 65535:
        parser.error(f"--port: expected 1 to 65535, got {given.port}")
    videos = tuple(dict.fromkeys(whole_path(file) for file in given.video))
    demo_wanted = given.demo or not (given.no_demo or videos)
    return Options(given.port, given.data, given.kafka, demo_wanted, given.json, videos)


class Terminal:
    """Progress for a person: a line a step, with how long it took. With ``--json`` it goes to stderr."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self._colour = file.isatty() and not os.environ.get("NO_COLOR")

    def say(self, text: str) -> None:
        print(text, file=self._file, flush=True)

    @contextlib.contextmanager
    def step(self, what: str) -> Iterator[Callable[[str], None]]:
        """Announce a step, then its duration. Yields what shows how far a long one is, on a real terminal only."""
        start = time.monotonic()
        self._write(f"  {what:<46}")

        def progress(text: str) -> None:
            if self._file.isatty():
                self._write(f"\r  {what:<46}{text[-28:]:<28}")

        try:
            yield progress
        except BaseException:
            self._write("failed\n")
            raise
        mark = "\033[32m✓\033[0m" if self._colour else "ok"
        again = f"\r  {what:<46}" if self._file.isatty() else ""
        self._write(
            f"{again}{time.monotonic() - start:5.1f} s  {mark}{' ' * 20}".rstrip(" " if not again else "") + "\n"
        )

    def _write(self, text: str) -> None:
        self._file.write(text)
        self._file.flush()


class Up:
    """One run of ``up``."""

    def __init__(self, options: Options, terminal: Terminal) -> None:
        self.options, self.terminal = options, terminal
        self.instance = Instance(options.data.resolve())
        self.supervisor = Supervisor(terminal.say)
        self.url = f"http://127.0.0.1:{options.port}"
        self._environment: dict[str, str] = {}
        self._videos: VideoPart | None = None
        self._stop = False

    def run(self) -> int:
        """Start, tell, watch until asked to stop; returns the exit status."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._ask_to_stop)
        self._check_place()
        Instance.open(self.instance.data)
        with self.instance.lock():
            try:
                ready = self._start()
                self._tell(ready)
                self._watch()
            finally:
                self._halt()
        return 0

    def _check_place(self) -> None:
        """Of two that start on one folder and port the folder is said, which needs both to be others. Makes nothing."""
        if (self.instance.data / "run" / "lock").exists():
            self.instance.lock().close()
        if not port_is_free(self.options.port):
            raise CannotStart(
                f"port {self.options.port}: expected a free port, but something listens there; choose another "
                "with --port N"
            )

    def _ask_to_stop(self, number: int, _frame: object) -> None:
        if self._stop:
            raise KeyboardInterrupt
        self._stop = True

    def _start(self) -> dict[str, Any]:
        with self.terminal.step("starting the log" + (" (Apache Kafka)" if self.options.kafka else "")):
            addresses = self._start_servers()
        demo_port = free_port() if self.options.demo else 0
        if self.options.videos:
            self._videos = VideoPart(self.options.videos, self.instance.data / "videos", free_port())
        own = [f"127.0.0.1:{port}" for port in (demo_port, self._videos and self._videos.port) if port]
        self._environment = {
            **self.instance.environment(),
            **addresses,
            "POLISCOPE_URL": self.url,
            "POLISCOPE_HOSTS": "127.0.0.1,localhost",
            # Of its own accord the C library keeps up to eight heaps a core, each as large as its thread once needed.
            "MALLOC_ARENA_MAX": os.environ.get("MALLOC_ARENA_MAX", "2"),
            "POLISCOPE_CAMERA_ALLOW": ",".join(filter(None, (os.environ.get("POLISCOPE_CAMERA_ALLOW"), *own))),
        }
        self.instance.store_environment({**addresses, "POLISCOPE_URL": self.url})
        # The first time the scenes are drawn, which takes as long as everything else together: so it goes on beside it.
        cameras = self._start_demo(demo_port) if demo_port else None
        if self._videos is not None:
            self._start_videos(self._videos)
        with self.terminal.step("preparing the database"):
            prepared = self._prepare(demo_port)
        if cameras is not None:
            with self.terminal.step("starting the demo cameras") as progress:
                self._wait_demo(cameras, demo_port, progress)
        with self.terminal.step("starting capture, detection, rules, alerts"):
            self._start_parts(prepared["pools"])
            self._wait_ready(prepared["token"])
        return prepared

    def _start_servers(self) -> dict[str, str]:
        run = self.instance.data
        frames = ValkeyServer("frames", run / "valkey-frames", free_port(), self.instance.secret("frames"))
        rest = ValkeyServer("rest", run / "valkey-rest", free_port(), self.instance.secret("rest"))
        for server in (frames, rest):
            server.prepare()
            self._add(f"valkey.{server.role}", server.command(), os.environ)
        addresses = {"REDIS_URL": rest.url, "POLISCOPE_FRAMES_URL": frames.url, "POLISCOPE_KAFKA": ""}
        if self.options.kafka:
            kafka = KafkaServer(find_home(), find_java(), run / "kafka", free_port(), free_port())
            kafka.prepare()
            self._add("kafka", kafka.command(), os.environ)
            kafka.wait_ready(40)
            addresses["POLISCOPE_KAFKA"] = kafka.bootstrap
        for server in (frames, rest):
            server.wait_ready(10)
        return addresses

    def _prepare(self, demo_port: int) -> dict[str, Any]:
        answer = self.instance.data / "run" / "prepared.json"
        command = [sys.executable, "manage.py", "prepare", "--answer", str(answer), "--demo-port", str(demo_port)]
        if self._videos is not None:
            # Asked before the rows are written: what begins to play meanwhile is new afterwards.
            self._videos.newly_playing()
            command += ["--videos", str(self._videos.board)]
        with self._log("prepare").open("ab") as output:
            done = subprocess.run(
                command, cwd=BASE_DIR, env=self._environment, stdout=output, stderr=subprocess.STDOUT, check=False
            )
        if done.returncode and self._stop:  # Ctrl-C reaches it too
            raise CannotStart("stopped while the database was being prepared; the next start does the rest")
        if done.returncode:
            lines = self._log("prepare").read_text(errors="replace").splitlines()[-6:]
            raise CannotStart("the database could not be prepared:\n" + "\n".join(lines))
        prepared: dict[str, Any] = json.loads(answer.read_text())
        # It holds passwords that are shown once.
        answer.unlink()
        return prepared

    def _start_demo(self, port: int) -> Part:
        scenes = self.instance.data / "scenes"
        command = [sys.executable, "-m", "streams.demo_cameras", "--data", str(scenes), "--port", str(port)]
        return self._add("demo", command)

    def _wait_demo(self, part: Part, port: int, progress: Callable[[str], None]) -> None:
        def answers() -> bool:
            if self._stop or not part.running:
                return True
            progress(part.last_lines(1))
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 0.2):
                return True
            return False

        said = ""
        # Drawing the scenes takes what it takes; only a log in which nothing is said any more has stopped.
        while part.running and not wait_until(answers, DEMO_SILENT_S) and part.last_lines(1) != said:
            said = part.last_lines(1)
        if not part.running or not answers():
            raise CannotStart(f"the demo cameras did not start; their log ends:\n{part.last_lines()}")

    def _start_videos(self, videos: VideoPart) -> None:
        """Play the user's films. What takes long to be made playable comes later, and what is no video is left out."""
        videos.prepare()
        part = self._add("videos", videos.command())

        def looked_at(progress: Callable[[str], None]) -> bool:
            progress(videos.looked_at())
            return self._stop or not part.running or videos.examined

        with self.terminal.step("looking at your videos") as progress:
            patience_s = VIDEO_S * len(videos.files)
            if not wait_until(lambda: looked_at(progress), patience_s) or not part.running:
                raise CannotStart(f"your videos could not be looked at; their log ends:\n{part.last_lines()}")
        for line in videos.refusals():
            self.terminal.say(line)

    def _follow_videos(self, videos: VideoPart) -> None:
        """Tell how far the films are, and switch on the camera of each that plays now."""
        for line in [*videos.refusals(), *videos.progress(time.monotonic())]:
            self.terminal.say(line)
        if videos.newly_playing():
            self._switch_on(videos)

    def _switch_on(self, videos: VideoPart) -> None:
        command = [sys.executable, "manage.py", "videos", str(videos.board)]
        with self._log("prepare").open("ab") as output:
            done = subprocess.run(
                command, cwd=BASE_DIR, env=self._environment, stdout=output, stderr=subprocess.STDOUT, check=False
            )
        if done.returncode:
            self.terminal.say(f"  a video's camera could not be switched on; see {self._log('prepare')}")
        for line in videos.new_summary():
            self.terminal.say(line)

    def _start_parts(self, pools: Sequence[str]) -> None:
        python, manage = sys.executable, [sys.executable, "manage.py"]
        self._add("capture", [*manage, "capture"])
        for pool in pools:
            self._add(f"detect.{pool}", [*manage, "detect", "--pool", pool, "--member", f"detect-{pool}-1"])
        self._add("evaluate", [*manage, "evaluate", "--member", "evaluate-1"])
        worker = [
            "-m",
            "celery",
            "-A",
            "monitor",
            "--skip-checks",
            "worker",
            "--pool",
            "threads",
            "--concurrency",
            "12",
        ]
        quiet = ["--queues", "critical,ordinary,jobs", "--without-gossip", "--without-mingle", "--loglevel", "WARNING"]
        # The checks load every page of the web server: 40 MB. ``prepare`` has run them.
        self._add("worker", [python, *worker, *quiet])
        self._add("sweep", [*manage, "sweep"])
        web = ["-m", "uvicorn", "monitor.asgi:application", "--host", "127.0.0.1", "--port", str(self.options.port)]
        self._add(
            "web", [python, *web, "--no-access-log", "--log-level", "warning", "--timeout-graceful-shutdown", "2"]
        )

    def _add(self, name: str, command: Sequence[str], environment: Any = None) -> Part:
        return self.supervisor.add(Part(name, command, environment or self._environment, self._log(name)))

    def _log(self, name: str) -> Path:
        return self.instance.data / "logs" / f"{name}.log"

    def _wait_ready(self, token: str) -> None:
        def ready() -> bool:
            self.supervisor.look(time.monotonic())
            # Without the token: whether its owner's account is still active says nothing about the parts.
            return self._stop or bool(self._health().get("ok"))

        if not wait_until(ready, READY_S, 0.2):
            parts = self._health(token).get("parts", [])
            late = [part["part"] for part in parts if part["state"] != "ok"] or ["web"]
            raise CannotStart(
                f"not ready after {READY_S:.0f} s: {', '.join(late)} did not report; "
                f"look into {self.instance.data / 'logs'}"
            )

    def _health(self, token: str = "") -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        request = urllib.request.Request(f"{self.url}/api/v1/health", headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=2) as response:
                answer: dict[str, Any] = json.load(response)
                return answer
        except (OSError, ValueError):
            return {}

    def _tell(self, prepared: dict[str, Any]) -> None:
        if self._stop:
            return
        if self.options.json:
            keys = ("admin", "operator", "token")
            print(json.dumps({"url": self.url, **{key: prepared[key] for key in keys}}), flush=True)
        videos = self._videos.new_summary() if self._videos is not None else []
        for line in greeting(self.url, prepared, self.options.demo, videos):
            self.terminal.say(line)
        (self.instance.data / UNSEEN).unlink(missing_ok=True)

    def _watch(self) -> None:
        while not self._stop:
            self.supervisor.look(time.monotonic())
            if self._videos is not None:
                self._follow_videos(self._videos)
            time.sleep(0.5)

    def _halt(self) -> None:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        if self.supervisor.parts:
            with self.terminal.step("stopping"):
                self.supervisor.stop(STOP_ORDER)


def greeting(url: str, prepared: dict[str, Any], demo: bool, videos: Sequence[str] = ()) -> list[str]:
    """What a person reads when all is ready; ``videos`` says what plays of their own."""
    lines = ["", f"  Poliscope is ready: {url}", ""]
    for role in ("admin", "operator"):
        account = prepared[role]
        password = (
            account["password"]
            or f"as printed at the first start; ./poliscope password {account['user']} makes a new one"
        )
        lines.append(f"    {role:<9} {account['user']:<14} {password}")
    if prepared["admin"]["password"]:
        lines += ["", "  These passwords are shown this once; only their hashes are kept."]
    if demo:
        lines.append("  Four demo cameras play; the first incident comes within two minutes.")
    return [*lines, *videos, "  Ctrl-C stops everything.", ""]


def main(arguments: Sequence[str]) -> int:
    """The command."""
    options = read_options(arguments)
    terminal = Terminal(sys.stderr if options.json else sys.stdout)
    try:
        return Up(options, terminal).run()
    except (CannotStart, InstanceBusy, KafkaMissing, ValkeyError) as error:
        print(f"poliscope up: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
