"""``python -m streams.scenes.draw --data DIR``: the demo's films, drawn where they are missing, and a list of them."""

from __future__ import annotations

import argparse
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from streams import films, scenes


def main(arguments: Sequence[str]) -> int:
    """The process; returns its exit status."""
    parser = argparse.ArgumentParser(prog="python -m streams.scenes.draw", description="The demo's four films.")
    parser.add_argument("--data", type=Path, required=True, help="folder for the films and films.json")
    folder = parser.parse_args(arguments).data
    try:
        folder.mkdir(parents=True, exist_ok=True)
        paths = scenes.prepare(folder, scenes.SCENES, _Told())
        drawn = [films.Film(one.key, one.title, str(paths[one.key]), one.length_s) for one in scenes.SCENES]
        films.write(drawn, folder)
    except (OSError, ValueError) as problem:
        print(f"drawing: {problem}", file=sys.stderr)
        return 1
    return 0


class _Told:
    """Says how far all films together are; several are drawn at once."""

    def __init__(self) -> None:
        self._shares, self._one = dict[str, float](), threading.Lock()

    def __call__(self, title: str, share: float) -> None:
        with self._one:
            self._shares[title] = share
            films = len(self._shares)
            print(f"drawing {films} film{'s' * (films != 1)}: {sum(self._shares.values()) / films:.0%}", flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
