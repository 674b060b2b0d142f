"""The machine itself: disk, memory, cores, clock, ports, and whether names are found."""

from __future__ import annotations

import ctypes
import os
import re
import shutil
import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.parse import urlsplit

from monitor.findings.finding import Finding, Scope, State, Values, _
from monitor.instance import free_port, port_is_free

GIB = 2**30
LITTLE_DISK_GIB, LEAST_DISK_GIB = 5.0, 0.5
LITTLE_MEMORY_GIB, LEAST_MEMORY_GIB = 2.0, 1.0
"""Everything with four cameras takes about 1.5 GiB."""
FEW_CORES = 2
UNSYNCHRONISED = 5
"""``TIME_ERROR`` of adjtimex(2)."""


def check_disk(scope: Scope) -> list[Finding]:
    """Room for pictures, the log and the database."""
    folder = scope.data
    while not folder.exists():
        folder = folder.parent
    return [disk(shutil.disk_usage(folder).free / GIB, folder)]


def disk(free_gib: float, folder: Path) -> Finding:
    """Whether ``free_gib`` is enough."""
    values: Values = {
        "free": round(free_gib, 1),
        "least": LEAST_DISK_GIB,
        "little": LITTLE_DISK_GIB,
        "folder": str(folder),
    }
    if free_gib >= LITTLE_DISK_GIB:
        return Finding("disk", _("Disk"), State.OK, _("%(free)s GiB free for %(folder)s"), values=values)
    remedy = f"du -xh --max-depth=2 {folder} | sort -h | tail"
    if free_gib >= LEAST_DISK_GIB:
        text = _("%(free)s GiB free for %(folder)s; less than %(little)s GiB fills within days.")
        return Finding("disk", _("Disk"), State.NOTE, text, remedy=remedy, values=values)
    return Finding(
        "disk",
        _("Disk"),
        State.WRONG,
        _("Expected %(least)s GiB free for %(folder)s, got %(free)s: soon nothing can be recorded."),
        remedy=remedy,
        advice=_("The command shows what is largest; delete what is not needed, or give Poliscope another --data DIR."),
        values=values,
    )


def check_memory(scope: Scope) -> list[Finding]:
    """Memory of this machine, or of the container it is."""
    return [memory(memory_gib())]


def memory_gib(limits: tuple[Path, ...] = (Path("/sys/fs/cgroup/memory.max"),)) -> float:
    """What there is in all, GiB: of the machine, or less where a control group allows less."""
    found = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for path in limits:
        try:
            text = path.read_text().strip()
        except OSError:
            continue
        found += [int(text)] if text.isdigit() else []
    return min(found) / GIB


def memory(total_gib: float) -> Finding:
    """Whether ``total_gib`` is enough."""
    values = {"total": round(total_gib, 1), "least": LEAST_MEMORY_GIB, "little": LITTLE_MEMORY_GIB}
    if total_gib >= LITTLE_MEMORY_GIB:
        return Finding("memory", _("Memory"), State.OK, _("%(total)s GiB"), values=values)
    enough = total_gib >= LEAST_MEMORY_GIB
    return Finding(
        "memory",
        _("Memory"),
        State.NOTE if enough else State.WRONG,
        _("%(total)s GiB; four cameras with everything on one machine take about 1.5 GiB.")
        if enough
        else _("Expected %(least)s GiB or more, got %(total)s: the kernel would end parts as they start."),
        advice=_("Give the machine or its container %(little)s GiB."),
        values=values,
    )


def check_cores(scope: Scope) -> list[Finding]:
    """Cores that this process may use."""
    return [cores(len(os.sched_getaffinity(0)))]


def cores(count: int) -> Finding:
    """Whether ``count`` cores are enough."""
    if count >= FEW_CORES:
        return Finding("cores", _("Cores"), State.OK, _("%(count)s"), values={"count": count})
    return Finding(
        "cores",
        _("Cores"),
        State.NOTE,
        _("Only one: pictures are read and analysed in turns, so a few cameras are what it can watch."),
        values={"count": count},
    )


def check_clock(scope: Scope) -> list[Finding]:
    """Whether somebody keeps this machine's clock right: events are only as true as their times."""
    return [clock(adjtimex())]


def adjtimex() -> int:
    """The state of the kernel's clock (adjtimex(2)); changes nothing. −1 where it cannot be asked."""
    # struct timex is 208 bytes; its first field, modes, is 0: only read.
    try:
        return int(ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(512)))
    except AttributeError:
        return -1


def clock(state: int) -> Finding:
    """What adjtimex's answer means."""
    if state < 0:
        return Finding("clock", _("Clock"), State.NOTE, _("The kernel does not say whether the clock is kept right."))
    if state != UNSYNCHRONISED:
        return Finding("clock", _("Clock"), State.OK, _("kept right by a time server"))
    return Finding(
        "clock",
        _("Clock"),
        State.NOTE,
        _("Nobody keeps this machine's clock right, so the times of events may be off."),
        remedy="timedatectl set-ntp true",
        advice=_("In a container the host's clock counts: ask there."),
    )


def check_port(scope: Scope) -> list[Finding]:
    """The room's port is free, if one is wanted. While the installation runs, its answer counts instead."""
    from monitor.findings.installation import is_running

    return [port(scope.port)] if scope.port and not is_running(scope.data) else []


def port(number: int) -> Finding:
    """Whether a server may listen on 127.0.0.1:``number``."""
    if port_is_free(number):
        return Finding("port", _("Port"), State.OK, _("%(port)s is free"), values={"port": number})
    return Finding(
        "port",
        _("Port"),
        State.WRONG,
        _("Port %(port)s: expected a free port, but another program listens there."),
        remedy=f"./poliscope up --port {free_port()}",
        advice=_("Or see who it is with: ss -ltnp"),
        values={"port": number},
    )


Resolve = Callable[[str], object]


def _resolve(host: str) -> object:
    return socket.getaddrinfo(host, None)


def check_names(scope: Scope) -> list[Finding]:
    """The names that this installation needs are found; with none, at least this machine's own."""
    return names(needed_hosts(scope.environment) or ["localhost"])


def needed_hosts(environment: Mapping[str, str]) -> list[str]:
    """Hosts by name that the settings of ``environment`` point to.

    >>> needed_hosts({"POLISCOPE_KAFKA": "k1:9092,10.0.0.2:9092", "POLISCOPE_SMTP_URL": "smtp://a:b@mail.example.org"})
    ['k1', 'mail.example.org']
    """
    given = [entry.rpartition(":")[0] for entry in environment.get("POLISCOPE_KAFKA", "").split(",")]
    for name in ("POLISCOPE_SMTP_URL", "DATABASE_URL", "REDIS_URL", "POLISCOPE_FRAMES_URL", "TWILIO_BASE_URL"):
        given.append(_host_of(environment.get(name, "")))
    if environment.get("TWILIO_ACCOUNT_SID") and not environment.get("TWILIO_BASE_URL"):
        given.append("api.twilio.com")
    return [host for host in dict.fromkeys(given) if host and not re.fullmatch(r"[\d.]+|.*:.*", host)]


def _host_of(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def names(hosts: list[str], resolve: Resolve = _resolve) -> list[Finding]:
    """Whether every host of ``hosts`` is found. Blocks as the resolver does."""
    lost = []
    for host in hosts:
        try:
            resolve(host)
        except OSError as error:
            lost.append(_lost_name(host, error.strerror or type(error).__name__))
    found = ", ".join(hosts)
    return lost or [Finding("names", _("Names"), State.OK, _("found: %(hosts)s"), values={"hosts": found})]


def _lost_name(host: str, problem: str) -> Finding:
    return Finding(
        "names",
        _("Names"),
        State.WRONG,
        _("The name %(host)s is not found (%(problem)s)."),
        remedy=f"getent hosts {host}; cat /etc/resolv.conf",
        advice=_("Mend the name in the settings, or the resolver that /etc/resolv.conf names."),
        values={"host": host, "problem": problem},
    )
