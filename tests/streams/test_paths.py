"""Where a path that a person typed is."""

from __future__ import annotations

from pathlib import Path

import pytest

from monitor.up import read_options
from streams.paths import whole_path


def test_a_path_is_meant_from_where_the_command_was_given() -> None:
    assert whole_path("../a b.mp4", {"POLISCOPE_FROM": "/home/me/films"}) == Path("/home/me/a b.mp4")
    assert whole_path("-x.mp4", {"POLISCOPE_FROM": "/films"}) == Path("/films/-x.mp4")
    assert whole_path("/a.mp4", {}) == Path("/a.mp4")


def test_the_folder_of_the_data_is_meant_from_there_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POLISCOPE_FROM", "/home/me")
    assert read_options(["--data", "room"]).data == Path("/home/me/room")
