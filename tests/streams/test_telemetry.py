"""Log lines without credentials: every form of an address in which one can hide."""

from __future__ import annotations

import io
import logging

import pytest

from streams.telemetry import Redact, redact

CANARY = "canary4711"


@pytest.mark.parametrize(
    "address",
    [
        f"rtsp://alice:{CANARY}@10.0.0.5/live",
        f"rtsp://alice:{CANARY}@10.0.0.5:8554/live?x=1",
        f"rtsp://:{CANARY}@10.0.0.5/live",
        f"rtsp://{CANARY}@10.0.0.5/live",
        f"rtsp://al.ice:{CANARY}%40x@camera.example/",
        f"rtsp://alice:p@{CANARY}@10.0.0.5/live",
        f"rtsps://alice:{CANARY}@[2001:db8::7]:322/live",
        f"RTSP://alice:{CANARY}@10.0.0.5/live",
        f"rtsp://10.0.0.5/live?user=alice&password={CANARY}",
        f"http://10.0.0.5/snapshot?token={CANARY}",
        f"redis://:{CANARY}@127.0.0.1:6379/0",
        f"postgres://poliscope:{CANARY}@db/poliscope",
    ],
)
def test_it_hides_the_log_in_and_keeps_the_host(address: str) -> None:
    text = redact(f"cannot open {address}, trying '{address}' again")
    assert CANARY not in text
    assert "://" in text


@pytest.mark.parametrize("text", ["", "nothing here", "rtsp://10.0.0.5:554/live", "mail alice@example.org", "a:b@c"])
def test_it_leaves_what_hides_nothing(text: str) -> None:
    assert redact(text) == text


def lines_of(log: logging.Logger) -> io.StringIO:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.addFilter(Redact())
    log.addHandler(handler)
    log.propagate = False
    return stream


def test_the_filter_reaches_arguments_and_exceptions() -> None:
    log = logging.getLogger("tests.telemetry")
    stream = lines_of(log)
    address = f"rtsp://alice:{CANARY}@10.0.0.5/live"
    log.warning("cannot open %s", address)
    try:
        raise OSError(f"[Errno 5] {address}")
    except OSError:
        log.exception("failed on %r", address)
    text = stream.getvalue()
    assert CANARY not in text
    assert text.count("10.0.0.5") == 4 - 1
    assert "OSError" in text
