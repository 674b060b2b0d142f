"""A limit on requests' bodies. Django's ASGI handler stores the whole of a body before it asks who sent it."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

Scope = dict[str, Any]
Message = Mapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]
Limit = Callable[[Scope], Awaitable[int]]
"""How many bytes the body of this request may have."""


class LimitedBodies:
    """An ASGI application that answers 413 in place of ``application`` where a body has more than ``most`` bytes.

    By its Content-Length where it has one, so that not a byte of it is read; else as it comes. Then the application
    is told that the client has gone, and what it has begun to answer, if anything, goes on. ``larger`` may allow more
    for some requests; it is asked before the body is read.
    """

    def __init__(self, application: Application, most: int, larger: Limit | None = None) -> None:
        self._application, self._most, self._larger = application, most, larger

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._application(scope, receive, send)
            return
        most = max(self._most, await self._larger(scope) if self._larger else 0)
        if _declared(scope) > most:
            await self._refuse(scope, send, most)
        else:
            await self._pass_on(scope, receive, send, most)

    async def _pass_on(self, scope: Scope, receive: Receive, send: Send, most: int) -> None:
        got, begun = 0, False

        async def counted() -> Message:
            nonlocal got
            message = await receive() if got <= most else {}
            got += len(message.get("body", b""))
            return message if got <= most else {"type": "http.disconnect"}

        async def noted(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        await self._application(scope, counted, noted)
        if got > most and not begun:
            await self._refuse(scope, send, most)

    async def _refuse(self, scope: Scope, send: Send, most: int) -> None:
        words = f"A request may have {most:,} bytes. Send less."
        api = scope["path"].startswith("/api/")
        body = json.dumps({"error": {"code": "too_large", "message": words}}) if api else words
        kind = b"application/json" if api else b"text/plain; charset=utf-8"
        # What the client still sends is not read, so the connection cannot serve another request.
        headers = [(b"content-type", kind), (b"content-length", str(len(body)).encode()), (b"connection", b"close")]
        await send({"type": "http.response.start", "status": 413, "headers": headers})
        await send({"type": "http.response.body", "body": body.encode()})


def _declared(scope: Scope) -> int:
    """The request's Content-Length; 0 when it names none that is a number."""
    given = next((value for name, value in scope["headers"] if name.lower() == b"content-length"), b"")
    return int(given) if given.isdigit() else 0
