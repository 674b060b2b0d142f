"""Both engines of the log: records a second, latency, and what an overload costs in memory.

``./poliscope bench log [--seconds N] [--engine valkey|kafka]``; records of 40 kB, a picture of analysis size. Each
engine's server is started for this, on loopback, with the settings of ``poliscope up``.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from bench.common import report
from monitor.instance import free_port
from monitor.kafka import KafkaMissing, KafkaServer, find_home, find_java
from monitor.valkey import ValkeyServer
from streams.log import Log, LogAddresses, open_log
from streams.topics import Topic, frames

RECORD_BYTES = 40_000
APPEND_S = 10.0
LATENCY_S = 20.0
LATENCY_HZ = 100
RETENTION_S = 7.0
"""Kafka looks for what is too much every 5 s and deletes it 1 s later."""
OVERLOAD = Topic("frames.overload", 16, keep_s=300, keep_bytes=2 * 2**20, durable=False)
"""A bound that is full after 32 MiB: at full speed it is overrun more than ten times in the first seconds."""


@dataclass
class Engine:
    """A running server and the log on it."""

    log: Log
    processes: list[psutil.Process]
    folder: Path
    version: str
    peak_bytes: int = 0
    _stop: threading.Event = field(default_factory=threading.Event)

    def resident_bytes(self) -> int:
        """Of all its processes together."""
        return sum(process.memory_info().rss for process in self.processes)

    def cpu_s(self) -> float:
        """User and system time of its processes."""
        return sum(sum(process.cpu_times()[:2]) for process in self.processes)

    def disk_bytes(self) -> int:
        """Bytes allocated in its folder."""
        total = 0
        for path in self.folder.rglob("*"):
            try:
                total += path.stat().st_blocks * 512
            except OSError:
                continue  # deleted meanwhile: that is what retention does
        return total

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Notes the peak of the resident memory, five times a second."""
        self._stop.clear()
        watcher = threading.Thread(target=self._watch, daemon=True)
        watcher.start()
        try:
            yield
        finally:
            self._stop.set()
            watcher.join()

    def _watch(self) -> None:
        while not self._stop.wait(0.2):
            self.peak_bytes = max(self.peak_bytes, self.resident_bytes())


def spawn(command: list[str]) -> subprocess.Popen[bytes]:
    """A server whose own messages are of no interest here."""
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


@contextmanager
def running(processes: list[subprocess.Popen[bytes]]) -> Iterator[list[psutil.Process]]:
    """Ends them afterwards, whatever happens."""
    try:
        yield [psutil.Process(process.pid) for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.wait(10)


@contextmanager
def valkey(folder: Path) -> Iterator[Engine]:
    """The embedded pair."""
    servers = [
        ValkeyServer("frames", folder / "frames", free_port()),
        ValkeyServer("rest", folder / "rest", free_port()),
    ]
    for server in servers:
        server.prepare()
    with running([spawn(server.command()) for server in servers]) as processes:
        for server in servers:
            server.wait_ready()
        log = open_log(LogAddresses("", servers[0].url, servers[1].url), name="bench")
        version = subprocess.run([servers[0].command()[0], "--version"], capture_output=True, text=True, check=True)
        yield Engine(log, processes, folder, version.stdout.split("v=")[-1].split()[0])
        log.close()


@contextmanager
def kafka(folder: Path) -> Iterator[Engine]:
    """The embedded single node. Raises ``KafkaMissing``."""
    home = find_home()
    server = KafkaServer(home, find_java(), folder, free_port(), free_port())
    server.prepare()
    with running([spawn(server.command())]) as processes:
        server.wait_ready()
        log = open_log(LogAddresses(server.bootstrap, "", ""), name="bench")
        yield Engine(log, processes, folder, next(home.glob("libs/kafka_*.jar")).stem.rpartition("-")[2])
        log.close()


ENGINES: dict[str, Callable[[Path], Any]] = {"valkey": valkey, "kafka": kafka}


def append_flat_out(engine: Engine, topic: Topic, seconds: float) -> tuple[Any, float]:
    """The producer's counters and the wall time until the last acknowledgement."""
    producer = engine.log.producer()
    payload, began, number = bytes(RECORD_BYTES), time.monotonic(), 0
    while time.monotonic() - began < seconds:
        # A refused record is what overload means; the pause is the camera that comes back with the next one.
        if not producer.append(topic.name, number % topic.partitions, payload):
            time.sleep(0.001)
        number += 1
    producer.flush(30)
    elapsed_s = time.monotonic() - began
    producer.close()
    return producer.counters, elapsed_s


def read_all(engine: Engine, topic: Topic) -> tuple[int, float]:
    """Records that one consumer gets, and the time from the first to the last."""
    consumer = engine.log.consumer(topic.name, "bench", "reader")
    first: list[Any] = []
    while not first:
        first = consumer.poll(1.0)
    began, count, last = time.monotonic(), 0, time.monotonic()
    while records := consumer.poll(1.0):
        count, last = count + len(records), time.monotonic()
    consumer.close()
    return count, max(last - began, 1e-9)


def latencies_s(engine: Engine, topic: Topic) -> list[float]:
    """From append to the reader's hands, at ``LATENCY_HZ`` on one partition, sorted; the first second warms up."""
    producer, found, stop = engine.log.producer(), list[float](), threading.Event()
    consumer = engine.log.consumer(topic.name, "latency", "reader")

    def read() -> None:
        while not stop.is_set():
            for record in consumer.poll(0.2):
                found.append(time.monotonic() - float(record.payload[:24]))

    reader = threading.Thread(target=read)
    reader.start()
    while not consumer.assignment:
        time.sleep(0.1)
    time.sleep(0.5)
    padding, began = bytes(RECORD_BYTES - 24), time.monotonic()
    for number in range(int(LATENCY_S * LATENCY_HZ)):
        time.sleep(max(0.0, began + number / LATENCY_HZ - time.monotonic()))
        producer.append(topic.name, 0, b"%-24.6f" % time.monotonic() + padding)
    producer.close()
    time.sleep(1)
    stop.set()
    reader.join()
    consumer.close()
    return sorted(found[LATENCY_HZ:])


def quantile(ordered: list[float], share: float) -> float:
    """The value below which ``share`` of them lie."""
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def measure(engine: Engine, overload_s: float) -> dict[str, Any]:
    """All the figures of one engine."""
    flat = frames("flat")
    engine.log.create([flat, OVERLOAD])
    waits_s = latencies_s(engine, flat)
    with engine.watched():
        client_cpu_s, server_cpu_s = time.process_time(), engine.cpu_s()
        counters, elapsed_s = append_flat_out(engine, flat, APPEND_S)
        client_cpu_s, server_cpu_s = time.process_time() - client_cpu_s, engine.cpu_s() - server_cpu_s
        read, read_s = read_all(engine, flat)
        over, over_s = append_flat_out(engine, OVERLOAD, overload_s)
        time.sleep(RETENTION_S)
    return {
        "append_per_s": round(counters.acknowledged / elapsed_s, 1),
        "read_per_s": round(read / read_s, 1),
        "p50_ms": round(1000 * quantile(waits_s, 0.5), 3),
        "p99_ms": round(1000 * quantile(waits_s, 0.99), 3),
        "peak_mib": round(engine.peak_bytes / 2**20, 1),
        "append_client_cpu_ms": round(1000 * client_cpu_s / max(1, counters.given), 4),
        "append_server_cpu_ms": round(1000 * server_cpu_s / max(1, counters.acknowledged), 4),
        "overload": {
            "seconds": round(over_s, 1),
            "given": over.given,
            "acknowledged": over.acknowledged,
            "refused": over.refused,
            "failed": over.failed,
            "times_the_bound": round(over.acknowledged * RECORD_BYTES / OVERLOAD.keep_bytes / OVERLOAD.partitions, 1),
            "kept_mib": round(sum(engine.log.lag(OVERLOAD.name, "nobody").values()) * RECORD_BYTES / 2**20, 1),
            "disk_mib": round(engine.disk_bytes() / 2**20, 1),
        },
    }


def rows(figures: dict[str, dict[str, Any]]) -> list[list[object]]:
    """The table: one line a figure, one column an engine."""
    flat = {
        name: {**{key: value for key, value in found.items() if key != "overload"}}
        | {f"overload {key}": value for key, value in found["overload"].items()}
        for name, found in figures.items()
    }
    names = list(flat)
    return [["", *names], *([key, *(flat[name][key] for name in names)] for key in next(iter(flat.values())))]


def main(argv: list[str]) -> int:
    """Measure, print, return the exit status: 1 when a named engine is not here."""
    parser = argparse.ArgumentParser(prog="bench log", description="The log: both engines, records of 40 kB.")
    parser.add_argument("--seconds", type=float, default=600, help="length of the overload")
    parser.add_argument("--engine", choices=list(ENGINES), action="append", help="only this one (may be repeated)")
    options = parser.parse_args(argv)
    figures: dict[str, dict[str, Any]] = {}
    seen: dict[str, str] = {}
    for name in options.engine or list(ENGINES):
        with tempfile.TemporaryDirectory(prefix=f"poliscope-bench-{name}-") as folder:
            try:
                with ENGINES[name](Path(folder)) as engine:
                    figures[name] = measure(engine, options.seconds)
                    seen[f"{name}-server"] = engine.version
            except KafkaMissing as missing:
                print(missing, file=sys.stderr)
    if not figures:
        return 1
    command = " ".join(["./poliscope bench log", *argv])
    report(rows(figures), figures, command, footage=f"zeros, {RECORD_BYTES} bytes a record", more_versions=seen)
    return 0 if len(figures) == len(options.engine or ENGINES) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
