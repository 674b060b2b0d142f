"""The pages for models, as a browser posts to them: handing in, watching the check, mapping classes, letting go."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile, TemporaryUploadedFile
from django.test import Client
from django.urls import reverse
from kombu.exceptions import OperationalError

from alerts.editing import save_rule
from detectors import candidates, intake, registry, runtimes
from detectors import known as knowing
from detectors.candidate_admin import keep
from detectors.known import Known
from detectors.models import Candidate, Deployment, Model
from streams.models import SequenceCounter
from tests.detectors import hostile
from tests.detectors.tiny import tiny_model
from tests.town import NOW, Town, build_town, new_rule

pytestmark = pytest.mark.django_db

NOWHERE = Known("nowhere", "MIT", "https://127.0.0.1:9/nowhere.onnx", words="for tests")


@pytest.fixture(autouse=True)
def _folders(settings: Any, tmp_path: Path) -> None:
    settings.STATIC_ROOT = tmp_path  # WhiteNoise warns of a missing one
    settings.DATA_DIR = tmp_path / "data"
    settings.MODEL_TRIAL_S = 30


@pytest.fixture
def town() -> Town:
    return build_town()


@pytest.fixture
def browser(town: Town) -> Client:
    client = Client()
    client.force_login(town.ada)
    return client


def page(name: str, *args: Any) -> str:
    return reverse(f"admin:detectors_{name}", args=args)


def hand_in(browser: Client, **typed: Any) -> Any:
    return browser.post(page("model_add"), {"known": "", "name": "", "licence": "", "backend": "auto", **typed})


def packed(tmp_path: Path) -> bytes:
    """The tiny model and its card as a zip."""
    path = tiny_model(tmp_path / "tiny")
    members = {f"tiny__{suffix}": path.with_suffix(f".{suffix}").read_bytes() for suffix in ("xml", "bin", "toml")}
    return hostile.zipped(tmp_path / "tiny.zip", **members).read_bytes()


def said(response: Any) -> str:
    """The page's text."""
    assert response.status_code == 200
    return str(response.content.decode())


def test_a_file_is_handed_in_checked_and_becomes_a_model(browser: Client, tmp_path: Path) -> None:
    upload = SimpleUploadedFile("tiny.zip", packed(tmp_path))
    response = hand_in(browser, upload=upload, name="Yard people", licence="MIT")
    candidate = Candidate.objects.get()
    assert response["Location"] == page("candidate_change", candidate.pk)
    assert candidate.state == "waiting" and candidates.file_of(candidate).stat().st_size == upload.size
    watched = browser.get(page("candidate_change", candidate.pk))
    assert watched["Refresh"] == "2" and "waits for a worker" in said(watched)
    assert "tiny.zip" in said(browser.get(page("model_changelist")))

    candidates.check(candidate.uid)
    model = Model.objects.get(name="Yard people")
    assert (model.licence, model.labels) == ("MIT", ["car", "person"])
    assert not candidates.file_of(candidate).exists()
    assert browser.get(page("candidate_change", candidate.pk))["Location"] == page("model_change", model.pk)
    shown = said(browser.get(page("model_change", model.pk)))
    for words in ("nanodet, 32×32 BGR", model.sha256, "OpenVINO", "no deployment; it can be deleted", "model.xml, "):
        assert words in shown
    assert "Refresh" not in browser.get(page("model_changelist"))


def test_the_shipped_model_is_measured_by_adding_it_again(browser: Client) -> None:
    shipped, _made = Model.objects.get_or_create(**registry.model_fields())
    assert "add it by its name, and it is measured" in said(browser.get(page("model_changelist")))
    hand_in(browser, known="nanodet_g")
    candidate = Candidate.objects.get()
    candidates.check(candidate.uid)
    candidate.refresh_from_db()
    shipped.refresh_from_db()
    assert (candidate.state, candidate.model, candidate.problem) == ("taken", shipped, "") and shipped.latency_ms
    assert "add it by its name" not in said(browser.get(page("model_changelist")))


def test_a_refused_one_says_why_and_leaves_nothing(browser: Client, tmp_path: Path) -> None:
    hand_in(browser, upload=SimpleUploadedFile("<b>best</b>.onnx", b"a poem, not a network"))
    candidate = Candidate.objects.get()
    candidates.check(candidate.uid)
    candidate.refresh_from_db()
    assert candidate.state == "refused" and "expected an ONNX model, got other bytes" in candidate.problem
    shown = browser.get(page("candidate_change", candidate.pk))
    assert "Refresh" not in shown and "expected an ONNX model" in said(shown)
    for name in (page("candidate_change", candidate.pk), page("model_changelist")):
        assert "<b>best" not in said(browser.get(name))
    assert list(intake.incoming().iterdir()) == []


def test_a_known_model_without_internet_names_the_remedy(browser: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(knowing.KNOWN, "nowhere", NOWHERE)
    assert hand_in(browser, known="nowhere").status_code == 302
    candidate = Candidate.objects.get()
    candidates.check(candidate.uid)
    candidate.refresh_from_db()
    assert "on a machine with internet fetch https://127.0.0.1:9/nowhere.onnx" in candidate.problem
    assert "./poliscope manage model add nowhere.onnx" in candidate.problem


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ({}, "Choose a known model or a file of at most 1,000.0 MB, one of the two."),
        ({"known": "yolox_nano", "upload": ("a.onnx", b"x")}, "one of the two"),
        ({"upload": ("a.pkl", b"x")}, "Choose a file of one of these kinds: .onnx,.zip,.xml,.pt."),
        ({"known": "nothing"}, "Select a valid choice"),
        ({"known": "yolox_nano", "backend": "abacus"}, "Select a valid choice"),
    ],
    ids=["neither", "both", "pickle", "unknown", "runtime"],
)
def test_what_cannot_be_is_said_beside_the_form(browser: Client, typed: dict[str, Any], words: str) -> None:
    if isinstance(typed.get("upload"), tuple):
        typed = {**typed, "upload": SimpleUploadedFile(*typed["upload"])}
    shown = hand_in(browser, **typed)
    assert words in str(shown.context["adminform"].form.errors)
    assert not Candidate.objects.exists()


def test_a_runtime_that_is_missing_is_named_with_its_command(browser: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtimes, "find_spec", lambda key: None if key == "onnxruntime" else key)
    shown = hand_in(browser, known="yolox_nano", backend="onnxruntime")
    assert "ONNX Runtime is not installed; run ./poliscope install onnxruntime" in str(
        shown.context["adminform"].form.errors
    )
    assert "ONNX Runtime is not installed" not in said(browser.get(page("deployment_changelist")))


def test_a_file_over_the_cap_counts_as_not_sent(browser: Client, settings: Any) -> None:
    settings.MODEL_MAX_BYTES = 100_000
    shown = hand_in(browser, upload=SimpleUploadedFile("a.onnx", bytes(200_000)))
    assert "a file of at most 0.1 MB" in str(shown.context["adminform"].form.errors)


def test_a_large_upload_is_moved_and_not_copied(tmp_path: Path) -> None:
    upload = TemporaryUploadedFile("a.onnx", "application/octet-stream", 3, None)
    upload.write(b"abc")
    upload.flush()
    inode = Path(upload.temporary_file_path()).stat().st_ino
    kept = intake.incoming() / keep(upload)
    assert kept.read_bytes() == b"abc"
    assert kept.stat().st_ino == inode or kept.stat().st_dev != tmp_path.stat().st_dev
    upload.close()


def test_two_workers_check_one_candidate_once(browser: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    candidate = Candidate.objects.create(what="nowhere")
    assert candidates.claim(candidate.uid) is not None
    assert candidates.claim(candidate.uid) is None
    Candidate.objects.update(claimed_at="2020-01-01T00:00Z")
    assert candidates.claim(candidate.uid) is not None, "a claim of a worker that died is taken over"


def test_a_broker_that_is_away_is_said_and_can_be_asked_again(browser: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    candidate = Candidate.objects.create(what="nowhere")
    asked: list[Candidate] = []

    def away(*_: Any, **__: Any) -> None:
        raise OperationalError("Connection refused")  # what Celery raises, but after seconds

    monkeypatch.setattr(candidates.current_app, "send_task", away)
    candidates.publish(candidate)
    assert "No worker could be asked (OperationalError)" in said(browser.get(page("candidate_change", candidate.pk)))
    monkeypatch.setattr(candidates, "publish_soon", asked.append)
    assert browser.get(page("candidate_again", candidate.pk)).status_code == 302 and asked == []
    browser.post(page("candidate_again", candidate.pk))
    assert asked == [candidate]


def test_nobody_but_an_administrator_hands_in(town: Town) -> None:
    for person in (town.alice, town.bob, None):
        client = Client()
        if person:
            client.force_login(person)
        assert hand_in(client, known="yolox_nano").status_code == 302
    assert not Candidate.objects.exists()


# What classes are to us


@pytest.fixture
def model(town: Town) -> Model:
    Model.objects.filter(pk=town.deployment.model_id).update(
        card="nanodet_g",
        classes=[
            {"name": "human", "label": "person"},
            {"name": "sedan", "label": "car"},
            {"name": "crane", "label": ""},
        ],
    )
    return Model.objects.get(pk=town.deployment.model_id)


def form_of(model: Model, *labels: str) -> dict[str, Any]:
    typed = {"name": model.name, "licence": "MIT", "backend": "openvino", "device": "CPU"}
    return {**typed, **{f"classes-{number}": label for number, label in enumerate(labels)}}


def test_classes_are_mapped_to_our_labels_and_the_detectors_notice(browser: Client, model: Model) -> None:
    before = SequenceCounter.current(SequenceCounter.CONFIGURATION)
    shown = said(browser.get(page("model_change", model.pk)))
    assert shown.count('<select name="classes-') == 3 and 'class="unused"><td>crane' in shown
    response = browser.post(page("model_change", model.pk), form_of(model, "person", "", "truck"))
    assert response.status_code == 302, response.context["adminform"].form.errors
    model.refresh_from_db()
    assert [one["label"] for one in model.classes] == ["person", "", "truck"]
    assert [one["name"] for one in model.classes] == ["human", "sedan", "crane"]
    assert (model.labels, model.device) == (["person", "truck"], "CPU")
    assert SequenceCounter.current(SequenceCounter.CONFIGURATION) > before


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (("", "", ""), "At least one class must be reported."),
        (("person", "car"), "This page is out of date. Load it again."),
        (("person", "spaceship", ""), "This page is out of date. Load it again."),
    ],
)
def test_a_mapping_that_cannot_be_is_refused(
    browser: Client, model: Model, labels: tuple[str, ...], words: str
) -> None:
    shown = browser.post(page("model_change", model.pk), form_of(model, *labels))
    assert words in str(shown.context["adminform"].form.errors)


def test_a_mapping_that_would_starve_a_rule_is_refused(town: Town, browser: Client, model: Model) -> None:
    rule = new_rule(town)
    save_rule(rule, zones=[town.zone], author=None, now=NOW)
    shown = browser.post(page("model_change", model.pk), form_of(model, "", "car", ""))
    assert rule.name in str(shown.context["adminform"].form.errors)
    model.refresh_from_db()
    assert model.classes[0]["label"] == "person"


# Where they run


def test_a_model_in_use_cannot_be_deleted_and_the_page_says_why(town: Town, browser: Client, model: Model) -> None:
    assert "General; it cannot be deleted before they have another model" in said(
        browser.get(page("model_change", model.pk))
    )
    assert browser.post(page("model_delete", model.pk), {"post": "yes"}).status_code == 403
    Deployment.objects.all().delete()
    assert browser.post(page("model_delete", model.pk), {"post": "yes"}).status_code == 302
    assert not Model.objects.exists()


def test_a_deployment_lists_what_can_run_here_and_takes_nothing_else(town: Town, browser: Client, model: Model) -> None:
    broken = Model.objects.create(name="Lost", version="1", backend="openvino", path="gone/model.onnx")
    shown = said(browser.get(page("deployment_change", town.deployment.pk)))
    assert "General 1 – usable" in shown and "Lost 1 – cannot run here: model card: expected one of" in shown
    form = {"name": "General", "model": broken.pk, "pool": "general", "when": "always", "hz": 5, "all_cameras": "on"}
    shown = browser.post(page("deployment_change", town.deployment.pk), form)
    assert "Lost 1 cannot run here" in str(shown.context["adminform"].form.errors)
    town.deployment.refresh_from_db()
    assert town.deployment.model == model
