"""Which pages may open a socket: those of the address that people open, by either of loopback's names."""

from __future__ import annotations

import pytest
from asgiref.testing import ApplicationCommunicator

from frontend.consumers import NOT_LOGGED_IN
from monitor.asgi import application


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
