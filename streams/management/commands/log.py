"""``manage.py log init``: create the topics, set their bounds. ``manage.py log status``: what they hold, who lags."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils.translation import gettext as _

from streams.log import Log, LogAddresses, LogError, open_log
from streams.models import Demand
from streams.topics import Topic, standing_topics


class Command(BaseCommand):
    help = "Creates and checks the log's topics."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("action", choices=["init", "status"])
        parser.add_argument(
            "--pool", action="append", default=[], help="a detector pool (may be repeated); those in demand are known"
        )
        parser.add_argument("--group", action="append", default=[], help="status: a consumer group (may be repeated)")

    def handle(self, *args: Any, **options: Any) -> None:
        topics = standing_topics([*options["pool"], *Demand.objects.values_list("pool", flat=True)])
        log = open_log(LogAddresses.from_environment(), name="poliscope-log")
        try:
            if options["action"] == "init":
                self._init(log, topics)
            else:
                self._status(log, topics, options["group"])
        except LogError as error:
            raise CommandError(str(error)) from None
        finally:
            log.close()

    def _init(self, log: Log, topics: list[Topic]) -> None:
        log.create(topics)
        log.verify(topics)
        self.stdout.write(_("The log has %(count)d topics, all as they should be.") % {"count": len(topics)})

    def _status(self, log: Log, topics: list[Topic], groups: list[str]) -> None:
        log.verify(topics)
        self.stdout.write(_("The log's identity: %(identity)s") % {"identity": log.identity})
        for topic in topics:
            # What is kept is what a group that never read anything lags behind: positions may have gaps.
            kept = sum(log.lag(topic.name, "nobody").values())
            lags = [f"{group}={sum(log.lag(topic.name, group).values())}" for group in groups]
            self.stdout.write(f"{topic.name:24} {topic.partitions:3} {kept:10} {' '.join(lags)}".rstrip())
