"""What a rule's version says, and how it differs from the one before, in the form's own titles. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec
from msgspec import inspect

from alerts.rules.registry import BadConfig, rule_kind

SAME_PLACE = 1e-6
"""Corners nearer than this, in fractions of the picture, are one."""


def _(text: str) -> str:
    """Marks a title or sentence for translation; its words are chosen when it is shown."""
    return text


class Told(msgspec.Struct, frozen=True, order=True):
    """Somebody who is told."""

    name: str
    uid: str


class Beside(msgspec.Struct, frozen=True, kw_only=True):
    """What a version keeps that the engine need not know."""

    name: str = ""
    enabled: bool = True
    why_it_matters: str = ""
    procedure: str = ""
    told: list[Told] = msgspec.field(default_factory=list)
    policy: str = ""
    """Name of the escalation policy; empty: none."""


@dataclass(frozen=True, slots=True)
class Words:
    """A sentence before translation."""

    msgid: str
    params: Mapping[str, Any] = field(default_factory=dict)
    plural: str = ""
    """Where it counts: the form for several; ``params["n"]`` says how many."""


@dataclass(frozen=True, slots=True)
class Change:
    """One field that differs. ``title`` is a msgid; ``before`` and ``after`` are plain values, None for none.

    ``field`` names it as the form does (``severity``, ``config.hold_s``, ``zone``). A zone's change has ``words`` and
    no values.
    """

    field: str
    title: str
    before: Any = None
    after: Any = None
    words: tuple[Words, ...] = ()


TITLES = {
    "name": _("Name"),
    "enabled": _("Switched on"),
    "kind": _("Kind"),
    "severity": _("Severity"),
    "zone_name": _("Name of the zone"),
    "deployment": _("Deployment"),
    "schedule": _("When it acts"),
    "holidays": _("Holidays"),
    "on_holidays": _("On holidays"),
    "time_zone": _("Time zone"),
    "why_it_matters": _("Why it matters"),
    "procedure": _("Procedure"),
    "told": _("Who is told"),
    "policy": _("Escalation policy"),
}
"""In the order in which they are told."""


def changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Change]:
    """What differs between two versions as ``content`` gives them, zones last. Empty: nothing that shows."""
    found = [
        Change(name, title, before.get(name), after.get(name))
        for name, title in TITLES.items()
        if name in before and name in after and before[name] != after[name]
    ]
    found += _settings(before, after)
    return found + _zones(before.get("zones", []), after.get("zones", []))


def content(embedded: Mapping[str, Any], beside: Mapping[str, Any]) -> dict[str, Any]:
    """What a version says, without its own name and dates; of an older version, without what it did not keep."""
    schedule = embedded.get("schedule") or {}
    plain = {name: embedded[name] for name in ("name", "kind", "severity", "deployment", "config") if name in embedded}
    told = sorted(str(one["name"]) for one in beside.get("told", ()))
    kept = {name: beside[name] for name in ("enabled", "why_it_matters", "procedure") if name in beside}
    return {
        **plain,
        **kept,
        **({"name": beside["name"]} if beside.get("name") else {}),
        **({"told": told} if "told" in beside else {}),
        # Versions older than policies had none.
        **({"policy": beside.get("policy") or None} if beside else {}),
        "schedule": schedule.get("spans", []),
        "holidays": schedule.get("holidays", []),
        # Without holidays it says nothing.
        "on_holidays": schedule.get("on_holidays") if schedule.get("holidays") else None,
        # The clock is only the site's; without spans it says nothing.
        "time_zone": schedule.get("time_zone") if schedule.get("spans") else None,
        "zones": embedded.get("zones", []),
    }


def setting_titles(kind: str) -> dict[str, str]:
    """Setting → title (msgid) of a kind, in the form's order; none for a kind that is not there any more."""
    try:
        info = inspect.type_info(rule_kind(kind))
    except BadConfig:
        return {}
    assert isinstance(info, inspect.StructType)
    return {one.name: _title(one) for one in info.fields}


def _title(one: inspect.Field) -> str:
    words = one.type.extra_json_schema if isinstance(one.type, inspect.Metadata) else None
    return str((words or {}).get("title") or one.name.replace("_", " ").capitalize())


def _settings(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Change]:
    old, new = before.get("config", {}), after.get("config", {})
    titles = setting_titles(before.get("kind", "")) | setting_titles(after.get("kind", ""))
    names = [*titles, *sorted((old.keys() | new.keys()) - titles.keys())]
    return [
        Change(f"config.{name}", titles.get(name, name), old.get(name), new.get(name))
        for name in names
        if old.get(name) != new.get(name)
    ]


# Zones


def _zones(before: Iterable[Mapping[str, Any]], after: Iterable[Mapping[str, Any]]) -> list[Change]:
    old, new = {str(zone["uid"]): zone for zone in before}, {str(zone["uid"]): zone for zone in after}
    found = []
    for uid in [*old, *(uid for uid in new if uid not in old)]:
        words = tuple(_zone(old.get(uid), new.get(uid)))
        if words:
            found.append(Change("zone", str((new.get(uid) or old[uid])["name"]), words=words))
    return found


def _zone(old: Mapping[str, Any] | None, new: Mapping[str, Any] | None) -> Iterable[Words]:
    """What became of one zone."""
    if old is None or new is None:
        yield Words(_("added")) if old is None else Words(_("taken out"))
        return
    if old["name"] != new["name"]:
        yield Words(_("was called “%(name)s”"), {"name": old["name"]})
    if old.get("camera") != new.get("camera") or old.get("view") != new.get("view"):
        yield Words(_("lies in another view"))
    if old["shape"] != new["shape"]:
        yield Words(_("is a directed line now")) if new["shape"] == "line" else Words(_("is a polygon now"))
    elif geometry := zone_moved(old["points"], new["points"], line=new["shape"] == "line"):
        yield geometry
    if ground := ground_changed(old.get("ground"), new.get("ground")):
        yield ground


def ground_changed(old: Any, new: Any) -> Words | None:
    """How the calibration of a view differs, in a few words; None: not at all."""
    if old == new:
        return None
    if new is None:
        return Words(_("its ground is not calibrated any more"))
    return Words(_("its ground is calibrated")) if old is None else Words(_("its ground is calibrated anew"))


def zone_moved(old: list[Any], new: list[Any], *, line: bool = False) -> Words | None:
    """How the corners ``[[x, y], …]`` of a zone differ, in a few words; None: not at all.

    >>> zone_moved([[0, 0], [1, 0], [1, 1]], [[0, 0], [1, 0], [1, 1], [0, 1], [0, 0.5]]).params
    {'n': 2}
    """
    more = len(new) - len(old)
    if more:
        return (
            Words(_("%(n)d corner more"), {"n": more}, _("%(n)d corners more"))
            if more > 0
            else Words(_("%(n)d corner fewer"), {"n": -more}, _("%(n)d corners fewer"))
        )
    if line and new and _apart(old, list(reversed(new))) == 0:
        return Words(_("turned round")) if _apart(old, new) else None
    moved = _apart(old, new)
    if moved == 0:
        return None
    if moved == len(new):
        return Words(_("moved"))
    return Words(_("%(n)d corner moved"), {"n": moved}, _("%(n)d corners moved"))


def _apart(old: list[Any], new: list[Any]) -> int:
    """How many corners are not where they were."""
    return sum(abs(a[0] - b[0]) > SAME_PLACE or abs(a[1] - b[1]) > SAME_PLACE for a, b in zip(old, new, strict=True))
