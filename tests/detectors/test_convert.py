"""A ``.pt`` becomes ONNX in a bounded child, by safe loading only: what would run code is refused, and does not run."""

# ruff: noqa: E402  (a machine without Ultralytics must be able to skip this file)
from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

# Not Ultralytics itself: whoever imports it first fixes its settings.
REASON = "needs Ultralytics: ./poliscope install ultralytics"
pytest.importorskip("detectors.backends.ultralytics_import", reason=REASON, exc_type=ImportError)

from detectors import convert, intake
from detectors.backends.base import ModelBroken, check_onnx
from detectors.bounded import Bounds
from detectors.intake import take_in, to_onnx
from tests.detectors import hostile, yolo

pytestmark = pytest.mark.slow

WITHIN = Bounds(wall_s=60.0, cpu_s=60)


def made_pt(path: Path) -> Path:
    """Random weights in a YOLO11n of two classes, as Ultralytics saves it."""
    yolo.save(path, "detect", ("person", "car"))
    return path


def test_a_pt_becomes_onnx(tmp_path: Path) -> None:
    made = to_onnx(made_pt(tmp_path / "model.pt"), "best.pt", tmp_path, WITHIN)
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


@pytest.mark.django_db
def test_a_pt_that_stays_one_runs_in_ultralytics(tmp_path: Path, settings: Any) -> None:
    settings.DATA_DIR = tmp_path / "data"
    model = take_in(made_pt(tmp_path / "best.pt"), backend="ultralytics", labels=("person", "-"), within=WITHIN)
    assert model.labels == ["person"]
    assert (model.backend, Path(model.path).name, model.licence) == ("ultralytics", "model.pt", "AGPL-3.0")
    assert "Ultralytics, CPU" in model.measured_on


def test_where_nothing_writes_onnx_a_pt_stays_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(convert, "find_spec", lambda name: None)
    assert not convert.can_convert()
