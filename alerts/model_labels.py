"""What the models here know, by the names under which they stand in Detections."""

from __future__ import annotations

from collections.abc import Mapping

from detectors.models import Model


def labels_by_model() -> Mapping[str, frozenset[str]]:
    """The labels of each model, those that its deployments add included; one that never said any is left out."""
    known: dict[str, frozenset[str]] = {}
    for model in Model.objects.prefetch_related("deployments"):
        if model.labels:
            more = [label for deployment in model.deployments.all() for label in deployment.labels]
            known[f"{model.name} {model.version}"] = frozenset([*model.labels, *more])
    return known
