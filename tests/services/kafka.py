"""A real Apache Kafka, started by the tests, that can be killed, restarted, frozen and thawed."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from monitor.instance import free_port
from monitor.kafka import KafkaMissing, KafkaServer, find_home, find_java
from streams.log import LogAddresses

BESIDE_THE_CHECKOUT = Path(__file__).resolve().parents[3] / "shared" / "kafka"


def pytest_configure(config: pytest.Config) -> None:
    """kafka-python reads its message schemas in a way that Python 3.11 (only) calls deprecated."""
    config.addinivalue_line("filterwarnings", "ignore:(open|read)_text is deprecated:DeprecationWarning")


class Kafka:
    """One node. The same fault methods as ``tests.services.valkey.Valkey``, without a role."""

    def __init__(self, folder: Path) -> None:
        home = {"KAFKA_HOME": str(BESIDE_THE_CHECKOUT)} if "KAFKA_HOME" not in os.environ else os.environ
        self._server = KafkaServer(find_home(home), find_java(), folder, free_port(), free_port(), heap_mib=384)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def addresses(self) -> LogAddresses:
        return LogAddresses(kafka=self._server.bootstrap, frames_url="", rest_url="")

    @property
    def folder(self) -> Path:
        return self._server.folder

    @property
    def process(self) -> subprocess.Popen[bytes]:
        assert self._process is not None
        return self._process

    def start(self) -> None:
        """Start and wait until it answers."""
        self._server.prepare()
        self._process = subprocess.Popen(self._server.command(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self._server.wait_ready(90)

    def kill9(self) -> None:
        self.process.kill()
        self.process.wait(10)

    def restart(self) -> None:
        """``kill -9`` (when it still runs) and start again on the same port and folder."""
        self.kill9()
        self.start()

    def pause(self) -> None:
        """SIGSTOP: connections stay, answers do not come."""
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    def heal(self) -> None:
        """After a test: whatever it broke runs again."""
        if self.process.poll() is not None:
            self.start()
        else:
            self.resume()

    def stop(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait(10)


@pytest.fixture(scope="session")
def _kafka_node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kafka]:
    try:
        node = Kafka(tmp_path_factory.mktemp("kafka"))
    except KafkaMissing as missing:
        pytest.skip(str(missing))
    try:
        node.start()
        yield node
    finally:
        node.stop()


@pytest.fixture
def kafka(_kafka_node: Kafka) -> Iterator[Kafka]:
    """The session's node. Topics of earlier tests are still there: use names of your own."""
    _kafka_node.heal()
    yield _kafka_node
    _kafka_node.heal()


@pytest.fixture
def kafka_addresses(kafka: Kafka) -> LogAddresses:
    """Where the log is, on the Kafka engine."""
    return kafka.addresses
