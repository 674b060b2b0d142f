"""The Ultralytics backend over networks of Ultralytics with random weights: it finds what their ``predict`` finds."""

# ruff: noqa: E402  (a machine without Ultralytics must be able to skip this file)
from __future__ import annotations

import os
import pickle
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

INSTALL = "needs Ultralytics: ./poliscope install ultralytics"
torch = pytest.importorskip("torch", reason=INSTALL)
# Not Ultralytics itself: whoever imports it first fixes its settings.
pytest.importorskip("detectors.backends.ultralytics_import", reason=INSTALL, exc_type=ImportError)

from detectors import registry
from detectors.backends import torchvision_ops
from detectors.backends.base import BOXES_MOST, NMS_IOU, Card, ModelBroken, ModelMissing, RuntimeMissing
from detectors.backends.ultralytics import UltralyticsBackend
from detectors.backends.ultralytics_import import SETTINGS, tasks, ultralytics, unsafe
from detectors.detections import FLOOR, Detections
from tests.detectors import yolo

LABELS = ("person", "car", "bus", "dog", "truck")


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[Path, Card]]:
    """Makes each kind once."""
    folder, made = tmp_path_factory.mktemp("yolo"), dict[str, tuple[Path, Card]]()

    def model(kind: str) -> tuple[Path, Card]:
        if kind not in made:
            path = folder / f"{kind.replace(' ', '_')}.pt"
            made[kind] = path, yolo.save(path, kind, LABELS)
        return made[kind]

    return model


@pytest.fixture
def backend() -> Iterator[UltralyticsBackend]:
    backend = UltralyticsBackend(streams=2)
    yield backend
    backend.unload()


def predicted(path: Path, picture: np.ndarray) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """What Ultralytics' own ``predict`` finds: boxes in fractions, scores, labels."""
    torchvision_ops.ready()
    width, height = yolo.INPUT_WH
    [result] = ultralytics.YOLO(str(path)).predict(
        picture, imgsz=(height, width), rect=False, conf=FLOOR, iou=NMS_IOU, max_det=BOXES_MOST, device="cpu"
    )
    found = result.boxes if result.obb is None else result.obb
    high, wide = picture.shape[:2]
    xyxy = (found.xyxy.numpy() / np.array([wide, high, wide, high])).clip(0, 1)
    return xyxy, found.conf.numpy(), [LABELS[int(index)] for index in found.cls]


def same(one: Detections, other: Detections) -> bool:
    return one.label == other.label and np.allclose(one.xyxy, other.xyxy) and np.allclose(one.score, other.score)


@pytest.mark.parametrize("kind", yolo.MODELS)
def test_it_finds_what_predict_finds(kind: str, models: Any, backend: UltralyticsBackend) -> None:
    path, card = models(kind)
    backend.load(path, card, "cpu")
    [found] = backend.infer([yolo.street()])
    xyxy, score, label = predicted(path, yolo.street())
    assert len(found) == len(score) >= 15
    assert list(found.label) == label
    assert found.score == pytest.approx(score, abs=1e-5)
    assert found.xyxy == pytest.approx(xyxy, abs=1e-5)


def test_each_picture_has_its_own_boxes(models: Any, backend: UltralyticsBackend) -> None:
    backend.load(*models("detect"), "cpu")
    backend.warm_up()
    street = yolo.street()
    pictures = [street, street[:100], street[::-1].copy(), street[:, :50], street // 2, street]
    together = backend.infer(pictures)
    assert all(same(found, backend.infer([picture])[0]) for found, picture in zip(together, pictures, strict=True))
    assert same(together[0], together[-1]) and not same(together[0], together[2])
    assert (backend.device, backend.input_wh, backend.model_version) == ("CPU", yolo.INPUT_WH, "yolo 1")


# What is refused


class Canary:
    """Unpickled, it writes a file."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.file),)


class Elsewhere:
    """Of a module that is not installed when it is unpickled."""


Elsewhere.__module__ = "poliscope_module_from_nowhere"

_heard: list[str] | None = None


def _listen(event: str, _arguments: object) -> None:
    if _heard is not None and event in (
        "subprocess.Popen",
        "os.system",
        "os.posix_spawn",
        "socket.connect",
        "os.mkdir",
    ):
        _heard.append(event)


@pytest.fixture
def heard() -> Iterator[list[str]]:
    """Programs started, connections made and folders made while the test runs, as the interpreter itself reports."""
    global _heard
    if "ultralytics_audit" not in sys.__dict__:
        sys.__dict__["ultralytics_audit"] = sys.addaudithook(_listen)
    _heard = []
    yield _heard
    _heard = None


@pytest.mark.parametrize("kind", ["code", "module"])
def test_a_checkpoint_that_would_run_code_is_refused(
    kind: str, tmp_path: Path, backend: UltralyticsBackend, heard: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, trace = tmp_path / "canary.pt", tmp_path / "alive"
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, Elsewhere.__module__, sys.modules[__name__])
        torch.save({"model": Canary(trace) if kind == "code" else Elsewhere()}, path)
    if kind == "code":
        with zipfile.ZipFile(path) as archive:
            pickle.loads(archive.read("canary/data.pkl"))
        assert trace.exists() and heard == ["os.mkdir"], "the canary itself is dead"
        trace.rmdir()
        heard.clear()
    with pytest.raises(ModelBroken, match=r"yolo 1: Ultralytics cannot read canary\.pt .*fetch or export it again"):
        backend.load(path, yolo.card(path.name), "cpu")
    assert not trace.exists()
    assert heard == []


@pytest.mark.parametrize(
    "name, value, why",
    [("SAFE_LOAD", False, "was imported before its settings were made"), ("_SafeLoad.SUPPORTED", False, "this torch")],
)
def test_no_checkpoint_is_opened_where_safe_loading_is_off(
    name: str, value: bool, why: str, models: Any, backend: UltralyticsBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert unsafe() == ""
    monkeypatch.setattr(f"{tasks.__name__}.{name}", value)
    with pytest.raises(RuntimeMissing, match=f"detect.pt is not opened: .*{why}"):
        backend.load(*models("detect"), "cpu")


def test_ultralytics_is_tamed() -> None:
    assert {name: os.environ[name] for name in SETTINGS} == SETTINGS
    assert not ultralytics.utils.ONLINE and not ultralytics.utils.AUTOINSTALL
    assert ultralytics.settings["sync"] is False
    assert Path.home() not in Path(ultralytics.utils.SETTINGS_FILE).parents


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", None])
def test_a_damaged_checkpoint_is_broken(
    content: bytes | None, tmp_path: Path, models: Any, backend: UltralyticsBackend
) -> None:
    path, card = models("detect")
    damaged = tmp_path / "damaged.pt"
    damaged.write_bytes(path.read_bytes()[:100_000] if content is None else content)
    with pytest.raises(ModelBroken, match=r"yolo 1: Ultralytics cannot read damaged\.pt"):
        backend.load(damaged, card, "cpu")


@pytest.mark.parametrize("name", ["yolov5n.pt", "yolov3.pt", "the best's.pt"])
def test_a_name_that_its_reader_would_change_is_refused(
    name: str, tmp_path: Path, models: Any, backend: UltralyticsBackend
) -> None:
    path, card = models("detect")
    (tmp_path / name).write_bytes(path.read_bytes())
    with pytest.raises(ModelBroken, match="rename the file"):
        backend.load(tmp_path / name, card, "cpu")


@pytest.mark.parametrize(
    "change, says",
    [
        (
            {"labels": LABELS[:3]},
            r"expected outputs \(7, cells\) of an ultralytics detect head with 3 labels, got \(9,",
        ),
        ({"input": {"width_px": 100}}, r"expected sides that are multiples of 32, got 100×160; mend the model card"),
        ({"head": {"kind": "nanodet"}}, r"head: expected one of ultralytics, yolov8, end2end, got 'nanodet'"),
        ({"sha256": "0" * 64}, r"expected SHA-256 0000000000000000… of detect.pt"),
    ],
)
def test_a_card_that_does_not_fit_is_broken(
    change: dict[str, Any], says: str, models: Any, backend: UltralyticsBackend
) -> None:
    path, card = models("detect")
    wrong = msgspec.convert(
        {
            **(plain := msgspec.to_builtins(card)),
            **{name: {**plain[name], **part} if isinstance(part, dict) else part for name, part in change.items()},
        },
        Card,
    )
    with pytest.raises(ModelBroken, match=says):
        backend.load(path, wrong, "cpu")


def test_a_model_of_another_task_is_broken(tmp_path: Path, backend: UltralyticsBackend) -> None:
    path = tmp_path / "classes.pt"
    torch.save({"model": tasks.ClassificationModel("yolo11n-cls.yaml", nc=5, verbose=False)}, path)
    with pytest.raises(ModelBroken, match="task: expected one of detect, segment, pose, obb, got 'Classify'"):
        backend.load(path, yolo.card(path.name, LABELS), "cpu")


# Devices and memory


@pytest.mark.parametrize("device", ["cuda:7", "NPU9"])
def test_a_device_that_is_not_there_is_said(device: str, models: Any, backend: UltralyticsBackend) -> None:
    with pytest.raises(
        RuntimeMissing, match=rf"yolo 1: expected torch to offer {device}, got CPU.*; choose one of these"
    ):
        backend.load(*models("detect"), device)


@pytest.mark.skipif(torch.cuda.is_available(), reason="an NVIDIA GPU is here")
def test_without_a_gpu_it_runs_on_the_cpu(models: Any, backend: UltralyticsBackend) -> None:
    backend.load(*models("detect"))
    assert backend.device == "CPU"


class Bright(torch.nn.Module):  # type: ignore[misc]
    """A network whose one box, a person in the middle, is as sure as the picture is bright."""

    def forward(self, pictures: Any) -> Any:
        cells = torch.zeros(pictures.shape[0], 6, 21)
        cells[:, :4, 0] = 16
        cells[:, 4, 0] = pictures.mean((1, 2, 3))
        return cells


def scripted(file: Path) -> Card:
    """``Bright`` as Ultralytics exports TorchScript."""
    about = {"task": "detect", "stride": 32, "batch": 1, "imgsz": [32, 32], "names": {0: "a", 1: "b"}, "args": {}}
    traced = torch.jit.trace(Bright(), torch.zeros(2, 3, 32, 32))
    torch.jit.save(traced, str(file), _extra_files={"config.txt": msgspec.json.encode(about)})
    return yolo.card(file.name, ("person", "car"), (32, 32))


@pytest.mark.filterwarnings("ignore:.*torch.jit.*")
def test_a_batch_that_does_not_fit_is_halved(tmp_path: Path, backend: UltralyticsBackend) -> None:
    card = scripted(tmp_path / "bright.torchscript")
    backend.load(tmp_path / "bright.torchscript", card, "cpu")
    runner: Any = backend.runner
    model, sizes, room = runner._model, list[int](), 3

    def small(batch: Any) -> Any:
        sizes.append(len(batch))
        if len(batch) > room:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return model(batch)

    runner._model = small
    levels = [250, 40, 90, 140, 190, 60, 220, 30]
    found = backend.infer([np.full((9, 9, 3), level, np.uint8) for level in levels])
    assert [float(one.score[0]) for one in found] == pytest.approx([level / 255 for level in levels], abs=1e-4)
    assert sizes == [8, 4, 2, 2, 2, 2]
    room = 0
    with pytest.raises(
        MemoryError, match=r"yolo 1: expected memory for one picture of 32×32 on CPU, got none; run fewer"
    ):
        backend.infer([yolo.street()])
    room = 8
    assert len(backend.infer([yolo.street()] * 3)) == 3


def test_a_file_of_no_known_kind_is_broken(tmp_path: Path, backend: UltralyticsBackend) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"1")
    with pytest.raises(ModelBroken, match=r"expected a file that ends in \.pt, .*, got model\.safetensors"):
        backend.load(tmp_path / "model.safetensors", yolo.card("model.safetensors"), "cpu")


def test_an_engine_needs_a_gpu(tmp_path: Path, backend: UltralyticsBackend) -> None:
    (tmp_path / "model.engine").write_bytes(b"1")
    with pytest.raises(RuntimeMissing, match=r"expected an NVIDIA GPU for model\.engine, got the CPU"):
        backend.load(tmp_path / "model.engine", yolo.card("model.engine"), "cpu")


# Exports


def bright(folder: Path) -> Path:
    """An OpenVINO folder as Ultralytics exports it: one person, as sure as the picture is bright."""
    import openvino
    from openvino import opset13 as ops

    picture = ops.parameter([1, 3, 32, 32], np.float32, name="images")
    sure = ops.reshape(
        ops.reduce_mean(picture, ops.constant(np.array([0, 1, 2, 3])), keep_dims=False), [1, 1, 1], False
    )
    cells = np.zeros((1, 6, 21), np.float32)
    cells[0, :4, 0] = 16, 16, 16, 16
    person = np.zeros((1, 6, 21), np.float32)
    person[0, 4, 0] = 1
    output = ops.add(ops.constant(cells), ops.multiply(sure, ops.constant(person)))
    folder.mkdir()
    openvino.save_model(openvino.Model([output], [picture], "bright"), folder / "bright.xml", compress_to_fp16=False)
    (folder / "metadata.yaml").write_text("task: detect\nstride: 32\nbatch: 1\nimgsz: [32, 32]\nnames: {0: a, 1: b}\n")
    return folder


@pytest.mark.parametrize("given", ["", "bright.xml"])
def test_it_runs_an_openvino_folder(given: str, tmp_path: Path, backend: UltralyticsBackend) -> None:
    folder = bright(tmp_path / "bright_openvino_model")
    backend.load(folder / given, yolo.card("bright_openvino_model", ("person", "car"), (32, 32)))
    dark, light = backend.infer([np.zeros((40, 40, 3), np.uint8), np.full((20, 20, 3), 204, np.uint8)])
    assert len(dark) == 0
    assert (light.label, float(light.score[0])) == (("person",), pytest.approx(0.8, abs=0.01))
    assert light.xyxy == pytest.approx(np.array([[0.25, 0.25, 0.75, 0.75]]), abs=0.01)


def test_an_openvino_folder_says_what_is_wrong(tmp_path: Path, backend: UltralyticsBackend) -> None:
    folder = bright(tmp_path / "bright_openvino_model")
    card = yolo.card("bright_openvino_model", ("person", "car"), (64, 64))
    with pytest.raises(ModelBroken, match=r"expected one input \(1, 3, 64, 64\), got \(1, 3, 32, 32\)"):
        backend.load(folder, card)
    folder = folder.rename(tmp_path / "bright")
    with pytest.raises(ModelBroken, match=r"expected the folder of bright\.xml to end in _openvino_model, got bright"):
        backend.load(folder, card)
    (folder / "bright.xml").unlink()
    with pytest.raises(ModelMissing, match=r"expected one \.xml in .*bright, got none"):
        backend.load(folder, card)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
@pytest.mark.parametrize("kind", yolo.MODELS)
def test_in_half_precision_on_a_gpu_it_finds_the_same(kind: str, models: Any, backend: UltralyticsBackend) -> None:
    path, card = models(kind)
    pictures = [yolo.street()] * 5
    backend.load(path, card, "cpu")
    [exact] = backend.infer(pictures[:1])
    backend.load(path, card, "cuda")
    backend.warm_up()
    found = backend.infer(pictures)
    assert backend.device != "CPU" and all(same(one, found[0]) for one in found)
    assert float(found[0].score[0]) == pytest.approx(float(exact.score[0]), abs=0.02)
    assert len(found[0]) == pytest.approx(len(exact), rel=0.2)


# The house


def test_only_one_file_imports_ultralytics() -> None:
    root = Path(registry.__file__).parent.parent
    sources = [
        path for package in ("streams", "detectors", "alerts", "frontend") for path in (root / package).rglob("*.py")
    ]
    direct = {path.name for path in sources if any(
        line.startswith(("import ultralytics", "from ultralytics")) for line in path.read_text().splitlines()
    )}  # fmt: skip
    assert direct == {"ultralytics_import.py"}
