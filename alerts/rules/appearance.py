"""Appearance: something of these labels is there at all: fire, smoke, an animal, a weapon. Pure.

It need not move. Each label may have a confidence of its own, and the night others: a lamp is taken for fire more
easily in the dark.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from alerts.events import Fact
from alerts.rules.config import EmbeddedZone, Needs, Schedule, ScheduleSpan, _
from alerts.rules.following import HoldConfig, InZone, Standing, State, restore
from alerts.rules.logic import Logic, Seen
from alerts.schedule import is_active
from detectors.labels import check, expand
from detectors.tracking import Track

Confidence = Annotated[float, Meta(ge=0.1, le=1.0)]
Clock = Annotated[str, Meta(pattern=r"^([01]\d|2[0-3]):[0-5]\d$")]


class AppearanceConfig(HoldConfig, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Something of these labels appears in the zone."""

    labels: Annotated[
        list[str],
        Meta(min_length=1, title=_("Labels"), description=_("What is looked for, for example person or vehicle.")),
    ] = msgspec.field(default_factory=lambda: ["fire", "smoke"])
    confidences: Annotated[
        dict[str, Confidence],
        Meta(
            title=_("Confidence by label"),
            description=_("Where one label needs another score than the rest, for example smoke 0.6."),
        ),
    ] = msgspec.field(default_factory=dict)
    night_confidence: Annotated[
        Confidence | None,
        Meta(title=_("Confidence at night"), description=_("The least score that counts at night; empty: as by day.")),
    ] = None
    night_confidences: Annotated[
        dict[str, Confidence],
        Meta(title=_("Confidence by label at night"), description=_("As by day, for the night's hours.")),
    ] = msgspec.field(default_factory=dict)
    night_from: Annotated[Clock, Meta(title=_("Night from"), description=_("HH:MM, on the site's clock."))] = "20:00"
    night_until: Annotated[Clock, Meta(title=_("Night until"), description=_("HH:MM, on the site's clock."))] = "06:00"
    min_travel: Annotated[
        float,
        Meta(ge=0, le=2, title=_("Least travel"), description=_("Picture heights it must have moved; 0: none.")),
    ] = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check(self.confidences)
        check(self.night_confidences)

    def check_effect(self) -> None:
        """Every score there is of something that may be looked at."""
        for table in ("confidences", "night_confidences"):
            for term in getattr(self, table):
                if not any(expand(term) & expand(label) for label in self.labels):
                    raise ValueError(
                        f"{table}: expected labels that are looked for ({', '.join(self.labels)}), got {term}; its "
                        f"score would never be asked for, look for it too or leave it out"
                    )

    def needs(self) -> Needs:
        """Two pictures a second are enough for what stays where it appears."""
        return Needs(labels=list(self.labels), hz=2.0, width_px=640)

    def asks(self, label: str, dark: bool) -> tuple[str, str]:
        """The setting by which ``label`` needs the score that it does, and of a table the term."""
        whole_night = dark and self.night_confidence is not None
        tables = (*(["night_confidences"] if dark else []), *([] if whole_night else ["confidences"]))
        for table in tables:
            terms = [term for term in getattr(self, table) if label in expand(term)]
            if terms:
                return table, min(terms, key=lambda term: len(expand(term)))
        return "night_confidence" if whole_night else "confidence", ""

    def build(self, zone: EmbeddedZone, state: Any | None) -> Logic:
        """Logic for one zone."""
        return _Appearance(self, zone, restore(state, State[Appearing]))


class Appearing(Standing):
    """A stay that remembers as what it was seen best."""

    best_label: str = ""


class _Appearance(InZone[AppearanceConfig, Appearing]):
    stay = Appearing

    def __init__(self, config: AppearanceConfig, zone: EmbeddedZone, state: State[Appearing]) -> None:
        super().__init__(config, zone, state)
        self._day = _by_label(config.labels, config.confidence, config.confidences)
        self._at_night = self._day | _by_label(config.labels, None, config.night_confidences)
        if config.night_confidence is not None:
            self._at_night = _by_label(config.labels, config.night_confidence, config.night_confidences)
        spans = [ScheduleSpan(from_=config.night_from, until=config.night_until)]
        self._night = Schedule(time_zone=zone.time_zone or "UTC", spans=spans)
        self._minute: float | None = None
        self._dark = False

    def _bounds_at(self, at_s: float) -> dict[str, float]:
        """The score that counts, by exact label."""
        return self._at_night if self._is_night(at_s) else self._day

    def _is_night(self, at_s: float) -> bool:
        """Whether the night's scores count; where they are the day's nobody asks. The clock is asked once a minute."""
        if self._day != self._at_night and self._minute != at_s // 60:
            self._minute = at_s // 60
            self._dark = is_active(self._night, datetime.fromtimestamp(at_s, UTC))
        return self._dark

    def _least(self, track: Track, at_s: float) -> float:
        return self._bounds_at(at_s)[track.label]

    def _place(self, stay: Appearing, seen: Seen, track: Track) -> None:
        super()._place(stay, seen, track)
        if track.score == stay.best:
            stay.best_label = track.label

    def _asked_of(self, stay: Appearing, at_s: float) -> tuple[float, str, str]:
        return self._bounds_at(at_s)[stay.best_label], *self._config.asks(stay.best_label, self._is_night(at_s))

    def _facts(self, stay: Appearing) -> list[Fact]:
        least = self._bounds_at(self._state.now_s)[stay.label]
        facts = [fact for fact in super()._facts(stay) if fact.name not in ("confidence", "travel")]
        return [Fact("confidence", round(stay.score, 3), ">=", least), *facts]


def _by_label(labels: list[str], least: float | None, special: Mapping[str, float]) -> dict[str, float]:
    """The bound of every exact label; of two that are set, that of the narrower term counts."""
    wanted = frozenset().union(*(expand(label) for label in labels))
    bounds = {} if least is None else dict.fromkeys(wanted, least)
    for term in sorted(special, key=lambda term: -len(expand(term))):
        bounds |= dict.fromkeys(expand(term) & wanted, special[term])
    return bounds
