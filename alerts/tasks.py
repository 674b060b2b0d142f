"""Celery tasks: an id in, a service called. Losing any of them loses nothing; ``sweep`` hands over again."""

from __future__ import annotations

from uuid import UUID

from celery import shared_task

from alerts import delivery, rehearsals, worker  # noqa: F401  (the worker's heartbeat registers itself)


@shared_task(name="alerts.deliver", ignore_result=True)
def deliver(uid: str) -> None:
    """Send one delivery, if it is still to be sent and nobody else does."""
    delivery.deliver(UUID(uid))


# Of its own limits: a week of several cameras takes longer than a message may. Handed over twice, it runs once.
@shared_task(name=rehearsals.TASK, ignore_result=True, acks_late=True, soft_time_limit=3540, time_limit=3600)
def rehearse(uid: str) -> None:
    """Run one rehearsal, if it waits and nobody else does."""
    # The archive's reader weighs as much as all else here together, and most workers never need it.
    from alerts import rehearsal_run

    rehearsal_run.run(UUID(uid))
