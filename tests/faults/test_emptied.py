"""Somebody empties the embedded server that holds the log and Celery's queue (``FLUSHALL``): people are told as before."""

from __future__ import annotations

import pytest

from tests.faults.way import Way

pytestmark = [pytest.mark.valkey, pytest.mark.slow]

PLACES = (0, 8)


@pytest.mark.parametrize("_open_way", ["sqlite"], indirect=True)
def test_who_walks_in_after_the_log_was_emptied_is_told_of(way: Way) -> None:
    way.installation.valkey.client("rest").flushall()
    camera = way.walk(*PLACES)
    way.wait_sent(camera, PLACES, 30)
    assert way.phones(camera) == {"k00": 1, "k08": 1}
