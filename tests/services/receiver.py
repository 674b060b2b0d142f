"""A loopback web server that remembers what was posted to it, and can fail: for webhooks, chat services, heartbeats.

``answers`` is a list of statuses that are given one after the other, then ``status``; ``hang`` and ``cut`` are two.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest


@dataclass(frozen=True, slots=True)
class Posted:
    """One request as it came."""

    method: str
    path: str
    headers: dict[str, str]
    content: bytes


class Receiver:
    """The server."""

    def __init__(self) -> None:
        self.status: int | str = 200
        self.answers: list[int | str] = []
        self.headers: dict[str, str] = {}
        self.body = b"thank you"
        self.received: list[Posted] = []
        self.released = threading.Event()
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.receiver = self
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    @property
    def pair(self) -> str:
        """What ``POLISCOPE_WEBHOOK_ALLOW`` takes."""
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return f"http://{self.pair}"

    def stop(self) -> None:
        """Refuse connections from now on."""
        self.released.set()
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    receiver: Receiver

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is part of the game."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_POST(self) -> None:
        receiver = self.server.receiver
        content = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        receiver.received.append(Posted(self.command, self.path, dict(self.headers.items()), content))
        status = receiver.answers.pop(0) if receiver.answers else receiver.status
        if status == "hang":
            receiver.released.wait(60)
        if isinstance(status, str):
            self.close_connection = True
            return
        self.send_response(status)
        for name, value in receiver.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(receiver.body)))
        self.end_headers()
        self.wfile.write(receiver.body)

    do_GET = do_POST
    do_PUT = do_POST

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    server = Receiver()
    yield server
    server.stop()
