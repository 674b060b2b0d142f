"""A loopback server that answers with a byte now and then, for ever: no single read of it takes too long."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator

EVERY_S = 0.1


@contextlib.contextmanager
def dripping(first: bytes) -> Iterator[str]:
    """Its ``host:port``. Whoever connects is sent ``first``, then a byte each tenth of a second."""
    over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=_serve, args=(listener, first, over), daemon=True)
        thread.start()
        yield f"127.0.0.1:{listener.getsockname()[1]}"
        over.set()
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(5)


def _serve(listener: socket.socket, first: bytes, over: threading.Event) -> None:
    with contextlib.suppress(OSError):
        client, _ = listener.accept()
        with client:
            client.sendall(first)
            while not over.wait(EVERY_S):
                client.sendall(b"X")
