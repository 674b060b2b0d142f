"""Run ``manage.py`` for one installation: ``python -m monitor.manage COMMAND … [--data DIR]``."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from monitor.instance import BASE_DIR, Instance
from streams.paths import whole_path


def main(arguments: Sequence[str]) -> None:
    """Replace this process by ``manage.py`` with the installation's environment; ``--data`` names its folder."""
    parser = argparse.ArgumentParser(prog="poliscope", add_help=False, allow_abbrev=False)
    parser.add_argument("--data", type=whole_path, default=BASE_DIR / "data", metavar="DIR")
    given, command = parser.parse_known_args(arguments)
    if not (given.data / "key.secret").exists():
        sys.exit(f"poliscope: {given.data} holds no installation; run ./poliscope up first, or name it with --data DIR")
    environment = Instance.open(given.data).environment()
    os.chdir(BASE_DIR)
    os.execve(sys.executable, [sys.executable, "manage.py", *command], environment)


if __name__ == "__main__":
    main(sys.argv[1:])
