"""``./poliscope doctor``: what is missing or wrong on this machine, each finding with what mends it.

Nothing is changed. Each check has a deadline and a failure of its own, so that one of them never hides the others.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import shutil
import signal
import sys
import textwrap
import threading
from collections.abc import Iterator, Sequence
from typing import Any

from monitor.findings.finding import Finding, Scope, State, _, to_wire, wrong
from monitor.instance import BASE_DIR
from streams.paths import whole_path

CHECKS = {
    _("Python"): "monitor.findings.python:check_python",
    _("Packages"): "monitor.findings.python:check_packages",
    _("Disk"): "monitor.findings.machine:check_disk",
    _("Memory"): "monitor.findings.machine:check_memory",
    _("Cores"): "monitor.findings.machine:check_cores",
    _("Clock"): "monitor.findings.machine:check_clock",
    _("Names"): "monitor.findings.machine:check_names",
    _("Port"): "monitor.findings.machine:check_port",
    _("Data folder"): "monitor.findings.installation:check_folder",
    _("Secrets"): "monitor.findings.installation:check_secrets",
    _("Valkey"): "monitor.findings.programs:check_valkey",
    _("Apache Kafka"): "monitor.findings.programs:check_kafka",
    _("Video"): "monitor.findings.programs:check_video",
    _("OpenVINO"): "monitor.findings.runtimes:check_openvino",
    _("ONNX Runtime"): "monitor.findings.runtimes:check_onnxruntime",
    _("Ultralytics"): "monitor.findings.runtimes:check_ultralytics",
    _("Chat and push"): "monitor.findings.runtimes:check_apprise",
    _("Models"): "monitor.findings.models:check_models",
    _("Poliscope"): "monitor.findings.installation:check_running",
    _("Installation"): "monitor.findings.database:check_installation",
}
"""What is looked at, in this order: name → dotted path, imported on use, for a package that it needs may be missing."""

WITHOUT_PACKAGES = ("python", "machine", "installation")
"""Where the base packages could not be installed, only these are of use; the others would all say the same."""
CHECK_S = 60.0
WORDS = {State.OK: "ok", State.NOTE: "note", State.WRONG: "wrong"}
COLOURS = {State.OK: "32", State.NOTE: "33", State.WRONG: "31"}
SUBJECT_WIDTH = 22


def look(scope: Scope, checks: dict[str, str] | None = None, check_s: float = CHECK_S) -> Iterator[list[Finding]]:
    """The findings of each check as it is done, in the order of ``checks``."""
    for subject, path in (CHECKS if checks is None else checks).items():
        module = path.partition(":")[0].rpartition(".")[2]
        if scope.pip_failed and (module not in WITHOUT_PACKAGES or path.endswith("check_packages")):
            yield []
        else:
            yield run_check(subject, path, scope, check_s)


def run_check(subject: str, path: str, scope: Scope, check_s: float) -> list[Finding]:
    """What the check at ``path`` finds; that it failed or did not end is a finding too."""
    found: list[list[Finding]] = []

    def check() -> None:
        module, _colon, name = path.partition(":")
        try:
            found.append(getattr(importlib.import_module(module), name)(scope))
        except Exception as problem:
            found.append([unchecked(subject, f"{type(problem).__name__}: {problem}")])

    # A thread that hangs is left behind: it ends with this process.
    thread = threading.Thread(target=check, daemon=True)
    thread.start()
    thread.join(check_s)
    return found[0] if found else [unchecked(subject, f"no answer within {check_s:.0f} s")]


def unchecked(subject: str, problem: str) -> Finding:
    """Nobody knows how ``subject`` stands."""
    return Finding(
        "unchecked",
        subject,
        State.WRONG,
        _("It could not be looked at: %(problem)s"),
        remedy="./poliscope doctor",
        advice=_("Mend what else is wrong first, then look again."),
        values={"problem": problem},
    )


class Lines:
    """Findings as lines for people, on ``file``: colours and progress on a terminal only."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self._colour = file.isatty() and not os.environ.get("NO_COLOR")
        self._width = max(60, min(120, shutil.get_terminal_size().columns))

    def waiting(self, subject: str) -> None:
        """Show what is looked at now."""
        if self._colour:
            self._write(f"\r  …      {subject:<{SUBJECT_WIDTH}}")

    def show(self, finding: Finding) -> None:
        """One finding: its line, and beneath it what mends it."""
        if self._colour:
            self._write("\r\033[K")
        word = f"{WORDS[finding.state]:<5}"
        shown = f"\033[{COLOURS[finding.state]}m{word}\033[0m" if self._colour else word
        lead = 9 + SUBJECT_WIDTH
        text = textwrap.wrap(finding.sentence, self._width - lead, break_on_hyphens=False) or [""]
        self._write(f"  {shown}  {finding.subject:<{SUBJECT_WIDTH}}{text[0]}\n")
        mending = textwrap.wrap(finding.advice_sentence, self._width - lead) if finding.state is not State.OK else []
        for line in [*text[1:], *mending]:
            self._write(f"{' ' * lead}{line}\n")
        if finding.remedy and finding.state is not State.OK:
            self._write(f"{' ' * lead}→ {finding.remedy}\n")

    def end(self, count: int) -> None:
        """The sum of it."""
        if self._colour:
            self._write("\r\033[K")
        said = "Nothing is wrong on this machine." if not count else "1 thing is wrong." if count == 1 else ""
        self._write(f"\n  {said or f'{count} things are wrong.'}\n")

    def _write(self, text: str) -> None:
        self._file.write(text)
        self._file.flush()


def read_options(arguments: Sequence[str]) -> argparse.Namespace:
    """Raises ``SystemExit`` with the usage for what it does not know."""
    parser = argparse.ArgumentParser(prog="poliscope doctor", description="What is missing or wrong on this machine.")
    parser.add_argument(
        "--data", type=whole_path, default=BASE_DIR / "data", metavar="DIR", help="the installation's folder"
    )
    parser.add_argument("--port", type=int, default=8000, help="the port wanted for the control room (default 8000)")
    parser.add_argument("--json", action="store_true", help="one line of JSON")
    parser.add_argument("--follow", action="store_true", help="a line of JSON for each check, as it is done")
    parser.add_argument("--pip-failed", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def main(arguments: Sequence[str]) -> int:
    """The command; 0 when nothing is wrong, else 1."""
    options = read_options(arguments)
    # Whoever reads may stop reading (`| head`); that is no failure of ours.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    scope = Scope(options.data.absolute(), options.port, dict(os.environ), options.pip_failed)
    if options.follow:
        return follow(scope)
    if options.json:
        return told_as_json(scope)
    return told_to_people(scope)


def told_to_people(scope: Scope) -> int:
    """Lines as they come."""
    lines, found, subjects = Lines(sys.stdout), 0, iter(CHECKS)
    lines.waiting(next(subjects))
    for findings in look(scope):
        for finding in findings:
            lines.show(finding)
        found += len(wrong(findings))
        lines.waiting(next(subjects, ""))
    lines.end(found)
    return 1 if found else 0


def told_as_json(scope: Scope) -> int:
    """One line for programs."""
    findings = [finding for some in look(scope) for finding in some]
    told = [{key: value for key, value in to_wire(one).items() if key != "message"} for one in findings]
    print(json.dumps({"ok": not wrong(findings), "wrong": len(wrong(findings)), "findings": told}))
    return 1 if wrong(findings) else 0


def follow(scope: Scope) -> int:
    """One line a check, for whoever shows progress: how many there are, what comes next, what was found."""
    subjects, count = list(CHECKS), 0
    for done, findings in enumerate(look(scope), 1):
        following = subjects[done] if done < len(subjects) else ""
        told = [to_wire(finding) for finding in findings]
        print(json.dumps({"done": done, "of": len(subjects), "next": following, "findings": told}), flush=True)
        count += len(wrong(findings))
    return 1 if count else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
