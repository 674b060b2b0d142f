"""Models in memory: loaded on first need, unloaded when idle, kept while their successor is broken."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import msgspec

from detectors import registry
from detectors.backends.base import Backend, Card, ModelBroken, ModelMissing, ModelProblem
from detectors.plan import DeploymentSpec, ModelSpec

logger = logging.getLogger(__name__)

IDLE_S = 300.0
"""Much longer than any load; a model that nobody needs is not in memory."""
RETRY_S = 15.0
"""A model that could not be loaded is tried again so much later: somebody may have put the file there."""


@dataclass(slots=True)
class _Loaded:
    backend: Backend
    used_at_s: float


@dataclass(slots=True)
class _Failed:
    problem: ModelProblem
    again_at_s: float


class Loader:
    """Gives each deployment its backend. Used by one thread; the time comes in as ``now_s`` (monotonic).

    ``models_folder`` is where a relative ``ModelSpec.path`` begins.
    """

    def __init__(
        self,
        models_folder: Path,
        *,
        idle_s: float = IDLE_S,
        make_backend: Callable[[str], Backend] = registry.make_backend,
    ) -> None:
        self._folder, self._idle_s, self._make_backend = models_folder, idle_s, make_backend
        self._loaded: dict[ModelSpec, _Loaded] = {}
        self._failed: dict[ModelSpec, _Failed] = {}
        self._serving: dict[UUID, ModelSpec] = {}
        """The model that each deployment ran last."""

    def backend(self, deployment: DeploymentSpec, now_s: float) -> tuple[ModelSpec, Backend] | None:
        """What to run for ``deployment``: its model; when that is broken, the one it ran before; None: neither.

        Loads on first need, which may take seconds. Never raises for a model; ``problems`` says what is wrong.
        """
        wanted = deployment.model
        if self._ready(wanted, now_s):
            self._serving[deployment.uid] = wanted
        spec = self._serving.get(deployment.uid, wanted)
        loaded = self._loaded.get(spec)
        if loaded is None and spec != wanted and self._ready(spec, now_s):
            loaded = self._loaded.get(spec)
        if loaded is None:
            return None
        loaded.used_at_s = now_s
        return spec, loaded.backend

    def problems(self) -> dict[UUID, ModelProblem]:
        """What is wrong, by the model's uid. May be called from another thread."""
        return {spec.uid: failed.problem for spec, failed in list(self._failed.items())}

    def __len__(self) -> int:
        """Models in memory."""
        return len(self._loaded)

    def keep(self, deployments: Collection[DeploymentSpec]) -> None:
        """The plan changed: forget deployments and models that are in none of ``deployments``."""
        uids = {one.uid for one in deployments}
        wanted = {one.model for one in deployments}
        self._serving = {uid: spec for uid, spec in self._serving.items() if uid in uids}
        self._failed = {spec: failed for spec, failed in self._failed.items() if spec in wanted}
        for failed in self._failed.values():
            failed.again_at_s = 0.0
        self._unload([spec for spec in self._loaded if spec not in wanted | set(self._serving.values())])

    def release_idle(self, now_s: float) -> None:
        """Unload what nobody has needed for the idle time."""
        self._unload([spec for spec, loaded in self._loaded.items() if now_s - loaded.used_at_s > self._idle_s])

    def close(self) -> None:
        """Unload everything."""
        self._unload(list(self._loaded))

    def _unload(self, specs: list[ModelSpec]) -> None:
        for spec in specs:
            self._loaded.pop(spec).backend.unload()
            logger.info("%s: unloaded", spec)

    def _ready(self, spec: ModelSpec, now_s: float) -> bool:
        if spec in self._loaded:
            return True
        failed = self._failed.get(spec)
        if failed is not None and now_s < failed.again_at_s:
            return False
        try:
            backend = self._load(spec)
        except ModelProblem as problem:
            if failed is None or str(failed.problem) != str(problem):
                logger.error("%s", problem)
            self._failed[spec] = _Failed(problem, now_s + RETRY_S)
            return False
        self._failed.pop(spec, None)
        self._loaded[spec] = _Loaded(backend, now_s)
        logger.info("%s: loaded on %s", spec, backend.device)
        return True

    def _load(self, spec: ModelSpec) -> Backend:
        card, path = locate(spec, self._folder)
        backend = self._make_backend(registry.resolve(spec.backend, path))
        backend.load(path, card, spec.device)
        try:
            backend.warm_up()
        except Exception as error:
            backend.unload()
            raise ModelBroken(
                f"{spec}: expected it to analyse an empty picture, got {type(error).__name__}: {error}; choose another "
                "model"
            ) from error
        return backend


def locate(spec: ModelSpec, models_folder: Path) -> tuple[Card, Path]:
    """The card and the weights of ``spec``. Raises ``ModelProblem``."""
    if not spec.card and not spec.path:
        raise ModelMissing(f"{spec}: expected a model card or a file, got neither; give the model one of them")
    path = models_folder / spec.path
    if spec.card:
        card = registry.load_card(spec.card)
        path = path if spec.path else registry.model_path(card)
    else:
        card = registry.load_card(path.stem, path.parent)
    return (msgspec.structs.replace(card, sha256=spec.sha256) if spec.sha256 else card), path
