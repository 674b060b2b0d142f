"""Whether this machine has an NVIDIA driver, without any library of NVIDIA's. Standard library only.

Run as a program it names the build of torch that fits: ``cuda`` or ``cpu``.
"""

from __future__ import annotations

import shutil
from pathlib import Path

DRIVER = Path("/proc/driver/nvidia/version")


def driver_there() -> bool:
    """True where the kernel module is loaded or NVIDIA's own tool is on the path (containers may have only that)."""
    return DRIVER.exists() or shutil.which("nvidia-smi") is not None


if __name__ == "__main__":
    print("cuda" if driver_there() else "cpu")
