"""Sequence: one rule fires, then another within a time, on one camera or anywhere at a site. Pure.

It acts on events, not on pictures: the partition's fold carries it along idly, and ``alerts/sequences.py`` folds it.
Its zones only say which site it belongs to.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal
from uuid import UUID

import msgspec
from msgspec import Meta

from alerts.rules.config import OF_OBJECTS, CommonConfig, EmbeddedRule, EmbeddedZone, Needs, NoLabels, _
from alerts.rules.logic import Firing, Logic, Seen
from alerts.rules.registry import Stored, config_of

A_RULE = {"format": "rule"}
"""Marks a setting that names a rule by its ``uid``: forms let people choose it by its name."""
UID = r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$"


class SequenceConfig(CommonConfig, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The rule ``then`` fires within ``within_s`` after the rule ``first``; both are named by their ``uid``."""

    unused: ClassVar[frozenset[str]] = OF_OBJECTS
    walks: ClassVar[tuple[str, ...]] = ()

    labels: NoLabels = msgspec.field(default_factory=list)
    first: Annotated[
        str,
        Meta(
            pattern=UID,
            title=_("First this rule"),
            description=_("The rule that begins it."),
            extra_json_schema=A_RULE,
        ),
    ]
    then: Annotated[
        str,
        Meta(
            pattern=UID,
            title=_("Then this rule"),
            description=_("The rule that completes it; may be the same."),
            extra_json_schema=A_RULE,
        ),
    ]
    within_s: Annotated[
        float, Meta(gt=0, le=86_400, title=_("Within (s)"), description=_("The second must follow within so long."))
    ] = 60.0
    scope: Annotated[
        Literal["camera", "site"],
        Meta(title=_("Where"), description=_("camera: both on the same camera; site: on any two of the site.")),
    ] = "site"

    def needs(self) -> Needs:
        """Nothing of its own: the two rules say what they need. A picture now and then keeps its place."""
        return Needs(labels=[], hz=0.2, width_px=640)

    def build(self, zone: EmbeddedZone, state: Any | None) -> Logic:
        """Logic that does nothing: pictures are not what it waits for."""
        return _Idle()


def sequence_of(rule: Stored) -> SequenceConfig | None:
    """The settings of a sequence; None of another kind, and of one that cannot be read."""
    config = config_of(rule)
    return config if isinstance(config, SequenceConfig) else None


def followed(rule: EmbeddedRule) -> list[UUID]:
    """The rules that a sequence waits for, each once; none of another kind."""
    config = sequence_of(rule)
    return [] if config is None else list(dict.fromkeys((UUID(config.first), UUID(config.then))))


class _Idle:
    def on_detections(self, seen: Seen) -> list[Firing]:
        return []

    def on_unchanged(self, until_s: float) -> list[Firing]:
        return []

    def on_blind(self, from_s: float, until_s: float) -> None:
        """Nothing to lose."""

    @property
    def wake_at_s(self) -> float | None:
        return None

    def snapshot(self) -> Any:
        return {}
