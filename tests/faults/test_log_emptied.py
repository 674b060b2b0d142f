"""The embedded server that holds the log and Celery's queue is emptied (``FLUSHALL``): people are told as before."""

from __future__ import annotations

import pytest

from streams.log_redis import TOPICS_KEY
from tests.faults.way import Way
from tests.services.installation import wait_for

pytestmark = [pytest.mark.valkey, pytest.mark.slow, pytest.mark.timeout(300)]

PLACES = (0, 8)
TOLD_S, FOUND_S = 30.0, 10.0


def test_who_walks_in_after_the_log_was_emptied_is_told_of_also_after_a_restart(way: Way) -> None:
    # Whoever writes to the log has done so before, as in a town that runs.
    way.wait_sent(way.walk(8), [8], TOLD_S)
    with way.installation.valkey.client("rest") as rest:
        rest.flushall()
        camera = way.walk(*PLACES)
        way.wait_sent(camera, PLACES, TOLD_S)
        wait_for("its topics are made again", lambda: rest.exists(TOPICS_KEY), FOUND_S)

    way.installation.kill("evaluate")
    way.installation.restart("evaluate")
    after = way.walk(*PLACES)
    way.wait_sent(after, PLACES, TOLD_S)
    assert way.phones(camera) == way.phones(after) == {"k00": 1, "k08": 1}
