"""``manage.py capture``: reads the cameras."""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from streams.beat import Beater
from streams.capture import Capture
from streams.leases import owner_name
from streams.log import LogAddresses, LogError, open_log
from streams.topics import standing_topics

TURN_S = 0.25


class Command(BaseCommand):
    help = "Read cameras and write their pictures to the log, until SIGTERM."
    # The checks load every page of the web server: 40 MB, and nothing in them concerns this process.
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--children", type=int, default=2, help="processes that decode")
        parser.add_argument("--capacity", type=int, default=64, help="cameras this process takes at most")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["children"] < 1 or options["capacity"] < 1:
            raise CommandError("capture: expected at least one child and one camera; write --children 2 --capacity 64")
        try:
            log = open_log(LogAddresses.from_environment(), name="capture")
            log.verify(standing_topics([]))
        except LogError as error:
            raise CommandError(f"capture: {error}") from None
        stop = threading.Event()

        def on_signal(_number: int, _frame: FrameType | None) -> None:
            stop.set()

        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, on_signal)
        owner = owner_name()
        capture = Capture(log, owner, parent=os.getpid(), children=options["children"], capacity=options["capacity"])
        producer = log.producer()
        beater = Beater(producer, "capture", owner, capture.pulse)
        beater.start()
        while not stop.wait(TURN_S):
            capture.turn()
            beater.alive()
        capture.close()
        beater.stop()
        producer.close(1.0)
        log.close()
