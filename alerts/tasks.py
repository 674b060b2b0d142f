"""Celery tasks: an id in, a service called. Losing any of them loses nothing; ``sweep`` hands over again."""

from __future__ import annotations

from uuid import UUID

from celery import shared_task

from alerts import delivery, worker  # noqa: F401  (the worker's heartbeat registers itself)


@shared_task(name="alerts.deliver", ignore_result=True)
def deliver(uid: str) -> None:
    """Send one delivery, if it is still to be sent and nobody else does."""
    delivery.deliver(UUID(uid))
