"""The parts of ``up``: replaced when they end, gone when it goes, and stopped in order. Real processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from monitor.instance import BASE_DIR, Instance, InstanceBusy, free_port, port_is_free, write_private
from monitor.supervise import RESTARTS, Part, Supervisor, wait_until

SLEEP = [sys.executable, "-c", "import time; time.sleep(60)"]
STUBBORN = [
    sys.executable,
    "-c",
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('on', flush=True); time.sleep(60)",
]


def part(tmp_path: Path, name: str = "detect.general", command: list[str] = SLEEP, stop_s: float = 1.0) -> Part:
    return Part(name, command, os.environ, tmp_path / f"{name}.log", stop_s=stop_s)


def test_it_starts_a_part_again_that_was_killed(tmp_path: Path) -> None:
    said: list[str] = []
    supervisor = Supervisor(said.append)
    watched = supervisor.add(part(tmp_path))
    assert watched.process is not None
    first = watched.process.pid
    watched.signal(signal.SIGKILL)
    watched.process.wait()
    supervisor.look(0.0)
    supervisor.look(1.0)
    assert watched.running and watched.process.pid != first
    assert "detect.general ended (-9); starting it again" in said[0]
    supervisor.stop([["detect"]])


def test_it_slows_down_for_a_part_that_ends_again_and_again(tmp_path: Path) -> None:
    said: list[str] = []
    supervisor = Supervisor(said.append)
    broken = supervisor.add(part(tmp_path, command=[sys.executable, "-c", "raise SystemExit('no licence')"]))
    for attempt in range(RESTARTS):
        assert broken.process is not None
        broken.process.wait()
        supervisor.look(attempt * 2.0)
        supervisor.look(attempt * 2.0 + 1.0)
    assert "again in 15 s" in "".join(said)
    assert "no licence" in said[-1]


def test_it_stops_what_will_not_stop(tmp_path: Path) -> None:
    supervisor = Supervisor(print)
    stubborn = supervisor.add(part(tmp_path, command=STUBBORN, stop_s=0.3))
    assert wait_until(lambda: stubborn.log.read_text() == "on\n", 10)
    supervisor.stop([["detect"]])
    assert not stubborn.running


def test_parts_that_will_not_stop_share_one_patience(tmp_path: Path) -> None:
    supervisor = Supervisor(print)
    stubborn = [supervisor.add(part(tmp_path, f"detect.{name}", STUBBORN, stop_s=1.0)) for name in "abcd"]
    assert wait_until(lambda: all(one.log.read_text() == "on\n" for one in stubborn), 20)
    started_s = time.monotonic()
    supervisor.stop([["detect"]])
    assert time.monotonic() - started_s < 3, "four times one second, one after another, would be more"
    assert not any(one.running for one in stubborn)


def test_nothing_outlives_a_parent_that_was_killed(tmp_path: Path) -> None:
    program = (
        "import os, time; from pathlib import Path; from monitor.supervise import Part; import sys\n"
        f"one = Part('x', {SLEEP!r}, os.environ, Path({str(tmp_path / 'x.log')!r})); one.start()\n"
        "print(one.process.pid, flush=True); time.sleep(60)"
    )
    parent = subprocess.Popen([sys.executable, "-c", program], cwd=BASE_DIR, stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    assert psutil.pid_exists(child)
    parent.kill()
    parent.wait()
    parent.stdout.close()
    assert wait_until(lambda: not psutil.pid_exists(child) or psutil.Process(child).status() == "zombie", 3)


def test_a_folder_belongs_to_one_installation_at_a_time(tmp_path: Path) -> None:
    instance = Instance.open(tmp_path)
    with instance.lock(), pytest.raises(InstanceBusy, match="give this one its own with --data"):
        Instance.open(tmp_path).lock()
    instance.lock().close()


def test_secrets_stay_and_are_private(tmp_path: Path) -> None:
    instance = Instance.open(tmp_path)
    assert instance.secret("key") == Instance.open(tmp_path).secret("key")
    assert len(instance.secret("key")) >= 50
    assert (tmp_path / "key.secret").stat().st_mode & 0o077 == 0


def test_a_private_file_is_replaced_whole(tmp_path: Path) -> None:
    write_private(tmp_path / "answer", "one")
    write_private(tmp_path / "answer", "two")
    assert (tmp_path / "answer").read_text() == "two"
    assert [path.name for path in tmp_path.iterdir()] == ["answer"]


def test_two_installations_have_cookies_of_their_own(tmp_path: Path) -> None:
    assert Instance.open(tmp_path / "a").cookie() != Instance.open(tmp_path / "b").cookie()


def test_a_free_port_is_free() -> None:
    assert port_is_free(free_port())


def test_waiting_gives_up() -> None:
    start = time.monotonic()
    assert not wait_until(lambda: False, 0.2, 0.05)
    assert time.monotonic() - start < 2
