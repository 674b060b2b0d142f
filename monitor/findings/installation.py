"""The installation in the data folder, as its files and its web server tell it: no database is opened in here."""

from __future__ import annotations

import fcntl
import json
import os
import pwd
import stat
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from monitor.findings.finding import Finding, Scope, State, Values, _

HEALTH_S = 5.0
PRIVATE = ("*.secret", "run/environment.json", "valkey-*/valkey.conf")
LOCK = Path("run") / "lock"


def is_running(data: Path) -> bool:
    """Whether an ``up`` holds the folder."""
    try:
        with (data / LOCK).open("r") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def check_folder(scope: Scope) -> list[Finding]:
    """The data folder can be written by whoever runs us, who is its owner."""
    return [folder(scope.data, os.getuid())]


def folder(data: Path, user: int) -> Finding:
    """Whether ``user`` can keep an installation in ``data``."""
    values = {"folder": str(data), "user": _name(user)}
    if not data.exists():
        return _new_folder(data, user)
    if not data.is_dir():
        text = _("%(folder)s: expected a folder, got something else.")
        return Finding("folder", _("Data folder"), State.WRONG, text, remedy=f"mv {data} {data}.old", values=values)
    owner = data.stat().st_uid
    if owner != user:
        text = _("%(folder)s belongs to %(owner)s, and Poliscope is run by %(user)s.")
        remedy = f"chown -R {_name(user)} {data}"
        values |= {"owner": _name(owner)}
        return Finding("folder", _("Data folder"), State.WRONG, text, remedy=remedy, values=values)
    if not os.access(data, os.W_OK | os.X_OK):
        text = _("%(folder)s cannot be written.")
        return Finding("folder", _("Data folder"), State.WRONG, text, remedy=f"chmod u+rwx {data}", values=values)
    return Finding("folder", _("Data folder"), State.OK, _("%(folder)s, of %(user)s"), values=values)


def _new_folder(data: Path, user: int) -> Finding:
    parent = data
    while not parent.exists():
        parent = parent.parent
    values = {"folder": str(data), "parent": str(parent)}
    if parent.is_dir() and os.access(parent, os.W_OK | os.X_OK):
        text = _("%(folder)s is made at the first start")
        return Finding("folder", _("Data folder"), State.OK, text, values=values)
    return Finding(
        "folder",
        _("Data folder"),
        State.WRONG,
        _("%(folder)s: expected to make it, but %(parent)s cannot be written."),
        remedy=f"mkdir -p {data} && chown {_name(user)} {data}",
        values=values,
    )


def _name(user: int) -> str:
    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return str(user)


def check_secrets(scope: Scope) -> list[Finding]:
    """Nobody but their owner can read the files that hold passwords and keys."""
    return [secrets(scope.data)] if scope.data.is_dir() else []


def secrets(data: Path) -> Finding:
    """The modes of the private files in ``data``."""
    files = [path for pattern in PRIVATE for path in sorted(data.glob(pattern))]
    open_ones = [path for path in files if stat.S_IMODE(path.stat().st_mode) & 0o077]
    if not open_ones:
        values = {"count": len(files)}
        return Finding("secrets", _("Secrets"), State.OK, _("%(count)s files, for their owner only"), values=values)
    names = " ".join(str(path) for path in open_ones)
    return Finding(
        "secrets",
        _("Secrets"),
        State.WRONG,
        _("Others on this machine can read %(files)s."),
        remedy=f"chmod 600 {names}",
        advice=_("If others use this machine, count what was in there as known: stop, delete the files, start again."),
        values={"files": ", ".join(path.name for path in open_ones)},
    )


def check_running(scope: Scope) -> list[Finding]:
    """Whether it runs, and how each part and camera does."""
    named = not scope.has_installation and "POLISCOPE_URL" in scope.environment
    if is_running(scope.data) or named:
        return running(address(scope), token(scope.data), scope.data / "logs")
    if not scope.has_installation:
        return [_not_yet(scope)]
    return [
        Finding(
            "running", _("Poliscope"), State.NOTE, _("It is not running."), remedy=f"./poliscope up{scope.as_option()}"
        )
    ]


def _not_yet(scope: Scope) -> Finding:
    return Finding(
        "running",
        _("Poliscope"),
        State.NOTE,
        _("Nothing is set up in %(folder)s yet."),
        remedy=f"./poliscope up{scope.as_option()}",
        values={"folder": str(scope.data)},
    )


def address(scope: Scope) -> str:
    """Where the room of the running installation is."""
    try:
        kept = json.loads((scope.data / "run" / "environment.json").read_text())
    except (OSError, ValueError):
        kept = {}
    return str(kept.get("POLISCOPE_URL") or scope.environment.get("POLISCOPE_URL") or f"http://127.0.0.1:{scope.port}")


def token(data: Path) -> str:
    """The token of ``up``; empty where there is none."""
    try:
        return (data / "token.secret").read_text().strip()
    except OSError:
        return ""


def running(url: str, bearer: str, logs: Path, timeout_s: float = HEALTH_S) -> list[Finding]:
    """What the room at ``url`` says of everybody's health; the parts write into ``logs``."""
    try:
        health = ask_health(url, bearer, timeout_s)
    except (OSError, ValueError) as problem:
        return [_silent(url, str(getattr(problem, "reason", problem)), logs)]
    return [*parts(url, health, logs), *cameras(health)]


def ask_health(url: str, bearer: str, timeout_s: float) -> dict[str, Any]:
    """The answer of ``/api/v1/health``; without ``bearer``, or with one that works no more, only whether all is well.

    Raises ``OSError`` or ``ValueError``.
    """
    request = urllib.request.Request(f"{url}/api/v1/health")
    if bearer:
        request.add_header("Authorization", f"Bearer {bearer}")
    try:
        with urllib.request.urlopen(request, timeout=timeout_s) as response:
            answer: dict[str, Any] = json.load(response)
            return answer
    except urllib.error.HTTPError as problem:
        if problem.code == 401 and bearer:
            return ask_health(url, "", timeout_s)
        raise


def _silent(url: str, problem: str, logs: Path) -> Finding:
    return Finding(
        "running",
        _("Poliscope"),
        State.WRONG,
        _("The room at %(url)s does not answer: %(problem)s"),
        remedy=f"tail -n 20 {logs / 'web.log'}",
        values={"url": url, "problem": problem},
    )


def parts(url: str, health: dict[str, Any], logs: Path) -> list[Finding]:
    """One finding for each part that is unwell, else one for all."""
    known = health.get("parts")
    alive = {part["part"] for part in known or () if part["state"] == "ok"}
    unwell = [part for part in known or () if part["state"] == "troubled" or part["part"] not in alive]
    values: Values = {"url": url, "count": len(alive)}
    if known is None and not health.get("ok"):
        text = _("It runs at %(url)s, and not every part of it is well.")
        return [Finding("running", _("Poliscope"), State.WRONG, text, advice=_("Look at the room."), values=values)]
    if not unwell:
        return [Finding("running", _("Poliscope"), State.OK, _("runs at %(url)s, every part is well"), values=values)]
    return [_unwell(part, logs) for part in unwell]


def _unwell(part: dict[str, Any], logs: Path) -> Finding:
    return Finding(
        "part",
        _("Poliscope"),
        State.WRONG,
        _("The part %(part)s is %(state)s. %(problem)s"),
        remedy=f"tail -n 20 {logs}/{part['part']}.log",
        values={"part": part["part"], "state": part["state"], "problem": part.get("problem") or ""},
    )


def cameras(health: dict[str, Any]) -> list[Finding]:
    """How many cameras see. Nothing is said where it is not known."""
    known = [camera for camera in health.get("cameras") or () if camera["state"] in ("seeing", "blind")]
    lost = [camera for camera in known if camera["state"] != "seeing"]
    values: Values = {"count": len(known), "lost": len(lost), "names": ", ".join(camera["name"] for camera in lost[:3])}
    if not known:
        return []
    if not lost:
        return [Finding("cameras", _("Cameras"), State.OK, _("all %(count)s see"), values=values)]
    return [
        Finding(
            "cameras",
            _("Cameras"),
            State.WRONG,
            _("%(lost)s of %(count)s cameras do not see: %(names)s"),
            advice=_("The strip above the room says why; mend the address or the log-in at Set-up, Cameras."),
            values=values,
        )
    ]
