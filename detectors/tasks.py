"""Celery tasks: an id in, a service called. Losing one leaves its row waiting, and the page offers to ask again."""

from __future__ import annotations

from uuid import UUID

from celery import shared_task

from detectors import candidates


# Acknowledged at once: a check takes longer than the broker waits before it hands a task to somebody else.
@shared_task(name=candidates.TASK, ignore_result=True, acks_late=False)
def check(uid: str) -> None:
    """Check one model that was handed in, if nobody else does."""
    candidates.check(UUID(uid))
