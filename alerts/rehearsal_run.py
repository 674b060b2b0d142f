"""A rehearsal as a worker runs it: claimed, gone through item by item, written down as it streams."""

from __future__ import annotations

import logging
import sqlite3
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from django.db import transaction
from django.utils import timezone

from alerts.archive import Archive, Query
from alerts.archive_files import Folder
from alerts.archive_rows import Batch
from alerts.awaited import embedded
from alerts.model_labels import labels_by_model
from alerts.models import Rehearsal, RehearsalRow
from alerts.rehearsal import rehearse
from alerts.rehearsal_items import Broken, Found, Item, Progress, Summary, Unknown
from alerts.rehearsal_items import Rehearsal as What
from alerts.rehearsal_rows import Firing, figures, firing
from alerts.rehearsal_sequence import rehearse_sequence
from alerts.rehearsal_summary import Gathered
from alerts.rehearsals import archive_root, finish, notice_lost
from alerts.sequences import KIND as SEQUENCE
from alerts.track_pictures import picture_of
from detectors.tracking import TrackerConfig
from streams.models import Camera

logger = logging.getLogger(__name__)

FLUSH_S = 0.7
"""Results and the heartbeat are written so often, and a cancellation is seen as fast."""
MOST_ROWS = 3000
"""Firings, and unknown times, that are kept to be listed; all are counted."""
State = Rehearsal.State


def claim(uid: UUID) -> Rehearsal | None:
    """The rehearsal, if it waits; now it is this worker's. One that its worker left has failed: not run again."""
    now = timezone.now()
    notice_lost(now)
    claimed = Rehearsal.objects.filter(uid=uid, state=State.WAITING).update(state=State.RUNNING, beat_at=now)
    return Rehearsal.objects.get(uid=uid) if claimed else None


def run(uid: UUID) -> None:
    """Rehearse it, if nobody else does. Takes as long as that takes; a result is on screen within a second."""
    rehearsal = claim(uid)
    if rehearsal is None:
        return
    mine = Rehearsal.objects.filter(pk=rehearsal.pk, state=State.RUNNING)
    try:
        problem = _gather(rehearsal)
    except OSError:
        logger.exception("rehearsal %s: the archive could not be read", uid)
        finish(mine, State.FAILED, "archive")
    except Exception:
        logger.exception("rehearsal %s failed", uid)
        finish(mine, State.FAILED, "failed")
    else:
        finish(mine, State.FAILED if problem else State.DONE, problem)


def _gather(rehearsal: Rehearsal) -> str:
    """Take item after item and write them down; returns why the draft cannot run, or nothing."""
    what = _what(rehearsal)
    notes = _Notes(rehearsal, what)
    run = rehearse_sequence if what.draft.kind == SEQUENCE else rehearse
    for item in run(what, _read):
        if isinstance(item, Broken) and item.version == "draft":
            return item.reason
        notes.take(item)
        if notes.due and not notes.flush():
            return ""  # cancelled, or forgotten: the row says so
    notes.flush()
    return ""


def _what(rehearsal: Rehearsal) -> What:
    return What(
        draft=embedded(rehearsal.draft),
        in_force=None if rehearsal.in_force is None else embedded(rehearsal.in_force),
        sources=[embedded(source) for source in rehearsal.sources],
        sites=dict(Camera.objects.values_list("uid", "site_id")),
        cameras=[UUID(uid) for uid in rehearsal.cameras],
        from_at=rehearsal.from_at,
        until_at=rehearsal.until_at,
        time_zone=rehearsal.time_zone,
        knows=labels_by_model(),
        tracking=TrackerConfig() if rehearsal.tracked_anew else None,
    )


def _read(camera: UUID, from_at: datetime, until_at: datetime, labels: frozenset[str] | None) -> Iterator[Batch]:
    return Archive(archive_root()).read(Query(camera, from_at, until_at, labels))


def picture_of_firing(row: Firing) -> bytes | None:
    """The archive's small picture of the object, if it has one. One that cannot be read is left out, and logged."""
    if row.track is None or row.deployment is None:
        return None
    try:
        return picture_of(Folder(archive_root()), row.camera, row.deployment, row.track)
    except sqlite3.Error as error:
        logger.warning("archive: the pictures of camera %s cannot be read: %s", row.camera, error)
        return None


@dataclass
class _Notes:
    """What was found so far, and how much of it is on the row."""

    rehearsal: Rehearsal
    what: What
    gathered: Gathered = field(default_factory=Gathered)
    summary: Summary | None = None
    share: float = 0.0
    written_s: float = field(default_factory=time.monotonic)
    kept: list[RehearsalRow] = field(default_factory=list)

    @property
    def due(self) -> bool:
        return time.monotonic() - self.written_s >= FLUSH_S

    def take(self, item: Item) -> None:
        self.gathered.take(item)
        match item:
            case Found():
                row = firing(item)
                # The archive's pictures go by the numbers of its own tracks.
                pictured = self.what.tracking is None and picture_of_firing(row) is not None
                row = msgspec.structs.replace(row, pictured=pictured)
                self._keep("firing", row, len(self.gathered.found))
            case Unknown():
                self._keep("unknown", item, len(self.gathered.unknown))
            case Progress():
                self.share = item.share
            case Summary():
                self.summary, self.share = item, 1.0
            case Broken():
                logger.warning("rehearsal %s: the version in force cannot run: %s", self.rehearsal.uid, item.reason)

    def _keep(self, kind: str, content: Any, number: int) -> None:
        if number <= MOST_ROWS:
            plain = msgspec.to_builtins(content)
            self.kept.append(RehearsalRow(rehearsal=self.rehearsal, kind=kind, content=plain))

    def flush(self) -> bool:
        """Write it down. False: this rehearsal is no longer to be run."""
        summary = self.summary or self.gathered.summary(self.what)
        plain = msgspec.to_builtins(figures(self.what, self.gathered, summary))
        with transaction.atomic():
            changed = Rehearsal.objects.filter(pk=self.rehearsal.pk, state=State.RUNNING).update(
                share=self.share, summary=plain, beat_at=timezone.now()
            )
            if changed:
                RehearsalRow.objects.bulk_create(self.kept, batch_size=200)
        self.kept, self.written_s = [], time.monotonic()
        return bool(changed)
