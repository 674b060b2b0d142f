"""Bodies over the limit, by raw ASGI calls and through a real server: refused before anything stores them."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import uvicorn
from django.db import connections
from django.test import override_settings

from monitor.bodies import LimitedBodies

MOST = 1000


class Reader:
    """An application that reads the whole body, as Django does, and answers with its length."""

    def __init__(self) -> None:
        self.read = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            self.read += len(message.get("body", b""))
            more = message.get("more_body", False)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": str(self.read).encode()})


def ask(chunks: list[bytes], path: str = "/login/", declared: int | None = None) -> tuple[int, bytes, Reader, int]:
    """Status, body, the application, and how many of ``chunks`` were taken."""
    reader, left, sent = Reader(), list(chunks), []
    headers = [] if declared is None else [(b"content-length", str(declared).encode())]

    async def receive() -> Mapping[str, Any]:
        body = left.pop(0)
        return {"type": "http.request", "body": body, "more_body": bool(left)}

    async def send(message: Mapping[str, Any]) -> None:
        sent.append(message)

    scope = {"type": "http", "path": path, "headers": headers}
    asyncio.run(LimitedBodies(reader, MOST)(scope, receive, send))
    return sent[0]["status"], sent[1]["body"], reader, len(chunks) - len(left)


@pytest.mark.parametrize(
    ("chunks", "declared", "status", "taken"),
    [
        ([b"x" * 1000], 1000, 200, 1),
        ([b"x" * 1001], 1001, 413, 0),
        ([b"x" * 600] * 10, 6000, 413, 0),
        ([b"x" * 500] * 2, None, 200, 2),
        ([b"x" * 600] * 10, None, 413, 2),
        ([b""], None, 200, 1),
    ],
    ids=["fits", "declared too long", "declared much too long", "chunks fit", "chunks too long", "nothing"],
)
def test_it_takes_no_more_than_the_limit(chunks: list[bytes], declared: int | None, status: int, taken: int) -> None:
    got, _body, reader, read = ask(chunks, declared=declared)
    assert (got, read) == (status, taken)
    assert reader.read <= MOST


def test_programs_are_told_in_the_shape_of_the_api() -> None:
    status, body, _reader, _taken = ask([], "/api/v1/incidents", declared=10**9)
    assert status == 413
    assert json.loads(body)["error"] == {"code": "too_large", "message": "A request may have 1,000 bytes. Send less."}


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """The real application, served. Its threads keep no connection that would outlive the test's database."""
    from monitor.asgi import application

    monkeypatch.setitem(connections.databases["default"], "CONN_MAX_AGE", 0)
    with socket.create_server(("127.0.0.1", 0)) as listener, override_settings(ALLOWED_HOSTS=["127.0.0.1"]):
        server = uvicorn.Server(uvicorn.Config(application, log_level="warning", lifespan="off", ws="none"))
        thread = threading.Thread(target=lambda: asyncio.run(server.serve([listener])), daemon=True)
        thread.start()
        yield int(listener.getsockname()[1])
        server.should_exit = True
        thread.join(10)


def status_line(port: int, request: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), 10) as client:
        client.sendall(request)
        return client.recv(200).partition(b"\r\n")[0]


@pytest.mark.django_db(transaction=True)
def test_a_stranger_fills_no_disk(port: int) -> None:
    head = b"POST /login/ HTTP/1.1\r\nHost: 127.0.0.1\r\n"
    # Not a byte of the body was sent: the length alone is enough.
    assert b" 413 " in status_line(port, head + b"Content-Length: 5000000000\r\n\r\n")
    chunk = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
    assert b" 413 " in status_line(port, head + b"Transfer-Encoding: chunked\r\n\r\n" + chunk * 16)
    small = b"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 3\r\n\r\na=b"
    assert b" 403 " in status_line(port, head + small)
