"""Which pages may open a socket: those of the address that people open, by either of loopback's names."""

from __future__ import annotations

import threading

import pytest
from asgiref.testing import ApplicationCommunicator

from frontend import health_tail
from frontend.consumers import NOT_LOGGED_IN
from monitor.asgi import application
from streams.log import Log, LogUnavailable


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("origin", "heard"),
    [
        ("http://127.0.0.1:8000", True),
        ("http://localhost:8000", True),
        ("http://localhost:8001", False),
        ("https://localhost:8000", False),
        ("http://localhost.example.org:8000", False),
    ],
)
async def test_only_our_own_pages_reach_a_socket(origin: str, heard: bool) -> None:
    headers = [(b"host", b"localhost:8000"), (b"origin", origin.encode())]
    scope = {"type": "websocket", "path": "/ws/room/", "query_string": b"", "headers": headers, "subprotocols": []}
    browser = ApplicationCommunicator(application, scope)
    await browser.send_input({"type": "websocket.connect"})
    answer = await browser.receive_output(5)
    # Nobody is logged in: the room itself says so, if it was reached at all.
    assert answer["type"] == "websocket.close"
    assert (answer.get("code") == NOT_LOGGED_IN) is heard


async def test_the_web_server_beats_from_its_start_though_nobody_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = threading.Event()

    def connect() -> Log:
        asked.set()
        raise LogUnavailable("none runs here")

    tail = health_tail.HealthTail(connect)
    monkeypatch.setattr(health_tail, "_tail", tail)
    server = ApplicationCommunicator(application, {"type": "lifespan"})

    await server.send_input({"type": "lifespan.startup"})
    assert await server.receive_output() == {"type": "lifespan.startup.complete"}
    assert asked.wait(5)
    await server.send_input({"type": "lifespan.shutdown"})
    assert await server.receive_output() == {"type": "lifespan.shutdown.complete"}
    tail.stop()
