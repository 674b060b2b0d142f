"""A loopback SMTP server (aiosmtpd) that remembers every message and can refuse, greylist or fall silent.

Modes: ``accept``; ``451`` and ``550`` (at RCPT); ``451-once`` (then ``accept``); ``550-policy`` (5.7.1 at RCPT);
``451-data`` (after the message); ``silent`` (takes the message, never answers); ``drip`` (takes the message, answers a
byte now and then, for ever); ``cut`` (takes the message, closes the connection).
"""

from __future__ import annotations

import asyncio
import email
import email.policy
import socket
import threading
from collections.abc import Iterator
from email.message import EmailMessage
from typing import Any, cast

import pytest
from aiosmtpd.smtp import SMTP

ANSWERS = {
    "451": "451 4.7.1 Greylisted, try again later",
    "451-once": "451 4.7.1 Greylisted, try again later",
    "550": "550 5.1.1 No such user here",
    "550-policy": "550 5.7.1 Relaying denied",
}


class _Handler:
    def __init__(self, owner: FakeSmtp) -> None:
        self._owner = owner

    async def handle_RCPT(self, server: SMTP, session: Any, envelope: Any, address: str, options: Any) -> str:
        mode = self._owner.modes.get(address, self._owner.mode)
        if mode == "451-once":
            self._owner.modes[address] = "accept"
        answer = ANSWERS.get(mode)
        if answer:
            return answer
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Any, envelope: Any) -> str:
        self._owner.take(envelope)
        mode = self._owner.modes.get(envelope.rcpt_tos[0], self._owner.mode)
        if mode == "silent":
            await asyncio.sleep(60)
        while mode == "drip" and not server.transport.is_closing():
            server.transport.write(b"2")
            await asyncio.sleep(0.1)
        if mode == "cut":
            server.transport.close()
        return "451 4.3.0 Try again later" if mode == "451-data" else "250 OK"


class FakeSmtp:
    """The server, on a thread with a loop of its own. ``modes`` (address → mode) goes before ``mode``."""

    def __init__(self) -> None:
        self.mode = "accept"
        self.modes: dict[str, str] = {}
        self.received: list[tuple[str, EmailMessage]] = []
        self._loop = asyncio.new_event_loop()
        self._socket = socket.create_server(("127.0.0.1", 0))
        ready = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(ready,), daemon=True)
        self._thread.start()
        ready.wait(5)

    @property
    def url(self) -> str:
        """What ``POLISCOPE_SMTP_URL`` takes."""
        return f"smtp://127.0.0.1:{self._socket.getsockname()[1]}"

    def take(self, envelope: Any) -> None:
        """Remember a message: its only recipient and its parsed content."""
        message = email.message_from_bytes(envelope.content, policy=email.policy.default)
        assert len(envelope.rcpt_tos) == 1, f"one recipient a message, got {envelope.rcpt_tos}"
        self.received.append((envelope.rcpt_tos[0], cast(EmailMessage, message)))

    def _run(self, ready: threading.Event) -> None:
        asyncio.set_event_loop(self._loop)
        make = lambda: SMTP(_Handler(self), hostname="loopback", loop=self._loop)  # noqa: E731
        self._server = self._loop.run_until_complete(self._loop.create_server(make, sock=self._socket))
        ready.set()
        self._loop.run_forever()

    def stop(self) -> None:
        """Refuse connections from now on."""

        def end() -> None:
            self._server.close()
            for task in asyncio.all_tasks(self._loop):
                task.cancel()
            self._loop.call_later(0.05, self._loop.stop)

        self._loop.call_soon_threadsafe(end)
        self._thread.join(5)
        self._loop.close()


@pytest.fixture
def smtp() -> Iterator[FakeSmtp]:
    server = FakeSmtp()
    yield server
    server.stop()
