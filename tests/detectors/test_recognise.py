"""A model file's card, from the file alone: one small file per family, and the refusals."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detectors import registry
from detectors.backends.base import Card, ModelBroken, ModelMissing
from detectors.backends.heads import make_head
from detectors.exported import Exported
from detectors.families import Look, families
from detectors.recognise import recognise
from tests.detectors.tiny import METADATA, Out, grey, tiny_model, tiny_onnx, write_onnx

WH = (96, 64)
INPUT = [1, 3, 64, 96]
CELLS = 96 + 24 + 6
NAMES = "{0: 'person', 1: 'car', 2: 'dog'}"
THREE = ("person", "car", "dog")


def out(*shape: int, name: str = "output0", whole: bool = False) -> Out:
    weights = np.random.default_rng(7).uniform(0, 1, shape)
    return Out(name, shape, weights.astype(np.int64 if whole else np.float32))


def made(folder: Path, outputs: Sequence[Out], *, metadata: dict[str, str] | None = None, **options: object) -> Path:
    path = folder / "some-model.onnx"
    write_onnx(path, outputs, options.pop("input_shape", INPUT), metadata=metadata, **options)  # type: ignore[arg-type]
    return path


DFINE = [out(1, 30, name="labels", whole=True), out(1, 30, 4, name="boxes"), out(1, 30, name="scores")]
NANODET = [out(1, cells, width, name=f"o{cells}-{width}") for width in (3, 44) for cells in (96, 24, 6)]
FAMILIES = {
    "yolov5": ([out(1, 3 * CELLS, 8)], {}),
    "yolov8": ([out(1, 7, CELLS)], {}),
    "yolov8 transposed": ([out(1, CELLS, 7)], {}),
    "yolox": ([out(1, CELLS, 8)], {}),
    "end2end": ([out(1, 30, 6)], {"end2end": "True"}),
    "end2end, of an older exporter": ([out(1, 30, 6)], {}),
    "end2end, suppression inside": ([out(1, 30, 6)], {"args": "{'nms': True}", "end2end": "False"}),
    "rtdetr-top": ([out(1, 30, 6)], {"head": "RTDETRDecoder", "end2end": "False"}),
    "rtdetr": ([out(1, 30, 7)], {"end2end": "False"}),
    "detr": ([out(1, 30, 3, name="logits"), out(1, 30, 4, name="pred_boxes")], {}),
    "detr with no-object": ([out(1, 30, 4, name="logits"), out(1, 30, 4, name="pred_boxes")], {}),
    "dfine": (DFINE, {}),
    "nanodet": (NANODET, {}),
    "nanodet in one": ([out(1, CELLS, 3 + 32)], {}),
}


@pytest.mark.parametrize("name", FAMILIES)
def test_it_knows_the_family_and_the_card_fits_the_file(name: str, tmp_path: Path) -> None:
    outputs, told = FAMILIES[name]
    path = made(tmp_path, outputs, metadata={**told, "names": NAMES}, sizes=name == "dfine")
    card = recognise(path)
    assert card.head.kind == name.split()[0].rstrip(",")
    assert (card.classes, card.input.width_px, card.input.height_px) == (THREE, *WH)
    assert (card.name, card.file, card.backend, len(card.sha256)) == ("some-model", "some-model.onnx", "auto", 64)
    make_head(card, [tuple(one.shape) for one in outputs])


@pytest.mark.parametrize("key", ["openvino", "onnxruntime"])
@pytest.mark.parametrize("name", ["yolov5", "dfine", "detr", "nanodet"])
def test_what_it_recognised_runs(name: str, key: str, tmp_path: Path) -> None:
    outputs, told = FAMILIES[name]
    path = made(tmp_path, outputs, metadata={**told, "names": NAMES}, sizes=name == "dfine")
    backend = registry.make_backend(key)
    backend.load(path, recognise(path))
    [found] = backend.infer([grey(90, (200, 100))])
    assert len(found) and set(found.label) <= set(THREE)


def test_dfines_boxes_are_in_the_size_that_it_is_told(tmp_path: Path) -> None:
    label, score = np.zeros((1, 1), np.int64), np.full((1, 1), 0.9, np.float32)
    box = np.array([[[0.25, 0.5, 0.75, 1.0]]], np.float32)
    outputs = [Out("labels", (1, 1), label), Out("boxes", (1, 1, 4), box), Out("scores", (1, 1), score)]
    path = made(tmp_path, outputs, metadata={"names": NAMES}, sizes=True)
    for key in ("openvino", "onnxruntime"):
        backend = registry.make_backend(key)
        backend.load(path, recognise(path))
        [found] = backend.infer([grey(0, (300, 100))])
        assert found.xyxy == pytest.approx(box[0], abs=1e-5)


def test_labels_may_be_given(tmp_path: Path) -> None:
    path = made(tmp_path, [out(1, 7, CELLS)])
    card = recognise(path, labels=["people", "-", "Motorbike"], name="mine")
    assert (card.classes, card.name) == (("person", "", "motorcycle"), "mine")


def test_labels_may_be_a_list_that_we_know(tmp_path: Path) -> None:
    assert recognise(made(tmp_path, [out(1, 84, CELLS)]), labels=["coco-80"]).labels == "coco-80"


def test_labels_may_add_to_the_names_in_the_file(tmp_path: Path) -> None:
    path = made(tmp_path, [out(1, 7, CELLS)], metadata={"names": "{0: 'person', 1: 'gizmo', 2: 'thingamajig'}"})
    assert recognise(path, labels=["gizmo=phone", "*=-"]).classes == ("person", "phone", "")


def test_it_keeps_what_the_exporter_told(tmp_path: Path) -> None:
    told = {**METADATA, "license": "AGPL-3.0", "description": "Ours"}
    path = made(tmp_path, [out(1, 6, 21)], metadata=told, input_shape=[1, 3, 32, 32])
    card = recognise(path)
    assert (card.licence, card.origin, card.input.colour, card.input.pad) == ("AGPL-3.0", "Ours", "rgb", 114)


def test_open_lengths_are_the_exporters_to_say(tmp_path: Path) -> None:
    card = recognise(tiny_onnx(tmp_path, dynamic=True))
    assert (card.input.width_px, card.input.height_px, card.head.kind) == (32, 32, "yolov8")


def test_an_openvino_file(tmp_path: Path) -> None:
    card = recognise(tiny_model(tmp_path), labels=["person", "car"])
    assert (card.head.kind, card.backend, card.file) == ("nanodet", "openvino", "tiny.xml")


def yolox_rows(xy: float, objectness: float) -> np.ndarray:
    rows = np.zeros((1, CELLS, 8), np.float32)
    rows[..., :2], rows[..., 4], rows[..., 5] = xy, objectness, 1
    return rows


# Black is 0 for YOLOX, −2 for its older versions; the score is what the picture's mean makes of it.
@pytest.mark.parametrize(
    "still, bright, kind, colour, std",
    [
        (yolox_rows(0.5, 0.0), 0.0, "yolox", "bgr", 1.0),
        (yolox_rows(0.5, 0.0), 0.004, "yolox", "rgb", 58.395),
        (yolox_rows(50, 0.3), 0.0, "yolov5", "bgr", 1.0),
        (yolox_rows(50, 1.0), 0.0, "yolov5", "rgb", 255.0),
    ],
    ids=["YOLOX", "YOLOX before 0.2", "YOLOX decoded", "YOLOv6"],
)
def test_yolox_is_tried(
    still: np.ndarray, bright: float, kind: str, colour: str, std: float, tmp_path: Path
) -> None:  # fmt: skip
    moved = np.zeros_like(still)
    moved[..., 4] = bright
    path = made(tmp_path, [Out("output", still.shape, still, moved)])
    card = recognise(path, labels=THREE)
    assert (card.head.kind, card.input.colour, card.input.std[0]) == (kind, colour, std)


REFUSED = {
    "no names": ([out(1, 7, CELLS)], {}, None, r"outputs \(1, 7, 126\) look like YOLOv8.* with 3 classes; .*--labels"),
    "numbers": ([out(1, 7, CELLS)], {"names": "{0: '0', 1: '1', 2: '2'}"}, None, "class names are missing"),
    "ambiguous": ([out(1, CELLS, 8)], {}, None,
                  r"YOLOX with 3 classes or YOLOv8 \(transposed\) with 4 classes; .*which"),
    "count": ([out(1, 7, CELLS)], {}, ["person"], r"with 3 classes, got 1 class names; give as many"),
    "unknown": ([out(1, 7, CELLS)], {}, ["person", "hard hatt", "qqq"],
                r"got 'hard hatt' \(helmet\?\), 'qqq'; say what they are with --labels name=label"),
    "all ignored": ([out(1, 7, CELLS)], {}, ["-", "-", "-"], "expected at least one class with a label"),
    "task": ([out(1, 7, CELLS)], {"task": "segment"}, THREE, "expected a detector, got a model for the task 'segment'"),
    "shapes": ([out(1, 512)], {}, THREE, r"expected the outputs of YOLOv5 to 26.*, got \(1, 512\) for an input of 96×"),
    "feature maps": ([out(1, 24, 8, 12)], {}, THREE, "export the model with its boxes decoded"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_it_says_what_is_missing(name: str, tmp_path: Path) -> None:
    outputs, told, labels, says = REFUSED[name]
    with pytest.raises(ModelBroken, match=rf"^some-model\.onnx: .*{says}"):
        recognise(made(tmp_path, outputs, metadata=told), labels=labels)


@pytest.mark.parametrize("shape", [[1, 1, 64, 96], [1, 64, 96, 3], [4, 3, 64, 96], [1, 3, 64]])
def test_another_input_is_refused(shape: list[int], tmp_path: Path) -> None:
    path = tmp_path / "some-model.onnx"
    port = [onnx.helper.make_tensor_value_info(name, 1, shape) for name in ("x", "y")]
    graph = onnx.helper.make_graph([onnx.helper.make_node("Relu", ["x"], ["y"])], "g", port[:1], port[1:])
    onnx.save(onnx.helper.make_model(graph), str(path))
    with pytest.raises(ModelBroken, match=r"expected one input \(1, 3, height, width\).*, got \("):
        recognise(path, labels=THREE)


def test_an_input_beyond_measure_is_refused(tmp_path: Path) -> None:
    path = made(tmp_path, [out(1, 7, CELLS)], input_shape=[1, 3, 64, 1_000_000])
    with pytest.raises(ModelBroken, match=r"expected an input of 8 to 8192 pixels a side, got 1000000×64"):
        recognise(path, labels=THREE)


def test_weights_in_another_file_are_refused(tmp_path: Path) -> None:
    path = tiny_onnx(tmp_path)
    onnx.save(onnx.load(str(path)), str(path), save_as_external_data=True, location="w.bin", size_threshold=0)
    with pytest.raises(ModelBroken, match=r"tiny.onnx: .*wants weights from another file"):
        recognise(path)


def test_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(ModelMissing, match=r"nowhere.onnx: expected the model at"):
        recognise(tmp_path / "nowhere.onnx")
    for name, says in (
        ("a.onnx", "expected "),
        ("a.xml", "OpenVINO cannot read it"),
        ("a.h5", "expected a file ending in"),
    ):
        (tmp_path / name).write_bytes(b"no model at all")
        (tmp_path / name).with_suffix(".bin").write_bytes(b"")
        with pytest.raises(ModelBroken, match=rf"{name}: .*{says}|{name}: {says}"):
            recognise(tmp_path / name)


lengths = st.sampled_from([-1, 1, 2, 4, 6, 7, 84, 85, 96, 126, 300, 378, 8400])
looks = st.builds(
    Look,
    st.just(WH),
    st.lists(st.lists(lengths, max_size=4).map(tuple), max_size=6).map(tuple),
    st.integers(1, 2),
    st.builds(Exported, end2end=st.sampled_from([None, True, False]), head=st.sampled_from(["", "RTDETRDecoder"])),
    st.sampled_from([None, 1, 2, 3, 80]),
)


@given(looks)
def test_no_shapes_confuse_it(look: Look) -> None:
    for family in families(look):
        assert family.classes is None or family.classes >= 1
        assert look.classes is None or family.classes == look.classes


def _shared_card(shared: Path, file: str, labels: list[str] | None) -> Card:
    return recognise(shared / "weights" / file, labels=labels)


@pytest.mark.shared
def test_real_files_are_recognised(shared: Path) -> None:
    nanodet = _shared_card(shared, "nanodet_g_coco_416.onnx", ["coco-80"])
    known = registry.load_card("nanodet_g")
    assert (nanodet.input, nanodet.head, nanodet.sha256) == (known.input, known.head, known.sha256)
    yolox = _shared_card(shared, "yolox_nano_coco_416.onnx", ["coco-80"])
    assert (yolox.head.kind, yolox.input.colour, yolox.input.std[0]) == ("yolox", "rgb", 58.395)
    yolo11 = _shared_card(shared, "yolo11n_int8_openvino_model/yolo11n.xml", None)
    assert (yolo11.head.kind, yolo11.labels, yolo11.licence[:8]) == ("yolov8", "coco-80", "AGPL-3.0")


@pytest.mark.shared
def test_a_real_file_that_detects_nothing_is_refused(shared: Path) -> None:
    with pytest.raises(ModelBroken, match=r"got \(1, 512\) for an input of 128×256"):
        _shared_card(shared, "osnet_x0_25_msmt17.onnx", ["person"])
