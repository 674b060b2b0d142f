"""JSON files that one process writes while others read them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import msgspec


def write_json(path: Path, content: Any) -> None:
    """``content`` as JSON at ``path``, complete or not at all. Raises ``OSError``."""
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    unfinished.write_bytes(msgspec.json.encode(content))
    os.replace(unfinished, path)
