"""The capture process whole: leases, children that die or hang, edits while it runs."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from django.core.management import call_command

from streams import leases
from streams.capture import Capture
from streams.credentials import seal
from streams.ids import new_uid
from streams.ladder import HEARTBEAT_S
from streams.log import Log
from streams.models import Camera, CameraGroup, CameraLease, Demand, SequenceCounter, Site, Source, View
from streams.orders import CameraConfig
from streams.reader import SESSIONS_PER_FENCE
from tests.services.capture import POOL, LogReader
from tests.services.capture import camera as config_of
from tests.services.rtsp import RtspServers, eventually
from tests.services.valkey import Valkey

pytestmark = [pytest.mark.rtsp, pytest.mark.valkey, pytest.mark.django_db(transaction=True)]


def make_camera(name: str, address: str, *, hz: float = 5.0, gated: bool = False, login: bytes = b"") -> Camera:
    """A camera with one source, one view and, unless ``hz`` is 0, a demand."""
    site, _ = Site.objects.get_or_create(name="Harbour")
    group, _ = CameraGroup.objects.get_or_create(name="All")
    camera = Camera.objects.create(name=name, site=site, group=group, gated=gated, evidence_px=320)
    Source.objects.create(camera=camera, address=address, credentials=login)
    View.objects.create(camera=camera)
    if hz:
        Demand.objects.create(camera=camera, wanted_by=new_uid(), pool=POOL, hz=hz, width_px=320)
    return camera


def as_config(camera: Camera) -> CameraConfig:
    """What ``LogReader`` needs to find the camera's records."""
    return config_of("", camera.slot, uid=camera.uid)


Running = Callable[..., Capture]


@pytest.fixture
def running(valkey: Valkey, capture_log: Log, monkeypatch: pytest.MonkeyPatch) -> Iterator[Running]:
    """Starts ``Capture`` in this process, its turns on the test's own thread by ``turns_until``."""
    made: list[Capture] = []

    def start(*pairs: tuple[str, int], children: int = 1, owner: str = "", capacity: int = 64) -> Capture:
        monkeypatch.setenv("REDIS_URL", valkey.rest_url)
        monkeypatch.setenv("POLISCOPE_FRAMES_URL", valkey.frames_url)
        monkeypatch.setenv("POLISCOPE_CAMERA_ALLOW", ",".join(f"{host}:{port}" for host, port in pairs))
        owner = owner or leases.owner_name()
        made.append(Capture(capture_log, owner, parent=os.getpid(), children=children, capacity=capacity))
        return made[-1]

    yield start
    for capture in made:
        capture.close()


def turns_until(capture: Capture, condition: Callable[[], bool], within_s: float) -> bool:
    """Turn as the command does, until ``condition``."""

    def turned() -> bool:
        capture.turn()
        return condition()

    return eventually(turned, within_s, every_s=0.2)


def test_its_cameras_are_back_within_ten_seconds_of_a_child_s_crash(
    rtsp_servers: RtspServers, running: Running, captured: LogReader
) -> None:
    server = rtsp_servers(paths=3)
    cameras = [make_camera(f"cam{index}", server.url(index)) for index in range(3)]
    configs = [as_config(camera) for camera in cameras]
    capture = running(server.pair, children=2)
    assert turns_until(capture, lambda: all(captured.frames(config) for config in configs), 25)
    assert sorted(len(child.cameras) for child in capture.children) in ([1, 2], [0, 3])

    victim = capture.children[0]
    before = {config.uid: captured.frames(config)[-1] for config in configs}
    assert victim.pid is not None
    os.kill(victim.pid, signal.SIGSEGV)
    killed_s = time.monotonic()

    def all_back() -> bool:
        return all(captured.frames(config)[-1].sequence > 5 and newer(config) for config in configs)

    def newer(config: CameraConfig) -> bool:
        last = captured.frames(config)[-1]
        return last.captured_at > before[config.uid].captured_at + timedelta(seconds=1.5)

    assert turns_until(capture, all_back, 10)
    assert time.monotonic() - killed_s <= 10
    for config in configs:
        numbers = [(frame.session, frame.sequence) for frame in captured.frames(config)]
        assert numbers == sorted(set(numbers))
    # Those of the other child never noticed; those of the crashed one got numbers that were never used before.
    sessions = sorted(captured.frames(config)[-1].session // SESSIONS_PER_FENCE for config in configs)
    assert sessions[0] == 1
    assert sessions[-1] == 2


def test_it_replaces_a_child_that_is_silent(rtsp_servers: RtspServers, running: Running, captured: LogReader) -> None:
    server = rtsp_servers()
    config = as_config(make_camera("cam", server.url()))
    capture = running(server.pair)
    assert turns_until(capture, lambda: bool(captured.frames(config)), 20)
    child = capture.children[0]
    before, last = child.pid, captured.frames(config)[-1]
    assert before is not None
    os.kill(before, signal.SIGSTOP)
    assert turns_until(capture, lambda: captured.frames(config)[-1].session > last.session, 20)
    assert child.pid != before


def test_a_sub_stream_that_is_added_is_read_instead_of_the_big_one_within_five_seconds(
    rtsp_servers: RtspServers, running: Running, captured: LogReader
) -> None:
    server = rtsp_servers(paths=2)
    camera = make_camera("cam", server.url(0))
    camera.sources.update(role=Source.Role.RECORD)
    config, capture = as_config(camera), running(server.pair)
    assert turns_until(capture, lambda: bool(captured.frames(config)), 20)
    before = captured.frames(config)[-1].session

    Source.objects.create(camera=camera, role=Source.Role.DETECT, address=server.url(1))
    SequenceCounter.advance(SequenceCounter.CONFIGURATION)
    assert turns_until(capture, lambda: captured.frames(config)[-1].session == before + 1, 5)


def test_an_edit_is_live_within_five_seconds_and_touches_only_its_camera(
    rtsp_servers: RtspServers, running: Running, captured: LogReader
) -> None:
    server = rtsp_servers(paths=3, user="alice", password="right")
    login = seal("alice", "right")
    steady, edited = make_camera("a", server.url(0), login=login), make_camera("b", server.url(1), login=login)
    capture = running(server.pair)
    both = [as_config(steady), as_config(edited)]
    assert turns_until(capture, lambda: all(captured.frames(config) for config in both), 20)

    edited.sources.update(address=server.url(2))
    added = make_camera("c", server.url(1), login=login)
    SequenceCounter.advance(SequenceCounter.CONFIGURATION)
    known = captured.frames(both[1])[-1].session
    assert turns_until(
        capture,
        lambda: bool(captured.frames(as_config(added))) and captured.frames(both[1])[-1].session > known,
        5,
    )
    assert {frame.session for frame in captured.frames(both[0])} == {SESSIONS_PER_FENCE + 1}

    edited.enabled = False
    edited.save()
    SequenceCounter.advance(SequenceCounter.CONFIGURATION)
    assert turns_until(capture, lambda: edited.uid not in capture.statuses(), 5)
    assert CameraLease.objects.get(camera=edited).owner == ""


def test_a_wrong_password_is_said_in_the_camera_s_state_and_mended_by_an_edit(
    rtsp_servers: RtspServers, running: Running, captured: LogReader
) -> None:
    server = rtsp_servers(user="alice", password="right")
    camera = make_camera("cam", server.url(), login=seal("alice", "wrong"))
    config, capture = as_config(camera), running(server.pair)
    assert turns_until(capture, lambda: bool(captured.states(config)), 20)
    assert captured.states(config)[-1].reason == "wrong-password"
    assert capture.pulse().figures["seeing"] == 0

    camera.sources.update(credentials=seal("alice", "right"))
    SequenceCounter.advance(SequenceCounter.CONFIGURATION)
    assert turns_until(capture, lambda: bool(captured.frames(config)), 5)
    assert turns_until(capture, lambda: capture.pulse().figures["seeing"] == 1, 5)


def test_two_processes_share_the_cameras_and_the_second_takes_over_what_the_first_gives_back(
    rtsp_servers: RtspServers, running: Running, captured: LogReader
) -> None:
    server = rtsp_servers(paths=2)
    cameras = [make_camera(f"cam{index}", server.url(index)) for index in range(2)]
    first = running(server.pair, owner="here-1", capacity=1)
    second = running(server.pair, owner="there-2")
    first.turn()
    second.turn()
    owners = set(CameraLease.objects.values_list("owner", flat=True))
    assert owners == {"here-1", "there-2"}
    first.close()
    assert turns_until(second, lambda: all(captured.frames(as_config(camera)) for camera in cameras), 25)
    assert CameraLease.objects.filter(owner="there-2").count() == 2


def test_it_keeps_the_connection_without_decoding_while_nobody_wants_pictures(
    rtsp_servers: RtspServers, running: Running, captured: LogReader
) -> None:
    server = rtsp_servers()
    camera = make_camera("cam", server.url(), hz=0)
    config, capture = as_config(camera), running(server.pair)
    assert turns_until(capture, lambda: bool(captured.states(config)), 20)
    assert (captured.states(config)[-1].state, captured.states(config)[-1].reason) == ("quiet", "no-demand")
    assert turns_until(capture, lambda: camera.uid in capture.statuses(), 5)
    assert capture.statuses()[camera.uid].fps == 0
    assert captured.frames(config) == []

    Demand.objects.create(camera=camera, wanted_by=new_uid(), pool=POOL, hz=5)
    SequenceCounter.advance(SequenceCounter.CONFIGURATION)
    # Pictures begin with a key frame, which this clip has every two seconds.
    assert turns_until(capture, lambda: bool(captured.frames(config)), 7)


@pytest.mark.slow
def test_a_quiet_camera_sends_a_heartbeat_frame_and_says_quiet(
    rtsp_servers: RtspServers, running: Running, captured: LogReader, still_clip: Path
) -> None:
    server = rtsp_servers(clip=still_clip)
    config = as_config(make_camera("cam", server.url(), gated=True))
    capture = running(server.pair)
    assert turns_until(capture, lambda: len(captured.frames(config)) >= 2, 20 + HEARTBEAT_S)
    assert [frame.why for frame in captured.frames(config)[:2]] == ["first", "heartbeat"]
    assert {state.state for state in captured.states(config)} == {"quiet"}


@pytest.fixture
def still_clip(tmp_path: Path) -> Path:
    """Ten seconds in which nothing moves."""
    path = tmp_path / "still.mp4"
    command = ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", "smptebars=s=640x360:r=10:d=10", "-c:v", "libx264"]
    subprocess.run([*command, "-g", "20", "-bf", "0", "-pix_fmt", "yuv420p", str(path)], check=True)
    return path


class TestLeases:
    """Claims are conditional UPDATEs: what two want, one gets."""

    NOW = datetime(2026, 5, 1, tzinfo=UTC)

    def test_it_claims_free_cameras_up_to_its_capacity_and_raises_the_fence(self) -> None:
        for index in range(3):
            make_camera(f"cam{index}", "rtsp://192.0.2.1/", hz=0)
        assert sorted(leases.claim("a-1", 2, self.NOW).values()) == [1, 1]
        assert sorted(leases.claim("b-2", 5, self.NOW).values()) == [1]
        assert leases.claim("c-3", 5, self.NOW) == {}
        assert leases.unclaimed(self.NOW) == 0

    def test_it_takes_over_an_expired_lease_and_the_former_holder_learns_of_it(self) -> None:
        camera = make_camera("cam", "rtsp://192.0.2.1/", hz=0)
        leases.claim("a-1", 1, self.NOW)
        later = self.NOW + timedelta(seconds=leases.LEASE_S + 1)
        assert leases.claim("b-2", 1, self.NOW) == {}
        assert leases.claim("b-2", 1, later) == {camera.pk: 2}
        assert leases.renew("a-1", later) == {}
        assert leases.renew("b-2", later) == {camera.pk: 2}

    def test_it_need_not_wait_for_a_dead_process_of_its_own_host(self) -> None:
        camera = make_camera("cam", "rtsp://192.0.2.1/", hz=0)
        leases.claim("host-11", 1, self.NOW)
        assert leases.claim("other-12", 1, self.NOW, runs=lambda _pid: False) == {}
        assert leases.claim("host-12", 1, self.NOW, runs=lambda _pid: True) == {}
        assert leases.claim("host-12", 1, self.NOW, runs=lambda pid: pid != 11) == {camera.pk: 2}

    def test_only_one_of_two_that_saw_the_same_free_lease_gets_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        make_camera("cam", "rtsp://192.0.2.1/", hz=0)
        stale = leases._leases(wanted=True)
        assert len(leases.claim("a-1", 1, self.NOW)) == 1
        monkeypatch.setattr(leases, "_leases", lambda **_: stale)
        assert leases.claim("b-2", 1, self.NOW) == {}

    def test_a_malformed_mask_hides_the_whole_picture(self) -> None:
        camera = make_camera("cam", "rtsp://192.0.2.1/")
        View.objects.filter(camera=camera).update(masks=[["nonsense"]])
        config = leases.configurations({camera.pk: 1})[camera.pk]
        assert config.masks == [[(0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0)]]

    def test_the_dearest_demand_counts(self) -> None:
        camera = make_camera("cam", "rtsp://192.0.2.1/", hz=2, gated=True)
        Demand.objects.create(camera=camera, wanted_by=new_uid(), pool="special", hz=8, width_px=1280, every_frame=True)
        config = leases.configurations({camera.pk: 4})[camera.pk]
        assert (config.hz, config.pools, config.gated, config.long_px) == (8, [POOL, "special"], False, 1280)
        assert config.fence == 4


ONE_CAMERA = """
from tests.faults.test_capture_process import make_camera
make_camera("cam", "rtsp://192.0.2.1/")
"""


def test_the_command_stops_within_three_seconds_and_leaves_no_child(
    valkey: Valkey, capture_log: Log, tmp_path: Path, tables: Path
) -> None:
    shutil.copy(tables, tmp_path / "capture.sqlite3")
    environment = {
        **os.environ,
        "REDIS_URL": valkey.rest_url,
        "POLISCOPE_FRAMES_URL": valkey.frames_url,
        "POLISCOPE_DATA": str(tmp_path),
        "DATABASE_URL": f"sqlite:///{tmp_path / 'capture.sqlite3'}",
        "DJANGO_SETTINGS_MODULE": "tests.settings",
    }
    root = Path(__file__).resolve().parents[2]
    manage = [sys.executable, "manage.py"]
    # Without a camera it starts no child.
    subprocess.run([*manage, "shell", "--no-imports", "-c", ONE_CAMERA], cwd=root, env=environment, check=True)
    process = subprocess.Popen(
        [*manage, "capture", "--children", "1"], cwd=root, env=environment, stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    lines: list[str] = []
    threading.Thread(target=lambda: lines.extend(process.stderr or ()), daemon=True).start()
    assert eventually(lambda: any("runs as" in line for line in lines), 20), lines
    child = int(next(line for line in lines if "runs as" in line).split()[-1])
    process.send_signal(signal.SIGTERM)
    assert process.wait(5) == 0
    assert not Path(f"/proc/{child}").exists()


def test_the_command_refuses_to_start_without_its_topics(valkey: Valkey, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", valkey.rest_url)
    monkeypatch.setenv("POLISCOPE_FRAMES_URL", valkey.frames_url)
    with pytest.raises(Exception, match="capture: "):
        call_command("capture")
