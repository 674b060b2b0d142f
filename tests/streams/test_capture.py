"""Capture's own logic, and a capture child with a real camera and a real log."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import cv2
import numpy as np
import pytest
from django.db import DatabaseError, InterfaceError, OperationalError

from streams import ladder, leases, reader
from streams.addresses import Pairs
from streams.capture import RESTARTS_MAX, RESTARTS_S, SLOW_RESTART_S, Capture, Restarts, spread
from streams.capture_child import HUNG_S, Lookouts
from streams.live import WATCH_TTL_S, LivePicture, decode_picture, picture_channel, watch_key
from streams.log import OnDone
from streams.observations import Dropped, SourceState, decode_observation
from streams.orders import CameraConfig
from streams.reader import (
    HEALTHY_S,
    SESSIONS_PER_FENCE,
    WAIT_EDITED_MAX_S,
    WAIT_MAX_S,
    WAIT_S,
    Backoff,
    Lookout,
    Meter,
)
from tests.services.capture import CaptureChildren, LogReader, camera
from tests.services.rtsp import RtspServers, eventually
from tests.services.scripted import JPEG2000, ScriptedCamera, WithoutKeyFrames
from tests.services.valkey import Valkey


def longest(_low: float, high: float) -> float:
    """Jitter at its upper end."""
    return high


def test_waits_double_up_to_their_ceiling() -> None:
    backoff = Backoff(longest)
    assert [backoff.after(0, until_edited=False) for _ in range(7)] == [0.5, 1, 2, 4, 8, WAIT_MAX_S, WAIT_MAX_S]


def test_where_only_an_edit_helps_waits_grow_longer() -> None:
    backoff = Backoff(longest)
    waits = [backoff.after(0, until_edited=True) for _ in range(9)]
    assert waits == [0.5, 1, 2, 4, 8, 16, WAIT_EDITED_MAX_S, WAIT_EDITED_MAX_S, WAIT_EDITED_MAX_S]


def test_health_makes_the_next_wait_short_again() -> None:
    backoff = Backoff(longest)
    for _ in range(6):
        backoff.after(0, until_edited=False)
    assert backoff.after(HEALTHY_S, until_edited=False) == WAIT_S


def test_waits_are_jittered_so_that_cameras_do_not_come_back_in_step() -> None:
    waits = {Backoff().after(0, until_edited=False) for _ in range(20)}
    assert len(waits) > 10
    assert all(WAIT_S / 2 <= wait <= WAIT_S for wait in waits)


def test_a_child_is_replaced_at_once_until_it_happens_too_often_and_then_slowly() -> None:
    restarts = Restarts()
    for index in range(RESTARTS_MAX):
        assert restarts.due(float(index))
        restarts.count(float(index))
    assert restarts.often(5.0)
    assert not restarts.due(5.0)
    assert restarts.due(4.0 + SLOW_RESTART_S)
    assert not restarts.often(RESTARTS_S + 0.1)


@pytest.mark.parametrize(
    ("cameras", "before", "children", "expected"),
    [
        ([], {}, 2, {}),
        ([1, 2, 3, 4], {}, 2, {1: 0, 2: 1, 3: 0, 4: 1}),
        ([1, 2, 3], {1: 1, 2: 1}, 2, {1: 1, 2: 1, 3: 0}),
        ([2], {1: 0, 2: 1}, 2, {2: 1}),
        ([1, 2], {}, 1, {1: 0, 2: 0}),
    ],
)
def test_cameras_stay_where_they_are_and_new_ones_go_where_the_fewest_are(
    cameras: list[int], before: dict[int, int], children: int, expected: dict[int, int]
) -> None:
    assert spread(cameras, before, children) == expected


def test_a_meter_counts_the_last_seconds_only() -> None:
    meter = Meter()
    for index in range(100):
        meter.count(index / 10)
    assert meter.per_s(9.9) == pytest.approx(10, abs=0.3)
    assert meter.per_s(20.0) == 0


def test_a_camera_s_configuration_shows_neither_address_nor_log_in() -> None:
    shown = repr(camera("rtsp://10.0.0.5/secret-path", user="alice", password="canary"))
    assert "canary" not in shown
    assert "10.0.0.5" not in shown


def test_only_one_thread_that_hangs_for_long_makes_a_child_hopeless() -> None:
    """Slow look-ups of a name: every thread is given up, and every one returns."""
    ends = [threading.Event() for _ in range(10)]
    threads = [threading.Thread(target=end.wait, daemon=True) for end in ends]
    config = camera("rtsp://127.0.0.1:9/cam0")
    one = Lookout(config, Recorder(), frozenset(), frozenset())
    lookouts = Lookouts(None, None, frozenset(), frozenset())  # type: ignore[arg-type]
    lookouts._known[config.uid] = config, one
    for number, thread in enumerate(threads):
        thread.start()
        one._given_up.append((thread, 10.0 * number))
        if number:
            ends[number - 1].set()
            threads[number - 1].join(5)
        assert not lookouts.hopeless(10.0 * number + 9)
    assert not lookouts.hopeless(90.0 + HUNG_S)
    assert lookouts.hopeless(90.1 + HUNG_S)
    ends[-1].set()
    threads[-1].join(5)
    assert not lookouts.hopeless(1000.0)
    one.stop()


@pytest.mark.django_db
@pytest.mark.parametrize("error", [InterfaceError, OperationalError, DatabaseError])
def test_it_goes_on_without_the_database_however_its_driver_says_so(
    error: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise error("connection already closed")

    monkeypatch.setattr(leases, "any_wanted", fails)
    capture = Capture(None, "tests", parent=os.getpid(), children=0)  # type: ignore[arg-type]
    capture.turn()
    assert capture.pulse().problem == "database"


class Recorder:
    """An outlet that writes down, and can refuse: the log, as far as a lookout knows it."""

    def __init__(self) -> None:
        self.refuses: set[str] = set()
        self.fails: set[str] = set()
        self.records: list[tuple[str, bytes]] = []
        self.looked_at = False
        self.shown: list[LivePicture] = []

    def append(self, topic: str, _partition: int, payload: bytes, on_done: OnDone) -> bool:
        kind = topic.partition(".")[0]
        if kind in self.refuses:
            return False
        failed = kind in self.fails
        if not failed:
            self.records.append((topic, payload))
        error = RuntimeError("the log is away") if failed else None
        threading.Thread(target=on_done, args=(None if failed else 1, error)).start()
        return True

    def watched(self, _camera: UUID) -> bool:
        return self.looked_at

    def show(self, _camera: UUID, payload: bytes) -> None:
        self.shown.append(decode_picture(payload))

    def observations(self) -> list[object]:
        return [decode_observation(payload) for topic, payload in self.records if topic == "observations"]

    def dropped(self) -> list[Dropped]:
        return [item for item in self.observations() if isinstance(item, Dropped)]

    def states(self) -> list[SourceState]:
        return [item for item in self.observations() if isinstance(item, SourceState)]

    def frames(self) -> int:
        return sum(topic.startswith("frames.") for topic, _payload in self.records)


class Watching:
    """A lookout in this process, ticked as a child would."""

    def __init__(self, config: CameraConfig, allow: Pairs) -> None:
        self.outlet = Recorder()
        self.lookout = Lookout(config, self.outlet, allow, frozenset())
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._tick)
        self._thread.start()

    def _tick(self) -> None:
        while not self._over.wait(0.1):
            self.lookout.tick(time.monotonic())

    def stop(self) -> None:
        self._over.set()
        self._thread.join()
        self.lookout.stop()


@pytest.fixture
def watching() -> Iterator[type[Watching]]:
    made: list[Watching] = []

    class Made(Watching):
        def __init__(self, config: CameraConfig, allow: Pairs) -> None:
            super().__init__(config, allow)
            made.append(self)

    yield Made
    for one in made:
        one.stop()


@pytest.mark.rtsp
class TestLookout:
    """One camera, a real server, an outlet of our own."""

    @pytest.mark.parametrize("how", ["refuses", "fails"])
    def test_frames_that_the_log_did_not_take_are_said_as_soon_as_it_can_be(
        self, rtsp_servers: RtspServers, watching: type[Watching], how: str
    ) -> None:
        server = rtsp_servers()
        one = watching(camera(server.url(), pools=["general", "special"]), frozenset({server.pair}))
        assert eventually(lambda: one.outlet.frames() > 4, 10)
        setattr(one.outlet, how, {"frames", "observations"})
        time.sleep(1.5)
        frames = one.outlet.frames()
        setattr(one.outlet, how, set())
        assert eventually(lambda: bool(one.outlet.dropped()) and one.outlet.frames() > frames, 5)
        lost = one.outlet.dropped()
        assert {item.reason for item in lost} == {"log"}
        # Five a second for 1.5 s, each counted once although two pools missed it.
        assert 6 <= sum(item.count for item in lost) <= 9
        assert one.lookout.status(time.monotonic()).dropped == sum(item.count for item in lost)

    def test_a_fact_that_the_log_did_not_take_is_said_again(
        self, rtsp_servers: RtspServers, watching: type[Watching]
    ) -> None:
        server = rtsp_servers()
        one = watching(camera(server.url()), frozenset({server.pair}))
        one.outlet.refuses = {"observations"}
        assert eventually(lambda: one.outlet.frames() > 4, 10)
        assert one.outlet.states() == []
        one.outlet.refuses = set()
        assert eventually(lambda: bool(one.outlet.states()), 3)
        assert one.outlet.states()[0].state == "active"

    def test_a_clock_that_was_ahead_leaves_no_blindness_in_the_future(
        self, rtsp_servers: RtspServers, watching: type[Watching], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        ahead = timedelta(hours=8)
        monkeypatch.setattr(reader, "_now", lambda: datetime.now(UTC) + ahead)
        monkeypatch.setattr(ladder, "BLIND_AFTER_S", 1.0)
        server = rtsp_servers()
        one = watching(camera(server.url()), frozenset({server.pair}))
        assert eventually(lambda: any(state.state == "active" for state in one.outlet.states()), 10)
        before = one.outlet.states()[-1]
        assert before.at > datetime.now(UTC) + timedelta(hours=7)
        server.stop()
        ahead = timedelta(0)
        assert eventually(lambda: one.outlet.states()[-1].state == "blind", 5)
        blind = one.outlet.states()[-1]
        assert blind.since_at <= blind.at <= datetime.now(UTC)
        assert datetime.now(UTC) - blind.since_at < timedelta(seconds=10)
        assert blind.session > before.session, "within one session times do not go back"

    def test_a_fact_names_the_last_frame_written_before_it(
        self, rtsp_servers: RtspServers, watching: type[Watching]
    ) -> None:
        server = rtsp_servers()
        one = watching(camera(server.url()), frozenset({server.pair}))
        assert eventually(lambda: bool(one.outlet.states()), 10)
        state = one.outlet.states()[0]
        assert (state.session, state.sequence) == (SESSIONS_PER_FENCE + 1, 1)

    def test_another_picture_size_is_a_new_session(
        self, rtsp_servers: RtspServers, watching: type[Watching], two_sizes: Path
    ) -> None:
        server = rtsp_servers(clip=two_sizes)
        one = watching(camera(server.url()), frozenset({server.pair}))
        seen: dict[int, tuple[int, int]] = {}

        def both() -> bool:
            status = one.lookout.status(time.monotonic())
            if status.width:
                seen[status.session] = (status.width, status.height)
            return len(set(seen.values())) == 2

        assert eventually(both, 15), seen
        assert len(seen) >= 2

    def test_an_address_that_is_refused_is_said_and_never_opened(self, watching: type[Watching]) -> None:
        one = watching(camera("rtsp://127.0.0.1:9/cam0"), frozenset())
        assert eventually(lambda: bool(one.outlet.states()), 10)
        assert one.outlet.states()[0].reason == "address-refused"

    def test_video_that_cannot_be_decoded_is_said(
        self, watching: type[Watching], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(ladder, "BLIND_AFTER_S", 1.0)
        unknown = ScriptedCamera(JPEG2000)
        one = watching(camera(unknown.url()), frozenset({unknown.pair}))
        assert eventually(lambda: any(state.reason == "codec" for state in one.outlet.states()), 10)
        unknown.close()

    def test_a_stream_in_which_no_picture_begins_is_said(
        self, shared: Path, watching: type[Watching], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(reader, "KEY_FRAME_S", 1.0)
        monkeypatch.setattr(ladder, "BLIND_AFTER_S", 2.0)
        endless = WithoutKeyFrames(shared / "footage" / "mix360.mp4")
        one = watching(camera(endless.url()), frozenset({endless.pair}))
        assert eventually(lambda: any(state.reason == "no-key-frame" for state in one.outlet.states()), 10)
        assert one.outlet.frames() == 0
        endless.close()

    def test_live_pictures_need_a_watcher_and_no_demand(
        self, rtsp_servers: RtspServers, watching: type[Watching]
    ) -> None:
        server = rtsp_servers()
        one = watching(camera(server.url(), hz=0.0, pools=[]), frozenset({server.pair}))
        assert eventually(lambda: bool(one.outlet.states()), 10)
        assert one.outlet.shown == []
        one.outlet.looked_at = True
        assert eventually(lambda: len(one.outlet.shown) > 10, 10)
        assert one.outlet.frames() == 0
        times = [picture.captured_at for picture in one.outlet.shown]
        gaps = [(b - a).total_seconds() for a, b in itertools.pairwise(times)]
        assert sum(gaps) / len(gaps) <= 0.2


@pytest.fixture
def two_sizes(tmp_path: Path) -> Path:
    """Two seconds of 320×240, then two of 640×480, as one H.264 stream."""
    parts = []
    for size in ("320x240", "640x480"):
        path = tmp_path / f"{size}.h264"
        command = ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", f"testsrc=s={size}:r=25:d=2", "-c:v", "libx264"]
        subprocess.run([*command, "-g", "25", "-bf", "0", "-pix_fmt", "yuv420p", str(path)], check=True)
        parts.append(path.read_bytes())
    whole = tmp_path / "both.h264"
    whole.write_bytes(b"".join(parts))
    return whole


@pytest.mark.rtsp
@pytest.mark.valkey
class TestChild:
    """A capture child with everything real."""

    def test_live_pictures_flow_while_someone_watches_and_carry_the_frames_numbers(
        self, rtsp_servers: RtspServers, capture_children: CaptureChildren, captured: LogReader, valkey: Valkey
    ) -> None:
        server = rtsp_servers()
        config = camera(server.url())
        child = capture_children([server.pair])
        child.order(config)
        assert eventually(lambda: bool(captured.frames(config)), 20), child.said()
        client = valkey.client("frames")
        listener = client.pubsub(ignore_subscribe_messages=True)
        listener.subscribe(picture_channel(config.uid))
        listener.get_message(timeout=1.5)
        assert listener.get_message(timeout=0.2) is None

        client.set(watch_key(config.uid), 1, ex=WATCH_TTL_S)
        pictures: list[LivePicture] = []

        def watched() -> bool:
            while message := listener.get_message(timeout=0.05):
                pictures.append(decode_picture(message["data"]))
            return len(pictures) >= 15

        assert eventually(watched, 6)
        data = cv2.imdecode(np.frombuffer(pictures[0].jpeg, np.uint8), cv2.IMREAD_COLOR)
        assert data is not None
        assert data.shape == (pictures[0].height_px, pictures[0].width_px, 3)
        shown = {(picture.session, picture.sequence) for picture in pictures}
        written = {(frame.session, frame.sequence) for frame in captured.frames(config)}
        assert len(shown & written) >= 10
        listener.close()
        client.close()

    def test_a_frozen_frames_server_stops_no_camera(
        self, rtsp_servers: RtspServers, capture_children: CaptureChildren, captured: LogReader, valkey: Valkey
    ) -> None:
        server = rtsp_servers()
        config = camera(server.url())
        child = capture_children([server.pair])
        child.order(config)
        assert eventually(lambda: bool(captured.frames(config)), 20)
        valkey.pause("frames")
        time.sleep(3)
        valkey.resume("frames")
        session = captured.frames(config)[-1].session
        last = captured.frames(config)[-1].sequence
        assert eventually(lambda: captured.frames(config)[-1].sequence > last + 20, 10)
        frames = captured.frames(config)
        assert {frame.session for frame in frames} == {session}
        times = [frame.captured_at for frame in frames]
        gaps = [(b - a).total_seconds() for a, b in itertools.pairwise(times)]
        lost = sum(item.count for item in captured.dropped(config))
        assert max(gaps) <= 1.0 or lost > 0

    def test_a_malformed_order_changes_nothing(
        self, rtsp_servers: RtspServers, capture_children: CaptureChildren, captured: LogReader
    ) -> None:
        server = rtsp_servers()
        config = camera(server.url())
        child = capture_children([server.pair])
        child.order(config)
        assert eventually(lambda: bool(captured.frames(config)), 20)
        assert child.process.stdin is not None
        child.process.stdin.write(b'{"cameras": [{"password": "canary-4711"}]}\nnonsense\n')
        child.process.stdin.flush()
        assert eventually(lambda: child.said().count("expected a list of cameras") == 2, 5)
        known = len(captured.frames(config))
        assert eventually(lambda: len(captured.frames(config)) > known + 5, 5)
        assert "canary" not in child.said()

    def test_it_ends_with_its_input(self, capture_children: CaptureChildren) -> None:
        child = capture_children([])
        assert eventually(lambda: bool(child.reports), 15), child.said()
        assert child.process.stdin is not None
        child.process.stdin.close()
        assert child.process.wait(5) == 0

    def test_it_imports_no_django(self) -> None:
        probe = "import streams.capture_child, sys; print(any(name.split('.')[0] == 'django' for name in sys.modules))"
        root = Path(__file__).resolve().parents[2]
        result = subprocess.run(
            [sys.executable, "-c", probe],
            cwd=root, capture_output=True, text=True,
        )  # fmt: skip
        assert result.stdout.strip() == "False", result.stderr
