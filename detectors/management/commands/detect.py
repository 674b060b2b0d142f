"""``manage.py detect --pool P``: turns the pool's frames into observations."""

from __future__ import annotations

import os
import signal
import socket
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import Error as DatabaseError

from detectors.batching import BatchConfig
from detectors.loading import IDLE_S, Loader
from detectors.stored import StoredPlan
from detectors.suspects import Suspects
from detectors.worker import Worker
from streams.beat import Beater
from streams.log import Log, LogAddresses, LogError, open_log
from streams.topics import frames, standing_topics


class Command(BaseCommand):
    help = "Analyse the frames of one pool, until SIGTERM."
    # The checks load every page of the web server: 40 MB, and nothing in them concerns this process.
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--pool", default="general", help="whose frames; as the deployments say")
        parser.add_argument(
            "--member", default="", help="name in the consumer group; a restart under it resumes at once"
        )
        parser.add_argument("--device", default="auto", help="auto, or one that the runtime knows, for example CPU")
        parser.add_argument("--session-timeout", type=float, default=10.0, help="seconds until another may take over")
        parser.add_argument("--catch-up", type=float, default=5.0, help="seconds in which a backlog must become less")
        parser.add_argument("--max-age", type=float, default=15.0, help="seconds after which a frame is given up")
        parser.add_argument(
            "--idle", type=float, default=IDLE_S, help="seconds after which an unused model is unloaded"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        pool, instance = options["pool"], f"{socket.gethostname()}-{os.getpid()}"
        log = self._open_log(pool)
        try:
            stored = StoredPlan(pool, device=options["device"])
        except DatabaseError as error:
            raise CommandError(f"detect: expected to read the configuration, got {error}; start the database") from None
        loader = Loader(Path(settings.DATA_DIR) / "models", idle_s=options["idle"])
        producer = log.producer(max_queued_bytes=2**20)
        worker = self._worker(log, stored, loader, options, instance)
        beater = Beater(producer, f"detect.{pool}", instance, worker.pulse)
        worker.alive = beater.alive
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: worker.stop())
        stored.start(loader.problems)
        beater.start()
        try:
            worker.run()
        finally:
            beater.stop()
            stored.stop()
            producer.close(1.0)
            log.close()

    def _open_log(self, pool: str) -> Log:
        try:
            topic = frames(pool)
        except ValueError as error:
            raise CommandError(f"detect: {error}") from None
        try:
            log = open_log(LogAddresses.from_environment(), name=f"detect.{pool}")
            log.verify([*standing_topics([]), topic])
        except LogError as error:
            raise CommandError(f"detect: {error}") from None
        return log

    def _worker(self, log: Log, stored: StoredPlan, loader: Loader, options: dict[str, Any], instance: str) -> Worker:
        pool = options["pool"]
        member = options["member"] or f"detect-{pool}-{instance}"
        note = Path(settings.DATA_DIR) / "detect" / f"{pool}.{member}.json" if options["member"] else None
        return Worker(
            log,
            pool,
            member,
            lambda: stored.current,
            loader,
            suspects=Suspects(note),
            batches=BatchConfig(max_age_s=options["max_age"], catch_up_s=options["catch_up"]),
            session_timeout_s=options["session_timeout"],
        )
