"""Detections: the one currency between models, trackers and rules. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from streams import observations as wire

FLOOR = 0.1
"""Everything above this score is kept, so that a threshold can be changed afterwards."""

Float = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Detections:
    """All boxes of one picture, as parallel arrays of length n.

    ``xyxy``: ``(n, 4) float32``, x1 y1 x2 y2 in fractions of the picture, 0–1, x1 ≤ x2, y1 ≤ y2;
    ``score``: ``(n,) float32``, 0–1; ``label``: n names of ``detectors.labels``.

    Raises ``ValueError`` at birth when the shapes disagree or a value is not finite.
    """

    xyxy: Float
    score: Float
    label: tuple[str, ...]

    def __post_init__(self) -> None:
        n = len(self.label)
        if self.xyxy.shape != (n, 4) or self.score.shape != (n,):
            raise ValueError(
                f"detections: expected xyxy ({n}, 4) and score ({n},) for {n} labels, "
                f"got {self.xyxy.shape} and {self.score.shape}"
            )
        if self.xyxy.dtype != np.float32 or self.score.dtype != np.float32:
            raise ValueError(f"detections: expected float32, got {self.xyxy.dtype} and {self.score.dtype}")
        if n and not (np.isfinite(self.xyxy).all() and np.isfinite(self.score).all()):
            raise ValueError("detections: expected finite numbers, got NaN or infinity; the model's output is broken")

    def __len__(self) -> int:
        return len(self.label)

    @classmethod
    def empty(cls) -> Detections:
        """Nothing seen: a fact of its own."""
        return cls(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), ())

    @classmethod
    def of(cls, rows: Sequence[tuple[tuple[float, float, float, float], float, str]]) -> Detections:
        """From ``((x1, y1, x2, y2), score, label)`` rows.

        >>> len(Detections.of([((0.1, 0.1, 0.2, 0.4), 0.8, "person")]))
        1
        """
        return cls(
            np.array([row[0] for row in rows], np.float32).reshape(len(rows), 4),
            np.array([row[1] for row in rows], np.float32),
            tuple(row[2] for row in rows),
        )

    def where(self, keep: npt.NDArray[np.bool_]) -> Detections:
        """The rows with ``keep`` (``(n,) bool``) true, in order."""
        return Detections(
            self.xyxy[keep], self.score[keep], tuple(name for name, kept in zip(self.label, keep, strict=True) if kept)
        )

    @classmethod
    def from_wire(cls, observation: wire.Detections) -> Detections:
        """The arrays of an observation. Raises ``ValueError`` when their lengths disagree."""
        n = len(observation.label)
        if len(observation.xyxy) != 16 * n or len(observation.score) != 4 * n:
            raise ValueError(
                f"detections: expected {16 * n} and {4 * n} bytes for {n} labels, "
                f"got {len(observation.xyxy)} and {len(observation.score)}"
            )
        return cls(
            np.frombuffer(observation.xyxy, "<f4").reshape(n, 4).astype(np.float32, copy=False),
            np.frombuffer(observation.score, "<f4").astype(np.float32, copy=False),
            tuple(observation.label),
        )

    def wire_xyxy(self) -> bytes:
        """``xyxy`` as it travels: n×4 little-endian float32."""
        return self.xyxy.astype("<f4").tobytes()

    def wire_score(self) -> bytes:
        """``score`` as it travels: n little-endian float32."""
        return self.score.astype("<f4").tobytes()
