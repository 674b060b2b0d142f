"""What an empty installation watches with: the model that comes with the project, on every camera."""

from __future__ import annotations

from detectors.models import Deployment, Model
from detectors.registry import model_fields

DEPLOYMENT, POOL = "general", "general"


def default_deployment() -> Deployment:
    """The choice to run the shipped model on all cameras, made where it is missing."""
    fields = model_fields()
    model, _ = Model.objects.get_or_create(name=fields.pop("name"), version=fields.pop("version"), defaults=fields)
    deployment, _ = Deployment.objects.get_or_create(
        name=DEPLOYMENT, defaults={"model": model, "pool": POOL, "all_cameras": True}
    )
    return deployment


def ensure_default_deployment() -> None:
    """Make it in an installation that never had a model; whatever somebody changed or deleted since stays so."""
    if not Model.objects.exists() and not Deployment.objects.exists():
        default_deployment()


def pools_in_use() -> list[str]:
    """The pools that enabled deployments name, sorted; the default one where there is none."""
    return sorted(set(Deployment.objects.filter(enabled=True).values_list("pool", flat=True))) or [POOL]
