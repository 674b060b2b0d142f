"""A sign of life to somebody outside, each minute while everything works: when it stays away, they know that we do not.

What calls is the sweep, so that everything has to work for it: the database, the log, every part's heartbeat, and
nothing that the auditor found. Which service watches is anybody's choice; it is called by GET and told nothing.
"""

from __future__ import annotations

import logging
from datetime import datetime, timedelta

import msgspec
from django.conf import settings

from alerts import http
from detectors.models import Deployment
from streams.health import Health, decode_heartbeat
from streams.log import Log
from streams.topics import HEALTH

logger = logging.getLogger(__name__)

LOOK_BACK_S = 15.0
ALWAYS_EXPECTED = ("capture", "evaluate", "sweep", "web", "worker")


def expected_parts() -> tuple[str, ...]:
    """The parts that this installation needs: one detector part for each pool of an enabled deployment."""
    pools = Deployment.objects.filter(enabled=True).values_list("pool", flat=True).distinct()
    return (*ALWAYS_EXPECTED, *sorted({f"detect.{pool}" for pool in pools}))


def unwell(log: Log, now: datetime) -> list[str]:
    """The expected parts of which no instance beats without a problem. Raises ``LogUnavailable``."""
    health = Health(expected_parts())
    position = log.position_at(HEALTH.name, 0, now - timedelta(seconds=LOOK_BACK_S))
    for record in log.read(HEALTH.name, 0, position, 5000):
        try:
            health.record(decode_heartbeat(record.payload))
        except msgspec.DecodeError:
            continue
    parts = health.parts(now)
    well = {part.part for part in parts if part.state == "ok"}
    return sorted({part.part for part in parts} - well)


def call() -> bool:
    """Call ``POLISCOPE_HEARTBEAT_URL``, wherever it is: the administrator's own setting. Never raises."""
    try:
        answer = http.call(http.check(settings.HEARTBEAT_URL, None), "GET", headers={"User-Agent": "Poliscope"})
    except (http.NotCalled, http.NoAnswer) as error:
        logger.warning("the sign of life did not get through: %s", error)
        return False
    if answer.status >= 400:
        logger.warning("the sign of life was not taken: %s", answer.status)
    return answer.status < 400
