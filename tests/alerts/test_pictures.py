"""Evidence: copied from a real log, whole, once, and never another frame's."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import msgspec
import pytest
from django.conf import settings as django_settings
from pytest_django import Settings

from alerts import pictures
from alerts.incidents import record
from alerts.models import Event, Incident
from alerts.pictures import fetch
from streams.frame import Frame, Gop, Jpeg, Payload, encode_frame
from streams.log import Log, LogUnavailable, Record
from streams.log_redis import RedisLog
from streams.observations import LogPosition
from streams.topics import frames, standing_topics
from tests.alerts.town import NOON, Town, at
from tests.services.valkey import Valkey

pytestmark = [pytest.mark.django_db, pytest.mark.valkey]

JPEG = b"\xff\xd8\xff\xe0" + bytes(range(256)) * 40


@pytest.fixture
def log(valkey: Valkey) -> Iterator[Log]:
    log = RedisLog(valkey.addresses, name="pictures")
    log.create(standing_topics(["general"]))
    yield log
    log.close()


@pytest.fixture(autouse=True)
def _media(settings: Settings, tmp_path: Path) -> None:
    settings.MEDIA_ROOT = tmp_path


def appended(log: Log, town: Town, payload: Payload | None = None, **changes: object) -> LogPosition:
    """A frame of the gate's camera, and where it stands."""
    given = {
        "camera": town.gate.uid,
        "session": 1,
        "sequence": 10,
        "captured_at": NOON,
        "view": uuid4(),
        "why": "motion",
        "width_px": 8,
        "height_px": 8,
        "source_wh": (8, 8),
        "payload": payload or Jpeg(JPEG),
    }
    frame = Frame(**(given | changes))  # type: ignore[arg-type]
    partition, topic = town.gate.partition, frames("general").name
    offsets: list[int | None] = []
    producer = log.producer()
    producer.append(topic, partition, encode_frame(frame), lambda offset, error: offsets.append(offset))
    assert producer.flush(5)
    producer.close()
    assert offsets[0] is not None
    return LogPosition(topic, partition, offsets[0])


def stored(town: Town, position: LogPosition | None) -> Event:
    record([town.event(frame=position)], now=at(1))
    return Event.objects.get()


def test_it_keeps_the_picture_with_its_checksum(log: Log, town: Town, tmp_path: Path) -> None:
    row = stored(town, appended(log, town))
    before = Incident.objects.get().change

    assert fetch(row, log) == "kept"

    row = Event.objects.get()
    assert row.picture_path == f"events/{row.uid}.jpg"
    assert (tmp_path / row.picture_path).read_bytes() == JPEG
    assert row.picture_sha256 == hashlib.sha256(JPEG).hexdigest()
    assert [path.name for path in (tmp_path / "events").iterdir()] == [f"{row.uid}.jpg"]
    assert Incident.objects.get().change > before


def test_it_fetches_once(log: Log, town: Town, tmp_path: Path) -> None:
    row = stored(town, appended(log, town))
    fetch(row, log)
    (tmp_path / row.picture_path).write_bytes(b"untouched")

    assert fetch(Event.objects.get(), log) == "kept"
    assert (tmp_path / row.picture_path).read_bytes() == b"untouched"


def test_it_says_that_a_picture_is_gone(log: Log, town: Town) -> None:
    row = stored(town, LogPosition(frames("general").name, town.gate.partition, 10**15))

    assert fetch(row, log) == "gone"


@pytest.mark.parametrize("changes", [{"session": 2}, {"sequence": 11}, {"camera": uuid4()}])
def test_it_never_keeps_another_frames_picture(log: Log, town: Town, changes: dict[str, object]) -> None:
    assert fetch(stored(town, appended(log, town, **changes)), log) == "gone"


def test_it_has_no_picture_of_a_group_of_pictures_yet(log: Log, town: Town) -> None:
    assert fetch(stored(town, appended(log, town, Gop(b"", "h264", 0))), log) == "gone"


def test_it_does_not_look_for_a_picture_there_never_was(log: Log, town: Town) -> None:
    assert fetch(stored(town, None), log) == "none"


def test_it_survives_a_frame_of_another_version(town: Town) -> None:
    payload = msgspec.msgpack.encode({"v": 99})

    assert pictures.picture_in(payload, town.event()) is None
    assert pictures.picture_in(b"\x00garbage", town.event()) is None


class Away:
    """A log whose server does not answer."""

    def read_one(self, topic: str, partition: int, offset: int) -> Record | None:
        raise LogUnavailable("valkey at 127.0.0.1 does not answer")


def test_it_waits_for_a_log_that_is_away(town: Town) -> None:
    row = stored(town, LogPosition("frames.general", 0, 1))

    assert fetch(row, Away()) == "pending"  # type: ignore[arg-type]
    assert Event.objects.get().picture == "pending"


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    import subprocess

    folder = tmp_path / "tiny"
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", str(folder)], capture_output=True).returncode:
        pytest.skip("needs the right to mount a tmpfs")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_it_keeps_no_part_of_a_picture_on_a_full_disk(
    log: Log, town: Town, settings: Settings, tiny_disk: Path
) -> None:
    settings.MEDIA_ROOT = tiny_disk
    (tiny_disk / "filler").write_bytes(b"x" * 12_000)
    row = stored(town, appended(log, town))

    assert fetch(row, log) == "pending"
    assert not list((tiny_disk / "events").iterdir())
    (tiny_disk / "filler").unlink()
    assert fetch(row, log) == "kept"
    assert shutil.disk_usage(django_settings.MEDIA_ROOT).total == 16384
