"""``manage.py archive``: what there is, and what goes."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from django.core.management import call_command
from pytest_django import Settings

from alerts.archive_files import Folder, hour_of
from alerts.archive_upkeep import merge, size
from streams.models import Camera, CameraGroup, Site
from tests.alerts.histories import GATE, START
from tests.alerts.test_archive import PARTITION, VARIED, fill, kept

pytestmark = pytest.mark.django_db


def said(*arguments: str) -> str:
    out = io.StringIO()
    call_command("archive", *arguments, stdout=out)
    return out.getvalue()


@pytest.fixture(autouse=True)
def _filled(settings: Settings, tmp_path: Path) -> None:
    settings.ARCHIVE = {**settings.ARCHIVE, "folder": tmp_path, "days": 28, "bytes": 10**9}
    fill(tmp_path, kept(VARIED))
    merge(Folder(tmp_path), PARTITION, hour_of(START))


def test_it_says_how_much_there_is_and_of_which_hours() -> None:
    assert "in 2 files, from 2026-11-21T06 to 2026-11-21T06" in said("size")


def test_it_lists_cameras_by_their_names() -> None:
    Camera.objects.create(uid=GATE, name="Gate", site=Site.objects.create(name="Harbour"),
                          group=CameraGroup.objects.create(name="All"))  # fmt: skip
    assert [line.split()[0] for line in said("list").splitlines()] == ["Gate", "ticks"]


def test_it_deletes_what_is_too_old(tmp_path: Path) -> None:
    assert "0 files" in said("prune", "--days", "36500")
    assert "2 files" in said("prune", "--days", "0")
    assert size(Folder(tmp_path)).files == 0
