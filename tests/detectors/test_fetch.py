"""Fetching from a real TLS server on loopback that behaves as servers do: slow, cut off, too much, gone, elsewhere."""

from __future__ import annotations

import hashlib
import http.server
import ipaddress
import shlex
import ssl
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from django.core.management import CommandError, call_command

from detectors import bring as bringing
from detectors import known as knowing
from detectors.backends.base import ModelMissing
from detectors.fetch import NotFetched, check_url, fetch
from detectors.known import KNOWN, Known, known
from detectors.models import Model

CONTENT = bytes(range(256)) * 2000
SHA256 = hashlib.sha256(CONTENT).hexdigest()
MOST = 1_000_000


class Answers(http.server.BaseHTTPRequestHandler):
    """What each path does."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        getattr(self, f"on_{self.path.strip('/').partition('.')[0]}")()

    def log_message(self, *_: Any) -> None:
        pass

    def give(self, content: bytes, status: int = 200, *, length: int | None = None, location: str = "") -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(content) if length is None else length))
        if location:
            self.send_header("Location", location)
        self.end_headers()
        self.wfile.write(content)

    def on_good(self) -> None:
        begin = int((self.headers.get("Range") or "bytes=0-")[6:-1])
        self.server.begun.append(begin)  # type: ignore[attr-defined]
        self.give(CONTENT[begin:], 206 if begin else 200)

    def on_cut(self) -> None:
        self.give(CONTENT[:9000], length=len(CONTENT))
        self.close_connection = True

    def on_silent(self) -> None:
        self.server.release.wait(5)  # type: ignore[attr-defined]
        self.close_connection = True

    def on_trickle(self) -> None:
        self.send_response(200)
        self.end_headers()
        for _ in range(100):
            self.wfile.write(b"x")
            time.sleep(0.02)
        self.close_connection = True

    def on_large(self) -> None:
        self.give(b"", length=5 * MOST)

    def on_larger(self) -> None:
        self.send_response(200)
        self.end_headers()
        for _ in range(40):
            self.wfile.write(bytes(MOST // 10))
        self.close_connection = True

    def on_gone(self) -> None:
        self.give(b"no", 404)

    def on_empty(self) -> None:
        self.give(b"")

    def on_tofile(self) -> None:
        self.give(b"", 302, location="file:///etc/passwd")

    def on_tohttp(self) -> None:
        self.give(b"", 302, location="http://127.0.0.1:9/model.onnx")

    def on_togood(self) -> None:
        self.give(b"", 302, location="/good.onnx")

    def on_round(self) -> None:
        self.give(b"", 302, location="/round.onnx")


def certificate(folder: Path) -> Path:
    """One for 127.0.0.1, with its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now, now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
        .sign(key, hashes.SHA256())
    )
    path = folder / "server.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    return path


class Server:
    """A TLS server and the context that trusts it."""

    def __init__(self, folder: Path) -> None:
        pem = certificate(folder)
        self._http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers)
        self._http.daemon_threads = True
        self._http.handle_error = lambda *_: None  # type: ignore[method-assign]
        self.begun: list[int] = []
        self._http.begun, self._http.release = self.begun, threading.Event()  # type: ignore[attr-defined]
        own = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        own.load_cert_chain(pem)
        self._http.socket = own.wrap_socket(self._http.socket, server_side=True)
        self.trusted = ssl.create_default_context(cafile=str(pem))
        self.url = f"https://127.0.0.1:{self._http.server_address[1]}"
        threading.Thread(target=self._http.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        self._http.release.set()  # type: ignore[attr-defined]
        self._http.shutdown()
        self._http.server_close()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    made = Server(tmp_path_factory.mktemp("tls"))
    yield made
    made.close()


def get(server: Server, path: str, target: Path, **more: Any) -> str:
    options = {"most_bytes": MOST, "silence_s": 0.4, "total_s": 5.0, "context": server.trusted, **more}
    return fetch(f"{server.url}/{path}", target, **options)


def test_a_file_comes_whole_and_its_checksum_is_told(server: Server, tmp_path: Path) -> None:
    steps: list[tuple[int, int]] = []
    target = tmp_path / "a.onnx"
    assert get(server, "togood.onnx", target, progress=lambda *step: steps.append(step)) == SHA256
    assert target.read_bytes() == CONTENT
    assert steps[-1] == (len(CONTENT), len(CONTENT)) and len(steps) > 3
    assert list(tmp_path.iterdir()) == [target]


REFUSALS = {
    "gone.onnx": r"127\.0\.0\.1: expected gone\.onnx, got HTTP 404 \(Not Found\); on a machine with internet",
    "silent.onnx": r"^no answer from 127\.0\.0\.1 within 0.4 s: on a machine with internet fetch https://127\.0\.0\.1:\d+/"
    r"silent\.onnx, copy the file here and run \./poliscope manage model add silent\.onnx$",
    "trickle.onnx": r"127\.0\.0\.1 is too slow: [\d,]+ bytes when time was up",
    "cut.onnx": r"cut\.onnx: expected 512,000 bytes, got 9,000: the connection was cut; try again",
    "large.onnx": r"expected at most 1,000,000 bytes, got 5,000,000; choose a smaller model",
    "larger.onnx": r"expected at most 1,000,000 bytes, got 1,\d\d\d,\d\d\d; choose",
    "empty.onnx": r"expected a model, got an empty answer",
    "tofile.onnx": r"got HTTP 302 \(.*file:///etc/passwd.* is not allowed\)",
    "tohttp.onnx": r"http://127\.0\.0\.1: expected an https:// address",
    "round.onnx": r"got HTTP 302",
}


@pytest.mark.parametrize("path", REFUSALS)
def test_what_goes_wrong_is_said_and_nothing_is_taken_for_the_file(path: str, server: Server, tmp_path: Path) -> None:
    total_s = 0.3 if path.startswith("trickle") else 5.0
    with pytest.raises(NotFetched, match=REFUSALS[path]):
        get(server, path, tmp_path / "a.onnx", total_s=total_s)
    assert not (tmp_path / "a.onnx").exists()


def test_another_file_than_the_known_one_is_not_kept(server: Server, tmp_path: Path) -> None:
    with pytest.raises(NotFetched, match=rf"good\.onnx: expected SHA-256 0000000000000000…, got {SHA256[:16]}…"):
        get(server, "good.onnx", tmp_path / "a.onnx", sha256="0" * 64)
    assert list(tmp_path.iterdir()) == []


def test_it_goes_on_where_it_was_cut_when_a_checksum_can_tell(server: Server, tmp_path: Path) -> None:
    target = tmp_path / "a.onnx"
    with pytest.raises(NotFetched, match="was cut"):
        get(server, "cut.onnx", target, sha256=SHA256)
    server.begun.clear()
    assert get(server, "good.onnx", target, sha256=SHA256) == SHA256
    assert server.begun == [9000] and target.read_bytes() == CONTENT


def test_without_a_checksum_it_begins_afresh(server: Server, tmp_path: Path) -> None:
    target = tmp_path / "a.onnx"
    with pytest.raises(NotFetched, match="was cut"):
        get(server, "cut.onnx", target)
    server.begun.clear()
    assert get(server, "good.onnx", target) == SHA256
    assert server.begun == [0]


def test_a_server_that_nobody_vouches_for_is_not_believed(server: Server, tmp_path: Path) -> None:
    with pytest.raises(NotFetched, match=r"127\.0\.0\.1 cannot be reached .*CERTIFICATE_VERIFY_FAILED"):
        get(server, "good.onnx", tmp_path / "a.onnx", context=ssl.create_default_context())


def test_nobody_listening_is_said(server: Server, tmp_path: Path) -> None:
    with pytest.raises(NotFetched, match=r"127\.0\.0\.1 cannot be reached \(Connection refused\): on a machine with"):
        fetch("https://127.0.0.1:9/a.onnx", tmp_path / "a.onnx", most_bytes=MOST, context=server.trusted)


@pytest.mark.parametrize("url", ["http://example.org/a", "file:///etc/passwd", "ftp://a/b", "https://", "a.onnx"])
def test_only_https_is_fetched(url: str) -> None:
    with pytest.raises(NotFetched, match="expected an https:// address"):
        check_url(url)


def test_a_log_in_in_an_address_is_refused_and_not_repeated() -> None:
    with pytest.raises(NotFetched) as refused:
        check_url("https://ada:canary-77@example.org/a.onnx")
    assert "canary-77" not in str(refused.value)


@pytest.mark.parametrize("one", KNOWN.values(), ids=lambda one: one.name)
def test_every_known_model_says_where_it_is_from_and_its_licence(one: Known) -> None:
    assert one.licence and (one.url or one.card)
    if one.url:
        check_url(one.url)
        assert Path(one.file_name).suffix in (".onnx", ".pt")


def test_an_unknown_name_gets_the_nearest() -> None:
    with pytest.raises(ModelMissing, match=r"got 'yolo_x_nano'; did you mean yolox_nano"):
        known("yolo_x_nano")


@pytest.mark.django_db
def test_a_wrong_file_under_a_known_name_leaves_nothing(
    server: Server, tmp_path: Path, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.DATA_DIR = tmp_path
    monkeypatch.setitem(knowing.KNOWN, "ours", Known("ours", "MIT", f"{server.url}/good.onnx"))
    trusting = server.trusted
    monkeypatch.setattr(bringing, "fetch", lambda *given, **more: fetch(*given, **{**more, "context": trusting}))
    with pytest.raises(CommandError, match=r"ours.*: expected .* more after byte|ours.*: expected an ONNX model"):
        call_command("model", "add", "ours")
    assert not Model.objects.exists()
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


@pytest.mark.django_db
@pytest.mark.shared
def test_what_a_machine_without_internet_is_told_to_type_brings_the_known_model(
    shared: Path, tmp_path: Path, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.DATA_DIR = tmp_path / "data"
    nobody = replace(KNOWN["yolox_nano"], url="https://127.0.0.1:9/yolox_nano.onnx")
    monkeypatch.setitem(knowing.KNOWN, "yolox_nano", nobody)
    with pytest.raises(CommandError) as offline:
        call_command("model", "add", "yolox_nano")
    typed = shlex.split(str(offline.value).partition("./poliscope manage ")[2])
    monkeypatch.setenv("POLISCOPE_FROM", str(tmp_path))
    (tmp_path / "yolox_nano.onnx").write_bytes((shared / "weights" / "yolox_nano_coco_416.onnx").read_bytes())
    call_command(*typed)
    model = Model.objects.get()
    assert (model.name, model.licence, len(model.classes)) == ("yolox_nano", "Apache-2.0", 80)
    assert {"person", "truck"} <= set(model.labels)


def test_what_was_given_with_an_address_is_given_with_its_file_too(tmp_path: Path, settings: Any) -> None:
    settings.DATA_DIR = tmp_path
    with pytest.raises(
        NotFetched, match=r"manage model add a\.onnx --name 'My yard' --labels person,- --backend openvino$"
    ):
        bringing.bring("https://127.0.0.1:9/a.onnx", name="My yard", labels=("person", "-"), backend="openvino")
