"""Static regions beside a model's detections: one analysis for each camera of each deployment that wants it.

Its memory is this process's: a worker that takes a camera over begins to learn its place, and says nothing meanwhile.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from uuid import UUID

import cv2
import numpy as np

from detectors.analytics.static_regions import StaticRegion, StaticRegions, StaticRegionsConfig
from detectors.backends.base import Picture
from detectors.detections import Detections
from detectors.labels import expand
from streams.frame import Frame

MOST = 256
"""Analyses in memory, 0.7 MB each; the one that was used longest ago goes first."""
PEOPLE = expand("person")
PERSON_SCORE = 0.3
"""So sure the model must be of somebody whom the place is not to be seen through."""
STEP_BACK_S = 5.0
"""A picture so much earlier than the last follows a clock that was put right: the place is learned anew."""


@dataclass(slots=True)
class _Place:
    """What is known of one camera's view."""

    view: UUID
    at_s: float
    regions: StaticRegions


class Standing:
    """The analyses of one worker. Not thread-safe."""

    def __init__(self, config: StaticRegionsConfig | None = None) -> None:
        self._config = config or StaticRegionsConfig()
        self._places: OrderedDict[tuple[UUID, UUID], _Place] = OrderedDict()

    def __len__(self) -> int:
        """Analyses in memory."""
        return len(self._places)

    def beside(self, found: Detections, deployment: UUID, frame: Frame, picture: Picture) -> Detections:
        """``found`` and, after it, the static regions of ``frame``. Call it once for each analysed frame, in order."""
        at_s = frame.captured_at.timestamp()
        place = self._place((frame.camera, deployment), frame.view, at_s)
        place.at_s = at_s
        small = cv2.resize(picture, self._config.plane_wh, interpolation=cv2.INTER_AREA)
        luma = np.asarray(cv2.cvtColor(small, cv2.COLOR_BGR2GRAY), np.uint8)
        return _joined(found, place.regions.update(luma, at_s, _people(found)))

    def _place(self, key: tuple[UUID, UUID], view: UUID, at_s: float) -> _Place:
        place = self._places.get(key)
        if place is None or place.view != view or at_s < place.at_s - STEP_BACK_S:
            place = self._places[key] = _Place(view, at_s, self._config.build())
        self._places.move_to_end(key)
        while len(self._places) > MOST:
            self._places.popitem(last=False)
        return place


def _people(found: Detections) -> list[tuple[float, float, float, float]]:
    return [
        (float(box[0]), float(box[1]), float(box[2]), float(box[3]))
        for box, score, label in zip(found.xyxy, found.score, found.label, strict=True)
        if label in PEOPLE and score >= PERSON_SCORE
    ]


def _joined(found: Detections, regions: list[StaticRegion]) -> Detections:
    if not regions:
        return found
    more = Detections.of([(one.xyxy, one.score, one.label) for one in regions])
    return Detections(
        np.concatenate([found.xyxy, more.xyxy]), np.concatenate([found.score, more.score]), found.label + more.label
    )
