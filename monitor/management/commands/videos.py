"""``manage.py videos BOARD``: bring the cameras of the user's own films in step with ``videos.json``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from monitor import videos


class Command(BaseCommand):
    help = "Switch on the cameras of films that play now, and off those of films that do not."
    requires_system_checks = ()
    """Run while everything runs."""

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("board", type=Path, help="videos.json")

    def handle(self, *args: Any, **options: Any) -> None:
        videos.seed(videos.read_board(options["board"]))
