"""A full disk: evidence is given up first and is said to be, and every message still leaves."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.faults.way import Way
from tests.services.installation import wait_for

pytestmark = [pytest.mark.valkey, pytest.mark.slow, pytest.mark.timeout(300)]

PLACES = (0, 8)
SAID_S = 10.0


@contextmanager
def full(folder: Path) -> Iterator[None]:
    """A disk of its own over ``folder``, without room for a byte."""
    folder.mkdir(parents=True, exist_ok=True)
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)], capture_output=True)
    if mounted.returncode:
        pytest.skip("needs the right to mount a tmpfs")
    try:
        with pytest.raises(OSError, match="No space left"), (folder / "filler").open("wb", buffering=0) as filler:
            while True:
                filler.write(bytes(4096))
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.mark.parametrize("_open_way", ["sqlite"], indirect=True)
def test_messages_leave_while_the_disk_for_pictures_and_the_archive_is_full(way: Way) -> None:
    data = way.installation.instance.data
    with full(data / "archive"), full(data / "media"):
        camera = way.walk(*PLACES)
        way.wait_sent(camera, PLACES, 20)
        assert way.phones(camera) == {"k00": 1, "k08": 1}
        wait_for("evaluate says that nothing is kept", lambda: way.beats("evaluate")[-1].problem == "archive", SAID_S)
        assert not list((data / "archive").rglob("*.parquet"))
    wait_for("it is kept again", lambda: not way.beats("evaluate")[-1].problem, 40, 0.5)
