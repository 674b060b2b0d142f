"""What is refused before a byte of a model is read by a runtime: each with its sentence, and nothing left."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from detectors import unpack as unpacking
from detectors.backends.base import ModelMissing, ModelProblem
from detectors.unpack import Refused, unpack
from tests.detectors import hostile

MOST = 3_000_000


def written(path: Path, content: bytes = b"x") -> Path:
    path.write_bytes(content)
    return path


def folder_of(folder: Path, *names: str) -> Path:
    folder.mkdir()
    for name in names:
        written(folder / name)
    return folder


REFUSALS: dict[str, tuple[Callable[[Path], Path], str]] = {
    "nothing there": (lambda at: at / "none.onnx", r"none\.onnx: expected a file or a folder, got nothing there"),
    "pickle": (lambda at: written(at / "a.pth"), r"a\.pth: expected \.onnx, .*got \.pth: such a file can run code"),
    "keras": (lambda at: written(at / "a.h5"), r"export the model to ONNX$"),
    "weights alone": (lambda at: written(at / "a.bin"), r"lacks its network; export the model to ONNX"),
    "picture": (lambda at: written(at / "a.jpg"), r"a\.jpg: expected \.onnx, .*got \.jpg; export"),
    "no ending": (lambda at: written(at / "model"), r"got no ending"),
    "xml without bin": (lambda at: written(at / "a.xml"), r"expected the \.bin beside the \.xml, got the \.xml alone"),
    "empty": (lambda at: written(at / "a.onnx", b""), r"a\.onnx: expected a model, got an empty file; export or copy"),
    "empty in a zip": (lambda at: hostile.zipped(at / "a.zip", a__onnx=b""), r"a\.zip: expected a model, got an empty"),
    "too large": (
        lambda at: written(at / "a.onnx", bytes(MOST + 1)),
        r"expected at most 3\.0 MB, got 3\.0 MB; choose a smaller model, or raise POLISCOPE_MODEL_MAX_MB",
    ),
    "zip bomb": (
        lambda at: hostile.bomb(at / "a.zip", 50_000_000),
        r"a\.zip, unpacked: expected at most 3\.0 MB, got 50\.0 MB",
    ),
    "zip bomb that lies": (
        lambda at: hostile.lying_bomb(at / "a.zip", 50_000_000),
        r"a\.zip(, unpacked)?: expected (at most 3\.0 MB|a whole zip file)",
    ),
    "zip slip": (lambda at: hostile.slip(at / "a.zip", "../../etc/model.toml"), r"got '\.\./\.\./etc/model\.toml'"),
    "zip slip backslash": (lambda at: hostile.slip(at / "a.zip", "..\\model.toml"), r"expected files below the zip"),
    "zip absolute": (
        lambda at: hostile.slip(at / "a.zip", "/etc/cron.d/x"),
        r"expected files below the zip, got '/etc",
    ),
    "zip symlink": (lambda at: hostile.linked(at / "a.zip"), r"expected plain files in the zip, got 'model\.onnx'"),
    "zip of two": (
        lambda at: hostile.zipped(at / "a.zip", a__onnx=b"x", b__onnx=b"x"),
        r"expected one \.onnx, or one \.xml with its \.bin, got a\.onnx, b\.onnx",
    ),
    "zip of none": (
        lambda at: hostile.zipped(at / "a.zip", readme__md=b"x"),
        r"got none of them; pack one model alone",
    ),
    "zip of many": (
        lambda at: hostile.zipped(at / "a.zip", **{f"f{number}": b"" for number in range(70)}),
        r"expected at most 64 files in the zip, got 70",
    ),
    "zip that is none": (lambda at: written(at / "a.zip", b"PK no"), r"expected a whole zip file .*got File is not"),
    "folder with a link": (
        lambda at: (folder_of(at / "d", "a.xml"), (at / "d" / "a.bin").symlink_to("/etc/passwd"))[0],
        r"expected plain files, got a\.bin, which is none",
    ),
    "folder of two": (lambda at: folder_of(at / "d", "a.onnx", "b.xml", "b.bin"), r"d: expected one \.onnx, or one"),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_it_is_refused_in_words(case: str, tmp_path: Path) -> None:
    make, words = REFUSALS[case]
    (tmp_path / "in").mkdir()
    (tmp_path / "out").mkdir()
    source = make(tmp_path / "in")
    with pytest.raises(ModelProblem, match=words) as refused:
        unpack(source, tmp_path / "out", name=source.name, most_bytes=MOST)
    assert isinstance(refused.value, Refused | ModelMissing)
    assert sum(path.stat().st_size for path in (tmp_path / "out").iterdir()) <= MOST + unpacking.BLOCK


def test_a_pt_needs_its_runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unpacking, "missing", lambda key: f"{key} is not installed; run ./poliscope install {key}")
    source = written(tmp_path / "best.pt")
    with pytest.raises(Refused, match=r"run \./poliscope install ultralytics, or export the model to ONNX"):
        unpack(source, tmp_path, name="best.pt")


def laid_out(source: Path, folder: Path, name: str = "") -> set[str]:
    folder.mkdir()
    parcel = unpack(source, folder, name=name or source.name, most_bytes=MOST)
    assert parcel.weights.exists()
    return {path.name for path in folder.iterdir()}


def test_all_three_ways_in_end_in_names_of_ours(tmp_path: Path) -> None:
    for name in ("yolo.xml", "yolo.bin", "metadata.yaml", "yolo.toml", "readme.txt"):
        written(tmp_path / name)
    kept = {"model.xml", "model.bin", "model.toml", "metadata.yaml"}
    assert laid_out(tmp_path / "yolo.xml", tmp_path / "file") == kept
    packed = hostile.zipped(
        tmp_path / "a.zip",
        **{"deep/yolo__xml": b"x", "deep/yolo__bin": b"x", "deep/metadata__yaml": b"x", "x__toml": b"x", "notes": b"x"},
    )
    assert laid_out(packed, tmp_path / "zip") == kept
    assert laid_out(tmp_path / "zip", tmp_path / "folder") == kept


def test_an_upload_is_called_what_its_owner_calls_it(tmp_path: Path) -> None:
    stored = written(tmp_path / "0193-upload")
    assert laid_out(stored, tmp_path / "out", "Best Model.ONNX") == {"model.onnx"}
