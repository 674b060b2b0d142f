"""Which deployments look at which cameras."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest

from detectors.plan import DeploymentSpec, ModelSpec, pool_plan, read_condition

GATE, YARD = UUID(int=1), UUID(int=2)
MODEL = ModelSpec(UUID(int=9), "tiny", "1", "openvino")


def deployment(number: int, pool: str = "general", cameras: frozenset[UUID] | None = None) -> DeploymentSpec:
    return DeploymentSpec(UUID(int=number), f"d{number}", pool, MODEL, cameras)


@pytest.mark.parametrize(
    "deployments, expected",
    [
        ([], {}),
        ([deployment(1)], {GATE: [1], YARD: [1]}),
        ([deployment(1, cameras=frozenset({YARD}))], {YARD: [1]}),
        ([deployment(2), deployment(1)], {GATE: [1, 2], YARD: [1, 2]}),
        ([deployment(1, pool="other")], {}),
        ([deployment(1, cameras=frozenset())], {}),
        ([deployment(1, cameras=frozenset({UUID(int=77)}))], {}),
    ],
)
def test_the_plan_of_a_pool(deployments: list[DeploymentSpec], expected: dict[UUID, list[int]]) -> None:
    plan = pool_plan("general", deployments, [GATE, YARD])
    assert {camera: [one.uid.int for one in found] for camera, found in plan.cameras.items()} == expected


def test_a_camera_that_nobody_looks_at_has_no_deployments() -> None:
    assert pool_plan("general", [deployment(1)], [GATE]).deployments(YARD) == ()


@pytest.mark.parametrize(
    "value, expected", [({}, "on_motion"), ({"kind": "on_motion"}, "on_motion"), ({"kind": "always"}, "always")]
)
def test_conditions(value: dict[str, Any], expected: str) -> None:
    assert read_condition(value) == expected


def test_an_unknown_condition_names_those_there_are() -> None:
    with pytest.raises(ValueError, match="expected one of on_motion, always, got 'on_tuesdays'"):
        read_condition({"kind": "on_tuesdays"})
