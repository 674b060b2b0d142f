"""A bound for the whole of a call, where a library bounds only each of its reads: a byte now and then is no answer."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from alerts.notifiers.base import TIMEOUT_S

T = TypeVar("T")

WHOLE_S = 2 * TIMEOUT_S
"""Shorter than a delivery's lease."""


@contextlib.contextmanager
def hung_up_after(seconds: float, hang_up: Callable[[], object]) -> Iterator[threading.Event]:
    """Call ``hang_up`` from another thread when the block takes longer. The event that is yielded says so."""
    over = threading.Event()

    def end() -> None:
        over.set()
        hang_up()

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()
    try:
        yield over
    finally:
        timer.cancel()


def within(seconds: float, work: Callable[[], T]) -> T:
    """What ``work`` returns or raises, for what cannot be hung up. Raises ``TimeoutError``; it then runs on by itself.

    Its own time-outs have to end it one day.
    """
    told: dict[str, Any] = {}

    def run() -> None:
        try:
            told["answer"] = work()
        except BaseException as error:
            told["error"] = error

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        raise TimeoutError(f"no answer within {seconds:g} s")
    if "error" in told:
        raise told["error"]
    answer: T = told["answer"]
    return answer
