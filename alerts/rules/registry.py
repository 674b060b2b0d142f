"""Rule kinds: key → dotted path of the kind's config, imported on first use. A new kind is one line here."""

from __future__ import annotations

import importlib
from functools import cache
from typing import Any, Protocol

import msgspec
from msgspec import inspect

from alerts.rules.config import CommonConfig

RULES = {
    "presence": "alerts.rules.presence:PresenceConfig",
    "crossing": "alerts.rules.crossing:CrossingConfig",
    "counting": "alerts.rules.counting:CountingConfig",
    "dwell": "alerts.rules.dwell:DwellConfig",
    "crowd": "alerts.rules.crowd:CrowdConfig",
    "stopped": "alerts.rules.stopped:StoppedConfig",
    "wrong_way": "alerts.rules.wrong_way:WrongWayConfig",
    "appearance": "alerts.rules.appearance:AppearanceConfig",
    "absence": "alerts.rules.absence:AbsenceConfig",
    "person_down": "alerts.rules.person_down:PersonDownConfig",
    "health": "alerts.rules.health:HealthConfig",
    "left": "alerts.rules.left:LeftConfig",
    "sequence": "alerts.rules.sequence:SequenceConfig",
    "threshold": "alerts.rules.threshold:ThresholdConfig",
}


class Stored(Protocol):
    """A rule as a row or as a version."""

    @property
    def kind(self) -> str:
        """Its key in ``RULES``."""

    @property
    def config(self) -> dict[str, Any]:
        """Its settings as plain values."""


class BadConfig(ValueError):
    """A rule's settings are refused; the text names the field, what was expected and what was got."""


def rule_kind(key: str) -> type[CommonConfig]:
    """The config class of the kind ``key``. Raises ``BadConfig`` naming the kinds there are."""
    path = RULES.get(key)
    if path is None:
        raise BadConfig(f"kind: expected one of {', '.join(sorted(RULES))}, got {key!r}; choose one of them")
    module, _, attribute = path.partition(":")
    kind: type[CommonConfig] = getattr(importlib.import_module(module), attribute)
    return kind


def read_config(kind: str, values: dict[str, Any]) -> CommonConfig:
    """The frozen config of ``kind`` from plain values. Raises ``BadConfig``."""
    try:
        return msgspec.convert(values, type=rule_kind(kind), strict=False)
    except msgspec.ValidationError as error:
        raise BadConfig(f"{kind}: {error}; mend this setting") from None


def config_of(rule: Stored) -> CommonConfig | None:
    """The settings of ``rule``; None where they cannot be read, which is told where it runs."""
    try:
        return read_config(rule.kind, rule.config)
    except BadConfig:
        return None


@cache
def settings_naming_rules(kind: str) -> tuple[str, ...]:
    """The settings of ``kind`` that hold another rule's ``uid`` (``sequence.A_RULE``); none of an unknown kind."""
    try:
        info = inspect.type_info(rule_kind(kind))
    except BadConfig:
        return ()
    assert isinstance(info, inspect.StructType)
    return tuple(one.name for one in info.fields if _words(one.type).get("format") == "rule")


def _words(kind: inspect.Type) -> dict[str, Any]:
    return dict(kind.extra_json_schema or {}) if isinstance(kind, inspect.Metadata) else {}
