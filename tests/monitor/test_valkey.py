"""The embedded Valkey servers' settings, held against the real server."""

from __future__ import annotations

import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from monitor.instance import free_port
from monitor.supervise import wait_until
from monitor.valkey import ValkeyError, ValkeyServer
from tests.services.valkey import Valkey


def test_the_password_is_in_a_file_of_ours_only_and_in_no_argument(tmp_path: Path) -> None:
    server = ValkeyServer("rest", tmp_path / "rest", 7000, password="hunter2-hunter2")
    server.prepare()
    assert stat.S_IMODE(server.config_path.stat().st_mode) == 0o600
    assert stat.S_IMODE(server.folder.stat().st_mode) == 0o700
    assert "requirepass hunter2-hunter2" in server.config_path.read_text()
    assert "hunter2" not in " ".join(server.command()) + repr(server)
    assert server.url == "redis://:hunter2-hunter2@127.0.0.1:7000/0"


def test_two_servers_have_two_passwords(tmp_path: Path) -> None:
    assert ValkeyServer("rest", tmp_path, 1).password != ValkeyServer("rest", tmp_path, 1).password


def test_preparing_again_replaces_the_configuration(tmp_path: Path) -> None:
    ValkeyServer("frames", tmp_path, 7000).prepare()
    ValkeyServer("frames", tmp_path, 7001).prepare()
    assert "port 7001" in (tmp_path / "valkey.conf").read_text()


@pytest.mark.valkey
def test_the_servers_run_with_their_settings(valkey: Valkey) -> None:
    expected = {
        "frames": {"appendonly": "no", "save": "", "maxmemory": str(512 * 2**20), "maxmemory-policy": "noeviction"},
        "rest": {"appendonly": "yes", "appendfsync": "everysec", "save": "", "maxmemory-policy": "noeviction"},
    }
    for role in ("frames", "rest"):
        client: Any = valkey.client(role)
        settings = client.config_get("*")
        assert {name: settings[name] for name in expected[role]} == expected[role]
        assert settings["bind"] == "127.0.0.1"
        client.close()


@pytest.mark.valkey
def test_the_servers_refuse_whoever_has_no_password(valkey: Valkey) -> None:
    port = int(valkey.rest_url.rpartition(":")[2].partition("/")[0])
    stranger = redis.Redis(port=port, retry=Retry(NoBackoff(), 0))
    with pytest.raises(redis.AuthenticationError):
        stranger.ping()
    stranger.close()


@pytest.mark.valkey
def test_it_waits_longer_for_a_server_that_is_loading_its_data(tmp_path: Path) -> None:
    server = ValkeyServer("rest", tmp_path, free_port())
    server.prepare()
    commands = b"".join(b"*3\r\n$3\r\nSET\r\n$4\r\n%04d\r\n$1\r\nx\r\n" % number for number in range(9999))
    (tmp_path / "appendonlydir").mkdir()
    (tmp_path / "appendonlydir" / "appendonly.aof.1.incr.aof").write_bytes(commands)
    (tmp_path / "appendonlydir" / "appendonly.aof.manifest").write_text("file appendonly.aof.1.incr.aof seq 1 type i\n")
    # 300 µs a key: the server loads for 3 s and more, answering "loading" every 1024 keys.
    with server.config_path.open("a") as config:
        config.write("key-load-delay 300\n")
    process = subprocess.Popen(server.command(), stdout=subprocess.DEVNULL)
    try:
        assert wait_until(lambda: server._problem() == "BusyLoadingError", 20, 0.02)
        with pytest.raises(ValkeyError, match="BusyLoadingError"):
            server.wait_ready(timeout_s=2.0, loading_s=0.2)
        server.wait_ready(timeout_s=2.0)
        client = redis.Redis.from_url(server.url, protocol=2)
        assert client.dbsize() == 9999
        client.close()
    finally:
        process.kill()
        process.wait()


def test_waiting_for_a_server_that_does_not_come_names_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(ValkeyError, match=r"not ready after 0 s.*is the port taken"):
        ValkeyServer("frames", tmp_path, free_port()).wait_ready(0.1)
