"""torchvision beside any torch: one process that finds it right, then not fitting, then not there."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

FITS = """
import torch
class ops:
    @staticmethod
    def nms(boxes, scores, iou_threshold):
        return torch.tensor([0])
"""
# As the real one beside another torch: what it describes must exist before, and its own function asks for the rest.
DOES_NOT_FIT = """
import torch
torch.library.register_fake("torchvision::nms")(lambda dets, scores, iou_threshold: dets.new_empty(0))
from torchvision import ops
"""
OPS = """
class boxes:
    pass
def nms(boxes, scores, iou_threshold):
    raise RuntimeError("Couldn't load custom C++ ops.")
"""
PROGRAM = """
import importlib.machinery, importlib.util, sys, torch
from detectors.backends import torchvision_ops

class OnlyIn:
    "Finds torchvision in one folder, and hides the site's own."
    folder = ""
    def find_spec(self, name, path=None, target=None):
        if name != "torchvision":
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, [self.folder])
        if spec is None:
            raise ModuleNotFoundError(name)
        return spec

boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 11], [30, 30, 40, 40]])
scores = torch.tensor([0.5, 0.9, 0.1])
sys.meta_path.insert(0, OnlyIn())
for name in ("fits", "does_not_fit", "is_not_there"):
    OnlyIn.folder, torchvision_ops._way = f"{sys.argv[1]}/{name}", None
    torchvision_ops._forget()
    took = torchvision_ops.ready()
    import torchvision
    kept = torchvision.ops.nms(boxes, scores, 0.5).tolist()
    again = torch.ops.torchvision.nms(boxes, scores, 0.5).tolist() if name != "fits" else "-"
    print(name, took, kept, again)
"""


@pytest.fixture(autouse=True)
def _installed() -> None:
    if not importlib.util.find_spec("torch") or not importlib.util.find_spec("ultralytics"):
        pytest.skip("needs Ultralytics: ./poliscope install ultralytics")


def test_suppression_works_beside_any_torch(tmp_path: Path) -> None:
    for name, files in {
        "fits": {"__init__.py": FITS},
        "does_not_fit": {"__init__.py": DOES_NOT_FIT, "ops.py": OPS},
        "is_not_there": {},
    }.items():
        for file, text in files.items():
            (tmp_path / name / "torchvision").mkdir(parents=True, exist_ok=True)
            (tmp_path / name / "torchvision" / file).write_text(text)
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path)],
        cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.stdout.splitlines() == [
        "fits torchvision [0] -",
        "does_not_fit registered [1, 2] [1, 2]",
        "is_not_there stub [1, 2] [1, 2]",
    ], done.stderr


def test_one_that_is_not_installed_has_the_version_of_its_torch() -> None:
    from detectors.backends import torchvision_ops

    context = importlib.metadata.DistributionFinder.Context(name="torchvision")
    [distribution] = torchvision_ops._Registered.find_distributions(context)
    minor = importlib.metadata.version("torch").split(".")[1]
    assert distribution.version == f"0.{int(minor) + 15}.0"
    other = importlib.metadata.DistributionFinder.Context(name="torchaudio")
    assert list(torchvision_ops._Registered.find_distributions(other)) == []
