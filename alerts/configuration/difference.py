"""What one configuration would change in another, entry by entry and field by field. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from alerts.configuration.entries import KINDS, Entries, Key
from alerts.versions import TITLES as RULE_TITLES
from alerts.versions import Change, Words, ground_changed, setting_titles, zone_moved

What = Literal["added", "changed", "missing", "same"]


def _(text: str) -> str:
    """Marks a title for translation."""
    return text


TITLES = RULE_TITLES | {
    "active": _("Active"),
    "all_cameras": _("All cameras"),
    "cameras": _("Cameras"),
    "carrier": _("Carried by"),
    "condition": _("Condition"),
    "contact": _("Contact"),
    "contacts": _("Contacts"),
    "evidence_px": _("Evidence size"),
    "from_at": _("From"),
    "hand_over_at": _("Handed over at"),
    "members": _("Members"),
    "quiet_from": _("Quiet from"),
    "quiet_until": _("Quiet until"),
    "repeats": _("Gone through again"),
    "starts_on": _("Begins on"),
    "steps": _("Steps"),
    "weekday": _("Handed over on"),
    "gated": _("Analyse on change only"),
    "ground": _("Ground"),
    "group": _("Camera group"),
    "hz": _("Pictures a second"),
    "labels": _("Labels"),
    "language": _("Language"),
    "latitude": _("Latitude"),
    "longitude": _("Longitude"),
    "masks": _("Privacy masks"),
    "model": _("Model"),
    "model_version": _("Version of the model"),
    "overrides": _("Overrides"),
    "pool": _("Pool"),
    "points": _("Corners"),
    "recipients": _("Who is told"),
    "rests": _("Rest on key frames"),
    "rules": _("Rules"),
    "severities": _("How bad"),
    "shape": _("Shape"),
    "sites": _("Sites"),
    "sources": _("Addresses"),
    "sources.detect": _("Address that is analysed"),
    "sources.record": _("Full picture"),
    "sources.view": _("Address for screens"),
    "static_regions": _("Find what is left or taken"),
    "taken_over": _("Taken over by"),
    "template": _("Template"),
    "template_camera": _("Camera of the template"),
    "until_at": _("Until"),
    "user": _("User"),
    "zones": _("Zones"),
}
"""Field → title (msgid)."""


@dataclass(frozen=True, slots=True)
class Difference:
    """What becomes of one entry. ``missing``: it is there and not in the text."""

    kind: str
    key: Key
    what: What
    changes: tuple[Change, ...] = ()


def compare(there: Entries, wanted: Entries) -> list[Difference]:
    """Every entry of both, by kind and name."""
    return [
        _one(kind, key, there[kind].get(key), wanted[kind].get(key))
        for kind in KINDS
        for key in sorted(there[kind].keys() | wanted[kind].keys())
    ]


def _one(kind: str, key: Key, there: Any, wanted: Any) -> Difference:
    if there is None:
        return Difference(kind, key, "added")
    if wanted is None:
        return Difference(kind, key, "missing")
    before, after = _flat(there), _flat(wanted)
    found = tuple(_changes(before, after, setting_titles(after["kind"]) if "kind" in after else {}))
    return Difference(kind, key, "changed" if found else "same", found)


def _flat(entry: Any) -> dict[str, Any]:
    """Field → plain value; those of its tables by dotted names."""
    plain: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(entry))
    flat: dict[str, Any] = {}
    for name, value in plain.items():
        if name in ("config", "sources") and isinstance(value, Mapping):
            flat |= {f"{name}.{inner}": one for inner, one in value.items()}
        else:
            flat[name] = value
    return flat


def _changes(before: Mapping[str, Any], after: Mapping[str, Any], titles: Mapping[str, str]) -> Iterator[Change]:
    for name in [*before, *(name for name in after if name not in before)]:
        old, new = before.get(name), after.get(name)
        if old == new:
            continue
        setting = name.removeprefix("config.")
        title = titles.get(setting, setting) if name.startswith("config.") else TITLES.get(name, name)
        yield Change(name, title, old, new, _words(name, old, new, after))


def _words(name: str, old: Any, new: Any, after: Mapping[str, Any]) -> tuple[Words, ...]:
    """What is said better than shown."""
    if name == "points":
        line = after.get("shape") == "line"
        # Less than anybody can see is still another number in the text.
        return (zone_moved(old, new, line=line and len(old) == len(new)) or Words(_("moved")),)
    if name == "ground" and (said := ground_changed(old, new)):
        return (said,)
    if name == "masks":
        return (Words(_("%(before)d before, %(after)d now"), {"before": len(old), "after": len(new)}),)
    return ()
