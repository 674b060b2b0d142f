"""The numbers of counting rules as measurements, so that a threshold can be set on them. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime
from uuid import UUID

from alerts.engine import ZoneCount
from streams.observations import Measurement

QUANTITY, UNIT = "count", "1"
WHOLE = 0.98
"""Of an interval: one that was watched for less says nothing about how many there were."""


def measurements(counts: Iterable[ZoneCount]) -> list[Measurement]:
    """How many went over each line in each whole interval, whatever they were and whichever way they went.

    Turns are left out: each is made of two crossings that are counted already.
    """
    totals: Counter[tuple[UUID, UUID, UUID, UUID, float]] = Counter()
    for one in counts:
        counted = one.counted
        if counted.direction != "turn" and counted.seen_s >= WHOLE * (counted.until_s - counted.from_s):
            totals[one.camera, one.deployment, one.rule_version, one.zone, counted.until_s] += counted.count
    return [
        Measurement(
            camera=camera,
            deployment=deployment,
            zone=zone,
            at=datetime.fromtimestamp(until_s, UTC),
            quantity=QUANTITY,
            value=float(total),
            unit=UNIT,
        )
        for (camera, deployment, _, zone, until_s), total in totals.items()
    ]
