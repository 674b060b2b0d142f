"""``manage.py sweep``: finds and does what ought to have happened."""

from __future__ import annotations

import os
import signal
import socket
import threading
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import close_old_connections

from alerts.sweep import Sweeper
from streams.beat import Beater
from streams.log import LogAddresses, LogError, open_log
from streams.topics import standing_topics

TURN_S = 1.0


class Command(BaseCommand):
    help = "Hand over, send, resend, remind and publish whatever is due, each second, until SIGTERM."
    # The checks load every page of the web server; what is wrong with one must not keep a message from leaving.
    requires_system_checks: list[str] = []

    def handle(self, *args: Any, **options: Any) -> None:
        stop = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stop.set())
        instance = f"{socket.gethostname()}-{os.getpid()}"
        try:
            log = open_log(LogAddresses.from_environment(), name="sweep")
            log.verify(standing_topics([]))
        except LogError as error:
            raise CommandError(f"sweep: {error}") from None
        sweeper = Sweeper(log, instance)
        producer = log.producer()
        beater = Beater(producer, "sweep", instance, sweeper.pulse)
        beater.start()
        while not stop.wait(TURN_S):
            close_old_connections()
            sweeper.turn()
            beater.alive()
        sweeper.close()
        beater.stop()
        producer.close(1.0)
        log.close()
