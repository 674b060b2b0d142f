"""A look at one address before it becomes a camera: a picture and how the stream goes, or a plain reason.

A hostile or broken stream may crash the decoder or hang in it, so the look is taken by a child process
(``streams/probe_child.py``), which is killed when its time is over. The order, log-in included, travels over its
standard input and nowhere else; the answer comes back on its standard output.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

from streams.addresses import allowed_pairs, own_pairs
from streams.probed import Probed
from streams.problems import Crashed, StreamProblem

LONG_PX = 960
"""Long side of the picture, as evidence has it unless set otherwise."""
BASE_DIR = Path(__file__).resolve().parent.parent
BEGAN = b"began\n"
"""What the child says as soon as it has read its order: before that, whatever goes wrong is not the stream's doing."""
KEPT = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "LD_LIBRARY_PATH")
"""The only variables that the child inherits: a decoder that a stream has taken over finds no secret of ours."""


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """What the child is to look at. ``until_s`` is monotonic time, which all processes of a machine share."""

    address: str
    user: str
    password: str
    masks: list[list[tuple[float, float]]]
    long_px: int
    allow: list[tuple[str, int]]
    own: list[tuple[str, int]]
    until_s: float

    def __repr__(self) -> str:
        """Without address and log-in."""
        return "Order(…)"


def probe(
    address: str,
    user: str = "",
    password: str = "",
    *,
    masks: Sequence[Sequence[Sequence[float]]] = (),
    long_px: int = LONG_PX,
    timeout_s: float = 10.0,
) -> Probed:
    """What ``address`` gives. Blocks for at most ``timeout_s``; never raises for anything a camera does.

    ``masks``: polygons of [x, y] in fractions of the picture, painted over before the picture leaves the child, which
    is ``long_px`` on its long side and never above the stream. A good camera is known after 2 to 7 s: its picture comes
    at once, and a second key frame is waited for, to learn how far they are apart.
    """
    began_s = time.monotonic()
    order = Order(
        address=address,
        user=user,
        password=password,
        masks=[[(float(x), float(y)) for x, y in mask] for mask in masks],
        long_px=long_px,
        allow=sorted(allowed_pairs()),
        own=sorted(own_pairs()),
        until_s=began_s + timeout_s,
    )
    said, status = _look(msgspec.json.encode(order), order.until_s)
    return msgspec.structs.replace(_understood(said, status), took_s=round(time.monotonic() - began_s, 2))


def _look(order: bytes, until_s: float) -> tuple[bytes, int]:
    """What a child says of ``order``, and how it ended: an exit status, or a signal as a negative number."""
    command = [sys.executable, "-m", "streams.probe_child", str(os.getpid())]
    environment = {name: os.environ[name] for name in KEPT if name in os.environ}
    with subprocess.Popen(
        command,
        cwd=BASE_DIR,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as child:
        try:
            said, _ = child.communicate(order, max(0.0, until_s - time.monotonic()))
        except subprocess.TimeoutExpired:
            child.kill()
            said, _ = child.communicate()
        return said, child.returncode


def _understood(said: bytes, status: int) -> Probed:
    if not said.startswith(BEGAN):
        return Probed(reason=StreamProblem.code, detail="the look did not begin in time")
    try:
        return msgspec.msgpack.decode(said.removeprefix(BEGAN), type=Probed)
    except msgspec.DecodeError:
        ended = signal.Signals(-status).name if status < 0 else f"exit status {status}"
        return Probed(reason=Crashed.code, detail=ended)
