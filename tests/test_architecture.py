"""The house: which way imports run, which files are pure, what is banned. Read from the source, not by importing."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("streams", "detectors", "alerts", "frontend")
"""In the order of imports: each may import itself and those before it."""

PURE = {
    "streams": "frame observations topics ladder groups clock health health_picture live problems pace probed advice "
    "camera_list camera_plan instants",
    "detectors": "detections labels label_map geometry tracking batching plan dead_letters exported families known "
    "card_file "
    "backends/choice backends/ports backends/heads/__init__ backends/heads/base backends/heads/nanodet "
    "backends/heads/yolov5 backends/heads/yolov8 backends/heads/yolox backends/heads/end2end backends/heads/rtdetr "
    "backends/heads/detr backends/heads/dfine analytics/static_regions",
    "alerts": "events intake zones ground schedule transitions muting rota escalation quiet_hours engine archive_rows "
    "rehearsal rehearsal_items rehearsal_rows rehearsal_sequence rehearsal_summary rehearsal_tally "
    "rehearsal_ledger counted "
    "why versions overrides masks proposals "
    "budgets answers links outcomes notifiers/addresses notifiers/base "
    "configuration/entries configuration/text configuration/difference "
    "rules/config rules/logic rules/registry rules/presence "
    "rules/following rules/lines rules/turns rules/crossing rules/counting rules/dwell rules/crowd rules/stopped "
    "rules/wrong_way "
    "rules/appearance rules/absence rules/person_down rules/threshold rules/health rules/left rules/sequence sequences",
    "frontend": "messages outgoing",
}
IMPURE_MODULES = {
    *(
        "django",
        "channels",
        "celery",
        "kafka",
        "redis",
        "av",
        "torch",
        "openvino",
        "onnxruntime",
        "requests",
        "httpx",
        "urllib3",
    ),
    *("twilio", "socket", "subprocess", "threading", "asyncio"),
}
PURE_FILES = [ROOT / package / f"{name}.py" for package, names in PURE.items() for name in names.split()]
SOURCES = sorted(path for package in (*PACKAGES, "monitor") for path in (ROOT / package).rglob("*.py"))


def imports(path: Path) -> set[str]:
    """Every module that ``path`` imports, inside functions too."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def tops(path: Path) -> set[str]:
    return {name.split(".")[0] for name in imports(path)}


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_run_one_way(path: Path) -> None:
    package = path.relative_to(ROOT).parts[0]
    allowed = set(PACKAGES) if package == "monitor" else set(PACKAGES[: PACKAGES.index(package) + 1])
    forbidden = (set(PACKAGES) | {"monitor", "tests", "bench"}) - allowed - {package}
    assert not tops(path) & forbidden


@pytest.mark.parametrize("path", PURE_FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_pure_files_stay_pure(path: Path) -> None:
    assert not tops(path) & IMPURE_MODULES


@pytest.mark.parametrize("path", PURE_FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_pure_files_ask_nobody_for_the_time(path: Path) -> None:
    source = path.read_text()
    assert not [call for call in ("datetime.now(", "time.time(", "time.monotonic(", "timezone.now(") if call in source]


def test_the_log_clients_have_one_door() -> None:
    assert {path.name for path in SOURCES if "kafka" in tops(path)} <= {"log_kafka.py", "kafka.py"}


HEAVY = ("openvino", "torch", "onnxruntime", "cv2", "av", "pyarrow")
"""Each is 20 to 200 MB in every process that loads it."""


@pytest.mark.parametrize("module", ["alerts.sweep", "alerts.tasks", "monitor.asgi"])
def test_no_process_loads_what_only_the_sight_needs(module: str) -> None:
    code = f"""
import django, importlib, json, sys
django.setup()
importlib.import_module({module!r})
print(json.dumps([name for name in {HEAVY!r} if name in sys.modules]))
"""
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings"}
    said = subprocess.check_output([sys.executable, "-c", code], cwd=ROOT, env=environment, text=True)
    assert json.loads(said.splitlines()[-1]) == []


def test_addresses_are_opened_in_one_place() -> None:
    # Its exceptions carry the address with the password; only rtsp.py may see and redact them.
    opens = {path.name for path in SOURCES if "av.open(" in path.read_text()}
    assert opens <= {"rtsp.py", "cutouts.py", "files.py", "demo_cameras.py", "videos.py"}


def test_nobody_opens_cameras_through_opencv() -> None:
    assert not [path for path in SOURCES if "VideoCapture" in path.read_text()]


def test_every_registry_entry_is_one_file() -> None:
    for registry in ("alerts/rules/registry.py", "alerts/notifiers/registry.py", "detectors/registry.py"):
        for node in ast.walk(ast.parse((ROOT / registry).read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.count(":") == 1:
                module = node.value.split(":")[0]
                if "." in module and " " not in node.value:
                    assert (ROOT / (module.replace(".", "/") + ".py")).exists(), node.value
