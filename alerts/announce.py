"""The end of every transaction that people see: the next value of ``changes``, and a hint of it to every browser.

Browsers resync from the database by that value; the hint only makes it sooner.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Iterable
from functools import partial

from asgiref.sync import async_to_sync
from channels.layers import get_channel_layer
from django.db import transaction
from django.db.models import F

from alerts.models import Incident
from streams.models import SequenceCounter

logger = logging.getLogger(__name__)

GROUP = "changes"
TIMEOUT_S = 0.4
REST_S = 2.0
"""After a failure nobody waits for the channel layer for so long: a frozen one would hold every commit."""

_lock = threading.Lock()
_resting_until_s = float("-inf")
_tasks: set[asyncio.Task[None]] = set()


def hold(incident: int) -> None:
    """Take an incident's row (by key) before anything else of it is changed.

    Everybody takes the incident first, then its deliveries, then the counter; in any other order two transactions can
    wait for each other, and PostgreSQL ends one of them.
    """
    Incident.objects.filter(pk=incident).update(change=F("change"))


def stamp(incidents: Iterable[int]) -> int:
    """Give ``incidents`` (keys) the next value of ``changes``, announced on commit. Call it last in the transaction."""
    change = SequenceCounter.advance(SequenceCounter.CHANGES)
    Incident.objects.filter(pk__in=list(incidents)).update(change=change)
    transaction.on_commit(partial(announce, change))
    return change


def announce(change: int) -> None:
    """Tell the browsers that ``changes`` has reached ``change``. Never raises, never blocks for more than 0.5 s."""
    if time.monotonic() < _resting_until_s:
        return
    try:
        running = asyncio.get_running_loop()
    except RuntimeError:
        _guarded(change)
        return
    task = running.create_task(_try(change))
    _tasks.add(task)
    task.add_done_callback(_tasks.discard)


def _guarded(change: int) -> None:
    try:
        async_to_sync(_try)(change)
    except Exception as error:
        _rest(error)


async def _try(change: int) -> None:
    layer = get_channel_layer()
    if layer is None:
        return
    try:
        message = {"type": "changes.announced", "change": change}
        await asyncio.wait_for(layer.group_send(GROUP, message), TIMEOUT_S)
    except Exception as error:
        _rest(error)


def _rest(error: Exception) -> None:
    global _resting_until_s
    with _lock:
        _resting_until_s = time.monotonic() + REST_S
    logger.warning("a change was not announced (%s: %s); browsers resync by themselves", type(error).__name__, error)
