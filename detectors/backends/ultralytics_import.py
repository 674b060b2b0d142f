"""The only file that imports Ultralytics. It does so tamed: nothing is installed, fetched or told, and nothing is
unpickled but what Ultralytics knows.

By itself it runs ``pip install`` for modules that a checkpoint names, fetches weights that are not there, sends usage
figures, keeps its settings in the user's home, and unpickles checkpoints without limits, which runs whatever code they
hold. Each is switched off by the environment, and only before the first import.
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from pathlib import Path

from detectors.backends import torchvision_ops

SETTINGS = {
    "ULTRALYTICS_SAFE_LOAD": "1",
    "YOLO_AUTOINSTALL": "false",
    "YOLO_OFFLINE": "true",
    "YOLO_VERBOSE": "false",
}


def _settings_folder() -> str:
    """A folder for its settings file that nobody else writes: the installation's own, else one of this process."""
    if data := os.environ.get("POLISCOPE_DATA"):
        return str(Path(data) / "ultralytics")
    folder = tempfile.mkdtemp(prefix="poliscope-ultralytics-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


os.environ.update(SETTINGS, YOLO_CONFIG_DIR=_settings_folder())
torchvision_ops.known()

import ultralytics.utils  # noqa: E402
from ultralytics.nn import tasks  # noqa: E402
from ultralytics.nn.autobackend import AutoBackend  # noqa: E402
from ultralytics.nn.modules import head  # noqa: E402
from ultralytics.utils.checks import check_yolov5u_filename  # noqa: E402
from ultralytics.utils.metrics import batch_probiou  # noqa: E402
from ultralytics.utils.nms import TorchNMS  # noqa: E402

ultralytics.utils.SETTINGS["sync"] = False

__all__ = [
    "AutoBackend",
    "TorchNMS",
    "batch_probiou",
    "check_yolov5u_filename",
    "head",
    "tasks",
    "ultralytics",
    "unsafe",
]


def unsafe() -> str:
    """Why a checkpoint must not be unpickled here; empty when it may.

    Ultralytics switches safe loading off without a word where torch is too old for it, and whoever imported it before
    us has fixed its settings.
    """
    if not tasks.SAFE_LOAD or ultralytics.utils.AUTOINSTALL:
        return "Ultralytics was imported before its settings were made"
    if not tasks._SafeLoad.SUPPORTED or not tasks._SafeLoad.restricted():
        return "this torch has no safe loading"
    return ""
