"""The demo scenes: the script first (arithmetic, no picture), then what is drawn of it, then how it is played."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import av
import msgspec
import numpy as np
import pytest

from streams import scenes
from streams.demo_cameras import (
    PAYLOAD_BYTES,
    BadRequest,
    Broadcast,
    Inbox,
    Movie,
    Server,
    channel_of,
    parameter_sets,
    payloads,
    reply,
    units,
)
from streams.scenes import DRONE, GATE, SCENES, Recorded, Scene, Stage, Walk

EVENTS = {scene.key: scenes.scripted_events(scene) for scene in SCENES}
SHORT = dataclasses.replace(GATE, length_s=6.0, script=(Walk("red", 0.5, dy=-95, scale=0.92),))


@pytest.fixture(scope="module")
def footage() -> scenes.Footage:
    return scenes.load_footage()


# The script


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.key)
def test_each_camera_has_one_event_in_four_minutes(scene: Scene) -> None:
    assert scene.length_s == 240.0
    assert len(EVENTS[scene.key]) == 1


def test_the_events_of_all_cameras_come_once_a_minute() -> None:
    starts = sorted(events[0].at_s for events in EVENTS.values())
    assert starts[0] <= 40.0
    gaps = np.diff([*starts, starts[0] + 240.0])
    assert all(55.0 < gap < 65.0 for gap in gaps)


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.key)
def test_passers_by_never_have_their_feet_in_a_zone(scene: Scene) -> None:
    intruders = {event.who for event in EVENTS[scene.key]}
    inside = {
        one.who
        for one in scenes.truth(scene)
        for zone in scene.zones
        if scenes.inside(zone.points, ((one.xyxy[0] + one.xyxy[2]) / 2, one.xyxy[3]))
    }
    assert inside == intruders
    assert len({one.who for one in scenes.truth(scene)}) > len(intruders)


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.key)
def test_whoever_fires_stays_long_enough_to_be_confirmed(scene: Scene) -> None:
    for event in EVENTS[scene.key]:
        assert event.until_s - event.at_s >= 2.5
        assert (event.kind, event.label) == ("presence", "person")


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.key)
def test_nobody_is_in_the_picture_where_the_round_begins_again(scene: Scene) -> None:
    shown = {round(one.t_s * scene.fps) for one in scenes.truth(scene)}
    assert not shown & {0, 1, scene.frames - 2, scene.frames - 1}


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.key)
def test_its_truth_lies_within_the_picture(scene: Scene) -> None:
    for one in scenes.truth(scene):
        x1, y1, x2, y2 = one.xyxy
        assert 0 <= x1 < x2 <= 1 and 0 <= y1 < y2 <= 1


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.key)
def test_nobody_jumps_and_nobody_appears_in_the_middle(scene: Scene) -> None:
    paths: dict[str, list[scenes.Seen]] = defaultdict(list)
    for one in scenes.truth(scene):
        paths[one.who].append(one)
    for path in paths.values():
        feet = np.array([((one.xyxy[0] + one.xyxy[2]) / 2, one.xyxy[3]) for one in path])
        assert np.abs(np.diff(feet, axis=0)).max() < 0.09
        for end in (path[0], path[-1]):
            x1, y1, x2, y2 = end.xyxy
            assert min(x1, y1, 1 - x2, 1 - y2) < 0.02, f"{end.who} is at {end.xyxy} at {end.t_s} s"


def test_the_drone_hovers_while_its_zone_is_entered_and_returns_to_where_it_was() -> None:
    (event,) = EVENTS["drone"]
    places = {scenes.corner(DRONE, t_s) for t_s in np.arange(event.at_s - 3, event.until_s + 3, 0.1)}
    assert places == {scenes.corner(DRONE, 0.0)}
    assert scenes.corner(DRONE, DRONE.length_s - 0.1) == scenes.corner(DRONE, 0.0)


def test_the_drone_glides_gently() -> None:
    corners = np.array([scenes.corner(DRONE, frame / DRONE.fps) for frame in range(DRONE.frames)])
    steps = np.abs(np.diff(corners, axis=0)).max()
    assert 0 < steps < 1.0


def test_an_unknown_scene_is_named_with_those_there_are() -> None:
    with pytest.raises(ValueError, match="expected one of campus, gate, yard, drone, got 'harbour'"):
        scenes.scene("harbour")


# What a walker may do besides walking


def boxes_of(walk: Walk, seconds: float = 30.0) -> dict[float, scenes.Box]:
    """Where the one walker of a scene is, by time."""
    scene = dataclasses.replace(scenes.CAMPUS, script=(walk,), length_s=seconds)
    return {one.t_s: one.xyxy for one in scenes.truth(scene)}


def test_who_stands_keeps_his_place_and_goes_on_from_it() -> None:
    walks, stands = boxes_of(Walk("red", 0.0)), boxes_of(Walk("red", 0.0, stand_at=40, stand_s=5.0))
    assert {stands[t_s] for t_s in np.arange(4.0, 9.1, 0.5).round(1)} == {walks[4.0]}
    assert stands[12.0] == walks[7.0]


def test_who_returns_goes_back_the_way_he_came() -> None:
    walks, turns = boxes_of(Walk("red", 0.0)), boxes_of(Walk("red", 0.0, stand_at=40, stand_s=1.0, returns=True))
    assert turns[6.0] == walks[3.0]
    assert max(turns) < 9.1


def test_who_goes_back_to_front_begins_at_the_end() -> None:
    walks, back = boxes_of(Walk("red", 0.0)), boxes_of(Walk("red", 0.0, back=True))
    assert back[min(back)] == walks[max(walks)]


def test_who_lies_is_as_wide_as_he_was_tall_and_gets_up_again() -> None:
    walks, lies = boxes_of(Walk("red", 0.0)), boxes_of(Walk("red", 0.0, stand_at=40, stand_s=6.0, lies=True))
    (x1, y1, x2, y2), (left, top, right, bottom) = walks[4.0], lies[7.0]
    assert (right - left) * 640 == pytest.approx((y2 - y1) * 480, abs=0.5)
    assert (bottom - top) * 480 == pytest.approx((x2 - x1) * 640, abs=0.5)
    assert bottom == y2
    assert lies[10.0] == walks[4.0]


def test_a_prop_moves_evenly_and_is_only_there_in_its_time() -> None:
    van = scenes.Prop("van", (scenes.Stand(2.0, 300, 300, 60), scenes.Stand(4.0, 400, 340, 80)))
    scene = dataclasses.replace(scenes.CAMPUS, script=(), props=(van,), length_s=6.0)
    seen = {one.t_s: one for one in scenes.truth(scene)}
    assert (min(seen), max(seen)) == (2.0, 3.9)
    x1, y1, x2, y2 = seen[3.0].xyxy
    assert ((x1 + x2) / 2 * 640 + 100, y2 * 480 + 96) == pytest.approx((350, 320))
    assert (y2 - y1) * 480 == pytest.approx(70)
    assert scenes.label(seen[3.0].who) == "car"


def test_what_is_drawn_of_a_walker_who_lies_is_where_the_truth_says(footage: scenes.Footage) -> None:
    walk = Walk("red", 0.0, stand_at=40, stand_s=6.0, lies=True)
    scene = dataclasses.replace(scenes.CAMPUS, script=(walk,), length_s=12.0)
    changed = np.abs(Stage(scene, footage).picture(75)[:480].astype(int) - Stage(scene, footage).picture(0)[:480]) > 40
    rows, columns = np.flatnonzero(changed.any(axis=1)), np.flatnonzero(changed.any(axis=0))
    drawn = (columns[0] / 640, rows[0] / 480, (columns[-1] + 1) / 640, (rows[-1] + 1) / 480)
    assert _iou(boxes_of(walk)[7.5], drawn) > 0.7


@pytest.mark.parametrize("kind", ["dark", "covered", "blurred", "lorry"])
def test_a_fault_is_in_the_picture_in_its_time_only(kind: str, footage: scenes.Footage) -> None:
    fault = scenes.Fault(kind, 2.0, 4.0)  # type: ignore[arg-type]
    scene = dataclasses.replace(scenes.CAMPUS, script=(), faults=(fault,), length_s=6.0)
    stage = Stage(scene, footage)
    well = stage.picture(10)
    assert np.array_equal(stage.picture(40), well)
    assert np.abs(stage.picture(30).astype(int) - well).mean() > 3


def test_a_frozen_sensor_gives_the_same_picture_again(footage: scenes.Footage) -> None:
    walk, fault = Walk("red", 0.0), scenes.Fault("frozen", 2.0, 4.0)
    stage = Stage(dataclasses.replace(scenes.CAMPUS, script=(walk,), faults=(fault,), length_s=6.0), footage)
    assert np.array_equal(stage.picture(39), stage.picture(20))
    assert not np.array_equal(stage.picture(40), stage.picture(20))


# The pictures


def test_the_empty_place_has_nobody_in_it(footage: scenes.Footage) -> None:
    assert footage.empty.shape == (576, 768, 3)
    # Where most people walk the tarmac is smooth.
    road = footage.empty[290:330, 560:700].astype(np.float32)
    assert road.std(axis=(0, 1)).max() < 16


def test_the_same_picture_is_drawn_every_time(footage: scenes.Footage) -> None:
    first, again = Stage(SHORT, footage), Stage(SHORT, footage)
    for frame in (0, 20, 45):
        assert np.array_equal(first.picture(frame), again.picture(frame))
    assert np.array_equal(first.picture(20), again.picture(20))


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.key)
def test_what_is_drawn_changes_only_where_somebody_is(scene: Scene, footage: scenes.Footage) -> None:
    stage = Stage(dataclasses.replace(scene, path=()), footage)
    (event,) = EVENTS[scene.key]
    frame = round((event.at_s + event.until_s) / 2 * scene.fps)
    height = scene.size[1]
    # The grain repeats every five pictures: compare with an empty picture of the same grain.
    change = np.abs(stage.picture(frame)[:height].astype(int) - stage.picture(frame % 5)[:height].astype(int)) > 12
    boxes = [one.xyxy for one in scenes.truth(scene) if round(one.t_s * scene.fps) == frame]
    inside = np.zeros_like(change)
    for x1, y1, x2, y2 in boxes:
        left, right = int((x1 - 0.04) * scene.size[0]), int((x2 + 0.04) * scene.size[0])
        inside[max(0, int((y1 - 0.04) * height)) : int((y2 + 0.04) * height), max(0, left) : right] = True
    assert change[inside].sum() > 500
    assert not change[~inside].any()


def test_a_video_has_its_truth_beside_it_and_tells_how_far_it_is(tmp_path: Path, footage: scenes.Footage) -> None:
    told: list[float] = []
    scenes.render(SHORT, tmp_path / "short.mp4", told.append, footage)
    assert told[-1] == 1.0 and told == sorted(told)
    with av.open(str(tmp_path / "short.mp4")) as container:
        stream = container.streams.video[0]
        assert (stream.width, stream.height, stream.frames) == (640, 480, SHORT.frames)
        assert stream.codec_context.name == "h264"
        packets = [packet for packet in container.demux(stream) if packet.size]
    assert [packet.is_keyframe for packet in packets].count(True) == SHORT.frames // scenes.GOP_FRAMES
    assert [packet.pts for packet in packets] == sorted(packet.pts for packet in packets if packet.pts is not None)
    truth = msgspec.json.decode((tmp_path / "short.json").read_bytes(), type=Recorded)
    assert truth == scenes.recorded(SHORT)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["short.json", "short.mp4"]


def test_a_second_start_draws_nothing_and_clears_away_other_versions(tmp_path: Path) -> None:
    old = [tmp_path / "gate-0123456789abcdef.mp4", tmp_path / "gate-0123456789abcdef.json"]
    for path in old:
        path.write_bytes(b"")
    told: list[str] = []
    first = scenes.prepare(tmp_path, [SHORT], lambda title, share: told.append(title))
    assert told and not any(path.exists() for path in old)
    written = first["gate"].stat().st_mtime_ns
    told.clear()
    assert scenes.prepare(tmp_path, [SHORT], lambda title, share: told.append(title)) == first
    assert not told and first["gate"].stat().st_mtime_ns == written


def test_a_video_that_cannot_be_finished_leaves_nothing_behind(tmp_path: Path, footage: scenes.Footage) -> None:
    def stop(share: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        scenes.render(SHORT, tmp_path / "short.mp4", stop, footage)
    assert not list(tmp_path.iterdir())


# What is found in them

FOUND_SCORE, FOUND_IOU, LEAST_PX = 0.3, 0.5, 30


def _iou(a: scenes.Box, b: scenes.Box) -> float:
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    shared = max(0.0, width) * max(0.0, height)
    return shared / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared)


@pytest.mark.slow
@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.key)
def test_the_shipped_detector_finds_nine_of_ten_walkers(scene: Scene, footage: scenes.Footage) -> None:
    """A person's box of score ≥ 0.3 that covers him (IoU ≥ 0.5), in the pictures in which he is ≥ 30 px high."""
    registry = pytest.importorskip("detectors.registry")
    import cv2

    card = registry.load_card(registry.DEFAULT_CARD)
    backend = registry.make_backend(card.backend)
    backend.load(registry.model_path(card), card)
    stage, found, asked = Stage(scene, footage), 0, 0
    seen: dict[int, list[scenes.Seen]] = defaultdict(list)
    for one in scenes.truth(scene):
        if (one.xyxy[3] - one.xyxy[1]) * scene.size[1] >= LEAST_PX:
            seen[round(one.t_s * scene.fps)].append(one)
    # The detector looks at five pictures a second.
    for frame in sorted(seen)[::2]:
        (boxes,) = backend.infer([cv2.cvtColor(stage.picture(frame), cv2.COLOR_YUV2BGR_I420)])
        good = [
            box.tolist()
            for box, score, label in zip(boxes.xyxy, boxes.score, boxes.label, strict=True)
            if label == "person" and score >= FOUND_SCORE
        ]
        asked += len(seen[frame])
        found += sum(any(_iou(one.xyxy, box) >= FOUND_IOU for box in good) for one in seen[frame])
    assert found / asked >= 0.9, f"{scene.key}: found in {found} of {asked}"


# The wire


@pytest.mark.parametrize(
    ("transport", "channel"),
    [
        ("RTP/AVP/TCP;unicast;interleaved=0-1", 0),
        ("RTP/AVP/TCP;unicast;interleaved=4-5", 4),
        ("RTP/AVP/TCP;unicast", 0),
        ("RTP/AVP;unicast;client_port=5000-5001", None),
        ("RTP/AVP/TCP;interleaved=900-901", None),
        ("", None),
    ],
)
def test_only_tcp_is_offered(transport: str, channel: int | None) -> None:
    assert channel_of(transport) == channel


@pytest.mark.parametrize("size", [1, PAYLOAD_BYTES, PAYLOAD_BYTES + 1, 10 * PAYLOAD_BYTES])
def test_a_unit_cut_into_fragments_can_be_put_together_again(size: int) -> None:
    unit = bytes([0x65]) + bytes(np.random.default_rng(size).integers(0, 256, size - 1, np.uint8))
    parts = payloads(unit)
    assert all(len(part) <= PAYLOAD_BYTES for part in parts)
    if len(parts) == 1:
        assert parts == [unit]
        return
    assert [part[1] >> 6 for part in parts] == [2, *[0] * (len(parts) - 2), 1]
    header = bytes([(parts[0][0] & 0xE0) | (parts[0][1] & 0x1F)])
    assert header + b"".join(part[2:] for part in parts) == unit


def test_units_stand_behind_their_length() -> None:
    assert units(b"\0\0\0\x02ab\0\0\0\x01c") == [b"ab", b"c"]


def test_parameter_sets_are_read_or_refused() -> None:
    record = b"\x01\x42\x00\x1e\xff\xe1\x00\x03abc\x01\x00\x02de"
    assert parameter_sets(record) == (b"abc", b"de")
    with pytest.raises(ValueError, match="parameter sets"):
        parameter_sets(b"")


def test_requests_are_read_in_any_pieces_between_reports() -> None:
    data = b"$\x01\x00\x03xyz" + b"OPTIONS rtsp://h/a RTSP/1.0\r\nCSeq: 1\r\n\r\n$\x01\x00\x00"
    data += b"SET_PARAMETER rtsp://h/a RTSP/1.0\r\nCSeq: 2\r\nContent-Length: 2\r\n\r\nab"
    for step in (1, 7, len(data)):
        inbox = Inbox()
        got = [request for at in range(0, len(data), step) for request in inbox.feed(data[at : at + step])]
        assert [(one.method, one.headers["cseq"]) for one in got] == [("OPTIONS", "1"), ("SET_PARAMETER", "2")]


@pytest.mark.parametrize(
    "data",
    [b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01" * 9000, b"A rtsp://h RTSP/1.0\r\nContent-Length: 99999999\r\n\r\n"],
)
def test_what_is_no_request_is_refused(data: bytes) -> None:
    with pytest.raises(BadRequest):
        list(Inbox().feed(data))


def test_an_answer_carries_the_number_of_its_request() -> None:
    (request,) = Inbox().feed(b"OPTIONS * RTSP/1.0\r\nCSeq: 17\r\n\r\n")
    assert reply(request, "200 OK") == b"RTSP/1.0 200 OK\r\nCSeq: 17\r\n\r\n"


# The cameras, over real sockets


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory, footage: scenes.Footage) -> Path:
    path = tmp_path_factory.mktemp("clip") / "short.mp4"
    scenes.render(dataclasses.replace(SHORT, length_s=4.0, script=(Walk("red", 0.0, dy=-95),)), path, None, footage)
    return path


@pytest.fixture
async def server(clip: Path) -> AsyncIterator[Server]:
    async with Server({"gate": Movie.open(clip, "Gate")}) as running:
        yield running


def _watch(url: str, for_s: float) -> tuple[list[float], list[float]]:
    """Times in the stream and moments of arrival of every picture in ``for_s`` seconds after the first."""
    stamps, arrivals = [], []
    options = {"rtsp_transport": "tcp", "analyzeduration": "200000", "fpsprobesize": "0"}
    with av.open(url, options=options, timeout=10) as container:
        for frame in container.decode(video=0):
            arrivals.append(time.monotonic())
            if frame.pts is not None:
                stamps.append(float(frame.pts * frame.time_base))
            if arrivals[-1] - arrivals[0] > for_s:
                return stamps, arrivals
    return stamps, arrivals


@pytest.mark.rtsp
async def test_two_watch_at_once_over_the_end_of_the_film(server: Server) -> None:
    url = server.url("gate")
    both = await asyncio.gather(*(asyncio.to_thread(_watch, url, 7.0) for _ in range(2)))
    for stamps, arrivals in both:
        assert len(arrivals) > 60
        steps = np.diff(stamps)
        assert np.allclose(steps, 0.1, atol=0.002), "time goes on evenly where the film begins again"


@pytest.mark.rtsp
async def test_who_connects_again_goes_on_with_the_present(server: Server) -> None:
    camera = server.cameras["gate"]
    await asyncio.to_thread(_watch, server.url("gate"), 0.5)
    before = camera.next_begin()[1]
    await asyncio.sleep(2.1)
    after = camera.next_begin()[1]
    assert 2.0 * 90_000 <= (after - before) % 2**32 <= 4.0 * 90_000


@pytest.mark.rtsp
async def test_one_that_does_not_read_is_cut_off_and_the_others_go_on(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streams.demo_cameras.UNSENT_BYTES", 20_000)
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port, limit=1024)
    url = server.url("gate")
    for number, line in enumerate(
        (f"SETUP {url}/track RTSP/1.0\r\nTransport: RTP/AVP/TCP;interleaved=0-1", f"PLAY {url} RTSP/1.0"), 1
    ):
        writer.write(f"{line}\r\nCSeq: {number}\r\n\r\n".encode())
        assert b"200 OK" in await reader.readuntil(b"\r\n\r\n")
    writer.transport.pause_reading()  # type: ignore[attr-defined]
    camera = server.cameras["gate"]
    (lazy,) = camera.watchers
    # What the kernel takes on loopback is megabytes; fill it, as hours of a film would.
    for _ in range(400):
        lazy.take(b"\0" * 65536)
        if not camera.watchers:
            break
    assert not camera.watchers
    _, arrivals = await asyncio.to_thread(_watch, url, 1.0)
    assert len(arrivals) >= 8
    writer.close()


@pytest.mark.rtsp
@pytest.mark.parametrize(
    ("request_line", "status"),
    [
        ("DESCRIBE rtsp://127.0.0.1/nowhere RTSP/1.0", "404 Not Found"),
        ("SETUP rtsp://127.0.0.1/gate/track RTSP/1.0\r\nTransport: RTP/AVP;client_port=5000-5001", "461"),
        ("PLAY rtsp://127.0.0.1/gate RTSP/1.0", "455"),
        ("RECORD rtsp://127.0.0.1/gate RTSP/1.0", "501"),
        ("GET_PARAMETER rtsp://127.0.0.1/gate RTSP/1.0", "200 OK"),
        ("nonsense", "400 Bad Request"),
    ],
)
async def test_it_answers_what_it_cannot_do(server: Server, request_line: str, status: str) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(f"{request_line}\r\nCSeq: 5\r\n\r\n".encode())
    answer = await reader.readuntil(b"\r\n\r\n")
    assert status.encode() in answer.splitlines()[0]
    writer.close()


@pytest.mark.rtsp
@pytest.mark.slow
def test_the_process_draws_plays_tells_its_epoch_and_stops(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "streams.demo_cameras", "--data", str(tmp_path), "--port", "0"],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        lines = _lines_until(process, "cameras:", 300)
        assert lines[-2].strip() == "drawing 4 films: 100%"
        told = msgspec.json.decode((tmp_path / "demo.json").read_bytes(), type=Broadcast)
        assert [station.key for station in told.cameras] == [scene.key for scene in SCENES]
        assert 0 <= (datetime.now(UTC) - told.epoch_at).total_seconds() < 30
        for station in told.cameras:
            truth = msgspec.json.decode(Path(station.truth).read_bytes(), type=Recorded)
            assert truth.events == EVENTS[station.key]
        _, arrivals = _watch(told.cameras[0].url, 1.0)
        assert len(arrivals) >= 8
        process.terminate()
        assert process.wait(5) == 0
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        process.wait()


def _lines_until(process: subprocess.Popen[str], start: str, within_s: float) -> list[str]:
    assert process.stdout is not None
    timer = threading.Timer(within_s, process.kill)
    timer.start()
    lines: list[str] = []
    for line in process.stdout:
        lines.append(line)
        if line.startswith(start):
            timer.cancel()
            return lines
    raise AssertionError(f"expected a line {start!r} within {within_s} s, got {lines[-5:]}")


def test_a_film_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "broken.mp4").write_bytes(b"not a film")
    with pytest.raises((ValueError, av.error.InvalidDataError)):
        Movie.open(tmp_path / "broken.mp4", "Broken")
