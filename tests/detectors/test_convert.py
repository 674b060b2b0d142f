"""A ``.pt`` becomes ONNX in a bounded child, by safe loading only: what would run code is refused, and does not run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("ultralytics", reason="needs ./poliscope install ultralytics")

from detectors import convert, intake
from detectors.backends.base import ModelBroken, check_onnx
from detectors.bounded import Bounds
from detectors.intake import take_in, to_onnx
from tests.detectors import hostile
from tests.detectors.yolo import network

WITHIN = Bounds(wall_s=60.0, cpu_s=60)


def saved(path: Path) -> Path:
    """A YOLO11n with random weights, as Ultralytics saves one."""
    import torch

    torch.save({"model": network("detect", 2).half(), "train_args": {}, "license": "AGPL-3.0"}, path)
    return path


def test_a_pt_becomes_onnx(tmp_path: Path) -> None:
    made = to_onnx(saved(tmp_path / "model.pt"), "best.pt", tmp_path, WITHIN)
    assert made == tmp_path / "model.onnx" and list(tmp_path.iterdir()) == [made]
    file = check_onnx(made, "best.pt")
    assert [port.shape for port in file.inputs] == [(1, 3, 640, 640)]
    assert file.metadata["task"] == "detect"


@pytest.mark.django_db
def test_a_pickle_that_would_run_code_is_refused_and_does_not_run(tmp_path: Path, settings: Any) -> None:
    settings.DATA_DIR = tmp_path / "data"
    touched = tmp_path / "touched"
    with pytest.raises(ModelBroken, match=r"best\.pt: Ultralytics cannot read or convert it .*fetch it again"):
        take_in(hostile.canary(tmp_path / "best.pt", touched), within=WITHIN)
    assert not touched.exists()
    assert list(intake.incoming().iterdir()) == []


def test_where_nothing_writes_onnx_a_pt_stays_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(convert, "find_spec", lambda name: None)
    assert not convert.can_convert()
