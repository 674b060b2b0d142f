"""What waits to be sent to one browser: bounded, the newest first to matter. Pure.

A slow browser costs one picture and one set of boxes a camera, whatever it does: a newer one takes the older's place.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from uuid import UUID

MAX_TEXTS = 32


class Outgoing:
    """Texts in order (answers, signs of life), then boxes, then pictures, the camera that waited longest first."""

    def __init__(self) -> None:
        self._texts: deque[str] = deque(maxlen=MAX_TEXTS)
        self._boxes: OrderedDict[UUID, str] = OrderedDict()
        self._pictures: OrderedDict[UUID, bytes] = OrderedDict()
        self.replaced = 0
        """Pictures that were never sent because a newer one came first."""

    def put_text(self, text: str) -> None:
        """Queue one text; when too many wait, the oldest goes."""
        self._texts.append(text)

    def put_boxes(self, camera: UUID, text: str) -> None:
        """Queue the boxes of ``camera``, in the place of older ones."""
        self._boxes[camera] = text

    def put_picture(self, camera: UUID, frame: bytes) -> None:
        """Queue a picture of ``camera``, in the place of an older one."""
        self.replaced += camera in self._pictures
        self._pictures[camera] = frame

    def forget(self, camera: UUID) -> None:
        """Nothing more of this camera."""
        self._boxes.pop(camera, None)
        self._pictures.pop(camera, None)

    def take(self) -> str | bytes | None:
        """The next to send, or None."""
        if self._texts:
            return self._texts.popleft()
        if self._boxes:
            return self._boxes.popitem(last=False)[1]
        if self._pictures:
            return self._pictures.popitem(last=False)[1]
        return None
