"""Cameras that hang, refuse, or send rubbish, beside cameras that are well: nobody else may notice.

Everything is real: RTSP servers, a capture child or the whole capture process, and a log on Valkey.
"""

from __future__ import annotations

import itertools
import time
from pathlib import Path

import pytest

from streams.frame import Frame
from tests.services.capture import CaptureChildren, LogReader, camera
from tests.services.rtsp import RtspServers, eventually

pytestmark = [pytest.mark.rtsp, pytest.mark.valkey]

BEFORE_S, AFTER_S = 6.0, 12.0


def _rate(frames: list[Frame], seconds: float) -> float:
    return len(frames) / seconds


def _largest_gap_s(frames: list[Frame]) -> float:
    times = [frame.captured_at for frame in frames]
    return max((b - a).total_seconds() for a, b in itertools.pairwise(times))


def test_it_keeps_the_others_rate_while_one_hangs_one_refuses_and_one_is_corrupt(
    rtsp_servers: RtspServers, bad_servers: type, capture_children: CaptureChildren, captured: LogReader
) -> None:
    well, hangs, locked = rtsp_servers(paths=2), rtsp_servers(), rtsp_servers(user="alice", password="right")
    source = rtsp_servers()
    corrupt = bad_servers(camera_port=source.port, damaged_share=0.2)
    first, second = camera(well.url(0), 0), camera(well.url(1), 1)
    hanging = camera(hangs.url(), 2)
    refusing = camera(locked.url(), 3, user="alice", password="wrong")
    damaged = camera(corrupt.url(), 4)
    child = capture_children([server.pair for server in (well, hangs, locked, source, corrupt)])
    child.order(first, second, hanging)
    assert eventually(lambda: all(captured.frames(config) for config in (first, second, hanging)), 20)

    time.sleep(BEFORE_S)
    counted = {config.uid: len(captured.frames(config)) for config in (first, second)}
    began_s = time.monotonic()
    hangs.freeze()
    child.order(first, second, hanging, refusing, damaged)
    blind = {}

    def all_blind() -> bool:
        for config in (hanging, refusing, damaged):
            states = captured.states(config)
            if config.uid not in blind and states and states[-1].state == "blind":
                blind[config.uid] = (time.monotonic() - began_s, states[-1].reason)
        return len(blind) == 3

    assert eventually(all_blind, AFTER_S, every_s=0.25), child.said()
    assert blind[hanging.uid][0] <= 10
    assert blind[hanging.uid][1] == "stalled"
    assert blind[refusing.uid][1] == "wrong-password"
    assert blind[damaged.uid][1] == "corrupt"
    time.sleep(max(0.0, AFTER_S - (time.monotonic() - began_s)))
    elapsed_s = time.monotonic() - began_s
    for config in (first, second):
        frames = captured.frames(config)
        assert _rate(frames[counted[config.uid] :], elapsed_s) == pytest.approx(5.0, rel=0.05)
        assert _largest_gap_s(frames) <= 1.0
        assert {frame.session for frame in frames} == {2**20 + 1}

    hangs.thaw()
    returned_s = time.monotonic()
    known = len(captured.frames(hanging))
    assert eventually(lambda: len(captured.frames(hanging)) > known, 15)
    assert time.monotonic() - returned_s <= 15
    assert captured.frames(hanging)[-1].session > 2**20 + 1


def test_it_says_offline_within_ten_seconds_of_a_camera_s_death_and_sees_again_after_its_return(
    rtsp_servers: RtspServers, capture_children: CaptureChildren, captured: LogReader
) -> None:
    server = rtsp_servers()
    config = camera(server.url())
    child = capture_children([server.pair])
    child.order(config)
    assert eventually(lambda: bool(captured.frames(config)), 20)

    server.stop()
    assert eventually(lambda: captured.states(config)[-1].state == "blind", 10), child.said()
    last = captured.frames(config)[-1]
    fact = captured.states(config)[-1]
    assert fact.reason == "refused"
    assert abs((fact.since_at - last.captured_at).total_seconds()) < 1.0

    server.start()
    assert eventually(lambda: captured.states(config)[-1].state != "blind", 15), child.said()
    assert captured.frames(config)[-1].session > last.session
    assert captured.frames(config)[-1].captured_at > last.captured_at


def test_no_log_in_shows_in_arguments_environment_or_log_lines(
    rtsp_servers: RtspServers, capture_children: CaptureChildren, captured: LogReader
) -> None:
    secret = "cañary@4711:x/y"
    server = rtsp_servers(user="alice", password=secret)
    right = camera(server.url(), 0, user="alice", password=secret)
    wrong_path = camera(server.url(9), 1, user="alice", password=secret)
    child = capture_children([server.pair])
    child.order(right, wrong_path)
    assert eventually(lambda: bool(captured.frames(right)), 20), child.said()
    assert eventually(lambda: "knows no stream" in child.said(), 10)

    folder = Path(f"/proc/{child.process.pid}")
    server.stop()
    assert eventually(lambda: captured.states(right)[-1].state == "blind", 12)
    told = [child.said(), (folder / "cmdline").read_text(), (folder / "environ").read_text()]
    for text in told:
        assert "4711" not in text
