"""Models on their way in through the administrator's pages: handed in, checked by a worker, taken in or refused.

The row is the truth and Celery carries its id only. A claim is a conditional update, so two workers never check one
candidate; a claim that was left by a worker that died may be taken over after a while.
"""

from __future__ import annotations

import logging
import threading
import time
from datetime import timedelta
from pathlib import Path
from uuid import UUID

from celery import current_app
from django.conf import settings
from django.db import connection
from django.db.models import Q
from django.utils import timezone

from detectors import intake
from detectors.backends.base import ModelProblem
from detectors.bring import bring
from detectors.models import Candidate, Model
from streams.telemetry import redact

logger = logging.getLogger(__name__)

TASK = "detectors.check"
QUEUE = "jobs"
KEPT = timedelta(days=7)
"""For so long a refused one can be read about."""
UNDER_WAY = (Candidate.State.WAITING, Candidate.State.CHECKING)


def publish(candidate: Candidate) -> None:
    """Give it to a worker. Never raises: what went wrong stands on the candidate."""
    try:
        # retry=False: kombu would otherwise try again by itself, and block while it does.
        current_app.send_task(TASK, args=[str(candidate.uid)], queue=QUEUE, retry=False, ignore_result=True)
        problem = ""
    except Exception as error:
        problem = f"No worker could be asked ({type(error).__name__}); see that Celery's server runs, then check again."
    Candidate.objects.filter(pk=candidate.pk).update(problem=problem)


def publish_soon(candidate: Candidate) -> None:
    """The same from a thread of its own: a broker that is away holds whoever asks it for seconds."""

    def run() -> None:
        publish(candidate)
        connection.close()

    threading.Thread(target=run, name="publish", daemon=True).start()


def stale_s() -> float:
    """After so long a worker that began has died: a conversion and a trial on each runtime are over by then."""
    return 5.0 * settings.MODEL_TRIAL_S


def claim(uid: UUID) -> Candidate | None:
    """The candidate, if nobody else checks it; from now on this process does."""
    now = timezone.now()
    free = Q(state=Candidate.State.WAITING) | Q(
        state=Candidate.State.CHECKING, claimed_at__lt=now - timedelta(seconds=stale_s())
    )
    claimed = Candidate.objects.filter(free, uid=uid).update(
        state=Candidate.State.CHECKING, claimed_at=now, progress="", problem=""
    )
    return Candidate.objects.get(uid=uid) if claimed else None


def check(uid: UUID) -> None:
    """Fetch it if need be, try it, take it in; or write down why not. Takes as long as that takes."""
    candidate = claim(uid)
    if candidate is None:
        return
    teller = _Teller(candidate)
    try:
        model = _take_in(candidate, teller)
    except ModelProblem as problem:
        _refuse(candidate, str(problem))
    except Exception as error:
        logger.exception("model %s: its check failed", candidate.what)
        _refuse(candidate, f"{candidate.what}: its check failed ({type(error).__name__}); the worker's log says more")
    else:
        _update(candidate, state=Candidate.State.TAKEN, model=model, progress="", problem="")
    finally:
        file_of(candidate).unlink(missing_ok=True) if candidate.file else None


def _take_in(candidate: Candidate, teller: _Teller) -> Model:
    if not candidate.file:
        return bring(
            candidate.what,
            name=candidate.name,
            licence=candidate.licence,
            labels=intake.split_labels(candidate.labels),
            backend=candidate.backend,
            tell=teller.tell,
        )
    return intake.take_in(
        file_of(candidate),
        what=candidate.what,
        name=candidate.name,
        licence=candidate.licence,
        labels=intake.split_labels(candidate.labels),
        backend=candidate.backend,
        tell=teller.tell,
    )


def file_of(candidate: Candidate) -> Path:
    """Where what was handed in waits."""
    return intake.incoming() / candidate.file


def discard(candidate: Candidate) -> None:
    """Forget it, with its file."""
    if candidate.file:
        file_of(candidate).unlink(missing_ok=True)
    candidate.delete()


def tidy() -> None:
    """Forget what was refused or taken in long ago."""
    Candidate.objects.exclude(state__in=UNDER_WAY).filter(created_at__lt=timezone.now() - KEPT).delete()


class _Teller:
    """Writes how far it is, at most once a second."""

    def __init__(self, candidate: Candidate) -> None:
        self._candidate = candidate
        self._told_s = float("-inf")

    def tell(self, words: str) -> None:
        if time.monotonic() - self._told_s >= 1.0 or words[-1:].isalpha():
            self._told_s = time.monotonic()
            _update(self._candidate, progress=words[:200], claimed_at=timezone.now())


def _refuse(candidate: Candidate, problem: str) -> None:
    _update(candidate, state=Candidate.State.REFUSED, progress="", problem=str(redact(problem))[:1000])


def _update(candidate: Candidate, **columns: object) -> None:
    Candidate.objects.filter(pk=candidate.pk).update(**columns)
