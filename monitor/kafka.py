"""A single-node Apache Kafka (KRaft) from ``KAFKA_HOME``: its settings and its command lines.

Whoever runs it calls ``prepare`` and spawns ``command``. ``KAFKA_HOME`` is an ordinary Kafka download, or any folder
whose ``libs/`` holds the jars.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from streams.log import LogAddresses, LogError

JAVA_VERSION = 17
"""What Apache Kafka 4 asks for."""


class KafkaMissing(Exception):
    """Kafka cannot be started here; the text says what is missing and names the remedy."""


def find_java(environment: Mapping[str, str] = os.environ) -> str:
    """``JAVA``, or ``java`` on the path, when new enough. Raises ``KafkaMissing``."""
    java = environment.get("JAVA") or shutil.which("java", path=environment.get("PATH"))
    remedy = "install one (Debian: apt-get install openjdk-17-jre-headless) or set JAVA to its java"
    if not java:
        raise KafkaMissing(f"Kafka: expected a Java runtime {JAVA_VERSION} or newer, found none; {remedy}")
    try:
        told = subprocess.run([java, "-version"], capture_output=True, text=True, timeout=20, check=True).stderr
    except (OSError, subprocess.SubprocessError) as error:
        raise KafkaMissing(f"Kafka: {java} -version failed ({type(error).__name__}); {remedy}") from None
    version = java_version(told)
    if version < JAVA_VERSION:
        raise KafkaMissing(f"Kafka: expected Java {JAVA_VERSION} or newer, got {version or told!r} ({java}); {remedy}")
    return java


def java_version(told: str) -> int:
    """The major version in what ``java -version`` says, 0 when it says none.

    >>> java_version('openjdk version "17.0.15" 2025-04-15')
    17
    >>> java_version('java version "1.8.0_401"')
    8
    """
    found = re.search(r'version "(?:1\.)?(\d+)', told)
    return int(found[1]) if found else 0


def find_home(environment: Mapping[str, str] = os.environ) -> Path:
    """``KAFKA_HOME``, when it holds the jars. Raises ``KafkaMissing``."""
    named = environment.get("KAFKA_HOME", "")
    remedy = "unpack a Kafka 4 download (https://kafka.apache.org/downloads) and set KAFKA_HOME to its folder"
    if not named:
        raise KafkaMissing(f"Kafka: expected KAFKA_HOME, got nothing; {remedy}")
    home = Path(named)
    if not any(home.glob("libs/kafka_*.jar")):
        raise KafkaMissing(f"Kafka: expected libs/kafka_*.jar in KAFKA_HOME, got none in {home}; {remedy}")
    return home


@dataclass(frozen=True, slots=True)
class KafkaServer:
    """One node on loopback: clients on ``port``, the controller on ``controller_port``; data in ``folder``."""

    home: Path
    java: str
    folder: Path
    port: int
    controller_port: int
    heap_mib: int = 512

    @property
    def bootstrap(self) -> str:
        """For ``POLISCOPE_KAFKA``."""
        return f"127.0.0.1:{self.port}"

    def configuration(self) -> str:
        """The content of ``server.properties``: what a single node needs, and bounds that are looked at every 5 s."""
        settings = {
            "process.roles": "broker,controller",
            "node.id": 1,
            "controller.quorum.voters": f"1@127.0.0.1:{self.controller_port}",
            "listeners": f"PLAINTEXT://127.0.0.1:{self.port},CONTROLLER://127.0.0.1:{self.controller_port}",
            "advertised.listeners": f"PLAINTEXT://127.0.0.1:{self.port}",
            "controller.listener.names": "CONTROLLER",
            "inter.broker.listener.name": "PLAINTEXT",
            "log.dirs": self.folder / "logs",
            "num.network.threads": 2,
            "num.io.threads": 4,
            "num.partitions": 4,
            "auto.create.topics.enable": "false",
            "offsets.topic.num.partitions": 4,
            "default.replication.factor": 1,
            "offsets.topic.replication.factor": 1,
            "transaction.state.log.replication.factor": 1,
            "transaction.state.log.min.isr": 1,
            "share.coordinator.state.topic.replication.factor": 1,
            "share.coordinator.state.topic.min.isr": 1,
            # After kill -9 a node waits for its own former session to end: 10 s by default.
            "broker.session.timeout.ms": 3000,
            "broker.heartbeat.interval.ms": 500,
            "group.initial.rebalance.delay.ms": 0,
            "group.min.session.timeout.ms": 1000,
            "message.max.bytes": 4_259_840,
            "replica.fetch.max.bytes": 4_259_840,
            "log.retention.check.interval.ms": 5000,
            # The first look comes 30 s after a start otherwise, and a full disk does not wait.
            "log.initial.task.delay.ms": 1000,
            "log.segment.delete.delay.ms": 1000,
            "log.cleaner.dedupe.buffer.size": 16_777_216,
        }
        return "".join(f"{name}={value}\n" for name, value in settings.items())

    @property
    def config_path(self) -> Path:
        """Where the configuration is written."""
        return self.folder / "server.properties"

    def prepare(self, timeout_s: float = 60.0) -> None:
        """Write the configuration; format the folder the first time (about 2 s). Raises ``KafkaMissing``."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.config_path.write_text(self.configuration())
        if (self.folder / "logs" / "meta.properties").exists():
            return
        tool = "kafka.tools.StorageTool"
        identity = self._run([tool, "random-uuid"], timeout_s).strip().splitlines()[-1]
        self._run([tool, "format", "-t", identity, "-c", str(self.config_path)], timeout_s)

    def _run(self, arguments: list[str], timeout_s: float) -> str:
        done = subprocess.run(self._java(*arguments), capture_output=True, text=True, timeout=timeout_s, check=False)
        if done.returncode:
            told = (done.stderr or done.stdout).strip()[-500:]
            raise KafkaMissing(
                f"Kafka: {' '.join(arguments[:2])} failed ({done.returncode}): {told}; is KAFKA_HOME whole?"
            )
        return done.stdout

    def command(self) -> list[str]:
        """The command line; it runs in the foreground until SIGTERM."""
        return self._java("kafka.Kafka", str(self.config_path))

    def _java(self, *arguments: str) -> list[str]:
        settings = next(
            (
                path
                for path in (self.home / "config" / "log4j2.yaml", self.home / "config" / "tools-log4j2.yaml")
                if path.exists()
            ),
            None,
        )
        return [
            self.java,
            f"-Xmx{self.heap_mib}m",
            "-XX:+UseG1GC",
            "-XX:MaxGCPauseMillis=20",
            f"-Dkafka.logs.dir={self.folder}",
            *([f"-Dlog4j2.configurationFile={settings}"] if settings else []),
            "-cp",
            f"{self.home}/libs/*",
            *arguments,
        ]

    def wait_ready(self, timeout_s: float = 60.0) -> None:
        """Return when it answers what its topics are (the port alone opens earlier). Raises ``KafkaMissing``."""
        deadline = time.monotonic() + timeout_s
        while not self._answers():
            if time.monotonic() > deadline:
                raise KafkaMissing(
                    f"Kafka: no answer on port {self.port} within {timeout_s:.0f} s; "
                    f"see what it wrote, and {self.folder}"
                )
            time.sleep(0.1)

    def _answers(self) -> bool:
        from streams.log_kafka import KafkaLog  # only whoever starts a Kafka needs its client

        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
        except OSError:
            return False
        log = KafkaLog(LogAddresses(kafka=self.bootstrap, frames_url="", rest_url=""), name="poliscope-start")
        try:
            return bool(log.identity)
        except LogError:
            return False
        finally:
            log.close()
