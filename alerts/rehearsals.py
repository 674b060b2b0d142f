"""Rehearsals asked for on screen: begun, looked at, cancelled, forgotten after a day. ``rehearsal_run`` runs them.

The row is the truth and Celery carries its id only. A claim is a conditional update, so a task that is handed over
twice runs once. A worker that is gone leaves a stale heartbeat, which the next look or the sweep turns into *failed*.
Nothing here is an incident, and nothing is sent. The archive's reader is not imported: it weighs what a worker weighs.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
from celery import current_app
from django.conf import settings
from django.contrib.auth.base_user import AbstractBaseUser
from django.db import connection, transaction
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop

from alerts.awaited import cameras_beside, embedded, sources_in_force, version_in_force, why_it_fires_nothing
from alerts.models import Rehearsal, Rule
from alerts.rules.config import EmbeddedRule
from alerts.rules.sequence import followed, sequence_of
from alerts.sequences import KIND as SEQUENCE
from streams.models import Camera

logger = logging.getLogger(__name__)

TASK = "alerts.rehearse"
QUEUE = "jobs"
DAYS = (1, 7, 14)
KEPT = timedelta(days=1)
KEPT_EACH = 20
"""Of one author; with more, the oldest go."""
AT_ONCE = 2
"""A rehearsal keeps one of the worker's threads busy, and messages go out through the same worker."""
STALE_S = 60.0
"""Without a heartbeat for so long, the worker is gone: one hour of one camera is read in much less."""
WAIT_S = 300.0
"""The check of a model may be before it in the queue."""
State = Rehearsal.State
UNDER_WAY = (State.WAITING, State.RUNNING)
PROBLEMS = {
    "worker": gettext_noop("The worker ended in the middle. Rehearse again."),
    "waited": gettext_noop("No worker took it up. See under “This machine” that the worker runs, then rehearse again."),
    "broker": gettext_noop("No worker could be asked: the message queue does not answer. Try again in a moment."),
    "archive": gettext_noop("The archive could not be read. The worker's log says more."),
    "failed": gettext_noop("It could not be finished. The worker's log says more."),
}


class CannotRehearse(ValueError):
    """None can be begun now. The text is a plain sentence with the remedy."""


def archive_root() -> Path:
    """Where ``evaluate`` keeps what it consumed."""
    folder: Path = settings.ARCHIVE["folder"]
    return folder


# Asking for one.


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be rehearsed: ``draft`` on ``cameras`` over the last ``days`` up to ``until_at``.

    A sequence is rehearsed on those of ``cameras`` that its rules watch at its sites; with none given, on all of these.
    """

    draft: EmbeddedRule
    cameras: Sequence[UUID]
    days: int
    until_at: datetime
    time_zone: str
    tracked_anew: bool = False
    """From the archived detections, by the tracker as it is now: slower."""


def start(wanted: Wanted, *, author: AbstractBaseUser) -> Rehearsal:
    """Store it, hand it to a worker; what else of ``author``'s is under way is cancelled. Raises ``CannotRehearse``."""
    now = timezone.now()
    if not settings.ARCHIVE["days"]:
        raise CannotRehearse(_("Nothing is archived here: POLISCOPE_ARCHIVE_DAYS is 0. Set it, and rehearse later."))
    notice_lost(now)
    with transaction.atomic():
        finish(Rehearsal.objects.filter(author_id=author.pk, state__in=UNDER_WAY), State.CANCELLED)
        if Rehearsal.objects.filter(state__in=UNDER_WAY).count() >= AT_ONCE:
            raise CannotRehearse(_("Others are rehearsing just now. Try again in a minute."))
        version = version_in_force(wanted.draft.rule)
        sources, cameras = _made_of(wanted, embedded(version.embedded) if version else None)
        rehearsal = Rehearsal.objects.create(
            author_id=author.pk,
            draft=msgspec.to_builtins(wanted.draft),
            in_force=version.embedded if version else None,
            in_force_number=version.number if version else None,
            sources=msgspec.to_builtins(sources),
            cameras=[str(uid) for uid in cameras],
            from_at=wanted.until_at - timedelta(days=wanted.days),
            until_at=wanted.until_at,
            time_zone=wanted.time_zone,
            tracked_anew=wanted.tracked_anew,
            created_at=now,
        )
        _forget_surplus(author)
        transaction.on_commit(lambda: _publish_soon(rehearsal.uid))
    return rehearsal


# What a sequence is made of.


def _made_of(wanted: Wanted, in_force: EmbeddedRule | None) -> tuple[list[EmbeddedRule], list[UUID]]:
    """The rules that have to run beside a sequence, and on which cameras. Raises ``CannotRehearse``."""
    if wanted.draft.kind != SEQUENCE:
        return [], list(wanted.cameras)
    needed = _complete(wanted.draft)
    beside = {} if in_force is None else sources_in_force(in_force)
    sources = [source for source in (beside | needed).values() if source is not None]
    at_its_sites = set(cameras_beside([wanted.draft] if in_force is None else [wanted.draft, in_force]))
    asked = set(wanted.cameras) or at_its_sites
    for source in needed.values():
        if source.kind != SEQUENCE and not source.cameras & asked & at_its_sites:
            raise CannotRehearse(
                _("“%(rule)s” watches none of these cameras, so the sequence could never be complete. Choose others.")
                % {"rule": source.name}
            )
    _check_common_camera(wanted.draft, needed, asked & at_its_sites)
    watched = set[UUID]().union(*(source.cameras for source in sources)) & asked & at_its_sites
    return sources, list(Camera.objects.filter(uid__in=watched).order_by("name").values_list("uid", flat=True))


def _complete(sequence: EmbeddedRule) -> dict[UUID, EmbeddedRule]:
    """The rules that it is made of. Raises ``CannotRehearse`` where one of them fires nothing."""
    found: dict[UUID, EmbeddedRule] = {}
    for uid, source in sources_in_force(sequence).items():
        if source is None:
            raise CannotRehearse(why_it_fires_nothing(Rule.objects.filter(uid=uid).first()))
        found[uid] = source
    return found


def _check_common_camera(sequence: EmbeddedRule, sources: Mapping[UUID, EmbeddedRule], cameras: set[UUID]) -> None:
    """To be made on one camera, both rules watch one of ``cameras``. Raises ``CannotRehearse``."""
    config = sequence_of(sequence)
    both = [sources[uid] for uid in followed(sequence)]
    if config is None or config.scope != "camera" or any(source.kind == SEQUENCE for source in both):
        return
    if not cameras.intersection(*(source.cameras for source in both)):
        raise CannotRehearse(
            _("“%(first)s” and “%(then)s” watch none of these cameras in common. Choose others.")
            % {"first": both[0].name, "then": both[-1].name}
        )


def _forget_surplus(author: AbstractBaseUser) -> None:
    surplus = Rehearsal.objects.filter(author_id=author.pk).values_list("pk", flat=True)[KEPT_EACH:]
    Rehearsal.objects.filter(pk__in=list(surplus)).delete()


def _publish_soon(uid: UUID) -> None:
    """From a thread of its own: a broker that is away holds whoever asks it for seconds."""

    def run() -> None:
        publish(uid)
        connection.close()

    threading.Thread(target=run, name="publish", daemon=True).start()


def publish(uid: UUID) -> None:
    """Give it to a worker. Never raises: what went wrong stands on the rehearsal."""
    try:
        # retry=False: kombu would otherwise try again by itself, and block while it does.
        current_app.send_task(TASK, args=[str(uid)], queue=QUEUE, retry=False, ignore_result=True)
    except Exception as error:
        logger.error("rehearsal %s: no worker could be asked (%s)", uid, type(error).__name__)
        finish(Rehearsal.objects.filter(uid=uid, state=State.WAITING), State.FAILED, "broker")


# Looking, cancelling, forgetting.


def cancel(rehearsal: Rehearsal) -> None:
    """Stop it: the worker sees it between two items. What is over stays as it is."""
    finish(Rehearsal.objects.filter(pk=rehearsal.pk, state__in=UNDER_WAY), State.CANCELLED)


def notice_lost(now: datetime) -> int:
    """What no worker works on any more has failed. Returns how many."""
    silent = Q(state=State.RUNNING, beat_at__lt=now - timedelta(seconds=STALE_S))
    waited = Q(state=State.WAITING, created_at__lt=now - timedelta(seconds=WAIT_S))
    lost = finish(Rehearsal.objects.filter(silent), State.FAILED, "worker")
    return lost + finish(Rehearsal.objects.filter(waited), State.FAILED, "waited")


def tidy(now: datetime) -> None:
    """For the sweep: fail what is lost, forget what is a day old."""
    notice_lost(now)
    Rehearsal.objects.filter(created_at__lt=now - KEPT).delete()


def finish(which: Any, state: Rehearsal.State, problem: str = "") -> int:
    """End ``which`` in ``state``; returns how many that were."""
    finished: int = which.update(state=state, problem=problem[:500], finished_at=timezone.now())
    return finished
