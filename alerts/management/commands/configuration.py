"""``manage.py configuration export|import FILE``: everything that is configured, as one text."""

from __future__ import annotations

import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from alerts.configuration.bring_in import Outcome, bring_in
from alerts.configuration.export import read_rows
from alerts.configuration.said import difference_lines, problem_line
from alerts.configuration.text import BYTES_MOST, write
from streams.paths import whole_path


class Command(BaseCommand):
    help = "Write the configuration as one text, or make it what a text says. Log-ins of cameras are never in it."

    def add_arguments(self, parser: CommandParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True)
        export = actions.add_parser("export", help="write it")
        export.add_argument("file", help="where to; - for standard output")
        bring = actions.add_parser("import", help="read one, say what it changes, and change it")
        bring.add_argument("file", help="where from; - for standard input")
        bring.add_argument("--dry-run", action="store_true", help="only say what it would change")
        bring.add_argument(
            "--remove", action="store_true", help="let go what the text lacks; what incidents point at is switched off"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if options["action"] == "export":
            self._export(options["file"])
        else:
            self._import(options["file"], remove=options["remove"], try_only=options["dry_run"])

    def _export(self, name: str) -> None:
        text = write(read_rows(timezone.now()))
        if name == "-":
            self.stdout.write(text, ending="")
            return
        try:
            whole_path(name).write_text(text, "utf-8")
        except OSError as error:
            raise CommandError(f"{name}: cannot be written ({error.strerror}); choose another place") from None

    def _import(self, name: str, *, remove: bool, try_only: bool) -> None:
        outcome = bring_in(_read(name), author=None, now=timezone.now(), remove=remove, try_only=try_only)
        if outcome.problems:
            told = "\n".join(problem_line(problem) for problem in outcome.problems)
            raise CommandError(f"{name}: nothing was changed.\n{told}")
        for warning in outcome.warnings:
            self.stderr.write(problem_line(warning))
        for line in difference_lines(outcome, remove=remove):
            self.stdout.write(line)
        self.stdout.write(_summary(outcome, try_only))


def _summary(outcome: Outcome, try_only: bool) -> str:
    counts = {what: len(outcome.having(what)) for what in ("added", "changed", "missing", "same")}
    said = ", ".join(f"{count} {what}" for what, count in counts.items())
    return f"{said}. {'Nothing was changed: a dry run.' if try_only else 'Done.'}"


def _read(name: str) -> str:
    """The text; only so much of it as is allowed and one byte more, which is then refused."""
    try:
        if name == "-":
            raw = sys.stdin.buffer.read(BYTES_MOST + 1)
        else:
            with whole_path(name).open("rb") as file:
                raw = file.read(BYTES_MOST + 1)
        return raw.decode("utf-8-sig")
    except OSError as error:
        raise CommandError(f"{name}: cannot be read ({error.strerror}); check the name") from None
    except UnicodeDecodeError as error:
        raise CommandError(f"{name}: expected UTF-8, got another byte at {error.start}; save it as UTF-8") from None
