"""The child that looks at one address, ``python -m streams.probe_child``. No Django.

Standard input: one ``Order`` as JSON. Standard output: ``BEGAN``, then one ``Probed`` as MessagePack. A thread reads
the camera; whatever it hangs in, the main thread answers in time with what is known by then.
"""

from __future__ import annotations

import os
import resource
import sys
import threading
import time

import cv2
import msgspec

from streams import rtsp
from streams.addresses import check_address
from streams.pace import Pace
from streams.parent import die_with
from streams.picture import Planes, fitted_wh, jpeg
from streams.probe import BEGAN, Order
from streams.probed import Probed
from streams.problems import (
    AddressRefused,
    Corrupt,
    NoKeyFrame,
    Stalled,
    StreamProblem,
    UnknownHost,
    Unreachable,
)

ANSWER_S = 0.4
"""Kept for the answer itself, also on a busy machine."""
MEASURE_S, LEARN_S = 2.0, 6.0
"""Packets of so long make a rate; for so long a second key frame is waited for."""
TRIES, WAIT_S = 3, 0.5
"""A camera that refused without a reason is asked again: some are still busy hanging up on our own first question."""
MEMORY_BYTES = 4 * 2**30
"""Of address space: a stream that claims a giant picture is refused by the kernel before it takes the machine."""


class Look:
    """One look, taken by ``run`` in a thread of its own; ``answer`` may be asked at any time."""

    def __init__(self, order: Order) -> None:
        self._order = order
        self._pace = Pace()
        self._stream: rtsp.Stream | None = None
        self._seen: Probed | None = None
        self._announced_fps = 0.0
        self._problem: StreamProblem | None = None
        self._until_now: StreamProblem = UnknownHost(UnknownHost.sentence)
        """What is wrong when the time ends now."""

    def run(self) -> None:
        """Until enough is known, or something is wrong."""
        for left in reversed(range(TRIES)):
            self._problem = self._look()
            if type(self._problem) is not StreamProblem or not left:
                return
            time.sleep(WAIT_S)

    def answer(self) -> Probed:
        """What is known now: the picture if there is one, whatever came after it."""
        if self._seen is not None:
            return self._measured(self._seen)
        problem = self._problem
        if problem is None:
            problem = self._unfinished()
        if isinstance(problem, AddressRefused):
            params = {name: value if isinstance(value, int) else str(value) for name, value in problem.params.items()}
            return Probed(reason=problem.code, msgid=problem.msgid, params=params)
        return Probed(reason=problem.code, detail=problem.detail)

    def _look(self) -> StreamProblem | None:
        try:
            self._read()
        except StreamProblem as problem:
            return problem
        except Exception as error:
            # Its text may hold what the camera sent or how it was asked; the kind is enough to find it.
            return StreamProblem("", type(error).__name__)
        return None

    def _read(self) -> None:
        order = self._order
        address = check_address(order.address, allow=frozenset(order.allow), own=frozenset(order.own))
        self._until_now = Unreachable()
        with rtsp.open_stream(address, order.user, order.password, on_progress=self._answered) as stream:
            self._stream = stream
            for arrival in stream.read():
                self._pace.add(key=arrival.key, size=arrival.size, pts_s=arrival.pts_s, arrived_s=arrival.arrived_s)
                if arrival.frames and self._seen is None:
                    self._see(stream, rtsp.planes_of(arrival.frames[0]))
                    stream.decoding = False
                if self._seen is not None and self._enough():
                    return

    def _see(self, stream: rtsp.Stream, planes: Planes) -> None:
        """All that the stream itself says; once it is closed nothing may be asked of it."""
        order, (width, height) = self._order, planes.wh
        self._announced_fps = stream.announced_fps
        self._seen = Probed(
            codec=stream.codec,
            profile=stream.profile,
            width_px=width,
            height_px=height,
            has_sound=stream.announced.sound,
            jpeg=jpeg(planes, fitted_wh(planes.wh, order.long_px), order.masks),
        )

    def _answered(self) -> None:
        self._until_now = Stalled()

    def _enough(self) -> bool:
        heard_s = self._pace.heard_s
        return heard_s >= LEARN_S or (heard_s >= MEASURE_S and self._pace.keys > 1)

    def _unfinished(self) -> StreamProblem:
        """The time is over: what it hangs in, or what was waited for."""
        stream = self._stream
        if stream is None or not self._pace.packets:
            return self._until_now
        return Corrupt() if stream.corrupt else NoKeyFrame()

    def _measured(self, seen: Probed) -> Probed:
        pace, gop_s = self._pace, self._pace.gop_s
        return msgspec.structs.replace(
            seen,
            fps=round(pace.fps or self._announced_fps, 2),
            gop_frames=pace.gop_frames,
            gop_s=None if gop_s is None else round(gop_s, 2),
            gop_at_least_s=round(pace.gop_at_least_s, 2),
            kbps=round(pace.kbps, 1),
        )


def _bound() -> None:
    """No more memory than a look needs, and no core dump, which would hold the log-in."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))


def main(arguments: list[str]) -> int:
    """One look. ``arguments``: the parent's process id."""
    die_with(int(arguments[0]))
    _bound()
    cv2.setNumThreads(1)
    order = msgspec.json.decode(sys.stdin.buffer.read(), type=Order)
    sys.stdout.buffer.write(BEGAN)
    sys.stdout.buffer.flush()
    look = Look(order)
    reading = threading.Thread(target=look.run, daemon=True)
    reading.start()
    reading.join(max(0.0, order.until_s - ANSWER_S - time.monotonic()))
    sys.stdout.buffer.write(msgspec.msgpack.encode(look.answer()))
    sys.stdout.buffer.flush()
    return 0


if __name__ == "__main__":
    # The thread may still hang in the camera's silence: it is not waited for.
    os._exit(main(sys.argv[1:]))
