"""Every backend keeps the contract of ``detectors.backends.base``, over real runtimes and models made here."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest

from detectors import registry
from detectors.backends.base import (
    Backend,
    Card,
    HeadSpec,
    InputSpec,
    ModelBroken,
    ModelMissing,
    Picture,
    RuntimeMissing,
)
from detectors.detections import FLOOR
from detectors.labels import LABELS
from detectors.recognise import recognise
from detectors.runtimes import missing
from tests.detectors.tiny import SIZE, grey, tiny_model, tiny_onnx

KINDS = [*((key, tiny_onnx) for key in sorted(registry.BACKENDS)), ("openvino", tiny_model)]
"""Every backend with the ONNX model, and OpenVINO with a file of its own as well."""


@pytest.fixture(params=KINDS, ids=lambda kind: f"{kind[0]}-{kind[1].__name__}")
def kind(request: pytest.FixtureRequest) -> tuple[str, Callable[[Path], Path]]:
    return request.param


@pytest.fixture
def backend(kind: tuple[str, Callable[[Path], Path]]) -> Backend:
    if why := missing(kind[0]):
        pytest.skip(why)
    return registry.make_backend(kind[0])


@pytest.fixture
def tiny(kind: tuple[str, Callable[[Path], Path]], tmp_path: Path) -> tuple[Path, Card]:
    return kind[1](tmp_path), registry.load_card("tiny", tmp_path)


@pytest.fixture
def loaded(backend: Backend, tiny: tuple[Path, Card]) -> Backend:
    backend.load(*tiny)
    backend.warm_up()
    return backend


def test_it_gives_boxes_in_fractions_with_our_labels(loaded: Backend) -> None:
    [found] = loaded.infer([grey(204, (32, 32))])
    assert found.label == ("person",)
    assert found.xyxy == pytest.approx(np.array([[0.25, 0.25, 0.75, 0.75]]), abs=0.01)
    assert found.score[0] == pytest.approx(0.8, abs=0.01)


@pytest.mark.parametrize("wh", [(64, 32), (32, 64), (1920, 1080), (33, 17), (1, 1)])
def test_it_takes_pictures_of_any_size(loaded: Backend, wh: tuple[int, int]) -> None:
    [found] = loaded.infer([grey(255, wh)])
    assert ((found.xyxy >= 0) & (found.xyxy <= 1)).all()


def test_it_undoes_the_letterbox(loaded: Backend) -> None:
    # 64×32 fills the middle 32×16 of the input, so the box from 8 to 24 covers its whole height.
    [found] = loaded.infer([grey(255, (64, 32))])
    assert found.xyxy == pytest.approx(np.array([[0.25, 0.0, 0.75, 1.0]]), abs=0.01)


def test_it_keeps_the_order_of_a_batch(loaded: Backend) -> None:
    levels = [255, 0, 128, 51, 230, 26, 200, 77, 0, 90]
    scores = [float(found.score.max(initial=0)) for found in loaded.infer([grey(level) for level in levels])]
    alone = [float(loaded.infer([grey(level)])[0].score.max(initial=0)) for level in levels]
    assert scores == pytest.approx(alone, abs=1e-6)
    assert scores.index(max(scores)) == 0


def test_pictures_of_other_shapes_leave_no_trace(loaded: Backend) -> None:
    wide, tall = grey(255, (64, 16)), grey(255, (16, 64))
    fresh = [float(loaded.infer([picture])[0].score[0]) for picture in (wide, tall)]
    mixed = [float(found.score[0]) for found in loaded.infer([wide, tall] * 5)]
    assert mixed == pytest.approx(fresh * 5, abs=1e-6)


def test_it_gives_nothing_below_the_floor(loaded: Backend) -> None:
    [dark, dim] = loaded.infer([grey(int(255 * (FLOOR - 0.02)), (32, 32)), grey(int(255 * (FLOOR + 0.02)), (32, 32))])
    assert (len(dark), len(dim)) == (0, 1)


def test_it_takes_no_pictures_at_all(loaded: Backend) -> None:
    assert loaded.infer([]) == []


@pytest.mark.parametrize(
    "bad", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3), np.float32), np.zeros((0, 4, 3), np.uint8)]
)
def test_it_survives_a_picture_that_is_none(loaded: Backend, bad: np.ndarray) -> None:
    with pytest.raises(ValueError, match="expected \\(height, width, 3\\) uint8, got"):
        loaded.infer([grey(200), bad])
    assert len(loaded.infer([grey(200)])) == 1


def test_it_says_what_it_is(loaded: Backend) -> None:
    assert (loaded.model_version, loaded.input_wh) == ("tiny 1", (32, 32))
    assert loaded.name in registry.BACKENDS and loaded.device


def test_it_can_be_unloaded_and_loaded_again(loaded: Backend, tiny: tuple[Path, Card]) -> None:
    loaded.unload()
    with pytest.raises(RuntimeError, match="load a model first"):
        loaded.infer([grey(200)])
    loaded.load(*tiny)
    assert len(loaded.infer([grey(200)])) == 1


def test_a_missing_file_is_missing(backend: Backend, tiny: tuple[Path, Card]) -> None:
    path, card = tiny
    with pytest.raises(ModelMissing, match=r"tiny 1: expected the model at .*nowhere\.[a-z]+, got nothing"):
        backend.load(path.with_stem("nowhere"), card)


def test_a_truncated_file_is_broken(backend: Backend, tiny: tuple[Path, Card]) -> None:
    path, card = tiny
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(ModelBroken, match="tiny 1: "):
        backend.load(path, card)


def test_an_empty_file_is_broken(backend: Backend, tmp_path: Path, tiny: tuple[Path, Card]) -> None:
    path = tmp_path / "empty.onnx"
    path.write_bytes(b"")
    with pytest.raises(ModelBroken):
        backend.load(path, tiny[1])


def test_another_file_than_the_cards_is_broken(backend: Backend, tiny: tuple[Path, Card]) -> None:
    path, card = tiny
    with pytest.raises(ModelBroken, match=r"expected SHA-256 0000000000000000… of tiny\.[a-z]+, got [0-9a-f]{16}…"):
        backend.load(path, msgspec.structs.replace(card, sha256="0" * 64))


def test_another_input_than_the_cards_is_broken(backend: Backend, tiny: tuple[Path, Card]) -> None:
    path, card = tiny
    wrong = msgspec.structs.replace(card, input=msgspec.structs.replace(card.input, width_px=64, height_px=64))
    with pytest.raises(ModelBroken, match=r"expected .*64, 64.* got .*32, 32"):
        backend.load(path, wrong)


def test_other_outputs_than_the_cards_are_broken(backend: Backend, tiny: tuple[Path, Card]) -> None:
    path, card = tiny
    with pytest.raises(ModelBroken, match=r"expected .*80.*, got .*2"):
        backend.load(path, msgspec.structs.replace(card, labels="coco-80"))


def test_a_failed_load_leaves_nothing_loaded(loaded: Backend, tiny: tuple[Path, Card]) -> None:
    with pytest.raises(ModelMissing):
        loaded.load(tiny[0].with_stem("nowhere"), tiny[1])
    with pytest.raises(RuntimeError):
        loaded.infer([grey(200)])


def test_a_device_that_is_not_there_is_said(backend: Backend, tiny: tuple[Path, Card]) -> None:
    with pytest.raises(RuntimeMissing, match=r"expected .*NPU9, got .*CPU.*; choose one of these"):
        backend.load(*tiny, device="NPU9")


def test_a_runtime_that_is_not_installed_breaks_that_kind_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry.BACKENDS, "missing", "nowhere_at_all.backend:Backend")
    monkeypatch.setitem(sys.modules, "nowhere_at_all", None)
    with pytest.raises(
        RuntimeMissing, match=r"backend missing: its runtime cannot be loaded .*pip install -r requirements"
    ):
        registry.make_backend("missing")
    assert registry.make_backend("openvino").name == "openvino"


def test_a_runtime_that_is_not_installed_names_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "detectors.backends.onnxruntime", raising=False)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(RuntimeMissing, match=r"onnxruntime.*install it with: \./poliscope install onnxruntime"):
        registry.make_backend("onnxruntime")


def test_an_unknown_kind_names_those_there_are() -> None:
    with pytest.raises(RuntimeMissing, match=r"expected one of .*openvino.*, got 'abacus'"):
        registry.make_backend("abacus")


def test_lengths_that_a_file_leaves_open_are_the_cards_to_say(backend: Backend, tmp_path: Path) -> None:
    backend.load(tiny_onnx(tmp_path, dynamic=True), registry.load_card("tiny", tmp_path))
    scores = [found.score[0] for found in backend.infer([grey(204, (SIZE, SIZE)), grey(102, (SIZE, SIZE))])]
    assert scores == pytest.approx([0.8, 0.4], abs=0.01)


def test_a_class_without_a_label_is_never_told(backend: Backend, tmp_path: Path) -> None:
    path = tiny_onnx(tmp_path)
    card = msgspec.structs.replace(registry.load_card("tiny", tmp_path), labels=("", "car"))
    backend.load(path, card)
    assert [len(found) for found in backend.infer([grey(255, (SIZE, SIZE))])] == [0]


def test_weights_in_another_file_are_refused(backend: Backend, tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    path = tiny_onnx(tmp_path)
    card = registry.load_card("tiny", tmp_path)
    model = onnx.load(str(path))
    onnx.save(model, str(path), save_as_external_data=True, location="passwd", size_threshold=0)
    with pytest.raises(ModelBroken, match=r"tiny 1: tiny\.onnx: .*wants weights from another file; save it as one"):
        backend.load(path, card)


@pytest.mark.parametrize("name", registry.cards())
def test_every_card_of_the_zoo_loads_and_runs(name: str) -> None:
    card = registry.load_card(name)
    backend = registry.make_backend(card.backend)
    backend.load(registry.model_path(card), card)
    backend.warm_up()
    assert set(card.classes) <= LABELS
    assert card.sha256 and card.licence
    assert [len(found) for found in backend.infer([grey(0, (640, 360))])] == [0]


COCO = {"labels": "coco-80", "licence": "none", "version": "1"}
FOUND: dict[str, Callable[[Path], tuple[Path, Card]]] = {
    "nanodet": lambda weights: (
        weights / "nanodet_g_coco_416.onnx",
        msgspec.structs.replace(registry.load_card("nanodet_g"), backend="auto"),
    ),
    "yolox": lambda weights: (
        weights / "yolox_nano_coco_416.onnx",
        Card(
            name="yolox-nano", backend="auto", file="yolox_nano_coco_416.onnx", **COCO,  # type: ignore[arg-type]
            input=InputSpec(width_px=416, height_px=416, colour="rgb", mean=(123.675, 116.28, 103.53),
                            std=(58.395, 57.12, 57.375), pad=114),
            head=HeadSpec(kind="yolox"),
        ),
    ),
    "yolo11": lambda weights: (
        weights / "yolo11n_int8_openvino_model" / "yolo11n.xml",
        recognise(weights / "yolo11n_int8_openvino_model" / "yolo11n.xml"),
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def bus() -> Picture:
    """A bus and four people."""
    package = importlib.util.find_spec("ultralytics")
    if package is None or not package.submodule_search_locations:
        pytest.skip("needs the picture bus.jpg of the ultralytics wheel")
    cv2 = pytest.importorskip("cv2")
    picture: Picture = cv2.imread(str(Path(package.submodule_search_locations[0]) / "assets" / "bus.jpg"))
    return picture


@pytest.mark.shared
@pytest.mark.parametrize(
    "model, backend_key",
    [
        ("nanodet", "openvino"),
        ("nanodet", "onnxruntime"),
        ("yolox", "openvino"),
        ("yolox", "onnxruntime"),
        ("yolo11", "openvino"),
    ],
)
def test_real_weights_find_the_bus_and_its_people(shared: Path, bus: Picture, model: str, backend_key: str) -> None:
    path, card = FOUND[model](shared / "weights")
    backend = registry.make_backend(backend_key)
    backend.load(path, card)
    [found] = backend.infer([bus])
    sure = [label for label, score in zip(found.label, found.score, strict=True) if score > 0.3]
    assert sure.count("person") >= 3 and "bus" in sure


def test_the_shipped_model_finds_people(shared: Path) -> None:
    av = pytest.importorskip("av")
    with av.open(str(shared / "footage" / "pets_vtest.avi")) as clip:
        picture = next(clip.decode(video=0)).to_ndarray(format="bgr24")
    card = registry.load_card("nanodet_g")
    backend = registry.make_backend(card.backend)
    backend.load(registry.model_path(card), card)
    [found] = backend.infer([picture])
    people = [score for label, score in zip(found.label, found.score, strict=True) if label == "person"]
    assert sum(score > 0.4 for score in people) >= 3


@pytest.mark.parametrize(
    "text, error, says",
    [
        ("", ModelBroken, "model card bad: .*missing required field"),
        ("name = ", ModelBroken, "model card bad"),
        ("nonsense = 1", ModelBroken, "nonsense"),
    ],
)
def test_a_bad_card_is_broken(tmp_path: Path, text: str, error: type[Exception], says: str) -> None:
    (tmp_path / "bad.toml").write_text(text)
    with pytest.raises(error, match=says):
        registry.load_card("bad", tmp_path)


def test_a_card_that_is_not_there_names_those_that_are(tmp_path: Path) -> None:
    with pytest.raises(ModelMissing, match=r"expected one of nanodet_g, got '\.\./\.\./etc/passwd'"):
        registry.load_card("../../etc/passwd")


def test_a_cards_unknown_label_is_broken(tiny: tuple[Path, Card]) -> None:
    with pytest.raises(ModelBroken, match=r"'persn' is not one of .* did you mean person"):
        _ = msgspec.structs.replace(tiny[1], labels=("persn", "car")).classes


def test_a_models_row_follows_from_its_card() -> None:
    fields = registry.model_fields()
    assert (fields["card"], fields["backend"], fields["licence"]) == ("nanodet_g", "openvino", "Apache-2.0")
    assert "person" in fields["labels"]
