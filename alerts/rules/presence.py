"""Zone presence: an object of these labels is in the zone. Config first; the logic follows. Pure."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from alerts.rules.config import CommonConfig, Needs, _


class PresenceConfig(CommonConfig, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An object of these labels stays in the zone for ``hold_s``."""

    hold_s: Annotated[
        float, Meta(ge=0, le=3600, title=_("In the zone for (s)"), description=_("How long it must stay; 0: at once."))
    ] = 1.0
    leave_s: Annotated[
        float,
        Meta(ge=0, le=60, title=_("Forgive absence (s)"), description=_("A shorter step outside does not count.")),
    ] = 1.0
    anchor: Annotated[
        Literal["bottom", "overlap"],
        Meta(title=_("What must be inside"), description=_("bottom: the feet; overlap: half of the box.")),
    ] = "bottom"

    def needs(self) -> Needs:
        """Five pictures a second are enough to see a person walk."""
        return Needs(labels=list(self.labels), hz=5.0, width_px=640)
