"""Models go through the real trial, in a real child: good ones get a place and a row, others leave nothing."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from detectors import intake, registry
from detectors.backends.base import ModelBroken, ModelProblem
from detectors.bounded import Bounds, ending, run_bounded
from detectors.bring import bring
from detectors.intake import remove, take_in
from detectors.loading import Loader, locate
from detectors.models import Deployment, Model
from detectors.plan import DeploymentSpec
from detectors.stored import read_plan
from detectors.unpack import Refused
from streams.models import Camera, CameraGroup, Site
from tests.detectors import hostile
from tests.detectors.tiny import grey, tiny_model

pytestmark = pytest.mark.django_db

SHORT = Bounds(wall_s=90.0, cpu_s=2)
"""Little work, and long to wait: other tests run beside."""


@pytest.fixture(autouse=True)
def store(settings: Any, tmp_path: Path) -> Path:
    settings.DATA_DIR = tmp_path / "data"
    return intake.store()


def left(store: Path) -> list[str]:
    """Everything below the store but the folder of what comes in."""
    return [str(path.relative_to(store)) for path in store.rglob("*") if path != store / intake.INCOMING]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("tiny"))


def test_a_good_model_gets_a_place_and_a_row(tiny: Path, store: Path) -> None:
    told: list[str] = []
    model = take_in(tiny, name="Yard", licence="MIT", within=SHORT, tell=told.append)
    assert (model.name, model.version, model.licence, model.backend) == ("Yard", "1", "MIT", "auto")
    assert model.classes == [{"name": "person", "label": "person"}, {"name": "car", "label": "car"}]
    assert model.labels == ["car", "person"]
    assert model.latency_ms and model.cpu_ms and "OpenVINO, CPU" in model.measured_on
    assert told == ["reading", "being tried", "registering"]
    assert sorted(left(store)) == sorted(
        [str(model.uid), *(f"{model.uid}/model.{suffix}" for suffix in ("xml", "bin", "toml"))]
    )
    Deployment.objects.create(name="all", model=model)
    [deployment] = deployments()
    spec, backend = Loader(store).backend(deployment, 0.0) or pytest.fail("it does not load")
    assert backend.infer([grey(204)])[0].label == ("person",)
    assert spec.sha256 == model.sha256


def deployments() -> list[DeploymentSpec]:
    group = CameraGroup.objects.create(name="Yard")
    Camera.objects.create(name="Gate", site=Site.objects.create(name="Yard"), group=group)
    return list(read_plan("general").everyone)


BAD: dict[str, tuple[Callable[[Path], Path], str]] = {
    "endless": (hostile.endless, r"within 2 s of CPU: it computes for ever, or is far too slow for this machine"),
    "huge": (hostile.huge, r"expected at most 8\.6 GB of memory, got a model that wants more; choose a smaller one"),
    "NaN": (hostile.not_a_number, r"expected finite numbers, got NaN"),
    "external": (hostile.outside, r"expected a model in one file, got one that wants weights from another file"),
    "external in a branch": (hostile.outside_in_a_branch, r"one that wants weights from another file"),
    "text": (lambda at: text(at), r"expected an ONNX model, got other bytes"),
    "empty": (lambda at: empty(at), r"expected a model, got an empty file"),
    "other head": (lambda at: other_head(at), r"expected outputs .* got "),
    "cut": (lambda at: cut(at), r"cut off"),
}


def text(at: Path) -> Path:
    path = hostile.harmless(at)
    path.write_text("this is a poem and not a network")
    return path


def empty(at: Path) -> Path:
    path = hostile.harmless(at)
    path.write_bytes(b"")
    return path


def cut(at: Path) -> Path:
    path = hostile.harmless(at)
    path.write_bytes(path.read_bytes()[:-100])
    return path


def other_head(at: Path) -> Path:
    path = hostile.harmless(at)
    card = path.with_suffix(".toml")
    card.write_text(card.read_text().replace('["person", "car"]', '["person", "car", "dog"]'))
    return path


@pytest.mark.parametrize("case", BAD)
def test_a_bad_model_is_refused_and_leaves_nothing(case: str, tmp_path: Path, store: Path) -> None:
    make, words = BAD[case]
    with pytest.raises(ModelProblem, match=words):
        take_in(make(tmp_path / "bad"), within=SHORT)
    assert left(store) == [] and not Model.objects.exists()


def test_a_model_that_crashes_the_runtime_is_refused(tiny: Path, store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # No file that crashes this runtime is known; a child that dies in its stead dies as it would.
    monkeypatch.setattr(intake, "TRIAL", "tests.detectors.dying")
    with pytest.raises(ModelBroken, match=r"tiny: expected .*, got a crash of the runtime \(SIGSEGV\); choose another"):
        take_in(tiny, within=SHORT)
    assert left(store) == []


@pytest.mark.parametrize("broken", ["rename", "row"])
def test_a_failure_half_way_leaves_nothing(
    broken: str, tiny: Path, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise OSError("the disk went away")

    if broken == "rename":
        monkeypatch.setattr(os, "fsync", fail)
    else:
        monkeypatch.setattr(Model.objects, "create", fail)
    with pytest.raises(OSError, match="went away"):
        take_in(tiny, within=SHORT)
    assert left(store) == [] and not Model.objects.exists()


def test_the_same_file_is_not_taken_in_twice(tiny: Path, store: Path) -> None:
    model = take_in(tiny, name="Yard", within=SHORT)
    with pytest.raises(Refused, match=r"got the file that Yard 1 is made of"):
        take_in(tiny, name="Yard", within=SHORT)
    again = take_in(tiny, name="Quay", within=SHORT)
    assert {model.pk, again.pk} == set(Model.objects.values_list("pk", flat=True))


def test_a_secret_of_ours_is_not_in_the_childs_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POLISCOPE_SECRET_KEY", "canary-5b1f")
    monkeypatch.setenv("TWILIO_AUTH_TOKEN", "canary-5b1f")
    ended = run_bounded("tests.detectors.dying", b"environment", tmp_path, SHORT)
    assert b"ULTRALYTICS_SAFE_LOAD" in ended.answer and b"canary-5b1f" not in ended.answer


def test_one_that_only_waits_is_ended_by_the_clock(tmp_path: Path) -> None:
    bounds = Bounds(wall_s=0.5, cpu_s=5)
    ended = run_bounded("tests.detectors.dying", b"wait", tmp_path, bounds)
    assert ended.too_long and "none within 0.5 s" in ending(ended, bounds)


def test_a_model_in_use_stays(tiny: Path, store: Path, django_capture_on_commit_callbacks: Any) -> None:
    model = take_in(tiny, within=SHORT)
    deployment = Deployment.objects.create(name="People", model=model)
    with pytest.raises(Refused, match=r"expected no deployment to run it, got People; give each another"):
        remove(model)
    deployment.delete()
    with django_capture_on_commit_callbacks(execute=True):
        remove(model)
    assert left(store) == [] and not Model.objects.exists()


def test_labels_in_the_row_count_more_than_the_cards(tiny: Path, store: Path) -> None:
    model = take_in(tiny, within=SHORT)
    Deployment.objects.create(name="all", model=model)
    Model.objects.update(classes=[{"name": "person", "label": "dog"}, {"name": "car", "label": "truck"}], device="CPU")
    [deployment] = deployments()
    card, _ = locate(deployment.model, store)
    assert card.classes == ("dog", "truck") and deployment.model.device == "CPU"


# The command


def test_the_command_adds_lists_and_removes(tiny: Path, store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    call_command("model", "add", str(tiny), "--name", "Yard", "--licence", "MIT")
    call_command("model", "list")
    said = capsys.readouterr().out
    assert "Yard 1 is in: " in said and "licence MIT" in said
    assert "yolo11n      AGPL-3.0" in said
    call_command("model", "remove", "Yard 1")
    assert not Model.objects.exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["add", "yolo11"], r"^model: expected a file, or one of .*, got 'yolo11'; did you mean yolo11[ns]"),
        (["add", "./missing"], r"^\./missing: expected a file or a folder, got nothing there; mend the path$"),
        (["add", "best.onnx"], r"^best\.onnx: expected a file or a folder, got nothing there; mend the path$"),
        (["add", "yolo11n.pt"], r"got nothing there; mend the path, or say yolo11n to have it fetched$"),
        (["add", "http://example.org/a.onnx"], r"http://example\.org: expected an https:// address"),
        (["add", "file:///etc/passwd"], r"file://: expected an https:// address"),
        (["remove", "none"], r"expected one of none, got 'none'"),
    ],
)
def test_the_command_says_what_is_wrong(arguments: list[str], words: str) -> None:
    with pytest.raises(CommandError, match=words):
        call_command("model", *arguments)


def test_the_shipped_model_is_added_by_name(store: Path) -> None:
    model = bring("nanodet_g")
    assert (model.card, model.latency_ms is not None) == ("nanodet_g", True)
    with pytest.raises(Refused, match="got one that is there"):
        bring("nanodet_g")


def test_the_shipped_model_is_measured_where_it_lacks_a_figure(store: Path) -> None:
    before = Model.objects.create(**registry.model_fields("nanodet_g"))
    after = bring("nanodet_g")
    assert after.pk == before.pk and after.latency_ms and after.cpu_ms and "OpenVINO, CPU" in after.measured_on


def test_a_file_is_meant_from_where_the_command_was_given(
    tiny: Path, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POLISCOPE_FROM", str(tiny.parent))
    call_command("model", "add", tiny.name, "--name", "Yard")
    assert Model.objects.get().name == "Yard"


def test_whoever_reads_the_list_may_stop_reading(store: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "w", buffering=1) as gone:
        call_command("model", "list", stdout=gone)


def test_labels_must_fit_the_model(tiny: Path, store: Path) -> None:
    with pytest.raises(ModelBroken, match="expected outputs"):
        take_in(tiny, labels=("person",), within=SHORT)


@pytest.mark.shared
def test_a_model_of_another_maker_is_recognised_and_tried(shared: Path, store: Path) -> None:
    weights = shared / "weights"
    model = take_in(weights / "yolox_nano_coco_416.onnx", labels=("coco-80",))
    assert len(model.classes) == 80 and {"person", "truck"} <= set(model.labels)
    with pytest.raises(ModelBroken, match=r"osnet_x0_25_msmt17\.onnx: expected the outputs of .* got \(1, 512\)"):
        take_in(weights / "osnet_x0_25_msmt17.onnx")
    with pytest.raises(ModelBroken, match=r"yolox_nano_coco_416\.onnx: outputs .* give them with --labels"):
        take_in(weights / "yolox_nano_coco_416.onnx", name="again")
