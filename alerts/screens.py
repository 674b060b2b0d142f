"""Boxes for people's screens: published only while someone watches, and never in the fold's way."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from uuid import UUID

import redis

from streams.live import LiveBoxes, boxes_channel, encode_live, watch_key

logger = logging.getLogger(__name__)

LOOK_S = 1.0
REST_S = 3.0
OLD_S = 5.0
"""Boxes of records older than this (a replay, a backlog) are nobody's live picture."""


class LiveScreens:
    """Publishes ``LiveBoxes`` on the frames server. Its failures are logged once and disturb nothing."""

    def __init__(self, url: str, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._client = redis.Redis.from_url(url, socket_timeout=0.3, socket_connect_timeout=0.3)
        self._monotonic = monotonic
        self._watched: dict[UUID, tuple[float, bool]] = {}
        self._away = False
        self._rest_until_s = float("-inf")

    def show(self, boxes: Iterable[LiveBoxes], appended_at: datetime) -> None:
        """Publish those whose camera someone watches."""
        if self._monotonic() < self._rest_until_s or (datetime.now(UTC) - appended_at).total_seconds() > OLD_S:
            return
        for seen in boxes:
            try:
                if self._is_watched(seen.camera):
                    self._client.publish(boxes_channel(seen.camera), encode_live(seen))
                self._away = False
            except redis.RedisError as error:
                self._failed(error)
                return

    def _is_watched(self, camera: UUID) -> bool:
        looked_at_s, watched = self._watched.get(camera, (float("-inf"), False))
        if self._monotonic() - looked_at_s > LOOK_S:
            watched = bool(self._client.exists(watch_key(camera)))
            self._watched[camera] = (self._monotonic(), watched)
        return watched

    def _failed(self, error: redis.RedisError) -> None:
        if not self._away:
            logger.warning("boxes cannot reach the screens (%s); rules go on", error)
        self._away = True
        # One rest for all cameras: a frozen server must not cost a time-out for each of them.
        self._rest_until_s = self._monotonic() + REST_S
