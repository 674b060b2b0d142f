"""A model card as the text of its ``.toml``. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import msgspec

from detectors.backends.base import Card


def card_text(card: Card) -> str:
    """TOML that ``detectors.registry.load_card`` reads back as an equal card."""
    return "\n".join(_table(msgspec.to_builtins(card), "")) + "\n"


def _table(values: Mapping[str, Any], name: str) -> list[str]:
    """Plain values first: in TOML what follows a table's head belongs to that table."""
    lines = [f"[{name}]"] if name else []
    # JSON's strings, numbers, booleans and lists of these are TOML's too, but for the two below.
    lines += [f"{key} = {_value(value)}" for key, value in values.items() if not _is_table(value) and value is not None]
    for key, value in values.items():
        if _is_table(value):
            lines += ["", *_table(value, f"{name}.{key}" if name else key)]
    return lines


def _value(value: Any) -> str:
    # Python writes whole floats as TOML wants them (1.0); DEL must be escaped in TOML and need not be in JSON.
    return json.dumps(value, ensure_ascii=False, allow_nan=False).replace("\x7f", "\\u007F")


def _is_table(value: Any) -> bool:
    return isinstance(value, Mapping)
