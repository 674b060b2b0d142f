"""SQLite tables, made once: to go through all migrations takes ten seconds of a core, a copy of the file nothing.

Where ``POLISCOPE_TEST_TABLES`` names such a file (``tests.run`` makes one for all its jobs), Django's own test database
is a copy of it too.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
VARIABLE = "POLISCOPE_TEST_TABLES"


def make(file: Path) -> subprocess.Popen[bytes]:
    """Begin to make them in a process of its own."""
    settings = {"DATABASE_URL": f"sqlite:///{file}", "DJANGO_SETTINGS_MODULE": "tests.settings"}
    return subprocess.Popen(
        [sys.executable, "manage.py", "migrate", "--verbosity", "0"], cwd=ROOT, env={**os.environ, **settings}
    )


@pytest.fixture(scope="session")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database without a row of anybody's, to be copied by installations that need not begin with nothing."""
    if made := os.environ.get(VARIABLE):
        return Path(made)
    file = tmp_path_factory.mktemp("tables") / "tables.sqlite3"
    assert make(file).wait(120) == 0
    return file


def copied(name: str) -> bool:
    """Put them where Django's test database will be; whether there are any."""
    made = os.environ.get(VARIABLE)
    if made:
        shutil.copy(made, name)
    return bool(made)
