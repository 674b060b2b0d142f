"""A full disk: evidence is given up first and is said to be, every message still leaves, and no row is lost."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.faults.way import Way, fill, mounted, unmount
from tests.services.installation import wait_for

pytestmark = [pytest.mark.valkey, pytest.mark.slow, pytest.mark.timeout(300)]

PLACES = (0, 8)
SAID_S, AGAIN_S = 30.0, 30.0
"""What was folded is stored and archived each 20 s (``evaluate.SNAPSHOT_S``): only then does it meet the disk."""


@contextmanager
def full(folder: Path) -> Iterator[None]:
    """A disk of its own over ``folder``, without room for a byte."""
    folder.mkdir(parents=True, exist_ok=True)
    if not mounted(folder, "64k"):
        pytest.skip("needs the right to mount a tmpfs")
    try:
        fill(folder)
        yield
    finally:
        unmount(folder)


def test_messages_leave_while_the_disk_for_pictures_and_the_archive_is_full(way: Way) -> None:
    data = way.installation.instance.data
    with full(data / "archive"), full(data / "media"):
        camera, since_s = way.walk(*PLACES), time.time()
        way.wait_sent(camera, PLACES, 20)
        assert way.phones(camera) == {"k00": 1, "k08": 1}
        wait_for("evaluate says that nothing is kept", lambda: way.says("evaluate", "archive", since_s), SAID_S)
        assert not list((data / "archive").rglob("*.parquet"))
    since_s = time.time()
    wait_for("it is kept again", lambda: way.is_well("evaluate", since_s), AGAIN_S + 10, 0.5)


@pytest.mark.parametrize("_open_way", ["sqlite"], indirect=True)
def test_nothing_is_lost_while_the_disk_of_the_database_is_full(way: Way) -> None:
    if way.disk is None:
        pytest.skip("needs the right to mount a tmpfs")
    since_s, filler = time.time(), fill(way.disk)
    try:
        camera = way.walk(*PLACES)
        wait_for("evaluate says why", lambda: way.says("evaluate", "database", since_s), SAID_S)
        assert way.phones(camera) == {}
    finally:
        filler.unlink()
    way.wait_sent(camera, PLACES, AGAIN_S)
    assert way.phones(camera) == {"k00": 1, "k08": 1}
