"""The user's own films in the database, and what ``up`` says about them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from alerts.models import Rule
from frontend.models import User
from monitor import demo, up, videos
from monitor.video_part import VideoPart
from streams.models import Camera, CameraGroup, SequenceCounter, Site, Source
from streams.video_cameras import Board, Shown, key_of

GATE, YARD = Path("/films/gate.mp4"), Path("/films/yard.mkv")


def board(port: int = 5541, **states: str) -> Board:
    paths = {"gate": GATE, "yard": YARD, "gate_of_other": Path("/other/gate.mp4")}
    films = [Shown(key_of(paths[name]), str(paths[name]), state) for name, state in states.items()]  # type: ignore[arg-type]
    return Board(port, True, films)


def on() -> dict[str, bool]:
    return dict(Camera.objects.values_list("name", "enabled"))


@pytest.mark.django_db
class TestRows:
    def test_each_film_is_a_camera_with_a_rule_on_the_whole_picture(self) -> None:
        videos.seed(board(gate="ready", yard="making"))
        assert on() == {"gate": True, "yard": False}
        assert Site.objects.get().name == CameraGroup.objects.get().name == "My videos"
        rule = Rule.objects.get(name="Person seen, gate")
        assert rule.zones.get().points == videos.WHOLE_PICTURE and rule.severity == "medium"
        assert rule.recipients.count() == 2 and not Camera.objects.filter(gated=True).exists()
        assert f"rtsp://127.0.0.1:5541/{key_of(GATE)}" in Source.objects.values_list("address", flat=True)

    def test_a_film_that_is_refused_makes_no_camera(self) -> None:
        videos.seed(board(gate="refused"))
        assert not Camera.objects.exists() and not Site.objects.exists()

    def test_a_camera_appears_when_its_film_is_ready(self) -> None:
        videos.seed(board(yard="making"))
        version = SequenceCounter.current("configuration")
        videos.seed(board(yard="ready"))
        assert on() == {"yard": True} and SequenceCounter.current("configuration") > version
        videos.seed(board(yard="ready"))
        assert Camera.objects.count() == 1 and SequenceCounter.current("configuration") == version + 1

    def test_cameras_follow_the_list_and_their_owners_wishes(self) -> None:
        videos.seed(board(gate="ready", yard="ready"))
        Camera.objects.filter(name="gate").update(name="Main gate", enabled=False)
        videos.seed(board(5599, gate="ready"))
        assert on() == {"Main gate": False, "yard": False}
        videos.retire()
        videos.seed(board(5600, gate="ready", yard="ready"))
        assert on() == {"Main gate": False, "yard": True}

    def test_films_of_one_name_are_told_apart(self) -> None:
        videos.seed(board(gate="ready", gate_of_other="ready"))
        assert on().keys() == {"gate", "gate (2)"}

    def test_the_demo_and_the_films_leave_each_other_alone(self) -> None:
        demo.seed(5541)
        videos.seed(board(5542, gate="ready"))
        demo.retire()
        assert [name for name, enabled in on().items() if enabled] == ["gate"]
        videos.retire()
        demo.seed(5543)
        assert len([name for name, enabled in on().items() if enabled]) == 4

    def test_whoever_operates_sees_them_and_others_do_not(self) -> None:
        alice = User.objects.create_user("alice", password=None, role=User.Role.OPERATOR)
        olga = User.objects.create_user("olga", password=None, role=User.Role.OBSERVER)
        videos.seed(board(gate="ready"))
        assert alice.camera_groups.count() == 1 and not olga.camera_groups.exists()
        alice.camera_groups.clear()
        videos.seed(board(yard="ready"))
        assert not alice.camera_groups.exists()


@pytest.mark.parametrize(
    ("file", "name"),
    [("a\nb\t c.mp4", "a b c"), ("<b>x</b>.mp4", "b>"), (".mp4", ".mp4"), ("\x07.mp4", "Video"), ("x" * 200, "x" * 80)],
)
def test_a_name_for_people_comes_from_the_files(file: str, name: str) -> None:
    assert videos.camera_name(Path("/films") / file) == name


def test_the_time_zone_is_the_machines(tmp_path: Path) -> None:
    (tmp_path / "localtime").symlink_to("/usr/share/zoneinfo/Asia/Taipei")
    assert videos.local_time_zone(tmp_path / "localtime") == "Asia/Taipei"
    assert videos.local_time_zone(tmp_path / "none") == "UTC"


# --- What up makes of it ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "demo_wanted", "count"),
    [
        ([], True, 0),
        (["--video", "a.mp4", "b.mp4", "--video", "a.mp4"], False, 2),
        (["--video", "a.mp4", "--demo"], True, 1),
        (["--no-demo"], False, 0),
    ],
)
def test_films_stand_in_for_the_demo_unless_both_are_asked_for(
    arguments: list[str], demo_wanted: bool, count: int
) -> None:
    options = up.read_options(arguments)
    assert options.demo is demo_wanted and len(options.videos) == count


def test_up_tells_each_thing_once(tmp_path: Path) -> None:
    part = VideoPart([GATE, YARD], tmp_path, 5541)

    def write(**films: dict[str, object]) -> None:
        rows = [
            {"key": key, "path": f"/films/{key}.mp4", "share": 0.0, "why": "", **film} for key, film in films.items()
        ]
        part.board.write_text(json.dumps({"port": 5541, "examined": True, "films": rows}))

    assert not part.examined and not part.newly_playing() and part.refusals() == []
    write(
        gate={"state": "ready"}, yard={"state": "making", "share": 0.4}, notes={"state": "refused", "why": "expected X"}
    )
    assert part.examined and part.newly_playing() and not part.newly_playing()
    assert part.refusals() == ["  /films/notes.mp4 is left out: expected X; name another file"] and not part.refusals()
    assert part.progress(100.0) == ["  making yard.mp4 playable: 40%"] and part.progress(101.0) == []
    assert part.new_summary() == [
        "  1 of your videos plays as a camera. 1 more will, once made playable; progress stands below."
    ]
    write(gate={"state": "ready"}, yard={"state": "ready"})
    assert part.newly_playing() and part.progress(200.0) == []
    assert part.new_summary() == ["  2 of your videos play as cameras."] and part.new_summary() == []
