"""Where a path that a person typed is. No Django: ``up`` and the doctor ask too."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path


def whole_path(given: str, environment: Mapping[str, str] = os.environ) -> Path:
    """The file that somebody named: relative to where they called ``./poliscope``, which changes its folder."""
    return Path(os.path.normpath(Path(environment.get("POLISCOPE_FROM") or os.getcwd()) / Path(given).expanduser()))
