"""A template and what differs at a site, in a camera group or on a camera, resolved to one rule's values. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

FIELDS = (
    "enabled", "severity", "zone_name", "deployment", "schedule", "recipients", "policy", "why_it_matters", "procedure",
    "config",
)  # fmt: skip
"""What may differ. ``deployment``, ``recipients`` and ``policy`` are uids, an empty policy is none; of ``config`` only
the settings that do are kept."""

NAME_MOST = 100


def resolve(values: Mapping[str, Any], overrides: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """``values`` with ``overrides`` on top, the widest place first: site, then group, then camera.

    >>> resolve({"severity": "low", "config": {"a": 1, "b": 1}}, [{"config": {"b": 2}}, {"severity": "high"}])
    {'severity': 'high', 'config': {'a': 1, 'b': 2}}
    """
    found = dict(values)
    for changes in overrides:
        known = {name: value for name, value in changes.items() if name in FIELDS}
        config = {**found.get("config", {}), **known.pop("config", {})}
        found = {**found, **known, "config": config}
    return found


def differing(base: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """The override that makes ``values`` of ``base``: only what differs.

    >>> differing({"severity": "low", "config": {"a": 1, "b": 1}}, {"severity": "low", "config": {"a": 1, "b": 2}})
    {'config': {'b': 2}}
    """
    plain = {name: values[name] for name in FIELDS if name in values and name != "config"}
    found = {name: value for name, value in plain.items() if value != base.get(name)}
    old = base.get("config", {})
    config = {name: value for name, value in values.get("config", {}).items() if name not in old or old[name] != value}
    return found | ({"config": config} if config else {})


def rule_name(template: str, camera: str, site: str, taken: Iterable[str]) -> str:
    """What the rule of a camera is called: with its site where another rule has the short name. ``taken``: lower case.

    >>> rule_name("Lanes", "Gate", "Harbour", ["lanes · gate"])
    'Lanes · Gate, Harbour'
    """
    others = set(taken)
    for name in (f"{template} · {camera}", f"{template} · {camera}, {site}"):
        short = name[:NAME_MOST].strip()
        if short.lower() not in others:
            return short
    return short
