"""``./poliscope up --video``: films that play, one that is made playable meanwhile, and a file that is no film."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.services.installation import wait_for
from tests.services.running import Running
from tests.streams.test_videos import PLAIN, film

pytestmark = [pytest.mark.slow, pytest.mark.valkey, pytest.mark.rtsp, pytest.mark.timeout(120)]


def seeing(running: Running) -> set[str]:
    cameras = running.get("health").get("cameras", [])
    return {camera["name"] for camera in cameras if camera["state"] == "seeing"}


def test_films_are_seen_and_what_is_no_film_is_named_and_left_out(tmp_path: Path, tables: Path) -> None:
    plain = film(tmp_path / "north gate.mp4", pictures=60, **PLAIN)
    other = film(tmp_path / "yard.avi", "mpeg4", pictures=60)
    (tmp_path / "notes.mp4").write_text("Minutes of the meeting\n")
    files = [str(path) for path in (plain, tmp_path / "notes.mp4", other)]
    running = Running(tmp_path / "data", "--video", *files, tables=tables)
    try:
        wait_for("both films are seen", lambda: seeing(running) == {"north gate", "yard"}, 30, 0.3)
        wait_for("all is well", lambda: running.get("health")["ok"], 20, 0.3)
        pictures = "select count(*) from streams_demand"
        assert running.rows(pictures) == [(2,)]
        running.stop()
        assert running.process.stderr is not None
        said = running.process.stderr.read()
        assert f"{tmp_path / 'notes.mp4'} is left out: expected a video" in said and "Traceback" not in said
        assert wait_for("no process is left", lambda: not running.left(), 3)
    finally:
        running.close()
