"""The pool's plan as the database has it: the detector's only way to the database."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from uuid import UUID

from django.db import Error as DatabaseError
from django.db import close_old_connections

from detectors.backends.base import ModelProblem
from detectors.models import Deployment, Model
from detectors.plan import Condition, DeploymentSpec, ModelSpec, PoolPlan, pool_plan, read_condition
from streams.models import Camera, SequenceCounter

logger = logging.getLogger(__name__)

RELOAD_S = 1.0
PROBLEM_MOST = 500


def read_plan(pool: str, device: str = "auto") -> PoolPlan:
    """The plan of ``pool`` now: three queries."""
    deployments = Deployment.objects.filter(pool=pool, enabled=True).select_related("model").prefetch_related("cameras")
    specs = [_deployment(row, device) for row in deployments]
    return pool_plan(pool, specs, Camera.objects.filter(enabled=True).values_list("uid", flat=True))


def _deployment(row: Deployment, device: str) -> DeploymentSpec:
    spec = spec_of(row.model, device)
    cameras = None if row.all_cameras else frozenset(camera.uid for camera in row.cameras.all())
    return DeploymentSpec(row.uid, row.name, row.pool, spec, cameras, _condition(row), row.static_regions)


def spec_of(model: Model, device: str = "auto") -> ModelSpec:
    """A device that is pinned to the model counts more than the worker's."""
    return ModelSpec(
        model.uid,
        model.name,
        model.version,
        model.backend,
        model.card,
        model.path,
        model.sha256,
        device if model.device == "auto" else model.device,
        tuple(str(one.get("label", "")) for one in model.classes),
    )


def _condition(row: Deployment) -> Condition:
    try:
        return read_condition(row.condition)
    except (ValueError, AttributeError) as error:
        logger.error("deployment %s: %s; pictures are taken on motion until then", row.name, error)
        return "on_motion"


def write_problems(pool: str, problems: Mapping[UUID, ModelProblem]) -> None:
    """Show on each model of ``pool`` what is wrong with it; nothing for one that works."""
    for model in Model.objects.filter(deployments__pool=pool, deployments__enabled=True).distinct():
        problem = str(problems.get(model.uid, ""))[:PROBLEM_MOST]
        if model.problem != problem:
            # Not save(): that would count as an edit, and every process would reload.
            Model.objects.filter(pk=model.pk).update(problem=problem)


class StoredPlan:
    """Keeps ``current`` up to date from a thread of its own, so that a database that hangs holds up no frame."""

    def __init__(self, pool: str, *, device: str = "auto") -> None:
        """Raises ``django.db.Error`` when the database cannot be read now."""
        self._pool, self._device = pool, device
        self._problems: Callable[[], Mapping[UUID, ModelProblem]] = dict
        self._sequence = SequenceCounter.current(SequenceCounter.CONFIGURATION)
        self.current = read_plan(pool, device)
        self._written: dict[UUID, str] | None = None
        self._away = False
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="plan", daemon=True)

    def start(self, problems: Callable[[], Mapping[UUID, ModelProblem]]) -> None:
        """Begin to watch; ``problems`` says what is wrong with which model (by uid)."""
        self._problems = problems
        self._thread.start()

    def stop(self) -> None:
        """Watch no more."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(2)

    def refresh(self) -> None:
        """Read the plan again if the configuration changed; write what is wrong with models if that did."""
        sequence = SequenceCounter.current(SequenceCounter.CONFIGURATION)
        if sequence != self._sequence:
            self.current = read_plan(self._pool, self._device)
            self._sequence, self._written = sequence, None
        problems = dict(self._problems())
        texts = {uid: str(problem) for uid, problem in problems.items()}
        if texts != self._written:
            write_problems(self._pool, problems)
            self._written = texts

    def _run(self) -> None:
        while not self._stop.wait(RELOAD_S):
            try:
                close_old_connections()
                self.refresh()
                self._away = False
            except DatabaseError as error:
                if not self._away:
                    logger.warning("the database does not answer (%s); the last plan stays in force", error)
                self._away = True
