"""Opening cameras: what each kind of wrong server is called, and that no log-in shows in any of it."""

from __future__ import annotations

import socket
import subprocess
import time
import traceback
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.video.stream import VideoStream

from monitor.instance import free_port
from streams.addresses import Address, check_address
from streams.picture import Bytes2d
from streams.problems import (
    Ended,
    NotFound,
    NotRtsp,
    NoVideo,
    Redirected,
    Refused,
    Stalled,
    StreamProblem,
    Unreachable,
    WrongPassword,
)
from streams.rtsp import (
    READ_S,
    Announced,
    Arrival,
    Stream,
    announced,
    authorization,
    open_stream,
    parse_head,
    planes_of,
    preflight,
    prepare,
)
from tests.services.capture import REDIRECT, WEB_PAGE, BadServer
from tests.services.rtsp import PYTHON, RtspServers

OK = b"RTSP/1.0 200 OK\r\nCSeq: {cseq}\r\n\r\n"
NO_VIDEO = b"RTSP/1.0 200 OK\r\nCSeq: {cseq}\r\nContent-Length: 24\r\n\r\nv=0\r\nm=audio 0 RTP/AVP 0"


def here(port: int, path: str = "/cam0") -> Address:
    return check_address(f"rtsp://127.0.0.1:{port}{path}", allow=frozenset({("127.0.0.1", port)}))


def take(stream: Stream, count: int) -> list[Arrival]:
    """The first ``count`` arrivals that brought pictures."""
    found: list[Arrival] = []
    for arrival in stream.read():
        found += [arrival] if arrival.frames else []
        if len(found) == count:
            break
    return found


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"RTSP/1.0 200 OK\r\nCSeq: 1", 200),
        (b"RTSP/2.0 404 Stream Not Found\r\n", 404),
        (b"RTSP/1.0 302 \r\n", 302),
        (b"RTSP/1.0 500", 500),
    ],
)
def test_it_reads_the_status(head: bytes, status: int) -> None:
    assert parse_head(head).status == status


@pytest.mark.parametrize(
    "head", [b"", b"HTTP/1.1 200 OK", b"RTSP/1.0 abc", b"RTSP/1.0", b"SSH-2.0-OpenSSH_9", b"\xff\x00"]
)
def test_what_speaks_otherwise_is_not_rtsp(head: bytes) -> None:
    with pytest.raises(NotRtsp):
        parse_head(head)


def test_it_keeps_repeated_headers_in_order() -> None:
    reply = parse_head(b"RTSP/1.0 401 No\r\nWWW-Authenticate: Digest a=b\r\nwww-authenticate:Basic")
    assert reply.all("www-authenticate") == ["Digest a=b", "Basic"]


DIGEST = 'Digest realm="testrealm@host.com", nonce="dcd98b7102dd2f0e8b11d0f600bfb0c093", opaque="5ccc069c403ebaf9"'


@pytest.mark.parametrize(
    ("challenges", "contains"),
    [
        (["Basic realm=x"], "Basic TXVmYXNhOkNpcmNsZU9mTGlmZQ=="),
        # Source: RFC 2069, section 2.4, with the response as corrected by its erratum 749.
        ([DIGEST], 'response="1949323746fe6a43ef61f9606e7febea"'),
        (["Basic realm=x", DIGEST], 'response="1949323746fe6a43ef61f9606e7febea"'),
        ([DIGEST + ', qop="auth,auth-int"'], 'qop=auth, nc=00000001, cnonce="dcd98b71"'),
    ],
)
def test_it_answers_the_strongest_challenge_it_knows(challenges: list[str], contains: str) -> None:
    answer = authorization(challenges, "Mufasa", "CircleOfLife", "GET", "/dir/index.html")
    assert answer is not None
    assert contains in answer


@pytest.mark.parametrize("challenges", [[], ["Bearer x"], ['Digest realm="r", nonce="n", algorithm=SHA-256']])
def test_it_leaves_challenges_it_does_not_know(challenges: list[str]) -> None:
    assert authorization(challenges, "u", "p", "DESCRIBE", "rtsp://x/") is None


@pytest.mark.parametrize(
    ("description", "expected"),
    [
        ("v=0\r\nm=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\n", Announced("H264")),
        ("m=audio 0 RTP/AVP 0\r\nm=video 5000 RTP/AVP 98 99\r\na=rtpmap:98 H265/90000", Announced("H265", sound=True)),
        ("m=video 0 RTP/AVP 26\n", Announced("JPEG")),
        ("m=video 0 RTP/AVP 96\r\na=rtpmap:97 H264/90000", Announced()),
        ("m=video 0 RTP/AVP 96\r\na=rtpmap:96 <b>evil</b>/90000", Announced()),
        ("m=video 0 RTP/AVP 96\r\na=rtpmap:96 " + "x" * 21 + "/90000", Announced()),
    ],
)
def test_the_description_names_codec_and_sound(description: str, expected: Announced) -> None:
    assert announced(description) == expected


@pytest.mark.parametrize("description", ["", "m=audio 0 RTP/AVP 0", " m=video 0 RTP/AVP 96"])
def test_a_description_without_video_is_said(description: str) -> None:
    with pytest.raises(NoVideo):
        announced(description)


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (REDIRECT % b"rtsp://127.0.0.9/live", Redirected),
        (WEB_PAGE, NotRtsp),
        (b"SSH-2.0-OpenSSH_9.2\r\n", NotRtsp),
        (b"RTSP/1.0 404 Not Found\r\nCSeq: {cseq}\r\n\r\n", NotFound),
        (b"RTSP/1.0 401 Unauthorized\r\nCSeq: {cseq}\r\nWWW-Authenticate: Basic realm=x\r\n\r\n", WrongPassword),
        (b"RTSP/1.0 403 Forbidden\r\nCSeq: {cseq}\r\n\r\n", WrongPassword),
        (b"RTSP/1.0 503 Service Unavailable\r\nCSeq: {cseq}\r\n\r\n", StreamProblem),
        (b"RTSP/1.0 200 OK\r\nContent-Length: 99999999\r\n\r\n", NotRtsp),
        (b"RTSP/" + b"x" * 20_000, NotRtsp),
        (NO_VIDEO, NoVideo),
        (OK, NoVideo),
    ],
)
def test_each_wrong_server_has_its_word(
    bad_servers: type[BadServer], answer: bytes, problem: type[StreamProblem]
) -> None:
    server = bad_servers(answer=answer)
    with pytest.raises(StreamProblem) as raised:
        preflight(here(server.port), "alice", "canary-4711")
    assert type(raised.value) is problem
    assert str(raised.value).startswith(f"127.0.0.1:{server.port}: ")


def test_nobody_there_is_refused_and_silence_is_unreachable(bad_servers: type[BadServer]) -> None:
    with pytest.raises(Refused):
        preflight(here(free_port()))
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(Unreachable):
        preflight(here(silent.getsockname()[1]), timeout_s=0.3)


def test_a_redirect_is_not_followed_and_its_target_never_hears_of_us(bad_servers: type[BadServer]) -> None:
    target = bad_servers(answer=OK)
    for answer in (REDIRECT % target.url().encode(), OK[:-2] + b"Location: " + target.url().encode() + b"\r\n\r\n"):
        server = bad_servers(answer=answer)
        with pytest.raises(StreamProblem):
            open_stream(here(server.port))
    assert target.connections == 0


def test_a_redirect_after_the_log_in_is_not_followed_either() -> None:
    target = socket.create_server(("127.0.0.1", 0))
    target.settimeout(0.3)
    location = f"rtsp://127.0.0.1:{target.getsockname()[1]}/"
    challenge = b'RTSP/1.0 401 Unauthorized\r\nWWW-Authenticate: Digest realm="r", nonce="n"\r\n\r\n'

    class AfterLogIn(BadServer):
        def _recite(self, client: socket.socket, number: int) -> None:
            with client:
                while data := client.recv(4096):
                    moved = REDIRECT.replace(b"{cseq}", b"3") % location.encode()
                    client.sendall(moved if b"Authorization" in data else challenge)

    server = AfterLogIn(answer=b"")
    with pytest.raises(Redirected):
        open_stream(here(server.port), "alice", "secret")
    with pytest.raises(TimeoutError):
        target.accept()
    server.close()
    target.close()


SOUNDING = """
import sys, gi
gi.require_version("Gst", "1.0"); gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer
Gst.init(None)
factory = GstRtspServer.RTSPMediaFactory()
factory.set_launch(
    "( videotestsrc is-live=true ! video/x-raw,format=I420,width=320,height=240,framerate=10/1 ! valve name=v"
    " ! x264enc tune=zerolatency sliced-threads=false key-int-max=10 ! rtph264pay name=pay0 pt=96 config-interval=-1"
    " audiotestsrc is-live=true ! alawenc ! rtppcmapay name=pay1 pt=8 )"
)
def close(media):
    valve = media.get_element().get_by_name("v")
    GLib.timeout_add(3000, lambda: valve.set_property("drop", True))
factory.connect("media-configure", lambda _, media: close(media))
server = GstRtspServer.RTSPServer()
server.set_address("127.0.0.1"); server.set_service(sys.argv[1])
server.get_mount_points().add_factory("/cam0", factory)
server.attach(None)
print("ready", flush=True)
GLib.MainLoop().run()
"""
"""A camera with pictures and sound, whose pictures cease after 3 s."""


@pytest.fixture
def sounding_camera() -> Iterator[int]:
    port = free_port()
    process = subprocess.Popen([PYTHON, "-c", SOUNDING, str(port)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    yield port
    process.kill()
    process.wait()
    process.stdout.close()


@pytest.mark.rtsp
class TestRealServer:
    """A real camera server."""

    def test_it_gives_pictures_in_order(self, rtsp_servers: RtspServers) -> None:
        server = rtsp_servers()
        with open_stream(here(server.port)) as stream:
            arrivals = take(stream, 20)
        pts = [frame.pts for arrival in arrivals for frame in arrival.frames if frame.pts is not None]
        assert pts == sorted(set(pts))
        planes = planes_of(arrivals[0].frames[0])
        assert planes.wh == (640, 360)
        assert int(planes.y.max()) - int(planes.y.min()) > 50

    def test_it_logs_in_and_says_when_it_cannot(self, rtsp_servers: RtspServers) -> None:
        server = rtsp_servers(user="alice", password="p@s:s/é")
        with open_stream(here(server.port), "alice", "p@s:s/é") as stream:
            assert take(stream, 1)
        for user, password in (("alice", "canary-4711"), ("", ""), ("bob", "p@s:s/é")):
            with pytest.raises(WrongPassword):
                open_stream(here(server.port), user, password)

    def test_no_text_of_a_failure_holds_the_log_in(self, rtsp_servers: RtspServers) -> None:
        server = rtsp_servers(user="alice", password="canary-4711")
        for path, password in (("/nope", "canary-4711"), ("/cam0", "canary-0815")):
            with pytest.raises(StreamProblem) as raised:
                open_stream(here(server.port, path), "alice", password)
            text = "".join(traceback.format_exception(raised.value)) + repr(raised.value) + repr(vars(raised.value))
            assert "canary" not in text
            assert raised.value.__cause__ is None

    def test_a_path_it_does_not_know_is_not_found(self, rtsp_servers: RtspServers) -> None:
        with pytest.raises(NotFound):
            open_stream(here(rtsp_servers().port, "/nope"))

    def test_a_camera_that_dies_has_ended(self, rtsp_servers: RtspServers) -> None:
        server = rtsp_servers()
        with open_stream(here(server.port)) as stream:
            take(stream, 2)
            server.stop()
            with pytest.raises(Ended):
                take(stream, 10_000)

    @pytest.mark.slow
    def test_a_camera_that_hangs_has_stalled(self, rtsp_servers: RtspServers) -> None:
        server = rtsp_servers()
        with open_stream(here(server.port)) as stream:
            take(stream, 2)
            server.freeze()
            with pytest.raises(Stalled):
                take(stream, 10_000)

    @pytest.mark.slow
    def test_a_camera_whose_sound_goes_on_without_pictures_has_stalled(
        self, rtsp_servers: RtspServers, sounding_camera: int
    ) -> None:
        with open_stream(here(sounding_camera)) as stream:
            assert take(stream, 2)
            began_s = time.monotonic()
            with pytest.raises(Stalled):
                take(stream, 10_000)
            assert time.monotonic() - began_s < 3 + 2 * READ_S + 3

    def test_damage_is_counted_and_shows_nothing(self, rtsp_servers: RtspServers, bad_servers: type[BadServer]) -> None:
        damaged = bad_servers(camera_port=rtsp_servers().port, damaged_share=1.0)
        shown = 0
        with open_stream(here(damaged.port)) as stream:
            for count, arrival in enumerate(stream.read()):
                shown += len(arrival.frames)
                if count == 60:
                    break
            assert stream.corrupt >= 1
        assert shown == 0

    def test_while_nothing_is_decoded_packets_still_come(self, rtsp_servers: RtspServers) -> None:
        with open_stream(here(rtsp_servers().port)) as stream:
            stream.decoding = False
            arrivals = stream.read()
            assert all(not next(arrivals).frames for _ in range(10))
            stream.decoding = True
            first = next(arrival.frames[0] for arrival in arrivals if arrival.frames)
            assert first.key_frame


@pytest.fixture
def made_frame() -> Iterator[av.VideoFrame]:
    frame = av.VideoFrame.from_ndarray(np.full((90, 128, 3), 200, np.uint8), format="bgr24")
    frame.time_base = Fraction(1, 90_000)
    yield frame


@pytest.mark.parametrize("layout", ["yuv420p", "yuvj420p", "yuv422p", "nv12", "gray", "bgr24"])
def test_every_layout_comes_out_as_planes(made_frame: av.VideoFrame, layout: str) -> None:
    planes = planes_of(made_frame.reformat(format=layout))
    assert planes.wh == (128, 90)
    expected = 200 if planes.full_range else 188
    assert int(planes.y.mean()) == pytest.approx(expected, abs=3)
    assert int(planes.u.mean()) == pytest.approx(128, abs=2)


def written(file: Path, wh: tuple[int, int]) -> Path:
    """Three coarse pictures of blocks: the loop filter has much to smooth."""
    blocks = np.random.default_rng(5).integers(0, 255, (3, wh[1] // 8, wh[0] // 8, 3), np.uint8)
    with av.open(str(file), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": "40", "preset": "ultrafast", "deblock": "1"})
        stream.width, stream.height, stream.pix_fmt = *wh, "yuv420p"
        for picture in blocks.repeat(8, axis=1).repeat(8, axis=2):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), "rgb24")))
        container.mux(stream.encode())
    return file


def decoded(file: Path, prepare: Callable[[VideoStream], None]) -> list[Bytes2d]:
    with av.open(str(file)) as container:
        prepare(container.streams.video[0])
        return [planes_of(frame).y.copy() for frame in container.decode(video=0)]


@pytest.mark.parametrize(("wh", "as_meant"), [((1280, 720), False), ((640, 480), True)])
def test_only_large_pictures_are_decoded_without_the_loop_filter(
    tmp_path: Path, wh: tuple[int, int], as_meant: bool
) -> None:
    file = written(tmp_path / "blocks.mp4", wh)
    ours, meant = decoded(file, prepare), decoded(file, lambda _: None)
    assert len(ours) == len(meant) == 3
    assert all(np.array_equal(a, b) for a, b in zip(ours, meant, strict=True)) == as_meant


def test_av_open_has_one_caller() -> None:
    root = Path(__file__).resolve().parents[2]
    command = ["grep", "-rlE", r"av\.open\(|VideoCapture\(", "--include=*.py", *PACKAGES]
    found = subprocess.run(command, cwd=root, capture_output=True, text=True).stdout.split()
    films = (
        "streams/scenes/cutouts.py",
        "streams/scenes/files.py",
        "streams/demo_cameras.py",
        "streams/videos.py",
    )
    opening_cameras = [name for name in found if name not in films]
    assert opening_cameras == ["streams/rtsp.py"]


PACKAGES = ["streams", "detectors", "alerts", "frontend", "monitor"]
