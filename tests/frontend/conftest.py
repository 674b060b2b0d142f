"""What most tests of the screens need: a town, its administrator's browser, and nothing running beside it."""

from __future__ import annotations

from pathlib import Path

import pytest
from django.conf import LazySettings
from django.test import Client

from frontend import health_tail, queries
from tests.town import Town, build_town


@pytest.fixture
def quiet(monkeypatch: pytest.MonkeyPatch, settings: LazySettings, tmp_path: Path) -> None:
    """No log runs here, and files go to a folder of the test's own."""
    monkeypatch.setattr(health_tail, "parts", lambda now: [])
    monkeypatch.setattr(health_tail, "starting", lambda now: False)
    settings.MEDIA_ROOT, settings.STATIC_ROOT = tmp_path / "media", tmp_path / "static"
    settings.STATIC_ROOT.mkdir()
    queries.forget()


@pytest.fixture
def town() -> Town:
    """Two cameras at one site, and who is who there."""
    return build_town()


@pytest.fixture
def ada(town: Town) -> Client:
    """The administrator's browser."""
    client = Client()
    client.force_login(town.ada)
    return client
