"""A real capture child on a real log, and cameras that misbehave in ways no server offers."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import subprocess
import sys
import threading
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
import pytest

from streams.frame import Frame, decode_frame
from streams.ids import new_uid
from streams.log import Log, open_log
from streams.observations import Dropped, SourceState, decode_observation
from streams.orders import CameraConfig, CameraStatus, Orders, Report
from streams.topics import OBSERVATIONS, frames, partition_of, standing_topics
from tests.services.valkey import Valkey

ROOT = Path(__file__).resolve().parents[2]
POOL = "general"


def camera(address: str, slot: int = 0, **changes: object) -> CameraConfig:
    """A camera that is looked at 5 times a second, changed or not, unless ``changes`` say otherwise."""
    given: dict[str, object] = {
        "uid": new_uid(), "slot": slot, "view": new_uid(), "address": address, "fence": 1, "hz": 5.0, "pools": [POOL],
        "gated": False, "long_px": 320,
    }  # fmt: skip
    return CameraConfig(**{**given, **changes})  # type: ignore[arg-type]


class LogReader:
    """Everything that cameras have written so far."""

    def __init__(self, log: Log) -> None:
        self._log = log

    def frames(self, config: CameraConfig, pool: str = POOL) -> list[Frame]:
        """All frames of one camera, in log order."""
        records = self._all(frames(pool).name, partition_of(config.slot))
        return [frame for frame in map(decode_frame, records) if frame.camera == config.uid]

    def states(self, config: CameraConfig) -> list[SourceState]:
        """All facts about one camera's source, in log order."""
        found = [item for item in self._observations(config) if isinstance(item, SourceState)]
        return [state for state in found if state.camera == config.uid]

    def dropped(self, config: CameraConfig) -> list[Dropped]:
        """All losses of one camera, in log order."""
        found = [item for item in self._observations(config) if isinstance(item, Dropped)]
        return [item for item in found if item.camera == config.uid]

    def _observations(self, config: CameraConfig) -> list[object]:
        return [decode_observation(data) for data in self._all(OBSERVATIONS.name, partition_of(config.slot))]

    def _all(self, topic: str, partition: int) -> list[bytes]:
        position, payloads = self._log.start(topic, partition), []
        while records := self._log.read(topic, partition, position):
            payloads += [record.payload for record in records]
            position = records[-1].offset + 1
        return payloads


class CaptureChild:
    """One ``streams.capture_child`` process, as the parent would run it."""

    def __init__(self, valkey: Valkey, allow: Sequence[tuple[str, int]], errors: Path) -> None:
        environment = {
            **os.environ,
            "REDIS_URL": valkey.rest_url,
            "POLISCOPE_FRAMES_URL": valkey.frames_url,
            "POLISCOPE_CAMERA_ALLOW": ",".join(f"{host}:{port}" for host, port in allow),
        }
        self.errors = errors
        with errors.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "streams.capture_child", str(os.getpid())],
                cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=output,
            )  # fmt: skip
        self.reports: list[Report] = []
        threading.Thread(target=self._listen, daemon=True).start()

    def order(self, *configs: CameraConfig) -> None:
        """The complete list of cameras."""
        assert self.process.stdin is not None
        self.process.stdin.write(msgspec.json.encode(Orders(list(configs))) + b"\n")
        self.process.stdin.flush()

    def status(self, config: CameraConfig) -> CameraStatus | None:
        """The latest word on one camera."""
        latest = self.reports[-1].cameras if self.reports else []
        return next((status for status in latest if status.uid == config.uid), None)

    def said(self) -> str:
        """Everything on its standard error."""
        return self.errors.read_text()

    def stop(self) -> int:
        """SIGTERM, then SIGKILL after 5 s. Returns the exit status."""
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGTERM)
        try:
            status = self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            status = self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        return status

    def _listen(self) -> None:
        assert self.process.stdout is not None
        with contextlib.suppress(ValueError):
            for line in self.process.stdout:
                self.reports.append(msgspec.json.decode(line, type=Report))


class CaptureChildren:
    """Makes children; all of them end with the test."""

    def __init__(self, valkey: Valkey, folder: Path) -> None:
        self._valkey, self._folder = valkey, folder
        self.made: list[CaptureChild] = []

    def __call__(self, allow: Sequence[tuple[str, int]]) -> CaptureChild:
        self.made.append(CaptureChild(self._valkey, allow, self._folder / f"child{len(self.made)}.log"))
        return self.made[-1]


@pytest.fixture
def capture_log(valkey: Valkey) -> Iterator[Log]:
    """An empty log with the topics of one pool."""
    log = open_log(valkey.addresses, name="tests")
    log.create(standing_topics([POOL]))
    yield log
    log.close()


@pytest.fixture
def captured(capture_log: Log) -> LogReader:
    return LogReader(capture_log)


@pytest.fixture
def capture_children(valkey: Valkey, capture_log: Log, tmp_path: Path) -> Iterator[CaptureChildren]:
    children = CaptureChildren(valkey, tmp_path)
    yield children
    for child in children.made:
        child.stop()


class BadServer:
    """Answers every connection with fixed words, or, given a camera's port, passes it on with damaged pictures."""

    def __init__(self, *, answer: bytes = b"", camera_port: int = 0, damaged_share: float = 0.0, seed: int = 1) -> None:
        self._answer, self._camera_port, self._share = answer, camera_port, damaged_share
        self._random = random.Random(seed)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self.connections = 0
        self.heard: dict[int, bytes] = defaultdict(bytes)
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def pair(self) -> tuple[str, int]:
        return "127.0.0.1", self.port

    def url(self, path: str = "/cam0") -> str:
        return f"rtsp://127.0.0.1:{self.port}{path}"

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _address = self._listener.accept()
                self.connections += 1
                work = self._pass_on if self._camera_port else self._recite
                threading.Thread(target=work, args=(client, self.connections), daemon=True).start()

    def _recite(self, client: socket.socket, number: int) -> None:
        with contextlib.suppress(OSError), client:
            while data := client.recv(4096):
                self.heard[number] += data
                if b"\r\n\r\n" in data:
                    sequence = data.partition(b"CSeq: ")[2].partition(b"\r\n")[0]
                    client.sendall(self._answer.replace(b"{cseq}", sequence))

    def _pass_on(self, client: socket.socket, _number: int) -> None:
        server = socket.create_connection(("127.0.0.1", self._camera_port))
        threading.Thread(target=self._up, args=(client, server), daemon=True).start()
        with contextlib.suppress(OSError), client, server, server.makefile("rb") as stream:
            while mark := stream.read(1):
                # RFC 2326, section 10.12: "$", channel, length, then that many bytes of RTP.
                client.sendall(mark + self._damaged(stream.read(3), stream) if mark == b"$" else mark)

    def _damaged(self, head: bytes, stream: object) -> bytes:
        packet = bytearray(stream.read(int.from_bytes(head[1:], "big")))  # type: ignore[attr-defined]
        if head[0] == 0 and len(packet) > 40 and self._random.random() < self._share:
            packet[self._random.randrange(20, len(packet))] ^= 0xFF
        return head + bytes(packet)

    def _up(self, client: socket.socket, server: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := client.recv(4096):
                server.sendall(data)


REDIRECT = b"RTSP/1.0 302 Moved Temporarily\r\nCSeq: {cseq}\r\nLocation: %s\r\n\r\n"
WEB_PAGE = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"


@pytest.fixture
def bad_servers() -> Iterator[type[BadServer]]:
    """``BadServer``, each made one closed with the test."""
    made: list[BadServer] = []

    class Made(BadServer):
        def __init__(self, **given: object) -> None:
            super().__init__(**given)  # type: ignore[arg-type]
            made.append(self)

    yield Made
    for server in made:
        server.close()
