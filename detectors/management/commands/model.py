"""``manage.py model add|list|remove``: models of this installation, and the names of those that can be fetched."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db.models import Q

from detectors import registry
from detectors.backends.base import ModelProblem
from detectors.bring import bring
from detectors.intake import remove, split_labels
from detectors.known import KNOWN
from detectors.models import Model
from detectors.registry import AUTO
from detectors.runtimes import missing
from streams.paths import whole_path

LABELS_HELP = (
    "the classes in their order, “-” for one that is not used (person,-,car); or what some of them are to us"
    " (forklift=truck,cone=-)"
)


class Command(BaseCommand):
    help = "Add, list and remove models."

    def add_arguments(self, parser: CommandParser) -> None:
        parts = parser.add_subparsers(dest="part", required=True)
        add = parts.add_parser("add", help="fetch or copy a model, check it, register it")
        add.add_argument("what", metavar="NAME|FILE", help=f"{', '.join(KNOWN)}, an https:// address, or a file")
        add.add_argument("--name", default="", help="what it is called here (default: by its file)")
        add.add_argument("--licence", default="", help="under which it may be used")
        add.add_argument(
            "--labels", default="", help="our label of each class in their order, “-” for none: person,-,car"
        )
        add.add_argument("--backend", default=AUTO, choices=[AUTO, *sorted(registry.BACKENDS)], help="what runs it")
        add.add_argument("--timeout", type=float, default=10.0, help="seconds without an answer until it gives up")
        parts.add_parser("list", help="models that are here, and names that can be added")
        out = parts.add_parser("remove", help="take a model out, with its files")
        out.add_argument("what", metavar="NAME", help="its name, or name and version")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            {"add": self._add, "list": self._list, "remove": self._remove}[options["part"]](options)
        except ModelProblem as problem:
            raise CommandError(str(problem)) from None

    def _add(self, options: dict[str, Any]) -> None:
        what = options["what"]
        here = whole_path(what)
        model = bring(
            str(here) if "://" not in what and here.exists() else what,
            name=options["name"],
            licence=options["licence"],
            labels=split_labels(options["labels"]),
            backend=options["backend"],
            silence_s=options["timeout"],
            tell=self._tell,
        )
        self._end_line()
        self.stdout.write(f"{model} is in: {_speed(model)}; licence {model.licence or 'not known'}; {model.sha256}")
        if left := [one["name"] for one in model.classes if not one["label"]]:
            self.stdout.write(f"not used, for want of a label of ours: {', '.join(left)}")
        self.stdout.write("Choose it in a deployment: /admin/detectors/deployment/")

    def _tell(self, words: str) -> None:
        if sys.stderr.isatty():
            self.stderr.write(f"\r  {words:<76}", ending="")
        elif not words.startswith("fetching"):
            self.stderr.write(f"  {words}")

    def _end_line(self) -> None:
        if sys.stderr.isatty():
            self.stderr.write("")

    def _list(self, options: dict[str, Any]) -> None:
        try:
            for line in _lines():
                self.stdout.write(line)
            self.stdout.flush()
        except BrokenPipeError:
            # Whoever reads may stop reading (`| head`). What Python has left to flush at its end goes nowhere.
            os.dup2(os.open(os.devnull, os.O_WRONLY), self.stdout.fileno())

    def _remove(self, options: dict[str, Any]) -> None:
        name, _, version = options["what"].rpartition(" ")
        found = list(Model.objects.filter(Q(name=options["what"]) | Q(name=name, version=version)))
        if len(found) != 1:
            there = ", ".join(str(model) for model in Model.objects.all()) or "none"
            raise CommandError(f"model: expected one of {there}, got {options['what']!r}; give name and version")
        remove(found[0])
        self.stdout.write(f"{found[0]} is out")


def _lines() -> Iterator[str]:
    for model in Model.objects.all():
        why = "" if model.backend == AUTO else missing(model.backend)
        yield f"{model}  {_speed(model)}  {why or model.problem or 'usable'}"
    yield "Can be added by name:"
    for one in KNOWN.values():
        yield f"  {one.name:<12} {one.licence:<12} {one.words}"


def _speed(model: Model) -> str:
    if model.latency_ms is None:
        return "not measured here"
    return f"{model.latency_ms:.0f} ms a picture ({model.measured_on})"
