"""A look at one address: real servers, real children; every reason that a person may be given."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest

from monitor.instance import free_port
from streams.probe import probe
from streams.probed import Probed, sentence
from streams.problems import SENTENCES, Trouble
from tests.services.capture import REDIRECT, WEB_PAGE, BadServer
from tests.services.rtsp import RtspServer, eventually
from tests.services.scripted import JPEG2000, ScriptedCamera, Sealed, WithoutKeyFrames

USER, PASSWORD = "alice", "cañary@quite:secret/y"
LEFT_HALF = [(0.0, 0.0), (0.5, 0.0), (0.5, 1.0), (0.0, 1.0)]
NO_VIDEO = b"RTSP/1.0 200 OK\r\nCSeq: {cseq}\r\nContent-Length: 24\r\n\r\nv=0\r\nm=audio 0 RTP/AVP 0"
BUSY = b"RTSP/1.0 503 Service Unavailable\r\nCSeq: {cseq}\r\n\r\n"

REASONS = [
    "unknown-host", "unreachable", "refused", "wrong-password", "not-found", "not-rtsp", "no-video", "codec",
    "redirected", "address-refused", "stalled", "ended", "corrupt", "no-key-frame", "failed",
]  # fmt: skip


@pytest.fixture(scope="module")
def looks(rtsp_tool: Path, shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, Probed]]:
    """One look at each kind of camera, five at a time, by the reason it should give; two that see, by name."""
    clip = shared / "footage" / "mix360.mp4"
    with contextlib.ExitStack() as servers:
        locked = RtspServer(rtsp_tool, clip, paths=2, user=USER, password=PASSWORD).start()
        servers.callback(locked.stop)

        def bad(server: BadServer | WithoutKeyFrames) -> str:
            servers.callback(server.close)
            ports.append(server.port)
            return f"rtsp://127.0.0.1:{server.port}/cam0"

        ports, nobody = [locked.port], free_port()
        silent = servers.enter_context(socket.create_server(("127.0.0.1", 0)))
        ports += [nobody, silent.getsockname()[1]]
        orders: dict[str, tuple[object, ...]] = {
            "stalled": (bad(ScriptedCamera()), "", "", 5.0),
            "no-key-frame": (bad(WithoutKeyFrames(clip)), "", "", 5.0),
            "corrupt": (bad(BadServer(camera_port=locked.port, damaged_share=1.0)), USER, PASSWORD, 5.0),
            "unreachable": (_url(silent.getsockname()[1]), "", "", 5.0),
            "good": (locked.url(), USER, PASSWORD),
            "rtsps": (
                bad(Sealed(locked.port, tmp_path_factory.mktemp("tls"))).replace("rtsp", "rtsps"),
                USER,
                PASSWORD,
            ),
            "wrong-password": (locked.url(), USER, "canary-0815"),
            "not-found": (locked.url(9), USER, PASSWORD),
            "codec": (bad(ScriptedCamera(JPEG2000)),),
            "ended": (bad(ScriptedCamera(hangs_up=True)),),
            "no-video": (bad(BadServer(answer=NO_VIDEO)),),
            "redirected": (bad(BadServer(answer=REDIRECT % b"rtsp://127.0.0.9/live")),),
            "not-rtsp": (bad(BadServer(answer=WEB_PAGE)),),
            "failed": (bad(BadServer(answer=BUSY)),),
            "refused": (_url(nobody),),
            "unknown-host": ("rtsp://camera.invalid/live",),
            "address-refused": ("rtsp://alice:quite-secret@127.0.0.1/live",),
        }
        with _allowed(ports), ThreadPoolExecutor(5) as pool:
            yield dict(zip(orders, pool.map(_look, orders.values()), strict=True))


def _url(port: int) -> str:
    return f"rtsp://127.0.0.1:{port}/cam0"


def _look(order: tuple[object, ...]) -> Probed:
    address, user, password, timeout_s = (*order, *("", "", 10.0)[len(order) - 1 :])
    return probe(str(address), str(user), str(password), masks=[LEFT_HALF], timeout_s=float(str(timeout_s)))


@contextlib.contextmanager
def _allowed(ports: list[int]) -> Iterator[None]:
    before = os.environ.get("POLISCOPE_CAMERA_ALLOW")
    os.environ["POLISCOPE_CAMERA_ALLOW"] = ",".join(f"127.0.0.1:{port}" for port in ports)
    yield
    os.environ.pop("POLISCOPE_CAMERA_ALLOW")
    if before is not None:
        os.environ["POLISCOPE_CAMERA_ALLOW"] = before


@pytest.mark.rtsp
@pytest.mark.slow
class TestLooks:
    """What each kind of camera gives."""

    @pytest.mark.parametrize("reason", REASONS)
    def test_each_trouble_has_its_word(self, looks: Mapping[str, Probed], reason: str) -> None:
        got = looks[reason]
        assert got.reason == reason
        assert got.jpeg == b""
        assert sentence(got).rstrip(")")
        assert "quite" not in repr(got) + sentence(got) + got.detail + str(got.params)

    @pytest.mark.parametrize("name", ["good", "rtsps"])
    def test_it_sees_and_measures(self, looks: Mapping[str, Probed], name: str) -> None:
        got = looks[name]
        assert (got.reason, got.codec, got.profile) == ("", "h264", "High")
        assert (got.width_px, got.height_px, got.gop_frames, got.has_sound) == (640, 360, 50, False)
        assert got.fps == pytest.approx(25, rel=0.05)
        assert got.gop_s == pytest.approx(2, rel=0.05)
        assert 50 < got.kbps < 1000
        assert sentence(got) == ""

    def test_masks_are_burned_into_the_picture(self, looks: Mapping[str, Probed]) -> None:
        picture = cv2.imdecode(np.frombuffer(looks["good"].jpeg, np.uint8), cv2.IMREAD_COLOR)
        assert picture is not None
        assert picture.shape == (360, 640, 3)
        assert picture[:, :310].max() < 12
        assert picture[:, 330:].max() > 100

    def test_the_codec_that_is_not_known_is_named(self, looks: Mapping[str, Probed]) -> None:
        assert sentence(looks["codec"]).endswith("(JPEG2000)")

    def test_an_address_that_is_not_allowed_says_why_without_repeating_it(self, looks: Mapping[str, Probed]) -> None:
        assert sentence(looks["address-refused"]) == (
            "Write user name and password in their own fields, not in the address."
        )
        assert "camera.invalid" in sentence(looks["unknown-host"])

    def test_it_keeps_to_its_time(self, looks: Mapping[str, Probed]) -> None:
        assert all(got.took_s <= 10.5 for got in looks.values())


def test_every_reason_but_a_crash_was_tried() -> None:
    # What is wrong with the picture itself takes capture minutes to see.
    assert set(SENTENCES) - set(REASONS) == {"crashed", "connecting", "no-demand", *Trouble}


def children() -> set[int]:
    """Processes that this one started and that still run; threads that end meanwhile have none."""
    found: set[int] = set()
    for task in Path("/proc/self/task").iterdir():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            found |= {int(pid) for pid in (task / "children").read_text().split()}
    return found


Looking = Callable[[float], tuple[int, list[Probed], threading.Thread]]


@pytest.fixture
def looking() -> Iterator[Looking]:
    """Begins a look at a camera that says nothing; gives the child's process id when it is connected."""
    camera = ScriptedCamera()

    def begin(timeout_s: float) -> tuple[int, list[Probed], threading.Thread]:
        before, answers = children(), list[Probed]()
        look = threading.Thread(target=lambda: answers.append(probe(camera.url(), USER, PASSWORD, timeout_s=timeout_s)))
        look.start()
        assert eventually(lambda: camera.connections > 0 and len(children() - before) == 1, 10)
        (pid,) = children() - before
        return pid, answers, look

    with _allowed([camera.port]):
        yield begin
    camera.close()


def test_a_stream_that_brings_the_decoder_down_is_said_and_no_secret_was_there_to_be_taken(looking: Looking) -> None:
    pid, answers, look = looking(10.0)
    folder = Path(f"/proc/{pid}")
    given = (folder / "cmdline").read_text() + (folder / "environ").read_text()
    os.kill(pid, signal.SIGSEGV)
    look.join(10)
    assert (answers[0].reason, answers[0].detail) == ("crashed", "SIGSEGV")
    assert "quite" not in given
    assert os.environ["POLISCOPE_SECRET_KEY"] not in given
    assert "POLISCOPE" not in given


def test_a_stream_that_hangs_the_decoder_is_cut_off_at_the_deadline(looking: Looking) -> None:
    pid, answers, look = looking(4.0)
    os.kill(pid, signal.SIGSTOP)
    look.join(10)
    assert answers[0].reason == "crashed"
    assert not Path(f"/proc/{pid}").exists()


def test_a_look_that_cannot_even_begin_blames_no_camera() -> None:
    got = probe("rtsp://camera.invalid/live", timeout_s=0.01)
    assert got.reason == "failed"
    assert got.detail == "the look did not begin in time"
