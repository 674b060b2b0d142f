"""Run a script that imports Ultralytics beside any torch: ``python -m bench.with_ultralytics SCRIPT ARGUMENT…``."""

from __future__ import annotations

import runpy
import sys

from detectors.backends import torchvision_ops


def main() -> None:
    """Let torchvision be imported, or a stand-in for it, then run the script as if it had been called itself."""
    torchvision_ops.known()
    torchvision_ops.ready()
    del sys.argv[0]
    runpy.run_path(sys.argv[0], run_name="__main__")


if __name__ == "__main__":
    main()
