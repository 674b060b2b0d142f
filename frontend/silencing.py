"""Silences as people choose them beside an incident, and what mutes, in words."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
from django.db.models import Model
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from alerts import texts
from alerts.models import Incident, Rule
from alerts.muting import Matchers
from frontend.models import User
from frontend.permissions import may_silence
from streams.models import Camera, Site

UNTIL_RESOLVED = "resolved"
SPANS = (
    ("1", gettext_lazy("1 hour")),
    ("4", gettext_lazy("4 hours")),
    ("12", gettext_lazy("12 hours")),
    (UNTIL_RESOLVED, gettext_lazy("until it is resolved")),
)
"""How long, in hours. Until it is resolved, a day at most: what is forgotten ends too."""
MOST_H = 24


@dataclass(frozen=True, slots=True)
class Scope:
    """What a person may silence beside an incident."""

    key: str
    name: str
    matchers: Matchers


def scopes(user: User, incident: Incident) -> list[Scope]:
    """What of ``incident`` this person may silence, the narrowest that helps first."""
    found = []
    if incident.camera:
        found.append(Scope("camera", _("This camera"), Matchers(cameras=[incident.camera.uid])))
    if incident.camera and incident.rule:
        only = Matchers(cameras=[incident.camera.uid], rules=[incident.rule.uid])
        found.append(Scope("rule", _("Only “%(rule)s” on it") % {"rule": incident.rule_name}, only))
    site = Scope("site", _("All of %(site)s") % {"site": incident.site.name}, Matchers(sites=[incident.site.uid]))
    return [one for one in (*found, site) if may_silence(user, one.matchers)]


def until(span: str, now: datetime) -> datetime:
    """When a silence of ``span`` ends. Raises ``ValueError`` for none of ``SPANS``."""
    if span not in {key for key, _name in SPANS}:
        raise ValueError(f"span: expected one of {', '.join(key for key, _name in SPANS)}, got {span!r}; choose one")
    return now + timedelta(hours=MOST_H if span == UNTIL_RESOLVED else int(span))


def in_words(matchers: Any) -> str:
    """What matchers mean: “Gate, Yard · Person in the lane”."""
    meant = msgspec.convert(matchers, type=Matchers)
    said = [
        _names(Site, meant.sites),
        _names(Camera, meant.cameras),
        _names(Rule, meant.rules),
        [texts.label_name(label) for label in meant.labels],
        [texts.severity_name(severity) for severity in meant.severities],
    ]
    return " · ".join(_listed(part) for part in said if part) or _("Everything")


def _listed(names: Sequence[str]) -> str:
    shown = texts.listed(names[:3])
    return _("%(names)s and %(n)d more") % {"names": shown, "n": len(names) - 3} if len(names) > 3 else shown


def _names(rows: type[Model], uids: Iterable[UUID]) -> list[str]:
    """The names of what is still there; what is not is said so."""
    wanted = list(uids)
    known = dict(rows._default_manager.filter(uid__in=wanted).values_list("uid", "name")) if wanted else {}
    return [known.get(uid) or _("something that is gone") for uid in wanted]
