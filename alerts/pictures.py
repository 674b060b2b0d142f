"""Evidence: an event's picture, copied from the log's short memory to where it is kept."""

from __future__ import annotations

import hashlib
import logging
import os
from pathlib import Path
from uuid import UUID

import msgspec
from django.conf import settings
from django.db import transaction

from alerts.announce import hold, stamp
from alerts.events import Event as Content
from alerts.models import Event
from streams.frame import Frame, Jpeg, UnknownVersion, decode_frame
from streams.log import Log, LogUnavailable

logger = logging.getLogger(__name__)

Picture = Event.Picture


def fetch(row: Event, log: Log) -> str:
    """Keep the picture of ``row``, once. Returns the row's ``picture`` afterwards.

    Pending stays pending while the log or the disk does not answer; a picture that the log no longer keeps is gone.
    Two that fetch the same picture write the same bytes.
    """
    if row.picture != Picture.PENDING:
        return row.picture
    content = msgspec.convert(row.content, Content)
    if content.frame is None:
        return _settle(row, Picture.NONE)
    try:
        record = log.read_one(content.frame.topic, content.frame.partition, content.frame.offset)
        jpeg = picture_in(record.payload, content) if record else None
        if jpeg is None:
            return _settle(row, Picture.GONE)
        path = store(row.uid, jpeg)
    except (LogUnavailable, OSError) as error:
        logger.warning("event %s: its picture is not kept yet (%s)", row.uid, error)
        return row.picture
    return _settle(row, Picture.KEPT, path=path, sha256=hashlib.sha256(jpeg).hexdigest())


def picture_in(payload: bytes, content: Content) -> bytes | None:
    """The JPEG of the very frame that ``content`` is about, or None when ``payload`` is another or has none."""
    try:
        frame = decode_frame(payload)
    except (UnknownVersion, msgspec.DecodeError) as error:
        logger.error("event %s: its frame cannot be read: %s", content.uid, error)
        return None
    if not _same(frame, content) or not isinstance(frame.payload, Jpeg):
        return None
    return frame.payload.data


def _same(frame: Frame, content: Content) -> bool:
    return (frame.camera, frame.session, frame.sequence) == (content.camera, content.session, content.sequence)


def store(uid: UUID, jpeg: bytes) -> str:
    """Write ``jpeg`` under the media folder, whole or not at all; returns its path there. Raises ``OSError``.

    The size is read back: a full disk may swallow a write without a word.
    """
    path = f"events/{uid}.jpg"
    target = Path(settings.MEDIA_ROOT) / path
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_suffix(f".{os.getpid()}-{os.urandom(4).hex()}.part")
    try:
        with part.open("wb") as file:
            file.write(jpeg)
            file.flush()
            os.fsync(file.fileno())
        if part.stat().st_size != len(jpeg):
            raise OSError(f"{path}: expected {len(jpeg)} bytes on disk, got {part.stat().st_size}; is the disk full?")
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)
    return path


def _settle(row: Event, picture: str, path: str = "", sha256: str = "") -> str:
    with transaction.atomic():
        if row.incident_id:
            hold(row.incident_id)
        rows = Event.objects.filter(pk=row.pk, picture=Picture.PENDING)
        if rows.update(picture=picture, picture_path=path, picture_sha256=sha256) and row.incident_id:
            stamp([row.incident_id])
    row.refresh_from_db(fields=["picture", "picture_path", "picture_sha256"])
    return row.picture
