"""The embedded server that holds the log and Celery's queue is emptied (``FLUSHALL``): people are told as before."""

from __future__ import annotations

import pytest

from tests.faults.way import Way

pytestmark = [pytest.mark.valkey, pytest.mark.slow, pytest.mark.timeout(300)]

PLACES = (0, 8)
TOLD_S = 30.0


@pytest.mark.parametrize("_open_way", ["sqlite"], indirect=True)
def test_who_walks_in_after_the_log_was_emptied_is_told_of_also_after_a_restart(way: Way) -> None:
    with way.installation.valkey.client("rest") as rest:
        rest.flushall()
    camera = way.walk(*PLACES)
    way.wait_sent(camera, PLACES, TOLD_S)

    way.installation.kill("evaluate")
    way.installation.restart("evaluate")
    after = way.walk(*PLACES)
    way.wait_sent(after, PLACES, TOLD_S)
    assert way.phones(camera) == way.phones(after) == {"k00": 1, "k08": 1}
