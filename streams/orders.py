"""What the capture process and its children tell each other. Wire forms only: the parent loads no decoder for them."""

from __future__ import annotations

from datetime import datetime
from typing import Literal
from uuid import UUID

import msgspec


class CameraConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Everything a child needs to know of one camera. Travels over the child's standard input and nowhere else.

    ``masks``: polygons of [x, y] in fractions of the picture; ``hz`` and ``pools``: what is wanted, empty for nothing;
    ``rests``: key frames are enough while it is quiet; ``long_px``: long side of the pictures made.
    """

    uid: UUID
    slot: int
    view: UUID
    address: str
    fence: int
    user: str = ""
    password: str = ""
    masks: list[list[tuple[float, float]]] = msgspec.field(default_factory=list)
    hz: float = 0.0
    pools: list[str] = msgspec.field(default_factory=list)
    gated: bool = True
    rests: bool = False
    long_px: int = 960

    def __repr__(self) -> str:
        """Without address and log-in, for log lines and tracebacks."""
        return f"CameraConfig(uid={self.uid}, slot={self.slot}, fence={self.fence})"

    @property
    def connection(self) -> tuple[str, str, str, int]:
        """What, when it changes, needs a new connection; everything else is taken up by the running one."""
        return self.address, self.user, self.password, self.fence


class CameraStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One camera's line in the child's report of each second. ``fps`` and ``analysed`` are means of some seconds."""

    uid: UUID
    state: Literal["connecting", "quiet", "active", "blind"]
    reason: str = ""
    session: int = 0
    fps: float = 0.0
    analysed: float = 0.0
    last_captured_at: datetime | None = None
    width: int = 0
    height: int = 0
    dropped: int = 0
    corrupt: int = 0


class Orders(msgspec.Struct, frozen=True):
    """One line of standard input: every camera this child is to read."""

    cameras: list[CameraConfig]


class Report(msgspec.Struct, frozen=True):
    """One line of standard output."""

    cameras: list[CameraStatus]
