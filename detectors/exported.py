"""What an exporter wrote beside a model's weights: class names, input size, task. Pure.

Ultralytics writes it into an ONNX file as texts, and beside an OpenVINO model as ``metadata.yaml``. Others write little
or nothing, so everything here may be missing.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_LONGEST = 200_000
"""Characters of one value that are looked at."""


@dataclass(frozen=True, slots=True)
class Exported:
    """``names``: class names in the order of the model's outputs; None: not told, or only numbers."""

    names: tuple[str, ...] | None = None
    wh: tuple[int, int] | None = None
    """Input in pixels."""
    task: str = ""
    head: str = ""
    end2end: bool | None = None
    nms: bool = False
    """Suppression is part of the network."""
    licence: str = ""
    description: str = ""


def read_exported(metadata: Mapping[str, str]) -> Exported:
    """Values that cannot be read count as missing."""
    args = _value(metadata.get("args", ""))
    return Exported(
        names=_names(_value(metadata.get("names", ""))),
        wh=_wh(_value(metadata.get("imgsz", ""))),
        task=metadata.get("task", "").strip(),
        head=metadata.get("head", "").strip(),
        end2end={"true": True, "false": False}.get(metadata.get("end2end", "").strip().lower()),
        nms=isinstance(args, dict) and str(args.get("nms")).lower() == "true",
        licence=metadata.get("license", "").strip(),
        description=metadata.get("description", "").strip(),
    )


def read_yaml(text: str) -> dict[str, str]:
    """The part of YAML that Ultralytics' ``metadata.yaml`` uses: texts, and lists and maps one level deep, each as the
    text that it would be in an ONNX file.

    >>> read_yaml("task: detect\\nimgsz:\\n- 640\\n- 480\\nnames:\\n  0: person\\n  1: traffic light\\n")
    {'task': 'detect', 'imgsz': '[640, 480]', 'names': "{0: 'person', 1: 'traffic light'}"}
    """
    found: dict[str, str] = {}
    inner: dict[str, dict[Any, Any] | list[Any]] = {}
    key = ""
    for line in text[:_LONGEST].splitlines():
        if line.startswith("- ") or line.startswith("  - "):
            part = inner.setdefault(key, [])
            if isinstance(part, list):
                part.append(_scalar(line.strip()[2:]))
        elif line.startswith("  "):
            name, _, value = line.strip().partition(":")
            part = inner.setdefault(key, {})
            if isinstance(part, dict):
                part[_scalar(name)] = _scalar(value)
        elif ":" in line:
            key, _, value = line.partition(":")
            found[key] = str(_scalar(value))
    return {**found, **{name: repr(part) for name, part in inner.items()}}


def _scalar(text: str) -> int | str:
    text = text.strip()
    if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"":
        return text[1:-1]
    return int(text) if text.isdecimal() else text


def _value(text: str) -> Any:
    """A Python literal; None for anything else."""
    try:
        return ast.literal_eval(text) if 0 < len(text) <= _LONGEST else None
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return None


def _names(value: Any) -> tuple[str, ...] | None:
    if isinstance(value, dict):
        if sorted(map(str, value)) != sorted(map(str, range(len(value)))):
            return None
        by_number = {int(number): name for number, name in value.items()}
        value = [by_number[number] for number in range(len(value))]
    if not isinstance(value, list | tuple) or not value:
        return None
    names = tuple(str(name) for name in value)
    return None if all(name.removeprefix("class").isdecimal() for name in names) else names


def _wh(value: Any) -> tuple[int, int] | None:
    """From height and width, or one length for both."""
    if isinstance(value, int):
        value = [value, value]
    if isinstance(value, list | tuple) and len(value) == 2 and all(isinstance(one, int) and one > 0 for one in value):
        return value[1], value[0]
    return None
