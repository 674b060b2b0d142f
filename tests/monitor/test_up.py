"""What ``up`` waits for: the parts, whatever became of the account that its token belongs to."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from monitor import up
from monitor.instance import UNSEEN, Instance, InstanceBusy
from monitor.up import CannotStart, Options, Terminal, Up

LATE = {"ok": False, "parts": [{"part": "capture", "state": "missing"}, {"part": "sweep", "state": "ok"}]}


class Health(BaseHTTPRequestHandler):
    """``/api/v1/health`` as the real one answers: the good token sees the parts, a bad one is refused."""

    ok = True

    def do_GET(self) -> None:
        token = self.headers.get("Authorization")
        known = {"ok": self.ok} if token is None else LATE
        self.send_response(200 if token in (None, "Bearer good") else 401)
        self.end_headers()
        self.wfile.write(json.dumps(known).encode())

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Up]:
    monkeypatch.setattr(up, "READY_S", 0.3)
    with HTTPServer(("127.0.0.1", 0), Health) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield Up(Options(server.server_port, tmp_path, False, False, False), Terminal(io.StringIO()))
        server.shutdown()


def test_it_is_ready_when_the_parts_are_even_if_nobody_owns_its_token_any_more(
    start: Up, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Health, "ok", True)
    start._wait_ready("of an inactive account")


@pytest.mark.parametrize(("token", "named"), [("good", "capture did not report"), ("bad", "web did not report")])
def test_it_names_what_is_late_as_far_as_its_token_may_see(
    start: Up, monkeypatch: pytest.MonkeyPatch, token: str, named: str
) -> None:
    monkeypatch.setattr(Health, "ok", False)
    with pytest.raises(CannotStart, match=named):
        start._wait_ready(token)


LOG_INS = {role: {"user": role, "password": "abcd"} for role in ("admin", "operator")}


@pytest.mark.parametrize("broken_off", [False, True])
def test_log_ins_count_as_shown_once_they_were_printed(start: Up, tmp_path: Path, broken_off: bool) -> None:
    (tmp_path / UNSEEN).write_text("admin\noperator")
    start._stop = broken_off
    start._tell(LOG_INS)
    assert (tmp_path / UNSEEN).exists() is broken_off


def test_a_taken_port_leaves_no_folder_behind(start: Up, tmp_path: Path) -> None:
    with pytest.raises(CannotStart, match="choose another with --port"):
        Up(replace(start.options, data=tmp_path / "data"), Terminal(io.StringIO()))._check_place()
    assert not (tmp_path / "data").exists()


def test_of_a_taken_port_and_folder_the_folder_is_said_with_both_options(start: Up, tmp_path: Path) -> None:
    with Instance.open(tmp_path).lock(), pytest.raises(InstanceBusy, match="its own with --data DIR --port N"):
        start._check_place()
