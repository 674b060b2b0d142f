"""``manage.py evaluate``: folds the log into incidents."""

from __future__ import annotations

import os
import signal
import socket
import threading
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from alerts.evaluate import Evaluator, Keeper
from alerts.screens import LiveScreens
from streams.beat import Beater
from streams.log import Log, LogAddresses, LogError, open_log
from streams.topics import standing_topics

POLL_S = 0.5
"""How long one turn waits for records, which end it at once; it bounds how late ticks and a signal are seen."""


class Command(BaseCommand):
    help = "Fold observations into incidents, alerts and deliveries, until SIGTERM."
    # The checks load every page of the web server: 40 MB, and nothing in them concerns this process.
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--member", default="", help="name in the consumer group; a restart under it resumes at once"
        )
        parser.add_argument("--session-timeout", type=float, default=10.0, help="seconds until another may take over")

    def handle(self, *args: Any, **options: Any) -> None:
        stop = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stop.set())
        instance = f"{socket.gethostname()}-{os.getpid()}"
        addresses = LogAddresses.from_environment()
        try:
            log = open_log(addresses, name="evaluate")
            log.verify(standing_topics([]))
            evaluator = Evaluator(
                log,
                options["member"] or f"evaluate-{instance}",
                screens=LiveScreens(addresses.frames_url),
                archive=_archive(log),
                session_timeout_s=options["session_timeout"],
            )
        except LogError as error:
            raise CommandError(f"evaluate: {error}") from None
        producer = log.producer()
        beater = Beater(producer, "evaluate", instance, evaluator.pulse)
        beater.start()
        while not stop.is_set():
            evaluator.turn(POLL_S)
            beater.alive()
        evaluator.close()
        beater.stop()
        producer.close()
        log.close()


def _archive(log: Log) -> Keeper | None:
    kept = settings.ARCHIVE
    if not kept["days"]:
        return None
    # Only now: it brings 40 MB with it.
    from alerts.archive_writer import ArchiveWriter, Retention
    from alerts.track_pictures import TrackPictures

    retention = Retention(kept["days"], kept["bytes"])
    writer = ArchiveWriter(kept["folder"], leave_bytes=kept["leave_bytes"], retention=retention)
    writer.pictures = TrackPictures(writer.folder, log, leave_bytes=kept["leave_bytes"])
    return writer
