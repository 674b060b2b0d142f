"""``manage.py findings``: what only Django knows of this installation, as JSON. ``./poliscope doctor`` asks it."""

from __future__ import annotations

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from monitor.findings import database
from monitor.findings.finding import to_wire


class Command(BaseCommand):
    help = "Print what is missing or wrong in this installation, as one line of JSON."
    requires_system_checks = ()
    """They are findings among the others."""

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--option", default="", help="what commands to copy end with, such as --data DIR")

    def handle(self, *args: Any, **options: Any) -> None:
        self.stdout.write(json.dumps([to_wire(finding) for finding in database.findings(options["option"])]))
