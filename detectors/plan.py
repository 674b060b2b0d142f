"""Which deployments of a pool look at which cameras, and with which model. Pure.

Capture writes to ``frames.<pool>`` what Demand rows ask for; the plan says what the pool does with a camera's frame.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args
from uuid import UUID

Condition = Literal["on_motion", "always"]


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """One registered model version. Equal ones share their weights in memory and are run once for a picture."""

    uid: UUID
    name: str
    version: str
    backend: str
    """Key of ``detectors.registry.BACKENDS``, or ``auto``."""
    card: str = ""
    """A card of ``detectors/zoo``; empty: the ``.toml`` beside ``path``."""
    path: str = ""
    """The weights; empty: those of the card."""
    sha256: str = ""
    device: str = "auto"
    labels: tuple[str, ...] = ()
    """Our label of each class, in place of the card's; empty: the card's."""

    def __str__(self) -> str:
        return f"{self.name} {self.version}"


@dataclass(frozen=True, slots=True)
class DeploymentSpec:
    """The choice to run a model on some cameras. ``cameras`` None: on all of them."""

    uid: UUID
    name: str
    pool: str
    model: ModelSpec
    cameras: frozenset[UUID] | None = None
    condition: Condition = "on_motion"
    static_regions: bool = False
    """Whether what was left or taken is looked for beside what the model knows."""

    def covers(self, camera: UUID) -> bool:
        """Whether it is to look at ``camera``."""
        return self.cameras is None or camera in self.cameras


@dataclass(frozen=True, slots=True)
class PoolPlan:
    """What one pool's workers do: for each enabled camera, its deployments in a fixed order."""

    pool: str
    cameras: Mapping[UUID, tuple[DeploymentSpec, ...]] = field(default_factory=dict)

    def deployments(self, camera: UUID) -> tuple[DeploymentSpec, ...]:
        """Those that look at ``camera``; none for a camera that the plan does not know."""
        return self.cameras.get(camera, ())

    @property
    def everyone(self) -> frozenset[DeploymentSpec]:
        """Every deployment that looks at some camera."""
        return frozenset().union(*self.cameras.values())


def pool_plan(pool: str, deployments: Iterable[DeploymentSpec], cameras: Iterable[UUID]) -> PoolPlan:
    """The plan of ``pool`` for these (enabled) deployments and cameras.

    >>> pool_plan("general", [], []).everyone
    frozenset()
    """
    ours = sorted((one for one in deployments if one.pool == pool), key=lambda one: one.uid)
    looked_at = {camera: tuple(one for one in ours if one.covers(camera)) for camera in cameras}
    return PoolPlan(pool, {camera: found for camera, found in looked_at.items() if found})


def read_condition(value: Mapping[str, Any]) -> Condition:
    """When a deployment wants pictures; nothing said: ``on_motion``. Raises ``ValueError`` for an unknown kind.

    >>> read_condition({"kind": "always"}), read_condition({})
    ('always', 'on_motion')
    """
    kind = value.get("kind", "on_motion")
    for known in get_args(Condition):
        if kind == known:
            condition: Condition = known
            return condition
    raise ValueError(f"condition: expected one of {', '.join(get_args(Condition))}, got {kind!r}; choose one of them")
