"""The plan as the database has it, and the command's refusals."""

from __future__ import annotations

from uuid import UUID

import pytest
from django.core.management import CommandError, call_command

from detectors import registry
from detectors.backends.base import ModelMissing, ModelProblem
from detectors.models import Deployment, Model
from detectors.stored import StoredPlan, read_plan
from streams.log import LogAddresses, open_log
from streams.models import Camera, CameraGroup, SequenceCounter, Site
from streams.topics import standing_topics

pytestmark = pytest.mark.django_db


@pytest.fixture
def cameras() -> list[Camera]:
    site, group = Site.objects.create(name="Harbour"), CameraGroup.objects.create(name="Quay")
    return [Camera.objects.create(name=name, site=site, group=group) for name in ("Gate", "Yard")]


@pytest.fixture
def deployment() -> Deployment:
    model = Model.objects.create(**registry.model_fields())
    return Deployment.objects.create(name="people", model=model)


def looked_at(pool: str = "general") -> set[UUID]:
    return set(read_plan(pool).cameras)


def test_all_enabled_cameras_are_looked_at(cameras: list[Camera], deployment: Deployment) -> None:
    Camera.objects.filter(pk=cameras[1].pk).update(enabled=False)
    assert looked_at() == {cameras[0].uid}
    [spec] = read_plan("general").deployments(cameras[0].uid)
    assert (spec.uid, spec.model.card, spec.model.backend) == (deployment.uid, "nanodet_g", "openvino")


def test_chosen_cameras_only_are_looked_at(cameras: list[Camera], deployment: Deployment) -> None:
    Deployment.objects.update(all_cameras=False)
    assert looked_at() == set()
    deployment.cameras.add(cameras[1])
    assert looked_at() == {cameras[1].uid}


@pytest.mark.parametrize("change", [{"enabled": False}, {"pool": "elsewhere"}])
def test_other_deployments_are_not_run(
    cameras: list[Camera], deployment: Deployment, change: dict[str, object]
) -> None:
    Deployment.objects.update(**change)
    assert looked_at() == set()


@pytest.mark.parametrize("condition", [{"kind": "on_tuesdays"}, ["always"], "always"])
def test_a_condition_that_is_none_stops_nothing(
    cameras: list[Camera], deployment: Deployment, condition: object
) -> None:
    Deployment.objects.update(condition=condition)
    assert [spec.condition for spec in read_plan("general").everyone] == ["on_motion"]


def test_the_plan_follows_the_configuration(cameras: list[Camera], deployment: Deployment) -> None:
    stored = StoredPlan("general")
    before = stored.current
    stored.refresh()
    assert stored.current is before
    Deployment.objects.update(enabled=False)
    SequenceCounter.advance(SequenceCounter.CONFIGURATION)
    stored.refresh()
    assert stored.current.cameras == {}


def test_what_is_wrong_with_a_model_stands_on_it(cameras: list[Camera], deployment: Deployment) -> None:
    problems: dict[UUID, ModelProblem] = {deployment.model.uid: ModelMissing("expected the model, got nothing")}
    stored = StoredPlan("general")
    stored._problems = lambda: problems
    stored.refresh()
    before = SequenceCounter.current(SequenceCounter.CONFIGURATION)
    deployment.model.refresh_from_db()
    assert deployment.model.problem == "expected the model, got nothing"
    problems.clear()
    stored.refresh()
    deployment.model.refresh_from_db()
    assert deployment.model.problem == ""
    assert SequenceCounter.current(SequenceCounter.CONFIGURATION) == before


@pytest.mark.valkey
def test_it_refuses_to_start_without_its_topic(log_addresses: LogAddresses, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", log_addresses.rest_url)
    monkeypatch.setenv("POLISCOPE_FRAMES_URL", log_addresses.frames_url)
    log = open_log(log_addresses)
    log.create(standing_topics([]))
    log.close()
    with pytest.raises(CommandError, match=r"detect: .*frames\.general"):
        call_command("detect", "--pool", "general")


def test_it_refuses_a_pool_that_cannot_be_a_topic() -> None:
    with pytest.raises(CommandError, match="expected letters, digits"):
        call_command("detect", "--pool", "no such pool")
