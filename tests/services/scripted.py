"""Cameras that do what no server offers: any description, then silence, an end, or pictures without a beginning."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import socket
import ssl
import threading
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from streams.demo_cameras import Movie, Server
from tests.services.capture import BadServer

H264 = "m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=fmtp:96 packetization-mode=1\r\na=control:track\r\n"
JPEG2000 = "m=video 0 RTP/AVP 96\r\na=rtpmap:96 JPEG2000/90000\r\na=control:track\r\n"


class ScriptedCamera(BadServer):
    """Describes itself as told, agrees to play, and then sends nothing, or hangs up at once."""

    def __init__(self, description: str = H264, *, hangs_up: bool = False) -> None:
        self._description = f"v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=scripted\r\nt=0 0\r\n{description}"
        self._hangs_up = hangs_up
        super().__init__()

    def _recite(self, client: socket.socket, number: int) -> None:
        with contextlib.suppress(OSError), client:
            while data := client.recv(4096):
                self.heard[number] += data
                for request in data.split(b"\r\n\r\n"):
                    method, sequence = request.partition(b" ")[0], request.partition(b"CSeq: ")[2].partition(b"\r\n")[0]
                    if sequence:
                        client.sendall(self._reply(method.decode(), sequence.decode()))
                    if method == b"PLAY" and self._hangs_up:
                        return

    def _reply(self, method: str, sequence: str) -> bytes:
        head = f"RTSP/1.0 200 OK\r\nCSeq: {sequence}\r\nSession: 1;timeout=60\r\n"
        body = ""
        if method == "DESCRIBE":
            body = self._description
            head += f"Content-Type: application/sdp\r\nContent-Length: {len(body)}\r\n"
        elif method == "SETUP":
            head += "Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n"
        return f"{head}\r\n{body}".encode()


class WithoutKeyFrames:
    """The demo's camera server with a clip whose key frames were taken out, in a thread of its own."""

    def __init__(self, clip: Path) -> None:
        whole = Movie.open(clip, "without key frames")
        pictures = [picture for picture, begins in zip(whole.pictures, whole.begins, strict=True) if not begins]
        self._movie = Movie(whole.title, whole.fps, pictures, [True] * len(pictures), whole.sets)
        self._loop = asyncio.new_event_loop()
        self._over: asyncio.Event
        self._ready = threading.Event()
        self.port = 0
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._play(),), daemon=True)
        self._thread.start()
        assert self._ready.wait(10)

    @property
    def pair(self) -> tuple[str, int]:
        """Host and port, as ``check_address(allow=…)`` takes them."""
        return "127.0.0.1", self.port

    def url(self) -> str:
        """Its address."""
        return f"rtsp://127.0.0.1:{self.port}/cam0"

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join(5)
        self._loop.close()

    async def _play(self) -> None:
        self._over = asyncio.Event()
        async with Server({"cam0": self._movie}) as server:
            self.port = server.port
            self._ready.set()
            await self._over.wait()


class Sealed(BadServer):
    """A camera's RTSP behind TLS, with a certificate that it signed itself, as cameras do."""

    def __init__(self, camera_port: int, folder: Path) -> None:
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(_certificate(folder))
        super().__init__(camera_port=camera_port)

    def _pass_on(self, client: socket.socket, number: int) -> None:
        with contextlib.suppress(OSError):
            super()._pass_on(self._context.wrap_socket(client, server_side=True), number)


def _certificate(folder: Path) -> Path:
    """Key and self-signed certificate in one file."""
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    path = folder / "camera.pem"
    plain = serialization.NoEncryption()
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    return path
